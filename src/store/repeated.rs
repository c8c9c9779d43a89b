//! A job whose commit is uncertain has the same result when it is repeated: see
//! [`super::engine::job::repeatable`].

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::connection::SourceRow;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::domain::view::Viewed;
use crate::store::engine::{DbSession, values};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const UNTIL: Timestamp = Timestamp::constant(240, 0);

/// A store with connections `a` and `b` in which a run is at work.
struct Begun {
    _directory: tempfile::TempDir,
    session: DbSession,
    run: Run,
    rules: PlanRules,
}

impl Begun {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::from(directory.path().join("store.db"));
        let mut session = place.writer(Duration::ZERO, NOW).unwrap();
        let new = NewRun::by_hand("r", NOW);
        let run = session.write("begin the run", |db, context| runs::begin(db, context, &new)).unwrap();
        let row = |id: &str| SourceRow::active(id, "u", Some(TinkUser::External(id.to_owned())));
        let viewed = Viewed { rows: [row("a"), row("b")].into_iter().collect(), ..Viewed::default() };
        session
            .write("mirror the source view", |db, context| mirror::all(db, context, &run, viewed))
            .unwrap();
        let rules = PlanRules {
            now: NOW,
            selection: Selection::default(),
            force: false,
            min_interval: Duration::ZERO,
            quota: 3,
        };
        session.write("plan the run", |db, context| plan::plan(db, context, &run, &rules)).unwrap();
        Self { _directory: directory, session, run, rules }
    }

    /// Claims both, in a transaction that is committed although the run does not know it.
    fn claim(&mut self) -> Vec<(Lease, u32)> {
        let (run, rules) = (self.run.clone(), self.rules.clone());
        let claimed = self
            .session
            .write("claim connections", |db, context| plan::claim(db, context, &run, &rules, 2, UNTIL));
        claimed.unwrap().claims.into_iter().map(|claim| (claim.lease, claim.attempt)).collect()
    }

    fn claim_again(&mut self) -> Vec<(Lease, u32)> {
        let (run, rules) = (self.run.clone(), self.rules.clone());
        let claimed = self.session.write("claim connections again", |db, context| {
            plan::claim_again(db, context, &run, &rules, 2, UNTIL)
        });
        claimed.unwrap().claims.into_iter().map(|claim| (claim.lease, claim.attempt)).collect()
    }

    fn record(&mut self, lease: &Lease, again: bool) -> Option<Finished> {
        let counts = Counts { added: 7, requests: 2, ..Counts::default() };
        let record = Record {
            outcome: Outcome::Failed,
            reason: Some(Reason::Network),
            error: None,
            request_id: None,
            counts,
            began: NOW,
            ended: NOW,
            took: Duration::ZERO,
            not_before: None,
            next_due: NOW,
            again,
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        };
        let written = |session: &mut DbSession, ours: bool| {
            session.write("record the outcome", |db, context| {
                if ours {
                    liveness::held(db, lease)?;
                }
                runs::record(db, context, lease, &record, ours)
            })
        };
        match written(&mut self.session, true) {
            Err(StoreError::LeaseLost(_)) => written(&mut self.session, false).unwrap(),
            written => written.unwrap(),
        }
    }

    fn number(&self, sql: &str) -> i64 {
        self.session.db().value(sql, values![]).unwrap()
    }

    fn known(&self) {
        self.session.context.succeeded();
    }
}

#[test]
fn a_claim_that_was_kept_is_made_once() {
    let mut begun = Begun::new();
    let first = begun.claim();
    assert_eq!(first.len(), 2);
    assert_eq!(begun.claim(), first, "the same leases, and the same attempts");
    assert_eq!(begun.number("SELECT sum(attempts) FROM ts_run_connections"), 2, "of the quota");
    begun.known();
    assert_eq!(begun.session.context.plan.get().left_over().waiting, 0);
    assert_eq!(begun.claim(), [], "they are at work");

    for (lease, _) in &first {
        begun.record(lease, true);
    }
    let second = begun.claim_again();
    assert_eq!(second.len(), 1, "the third attempt of the user, and the quota is three");
    assert_eq!(begun.claim_again(), second);
    begun.known();
    assert_eq!(begun.claim_again(), []);
}

