//! The state of the timer as systemd reports it. Runs `systemctl` and parses its output; judges nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::cadence::Cadence;

pub(in crate::cli) const UNIT: &str = "tink-sync.timer";
const PROPERTIES: &str =
    "LoadState,ActiveState,UnitFileState,TimersCalendar,NextElapseUSecRealtime,LastTriggerUSec,DropInPaths";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent answers of systemd's")]
pub(in crate::cli) struct Timer {
    pub installed: bool,
    /// Masked in systemd: it cannot be started at all.
    pub masked: bool,
    pub running: bool,
    pub enabled: bool,
    /// The calendar expressions in force.
    pub calendar: Vec<String>,
    /// When the next pass starts; `None` while one runs, or if the timer does not run.
    pub next: Option<String>,
    /// When it last started one.
    pub last: Option<String>,
    /// The files that change the shipped unit.
    pub drop_ins: Vec<String>,
}

impl Timer {
    /// Reads the timer's properties from systemd.
    ///
    /// # Errors
    /// Why systemd gives no answer.
    pub(in crate::cli) fn ask() -> Result<Self, String> {
        if !is_systemd() {
            return Err("no systemd runs here, so something else has to start tink-sync run".to_owned());
        }
        systemctl(&["show", UNIT, "--property", PROPERTIES]).map(|answer| Self::read(&answer))
    }

    /// `answer` has lines of the form `Property=value`.
    pub(in crate::cli) fn read(answer: &str) -> Self {
        let value = |name: &str| {
            let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.filter(|value| !value.is_empty() && *value != "n/a").map(str::to_owned)
        };
        // A timer with several expressions has a line for each.
        let calendar = answer.lines().filter_map(|line| {
            let (_, rest) = line.strip_prefix("TimersCalendar=")?.split_once("OnCalendar=")?;
            Some(rest.split(" ;").next()?.trim().to_owned())
        });
        let is = |name: &str, known: &[&str]| value(name).is_some_and(|word| known.contains(&word.as_str()));
        Self {
            installed: is("LoadState", &["loaded", "masked"]),
            masked: is("LoadState", &["masked"]) || is("UnitFileState", &["masked", "masked-runtime"]),
            running: is("ActiveState", &["active"]),
            enabled: is("UnitFileState", &["enabled", "enabled-runtime", "static", "linked"]),
            calendar: calendar.collect(),
            next: value("NextElapseUSecRealtime"),
            last: value("LastTriggerUSec"),
            drop_ins: value("DropInPaths")
                .map(|paths| paths.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }

    /// The time of [`Self::next`].
    pub(in crate::cli) fn next_at(&self) -> Option<Timestamp> {
        time(self.next.as_deref()?)
    }

    /// The cadence, if it is one of ours.
    pub(in crate::cli) fn cadence(&self) -> Option<Cadence> {
        match &self.calendar[..] {
            [only] => Cadence::of_calendar(only),
            _ => None,
        }
    }

    /// Describes the cadence.
    pub(in crate::cli) fn rhythm(&self) -> String {
        match (self.cadence(), &self.calendar[..]) {
            (Some(cadence), _) => format!("a pass every {cadence}"),
            (None, []) => "no calendar".to_owned(),
            (None, own) => format!("a pass at {}", own.join(" and ")),
        }
    }
}

/// A time as systemctl shows it in UTC: `Wed 2026-07-01 06:12:13 UTC`.
fn time(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(' ')?;
    let civil: DateTime = rest.strip_suffix(" UTC")?.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// Whether this machine was started by systemd.
pub(in crate::cli) fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Runs `systemctl`; returns its output, with times in UTC.
///
/// # Errors
/// The error output of `systemctl`, or why it cannot be run.
pub(in crate::cli) fn systemctl(args: &[&str]) -> Result<String, String> {
    let output = Command::new("systemctl")
        .args(args)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("systemctl cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read() {
        let timer = Timer::read(
            "TimersCalendar={ OnCalendar=*-*-* 00/4:00:00 UTC ; next_elapse=Tue 2026-11-24 16:12:13 UTC }\n\
             NextElapseUSecRealtime=Tue 2026-11-24 16:12:13 UTC\nLastTriggerUSec=n/a\nLoadState=loaded\n\
             ActiveState=active\nUnitFileState=enabled\nDropInPaths=/etc/a.conf /etc/b.conf\n",
        );
        assert!(timer.installed && timer.running && timer.enabled);
        assert_eq!(timer.rhythm(), "a pass every 4h");
        assert_eq!(timer.next.as_deref(), Some("Tue 2026-11-24 16:12:13 UTC"));
        assert_eq!(timer.next_at(), Some("2026-11-24T16:12:13Z".parse().unwrap()));
        assert_eq!(timer.last, None);
        assert_eq!(timer.drop_ins, ["/etc/a.conf", "/etc/b.conf"]);
        assert_eq!(Timer::read(""), Timer::default());
    }

    #[test]
    fn a_masked_timer_is_there_and_does_not_run() {
        let timer = Timer::read("LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n");
        assert!(timer.installed && timer.masked && !timer.running && !timer.enabled);
    }

    #[test]
    fn an_operators_own_calendar_is_shown_as_it_is() {
        let timer = Timer::read(
            "TimersCalendar={ OnCalendar=Mon *-*-* 03:00:00 ; next_elapse=x }\n\
             TimersCalendar={ OnCalendar=*-*-* 12:00:00 ; next_elapse=y }\n",
        );
        assert_eq!(timer.cadence(), None);
        assert_eq!(timer.rhythm(), "a pass at Mon *-*-* 03:00:00 and *-*-* 12:00:00");
    }
}
