//! The list of accounts (API.md 3.1). Only a bad id makes an account unreadable; any other field of a wrong
//! form counts as absent, and as an anomaly. An unreadable account is left out and the list is marked
//! incomplete, since a missing account would look closed.

use std::borrow::Cow;

use super::{
    List, Object, Page, Raw, Soft as _, Spare, WireMoney, body, id, json_object, listed, object, page_token,
    soft, text,
};
use crate::domain::account::Account;
use crate::domain::amount::Money;
use crate::domain::anomaly::{Anomalies, Anomaly};

json_object!(
    WireAccounts<'a> {
        accounts: List<'a> = "accounts",
        next_page_token: Raw<'a> = "nextPageToken",
    }
);
json_object!(
    WireAccount<'a> {
        id: Raw<'a> = "id",
        name: Raw<'a> = "name",
        r#type: Raw<'a> = "type",
        balances: Object<Balances<'a>> = "balances",
        dates: Object<Dates<'a>> = "dates",
        identifiers: Object<Identifiers<'a>> = "identifiers",
        financial_institution_id: Raw<'a> = "financialInstitutionId",
    }
);
json_object!(
    Balances<'a> {
        booked: Raw<'a> = "balances.booked",
        available: Raw<'a> = "balances.available",
    }
);
json_object!(
    Balance<'a> {
        amount: Object<WireMoney<'a>> = "amount",
    }
);
json_object!(
    Dates<'a> {
        last_refreshed: Raw<'a> = "dates.lastRefreshed",
    }
);
json_object!(
    Identifiers<'a> {
        iban: Object<Iban<'a>> = "identifiers.iban",
        financial_institution: Object<Number<'a>> = "identifiers.financialInstitution",
        sort_code: Object<SortCode<'a>> = "identifiers.sortCode",
        pan: Object<Pan<'a>> = "identifiers.pan",
    }
);
json_object!(
    Iban<'a> {
        iban: Raw<'a> = "identifiers.iban.iban",
    }
);
json_object!(
    Number<'a> {
        account_number: Raw<'a> = "identifiers.financialInstitution.accountNumber",
    }
);
json_object!(
    SortCode<'a> {
        code: Raw<'a> = "identifiers.sortCode.code",
        account_number: Raw<'a> = "identifiers.sortCode.accountNumber",
    }
);
json_object!(
    Pan<'a> {
        masked: Raw<'a> = "identifiers.pan.masked",
    }
);

/// Reads one page: each readable account, with its anomalies.
pub(in crate::tink) fn accounts(bytes: &[u8]) -> Result<Page<(Account, Anomalies)>, String> {
    let (spare, mut anomalies) = (Spare::new(), Anomalies::default());
    let page: WireAccounts<'_> = body(bytes, &spare, &mut anomalies)?;
    let (list, is_there) = listed(bytes, page.accounts, "accounts", &mut anomalies)?;
    let number = list.len();
    let rows: Vec<_> = list.into_iter().filter_map(|raw| account(raw).ok()).collect();
    let unreadable = number - rows.len();
    if unreadable > 0 && rows.is_empty() {
        return Err("no listed account has an id that can be read".to_owned());
    }
    anomalies.add(Anomaly::Account, unreadable as u64);
    let complete = is_there && unreadable == 0;
    Ok(Page { rows, next: page_token(page.next_page_token)?, complete, anomalies })
}

fn account(raw: Raw<'_>) -> Result<(Account, Anomalies), String> {
    let mut anomalies = Anomalies::default();
    let wire: WireAccount<'_> = object(raw, &mut anomalies)?;
    let account = Account { id: id(wire.id, "id")?.into(), ..fill(wire, &mut anomalies) };
    Ok((account, anomalies))
}

