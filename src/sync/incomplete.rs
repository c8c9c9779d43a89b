//! What incomplete lists leave open. A list that was left out, or in which an account or a consent could not
//! be read, proves nothing about what it lacks. Pure.

use crate::domain::account::Account;
use crate::store::types::StoredAccount;

/// The listed accounts whose identity is certain although the list is incomplete. While a known account is
/// missing from it, an account with a new id may be that one, and waits for a complete list.
pub(super) fn certain(stored: &[StoredAccount], mut listed: Vec<Account>) -> Vec<Account> {
    let is_listed = |known: &StoredAccount| listed.iter().any(|account| account.id == known.account.id);
    if stored.iter().any(|known| !known.closed && !is_listed(known)) {
        listed.retain(|account| stored.iter().any(|known| known.account.id == account.id));
    }
    listed
}
