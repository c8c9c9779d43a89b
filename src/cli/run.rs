//! `tink-sync run`: one full pass. Reads the source view, hands the work to the pass, reports, and maps the
//! result to an exit code.

mod around;
mod context;
mod reported;
mod started;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::actor::{Actor, ActorArgs};
use super::{Environment, Failure, app, client, day, hook, instance, mirror, prune, shared_clock, table};
use crate::domain::event::{Event, Summary};
use crate::domain::ids::RunId;
use crate::exit::Exit;
use crate::lifecycle::Signals;
use crate::observe::log;
use crate::observe::outlet::Outlet;
use crate::observe::report::{self, Format, Reporter};
use crate::observe::{journal, notify, progress, terminal};
use crate::store::{AuditRow, Place, Reader, Writer};
use crate::store::{NewRun, Run, RunEnd, Selection, Store};
use crate::sync::pass::{Pass, Stop, Task};
use crate::sync::rotation::Renewals;
use crate::tink::Client;
use reported::Reported;
pub(super) use started::{host, new_id};

/// How long to wait for an outage of Tink by default, if standard error is not a terminal.
const PATIENCE: Duration = Duration::from_mins(30);

/// How long after a signal a pass may still take to end, for example if a database is locked; then it is abandoned.
const GRACE: Duration = Duration::from_secs(10);
/// The most time that a pass needs besides its deadline and its patience: databases that are slow to open,
/// the last connections, the end of the run.
const MARGIN: Duration = Duration::from_mins(15);

/// How long a run whose store has failed tries to end itself there.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync run --dry-run                     rehearse, change nothing\n  tink-sync run --connection c-17 --force     this one now, back-off or not\n  tink-sync run --format json | jq .outcome   for machines\n\nExit status: 0 all well, 10 some connections failed or work was left over,\n11 some need their user, 69 Tink is unreachable, 74 or 75 a database, 77 Tink refuses\nthe client, 78 the configuration; tink-sync(1) has the whole table."
)]
pub struct Args {
    /// Rehearse: read everything, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only these connections (also when switched off or synced just now)
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub connection: Vec<String>,
    /// Only the connections of these users
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub user: Vec<String>,
    /// The connection that is the instance of the on-demand unit, as it was typed or escaped
    #[arg(long, value_name = "NAME", hide = true, conflicts_with_all = ["connection", "user"])]
    pub instance: Option<String>,
    /// Ignore the switch and back-off; connections named are synced although disabled
    #[arg(long)]
    pub force: bool,
    /// Form of the report on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
    /// Part of an action that is audited already.
    #[arg(skip)]
    pub audited: bool,
    /// How long to wait for Tink as a whole to come back, instead of what the configuration says
    #[arg(long, value_name = "DURATION", value_parser = table::duration)]
    pub outage_patience: Option<Duration>,
    /// How long to wait for the first import of a new bank
    #[arg(long, value_name = "DURATION", value_parser = table::duration)]
    pub wait: Option<Duration>,
}

/// # Errors
/// [`Failure`], with nothing half-written.
pub(super) fn run(env: &Environment, args: Args) -> Result<Exit, Failure> {
    let runtime = around::runtime()?;
    let exit = runtime.block_on(RunCommand::new(env, args)?.run());
    progress::clear();
    // Does not wait for requests of connections that were cut short.
    runtime.shutdown_background();
    exit
}

type Emit = Arc<dyn Fn(&Event) + Send + Sync>;

/// The command with the values it computes first.
struct RunCommand<'a> {
    env: &'a Environment,
    args: Args,
    run_id: RunId,
    trigger: &'static str,
    selection: Selection,
    patience: Duration,
    renewals: Renewals,
    reported: Arc<Reported>,
}

impl<'a> RunCommand<'a> {
    fn new(env: &'a Environment, args: Args) -> Result<Self, Failure> {
        let selection = Selection {
            connections: args.connection.iter().cloned().map(Into::into).collect(),
            users: args.user.iter().cloned().map(Into::into).collect(),
        };
        let told = (env.variable)("TRIGGER_TIMER_REALTIME_USEC").and_then(|time| time.into_string().ok());
        let by_timer = told.is_some_and(|time| started::is_recent(&time, env.started));
        let trigger = match (&args.who.actor, by_timer) {
            (Some(_), _) => "app",
            (None, true) => "timer",
            (None, false) => "manual",
        };
        let watched = terminal::is_error_watched();
        let default = if watched { Duration::ZERO } else { PATIENCE };
        let patience = args.outage_patience.or(env.settings.sync.outage_patience).unwrap_or(default);
        let renewals = Renewals { vault: env.vault()?.map(Arc::new), ..Renewals::default() };
        let run_id = new_id(env.started);
        Ok(Self { env, args, run_id, trigger, selection, patience, renewals, reported: Arc::default() })
    }

