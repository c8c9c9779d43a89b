//! One cell of the fault matrix: a run that meets the fault, and what it did and left.

use std::fmt;

use tink_sandbox::{Action, Config, Endpoint, Fault as Struck, RefreshOutcome, Times};

use super::faults::{Address, Fault, Limits};
use crate::gate::Gate;
use crate::harness::{Ran, World, plain, quoted};

/// Outcomes and reasons.
type Ended = Vec<(String, Option<String>)>;
/// Rows as texts.
type Rows = Vec<Vec<Option<String>>>;

/// What became of the stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As before.
    Old,
    /// As Tink has them.
    New,
    /// Whatever could be read is as Tink has it.
    Part,
}

/// What one connection shows after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub ended: Ended,
    pub exit: i32,
    /// Calls to the struck endpoint.
    pub calls: Option<u64>,
    pub stored: Stored,
    pub watermark_moved: bool,
    pub quarantined: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended: Vec<String> = self
            .ended
            .iter()
            .map(|(outcome, reason)| match reason {
                Some(reason) => format!("{outcome} {reason}"),
                None => outcome.clone(),
            })
            .collect();
        write!(f, "**{}** {}", self.exit, ended.join(", "))?;
        if let Some(calls) = self.calls {
            write!(f, " ×{calls}")?;
        }
        f.write_str(match self.stored {
            Stored::Old => " old",
            Stored::New => " new",
            Stored::Part => " part",
        })?;
        f.write_str(if self.watermark_moved { "+" } else { "" })?;
        f.write_str(if self.quarantined { " q" } else { "" })
    }
}

/// A world whose connections are struck one after the other. `c-0` is the neighbour of all of them.
pub struct Victims {
    world: World,
    call: Endpoint,
    next: usize,
}

impl Victims {
    /// All of them synced on day 0, and then it is day 3.
    pub fn new(call: Endpoint, cells: usize, addresses: usize) -> Self {
        let day0 = Config::default().day0.saturating_sub(jiff::ToSpan::days(16));
        let users = u32::try_from(2 + cells * Self::per_cell(call) + 2 * addresses).unwrap();
        let config = Config {
            day0,
            history_days: 8,
            rows_per_day: 1.0,
            pending_per_day: 3.0,
            max_accounts: 1,
            ..plain(users)
        };
        let world = World::new(config).set("retry.attempts", "2");
        world.run(&[]).expect(0);
        // Far enough for each of them to have new rows, and pending ones that went.
        world.sandbox.set_day(3);
        let world = match call {
            Endpoint::CredentialsRefresh => {
                world.set("tink.refresh", "\"stale:12h\"").set("sync.connection_timeout", "\"8s\"")
            }
            _ => world,
        };
        Self { world, call, next: 1 }
    }

    /// A client token is everybody's: its faults strike two.
    fn per_cell(call: Endpoint) -> usize {
        if call == Endpoint::ClientToken { 2 } else { 1 }
    }

    /// Lets the next connection meet a fault.
    pub fn meet(mut self, fault: &Fault, times: Times) -> (Self, Cell) {
        let n = self.next;
        self.next += Self::per_cell(self.call);
        self.world = match fault.limits {
            Limits::Usual => self.world.unset("tink.request_timeout").unset("tink.max_response"),
            Limits::Tight => {
                self.world.set("tink.request_timeout", "\"1s\"").set("tink.max_response", "\"1 MiB\"")
            }
        };
        let cell = self.strike(n, &fault.action, times);
        assert_sound(fault.name, &cell);
        (self, cell)
    }

    /// Lets the address of all calls fail for the next two connections, from the struck call on.
    pub fn misled(mut self, address: Address) -> (Self, Cell) {
        let n = self.next;
        self.next += 2;
        let here = self.world.sandbox.address();
        let turn = Some(self.call).filter(|call| *call != Endpoint::ClientToken);
        let gate = match address {
            Address::Nowhere => None,
            Address::Turns(fate) => Some(Gate::open(here, self.world.dir.path(), turn, fate)),
        };
        let url = gate.as_ref().map_or("https://name.invalid".to_owned(), Gate::url);
        self.world = self.world.set("tink.api_url", &quoted(&url));
        let before = (rows(&self.world, n), watermark(&self.world, n));
        let mut pass = self.world.pass(&["--connection", &format!("c-{n}"), &format!("c-{}", n + 1)]);
        if let Some(gate) = &gate {
            pass.env("SSL_CERT_FILE", &gate.authority);
        }
        let ran = Ran::of(pass.output().unwrap());
        self.world = self.world.set("tink.api_url", &quoted(&format!("http://{here}")));
        let cell = self.look(n, &ran, &before, together(&ran), None);
        assert_sound(&format!("{address:?}"), &cell);
        (self, cell)
    }

    /// Lets the bank of the next connection accept a refresh that never ends.
    pub fn wait_for_nothing(self) -> (Self, Cell) {
        let n = self.next;
        let user = format!("user-{n}");
        self.world.sandbox.plan(&user, |plan| plan.refresh = RefreshOutcome::NeverEnds);
        self.world.sandbox.reset_counters();
        let before = (rows(&self.world, n), watermark(&self.world, n));
        let ran = self.world.run(&["--connection", &format!("c-{n}"), "c-0"]);
        let ended = self.alone(&ran, n, self.world.sandbox.day());
        let calls = self.world.sandbox.requests_to(self.call);
        let cell = self.look(n, &ran, &before, ended, Some(calls));
        assert_sound("endless", &cell);
        // The bank comes back to it in the end.
        self.world.sandbox.plan(&user, |plan| plan.consent.clear());
        (Self { next: n + 1, ..self }, cell)
    }

