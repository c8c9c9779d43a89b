//! What the made-up bank shows of itself: consents, accounts and rows, as Tink would.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tink_sandbox::{Script, ScriptRow, script};

use super::{Account, Balance, Bank, Face, Number, Row};
use crate::model::history::Weather;

impl Bank {
    /// What Tink serves of it, as refreshed at that time.
    pub fn show(&mut self, refreshed: Timestamp, weather: &Weather) -> Script {
        let refreshed = refreshed.to_string();
        self.freeze(&refreshed);
        let mut shown = Script::default();
        for (n, consent) in self.consents.iter().enumerate() {
            let ids: Vec<&str> = self.faces(n).map(|(_, face)| face.account_id.as_str()).collect();
            let mut element = script::consent(&consent.id, &ids);
            let expires = self.expires.map_or(1_893_456_000_000, Timestamp::as_millisecond);
            element["sessionExpiryDate"] = expires.into();
            match weather {
                _ if consent.ended => element["status"] = "SESSION_EXPIRED".into(),
                Weather::Unwell => element["status"] = "TEMPORARY_ERROR".into(),
                Weather::PastDate => element["sessionExpiryDate"] = 1_700_000_000_000_i64.into(),
                _ => {}
            }
            if !matches!(weather, Weather::NoConsents) {
                shown.consents.push(element);
            }
            for (account, face) in self.faces(n).filter(|_| consent.listed) {
                self.show_account(&mut shown, account, face, &refreshed, weather);
            }
        }
        if matches!(weather, Weather::NoAccounts) {
            shown.accounts.clear();
        }
        if matches!(weather, Weather::OneMissing) && shown.accounts.len() > 1 {
            shown.accounts.pop();
        }
        shown
    }

    fn faces(&self, consent: usize) -> impl Iterator<Item = (&Account, &Face)> {
        let open = self.accounts.iter().filter(|account| !account.closed);
        let faces = open.flat_map(|account| account.faces.iter().map(move |face| (account, face)));
        faces.filter(move |(_, face)| face.consent == consent)
    }

    fn show_account(
        &self,
        shown: &mut Script,
        account: &Account,
        face: &Face,
        refreshed: &str,
        weather: &Weather,
    ) {
        let today = days(self.epoch, refreshed);
        let (refreshed, rows) = match &face.frozen {
            Some((refreshed, rows)) => (refreshed.as_str(), rows.clone()),
            None => (refreshed, account.rows.iter().map(|row| (face.row_id(row), row.clone())).collect()),
        };
        shown.accounts.push(element(account, face, refreshed, &rows, today));
        if matches!(weather, Weather::EmptyList) {
            return;
        }
        let mut rows = rows;
        if let Weather::Cut { keep } = weather {
            rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.day, row.key)));
            rows.truncate((rows.len() * usize::from(*keep)).div_ceil(8));
        }
        for (id, row) in &rows {
            shown.transactions.push(self.row(&face.account_id, id, row));
        }
    }

    fn row(&self, account_id: &str, id: &str, row: &Row) -> ScriptRow {
        let status = if row.booked { "BOOKED" } else { "PENDING" };
        let date = row.day.map(|day| self.epoch + day.days());
        let cents = row.cents.to_string();
        let shown = ScriptRow::with(id, account_id, date, status, [&cents, "2", "EUR"], &row.text);
        match &row.provider_id {
            Some(known) => shown.but(|e| e["identifiers"] = json!({"providerTransactionId": known})),
            None => shown,
        }
    }
}

fn element(account: &Account, face: &Face, refreshed: &str, rows: &[(String, Row)], today: i64) -> Value {
    let counts = |row: &Row| row.booked && row.day.is_none_or(|day| day <= today);
    let sum: i64 = rows.iter().map(|(_, row)| row).filter(|row| counts(row)).map(|row| row.cents).sum();
    let holds = match account.balance {
        Balance::Moves | Balance::Absent => 1_000_000 + sum,
        Balance::Debt => 1_000_000 - sum,
        Balance::Still => 0,
    };
    let mut element = script::account(&face.account_id, refreshed, &holds.to_string(), "2", "EUR");
    let name = account.name;
    element["name"] = format!("Account {name}").into();
    let owes = account.balance == Balance::Debt;
    element["type"] = if owes { "CREDIT_CARD" } else { face.kind }.into();
    if account.number != Number::SortCode {
        element["financialInstitutionId"] = "bank".into();
    }
    element["identifiers"] = match account.number {
        Number::Iban => json!({"iban": {"iban": format!("DE00 {name}"), "bban": name.to_string()}}),
        Number::Mask => json!({"pan": {"masked": format!("4000 **** **** 000{name}")}}),
        Number::SortCode => {
            json!({"sortCode": {"code": "102030", "accountNumber": format!("1234567{name}")}})
        }
    };
    if account.balance == Balance::Absent {
        element["balances"] = Value::Null;
    }
    element
}

fn days(epoch: Date, refreshed: &str) -> i64 {
    let at: Timestamp = refreshed.parse().unwrap();
    let date = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    i64::from(epoch.until(date).unwrap().get_days())
}