/// Reads the optional fields of an account.
fn fill(wire: WireAccount<'_>, anomalies: &mut Anomalies) -> Account {
    let known = wire.identifiers.unwrap_or_default().0;
    let iban = known.iban.unwrap_or_default().0.iban;
    let masked = known.pan.unwrap_or_default().0.masked;
    let own = known.financial_institution.unwrap_or_default().0.account_number;
    let refreshed = wire.dates.unwrap_or_default().0.last_refreshed;
    let balances = wire.balances.unwrap_or_default().0;
    Account {
        id: String::new().into(),
        name: text(wire.name, "name", anomalies).unwrap_or_default().into_owned(),
        kind: text(wire.r#type, "type", anomalies).unwrap_or_default().into_owned(),
        iban: identifier(iban, "identifiers.iban.iban", anomalies),
        account_number: account_number(own, &known.sort_code.unwrap_or_default().0, anomalies),
        masked_pan: identifier(masked, "identifiers.pan.masked", anomalies),
        financial_institution_id: identifier(
            wire.financial_institution_id,
            "financialInstitutionId",
            anomalies,
        ),
        booked: balance(balances.booked, "balances.booked", anomalies),
        available: balance(balances.available, "balances.available", anomalies),
        last_refreshed: soft(refreshed, "dates.lastRefreshed", anomalies, |time| time.parse().ok()),
    }
}

/// A text that identifies something; an empty one counts as absent.
fn identifier(raw: Option<Raw<'_>>, place: &'static str, anomalies: &mut Anomalies) -> Option<String> {
    text(raw, place, anomalies).filter(|text| !text.is_empty()).map(Cow::into_owned)
}

/// The bank's own number, else sort code and number.
fn account_number(own: Option<Raw<'_>>, uk: &SortCode<'_>, anomalies: &mut Anomalies) -> Option<String> {
    if let Some(own) = identifier(own, "identifiers.financialInstitution.accountNumber", anomalies) {
        return Some(own);
    }
    let code = identifier(uk.code, "identifiers.sortCode.code", anomalies);
    let number = identifier(uk.account_number, "identifiers.sortCode.accountNumber", anomalies);
    number.map(|number| match code {
        Some(code) => format!("{code}-{number}"),
        None => number,
    })
}

/// A balance; absent if it is not exact money.
fn balance(raw: Option<Raw<'_>>, place: &'static str, anomalies: &mut Anomalies) -> Option<Money> {
    // Whatever is wrong inside it counts as this one anomaly.
    let mut inside = Anomalies::default();
    let balance = Balance::soft(raw?, place, &mut inside);
    let is_absent = inside.is_empty() && balance.as_ref().is_some_and(|balance| balance.amount.is_none());
    if is_absent {
        return None;
    }
    let money = balance.and_then(|balance| balance.amount?.0.read().ok());
    if money.is_none() {
        anomalies.note(Anomaly::Field(place));
    }
    money
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(members: &str) -> Result<Account, String> {
        let json = format!(r#"{{"accounts":[{{"id":"a"{members}}}],"nextPageToken":""}}"#);
        accounts(json.as_bytes()).map(|mut page| page.rows.remove(0).0)
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

    /// The anomalies of the account with these members.
    fn told(members: &str) -> Vec<&'static str> {
        let json = format!(r#"{{"accounts":[{{"id":"a"{members}}}]}}"#);
        let page = accounts(json.as_bytes()).ok().unwrap();
        assert!(page.complete && page.anomalies.is_empty());
        page.rows[0].1.iter().map(|(anomaly, _)| anomaly.as_str()).collect()
    }

    #[test]
    fn a_member_of_another_type_is_absent_and_told() {
        let bare = one("").unwrap();
        for (members, place) in [
            (r#","name":{}"#, "name"),
            (r#","type":[]"#, "type"),
            (r#","identifiers":"""#, "identifiers"),
            (r#","identifiers":[]"#, "identifiers"),
            (r#","identifiers":{"iban":"PL61109010140000071219812874"}"#, "identifiers.iban"),
            (r#","identifiers":{"iban":{"iban":[]}}"#, "identifiers.iban.iban"),
            (r#","identifiers":{"pan":"4000"}"#, "identifiers.pan"),
            (r#","identifiers":{"sortCode":7}"#, "identifiers.sortCode"),
            (r#","identifiers":{"financialInstitution":[1]}"#, "identifiers.financialInstitution"),
            (r#","financialInstitutionId":{}"#, "financialInstitutionId"),
            (r#","dates":"2022-05-26""#, "dates"),
            (r#","dates":{"lastRefreshed":"yesterday"}"#, "dates.lastRefreshed"),
            (r#","dates":{"lastRefreshed":5}"#, "dates.lastRefreshed"),
            (r#","balances":"""#, "balances"),
            (r#","balances":{"booked":5}"#, "balances.booked"),
            (r#","balances":{"booked":"12.50"}"#, "balances.booked"),
            (r#","balances":{"booked":{"amount":"12.50"}}"#, "balances.booked"),
            (r#","balances":{"booked":{"amount":{"currencyCode":"EUR"}}}"#, "balances.booked"),
            (
                r#","balances":{"booked":{"amount":{"currencyCode":"","value":{"scale":"2","unscaledValue":"1"}}}}"#,
                "balances.booked",
            ),
            (
                r#","balances":{"available":{"amount":{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":""}}}}"#,
                "balances.available",
            ),
        ] {
            assert_eq!(one(members).unwrap(), bare, "{members}");
            assert_eq!(told(members), [place]);
        }
        let account = one(r#","type":5,"name":"a\ud800","balances":{"booked":7,"available":null},
            "identifiers":{"iban":"PL61","pan":{"masked":"1"}}"#)
        .unwrap();
        assert_eq!((account.kind.as_str(), account.name.as_str()), ("5", "a\u{fffd}"));
        assert_eq!((account.masked_pan.as_deref(), account.iban), (Some("1"), None));
    }

    #[test]
    fn an_account_without_an_id_is_left_out_and_the_list_says_so() {
        for lost in ["{}", r#"{"id":""}"#, r#"{"id":5}"#, r#"{"id":"\u0000"}"#, "null", "[]", r#""a""#] {
            let json = format!(r#"{{"accounts":[{lost},{{"id":"b"}}]}}"#);
            let page = accounts(json.as_bytes()).ok().unwrap();
            assert_eq!((page.rows.len(), page.complete), (1, false), "{lost}");
            assert!(page.anomalies.contains(Anomaly::Account));
        }
        assert!(accounts(br#"{"accounts":[{},{"id":7}]}"#).is_err(), "nothing was read at all");
        for json in ["{}", r#"{"accounts":null,"nextPageToken":""}"#] {
            let page = accounts(json.as_bytes()).ok().unwrap();
            assert!(!page.complete && page.anomalies.contains(Anomaly::NoList("accounts")));
        }
        for json in [r#"{"accounts":{}}"#, r#"{"accounts":"a"}"#, r#"{"accounts":5}"#] {
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
