//! One row of the source view: takes lenient types, returns what the row contains or its problem. Knows no
//! database.

use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use secrecy::SecretString;

use crate::domain::connection::{Nulls, Seed, SourceRow, TinkUser};
use crate::domain::ids::is_usable;
use crate::store::engine::value::Cell;
use crate::vault::{TokenKind, Vault};

/// The columns that a view must have.
pub(in crate::store) const REQUIRED: [&str; 4] = ["connection_id", "user_id", "enabled", "entitled"];
/// The columns that it may have.
pub(in crate::store) const OPTIONAL: [&str; 9] = [
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

/// The last day of the calendar of [`Timestamp`]. Databases write `9999-12-31` for "without end", and a user
/// who has paid for ever must not be paused because that day is two hours too late.
const LAST_DAY: Date = date(9999, 12, 30);
/// The last moment that can also be kept in whole milliseconds.
const NEVER: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// The end of the calendar in seconds since 1970. Up to the last of these numbers no milliseconds are meant: they
/// would be of 2001 or earlier.
const END_SECONDS: RangeInclusive<i64> = 253_402_207_200..=999_999_999_999;
/// The same in milliseconds: the last days of the year 9999, in any time zone. What else is as large may be a time
/// that has passed, in a unit that is not accepted.
const END_MILLIS: RangeInclusive<i64> = 253_402_207_200_000..=253_402_387_200_000;

const NO_KEY: &str = "the source view gives a refresh token and no Tink user, and there is no key to encrypt it with: set store.token_key_file";

pub(in crate::store) fn source_row<'a>(
    columns: &[&str],
    value_at: impl Fn(usize) -> Option<Cell<'a>>,
    vault: Option<&Vault>,
    now: Timestamp,
) -> SourceRow {
    let value = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        value_at(index).filter(|v| !matches!(v, Cell::Null))
    };
    let text = |name: &str| value(name).and_then(as_text).filter(|text| !text.is_empty());
    let id = |name: &str| text(name).filter(|id| is_usable(id));
    let (connection, user) = (id("connection_id"), id("user_id"));
    let names = [
        ("external_user_id", TinkUser::External as fn(String) -> TinkUser),
        ("tink_user_id", TinkUser::Tink),
    ];
    // If a name is given and unusable, the other name must not be used in its place.
    let unusable = names.iter().any(|(name, _)| id(name).is_none() && is_given(value(name)));
    let mut usable = names.into_iter().filter_map(|(name, kind)| id(name).map(kind)).filter(|_| !unusable);
    let (tink_user, also) = (usable.next(), usable.next().map(Box::new));
    let seed = text("refresh_token").map(|refresh| {
        let access = text("access_token").map(SecretString::from);
        let given = Given {
            version: text("token_version").unwrap_or_default(),
            refresh: refresh.into(),
            access,
            access_until: value("access_expires_at").and_then(as_time),
        };
        given.encrypted(vault, connection.as_deref().unwrap_or_default())
    });
    let token_problem = seed.as_ref().and_then(|seed| seed.as_ref().err().copied());
    let seed = seed.and_then(Result::ok);
    let problem = if connection.is_none() {
        Some("a row of the source view has a connection_id that cannot be used")
    } else if user.is_none() {
        Some("the source view gives no user_id that is text of at most 16 KiB without control characters")
    } else if unusable {
        Some(
            "the source view gives a Tink user that is not text of at most 16 KiB without control characters",
        )
    } else if tink_user.is_none() && seed.is_none() {
        Some(token_problem.unwrap_or("the source view gives neither external_user_id nor tink_user_id"))
    } else {
        None
    };
    // An entitlement that has ended, or whose end cannot be read, does not count.
    let until = value("entitled_until").map(as_time);
    let in_time = until.is_none_or(|until| until.is_some_and(|until| until > now));
    let [enabled, entitled] = ["enabled", "entitled"].map(|name| value(name).is_some_and(as_bool));
    SourceRow {
        connection_id: connection.unwrap_or_default().into(),
        user_id: user.unwrap_or_default().into(),
        tink_user,
        also,
        nulls: Nulls { enabled: value("enabled").is_none(), entitled: value("entitled").is_none() },
        enabled,
        entitled: entitled && in_time,
        entitled_until: until.flatten().filter(|until| !is_never(*until)),
        until_unreadable: enabled && entitled && until == Some(None) && problem.is_none(),
        market: id("market"),
        priority: value("priority").and_then(as_integer).unwrap_or_default(),
        problem: problem.map(str::to_owned),
        seed: seed.map(Arc::new),
        unencrypted: token_problem.is_some(),
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
    /// Encrypts them for `connection`, or returns what is missing for that.
    fn encrypted(self, vault: Option<&Vault>, connection: &str) -> std::result::Result<Seed, &'static str> {
        let vault = vault.ok_or(NO_KEY)?;
        let encrypt = |what, token: &SecretString| {
            vault.encrypt(connection, what, token).map_err(|_| "the refresh token could not be encrypted")
        };
        Ok(Seed {
            version: self.version,
            refresh: encrypt(TokenKind::Refresh, &self.refresh)?,
            access: self.access.as_ref().map(|token| encrypt(TokenKind::Access, token)).transpose()?,
            access_until: self.access_until,
        })
    }
}

