//! One generated account: its id, currency, rows and balance.
//!
//! Whether it exists on a day is `world`'s business, its names and JSON are `banking`'s.

use crate::detail;
use crate::hash::{Dice, Id, mix};
use crate::money::Money;
use crate::row::{self, Row, Status};
use crate::world::View;

/// A currency and its decimals.
#[derive(Debug, Clone, Copy)]
pub struct Currency {
    /// ISO 4217 code.
    pub code: &'static str,
    /// Digits behind the point.
    pub decimals: i32,
}

const fn currency(code: &'static str, decimals: i32) -> Currency {
    Currency { code, decimals }
}

const CURRENCIES: [Currency; 10] = [
    currency("EUR", 2),
    currency("EUR", 2),
    currency("EUR", 2),
    currency("GBP", 2),
    currency("SEK", 2),
    currency("PLN", 2),
    currency("DKK", 2),
    currency("USD", 2),
    currency("JPY", 0),
    currency("KWD", 3),
];

/// What one unit of any other currency is worth.
const RATE: i128 = 4;

/// One account of a user on a day.
#[derive(Debug)]
pub struct Account<'a> {
    /// The user it belongs to.
    pub view: &'a View<'a>,
    /// Its number.
    pub index: usize,
    /// Stays the same when the user connects anew.
    pub key: u64,
    /// Tink's id of it.
    pub id: Id,
    /// Its currency.
    pub currency: Currency,
}

impl<'a> Account<'a> {
    /// Account `index` of the user.
    pub fn new(view: &'a View<'a>, index: usize) -> Self {
        let key = mix(view.key, 1000 + index as u64);
        let currency = Dice::new(key, 2).pick(&CURRENCIES);
        Self { view, index, key, id: Id::of(mix(key, view.generation())), currency }
    }

    /// Its rows.
    pub fn rows(&self) -> Vec<Row> {
        row::rows(self.view.world, self.key, self.view.day as i32)
    }

    /// A currency that is not the account's own.
    pub fn other_currency(&self, dice: &mut Dice) -> Currency {
        let drawn = dice.pick(&CURRENCIES);
        if drawn.code == self.currency.code { currency("CHF", 2) } else { drawn }
    }

    /// Its booked balance on the day: what it opened with and every booked row since. Rows in another currency count
    /// at a rate that nobody is told; rows of undefined status count, too.
    pub fn balance(&self) -> Money {
        let mut dice = Dice::new(self.key, 3);
        let Currency { code, decimals } = self.currency;
        let opening =
            Money { unscaled: i128::from(dice.below(2_000_000)) - 200_000, scale: decimals, currency: code };
        let rows = self.rows();
        let booked = rows.iter().filter(|row| row.status != Status::Pending);
        let balance = booked.fold(opening, |sum, row| {
            let money = detail::money_of(row, self);
            let rate = if money.currency == code { 1 } else { RATE };
            sum.plus(money.unscaled * rate, money.scale)
        });
        let mut today = Dice::new(mix(self.key, u64::from(self.view.day)), 3);
        if today.below(8) == 0 { balance.rescaled() } else { balance }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Rates};
    use crate::world::{UserKey, World};

    #[test]
    fn the_balance_moves_by_the_booked_rows_of_the_day() {
        let world = World::new(&Config { rates: Rates::none(), ..Config::default() });
        let plan = world.seeded_plan(UserKey(1));
        let refreshes = BTreeMap::new();
        let mut last: Option<(Money, Money)> = None;
        for day in 0..5 {
            let view = View::new(&world, UserKey(1), &plan, day, &refreshes);
            let account = Account::new(&view, 0);
            let nothing = Money { unscaled: 0, scale: 0, currency: account.currency.code };
            let booked = account.rows().into_iter().filter(|row| row.status == Status::Booked);
            let rows = booked.map(|row| detail::money_of(&row, &account));
            let sum = rows.fold(nothing, |sum, money| sum.plus(money.unscaled, money.scale));
            let opening = account.balance().plus(-sum.unscaled, sum.scale);
            assert!(
                last.is_none_or(|(before, rows)| before.canonical() == opening.canonical() && rows != sum)
            );
            last = Some((opening, sum));
        }
    }
}
