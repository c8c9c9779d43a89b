//! What the steps of a row cost: a page is fetched and parsed, a window is reconciled, a change set is committed.
//! `cargo bench --bench steps`. Each line is the fastest of many rounds, in microseconds a round and a row; the page's is
//! the CPU of the client's thread alone, HTTP included; the commit's is the time to its answer, with the store in memory
//! where there is such a place. It judges nothing; whole passes are measured by the other bench.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench fails loudly and prints"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use secrecy::SecretString;
use tink_sandbox::{Config, Rates, Sandbox};
use tink_sync::clock::{Clock as _, ManualClock, SystemClock};
use tink_sync::domain::account::Account;
use tink_sync::domain::connection::{SourceRow, TinkUser};
use tink_sync::domain::texts::TextFields;
use tink_sync::domain::transaction::Transaction;
use tink_sync::domain::view::Viewed;
use tink_sync::domain::window::Window;
use tink_sync::store::types::StoredRow;
use tink_sync::store::{
    ChangeSet, Claim, FetchedRow, Identity, NewRun, Overview, PlanRules, RowCommit, Selection, Store,
    Unfinished,
};
use tink_sync::sync::reconcile::upserts;
use tink_sync::tink::{Client, ClientOptions, Proxies, RetryOptions, TransactionRecord};

const ROUNDS: usize = 200;
const USER: &str = "user-0";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("step                                   rows   µs a round   µs a row");
    let rows = runtime.block_on(pages());
    reconciling(&rows);
    runtime.block_on(commits(&rows));
}

fn show(step: &str, rows: usize, best: Duration) {
    let micros = best.as_secs_f64() * 1e6;
    println!("{step:<37} {rows:>5} {micros:>12.0} {:>10.2}", micros / rows as f64);
}

/// The fastest round.
fn fastest(mut round: impl FnMut()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        round();
        began.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap()
}

/// CPU of this thread so far.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Fetches and parses one account's history again and again; its rows.
async fn pages() -> Vec<Transaction> {
    let config = Config {
        users: 1,
        rates: Rates::none(),
        history_days: 250,
        rows_per_day: 2.0,
        max_accounts: 1,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config);
    let options = ClientOptions {
        api_url: sandbox.url(),
        client_id: sandbox.config().client_id.clone(),
        client_secret: SecretString::from(sandbox.config().client_secret.clone()),
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        max_response: 16 << 20,
        requests_per_second: 1e6,
        concurrency: 1,
        retry: RetryOptions { attempts: 1, base: Duration::ZERO, max: Duration::ZERO },
        keep_raw: false,
        proxies: Proxies::default(),
        refresh: false,
    };
    let client = Client::new(options, Arc::new(ManualClock::new(SystemClock.now())), 1).unwrap();
    let session = client.session(TinkUser::External(USER.to_owned()));
    let account = session.accounts().await.unwrap().remove(0);
    let window = Window::all(SystemClock.today(), None, 400);
    let (mut best, mut rows, mut full) = (Duration::MAX, Vec::new(), 0);
    for _ in 0..ROUNDS / 10 {
        rows.clear();
        let mut pages = session.transactions(&account.id, &window);
        loop {
            let before = cpu();
            let Some(page) = pages.next().await.unwrap() else { break };
            if page.len() >= full {
                (full, best) = (page.len(), best.min(cpu().saturating_sub(before)));
            }
            rows.extend(page.into_iter().filter_map(|record| match record {
                TransactionRecord::Row { transaction, .. } => Some(transaction),
                TransactionRecord::Unreadable(_) => None,
            }));
        }
    }
    show("fetch and parse a page", full, best);
    rows
}

fn fetched(rows: &[Transaction]) -> Vec<FetchedRow> {
    rows.iter().map(|row| FetchedRow { transaction: row.clone(), raw: None }).collect()
}

fn changed(row: &mut Transaction) {
    row.texts = TextFields { description: Some("changed"), ..TextFields::default() }.into();
}

/// The same rows against a store that has none, all, or all in another form. Making the copy is not counted.
fn reconciling(rows: &[Transaction]) {
    let stored = |change: fn(&mut Transaction)| -> Vec<StoredRow> {
        let row = |(key, row): (i64, &Transaction)| {
            let mut transaction = row.clone();
            change(&mut transaction);
            StoredRow { key, transaction, generation: 1, missed: 0, removed: false, succeeds: None }
        };
        (0..).zip(rows).map(row).collect()
    };
    let copied = fastest(|| drop(std::hint::black_box(fetched(rows))));
    for (name, stored) in [
        ("reconcile a window, all new", Vec::new()),
        ("reconcile a window, nothing new", stored(|_| ())),
        ("reconcile a window, all changed", stored(changed)),
    ] {
        let taken = fastest(|| drop(std::hint::black_box(upserts(&stored, fetched(rows), 1))));
        show(name, rows.len(), taken.saturating_sub(copied));
    }
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// A store with one claimed connection, and the key of its account.
async fn claimed(path: &Path) -> (Store, Claim, i64) {
    let store = Store::open(&path.to_owned().into(), Duration::ZERO, now()).unwrap();
    let new = NewRun {
        run_id: "run-1".into(),
        trigger: "manual",
        on_demand: false,
        host: "here".to_owned(),
        version: "0",
        process_started: now(),
        started_at: now(),
    };
    let run = store.begin_run(new).await.unwrap();
    let row = SourceRow::active("c-0", "u-0", Some(TinkUser::External(USER.to_owned())));
    store
        .mirror(&run, Viewed { rows: [row].into_iter().collect(), at: now(), ..Viewed::default() })
        .await
        .unwrap();
    let rules = || PlanRules {
        now: now(),
        selection: Selection::default(),
        force: false,
        min_interval: Duration::ZERO,
        quota: 100,
    };
    store.plan(&run, rules()).await.unwrap();
    let until = now() + SignedDuration::from_hours(4);
    let claim = store.claim(&run, rules(), 1, until).await.unwrap().claims.pop().unwrap();
    let account = Account {
        name: "Current".to_owned(),
        kind: "CHECKING".to_owned(),
        last_refreshed: Some(now()),
        ..Account::unknown("a".into())
    };
    let overview = Overview { accounts: vec![(account, Identity::New)], ..Overview::default() };
    let key = store.save_overview(&claim.lease, overview, now()).await.unwrap().accounts.remove(0).key;
    (store, claim, key)
}

/// Rows that are new, again and again under other ids.
async fn commits(rows: &[Transaction]) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let (store, claim, account) = claimed(&dir.path().join("store.db")).await;
    let mut best = Duration::MAX;
    for round in 0..ROUNDS {
        let mut insert = fetched(rows);
        for (n, row) in insert.iter_mut().enumerate() {
            row.transaction.id = format!("{:032x}", round * rows.len() + n).as_str().into();
        }
        let commit = RowCommit {
            account,
            generation: 1,
            changes: ChangeSet { insert, ..ChangeSet::default() },
            unreadable: Vec::new(),
            readable: Vec::new(),
            covered: None,
            unfinished: Unfinished::default(),
            checkpoint: None,
            now: now(),
        };
        let began = Instant::now();
        store.commit(&claim.lease, commit).await.unwrap();
        best = best.min(began.elapsed());
    }
    show("commit a change set of new rows", rows.len(), best);
}
