//! A reader as an application has one: it polls the views with a cursor, and keeps a copy. Also checks what a reader relies on
//! while it reads: that numbers only grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::cluster::Cluster;

/// What is read: the name, what tells one row from another, and what has no news though it changes, or is looked up and follows
/// the number of another view.
const VIEWS: [(&str, &str, &[&str]); 3] = [
    ("connections_v1", "connection_id", &["last_attempt_at", "last_success_at", "next_attempt_at"]),
    ("accounts_v1", "account_key::text", &[]),
    (
        "transactions_v1",
        "account_key || ' ' || transaction_id",
        &["connection_id", "user_id", "account_id", "first_seen_run", "changed_run"],
    ),
];

/// Rows by view and key: number and content.
pub type Copy = BTreeMap<(&'static str, String), (i64, String)>;

/// What a reader has at its end.
#[derive(Debug, Default)]
pub struct Read {
    pub copy: Copy,
    pub polls: u64,
    pub rows: u64,
    /// How long it took at most from one look at all views to the next.
    pub longest: Duration,
    /// What it must never see.
    pub wrong: Vec<String>,
    /// The same, but where the last commits got lost.
    pub went_back: Vec<String>,
}

pub struct Reader {
    thread: JoinHandle<Read>,
    seen: Arc<AtomicI64>,
}

/// A cursor for each view.
type Cursors = BTreeMap<&'static str, i64>;

impl Reader {
    pub fn start(cluster: Arc<Cluster>, stop: Arc<AtomicBool>) -> Self {
        let seen = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let (mut read, mut cursors, mut numbers) = (Read::default(), Cursors::new(), 0);
            let mut session: Option<Client> = None;
            let mut last = Instant::now();
            while !stop.load(Relaxed) {
                session = session.or_else(|| cluster.connect("bank"));
                let polled = session.as_mut().map(|db| poll(db, &mut read, &mut cursors, &mut numbers));
                match polled {
                    Some(Ok(until)) => {
                        read.longest = read.longest.max(last.elapsed());
                        last = Instant::now();
                        told.store(until, Relaxed);
                    }
                    // What was read up to there was read.
                    Some(Err(_)) | None => session = None,
                }
                std::thread::sleep(Duration::from_millis(40));
            }
            read
        });
        Self { thread, seen }
    }

    /// Waits until it has seen all that there is.
    pub fn wait_for(&self, cluster: &Cluster) {
        let mut db = cluster.connect("bank").unwrap();
        let there: i64 = db.query_one("SELECT last_change_seq FROM tink_sync.feed_v1", &[]).unwrap().get(0);
        let end = Instant::now() + Duration::from_secs(30);
        while self.seen.load(Relaxed) < there && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn end(self) -> Read {
        self.thread.join().unwrap()
    }
}

/// The statement that reads a view from a number on.
fn statement(view: &str, key: &str, except: &[&str]) -> String {
    let rest = except.iter().map(|column| format!(" - '{column}'")).collect::<Vec<_>>().concat();
    format!(
        "SELECT change_seq, {key}, (to_jsonb(v) - 'change_seq'{rest})::text FROM tink_sync.{view} v WHERE change_seq > $1
         ORDER BY change_seq"
    )
}

/// Looks at all views; returns which number was the last beforehand.
fn poll(
    db: &mut Client,
    read: &mut Read,
    cursors: &mut Cursors,
    numbers: &mut i64,
) -> Result<i64, postgres::Error> {
    let last: i64 = db.query_one("SELECT last_change_seq FROM tink_sync.feed_v1", &[])?.get(0);
    if last < *numbers {
        read.went_back.push(format!("feed_v1 went back from {numbers} to {last}"));
    }
    *numbers = last.max(*numbers);
    for (view, key, except) in VIEWS {
        let cursor = cursors.entry(view).or_default();
        for row in db.query(&statement(view, key, except), &[&*cursor])? {
            let (number, key, content): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
            let before = read.copy.insert((view, key), (number, content));
            if let Some((before, _)) = before.filter(|(before, _)| *before >= number) {
                read.wrong.push(format!("a row of {view} went back from {before} to {number}"));
            }
            *cursor = number;
            read.rows += 1;
        }
    }
    read.polls += 1;
    Ok(last)
}

/// All rows there are.
pub fn all(db: &mut Client) -> Copy {
    let mut read = Read::default();
    poll(db, &mut read, &mut Cursors::new(), &mut 0).unwrap();
    read.copy
}
