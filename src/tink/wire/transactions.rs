//! The list of transactions (API.md 4.1), record by record: an unreadable one is returned as such and affects
//! no other. Only a bad id, account, amount or status makes a record unreadable; any other field of a wrong
//! form counts as absent, and as an anomaly. Must not guess money.

use std::borrow::Cow;
use std::fmt;

use jiff::civil::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

use super::date::date;
use super::{
    Elements, Leaf, List, Object, Page, Raw, Soft as _, Spare, WireMoney, body, hard_text, id, json_object,
    listed, object, page_token, soft, text,
};
use crate::domain::amount::Money;
use crate::domain::anomaly::Anomalies;
use crate::domain::ids::{AccountId, TransactionId};
use crate::domain::texts::TextFields;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::unreadable::Unreadable;

/// How much of an unreadable record is kept, in bytes.
const MAX_RAW: usize = 64 * 1024;

/// One record of a page.
#[derive(Clone, PartialEq, Eq)]
pub enum TransactionRecord {
    Row {
        transaction: Transaction,
        /// Its JSON as sent, if `ClientOptions::keep_raw` is set.
        raw: Option<Box<str>>,
        /// The approximate size of its JSON, in bytes.
        size: usize,
    },
    /// A record that cannot be stored as a transaction.
    Unreadable(Unreadable),
}

impl TransactionRecord {
    /// Its id, if readable.
    pub(in crate::tink) fn id(&self) -> Option<&TransactionId> {
        match self {
            Self::Row { transaction, .. } => Some(&transaction.id),
            Self::Unreadable(record) => record.id.as_ref(),
        }
    }
}

impl fmt::Debug for TransactionRecord {
    /// Shows no personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { transaction, .. } => f.debug_tuple("Row").field(&transaction.id).finish(),
            Self::Unreadable(record) => record.fmt(f),
        }
    }
}

json_object!(
    WireTransactions<'a> {
        transactions: List<'a> = "transactions",
        next_page_token: Raw<'a> = "nextPageToken",
    }
);
json_object!(
    WireTransaction<'a> {
        id: Leaf<'a> = "id",
        account_id: Leaf<'a> = "accountId",
        amount: Object<WireMoney<'a>> = "amount",
        status: Leaf<'a> = "status",
        dates: Object<Dates<'a>> = "dates",
        booked_date_time: Leaf<'a> = "bookedDateTime",
        descriptions: Object<Descriptions<'a>> = "descriptions",
        merchant_information: Object<Merchant<'a>> = "merchantInformation",
        categories: Object<Categories<'a>> = "categories",
        types: Object<Types<'a>> = "types",
        reference: Leaf<'a> = "reference",
        identifiers: Object<Identifiers<'a>> = "identifiers",
        provider_mutability: Leaf<'a> = "providerMutability",
        counterparties: Object<Counterparties<'a>> = "counterparties",
    }
);
json_object!(
    Dates<'a> {
        booked: Leaf<'a> = "dates.booked",
        value: Leaf<'a> = "dates.value",
        transaction: Leaf<'a> = "dates.transaction",
    }
);
json_object!(
    Descriptions<'a> {
        display: Leaf<'a> = "descriptions.display",
        original: Leaf<'a> = "descriptions.original",
        detailed: Object<Detailed<'a>> = "descriptions.detailed",
    }
);
json_object!(
    Detailed<'a> {
        unstructured: Leaf<'a> = "descriptions.detailed.unstructured",
    }
);
json_object!(
    Merchant<'a> {
        merchant_name: Leaf<'a> = "merchantInformation.merchantName",
        merchant_category_code: Leaf<'a> = "merchantInformation.merchantCategoryCode",
    }
);
json_object!(
    Categories<'a> {
        pfm: Object<Category<'a>> = "categories.pfm",
    }
);
json_object!(
    Category<'a> {
        id: Leaf<'a> = "categories.pfm.id",
    }
);
json_object!(
    Types<'a> {
        r#type: Leaf<'a> = "types.type",
    }
);
json_object!(
    Identifiers<'a> {
        provider_transaction_id: Leaf<'a> = "identifiers.providerTransactionId",
    }
);
json_object!(
    Counterparties<'a> {
        payer: Object<Party<'a>> = "counterparties.payer",
        payee: Object<Party<'a>> = "counterparties.payee",
    }
);
json_object!(
    Party<'a> {
        name: Leaf<'a> = "counterparties.name",
    }
);

/// Reads one page of the transactions of `account`.
pub(in crate::tink) fn transactions(
    bytes: &[u8],
    account: &AccountId,
    keep_raw: bool,
) -> Result<Page<TransactionRecord>, String> {
    // The JSON as sent is available only if each record is read by itself.
    if !keep_raw && let Some(page) = at_once(bytes, account) {
        return Ok(page);
    }
    let (spare, mut anomalies) = (Spare::new(), Anomalies::default());
    let page: WireTransactions<'_> = body(bytes, &spare, &mut anomalies)?;
    let (list, complete) = listed(bytes, page.transactions, "transactions", &mut anomalies)?;
    let rows = list.into_iter().map(|raw| record(raw, account, keep_raw, &mut anomalies)).collect();
    Ok(Page { rows, next: page_token(page.next_page_token)?, complete, anomalies })
}

