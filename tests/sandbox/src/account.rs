//! One generated account: its id, currency, rows and balance.
//!
//! Whether it exists on a day is `world`'s business, its names and JSON are `banking`'s.

use crate::hash::{Dice, Id, mix};
use crate::money::Money;
use crate::row::{self, Row};
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

    /// Its booked balance on the day.
    pub fn balance(&self) -> Money {
        let mut dice = Dice::new(mix(self.key, u64::from(self.view.day)), 3);
        let Currency { code, decimals } = self.currency;
        let unscaled = i128::from(dice.below(2_000_000)) - 200_000;
        let money = Money { unscaled, scale: decimals, currency: code };
        match dice.below(8) {
            0 => money.rescaled(),
            1 => Money { unscaled: i128::from(dice.below(200)), scale: -3, ..money },
            _ => money,
        }
    }
}
