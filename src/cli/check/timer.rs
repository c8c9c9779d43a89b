//! Whether systemd will start the next pass, and whether the cadence goes with the configuration.

use super::Finding;
use crate::cli::timer::state::{Timer, UNIT};
use crate::config::Settings;

/// The state of the timer; skipped where no systemd runs.
pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    match Timer::ask() {
        Ok(timer) => judge(&timer, settings),
        Err(reason) => vec![Finding::skip("timer", reason)],
    }
}

fn judge(timer: &Timer, settings: &Settings) -> Vec<Finding> {
    let enable = format!("systemctl enable --now {UNIT}");
    if !timer.installed {
        let remedy = format!("install the package, or copy the units; then: {enable}");
        return vec![Finding::warn("timer", format!("{UNIT} is not installed"), remedy)];
    }
    if !timer.running {
        return vec![Finding::warn("timer", format!("{UNIT} does not run: no pass will be started"), enable)];
    }
    let mut findings = Vec::new();
    if timer.enabled {
        let next = timer
            .next
            .as_ref()
            .map_or_else(|| "one is being run now".to_owned(), |next| format!("the next starts {next}"));
        findings.push(Finding::ok("timer", format!("{}; {next}", timer.rhythm())));
    } else {
        findings.push(Finding::warn(
            "timer",
            format!("{UNIT} runs now but will not after a restart"),
            enable,
        ));
    }
    let conflicts = timer.cadence().map(|cadence| cadence.conflicts(settings)).unwrap_or_default();
    findings.extend(conflicts.into_iter().map(|(text, remedy)| Finding::warn("cadence", text, remedy)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Grade;
    use crate::cli::fixture::Fixture;

    const CALENDAR: &str = "TimersCalendar={ OnCalendar=*-*-* 00/6:00:00 UTC ; next_elapse=x }";

    fn judged(load: &str, active: &str, file: &str) -> Vec<Finding> {
        let answer = format!(
            "LoadState={load}\nActiveState={active}\nUnitFileState={file}\n{CALENDAR}\nNextElapseUSecRealtime=\n"
        );
        judge(&Timer::read(&answer), &Fixture::new().env().settings)
    }

    #[test]
    fn only_an_enabled_and_running_timer_is_fine() {
        for (load, active, file, grade) in [
            ("loaded", "active", "enabled", Grade::Ok),
            ("loaded", "active", "disabled", Grade::Warn),
            ("loaded", "inactive", "enabled", Grade::Warn),
            ("not-found", "inactive", "", Grade::Warn),
        ] {
            let findings = judged(load, active, file);
            assert!(matches!(&findings[..], [only] if only.grade == grade), "{findings:?}");
        }
    }

    #[test]
    fn the_next_elapse_is_told() {
        let answer = format!(
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n{CALENDAR}\nNextElapseUSecRealtime=Wed 2026-07-01 06:12:13 UTC\n"
        );
        let findings = judge(&Timer::read(&answer), &Fixture::new().env().settings);
        assert_eq!(findings[0].text, "a pass every 6h; the next starts Wed 2026-07-01 06:12:13 UTC");
    }

    #[test]
    fn a_cadence_that_does_not_go_with_the_configuration_is_a_warning() {
        let answer = format!(
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n{}\n",
            CALENDAR.replace("00/6", "00/1")
        );
        let findings = judge(&Timer::read(&answer), &Fixture::new().env().settings);
        let warned: Vec<&str> = findings.iter().filter(|f| f.grade == Grade::Warn).map(|f| f.what).collect();
        assert_eq!(warned, ["cadence", "cadence"], "{findings:?}");
    }
}
