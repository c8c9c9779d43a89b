//! Tests of walks over pages.

use super::*;

#[tokio::test]
async fn a_page_token_arrives_intact_and_the_filters_stay() {
    let tink = sandbox();
    let page = |next: &str| answer(200, format!(r#"{{"transactions":[],"nextPageToken":"{next}"}}"#));
    on(&tink, Call::Transactions, [page("a+/=&b"), page("2"), page("")]);
    let session = client(&tink).session(user());
    let window = Window { from: Some(date(2026, 4, 1)), to: date(2026, 8, 31) };
    let mut pages = session.transactions(&"acc".into(), &window);
    for _ in 0..3 {
        assert_eq!(pages.next().await, Ok(Some(Vec::new())));
    }
    assert_eq!(pages.next().await, Ok(None));
    assert_eq!(pages.next().await, Ok(None));
    let filters = "/data/v2/transactions?pageSize=100&accountIdIn=acc&bookedDateGte=2026-04-01&bookedDateLte=2026-08-31";
    let targets: Vec<_> = tink.log().into_iter().skip(3).map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        [filters.to_owned(), format!("{filters}&pageToken=a%2B%2F%3D%26b"), format!("{filters}&pageToken=2")]
    );
}

#[tokio::test]
async fn a_walk_without_a_lower_bound_sends_none_and_a_loop_ends_it() {
    let tink = sandbox();
    let record = r#"{"id":"t","amount":{"currencyCode":"EUR","value":{"scale":0,"unscaledValue":1}}}"#;
    let page = answer(200, format!(r#"{{"transactions":[{record}],"nextPageToken":"same"}}"#));
    on(&tink, Call::Transactions, [page.clone(), page]);
    let session = client_with(ClientOptions { keep_raw: true, ..options(&tink) }).session(user());
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    for _ in 0..2 {
        let rows = pages.next().await.unwrap().unwrap();
        assert!(matches!(&rows[..], [TransactionRecord::Row { raw: Some(raw), .. }] if &**raw == record));
    }
    for _ in 0..2 {
        assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::PageLoop);
    }
    assert!(!tink.log()[3].target.contains("bookedDateGte"));
    assert_eq!(tink.requests_to(Call::Transactions), 2);
}

#[tokio::test]
async fn a_refused_page_token_starts_the_walk_again_once() {
    let tink = sandbox();
    on(&tink, Call::Accounts, [account_page("gone", "t"), answer(400, ""), account_page("a", "t")]);
    on(&tink, Call::Accounts, [account_page("b", "u"), account_page("a", "")]);
    let accounts = client(&tink).session(user()).accounts().await.unwrap();
    let ids: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);

    let tink = sandbox();
    for _ in 0..2 {
        on(&tink, Call::Transactions, [answer(200, r#"{"transactions":[],"nextPageToken":"t"}"#)]);
        on(&tink, Call::Transactions, [answer(400, "")]);
    }
    let session = client(&tink).session(user());
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    assert!(pages.next().await.is_ok());
    assert!(pages.next().await.is_ok());
    assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(tink.requests_to(Call::Transactions), 4);
}

#[tokio::test]
async fn what_a_walk_read_before_its_page_token_was_refused_counts_in_no_anomaly() {
    let tink = sandbox();
    let odd = |next: &str| {
        answer(200, format!(r#"{{"accounts":[{{"id":"a","name":{{}}}}],"nextPageToken":"{next}"}}"#))
    };
    on(&tink, Call::Accounts, [odd("t"), answer(400, ""), odd("")]);
    let none = |next: &str| answer(200, format!(r#"{{"transactions":null,"nextPageToken":"{next}"}}"#));
    on(&tink, Call::Transactions, [none("t"), answer(400, ""), none("")]);
    let session = client(&tink).session(user());
    session.accounts().await.unwrap();
    let window = Window { from: None, to: date(2026, 8, 31) };
    let mut pages = session.transactions(&"b".into(), &window);
    while pages.next().await.unwrap().is_some() {}
    drop(pages);
    let counted = session.take_anomalies().into_iter().flat_map(|(account, anomalies)| {
        let of = account.map(|id| id.as_str().to_owned());
        anomalies.iter().map(|(_, times)| (of.clone(), times)).collect::<Vec<_>>()
    });
    let expected = [(Some("a".to_owned()), 1), (Some("b".to_owned()), 1)];
    assert_eq!(counted.collect::<Vec<_>>(), expected);
}

/// Options with a realistic body limit.
fn roomy(tink: &Sandbox) -> ClientOptions {
    ClientOptions { max_response: 16 << 20, ..options(tink) }
}

#[tokio::test]
async fn a_walk_over_more_records_than_fit_in_memory_ends_after_the_page_that_is_too_much() {
    let tink = sandbox();
    let id = "i".repeat(2_000 - 8);
    let page = |n: usize| {
        let records: Vec<String> =
            (0..900).map(|k| format!(r#"{{"id":"{id}{:08}"}}"#, n * 900 + k)).collect();
        answer(200, format!(r#"{{"transactions":[{}],"nextPageToken":"{n}"}}"#, records.join(",")))
    };
    // The rest leaves room for 1,700 ids of 2,000 bytes, and the second page exceeds it.
    on(&tink, Call::Transactions, (0..3).map(page));
    let session = client_with(roomy(&tink)).session(user());
    session.hold_unwritten((128 << 20) - 1700 * 2_000).await.unwrap();
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    for _ in 0..2 {
        assert_eq!(pages.next().await.unwrap().map(|rows| rows.len()), Some(900));
    }
    let error = pages.next().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.detail.contains("sync.history"), "{error}");
    assert_eq!(tink.requests_to(Call::Transactions), 2);
    // Dropping a walk frees what it held.
    drop(pages);
    assert!(session.hold_unwritten(128 << 20).await.is_ok());
}

#[tokio::test]
async fn nobody_has_as_many_accounts() {
    let tink = sandbox();
    let page = |n: usize| {
        let accounts: Vec<String> = (0..500).map(|k| format!(r#"{{"id":"{}"}}"#, n * 500 + k)).collect();
        answer(200, format!(r#"{{"accounts":[{}],"nextPageToken":"{n}"}}"#, accounts.join(",")))
    };
    on(&tink, Call::Accounts, (0..6).map(page));
    let error = client_with(roomy(&tink)).session(user()).accounts().await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::TooLarge, "more than 2000 accounts"));
    assert_eq!(tink.requests_to(Call::Accounts), 5);
}
