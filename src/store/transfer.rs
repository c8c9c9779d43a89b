//! Moves a store to another place, regardless of the engines: every table, row by row as it is, so that keys
//! and change numbers stay. Only reads the old store. Marks the new one as unfinished until both sides were
//! read again and found equal; a move that was interrupted goes on with what is there. Decides nothing about
//! rows.

mod compare;
mod table;

use super::engine::publication::Views;
use super::engine::{Db, Fail, values};
use super::error::UNFINISHED;
use super::writer::note;
use super::{AuditRow, Place, Reader, Result, StoreError, Writer, liveness};
pub use compare::TableSum;
use compare::{Batch, Compared, compare};
use table::{RowValues, TABLES, Table};

/// The name of this step in errors.
const WHAT: &str = "move the store";
/// The action in the audit log for a store that was moved here.
pub const ACTION: &str = "store.migrated";
/// The number of times that a store is copied if it changes meanwhile.
const ROUNDS: usize = 3;
/// The tables whose rows get generated keys.
const KEYED: [&str; 7] =
    ["ts_connections", "ts_accounts", "ts_transactions", "ts_quarantine", "ts_runs", "ts_audit", "ts_events"];
/// The sequences that go on where they were.
const SEQUENCES: [&str; 2] = ["change", "pruned"];
/// The tables whose rows a command changes without a new number or an audit row: `rekey`, and `connect`.
const OVERWRITTEN: [&str; 2] = ["ts_tokens", "ts_links"];

/// A move of a store.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Transfer<'a> {
    /// The old store.
    pub from: &'a Place,
    /// The new one.
    pub to: &'a Place,
    /// Is called with the number of rows that were copied or compared.
    pub told: &'a dyn Fn(u64),
}

/// The state of the place that a store is to be moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtTarget {
    /// Nothing, or an empty store.
    Nothing,
    /// The remains of an earlier try.
    Part,
    /// The whole store: the move was completed before.
    All(Vec<TableSum>),
}

/// A completed move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The tables and their contents, equal on both sides.
    pub tables: Vec<TableSum>,
    /// The last change number of the feed.
    pub change: i64,
    /// Whether it was complete before.
    pub was_complete: bool,
    /// Whether an earlier try had copied a part.
    pub resumed: bool,
}

/// The numbers that grow when a store changes: its sequences, and the last key of each table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastNumbers {
    sequences: Vec<i64>,
    keys: Vec<i64>,
}

impl LastNumbers {
    fn of(db: Db<'_>) -> Result<Self, Fail> {
        let value =
            |name: &&str| db.value("SELECT value FROM main.ts_sequences WHERE name = ?1", values![name]);
        let sequences = SEQUENCES.iter().map(value).collect::<Result<_, _>>()?;
        let keys = KEYED.iter().map(|table| db.last_key(table)).collect::<Result<_, _>>()?;
        Ok(Self { sequences, keys })
    }

    fn change(&self) -> i64 {
        self.sequences.first().copied().unwrap_or_default()
    }

    /// The last key of the audit log.
    fn audited(&self) -> i64 {
        let of = KEYED.iter().zip(&self.keys).find(|(table, _)| **table == "ts_audit");
        of.map_or(i64::MAX, |(_, key)| *key)
    }
}

/// A store that is being created.
struct NewStore {
    writer: Writer,
    /// Only the process that wrote it last may go on.
    token: i64,
}

