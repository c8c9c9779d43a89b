//! A row of the source view made of arbitrary values, for tests that feed them to its reader. Not part of
//! what the library offers.

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::{Value, ValueRef};

use super::row::{OPTIONAL, REQUIRED, source_row};
use crate::domain::connection::SourceRow;
use crate::store::engine::sqlite::statement::cell_of;
use crate::vault::Vault;

/// A row of values from bytes: a line for each column that begins with its type (`i`, `r`, `t`, `b`; anything
/// else is NULL).
pub fn values(bytes: &[u8]) -> Vec<Value> {
    let text = |rest: &[u8]| String::from_utf8_lossy(rest).into_owned();
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| match line.split_first() {
            Some((b'i', rest)) => text(rest).parse().map_or(Value::Null, Value::Integer),
            Some((b'r', rest)) => text(rest).parse().map_or(Value::Null, Value::Real),
            Some((b't', rest)) => Value::Text(text(rest)),
            Some((b'b', rest)) => Value::Blob(rest.to_vec()),
            _ => Value::Null,
        })
        .collect()
}

/// Reads a row with these values in the columns, required ones first, in the order of the lists.
pub fn read(values: &[Value], vault: Option<&Vault>, now: Timestamp) -> SourceRow {
    let columns: Vec<&str> = REQUIRED.into_iter().chain(OPTIONAL).collect();
    source_row(&columns, |index| values.get(index).map(|value| cell_of(ValueRef::from(value))), vault, now)
}

/// Reads a row and fails if an unusable one is accepted, or a usable one rejected.
///
/// # Panics
/// If it is judged wrongly: that is the finding.
pub fn challenge(bytes: &[u8]) {
    let now = Timestamp::UNIX_EPOCH;
    let values = values(bytes);
    let row = read(&values, None, now);
    let named = !row.connection_id.as_str().is_empty() && !row.user_id.as_str().is_empty();
    assert_eq!(row.problem.is_none(), named && row.tink_user.is_some(), "{row:?}");
    assert!(row.seed.is_none(), "a token without a key to encrypt it with");
    assert!(!row.entitled || row.entitled_until.is_none_or(|until| until > now), "{row:?}");
    if let Some(until) = row.entitled_until {
        // The store keeps it in whole milliseconds.
        let kept = Timestamp::from_millisecond(until.as_millisecond());
        let lost = kept.map(|kept| kept.duration_since(until).abs());
        assert!(lost.is_ok_and(|lost| lost < SignedDuration::from_millis(1)), "{row:?}");
    }
}
