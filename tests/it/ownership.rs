//! Invariant 14: whatever the application's view does over time, no row of one Tink user is ever visible under
//! another `user_id`. Random histories of the view, of runs that overlap it, of persons who accept and forget, on
//! the real store; a model of a few lines knows whose every row is. `TINK_SYNC_OWNER_CASES=5000` makes it longer.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use tink_sync::config;
use tink_sync::domain::account::Account;
use tink_sync::domain::connection::{SourceRow, TinkUser};
use tink_sync::domain::consent::Consent;
use tink_sync::domain::outcome::{Counts, Outcome, Reason};
use tink_sync::domain::owner::accept::Acceptance;
use tink_sync::domain::view::Viewed;
use tink_sync::store::Store;
use tink_sync::store::{AuditRow, Writer};
use tink_sync::store::{
    ChangeSet, Claim, Identity, NewRun, Overview, PlanRules, Record, RowCommit, Run, RunEnd, Selection,
    StoreError,
};

use crate::invariants::{commit, row};
use crate::stored::Place;

const CONNECTIONS: u8 = 5;
const USERS: u8 = 3;
const TINK_USERS: u8 = 4;

/// How a row of the view names a Tink user.
#[derive(Clone, Copy, Debug)]
enum Named {
    External,
    Tink,
    Both,
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// The view gives this connection to this user and Tink user.
    Row { connection: u8, user: u8, tink: u8, named: Named, enabled: bool },
    /// The view has no row of it any more.
    Gone(u8),
    /// The view is empty for one pass.
    Empty,
    /// A pass; the connections of the mask are still at work when it is left to itself.
    Pass { left: u8 },
    /// What was left at work goes on.
    Finish,
    /// A person accepts another Tink user.
    AcceptUser(u8),
    /// A person accepts that users were renumbered: all, or one.
    Renumbered(Option<u8>),
    /// A person forgets a connection.
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let named = prop_oneof![3 => Just(Named::External), 2 => Just(Named::Tink), 1 => Just(Named::Both)];
    let row = (0..CONNECTIONS, 0..USERS, 0..TINK_USERS, named, prop::bool::weighted(0.8));
    prop_oneof![
        8 => row.prop_map(|(connection, user, tink, named, enabled)| Step::Row { connection, user, tink, named, enabled }),
        2 => (0..CONNECTIONS).prop_map(Step::Gone),
        1 => Just(Step::Empty),
        8 => prop_oneof![3 => Just(0), 1 => any::<u8>()].prop_map(|left| Step::Pass { left }),
        2 => Just(Step::Finish),
        1 => (0..CONNECTIONS).prop_map(Step::AcceptUser),
        1 => prop::option::of(0..CONNECTIONS).prop_map(Step::Renumbered),
        1 => (0..CONNECTIONS).prop_map(Step::Forget),
    ]
}

/// The world: a store, a view, and what is at work.
struct World {
    _dir: tempfile::TempDir,
    place: Place,
    store: Store,
    view: BTreeMap<u8, SourceRow>,
    at_work: Vec<(Run, Claim)>,
    passes: u32,
    /// Under whom the rows of each Tink user are visible.
    owners: BTreeMap<u8, String>,
    /// Ids of consents and accounts tell whose they are, as Tink's do; else the names of the view are all there is,
    /// and each user has one.
    telling: bool,
}

impl World {
    fn new(telling: bool) -> Self {
        let (dir, place) = Place::of_its_own();
        let store = place.open(Timestamp::UNIX_EPOCH);
        let (view, owners) = (BTreeMap::new(), BTreeMap::new());
        Self { _dir: dir, place, store, view, at_work: Vec::new(), passes: 0, owners, telling }
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(6 * i64::from(self.passes))
    }

    fn viewed(&self) -> Viewed {
        Viewed { rows: self.view.values().cloned().collect(), at: self.now(), ..Viewed::default() }
    }

