//! Reads the source view of an application's SQLite database: on a connection of its own, read-only,
//! closed after one query. Understands the view's lenient types (contract section 4) and nothing else
//! of the application.

pub mod hostile;

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use rusqlite::types::ValueRef;
use secrecy::SecretString;

use super::connect_read_only;
use super::thread::{BUSY_PAUSE, explain};
use crate::domain::connection::{Seed, SourceRow, TinkUser};
use crate::store::StoreError;
use crate::vault::{Vault, What};

/// Name of the view over our own tables, used when the application brings none.
pub const OWN_VIEW: &str = "tink_sync_source_v1";

/// Where the calendar ends for a [`Timestamp`]. Databases write `9999-12-31` for "without end", and a user
/// who has paid for ever must not be paused because that day is two hours too late.
const LAST_DAY: Date = date(9999, 12, 30);
/// The last moment that can also be kept in whole milliseconds.
const NEVER: Timestamp = Timestamp::constant(253_402_207_200, 0);

const REQUIRED: [&str; 4] = ["connection_id", "user_id", "enabled", "entitled"];
const OPTIONAL: [&str; 9] = [
    "entitled_until",
    "external_user_id",
    "tink_user_id",
    "market",
    "priority",
    "refresh_token",
    "access_token",
    "access_expires_at",
    "token_version",
];

const NO_KEY: &str = "the source view gives a refresh token and no Tink user, and there is no key to seal it with: set store.token_key_file";

/// What went wrong with the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The view is missing or lacks a column (exit 78).
    #[error("{path}: {detail}")]
    View {
        /// The application's database.
        path: String,
        /// What is missing and what to do.
        detail: String,
    },
    /// The database cannot be read (exit 74 or 75).
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the whole view in one short query, so that the application's database is not held while the
/// store may be waiting for something. A locked database is tried again until `patience` is over, after
/// SQLite's own 30 s.
///
/// # Errors
/// [`SourceError::View`] names a missing view or column; otherwise as SQLite reports it. An unreadable
/// row is no error: it comes with its problem.
pub fn read_view(
    path: &Path,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
    patience: Duration,
) -> std::result::Result<Vec<SourceRow>, SourceError> {
    let began = Instant::now();
    loop {
        match read_once(path, view, vault, now) {
            Err(SourceError::Store(StoreError::Busy { .. })) if began.elapsed() < patience => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

fn read_once(
    path: &Path,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
) -> std::result::Result<Vec<SourceRow>, SourceError> {
    if !path.exists() {
        return Err(SourceError::Store(StoreError::Unusable {
            what: "read the source view",
            path: path.display().to_string(),
            detail: "the application's database does not exist: check source.database".to_owned(),
        }));
    }
    let db = connect_read_only(path)?;
    let sql = |e: rusqlite::Error| SourceError::Store(explain("read the source view", path, &e));
    let columns = columns(&db, path, view)?;
    let mut statement =
        db.prepare(&format!("SELECT {} FROM {}", columns.join(", "), quoted(view))).map_err(sql)?;
    let rows = statement
        .query_map([], |row| Ok(source_row(&columns, |index| row.get_ref(index).ok(), vault, now)))
        .map_err(sql)?;
    rows.collect::<rusqlite::Result<_>>().map_err(sql)
}

fn quoted(view: &str) -> String {
    view.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// Whether SQLite says that the view itself is missing, not a table it is made of.
fn is_missing(text: &str, view: &str) -> bool {
    text.strip_prefix("no such table: ").is_some_and(|name| name == view)
}

/// The columns of ours that the view has; the required ones must be there.
fn columns(
    db: &rusqlite::Connection,
    path: &Path,
    view: &str,
) -> std::result::Result<Vec<&'static str>, SourceError> {
    let fail = |detail: String| SourceError::View { path: path.display().to_string(), detail };
    let statement = db.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(view))).map_err(|e| match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) if is_missing(&text, view) => {
            fail(format!("{text}: create the view {view} there, or correct source.view (README, \"Connect your application\")"))
        }
        rusqlite::Error::SqliteFailure(code, text) if code.code == rusqlite::ErrorCode::Unknown => {
            fail(format!("the view {view} does not work: {}", text.unwrap_or_default()))
        }
        e => explain("read the source view", path, &e).into(),
    })?;
    let present: Vec<&str> = statement.column_names().collect();
    let has = |name: &&&str| present.iter().any(|p| p.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = REQUIRED.iter().filter(|name| !has(name)).copied().collect();
    if !missing.is_empty() {
        return Err(fail(format!("the view {view} lacks the column(s) {}", missing.join(", "))));
    }
    if !["external_user_id", "tink_user_id", "refresh_token"].iter().any(|name| has(&name)) {
        return Err(fail(format!("the view {view} needs a column external_user_id or tink_user_id")));
    }
    Ok(REQUIRED.iter().chain(&OPTIONAL).filter(has).copied().collect())
}

