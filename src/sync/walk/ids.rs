//! The ids that a walk has read, all of them until its end: an id of the usual form takes sixteen bytes. Exact, so
//! that no row is taken for another. Knows nothing of what is stored.

use std::collections::HashMap;

use crate::domain::ids::TransactionId;

/// Ids, and whether each was that of a booked row.
#[derive(Debug, Default)]
pub struct SeenIds {
    usual: HashMap<[u8; 16], bool>,
    other: HashMap<TransactionId, bool>,
}

impl SeenIds {
    /// Whether the id was that of a booked row; `None` if it was not seen.
    pub fn booked(&self, id: &TransactionId) -> Option<bool> {
        match id.compact() {
            Some(bytes) => self.usual.get(&bytes),
            None => self.other.get(id),
        }
        .copied()
    }

    /// Whether the id was seen.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.booked(id).is_some()
    }

    /// Adds an id. One that was booked stays so.
    pub fn add(&mut self, id: &TransactionId, booked: bool) {
        let known = match id.compact() {
            Some(bytes) => self.usual.entry(bytes).or_default(),
            None => self.other.entry(id.clone()).or_default(),
        };
        *known |= booked;
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.usual.is_empty() && self.other.is_empty()
    }

    /// How many were seen.
    pub fn len(&self) -> usize {
        self.usual.len() + self.other.len()
    }

    /// How many of these the `other` walk has seen too.
    pub fn seen_by(&self, other: &Self) -> usize {
        self.usual.keys().filter(|id| other.usual.contains_key(*id)).count()
            + self.other.keys().filter(|id| other.other.contains_key(*id)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_are_told_apart() {
        let usual = "0123456789abcdef0123456789abcdef";
        let ids = [usual, &usual.to_uppercase(), "1001", "", &usual[1..]].map(TransactionId::from);
        let mut seen = SeenIds::default();
        assert!(seen.is_empty());
        for (count, id) in ids.iter().enumerate() {
            assert_eq!((seen.len(), seen.booked(id)), (count, None));
            seen.add(id, false);
            assert_eq!(seen.booked(id), Some(false));
        }
        let mut other = SeenIds::default();
        for id in &ids[..2] {
            seen.add(id, true);
            seen.add(id, false);
            assert_eq!(seen.booked(id), Some(true));
            other.add(id, false);
        }
        other.add(&"new".into(), false);
        assert_eq!((seen.seen_by(&other), other.seen_by(&seen)), (2, 2));
    }
}
