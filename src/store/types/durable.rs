//! The wait until an applied write is durable. A caller that reports the write to the outside waits; one that
//! only goes on does not.

use tokio::sync::watch;

use crate::store::{Result, StoreError};

/// The outcome of a commit; `None` as long as it is unknown.
pub(in crate::store) type Fate = watch::Sender<Option<Result<()>>>;

/// A write that is applied: all later work sees it, and becomes durable with it or after it, or not at all.
#[derive(Clone, Debug)]
pub struct Durable(watch::Receiver<Option<Result<()>>>);

impl Durable {
    /// A handle that shares the fate of this commit.
    pub(in crate::store) fn of(commit: &Fate) -> Self {
        Self(commit.subscribe())
    }

    /// Returns once it is durable. May be cancelled and called again.
    ///
    /// # Errors
    /// [`StoreError`] if the commit failed; then neither this nor anything later was kept.
    pub async fn confirmed(&mut self) -> Result<()> {
        let gone = || StoreError::thread_ended("commit");
        let fate = self.0.wait_for(Option::is_some).await.map_err(|_| gone())?;
        fate.clone().unwrap_or_else(|| Err(gone()))
    }
}
