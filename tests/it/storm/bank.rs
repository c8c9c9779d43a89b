//! The world of the storm: users with lively data and one with a long account, over evolving days; time
//! that passes for the store too; and what makes a pass go where it seldom goes. Holds no test.

use std::process::Output;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use tink_sandbox::{Action, Config, Endpoint, Expiry, Fault, Rates, Script, ScriptRow, Times};
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::domain::hook::HookKind;
use tink_sync::failpoint;

use crate::harness::{World, plain, was_killed};

/// Generated users; the one with the long account comes after them.
const USERS: u32 = 7;
/// The user whose data takes several commits.
pub const LONG: usize = USERS as usize;
/// Rows of the long account per day: more than one commit in every window.
const PER_DAY: i64 = 18;
/// The last day; it is today.
const LAST: u32 = 19;
/// Who loses the consent for a while, and so needs attention.
const LAPSED: &str = "user-5";

/// The installation and its day.
pub struct Bank {
    pub world: World,
    pub day: u32,
    day0: Date,
}

impl Bank {
    /// A bank before its first pass. With an even seed rows are corrected, with an odd one users re-consent.
    pub fn new(seed: u64) -> Self {
        let day0 = SystemClock.today() - i64::from(LAST).days();
        // A row without a date takes two walks to go: it is no matter of kills.
        // What is corrected on the day of a re-consent stays beside its old row, as it should: no bank has both.
        let corrected = if seed.is_multiple_of(2) { 60 } else { 0 };
        let rates = Rates { undated: 0, corrected, ..Rates::lively() };
        // The store waits less long for more to write, so that a pass has many commits to die at.
        let latency = Duration::from_millis(7);
        let config = Config { rates, seed, day0, history_days: 16, latency, ..plain(USERS) };
        let mut users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
        users.push("long".to_owned());
        let bank = Self { world: Self::installed(World::with_users(config, users)), day: 0, day0 };
        bank.plan();
        bank.world.sandbox.script("long", bank.long());
        bank
    }

    /// The defaults where the harness has none, and everything that writes switched on.
    fn installed(world: World) -> World {
        let metrics = format!("\"{}\"", world.path("tink_sync.prom").display());
        std::fs::create_dir(world.path("hooks")).unwrap();
        for kind in HookKind::ALL {
            std::fs::write(world.path("hooks").join(kind.as_str()), "").unwrap();
        }
        let world = world.unset("sync.min_interval");
        world.set("sync.keep_raw", "\"3d\"").set("report.metrics_file", &metrics)
    }

    fn plan(&self) {
        let sandbox = &self.world.sandbox;
        let reconsents = [(1, 2), (2, 4), (3, 7), (1, 10), (2, 12), (3, 15), (1, 17)];
        for (n, day) in reconsents.into_iter().filter(|_| sandbox.config().rates.corrected == 0) {
            sandbox.plan(&format!("user-{n}"), |plan| plan.reconsent_on(day).accounts);
        }
        for (n, day) in [(0, 3), (4, 9), (6, 14)] {
            sandbox.plan(&format!("user-{n}"), |plan| {
                plan.accounts = 2;
                plan.account_deleted_on(day, 1).accounts
            });
        }
        // Days to its end that ask for a warning.
        sandbox.plan("user-6", |plan| plan.consent(0).expiry = Expiry::Day(ends_soon()));
    }

    /// Whether there was no pass yet.
    pub fn is_new(&self) -> bool {
        !self.world.has_store()
    }

    /// Whether this world has no further day.
    pub fn is_over(&self) -> bool {
        self.day == LAST
    }

    /// The next day at the bank, and 24 hours later here.
    pub fn next_day(&mut self) {
        self.day += 1;
        self.world.later(24);
        let (sandbox, day) = (&self.world.sandbox, self.day);
        sandbox.set_day(day);
        sandbox.script("long", self.long());
        if day % 8 == 4 {
            sandbox.plan(LAPSED, |plan| {
                plan.frozen_at = Some(day - 1);
                for number in 0..plan.consents {
                    plan.consent(number).status = Some("SESSION_EXPIRED".to_owned());
                }
            });
        }
        if day % 8 == 6 {
            sandbox.plan(LAPSED, |plan| plan.renew().accounts);
        }
    }

