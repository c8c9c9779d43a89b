//! The threads of a store on a server: each has a session, and another thread hands each job to the first idle one. A
//! job is a transaction of its own, and durable when it is answered. A job that met another transaction in the way is
//! repeated, and so is one whose server went away before its commit was sent, until the patience is over, unless it says
//! that it cannot be.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::explain::{Remedy, remedy};
use super::session::Pg;
use crate::failpoint;
use crate::store::StoreError;
use crate::store::engine::context::Conn;
use crate::store::engine::job::{Job, Message, Repeat, When};
use crate::store::engine::{Context, DbSession, Fail};
use crate::store::types::{Durable, Fate};

/// How long a contended job is repeated, at least. More than the `lock_timeout` that packaging/postgres/roles.sql
/// sets: with an equal one, a job that waits for a lock would never be repeated.
const CONTENDED: Duration = Duration::from_secs(30);

/// The longest pause before that, in milliseconds.
const PAUSE_MS: u64 = 50;

/// The pause before a server is tried again.
const AWAY: Duration = Duration::from_millis(500);

/// Which threads are idle.
struct Idle {
    threads: Mutex<Threads>,
    changed: Condvar,
}

struct Threads {
    /// The numbers of the idle threads.
    idle: BTreeSet<usize>,
    /// The number of threads; one that panicked has ended.
    all: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Idle {
    /// Waits for an idle thread and marks it busy. Takes the first, which most likely has a session: jobs one
    /// after the other then open only one. Returns `None` if no thread is left.
    fn take(&self) -> Option<usize> {
        let nobody = |threads: &mut Threads| threads.all > 0 && threads.idle.is_empty();
        let threads = self.changed.wait_while(lock(&self.threads), nobody);
        threads.unwrap_or_else(PoisonError::into_inner).idle.pop_first()
    }

    fn wait_for_all(&self) {
        let busy = |threads: &mut Threads| threads.idle.len() < threads.all;
        drop(self.changed.wait_while(lock(&self.threads), busy));
    }
}

/// A job that this thread works on; dropping it makes the thread idle.
struct AtWork<'l>(&'l Idle, usize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut threads = lock(&self.0.threads);
        if thread::panicking() {
            threads.all -= 1;
        } else {
            threads.idle.insert(self.1);
        }
        self.0.changed.notify_all();
    }
}

/// Starts the threads; they end when all senders are gone.
pub(crate) fn start(first: DbSession, sessions: usize, queue: Receiver<Message>) {
    // A rehearsal is one transaction of one session.
    let number = if first.context.rehearsal { 1 } else { sessions.max(1) };
    if let (Conn::Postgres(pg), false) = (&first.conn, first.context.rehearsal) {
        pg.plan_for_few_rows();
    }
    start_lanes(first.context.again(), Some(first), number, queue);
}

/// Starts one thread, whose session is opened for its first job.
pub(crate) fn start_one(context: Context, queue: Receiver<Message>) {
    start_lanes(context, None, 1, queue);
}

fn start_lanes(context: Context, mut first: Option<DbSession>, number: usize, queue: Receiver<Message>) {
    let threads = Threads { idle: (0..number).collect(), all: number };
    let idle = Arc::new(Idle { threads: Mutex::new(threads), changed: Condvar::new() });
    let lanes = (0..number).map(|number| {
        let (sender, jobs) = mpsc::channel::<Box<dyn Job>>();
        let (mut lane, idle) = (Lane { context: context.again(), session: first.take() }, Arc::clone(&idle));
        thread::spawn(move || {
            for mut job in jobs {
                let at_work = AtWork(&idle, number);
                let done = lane.work(&mut *job);
                // Before the answer, so that the caller's next job finds this thread idle, its session open.
                drop(at_work);
                job.answer(done);
            }
        });
        sender
    });
    let lanes: Vec<Sender<Box<dyn Job>>> = lanes.collect();
    thread::spawn(move || hand_out(&queue, &lanes, &idle, &context));
}

/// Hands each job to an idle thread.
fn hand_out(queue: &Receiver<Message>, lanes: &[Sender<Box<dyn Job>>], idle: &Idle, context: &Context) {
    for message in queue {
        match message {
            Message::Job(job) => {
                let Some(lane) = idle.take().and_then(|number| lanes.get(number)) else { return };
                if lane.send(job).is_err() {
                    return;
                }
            }
            Message::Configure(change) => change(context),
            Message::Close(closed) => {
                idle.wait_for_all();
                // The receiver may be gone.
                let _ = closed.send(());
                return;
            }
        }
    }
}

