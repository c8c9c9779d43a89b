//! What happens to one user: everything that is not data but circumstance.
//!
//! A plan is drawn from the seed and can be changed at any time. It must not decide what a row looks like.

use std::collections::BTreeMap;

use crate::config::Rates;
use crate::hash::Dice;
use crate::shape::PageShape;

/// The circumstances of one generated user.
#[derive(Debug, Clone, Default)]
pub struct UserPlan {
    /// How many accounts the user has (deleted ones included).
    pub accounts: usize,
    /// How many consents the accounts are spread over: account `i` belongs to consent `i % consents`.
    pub consents: usize,
    /// Whether account 0 is held by every consent.
    pub shared_account: bool,
    /// `(day, account)`: from that day on the account is gone everywhere, with its rows.
    pub deleted_accounts: Vec<(u32, usize)>,
    /// Accounts that the list leaves out, with their rows, although a consent still names them.
    pub hidden_accounts: Vec<usize>,
    /// Days on which the user connects anew: all ids change, IBANs stay.
    pub reconsents: Vec<u32>,
    /// Consents that the client deleted.
    pub deleted_consents: Vec<usize>,
    /// Deviations from a healthy consent, by number.
    pub consent: BTreeMap<usize, ConsentPlan>,
    /// Reads that no longer work.
    pub decay: Option<Decay>,
    /// From this day on the bank is not refreshed: data and `lastRefreshed` stand still.
    pub frozen_at: Option<u32>,
    /// From this day on `lastRefreshed` stands still although the data goes on.
    pub stamp_frozen_at: Option<u32>,
    /// How pages come.
    pub shape: PageShape,
    /// The next good page token is refused with 400, once.
    pub refuse_token_once: bool,
    /// Whether amounts are JSON numbers instead of strings.
    pub integer_amounts: bool,
    /// What a credentials refresh leads to.
    pub refresh: RefreshOutcome,
}

impl UserPlan {
    /// `account_deleted_on(2, 0)`: account 0 is gone from day 2 on.
    pub fn account_deleted_on(&mut self, day: u32, account: usize) -> &mut Self {
        self.deleted_accounts.push((day, account));
        self
    }

    /// The user connects anew on `day`.
    pub fn reconsent_on(&mut self, day: u32) -> &mut Self {
        self.reconsents.push(day);
        self
    }

    /// The deviations of consent `number`, to be filled in.
    pub fn consent(&mut self, number: usize) -> &mut ConsentPlan {
        self.consent.entry(number).or_default()
    }

    /// Everything is well again: consents renewed, reads working, refreshes on. Ids and deletions stay as they are.
    pub fn renew(&mut self) -> &mut Self {
        self.consent.clear();
        self.decay = None;
        self.frozen_at = None;
        self.stamp_frozen_at = None;
        self.hidden_accounts.clear();
        self
    }

    /// The plan that the seed gives the user with this key.
    pub fn seeded(key: u64, rates: &Rates, max_accounts: u32) -> Self {
        let mut dice = Dice::new(key, 1);
        let mut plan = Self {
            accounts: 1 + dice.below(max_accounts.max(1)) as usize,
            consents: if dice.hit(rates.two_consents) { 2 } else { 1 },
            integer_amounts: dice.hit(rates.integer_amounts),
            ..Self::default()
        };
        if dice.hit(rates.odd_pages) {
            plan.shape = PageShape::seeded(&mut dice);
        }
        if dice.hit(rates.shared_account) {
            plan.consents = 2;
            plan.shared_account = true;
        }
        plan.seed_consents(&mut dice, rates);
        plan.seed_trouble(&mut dice, rates);
        plan
    }

    fn seed_consents(&mut self, dice: &mut Dice, rates: &Rates) {
        for number in 0..self.consents {
            if dice.hit(rates.no_expiry) {
                self.consent(number).expiry = dice.pick(&[Expiry::Zero, Expiry::Null, Expiry::Absent]);
            }
            if dice.hit(rates.detailed_error) {
                self.consent(number).detailed_error = Some(DETAILED_ERROR.to_owned());
            }
            if dice.hit(rates.expired) {
                self.consent(number).expiry = Expiry::Day(-3);
            }
            if dice.hit(rates.unhealthy) {
                let status = dice.pick(&[
                    "TEMPORARY_ERROR",
                    "AUTHENTICATION_ERROR",
                    "SESSION_EXPIRED",
                    "PERMANENT_ERROR",
                    "UPDATING",
                ]);
                self.consent(number).status = Some(status.to_owned());
            }
        }
    }

    fn seed_trouble(&mut self, dice: &mut Dice, rates: &Rates) {
        if dice.hit(rates.account_deleted) {
            self.account_deleted_on(1 + dice.below(4), self.accounts - 1);
        }
        if dice.hit(rates.reconsent) {
            self.reconsent_on(1 + dice.below(4));
        }
        if dice.hit(rates.hidden_account) {
            self.hidden_accounts.push(self.accounts - 1);
        }
        if dice.hit(rates.decayed) {
            self.decay = Some(dice.pick(&[Decay::EmptyLists, Decay::Refused(403), Decay::Refused(404)]));
        }
        if dice.hit(rates.frozen) {
            self.frozen_at = Some(1);
        }
        if dice.hit(rates.no_accounts) {
            self.accounts = 0;
        }
    }
}

const DETAILED_ERROR: &str = r#"{"type":"PROVIDER_ERROR","displayMessage":"","details":{"reason":"PROVIDER_UNAVAILABLE","retryable":true}}"#;

/// How a consent deviates from a healthy one.
#[derive(Debug, Clone, Default)]
pub struct ConsentPlan {
    /// Instead of UPDATED.
    pub status: Option<String>,
    /// Instead of the time of the last refresh, in epoch milliseconds.
    pub status_updated: Option<i64>,
    /// When the consent ends.
    pub expiry: Expiry,
    /// `detailedError` as raw JSON.
    pub detailed_error: Option<String>,
    /// `sessionExtendable`.
    pub extendable: Option<bool>,
}

/// When a consent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// Some months after day 0, by seed.
    #[default]
    Seeded,
    /// At noon this many days after day 0.
    Day(i32),
    /// At this time, in epoch milliseconds.
    Millis(i64),
    /// 0, which means none.
    Zero,
    /// null.
    Null,
    /// No such field.
    Absent,
}

/// How reads fail once a consent has decayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// Accounts and transactions are empty lists.
    EmptyLists,
    /// Accounts and transactions are refused with this status.
    Refused(u16),
}

/// What a credentials refresh leads to. It is always answered 204.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshOutcome {
    /// UPDATED, with newer `statusUpdated` and `lastRefreshed`.
    #[default]
    Updated,
    /// Nothing happens.
    NoChange,
    /// UPDATING for ever (until the consent's plan is cleared).
    NeverEnds,
    /// The bank asks for the user.
    Awaiting,
}
