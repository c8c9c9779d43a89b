//! Transactions as JSON, with every liberty Tink's format allows.
//!
//! It writes what `detail` resolved and must not decide any value that the truth holds.

use crate::account::Account;
use crate::detail::Detail;
use crate::json::Json;
use crate::money::Money;
use crate::row::{Field, Row, Status};

/// Room that one row takes, generously.
pub const ROW_BYTES: usize = 1000;

/// Appends `row` of `account`.
pub fn transaction(json: &mut Json, row: &Row, account: &Account<'_>) {
    let mut detail = Detail::of(row, account);
    let mut out = Writer { json, row };
    out.json.open('{').key("id").quoted(detail.id).key("accountId").quoted(account.id);
    amount(out.json.key("amount"), detail.money, account.view.plan.integer_amounts);
    out.json.key("status").quoted(row.status.wire());
    out.dates(&detail, account);
    out.descriptions(&detail);
    out.types(&detail);
    if row.status != Status::Pending {
        out.identifiers(&detail);
        out.date_time(&mut detail, account);
    }
    out.merchant(&detail);
    out.small(&mut detail);
    if detail.dice.hit(account.view.world.rates.unknown_field) {
        out.json.key("carbonFootprint").open('{').key("grams").plain(detail.dice.below(9000)).close('}');
        out.json.key("tags").raw(r#"[null,{"deep":[[]]},"x"]"#);
    }
    out.json.close('}');
}

/// Appends an amount object; v2 writes its numbers as strings, some replies as numbers if they are not too long.
pub fn amount(json: &mut Json, money: Money, integers: bool) {
    json.open('{').key("currencyCode").quoted(money.currency).key("value").open('{');
    if integers && i64::try_from(money.unscaled).is_ok() {
        json.key("scale").plain(money.scale).key("unscaledValue").plain(money.unscaled);
    } else {
        json.key("scale").quoted(money.scale).key("unscaledValue").quoted(money.unscaled);
    }
    json.close('}').close('}');
}

struct Writer<'a> {
    json: &'a mut Json,
    row: &'a Row,
}

impl Writer<'_> {
    /// Writes an optional field unless the row lacks it; then it is null or not there.
    fn optional(&mut self, field: Field, name: &str, write: impl FnOnce(&mut Self)) {
        match self.row.lack.filter(|lack| lack.field == field) {
            Some(lack) if lack.null => {
                self.json.key(name).raw("null");
            }
            Some(_) => {}
            None => {
                self.json.key(name);
                write(self);
            }
        }
    }

    fn dates(&mut self, detail: &Detail, account: &Account<'_>) {
        let calendar = &account.view.world.calendar;
        self.optional(Field::Dates, "dates", |out| {
            out.json.open('{');
            out.optional(Field::Booked, "booked", |out| {
                out.json.quoted(calendar.date(out.row.day));
            });
            let value = detail.value.map(|day| calendar.date(day));
            out.optional(Field::Value, "value", |out| {
                if let Some(day) = value {
                    out.json.quoted(day);
                }
            });
            out.json.close('}');
        });
    }

    fn descriptions(&mut self, detail: &Detail) {
        self.optional(Field::Descriptions, "descriptions", |out| {
            out.json.open('{');
            let (original, display) = (detail.original.as_deref(), detail.display);
            out.optional(Field::Original, "original", |out| {
                out.json.text(original.unwrap_or_default());
            });
            out.optional(Field::Display, "display", |out| {
                out.json.text(display.unwrap_or_default());
            });
            out.optional(Field::Detailed, "detailed", |out| {
                out.json.open('{').key("unstructured").text(original.or(display).unwrap_or("-")).close('}');
            });
            out.json.close('}');
        });
    }

    fn types(&mut self, detail: &Detail) {
        self.json.key("types").open('{').key("type").quoted(detail.kind);
        self.optional(Field::TypeCode, "financialInstitutionTypeCode", |out| {
            out.json.quoted("DEB");
        });
        self.json.close('}');
    }

    fn identifiers(&mut self, detail: &Detail) {
        self.optional(Field::Identifiers, "identifiers", |out| {
            out.json.open('{');
            if detail.provider_id.is_some()
                || out.row.lack.is_some_and(|lack| lack.field == Field::ProviderTransactionId)
            {
                out.optional(Field::ProviderTransactionId, "providerTransactionId", |out| {
                    out.json.quoted(detail.provider_id.as_deref().unwrap_or_default());
                });
            }
            out.json.close('}');
        });
    }

    /// The times that few banks give, one of them as the literal text that a stub was seen to send.
    fn date_time(&mut self, detail: &mut Detail, account: &Account<'_>) {
        let form = detail.dice.below(20);
        let second = i64::from(detail.dice.below(86_400));
        if form > 3 {
            return;
        }
        let at = crate::calendar::date_time(account.view.world.calendar.second(self.row.day, second));
        self.optional(Field::BookedDateTime, "bookedDateTime", |out| {
            match form {
                0 => out.json.quoted("string"),
                1 => out.json.quoted(format_args!("{at}.725408Z")),
                2 => out.json.quoted(format_args!("{at}+02:00")),
                _ => out.json.quoted(format_args!("{at}Z")),
            };
        });
    }

    fn merchant(&mut self, detail: &Detail) {
        let category = detail.category.unwrap_or_default();
        self.optional(Field::MerchantInformation, "merchantInformation", |out| {
            out.json.open('{').key("merchantName").text(detail.display.unwrap_or_default());
            out.json.key("merchantCategoryCode").quoted(category).close('}');
        });
    }

    fn small(&mut self, detail: &mut Detail) {
        if let Some(reference) = &detail.reference {
            self.json.key("reference").quoted(reference);
        } else {
            let null = self.row.lack.is_some_and(|lack| lack.null && lack.field == Field::Reference);
            null.then(|| {
                self.json.key("reference").raw("null");
            });
        }
        if detail.dice.hit(50) {
            self.optional(Field::Counterparties, "counterparties", |out| {
                out.json.raw(r#"{"payee":{"name":"J. Doe","identifiers":{"financialInstitution":{"accountNumber":"DE** 1234"}}}}"#);
            });
        }
        self.optional(Field::Categories, "categories", |out| {
            out.json.raw(r#"{"pfm":{"id":"d8f37f7d19c240abb4ef5d5dbebae4ef","name":""}}"#);
        });
        let mutability = detail.mutability.unwrap_or_default();
        self.optional(Field::ProviderMutability, "providerMutability", |out| {
            out.json.quoted(mutability);
        });
    }
}
