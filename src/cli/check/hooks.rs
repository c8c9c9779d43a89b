//! Hooks: whether each program will be run, and whether events were given up.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::Finding;
use crate::cli::hook;
use crate::cli::table::count;
use crate::cli::timer::state::{is_systemd, systemctl};
use crate::config::{HOOKS_SPOOL, HooksSettings};
use crate::domain::hook::HookKind;
use crate::identity;
use crate::observe::spool::Spool;

const WHAT: &str = "hooks";

/// The state of the unit that runs a hook, as systemd reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Enabled,
    /// It does not watch, or will not after a restart.
    Off,
    /// Its service failed to start repeatedly.
    Failed,
    /// Systemd does not run here, or gives no answer.
    Unknown,
}

/// The findings about hooks; having none is fine.
pub(super) fn findings(settings: &HooksSettings) -> Vec<Finding> {
    judge(settings, unit)
}

fn judge(settings: &HooksSettings, unit: impl Fn(HookKind) -> Unit) -> Vec<Finding> {
    let names = match names(&settings.directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let text = format!("{} cannot be read: {error}", settings.directory.display());
            return vec![Finding::warn(WHAT, text, "run it as the service user: sudo tink-sync check")];
        }
        Ok(names) => names,
    };
    let (mut findings, mut good) = (Vec::new(), Vec::new());
    findings.extend(foreign(&settings.directory));
    for name in names {
        let path = settings.directory.join(&name);
        match HookKind::parse(&name) {
            None => findings.push(unknown(&path)),
            Some(kind) => match file(&path).or_else(|| started(kind, unit(kind))) {
                Some(finding) => findings.push(finding),
                None => good.push(name),
            },
        }
    }
    findings.extend(HookKind::ALL.iter().filter_map(|kind| given_up(settings, *kind)));
    findings.extend(HookKind::ALL.iter().filter_map(|kind| aside(settings, *kind)));
    if findings.is_empty() {
        let text = if good.is_empty() { "none".to_owned() } else { good.join(", ") };
        findings.push(Finding::ok(WHAT, text));
    }
    findings
}

/// The names of all files in the directory that are not hidden, sorted.
fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// The owner of the directory can put any program there.
fn foreign(directory: &Path) -> Option<Finding> {
    let found = fs::metadata(directory).ok()?;
    let is_ours = found.uid() == 0 || identity::is_me(found.uid());
    let text = format!("{} belongs to somebody else, who may put any program there", directory.display());
    (!is_ours).then(|| Finding::warn(WHAT, text, "let hooks.directory name a directory of root's"))
}

fn unknown(path: &Path) -> Finding {
    let text = format!("{} is never run", path.display());
    Finding::warn(WHAT, text, format!("the names that are: {}", hook::known()))
}

/// The problem with a file that is to be run.
fn file(path: &Path) -> Option<Finding> {
    let shown = path.display();
    let warn = |text: String, remedy: String| Some(Finding::warn(WHAT, format!("{shown} {text}"), remedy));
    let meta: Metadata = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => return warn(format!("cannot be looked at: {error}"), format!("ls -l {shown}")),
    };
    let mode = meta.permissions().mode();
    if !meta.is_file() {
        return warn("is no file".to_owned(), "it must be a program".to_owned());
    }
    if meta.uid() != 0 && !identity::is_me(meta.uid()) {
        return warn("belongs to somebody else".to_owned(), identity::mending(path, Some("root"), "755"));
    }
    if mode & 0o022 != 0 {
        return warn("can be changed by others".to_owned(), identity::mending(path, None, "go-w"));
    }
    if mode & 0o005 != 0o005 {
        return warn(
            "cannot be read and executed by everybody".to_owned(),
            identity::mending(path, None, "755"),
        );
    }
    None
}

fn started(kind: HookKind, unit: Unit) -> Option<Finding> {
    let name = format!("tink-sync-hook@{kind}.path");
    match unit {
        Unit::Enabled | Unit::Unknown => None,
        Unit::Off => {
            let text = format!("{kind} is not run, since its unit is not enabled");
            Some(Finding::warn(WHAT, text, format!("systemctl enable --now {name}")))
        }
        Unit::Failed => {
            let text = format!("{name} has failed: its service cannot be started");
            let remedy =
                format!("journalctl -u tink-sync-hook@{kind}.service, then: systemctl restart {name}");
            Some(Finding::warn(WHAT, text, remedy))
        }
    }
}

fn given_up(settings: &HooksSettings, kind: HookKind) -> Option<Finding> {
    let spool = Spool::new(&settings.spool);
    let number = spool.given_up(kind);
    if number == 0 {
        return None;
    }
    let text = format!("{kind} failed, and {} given up", count(number, "event"));
    let remedy = format!(
        "journalctl -u 'tink-sync-hook*' says why; to tell them again: sudo tink-sync hook retry {kind}{place}; to remove them: sudo tink-sync hook drop {kind}{place}",
        place = elsewhere(settings)
    );
    Some(Finding::warn(WHAT, text, remedy))
}