    async fn run(self) -> Result<Exit, Failure> {
        let signals = Signals::watch()?;
        let report = Outlet::to(File::from(terminal::output_file()?))?;
        let records = log::detach()?;
        let send = self.emit(report.clone());
        let ended = self.work_unless_off(&signals, &report, &send).await;
        if let Some(summary) = self.reported.open() {
            let exit = ended.as_ref().map_or_else(Exit::from, |exit| *exit);
            send(&self.ended(exit, summary, self.env.clock.now()));
        }
        // Everything is stored and no lease is held: only the readers of report and log are awaited, until a signal.
        let grace = if signals.token.is_cancelled() { GRACE } else { Duration::ZERO };
        let written = tokio::select! {
            // Log records that cannot be written cannot be reported either.
            (_, written) = async { (records.written().await, report.written().await) } => {
                log::undetach();
                written
            }
            () = signals.overdue(grace) => Ok(()),
        };
        match (ended, written) {
            (ended, Ok(())) => ended,
            (ended, Err(error)) => {
                let lost = unwritten(&error, ended.is_ok() && !self.args.dry_run);
                if let Ok(Exit::Success | Exit::NeedsUser) = ended {
                    return Err(lost);
                }
                tracing::error!("{lost}");
                ended
            }
        }
    }

    async fn work_unless_off(
        &self,
        signals: &Signals,
        report: &Outlet,
        send: &Emit,
    ) -> Result<Exit, Failure> {
        if !self.env.settings.enabled && self.is_pass() && !self.args.force {
            return Ok(self.switched_off(send, report.clone()));
        }
        let client = client::unprepared(self.env)?;
        notify::keep_alive();
        notify::needs(self.env.settings.sync.deadline.saturating_add(self.patience).saturating_add(MARGIN));
        tokio::select! {
            ended = self.work(client, signals, send) => ended,
            () = signals.overdue(GRACE) => Ok(signals.exit()),
        }
    }

    /// Opens the store, works on it, and closes it regardless of how that went.
    async fn work(&self, client: Client, signals: &Signals, send: &Emit) -> Result<Exit, Failure> {
        let place = self.env.place().clone();
        let (patience, started, dry_run) = (self.patience, self.env.started, self.args.dry_run);
        let open = move || {
            let open = if dry_run { Store::open_dry } else { Store::open };
            open(&place, patience, started)
        };
        let store = tokio::select! {
            opened = tokio::task::spawn_blocking(open) => opened??,
            // The store may be waited for, and nothing has begun.
            () = signals.token.cancelled() => return Ok(signals.exit()),
        };
        let ended = self.work_on(&store, client, signals, send).await;
        store.close().await;
        if ended.is_ok() {
            around::look_at_log(self.env);
        }
        // A run that failed is in the store as well, with its exit code.
        if !dry_run && !matches!(&ended, Err(Failure::Store(_))) {
            around::write_metrics(self.env);
        }
        ended
    }

    /// Registers the run, and ends it in the store regardless of how the pass went.
    async fn work_on(
        &self,
        store: &Store,
        client: Client,
        signals: &Signals,
        send: &Emit,
    ) -> Result<Exit, Failure> {
        let dry_run = self.args.dry_run;
        shared_clock::heed(self.env, store).await?;
        let knows_the_day = tokio::select! {
            known = day::is_known(self.env, &client) => known?,
            () = signals.token.cancelled() => false,
        };
        let outbox = hook::outbox::Outbox::of(&self.env.settings.hooks, store, dry_run).await;
        let run = store.begin_run(self.new_run()).await?;
        // Events that a killed run left behind.
        outbox.deliver().await;
        let ended = self.pass(store, &run, client.clone(), signals, send).await;
        self.renewed(signals).await;
        if let Err(failure) = &ended {
            self.end_failed(store, &run, failure).await;
        }
        // A failed store cannot be read, and its failure is reported once.
        if !matches!(&ended, Err(Failure::Store(_))) {
            outbox.deliver().await;
        }
        // An answer that comes after that is stored as well.
        self.renewals.under_way.wait().await;
        if ended.as_ref().is_ok_and(|exit| exit.is_whole()) && self.is_pass() && !dry_run {
            if knows_the_day || client.clocks_agree() {
                prune::after_pass(self.env, store).await;
            } else if client.is_accepted() {
                tracing::warn!(
                    "nothing was pruned: Tink's answers carry no readable Date header, so this machine's clock could not be \
                     compared with Tink's; let the proxy pass that header, or run `tink-sync prune`"
                );
            }
        }
        ended
    }

