//! Tests of walks over pages.

use super::*;

#[tokio::test]
async fn a_page_token_arrives_intact_and_the_filters_stay() {
    let fake = Fake::start().await;
    let page = |next: &str| Reply::new(200, format!(r#"{{"transactions":[],"nextPageToken":"{next}"}}"#));
    fake.on("transactions", [page("a+/=&b"), page("2"), page("")]);
    let session = client(&fake).session(user());
    let window = Window { from: Some(date(2026, 4, 1)), to: date(2026, 8, 31) };
    let mut pages = session.transactions(&"acc".into(), &window);
    for _ in 0..3 {
        assert_eq!(pages.next().await, Ok(Some(Vec::new())));
    }
    assert_eq!(pages.next().await, Ok(None));
    assert_eq!(pages.next().await, Ok(None));
    let filters = "/data/v2/transactions?pageSize=100&accountIdIn=acc&bookedDateGte=2026-04-01&bookedDateLte=2026-08-31";
    let targets: Vec<_> = fake.seen().into_iter().skip(3).map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        [filters.to_owned(), format!("{filters}&pageToken=a%2B%2F%3D%26b"), format!("{filters}&pageToken=2")]
    );
}

#[tokio::test]
async fn a_walk_without_a_lower_bound_sends_none_and_a_loop_ends_it() {
    let fake = Fake::start().await;
    let record = r#"{"id":"t","amount":{"currencyCode":"EUR","value":{"scale":0,"unscaledValue":1}}}"#;
    let page = Reply::new(200, format!(r#"{{"transactions":[{record}],"nextPageToken":"same"}}"#));
    fake.on("transactions", [page.clone(), page]);
    let session = client_with(Options { keep_raw: true, ..options(&fake) }).session(user());
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    for _ in 0..2 {
        let rows = pages.next().await.unwrap().unwrap();
        assert!(matches!(&rows[..], [Record::Row { raw: Some(raw), .. }] if &**raw == record));
    }
    for _ in 0..2 {
        assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::PageLoop);
    }
    assert!(!fake.seen()[3].target.contains("bookedDateGte"));
    assert_eq!(fake.count("transactions"), 2);
}

#[tokio::test]
async fn a_refused_page_token_starts_the_walk_again_once() {
    let fake = Fake::start().await;
    fake.on("accounts", [account_page("gone", "t"), Reply::new(400, ""), account_page("a", "t")]);
    fake.on("accounts", [account_page("b", "u"), account_page("a", "")]);
    let accounts = client(&fake).session(user()).accounts().await.unwrap();
    let ids: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);

    let fake = Fake::start().await;
    for _ in 0..2 {
        fake.on("transactions", [Reply::new(200, r#"{"transactions":[],"nextPageToken":"t"}"#)]);
        fake.on("transactions", [Reply::new(400, "")]);
    }
    let session = client(&fake).session(user());
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    assert!(pages.next().await.is_ok());
    assert!(pages.next().await.is_ok());
    assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(pages.next().await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(fake.count("transactions"), 4);
}

/// Limits as users have them.
fn roomy(fake: &Fake) -> Options {
    Options { max_response: 16 << 20, ..options(fake) }
}

#[tokio::test]
async fn a_walk_over_more_records_than_fit_in_memory_ends_after_the_page_that_is_too_much() {
    let fake = Fake::start().await;
    let id = "i".repeat(16 * 1024 - 8);
    let page = |n: usize| {
        let records: Vec<String> =
            (0..900).map(|k| format!(r#"{{"id":"{id}{:08}"}}"#, n * 900 + k)).collect();
        Reply::new(200, format!(r#"{{"transactions":[{}],"nextPageToken":"{n}"}}"#, records.join(",")))
    };
    // With what else is held there is room for 1,700 ids of 16 KiB, and the second page goes beyond.
    fake.on("transactions", (0..3).map(page));
    let session = client_with(roomy(&fake)).session(user());
    session.hold_unwritten((128 << 20) - 1700 * 16 * 1024).await.unwrap();
    let mut pages = session.transactions(&"acc".into(), &Window { from: None, to: date(2026, 8, 31) });
    for _ in 0..2 {
        assert_eq!(pages.next().await.unwrap().map(|rows| rows.len()), Some(900));
    }
    let error = pages.next().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.detail.contains("sync.history"), "{error}");
    assert_eq!(fake.count("transactions"), 2);
    // What a walk has held is free when it is over.
    drop(pages);
    assert!(session.hold_unwritten(128 << 20).await.is_ok());
}

#[tokio::test]
async fn nobody_has_as_many_accounts() {
    let fake = Fake::start().await;
    let page = |n: usize| {
        let accounts: Vec<String> = (0..500).map(|k| format!(r#"{{"id":"{}"}}"#, n * 500 + k)).collect();
        Reply::new(200, format!(r#"{{"accounts":[{}],"nextPageToken":"{n}"}}"#, accounts.join(",")))
    };
    fake.on("accounts", (0..6).map(page));
    let error = client_with(roomy(&fake)).session(user()).accounts().await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::TooLarge, "more than 2000 accounts"));
    assert_eq!(fake.count("accounts"), 5);
}
