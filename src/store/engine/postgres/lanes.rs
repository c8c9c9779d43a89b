//! The threads of a store on a server: each has a session and takes jobs from the queue that all of them share. A job is a
//! transaction of its own, and durable when it is answered. One that met somebody else in the way is done again, and so is
//! one whose server went away before its commit was sent, as long as patience lasts.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::explain::{Remedy, remedy};
use super::session::Pg;
use crate::failpoint;
use crate::store::engine::context::Conn;
use crate::store::engine::job::{Job, Message, When};
use crate::store::engine::{Context, DbSession, Fail};
use crate::store::types::{Durable, Fate};

/// How long a job that met others is done again, at least.
const CONTENDED: Duration = Duration::from_secs(30);

/// The longest pause before that.
const PAUSE_MS: u64 = 50;

/// The pause before a server is tried again.
const AWAY: Duration = Duration::from_millis(500);

/// What the threads have together.
struct Lanes {
    queue: Mutex<Receiver<Message>>,
    busy: Mutex<usize>,
    idle: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    /// The next message; a job counts as begun before anybody can take the one behind it.
    fn next(&self) -> Option<Message> {
        let queue = lock(&self.queue);
        let message = queue.recv().ok()?;
        if let Message::Job(_) = message {
            *lock(&self.busy) += 1;
        }
        Some(message)
    }

    fn wait_until_idle(&self) {
        let mut busy = lock(&self.busy);
        while *busy > 0 {
            busy = self.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A job that is worked on; over when this is dropped, also by a panic.
struct AtWork<'l>(&'l Lanes);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        *lock(&self.0.busy) -= 1;
        self.0.idle.notify_all();
    }
}

/// Starts the threads; they end when nobody can send any more.
pub(crate) fn start(first: DbSession, sessions: usize, queue: Receiver<Message>) {
    let lanes = Arc::new(Lanes { queue: Mutex::new(queue), busy: Mutex::new(0), idle: Condvar::new() });
    // A rehearsal is one transaction of one session.
    let others = if first.context.rehearsal { 0 } else { sessions.saturating_sub(1) };
    for _ in 0..others {
        let (context, lanes) = (first.context.again(), Arc::clone(&lanes));
        thread::spawn(move || Lane { context, session: None }.serve(&lanes));
    }
    let context = first.context.again();
    if let (Conn::Postgres(pg), false) = (&first.conn, context.rehearsal) {
        pg.plan_for_few_rows();
    }
    thread::spawn(move || Lane { context, session: Some(first) }.serve(&lanes));
}

/// One thread's own.
struct Lane {
    context: Context,
    /// Its session, once it had something to do.
    session: Option<DbSession>,
}

impl Lane {
    fn serve(&mut self, lanes: &Lanes) {
        while let Some(message) = lanes.next() {
            match message {
                Message::Job(job) => {
                    let _at_work = AtWork(lanes);
                    self.work(job);
                }
                Message::Configure(change) => change(&self.context),
                Message::Close(closed) => {
                    lanes.wait_until_idle();
                    self.session = None;
                    // Nobody may be waiting for the end.
                    let _ = closed.send(());
                    return;
                }
            }
        }
    }

    fn work(&mut self, mut job: Box<dyn Job>) {
        let began = Instant::now();
        loop {
            let Err(fail) = self.attempt(&mut *job) else {
                return job.answer(Ok(Durable::of(&Fate::new(Some(Ok(()))))));
            };
            let (remedy, patience) = (remedy(&fail), self.context.patience());
            let is_unknown = matches!(fail, Fail::CommitUnknown(_));
            if is_unknown || matches!(remedy, Remedy::Reconnect) {
                // What is left of the session is of no use, also to the next job; a new one says why there is none.
                self.session = None;
            }
            let (limit, pause) = match remedy {
                Remedy::Again => {
                    (patience.max(CONTENDED), Duration::from_millis(fastrand::u64(1..=PAUSE_MS)))
                }
                Remedy::Reconnect => (patience, AWAY),
                Remedy::None if is_unknown && job.is_repeatable() => (patience.max(CONTENDED), AWAY),
                Remedy::None => (Duration::ZERO, AWAY),
            };
            if began.elapsed() >= limit {
                let error = self.context.explain(job.what(), fail);
                return job.answer(Err(error));
            }
            thread::sleep(pause);
        }
    }

    fn attempt(&mut self, job: &mut dyn Job) -> Result<(), Fail> {
        let session = match self.session.take() {
            Some(session) if !is_lost(&session) => session,
            _ => self.connect()?,
        };
        let session = self.session.insert(session);
        let Conn::Postgres(pg) = &session.conn else { return Err(Fail::NoRow) };
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
            // Also of tables that have changed since.
            pg.forget_statements();
        }
        done
    }

    fn connect(&self) -> Result<DbSession, Fail> {
        let target = self.context.target.as_ref().ok_or(Fail::NoRow)?;
        let pg = Pg::connect(target)?;
        pg.plan_for_few_rows();
        Ok(DbSession::of_server(pg, self.context.again()))
    }
}

fn is_lost(session: &DbSession) -> bool {
    matches!(&session.conn, Conn::Postgres(pg) if pg.is_lost())
}

/// One transaction.
fn written(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    pg.begin_briefly();
    let done = job.run(session).and_then(|()| failpoint::around(job.what(), || pg.commit()));
    if done.is_err() {
        pg.rollback();
    }
    done
}

/// Statements that each see what is there; behind a pooler a transaction, so that it is one session.
fn read(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    if pg.is_direct() {
        return job.run(session).and_then(|()| pg.flush());
    }
    pg.begin(" READ ONLY");
    let done = job.run(session);
    pg.rollback();
    done
}

/// Part of the one transaction of a rehearsal, which is never committed.
fn rehearsed(session: &DbSession, pg: &Pg, job: &mut dyn Job) -> Result<(), Fail> {
    pg.batch("SAVEPOINT job")?;
    let done = job.run(session).and_then(|()| pg.batch("RELEASE job"));
    if done.is_err() {
        // Without the session there is no rehearsal either: the next job says so.
        let _ = pg.batch("ROLLBACK TO job; RELEASE job");
    }
    done
}

#[cfg(test)]
mod tests;
