//! The balance reconciliation: what a bank says an account holds must move by exactly the booked rows that came or
//! went meanwhile. Pure: numbers and times in, a judgement out; when to judge, and that balance and rows
//! are of one refresh, is the caller's business.
//!
//! The booked balance less the sum of all booked rows is what the account held before the first of them, its
//! *opening*. It is kept once (the anchor) and must come out the same after every complete walk, whatever rows
//! were added, corrected or removed in between. If it does not, the difference is kept, with since when, and
//! ends only when the numbers agree again or a person accepts it; the anchor does not move meanwhile.
//!
//! What cannot be known is not guessed:
//!
//! * Rows dated before the account's first day (its oldest row when it was first anchored) are history that
//!   came later and mean nothing to the balance, or bookings that came late and count: both are tried.
//! * Rows in another currency and rows of undefined status move the balance by an unknown amount, if at all.
//!   While they change, nothing is proven, and the anchor starts anew; so it does when records leave a quarantine
//!   in which they were when it was set.
//! * A record in quarantine may be money that moved: while there is one nothing is proven, even where the numbers
//!   agree.
//! * An open difference is carried over such a new start, for nothing has explained it.
//!
//! * A balance that has never moved while rows did (a card that always shows 0.00) proves nothing. One that moves
//!   by just the opposite of its rows states a debt as a positive number; that is recognised once and kept.
//!
//! Pending rows never count, and rows dated after the day of the refresh do not count yet. It does not see two faults that cancel out, or what was wrong before the anchor.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;

use super::amount::Money;
use super::total::Total;
use super::transaction::Status;

/// How a live row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Booked, and dated on the account's first day or later, or not at all.
    Booked,
    /// Booked, and dated before the account's first day.
    Earlier,
    /// Neither booked nor pending.
    Undefined,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Booked, Self::Earlier, Self::Undefined];

    /// The text of the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Earlier => "earlier",
            Self::Undefined => "undefined",
        }
    }

    /// How a row counts; `None` if it does not.
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

/// Rows of one part and currency, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub total: Total,
    /// How many they are; less than none in a change.
    pub rows: i64,
}

impl Sum {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.total.is_zero()
    }
}

/// The rows of one account, added up by part and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<(Part, String), Sum>);

impl Sums {
    /// Counts one more row.
    pub fn add(&mut self, part: Part, money: &Money) {
        let sum = self.entry(part, &money.currency);
        sum.total += &Total::from(&money.amount);
        sum.rows += 1;
    }

    /// Counts one row less.
    pub fn take(&mut self, part: Part, money: &Money) {
        let sum = self.entry(part, &money.currency);
        sum.total -= &Total::from(&money.amount);
        sum.rows -= 1;
    }

    /// Adds what others change.
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

    /// What nobody knows the part of in a balance of this currency, as a text that changes when it changes.
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

/// How a bank states what an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// Money that comes in raises the balance.
    Usual,
    /// A debt is a positive number: money that goes out raises the balance (some cards).
    DebtPositive,
}

impl Convention {
    /// The text of the store.
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

    /// A sum of rows as it moves the balance.
    fn of(self, rows: &Total) -> Total {
        match self {
            Self::Usual => rows.clone(),
            Self::DebtPositive => Total::default().minus(rows),
        }
    }
}

/// What an account's balance and rows say after a complete walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceInput {
    /// The booked balance, read before the walk.
    pub balance: Option<Money>,
    /// `lastRefreshed`, read with it.
    pub refresh: Option<Timestamp>,
    /// The live rows, added up.
    pub sums: Sums,
    /// Of these, booked rows dated after the day of the refresh: they do not count yet.
    pub ahead: Sums,
    /// Records of the account that wait in quarantine.
    pub quarantined: u32,
}

/// The state that later ones are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The currency of the balance.
    pub currency: String,
    /// The balance less the booked rows.
    pub opening: Total,
    /// The balance itself; `None` where it was not kept.
    pub balance: Option<Total>,
    /// Rows dated before the account's first day.
    pub earlier: Total,
    /// Rows whose part in the balance nobody knows.
    pub unclear: String,
    pub quarantined: u32,
    /// Since when the reconciliation holds without a break.
    pub since: Timestamp,
}

/// What the balance holds more (or, negative, less) than the rows explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How much; never nothing.
    pub amount: Total,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it came to be this much.
    pub changed: Timestamp,
}

/// Why a walk proved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Tink does not say when it last looked.
    NoRefresh,
    /// Tink shows no booked balance.
    NoBalance,
    /// The balance is in another currency than before.
    CurrencyChanged,
    /// Rows in another currency or of undefined status came, changed or went.
    UnclearRows,
    /// Records are in quarantine, or those that were when the reconciliation began have left it.
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

    /// The text of the store and the view.
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