    /// Ends a run that failed, in the store. If that fails too, the first failure is the one to report, and the next run
    /// ends this one.
    async fn end_failed(&self, store: &Store, run: &Run, failure: &Failure) {
        let end = self.end(failure.into(), report::no_totals(self.env.took()));
        if !matches!(failure, Failure::Store(_)) {
            let _ = store.finish_run(run, end).await;
        } else if store.is_shared() && !self.args.dry_run {
            // A server may serve a new session, and other hosts would wait for the leases. Nobody waits for a file: that
            // the process is gone shows by its lock.
            let _ = tokio::time::timeout(LAST_WORD, store.apart().finish_run(run, end)).await;
        }
    }

    /// The pass itself, from the source view to the report.
    async fn pass(
        &self,
        store: &Store,
        run: &Run,
        client: Client,
        signals: &Signals,
        send: &Emit,
    ) -> Result<Exit, Failure> {
        // Before anything of the view is stored: it may be that of another installation.
        let remembered = store.app().await?;
        if let Some(other) = remembered.as_ref().filter(|other| app::is_other(self.env, other)) {
            return Err(app::refused(self.env, other));
        }
        store.feed_from(self.env.settings.tink.credentials()?.0.to_owned()).await;
        let vault = self.renewals.vault.clone();
        let mirrored = tokio::select! {
            mirrored = mirror::mirror(self.env, store, run, vault, self.patience) => mirrored?,
            // The view may be waited for, and no connection has been claimed.
            () = signals.token.cancelled() => {
                let totals = report::no_totals(self.env.took());
                store.finish_run(run, self.end(signals.exit(), totals)).await?;
                return Ok(signals.exit());
            }
        };
        let fall = mirrored.fall.filter(|_| self.is_pass());
        if let Some(fall) = fall {
            send(&Event::Fell(fall));
        }
        let selection = self.known_selection(store).await?;
        self.audit(self.env.place())?;
        let task = Task {
            run: run.clone(),
            trigger: self.trigger,
            selection,
            force: self.args.force,
            dry_run: self.args.dry_run,
            started_at: self.env.began(),
            emit_skipped: self.env.verbose,
        };
        let context = self.context(store.clone(), client.clone(), Arc::clone(send));
        let mut end = Pass::new(Arc::new(context), task, signals.token.clone()).run().await?;
        if let Stop::Unprepared(error) = end.stop {
            return Err(client::unusable(self.env, error));
        }
        let exit = Exit::of_pass(&end, signals.exit());
        let exit = if fall.is_some() { exit.of_a_fall() } else { exit };
        if remembered.is_none() && exit.is_whole() && client.is_accepted() {
            store.remember_app(self.env.clock.now()).await?;
        }
        let calls = client.totals();
        // With the requests that no connection made: they can fail like any other.
        (end.summary.counts.requests, end.summary.counts.retries) = (calls.requests, calls.retries);
        let calls = (calls.errors, calls.token_failures);
        let totals = report::stored_totals(&end.summary, calls, self.env.took(), client.clocks_agree());
        self.renewed(signals).await;
        let run_end = self.end(exit, totals);
        let finished_at = run_end.at;
        store.finish_run(run, run_end).await?;
        send(&self.ended(exit, end.summary, finished_at));
        Ok(exit)
    }

    /// Waits until no token is being renewed: Tink has issued it, or is about to. Before the run is ended in the
    /// store, since another host gives up what a run that has ended was asking for.
    /// After a signal only for a while: the end of the run is to be stored as well.
    async fn renewed(&self, signals: &Signals) {
        self.renewals.under_way.close();
        tokio::select! {
            () = self.renewals.under_way.wait() => {}
            () = signals.overdue(GRACE / 2) => {}
        }
    }

    fn end(&self, exit: Exit, totals: String) -> RunEnd {
        RunEnd {
            totals,
            exit_code: exit.code(),
            // Runs for single connections and usage errors report to their caller: neither is a failed pass.
            pass_failed: self.is_pass() && !exit.is_unit_success() && exit != Exit::Usage,
            at: self.env.clock.now(),
        }
    }

    /// Whether the run covers all connections.
    fn is_pass(&self) -> bool {
        self.selection.is_all() && self.args.instance.is_none()
    }

