//! The store's part of a pass: the calls of a run, in order, with answers that Tink might have given.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::super::engine::{Context, Db, DbSession, Fail};
use super::super::{
    accounts, app, balances, consents, events, mirror, owners, plan, prune, rows, runs, tokens,
};
use crate::domain::account::Account;
use crate::domain::amount::{Amount, Money};
use crate::domain::balance::Anchor;
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::consent::Consent;
use crate::domain::hook::HookKind;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::domain::texts::TextFields;
use crate::domain::total::Total;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::unreadable::Unreadable;
use crate::domain::view::Viewed;
use crate::domain::window::{Window, day_of, shift};
use crate::store::liveness;
use crate::store::types::{
    BalanceCheck, ChangeSet, CheckedBalance, Checkpoint, Claim, Claims, FetchedRow, Identity, LiveQuery,
    NewRun, Overview, PlanRules, Record, RowCommit, RowQuery, Run, RunEnd, Selection, StoredAccount,
    Unfinished,
};

pub(super) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// The day this many days after the first.
pub(super) fn day(later: i64) -> Date {
    shift(day_of(now()), later)
}

/// The parameters of a pass.
#[derive(Clone, Copy)]
pub(super) struct Script {
    pub name: &'static str,
    pub connections: u32,
    /// Every third connection fails in the first round.
    pub failing: bool,
    pub days_later: i64,
}

impl Script {
    fn at(&self) -> Timestamp {
        now() + SignedDuration::from_hours(24 * self.days_later)
    }

    fn view(&self) -> Viewed {
        let row = |n: u32| {
            let user = TinkUser::External(format!("x-{n}"));
            SourceRow::active(&format!("c-{n:05}"), &format!("u-{n:05}"), Some(user))
        };
        Viewed { rows: (0..self.connections).map(row).collect(), at: self.at(), ..Viewed::default() }
    }

    /// Three rows a day for the window of an ordinary pass.
    fn fetched(&self, account: &str) -> Vec<Transaction> {
        let row = |n: i64| {
            let date = day(self.days_later - n / 3);
            let status = if n == 0 { Status::Pending } else { Status::Booked };
            transaction(&format!("{account}-{date}-{}", n % 3), date, status)
        };
        (0..30).map(row).collect()
    }
}

fn transaction(id: &str, date: Date, status: Status) -> Transaction {
    Transaction {
        id: id.into(),
        status,
        money: Money { amount: Amount::from_decimal("-3.5").unwrap(), currency: "EUR".to_owned() },
        booked_date: Some(date),
        value_date: None,
        transaction_date: None,
        booked_at: None,
        texts: TextFields { description: Some("a purchase"), ..TextFields::default() }.into(),
    }
}

fn begin(db: &DbSession, name: &str, at: Timestamp) -> Run {
    let new = NewRun {
        run_id: name.into(),
        trigger: "timer",
        on_demand: false,
        host: String::new(),
        version: "1",
        process_started: at,
        started_at: at,
    };
    runs::begin(db.db(), &db.context, &new).unwrap()
}

fn finish(db: &DbSession, run: &Run, at: Timestamp) {
    let end = RunEnd { totals: "{}".to_owned(), exit_code: 0, pass_failed: false, at };
    runs::finish(db.db(), &db.context, run, &end).unwrap();
}

fn rules(now: Timestamp, selection: Selection) -> PlanRules {
    PlanRules { now, selection, force: false, min_interval: std::time::Duration::ZERO, quota: 100 }
}

/// Runs one connection, selected by its id and its user. Leaves out the view, which is always read as a
/// whole.
pub(super) fn one(db: &DbSession, name: &'static str) {
    let script = Script { name, connections: 1, failing: false, days_later: 1 };
    let (conn, at) = (db.db(), script.at());
    let run = begin(db, name, at);
    let asked = Selection { connections: vec!["c-00007".into()], users: vec!["u-00007".into()] };
    assert!(plan::unknown(conn, &asked).unwrap().is_empty());
    let rules = rules(at, asked);
    assert_eq!(plan::plan(conn, &db.context, &run, &rules).unwrap().due, 1);
    plan::skipped(conn, &run, &rules, None, 500).unwrap();
    let until = at + SignedDuration::from_mins(4);
    let work = Work { conn, context: &db.context, script: &script, run: &run };
    work.all(Round::First, || claim(&db.context, || plan::claim(conn, &db.context, &run, &rules, 13, until)));
    finish(db, &run, at);
}

