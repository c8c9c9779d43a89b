//! What is fixed when a sandbox starts: the size and odds of its world, its application, what it records.
//!
//! What can change while it runs belongs to the handle or to a user's plan, not here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, tz::Offset};

use crate::scope::SCOPES;

/// Settings of a sandbox. The default is a small lively world of today.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Worker threads of the server's own runtime.
    pub threads: usize,
    /// Generated users: `user-0` to `user-<users - 1>`.
    pub users: u32,
    /// Two sandboxes with the same seed, calendar and sizes hold the same world.
    pub seed: u64,
    /// The date of day 0.
    pub day0: Date,
    /// The day to start on.
    pub day: u32,
    /// How far each account's history reaches back before day 0.
    pub history_days: u32,
    /// Booked rows per account and day, on average, beside those that begin as pending.
    pub rows_per_day: f64,
    /// Pending rows that begin per account and day, on average. From 1.0 on every account has one at all times.
    pub pending_per_day: f64,
    /// A user has 1 to this many accounts.
    pub max_accounts: u32,
    /// How often the odd things happen.
    pub rates: Rates,
    /// The application's id.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: String,
    /// Where Tink Link may send browsers back to, letter by letter.
    pub redirect_uris: Vec<String>,
    /// What the application may ask for.
    pub app_scopes: Vec<String>,
    /// `expires_in` of client tokens, in seconds.
    pub client_expires_in: u64,
    /// `expires_in` of user tokens, in seconds.
    pub user_expires_in: u64,
    /// Whether a token past its `expires_in` is refused.
    pub enforce_expiry: bool,
    /// Whether user tokens come with refresh tokens.
    pub refresh: RefreshMode,
    /// Access tokens are filled up to this length, since real ones may be long.
    pub token_length: usize,
    /// Pause before each answer; can be changed later.
    pub latency: Duration,
    /// Answers bear the real date; without one nobody can tell that the application's clock is moved.
    pub dated: bool,
    /// Whether requests are counted by user too.
    pub count_per_user: bool,
    /// How many of the last requests are remembered.
    pub log: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            threads: 2,
            users: 100,
            seed: 1,
            day0: default_day0(),
            day: 0,
            history_days: 90,
            rows_per_day: 1.0,
            pending_per_day: 1.0,
            max_accounts: 4,
            rates: Rates::lively(),
            client_id: "sandbox-client".to_owned(),
            client_secret: "sandbox-secret".to_owned(),
            redirect_uris: vec!["http://localhost:8765/callback".to_owned()],
            app_scopes: SCOPES.iter().map(|&scope| scope.to_owned()).collect(),
            client_expires_in: 1800,
            user_expires_in: 7200,
            enforce_expiry: false,
            refresh: RefreshMode::Off,
            token_length: 0,
            latency: Duration::ZERO,
            dated: true,
            count_per_user: false,
            log: 0,
        }
    }
}

/// Four days before today, so that on day 4 the sandbox's day is the real one.
#[expect(clippy::disallowed_methods, reason = "the one place where the sandbox asks for the real day")]
fn default_day0() -> Date {
    let then = Timestamp::now().checked_sub(SignedDuration::from_hours(4 * 24));
    let then = then.expect("today lies well within the calendar");
    Offset::UTC.to_datetime(then).date()
}

/// What becomes of refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshMode {
    /// None are given and the grant is refused, as Tink does since 2024.
    Off,
    /// Each is good for one use and is replaced by it.
    Rotating,
}

/// How often odd things happen, per thousand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// Rows that appear up to 9 days after their booked date.
    pub late: u32,
    /// Booked rows whose text or amount is corrected within 10 days.
    pub corrected: u32,
    /// Rows with an equal twin under another id.
    pub twin: u32,
    /// Amounts with a scale that is not the currency's.
    pub odd_scale: u32,
    /// Rows whose unchanged amount changes its scale from day to day.
    pub rescaled: u32,
    /// Amounts of 18 digits or beyond 2^53.
    pub big_amount: u32,
    /// Rows in a currency that is not the account's.
    pub second_currency: u32,
    /// Rows and accounts that lack one optional field, or have it as null.
    pub missing_field: u32,
    /// Rows without a booked date.
    pub undated: u32,
    /// Rows and accounts with fields nobody has heard of.
    pub unknown_field: u32,
    /// Rows and accounts with a type nobody has heard of.
    pub unknown_enum: u32,
    /// Texts with outer blanks, no-break spaces, emoji, quotes.
    pub odd_text: u32,
    /// Rows with the status UNDEFINED.
    pub undefined_status: u32,
    /// Users whose amounts are JSON numbers.
    pub integer_amounts: u32,
    /// Users whose pages come in an unusual shape.
    pub odd_pages: u32,
    /// Users with two consents.
    pub two_consents: u32,
    /// Users whose first account is held by both of two consents.
    pub shared_account: u32,
    /// Consents without an expiry, or with 0.
    pub no_expiry: u32,
    /// Healthy consents that carry a `detailedError` all the same.
    pub detailed_error: u32,
    /// Users who lose an account on one of the days 1 to 4.
    pub account_deleted: u32,
    /// Users who connect anew on one of the days 1 to 4, which changes all ids.
    pub reconsent: u32,
    /// Users with a consent that is past its date but UPDATED.
    pub expired: u32,
    /// Users with a consent in an error state.
    pub unhealthy: u32,
    /// Users who never had an account.
    pub no_accounts: u32,
    /// Users with an account that is in a consent but not in the list.
    pub hidden_account: u32,
    /// Users whose reads give empty lists or 4xx.
    pub decayed: u32,
    /// Users whose bank is never refreshed after day 1.
    pub frozen: u32,
}

impl Rates {
    /// A plain world: nothing odd at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Odd data of every kind, but each connection healthy from the first day to the last. What a sandbox takes unless told otherwise.
    pub fn lively() -> Self {
        Self {
            late: 30,
            corrected: 60,
            twin: 15,
            odd_scale: 80,
            rescaled: 40,
            big_amount: 10,
            second_currency: 20,
            missing_field: 200,
            undated: 8,
            unknown_field: 60,
            unknown_enum: 20,
            odd_text: 60,
            undefined_status: 3,
            integer_amounts: 300,
            odd_pages: 700,
            two_consents: 250,
            shared_account: 60,
            no_expiry: 100,
            detailed_error: 50,
            ..Self::none()
        }
    }

    /// Everything of [`Rates::lively`], and users whose connection is in trouble too.
    pub fn everything() -> Self {
        Self {
            account_deleted: 30,
            reconsent: 30,
            expired: 30,
            unhealthy: 30,
            no_accounts: 20,
            hidden_account: 20,
            decayed: 20,
            frozen: 30,
            ..Self::lively()
        }
    }
}