/// The state of one thread.
struct Lane {
    context: Context,
    /// Its session, opened for its first job.
    session: Option<DbSession>,
}

impl Lane {
    fn work(&mut self, job: &mut dyn Job) -> Result<Durable, StoreError> {
        let began = Instant::now();
        loop {
            let was_open = self.session.is_some();
            let Err(fail) = self.attempt(job) else {
                return Ok(Durable::of(&Fate::new(Some(Ok(())))));
            };
            let (remedy, patience) = (remedy(&fail), self.context.patience());
            let is_unknown = matches!(fail, Fail::CommitUnknown(_));
            if !self.context.rehearsal && (is_unknown || matches!(remedy, Remedy::Reconnect)) {
                // The session is of no use to the next job either; opening a new one reports why it fails.
                self.session = None;
            }
            let (limit, pause) = match remedy {
                _ if job.repeat() == Repeat::Never => (Duration::ZERO, AWAY),
                Remedy::Again => {
                    (patience.max(CONTENDED), Duration::from_millis(fastrand::u64(1..=PAUSE_MS)))
                }
                // What a rehearsal has done so far is gone with its session: no other one can go on with it.
                Remedy::Reconnect if self.context.rehearsal => (Duration::ZERO, AWAY),
                Remedy::Reconnect => (patience, AWAY),
                Remedy::None if is_unknown && job.repeat() == Repeat::Unknown => {
                    (patience.max(CONTENDED), AWAY)
                }
                Remedy::None => (Duration::ZERO, AWAY),
            };
            let error = self.context.explain(job.what(), fail);
            if began.elapsed() >= limit {
                return Err(error);
            }
            // A session that has ended may be one that an outage of before has left behind.
            if matches!(remedy, Remedy::Reconnect) && !was_open {
                self.context.log_wait(&error);
            }
            thread::sleep(pause);
        }
    }

    fn attempt(&mut self, job: &mut dyn Job) -> Result<(), Fail> {
        let session = match self.session.take() {
            // The lost session of a rehearsal stays: each job then fails with the loss.
            Some(session) if session.context.rehearsal || !is_lost(&session) => session,
            _ => self.connect()?,
        };
        let session = self.session.insert(session);
        let Conn::Postgres(pg) = &session.conn else { return Err(Fail::of_other_engine()) };
        pg.forget_answers();
        let done = if session.context.rehearsal {
            rehearsed(session, pg, job)
        } else if job.when() == When::Read {
            read(session, pg, job)
        } else {
            written(session, pg, job)
        };
        if done.is_ok() {
            session.context.succeeded();
        } else {
            session.context.failed();
            // Statements may have been prepared for tables that have changed since.
            pg.forget_statements();
        }
        done
    }

    fn connect(&self) -> Result<DbSession, Fail> {
        let target = self.context.target.as_ref().ok_or_else(Fail::of_other_engine)?;
        let pg = Pg::connect(target)?;
        pg.plan_for_few_rows();
        Ok(DbSession::of_server(pg, self.context.again()))
    }
}

fn is_lost(session: &DbSession) -> bool {
    matches!(&session.conn, Conn::Postgres(pg) if pg.is_lost())
}

/// Runs the job in one transaction.
fn written(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    pg.begin_briefly();
    let done = job.run(session).and_then(|()| failpoint::around(job.what(), || pg.commit()));
    if done.is_err() {
        pg.rollback();
    }
    done
}

/// Statements that each see the current state; behind a pooler in a transaction, so that they share a session.
fn read(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    if pg.is_direct() {
        return job.run(session).and_then(|()| pg.flush());
    }
    pg.begin(" READ ONLY");
    let done = job.run(session);
    pg.rollback();
    done
}

/// Runs the job in the one transaction of a rehearsal, which is never committed.
fn rehearsed(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    pg.batch("SAVEPOINT job")?;
    let done = job.run(session).and_then(|()| pg.batch("RELEASE job"));
    if done.is_err() {
        // Without the session there is no rehearsal either: the next job fails.
        let _ = pg.batch("ROLLBACK TO job; RELEASE job");
    }
    done
}

#[cfg(test)]
mod tests;