/// Runs a whole pass.
pub(super) fn pass(db: &DbSession, script: &Script) {
    let (conn, context, at) = (db.db(), &db.context, script.at());
    context.listened.set(HookKind::ALL.to_vec());
    let run = begin(db, script.name, at);
    mirror::all(conn, context, &run, script.view()).unwrap();
    conn.note_lapses().unwrap();
    let rules = rules(at, Selection::default());
    let plan = plan::plan(conn, context, &run, &rules).unwrap();
    assert_eq!(plan.due, u64::from(script.connections));
    plan::skipped(conn, &run, &rules, None, 500).unwrap();
    let until = at + SignedDuration::from_mins(4);
    let work = Work { conn, context, script, run: &run };
    work.all(Round::First, || claim(context, || plan::claim(conn, context, &run, &rules, 13, until)));
    work.all(Round::Second, || claim(context, || plan::claim_again(conn, context, &run, &rules, 13, until)));
    runs::troubled_banks(conn, run.key, 3).unwrap();
    runs::close_retries(conn, context, run.key).unwrap();
    context.plan.get().left_over();
    let totals = runs::totals(conn, run.key).unwrap();
    let synced = [Outcome::Synced, Outcome::Unchanged].map(|outcome| totals.outcomes.get(&outcome).copied());
    assert_eq!(synced.into_iter().flatten().sum::<u64>(), u64::from(script.connections));
    finish(db, &run, at);
    events::outgoing(conn, 10, &[]).unwrap();
    let long_ago = at - SignedDuration::from_hours(24 * 10_000);
    let retention =
        prune::Retention { history: long_ago, on_demand: long_ago, raw: long_ago, removed: long_ago };
    if !context.rehearsal {
        prune::step(conn, &retention).unwrap();
    }
}

/// Applies the changes of the plan after a claim, as the worker does.
fn claim(context: &Context, claim: impl FnOnce() -> Result<Claims, Fail>) -> Claims {
    let claims = claim().unwrap();
    context.succeeded();
    claims
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

struct Work<'a> {
    conn: Db<'a>,
    context: &'a Context,
    script: &'a Script,
    run: &'a Run,
}