/// Whether there is a value, even one that is too long to be read.
fn is_given(value: Option<Cell<'_>>) -> bool {
    match value {
        None | Some(Cell::Null) => false,
        Some(Cell::Text(text)) => !text.is_empty(),
        Some(Cell::Bytes(_) | Cell::Int(_) | Cell::Real(_)) => true,
    }
}

fn as_text(value: Cell<'_>) -> Option<String> {
    match value {
        Cell::Int(number) => Some(number.to_string()),
        Cell::Text(text) | Cell::Bytes(text) => String::from_utf8(text.to_vec()).ok(),
        Cell::Null | Cell::Real(_) => None,
    }
}

/// True is integer 1 or the text true, t, yes or 1; all else is false.
fn as_bool(value: Cell<'_>) -> bool {
    match value {
        Cell::Int(number) => number == 1,
        Cell::Text(text) => {
            let text = String::from_utf8_lossy(text).trim().to_ascii_lowercase();
            matches!(text.as_str(), "true" | "t" | "yes" | "1")
        }
        _ => false,
    }
}

/// A time as RFC 3339, as `YYYY-MM-DD HH:MM:SS` in UTC, or as epoch seconds.
fn as_time(value: Cell<'_>) -> Option<Timestamp> {
    match value {
        Cell::Int(seconds) => since_1970(seconds),
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float to an integer saturates")]
        Cell::Real(seconds) => since_1970(seconds as i64),
        Cell::Text(text) => parse_time(std::str::from_utf8(text).ok()?.trim()),
        Cell::Null | Cell::Bytes(_) => None,
    }
}

/// Whether a time is one that databases write for "without end": it is kept, and shown, as none.
pub fn is_never(time: Timestamp) -> bool {
    time >= NEVER
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
        since_1970(text.parse().ok()?)?
    };
    Some(time.min(NEVER))
}

/// A time in seconds since 1970. The greatest number is what an infinite one becomes.
fn since_1970(seconds: i64) -> Option<Timestamp> {
    if END_SECONDS.contains(&seconds) || END_MILLIS.contains(&seconds) || seconds == i64::MAX {
        return Some(NEVER);
    }
    Timestamp::from_second(seconds).ok()
}

fn as_integer(value: Cell<'_>) -> Option<i64> {
    match value {
        Cell::Int(number) => Some(number),
        _ => as_text(value)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_forms_are_true() {
        let yes = [Cell::Int(1), Cell::Text(b"true"), Cell::Text(b"T"), Cell::Text(b"yes"), Cell::Text(b"1")];
        let no = [
            Cell::Null,
            Cell::Int(0),
            Cell::Int(2),
            Cell::Text(b"on"),
            Cell::Text(b""),
            Cell::Real(1.0),
            Cell::Bytes(b"1"),
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
        assert_eq!(as_time(Cell::Int(1_770_091_506)), Some(expected));
        for text in ["", "soon", "2026-13-01", "9999-12-31 25:00:00", "9999-12-31 or so"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_never() {
        for text in ["9999-12-31", "9999-12-31 23:59:59", "9999-12-31T00:00:00Z", "9999-12-30T22:00:00.9Z"] {
            assert_eq!(parse_time(text), Some(NEVER), "{text}");
        }
        // As numbers: the last second of 9999, the first of 10000, the same in milliseconds, and an infinite one.
        for number in [253_402_207_200, 253_402_300_799, 253_402_300_800, 253_402_300_799_000, i64::MAX] {
            assert_eq!(as_time(Cell::Int(number)), Some(NEVER), "{number}");
            assert_eq!(parse_time(&number.to_string()), Some(NEVER), "{number}");
        }
        for number in [253_402_300_799.9, 253_402_300_799_999.0, f64::INFINITY] {
            assert_eq!(as_time(Cell::Real(number)), Some(NEVER), "{number}");
        }
        // Milli-, micro- and nanoseconds of this decade may have passed.
        for number in [1_764_000_000_000, 1_764_000_000_000_000, 1_764_000_000_000_000_000] {
            assert_eq!(as_time(Cell::Int(number)), None, "{number}");
        }
        assert_eq!(Timestamp::from_millisecond(NEVER.as_millisecond()).unwrap(), NEVER);
    }
}
