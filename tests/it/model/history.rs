//! Histories of a bank, made at random and told in words. Nothing happens here.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::bank::{Balance, Number};

/// Steps of a history.
const STEPS: usize = 8;

/// What banks write. Most share words that say nothing.
pub const TEXTS: [&str; 6] = [
    "COFFEE BAR",
    "CARD PAYMENT TO GRAND HOTEL",
    "CARD PAYMENT TO CITY BOOKSTORE",
    "CARD PAYMENT TO TRAM",
    "Salary ACME Ltd",
    "",
];

/// Few amounts, so that many rows are alike.
const CENTS: [i64; 6] = [-250, -350, -500, -4500, 120_000, 250];

/// One thing that happens at the bank. Accounts and rows are meant by numbers, whatever there is.
#[derive(Clone, Debug)]
pub enum Act {
    Book {
        account: u8,
        on: Option<i8>,
        cents: i64,
        text: u8,
    },
    Reserve {
        account: u8,
        on: Option<i8>,
        cents: i64,
        text: u8,
    },
    Settle {
        account: u8,
        pick: u8,
        same_id: bool,
        longer: bool,
        after: i8,
    },
    Cancel {
        account: u8,
        pick: u8,
    },
    TakeBack {
        account: u8,
        pick: u8,
        many: u8,
    },
    Amend {
        account: u8,
        pick: u8,
        cents: i64,
    },
    Move {
        account: u8,
        pick: u8,
        by: i8,
    },
    Retext {
        account: u8,
        pick: u8,
        text: u8,
    },
    Twin {
        account: u8,
        pick: u8,
    },
    Reissue {
        account: u8,
    },
    Renew {
        same_rows: bool,
        drift: Drift,
        other_kind: bool,
        new_consent: bool,
    },
    Beside {
        drift: Drift,
    },
    /// The old consent goes, or ends with its accounts listed or only named; or the newer one goes.
    Part {
        listed: Option<bool>,
        newer: bool,
    },
    Close,
}

impl Act {
    /// Whether ids of accounts change: the bank lists everything then, and rests until it was read once.
    pub fn is_renewal(&self) -> bool {
        matches!(self, Self::Renew { .. } | Self::Beside { .. } | Self::Part { .. })
    }
}

/// How texts change when a consent is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    None,
    Case,
    Blanks,
    Prefix,
}

/// What is between the bank and the pass.
#[derive(Clone, Debug)]
pub enum Weather {
    Fine,
    /// A page of transactions is refused.
    PageFails,
    /// The consent has a passing trouble.
    Unwell,
    /// The consent is past its date and goes on refreshing.
    PastDate,
    /// This many eighths of each list, the newest rows.
    Cut {
        keep: u8,
    },
    EmptyList,
    NoAccounts,
    OneMissing,
    NoConsents,
    /// The bank is refreshed while the first account is being read.
    Meanwhile(Vec<Act>),
    /// A list that never ends.
    Loop,
}

impl Weather {
    /// Whether a pass in it reads all there is.
    pub fn shows_all(&self) -> bool {
        matches!(self, Self::Fine | Self::Unwell | Self::PastDate | Self::NoConsents)
    }
}

/// One pass, and what happened before it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Hours since the step before.
    pub hours: u32,
    pub acts: Vec<Act>,
    pub weather: Weather,
}

#[derive(Clone, Debug)]
pub struct History {
    pub accounts: Vec<(Number, Balance)>,
    /// Booked rows of the first account when it is connected, some months of them.
    pub rows: u16,
    pub steps: Vec<Step>,
}

/// The hours between the steps of histories that are played together.
pub fn hours() -> impl Strategy<Value = Vec<u32>> {
    let hours = prop_oneof![
        1 => Just(6u32), 6 => Just(24), 2 => Just(48), 3 => Just(8 * 24), 1 => Just(35 * 24), 1 => Just(120 * 24)
    ];
    vec(hours, STEPS)
}

