//! The balance reconciliation: the balance that a bank states must move by exactly the booked rows that were
//! added or removed meanwhile. Pure: numbers and times in, a judgement out. The caller decides when to judge,
//! and ensures that balance and rows are of one refresh.
//!
//! The booked balance less the sum of all booked rows is what the account held before the first of them, its
//! *opening*. It is stored once (the anchor) and must come out the same after every complete walk, whatever
//! rows were added, corrected or removed in between. Otherwise the difference is stored with the time since
//! when it is open. It ends only when the numbers agree again or a person accepts it; the anchor does not
//! move meanwhile.
//!
//! Unknowns are not guessed:
//!
//! * Rows dated before the account's first day (its oldest row when it was first anchored) are either history
//!   that arrived later and does not affect the balance, or late bookings that do. Both are tried.
//! * Rows in another currency and rows of undefined status move the balance by an unknown amount, if at all.
//!   While they change, nothing is proven and the anchor is set again. The same applies when records leave a
//!   quarantine in which they were when the anchor was set.
//! * A record in quarantine may be money that moved: while there is one, nothing is proven, even if the
//!   numbers agree.
//! * An open difference is carried over such a new start, since nothing has explained it. A balance in another
//!   currency is a new start too, but not while a difference is open: anchor and difference then stay until
//!   the currency is the old one again or a person accepts the difference.
//! * A balance that has never moved while rows did (a card that always shows 0.00) proves nothing. One that
//!   moves by exactly the opposite of its rows states debt as a positive number; this is recognised once and
//!   stored, and only of accounts that may owe (cards, loans): elsewhere it is a row of the wrong sign.
//!
//! Pending rows never count, and rows dated after the day of the refresh do not count yet. Two faults that
//! cancel out, and faults from before the anchor, are not detected.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::amount::Money;
use super::total::Total;
use super::transaction::Status;

/// How a live row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Booked, and undated or dated on the account's first day or later.
    Booked,
    /// Booked, and dated before the account's first day.
    Earlier,
    /// Neither booked nor pending.
    Undefined,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Booked, Self::Earlier, Self::Undefined];

    /// The text in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Earlier => "earlier",
            Self::Undefined => "undefined",
        }
    }

    /// The part of a row; `None` if it does not count.
    pub fn of(status: Status, booked_date: Option<Date>, first_day: Option<Date>) -> Option<Self> {
        match status {
            Status::Booked if booked_date.zip(first_day).is_some_and(|(date, first)| date < first) => {
                Some(Self::Earlier)
            }
            Status::Booked => Some(Self::Booked),
            Status::Undefined => Some(Self::Undefined),
            Status::Pending => None,
        }
    }
}

/// The sum of the rows of one part and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub total: Total,
    /// The number of rows; may be negative in a change.
    pub rows: i64,
}

impl Sum {
    /// Whether it is empty of rows and of money.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.total.is_zero()
    }
}

/// The sums of an account's rows, by part and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<(Part, String), Sum>);

impl Sums {
    /// Adds one row.
    pub fn add(&mut self, part: Part, money: &Money) {
        let sum = self.entry(part, &money.currency);
        sum.total += &Total::from(&money.amount);
        sum.rows += 1;
    }

    /// Takes one row away.
    pub fn take(&mut self, part: Part, money: &Money) {
        let sum = self.entry(part, &money.currency);
        sum.total -= &Total::from(&money.amount);
        sum.rows -= 1;
    }

    /// Adds the changes in `others`.
    pub fn change_by(&mut self, others: &Self) {
        for ((part, currency), change) in &others.0 {
            let sum = self.entry(*part, currency);
            sum.total += &change.total;
            sum.rows += change.rows;
        }
    }

    fn entry(&mut self, part: Part, currency: &str) -> &mut Sum {
        self.0.entry((part, currency.to_owned())).or_default()
    }

    fn total(&self, part: Part, currency: &str) -> Total {
        self.0.get(&(part, currency.to_owned())).map(|sum| sum.total.clone()).unwrap_or_default()
    }

    /// The sums whose effect on a balance in this currency is unknown, as a text that differs whenever they
    /// do.
    fn unclear(&self, currency: &str) -> String {
        let mut text = String::new();
        for ((part, other), sum) in &self.0 {
            let known = *part == Part::Earlier || (*part == Part::Booked && other == currency);
            if !known && !sum.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{} {other} {} {};", part.as_str(), sum.rows, sum.total);
            }
        }
        text
    }
}

