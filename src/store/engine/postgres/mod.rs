//! Everything specific to PostgreSQL. The logic of the store is above, written once for every engine.

pub(crate) mod answer;
pub(crate) mod connect;
pub(crate) mod copy;
mod driver;
pub(crate) mod explain;
mod known;
pub(crate) mod lanes;
pub(crate) mod open;
pub(crate) mod rehearsal;
pub(crate) mod rights;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod source;
pub(crate) mod statement;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod translate;
pub(crate) mod value;
