//! What must hold after the storm, and the figures of it.

use std::collections::BTreeSet;
use std::fmt;

use postgres::Client;
use tink_sandbox::Overlap;

use crate::bank::{BUSY_USER, Bank, CONNECTIONS, QUOTA};
use crate::cluster::Cluster;
use crate::host::Ended;
use crate::lab::Lab;
use crate::reader::{self, Read};
use crate::storm::{self, Past, Trouble};

/// Numbers of one timeline.
const TIMELINE: i64 = 1 << 32;

/// What came out.
#[derive(Debug, Default)]
pub struct Verdict {
    figures: Vec<String>,
    wrong: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    fn expect(&mut self, held: bool, wrong: impl FnOnce() -> String) {
        if !held {
            self.wrong.push(wrong());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.figures.iter().try_for_each(|figure| writeln!(f, "  {figure}"))?;
        self.wrong.iter().take(40).try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))?;
        let number = self.wrong.len();
        if number == 0 { write!(f, "all held") } else { write!(f, "{number} things did not hold") }
    }
}

/// A row as texts.
type Texts = Vec<Option<String>>;

fn texts(db: &mut Client, sql: &str, connection: &str) -> BTreeSet<Texts> {
    let rows = db.query(sql, &[&connection]).unwrap();
    rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
}

fn number(db: &mut Client, sql: &str) -> i64 {
    db.query_one(sql, &[]).unwrap().get(0)
}

/// The connections that are not as Tink has them, and what is different.
pub fn left(cluster: &Cluster, bank: &Bank) -> Vec<String> {
    let mut db = cluster.connect("bank").unwrap();
    (0..CONNECTIONS).filter_map(|n| difference(&mut db, bank, n)).collect()
}

fn difference(db: &mut Client, bank: &Bank, n: u32) -> Option<String> {
    let (truth, id) = (bank.truth(n), format!("c-{n}"));
    let some = |text: &str| Some(text.to_owned());
    let accounts: BTreeSet<Texts> = truth
        .accounts
        .iter()
        .map(|a| {
            let balances = [a.booked_balance.clone(), a.available_balance.clone()];
            [&[some(&a.id), some(&a.name), some(&a.kind), a.iban.clone(), a.currency.clone()][..], &balances]
                .concat()
        })
        .collect();
    let rows: BTreeSet<Texts> = truth
        .transactions
        .iter()
        .map(|r| {
            let texts = [r.description_original.clone(), r.description_display.clone()];
            let dates = [r.booked_date.clone(), r.value_date.clone()];
            let ids = [r.provider_transaction_id.clone(), r.reference.clone()];
            let first =
                [some(&r.account_id), some(&r.id), some(&r.status), some(&r.amount), some(&r.currency)];
            [&first[..], &dates, &texts, &ids].concat()
        })
        .collect();
    let stored = texts(
        db,
        "SELECT account_id, name, type, iban, currency, booked_balance::text, available_balance::text
         FROM tink_sync.accounts_v1 WHERE connection_id = $1 AND closed_at IS NULL",
        &id,
    );
    if stored != accounts {
        let (found, there) = (stored.difference(&accounts).next(), accounts.difference(&stored).next());
        return Some(format!("{id}: an account is {found:?}, not {there:?}"));
    }
    let live = "FROM tink_sync.transactions_v1 WHERE connection_id = $1 AND removed_at IS NULL";
    let stored = texts(
        db,
        &format!(
            "SELECT account_id, transaction_id, status, amount::text, currency, booked_date::text, value_date::text,
                    description_original, description, provider_transaction_id, reference {live}"
        ),
        &id,
    );
    let held: i64 = db.query_one(&format!("SELECT count(*) {live}"), &[&id]).unwrap().get(0);
    if held != i64::try_from(stored.len()).unwrap() {
        return Some(format!("{id} has rows twice"));
    }
    let (missing, extra): (Vec<_>, Vec<_>) =
        (rows.difference(&stored).take(2).collect(), stored.difference(&rows).take(2).collect());
    (!missing.is_empty() || !extra.is_empty())
        .then(|| format!("{id}: missing {missing:?}, too much {extra:?} of {} rows", rows.len()))
}

/// How often the user was synced who uses up the quota.
pub fn used(cluster: &Cluster) -> i64 {
    let mut db = cluster.connect("bank").unwrap();
    let attempts =
        "SELECT coalesce(sum(attempts), 0)::bigint FROM tink_sync.ts_run_connections WHERE user_id =";
    number(&mut db, &format!("{attempts} '{BUSY_USER}'"))
}

