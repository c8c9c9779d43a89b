//! All ids that a walk has read, kept until its end: an id of the usual form takes sixteen bytes. Exact, so
//! that no row is taken for another. Knows nothing of what is stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::domain::ids::TransactionId;

/// Ids, each with whether it was that of a booked row.
#[derive(Debug, Default)]
pub(super) struct SeenIds {
    usual: HashMap<[u8; 16], bool>,
    other: HashMap<TransactionId, bool>,
}

impl SeenIds {
    pub(super) fn contains(&self, id: &TransactionId) -> bool {
        match id.compact() {
            Some(bytes) => self.usual.contains_key(&bytes),
            None => self.other.contains_key(id),
        }
    }

    /// Adds an id; one that was booked stays booked. Returns whether it was booked before; `None` if it was
    /// not seen.
    pub(super) fn add(&mut self, id: &TransactionId, booked: bool) -> Option<bool> {
        match id.compact() {
            Some(bytes) => mark(self.usual.entry(bytes), booked),
            None => mark(self.other.entry(id.clone()), booked),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.usual.is_empty() && self.other.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.usual.len() + self.other.len()
    }

    /// How many of these the `other` walk has also seen.
    pub(super) fn seen_by(&self, other: &Self) -> usize {
        self.usual.keys().filter(|id| other.usual.contains_key(*id)).count()
            + self.other.keys().filter(|id| other.other.contains_key(*id)).count()
    }
}

fn mark<K>(entry: Entry<'_, K, bool>, booked: bool) -> Option<bool> {
    match entry {
        Entry::Occupied(mut known) => {
            let before = *known.get();
            known.insert(before || booked);
            Some(before)
        }
        Entry::Vacant(place) => {
            place.insert(booked);
            None
        }
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
            assert_eq!((seen.len(), seen.contains(id)), (count, false));
            assert_eq!(seen.add(id, false), None);
            assert_eq!(seen.add(id, false), Some(false));
        }
        let mut other = SeenIds::default();
        for id in &ids[..2] {
            assert_eq!(seen.add(id, true), Some(false));
            assert_eq!(
                (seen.add(id, false), seen.add(id, false)),
                (Some(true), Some(true)),
                "it stays booked"
            );
            other.add(id, false);
        }
        other.add(&"new".into(), false);
        assert_eq!((seen.seen_by(&other), other.seen_by(&seen)), (2, 2));
    }
}
