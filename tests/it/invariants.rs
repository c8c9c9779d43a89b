//! The invariants of `lib.rs` that need the store and the pass in hand, each by its number.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tink_sandbox::{Config, Expiry, Rates, Sandbox};
use tink_sync::clock::{Clock, ManualClock, SystemClock};
use tink_sync::domain::account::Account;
use tink_sync::domain::amount::{Amount, Money};
use tink_sync::domain::connection::{SourceRow, TinkUser};
use tink_sync::domain::event::Event;
use tink_sync::domain::outcome::Outcome;
use tink_sync::domain::texts::TextFields;
use tink_sync::domain::transaction::{Status, Transaction};
use tink_sync::domain::view::Viewed;

use tink_sync::store::{
    ChangeSet, Checkpoint, Claim, FetchedRow, Identity, NewRun, Overview, PlanRules, RowCommit, Run,
    Selection, Store, StoreError, Unfinished,
};
use tink_sync::sync::context::{PassContext, SyncOptions};
use tink_sync::sync::hold::Hold;
use tink_sync::sync::pass::{Pass, PassEnd, Stop, Task};
use tink_sync::sync::rotation::Renewals;
use tink_sync::tink::{Client, RetryOptions};
use tokio_util::sync::CancellationToken;

use crate::harness::{World, plain, small};
use crate::stored::Place;

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn source_row(n: u32) -> SourceRow {
    let user = TinkUser::External(format!("user-{n}"));
    SourceRow::active(&format!("c-{n}"), &format!("u-{n}"), Some(user))
}

/// A view of this many connections.
fn viewed(users: u32) -> Viewed {
    Viewed { rows: (0..users).map(source_row).collect(), at: now(), ..Viewed::default() }
}

fn rules(at: Timestamp) -> PlanRules {
    PlanRules {
        now: at,
        selection: Selection::default(),
        force: false,
        min_interval: Duration::ZERO,
        quota: 100,
    }
}

async fn begin(store: &Store, id: &str, at: Timestamp) -> Run {
    let new = NewRun {
        run_id: id.into(),
        trigger: "manual",
        on_demand: false,
        host: "here".to_owned(),
        version: "0",
        process_started: at,
        started_at: at,
    };
    store.begin_run(new).await.unwrap()
}

/// A store with one connection, claimed by a run.
async fn claimed(place: &Place) -> (Store, Run, Claim) {
    let store = place.open(now());
    let run = begin(&store, "run-1", now()).await;
    store.mirror(&run, viewed(1)).await.unwrap();
    store.plan(&run, rules(now())).await.unwrap();
    let until = now() + SignedDuration::from_mins(4);
    let claim = store.claim(&run, rules(now()), 1, until).await.unwrap().claims.pop().unwrap();
    (store, run, claim)
}

/// A booked row.
pub fn row(id: &str) -> FetchedRow {
    let money = Money { amount: Amount::from_parts("-1300", "1").unwrap(), currency: "EUR".to_owned() };
    let transaction = Transaction {
        id: id.into(),
        status: Status::Booked,
        money,
        booked_date: Some("2026-05-30".parse().unwrap()),
        value_date: None,
        transaction_date: None,
        booked_at: None,
        texts: TextFields { description_original: Some("COFFEE"), ..TextFields::default() }.into(),
    };
    FetchedRow { transaction, raw: None }
}

/// The end of a walk of an account, with one row.
pub fn commit(account: i64) -> RowCommit {
    let checkpoint = Checkpoint {
        watermark: Some("2026-06-01".parse().unwrap()),
        refresh: Some(now()),
        at: now(),
        deep: Some("2026-06-01".parse().unwrap()),
        absent_from: None,
        judged: true,
        repaired: true,
        full_due: false,
        reissued: false,
        unmatched_from: None,
        unmatched_before: None,
        suspect: None,
        compared: true,
    };
    RowCommit {
        account,
        generation: 1,
        changes: ChangeSet { insert: vec![row("t-1"), row("t-2")], ..ChangeSet::default() },
        unreadable: Vec::new(),
        readable: Vec::new(),
        covered: None,
        unfinished: Unfinished::default(),
        checkpoint: Some(checkpoint),
        now: now(),
    }
}

