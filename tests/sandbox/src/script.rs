//! Scripted users: data given by a test, served as it is.
//!
//! Nothing here checks that a script makes sense: unreadable records are what scripts are for.

use jiff::civil::Date;
use serde_json::{Value, json};

/// All data of a scripted user.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Elements of `providerConsents`.
    pub consents: Vec<Value>,
    /// Elements of `accounts`.
    pub accounts: Vec<Value>,
    /// Transactions, in the order in which they are served.
    pub transactions: Vec<ScriptRow>,
}

impl Script {
    /// One healthy consent that holds one EUR account with these rows.
    pub fn simple(account_id: &str, refreshed: &str, rows: Vec<ScriptRow>) -> Self {
        Self {
            consents: vec![consent(&format!("cred-{account_id}"), &[account_id])],
            accounts: vec![account(account_id, refreshed, "100000", "2", "EUR")],
            transactions: rows,
        }
    }
}

/// One transaction of a script. The filters look at the fields, the client gets `json`, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRow {
    /// Its id.
    pub id: String,
    /// The account it belongs to.
    pub account_id: String,
    /// The date that filters compare; without one the row passes every date filter.
    pub booked: Option<Date>,
    /// The status that filters compare.
    pub status: String,
    /// What is served.
    pub json: String,
}

impl ScriptRow {
    /// A well-formed booked row in EUR.
    pub fn booked(id: &str, account_id: &str, date: Date, unscaled: &str, scale: &str, text: &str) -> Self {
        Self::with(id, account_id, Some(date), "BOOKED", [unscaled, scale, "EUR"], text)
    }

    /// A well-formed pending row in EUR, expected on `date`.
    pub fn pending(id: &str, account_id: &str, date: Date, unscaled: &str, scale: &str, text: &str) -> Self {
        Self::with(id, account_id, Some(date), "PENDING", [unscaled, scale, "EUR"], text)
    }

    /// A well-formed row of any kind; `amount` is unscaled value, scale and currency.
    pub fn with(
        id: &str,
        account_id: &str,
        booked: Option<Date>,
        status: &str,
        amount: [&str; 3],
        text: &str,
    ) -> Self {
        let [unscaled, scale, currency] = amount;
        let mut element = json!({
            "id": id,
            "accountId": account_id,
            "amount": {"currencyCode": currency, "value": {"unscaledValue": unscaled, "scale": scale}},
            "status": status,
            "types": {"type": "DEFAULT"},
            "descriptions": {"original": text, "display": text.trim()},
        });
        if let (Some(date), Some(fields)) = (booked, element.as_object_mut()) {
            fields.insert("dates".to_owned(), json!({"booked": date.to_string()}));
        }
        Self::of(id, account_id, booked, status, &element)
    }

    /// Any element.
    pub fn of(id: &str, account_id: &str, booked: Option<Date>, status: &str, element: &Value) -> Self {
        Self::raw(id, account_id, booked, status, &element.to_string())
    }

    /// Any text in place of an element; it may be unreadable.
    pub fn raw(id: &str, account_id: &str, booked: Option<Date>, status: &str, json: &str) -> Self {
        Self {
            id: id.to_owned(),
            account_id: account_id.to_owned(),
            booked,
            status: status.to_owned(),
            json: json.to_owned(),
        }
    }

    /// The same row with more or other fields.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Ok(mut element) = serde_json::from_str(&self.json) {
            change(&mut element);
            self.json = element.to_string();
        }
        self
    }
}

/// A well-formed checking account with a booked balance and an IBAN made from its id. `refreshed` is a date-time.
pub fn account(id: &str, refreshed: &str, unscaled: &str, scale: &str, currency: &str) -> Value {
    json!({
        "id": id,
        "name": format!("Account {id}"),
        "type": "CHECKING",
        "balances": {"booked": {"amount": {"currencyCode": currency, "value": {"unscaledValue": unscaled, "scale": scale}}}},
        "dates": {"lastRefreshed": refreshed},
        "identifiers": {"iban": {"iban": format!("XX00{id}"), "bban": id}},
    })
}

/// A healthy consent without an expiry.
pub fn consent(credentials_id: &str, account_ids: &[&str]) -> Value {
    json!({
        "credentialsId": credentials_id,
        "providerName": "uk-demobank-open-banking-redirect",
        "accountIds": account_ids,
        "status": "UPDATED",
        "statusUpdated": 1_750_000_000_000_i64,
    })
}
