//! What lists that are not complete leave open. An account or a consent that could not be read, or a list that was
//! left out, says nothing about what is not there. Pure.

use crate::domain::account::Account;
use crate::store::types::StoredAccount;

/// The listed accounts of which an incomplete list says for certain which they are. While a known account is
/// missing from it, one with a new id may be that one under its new id, and waits for a complete list.
pub(super) fn certain(stored: &[StoredAccount], mut listed: Vec<Account>) -> Vec<Account> {
    let is_listed = |known: &StoredAccount| listed.iter().any(|account| account.id == known.account.id);
    if stored.iter().any(|known| !known.closed && !is_listed(known)) {
        listed.retain(|account| stored.iter().any(|known| known.account.id == account.id));
    }
    listed
}