    fn strike(&self, n: usize, action: &Action, times: Times) -> Cell {
        let sandbox = &self.world.sandbox;
        let user = (self.call != Endpoint::ClientToken).then(|| format!("user-{n}"));
        let fault = Struck { user: user.clone(), ..Struck::new(action.clone()).at(self.call).times(times) };
        sandbox.fault(fault);
        sandbox.reset_counters();
        // Of two that ask for a client token at once, chance decides who shares a passing failure.
        let both = [format!("c-{n}"), format!("c-{}", if user.is_some() { 0 } else { n + 1 })];
        let asked = if user.is_none() && times == Times::Once { &both[..1] } else { &both };
        let day = sandbox.day();
        let before = (rows(&self.world, n), watermark(&self.world, n));
        let args: Vec<&str> = ["--connection"].into_iter().chain(asked.iter().map(String::as_str)).collect();
        let ran = self.world.run(&args);
        assert!(times != Times::Once || sandbox.faults_left() == 0, "{action:?} was not met");
        sandbox.clear_faults();
        let ended = if user.is_some() { self.alone(&ran, n, day) } else { together(&ran) };
        let calls = user.map(|_| {
            let neighbours = sandbox.requests_of("user-0").get(&self.call).copied().unwrap_or(0);
            sandbox.requests_to(self.call) - neighbours
        });
        self.look(n, &ran, &before, ended, calls)
    }

    /// What a run left of a connection that had these rows and this watermark.
    fn look(&self, n: usize, ran: &Ran, before: &(Rows, Rows), ended: Ended, calls: Option<u64>) -> Cell {
        let now = rows(&self.world, n);
        let stored = match self.world.difference(n) {
            None => Stored::New,
            Some(_) if now == before.0 => Stored::Old,
            Some(_) => Stored::Part,
        };
        self.assert_only_what_tink_dropped_is_gone(n, &before.0, &now);
        let watermark_moved = watermark(&self.world, n) != before.1;
        Cell {
            ended,
            exit: ran.code,
            calls,
            stored,
            watermark_moved,
            quarantined: ran.total("quarantined") > 0,
        }
    }

    fn assert_only_what_tink_dropped_is_gone(&self, n: usize, before: &Rows, now: &Rows) {
        let truth = self.world.sandbox.truth(&format!("user-{n}")).transactions;
        let gone = before.iter().filter(|row| !now.iter().any(|other| row[..2] == other[..2]));
        for row in gone {
            assert!(truth.iter().all(|there| Some(&there.id) != row[1].as_ref()), "c-{n} lost {row:?}");
        }
    }

    /// How the struck connection ended; its neighbour must have noticed nothing.
    fn alone(&self, ran: &Ran, n: usize, day: u32) -> Ended {
        let neighbour = ran.ended("c-0");
        assert!(["synced", "unchanged"].contains(&neighbour.0.as_str()), "{}", ran.stdout);
        if self.world.sandbox.day() == day {
            self.world.assert_exact(0);
        }
        vec![ran.ended(&format!("c-{n}"))]
    }

    /// Fails unless a pass without faults makes everything Tink's.
    pub fn heal(self) {
        self.world.run(&[]).expect(0);
        // Who was told to wait has waited, and that is no failure.
        let sql = "SELECT group_concat(connection_id, ' ') FROM connections_v1 WHERE not_before IS NOT NULL";
        if let Some(waiting) = self.world.text(sql) {
            let args: Vec<&str> = ["--force", "--connection"].into_iter().chain(waiting.split(' ')).collect();
            self.world.run(&args).expect(0);
        }
        self.world.assert_all_exact();
        self.world.assert_at_rest();
    }
}

/// How all of a run ended, each way once.
fn together(ran: &Ran) -> Ended {
    let mut ended: Vec<_> = ran.connections().keys().map(|id| ran.ended(id)).collect();
    ended.sort();
    ended.dedup();
    ended
}

fn rows(world: &World, n: usize) -> Rows {
    let sql = "SELECT account_id, transaction_id, status, amount, booked_date, description_original
               FROM transactions_v1 WHERE connection_id = ?1 AND removed_at IS NULL ORDER BY 1, 2";
    world.texts(sql, &format!("c-{n}"))
}

fn watermark(world: &World, n: usize) -> Rows {
    let sql = "SELECT complete_through FROM accounts_v1 WHERE connection_id = ?1 ORDER BY account_id";
    world.texts(sql, &format!("c-{n}"))
}

/// What holds for every cell, whatever the fault.
fn assert_sound(name: &str, cell: &Cell) {
    let done = cell.ended.iter().all(|(outcome, _)| ["synced", "unchanged"].contains(&outcome.as_str()));
    assert!(done || !cell.watermark_moved, "{name}: a watermark moved without its rows: {cell}");
    assert_eq!(done, cell.exit == 0, "{name}: {cell}");
    assert!(done || cell.stored != Stored::New, "{name}: {cell}");
}