fn source_row<'a>(
    columns: &[&str],
    value_at: impl Fn(usize) -> Option<ValueRef<'a>>,
    vault: Option<&Vault>,
    now: Timestamp,
) -> SourceRow {
    let value = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        value_at(index).filter(|v| !matches!(v, ValueRef::Null))
    };
    let text = |name: &str| value(name).and_then(as_text).filter(|text| !text.is_empty());
    let until = value("entitled_until").map(as_time);
    let (connection, user) = (text("connection_id"), text("user_id"));
    let tink_user =
        text("external_user_id").map(TinkUser::External).or_else(|| text("tink_user_id").map(TinkUser::Tink));
    let seed = text("refresh_token").map(|refresh| {
        let access = text("access_token").map(SecretString::from);
        let given = Given {
            version: text("token_version").unwrap_or_default(),
            refresh: refresh.into(),
            access,
            access_until: value("access_expires_at").and_then(as_time),
        };
        given.sealed(vault, connection.as_deref().unwrap_or_default())
    });
    let (seed, seal_problem) = match seed {
        None => (None, None),
        Some(Ok(seed)) => (Some(seed), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    let problem = if connection.is_none() {
        Some("a row of the source view has no connection_id")
    } else if user.is_none() {
        Some("the source view gives no user_id")
    } else if tink_user.is_none() && seed.is_none() {
        Some(seal_problem.unwrap_or("the source view gives neither external_user_id nor tink_user_id"))
    } else {
        None
    };
    // Entitled until a time that is over or cannot be read is not entitled.
    let in_time = until.is_none_or(|until| until.is_some_and(|until| until > now));
    SourceRow {
        connection_id: connection.unwrap_or_default().into(),
        user_id: user.unwrap_or_default().into(),
        tink_user,
        enabled: value("enabled").is_some_and(as_bool),
        entitled: value("entitled").is_some_and(as_bool) && in_time,
        entitled_until: until.flatten(),
        market: text("market"),
        priority: value("priority").and_then(as_integer).unwrap_or_default(),
        problem: problem.map(str::to_owned),
        seed,
        unsealed: seal_problem.is_some(),
    }
}

/// Tokens as the view gives them.
struct Given {
    version: String,
    refresh: SecretString,
    access: Option<SecretString>,
    access_until: Option<Timestamp>,
}

impl Given {
    /// Sealed for `connection`, or what is missing for that.
    fn sealed(self, vault: Option<&Vault>, connection: &str) -> std::result::Result<Seed, &'static str> {
        let vault = vault.ok_or(NO_KEY)?;
        let seal = |what, token: &SecretString| {
            vault.seal(connection, what, token).map_err(|_| "the refresh token could not be sealed")
        };
        Ok(Seed {
            version: self.version,
            refresh: seal(What::Refresh, &self.refresh)?,
            access: self.access.as_ref().map(|token| seal(What::Access, token)).transpose()?,
            access_until: self.access_until,
        })
    }
}

fn as_text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8(text.to_vec()).ok(),
        ValueRef::Null | ValueRef::Real(_) => None,
    }
}

/// True is integer 1 or the text true, t, yes or 1; all else is false.
fn as_bool(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Integer(number) => number == 1,
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text).trim().to_ascii_lowercase();
            matches!(text.as_str(), "true" | "t" | "yes" | "1")
        }
        _ => false,
    }
}

/// A time as RFC 3339, as `YYYY-MM-DD HH:MM:SS` in UTC, or as epoch seconds.
fn as_time(value: ValueRef<'_>) -> Option<Timestamp> {
    match value {
        ValueRef::Integer(seconds) => Timestamp::from_second(seconds).ok(),
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float to an integer saturates")]
        ValueRef::Real(seconds) => Timestamp::from_second(seconds as i64).ok(),
        ValueRef::Text(text) => parse_time(std::str::from_utf8(text).ok()?.trim()),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// Parses the text forms of a time that the source view may use.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = if let Ok(time) = text.parse() {
        time
    } else if Pieces::parse(text).is_ok_and(|pieces| pieces.date() >= LAST_DAY) {
        NEVER
    } else if let Ok(civil) = text.parse::<DateTime>() {
        TimeZone::UTC.to_timestamp(civil).ok()?
    } else {
        Timestamp::from_second(text.parse().ok()?).ok()?
    };
    Some(time.min(NEVER))
}

fn as_integer(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        _ => as_text(value)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_forms_are_true() {
        let yes = [
            ValueRef::Integer(1),
            ValueRef::Text(b"true"),
            ValueRef::Text(b"T"),
            ValueRef::Text(b"yes"),
            ValueRef::Text(b"1"),
        ];
        let no = [
            ValueRef::Null,
            ValueRef::Integer(0),
            ValueRef::Integer(2),
            ValueRef::Text(b"on"),
            ValueRef::Text(b""),
            ValueRef::Real(1.0),
            ValueRef::Blob(b"1"),
        ];
        assert!(yes.into_iter().all(as_bool));
        assert!(!no.into_iter().any(as_bool));
    }

    #[test]
    fn times_are_read_in_three_forms() {
        let expected: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        for text in ["2026-02-03T04:05:06Z", "2026-02-03T05:05:06+01:00", "2026-02-03 04:05:06", "1770091506"]
        {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(as_time(ValueRef::Integer(1_770_091_506)), Some(expected));
        for text in ["", "soon", "2026-13-01", "9999-12-31 25:00:00", "9999-12-31 or so"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_never() {
        for text in ["9999-12-31", "9999-12-31 23:59:59", "9999-12-31T00:00:00Z", "9999-12-30T22:00:00.9Z"] {
            assert_eq!(parse_time(text), Some(NEVER), "{text}");
        }
        assert_eq!(Timestamp::from_millisecond(NEVER.as_millisecond()).unwrap(), NEVER);
    }
}
