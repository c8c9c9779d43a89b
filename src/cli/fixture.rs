//! For the tests of the commands: an environment with a configuration, a clock and a real store of its own in
//! a temporary directory. Uses the store only as a pass or an operator does.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Environment;
use crate::clock::{Clock as _, ManualClock, Stopwatch};
use crate::config;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::domain::server::Target;
use crate::domain::view::Viewed;
use crate::store::source;
use crate::store::{AuditRow, Writer, stand_alone::OwnConnection};
use crate::store::{NewRun, PlanRules, Record, Run, RunEnd, Selection, Skipped};
use crate::store::{Place, Reader, Store};

/// How a run ended for one connection.
pub(super) type End<'a> = (&'a str, Outcome, Option<Reason>);

pub(super) struct Fixture {
    directory: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    config: String,
}

/// A server address on which nothing listens.
pub(super) fn server() -> Place {
    let address = "postgres://app@127.0.0.1:1/bank?sslmode=disable";
    Place::Postgres(Arc::new(Target::parse(address, &|_| None).unwrap()))
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    pub(super) fn with(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = format!("[store]\nurl = \"sqlite:{}/store.db\"\n{more}", directory.path().display());
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().unwrap()));
        Self { directory, clock, config }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn env(&self) -> Environment {
        let file = self.path("tink-sync.toml");
        std::fs::write(&file, &self.config).unwrap();
        Environment {
            settings: config::load(&file, &|_: &str| None).unwrap(),
            clock: Arc::clone(&self.clock) as Arc<dyn crate::clock::Clock>,
            started: self.clock.now(),
            watch: Stopwatch::start(self.clock.as_ref()),
            variable: |_| None,
            color: false,
            verbose: false,
            quiet: false,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn later(&self, hours: i64) {
        self.clock.advance(SignedDuration::from_hours(hours));
    }

    /// Adds stand-alone connections, each with the user id `u-` plus its id.
    pub(super) fn add(&self, ids: &[&str]) {
        let new = |id: &&str| OwnConnection {
            connection_id: (*id).to_owned(),
            user_id: format!("u-{id}"),
            external_user_id: Some(format!("x-{id}")),
            tink_user_id: None,
            market: None,
            priority: 0,
        };
        let new: Vec<_> = ids.iter().map(new).collect();
        assert!(self.tables().add(&new, &[]).unwrap().is_empty());
    }

    pub(super) fn place(&self) -> Place {
        self.path("store.db").into()
    }

    pub(super) fn tables(&self) -> Writer {
        Writer::open(&self.place(), self.now()).unwrap()
    }

    pub(super) fn audited(&self) -> Vec<String> {
        Reader::open(&self.place()).unwrap().audited()
    }

    /// A whole pass over the stand-alone connections; those without an end are claimed, but nothing is
    /// recorded for them.
    pub(super) fn pass(&self, ends: &[End<'_>], exit_code: u8) {
        block_on(async {
            let (store, run) = self.begin().await;
            store.plan(&run, self.rules(true)).await.unwrap();
            let until = self.now() + SignedDuration::from_mins(4);
            for claim in store.claim(&run, self.rules(true), 1000, until).await.unwrap().claims {
                let id = claim.lease.connection_id.as_str();
                if let Some((_, outcome, reason)) = ends.iter().find(|(known, ..)| *known == id) {
                    store.record(&claim.lease, self.record(*outcome, *reason)).await.unwrap();
                }
            }
            let totals = serde_json::json!({"due": ends.len(), "synced": ends.len(), "unchanged": 0, "added": 3, "failed": 0});
            let at = self.now() + SignedDuration::from_secs(90);
            store.finish_run(&run, end(&totals.to_string(), exit_code, at)).await.unwrap();
        });
    }

    /// The connections that the plan of a pass begun now skips, with reasons.
    pub(super) fn skipped(&self) -> Vec<Skipped> {
        block_on(async {
            let (store, run) = self.begin().await;
            let skipped = store.skipped(&run, self.rules(false), None, 1000).await.unwrap();
            store.finish_run(&run, end("{}", 0, self.now())).await.unwrap();
            skipped
        })
    }

    async fn begin(&self) -> (Store, Run) {
        let (place, now) = (self.place(), self.now());
        let store = Store::open(&place, std::time::Duration::ZERO, now).unwrap();
        let run_id = format!("run-{}", fastrand::u64(..));
        let new = NewRun {
            run_id: run_id.into(),
            trigger: "timer",
            on_demand: false,
            host: "h".to_owned(),
            version: "1",
            process_started: now,
            started_at: now,
        };
        let run = store.begin_run(new).await.unwrap();
        let rows = source::read_view(&place, source::OWN_VIEW, None, now, std::time::Duration::ZERO).unwrap();
        let viewed = Viewed { rows, source: "own".to_owned(), stand_alone: true, at: now, since: None };
        store.mirror(&run, viewed).await.unwrap();
        (store, run)
    }

    fn rules(&self, force: bool) -> PlanRules {
        let settings = self.env().settings;
        let quota = settings.quota.syncs_per_day - settings.quota.reserved_for_manual;
        PlanRules {
            now: self.now(),
            selection: Selection::default(),
            force,
            min_interval: settings.sync.min_interval,
            quota,
        }
    }

    fn record(&self, outcome: Outcome, reason: Option<Reason>) -> Record {
        let now = self.now();
        let failed = matches!(outcome, Outcome::Failed | Outcome::RateLimited | Outcome::Partial);
        let succeeded = matches!(outcome, Outcome::Synced | Outcome::Unchanged);
        Record {
            outcome,
            reason,
            error: reason.map(|reason| format!("the words for {reason}")),
            request_id: None,
            counts: Counts::default(),
            began: now,
            ended: now,
            took: std::time::Duration::ZERO,
            not_before: failed.then(|| now + SignedDuration::from_hours(2)),
            next_due: if succeeded { now + SignedDuration::from_hours(5) } else { now },
            again: false,
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }
}

fn end(totals: &str, exit_code: u8, at: Timestamp) -> RunEnd {
    RunEnd { totals: totals.to_owned(), exit_code, pass_failed: false, at }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// An audit row without an actor.
pub(super) fn act() -> AuditRow<'static> {
    AuditRow {
        at: Timestamp::UNIX_EPOCH,
        actor: None,
        ip: None,
        action: "test",
        connection_id: None,
        user_id: None,
        result: "ok",
        details: None,
    }
}
