//! The spool of hooks: one file per event in a directory per kind, there as a whole or not at all. What is
//! in it has left the store and waits for a program of the operator's; no program is started here. The user of
//! the hooks writes in those directories too, so whatever lies there is taken for a trap until it was looked at.

mod place;

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::atomic_file::{self, AtomicFile};
use crate::domain::hook::{HookEvent, HookKind};
use crate::failpoint;
use place::{gone_is_fine, list};

/// How many events of one kind are kept, in the queue and of those given up.
pub(crate) const MOST: usize = 10_000;
/// No event of ours is longer: two ids of 16 KiB stand in it, at worst with six letters for each of theirs.
const LARGEST: u64 = 4 * 1024 * 1024;
/// No directory of ours is as deep; what the user of the hooks makes may be.
const DEEPEST: u32 = 4;
/// All that lies in the queue of a kind and beside it may take this much of the disk: three times what two full
/// directories of events take.
pub(crate) const QUOTA: u64 = 256 * 1024 * 1024;
/// So often something else is moved out of the way of one event before its kind is given up for this run.
const OBSTACLES: usize = 3;
/// Directory of the events that were given up.
const FAILED: &str = "failed";
/// Held while events are written, so that no two runs write the same one.
const LOCK: &str = ".lock";
/// The group is that of the hooks in a spool of the package's, else that of the owner, whom nothing but a closed
/// directory protects from it.
const MODE: u32 = 0o640;
/// Version of the form of an event.
const SCHEMA: u8 = 1;

#[derive(Clone, Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    /// Its path for people, where this process stands in it.
    name: PathBuf,
}

/// The right to write events, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Spool {
    /// The spool in this directory.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), name: root.to_owned() }
    }

    /// The spool in the working directory, whose path is `name`.
    pub(crate) fn here(name: &Path) -> Self {
        Self { root: PathBuf::from("."), name: name.to_owned() }
    }

    pub(crate) fn place(&self) -> &Path {
        &self.root
    }

    /// The path of one of its files, for people.
    pub(crate) fn shown(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.root).map_or_else(|_| file.to_owned(), |below| self.name.join(below))
    }

    /// Waits for its turn to write; makes the directory if there is none.
    pub(crate) fn turn(&self) -> io::Result<Turn> {
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

    /// Makes the queue of this kind if there is none, and room in it for `new` events; returns how many of the
    /// oldest had to go for them.
    pub(crate) fn make_room(&self, _turn: &Turn, kind: HookKind, new: usize) -> io::Result<usize> {
        let queue = self.queue(kind);
        make(&queue)?;
        place::remove_larger(&queue, LARGEST)?;
        place::thin(&queue, MOST.saturating_sub(new))
    }

    /// Writes one event; one that is there already is written anew. Returns where to something else went that
    /// had its name.
    ///
    /// # Errors
    /// As the file system reports it; no other event is worse for it.
    pub(crate) fn put(&self, _turn: &Turn, event: &HookEvent) -> io::Result<Option<PathBuf>> {
        let place = self.queue(event.kind).join(format!("{}.json", event.id));
        let mut moved = None;
        for _ in 0..OBSTACLES {
            // Made outside of all queues, where nobody else writes and nothing is started.
            match write(&self.root, &place, text(event).as_bytes()) {
                Err(error) if place::is_obstacle(&error) => moved = Some(place::move_aside(&place)?),
                done => return done.map(|()| moved),
            }
        }
        Err(io::Error::other("something else takes its place again and again"))
    }

    /// Makes what was put into the queue of this kind outlast a power cut.
    pub(crate) fn sync_queue(&self, _turn: &Turn, kind: HookKind) -> io::Result<()> {
        File::open(self.queue(kind))?.sync_all()
    }

    /// What waits of one kind, oldest first.
    pub(crate) fn waiting(&self, kind: HookKind) -> io::Result<Vec<PathBuf>> {
        list(&self.queue(kind))
    }

    /// How many of one kind were given up; 0 if nobody may look.
    pub(crate) fn given_up(&self, kind: HookKind) -> usize {
        list(&self.failed(kind)).map_or(0, |files| files.len())
    }

    /// How many things that are no events were moved out of the way of this kind; 0 if nobody may look.
    pub(crate) fn aside(&self, kind: HookKind) -> usize {
        let count = |directory: &Path| place::moved_aside(directory).map_or(0, |files| files.len());
        count(&self.queue(kind)) + count(&self.failed(kind))
    }

    /// Whether what lies there of this kind takes more of the disk than events can.
    pub(crate) fn is_over_quota(&self, kind: HookKind) -> bool {
        let usage = |directory: PathBuf| place::usage(&directory, 4 * MOST);
        usage(self.queue(kind)).saturating_add(usage(self.failed(kind))) > QUOTA
    }

    /// Removes whatever lies there of this kind and is no event.
    pub(crate) fn sweep(&self, kind: HookKind) -> io::Result<()> {
        place::sweep(&self.queue(kind), LARGEST)?;
        place::sweep(&self.failed(kind), LARGEST)
    }

    /// Reads an event that waits: through no link, and only if it is a regular file of an event's size.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if somebody was faster; else why it is no event.
    pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
        place::read(file, LARGEST)
    }

    /// Takes an event that was told out of the queue, or what has taken its place meanwhile.
    pub(crate) fn told(file: &Path) -> io::Result<()> {
        match fs::remove_file(file) {
            Err(error) if place::is_obstacle(&error) => place::move_aside(file).map(|_| ()),
            done => gone_is_fine(done),
        }
    }

    /// Puts whatever lies in a queue aside for good; returns where to.
    pub(crate) fn give_up(&self, kind: HookKind, file: &Path) -> io::Result<PathBuf> {
        let aside = self.failed(kind);
        make(&aside)?;
        place::thin(&aside, MOST - 1)?;
        let to = aside.join(file.file_name().unwrap_or_default());
        match fs::rename(file, &to) {
            // Its unit sees each of the two directories by itself.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => carry(file, &to),
            Err(error) if place::is_obstacle(&error) => {
                place::move_aside(&to)?;
                gone_is_fine(fs::rename(file, &to)).map(|()| to)
            }
            done => gone_is_fine(done).map(|()| to),
        }
    }

    /// Writes one event by hand into the queue of its kind, under a name that no other has; returns its place.
    pub(crate) fn add(&self, kind: HookKind, id: &str, text: &str) -> io::Result<PathBuf> {
        let queue = self.queue(kind);
        let place = queue.join(format!("{id}.json"));
        write(&queue, &place, text.as_bytes())?;
        Ok(place)
    }

    /// Brings what was given up of one kind back into its queue; returns how many events, and how many things
    /// stay since they are none.
    pub(crate) fn retry(&self, kind: HookKind) -> io::Result<(usize, usize)> {
        let (mut back, mut stay) = (0, 0);
        for file in list(&self.failed(kind))? {
            let to = self.queue(kind).join(file.file_name().unwrap_or_default());
            let is_event = fs::symlink_metadata(&file).is_ok_and(|found| found.is_file());
            if is_event && !to.is_dir() {
                gone_is_fine(fs::rename(&file, &to))?;
                back += 1;
            } else {
                stay += 1;
            }
        }
        Ok((back, stay))
    }

    /// Removes what was given up of one kind, and what was moved out of its way; returns how many things went.
    pub(crate) fn drop_failed(&self, kind: HookKind) -> io::Result<usize> {
        let mut all = list(&self.failed(kind))?;
        all.extend(place::moved_aside(&self.failed(kind))?);
        all.extend(place::moved_aside(&self.queue(kind))?);
        for one in &all {
            place::remove(one)?;
        }
        Ok(all.len())
    }

    /// Removes every event of a connection that `erase` erases from the store, wherever in the spool it lies and under
    /// whatever name, and what was left of one that was being written. The turn is taken first, so that no run brings
    /// another one meanwhile.
    ///
    /// # Errors
    /// That of `erase`, or as the file system reports it; it can be repeated.
    pub(crate) fn forget<T, E: From<io::Error>>(
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
    pub(crate) fn of(&self, connection_id: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.root, DEEPEST, &mut |file| {
            if is_of(file, connection_id) {
                found.push(file.to_owned());
            }
        })?;
        Ok(found)
    }

    /// Where events of one kind wait.
    pub(crate) fn queue(&self, kind: HookKind) -> PathBuf {
        self.root.join(kind.as_str())
    }

    /// Where those lie that were given up. No queue: nothing there starts a program.
    pub(crate) fn failed(&self, kind: HookKind) -> PathBuf {
        self.root.join(FAILED).join(kind.as_str())
    }
}

