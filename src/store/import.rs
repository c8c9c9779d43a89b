//! Imports rows that an application has kept, in one transaction: all of them or none. They are marked as
//! rows of an older generation, so that the first walk pairs them with Tink's rows, as after a re-consent.
//! Moves no watermark, replaces no row, and reads no JSON.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::{io, mem};

use jiff::Timestamp;
use jiff::civil::Date;

use super::engine::job::once;
use super::engine::{Context, Db, Fail, values};
use super::writer::{self, AuditRow};
use super::{Store, accounts, liveness, mirror, rows};
use crate::domain::account::Account;
use crate::domain::ids::{AccountId, ConnectionId, TransactionId};
use crate::domain::transaction::Transaction;
use crate::store::types::{ChangeSet, FetchedRow, RowCommit, Run, Unfinished};
use crate::store::{Result, StoreError};

/// The number of rows of one account that are written at once.
const CHUNK: usize = 500;
/// The number of problems that are kept for the report; all are counted.
const KEPT: usize = 20;
/// The minimum generation of an account that was never walked; its imported rows get the one before.
const GENERATION: i64 = 2;

/// One row to import.
#[derive(Debug)]
pub struct ImportRow {
    /// Its connection.
    pub connection: ConnectionId,
    /// Tink's id of its account.
    pub account: AccountId,
    /// Its data.
    pub row: FetchedRow,
}

/// One line of the input: its number, and the row or its problem.
pub type Line = (u64, Result<ImportRow, String>);

/// An import, and who requested it.
pub struct Import {
    /// The lines.
    pub lines: Box<dyn Iterator<Item = io::Result<Line>> + Send>,
    /// Whether to skip lines that cannot be imported, instead of failing.
    pub skip_bad: bool,
    /// The name and address of the requester.
    pub actor: (Option<String>, Option<String>),
    /// Now.
    pub now: Timestamp,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}

/// The result for one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its user.
    pub user_id: String,
    /// Rows read.
    pub read: u64,
    /// Rows new in the store.
    pub added: u64,
    /// Rows that were stored already, or that came earlier in the same input.
    pub known: u64,
    /// Accounts that were not known.
    pub accounts: u64,
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// By connection.
    pub connections: BTreeMap<String, Taken>,
    /// The number of lines that could not be imported.
    pub bad: u64,
    /// The number of lines that were left out because another connection was asked for.
    pub left_out: u64,
    /// The first of them: line number and problem.
    pub problems: Vec<(u64, String)>,
    /// Whether anything was kept.
    pub kept: bool,
}

impl Store {
    /// Imports rows, all or none; the inner error is that of the input.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. Unlike other writes it is not repeated if another
    /// transaction was in the way.
    pub async fn import(&self, run: &Run, import: Import) -> Result<io::Result<Imported>> {
        self.name(run.key).await?;
        let (run, mut import) = (run.clone(), import);
        let mut lines = Some(mem::replace(&mut import.lines, Box::new(std::iter::empty())));
        let done = self
            .worker
            .write(once("take over rows"), move |tx, context| {
                // The input can be read only once, and without it a second attempt would import nothing.
                let lines = lines.take().ok_or_else(|| Fail::bug("the lines were read already"))?;
                tx.expect_changes(usize::MAX)?;
                tx.run("SAVEPOINT import", values![])?;
                let mut importer = Importer::new(tx, context, &run, &import);
                let done = importer.all(lines)?;
                let mut outcome = importer.imported;
                outcome.kept = done.is_ok() && (outcome.bad == 0 || import.skip_bad);
                if !outcome.kept {
                    tx.run("ROLLBACK TO import", values![])?;
                }
                tx.run("RELEASE import", values![])?;
                Ok(done.map(|()| outcome))
            })
            .await;
        done.map_err(with_advice)
    }
}

/// Adds what to do to an error that may not happen again: here, nothing repeats the import by itself.
fn with_advice(error: StoreError) -> StoreError {
    let advised =
        |detail| format!("{detail}; repeat the import: rows that are stored already are recognised");
    match error {
        StoreError::Unavailable { what, place, detail, source } => {
            StoreError::Unavailable { what, place, detail: advised(detail), source }
        }
        StoreError::CommitUnknown { what, place, detail, source } => {
            StoreError::CommitUnknown { what, place, detail: advised(detail), source }
        }
        other => other,
    }
}

/// A connection of the input.
struct ImportConnection {
    key: i64,
    /// Whether rows of Tink's are stored already.
    synced: bool,
}

/// An account of the input.
#[derive(Clone)]
struct InputAccount {
    key: i64,
    /// The generation of the imported rows.
    generation: i64,
    /// In a synced connection only rows before this day are certain to be new; without a day, none is.
    before: Option<Date>,
}

/// Rows of one account that are not written yet.
#[derive(Default)]
struct Waiting {
    account: Option<InputAccount>,
    ids: HashSet<TransactionId>,
    rows: Vec<FetchedRow>,
}

