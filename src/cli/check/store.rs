//! The checks of what is written on this machine: the store, its directory, room on the disk, the metrics
//! file. Opens everything for reading only, and leaves no file behind.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::unistd::{AccessFlags, Uid, User, access, geteuid};

use super::{Finding, reading, space};
use crate::atomic_file::{AtomicFile, directory_of};
use crate::cli::{Environment, Failure, app};
use crate::config::{READERS, SERVICE_USER, STATE_DIRECTORY};
use crate::exit::Exit;
use crate::identity::{granting, mending};
use crate::store::file::sharing;
use crate::store::{Place, Reader, Rights, StoreError};
/// Read permission for others.
const OTHERS_READ: u32 = 0o004;
/// Permission for others to enter a directory.
const OTHERS_ENTER: u32 = 0o001;

/// The store: present and of this release, or creatable; who may read it; free space.
pub(super) fn findings(env: &Environment) -> Vec<Finding> {
    let place = env.place();
    let Some(path) = place.file() else { return on_server(place) };
    let directory = directory_of(path);
    if !directory.is_dir() {
        return vec![no_directory(directory)];
    }
    if path.is_dir() {
        let shown = path.display();
        let remedy = format!("name a file in store.url, such as sqlite:{shown}/tink-sync.db");
        return vec![
            Finding::fail(Exit::Database, "store", format!("{shown} is a directory")).remedy(remedy),
        ];
    }
    if let Some(finding) = cannot_write(directory, path) {
        return vec![finding];
    }
    let mut findings = vec![opened(place)];
    findings.extend(open_to_others(directory, path));
    if path.exists() {
        findings.push(reading::finding(directory, path));
    }
    findings.extend(space::finding(directory, path));
    findings
}

/// The most missing rights that are named.
const NAMED: usize = 5;

/// A store on a server, and the rights of its role there.
fn on_server(place: &Place) -> Vec<Finding> {
    let rights = match place.rights() {
        Ok(rights) => rights.unwrap_or_default(),
        Err(error) => return vec![unusable(error, place)],
    };
    let role = &rights.role;
    let roles = "-f /usr/share/doc/tink-sync/examples/postgres/roles.sql";
    let psql = format!("psql -d {}", rights.database);
    if !rights.missing.is_empty() {
        let named: Vec<&str> = rights.missing.iter().take(NAMED).map(String::as_str).collect();
        let more = rights.missing.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("the role {role} lacks {}{more}", named.join(", "));
        let remedy = completing(&rights, &format!("{psql} -v writer={role} {roles}"));
        return vec![Finding::fail(Exit::Database, "store", text).remedy(remedy)];
    }
    let mut findings = vec![opened(place)];
    if !rights.too_much.is_empty() {
        let text = format!("the role {role} may more than a pass needs: {}", rights.too_much.join(", "));
        findings.push(Finding::warn(
            "store",
            text,
            format!("give tink-sync a role of its own, and name it in store.url: {psql} {roles}"),
        ));
    }
    if let Some(how) = rights.may_lose {
        findings.push(Finding::warn(
            "store",
            format!("{how}; a refresh token that was exchanged then is lost, and its user has to link anew"),
            "set synchronous_commit = on and synchronous_standby_names for the database server",
        ));
    }
    findings.extend(rights.old.into_iter().map(|(who, remedy)| {
        let text = format!(
            "{who} and is still in a transaction: the server keeps all that was deleted or replaced since then, and passes get slower"
        );
        Finding::warn("store", text, format!("end it where it was begun, or: {remedy}"))
    }));
    findings
}

/// How to give a role the rights that it lacks; `script` grants those on what is there.
fn completing(rights: &Rights, script: &str) -> String {
    let (role, lacks) = (&rights.role, |beginning: &str| {
        rights.missing.iter().find_map(|right| right.strip_prefix(beginning))
    });
    if let Some((owner, _)) = lacks("membership of ").and_then(|rest| rest.split_once(", ")) {
        return format!(
            "GRANT {owner} TO {role} for the next run; after it REVOKE {owner} FROM {role}, and: {script} -v owner={owner}"
        );
    }
    if lacks("CREATE on schema tink_sync").is_some() {
        return format!(
            "GRANT CREATE ON SCHEMA tink_sync TO {role} for the first run; after it REVOKE that, and: {script}"
        );
    }
    script.to_owned()
}

fn no_directory(directory: &Path) -> Finding {
    let shown = directory.display();
    let text = format!("its directory {shown} does not exist");
    let by_hand = format!("install -d -m 2750 -o {SERVICE_USER} -g {READERS} {shown}");
    if directory == Path::new(STATE_DIRECTORY) {
        return Finding::warn(
            "store",
            text,
            format!("the first pass by systemd makes it; by hand: {by_hand}"),
        );
    }
    Finding::fail(Exit::Database, "store", text).remedy(format!("create it, or change store.url: {by_hand}"))
}

