//! One session with a server: statements that are sent without waiting for their answers, and queries that are
//! answered. What needs no answer travels with the next query, in one round trip. Contains no logic of the store.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::answer::StatementAnswer;
use super::connect::Target;
use super::driver::{Background, Dialled, dial};
use super::known::{KnownStatement, KnownStatements};
use super::translate::translate;
use super::value::Parameter;
use crate::domain::cause::Cause;
use crate::store::engine::{Fail, Params, Row as AnyRow};
use crate::store::types::Lease;

/// The start-up options of our sessions. Names resolve to temporary tables first, for rehearsals, which also read and
/// change the text of triggers, as written without quotes.
const OPTIONS: &str = "-c search_path=pg_temp,tink_sync -c quote_all_identifiers=off -c tink_sync.direct=on";

/// The same for each transaction behind a pooler, which may use another server session every time.
const OPTIONS_AGAIN: &str =
    "; SET LOCAL search_path = pg_temp, tink_sync; SET LOCAL quote_all_identifiers = off";

/// Whatever the role's default is, a statement sees what was committed before it began. Also limits how long
/// the transaction may be idle, since others may wait for it.
const BRIEFLY: &str =
    " ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// The same for a command, which may compute for longer between two statements: encrypt all tokens, for example.
const COMMAND: &str =
    " ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '1min'";

/// For a transaction that may take any number of change numbers; no other takes any meanwhile.
const ALONE: &str = "; SET LOCAL tink_sync.alone = 'on'";

/// SQLSTATE of a fence that found the lease gone.
const LEASE_LOST: &str = "TS001";
/// SQLSTATE of a run that is over.
const RUN_OVER: &str = "TS002";
/// SQLSTATE of a transaction that takes more change numbers than it was given.
const TOO_MANY: &str = "TS003";

/// The most statements that are sent and not yet answered, since these take memory.
const MOST_IN_FLIGHT: usize = 2_000;

/// How long a server may take to answer before the connection counts as lost; our statements take seconds.
const ANSWER: Duration = Duration::from_mins(5);

type Answering = Pin<Box<dyn Future<Output = Result<StatementAnswer, tokio_postgres::Error>> + Send>>;

/// A query: its text and parameters.
type Question = (String, Vec<Parameter>);

/// Something that was sent, and the prefetched query for which its answer is kept, if any.
struct Sent {
    answering: Answering,
    question: Option<Question>,
}

/// The cause of an unknown commit if the server does not answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server did not answer for five minutes")]
struct Unanswered;

/// A session, with what it has sent and not yet awaited.
pub(crate) struct Pg {
    target: Arc<Target>,
    runtime: Background,
    client: RefCell<Arc<Client>>,
    /// The task that owns the socket.
    driver: RefCell<JoinHandle<()>>,
    /// How long to wait for an answer; `None` is as long as the connection lives.
    limit: Cell<Option<Duration>>,
    /// Whether the session is direct, without a pooler in between.
    direct: Cell<bool>,
    open: Cell<bool>,
    sent: RefCell<Vec<Sent>>,
    /// Answers to prefetched queries that were not used yet.
    answers: RefCell<VecDeque<(Question, StatementAnswer)>>,
    known: KnownStatements,
    fenced: RefCell<Option<Lease>>,
    row_type: Cell<Option<u32>>,
    /// The next transaction may take any number of change numbers: one that failed had not announced it.
    is_alone: Cell<bool>,
    /// How many walks are under way, one inside the other.
    walks: Cell<usize>,
    /// The number of times it has waited for the server.
    pub trips: Arc<AtomicU64>,
}

impl fmt::Debug for Pg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pg")
            .field("target", &self.target)
            .field("open", &self.open.get())
            .finish_non_exhaustive()
    }
}

impl Pg {
    /// # Errors
    /// [`Fail::Connect`].
    pub(crate) fn connect(target: &Arc<Target>) -> Result<Self, Fail> {
        Self::with(target, Some(OPTIONS))
    }

    /// A session without our options: names resolve by the role's own search path.
    ///
    /// # Errors
    /// [`Fail::Connect`].
    pub(crate) fn plain(target: &Arc<Target>) -> Result<Self, Fail> {
        Self::with(target, None)
    }

