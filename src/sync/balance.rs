//! After the walks of a connection: what the bank's balances say about the rows. `domain::balance` judges, the
//! record of the outcome writes it. A difference is told and never fails anything.
//!
//! Balance and rows must be of one refresh. The balance is read before the walk; if Tink looked at the bank in
//! between, the rows may be newer than it. Numbers that agree prove that it did not. Else the account list is
//! read once more, and what moved meanwhile is not judged in this pass.

use std::collections::HashMap;

use super::context::ConnectionSync;
use crate::domain::balance::prove;
use crate::domain::event::Event;
use crate::store::{Claim, Judgement, StoreError};

/// Judges the accounts whose walks were complete; returns what is new.
///
/// # Errors
/// [`StoreError`]; that Tink could not be asked again only leaves a doubtful judgement to the next pass.
pub async fn judge(sync: &ConnectionSync<'_>, complete: Vec<i64>) -> Result<Vec<Judgement>, StoreError> {
    if complete.is_empty() {
        return Ok(Vec::new());
    }
    let mut judged = Vec::new();
    for ledger in sync.ctx.store.ledgers(complete).await? {
        let after = prove(&ledger.proof, &ledger.books, sync.now());
        if after != ledger.proof {
            judged.push(Judgement { ledger, after });
        }
    }
    if judged.iter().any(is_delicate) {
        let listed = sync.session.accounts().await.unwrap_or_default();
        let now: HashMap<_, _> = listed.into_iter().map(|a| (a.id, a.last_refreshed)).collect();
        judged.retain(|j| !is_delicate(j) || now.get(&j.ledger.account_id) == Some(&j.ledger.books.refresh));
    }
    Ok(judged)
}

fn is_delicate(judgement: &Judgement) -> bool {
    judgement.after.is_delicate(&judgement.ledger.proof)
}

/// How many accounts newly have a difference.
pub fn opened(judged: &[Judgement]) -> u64 {
    judged.iter().filter(|j| j.after.opens(&j.ledger.proof)).count() as u64
}

/// That so many accounts of a connection newly have a difference, if any.
pub fn news(claim: &Claim, accounts: u64) -> Option<Event> {
    (accounts > 0).then(|| Event::BalanceDiffers {
        connection_id: claim.lease.connection_id.clone(),
        user_id: claim.user_id.clone(),
        accounts,
    })
}
