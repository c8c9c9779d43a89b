//! What a row says: its amount, texts and identifiers.
//!
//! Resolved once and used for the JSON as well as for the truth. It must not decide whether a row is shown.

use crate::account::{Account, Currency};
use crate::hash::{Dice, Id, mix};
use crate::money::Money;
use crate::row::{Field, Row, Status};
use crate::text::{self, Words};

const TYPES: [&str; 6] = ["DEFAULT", "DEFAULT", "PAYMENT", "TRANSFER", "CREDIT_CARD", "WITHDRAWAL"];

/// Every field of a row as served; `None` is absent or null.
#[derive(Debug, Clone)]
pub struct Detail {
    /// Tink's id of the row.
    pub id: Id,
    /// The amount as written.
    pub money: Money,
    /// Day of booking.
    pub booked: Option<i32>,
    /// Value day.
    pub value: Option<i32>,
    /// Raw text.
    pub original: Option<String>,
    /// Clean text.
    pub display: Option<&'static str>,
    /// Merchant category code; with it comes the merchant.
    pub category: Option<&'static str>,
    /// The bank's id of the row.
    pub provider_id: Option<String>,
    /// The bank's reference.
    pub reference: Option<String>,
    /// Tink's type of the row.
    pub kind: &'static str,
    /// Whether the bank says that the row may still change.
    pub mutability: Option<&'static str>,
    /// Throws for what only decorates the JSON.
    pub dice: Dice,
}

impl Detail {
    /// Resolves `row` of `account`.
    pub fn of(row: &Row, account: &Account<'_>) -> Self {
        let rates = &account.view.world.rates;
        let generation = account.view.generation();
        let lacks = |field| row.lack.is_some_and(|lack| lack.field == field);
        let mut dice = Dice::new(row.key, 10);
        let money = money(row, account, &mut dice);
        let Words { mut original, display, category } =
            text::words(&mut dice, Dice::new(row.key, 11).hit(rates.odd_text));
        if row.issue > 0 {
            original = text::rebooked(original, &mut dice.clone());
        }
        if row.new_text {
            original.push_str(" REF 4711");
        }
        let pending = row.status == Status::Pending;
        let described = !lacks(Field::Descriptions);
        let dated = !lacks(Field::Dates) && !lacks(Field::Value);
        let value = row.day - dice.below(3) as i32;
        let identified = provider_id(row, generation, &mut dice);
        let reference = dice.hit(300).then(|| format!("RF{:010}", dice.below(u32::MAX)));
        Self {
            id: Id::of(mix(mix(row.key, u64::from(row.issue) * 2 + u64::from(row.twin)), generation)),
            money,
            booked: row.booked(),
            value: dated.then_some(value),
            original: (described && !lacks(Field::Original)).then_some(original),
            display: (described && !lacks(Field::Display)).then_some(display),
            category: (!lacks(Field::MerchantInformation)).then_some(category),
            provider_id: identified
                .filter(|_| !pending && !lacks(Field::Identifiers) && !lacks(Field::ProviderTransactionId)),
            reference: reference.filter(|_| !lacks(Field::Reference)),
            kind: if dice.hit(rates.unknown_enum) { "INSTANT_TRANSFER_V3" } else { dice.pick(&TYPES) },
            mutability: (!lacks(Field::ProviderMutability)).then(|| mutability(&mut dice)),
            dice,
        }
    }
}

fn mutability(dice: &mut Dice) -> &'static str {
    dice.pick(&["MUTABILITY_UNDEFINED", "MUTABILITY_UNDEFINED", "MUTABLE", "IMMUTABLE"])
}

/// The bank's id: most rows have one, twins have their own, and after connecting anew only half of them keep it.
fn provider_id(row: &Row, generation: u64, dice: &mut Dice) -> Option<String> {
    let given = dice.hit(850);
    let kept = generation == 0 || row.key & 1 == 0;
    let Id(a, b) = Id::of(mix(row.key, 20 + u64::from(row.twin)));
    (given && kept).then(|| {
        let (c, d) = (a >> 16 & 0xffff, a & 0xffff);
        format!("{:08x}-{c:04x}-{d:04x}-{:04x}-{:012x}", a >> 32, b >> 48, b & 0xffff_ffff_ffff)
    })
}

/// The amount of `row` alone; it is the first thing that is drawn.
pub fn money_of(row: &Row, account: &Account<'_>) -> Money {
    money(row, account, &mut Dice::new(row.key, 10))
}

fn money(row: &Row, account: &Account<'_>, dice: &mut Dice) -> Money {
    let rates = &account.view.world.rates;
    let currency =
        if dice.hit(rates.second_currency) { account.other_currency(dice) } else { account.currency };
    let mut money = if dice.hit(rates.odd_scale) {
        odd(currency, dice)
    } else if dice.hit(rates.big_amount) {
        big(currency, dice)
    } else {
        usual(currency, dice)
    };
    if row.new_amount {
        money.unscaled -= 1 + i128::from(dice.below(500));
    }
    if row.rescaled { money.rescaled() } else { money }
}

/// Mostly spending, sometimes income; trailing zeros are dropped for some rows and kept for others.
fn usual(currency: Currency, dice: &mut Dice) -> Money {
    let size = i128::from(1 + dice.below(20_000));
    let unscaled = if dice.below(5) == 0 { size * 10 } else { -size };
    let money = Money { unscaled, scale: currency.decimals, currency: currency.code };
    if unscaled % 10 == 0 && money.scale > 0 && dice.hit(500) {
        return Money { unscaled: unscaled / 10, scale: money.scale - 1, ..money };
    }
    money
}

fn odd(currency: Currency, dice: &mut Dice) -> Money {
    let (unscaled, scale) = dice.pick(&[
        (19, -3),
        (2308, 0),
        (3000, 4),
        (-1300, 1),
        (-99, 1),
        (-5, 0),
        (12_345, 4),
        (0, 2),
        (-100, -2),
    ]);
    Money { unscaled, scale, currency: currency.code }
}

fn big(currency: Currency, dice: &mut Dice) -> Money {
    let above = i128::from(dice.below(1000));
    let (base, scale) = dice.pick(&[
        ((1 << 53) + 1, 2),
        (-(1 << 53) - 1, 2),
        (123_456_789_012_345_678, 2),
        (-999_999_999_999_999_999, 6),
    ]);
    Money { unscaled: base + above, scale, currency: currency.code }
}