    fn with(target: &Arc<Target>, options: Option<&str>) -> Result<Self, Fail> {
        let runtime = Background::start()?;
        let Dialled { client, direct, driver } = dial(&runtime, target, options)?;
        Ok(Self {
            target: Arc::clone(target),
            runtime,
            client: RefCell::new(client),
            driver: RefCell::new(driver),
            limit: Cell::new(Some(ANSWER)),
            direct: Cell::new(direct),
            open: Cell::new(false),
            sent: RefCell::default(),
            answers: RefCell::default(),
            known: KnownStatements::default(),
            fenced: RefCell::default(),
            row_type: Cell::default(),
            is_alone: Cell::default(),
            walks: Cell::default(),
            trips: Arc::default(),
        })
    }

    /// Sets up planning for statements that are repeated often and touch few rows, of tables that may have been empty
    /// when planned: one generic plan, without sequential scans. Not behind a pooler: others would get it too.
    pub(crate) fn plan_for_few_rows(&self) {
        if self.direct.get() {
            self.send_batch(
                "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"
                    .to_owned(),
            );
        }
    }

    /// The number that a query returns, asked once per session.
    pub(crate) fn row_type(&self, question: &str) -> Result<u32, Fail> {
        if let Some(known) = self.row_type.get() {
            return Ok(known);
        }
        let answer = self.ask_as_is(question, Vec::new())?;
        let number: i64 = answer.rows.first().map_or(Err(Fail::NoRow), |row| AnyRow::Postgres(row).get(0))?;
        let number = u32::try_from(number).map_err(|_| Fail::bug(format!("{number} is no OID")))?;
        self.row_type.set(Some(number));
        Ok(number)
    }

    /// Discards prefetched answers that were not used: for the next job they would be stale.
    pub(crate) fn forget_answers(&self) {
        self.answers.borrow_mut().clear();
    }