/// With a standby that commits did not wait for, what was lost may have been done again.
pub fn judge(
    cluster: &Cluster,
    bank: &Bank,
    lab: &Lab,
    (ended, past): (&Ended, &[Past]),
    used: i64,
    read: Read,
    synchronous: bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.figures.push(format!("{used} attempts of the user with a quota of {QUOTA}"));
    verdict.expect(used <= i64::from(QUOTA), || format!("{used} attempts, and the quota is {QUOTA}"));
    let mut db = cluster.connect("bank").unwrap();
    runs(&mut verdict, &mut db, ended, synchronous);
    work(&mut verdict, &mut db, bank, (lab, past), synchronous);
    state(&mut verdict, &mut db);
    verdict.wrong.extend(left(cluster, bank));
    if synchronous {
        reading(&mut verdict, &mut db, read);
    } else {
        verdict.wrong.extend(read.wrong);
    }
    verdict
}

/// How the runs ended, and what they say of themselves.
fn runs(verdict: &mut Verdict, db: &mut Client, ended: &Ended, synchronous: bool) {
    let codes: Vec<String> = ended
        .codes
        .iter()
        .map(|(code, number)| code.map_or(format!("killed: {number}"), |code| format!("{code}: {number}")))
        .collect();
    let passes: u64 = ended.codes.values().sum();
    verdict.figures.push(format!("{passes} runs, by exit code {}", codes.join(", ")));
    verdict.wrong.extend(ended.foul.iter().cloned());
    let differ = "SELECT count(*) FROM tink_sync.runs_v1 r JOIN (
             SELECT run_id, sum(added) AS added, sum(updated) AS updated, sum(removed) AS removed, sum(requests) AS requests
             FROM tink_sync.run_connections_v1 GROUP BY run_id) x USING (run_id)
         WHERE r.exit_code IN (0, 10, 11) AND (r.added, r.updated, r.removed) IS DISTINCT FROM (x.added, x.updated, x.removed)";
    let differ = number(db, differ);
    // A failover to a standby that commits did not wait for takes what connections had told; the run has counted it.
    verdict.expect(differ == 0 || !synchronous, || {
        format!("{differ} runs have other totals than their connections")
    });
    let added = number(db, "SELECT coalesce(sum(added), 0)::bigint FROM tink_sync.run_connections_v1");
    let updated = number(db, "SELECT coalesce(sum(updated), 0)::bigint FROM tink_sync.run_connections_v1");
    let rows = number(db, "SELECT count(*) FROM tink_sync.transactions_v1");
    // A run that is killed after a commit has not said what it wrote; nobody says more than that.
    verdict.expect(added <= rows, || format!("{added} rows were added, and there are only {rows}"));
    verdict.figures.push(format!("{rows} rows; the runs told of {added} added, {updated} updated"));
}

/// What the fake Tink saw, and whose attempts they were.
fn work(
    verdict: &mut Verdict,
    db: &mut Client,
    bank: &Bank,
    (lab, past): (&Lab, &[Past]),
    synchronous: bool,
) {
    let outcomes = db
        .query(
            "SELECT coalesce(outcome, 'none') || coalesce(' ' || reason, ''), count(*) FROM tink_sync.run_connections_v1
             GROUP BY 1 ORDER BY 2 DESC",
            &[],
        )
        .unwrap();
    let outcomes: Vec<String> =
        outcomes.iter().map(|row| format!("{} {}", row.get::<_, String>(0), row.get::<_, i64>(1))).collect();
    verdict.figures.push(format!("attempts: {}", outcomes.join(", ")));
    let sandbox = &bank.sandbox;
    let requests: u64 = sandbox.requests().values().sum();
    let most = sandbox.max_in_flight_of_a_user();
    let rotations =
        sandbox.requests().get(&tink_sandbox::Endpoint::RefreshToken).copied().unwrap_or_default();
    verdict.figures.push(format!(
        "{requests} calls, {rotations} refresh tokens presented; at most {most} calls in flight for one user"
    ));
    let overlaps = sandbox.overlaps();
    let again = sandbox.presented_again();
    if !synchronous {
        let overlaps = overlaps.len();
        verdict
            .figures
            .push(format!("{overlaps} times two hosts at one user, {again} tokens presented twice"));
        return;
    }
    let (late, wrong) = split(overlaps, bank, lab, past);
    if !late.is_empty() {
        verdict
            .figures
            .push(format!("{} requests were sent when a host that was frozen went on", late.len()));
    }
    let beside = u64::from(late.iter().any(|overlap| overlap.at_once));
    verdict.expect(most as u64 <= 1 + beside, || format!("{most} calls were in flight for one user"));
    verdict.wrong.extend(wrong);
    verdict.expect(again == 0, || format!("{again} refresh tokens were presented twice"));
}

