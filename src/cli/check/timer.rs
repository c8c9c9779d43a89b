//! Whether systemd will start the next pass, whether passes start and end well, and whether the cadence fits
//! the configuration.

use super::Finding;
use crate::cli::Environment;
use crate::cli::schedule::Schedule;
use crate::cli::table::span;
use crate::cli::timer::cadence::{Cadence, SHIPPED};
use crate::cli::timer::state::{Timer, UNIT};
use crate::config::Settings;
use crate::exit::Exit;
use crate::store::reads::RunRow;

/// The timer, the `last` pass, and conflicts of the cadence with the configuration. `schedule` is `None` if the
/// store cannot be read.
pub(super) fn findings(
    timer: Result<Timer, String>,
    schedule: Option<&Schedule>,
    last: Option<&RunRow>,
    env: &Environment,
) -> Vec<Finding> {
    let mut findings = match timer {
        Ok(timer) => judge(&timer, &env.settings),
        Err(reason) => {
            let mut findings = vec![Finding::skip("timer", reason)];
            // Assumes the interval of past passes, else that of the shipped timer.
            let every =
                schedule.map_or(SHIPPED, |schedule| Cadence::nearest(schedule.every().unsigned_abs()));
            findings.extend(conflicts(every, &env.settings));
            findings
        }
    };
    if let Some(schedule) = schedule {
        findings.extend(last_pass(last, schedule, env));
    }
    findings
}

/// How the last pass ended, and whether passes still start.
fn last_pass(last: Option<&RunRow>, schedule: &Schedule, env: &Environment) -> Vec<Finding> {
    let (what, now) = ("last pass", env.clock.now());
    let Some(pass) = last else {
        let text = "none yet: systemctl start tink-sync.service, or tink-sync run, makes the first";
        return vec![Finding::skip(what, text)];
    };
    let mut findings = Vec::new();
    // A stopped timer and the switch have findings of their own.
    let missed = schedule.problems(now).into_iter().find(|trouble| trouble.kind == "no_pass");
    findings.extend(missed.map(|trouble| Finding::warn(what, trouble.text, trouble.remedy)));
    let ago =
        pass.started_at.parse().map_or_else(|_| pass.started_at.clone(), |at| span(now.duration_since(at)));
    let exit = pass.exit_code.and_then(Exit::from_code);
    findings.push(match (pass.exit_code, exit) {
        (None, _) if pass.at_work => Finding::ok(what, format!("a pass that began {ago} ago is at work")),
        (None, _) => Finding::warn(
            what,
            format!("the last pass, {ago} ago, died before its end"),
            "journalctl -u tink-sync -n 50; the next one takes over where it stopped",
        ),
        (Some(code), Some(exit)) if !exit.is_unit_success() => Finding::warn(
            what,
            format!("the last pass, {ago} ago, ended with {code}: {}", exit.meaning()),
            "tink-sync status tells which connections and why",
        ),
        (Some(code), _) => Finding::ok(what, format!("the last pass began {ago} ago and ended with {code}")),
    });
    findings
}

fn judge(timer: &Timer, settings: &Settings) -> Vec<Finding> {
    let enable = format!("systemctl enable --now {UNIT}");
    if !timer.installed {
        let remedy = format!("install the package, or copy the units; then: {enable}");
        return vec![Finding::warn("timer", format!("{UNIT} is not installed"), remedy)];
    }
    if timer.masked {
        let text = format!("{UNIT} is masked: no pass will be started");
        return vec![Finding::warn("timer", text, format!("systemctl unmask {UNIT} && {enable}"))];
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
    findings.extend(timer.cadence().map(|every| conflicts(every, settings)).unwrap_or_default());
    findings
}

/// Settings that conflict with passes at this cadence.
fn conflicts(every: Cadence, settings: &Settings) -> Vec<Finding> {
    let found = every.conflicts(settings).into_iter();
    found.map(|(text, remedy)| Finding::warn("cadence", text, remedy)).collect()
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
            ("masked", "inactive", "masked", Grade::Warn),
        ] {
            let findings = judged(load, active, file);
            assert!(matches!(&findings[..], [only] if only.grade == grade), "{findings:?}");
        }
        let masked = judged("masked", "inactive", "masked").remove(0);
        assert!(masked.remedy.unwrap().starts_with("systemctl unmask tink-sync.timer && "));
    }

    #[test]
    fn a_last_pass_that_ended_badly_or_not_at_all_is_told() {
        let (fixture, schedule) = (Fixture::new(), Schedule::default());
        let grade = |exit_code: Option<u8>, at_work: bool| {
            let started_at = "2026-06-01T11:00:00Z".to_owned();
            let run = RunRow { started_at, exit_code, at_work, ..RunRow::default() };
            last_pass(Some(&run), &schedule, &fixture.env()).remove(0).grade
        };
        assert_eq!([grade(Some(0), false), grade(Some(11), false), grade(None, true)], [Grade::Ok; 3]);
        assert_eq!([grade(Some(10), false), grade(Some(69), false), grade(None, false)], [Grade::Warn; 3]);
        assert_eq!(last_pass(None, &schedule, &fixture.env())[0].grade, Grade::Skip);
    }

    #[test]
    fn passes_that_stay_away_are_told_whatever_the_timer_says() {
        let fixture = Fixture::new();
        fixture.add(&["c"]);
        fixture.pass(&[("c", crate::domain::outcome::Outcome::Synced, None)], 0);
        fixture.later(13);
        let env = fixture.env();
        let reader = env.reader().unwrap();
        let found = findings(
            Err("none".to_owned()),
            Some(&Schedule::with(&env, &reader, None).unwrap()),
            reader.last_pass().unwrap().as_ref(),
            &env,
        );
        let told: Vec<_> = found.iter().map(|finding| (finding.what, finding.grade)).collect();
        assert_eq!(told, [("timer", Grade::Skip), ("last pass", Grade::Warn), ("last pass", Grade::Ok)]);
        assert!(found[1].text.starts_with("No pass has begun for 13h"), "{found:?}");
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