/// Any history whose last step comes after all of these hours.
pub fn histories(hours: Vec<u32>) -> impl Strategy<Value = History> {
    let number = prop_oneof![8 => Just(Number::Iban), 1 => Just(Number::Mask), 1 => Just(Number::SortCode)];
    let balance = prop_oneof![
        6 => Just(Balance::Moves), 1 => Just(Balance::Debt), 1 => Just(Balance::Still), 1 => Just(Balance::Absent)
    ];
    let rows = prop_oneof![24 => 0u16..12, 6 => 12u16..60, 1 => Just(270u16)];
    let step = (vec(act(), 0..4), weather());
    (vec((number, balance), 1..=2), rows, vec(step, 1..=STEPS)).prop_map(move |(accounts, rows, steps)| {
        let hours = hours.iter().skip(STEPS - steps.len());
        let steps = steps.into_iter().zip(hours);
        let steps = steps.map(|((acts, weather), hours)| Step { hours: *hours, acts, weather }).collect();
        History { accounts, rows, steps }
    })
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        14 => Just(Weather::Fine),
        1 => Just(Weather::PageFails),
        1 => Just(Weather::Unwell),
        1 => Just(Weather::PastDate),
        2 => (0u8..8).prop_map(|keep| Weather::Cut { keep }),
        1 => Just(Weather::EmptyList),
        1 => Just(Weather::NoAccounts),
        1 => Just(Weather::OneMissing),
        1 => Just(Weather::NoConsents),
        2 => vec(small_act(), 1..3).prop_map(Weather::Meanwhile),
        1 => Just(Weather::Loop),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![9 => small_act(), 1 => renewal()]
}

pub fn small_act() -> impl Strategy<Value = Act> {
    let on = prop_oneof![
        8 => (-5i8..=0).prop_map(Some), 2 => (-75i8..-14).prop_map(Some), 1 => (1i8..=60).prop_map(Some), 1 => Just(None)
    ];
    let soon = prop_oneof![8 => (-1i8..=3).prop_map(Some), 1 => Just(None)];
    let (account, pick, text) = (0u8..2, any::<u8>(), 0u8..6);
    prop_oneof![
        5 => (account.clone(), on, cents(), text.clone())
            .prop_map(|(account, on, cents, text)| Act::Book { account, on, cents, text }),
        4 => (account.clone(), soon, cents(), text.clone())
            .prop_map(|(account, on, cents, text)| Act::Reserve { account, on, cents, text }),
        4 => (account.clone(), pick, any::<bool>(), any::<bool>(), -1i8..=3)
            .prop_map(|(account, pick, same_id, longer, after)| Act::Settle { account, pick, same_id, longer, after }),
        2 => (account.clone(), pick).prop_map(|(account, pick)| Act::Cancel { account, pick }),
        3 => (account.clone(), pick, prop_oneof![3 => Just(1u8), 1 => 2u8..12])
            .prop_map(|(account, pick, many)| Act::TakeBack { account, pick, many }),
        2 => (account.clone(), pick, cents()).prop_map(|(account, pick, cents)| Act::Amend { account, pick, cents }),
        1 => (account.clone(), pick, -60i8..=60).prop_map(|(account, pick, by)| Act::Move { account, pick, by }),
        1 => (account.clone(), pick, text).prop_map(|(account, pick, text)| Act::Retext { account, pick, text }),
        2 => (account.clone(), pick).prop_map(|(account, pick)| Act::Twin { account, pick }),
        2 => account.prop_map(|account| Act::Reissue { account }),
    ]
}