    /// Whether there is no pooler in between.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.get()
    }

    /// Whether the server is gone, has closed the session, or did not answer in time.
    pub(crate) fn is_lost(&self) -> bool {
        self.client.borrow().is_closed()
    }

    /// Reconnects; everything sent and not yet answered is discarded.
    ///
    /// # Errors
    /// [`Fail::Connect`].
    pub(crate) fn reconnect(&self) -> Result<(), Fail> {
        self.forget();
        let Dialled { client, direct, driver } = dial(&self.runtime, &self.target, Some(OPTIONS))?;
        self.client.replace(client);
        self.driver.replace(driver);
        self.direct.set(direct);
        self.known.forget();
        self.row_type.set(None);
        Ok(())
    }

    /// Does `work` without a limit for answers, for statements that may take long.
    pub(crate) fn unhurried<T>(&self, work: impl FnOnce() -> T) -> T {
        let limit = self.limit.take();
        let done = work();
        self.limit.set(limit);
        done
    }

    /// Drops the socket: a late answer must not be taken for the answer to something else, nor may anything
    /// else be sent into a transaction that is still open on the server.
    fn hang_up(&self) {
        self.forget();
        // A task that has ended has dropped it, and must not be awaited again.
        if !self.is_lost() {
            let mut driver = self.driver.borrow_mut();
            driver.abort();
            let _ = self.runtime.drive(&mut *driver);
        }
    }

    fn forget(&self) {
        self.sent.borrow_mut().clear();
        self.answers.borrow_mut().clear();
        self.fenced.replace(None);
        self.open.set(false);
    }

    /// Begins a transaction; `mode` is appended to BEGIN, and starts with a space or a semicolon.
    pub(crate) fn begin(&self, mode: &str) {
        let options = if self.direct.get() { "" } else { OPTIONS_AGAIN };
        self.answers.borrow_mut().clear();
        self.open.set(true);
        self.send_batch(format!("BEGIN{mode}{options}"));
    }

    /// Begins a short transaction that others may wait for. If its host stalls in the middle, the server ends
    /// it, so that it does not hold up others.
    pub(crate) fn begin_briefly(&self) {
        let alone = if self.is_alone.take() { ALONE } else { "" };
        self.begin(&format!("{BRIEFLY}{alone}"));
    }

    /// Begins a transaction of a command, which may change any number of rows. Runs may wait for it, too.
    pub(crate) fn begin_alone(&self) {
        self.begin(&format!("{COMMAND}{ALONE}"));
    }

    /// # Errors
    /// [`Fail::CommitUnknown`] if it is unknown whether it was committed; after any other error it was not.
    pub(crate) fn commit(&self) -> Result<(), Fail> {
        // In one round trip with what was sent before: if any of that failed, this only rolls back.
        self.open.set(false);
        self.send_batch("COMMIT".to_owned());
        let done = self.settle().map(drop).map_err(|fail| match fail {
            Fail::Postgres(error) if is_of_the_session(&error) => Fail::CommitUnknown(Cause::of(*error)),
            Fail::NoAnswer => Fail::CommitUnknown(Cause::of(Unanswered)),
            fail => fail,
        });
        self.fenced.replace(None);
        done
    }

    pub(crate) fn rollback(&self) {
        self.sent.borrow_mut().clear();
        self.fenced.replace(None);
        if self.open.replace(false) {
            self.send_batch("ROLLBACK".to_owned());
            // A server that is gone has rolled back.
            let _ = self.settle();
        }
    }

    /// Makes each statement be prepared again: the tables that it was prepared for may be gone.
    pub(crate) fn forget_statements(&self) {
        self.known.forget();
    }

    /// Runs statements that have no parameters.
    pub(crate) fn batch(&self, sql: &str) -> Result<(), Fail> {
        self.send_batch(translate(sql).sql);
        self.settle().map(drop)
    }

    /// As [`Self::batch`], in PostgreSQL's own syntax.
    pub(crate) fn batch_as_is(&self, sql: &str) -> Result<(), Fail> {
        self.send_batch(sql.to_owned());
        self.settle().map(drop)
    }

    fn send_batch(&self, sql: String) {
        let client = Arc::clone(&self.client.borrow());
        let answering = Box::pin(async move {
            client.batch_execute(&sql).await?;
            Ok(StatementAnswer::default())
        });
        self.push(answering, None);
    }

    /// Sends a statement whose answer does not matter; a failure is reported with the next answer.
    pub(crate) fn send(&self, sql: &str, params: Params<'_, '_>) -> Result<(), Fail> {
        let (known, parameters) = self.known.bound(sql, params)?;
        self.send_known(&known, parameters, None);
        if self.sent.borrow().len() < MOST_IN_FLIGHT { Ok(()) } else { self.flush() }
    }

    /// Prefetches a query: a later [`Self::ask`] with the same text and parameters gets its answer.
    pub(crate) fn ahead(&self, sql: &str, params: Params<'_, '_>) -> Result<(), Fail> {
        let (known, parameters) = self.known.bound(sql, params)?;
        let question = (sql.to_owned(), parameters.clone());
        self.send_known(&known, parameters, Some(question));
        Ok(())
    }

    /// Sends a statement in PostgreSQL's own syntax, with parameters as they are sent.
    pub(crate) fn send_as_is(&self, sql: &str, parameters: Vec<Parameter>) {
        let known = self.known.as_it_is(sql, parameters.len());
        self.send_known(&known, parameters, None);
    }

    /// As [`Self::send_as_is`], for a statement with a parameter of our own type. It is not prepared: the
    /// client would query the type, behind everything sent meanwhile, and each would wait for the other.
    pub(crate) fn send_rows(&self, sql: &str, parameters: Vec<Parameter>) {
        self.send_without_name(sql.to_owned(), parameters, None);
    }

    /// As [`Self::send_rows`], with the answer.
    pub(crate) fn ask_rows(&self, sql: &str, parameters: Vec<Parameter>) -> Result<StatementAnswer, Fail> {
        self.send_rows(sql, parameters);
        self.settle()
    }

    /// As [`Self::send_as_is`], with the answer.
    pub(crate) fn ask_as_is(&self, sql: &str, parameters: Vec<Parameter>) -> Result<StatementAnswer, Fail> {
        self.send_as_is(sql, parameters);
        self.settle()
    }

    /// Sends a statement and waits for its answer.
    pub(crate) fn ask(&self, sql: &str, params: Params<'_, '_>) -> Result<StatementAnswer, Fail> {
        let (known, parameters) = self.known.bound(sql, params)?;
        let was_sent = |sent: &Sent| {
            sent.question.as_ref().is_some_and(|(text, bound)| text == sql && *bound == parameters)
        };
        if self.sent.borrow().iter().any(was_sent) {
            self.flush()?;
        }
        let mut answers = self.answers.borrow_mut();
        if let Some(at) = answers.iter().position(|((text, bound), _)| text == sql && *bound == parameters) {
            return Ok(answers.remove(at).unwrap_or_default().1);
        }
        drop(answers);
        self.send_known(&known, parameters, None);
        self.settle()
    }

    /// Requires, without waiting, that the lease is held. Otherwise the transaction fails, and the next
    /// answer is [`Fail::LeaseLost`].
    pub(crate) fn fence(&self, lease: &Lease) {
        self.fenced.replace(Some(lease.clone()));
        let number = |number: i64| Parameter::Text(number.to_string());
        self.send_as_is(
            "SELECT tink_sync.ts_held($1, $2, $3)",
            vec![number(lease.connection), number(lease.token), number(lease.run)],
        );
    }

    fn send_known(
        &self,
        known: &Arc<KnownStatement>,
        parameters: Vec<Parameter>,
        question: Option<Question>,
    ) {
        let client = Arc::clone(&self.client.borrow());
        if let Some(statement) = known.prepared.get() {
            let statement = statement.clone();
            let answering =
                async move { StatementAnswer::of(client.query_raw(&statement, parameters).await?).await };
            self.push(Box::pin(answering), question);
        } else {
            self.prepare(known);
            self.send_without_name(known.text.sql.clone(), parameters, question);
        }
    }

    fn send_without_name(&self, sql: String, parameters: Vec<Parameter>, question: Option<Question>) {
        let client = Arc::clone(&self.client.borrow());
        let answering = async move {
            let parameters = parameters.into_iter().map(|parameter| (parameter, Type::UNKNOWN));
            StatementAnswer::of(client.query_typed_raw(&sql, parameters.collect::<Vec<_>>()).await?).await
        };
        self.push(Box::pin(answering), question);
    }

    /// Prepares the statement on the server for its next uses, without a round trip of its own.
    fn prepare(&self, known: &Arc<KnownStatement>) {
        if !self.direct.get() || known.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (client, known) = (Arc::clone(&self.client.borrow()), Arc::clone(known));
        let preparing = async move {
            // Why it cannot be prepared is reported by the statement itself, or by an earlier one.
            match client.prepare(&known.text.sql).await {
                Ok(statement) => _ = known.prepared.set(statement),
                Err(_) => known.asked.store(false, Ordering::Relaxed),
            }
            Ok(StatementAnswer::default())
        };
        self.push(Box::pin(preparing), None);
    }

    /// Sends at once; the answer is awaited later.
    fn push(&self, mut answering: Answering, question: Option<Question>) {
        if let Poll::Ready(done) = answering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            answering = Box::pin(std::future::ready(done));
        }
        self.sent.borrow_mut().push(Sent { answering, question });
    }

    /// Waits for everything that was sent, if anything.
    pub(crate) fn flush(&self) -> Result<(), Fail> {
        if self.sent.borrow().is_empty() { Ok(()) } else { self.settle().map(drop) }
    }

    /// Waits for everything that was sent; returns the last answer that is not kept for a later query.
    fn settle(&self) -> Result<StatementAnswer, Fail> {
        let sent = self.sent.take();
        let answers = async move {
            let (mut last, mut kept, mut failed) = (StatementAnswer::default(), Vec::new(), None);
            for Sent { answering, question } in sent {
                match (answering.await, question) {
                    (Ok(answer), Some(question)) => kept.push((question, answer)),
                    (Ok(answer), None) => last = answer,
                    // Later ones fail because of the first.
                    (Err(error), _) => {
                        failed.get_or_insert(error);
                    }
                }
            }
            failed.map_or(Ok((last, kept)), Err)
        };
        let (last, kept) = self.wait(answers)?.map_err(|e| self.failed(e))?;
        self.answers.borrow_mut().extend(kept);
        Ok(last)
    }

    fn failed(&self, error: tokio_postgres::Error) -> Fail {
        match (error.code().map(SqlState::code), self.fenced.borrow().clone()) {
            (Some(LEASE_LOST), Some(lease)) => Fail::LeaseLost(lease),
            (Some(RUN_OVER), _) => Fail::RunOver,
            (code, _) => {
                self.is_alone.set(code == Some(TOO_MANY));
                Fail::Postgres(Box::new(error))
            }
        }
    }

    /// Drives the connection until `work` is done.
    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T, Fail> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        let limit = self.limit.get();
        let done = self.runtime.drive(async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, work).await.ok(),
                None => Some(work.await),
            }
        })?;
        done.ok_or_else(|| {
            self.hang_up();
            Fail::NoAnswer
        })
    }
}

/// Whether the error is about the session and not about a statement: a server that shuts down may have done
/// what was requested before.
fn is_of_the_session(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|error| error.code().code());
    code.is_none_or(|code| code.starts_with("08") || code.starts_with("57P"))
}

mod cursor;
#[cfg(test)]
mod tests;
