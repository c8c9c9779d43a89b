//! A transaction record that cannot be read, as kept in quarantine.

use std::fmt;

use jiff::civil::Date;

use super::ids::TransactionId;

/// A record that cannot be stored as a transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its id, if that could be read.
    pub id: Option<TransactionId>,
    /// What is wrong with it, without values.
    pub reason: String,
    /// Its JSON as sent, at most 64 KiB.
    pub raw: String,
    /// Its booked date, if that could be read.
    pub booked_date: Option<Date>,
    /// Equal for records that are probably the same: made from what seldom changes (amount and booked date,
    /// else the texts), not from ids, times and whatever else a bank rewrites at each refresh.
    pub likeness: String,
}

impl fmt::Debug for Unreadable {
    /// Shows no personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unreadable").field(&self.id).field(&self.reason).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_a_record_shows_no_data_of_people() {
        let (raw, likeness) = ("GRAND HOTEL".to_owned(), "-100 GRAND HOTEL".to_owned());
        let record = Unreadable {
            id: Some("t-1".into()),
            reason: "amount: missing".to_owned(),
            raw,
            booked_date: None,
            likeness,
        };
        let shown = format!("{record:?}");
        assert!(shown.contains("t-1") && shown.contains("amount: missing"), "{shown}");
        assert!(!shown.contains("HOTEL"), "{shown}");
    }
}
