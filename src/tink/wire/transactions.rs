//! The list of transactions (tink-api.md 4.1), record by record: one that cannot be read is handed
//! on as such and harms no other. Must not repair texts or guess money.

use std::fmt;

use jiff::civil::Date;

use super::{Page, Raw, WireMoney, body, id, json_object, object, page_token, required, string, text};
use crate::domain::amount::Money;
use crate::domain::ids::{AccountId, TransactionId};
use crate::domain::transaction::{Status, Transaction};

/// How much of an unreadable record is kept, in bytes.
const MAX_RAW: usize = 64 * 1024;

/// One record of a page.
#[expect(clippy::large_enum_variant, reason = "nearly every record is a row; a box would cost each one")]
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// A transaction.
    Row {
        /// The transaction.
        transaction: Transaction,
        /// Its JSON as sent, if `Options::keep_raw` is set.
        raw: Option<Box<str>>,
        /// Bytes of its JSON.
        size: usize,
    },
    /// A record that is no transaction one could store.
    Unreadable {
        /// Its id, if that could be read.
        id: Option<TransactionId>,
        /// What is wrong with it, without values.
        reason: String,
        /// Its JSON as sent, at most 64 KiB.
        raw: String,
    },
}

impl Record {
    /// Its id, if that could be read.
    pub(in crate::tink) fn id(&self) -> Option<&TransactionId> {
        match self {
            Self::Row { transaction, .. } => Some(&transaction.id),
            Self::Unreadable { id, .. } => id.as_ref(),
        }
    }
}

impl fmt::Debug for Record {
    /// Shows no data of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { transaction, .. } => f.debug_tuple("Row").field(&transaction.id).finish(),
            Self::Unreadable { id, reason, .. } => {
                f.debug_tuple("Unreadable").field(id).field(reason).finish()
            }
        }
    }
}

json_object!(
    WireTransactions<'a> {
        transactions: Vec<Raw<'a>>,
        next_page_token: Raw<'a>,
    }
);
json_object!(
    WireTransaction<'a> {
        id: Raw<'a>,
        account_id: Raw<'a>,
        amount: WireMoney<'a>,
        status: Raw<'a>,
        dates: Dates<'a>,
        booked_date_time: Raw<'a>,
        descriptions: Descriptions<'a>,
        merchant_information: Merchant<'a>,
        categories: Categories<'a>,
        types: Types<'a>,
        reference: Raw<'a>,
        identifiers: Identifiers<'a>,
        provider_mutability: Raw<'a>,
        counterparties: Counterparties<'a>,
    }
);
json_object!(
    Dates<'a> {
        booked: Raw<'a>,
        value: Raw<'a>,
        transaction: Raw<'a>,
    }
);
json_object!(
    Descriptions<'a> {
        display: Raw<'a>,
        original: Raw<'a>,
        detailed: Detailed<'a>,
    }
);
json_object!(
    Detailed<'a> {
        unstructured: Raw<'a>,
    }
);
json_object!(
    Merchant<'a> {
        merchant_name: Raw<'a>,
        merchant_category_code: Raw<'a>,
    }
);
json_object!(
    Categories<'a> {
        pfm: Category<'a>,
    }
);
json_object!(
    Category<'a> {
        id: Raw<'a>,
    }
);
json_object!(
    Types<'a> {
        r#type: Raw<'a>,
    }
);
json_object!(
    Identifiers<'a> {
        provider_transaction_id: Raw<'a>,
    }
);
json_object!(
    Counterparties<'a> {
        payer: Party<'a>,
        payee: Party<'a>,
    }
);
json_object!(
    Party<'a> {
        name: Raw<'a>,
    }
);
json_object!(
    OnlyId<'a> {
        id: Raw<'a>,
    }
);

json_object!(
    OnlyOwner<'a> {
        account_id: Raw<'a>,
    }
);

/// Reads one page of the transactions of `account`.
pub(in crate::tink) fn transactions(
    bytes: &[u8],
    account: &AccountId,
    keep_raw: bool,
) -> Result<Page<Record>, String> {
    let page: WireTransactions<'_> = body(bytes)?;
    let list = required(page.transactions, "transactions")?;
    let rows = list.into_iter().map(|raw| record(raw, account, keep_raw)).collect();
    Ok(Page { rows, next: page_token(page.next_page_token)? })
}

