//! How the sync of one connection went: the error of a step, and the result of the attempt. Reads and writes nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::policy::{self, FailureMeaning, Hint};
use crate::domain::cause::Cause;
use crate::domain::outcome::{Outcome, Reason};
use crate::store::{CheckedBalance, StoreError};
use crate::tink;

/// Why a sync could not continue.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    /// A call to Tink failed for good.
    #[error(transparent)]
    Tink(tink::Error),
    /// The store failed, or the lease was lost.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tink::Error> for SyncError {
    /// A call failed by the store if the store did not yield the connection's tokens.
    fn from(error: tink::Error) -> Self {
        let store = error.cause.as_ref().and_then(Cause::get::<StoreError>).cloned();
        store.map_or(Self::Tink(error), Self::Store)
    }
}

impl SyncError {
    /// The result of an attempt that meets this; an error if no connection is to blame for it.
    ///
    /// # Errors
    /// [`StoreError`]: the lease was lost, or the store as a whole has a problem.
    pub(super) fn into_result(self) -> Result<AttemptResult, StoreError> {
        match self {
            Self::Tink(error) => Ok(AttemptResult::of(&error)),
            // The database works, but not with this connection's data. If it is broken after all, the record
            // of this result cannot be written either, and that ends the run.
            Self::Store(error @ StoreError::Sql { .. }) => {
                let text = format!(
                    "the store failed for this connection alone, nothing of that step was kept: {error}"
                );
                let result = AttemptResult::because(Outcome::Failed, Reason::Store, text);
                Ok(AttemptResult { hint: Hint::Nothing, ..result })
            }
            // The connection's data are read again.
            Self::Store(error @ StoreError::CommitUnknown { .. }) => {
                let result = AttemptResult::because(Outcome::Failed, Reason::Store, error.to_string());
                Ok(AttemptResult { hint: Hint::Nothing, transient: true, ..result })
            }
            Self::Store(error) => Err(error),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    /// A sentence for people.
    pub error: Option<String>,
    /// Tink's id of the failed request.
    pub request_id: Option<String>,
    /// How long Tink asked to wait.
    pub retry_after: Option<Duration>,
    /// Worth a second round in this pass.
    pub transient: bool,
    /// What it indicates about Tink as a whole.
    pub hint: Hint,
    /// The judgements of the accounts' balances.
    pub judged: Vec<CheckedBalance>,
    /// Accounts that used up their share of the time, and those that no longer do.
    pub hung: Vec<(i64, bool)>,
    /// It went well, but there is no data yet: no success.
    pub without_data: bool,
    /// Accounts whose data are stale; `None` if that was not judged.
    pub stale: Option<Standstill>,
}

impl AttemptResult {
    /// A result without an error.
    pub fn new(outcome: Outcome, reason: Option<Reason>) -> Self {
        let hint = Hint::Answers;
        Self {
            outcome,
            reason,
            error: None,
            request_id: None,
            retry_after: None,
            transient: false,
            hint,
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }

    /// A result with an error text.
    pub fn because(outcome: Outcome, reason: Reason, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(outcome, Some(reason)) }
    }

    fn of(error: &tink::Error) -> Self {
        let FailureMeaning { outcome, reason, transient, .. } = policy::meaning(error.kind);
        Self {
            outcome,
            reason: Some(reason),
            error: Some(error.to_string()),
            request_id: error.request_id.clone(),
            retry_after: error.retry_after,
            transient,
            hint: policy::hint(error),
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }
}

/// The accounts of a connection whose data are stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standstill {
    pub accounts: Vec<i64>,
    /// How many of them newly became stale.
    pub new: u64,
    /// The oldest refresh among them.
    pub since: Option<Timestamp>,
}
