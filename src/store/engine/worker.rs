//! The thread that owns a SQLite connection, and its group commit: waiting jobs run in one transaction, each
//! in its own savepoint, so that a failed job is undone alone; one commit then makes them all durable. A job
//! that something outside depends on is answered once it is durable. The others are answered as soon as they
//! are applied: everything later goes through the same queue, and a failed commit ends the queue, so that
//! nothing after it is kept or reported. Contains no SQL except transaction control.

use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::context::{Conn, OnServer};
use super::job::{Call, Job, Message, Step, When};
use super::postgres::lanes;
use super::{Context, Db, DbSession, Fail};
use crate::failpoint;
use crate::store::types::{Durable, Fate};
use crate::store::{Result, StoreError};

/// How long the lock stays free after the thread has held it for long, so that other processes can take it.
const FAIR_PAUSE: Duration = Duration::from_millis(4);

/// The number of sessions of one process with a server. Each does one thing at a time, mostly waiting.
const SESSIONS: usize = 8;

/// How long a transaction accepts jobs.
#[derive(Clone, Copy, Debug)]
struct GroupLimits {
    /// How long it stays open for more jobs while no job waits for its commit.
    idle: Duration,
    /// The longest it stays open, however many jobs come.
    longest: Duration,
    /// The longest it stays open once a job waits for its commit.
    waited: Duration,
}

const LIMITS: GroupLimits = GroupLimits {
    idle: Duration::from_millis(5),
    longest: Duration::from_millis(200),
    waited: Duration::from_millis(20),
};

/// A handle to the thread; when the last one is dropped the thread ends and the file is closed.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    queue: mpsc::Sender<Message>,
    /// Makes another one for the same store, if that is on a server.
    server: Option<OnServer>,
}

impl Worker {
    /// Starts one thread for a file; for a server several, each with a session, which share one queue.
    pub(crate) fn start(session: DbSession) -> Self {
        match session.conn {
            Conn::Sqlite(_) => Self::start_within(LIMITS, session),
            Conn::Postgres(_) => {
                let (queue, jobs) = mpsc::channel();
                let server = session.context.on_server().filter(|_| !session.context.rehearsal);
                lanes::start(session, SESSIONS, jobs);
                Self { queue, server }
            }
        }
    }

    /// One that does not wait for the jobs of this one, with a session of its own that is opened for its first job.
    /// Only on a server: a file, and a rehearsal, have one session.
    pub(crate) fn apart(&self) -> Self {
        let Some(server) = &self.server else { return self.clone() };
        let (queue, jobs) = mpsc::channel();
        lanes::start_one(Context::another(server), jobs);
        Self { queue, server: self.server.clone() }
    }

    fn start_within(limits: GroupLimits, session: DbSession) -> Self {
        let (sender, queue) = mpsc::channel();
        std::thread::spawn(move || {
            let mut groups = Groups { limits, session, open: Open::Nothing, broken: None };
            let closed = groups.serve(&queue);
            let DbSession { conn, context } = groups.session;
            if let Conn::Sqlite(conn) = conn {
                // A connection that cannot be closed properly is dropped; nothing more can be done.
                let _ = failpoint::around("close the store", || conn.close().map_err(|(_, e)| e));
            }
            drop(context);
            // The receiver may be gone.
            let _ = closed.map(|closed| closed.send(()));
        });
        Self { queue: sender, server: None }
    }

    /// Ends the thread after its queued jobs; returns when the file is closed.
    pub(crate) async fn close(self) {
        let (reply, closed) = oneshot::channel();
        // If the send fails, the thread has already ended and closed its file.
        if self.queue.send(Message::Close(reply)).is_ok() {
            let _ = closed.await;
        }
    }

