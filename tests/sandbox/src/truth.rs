//! The truth: what a client must hold after a complete walk.
//!
//! For generated users it comes from the model and never from the JSON, so that a mistake in writing cannot hide. For scripted
//! users it is read from the script with own exact arithmetic.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::account::Account;
use crate::banking::Facts;
use crate::detail::Detail;
use crate::money::{self, Money};
use crate::row::Row;
use crate::script::{Script, ScriptRow};
use crate::world::View;

/// Everything a complete walk without date filters gives on the current day. Decay is ignored: a client must keep what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Listed accounts, by id.
    pub accounts: Vec<TruthAccount>,
    /// Their rows, by id.
    pub transactions: Vec<TruthRow>,
    /// Ids of scripted rows that no client can read.
    pub unreadable: Vec<String>,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TruthAccount {
    /// Tink's id.
    pub id: String,
    /// Name as served, blanks included.
    pub name: String,
    /// Tink's type as served.
    pub kind: String,
    /// International number.
    pub iban: Option<String>,
    /// Currency of its balances; the booked one's if they differ.
    pub currency: Option<String>,
    /// Booked balance, canonical.
    pub booked_balance: Option<String>,
    /// Available balance, canonical.
    pub available_balance: Option<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TruthRow {
    /// Tink's id.
    pub id: String,
    /// Tink's id of the account.
    pub account_id: String,
    /// `booked`, `pending` or `undefined`.
    pub status: String,
    /// Canonical: no exponent, no trailing zeros, no plus.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Booked or expected date.
    pub booked_date: Option<String>,
    /// Value date.
    pub value_date: Option<String>,
    /// Raw text as served, blanks included.
    pub description_original: Option<String>,
    /// Clean text as served.
    pub description_display: Option<String>,
    /// The bank's id.
    pub provider_transaction_id: Option<String>,
    /// The bank's reference.
    pub reference: Option<String>,
}

impl Truth {
    /// The truth about a generated user.
    pub fn of_view(view: &View<'_>) -> Self {
        let mut truth = Self::default();
        for account in view.listed_accounts() {
            truth.accounts.push(generated_account(&account));
            truth.transactions.extend(account.rows().iter().map(|row| generated_row(row, &account)));
        }
        truth.sorted()
    }

    /// The truth about a scripted user. A row that comes twice is one row, the later wins.
    pub fn of_script(script: &Script) -> Self {
        let mut truth = Self {
            accounts: script.accounts.iter().filter_map(scripted_account).collect(),
            ..Self::default()
        };
        for row in &script.transactions {
            truth.transactions.retain(|known| known.id != row.id);
            match scripted_row(row) {
                Some(read) => truth.transactions.push(read),
                None => truth.unreadable.push(row.id.clone()),
            }
        }
        truth.sorted()
    }

    fn sorted(mut self) -> Self {
        self.accounts.sort();
        self.transactions.sort();
        self.unreadable.sort();
        self
    }
}

fn generated_account(account: &Account<'_>) -> TruthAccount {
    let facts = Facts::of(account);
    let canonical = |money: Money| money.canonical();
    TruthAccount {
        id: account.id.to_string(),
        name: facts.name.to_string(),
        kind: facts.kind.to_owned(),
        iban: facts.iban,
        currency: facts.booked.or(facts.available).map(|money| money.currency.to_owned()),
        booked_balance: facts.booked.map(canonical),
        available_balance: facts.available.map(canonical),
    }
}

fn generated_row(row: &Row, account: &Account<'_>) -> TruthRow {
    let detail = Detail::of(row, account);
    let date = |day| account.view.world.calendar.date(day).to_string();
    TruthRow {
        id: detail.id.to_string(),
        account_id: account.id.to_string(),
        status: row.status.wire().to_lowercase(),
        amount: detail.money.canonical(),
        currency: detail.money.currency.to_owned(),
        booked_date: detail.booked.map(date),
        value_date: detail.value.map(date),
        description_original: detail.original,
        description_display: detail.display.map(str::to_owned),
        provider_transaction_id: detail.provider_id,
        reference: detail.reference,
    }
}

/// An amount as served; raw, because its numbers may be of any length.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAmount<'a> {
    currency_code: String,
    #[serde(borrow)]
    value: WireValue<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireValue<'a> {
    #[serde(borrow)]
    unscaled_value: &'a RawValue,
    #[serde(borrow)]
    scale: &'a RawValue,
}

#[derive(Deserialize)]
struct WireRow<'a> {
    #[serde(borrow)]
    amount: WireAmount<'a>,
}

impl WireAmount<'_> {
    fn canonical(&self) -> Option<String> {
        let bare = |raw: &RawValue| raw.get().trim_matches('"').to_owned();
        money::canonical(&bare(self.value.unscaled_value), &bare(self.value.scale))
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn scripted_account(value: &Value) -> Option<TruthAccount> {
    let balance = |name: &str| value.pointer(&format!("/balances/{name}/amount")).map(Value::to_string);
    let (booked, available) = (balance("booked"), balance("available"));
    let read = |json: &Option<String>| {
        json.as_deref().and_then(|json| serde_json::from_str::<WireAmount<'_>>(json).ok()?.canonical())
    };
    Some(TruthAccount {
        id: text(value, "/id")?,
        name: text(value, "/name").unwrap_or_default(),
        kind: text(value, "/type").unwrap_or_default(),
        iban: text(value, "/identifiers/iban/iban"),
        currency: ["booked", "available"]
            .iter()
            .find_map(|name| text(value, &format!("/balances/{name}/amount/currencyCode"))),
        booked_balance: read(&booked),
        available_balance: read(&available),
    })
}

fn scripted_row(row: &ScriptRow) -> Option<TruthRow> {
    let value: Value = serde_json::from_str(&row.json).ok()?;
    let WireRow { amount } = serde_json::from_str(&row.json).ok()?;
    Some(TruthRow {
        id: text(&value, "/id")?,
        account_id: text(&value, "/accountId")?,
        status: text(&value, "/status")?.to_lowercase(),
        amount: amount.canonical()?,
        currency: amount.currency_code,
        booked_date: text(&value, "/dates/booked"),
        value_date: text(&value, "/dates/value"),
        description_original: text(&value, "/descriptions/original"),
        description_display: text(&value, "/descriptions/display"),
        provider_transaction_id: text(&value, "/identifiers/providerTransactionId"),
        reference: text(&value, "/reference"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn scripted_amounts_are_exact_at_any_size() {
        let day = date(2026, 1, 2);
        let huge = ScriptRow::raw(
            "h",
            "a",
            None,
            "BOOKED",
            r#"{"id":"h","accountId":"a","status":"BOOKED","amount":{"currencyCode":"EUR","value":{"scale":2,"unscaledValue":123456789012345678901234567890123456789012345}}}"#,
        );
        let rows = vec![
            ScriptRow::booked("b", "a", day, "-1300", "1", "x"),
            huge,
            ScriptRow::raw("u", "a", None, "BOOKED", "{]"),
        ];
        let truth = Truth::of_script(&Script::simple("a", "2026-01-02T00:00:00Z", rows));
        let amounts = truth.transactions.iter().map(|row| row.amount.as_str()).collect::<Vec<_>>();
        assert_eq!(amounts, ["-130", "1234567890123456789012345678901234567890123.45"]);
        assert_eq!(truth.unreadable, ["u"]);
        assert_eq!(truth.accounts[0].booked_balance.as_deref(), Some("1000"));
    }
}
