//! `tink-sync timer`: shows how often passes start, and changes it with a drop-in of its own. Changes no
//! other file and no unit but the timer.

pub(super) mod cadence;
pub(super) mod state;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use humantime::format_duration;

use super::{Failure, table};
use crate::atomic_file::{self, Protected};
use crate::config::Settings;
use crate::exit::Exit;
use crate::identity;
use cadence::{Cadence, SHIPPED};
use state::{Timer, UNIT, systemctl};

const DIRECTORY: &str = "/etc/systemd/system/tink-sync.timer.d";
const FILE: &str = "50-tink-sync-cadence.conf";
/// The first line, by which our file is recognized.
const OURS: &str = "# Written by `tink-sync timer --every`.";

/// Arguments of `timer`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync timer                  how often, and when next?\n  sudo tink-sync timer --every 4h  every four hours from now on\n  sudo tink-sync timer --every 6h  as shipped"
)]
pub struct Args {
    /// Start a pass this often from now on: 5m to 24h, and a day must be a multiple of it
    #[arg(long, value_name = "DURATION", value_parser = table::duration)]
    pub every: Option<Duration>,
}

/// Shows the cadence, after changing it if requested.
///
/// # Errors
/// [`Failure::Usage`] for a cadence that no timer can keep or the quota forbids, and if systemd does not run
/// or the timer is not installed; [`Failure::Io`] if the drop-in cannot be written or systemd fails.
pub(super) fn run(settings: &Settings, args: &Args) -> Result<Exit, Failure> {
    if let Some(every) = args.every {
        let cadence = Cadence::of(every).map_err(Failure::Usage)?;
        cadence.fits(settings).map_err(Failure::Usage)?;
        // Checked first: nothing is written where it would have no effect.
        let timer = installed()?;
        change(Path::new(DIRECTORY), cadence)?;
        let told = |error: String| Failure::Io(io::Error::other(error));
        systemctl(&["daemon-reload"]).map_err(told)?;
        if timer.running {
            // Restarting a timer neither stops nor starts a pass.
            systemctl(&["restart", UNIT]).map_err(told)?;
        }
    }
    let timer = installed()?;
    table::print(&shown(&timer))?;
    for (text, remedy) in timer.cadence().map(|cadence| cadence.conflicts(settings)).unwrap_or_default() {
        tracing::warn!("{text}; {remedy}");
    }
    Ok(Exit::Success)
}

fn installed() -> Result<Timer, Failure> {
    let timer = Timer::ask().map_err(Failure::Usage)?;
    if timer.installed {
        return Ok(timer);
    }
    Err(Failure::Usage(format!("{UNIT} is not installed; install the package, or copy the units")))
}

/// Writes the drop-in, or removes it for the shipped cadence.
fn change(directory: &Path, cadence: Cadence) -> Result<(), Failure> {
    let path = directory.join(FILE);
    let explained = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied if !identity::is_root() => {
                format!("; only root may: sudo tink-sync timer --every {cadence}")
            }
            _ => String::new(),
        };
        Failure::Io(io::Error::new(error.kind(), format!("{}: {error}{hint}", path.display())))
    };
    match fs::read_to_string(&path) {
        Ok(text) if !text.starts_with(OURS) => {
            return Err(Failure::Usage(format!(
                "{} was not written by this command; remove it first, or change the cadence there",
                path.display()
            )));
        }
        Ok(_) if cadence == SHIPPED => return fs::remove_file(&path).map_err(explained),
        Err(error) if error.kind() == io::ErrorKind::NotFound && cadence == SHIPPED => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explained(error)),
        Ok(_) | Err(_) => {}
    }
    fs::create_dir_all(directory).and_then(|()| replace(&path, &drop_in(cadence))).map_err(explained)
}

fn drop_in(cadence: Cadence) -> String {
    format!(
        "{OURS} Undo it with `tink-sync timer --every {SHIPPED}`, or\n\
         # remove this file and run `systemctl daemon-reload`.\n\
         [Timer]\n\
         OnCalendar=\n\
         OnCalendar={}\n\
         RandomizedDelaySec={}\n",
        cadence.calendar(),
        format_duration(cadence.spread()),
    )
}

/// Atomic, so that systemd never reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    atomic_file::replace(
        path,
        0o644,
        text,
        &Protected::default(),
        ["write the drop-in", "replace the drop-in"],
    )
}

fn shown(timer: &Timer) -> String {
    let state = match (timer.running, timer.enabled) {
        (true, true) => "enabled and running".to_owned(),
        (true, false) => format!("runs now, but not after a restart: systemctl enable {UNIT}"),
        (false, _) => format!("does not run: systemctl enable --now {UNIT}"),
    };
    let next = if timer.running { "a pass is being run now" } else { "never" };
    let next = timer.next.as_deref().unwrap_or(next);
    let last = timer.last.as_deref().unwrap_or("none started by the timer yet");
    let changed: Vec<String> = timer.drop_ins.iter().map(|path| format!("changed by {path}\n")).collect();
    format!("cadence    {}\ntimer      {state}\nnext pass  {next}\nlast pass  {last}\n", timer.rhythm())
        + &changed.concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of_hours(hours: u64) -> Cadence {
        Cadence::of(Duration::from_hours(hours)).unwrap()
    }

    #[test]
    fn the_drop_in_is_written_replaced_and_taken_away() {
        let etc = tempfile::tempdir().unwrap();
        let directory = etc.path().join("tink-sync.timer.d");
        let path = directory.join(FILE);
        change(&directory, SHIPPED).unwrap();
        assert!(!directory.exists(), "the shipped cadence needs no file");
        for (hours, calendar, delay) in [(4, "00/4:00:00", "40m"), (24, "00:00:00", "1h")] {
            change(&directory, of_hours(hours)).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("OnCalendar=\nOnCalendar=*-*-* {calendar} UTC\n")), "{text}");
            assert!(text.contains(&format!("RandomizedDelaySec={delay}\n")), "{text}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        change(&directory, SHIPPED).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join(FILE), "[Timer]\n").unwrap();
        for cadence in [SHIPPED, of_hours(4)] {
            let error = change(etc.path(), cadence).unwrap_err();
            assert!(matches!(&error, Failure::Usage(text) if text.contains("not written by")), "{error}");
        }
        assert_eq!(fs::read_to_string(etc.path().join(FILE)).unwrap(), "[Timer]\n");
    }

    #[test]
    fn the_state_is_shown_in_words() {
        let timer = Timer {
            running: true,
            enabled: true,
            drop_ins: vec!["/etc/x.conf".to_owned()],
            ..Timer::default()
        };
        let text = shown(&timer);
        assert!(text.contains("enabled and running") && text.contains("being run now"), "{text}");
        assert!(text.contains("changed by /etc/x.conf"), "{text}");
        assert!(shown(&Timer::default()).contains("systemctl enable --now"));
    }
}