    /// Changes the thread's [`Context`].
    pub(crate) async fn configure<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Context) -> T + Send + 'static,
    ) {
        let (reply, done) = oneshot::channel();
        let change = move |context: &Context| {
            change(context);
            let _ = reply.send(());
        };
        // If the thread has ended, the next job reports it.
        if self.queue.send(Message::Configure(Box::new(change))).is_ok() {
            let _ = done.await;
        }
    }

    /// Runs one job atomically; returns when it is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        step: impl Into<Step>,
        mut work: impl FnMut(Db<'_>, &Context) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<T> {
        let done =
            self.call(step.into(), When::Durable, move |session| work(session.db(), &session.context)).await;
        done.map(|(value, _)| value)
    }

    /// As [`Self::write`], but returns as soon as it is applied. Nothing outside may depend on it before it is
    /// durable.
    pub(crate) async fn apply<T: Send + 'static>(
        &self,
        step: impl Into<Step>,
        work: impl FnMut(Db<'_>, &Context) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<T> {
        self.applied(step, work).await.map(|(value, _)| value)
    }

    /// As [`Self::apply`], and also returns the handle to wait until it is durable.
    pub(crate) async fn applied<T: Send + 'static>(
        &self,
        step: impl Into<Step>,
        mut work: impl FnMut(Db<'_>, &Context) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<(T, Durable)> {
        self.call(step.into(), When::Applied, move |session| work(session.db(), &session.context)).await
    }

    /// Runs statements that only read, and see what is applied. On a file they share one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnMut(Db<'_>) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<T> {
        self.look(what, work).await.map(|(value, _)| value)
    }

    /// As [`Self::read`], and also returns the handle to wait until what was read is durable.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        mut work: impl FnMut(Db<'_>) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<(T, Durable)> {
        self.call(what.into(), When::Read, move |session| work(session.db())).await
    }

    async fn call<T: Send + 'static>(
        &self,
        step: Step,
        when: When,
        work: impl FnMut(&DbSession) -> std::result::Result<T, Fail> + Send + 'static,
    ) -> Result<(T, Durable)> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::thread_ended(step.what());
        let job = Call { step, when, work, begun: false, value: None, reply };
        self.queue.send(Message::Job(Box::new(job))).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The transaction that is open.
enum Open {
    Nothing,
    /// One that only reads.
    Snapshot(Fate),
    Group(Group),
}

/// Jobs that are applied and not yet durable.
struct Group {
    began: Instant,
    /// The name of each job.
    steps: Vec<&'static str>,
    /// Jobs that are answered once they are durable, and since when the first of them waits.
    waiting: Vec<Box<dyn Job>>,
    waited: Option<Instant>,
    /// The outcome of their commit.
    fate: Fate,
}

impl Group {
    fn new() -> Self {
        let (began, fate) = (Instant::now(), watch::Sender::default());
        Self { began, steps: Vec::new(), waiting: Vec::new(), waited: None, fate }
    }

    /// The time left in which it accepts jobs.
    fn left(&self, limits: GroupLimits) -> Duration {
        let waited = self.waited.map(|since| limits.waited.saturating_sub(since.elapsed()));
        let left = limits.longest.saturating_sub(self.began.elapsed());
        waited.map_or(left, |waited| waited.min(left))
    }
}

/// What the thread does next.
enum Next {
    Take(Message),
    Commit,
    End,
}

/// The state of the thread.
struct Groups {
    limits: GroupLimits,
    session: DbSession,
    open: Open,
    /// The error of a commit that failed. From then on every job fails with it.
    broken: Option<StoreError>,
}

impl Groups {
    /// Works until it is closed or all senders are gone; returns the channel that waits for the end, if any.
    fn serve(&mut self, queue: &Receiver<Message>) -> Option<oneshot::Sender<()>> {
        loop {
            match self.next(queue) {
                Next::Take(Message::Job(job)) => self.take(job),
                Next::Take(Message::Configure(change)) => change(&self.session.context),
                Next::Commit => self.commit(),
                Next::Take(Message::Close(closed)) => {
                    self.commit();
                    return Some(closed);
                }
                Next::End => {
                    self.commit();
                    return None;
                }
            }
        }
    }

