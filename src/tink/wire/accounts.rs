//! The list of accounts (tink-api.md 3.1). Must not leave an account out: one that cannot be read
//! makes the list unreadable, since a missing account would look closed.

use super::{Page, Raw, WireMoney, body, id, json_object, object, page_token, required, string, text};
use crate::domain::account::Account;
use crate::domain::amount::Money;

json_object!(
    WireAccounts<'a> {
        accounts: Vec<Raw<'a>>,
        next_page_token: Raw<'a>,
    }
);
json_object!(
    WireAccount<'a> {
        id: Raw<'a>,
        name: Raw<'a>,
        r#type: Raw<'a>,
        balances: Balances<'a>,
        dates: Dates<'a>,
        identifiers: Identifiers<'a>,
        financial_institution_id: Raw<'a>,
    }
);
json_object!(
    Balances<'a> {
        booked: Balance<'a>,
        available: Balance<'a>,
    }
);
json_object!(
    Balance<'a> {
        amount: WireMoney<'a>,
    }
);
json_object!(
    Dates<'a> {
        last_refreshed: Raw<'a>,
    }
);
json_object!(
    Identifiers<'a> {
        iban: Iban<'a>,
        financial_institution: Number<'a>,
        sort_code: SortCode<'a>,
        pan: Pan<'a>,
    }
);
json_object!(
    Iban<'a> {
        iban: Raw<'a>,
    }
);
json_object!(
    Number<'a> {
        account_number: Raw<'a>,
    }
);
json_object!(
    SortCode<'a> {
        code: Raw<'a>,
        account_number: Raw<'a>,
    }
);
json_object!(
    Pan<'a> {
        masked: Raw<'a>,
    }
);

/// Reads one page.
pub(in crate::tink) fn accounts(bytes: &[u8]) -> Result<Page<Account>, String> {
    let page: WireAccounts<'_> = body(bytes)?;
    let list = required(page.accounts, "accounts")?;
    let read = |(index, raw)| account(raw).map_err(|reason| format!("account {index}: {reason}"));
    let rows: Result<Vec<Account>, String> = list.into_iter().enumerate().map(read).collect();
    Ok(Page { rows: rows?, next: page_token(page.next_page_token)? })
}