/// A page in its usual form, read in one pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WholePage<'a> {
    #[serde(borrow)]
    transactions: Elements<Whole<'a>>,
    #[serde(borrow)]
    next_page_token: Option<Leaf<'a>>,
}

/// One record of it. Its wire form is large, so it is converted and dropped before the next one is read.
struct Whole<'a> {
    transaction: Transaction,
    /// The account that it names.
    owner: Option<Cow<'a, str>>,
    anomalies: Anomalies,
}

impl<'de: 'a, 'a> Deserialize<'de> for Whole<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (wire, mut anomalies) =
            (Object::<WireTransaction<'_>>::deserialize(deserializer)?.0, Anomalies::default());
        let mut owner = None;
        let is_ours = |text| {
            owner = Some(text);
            true
        };
        let transaction = checked(wire, is_ours, &mut anomalies).map_err(D::Error::custom)?;
        Ok(Self { transaction, owner, anomalies })
    }
}

/// Reads a page in one pass. `None` if that fails: reading it record by record then finds out why.
fn at_once(bytes: &[u8], account: &AccountId) -> Option<Page<TransactionRecord>> {
    let text = std::str::from_utf8(bytes).ok()?;
    // A derived struct reader would accept a list, too.
    let is_object = text.trim_ascii_start().starts_with('{');
    let page: WholePage<'_> = is_object.then(|| serde_json::from_str(text).ok()).flatten()?;
    let rows = page.transactions.items("transactions").ok()?;
    let next = page_token(page.next_page_token).ok()?;
    let mut anomalies = Anomalies::default();
    let size = bytes.len() / rows.len().max(1);
    let mut row = |row: Whole<'_>| {
        anomalies.merge(row.anomalies);
        let is_ours = row.owner.is_none_or(|owner| owner == account.as_str());
        is_ours.then_some(TransactionRecord::Row { transaction: row.transaction, raw: None, size })
    };
    let rows = rows.into_iter().map(&mut row).collect::<Option<Vec<_>>>()?;
    Some(Page { rows, next, complete: true, anomalies })
}

/// Reads one quarantined record of `account` again; also returns its JSON if `keep_raw` is set. With
/// `strict`, the record must name that account.
///
/// # Errors
/// The reason why it cannot be read, without values.
pub fn replay(
    kept: &str,
    account: &AccountId,
    strict: bool,
    keep_raw: bool,
) -> Result<(Transaction, Option<Box<str>>), String> {
    if kept.len() + 3 >= MAX_RAW {
        return Err("too long to be kept as a whole".to_owned());
    }
    let raw: Raw<'_> = serde_json::from_str(kept).map_err(|_| "not JSON".to_owned())?;
    let mut anomalies = Anomalies::default();
    if strict && object::<WireTransaction<'_>>(raw, &mut anomalies)?.account_id.is_none() {
        return Err("it may be of an older link: it does not name its account".to_owned());
    }
    Ok((transaction(raw, account, &mut anomalies)?, keep_raw.then(|| raw.get().into())))
}

fn record(raw: Raw<'_>, account: &AccountId, keep_raw: bool, anomalies: &mut Anomalies) -> TransactionRecord {
    let mut own = Anomalies::default();
    match transaction(raw, account, &mut own) {
        Ok(transaction) => {
            anomalies.merge(own);
            TransactionRecord::Row {
                transaction,
                raw: keep_raw.then(|| raw.get().into()),
                size: raw.get().len(),
            }
        }
        Err(reason) => TransactionRecord::Unreadable(unreadable(raw, reason)),
    }
}

/// What is kept of an unreadable record. Its odd fields are not stored, so they are not counted as anomalies
/// either.
fn unreadable(raw: Raw<'_>, reason: String) -> Unreadable {
    let untold = &mut Anomalies::default();
    // Member by member, so that each is as it was sent.
    let wire = WireTransaction::soft(raw, "", untold).unwrap_or_default();
    let booked = wire.dates.as_ref().and_then(|dates| dates.0.booked.clone());
    let booked_date = soft(booked, "", untold, date);
    let end = raw.get().floor_char_boundary(MAX_RAW);
    Unreadable {
        id: id(wire.id.clone(), "id").ok().map(TransactionId::from),
        reason,
        raw: raw.get().get(..end).unwrap_or_default().to_owned(),
        booked_date,
        likeness: likeness(&wire, booked_date),
    }
}