    fn next(&self, queue: &Receiver<Message>) -> Next {
        let group = match &self.open {
            Open::Nothing => return queue.recv().map_or(Next::End, Next::Take),
            Open::Snapshot(_) => None,
            Open::Group(group) => Some(group),
        };
        if group.is_some_and(|group| group.left(self.limits).is_zero()) {
            return Next::Commit;
        }
        match queue.try_recv() {
            Ok(message) => return Next::Take(message),
            Err(TryRecvError::Disconnected) => return Next::End,
            Err(TryRecvError::Empty) => {}
        }
        // The queue is empty: end a snapshot, and commit for the jobs that wait for it.
        let Some(group) = group.filter(|group| group.waiting.is_empty()) else { return Next::Commit };
        match queue.recv_timeout(self.limits.idle.min(group.left(self.limits))) {
            Ok(message) => Next::Take(message),
            Err(RecvTimeoutError::Timeout) => Next::Commit,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    fn take(&mut self, job: Box<dyn Job>) {
        let done = match (&self.broken, job.when()) {
            (Some(error), _) => Err(error.clone()),
            (None, When::Read) => self.look(),
            (None, When::Applied | When::Durable) => self.begin(job.what()),
        };
        match done {
            Err(error) => job.answer(Err(error)),
            Ok(()) if job.when() == When::Read => self.read(job),
            Ok(()) => self.write(job),
        }
    }

    /// Opens one snapshot for all waiting reads.
    fn look(&mut self) -> Result<()> {
        if let Open::Nothing = self.open {
            self.session.begin_read("read")?;
            self.open = Open::Snapshot(watch::Sender::new(Some(Ok(()))));
        }
        Ok(())
    }

    /// Opens a group. Only BEGIN can meet a lock, and it is retried.
    fn begin(&mut self, what: &'static str) -> Result<()> {
        if let Open::Snapshot(_) = self.open {
            self.commit();
        }
        if let Open::Nothing = self.open {
            self.session.begin_write(what)?;
            self.open = Open::Group(Group::new());
        }
        Ok(())
    }

    fn read(&mut self, mut job: Box<dyn Job>) {
        let (what, done) = (job.what(), job.run(&self.session));
        let error = done.err().map(|fail| self.session.context.explain(what, fail));
        // Some errors end the transaction and undo what was applied in it.
        if let (Some(error), true) = (&error, !self.session.is_open()) {
            self.give_up(error);
        }
        let durable = match &self.open {
            Open::Snapshot(fate) | Open::Group(Group { fate, .. }) => Durable::of(fate),
            Open::Nothing => Durable::of(&watch::Sender::new(Some(Ok(())))),
        };
        job.answer(error.map_or(Ok(durable), Err));
    }

    fn write(&mut self, mut job: Box<dyn Job>) {
        let Open::Group(group) = &mut self.open else { return };
        let is_first = group.steps.is_empty();
        let session = &self.session;
        let mark = |sql: &'static str| if is_first { Ok(()) } else { session.control(sql) };
        let done = mark("SAVEPOINT job").and_then(|()| job.run(session)).and_then(|()| mark("RELEASE job"));
        match done {
            Ok(()) => {
                session.context.succeeded();
                group.steps.push(job.what());
                if job.when() == When::Durable {
                    group.waited.get_or_insert_with(Instant::now);
                    group.waiting.push(job);
                } else {
                    job.answer(Ok(Durable::of(&group.fate)));
                }
            }
            Err(fail) => {
                session.context.failed();
                let error = session.context.explain(job.what(), fail);
                self.undo(is_first, &error);
                job.answer(Err(error));
            }
        }
    }

    /// Undoes only the last job. If SQLite has undone more, or cannot undo it, everything applied is lost.
    fn undo(&mut self, is_first: bool, error: &StoreError) {
        let session = &self.session;
        let undo = || session.control("ROLLBACK TO job").and_then(|()| session.control("RELEASE job"));
        if is_first || !session.is_open() || undo().is_err() {
            self.give_up(error);
        }
    }

    /// Rolls back the transaction. If jobs were applied in it, every later job fails.
    fn give_up(&mut self, error: &StoreError) {
        // After some errors SQLite has already rolled back, and this fails; that is fine.
        let _ = self.session.control("ROLLBACK");
        if let Open::Group(group) = mem::replace(&mut self.open, Open::Nothing)
            && !group.steps.is_empty()
        {
            self.broken = Some(error.clone());
            group.fate.send_replace(Some(Err(error.clone())));
            group.waiting.into_iter().for_each(|job| job.answer(Err(error.clone())));
        }
    }

    /// Commits the applied jobs, and answers those that wait for it.
    fn commit(&mut self) {
        let group = match &mut self.open {
            Open::Nothing => return,
            // Nothing was changed.
            Open::Snapshot(_) => {
                let _ = self.session.control("COMMIT");
                self.open = Open::Nothing;
                return;
            }
            Open::Group(group) => group,
        };
        let steps = mem::take(&mut group.steps);
        let what = steps.last().copied().unwrap_or("commit");
        let commit = || self.session.control("COMMIT");
        let done = failpoint::around_all(&steps, commit).map_err(|e| self.session.context.explain(what, e));
        group.steps = steps;
        match done.and_then(|()| self.session.context.is_in_place(what)) {
            Err(error) => self.give_up(&error),
            Ok(()) => self.kept(),
        }
    }

    fn kept(&mut self) {
        let Open::Group(group) = mem::replace(&mut self.open, Open::Nothing) else { return };
        group.fate.send_replace(Some(Ok(())));
        group.waiting.into_iter().for_each(|job| job.answer(Ok(Durable::of(&group.fate))));
        if group.began.elapsed() >= self.limits.longest {
            // Other processes poll for a free lock: see `open::wait_for_lock`.
            std::thread::sleep(FAIR_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests;
