//! Stores as somebody, a crash or an older release left them. Holds no test.

use std::time::{Duration, Instant};

use tink_sync::clock::{Clock as _, SystemClock};

use super::{DAY, HOUR};
use crate::harness::World;
use crate::postgres::Session;
use crate::stored::{Held, Place, literal};

const MISSED: &str =
    "UPDATE ts_runs SET alive_until = clock_timestamp() - interval '1 minute' WHERE finished_at IS NULL";

/// What somebody's trigger refuses to have written.
#[derive(Clone, Copy, Debug)]
pub enum Refused<'a> {
    /// Every new row.
    Rows,
    /// New rows of a connection.
    RowsOf(&'a str),
    /// New rows of an account, by key.
    RowsOfAccount(&'a str),
    /// The outcome of a connection in its run.
    OutcomeOf(&'a str),
    /// One kind of outcome, of any connection.
    Outcome(&'a str),
}

/// What a connection is made to look like; times are the store's.
#[derive(Debug)]
pub struct Kept<'a> {
    pub failures: u32,
    pub not_before: Option<i64>,
    pub needs_user: Option<&'a str>,
    pub last_success_began: Option<i64>,
    pub last_outcome: &'a str,
    pub leased_until: Option<i64>,
    /// Whether its accounts, consents and last success are left.
    pub has_data: bool,
}

/// Stores as somebody, a crash or an older release left them.
impl World {
    /// Plants a trigger of somebody's that refuses to have something written.
    pub fn refuse(&self, what: Refused<'_>) {
        let key = |connection: &str| {
            format!("(SELECT key FROM ts_connections WHERE connection_id = '{connection}')")
        };
        let (act, when) = match what {
            Refused::Rows => ("INSERT ON ts_transactions", "1 = 1".to_owned()),
            Refused::RowsOfAccount(account) => {
                ("INSERT ON ts_transactions", format!("NEW.account = {account}"))
            }
            Refused::RowsOf(connection) => (
                "INSERT ON ts_transactions",
                format!(
                    "NEW.account IN (SELECT key FROM ts_accounts WHERE connection = {})",
                    key(connection)
                ),
            ),
            Refused::OutcomeOf(connection) => {
                ("UPDATE OF outcome ON ts_run_connections", format!("NEW.connection = {}", key(connection)))
            }
            Refused::Outcome(outcome) => {
                ("UPDATE OF outcome ON ts_run_connections", format!("NEW.outcome = '{outcome}'"))
            }
        };
        self.place.refuse(act, &when);
    }

    /// Takes that trigger away.
    pub fn allow(&self) {
        self.place.allow();
    }

    /// Makes a newer release's store of it.
    pub fn newer_schema(&self) {
        self.tamper("INSERT INTO ts_schema (version, applied_at) VALUES (99, 0)");
    }

    /// Makes a store of it that no migration was applied to.
    pub fn forget_schema(&self) {
        self.tamper("DELETE FROM ts_schema");
    }

    /// Makes it as before any app, view or number of connections was remembered.
    pub fn forget_app_and_view(&self) {
        self.tamper("DELETE FROM ts_app; DELETE FROM ts_view; DELETE FROM ts_population");
    }

    pub fn forget_app(&self) {
        self.tamper("DELETE FROM ts_app");
    }

    pub fn forget_audit(&self) {
        self.tamper("DELETE FROM ts_audit");
    }

    pub fn forget_originals(&self) {
        self.tamper("DELETE FROM ts_raw");
    }

    /// Makes it as before there was a balance proof.
    pub fn forget_balances(&self) {
        self.tamper("DELETE FROM ts_sums; DELETE FROM ts_balances;");
    }

    /// Rows of the audit log: time, actor, action, connection, user.
    pub fn add_acts(&self, acts: &[(i64, &str, &str, Option<&str>, &str)]) {
        for (at, actor, action, connection, user) in acts {
            let connection = connection.map_or("NULL".to_owned(), literal);
            self.tamper(&format!(
                "INSERT INTO ts_audit (at, actor, action, connection_id, user_id, result)
                 VALUES ({at}, '{actor}', '{action}', {connection}, '{user}', 'ok')"
            ));
        }
    }

    /// Every run ended with this exit code.
    pub fn runs_ended_with(&self, code: i32) {
        self.tamper(&format!("UPDATE ts_runs SET exit_code = {code}"));
    }

    /// No run has come to its end.
    pub fn runs_died(&self) {
        self.tamper("UPDATE ts_runs SET exit_code = NULL, finished_at = NULL");
    }

    /// Another run has every connection for an hour; on a server for as long as the run counts as alive.
    pub fn lease_all(&self) {
        if let Place::Database(_) = &self.place {
            self.tamper(
                "INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at)
                 VALUES (999, 'other', 'timer', 'h', '0', 1)",
            );
        }
        let until = SystemClock.now().as_millisecond() + HOUR;
        self.tamper(&format!(
            "UPDATE ts_connections SET lease_run = 999, lease_token = 1, lease_until = {until}"
        ));
    }

    /// Makes a connection look so.
    pub fn keep(&self, connection: &str, kept: &Kept<'_>) {
        let time = |at: Option<i64>| at.map_or("NULL".to_owned(), |at| at.to_string());
        let leased = |of_one: &'static str| if kept.leased_until.is_some() { of_one } else { "NULL" };
        self.tamper(&format!(
            "UPDATE ts_connections SET failures = {}, not_before = {}, needs_user = {}, last_success_began = {},
                    last_outcome = '{}', lease_token = {}, lease_until = {}, lease_run = {}
             WHERE connection_id = '{connection}'",
            kept.failures,
            time(kept.not_before),
            kept.needs_user.map_or("NULL".to_owned(), |reason| format!("'{reason}'")),
            time(kept.last_success_began),
            kept.last_outcome,
            leased("999"),
            time(kept.leased_until),
            leased("(SELECT max(key) FROM ts_runs)"),
        ));
        if !kept.has_data {
            let its =
                format!("connection = (SELECT key FROM ts_connections WHERE connection_id = '{connection}')");
            self.tamper(&format!(
                "UPDATE ts_connections SET last_success_at = NULL WHERE connection_id = '{connection}';
                 DELETE FROM ts_consents WHERE {its};
                 DELETE FROM ts_account_ids WHERE {its};
                 DELETE FROM ts_accounts WHERE {its};"
            ));
        }
    }

    /// Switches a connection off here, whatever the application says.
    pub fn disable(&self, connection: &str) {
        self.tamper(&format!("UPDATE ts_connections SET enabled = 0 WHERE connection_id = '{connection}'"));
    }

    /// A connection with one account that no release would take in now.
    pub fn add_connection(&self, key: i64, id: &str) {
        let id = literal(id);
        self.tamper(&format!(
            "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled) VALUES ({key}, {id}, {id}, 0, 0);
             INSERT INTO ts_accounts (connection, account_id, name, type) VALUES ({key}, 'a', '', '')"
        ));
    }

    /// Columns of the rows of an account, by key, become these.
    pub fn spoil_rows(&self, account: i64, change: &str) {
        self.tamper(&format!("UPDATE ts_transactions SET {change} WHERE account = {account}"));
    }

    /// As after a walk that removed all rows and did not come to its end.
    pub fn rows_were_removed_by_a_walk_without_end(&self) {
        self.tamper(
            "UPDATE ts_transactions SET removed_at = 1, removed_reason = 'vanished';
             UPDATE ts_accounts SET complete_through = NULL",
        );
    }

    /// Each row was changed by a later run than it was.
    pub fn rows_were_changed_later(&self) {
        self.tamper("UPDATE ts_transactions SET changed_run = changed_run + 100");
    }

    pub fn set_ibans(&self, iban: &str) {
        self.tamper(&format!("UPDATE ts_accounts SET iban = '{iban}'"));
    }

    /// An account closed long ago, as earlier releases did it.
    pub fn close_account(&self, id: &str) {
        self.tamper(&format!(
            "UPDATE ts_accounts SET closed_at = 1700000000000, missing_refresh = '2026-01-01T00:00:00Z'
             WHERE account_id = '{id}'"
        ));
    }

    /// What is kept of a record in quarantine becomes this; of every one, where none is named.
    pub fn set_quarantined(&self, transaction: Option<&str>, raw: &str) {
        let which = transaction.map_or("1 = 1".to_owned(), |id| format!("transaction_id = {}", literal(id)));
        self.tamper(&format!("UPDATE ts_quarantine SET raw = {} WHERE {which}", literal(raw)));
    }

    /// Makes the quarantine one of an older release, which kept each record with its JSON and knew it by that where
    /// it had no id; this is the JSON of the one without.
    pub fn age_quarantine(&self, nameless: &str) {
        let raw = literal(nameless);
        self.tamper(&format!(
            "UPDATE ts_quarantine SET seen_run = NULL, likeness = NULL, raw = CASE raw WHEN '' THEN '{{}}' ELSE raw END;
             UPDATE ts_quarantine SET raw = {raw} WHERE transaction_id IS NULL;
             UPDATE ts_quarantine SET fingerprint = 'raw:' || raw WHERE transaction_id IS NULL"
        ));
    }

    /// Twenty runs `old-<n>` of 500 days ago with their outcomes, an act of that time and original JSON.
    pub fn add_old_runs(&self) {
        let old = SystemClock.now().as_millisecond() - 500 * DAY;
        self.tamper(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20)
             INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at, finished_at, exit_code, named)
                 SELECT -n, 'old-' || n, 'timer', 'h', '1', {old}, {old} + 1000, 0, CASE n WHEN 1 THEN 1 ELSE 0 END
                 FROM n;
             INSERT INTO ts_run_connections (run, connection, user_id, outcome, started_at)
                 SELECT r.key, c.key, c.user_id, 'synced', r.started_at FROM ts_runs r, ts_connections c WHERE r.key < 0;
             INSERT INTO ts_audit (at, action, result) SELECT started_at, 'test', 'ok' FROM ts_runs WHERE key = -1;
             UPDATE ts_transactions SET first_seen_run = -1;
             INSERT INTO ts_raw (transaction_key, raw, stored_at)
                 SELECT t.key, '{{}}', r.started_at FROM ts_transactions t, ts_runs r WHERE r.key = -1;"
        ));
    }

    /// Puts a text into or behind every text that a terminal may be shown.
    pub fn spoil_texts(&self, evil: &str) {
        self.tamper(&format!(
            "UPDATE ts_connections SET connection_id = 'c-1{evil}', user_id = 'u{evil}', last_error = '{evil}',
                    external_user_id = '{evil}' WHERE connection_id = 'c-1';
             UPDATE ts_run_connections SET error = '{evil}';
             UPDATE ts_consents SET credentials_id = credentials_id || '{evil}', provider = '{evil}', error_type = '{evil}';
             UPDATE ts_accounts SET name = '{evil}', iban = '{evil}', account_id = account_id || '{evil}';
             UPDATE ts_runs SET host = '{evil}', run_id = run_id || '{evil}';
             UPDATE ts_transactions SET description = '{evil}';
             INSERT INTO ts_audit (at, actor, ip, action, connection_id, user_id, result, details)
             VALUES (1, '{evil}', '{evil}', 'sync.requested', '{evil}', '{evil}', 'ok', '{evil}')"
        ));
    }

    /// Begins to write every amount, and does not end.
    pub fn writing_amounts(&self, amount: &str) -> Held {
        self.place.altering(&format!("UPDATE ts_transactions SET amount = '{amount}'"))
    }
}