fn account(raw: Raw<'_>) -> Result<Account, String> {
    let wire: WireAccount<'_> = object(raw)?;
    let known = wire.identifiers.unwrap_or_default();
    let iban = known.iban.unwrap_or_default().iban;
    let masked = known.pan.unwrap_or_default().masked;
    let own = known.financial_institution.unwrap_or_default().account_number;
    let refreshed = wire.dates.unwrap_or_default().last_refreshed.and_then(string);
    let balances = wire.balances.unwrap_or_default();
    Ok(Account {
        id: id(wire.id, "id")?.into(),
        name: text(wire.name, "name")?.unwrap_or_default(),
        kind: text(wire.r#type, "type")?.unwrap_or_default(),
        iban: identifier(iban, "identifiers.iban.iban")?,
        account_number: account_number(own, &known.sort_code.unwrap_or_default())?,
        masked_pan: identifier(masked, "identifiers.pan.masked")?,
        financial_institution_id: identifier(wire.financial_institution_id, "financialInstitutionId")?,
        booked: balance(balances.booked, "balances.booked")?,
        available: balance(balances.available, "balances.available")?,
        last_refreshed: refreshed.and_then(|time| time.parse().ok()),
    })
}

/// A text that identifies something: an empty one identifies nothing.
fn identifier(raw: Option<Raw<'_>>, name: &str) -> Result<Option<String>, String> {
    Ok(text(raw, name)?.filter(|text| !text.is_empty()))
}

/// The bank's own number, else sort code and number.
fn account_number(own: Option<Raw<'_>>, uk: &SortCode<'_>) -> Result<Option<String>, String> {
    if let Some(own) = identifier(own, "identifiers.financialInstitution.accountNumber")? {
        return Ok(Some(own));
    }
    let code = identifier(uk.code, "identifiers.sortCode.code")?;
    let number = identifier(uk.account_number, "identifiers.sortCode.accountNumber")?;
    Ok(number.map(|number| match code {
        Some(code) => format!("{code}-{number}"),
        None => number,
    }))
}

fn balance(balance: Option<Balance<'_>>, name: &str) -> Result<Option<Money>, String> {
    let Some(amount) = balance.and_then(|balance| balance.amount) else { return Ok(None) };
    amount.read().map(Some).map_err(|reason| format!("{name}.{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(members: &str) -> Result<Account, String> {
        let json = format!(r#"{{"accounts":[{{"id":"a"{members}}}],"nextPageToken":""}}"#);
        accounts(json.as_bytes()).map(|mut page| page.rows.remove(0))
    }

    #[test]
    fn a_full_account_is_read() {
        let account = one(
            r#","name":" PERSONKONTO ","type":"MORTGAGE","customerSegment":"X","financialInstitutionId":"f",
            "balances":{"booked":{"amount":{"currencyCode":"EUR","value":{"scale":"-3","unscaledValue":"19"}}},
            "available":{"amount":{"currencyCode":"EUR","value":{"scale":2,"unscaledValue":-1050}}}},
            "dates":{"lastRefreshed":"2022-05-26T07:54:41.725408Z"},
            "identifiers":{"iban":{"iban":"SE1","bban":"1"},"pan":{"masked":"4000 12** **** 9010"},
            "financialInstitution":{"accountNumber":"77","referenceNumbers":{}},
            "sortCode":{"code":"1","accountNumber":"2"}}"#,
        );
        let account = account.unwrap();
        assert_eq!((account.name.as_str(), account.kind.as_str()), (" PERSONKONTO ", "MORTGAGE"));
        assert_eq!(account.iban.as_deref(), Some("SE1"));
        assert_eq!(account.account_number.as_deref(), Some("77"));
        assert_eq!(account.masked_pan.as_deref(), Some("4000 12** **** 9010"));
        assert_eq!(account.financial_institution_id.as_deref(), Some("f"));
        assert_eq!(account.booked.unwrap().amount.as_str(), "19000");
        assert_eq!(account.available.unwrap().amount.as_str(), "-10.5");
        assert_eq!(account.last_refreshed, Some("2022-05-26T07:54:41.725408Z".parse().unwrap()));
    }

    #[test]
    fn everything_but_the_id_is_optional() {
        let bare = one("").unwrap();
        let nulls = one(r#","name":null,"type":null,"balances":{"booked":null,"available":{"amount":null}},
            "dates":{"lastRefreshed":"yesterday"},"identifiers":{"iban":null,"pan":{"masked":null},"new":1}"#);
        assert_eq!(nulls.unwrap(), bare);
        assert_eq!((bare.name.as_str(), bare.booked), ("", None));
    }

    #[test]
    fn a_sort_code_is_joined_with_its_number() {
        for (code, number, expected) in [
            (r#""10-20-30""#, r#""12345678""#, Some("10-20-30-12345678")),
            ("null", r#""12345678""#, Some("12345678")),
            (r#""102030""#, r#""""#, None),
        ] {
            let members =
                format!(r#","identifiers":{{"sortCode":{{"code":{code},"accountNumber":{number}}}}}"#);
            assert_eq!(one(&members).unwrap().account_number.as_deref(), expected);
        }
    }

    #[test]
    fn an_unreadable_account_spoils_the_list_and_is_named_by_its_place() {
        for (members, place) in [
            (r#","name":{}"#, "account 0: name"),
            (
                r#","balances":{"booked":{"amount":{"currencyCode":"EUR"}}}"#,
                "account 0: balances.booked.amount",
            ),
            (r#","balances":{"booked":5}"#, "account 0: balances.booked"),
            (r#","identifiers":{"iban":{"iban":[]}}"#, "account 0: identifiers.iban"),
        ] {
            let reason = one(members).unwrap_err();
            assert!(reason.starts_with(place), "{reason}");
        }
        for json in ["{}", r#"{"accounts":null}"#, r#"{"accounts":[{}]}"#, r#"{"accounts":[{"id":""}]}"#] {
            assert!(accounts(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_end_is_an_empty_a_null_or_no_token() {
        for (json, expected) in [
            (r#"{"accounts":[]}"#, None),
            (r#"{"accounts":[],"nextPageToken":null}"#, None),
            (r#"{"accounts":[],"nextPageToken":""}"#, None),
            (r#"{"accounts":[],"nextPageToken":"a+/="}"#, Some("a+/=")),
            (r#"{"accounts":[],"nextPageToken":7}"#, Some("7")),
        ] {
            assert_eq!(accounts(json.as_bytes()).ok().unwrap().next.as_deref(), expected);
        }
        assert!(accounts(br#"{"accounts":[],"nextPageToken":{}}"#).is_err());
    }
}