/// The line of an event.
#[derive(Serialize)]
struct EventJson<'a> {
    schema: u8,
    event: &'static str,
    id: &'a str,
    at: Timestamp,
    run_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(flatten)]
    details: Map<String, Value>,
}

/// An event as hooks get it: one line of JSON.
pub(crate) fn text(event: &HookEvent) -> String {
    // Written by the store itself; what cannot be read says nothing.
    let details: Map<String, Value> = serde_json::from_str(&event.details).unwrap_or_default();
    let ids = event.connection_id.as_ref().zip(event.user_id.as_ref());
    let told = EventJson {
        schema: SCHEMA,
        event: event.kind.as_str(),
        id: &event.id,
        at: event.at,
        run_id: event.run_id.as_str(),
        connection_id: ids.map(|(connection, _)| connection.as_str()),
        user_id: ids.map(|(_, user)| user.as_str()),
        details,
    };
    // As a value first: its members come in the order of their names, and each once.
    let told = serde_json::to_value(told).unwrap_or_default();
    format!("{told}\n")
}

/// Whether a file is an event of this connection. What cannot be read as one is none of ours: the user of the
/// hooks may write there too, so that it may be anything, also a pipe that never ends or a link to elsewhere.
fn is_of(file: &Path, connection_id: &str) -> bool {
    // Its id stands in it, however long that is.
    let most = LARGEST.saturating_add(6 * connection_id.len() as u64);
    let event = place::read(file, most).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    event.and_then(|event| Some(event.get("connection_id")? == connection_id)) == Some(true)
}

/// Puts an event that was made in `workshop` into its place, as a whole.
fn write(workshop: &Path, place: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create_in(workshop, place, MODE)?;
    file.write_all(text)?;
    file.replace(["write an event", "spool an event"])
}

/// Moves an event to where a rename does not reach. What is none stays in its queue, out of the way.
fn carry(file: &Path, to: &Path) -> io::Result<PathBuf> {
    let text = match place::read(file, LARGEST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(to.to_owned()),
        Err(_) => return place::move_aside(file),
        Ok(text) => text,
    };
    if fs::symlink_metadata(to).is_ok_and(|found| !found.is_file()) {
        place::move_aside(to)?;
    }
    write(to.parent().unwrap_or(Path::new(".")), to, &text)?;
    gone_is_fine(fs::remove_file(file))?;
    Ok(to.to_owned())
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
                    tracing::warn!("hooks: only its owner can read {}: remove it", entry.path().display());
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

#[cfg(test)]
mod tests;
