//! A year of one installation: users whose banks go on day by day, four passes a day, and all that happens in a
//! year (renewals in time and too late, a bank that is away, a user who does not pay for a while, odd records, weeks
//! without the program, a restored backup). Every four weeks the store must be what the banks have, a reader's copy
//! what the views show, and nothing told twice.
//!
//! `TINK_SYNC_YEAR_DAYS` and `TINK_SYNC_YEAR_SEED` choose how long, and which one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use tink_sandbox::{Endpoint, Script};
use tink_sync::clock::Clock as _;
use tink_sync::domain::event::Event;

use super::bank::{Balance, Bank, Number, Seen};
use super::history::{Act, Drift, Weather, small_act};
use super::play::{left, live, looked_at, sums};
use super::reader::Copy;
use super::{number, runner};
use crate::lab::{Lab, Told};
use crate::stored::Place;

/// After this many days the rows of a bank are compared.
const MONTH: i64 = 28;
/// On the first days of a month rows change; then new ones come only, so that all that changed has been looked at.
const LIVELY: i64 = 17;
/// A consent is good for this many days.
const VALID: i64 = 90;
/// Warnings of one consent: 14, 7, 3 and 1 days before its end, and at it.
const WARNINGS: usize = 5;
/// Days for which the absent user does not pay.
const ABSENT: std::ops::Range<i64> = 30..47;
/// Days without a pass.
const STOPPED: std::ops::Range<i64> = 100..121;
/// The store is lost in the morning of the second day; there is a copy of the evening of the first.
const RESTORED: (i64, i64) = (59, 62);

/// What is special about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Renews the same consent before its end.
    Punctual,
    /// Renews days after its end.
    Late,
    /// Connects anew; the bank writes its texts in another way then.
    Anew,
    /// The bank is away for ten days.
    Away,
    /// Does not pay for a month.
    Absent,
    /// Each refresh brings an unreadable record and a consent that ends a second later.
    Odd,
}

const KINDS: [Kind; 6] = [Kind::Punctual, Kind::Late, Kind::Anew, Kind::Away, Kind::Absent, Kind::Odd];

struct User {
    kind: Kind,
    name: String,
    bank: Bank,
    /// What Tink serves of it.
    script: Script,
    /// The day of the last renewal.
    renewed: i64,
    /// Warnings since then.
    warned: usize,
}

impl User {
    fn new(kind: Kind, lab: &mut Lab) -> Self {
        let name = format!("{kind:?}").to_lowercase();
        lab.add(&name);
        let accounts = [(Number::Iban, Balance::Moves), (Number::Iban, Balance::Debt)];
        let mut bank = Bank::new(lab.clock.today(), &accounts[..if kind == Kind::Odd { 1 } else { 2 }]);
        for n in 0..40 {
            bank.add(0, true, Some(-n * 2), -1000 - n, "GROCERY");
        }
        Self { kind, name, bank, script: Script::default(), renewed: 0, warned: 0 }
    }

    fn is_away(&self, day: i64) -> bool {
        let since = day - self.renewed;
        // What the bank fetches no more after the end of its consent, and what it does not for ten days.
        since >= VALID || self.kind == Kind::Away && (40..50).contains(&day)
    }

    /// What happens at the bank on one day.
    fn live_on(&mut self, day: i64, runner: &mut TestRunner) {
        let book = |account, cents| Act::Book { account, on: Some(0), cents, text: 4 };
        for act in [book(0, 7700 + day), book(1, -300 - day)] {
            self.bank.act(&act, day);
        }
        // What changes unseen before a renewal may stay for good: nothing pairs with it.
        let renews = day - self.renewed >= VALID - 14;
        let lives = self.kind != Kind::Odd && day % MONTH < LIVELY && !renews;
        if lives {
            for _ in 0..2 {
                let act = small_act().new_tree(runner).unwrap().current();
                self.bank.act(&act, day);
            }
        }
    }

    /// Renews the consent if this is the day.
    fn renew_on(&mut self, day: i64) {
        let after = if self.kind == Kind::Late { VALID + 4 } else { VALID - 6 };
        if day - self.renewed < after
            || STOPPED.contains(&day)
            || day % MONTH < LIVELY + 4 && self.kind != Kind::Late
        {
            return;
        }
        let anew = self.kind == Kind::Anew;
        let drift = if anew { Drift::Case } else { Drift::None };
        let renewal = Act::Renew { same_rows: false, drift, other_kind: false, new_consent: anew };
        self.bank.act(&renewal, day);
        (self.renewed, self.warned) = (day, 0);
    }

    /// What Tink serves from now on.
    fn refresh(&mut self, lab: &Lab, day: i64) {
        let now = lab.clock.now();
        if self.is_away(day) {
            if self.kind == Kind::Away && day - self.renewed < VALID {
                for consent in &mut self.script.consents {
                    consent["status"] = "TEMPORARY_ERROR".into();
                }
            }
        } else {
            let left = SignedDuration::from_hours(24 * (VALID - (day - self.renewed)));
            let drift =
                if self.kind == Kind::Odd { SignedDuration::from_secs(day) } else { SignedDuration::ZERO };
            self.bank.expires = Some(now + left + drift);
            self.script = self.bank.show(now, &Weather::Fine);
            if self.kind == Kind::Odd {
                self.script.transactions.push(unreadable(&self.script, now));
            }
        }
        lab.script(&self.name, self.script.clone());
    }