/// The sign convention of a bank's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// Money that comes in raises the balance.
    Usual,
    /// A debt is a positive number: money that goes out raises the balance (some cards).
    DebtPositive,
}

impl Convention {
    /// The text in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::DebtPositive => "debt_positive",
        }
    }

    /// Reads the store's text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Usual, Self::DebtPositive].into_iter().find(|one| one.as_str() == text)
    }

    /// How these rows move the balance.
    fn of(self, rows: &Total) -> Total {
        match self {
            Self::Usual => rows.clone(),
            Self::DebtPositive => Total::default().minus(rows),
        }
    }
}

/// An account's balance and rows after a complete walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceInput {
    /// The booked balance, read before the walk.
    pub balance: Option<Money>,
    /// `lastRefreshed`, read with the balance.
    pub refresh: Option<Timestamp>,
    /// The sums of the live rows.
    pub sums: Sums,
    /// Of these, the booked rows dated after the day of the refresh, which do not count yet.
    pub ahead: Sums,
    /// The number of records of the account in quarantine.
    pub quarantined: u32,
    /// The account is of a type whose balance may be stated as a debt.
    pub owed: bool,
}

/// The state with which later ones are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The currency of the balance.
    pub currency: String,
    /// The balance less the booked rows.
    pub opening: Total,
    /// The balance itself; `None` if it was not stored.
    pub balance: Option<Total>,
    /// The sum of rows dated before the account's first day.
    pub earlier: Total,
    /// Rows whose effect on the balance is unknown (`Sums::unclear`).
    pub unclear: String,
    pub quarantined: u32,
    /// Since when the reconciliation has run without a new start.
    pub since: Timestamp,
}

/// What the balance holds beyond what the rows explain; negative if less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Never zero.
    pub amount: Total,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it reached this amount.
    pub changed: Timestamp,
}

/// Why a walk proved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Tink gives no refresh time.
    NoRefresh,
    /// Tink shows no booked balance.
    NoBalance,
    /// The balance is in another currency than before.
    CurrencyChanged,
    /// Rows in another currency or of undefined status were added, changed or removed.
    UnclearRows,
    /// Records are in quarantine, or fewer than when the anchor was set.
    Quarantine,
    /// The balance has never moved, though rows did.
    BalanceStill,
}

impl Doubt {
    const ALL: [Self; 6] = [
        Self::NoRefresh,
        Self::NoBalance,
        Self::CurrencyChanged,
        Self::UnclearRows,
        Self::Quarantine,
        Self::BalanceStill,
    ];

    /// The text in the store and the view.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRefresh => "no_refresh",
            Self::NoBalance => "no_balance",
            Self::CurrencyChanged => "currency_changed",
            Self::UnclearRows => "unclear_rows",
            Self::Quarantine => "quarantine",
            Self::BalanceStill => "balance_still",
        }
    }

    /// Reads the store's text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| doubt.as_str() == text)
    }
}

/// How far an account's rows explain its balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// The state to compare with; `None` until the first judgement.
    pub anchor: Option<Anchor>,
    /// The refresh that was last judged.
    pub judged: Option<Timestamp>,
    /// The last refresh at which everything added up.
    pub proven: Option<Timestamp>,
    /// The open difference, if any.
    pub difference: Option<Difference>,
    /// Why the last walk proved nothing.
    pub doubt: Option<Doubt>,
    /// How the balance moves with the rows; `None` until it has moved.
    pub convention: Option<Convention>,
}

impl Reconciliation {
    /// Whether this judgement, made after `before`, is valid only if balance and rows are certainly of one
    /// refresh. Numbers that agree prove that they are.
    pub fn is_delicate(&self, before: &Self) -> bool {
        let agrees = before.anchor.is_some() && self.proven == self.judged && self.doubt.is_none();
        let stood_still = self.doubt == Some(Doubt::BalanceStill) && self.doubt != before.doubt;
        !agrees && (self.anchor != before.anchor || self.difference != before.difference || stood_still)
    }