    fn tables(&self) -> Writer {
        self.place.writer(self.now())
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Row { connection, user, tink, named, enabled } => {
                let (external, id) =
                    (TinkUser::External(format!("e{tink}")), TinkUser::Tink(format!("t{tink}")));
                let (tink_user, also) = match named {
                    _ if !self.telling => (external, None),
                    Named::External => (external, None),
                    Named::Tink => (id, None),
                    Named::Both => (external, Some(Box::new(id))),
                };
                let row = SourceRow::active(&format!("c{connection}"), &format!("u{user}"), Some(tink_user));
                self.view.insert(*connection, SourceRow { also, enabled: *enabled, ..row });
            }
            Step::Gone(connection) => drop(self.view.remove(connection)),
            Step::Empty => {
                let kept = std::mem::take(&mut self.view);
                self.pass(0).await;
                self.view = kept;
            }
            Step::Pass { left } => self.pass(*left).await,
            Step::Finish => {
                let at_work = std::mem::take(&mut self.at_work);
                let mut runs: BTreeMap<i64, Run> = BTreeMap::new();
                for (run, claim) in at_work {
                    self.work(&run, claim).await;
                    runs.insert(run.key, run);
                }
                for run in runs.values() {
                    self.store.finish_run(run, end(self.now())).await.unwrap();
                }
            }
            Step::AcceptUser(connection) => {
                self.accept(Acceptance::TinkUser(&format!("c{connection}")));
            }
            Step::Renumbered(connection) => {
                let ids: Vec<String> = connection.iter().map(|connection| format!("c{connection}")).collect();
                if self.accept(Acceptance::User(&ids)) {
                    // A person said whose the rows are.
                    self.owners = self.visible().into_iter().map(|(tink, user, _)| (tink, user)).collect();
                }
            }
            Step::Forget(connection) => {
                self.tables().forget(&format!("c{connection}"), &act()).unwrap();
            }
        }
    }

    fn accept(&self, what: Acceptance<'_>) -> bool {
        self.tables().accept_users(&self.viewed().rows, what, &act()).unwrap().is_ok()
    }

    async fn pass(&mut self, left: u8) {
        self.passes += 1;
        let now = self.now();
        let new = NewRun {
            run_id: format!("run-{}", self.passes).into(),
            on_demand: false,
            trigger: "manual",
            host: String::new(),
            version: "0",
            process_started: now,
            started_at: now,
        };
        let run = self.store.begin_run(new).await.unwrap();
        self.store.mirror(&run, self.viewed()).await.unwrap();
        let selection = Selection::default();
        let rules = PlanRules { now, selection, force: true, min_interval: Duration::ZERO, quota: 1000 };
        self.store.plan(&run, rules.clone()).await.unwrap();
        let until = now + SignedDuration::from_hours(1000);
        for claim in self.store.claim(&run, rules, 100, until).await.unwrap().claims {
            let number = claim.lease.connection_id.as_str()[1..].parse::<u32>().unwrap();
            if left >> number & 1 == 1 {
                self.at_work.push((run.clone(), claim));
            } else {
                self.work(&run, claim).await;
            }
        }
        if !self.at_work.iter().any(|(other, _)| other.key == run.key) {
            self.store.finish_run(&run, end(now)).await.unwrap();
        }
    }

    /// What a run does with a connection: it asks Tink for the user whom the claim names.
    async fn work(&self, run: &Run, claim: Claim) {
        let ended = match &claim.problem {
            Some(_) => Err(Outcome::Failed),
            None => self.sync(run, &claim).await,
        };
        let outcome = ended.map_or_else(|outcome| outcome, |()| Outcome::Synced);
        let now = self.now();
        let record = Record {
            outcome,
            reason: (outcome == Outcome::Failed).then_some(Reason::SourceRow),
            error: None,
            request_id: None,
            counts: Counts::default(),
            began: now,
            ended: now,
            took: std::time::Duration::ZERO,
            not_before: None,
            next_due: now,
            again: false,
            judged: Vec::new(),
            hung: Vec::new(),
            stale: None,
            without_data: false,
        };
        let mut recorded = self.store.record(&claim.lease, record).await.unwrap();
        recorded.durable.confirmed().await.unwrap();
    }

    async fn sync(&self, run: &Run, claim: &Claim) -> Result<(), Outcome> {
        let user = claim.moved.as_ref().or(claim.tink_user.as_ref()).unwrap();
        let (TinkUser::External(name) | TinkUser::Tink(name)) = user;
        let tink: u8 = name[1..].parse().unwrap();
        let (consent, account) = self.bank(tink);
        if claim.moved.is_some() {
            let shown = vec![consent.credentials_id.clone()];
            match self.store.adopt(&claim.lease, user.clone(), shown, Vec::new()).await {
                Ok(true) => {}
                Ok(false) => return Err(Outcome::Failed),
                Err(error) => return Err(lost(error)),
            }
        }
        let stored = self.store.known(&claim.lease, self.now()).await.unwrap().accounts;
        let known = stored.iter().find(|stored| stored.account.id == account.id);
        let identity = known.map_or(Identity::New, |known| Identity::Known(known.key));
        let overview =
            Overview { consents: vec![consent], accounts: vec![(account, identity)], ..Overview::default() };
        let saved = match self.store.save_overview(&claim.lease, overview, self.now()).await {
            // The same user's former connection: the next attempt finds its accounts.
            Err(StoreError::TookOver) => return Err(Outcome::Partial),
            saved => saved.map_err(lost)?,
        };
        // A row that says whose it is.
        let insert = vec![row(&format!("k{tink}-{}-{}", run.key, claim.lease.token))];
        let changes = ChangeSet { insert, ..ChangeSet::default() };
        let commit =
            RowCommit { changes, checkpoint: None, now: self.now(), ..commit(saved.accounts[0].key) };
        self.store.commit(&claim.lease, commit).await.map(drop).map_err(lost)
    }

    /// The one consent and account of a Tink user.
    fn bank(&self, tink: u8) -> (Consent, Account) {
        let width = if self.telling { 32 } else { 2 };
        let account_id = format!("a{tink:0>width$}");
        let consent = Consent {
            credentials_id: format!("c{tink:0>width$}").into(),
            provider: None,
            status: "UPDATED".to_owned(),
            status_updated: None,
            expires_at: None,
            extendable: None,
            error_type: None,
            error_reason: None,
            account_ids: vec![account_id.as_str().into()],
        };
        let account = Account {
            name: "Main".to_owned(),
            kind: "CHECKING".to_owned(),
            ..Account::unknown(account_id.into())
        };
        (consent, account)
    }

    /// The Tink user of every row, with the user and the connection under which it is visible.
    fn visible(&self) -> Vec<(u8, String, String)> {
        let db = self.place.look();
        let sql = "SELECT DISTINCT substr(transaction_id, 2, 1), user_id, connection_id FROM transactions_v1";
        let mut rows = db.prepare(sql).unwrap();
        let rows = rows
            .query_map([], |row| Ok((row.get::<_, String>(0)?.parse().unwrap(), row.get(1)?, row.get(2)?)));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Fails if a row of one Tink user is visible under another user than before, or under two.
    fn check(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let visible = self.visible();
        for (tink, user, connection) in &visible {
            let owner = self.owners.entry(*tink).or_insert_with(|| user.clone());
            prop_assert_eq!(
                &*owner,
                user,
                "rows of Tink user {} at {} after {:?}: {:?}",
                tink,
                connection,
                step,
                &visible
            );
        }
        self.owners.retain(|tink, _| visible.iter().any(|(known, ..)| known == tink));
        Ok(())
    }
}

