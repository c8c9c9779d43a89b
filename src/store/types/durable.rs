//! The wait for what was applied to become durable. A caller that tells the outside of it waits; one that only
//! goes on does not.

use tokio::sync::watch;

use crate::store::{Result, StoreError};

/// What becomes of a commit; nothing as long as it is not known.
pub(in crate::store) type Fate = watch::Sender<Option<Result<()>>>;

/// A write that is applied: all that follows sees it, and becomes durable with it or after it, or not at all.
#[derive(Clone, Debug)]
pub struct Durable(watch::Receiver<Option<Result<()>>>);

impl Durable {
    /// What shares the fate of this commit.
    pub(in crate::store) fn of(commit: &Fate) -> Self {
        Self(commit.subscribe())
    }

    /// Returns once it is durable. May be cut short and asked again.
    ///
    /// # Errors
    /// [`StoreError`]: the commit failed, and neither this nor anything later was kept.
    pub async fn confirmed(&mut self) -> Result<()> {
        let gone = || StoreError::thread_ended("commit");
        let fate = self.0.wait_for(Option::is_some).await.map_err(|_| gone())?;
        fate.clone().unwrap_or_else(|| Err(gone()))
    }
}
