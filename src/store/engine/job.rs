//! What a thread of a store is given to do, and when it answers. Does nothing itself.

use tokio::sync::oneshot;

use super::{Context, DbSession, Fail};
use crate::store::types::Durable;
use crate::store::{Result, StoreError};

/// When a job is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as it is done, also in the transaction of earlier jobs: it changes nothing of the file.
    Read,
    /// As soon as it is applied.
    Applied,
    /// Once it is durable.
    Durable,
}

/// What a job of any kind is to the thread.
pub(crate) trait Job: Send {
    fn what(&self) -> &'static str;
    fn when(&self) -> When;
    /// Does it, and keeps the value for the answer. It may be done again after its changes were undone.
    fn run(&mut self, session: &DbSession) -> std::result::Result<(), Fail>;
    fn answer(self: Box<Self>, kept: Result<Durable>);
}

/// One job.
pub(crate) struct Call<T, W> {
    pub what: &'static str,
    pub when: When,
    pub work: W,
    pub value: Option<T>,
    pub reply: oneshot::Sender<Result<(T, Durable)>>,
}

impl<T, W> Job for Call<T, W>
where
    T: Send,
    W: FnMut(&DbSession) -> std::result::Result<T, Fail> + Send,
{
    fn what(&self) -> &'static str {
        self.what
    }

    fn when(&self) -> When {
        self.when
    }

    fn run(&mut self, session: &DbSession) -> std::result::Result<(), Fail> {
        self.value = Some((self.work)(session)?);
        Ok(())
    }

    fn answer(self: Box<Self>, kept: Result<Durable>) {
        let gone = StoreError::thread_ended(self.what);
        let value = self.value;
        let answer = kept.and_then(|durable| value.map(|value| (value, durable)).ok_or(gone));
        // Nobody waits any more when a connection was cancelled: its work is done all the same.
        let _ = self.reply.send(answer);
    }
}

/// What is sent to the thread.
pub(crate) enum Message {
    Job(Box<dyn Job>),
    Configure(Box<dyn FnOnce(&Context) + Send>),
    Close(oneshot::Sender<()>),
}
