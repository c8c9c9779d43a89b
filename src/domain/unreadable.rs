//! A record of a transaction that cannot be read, as it is kept in quarantine.

use std::fmt;

use jiff::civil::Date;

use super::ids::TransactionId;

/// A record that is no transaction one could store.
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
    /// The same for records that are probably one: made of what seldom changes (amount and booked date, else the
    /// texts), not of ids, times and whatever else a bank writes anew at each refresh.
    pub likeness: String,
}

impl fmt::Debug for Unreadable {
    /// Shows no data of people.
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