/// Splits where two hosts were at one user into what nobody can prevent and what must not be.
///
/// A process looks at its lease before it sends. If it is stopped between the two, it sends the request when it goes on; what
/// comes of that is not stored. It has looked again before it sends another for this user. And of a link whose access token is stored, a host
/// may well use an older token than another that minted one while the first was presenting the refresh token.
fn split(overlaps: Vec<Overlap>, bank: &Bank, lab: &Lab, past: &[Past]) -> (Vec<Overlap>, Vec<String>) {
    let (mut late, mut wrong, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for overlap in overlaps {
        let user = bank.sandbox.name_of(overlap.user);
        if !overlap.at_once && Bank::is_link(&user) {
            continue;
        }
        let last = past.iter().rfind(|past| lab.address(past.host) == overlap.from && past.from < overlap.at);
        if let Some(last) = last
            && last.trouble == Trouble::Frozen
            && last.until - last.from > storm::LEASE
            && seen.insert((last.host, last.from, user.clone()))
        {
            late.push(overlap);
            continue;
        }
        let since = last.map(|past| (past.until - past.from, overlap.at.checked_duration_since(past.until)));
        let Overlap { from, other, at_once, .. } = overlap;
        wrong.push(format!(
            "{from} was at {user} beside {other} (at once: {at_once}); it was {:?}, for how long and how long before: {since:?}",
            last.map(|past| past.trouble)
        ));
    }
    (late, wrong)
}

/// What the store must look like when nobody is at work.
fn state(verdict: &mut Verdict, db: &mut Client) {
    for (sql, wrong) in [
        ("SELECT count(*) FROM tink_sync.ts_connections WHERE lease_token IS NOT NULL", "leases are left"),
        ("SELECT count(*) FROM tink_sync.ts_runs WHERE finished_at IS NULL", "runs have not ended"),
        ("SELECT count(*) FROM tink_sync.ts_tokens WHERE state = 'asked'", "tokens are being asked for"),
        ("SELECT count(*) FROM tink_sync.connections_v1 WHERE state <> 'ok'", "connections are not well"),
        ("SELECT count(*) FROM tink_sync.balance_proofs_v1 WHERE state = 'differs'", "balances differ"),
        (
            "SELECT count(*) FROM (SELECT change_seq FROM tink_sync.transactions_v1 UNION ALL
                 SELECT change_seq FROM tink_sync.accounts_v1 UNION ALL SELECT change_seq FROM tink_sync.connections_v1) n
             GROUP BY change_seq HAVING count(*) > 1 UNION ALL SELECT 0 LIMIT 1",
            "change numbers were given twice",
        ),
    ] {
        let found = number(db, sql);
        verdict.expect(found == 0, || format!("{found} {wrong}"));
    }
    let last = number(db, "SELECT last_change_seq FROM tink_sync.feed_v1");
    verdict.figures.push(format!("change numbers: {} in {} timelines", last % TIMELINE, last / TIMELINE + 1));
}

/// What the reader has, beside what there is.
fn reading(verdict: &mut Verdict, db: &mut Client, read: Read) {
    let there = reader::all(db);
    let missed: Vec<_> = there.iter().filter(|(key, row)| read.copy.get(*key) != Some(row)).take(3).collect();
    verdict.expect(missed.is_empty(), || {
        let had: Vec<_> = missed.iter().map(|(key, _)| read.copy.get(*key)).collect();
        format!("the reader missed {missed:#?}, it has {had:#?}")
    });
    let stray = read.copy.keys().filter(|key| !there.contains_key(*key)).count();
    verdict.expect(stray == 0, || format!("the reader has {stray} rows that are not there any more"));
    verdict.wrong.extend(read.wrong.into_iter().chain(read.went_back));
    verdict.figures.push(format!(
        "a reader polled {} times and read {} rows; at most {:?} from one look to the next",
        read.polls, read.rows, read.longest
    ));
}