/// Identifies a record although its id, and anything else that a bank rewrites, has changed: by its amount
/// and day, or, if it has neither, by its texts.
fn likeness(wire: &WireTransaction<'_>, booked_date: Option<Date>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let money = wire.amount.as_ref().and_then(|amount| amount.0.read().ok());
    parts.extend(money.map(|money| format!("{} {}", money.amount, money.currency)));
    parts.extend(booked_date.map(|date| date.to_string()));
    if parts.is_empty() {
        let texts = wire.descriptions.as_ref().map(|texts| [&texts.0.original, &texts.0.display]);
        let own_id = wire.identifiers.as_ref().and_then(|ids| ids.0.provider_transaction_id.as_ref());
        let told = texts.into_iter().flatten().map(Option::as_ref).chain([own_id, wire.reference.as_ref()]);
        parts.extend(told.flatten().map(|leaf| leaf.as_sent().to_owned()));
    }
    let digest = Sha256::digest(parts.join("\n"));
    format!("{digest:x}").get(..32).unwrap_or_default().to_owned()
}

fn transaction(raw: Raw<'_>, account: &AccountId, anomalies: &mut Anomalies) -> Result<Transaction, String> {
    checked(object(raw, anomalies)?, |owner| owner == account.as_str(), anomalies)
}

/// Converts a record to a transaction, if its id, account, amount and status can be read.
fn checked<'a>(
    mut wire: WireTransaction<'a>,
    is_ours: impl FnOnce(Cow<'a, str>) -> bool,
    anomalies: &mut Anomalies,
) -> Result<Transaction, String> {
    let id = id(wire.id.take(), "id")?.into();
    let owner = hard_text(wire.account_id.take(), "accountId", anomalies)?.filter(|owner| !owner.is_empty());
    if owner.is_some_and(|owner| !is_ours(owner)) {
        return Err("accountId is another account's".to_owned());
    }
    let money = wire.amount.as_ref().ok_or("amount is missing or not an object")?.0.read()?;
    let status = status(wire.status.take(), anomalies)?;
    Ok(fill(wire, id, status, money, anomalies))
}

/// A status that is not one of Tink's words is undefined. One that is not a text is an error, since it does
/// not show whether the money has moved.
fn status(leaf: Option<Leaf<'_>>, anomalies: &mut Anomalies) -> Result<Status, String> {
    let Some(leaf) = leaf else { return Ok(Status::Undefined) };
    leaf.decoded(anomalies)
        .map(|status| Status::parse(&status))
        .ok_or_else(|| "status is not a text".to_owned())
}

/// Reads the optional fields of a transaction.
fn fill(
    wire: WireTransaction<'_>,
    id: TransactionId,
    status: Status,
    money: Money,
    anomalies: &mut Anomalies,
) -> Transaction {
    let dates = wire.dates.unwrap_or_default().0;
    let texts = wire.descriptions.unwrap_or_default().0;
    let detailed = texts.detailed.unwrap_or_default().0.unstructured;
    let merchant = wire.merchant_information.unwrap_or_default().0;
    let code = merchant.merchant_category_code;
    let category = wire.categories.unwrap_or_default().0.pfm.unwrap_or_default().0;
    let own_id = wire.identifiers.unwrap_or_default().0.provider_transaction_id;
    let parties = wire.counterparties.unwrap_or_default().0;
    let (from, to) = (parties.payer.unwrap_or_default().0, parties.payee.unwrap_or_default().0);
    let mut day = |raw, place| soft(raw, place, anomalies, date);
    let (booked_date, value_date) = (day(dates.booked, "dates.booked"), day(dates.value, "dates.value"));
    let transaction_date = day(dates.transaction, "dates.transaction");
    // Many banks send none, and some a word in its place (API.md 4.1): that is as documented.
    let booked_at = soft(wire.booked_date_time, "bookedDateTime", anomalies, |time| Some(time.parse().ok()));
    let mut text = |raw, place| text(raw, place, anomalies);
    let texts = TextFields {
        description: text(texts.display, "descriptions.display"),
        description_original: text(texts.original, "descriptions.original"),
        description_detailed: text(detailed, "descriptions.detailed.unstructured"),
        merchant_name: text(merchant.merchant_name, "merchantInformation.merchantName"),
        merchant_category_code: text(code, "merchantInformation.merchantCategoryCode"),
        category_id: text(category.id, "categories.pfm.id"),
        kind: text(wire.types.unwrap_or_default().0.r#type, "types.type"),
        reference: text(wire.reference, "reference"),
        provider_transaction_id: text(own_id, "identifiers.providerTransactionId"),
        mutability: text(wire.provider_mutability, "providerMutability"),
        payer_name: text(from.name, "counterparties.payer.name"),
        payee_name: text(to.name, "counterparties.payee.name"),
    };
    Transaction {
        id,
        status,
        money,
        booked_date,
        value_date,
        transaction_date,
        booked_at: booked_at.flatten(),
        texts: texts.into(),
    }
}

#[cfg(test)]
mod tests;