impl Transfer<'_> {
    /// Checks what there is to do; the inner error gives the reason why it cannot be done.
    ///
    /// # Errors
    /// [`StoreError`] if a store cannot be read, is in use, or holds what the other cannot keep.
    pub fn rehearse(&self) -> Result<Result<(AtTarget, Vec<TableSum>), String>> {
        let source = self.source()?;
        let found = match self.found(&source)? {
            Ok(found) => found,
            Err(problem) => return Ok(Err(problem)),
        };
        self.refuse_unstorable(&source)?;
        if !matches!(found, AtTarget::All(_)) {
            self.to.refuse_unwritable(WHAT)?;
        }
        Ok(Ok((found, counted(&source)?)))
    }

    /// The number of rows to copy.
    ///
    /// # Errors
    /// [`StoreError`] if the old store cannot be read, or is in use.
    pub fn rows(&self) -> Result<u64> {
        Ok(counted(&self.source()?)?.iter().map(|table| table.rows).sum())
    }

    /// Moves the store; the inner error gives the reason why it cannot be moved there.
    ///
    /// # Errors
    /// [`StoreError`] if a store cannot be read or written, or is in use. The next try goes on with what was
    /// copied.
    pub fn run(&self, act: &AuditRow<'_>) -> Result<Result<Moved, String>> {
        let source = self.source()?;
        let resumed = match self.found(&source)? {
            Err(problem) => return Ok(Err(problem)),
            Ok(AtTarget::All(tables)) => {
                let change = source.read(WHAT, LastNumbers::of)?.change();
                return Ok(Ok(Moved { tables, change, was_complete: true, resumed: false }));
            }
            Ok(found) => found == AtTarget::Part,
        };
        self.refuse_unstorable(&source)?;
        self.to.refuse_unwritable(WHAT)?;
        drop(source);
        let mut target = self.begin(act)?;
        let mut differing = Vec::new();
        for _ in 0..ROUNDS {
            let source = self.source()?;
            TABLES.iter().try_for_each(|table| self.copy(&source, &mut target, table))?;
            drop(source);
            // Opened again, to see both as another process would.
            let source = self.source()?;
            let last = source.read(WHAT, LastNumbers::of)?;
            let writer = &mut target.writer;
            let of_target: &mut Batch<'_> =
                &mut |table, columns, after| writer.look(WHAT, |db| table.batch(db, columns, after));
            let compared = self.compared(&source, of_target, &last)?;
            drop(source);
            if compared.differing.is_empty() && self.complete(&mut target, &last, &compared.tables, act)? {
                let change = last.change();
                return Ok(Ok(Moved { tables: compared.tables, change, was_complete: false, resumed }));
            }
            differing = compared.differing;
        }
        Err(self.restless(&differing))
    }

    /// The old store as it is now; fails if a run is at work on it.
    fn source(&self) -> Result<Reader> {
        let source = Reader::open(self.from)?;
        match source.read(WHAT, views)? {
            Views::Ours => {}
            Views::Newer => {
                let detail = "its views are those of a newer release: upgrade tink-sync, and repeat this";
                return Err(unusable(self.from, detail.to_owned()));
            }
            Views::Older => {
                let pending = vec!["(the views of this release)".to_owned()];
                let found =
                    source.read(WHAT, |db| db.value("SELECT max(version) FROM main.ts_schema", values![]))?;
                return Err(StoreError::Older { path: self.from.to_string(), found, pending });
            }
        }
        refuse_at_work(&source, self.from)?;
        Ok(source)
    }

    /// The state of the other place; the inner error gives the reason why this store cannot be moved there.
    fn found(&self, source: &Reader) -> Result<Result<AtTarget, String>> {
        let (from, to) = (self.from, self.to);
        let canonical = |place: &Place| place.file().and_then(|path| path.canonicalize().ok());
        if from == to || canonical(from).is_some_and(|path| canonical(to) == Some(path)) {
            return Ok(Err(format!("{to} is the store itself: name another place with --to")));
        }
        if to.holds_something_else()? {
            let advice = "name a new file with --to; nothing was copied";
            return Ok(Err(format!("{to} holds the tables of something else: {advice}")));
        }
        let target = match Reader::open(to) {
            // A database of the application on a server without a store counts as well.
            Err(StoreError::Missing { .. } | StoreError::Older { found: 0, .. }) => {
                return Ok(Ok(AtTarget::Nothing));
            }
            Err(StoreError::Unfinished { .. }) => return Ok(Ok(AtTarget::Part)),
            opened => opened?,
        };
        if !target.read(WHAT, holds_rows)? {
            return Ok(Ok(AtTarget::Nothing));
        }
        refuse_at_work(&target, to)?;
        let moved = "SELECT 1 FROM main.ts_audit WHERE action = ?1";
        if target.read(WHAT, |db| db.exists(moved, values![ACTION]))? {
            let last = source.read(WHAT, LastNumbers::of)?;
            let of_target: &mut Batch<'_> =
                &mut |table, columns, after| target.read(WHAT, |db| table.batch(db, columns, after));
            let compared = self.compared(source, of_target, &last)?;
            if compared.differing.is_empty() {
                return Ok(Ok(AtTarget::All(compared.tables)));
            }
        }
        let connections =
            target.read(WHAT, |db| db.value("SELECT count(*) FROM main.ts_connections", values![]))?;
        Ok(Err(occupied(to, connections)))
    }

    /// Fails before anything is copied if something cannot be stored at the other place.
    fn refuse_unstorable(&self, source: &Reader) -> Result<()> {
        if self.from.file().is_none() || self.to.file().is_some() {
            return Ok(());
        }
        for table in &TABLES {
            if let Some(found) = source.read(WHAT, |db| table.unstorable(db))? {
                let remedy = "let a pass read that anew (tink-sync run --connection ID), or forget it: nothing was copied";
                return Err(unusable(self.from, format!("{found}; {remedy}")));
            }
        }
        Ok(())
    }

    /// Opens the new store, or the part that exists, and marks it as unfinished.
    fn begin(&self, act: &AuditRow<'_>) -> Result<NewStore> {
        let mut writer = Writer { session: self.to.unfinished(act.at)? };
        let token = fastrand::i64(1..i64::MAX);
        writer.run("begin the move", |db| {
            let schema = "SELECT max(version) FROM main.ts_schema WHERE version < ?1";
            let schema: i64 = db.value(schema, values![UNFINISHED])?;
            if schema != db.known_schema() {
                return Err(Fail::refused(
                    "another release of tink-sync began this move: drop what is here, and begin anew",
                ));
            }
            let begun = db.exists("SELECT 1 FROM main.ts_schema WHERE version = ?1", values![UNFINISHED])?;
            if !begun && holds_rows(db)? {
                return Err(Fail::refused(
                    "somebody else has begun to use this store: drop it, or name another place",
                ));
            }
            let mark = "INSERT INTO main.ts_schema (version, applied_at) VALUES (?1, ?2)
                        ON CONFLICT (version) DO UPDATE SET applied_at = excluded.applied_at";
            db.run(mark, values![UNFINISHED, token])
        })?;
        Ok(NewStore { writer, token })
    }

    /// Copies a table. Rows that exist already are read, and stay up to the first difference; everything
    /// after it is copied again.
    fn copy(&self, source: &Reader, target: &mut NewStore, table: &Table) -> Result<()> {
        let columns = source.read(WHAT, |db| table.columns(db))?;
        let (mut after, mut is_equal): (Option<RowValues>, bool) = (None, true);
        loop {
            let rows = source.read(WHAT, |db| table.batch(db, &columns, after.as_ref()))?;
            let was_equal = is_equal;
            is_equal =
                is_equal && target.writer.look(WHAT, |db| table.batch(db, &columns, after.as_ref()))? == rows;
            if !is_equal {
                let token = target.token;
                target
                    .writer
                    .run("copy rows", |db| {
                        still_ours(db, token)?;
                        db.copying(table.name, |db| {
                            if was_equal {
                                table.cut(db, after.as_ref())?;
                            }
                            db.copy_rows(table.name, &columns, &rows)
                        })
                    })
                    .map_err(|error| in_table(error, table))?;
            }
            (self.told)(rows.len() as u64);
            let Some(last) = rows.last().filter(|_| rows.len() == table.at_once) else { return Ok(()) };
            after = Some(table.key(&columns, last));
        }
    }

    fn compared(&self, source: &Reader, target: &mut Batch<'_>, last: &LastNumbers) -> Result<Compared> {
        compare(
            &mut |table, columns, after| source.read(WHAT, |db| table.batch(db, columns, after)),
            target,
            &|table| source.read(WHAT, |db| table.columns(db)),
            last.audited(),
            self.told,
        )
    }

    /// Makes the new store usable, unless the old one has changed since its tables were compared.
    fn complete(
        &self,
        target: &mut NewStore,
        last: &LastNumbers,
        compared: &[TableSum],
        act: &AuditRow<'_>,
    ) -> Result<bool> {
        let source = self.source()?;
        if source.read(WHAT, LastNumbers::of)? != *last || !is_as_compared(&source, compared)? {
            return Ok(false);
        }
        drop(source);
        let (token, details) = (target.token, format!("from {}", self.from));
        target.writer.run("complete the move", |db| {
            still_ours(db, token)?;
            for (name, value) in SEQUENCES.iter().zip(&last.sequences) {
                db.run("UPDATE main.ts_sequences SET value = ?2 WHERE name = ?1", values![name, value])?;
            }
            for (table, key) in KEYED.iter().zip(&last.keys) {
                db.set_last_key(table, *key)?;
            }
            if db.is_shared() {
                // Change numbers go on after those of the old store.
                let offset = "UPDATE main.ts_sequences SET value = ?1 WHERE name = 'offset'";
                db.run(offset, values![last.change()])?;
                // None of these runs is alive here, regardless of its state in the old store.
                let dead = "UPDATE main.ts_runs SET alive_until = 'epoch' WHERE finished_at IS NULL";
                db.run(dead, values![])?;
            }
            note(db, &AuditRow { details: Some(&details), ..*act })?;
            db.run("DELETE FROM main.ts_schema WHERE version = ?1", values![UNFINISHED])
        })?;
        Ok(true)
    }

    fn restless(&self, differing: &[String]) -> StoreError {
        let detail = if differing.is_empty() {
            "it changed each time that it was copied".to_owned()
        } else {
            format!("it changed each time that it was copied, or the copy did: {}", differing.join(", "))
        };
        StoreError::Unavailable {
            what: WHAT,
            place: self.from.to_string(),
            detail: format!(
                "{detail}; stop what writes to it (systemctl stop tink-sync.timer), and repeat this: it goes on with what is there"
            ),
            source: None,
        }
    }
}