/// The first place a pass must write to that this user may not write.
fn cannot_write(directory: &Path, path: &Path) -> Option<Finding> {
    let places = [directory.to_owned()].into_iter().chain(sharing::family(path));
    let place = places.into_iter().find(|place| place.exists() && !may_write(place))?;
    let shown = place.display();
    let whose = fs::metadata(&place).map_or_else(|error| error.to_string(), |file| described(&file));
    let text = format!("{shown} is not writable for this user ({whose})");
    let me = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let remedy = match me.as_deref() {
        Some("root") => format!("mount -o remount,rw the file system of {shown}, or lsattr -d {shown}"),
        Some(SERVICE_USER) => mending(&place, Some(SERVICE_USER), "u+rw"),
        Some(_) | None => format!(
            "look as the service user: sudo tink-sync check; or: {}",
            mending(&place, Some(SERVICE_USER), "u+rw")
        ),
    };
    Some(Finding::fail(Exit::Database, "store", text).remedy(remedy))
}

/// Uses access(2), which takes access lists and read-only file systems into account.
fn may_write(path: &Path) -> bool {
    access(path, AccessFlags::W_OK).is_ok()
}

/// `owner root, mode 0600`
fn described(file: &Metadata) -> String {
    let owner = User::from_uid(Uid::from_raw(file.uid())).ok().flatten();
    let owner = owner.map_or_else(|| file.uid().to_string(), |user| user.name);
    format!("owner {owner}, mode {:04o}", file.permissions().mode() & 0o7777)
}

fn opened(place: &Place) -> Finding {
    match place.is_there() {
        Ok(true) => {}
        Ok(false) => return Finding::ok("store", format!("{place} will be created by the first run")),
        Err(error) => return unusable(error, place),
    }
    match Reader::open(place).and_then(|reader| reader.damage()) {
        Ok(None) if place.file().is_none() => {
            Finding::ok("store", format!("{place} is there and of this release"))
        }
        Ok(None) => Finding::ok("store", format!("{place} is there, of this release, and writable")),
        Ok(Some(damage)) => Finding::fail(Exit::Database, "store", format!("{place} is damaged: {damage}"))
            .remedy(format!(
                "put a backup in its place, or rescue what can be read: sudo -u {SERVICE_USER} sqlite3 {place} .recover"
            )),
        // The next run migrates it by itself.
        Err(error @ StoreError::Older { .. }) => Finding::ok("store", error.to_string()),
        Err(error @ StoreError::Newer { .. }) => Finding::fail(Exit::Database, "store", error.to_string())
            .remedy("install the newer release again, or put back the copy that was made before the upgrade"),
        // The message contains the remedy.
        Err(error @ StoreError::Unfinished { .. }) => {
            Finding::fail(Exit::Database, "store", error.to_string())
        }
        Err(error) => unusable(error, place),
    }
}

fn unusable(error: StoreError, place: &Place) -> Finding {
    let finding = failed("store", &error.into());
    match place.file() {
        Some(path) if finding.remedy.is_none() => {
            finding.remedy(format!("find out who holds or changed it: fuser {}", path.display()))
        }
        _ => finding,
    }
}

/// Other users of the machine could read the money data.
fn open_to_others(directory: &Path, path: &Path) -> Option<Finding> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |file| file.permissions().mode());
    let open = mode(directory) & OTHERS_ENTER != 0 && mode(path) & OTHERS_READ != 0;
    open.then(|| {
        let shown = path.display();
        let text = format!("every user of this machine may read {shown} (mode {:04o})", mode(path) & 0o7777);
        let remedy = [path, directory].map(|place| mending(place, None, "o="));
        Finding::warn("store", text, remedy.join(" && "))
    })
}

/// Whether the metrics file, if configured, can be written.
pub(super) fn metrics(env: &Environment) -> Option<Finding> {
    let (what, path) = ("metrics file", env.settings.report.metrics_file.as_ref()?);
    let directory = directory_of(path);
    let shown = directory.display();
    if !directory.is_dir() {
        let remedy =
            format!("install -d -o {SERVICE_USER} -g {SERVICE_USER} {shown}, or change report.metrics_file");
        return Some(Finding::warn(what, format!("its directory {shown} does not exist"), remedy));
    }
    if !may_write(directory) {
        let remedy = format!("let the service write there: {}", granting(directory, SERVICE_USER, "rwx"));
        return Some(Finding::warn(
            what,
            format!("its directory {shown} is not writable for this user"),
            remedy,
        ));
    }
    if let Err(error) = AtomicFile::create(path, 0o600, &env.protected()) {
        let remedy = "name another file in report.metrics_file";
        return Some(Finding::fail(Exit::Configuration, what, error.to_string()).remedy(remedy));
    }
    Some(Finding::ok(what, format!("{} can be written", path.display())))
}

/// Whether the store holds the data of the configured Tink app.
pub(super) fn app(env: &Environment, reader: &Reader) -> Option<Finding> {
    let other = app::other_in(env, reader).ok()??;
    let text = app::sentence(env, &other);
    let (text, remedy) = text.split_once("; ").unwrap_or((&text, app::ACCEPT));
    Some(Finding::fail(Exit::Configuration, "Tink app", text).remedy(remedy))
}

/// A failure as a finding; the message contains the remedy.
pub(super) fn failed(what: &'static str, failure: &Failure) -> Finding {
    let text = failure.to_string();
    match text.split_once("; ") {
        Some((text, remedy)) => Finding::fail(failure.into(), what, text).remedy(remedy),
        None => Finding::fail(failure.into(), what, text),
    }
}