struct Importer<'a> {
    db: Db<'a>,
    context: &'a Context,
    run: &'a Run,
    now: Timestamp,
    actor: (Option<String>, Option<String>),
    owners: HashMap<ConnectionId, Result<ImportConnection, String>>,
    places: HashMap<(ConnectionId, AccountId), Option<InputAccount>>,
    waiting: Waiting,
    seen: InputLines,
    imported: Imported,
}

/// The rows of the input so far, without their texts: by hash of account and id, the hash of the content and the
/// line.
#[derive(Default)]
struct InputLines {
    hasher: RandomState,
    rows: HashMap<u64, (u64, u64)>,
}

impl InputLines {
    /// Notes a row; returns the line that has given another content for its id, if one has.
    fn contradicted(&mut self, line: u64, account: i64, row: &Transaction) -> Option<u64> {
        let (id, content) = (self.hasher.hash_one((account, &row.id)), self.hasher.hash_one(row));
        let (first, before) = *self.rows.entry(id).or_insert((content, line));
        (first != content).then_some(before)
    }
}

impl<'a> Importer<'a> {
    fn new(db: Db<'a>, context: &'a Context, run: &'a Run, import: &Import) -> Self {
        Self {
            db,
            context,
            run,
            now: import.now,
            actor: import.actor.clone(),
            owners: HashMap::new(),
            places: HashMap::new(),
            waiting: Waiting::default(),
            seen: InputLines::default(),
            imported: Imported::default(),
        }
    }