impl Work<'_> {
    fn all(&self, round: Round, claim: impl Fn() -> Claims) {
        loop {
            let claims = claim();
            for claim in &claims.claims {
                if round == Round::First && self.script.failing && claim.lease.connection % 3 == 0 {
                    self.fail(claim);
                } else {
                    self.sync(claim);
                }
            }
            if claims.exhausted {
                return;
            }
        }
    }

    fn fail(&self, claim: &Claim) {
        let record =
            Record { outcome: Outcome::Failed, reason: Some(Reason::Network), again: true, ..self.record() };
        runs::record(self.conn, self.context, &claim.lease, &record, true).unwrap();
        // As in a pass, where it could be an outage of Tink or a limit for all users.
        runs::probe_user(self.conn, claim.tink_user.as_ref()).unwrap();
    }

    fn sync(&self, claim: &Claim) {
        let (conn, at) = (self.conn, self.script.at());
        let connection = claim.lease.connection;
        tokens::load(conn, connection).unwrap();
        let known = accounts::load(conn, connection, at).unwrap();
        consents::load(conn, connection).unwrap();
        let overview = self.overview(connection, known.first());
        liveness::held(conn, &claim.lease).unwrap();
        assert!(owners::anothers(conn, &claim.lease, &overview).unwrap().is_none());
        app::remember(conn, self.context, at).unwrap();
        consents::save(conn, &claim.lease, &overview).unwrap();
        let saved = accounts::save(conn, self.run.key, connection, &overview, at).unwrap();
        let changed = self.walk(&saved.accounts[0]);
        let outcome = if changed { Outcome::Synced } else { Outcome::Unchanged };
        let record = Record { outcome, judged: self.judged(&saved.accounts[0]), ..self.record() };
        runs::record(conn, self.context, &claim.lease, &record, true).unwrap().unwrap();
    }

    fn overview(&self, connection: i64, known: Option<&StoredAccount>) -> Overview {
        let id = format!("{connection:032x}");
        let consent = Consent {
            credentials_id: format!("c{connection:031x}").into(),
            provider: Some(format!("bank-{}", connection % 7)),
            account_ids: vec![id.as_str().into()],
            status: "UPDATED".to_owned(),
            status_updated: Some(self.script.at()),
            expires_at: None,
            extendable: None,
            error_type: None,
            error_reason: None,
        };
        let account = Account {
            name: "Account".to_owned(),
            kind: "CHECKING".to_owned(),
            booked: Some(Money { amount: Amount::from_decimal("10").unwrap(), currency: "EUR".to_owned() }),
            last_refreshed: Some(self.script.at()),
            ..Account::unknown(id.as_str().into())
        };
        let identity = known.map_or(Identity::New, |known| Identity::Known(known.key));
        Overview { consents: vec![consent], accounts: vec![(account, identity)], ..Overview::default() }
    }

    /// A judgement that begins a reconciliation.
    fn judged(&self, account: &StoredAccount) -> Vec<CheckedBalance> {
        let balance_checks = balances::balance_checks(self.conn, &[account.key]).unwrap();
        let begun = |check: BalanceCheck| {
            let mut after = check.reconciliation.clone();
            after.anchor = Some(Anchor {
                currency: "EUR".to_owned(),
                opening: Total::default(),
                balance: None,
                earlier: Total::default(),
                unclear: String::new(),
                quarantined: 0,
                since: self.script.at(),
            });
            CheckedBalance { check, after }
        };
        balance_checks.into_iter().map(begun).collect()
    }

    /// Reads and writes what a walk does; returns whether it inserted rows.
    fn walk(&self, account: &StoredAccount) -> bool {
        let (conn, today) = (self.conn, day(self.script.days_later));
        let load = |query| rows::load(conn, account.key, &query).unwrap();
        let fetched = self.script.fetched(account.account.id.as_str());
        let stored = load(RowQuery::Ids(fetched.iter().map(|row| row.id.clone()).collect()));
        let window = Window { from: Some(shift(today, -14)), to: shift(today, 400) };
        let live = rows::live(conn, &LiveQuery { account: account.key, window }).unwrap();
        load(RowQuery::Keys(live.iter().take(3).map(|row| row.key).collect()));
        load(RowQuery::SinceCheckpoint);
        load(RowQuery::Newest(100));
        load(RowQuery::OlderGeneration(Some(shift(today, -14))));
        balances::balance_checks(conn, &[account.key]).unwrap();
        let is_new = |row: &Transaction| stored.iter().all(|stored| stored.transaction.id != row.id);
        let readable = fetched.iter().map(|row| row.id.clone()).collect();
        let mut insert = fetched;
        insert.retain(is_new);
        let changes = ChangeSet {
            update: stored
                .iter()
                .take(1)
                .map(|row| (row.key, fetched_row(row.transaction.clone())))
                .collect(),
            touch: stored.iter().skip(1).map(|row| row.key).take(3).collect(),
            insert: insert.into_iter().map(fetched_row).collect(),
            ..ChangeSet::default()
        };
        let has_news = !changes.insert.is_empty();
        let checkpoint = Checkpoint {
            watermark: Some(today),
            refresh: account.account.last_refreshed,
            at: self.script.at(),
            deep: Some(today),
            suspect: None,
            absent_from: None,
            judged: true,
            repaired: true,
            full_due: false,
            reissued: false,
            unmatched_from: account.unmatched_from,
            unmatched_before: account.unmatched_from,
            compared: true,
        };
        let nothing = nothing(account.key, account.generation);
        let commit =
            RowCommit { changes, readable, checkpoint: Some(checkpoint), now: self.script.at(), ..nothing };
        rows::commit(conn, self.run.key, &commit).unwrap();
        if self.script.days_later > 0 {
            // As for an account that is closed.
            assert!(rows::close(conn, self.run.key, account.key, self.script.at()).unwrap() > 0);
        }
        has_news
    }

    fn record(&self) -> Record {
        let at = self.script.at();
        Record {
            outcome: Outcome::Synced,
            reason: None,
            error: None,
            request_id: None,
            took: std::time::Duration::ZERO,
            counts: Counts::default(),
            began: at,
            ended: at,
            not_before: None,
            next_due: at,
            again: false,
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }
}

/// Writes this many unreadable records, all alike, to the first account; returns how many are new.
pub(super) fn quarantine(db: &DbSession, run: i64, records: u32) -> u64 {
    let record = |n: u32| Unreadable {
        id: Some(format!("{run}-{n}").as_str().into()),
        booked_date: Some(day(0)),
        reason: "amount is missing".to_owned(),
        raw: format!("{{\"id\":\"{run}-{n}\"}}"),
        likeness: "alike".to_owned(),
    };
    let commit = RowCommit { unreadable: (0..records).map(record).collect(), ..nothing(1, 1) };
    rows::commit(db.db(), run, &commit).unwrap()
}

fn nothing(account: i64, generation: i64) -> RowCommit {
    RowCommit {
        account,
        generation,
        changes: ChangeSet::default(),
        unreadable: Vec::new(),
        readable: Vec::new(),
        covered: None,
        unfinished: Unfinished::default(),
        checkpoint: None,
        now: now(),
    }
}

fn fetched_row(transaction: Transaction) -> FetchedRow {
    FetchedRow { transaction, raw: None }
}
