//! The spool of hooks: one file per event in a directory per kind, written as a whole or not at all. Events
//! in it have left the store and wait for a program of the operator; this module starts no program. The user
//! of the hooks writes in those directories too, so everything there counts as a trap until it was inspected.

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

/// The most events of one kind that are kept, in the queue and among those given up.
pub(crate) const MOST: usize = 10_000;
/// Larger than any event of ours: it has two ids of 16 KiB, at worst with six characters for each of theirs.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Deeper than any directory of ours; the user of the hooks may make deeper ones.
const DEEPEST: u32 = 4;
/// The disk space that the queue of a kind and its events given up may take: three times what two full
/// directories of events take.
pub(crate) const QUOTA: u64 = 256 * 1024 * 1024;
/// How often something else is moved out of the way of one event before its kind is given up for this run.
const OBSTACLES: usize = 3;
/// Directory of the events given up.
const FAILED: &str = "failed";
/// Locked while events are written, so that no two runs write the same one.
const LOCK: &str = ".lock";
/// The group is that of the hooks in a spool that the package made; elsewhere it is that of the owner, and
/// only a closed directory protects the file from it.
const MODE: u32 = 0o640;
/// Version of the event format.
const SCHEMA: u8 = 1;

#[derive(Clone, Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    /// Its path for people, if this process is in it.
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

    /// The path of one of its files, as shown to people.
    pub(crate) fn shown(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.root).map_or_else(|_| file.to_owned(), |below| self.name.join(below))
    }

    /// Waits for its turn to write; creates the directory if it does not exist.
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

    /// Creates the queue of this kind if it does not exist, and makes room in it for `new` events; returns
    /// how many of the oldest were removed.
    pub(crate) fn make_room(&self, _turn: &Turn, kind: HookKind, new: usize) -> io::Result<usize> {
        let queue = self.queue(kind);
        make(&queue)?;
        place::remove_larger(&queue, LARGEST)?;
        place::thin(&queue, MOST.saturating_sub(new))
    }

    /// Writes one event, replacing an earlier copy. If something else had its name, returns the path to which
    /// that was moved.
    ///
    /// # Errors
    /// As the file system reports it; no other event is affected.
    pub(crate) fn put(&self, _turn: &Turn, event: &HookEvent) -> io::Result<Option<PathBuf>> {
        let place = self.queue(event.kind).join(format!("{}.json", event.id));
        let mut moved = None;
        for _ in 0..OBSTACLES {
            // Created outside of all queues, where no other user writes and no program is started.
            match write(&self.root, &place, text(event).as_bytes()) {
                Err(error) if place::is_obstacle(&error) => moved = Some(place::move_aside(&place)?),
                done => return done.map(|()| moved),
            }
        }
        Err(io::Error::other("something else takes its place again and again"))
    }

    /// Makes the events put into the queue of this kind survive a power cut.
    pub(crate) fn sync_queue(&self, _turn: &Turn, kind: HookKind) -> io::Result<()> {
        File::open(self.queue(kind))?.sync_all()
    }

    /// The waiting events of one kind, oldest first.
    pub(crate) fn waiting(&self, kind: HookKind) -> io::Result<Vec<PathBuf>> {
        list(&self.queue(kind))
    }

    /// The number of events of one kind that were given up; 0 if the directory cannot be read.
    pub(crate) fn given_up(&self, kind: HookKind) -> usize {
        list(&self.failed(kind)).map_or(0, |files| files.len())
    }

    /// The number of things that are not events and were moved out of the way of this kind; 0 if it cannot be
    /// read.
    pub(crate) fn aside(&self, kind: HookKind) -> usize {
        let count = |directory: &Path| place::moved_aside(directory).map_or(0, |files| files.len());
        count(&self.queue(kind)) + count(&self.failed(kind))
    }

    /// Whether the files of this kind take more of the disk than events can.
    pub(crate) fn is_over_quota(&self, kind: HookKind) -> bool {
        let usage = |directory: PathBuf| place::usage(&directory, 4 * MOST);
        usage(self.queue(kind)).saturating_add(usage(self.failed(kind))) > QUOTA
    }

    /// Removes everything of this kind that is not an event.
    pub(crate) fn sweep(&self, kind: HookKind) -> io::Result<()> {
        place::sweep(&self.queue(kind), LARGEST)?;
        place::sweep(&self.failed(kind), LARGEST)
    }

    /// Reads a waiting event: through no link, and only if it is a regular file no larger than an event.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if another process was faster; else why it is not an event.
    pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
        place::read(file, LARGEST)
    }

    /// Removes a delivered event from the queue, or whatever has taken its place meanwhile.
    pub(crate) fn told(file: &Path) -> io::Result<()> {
        match fs::remove_file(file) {
            Err(error) if place::is_obstacle(&error) => place::move_aside(file).map(|_| ()),
            done => gone_is_fine(done),
        }
    }

    /// Moves anything out of a queue for good; returns its new path.
    pub(crate) fn give_up(&self, kind: HookKind, file: &Path) -> io::Result<PathBuf> {
        let aside = self.failed(kind);
        make(&aside)?;
        place::thin(&aside, MOST - 1)?;
        let to = aside.join(file.file_name().unwrap_or_default());
        match fs::rename(file, &to) {
            // To the hook's unit, the two directories are separate mounts.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => carry(file, &to),
            Err(error) if place::is_obstacle(&error) => {
                place::move_aside(&to)?;
                gone_is_fine(fs::rename(file, &to)).map(|()| to)
            }
            done => gone_is_fine(done).map(|()| to),
        }
    }

    /// Writes one event by hand into the queue of its kind, under a unique name; returns its path.
    pub(crate) fn add(&self, kind: HookKind, id: &str, text: &str) -> io::Result<PathBuf> {
        let queue = self.queue(kind);
        let place = queue.join(format!("{id}.json"));
        write(&queue, &place, text.as_bytes())?;
        Ok(place)
    }

    /// Moves events of one kind that were given up back into its queue; returns how many, and how many things
    /// stay because they are not events or their name is taken.
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

    /// Removes what was given up of one kind, and what was moved out of its way; returns how many things.
    pub(crate) fn drop_failed(&self, kind: HookKind) -> io::Result<usize> {
        let mut all = list(&self.failed(kind))?;
        all.extend(place::moved_aside(&self.failed(kind))?);
        all.extend(place::moved_aside(&self.queue(kind))?);
        for one in &all {
            place::remove(one)?;
        }
        Ok(all.len())
    }

    /// Removes every event of a connection that `erase` erases from the store, anywhere in the spool down to
    /// `DEEPEST` levels and under any name, and what is left of one that was being written. Takes the turn
    /// first, so that no run adds another one meanwhile.
    ///
    /// # Errors
    /// That of `erase`, or the file system's; the call can be repeated.
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
        // The hook's unit may move an event meanwhile, so the search is repeated until it finds none.
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

    /// The directory where events of one kind wait.
    pub(crate) fn queue(&self, kind: HookKind) -> PathBuf {
        self.root.join(kind.as_str())
    }

    /// The directory of the events given up. It is not a queue: nothing there starts a program.
    pub(crate) fn failed(&self, kind: HookKind) -> PathBuf {
        self.root.join(FAILED).join(kind.as_str())
    }
}

/// The JSON of an event.
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
    // The store itself wrote the details; they are left out if they cannot be read.
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
    // As a value first, so that its members are sorted by name and occur once.
    let told = serde_json::to_value(told).unwrap_or_default();
    format!("{told}\n")
}

/// Whether a file is an event of this connection. What cannot be read as an event is not ours: the user of
/// the hooks may write there too, so it may be anything, such as a pipe that never ends or a link.
fn is_of(file: &Path, connection_id: &str) -> bool {
    // Its id is in the file, however long that is.
    let most = LARGEST.saturating_add(6 * connection_id.len() as u64);
    let event = place::read(file, most).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    event.and_then(|event| Some(event.get("connection_id")? == connection_id)) == Some(true)
}

/// Creates an event in `workshop` and puts it into its place as a whole.
fn write(workshop: &Path, place: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create_in(workshop, place, MODE)?;
    file.write_all(text)?;
    file.replace(["write an event", "spool an event"])
}

/// Moves an event to where a rename does not reach. What is not an event stays in its queue, moved aside.
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

/// For its owner only, unless the package has created it: then the user of the hooks may use it too.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Visits every file below a directory, including hidden ones, but follows no link.
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
                    // Made by the user of the hooks, who must not prevent a connection from being forgotten.
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
