//! The checks that need nothing but this machine: configuration, secrets, store, source view. Opens
//! everything for reading only.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

use super::{Finding, Grade};
use crate::cli::connections::{self, naming};
use crate::cli::table::count;
use crate::cli::why::{Rules, why_not};
use crate::cli::{Environment, Failure};
use crate::domain::connection::TinkUser;
use crate::exit::Exit;
use crate::store::StoreError;
use crate::store::sqlite::open_reader;
use crate::store::sqlite::reads::{self, KnownConnection};

/// The file was read before any command starts; what is left are its warnings.
pub(super) fn configuration(env: &Environment) -> Vec<Finding> {
    let settings = &env.settings;
    let mut findings = vec![Finding::ok("configuration", format!("{} is valid", settings.file.display()))];
    // Open secret files are told below, with their remedy.
    let told_below = settings.permission_problems();
    let warnings = settings.warnings.iter().filter(|text| !told_below.contains(text));
    findings.extend(
        warnings.map(|text| Finding { grade: Grade::Warn, ..Finding::ok("configuration", text.clone()) }),
    );
    if !settings.enabled {
        let remedy =
            "remove enabled = false from the configuration, or TINK_SYNC_ENABLED from the environment";
        findings.push(Finding::warn("configuration", "passes are switched off", remedy));
    }
    findings
}

/// Client id, client secret, and who else may read the files. Offline, a machine without them is fine.
pub(super) fn secrets(env: &Environment, offline: bool) -> Vec<Finding> {
    let (settings, tink) = (&env.settings, &env.settings.tink);
    let missing = |what, text: String, remedy: &str| {
        if offline {
            Finding::warn(what, text, remedy)
        } else {
            Finding::fail(Exit::Configuration, what, text).remedy(remedy)
        }
    };
    let mut findings = Vec::new();
    findings.push(match tink.client_id {
        Some(_) => Finding::ok("client id", "set"),
        None => missing(
            "client id",
            "not set".to_owned(),
            "copy it from Tink Console into tink.client_id or TINK_CLIENT_ID",
        ),
    });
    findings.push(match (&tink.client_secret, &tink.client_secret_file) {
        (Some(_), Some(file)) => Finding::ok("client secret", format!("read from {}", file.display())),
        (Some(_), None) => Finding::ok("client secret", "read from the environment"),
        (None, _) => {
            let text = tink.client_secret_problem.clone().unwrap_or_else(|| "not found".to_owned());
            missing("client secret", text, "write it to a file of mode 600 and name that in tink.client_secret_file, or: systemd-creds encrypt --name=tink-sync.client-secret - /etc/credstore.encrypted/tink-sync.client-secret")
        }
    });
    let problems = settings.permission_problems();
    findings.extend(problems.iter().map(|problem| {
        let (text, remedy) =
            problem.split_once("; mend it with: ").unwrap_or((problem.as_str(), "chmod 600 that file"));
        Finding::fail(Exit::Configuration, "permissions", text).remedy(remedy)
    }));
    if problems.is_empty() && !settings.secret_files().is_empty() {
        findings.push(Finding::ok("permissions", "no secret is open to other users"));
    }
    findings
}

/// The store: there and of this release, or possible to create.
pub(super) fn store(env: &Environment) -> Finding {
    let path = match env.store_path() {
        Ok(path) => path,
        Err(failure) => return failed("store", &failure),
    };
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        let shown = directory.display();
        let remedy =
            format!("the package makes it; by hand: install -d -m 700 -o tink-sync -g tink-sync {shown}");
        return Finding::warn("store", format!("its directory {shown} does not exist"), remedy);
    }
    let places = [directory, &path];
    if let Some(place) = places.into_iter().find(|place| place.exists() && !is_writable(place)) {
        let text = format!("{} is not writable for this user", place.display());
        let remedy = "run it as the service user: sudo tink-sync check";
        return Finding::fail(Exit::Database, "store", text).remedy(remedy);
    }
    let shown = path.display();
    if !path.exists() {
        return Finding::ok("store", format!("{shown} will be created by the first run"));
    }
    match open_reader(&path) {
        Ok(_) => Finding::ok("store", format!("{shown} is there, of this release, and writable")),
        // The next run does it by itself.
        Err(error @ StoreError::Older { .. }) => Finding::ok("store", error.to_string()),
        Err(error) => failed("store", &error.into()),
    }
}