fn renewal() -> impl Strategy<Value = Act> {
    let drift = || select(vec![Drift::None, Drift::Case, Drift::Blanks, Drift::Prefix]);
    let usually_not = || prop_oneof![3 => Just(false), 1 => Just(true)];
    prop_oneof![
        4 => (usually_not(), drift(), usually_not(), any::<bool>()).prop_map(
            |(same_rows, drift, other_kind, new_consent)| Act::Renew { same_rows, drift, other_kind, new_consent }),
        2 => drift().prop_map(|drift| Act::Beside { drift }),
        3 => (select(vec![None, Some(true), Some(false)]), usually_not())
            .prop_map(|(listed, newer)| Act::Part { listed, newer }),
        1 => Just(Act::Close),
    ]
}

fn cents() -> impl Strategy<Value = i64> + Clone {
    select(CENTS.to_vec())
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "accounts {:?}, {} booked rows at first", self.accounts, self.rows)?;
        for (n, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {}. {step}", n + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} hours", self.hours)?;
        for act in &self.acts {
            write!(f, ", {act}")?;
        }
        write!(f, "; a pass ({})", self.weather)
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine => write!(f, "nothing wrong"),
            Self::PageFails => write!(f, "a page is refused"),
            Self::Unwell => write!(f, "the consent is in TEMPORARY_ERROR"),
            Self::PastDate => write!(f, "the consent is past its date"),
            Self::Cut { keep } => write!(f, "only the newest {keep}/8 of each list are shown"),
            Self::EmptyList => write!(f, "no transactions are shown"),
            Self::NoAccounts => write!(f, "no accounts are shown"),
            Self::OneMissing => write!(f, "the last account is not shown"),
            Self::NoConsents => write!(f, "no consents are shown"),
            Self::Loop => write!(f, "a page token repeats"),
            Self::Meanwhile(acts) => {
                write!(f, "refreshed during the walk:")?;
                acts.iter().try_for_each(|act| write!(f, " {act}"))
            }
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Book { account, on, cents, text } => {
                write!(f, "account {account} books {cents} on day {on:?} {:?}", TEXTS[usize::from(*text)])
            }
            Self::Reserve { account, on, cents, text } => {
                write!(f, "account {account} reserves {cents} on day {on:?} {:?}", TEXTS[usize::from(*text)])
            }
            Self::Settle { account, pick, same_id, longer, after } => write!(
                f,
                "account {account} books reservation {pick} {after} days later under {} id{}",
                if *same_id { "its" } else { "a new" },
                if *longer { " with a longer text" } else { "" }
            ),
            Self::Cancel { account, pick } => write!(f, "account {account} cancels reservation {pick}"),
            Self::TakeBack { account, pick, many } => {
                write!(f, "account {account} takes back {many} rows from {pick} on")
            }
            Self::Amend { account, pick, cents } => write!(f, "account {account} amends {pick} to {cents}"),
            Self::Move { account, pick, by } => write!(f, "account {account} moves {pick} by {by} days"),
            Self::Retext { account, pick, text } => {
                write!(f, "account {account} changes the text of {pick} to {:?}", TEXTS[usize::from(*text)])
            }
            Self::Twin { account, pick } => write!(f, "account {account} books a twin of {pick}"),
            Self::Reissue { account } => write!(f, "account {account} gives all rows new ids"),
            Self::Renew { same_rows, drift, other_kind, new_consent } => write!(
                f,
                "the consent is renewed (row ids {}, texts drift {drift:?}, type {}, {} consent)",
                if *same_rows { "stay" } else { "change" },
                if *other_kind { "SAVINGS" } else { "CHECKING" },
                if *new_consent { "new" } else { "same" },
            ),
            Self::Beside { drift } => write!(f, "a second consent beside the first (texts drift {drift:?})"),
            Self::Part { newer: true, .. } => write!(f, "the newer of two consents is deleted"),
            Self::Part { listed: None, .. } => write!(f, "the older of two consents is deleted"),
            Self::Part { listed: Some(true), .. } => {
                write!(f, "the older consent ends, its accounts stay listed")
            }
            Self::Part { listed: Some(false), .. } => {
                write!(f, "the older consent ends, its accounts are only named")
            }
            Self::Close => write!(f, "an account is closed"),
        }
    }
}