fn views(db: Db<'_>) -> Result<Views, Fail> {
    db.views()
}

fn counted(source: &Reader) -> Result<Vec<TableSum>> {
    let count = |table: &Table| {
        let rows = source.read(WHAT, |db| table.count(db))?;
        Ok(TableSum { table: table.name, rows, checksum: None })
    };
    TABLES.iter().map(count).collect()
}

/// Whether the store has what was compared. What only deletes rows (pruning, events that were delivered)
/// shows in their number alone.
fn is_as_compared(source: &Reader, compared: &[TableSum]) -> Result<bool> {
    for (table, before) in TABLES.iter().zip(compared) {
        let now = if OVERWRITTEN.contains(&table.name) {
            let columns = source.read(WHAT, |db| table.columns(db))?;
            compare::sum(table, &columns, &mut |table, columns, after| {
                source.read(WHAT, |db| table.batch(db, columns, after))
            })?
        } else {
            let rows = source.read(WHAT, |db| table.count(db))?;
            TableSum { rows, ..before.clone() }
        };
        if now != *before {
            return Ok(false);
        }
    }
    Ok(true)
}

fn occupied(place: &Place, connections: i64) -> String {
    let drop = match place {
        Place::Sqlite(path) => format!("remove {0} with {0}-wal and {0}-shm", path.display()),
        Place::Postgres(_) => "DROP SCHEMA tink_sync CASCADE".to_owned(),
    };
    format!(
        "{place} holds another store already ({connections} connections), or one that was used since: name an empty place \
         with --to, or drop that store first ({drop}); nothing was copied"
    )
}

