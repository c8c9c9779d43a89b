//! Judges the bank's balances against the rows, after the walks of a connection. `domain::balance` judges,
//! the record of the outcome writes it. A difference is reported and never fails anything.
//!
//! Balance and rows must be of one refresh. The balance is read before the walk; if Tink refreshed in
//! between, the rows may be newer. Numbers that agree prove that it did not. Otherwise a changed judgement
//! counts only if the account list, read again, shows the same refresh.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::context::ConnectionSync;
use crate::domain::balance::reconcile;
use crate::domain::event::Event;
use crate::store::{CheckedBalance, Claim, StoreError};

/// Judges the accounts whose walks were complete; returns the changed judgements.
///
/// # Errors
/// [`StoreError`]. If Tink cannot be asked again, this only leaves a doubtful judgement to the next pass.
pub(super) async fn judge(
    sync: &ConnectionSync<'_>,
    complete: Vec<i64>,
) -> Result<Vec<CheckedBalance>, StoreError> {
    if complete.is_empty() {
        return Ok(Vec::new());
    }
    let mut judged = Vec::new();
    for check in sync.ctx.store.balance_checks(complete).await? {
        let after = reconcile(&check.reconciliation, &check.input, sync.now());
        if after != check.reconciliation {
            judged.push(CheckedBalance { check, after });
        }
    }
    if judged.iter().any(is_delicate) {
        let listed = sync.session.accounts().await.unwrap_or_default();
        let now: HashMap<_, _> = listed.into_iter().map(|a| (a.id, a.last_refreshed)).collect();
        judged.retain(|j| !is_delicate(j) || now.get(&j.check.account_id) == Some(&j.check.input.refresh));
    }
    Ok(judged)
}

fn is_delicate(judgement: &CheckedBalance) -> bool {
    judgement.after.is_delicate(&judgement.check.reconciliation)
}

/// How many accounts have a difference that is to be reported now.
pub(super) fn reported(judged: &[CheckedBalance], min_open: SignedDuration) -> u64 {
    judged.iter().filter(|j| j.after.is_due_for_report(&j.check.reconciliation, min_open)).count() as u64
}

/// The event that this number of accounts have such a difference; `None` for 0.
pub(super) fn news(claim: &Claim, accounts: u64) -> Option<Event> {
    (accounts > 0).then(|| Event::BalanceDiffers {
        connection_id: claim.lease.connection_id.clone(),
        user_id: claim.user_id.clone(),
        accounts,
    })
}