    /// The selection with ids checked against the store, once it holds the source view.
    async fn known_selection(&self, store: &Store) -> Result<Selection, Failure> {
        if let Some(name) = &self.args.instance {
            let meant = instance::meanings(name);
            let asked =
                Selection { connections: meant.iter().cloned().map(Into::into).collect(), users: Vec::new() };
            let unknown = store.unknown(asked).await?;
            let known = meant.into_iter().filter(|id| !unknown.contains(id)).collect();
            let one = instance::only(name, known).map_err(Failure::Usage)?;
            return Ok(Selection { connections: vec![one.into()], users: Vec::new() });
        }
        let unknown = store.unknown(self.selection.clone()).await?;
        if unknown.is_empty() {
            return Ok(self.selection.clone());
        }
        let unknown = unknown.join(", ");
        Err(Failure::Usage(format!(
            "unknown connection or user: {unknown}; `tink-sync connections list` shows all"
        )))
    }

    /// Sends every event to the journal and the report; no event waits for a reader of either.
    fn emit(&self, report: Outlet) -> Emit {
        let human = self.args.format == Format::Human;
        let progress = human && terminal::is_error_watched() && !self.env.quiet;
        // Under systemd the journal has every event as a record of its own.
        let silent = self.env.quiet || (log::is_journal() && !terminal::is_watched());
        let reporter = Mutex::new(Reporter::new(report, self.args.format, progress, silent));
        let (run_id, lines) = (self.run_id.clone(), Arc::clone(&self.reported));
        // Without the journal these are logged only with --verbose: the report contains them.
        let in_report = |event: &Event| matches!(event, Event::Finished(_) | Event::Ended { .. });
        let all = log::is_journal() || self.env.verbose;
        Arc::new(move |event| {
            if all || !in_report(event) {
                journal::write(run_id.as_str(), event);
            }
            lines.note(event);
            reporter.lock().unwrap_or_else(PoisonError::into_inner).emit(event);
        })
    }

    fn switched_off(&self, send: &Emit, mut report: Outlet) -> Exit {
        let (by, remedy) = self.env.switch();
        let text = format!("switched off ({by}): no connection was synced; {remedy} to sync again");
        journal::switched_off(&text);
        if self.args.format == Format::Human && !self.env.quiet && !log::is_journal() {
            let _ = writeln!(report, "{text}");
        }
        if self.args.format == Format::Json {
            send(&Event::Started {
                run_id: self.run_id.clone(),
                trigger: self.trigger,
                dry_run: self.args.dry_run,
                at: self.env.began(),
                connections: 0,
                due: 0,
                skipped: BTreeMap::new(),
            });
            send(&self.ended(Exit::Success, Summary::default(), self.env.clock.now()));
        }
        Exit::Success
    }

    fn ended(&self, exit: Exit, summary: Summary, finished_at: Timestamp) -> Event {
        Event::Ended {
            run_id: self.run_id.clone(),
            trigger: self.trigger,
            dry_run: self.args.dry_run,
            started_at: self.env.began(),
            finished_at,
            duration_ms: self.env.took(),
            exit_code: exit.code(),
            summary,
        }
    }

    fn new_run(&self) -> NewRun {
        NewRun {
            run_id: self.run_id.clone(),
            trigger: self.trigger,
            on_demand: !self.is_pass(),
            host: host(),
            version: env!("CARGO_PKG_VERSION"),
            process_started: self.env.began(),
            started_at: self.env.began(),
        }
    }

    /// Audits syncs requested by a person, one row per connection or user named.
    fn audit(&self, place: &Place) -> Result<(), Failure> {
        // A pass is audited only if --actor names a person for it.
        let is_act = !self.is_pass() && !self.args.audited;
        let at_hand = || if is_act { Actor::at_hand(self.env) } else { None };
        let actor = Actor::told(&self.args.who).or_else(at_hand).filter(|_| !self.args.dry_run);
        let Some(actor) = actor else { return Ok(()) };
        let now = self.env.clock.now();
        let reader = Reader::open(place)?;
        let mut asked: Vec<(Option<&str>, Option<String>)> = Vec::new();
        for id in &self.args.connection {
            asked.push((Some(id), reader.user_of(id)?));
        }
        asked.extend(self.args.user.iter().map(|id| (None, Some(id.clone()))));
        if asked.is_empty() {
            asked.push((None, None));
        }
        // Its transaction keeps a session of a pooler busy, and the writer needs another one.
        drop(reader);
        let mut tables = Writer::open(place, now)?;
        for (connection_id, user_id) in asked {
            tables.audit(&AuditRow {
                connection_id,
                user_id: user_id.as_deref(),
                details: Some(self.run_id.as_str()),
                ..actor.row(now, "sync.requested")
            })?;
        }
        Ok(())
    }
}

fn unwritten(error: &io::Error, is_stored: bool) -> Failure {
    let but = if is_stored { ", all data are stored" } else { "" };
    let text = format!("{error}; the report is lost{but}");
    Failure::Output(io::Error::new(error.kind(), text))
}