#[test]
fn an_outcome_that_was_kept_is_counted_once() {
    let mut begun = Begun::new();
    let (lease, _) = begun.claim().remove(0);
    let first = begun.record(&lease, false).unwrap();
    let second = begun.record(&lease, false).unwrap();
    assert_eq!((first.outcome, first.counts.added), (second.outcome, second.counts.added));
    let counted = "SELECT added + requests FROM ts_run_connections WHERE outcome IS NOT NULL";
    assert_eq!(begun.number(counted), 9);
    assert_eq!(begun.number("SELECT max(failures) FROM ts_connections"), 1);
}

#[test]
fn what_others_have_said_of_a_run_that_they_ended_stays() {
    let mut begun = Begun::new();
    let (lease, _) = begun.claim().remove(0);
    // As `liveness::sweep` does for a run that went silent.
    let ended = "UPDATE ts_run_connections SET outcome = 'interrupted';
                 UPDATE ts_connections SET lease_run = NULL, lease_token = NULL";
    begun.session.file().execute_batch(ended).unwrap();
    assert_eq!(begun.record(&lease, false).unwrap().outcome, Outcome::Interrupted);
}

#[test]
fn the_end_of_a_run_that_was_kept_is_told_once() {
    let mut begun = Begun::new();
    begun.session.context.listened.set(crate::domain::hook::HookKind::ALL.to_vec());
    for _ in 0..2 {
        let (run, end) = (
            begun.run.clone(),
            RunEnd { totals: "{}".to_owned(), exit_code: 75, pass_failed: true, at: NOW },
        );
        let finish = |db: Db<'_>, context: &Context| runs::finish(db, context, &run, &end);
        begun.session.write("finish the run", finish).unwrap();
    }
    assert_eq!(begun.number("SELECT count(*) FROM ts_events"), 1);
}

#[test]
fn a_token_that_is_noted_as_presented_is_presented_once_and_its_answer_is_kept() {
    let mut begun = Begun::new();
    let (lease, _) = begun.claim().remove(0);
    let seed = "INSERT INTO ts_tokens (connection, version, state, refresh, asking) VALUES (?1, '1', 'ready', x'01', 5)";
    begun.session.db().run(seed, values![lease.connection]).unwrap();
    let mut ask = |again: bool| {
        let asked = begun
            .session
            .write("note the use of a token", |db, context| tokens::ask(db, context, &lease, again));
        asked.unwrap()
    };
    assert!(ask(false).is_some());
    assert!(ask(false).is_none(), "somebody else presents it");
    let asked = ask(true).expect("it was noted under this lease, and not presented yet");
    let renewal = Renewal::Renewed { refresh: Some(vec![2]), access: vec![3], until: None };
    for _ in 0..2 {
        let kept = begun
            .session
            .write("write new tokens", |db, _| tokens::renewed(db, &asked, &renewal, NOW))
            .unwrap();
        assert!(kept);
    }
    assert_eq!(begun.number("SELECT count(*) FROM ts_audit"), 1);
    let other = Renewal::Renewed { refresh: Some(vec![4]), access: vec![5], until: None };
    let late =
        begun.session.write("write new tokens", |db, _| tokens::renewed(db, &asked, &other, NOW)).unwrap();
    assert!(!late, "another answer came too late");
}

#[test]
fn a_token_that_was_lost_or_came_too_late_is_audited_once() {
    let late = Renewal::Renewed { refresh: Some(vec![2]), access: vec![3], until: None };
    for (state, renewal) in [("asked", Renewal::Lost("refused".to_owned())), ("ready", late)] {
        let mut begun = Begun::new();
        let (lease, _) = begun.claim().remove(0);
        let seed = "INSERT INTO ts_tokens (connection, version, state, refresh, asking) VALUES (?1, '1', ?2, x'01', 5)";
        begun.session.db().run(seed, values![lease.connection, state]).unwrap();
        let asked = RotationBegin {
            connection: lease.connection,
            connection_id: lease.connection_id.clone(),
            run: lease.run,
            number: 5,
        };
        for _ in 0..2 {
            begun
                .session
                .write("write new tokens", |db, _| tokens::renewed(db, &asked, &renewal, NOW))
                .unwrap();
        }
        assert_eq!(begun.number("SELECT count(*) FROM ts_audit"), 1, "{renewal:?}");
    }
}