fn unusable(place: &Place, detail: String) -> StoreError {
    StoreError::Unusable { what: WHAT, path: place.to_string(), detail, source: None }
}

fn refuse_at_work(store: &Reader, place: &Place) -> Result<()> {
    let path = store.path();
    let Some(run) = store.read(WHAT, |db| liveness::at_work(db, &path))? else { return Ok(()) };
    Err(StoreError::Unavailable {
        what: WHAT,
        place: place.to_string(),
        detail: format!(
            "run {run} is at work on it; stop the timer (systemctl stop tink-sync.timer), let the run end, and repeat this"
        ),
        source: None,
    })
}

/// Whether any of our tables has a row.
fn holds_rows(db: Db<'_>) -> Result<bool, Fail> {
    TABLES.iter().try_fold(false, |found, table| {
        Ok(found || db.exists(&format!("SELECT 1 FROM main.{} LIMIT 1", table.name), values![])?)
    })
}

/// Fails if another move has begun there, or has ended.
fn still_ours(db: Db<'_>, token: i64) -> Result<(), Fail> {
    let ours = "UPDATE main.ts_schema SET applied_at = applied_at WHERE version = ?1 AND applied_at = ?2";
    match db.count(ours, values![UNFINISHED, token])? {
        0 => Err(Fail::refused(
            "another `tink-sync migrate-store` writes to this place: let only one of them run",
        )),
        _ => Ok(()),
    }
}

/// Adds the table to an error.
fn in_table(error: StoreError, table: &Table) -> StoreError {
    match error {
        StoreError::Sql { what, detail, source } => {
            StoreError::Sql { what, detail: format!("{}: {detail}", table.name), source }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
