//! The spool of hooks: one file per event in a directory per kind, there as a whole or not at all. What is
//! in it has left the store and waits for a program of the operator's; no program is started here.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde_json::{Map, Value, json};

use crate::atomic_file::{self, AtomicFile};
use crate::domain::hook::{HookEvent, HookKind};
use crate::failpoint;

/// So many events of one kind are kept, in the queue and of those given up.
pub const MOST: usize = 10_000;
/// No event of ours is longer; ids are as long as the application made them.
const LARGEST: u64 = 1024 * 1024;
/// No directory of ours is as deep; what the user of the hooks makes may be.
const DEEPEST: u32 = 4;
/// Directory of the events that were given up.
const FAILED: &str = "failed";
/// Held while events are written, so that no two runs write the same one.
const LOCK: &str = ".lock";
/// The group is that of the hooks in a spool of the package's, else that of the owner, whom nothing but a closed
/// directory protects from it.
const MODE: u32 = 0o640;
/// Version of the form of an event.
const SCHEMA: u8 = 1;

/// A spool.
#[derive(Clone, Debug)]
pub struct Spool {
    root: PathBuf,
}

/// The right to write events, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Spool {
    /// The spool in this directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Waits for its turn to write; makes the directory if there is none.
    ///
    /// # Errors
    /// As the file system reports it.
    pub fn turn(&self) -> io::Result<Turn> {
        make(&self.root)?;
        let options = File::options()
            .write(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .clone();
        let lock = options.open(self.root.join(LOCK))?;
        lock.lock()?;
        Ok(Turn(lock))
    }

    /// Writes events, so that they outlast a power cut; returns how many older ones had to go for them. An
    /// event that is there already is written anew.
    ///
    /// # Errors
    /// As the file system reports it; the events before the one that failed are there.
    pub fn put(&self, _turn: &Turn, events: &[HookEvent]) -> io::Result<usize> {
        let kinds: BTreeSet<HookKind> = events.iter().map(|event| event.kind).collect();
        let mut gone = 0;
        for kind in &kinds {
            let queue = self.queue(*kind);
            make(&queue)?;
            let new = events.iter().filter(|event| event.kind == *kind).count();
            gone += thin(&queue, MOST.saturating_sub(new))?;
        }
        for event in events {
            let place = self.queue(event.kind).join(format!("{}.json", event.id));
            // Made outside of all queues, where nobody else writes and nothing is started.
            let mut file = AtomicFile::create_in(&self.root, &place, MODE)?;
            file.write_all(text(event).as_bytes())?;
            file.replace(["write an event", "spool an event"])?;
        }
        Ok(gone)
    }

    /// What waits of one kind, oldest first.
    ///
    /// # Errors
    /// As the file system reports it.
    pub fn waiting(&self, kind: HookKind) -> io::Result<Vec<PathBuf>> {
        list(&self.queue(kind))
    }

    /// How many of one kind were given up; none if nobody may look.
    pub fn given_up(&self, kind: HookKind) -> usize {
        list(&self.failed(kind)).map_or(0, |files| files.len())
    }

    /// Takes an event that was told out of the queue.
    ///
    /// # Errors
    /// As the file system reports it.
    pub fn told(&self, file: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_file(file))
    }

    /// Puts whatever lies in a queue aside for good; returns where to.
    ///
    /// # Errors
    /// As the file system reports it.
    pub fn give_up(&self, kind: HookKind, file: &Path) -> io::Result<PathBuf> {
        let aside = self.failed(kind);
        make(&aside)?;
        thin(&aside, MOST - 1)?;
        let place = aside.join(file.file_name().unwrap_or_default());
        gone_is_fine(fs::rename(file, &place))?;
        Ok(place)
    }

    /// Removes every event of a connection that `erase` erases from the store, wherever in the spool it lies and under
    /// whatever name, and what was left of one that was being written. The turn is taken first, so that no run brings
    /// another one meanwhile.
    ///
    /// # Errors
    /// That of `erase`, or as the file system reports it; it can be repeated.
    pub fn forget<T, E: From<io::Error>>(
        &self,
        connection_id: &str,
        erase: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let turn = if self.root.is_dir() { Some(self.turn()?) } else { None };
        let erased = erase()?;
        if turn.is_some() {
            failpoint::around("forget spooled events", || self.erase(connection_id))?;
        }
        Ok(erased)
    }

    fn erase(&self, connection_id: &str) -> io::Result<()> {
        atomic_file::sweep_directory(&self.root);
        // The unit of the hook may put one aside meanwhile: only where nothing was found nothing is left.
        loop {
            let found = self.of(connection_id)?;
            if found.is_empty() {
                return Ok(());
            }
            for file in found {
                gone_is_fine(fs::remove_file(&file))?;
            }
        }
    }

    /// Every event of a connection.
    ///
    /// # Errors
    /// As the file system reports it.
    pub fn of(&self, connection_id: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.root, DEEPEST, &mut |file| {
            if is_of(file, connection_id) {
                found.push(file.to_owned());
            }
        })?;
        Ok(found)
    }

    /// Where events of one kind wait.
    pub fn queue(&self, kind: HookKind) -> PathBuf {
        self.root.join(kind.as_str())
    }

    /// Where those lie that were given up. No queue: nothing there starts a program.
    pub fn failed(&self, kind: HookKind) -> PathBuf {
        self.root.join(FAILED).join(kind.as_str())
    }
}