async fn one_account(store: &Store, claim: &Claim) -> i64 {
    let account = Account {
        kind: "CHECKING".to_owned(),
        last_refreshed: Some(now()),
        ..Account::unknown("a-1".into())
    };
    let overview = Overview { accounts: vec![(account, Identity::New)], ..Overview::default() };
    store.save_overview(&claim.lease, overview, now()).await.unwrap().accounts[0].key
}

fn look(place: &Place, sql: &str) -> Option<String> {
    let db = place.look_for(sql);
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn invariant_01_watermark_and_rows_commit_together_or_not_at_all() {
    let (_dir, place) = Place::of_its_own();
    let (store, _, claim) = claimed(&place).await;
    let account = one_account(&store, &claim).await;
    // GIVEN a database that refuses the very last statement of the commit
    place.refuse_watermarks();
    // WHEN the walk's last commit is written, THEN neither rows nor watermark are there
    assert!(matches!(store.commit(&claim.lease, commit(account)).await, Err(StoreError::Sql { .. })));
    let count = "SELECT CAST(count(*) AS TEXT) FROM transactions_v1";
    assert_eq!(look(&place, count).as_deref(), Some("0"));
    assert_eq!(look(&place, "SELECT complete_through FROM accounts_v1"), None);
    // AND with one that takes it, both are
    place.allow();
    store.commit(&claim.lease, commit(account)).await.unwrap();
    store.close().await;
    assert_eq!(look(&place, count).as_deref(), Some("2"));
    assert_eq!(look(&place, "SELECT complete_through FROM accounts_v1").as_deref(), Some("2026-06-01"));
}

#[tokio::test]
async fn invariant_03_a_lost_lease_writes_nothing() {
    let (_dir, place) = Place::of_its_own();
    let (store, _, claim) = claimed(&place).await;
    let account = one_account(&store, &claim).await;
    // GIVEN another run that takes the connection over once the lease has run out
    let later = now() + SignedDuration::from_mins(5);
    place.miss("run-1");
    let other = begin(&store, "run-2", later).await;
    store.plan(&other, PlanRules { selection: named("c-0"), ..rules(later) }).await.unwrap();
    let until = later + SignedDuration::from_mins(4);
    let claims =
        store.claim(&other, PlanRules { selection: named("c-0"), ..rules(later) }, 1, until).await.unwrap();
    assert_eq!(claims.claims.len(), 1);
    // WHEN the first run commits, THEN it is refused and nothing is written
    let refused = store.commit(&claim.lease, commit(account)).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(id)) if id.as_str() == "c-0"));
    assert_eq!(look(&place, "SELECT CAST(count(*) AS TEXT) FROM transactions_v1").as_deref(), Some("0"));
    // AND the new holder is not disturbed
    assert!(store.commit(&claims.claims[0].lease, commit(account)).await.is_ok());
}

fn named(id: &str) -> Selection {
    Selection { connections: vec![id.into()], users: Vec::new() }
}

/// Runs one pass in this process, telling `emit` what happens.
async fn pass(sandbox: &Sandbox, place: &Place, emit: impl Fn(&Event) + Send + Sync + 'static) -> PassEnd {
    timed_pass(sandbox, place, &Arc::new(ManualClock::new(SystemClock.now())), emit).await
}

