use super::*;
use crate::sync::made_up::booked;

/// A record with this id of which nothing else could be read.
fn unreadable(id: &str) -> TransactionRecord {
    TransactionRecord::Unreadable(Unreadable {
        id: Some(id.to_owned().into()),
        reason: "amount is missing".to_owned(),
        raw: "{}".to_owned(),
        booked_date: None,
        likeness: String::new(),
    })
}

fn row(id: &str) -> TransactionRecord {
    TransactionRecord::Row { transaction: booked(id, "-100", 1, "TRAM"), raw: None, size: 10 }
}

#[test]
fn a_record_that_a_later_page_shows_readable_is_no_longer_unreadable_and_the_others_stay_so() {
    let mut gathered = Gathered::default();
    gathered.take(vec![unreadable("a"), unreadable("b")]);
    gathered.take(vec![row("b")]);
    let left: Vec<_> = gathered.unreadable.iter().map(|record| record.id.clone()).collect();
    assert_eq!(left, [Some("a".to_owned().into())]);
    assert_eq!((gathered.rows.len(), gathered.records_read), (1, 2), "each record counts once");
}

#[test]
fn a_chunk_is_full_with_too_many_rows_or_too_many_bytes() {
    let mut gathered = Gathered::default();
    gathered.take((0..3).map(|n| row(&n.to_string())).collect());
    assert!(!gathered.is_chunk(3));
    assert!(gathered.is_chunk(2), "rows");
    gathered.size = CHUNK_SIZE + 1;
    assert!(gathered.is_chunk(3), "bytes");
}