/// Reads one record of `account` again, as it was kept in quarantine, with its JSON if that is to be kept.
/// `strict` if it must say that it is that account's.
///
/// # Errors
/// What is wrong with it, without values.
pub fn reread(
    kept: &str,
    account: &AccountId,
    strict: bool,
    keep_raw: bool,
) -> Result<(Transaction, Option<Box<str>>), String> {
    if kept.len() + 3 >= MAX_RAW {
        return Err("too long to be kept as a whole".to_owned());
    }
    let raw: Raw<'_> = serde_json::from_str(kept).map_err(|_| "not JSON".to_owned())?;
    if strict && object::<OnlyOwner<'_>>(raw)?.account_id.is_none() {
        return Err("it may be of an older link: it does not name its account".to_owned());
    }
    Ok((transaction(raw, account)?, keep_raw.then(|| raw.get().into())))
}

fn record(raw: Raw<'_>, account: &AccountId, keep_raw: bool) -> Record {
    match transaction(raw, account) {
        Ok(transaction) => {
            Record::Row { transaction, raw: keep_raw.then(|| raw.get().into()), size: raw.get().len() }
        }
        Err(reason) => {
            let found = object::<OnlyId<'_>>(raw).ok().and_then(|only| id(only.id, "id").ok());
            let end = raw.get().floor_char_boundary(MAX_RAW);
            let raw = raw.get().get(..end).unwrap_or_default().to_owned();
            Record::Unreadable { id: found.map(TransactionId::from), reason, raw }
        }
    }
}

fn transaction(raw: Raw<'_>, account: &AccountId) -> Result<Transaction, String> {
    let wire: WireTransaction<'_> = object(raw)?;
    let id = id(wire.id, "id")?.into();
    let owner = text(wire.account_id, "accountId")?.filter(|owner| !owner.is_empty());
    if owner.is_some_and(|owner| owner != account.as_str()) {
        return Err("accountId is another account's".to_owned());
    }
    let money = wire.amount.as_ref().ok_or("amount is missing")?.read()?;
    fill(wire, id, money)
}

/// Everything of a transaction that is optional.
fn fill(wire: WireTransaction<'_>, id: TransactionId, money: Money) -> Result<Transaction, String> {
    let status = wire.status.and_then(string);
    let dates = wire.dates.unwrap_or_default();
    let texts = wire.descriptions.unwrap_or_default();
    let detailed = texts.detailed.unwrap_or_default().unstructured;
    let merchant = wire.merchant_information.unwrap_or_default();
    let code = merchant.merchant_category_code;
    let category = wire.categories.unwrap_or_default().pfm.unwrap_or_default();
    let own_id = wire.identifiers.unwrap_or_default().provider_transaction_id;
    let parties = wire.counterparties.unwrap_or_default();
    Ok(Transaction {
        id,
        status: status.map_or(Status::Undefined, |status| Status::parse(&status)),
        money,
        booked_date: booked_date(dates.booked)?,
        value_date: soft_date(dates.value),
        transaction_date: soft_date(dates.transaction),
        booked_at: wire.booked_date_time.and_then(string).and_then(|time| time.parse().ok()),
        description: text(texts.display, "descriptions.display")?,
        description_original: text(texts.original, "descriptions.original")?,
        description_detailed: text(detailed, "descriptions.detailed.unstructured")?,
        merchant_name: text(merchant.merchant_name, "merchantInformation.merchantName")?,
        merchant_category_code: text(code, "merchantInformation.merchantCategoryCode")?,
        category_id: text(category.id, "categories.pfm.id")?,
        kind: text(wire.types.unwrap_or_default().r#type, "types.type")?,
        reference: text(wire.reference, "reference")?,
        provider_transaction_id: text(own_id, "identifiers.providerTransactionId")?,
        mutability: text(wire.provider_mutability, "providerMutability")?,
        payer_name: text(parties.payer.unwrap_or_default().name, "counterparties.payer.name")?,
        payee_name: text(parties.payee.unwrap_or_default().name, "counterparties.payee.name")?,
    })
}

/// The booked date decides about windows, so one that cannot be read is an error; empty is absent.
fn booked_date(raw: Option<Raw<'_>>) -> Result<Option<Date>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let text = string(raw).ok_or("dates.booked is not a date")?;
    if text.is_empty() {
        return Ok(None);
    }
    date(&text).map(Some).ok_or_else(|| "dates.booked is not a date".to_owned())
}

fn soft_date(raw: Option<Raw<'_>>) -> Option<Date> {
    raw.and_then(string).and_then(|text| date(&text))
}

/// `YYYY-MM-DD`, alone or before a time.
fn date(text: &str) -> Option<Date> {
    let (day, rest) = text.split_at_checked(10)?;
    let has_shape = day.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    let is_alone = rest.is_empty() || rest.starts_with(['T', 't', ' ']);
    if has_shape && is_alone { day.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