/// Asks the system itself, which knows of access lists and read-only file systems; a system without the
/// tool is given the benefit of the doubt.
fn is_writable(path: &Path) -> bool {
    let mut test = Command::new("test");
    let status =
        test.arg("-w").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_or(true, |status| status.success())
}

fn failed(what: &'static str, failure: &Failure) -> Finding {
    Finding::fail(failure.into(), what, failure.to_string())
}

/// The source view and what is in it; also a user to try Tink with, by the id of the connection.
pub(super) fn source(env: &Environment) -> (Vec<Finding>, Option<(String, TinkUser)>) {
    let stand_alone = env.settings.source.view.is_none();
    let Ok(path) = env.store_path() else {
        return (vec![Finding::skip("source view", "not looked at, because of the store")], None);
    };
    if stand_alone && !path.exists() {
        let text = "none yet; connections come from tink-sync connections add";
        return (vec![Finding::ok("connections", text)], None);
    }
    let rows = match connections::source_rows(env) {
        Ok(rows) => rows,
        Err(_) if stand_alone => {
            return (vec![Finding::skip("connections", "not counted, because of the store")], None);
        }
        Err(failure) => return (vec![failed("source view", &failure)], None),
    };
    let mut findings = Vec::new();
    if let Some(view) = &env.settings.source.view {
        findings.push(Finding::ok("source view", format!("{view} is readable and has the columns needed")));
    }
    // A store that cannot be read has its own finding; then everything counts as never synced.
    let known = reads::connections(&path).unwrap_or_default();
    let all = reads::overlay(known, rows);
    findings.extend(counts(&all, &Rules::of(&env.settings), env.clock.now(), stand_alone));
    (findings, someone(&all, env.clock.now()))
}

fn counts(all: &[KnownConnection], rules: &Rules, now: Timestamp, stand_alone: bool) -> Vec<Finding> {
    if all.is_empty() {
        let remedy = if stand_alone {
            "tink-sync connections add --help"
        } else {
            "add them in the application; its view gives no row"
        };
        return vec![Finding::warn("connections", "none", remedy)];
    }
    let number = |is: &dyn Fn(&KnownConnection) -> bool| all.iter().filter(|c| is(c)).count();
    let text = format!(
        "{}, {} enabled and entitled, about {} due now",
        count(all.len(), "connection"),
        number(&|c| c.is_active(now)),
        number(&|c| why_not(c, rules, 0, now).is_none()),
    );
    let mut findings = vec![Finding::ok("connections", text)];
    let bad: Vec<&KnownConnection> = all.iter().filter(|c| c.problem.is_some()).collect();
    if let Some(first) = bad.first() {
        let ids: Vec<&str> = bad.iter().map(|c| c.connection_id.as_str()).collect();
        let problem = first.problem.as_deref().unwrap_or_default();
        let text = format!("{} of the source view cannot be used", count(bad.len(), "row"));
        findings.push(Finding::warn("connections", text, format!("{}: {problem}", naming(ids.into_iter()))));
    }
    findings
}

/// A user to try Tink with, best one that worked before.
fn someone(all: &[KnownConnection], now: Timestamp) -> Option<(String, TinkUser)> {
    let usable = all.iter().filter(|c| c.is_active(now) && c.problem.is_none() && c.tink_user.is_some());
    let best = usable.max_by_key(|c| (c.needs_user.is_none(), c.last_success_at))?;
    Some((best.connection_id.clone(), best.tink_user.clone()?))
}