impl Place {
    /// Plants a trigger of somebody's that refuses an act, such as `INSERT ON ts_transactions`, where a condition on
    /// the new row is met.
    pub fn refuse(&self, act: &str, when: &str) {
        self.alter(&match self {
            Self::File(_) => format!(
                "CREATE TRIGGER somebodys BEFORE {act} WHEN {when}
                 BEGIN SELECT RAISE(ABORT, 'not allowed here'); END"
            ),
            Self::Database(_) => format!(
                "CREATE FUNCTION somebodys() RETURNS trigger LANGUAGE plpgsql SET search_path = tink_sync AS $$
                     BEGIN IF {when} THEN RAISE EXCEPTION 'not allowed here'; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER somebodys BEFORE {act} FOR EACH ROW EXECUTE FUNCTION somebodys()"
            ),
        });
    }

    /// Takes that trigger away.
    pub fn allow(&self) {
        self.alter(match self {
            Self::File(_) => "DROP TRIGGER somebodys",
            Self::Database(_) => "DROP FUNCTION somebodys CASCADE",
        });
    }

    /// Lets the minutes pass at once that a server gives a run of which it hears nothing.
    pub fn miss(&self, run_id: &str) {
        if let Self::Database(database) = self {
            let missed = format!("{MISSED} AND run_id = {}", literal(run_id));
            database.alter(&missed);
        }
    }