    fn all(&mut self, lines: impl Iterator<Item = io::Result<Line>>) -> Result<io::Result<()>, Fail> {
        for line in lines {
            let (number, row) = match line {
                Ok(line) => line,
                Err(error) => return Ok(Err(error)),
            };
            let taken = match row {
                Ok(row) => self.take(number, row)?,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = taken {
                self.imported.bad += 1;
                if self.imported.problems.len() < KEPT {
                    self.imported.problems.push((number, problem));
                }
            }
        }
        self.flush()?;
        self.audit()?;
        Ok(Ok(()))
    }

    /// Imports one row, or returns why it cannot.
    fn take(&mut self, line: u64, row: ImportRow) -> Result<Result<(), String>, Fail> {
        let ImportRow { connection, account, row } = row;
        let synced = match self.owner(&connection)? {
            Ok(owner) => owner.synced,
            Err(problem) => return Ok(Err(problem.clone())),
        };
        let place = self.place(&connection, &account)?;
        let is_known = match &place {
            Some(place) => self.is_known(place, &row.transaction.id)?,
            None => false,
        };
        let early = place.as_ref().and_then(|place| place.before);
        let is_early = row.transaction.booked_date.is_some_and(|date| early.is_some_and(|day| date < day));
        if synced && !is_known && !is_early {
            return Ok(Err(format!(
                "connection {connection} has been synced already, and no row of this id is there: it could be one of \
                 Tink's rows under an older id. Import comes before the first pass; later only rows older than all \
                 others of their account are taken over"
            )));
        }
        if let Some(place) = &place
            && let Some(other) = self.seen.contradicted(line, place.key, &row.transaction)
        {
            return Ok(Err(format!(
                "the transaction_id is that of line {other}, with another content: leave only the right one in"
            )));
        }
        let taken = self.imported.connections.entry(connection.as_str().to_owned()).or_default();
        taken.read += 1;
        match place {
            Some(place) if !is_known => {
                taken.added += 1;
                self.keep(place, row)?;
            }
            _ => taken.known += 1,
        }
        Ok(Ok(()))
    }

    /// Looks up the connection, once.
    fn owner(&mut self, id: &ConnectionId) -> Result<&Result<ImportConnection, String>, Fail> {
        if !self.owners.contains_key(id) {
            let owner = self.find_owner(id)?;
            self.owners.insert(id.clone(), owner);
        }
        Ok(self.owners.entry(id.clone()).or_insert_with(|| Err(String::new())))
    }

    fn find_owner(&mut self, id: &ConnectionId) -> Result<Result<ImportConnection, String>, Fail> {
        let sql = "SELECT key, user_id, problem FROM ts_connections WHERE connection_id = ?1";
        let found: Option<(i64, String, Option<String>)> =
            self.db.one(sql, values![id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let Some((key, user_id, problem)) = found else {
            return Ok(Err(format!("unknown connection: {id}; tink-sync connections list shows all")));
        };
        // The rows may belong to another user than the stored data.
        if let Some(problem) = problem {
            return Ok(Err(format!("connection {id} cannot be used: {problem}")));
        }
        if liveness::is_leased(self.db, key, self.now)? {
            return Ok(Err(format!("a run is working on connection {id}; import again when it has ended")));
        }
        if self.context.rehearsal {
            mirror::shadow(self.db, key)?;
        }
        // Rows of the account's current generation were seen by a walk.
        let synced = self.db.value(
            "SELECT EXISTS (SELECT 1 FROM ts_accounts a WHERE a.connection = ?1 AND (a.walked_at IS NOT NULL
                OR EXISTS (SELECT 1 FROM ts_transactions t WHERE t.account = a.key AND t.generation = a.generation)))",
            values![key],
        )?;
        self.imported.connections.entry(id.as_str().to_owned()).or_default().user_id = user_id;
        Ok(Ok(ImportConnection { key, synced }))
    }

    /// Looks up or creates the account, once; `None` if it would have to be created in a synced connection.
    fn place(
        &mut self,
        connection: &ConnectionId,
        account: &AccountId,
    ) -> Result<Option<InputAccount>, Fail> {
        let name = (connection.clone(), account.clone());
        if let Some(known) = self.places.get(&name) {
            return Ok(known.clone());
        }
        let Some(Ok(owner)) = self.owners.get(connection) else { return Ok(None) };
        let (owner, synced) = (owner.key, owner.synced);
        let place = match self.find_place(owner, account, synced)? {
            None if !synced => {
                self.imported.connections.entry(connection.as_str().to_owned()).or_default().accounts += 1;
                Some(self.make_place(owner, account)?)
            }
            found => found,
        };
        self.places.insert(name, place.clone());
        Ok(place)
    }

    fn find_place(&self, owner: i64, id: &AccountId, synced: bool) -> Result<Option<InputAccount>, Fail> {
        let sql = "SELECT a.key, a.generation FROM ts_account_ids i JOIN ts_accounts a ON a.key = i.account
                   WHERE i.connection = ?1 AND i.account_id = ?2";
        let found: Option<(i64, i64)> =
            self.db.one(sql, values![owner, id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((key, generation)) = found else { return Ok(None) };
        if synced {
            let sql = "SELECT min(booked_date) AS first FROM ts_transactions WHERE account = ?1 AND removed_at IS NULL";
            let before = self.db.single(sql, values![key], |row| row.day("first"))?;
            return Ok(Some(InputAccount { key, generation: generation - 1, before }));
        }
        // A pass listed it and could not walk it, or an earlier import created it.
        self.begin(key)?;
        Ok(Some(InputAccount { key, generation: generation.max(GENERATION) - 1, before: None }))
    }

    fn make_place(&self, owner: i64, id: &AccountId) -> Result<InputAccount, Fail> {
        let key = accounts::make(self.db, owner, &Account::unknown(id.clone()))?;
        self.begin(key)?;
        Ok(InputAccount { key, generation: GENERATION - 1, before: None })
    }

    /// Makes the first walk pair the account's rows as after a re-consent.
    fn begin(&self, account: i64) -> Result<(), Fail> {
        let sql = "UPDATE ts_accounts SET generation = CASE WHEN generation < ?2 THEN ?2 ELSE generation END, repairing = 1 WHERE key = ?1";
        self.db.run(sql, values![account, GENERATION])
    }

    /// Whether a row with this id is stored, live or not, or waits to be written.
    fn is_known(&self, place: &InputAccount, id: &TransactionId) -> Result<bool, Fail> {
        let waits = self.waiting.account.as_ref().is_some_and(|known| known.key == place.key)
            && self.waiting.ids.contains(id);
        if waits {
            return Ok(true);
        }
        self.db.exists(
            "SELECT 1 FROM ts_transactions WHERE account = ?1 AND transaction_id = ?2",
            values![place.key, id],
        )
    }

    fn keep(&mut self, place: InputAccount, row: FetchedRow) -> Result<(), Fail> {
        let other = self.waiting.account.as_ref().is_none_or(|known| known.key != place.key);
        if other || self.waiting.rows.len() >= CHUNK {
            self.flush()?;
            self.waiting.account = Some(place);
        }
        self.waiting.ids.insert(row.transaction.id.clone());
        self.waiting.rows.push(row);
        Ok(())
    }

    /// Writes the waiting rows, as a walk does.
    fn flush(&mut self) -> Result<(), Fail> {
        let Waiting { account: Some(place), rows, .. } = std::mem::take(&mut self.waiting) else {
            return Ok(());
        };
        let commit = RowCommit {
            account: place.key,
            generation: place.generation,
            changes: ChangeSet { insert: rows, ..ChangeSet::default() },
            unreadable: Vec::new(),
            readable: Vec::new(),
            covered: None,
            unfinished: Unfinished::default(),
            checkpoint: None,
            now: self.now,
        };
        rows::commit(self.db, self.run.key, &commit).map(drop)
    }

    /// Writes one audit row for each connection that got rows.
    fn audit(&self) -> Result<(), Fail> {
        for (connection, taken) in self.imported.connections.iter().filter(|(_, taken)| taken.added > 0) {
            writer::note(
                self.db,
                &AuditRow {
                    at: self.now,
                    actor: self.actor.0.as_deref(),
                    ip: self.actor.1.as_deref(),
                    action: "connection.imported",
                    connection_id: Some(connection),
                    user_id: Some(&taken.user_id),
                    result: "ok",
                    details: Some(&format!("{} rows, run {}", taken.added, self.run.id)),
                },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