    /// Whether a difference is to be reported now: a refresh that is at least `min_open` newer than the first
    /// sight of it still shows it, and `before` was not that old. With a `min_open` of zero a difference is
    /// reported as soon as it opens.
    pub fn is_due_for_report(&self, before: &Self, min_open: SignedDuration) -> bool {
        self.has_stood(min_open) && !before.has_stood(min_open)
    }

    fn has_stood(&self, min_open: SignedDuration) -> bool {
        let Some(open) = &self.difference else { return false };
        min_open.is_zero()
            || self.judged.is_some_and(|refresh| refresh.duration_since(open.since) >= min_open)
    }

    /// Accepts the open difference: the reconciliation restarts from here. Returns whether there was one.
    pub fn accept(&mut self, now: Timestamp) -> bool {
        let (Some(anchor), Some(difference)) = (&mut self.anchor, self.difference.take()) else {
            return false;
        };
        anchor.opening += &difference.amount;
        anchor.since = now;
        (self.proven, self.doubt) = (self.judged, None);
        true
    }
}

/// Judges the state after a complete walk.
pub fn reconcile(before: &Reconciliation, input: &BalanceInput, now: Timestamp) -> Reconciliation {
    let nothing = |doubt| Reconciliation { doubt: Some(doubt), ..before.clone() };
    let Some(refresh) = input.refresh else { return nothing(Doubt::NoRefresh) };
    let Some(balance) = &input.balance else { return nothing(Doubt::NoBalance) };
    let convention = before.convention.unwrap_or(Convention::Usual);
    let seen = measure(input, balance, convention, now);
    let waits = input.quarantined > 0;
    let after =
        Reconciliation { judged: Some(refresh), doubt: waits.then_some(Doubt::Quarantine), ..before.clone() };
    let proven = if waits { before.proven } else { Some(refresh) };
    let Some(anchor) = &before.anchor else {
        return Reconciliation { anchor: Some(seen), proven, ..after };
    };
    if anchor.currency != seen.currency {
        let doubt = Some(Doubt::CurrencyChanged);
        if before.difference.is_some() {
            return nothing(Doubt::CurrencyChanged);
        }
        return Reconciliation { anchor: Some(seen), difference: None, doubt, convention: None, ..after };
    }
    let gap = seen.opening.minus(&anchor.opening);
    let moved = Movement::between(anchor, &seen, convention);
    if gap.is_zero() || gap == seen.earlier.minus(&anchor.earlier) {
        let convention =
            before.convention.or(moved.is_some_and(|m| !m.balance.is_zero()).then_some(convention));
        let anchor = Anchor { since: anchor.since, ..seen };
        return Reconciliation { anchor: Some(anchor), proven, difference: None, convention, ..after };
    }
    // Some banks count a future booking at once.
    if gap == convention.of(&input.ahead.total(Part::Booked, &seen.currency)) {
        let anchor = Anchor { since: anchor.since, opening: anchor.opening.clone(), ..seen };
        return Reconciliation { anchor: Some(anchor), proven, difference: None, ..after };
    }
    if let Some(doubt) = doubt(anchor, &seen) {
        return Reconciliation { anchor: Some(carried(seen, before)), doubt: Some(doubt), ..after };
    }
    if let Some(moved) = moved.filter(|_| before.convention.is_none()) {
        // It is not known yet how this balance moves.
        if moved.balance.is_zero() && before.difference.is_none() {
            return Reconciliation { doubt: Some(Doubt::BalanceStill), ..after };
        }
        if input.owed && moved.is_opposite() {
            let convention = Convention::DebtPositive;
            let seen = Anchor { since: anchor.since, ..measure(input, balance, convention, now) };
            let (anchor, convention) = (Some(seen), Some(convention));
            return Reconciliation { anchor, proven, difference: None, convention, ..after };
        }
    }
    let (since, changed) = match &before.difference {
        Some(open) if open.amount == gap => (open.since, open.changed),
        Some(open) => (open.since, now),
        None => (now, now),
    };
    Reconciliation { difference: Some(Difference { amount: gap, since, changed }), ..after }
}

fn measure(input: &BalanceInput, balance: &Money, convention: Convention, now: Timestamp) -> Anchor {
    let currency = &balance.currency;
    let stated = Total::from(&balance.amount);
    let rows = input.sums.total(Part::Booked, currency).minus(&input.ahead.total(Part::Booked, currency));
    Anchor {
        opening: stated.minus(&convention.of(&rows)),
        balance: Some(stated),
        earlier: convention.of(&input.sums.total(Part::Earlier, currency)),
        unclear: input.sums.unclear(currency),
        currency: currency.clone(),
        quarantined: input.quarantined,
        since: now,
    }
}

