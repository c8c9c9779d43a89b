//! What the tests about rows share: one user whose data a test writes, with dates told in days from
//! today and refreshes told by number. Holds no test.

use std::sync::LazyLock;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::Value;
use tink_sandbox::{Config, Script, ScriptRow};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{Ran, World, plain};

/// The one user of these worlds, who is connection `c-0`.
pub const SAM: &str = "sam";
/// Sam's account, unless a test gives him others.
pub const A1: &str = "a1";

static TODAY: LazyLock<Date> = LazyLock::new(|| SystemClock.today());

/// The date that lies this many days from today.
pub fn day(offset: i64) -> Date {
    *TODAY + offset.days()
}

/// The time of the nth refresh of this morning.
pub fn refresh(n: u32) -> String {
    format!("{}T00:00:{n:02}Z", day(0))
}

/// A booked row of `a1` on a day told from today.
pub fn booked(id: &str, offset: i64, cents: &str, text: &str) -> ScriptRow {
    ScriptRow::booked(id, A1, day(offset), cents, "2", text)
}

/// A pending row of `a1`, expected on a day told from today.
pub fn pending(id: &str, offset: i64, cents: &str, text: &str) -> ScriptRow {
    ScriptRow::pending(id, A1, day(offset), cents, "2", text)
}

/// A row of `a1` without any date.
pub fn undated(id: &str, status: &str, cents: &str, text: &str) -> ScriptRow {
    ScriptRow::with(id, A1, None, status, [cents, "2", "EUR"], text)
}

/// This many booked rows of distinct amounts, `<name>-<n>`, on one day.
pub fn many(name: &str, count: u32, offset: i64) -> Vec<ScriptRow> {
    let row =
        |n: u32| booked(&format!("{name}-{n}"), offset, &format!("-{}", 1000 + n), &format!("{name} {n}"));
    (0..count).map(row).collect()
}

/// Sam's one account as of the nth refresh; its balance moves with the booked rows, as at a bank.
pub fn at(n: u32, rows: impl Into<Vec<ScriptRow>>) -> Script {
    moving(still(n, rows))
}

/// The same script, whose first account holds what its booked rows make of it.
pub fn moving(script: Script) -> Script {
    let booked = script.transactions.iter().filter(|row| row.status == "BOOKED");
    let cents = booked.filter_map(cents).sum::<i64>();
    holding(script, 100_000 + cents)
}

/// The same of a bank whose balance does not move.
pub fn still(n: u32, rows: impl Into<Vec<ScriptRow>>) -> Script {
    Script::simple(A1, &refresh(n), rows.into())
}

/// The amount of a row of two decimals.
fn cents(row: &ScriptRow) -> Option<i64> {
    let element: Value = serde_json::from_str(&row.json).ok()?;
    element["amount"]["value"]["unscaledValue"].as_str()?.parse().ok()
}

/// The same script whose first account holds this many cents.
pub fn holding(mut script: Script, cents: i64) -> Script {
    script.accounts[0]["balances"]["booked"]["amount"]["value"]["unscaledValue"] = cents.to_string().into();
    script
}

/// The same script with one field of its first consent set.
pub fn consent_with(mut script: Script, field: &str, value: impl Into<Value>) -> Script {
    script.consents[0][field] = value.into();
    script
}

/// Epoch milliseconds of a time this many days from now.
pub fn millis(offset: i64) -> i64 {
    SystemClock.now().as_millisecond() + offset * 24 * 3600 * 1000
}

/// What became of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub removed: Option<String>,
    pub by: Option<String>,
    pub rule: Option<String>,
}

impl Fate {
    pub fn live() -> Self {
        Self::default()
    }

    pub fn vanished() -> Self {
        Self { removed: Some("vanished".to_owned()), ..Self::default() }
    }

    pub fn replaced(by: &str, rule: &str) -> Self {
        let text = |text: &str| Some(text.to_owned());
        Self { removed: text("replaced"), by: text(by), rule: text(rule) }
    }
}

/// A world of Sam alone.
pub struct Sam(pub World);

impl Sam {
    pub fn new() -> Self {
        let world = World::with_users(Config { log: 1000, ..plain(0) }, vec![SAM.to_owned()]);
        Self(world)
    }

    /// Sam, synced once with this data.
    pub fn with(script: Script) -> Self {
        let sam = Self::new();
        sam.pass(script).expect(0);
        sam
    }

    /// The same world with a setting.
    pub fn set(self, key: &str, value: &str) -> Self {
        Self(self.0.set(key, value))
    }

    /// Gives Sam this data and runs a pass; the log then holds the requests of this pass.
    pub fn pass(&self, script: Script) -> Ran {
        self.0.sandbox.script(SAM, script);
        self.again()
    }

    /// Runs a pass with the data as it is.
    pub fn again(&self) -> Ran {
        self.0.sandbox.reset_counters();
        self.0.run(&[])
    }

    /// Columns of one row, joined by `|`.
    pub fn row(&self, id: &str, columns: &str) -> String {
        let sql =
            format!("SELECT concat_ws('|', {columns}) FROM transactions_v1 WHERE transaction_id = '{id}'");
        self.0.text(&sql).unwrap()
    }

    /// What became of a row.
    pub fn fate(&self, id: &str) -> Fate {
        let sql = format!(
            "SELECT removed_reason, replaced_by, match_rule, removed_at FROM transactions_v1
             WHERE connection_id = ?1 AND transaction_id = '{id}'"
        );
        let mut rows = self.0.texts(&sql, "c-0");
        assert_eq!(rows.len(), 1, "{id} is {} rows", rows.len());
        let [removed, by, rule, at] = <[_; 4]>::try_from(rows.remove(0)).unwrap();
        assert_eq!(removed.is_some(), at.is_some(), "{id} is half removed");
        Fate { removed, by, rule }
    }

    /// The change number of a row.
    pub fn seq(&self, id: &str) -> i64 {
        self.0.number(&format!("SELECT change_seq FROM transactions_v1 WHERE transaction_id = '{id}'"))
    }

    /// Ids of the live rows, in order.
    pub fn live(&self) -> Vec<String> {
        let sql = "SELECT transaction_id FROM transactions_v1 WHERE connection_id = ?1 AND removed_at IS NULL
                   ORDER BY transaction_id";
        self.0.texts(sql, "c-0").into_iter().map(|mut row| row.remove(0).unwrap()).collect()
    }

    /// A column of one account, by Tink's current id.
    pub fn account(&self, id: &str, column: &str) -> Option<String> {
        self.0.text(&format!("SELECT {column} FROM accounts_v1 WHERE account_id = '{id}'"))
    }

    /// Targets of the last pass's requests that hold this text.
    pub fn asked(&self, text: &str) -> Vec<String> {
        let log = self.0.sandbox.log().into_iter().map(|logged| logged.target);
        log.filter(|target| target.contains(text)).collect()
    }

    /// The first and last booked date asked for in the last pass.
    pub fn window(&self) -> (Option<String>, Option<String>) {
        let asked = self.asked("/transactions?");
        let target = asked.first().expect("transactions were asked for");
        let value = |name: &str| {
            let at = target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            at.map(str::to_owned)
        };
        (value("bookedDateGte"), value("bookedDateLte"))
    }
}

/// Fails unless Sam's connection ended like this, with the exit code that goes with it.
pub fn ended(ran: Ran, code: i32, outcome: &str, reason: Option<&str>) -> Ran {
    let ran = ran.expect(code);
    assert_eq!(ran.ended("c-0"), (outcome.to_owned(), reason.map(str::to_owned)), "{}", ran.stdout);
    ran
}