    /// What of this user is wrong after a quiet time.
    fn wrong(&self, db: &Connection, copy: &Copy, day: i64) -> Option<String> {
        let epoch = Lab::date(0);
        let left = left(&self.bank, day, &live(db, epoch, &self.name));
        let few = |rows: &[Seen]| format!("{} rows: {:?}", rows.len(), &rows[..rows.len().min(3)]);
        let rows = (!left.is_empty())
            .then(|| format!("lacks {}; has too much {}", few(&left.lost), few(&left.extra)));
        rows.or_else(|| copy.difference(db, &self.name)).or_else(|| sums(db, &self.name))
    }
}

/// A record without an id that differs at each refresh.
fn unreadable(script: &Script, now: Timestamp) -> tink_sandbox::ScriptRow {
    let row = script.transactions.first().expect("every bank has rows").clone();
    row.but(|element| {
        element["id"] = serde_json::Value::Null;
        element["reference"] = now.to_string().into();
    })
}

/// An installation in its year.
struct Year {
    lab: Lab,
    users: Vec<User>,
    copy: Copy,
    runner: TestRunner,
    /// How often each thing was told in a month that needs a person.
    told: BTreeMap<String, usize>,
    /// Requests for transactions in passes of a month that had nothing new to read.
    idle_walks: u64,
}

impl Year {
    fn new(seed: u64) -> Self {
        let mut lab = Lab::new();
        let users = KINDS.map(|kind| User::new(kind, &mut lab)).into();
        Self { lab, users, copy: Copy::default(), runner: runner(seed), told: BTreeMap::new(), idle_walks: 0 }
    }

    fn day(&mut self, day: i64) {
        for user in &mut self.users {
            user.renew_on(day);
            if day != user.renewed {
                user.live_on(day, &mut self.runner);
            }
            user.refresh(&self.lab, day);
        }
        if let Some(pays) = [(ABSENT.start, false), (ABSENT.end, true)].iter().find(|(at, _)| *at == day) {
            self.lab.entitle("absent", pays.1);
        }
        if STOPPED.contains(&day) {
            self.lab.wait(24);
            return;
        }
        for pass in 0..4 {
            let walks = self.lab.sandbox.requests_to(Endpoint::Transactions);
            let told = self.lab.ordinary_pass();
            self.heard(&told, day);
            self.copy.read(&self.lab);
            if pass > 0 {
                // Nothing is new but what a full walk after a renewal or a rewritten history has to look at.
                self.idle_walks += self.lab.sandbox.requests_to(Endpoint::Transactions) - walks;
                let news =
                    told.events.iter().filter(|event| matches!(event, Event::Quarantined { .. })).count();
                assert_eq!(news, 0, "day {day}, pass {pass}: nothing is told twice");
            }
            self.lab.wait(6);
        }
    }

    fn heard(&mut self, told: &Told, day: i64) {
        for event in &told.events {
            match event {
                Event::ConsentEnds { connection_id, days_left, .. } => {
                    let name = connection_id.as_str();
                    let user = self.users.iter_mut().find(|user| user.name == name).unwrap();
                    user.warned += 1;
                    assert!(
                        user.warned <= WARNINGS,
                        "day {day}: {name} is warned again, {days_left} days left"
                    );
                }
                Event::NeedsUser { connection_id, .. } | Event::DataStale { connection_id, .. } => {
                    *self
                        .told
                        .entry(format!("{connection_id} {:?}", std::mem::discriminant(event)))
                        .or_default() += 1;
                }
                Event::Waiting { .. } | Event::Refused(_) | Event::Unreachable { .. } | Event::Fell(_) => {
                    panic!("day {day}: {event:?}")
                }
                _ => {}
            }
        }
    }

    fn month_ends(&mut self, day: i64) {
        let db = looked_at(&self.lab);
        for user in self.users.iter().filter(|user| !user.is_away(day)) {
            let wrong = user.wrong(&db, &self.copy, day);
            assert!(wrong.is_none(), "day {day}, {}: {}", user.name, wrong.unwrap_or_default());
        }
        for (what, times) in std::mem::take(&mut self.told) {
            assert!(times <= 1, "day {day}: told {times} times: {what}");
        }
        let walks = std::mem::take(&mut self.idle_walks);
        // Five accounts have no rows at first; each is read in full once when they come.
        let most = if day < MONTH { 25 } else { 20 };
        assert!(walks <= most, "day {day}: {walks} requests for transactions in idle passes");
        let kept = self.lab.number("SELECT count(*) FROM quarantine_v1");
        assert!(kept <= 100, "day {day}: {kept} records in quarantine");
        let open = self.lab.number("SELECT count(*) FROM accounts_v1 WHERE closed_at IS NULL");
        assert_eq!(open, 11, "day {day}: accounts are open");
    }

    fn restore(&mut self, backup: Place) {
        self.lab.restore(backup);
        // The advice for readers: begin anew.
        self.copy = Copy::default();
    }
}

#[test]
fn a_year_leaves_the_store_as_the_banks_are() {
    let seed = number("TINK_SYNC_YEAR_SEED", 1);
    let days = i64::try_from(number("TINK_SYNC_YEAR_DAYS", 5 * 28)).unwrap();
    println!("TINK_SYNC_YEAR_SEED={seed} TINK_SYNC_YEAR_DAYS={days}");
    let mut year = Year::new(seed);
    let mut backup: Option<Place> = None;
    for day in 0..days {
        if day == RESTORED.1 {
            year.restore(backup.take().expect("a backup was made"));
        }
        year.day(day);
        if day == RESTORED.0 {
            backup = Some(year.lab.backup());
        }
        if day % MONTH == MONTH - 1 && !STOPPED.contains(&day) {
            year.month_ends(day);
        }
    }
}
