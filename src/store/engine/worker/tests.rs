use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;

use super::*;
use crate::store::engine::sqlite::open;
use crate::store::engine::values;
use rusqlite::Connection;

/// A step that a pass takes.
const STEP: &str = "write transactions";

/// Counts a connection's commits, as SQLite sees them, and makes the one with the number `fails` fail.
#[derive(Clone, Default)]
struct Commits {
    count: Arc<AtomicU32>,
    fails: Arc<AtomicU32>,
}

impl Commits {
    fn so_far(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }
}

struct Bench {
    worker: Worker,
    commits: Commits,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut db = open::writer(&path, Duration::ZERO, jiff::Timestamp::UNIX_EPOCH).unwrap();
        db.file().execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        let commits = Commits::default();
        let counted = commits.clone();
        let hook = move || {
            let nth = counted.count.fetch_add(1, Ordering::SeqCst) + 1;
            counted.fails.load(Ordering::SeqCst) == nth
        };
        db.file_mut().commit_hook(Some(hook)).unwrap();
        // Even on a machine busy with other work, all waiting jobs must share one commit.
        let long = Duration::from_hours(1);
        let worker = Worker::start_within(GroupLimits { longest: long, waited: long, ..LIMITS }, db);
        Self { worker, commits, path, _dir: dir }
    }

    /// Keeps the thread busy until all these have sent their jobs, so that the jobs wait together.
    async fn together<T>(&self, jobs: Vec<impl Future<Output = T>>) -> Vec<T> {
        let (go, wait) = mpsc::channel::<()>();
        let busy = self.worker.read("wait", move |_| Ok(wait.recv()));
        let sent = async move { go.send(()) };
        // In this order every job is polled, and thereby sent, before the thread goes on.
        let (_, done, _) = futures_util::join!(busy, join_all(jobs), sent);
        done
    }

    fn insert(&self, n: i64) -> impl Future<Output = Result<((), Durable)>> {
        let worker = self.worker.clone();
        async move { worker.applied(STEP, move |db, _| insert(db, n)).await }
    }

    /// The durable rows, as another process sees them.
    fn rows(&self) -> Vec<i64> {
        let db = Connection::open(&self.path).unwrap();
        let mut all = db.prepare("SELECT n FROM t ORDER BY n").unwrap();
        all.query_map([], |row| row.get(0)).unwrap().map(std::result::Result::unwrap).collect()
    }
}

fn insert(db: Db<'_>, n: i64) -> std::result::Result<(), Fail> {
    db.run("INSERT INTO t VALUES (?1)", values![n])
}

#[tokio::test]
async fn jobs_that_wait_share_one_commit() {
    let bench = Bench::new();
    let done = bench.together((0..40).map(|n| bench.insert(n)).collect()).await;
    for applied in done {
        applied.unwrap().1.confirmed().await.unwrap();
    }
    assert_eq!(bench.commits.so_far(), 1);
    assert_eq!(bench.rows().len(), 40);
    // A `write` job is durable when it is answered, and so is everything applied before it.
    bench.insert(40).await.unwrap();
    bench.worker.write(STEP, |db, _| insert(db, 41)).await.unwrap();
    assert_eq!(bench.rows().len(), 42);
}

#[tokio::test]
async fn what_is_applied_is_seen_by_all_that_follows_and_by_nobody_else() {
    let bench = Bench::new();
    let (go, wait) = mpsc::channel::<()>();
    let count = |db: Db<'_>| db.value::<i64>("SELECT count(*) FROM t", values![]);
    let (mut durable, held) = (bench.insert(1).await.unwrap().1, bench.insert(2).await);
    let reader = bench.worker.look("count", move |db| {
        let seen = count(db);
        let _ = wait.recv();
        seen
    });
    let sent = async {
        held.unwrap();
        go.send(()).unwrap();
    };
    let (seen, ()) = futures_util::join!(reader, sent);
    let (seen, mut of_the_read) = seen.unwrap();
    assert_eq!(seen, 2);
    of_the_read.confirmed().await.unwrap();
    durable.confirmed().await.unwrap();
    assert_eq!(bench.rows(), [1, 2]);
}