/// The same by a clock that the test may set meanwhile.
async fn timed_pass(
    sandbox: &Sandbox,
    place: &Place,
    clock: &Arc<ManualClock>,
    emit: impl Fn(&Event) + Send + Sync + 'static,
) -> PassEnd {
    let store = place.open(clock.now());
    let run = begin(&store, "run-1", clock.now()).await;
    store.mirror(&run, viewed(sandbox.config().users)).await.unwrap();
    let client = tink_sync::tink::ClientOptions {
        api_url: sandbox.url(),
        client_id: sandbox.config().client_id.clone(),
        client_secret: SecretString::from(sandbox.config().client_secret.clone()),
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        max_response: 1 << 20,
        requests_per_second: 10_000.0,
        concurrency: 4,
        retry: RetryOptions { attempts: 2, base: Duration::from_millis(1), max: Duration::from_millis(2) },
        keep_raw: false,
        refresh: false,
        proxies: tink_sync::tink::Proxies::default(),
    };
    let options = SyncOptions {
        min_interval: Duration::ZERO,
        history_days: None,
        overlap_days: 14,
        lookahead_days: 45,
        stale_after: SignedDuration::from_hours(72),
        balance_min_open: SignedDuration::from_hours(48),
        rewalk: SignedDuration::from_hours(24),
        deep_rewalk: SignedDuration::from_hours(168),
        connection_timeout: Duration::from_mins(1),
        deadline: Duration::from_mins(1),
        outage_patience: Duration::ZERO,
        slots: 4,
        bank_wait: Duration::ZERO,
        probe_base: Duration::from_millis(1),
        quota: 100,
        consent_warn: vec![14],
        refresh: None,
    };
    let client = Client::new(client, Arc::<ManualClock>::clone(clock), 1).unwrap();
    let context = PassContext {
        store,
        client,
        clock: Arc::<ManualClock>::clone(clock),
        options,
        emit: Arc::new(emit),
        renewals: Renewals::default(),
        hold: Hold::new(Arc::<ManualClock>::clone(clock)),
    };
    let task = Task {
        run,
        trigger: "manual",
        selection: Selection::default(),
        force: false,
        dry_run: false,
        started_at: clock.now(),
        emit_skipped: false,
    };
    Pass::new(Arc::new(context), task, CancellationToken::new()).run().await.unwrap()
}

#[tokio::test]
async fn invariant_06_a_panic_ends_one_connection_only() {
    let sandbox =
        Sandbox::start(Config { users: 6, rates: Rates::none(), history_days: 10, ..Config::default() });
    sandbox.plan("user-3", |plan| plan.consent(0).expiry = Expiry::Day(6));
    let (_dir, place) = Place::of_its_own();
    // GIVEN a listener that panics in the middle of one connection's sync
    let end = pass(&sandbox, &place, |event| {
        assert!(!matches!(event, Event::ConsentEnds { .. }), "a bug on purpose");
    })
    .await;
    // THEN that connection failed, and said why, and all the others are synced
    assert_eq!((end.summary.outcome(Outcome::Failed), end.summary.outcome(Outcome::Synced)), (1, 5));
    let reason = look(
        &place,
        "SELECT connection_id || ' ' || reason FROM run_connections_v1 WHERE outcome = 'failed'",
    );
    assert_eq!(reason.as_deref(), Some("c-3 panic"));
}

#[tokio::test]
async fn durations_are_right_whatever_becomes_of_the_clock_in_mid_pass() {
    let sandbox = Sandbox::start(small(12));
    let start = SystemClock.now();
    // GIVEN a clock that is set, and a machine that is suspended, as soon as one connection has ended
    for (hours, asleep) in [(20, false), (-20, false), (720, false), (-720, false), (3, true)] {
        let (_dir, place) = Place::of_its_own();
        let clock = Arc::new(ManualClock::new(start));
        let (told, moved) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&clock));
        let heard = Arc::clone(&told);
        let end = timed_pass(&sandbox, &place, &clock, move |event| {
            if matches!(event, Event::Finished(_)) && moved.now() == start {
                if asleep {
                    moved.suspend(Duration::from_hours(3));
                } else {
                    moved.set(start + SignedDuration::from_hours(hours));
                }
            }
            heard.lock().unwrap().push(event.clone());
        })
        .await;
        // THEN nothing took hours, a sleep is told, and a clock that is days off ends the pass
        let longest = "SELECT CAST(max(duration_ms) AS TEXT) FROM run_connections_v1";
        assert_eq!(look(&place, longest).as_deref(), Some("0"), "{hours}");
        let told = told.lock().unwrap();
        let slept =
            told.iter().any(|event| matches!(event, Event::Suspended { time } if time.as_secs() == 10_800));
        assert_eq!(slept, asleep, "{hours}");
        assert_eq!(matches!(end.stop, Stop::ClockOff(_)), hours.abs() > 24, "{hours}: {:?}", end.stop);
    }
}

#[test]
fn invariant_08_debug_output_holds_no_secret() {
    let world = World::new(plain(0));
    let settings = tink_sync::config::load(&world.path("tink-sync.toml"), &|_| None).unwrap();
    assert!(settings.tink.credentials().is_ok());
    assert!(!format!("{settings:?}").contains(&world.sandbox.config().client_secret));
}
