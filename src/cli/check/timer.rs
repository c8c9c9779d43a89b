//! Whether systemd will start the next pass. Asks `systemctl`, and judges its answer.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Finding;

const UNIT: &str = "tink-sync.timer";
const PROPERTIES: &str = "LoadState,ActiveState,UnitFileState,NextElapseUSecRealtime";

/// The state of the timer; skipped where no systemd runs.
pub(super) fn finding() -> Finding {
    if !Path::new("/run/systemd/system").is_dir() {
        return Finding::skip("timer", "no systemd runs here, so something else has to start tink-sync run");
    }
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["show", UNIT, "--property", PROPERTIES]).env("LC_ALL", "C").stdin(Stdio::null());
    match systemctl.output() {
        Ok(output) if output.status.success() => judge(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Finding::skip("timer", format!("systemctl gave no answer: {}", said.trim()))
        }
        Err(error) => Finding::skip("timer", format!("systemctl cannot be run: {error}")),
    }
}

/// `answer` has lines of the form `Property=value`.
fn judge(answer: &str) -> Finding {
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let enable = format!("systemctl enable --now {UNIT}");
    if value("LoadState") != Some("loaded") {
        let remedy = format!("install the package, or copy the units; then: {enable}");
        return Finding::warn("timer", format!("{UNIT} is not installed"), remedy);
    }
    let is_enabled =
        matches!(value("UnitFileState"), Some("enabled" | "enabled-runtime" | "static" | "linked"));
    if value("ActiveState") != Some("active") {
        return Finding::warn("timer", format!("{UNIT} does not run: no pass will be started"), enable);
    }
    if !is_enabled {
        return Finding::warn("timer", format!("{UNIT} runs now but will not after a restart"), enable);
    }
    match value("NextElapseUSecRealtime").filter(|next| !next.is_empty()) {
        Some(next) => Finding::ok("timer", format!("the next pass starts {next}")),
        None => Finding::ok("timer", "enabled; a pass is being run now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Grade;

    fn grade(load: &str, active: &str, file: &str) -> Grade {
        judge(&format!(
            "LoadState={load}\nActiveState={active}\nUnitFileState={file}\nNextElapseUSecRealtime=\n"
        ))
        .grade
    }

    #[test]
    fn only_an_enabled_and_running_timer_is_fine() {
        assert_eq!(grade("loaded", "active", "enabled"), Grade::Ok);
        assert_eq!(grade("loaded", "active", "disabled"), Grade::Warn);
        assert_eq!(grade("loaded", "inactive", "enabled"), Grade::Warn);
        assert_eq!(grade("not-found", "inactive", ""), Grade::Warn);
        assert_eq!(judge("").grade, Grade::Warn);
    }

    #[test]
    fn the_next_elapse_is_told() {
        let answer = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=Wed 2026-07-01 06:12:13 UTC\n";
        assert_eq!(judge(answer).text, "the next pass starts Wed 2026-07-01 06:12:13 UTC");
    }
}