    /// The same for every run without an end, if no process is there that could be one.
    pub fn miss_the_dead(&self) {
        let Self::Database(database) = self else { return };
        let open = "SELECT 1 FROM ts_runs WHERE finished_at IS NULL AND alive_until > clock_timestamp()";
        if !database.has_store() || !database.exists(open) {
            return;
        }
        // A session ends soon after its process.
        let end = Instant::now() + Duration::from_millis(500);
        while database.is_used() {
            if Instant::now() > end {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        database.alter(MISSED);
    }

    /// Refuses the last statement of a walk's last commit.
    pub fn refuse_watermarks(&self) {
        self.refuse("UPDATE OF walked_at ON ts_accounts", "1 = 1");
    }
}

/// Leases of a store that hosts share.
impl World {
    /// From now on a run must be heard of within so many seconds.
    pub fn leases_last(&self, seconds: u32) {
        let default = format!("clock_timestamp() + interval '{seconds} seconds'");
        self.tamper(&format!("ALTER TABLE tink_sync.ts_runs ALTER alive_until SET DEFAULT {default}"));
    }

    /// Whether a host was asked to pause, and all are to do so still.
    pub fn hosts_pause(&self) -> bool {
        self.database().exists(
            "SELECT FROM tink_sync.ts_sequences
             WHERE name = 'paused until' AND value > extract(epoch FROM clock_timestamp()) * 1000",
        )
    }

    /// A session that has all connections locked, as `forget` has its one.
    pub fn with_connections_locked(&self) -> Session {
        let mut session = self.database().session();
        session.run("BEGIN; SELECT FROM tink_sync.ts_connections FOR UPDATE");
        session
    }

    /// A session that has reserved the change numbers, as a command that changes many rows does.
    pub fn with_numbers_reserved(&self) -> Session {
        let mut session = self.database().session();
        session.run("BEGIN; SELECT pg_advisory_xact_lock(1953066347, 0)");
        session
    }

    /// Whether a run has been at work, and heard of, for so many seconds.
    pub fn a_run_lives_for(&self, seconds: u32) -> bool {
        self.database().exists(&format!(
            "SELECT FROM tink_sync.ts_runs WHERE finished_at IS NULL
             AND alive_until > to_timestamp(started_at / 1000.0) + interval '{seconds} seconds'"
        ))
    }

    /// Whether a run has begun that has not ended.
    pub fn a_run_is_at_work(&self) -> bool {
        self.database().exists("SELECT FROM tink_sync.ts_runs WHERE finished_at IS NULL")
    }

    /// Whether a run that has not ended was not heard of for that long.
    pub fn a_run_was_silent(&self) -> bool {
        self.database().exists(
            "SELECT FROM tink_sync.ts_runs WHERE finished_at IS NULL AND alive_until < clock_timestamp()",
        )
    }
}