    /// The exit code of a pass that finds nothing in its way.
    pub fn code(&self) -> i32 {
        if matches!(self.day % 8, 4 | 5) { 11 } else { 0 }
    }

    fn date(&self, offset: i64) -> Date {
        self.day0 + offset.days()
    }

    /// The long account: booked rows that are corrected a day later, pending rows that are booked under a
    /// new id a day later, pending rows that vanish, and all ids new on the tenth day.
    fn long(&self) -> Script {
        let (today, account) = (i64::from(self.day), if self.day < 10 { "long-a" } else { "long-b" });
        let date = |day: i64| self.date(day);
        let mut rows = Vec::new();
        for day in -15..=today {
            for n in 0..PER_DAY {
                let (id, cents) = (format!("{account}-{day}-{n}"), format!("-{}", 10_000 + 100 * n + day));
                let text = if day == today && n % 4 == 0 { format!("HELD {n}") } else { format!("SHOP {n}") };
                let row = if day == today && n % 6 == 5 {
                    ScriptRow::pending(&format!("{id}-p"), account, date(day), &cents, "2", &text)
                } else {
                    ScriptRow::booked(&id, account, date(day), &cents, "2", &text)
                };
                // What a re-consent pairs by, whatever happened to the text meanwhile.
                let provider_id = format!("{day}/{n}");
                rows.push(row.but(|row| row["identifiers"]["providerTransactionId"] = provider_id.into()));
            }
        }
        for n in 0..3 {
            let id = format!("{account}-{today}-gone-{n}");
            rows.push(ScriptRow::pending(
                &id,
                account,
                date(today),
                &format!("-{}", 77_000 + n),
                "2",
                "GONE",
            ));
        }
        let mut script = Script::simple(account, &format!("{}T06:00:00Z", date(today)), rows);
        script.accounts[0]["identifiers"]["iban"]["iban"] = "PL61 1090 1014".into();
        script
    }

    /// Runs a pass that dies at a point; says whether it did. It is led to that step, and afterwards
    /// nothing of what led it there is left.
    pub fn die_at(&self, step: &str, point: &str) -> bool {
        let fault = |fault: Fault| self.world.sandbox.fault(fault.times(Times::Forever));
        let mut args: &[&str] = &[];
        match step {
            "claim connections again" => {
                fault(Fault::new(Action::status(503)).user("user-0").at(Endpoint::Accounts));
            }
            // What one user meets alone postpones nobody else.
            "postpone connections" => fault(Fault::new(Action::too_many("3600")).at(Endpoint::Accounts)),
            // A consent that is renewed, or soon ends, is news.
            "remember consent warnings" => {
                let (soon, late) = (Expiry::Day(ends_soon()), Expiry::Day(ends_soon() + 60));
                self.world.sandbox.plan("user-6", |plan| {
                    let consent = plan.consent(0);
                    consent.expiry = if consent.expiry == soon { late } else { soon };
                });
            }
            "reset failures" => fault(Fault::new(Action::status(503))),
            "write the audit log" => args = &["--actor", "somebody"],
            _ => {}
        }
        let ended = self.world.pass(args).env(failpoint::VARIABLE, point).output().unwrap();
        self.world.sandbox.clear_faults();
        if step == "postpone connections" {
            self.world.later(2);
        }
        died(&ended)
    }
}

/// A day, as the bank counts them, that lies six days ahead of now.
fn ends_soon() -> i32 {
    i32::try_from(LAST).unwrap() + 6
}

/// Whether a process was killed; if it was not, it must have ended as a pass does.
pub fn died(ended: &Output) -> bool {
    let killed = was_killed(ended.status);
    let known = matches!(ended.status.code(), Some(0 | 10 | 11 | 69));
    assert!(killed || known, "{:?}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    killed
}
