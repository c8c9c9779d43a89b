//! The generated world: which users and consents there are on a day, and which accounts they hold.
//!
//! A pure function of the seed, the user's plan and the day; nothing is stored. It must not write JSON.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::calendar::Calendar;
use crate::config::{Config, Rates};
use crate::hash::{Dice, Id, mix};
use crate::plan::UserPlan;

/// Bit that tells users made at run time from generated ones.
const MADE: u64 = 1 << 32;
const SPREAD: u64 = 0xD6E8_FEB8_6659_FD93;

/// Number of a user: generated ones first, then those made at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey(pub u64);

impl UserKey {
    /// The user made at run time as number `index`.
    pub fn made(index: usize) -> Self {
        Self(MADE | index as u64)
    }

    /// The index of a user made at run time.
    pub fn made_index(self) -> Option<usize> {
        (self.0 & MADE != 0).then_some((self.0 & !MADE) as usize)
    }
}

/// The seed, the calendar and the odds.
#[derive(Debug)]
pub struct World {
    /// Everything depends on it.
    pub seed: u64,
    /// The days.
    pub calendar: Calendar,
    /// How many users are generated.
    pub users: u32,
    /// Days of history before day 0.
    pub history_days: u32,
    /// Mean of booked rows per account and day.
    pub rows_per_day: f64,
    /// Mean of pending rows per account and day.
    pub pending_per_day: f64,
    /// Most accounts of a user.
    pub max_accounts: u32,
    /// How often odd things happen.
    pub rates: Rates,
}

impl World {
    /// The world that `config` describes.
    pub fn new(config: &Config) -> Self {
        Self {
            seed: config.seed,
            calendar: Calendar::new(config.day0),
            users: config.users,
            history_days: config.history_days,
            rows_per_day: config.rows_per_day,
            pending_per_day: config.pending_per_day,
            max_accounts: config.max_accounts,
            rates: config.rates.clone(),
        }
    }

    /// Tink's id of a user. It can be undone, so that no table of users is needed.
    pub fn user_id(&self, user: UserKey) -> Id {
        let hidden = user.0.wrapping_mul(SPREAD) ^ mix(self.seed, 3);
        Id(hidden, mix(hidden, self.seed))
    }

    /// The user with this id, whether or not there is one.
    pub fn user_of_id(&self, text: &str) -> Option<UserKey> {
        let id = Id::parse(text)?;
        let user = (id.0 ^ mix(self.seed, 3)).wrapping_mul(inverse(SPREAD));
        (self.user_id(UserKey(user)) == id).then_some(UserKey(user))
    }

    /// The generated user called `user-<n>`.
    pub fn user_named(&self, name: &str) -> Option<UserKey> {
        let digits = name.strip_prefix("user-")?;
        let number: u32 = digits.parse().ok()?;
        (number < self.users && number.to_string() == digits).then_some(UserKey(u64::from(number)))
    }

    /// The plan that the seed gives `user`.
    pub fn seeded_plan(&self, user: UserKey) -> UserPlan {
        UserPlan::seeded(self.user_seed(user), &self.rates, self.max_accounts)
    }

    fn user_seed(&self, user: UserKey) -> u64 {
        mix(self.seed, user.0)
    }
}

// Newton's method doubles the number of right bits in each round.
const fn inverse(odd: u64) -> u64 {
    let (mut x, mut round) = (odd, 0);
    while round < 6 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        round += 1;
    }
    x
}

/// One user's data on one day.
#[derive(Debug)]
pub struct View<'a> {
    /// The world it is part of.
    pub world: &'a World,
    /// The user's circumstances.
    pub plan: &'a UserPlan,
    /// The day up to which the bank's data has come.
    pub day: u32,
    /// The day shown as `lastRefreshed`.
    pub stamp_day: u32,
    /// Finished refreshes by consent.
    pub refreshes: &'a BTreeMap<usize, u32>,
    /// Everything about the user depends on it.
    pub key: u64,
}

