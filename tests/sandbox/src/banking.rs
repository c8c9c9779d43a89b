//! Accounts and consents: what they hold and their JSON.
//!
//! The facts of an account are resolved once, for the JSON as well as for the truth.

use std::borrow::Cow;

use crate::account::Account;
use crate::calendar::date_time;
use crate::hash::Dice;
use crate::json::Json;
use crate::money::Money;
use crate::plan::{ConsentPlan, Expiry};
use crate::render::amount;
use crate::text;
use crate::world::View;

/// The facts of an account; `None` is absent or null.
#[derive(Debug)]
pub struct Facts {
    /// The bank's name of it.
    pub name: Cow<'static, str>,
    /// Tink's type.
    pub kind: &'static str,
    /// International number; cards have none.
    pub iban: Option<String>,
    /// Booked balance.
    pub booked: Option<Money>,
    /// Available balance.
    pub available: Option<Money>,
    dice: Dice,
}

impl Facts {
    /// Resolves `account`.
    pub fn of(account: &Account<'_>) -> Self {
        let rates = &account.view.world.rates;
        let mut dice = Dice::new(account.key, 30);
        let odd = dice.hit(rates.odd_text);
        let name = text::account_name(&mut dice, odd);
        let known = dice.pick(&["CHECKING", "CHECKING", "SAVINGS", "CREDIT_CARD"]);
        let kind = if dice.hit(rates.unknown_enum) { "MORTGAGE" } else { known };
        let lack = if dice.hit(rates.missing_field) { dice.below(2) } else { 9 };
        let balance = account.balance();
        let available = Money { unscaled: balance.unscaled + 100, ..balance };
        Self {
            name,
            kind,
            iban: (kind != "CREDIT_CARD").then(|| iban(&mut dice)),
            booked: (lack != 0).then_some(balance),
            available: (lack != 1 && dice.hit(600)).then_some(available),
            dice,
        }
    }
}

/// A Swedish number with right check digits.
fn iban(dice: &mut Dice) -> String {
    let bban = format!("{:020}", dice.roll() % 100_000_000_000_000_000);
    // Letters count from 10, so "SE00" moved behind the digits reads 281400.
    let rest =
        bban.bytes().chain(*b"281400").fold(0_u32, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    format!("SE{:02}{bban}", 98 - rest)
}

/// Appends an account.
pub fn account(json: &mut Json, account: &Account<'_>) {
    let mut facts = Facts::of(account);
    let rates = &account.view.world.rates;
    json.open('{').key("id").quoted(account.id).key("name").text(&facts.name).key("type").quoted(facts.kind);
    if facts.dice.hit(700) {
        json.key("customerSegment").quoted(facts.dice.pick(&[
            "UNDEFINED_CUSTOMER_SEGMENT",
            "PERSONAL",
            "BUSINESS",
        ]));
    }
    let nulls = facts.dice.hit(300);
    json.key("balances").open('{');
    for (name, money) in [("booked", facts.booked), ("available", facts.available)] {
        match money {
            Some(money) => {
                amount(json.key(name).open('{').key("amount"), money, account.view.plan.integer_amounts);
                json.close('}');
            }
            None if nulls => {
                json.key(name).raw("null");
            }
            None => {}
        }
    }
    let refreshed = date_time(account.view.last_refreshed(account.index));
    let zone = facts.dice.pick(&["Z", "Z", ".725408Z", "+00:00"]);
    json.close('}')
        .key("dates")
        .open('{')
        .key("lastRefreshed")
        .quoted(format_args!("{refreshed}{zone}"))
        .close('}');
    identifiers(json, &mut facts);
    if facts.dice.hit(rates.unknown_field) {
        json.key("sustainabilityScore").open('{').key("grade").raw("null").close('}');
    }
    json.close('}');
}

fn identifiers(json: &mut Json, facts: &mut Facts) {
    json.key("identifiers").open('{');
    if let Some(iban) = &facts.iban {
        json.key("iban").open('{').key("iban").quoted(iban);
        if facts.dice.hit(800) {
            json.key("bban").quoted(iban.split_at(4).1);
        }
        json.close('}');
    } else {
        let number = facts.dice.below(100_000_000);
        let masked = format_args!("4000 12** **** {:04}", number % 10_000);
        json.key("pan").open('{').key("masked").quoted(masked).close('}');
        json.key("financialInstitution").open('{').key("accountNumber").quoted(format_args!("{number:09}"));
        json.close('}');
    }
    json.close('}');
}

/// Appends a consent.
pub fn consent(json: &mut Json, view: &View<'_>, number: usize) {
    let healthy = ConsentPlan::default();
    let plan = view.plan.consent.get(&number).unwrap_or(&healthy);
    let mut dice = view.consent_dice(number);
    let provider = dice.pick(&[
        "uk-demobank-open-banking-redirect",
        "se-demobank-open-banking-bankid",
        "de-demobank-password",
    ]);
    json.open('{')
        .key("credentialsId")
        .quoted(view.credentials_id(number))
        .key("providerName")
        .quoted(provider);
    json.key("accountIds").open('[');
    view.accounts().filter(|account| view.holds(number, account.index)).for_each(|account| {
        json.quoted(account.id);
    });
    json.close(']').key("status").text(plan.status.as_deref().unwrap_or("UPDATED"));
    let updated = plan.status_updated.unwrap_or_else(|| view.consent_refreshed(number) * 1000);
    json.key("statusUpdated").plain(updated);
    let seeded = 60 + dice.below(110) as i32;
    expiry(json, plan.expiry, seeded, view);
    if let Some(extendable) = plan.extendable {
        json.key("sessionExtendable").plain(extendable);
    }
    if let Some(error) = &plan.detailed_error {
        json.key("detailedError").raw(error);
    }
    json.close('}');
}

fn expiry(json: &mut Json, expiry: Expiry, seeded_day: i32, view: &View<'_>) {
    let noon = |day| view.world.calendar.second(day, 43_200) * 1000;
    let at = match expiry {
        Expiry::Seeded => noon(seeded_day),
        Expiry::Day(day) => noon(day),
        Expiry::Millis(at) => at,
        Expiry::Zero => 0,
        Expiry::Absent => return,
        Expiry::Null => {
            json.key("sessionExpiryDate").raw("null");
            return;
        }
    };
    json.key("sessionExpiryDate").plain(at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ibans_check_out() {
        for key in 0..100 {
            let iban = iban(&mut Dice::new(key, 0));
            let rest = format!("{}2814{}", &iban[4..], &iban[2..4])
                .bytes()
                .fold(0_u32, |r, d| (r * 10 + u32::from(d - b'0')) % 97);
            assert_eq!((rest, iban.len()), (1, 24));
        }
    }
}