#[tokio::test]
async fn the_failure_of_one_job_undoes_that_job_alone() {
    let bench = Bench::new();
    let worker = &bench.worker;
    let job = |n: i64| async move {
        worker
            .write(STEP, move |db, _| {
                insert(db, 10 * n)?;
                // In the first and third job the second row is a duplicate.
                insert(db, if n % 2 == 0 { 10 * n } else { 10 * n + 1 })
            })
            .await
    };
    let done = bench.together((0..4).map(job).collect()).await;
    let failed: Vec<bool> = done.iter().map(Result::is_err).collect();
    assert_eq!(failed, [true, false, true, false]);
    assert!(matches!(&done[2], Err(StoreError::Sql { what: STEP, .. })), "{done:?}");
    assert_eq!(bench.rows(), [10, 11, 30, 31]);
    assert_eq!(bench.commits.so_far(), 1);
}

#[tokio::test]
async fn a_failed_commit_lets_nothing_after_it_through() {
    let bench = Bench::new();
    bench.worker.write(STEP, |db, _| insert(db, 1)).await.unwrap();
    bench.commits.fails.store(2, Ordering::SeqCst);
    let worker = &bench.worker;
    let (applied, waited) = futures_util::join!(
        bench.together(vec![bench.insert(2), bench.insert(3)]),
        worker.write(STEP, |db, _| insert(db, 4)),
    );
    let told = waited.unwrap_err().to_string();
    for applied in applied {
        // The job was applied, and the commit that it shared failed.
        let (applied, fate) = match applied {
            Ok(((), mut durable)) => (true, durable.confirmed().await),
            Err(error) => (false, Err(error)),
        };
        assert_eq!(fate.unwrap_err().to_string(), told, "applied: {applied}");
    }
    // The next commit would succeed.
    assert_eq!(worker.write(STEP, |db, _| insert(db, 5)).await.unwrap_err().to_string(), told);
    assert_eq!(bench.insert(6).await.unwrap_err().to_string(), told);
    assert_eq!(worker.read("read", |_| Ok(())).await.unwrap_err().to_string(), told);
    bench.worker.clone().close().await;
    assert_eq!(bench.rows(), [1]);
}

#[tokio::test]
async fn an_error_that_ends_the_transaction_ends_what_was_applied_in_it() {
    let bench = Bench::new();
    let worker = &bench.worker;
    let ends = || worker.applied(STEP, |db, _| db.batch("INSERT OR ROLLBACK INTO t VALUES (1)"));
    let done = bench
        .together(vec![
            futures_util::future::Either::Left(bench.insert(1)),
            futures_util::future::Either::Right(ends()),
        ])
        .await;
    let Ok([Ok(((), mut durable)), Err(_)]) = <[_; 2]>::try_from(done) else { panic!("the second fails") };
    durable.confirmed().await.unwrap_err();
    bench.insert(2).await.unwrap_err();
    assert_eq!(bench.rows(), [0i64; 0]);
    // If nothing was applied before, only that job fails.
    let bench = Bench::new();
    bench.worker.write(STEP, |db, _| insert(db, 1)).await.unwrap();
    let alone = bench.worker.apply(STEP, |db, _| db.batch("INSERT OR ROLLBACK INTO t VALUES (1)"));
    alone.await.unwrap_err();
    bench.worker.write(STEP, |db, _| insert(db, 2)).await.unwrap();
    assert_eq!(bench.rows(), [1, 2]);
}

#[tokio::test]
async fn what_was_applied_is_durable_when_the_store_is_closed() {
    let bench = Bench::new();
    let mut durable = bench.insert(1).await.unwrap().1;
    bench.worker.clone().close().await;
    durable.confirmed().await.unwrap();
    assert_eq!(bench.rows(), [1]);
}