impl<'a> View<'a> {
    /// What `user` looks like on `day`.
    pub fn new(
        world: &'a World,
        user: UserKey,
        plan: &'a UserPlan,
        day: u32,
        refreshes: &'a BTreeMap<usize, u32>,
    ) -> Self {
        let data_day = day.min(plan.frozen_at.unwrap_or(day));
        let stamp_day = data_day.min(plan.stamp_frozen_at.unwrap_or(day));
        Self { world, plan, day: data_day, stamp_day, refreshes, key: world.user_seed(user) }
    }

    /// How often the user has connected anew.
    pub fn generation(&self) -> u64 {
        self.plan.reconsents.iter().filter(|&&day| day <= self.day).count() as u64
    }

    /// Numbers of the consents that exist.
    pub fn consents(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.consents).filter(|number| !self.plan.deleted_consents.contains(number))
    }

    /// The credentials id of a consent.
    pub fn credentials_id(&self, consent: usize) -> Id {
        Id::of(mix(mix(self.key, 100 + consent as u64), self.generation()))
    }

    /// The consent with this credentials id.
    pub fn consent_of(&self, credentials_id: &str) -> Option<usize> {
        let id = Id::parse(credentials_id)?;
        self.consents().find(|&number| self.credentials_id(number) == id)
    }

    /// Throws for one topic of a consent.
    pub fn consent_dice(&self, consent: usize) -> Dice {
        Dice::new(mix(self.key, 100 + consent as u64), 9)
    }

    /// Whether the consent names the account.
    pub fn holds(&self, consent: usize, account: usize) -> bool {
        account % self.plan.consents.max(1) == consent || (self.plan.shared_account && account == 0)
    }

    /// Accounts that exist: not deleted, and held by a consent that exists.
    pub fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        let deleted = |account| {
            self.plan.deleted_accounts.iter().any(|&(day, index)| index == account && day <= self.day)
        };
        let held = |account| self.consents().any(|consent| self.holds(consent, account));
        (0..self.plan.accounts)
            .filter(move |&index| !deleted(index) && held(index))
            .map(|index| Account::new(self, index))
    }

    /// Accounts that the list shows.
    pub fn listed_accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.accounts().filter(|account| !self.plan.hidden_accounts.contains(&account.index))
    }

    /// Epoch second of the last refresh of an account: shortly after midnight of the day, later for each refresh on demand.
    pub fn last_refreshed(&self, account: usize) -> i64 {
        let held = self.consents().filter(|&consent| self.holds(consent, account));
        let latest = held.map(|consent| self.consent_refreshed(consent)).max();
        latest.unwrap_or_else(|| self.world.calendar.second(self.stamp_day as i32, 0))
    }

    /// Epoch second of a consent's last refresh.
    pub fn consent_refreshed(&self, consent: usize) -> i64 {
        let demanded = self.refreshes.get(&consent).copied().unwrap_or(0);
        let usual = self.consent_dice(consent).below(1200);
        self.world.calendar.second(self.stamp_day as i32, i64::from(usual) + i64::from(demanded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_can_be_undone() {
        let world = World::new(&Config::default());
        for number in [0, 1, 99, u64::from(u32::MAX), UserKey::made(7).0] {
            let id = world.user_id(UserKey(number)).to_string();
            assert_eq!(world.user_of_id(&id), Some(UserKey(number)));
        }
        assert_eq!(world.user_of_id(&Id::of(1).to_string()), None);
        assert_eq!(UserKey::made(7).made_index(), Some(7));
    }

    #[test]
    fn only_existing_names_are_users() {
        let world = World::new(&Config::default());
        assert_eq!(world.user_named("user-7"), Some(UserKey(7)));
        assert!(
            ["user-100", "user-07", "user--1", "user-", "7"]
                .iter()
                .all(|name| world.user_named(name).is_none())
        );
    }

    #[test]
    fn refreshes_move_strictly_with_the_day() {
        let world = World::new(&Config::default());
        let plan = world.seeded_plan(UserKey(1));

        let stamps = |day, demanded: &[(usize, u32)]| {
            let refreshes = demanded.iter().copied().collect();
            View::new(&world, UserKey(1), &plan, day, &refreshes).last_refreshed(0)
        };
        assert!((0..5).all(|day| stamps(day, &[(0, 9), (1, 9)]) < stamps(day + 1, &[])));
        assert!(stamps(2, &[]) < stamps(2, &[(0, 1), (1, 1)]));
    }
}