fn end(at: Timestamp) -> RunEnd {
    RunEnd { totals: "{}".to_owned(), exit_code: 0, pass_failed: false, at }
}

/// Nothing of a commit is kept if it is not the run's to make any more, or another's data.
fn lost(error: StoreError) -> Outcome {
    match error {
        StoreError::LeaseLost(_) => Outcome::Interrupted,
        StoreError::OtherOwner(_) => Outcome::Failed,
        other => panic!("{other}"),
    }
}

fn act() -> AuditRow<'static> {
    AuditRow {
        at: Timestamp::UNIX_EPOCH,
        actor: None,
        ip: None,
        action: "connection.forgotten",
        connection_id: None,
        user_id: None,
        result: "ok",
        details: None,
    }
}

fn cases() -> u32 {
    let cases = config::process_env("TINK_SYNC_OWNER_CASES").and_then(|cases| cases.into_string().ok());
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn invariant_14_no_row_of_one_tink_user_is_ever_visible_under_another_user(
        steps in vec(step(), 1..40), telling in any::<bool>()
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut world = World::new(telling);
        for step in &steps {
            runtime.block_on(world.take(step));
            world.check(step)?;
        }
        let synced = world.visible().len();
        prop_assert!(synced <= usize::from(CONNECTIONS * TINK_USERS));
    }
}

/// Plays steps in which the names of the view are all that tells whose the rows are.
async fn played(steps: &[Step]) -> Vec<(u8, String, String)> {
    let mut world = World::new(false);
    for step in steps {
        world.take(step).await;
        world.check(step).unwrap();
    }
    world.visible()
}

#[tokio::test]
async fn what_a_run_is_still_fetching_is_its_connections_already() {
    let row =
        |connection, user, enabled| Step::Row { connection, user, tink: 0, named: Named::External, enabled };
    let at_work = Step::Pass { left: 0b1 };
    let pass = Step::Pass { left: 0 };
    // The link is disabled or gone, and its Tink user given to somebody else, while its first data are on their way.
    for left in [row(0, 0, false), Step::Gone(0)] {
        let steps = [
            row(0, 0, true),
            at_work.clone(),
            left,
            row(1, 1, true),
            pass.clone(),
            Step::Finish,
            pass.clone(),
        ];
        assert_eq!(played(&steps).await, [(0, "u0".to_owned(), "c0".to_owned())]);
    }
    // Its own id given to somebody else.
    let steps = [row(0, 0, true), at_work, row(0, 1, true), pass.clone(), Step::Finish, pass];
    assert_eq!(played(&steps).await, [(0, "u0".to_owned(), "c0".to_owned())]);
}