/// How far the balance of an account is explained by its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// What is compared with; `None` until the first judgement.
    pub anchor: Option<Anchor>,
    /// The refresh that was last judged.
    pub judged: Option<Timestamp>,
    /// The last refresh at which all added up.
    pub proven: Option<Timestamp>,
    /// What does not add up.
    pub difference: Option<Difference>,
    /// Why the last walk proved nothing.
    pub doubt: Option<Doubt>,
    /// How the balance moves with the rows; `None` until it has.
    pub convention: Option<Convention>,
}

impl Reconciliation {
    /// Whether this judgement, which followed `before`, stands only if balance and rows are of one refresh
    /// beyond doubt. That the numbers agree proves it.
    pub fn is_delicate(&self, before: &Self) -> bool {
        let agrees = before.anchor.is_some() && self.proven == self.judged && self.doubt.is_none();
        let stood_still = self.doubt == Some(Doubt::BalanceStill) && self.doubt != before.doubt;
        !agrees && (self.anchor != before.anchor || self.difference != before.difference || stood_still)
    }

    /// Whether a difference is open that was not before.
    pub fn opens(&self, before: &Self) -> bool {
        self.difference.is_some() && before.difference.is_none()
    }

    /// Takes an open difference as it is: the reconciliation starts anew from here. Says whether there was one.
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
    // Some banks count a booking of the future at once.
    if gap == convention.of(&input.ahead.total(Part::Booked, &seen.currency)) {
        let anchor = Anchor { since: anchor.since, opening: anchor.opening.clone(), ..seen };
        return Reconciliation { anchor: Some(anchor), proven, difference: None, ..after };
    }
    if let Some(doubt) = doubt(anchor, &seen) {
        return Reconciliation { anchor: Some(carried(seen, before)), doubt: Some(doubt), ..after };
    }
    if let Some(moved) = moved.filter(|_| before.convention.is_none()) {
        // Nothing is known yet of how this balance moves.
        if moved.balance.is_zero() && before.difference.is_none() {
            return Reconciliation { doubt: Some(Doubt::BalanceStill), ..after };
        }
        if moved.is_opposite() {
            let convention = Convention::DebtPositive;
            let seen = Anchor { since: anchor.since, ..measure(input, balance, convention, now) };
            let (anchor, convention) = (Some(seen), Some(convention));
            return Reconciliation { anchor, proven: Some(refresh), difference: None, convention, ..after };
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

/// By how much the balance and the rows have moved between two states.
struct Movement {
    balance: Total,
    rows: Total,
}

impl Movement {
    /// Returns `None` if the balance of the first state was not kept.
    fn between(before: &Anchor, seen: &Anchor, convention: Convention) -> Option<Self> {
        let balance = seen.balance.as_ref()?.minus(before.balance.as_ref()?);
        let gap = seen.opening.minus(&before.opening);
        Some(Self { rows: convention.of(&balance.minus(&gap)), balance })
    }

    /// Whether the balance rose by just what the rows took away.
    fn is_opposite(&self) -> bool {
        let mut both = self.balance.clone();
        both += &self.rows;
        both.is_zero() && !self.rows.is_zero()
    }
}

/// What a balance says of rows that are about to be removed since Tink no longer lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It has moved by just their sum: they are gone.
    Proves,
    /// It has moved as if they were still there, or not at all.
    Contradicts,
    Silent,
}

/// A balance and the booked rows that went with it at the last complete walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    pub balance: Money,
    /// The booked rows in its currency.
    pub rows: Total,
}

impl BalanceInput {
    /// The balance and the booked rows in its currency.
    pub fn stand(&self) -> Option<Stand> {
        let balance = self.balance.clone()?;
        let mut rows = self.sums.total(Part::Booked, &balance.currency);
        rows += &self.sums.total(Part::Earlier, &balance.currency);
        rows -= &self.ahead.total(Part::Booked, &balance.currency);
        Some(Stand { balance, rows })
    }

    /// What the balance says of booked rows that would go; `self` counts them as still there.
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

/// What else than a fault may explain that the numbers do not agree.
fn doubt(anchor: &Anchor, seen: &Anchor) -> Option<Doubt> {
    if anchor.unclear != seen.unclear {
        Some(Doubt::UnclearRows)
    } else if seen.quarantined < anchor.quarantined {
        Some(Doubt::Quarantine)
    } else {
        None
    }
}

/// A new start that leaves an open difference open.
fn carried(mut seen: Anchor, before: &Reconciliation) -> Anchor {
    if let Some(open) = &before.difference {
        seen.opening -= &open.amount;
    }
    seen
}

#[cfg(test)]
mod tests;