/// An event as hooks get it: one line of JSON.
pub fn text(event: &HookEvent) -> String {
    // Written by the store itself; what cannot be read says nothing.
    let details: Map<String, Value> = serde_json::from_str(&event.details).unwrap_or_default();
    let mut told = json!({
        "schema": SCHEMA, "event": event.kind.as_str(), "id": event.id, "at": event.at.to_string(),
        "run_id": event.run_id.as_str(),
    });
    if let Some(told) = told.as_object_mut() {
        if let (Some(connection), Some(user)) = (&event.connection_id, &event.user_id) {
            told.insert("connection_id".to_owned(), connection.as_str().into());
            told.insert("user_id".to_owned(), user.as_str().into());
        }
        told.extend(details);
    }
    format!("{told}\n")
}

/// Whether a file is an event of this connection. What cannot be read as one is none of ours: the user of the
/// hooks may write there too, so that it may be anything, also a pipe that never ends or a link to elsewhere.
fn is_of(file: &Path, connection_id: &str) -> bool {
    // Its id stands in it, however long that is.
    let most = LARGEST.saturating_add(6 * connection_id.len() as u64);
    let event = read_event(file, most).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    event.and_then(|event| Some(event.get("connection_id")? == connection_id)) == Some(true)
}

fn read_event(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(file)?;
    let mut text = Vec::new();
    if file.metadata()?.is_file() {
        file.take(most).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// For its owner only, unless the package has made it: then the user of the hooks may use it too.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Visits every file below a directory, hidden ones too, but follows no link.
fn walk(directory: &Path, depth: u32, visit: &mut dyn FnMut(&Path)) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => match walk(&entry.path(), depth - 1, visit) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    // Made by the user of the hooks, who must not keep anybody from being forgotten.
                    tracing::warn!(
                        "hooks: nobody but its owner sees what lies in {}: remove it",
                        entry.path().display()
                    );
                }
                done => done?,
            },
            Ok(kind) if kind.is_file() => visit(&entry.path()),
            Ok(_) => {}
            Err(error) => gone_is_fine(Err(error))?,
        }
    }
    Ok(())
}

/// Everything in a directory that systemd counts, in the order of names; nothing if there is none.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Removes the oldest files until at most `most` are left; returns how many went.
fn thin(directory: &Path, most: usize) -> io::Result<usize> {
    let files = list(directory)?;
    let surplus = files.len().saturating_sub(most);
    for file in files.iter().take(surplus) {
        match fs::remove_file(file) {
            // Not ours; it must not keep the rest from being told.
            Err(error) if error.kind() == ErrorKind::IsADirectory => {}
            done => gone_is_fine(done)?,
        }
    }
    Ok(surplus)
}

/// Another process may have been faster.
fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests;
