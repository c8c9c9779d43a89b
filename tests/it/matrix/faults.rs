//! The rows and columns of the fault matrix: what can go wrong, and with which call. Runs nothing.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use tink_sandbox::{Action, Edit, Endpoint};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::gate::Fate;

/// The calls of a pass, in their order, and their titles.
pub const CALLS: [(Endpoint, &str); 7] = [
    (Endpoint::ClientToken, "client token"),
    (Endpoint::Grant, "authorization grant"),
    (Endpoint::CodeExchange, "user token"),
    (Endpoint::Consents, "consents"),
    (Endpoint::CredentialsRefresh, "refresh at the bank"),
    (Endpoint::Accounts, "accounts, balances"),
    (Endpoint::Transactions, "transactions"),
];

/// What the faults of a pass need to be quick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// The limits a user has.
    Usual,
    /// A short request timeout, a small largest answer: the fault is about one of them.
    Tight,
}

/// A fault that one call can meet.
#[derive(Clone, Debug)]
pub struct Fault {
    pub name: &'static str,
    pub action: Action,
    pub limits: Limits,
    /// Only a list that has pages can be struck.
    pub pages: bool,
}

impl Fault {
    /// Whether this call can meet it.
    pub fn strikes(&self, call: Endpoint) -> bool {
        !self.pages || matches!(call, Endpoint::Accounts | Endpoint::Transactions)
    }
}

fn usual(name: &'static str, action: Action) -> Fault {
    Fault { name, action, limits: Limits::Usual, pages: false }
}

fn tight(name: &'static str, action: Action) -> Fault {
    Fault { limits: Limits::Tight, ..usual(name, action) }
}

fn paged(name: &'static str, edit: Edit) -> Fault {
    Fault { pages: true, ..usual(name, Action::Edit(edit)) }
}

/// An HTTP date this many seconds from now.
fn date(seconds: i64) -> String {
    let then = SystemClock.now() + SignedDuration::from_secs(seconds);
    httpdate::fmt_http_date(SystemTime::try_from(then).unwrap())
}

/// Only of the call that asks a bank: it is accepted, and nothing ever comes of it.
pub const ENDLESS: &str = "204, and the refresh never ends";

/// The ways in which the address of all calls can fail, from one call on.
pub const ADDRESSES: [(&str, Address); 6] = [
    ("connection refused", Address::Turns(Fate::Closed)),
    ("DNS failure", Address::Nowhere),
    ("TLS: not spoken there", Address::Turns(Fate::Plain)),
    ("TLS: self-signed certificate", Address::Turns(Fate::SelfSigned)),
    ("TLS: certificate of another name", Address::Turns(Fate::OtherName)),
    ("TLS: certificate out of date", Address::Turns(Fate::Expired)),
];

/// An address at which Tink cannot be reached.
#[derive(Clone, Copy, Debug)]
pub enum Address {
    /// A name that nobody has.
    Nowhere,
    /// An address that was well, and is not any more.
    Turns(Fate),
}

impl Address {
    /// Whether it can fail as late as this call: a name is looked up before all of them.
    pub fn strikes(self, call: Endpoint) -> bool {
        matches!(self, Self::Turns(_)) || call == Endpoint::ClientToken
    }
}

/// Every fault that one call can meet.
pub static ALL: LazyLock<Vec<Fault>> = LazyLock::new(all);

fn all() -> Vec<Fault> {
    let slow = |chunk, every| Action::SlowBody { chunk, every: Duration::from_millis(every) };
    let mut faults = vec![
        usual("connection reset", Action::Reset),
        tight("hang before the headers", Action::Hang),
        usual("slow body, in time", slow(500, 1)),
        tight("slow body, too late", slow(1, 200)),
        usual("truncated body", Action::Truncate(10)),
        usual("10 MB answer", Action::BigBody(10 << 20)),
        tight("10 MB answer, `max_response` 1 MiB", Action::BigBody(10 << 20)),
        tight("gzip bomb", Action::gzip_bomb(4 << 20)),
        usual("HTML instead of JSON", Action::Html),
        usual("malformed JSON", Action::Malformed),
        usual("wrong types", Action::Edit(Edit::WrongTypes)),
        usual("nulls everywhere", Action::Edit(Edit::Nulls)),
        usual("nulls but for the ids", Action::Edit(Edit::NullsButIds)),
        usual("unknown enum values", Action::Edit(Edit::UnknownEnums)),
    ];
    let statuses = [
        ("400", 400),
        ("401", 401),
        ("403", 403),
        ("404", 404),
        ("409", 409),
        ("429, no `Retry-After`", 429),
        ("500", 500),
        ("502", 502),
        ("503", 503),
        ("504", 504),
    ];
    faults.extend(statuses.map(|(name, code)| usual(name, Action::status(code))));
    let limits = [
        ("429, `Retry-After: 1`", "1".to_owned()),
        ("429, `Retry-After: 3600`", "3600".to_owned()),
        ("429, `Retry-After:` a date in an hour", date(3600)),
        ("429, `Retry-After:` a date in the past", date(-3600)),
        ("429, `Retry-After: soon`", "soon".to_owned()),
        ("429, `Retry-After: -1`", "-1".to_owned()),
    ];
    let busy = |name, after: &str| {
        let headers = vec![("Retry-After".to_owned(), after.to_owned())];
        usual(name, Action::Status { code: 503, headers, body: String::new() })
    };
    faults.push(busy("503, `Retry-After: 0.2`", "0.2"));
    faults.push(busy("503, `Retry-After: 86400`", "86400"));
    let after = faults.iter().position(|fault| fault.name.starts_with("429")).unwrap() + 1;
    faults.splice(after..after, limits.map(|(name, header)| usual(name, Action::too_many(&header))));
    faults.extend([
        paged("page-token loop", Edit::Loop),
        paged("rows repeated on the next page", Edit::Repeat),
        paged("empty page with a token", Edit::EmptyFirst),
        // The last one: the day it lets pass is everybody's.
        paged("data changes between pages", Edit::NextDay),
    ]);
    faults
}
