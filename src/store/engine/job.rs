//! Jobs for the threads of a store, and when they are answered. Runs nothing itself.

use tokio::sync::oneshot;

use super::{Context, DbSession, Fail};
use crate::store::types::Durable;
use crate::store::{Result, StoreError};

/// When a job is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as it is done, even inside the transaction of earlier jobs: it changes nothing in the file.
    Read,
    /// As soon as it is applied.
    Applied,
    /// Once it is durable.
    Durable,
}

/// When a job that has run may run again. On a file, no job runs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Never: it has used up its input.
    Never,
    /// If its changes were undone.
    Undone,
    /// Also if it is unknown whether they were kept: it is idempotent.
    Unknown,
}

/// A job's name, and when it may be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    what: &'static str,
    repeat: Repeat,
}

impl Step {
    pub(crate) const fn what(self) -> &'static str {
        self.what
    }
}

impl From<&'static str> for Step {
    fn from(what: &'static str) -> Self {
        Self { what, repeat: Repeat::Undone }
    }
}

/// An idempotent job: it may run again when it is unknown whether its commit was kept.
pub(crate) const fn repeatable(what: &'static str) -> Step {
    Step { what, repeat: Repeat::Unknown }
}

/// A job that can run only once, because it uses up its input; a failure of it is reported as it is.
pub(crate) const fn once(what: &'static str) -> Step {
    Step { what, repeat: Repeat::Never }
}

/// The thread's view of a job of any type.
pub(crate) trait Job: Send {
    fn what(&self) -> &'static str;
    /// When it may run again; one that has not begun to run can always run.
    fn repeat(&self) -> Repeat;
    fn when(&self) -> When;
    /// Runs the job and keeps its value for the answer. May be called again as [`Self::repeat`] says.
    fn run(&mut self, session: &DbSession) -> std::result::Result<(), Fail>;
    fn answer(self: Box<Self>, kept: Result<Durable>);
}

/// A job with its reply channel.
pub(crate) struct Call<T, W> {
    pub step: Step,
    pub when: When,
    pub work: W,
    /// Whether it has begun to run.
    pub begun: bool,
    pub value: Option<T>,
    pub reply: oneshot::Sender<Result<(T, Durable)>>,
}

impl<T, W> Job for Call<T, W>
where
    T: Send,
    W: FnMut(&DbSession) -> std::result::Result<T, Fail> + Send,
{
    fn what(&self) -> &'static str {
        self.step.what
    }

    fn repeat(&self) -> Repeat {
        match self.step.repeat {
            Repeat::Never if !self.begun => Repeat::Undone,
            repeat => repeat,
        }
    }

    fn when(&self) -> When {
        self.when
    }

    fn run(&mut self, session: &DbSession) -> std::result::Result<(), Fail> {
        self.begun = true;
        self.value = Some((self.work)(session)?);
        Ok(())
    }

    fn answer(self: Box<Self>, kept: Result<Durable>) {
        let gone = StoreError::thread_ended(self.step.what);
        let value = self.value;
        let answer = kept.and_then(|durable| value.map(|value| (value, durable)).ok_or(gone));
        // If the connection was cancelled, nobody waits for the answer; the work is done all the same.
        let _ = self.reply.send(answer);
    }
}

/// A message to the thread.
pub(crate) enum Message {
    Job(Box<dyn Job>),
    Configure(Box<dyn FnOnce(&Context) + Send>),
    Close(oneshot::Sender<()>),
}