/// By how much the balance and the rows moved between two states.
struct Movement {
    balance: Total,
    rows: Total,
}

impl Movement {
    /// Returns `None` if the balance of the first state was not stored.
    fn between(before: &Anchor, seen: &Anchor, convention: Convention) -> Option<Self> {
        let balance = seen.balance.as_ref()?.minus(before.balance.as_ref()?);
        let gap = seen.opening.minus(&before.opening);
        Some(Self { rows: convention.of(&balance.minus(&gap)), balance })
    }

    /// Whether the balance moved by exactly the opposite of the rows.
    fn is_opposite(&self) -> bool {
        let mut both = self.balance.clone();
        both += &self.rows;
        both.is_zero() && !self.rows.is_zero()
    }
}

/// What the balance indicates about rows to be removed because Tink no longer lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It has moved by exactly their sum: they are gone.
    Proves,
    /// It has moved as if they were still there, or not at all.
    Contradicts,
    Silent,
}

/// The balance at a complete walk, and the booked rows that count towards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    pub balance: Money,
    /// The booked rows in its currency, summed.
    pub rows: Total,
}

impl BalanceInput {
    /// The balance and the booked rows in its currency that count by now.
    pub fn stand(&self) -> Option<Stand> {
        let balance = self.balance.clone()?;
        let mut rows = self.sums.total(Part::Booked, &balance.currency);
        rows += &self.sums.total(Part::Earlier, &balance.currency);
        rows -= &self.ahead.total(Part::Booked, &balance.currency);
        Some(Stand { balance, rows })
    }

    /// What the balance indicates about booked rows to be removed; `self` still counts them.
    pub fn evidence<'a>(
        &self,
        reconciliation: &Reconciliation,
        before: Option<&Stand>,
        going: impl Iterator<Item = &'a Money>,
    ) -> Evidence {
        let Some(now) = self.stand() else { return Evidence::Silent };
        let currency = &now.balance.currency;
        let mut gone = Total::default();
        going
            .filter(|money| money.currency == *currency)
            .for_each(|money| gone += &Total::from(&money.amount));
        if gone.is_zero() || reconciliation.doubt == Some(Doubt::BalanceStill) {
            return Evidence::Silent;
        }
        let convention = reconciliation.convention.unwrap_or(Convention::Usual);
        let gone = convention.of(&gone);
        let mut said = Vec::new();
        if let Some(anchor) = reconciliation.anchor.as_ref().filter(|anchor| anchor.currency == *currency) {
            let seen = measure(self, &now.balance, convention, anchor.since);
            // Without the rows the opening would be higher by their sum.
            let gap = anchor.opening.minus(&seen.opening);
            said.push((gap == gone, gap.is_zero()));
        }
        if let Some(before) = before.filter(|before| before.balance.currency == *currency) {
            let stated = |stand: &Stand| Total::from(&stand.balance.amount);
            let balance = stated(&now).minus(&stated(before));
            let rows = convention.of(&now.rows.minus(&before.rows));
            let stands_still = balance.is_zero() && rows != gone;
            said.push((rows.minus(&balance) == gone, rows == balance || stands_still));
        }
        if said.iter().any(|(proves, _)| *proves) {
            Evidence::Proves
        } else if said.iter().any(|(_, contradicts)| *contradicts) {
            Evidence::Contradicts
        } else {
            Evidence::Silent
        }
    }
}

/// What other than a fault may explain that the numbers do not agree.
fn doubt(anchor: &Anchor, seen: &Anchor) -> Option<Doubt> {
    if anchor.unclear != seen.unclear {
        Some(Doubt::UnclearRows)
    } else if seen.quarantined < anchor.quarantined {
        Some(Doubt::Quarantine)
    } else {
        None
    }
}

/// A new anchor that leaves an open difference open.
fn carried(mut seen: Anchor, before: &Reconciliation) -> Anchor {
    if let Some(open) = &before.difference {
        seen.opening -= &open.amount;
    }
    seen
}

#[cfg(test)]
mod tests;
