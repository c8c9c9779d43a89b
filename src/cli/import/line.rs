//! Parses one line of an import: returns a row, or the problem with the line. Must not show values of the
//! data, only names, and must not guess amounts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::value::RawValue;

use crate::domain::amount::{Amount, Money};
use crate::domain::ids::{AccountId, LONGEST_TINK_ID, USABLE, is_usable};
use crate::domain::texts::TextFields;
use crate::domain::transaction::{Status, Transaction};
use crate::store::FetchedRow;
use crate::store::import::ImportRow;
use crate::tink::{TransactionRecord, kept};

/// The fields a line may have: the owner of the row, Tink's JSON, or the columns of `transactions_v1`.
const KNOWN: [&str; 32] = [
    "connection_id",
    "account_id",
    "transaction_id",
    "raw",
    "status",
    "amount",
    "currency",
    "booked_date",
    "value_date",
    "transaction_date",
    "booked_at",
    "description",
    "description_original",
    "description_detailed",
    "merchant_name",
    "merchant_category_code",
    "category_id",
    "type",
    "reference",
    "provider_transaction_id",
    "mutability",
    "payer_name",
    "payee_name",
    // An export has these as well; an import ignores them.
    "user_id",
    "account_key",
    "first_seen_run",
    "changed_run",
    "change_seq",
    "removed_reason",
    "replaced_by",
    "match_rule",
    // A removed row is refused.
    "removed_at",
];

/// The connection that a line names, whatever else may be wrong with it.
pub(super) fn connection(line: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        connection_id: String,
    }
    serde_json::from_str(line).ok().map(|named: Named| named.connection_id)
}

pub(super) fn read(line: &str, keep_raw: bool) -> Result<ImportRow, String> {
    let fields = Fields::of(line)?;
    let connection = usable("connection_id", fields.required_id("connection_id")?)?.into();
    if fields.text("removed_at")?.is_some() {
        return Err("the row is removed (removed_at): leave such rows out".to_owned());
    }
    let account = fields.as_given("account_id")?.filter(|id| !id.is_empty());
    let account = account.map(|id| usable("account_id", id)).transpose()?.map(AccountId::from);
    let raw = match fields.0.get("raw").filter(|raw| raw.get() != "null") {
        None => None,
        Some(raw) => Some(json_of(raw)?),
    };
    let Some(raw) = raw else {
        let account = account.ok_or("account_id is missing")?;
        let row = FetchedRow { transaction: fields.transaction()?, raw: None };
        return Ok(ImportRow { connection, account, row });
    };
    let (account, record) =
        kept::transaction(&raw, account.as_ref(), keep_raw).map_err(|problem| format!("raw: {problem}"))?;
    if !is_usable(account.as_str()) {
        return Err(format!("raw: accountId is not {USABLE}"));
    }
    match record {
        TransactionRecord::Unreadable(record) => Err(format!("raw: {}", record.reason)),
        TransactionRecord::Row { transaction, raw, .. } => {
            let id = fields.as_given("transaction_id")?;
            if id.is_some_and(|id| id != transaction.id.as_str()) {
                return Err("transaction_id is not the id in raw".to_owned());
            }
            Ok(ImportRow { connection, account, row: FetchedRow { transaction, raw } })
        }
    }
}

fn usable(name: &str, id: String) -> Result<String, String> {
    if is_usable(&id) { Ok(id) } else { Err(format!("{name} is not {USABLE}")) }
}

/// Tink's JSON, given as JSON or as a string containing it, as databases return it.
fn json_of(raw: &RawValue) -> Result<Box<RawValue>, String> {
    let inner = if raw.get().starts_with('"') {
        serde_json::from_str::<String>(raw.get()).map_err(|_| "raw is not a text".to_owned())?
    } else {
        raw.get().to_owned()
    };
    let json = RawValue::from_string(inner.trim().to_owned()).map_err(|_| "raw is not JSON".to_owned())?;
    if json.get().starts_with('{') { Ok(json) } else { Err("raw is not a JSON object".to_owned()) }
}

struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn of(line: &'a str) -> Result<Self, String> {
        if line.starts_with('[') {
            return Err("a JSON array; one object per line is expected (with sqlite3: .mode list)".to_owned());
        }
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(line)
            .map_err(|error| format!("not a JSON object on one line (column {})", error.column()))?;
        match fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            Some(name) => Err(format!("unknown field {name:?}")),
            None => Ok(Self(fields)),
        }
    }

    /// A string, with U+FFFD for U+0000 as in Tink's answers; null counts as missing.
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.as_given(name)?.map(|text| text.replace('\0', "\u{fffd}")))
    }

    /// A string as it is: of an id nothing may be changed.
    fn as_given(&self, name: &str) -> Result<Option<String>, String> {
        let Some(raw) = self.0.get(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| format!("{name} is not a text"))
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    fn required_id(&self, name: &str) -> Result<String, String> {
        self.as_given(name)?.filter(|id| !id.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    fn id(&self, name: &str) -> Result<String, String> {
        let id = self.required_id(name)?;
        if id.contains('\0') {
            return Err(format!("{name} contains U+0000"));
        }
        if id.len() > LONGEST_TINK_ID { Err(format!("{name} is far too long")) } else { Ok(id) }
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, String> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| format!("{name} is not {what}"))).transpose()
    }

    fn date(&self, name: &str) -> Result<Option<Date>, String> {
        self.parsed(name, "a date (YYYY-MM-DD)")
    }

    /// The exact amount, given as a string or as a number.
    fn amount(&self) -> Result<Amount, String> {
        let raw = self.0.get("amount").ok_or("amount is missing (or raw, which has it)")?.get();
        let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
        Amount::from_decimal(text).map_err(|_| "amount is not a decimal number such as -12.34".to_owned())
    }

    fn status(&self) -> Result<Status, String> {
        let Some(text) = self.text("status")? else { return Ok(Status::Booked) };
        let status = Status::parse(&text);
        if status == Status::Undefined && !text.eq_ignore_ascii_case("undefined") {
            return Err("status is none of booked, pending and undefined".to_owned());
        }
        Ok(status)
    }

    /// A row given by columns.
    fn transaction(&self) -> Result<Transaction, String> {
        let texts = TextFields {
            description: self.text("description")?,
            description_original: self.text("description_original")?,
            description_detailed: self.text("description_detailed")?,
            merchant_name: self.text("merchant_name")?,
            merchant_category_code: self.text("merchant_category_code")?,
            category_id: self.text("category_id")?,
            kind: self.text("type")?,
            reference: self.text("reference")?,
            provider_transaction_id: self.text("provider_transaction_id")?,
            mutability: self.text("mutability")?,
            payer_name: self.text("payer_name")?,
            payee_name: self.text("payee_name")?,
        };
        Ok(Transaction {
            id: self.id("transaction_id")?.into(),
            status: self.status()?,
            money: Money { amount: self.amount()?, currency: self.required("currency")? },
            booked_date: self.date("booked_date")?,
            value_date: self.date("value_date")?,
            transaction_date: self.date("transaction_date")?,
            booked_at: self.parsed::<Timestamp>("booked_at", "a time (RFC 3339)")?,
            texts: texts.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = r#"{"id":"t","accountId":"a","status":"BOOKED","dates":{"booked":"2026-06-01"},
        "amount":{"currencyCode":"EUR","value":{"unscaledValue":"-1234","scale":"2"}},"descriptions":{"original":"TRAM"}}"#;

    fn parse(line: &str) -> Result<ImportRow, String> {
        read(line, true)
    }

    #[test]
    fn tinks_json_is_read_as_an_answer_is_also_as_a_text() {
        let raw = RAW.replace('\n', " ");
        let text = serde_json::to_string(RAW).unwrap();
        for raw in [&raw, &text] {
            let row = parse(&format!(r#"{{"connection_id":"c","raw":{raw}}}"#)).unwrap();
            assert_eq!((row.connection.as_str(), row.account.as_str()), ("c", "a"));
            let transaction = row.row.transaction;
            assert_eq!((transaction.id.as_str(), transaction.money.amount.as_str()), ("t", "-12.34"));
            assert_eq!(transaction.text(), "TRAM");
            assert!(row.row.raw.is_some());
        }
    }

    #[test]
    fn an_account_that_is_given_wins_over_the_one_in_the_json() {
        let raw = RAW.replace('\n', " ");
        let row = parse(&format!(r#"{{"connection_id":"c","account_id":"new","raw":{raw}}}"#)).unwrap();
        assert_eq!(row.account.as_str(), "new");
    }

    #[test]
    fn columns_do_where_there_is_no_json() {
        let line =
            r#"{"connection_id":"c","account_id":"a","transaction_id":"t","amount":-0.10,"currency":"EUR",
            "booked_date":"2026-06-01","description":"Tram","status":"pending","raw":null}"#
                .replace('\n', "");
        let row = parse(&line).unwrap().row.transaction;
        assert_eq!((row.money.amount.as_str(), row.status), ("-0.1", Status::Pending));
        assert_eq!(row.texts.description(), Some("Tram"));
    }

    #[test]
    fn u_0000_is_replaced_in_texts_and_refused_in_ids() {
        let line = |ids: &str| {
            format!(
                r#"{{{ids},"amount":"1","currency":"EU\u0000","description":"x\u0000y","payee_name":"\u0000"}}"#
            )
        };
        let row = parse(&line(r#""connection_id":"c","account_id":"a","transaction_id":"t""#)).unwrap();
        let Transaction { money, texts, .. } = row.row.transaction;
        assert_eq!((money.currency.as_str(), texts.description()), ("EU\u{fffd}", Some("x\u{fffd}y")));
        for (ids, named) in [
            (r#""connection_id":"\u0000","account_id":"a","transaction_id":"t""#, "connection_id"),
            (r#""connection_id":"c","account_id":"a\u0000","transaction_id":"t""#, "account_id"),
            (r#""connection_id":"c","account_id":"a","transaction_id":"t\u0000""#, "transaction_id"),
        ] {
            let problem = parse(&line(ids)).unwrap_err();
            assert!(problem.starts_with(named), "{problem}");
        }
        let raw = RAW.replace('\n', " ").replace(r#""accountId":"a""#, r#""accountId":"a\u0000""#);
        let problem = parse(&format!(r#"{{"connection_id":"c","raw":{raw}}}"#)).unwrap_err();
        assert!(problem.contains("accountId"), "{problem}");
    }

    #[test]
    fn mistakes_are_named_without_values() {
        let row = |more: &str| {
            format!(
                r#"{{"connection_id":"c","account_id":"a","transaction_id":"t","currency":"EUR",{more}}}"#
            )
        };
        for (line, said) in [
            ("[{\"a\":7}]".to_owned(), "a JSON array"),
            ("{\"a\":7".to_owned(), "not a JSON object"),
            ("7".to_owned(), "not a JSON object"),
            (row("\"amuont\":\"7\""), "unknown field \"amuont\""),
            (row("\"amount\":\"7e7\""), "amount is not a decimal"),
            (row("\"amount\":\"\""), "amount is not a decimal"),
            (row("\"amount\":true"), "amount is not a decimal"),
            (row("\"status\":\"booked\""), "amount is missing"),
            (row("\"amount\":\"7\",\"status\":\"reviewed77\""), "status is none of"),
            (row("\"amount\":\"7\",\"booked_date\":\"7.7.26\""), "booked_date is not a date"),
            (row("\"amount\":\"7\",\"description\":7"), "description is not a text"),
            (row("\"raw\":\"{7\""), "raw is not JSON"),
            (row("\"raw\":[7]"), "raw is not a JSON object"),
            (row("\"raw\":{\"id\":\"t\"}"), "raw: amount is missing"),
            (row("\"amount\":\"7\",\"removed_at\":\"2026-06-07\""), "the row is removed"),
            ("{\"amount\":\"7\"}".to_owned(), "connection_id is missing"),
        ] {
            let problem = parse(&line).unwrap_err();
            assert!(problem.contains(said) && !problem.contains('7'), "{line}: {problem}");
        }
        let other =
            format!(r#"{{"connection_id":"c","transaction_id":"x","raw":{}}}"#, RAW.replace('\n', " "));
        assert!(parse(&other).unwrap_err().contains("not the id in raw"));
    }
}