/// Reports what a hook has left where events of its kind arrive.
fn aside(settings: &HooksSettings, kind: HookKind) -> Option<Finding> {
    let number = Spool::new(&settings.spool).aside(kind);
    let text = format!(
        "the hook {kind} has left {} where its events come; it was moved out of their way",
        count(number, "thing")
    );
    let remedy =
        format!("look at that program; to remove it: sudo tink-sync hook drop {kind}{}", elsewhere(settings));
    (number > 0).then(|| Finding::warn(WHAT, text, remedy))
}

/// The option for a spool that is not in the package's place.
fn elsewhere(settings: &HooksSettings) -> String {
    if settings.spool == Path::new(HOOKS_SPOOL) {
        return String::new();
    }
    format!(" --spool {}", identity::quoted(&settings.spool))
}

fn unit(kind: HookKind) -> Unit {
    if !is_systemd() {
        return Unit::Unknown;
    }
    let name = format!("tink-sync-hook@{kind}.path");
    systemctl(&["show", &name, "--property", "ActiveState,UnitFileState"])
        .map_or(Unit::Unknown, |answer| read(&answer))
}

/// `answer` has lines of the form `Property=value`.
fn read(answer: &str) -> Unit {
    let is = |line: &str| answer.lines().any(|told| told == line);
    if is("ActiveState=failed") {
        return Unit::Failed;
    }
    let enabled = is("UnitFileState=enabled") || is("UnitFileState=enabled-runtime");
    if enabled && is("ActiveState=active") { Unit::Enabled } else { Unit::Off }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::cli::check::Grade;

    /// Settings over a directory with these programs of these modes.
    fn hooks(files: &[(&str, u32)]) -> (tempfile::TempDir, HooksSettings) {
        let dir = tempfile::tempdir().unwrap();
        let settings = HooksSettings { directory: dir.path().join("hooks"), spool: dir.path().join("spool") };
        fs::create_dir(&settings.directory).unwrap();
        for (name, mode) in files {
            let path = settings.directory.join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
        (dir, settings)
    }

    fn remedies(files: &[(&str, u32)], unit: Unit) -> Vec<String> {
        let (_guard, settings) = hooks(files);
        let findings = judge(&settings, |_| unit);
        findings.into_iter().filter_map(|finding| finding.remedy).collect()
    }

    #[test]
    fn programs_that_will_be_run_are_fine_and_none_too() {
        let (_guard, settings) = hooks(&[("needs-user", 0o755), ("pass-failed", 0o755), (".kept", 0o600)]);
        let findings = judge(&settings, |_| Unit::Enabled);
        assert_eq!((findings.len(), findings[0].grade), (1, Grade::Ok));
        assert_eq!(findings[0].text, "needs-user, pass-failed");
        fs::remove_dir_all(&settings.directory).unwrap();
        assert_eq!(judge(&settings, |_| Unit::Off)[0].text, "none");
    }

    #[test]
    fn each_mistake_has_its_remedy() {
        for (name, mode, unit, remedy) in [
            ("needs-user", 0o644, Unit::Enabled, "chmod 755 "),
            ("needs-user", 0o700, Unit::Enabled, "chmod 755 "),
            ("needs-user", 0o775, Unit::Enabled, "chmod go-w "),
            ("needs-user", 0o757, Unit::Enabled, "chmod go-w "),
            ("needs_user", 0o755, Unit::Enabled, "the names that are: new-transactions, "),
            ("needs-user", 0o755, Unit::Off, "systemctl enable --now tink-sync-hook@needs-user.path"),
            ("needs-user", 0o755, Unit::Failed, "systemctl restart tink-sync-hook@needs-user.path"),
        ] {
            let remedies = remedies(&[(name, mode)], unit);
            assert!(remedies.len() == 1 && remedies[0].contains(remedy), "{name} {mode:o}: {remedies:?}");
        }
        assert_eq!(remedies(&[("needs-user", 0o755)], Unit::Unknown), Vec::<String>::new());
    }

    #[test]
    fn events_that_were_given_up_are_told_of() {
        let (_guard, settings) = hooks(&[]);
        let failed = Spool::new(&settings.spool).failed(HookKind::Recovered);
        fs::create_dir_all(&failed).unwrap();
        fs::write(failed.join("1.json"), "{}").unwrap();
        let findings = judge(&settings, |_| Unit::Enabled);
        assert_eq!((findings.len(), findings[0].grade), (1, Grade::Warn));
        assert!(findings[0].text.contains("recovered failed, and 1 event given up"), "{findings:?}");
        let remedy = findings[0].remedy.clone().unwrap();
        let retry = format!("sudo tink-sync hook retry recovered --spool {}", settings.spool.display());
        assert!(remedy.contains(&retry), "{remedy}");
        fs::create_dir(failed.join(".aside-0-x")).unwrap();
        let findings = judge(&settings, |_| Unit::Enabled);
        assert_eq!(findings.len(), 2);
        assert!(findings[1].text.contains("has left 1 thing where its events come"), "{findings:?}");
    }

    #[test]
    fn only_a_unit_that_waits_now_and_after_a_restart_is_enabled() {
        for (active, file, unit) in [
            ("active", "enabled", Unit::Enabled),
            ("active", "disabled", Unit::Off),
            ("inactive", "enabled", Unit::Off),
            ("inactive", "", Unit::Off),
            ("failed", "enabled", Unit::Failed),
        ] {
            assert_eq!(read(&format!("ActiveState={active}\nUnitFileState={file}\n")), unit);
        }
    }
}
