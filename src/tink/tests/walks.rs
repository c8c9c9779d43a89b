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
