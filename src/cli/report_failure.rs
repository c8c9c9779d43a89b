//! `tink-sync report-failure`: logs in one sentence how a unit failed and what to type next. Started by the
//! failure unit; knows only what systemd passes about the unit, and opens neither configuration nor store.

use std::ffi::OsString;

use super::{Failure, table};
use crate::exit::{self, Exit};
use crate::observe::journal::{self, UnitFailure};

/// Arguments of `report-failure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The unit that failed
    #[arg(long, value_name = "NAME")]
    pub unit: String,
    /// Print the sentence as well, for a script that sends it somewhere
    #[arg(long)]
    pub text: bool,
}

/// Exit status of a unit whose credentials systemd could not read.
const CREDENTIALS: u8 = 243;
/// Exit status of a unit whose program systemd could not start.
const EXEC: u8 = 203;

/// # Errors
/// [`Failure::Output`] if the sentence was requested and could not be printed.
pub(super) fn run(args: &Args, variable: fn(&str) -> Option<OsString>) -> Result<Exit, Failure> {
    let told = |name: &str| {
        let value = variable(name)?.into_string().ok().filter(|value| !value.is_empty())?;
        Some(table::clean(&value))
    };
    let failure = UnitFailure {
        unit: table::clean(&args.unit),
        result: told("MONITOR_SERVICE_RESULT"),
        exit_code: told("MONITOR_EXIT_STATUS"),
        invocation_id: told("MONITOR_INVOCATION_ID"),
    };
    let text = sentence(&failure);
    journal::unit_failed(&failure, &text);
    if args.text {
        table::print(&format!("{text}\n"))?;
    }
    Ok(Exit::Success)
}

/// What failed, how, and what to do next.
fn sentence(failure: &UnitFailure) -> String {
    let code = failure.exit_code.as_deref().and_then(|code| code.parse::<u8>().ok());
    let (how, next) = match (failure.result.as_deref(), code) {
        (Some("exit-code"), Some(code)) => ended(code),
        (Some("watchdog"), _) => (
            "it gave no sign of life and was ended; what was complete is stored".to_owned(),
            "please report it as a bug if it happens again",
        ),
        (Some("timeout"), _) => (
            "it took longer than TimeoutStartSec= and was ended; what was complete is stored".to_owned(),
            "see what it was waiting for in the journal",
        ),
        (Some("oom-kill"), _) => (
            "it needed more memory than MemoryMax= allows; what was complete is stored".to_owned(),
            "raise that with systemctl edit, and please report it",
        ),
        (Some("start-limit-hit"), _) => (
            "it was started too often in a short time".to_owned(),
            "systemctl reset-failed, then start it again",
        ),
        (Some(other), _) => (format!("systemd says: {other}"), "see the journal"),
        (None, _) => ("systemd did not say how".to_owned(), "see the journal"),
    };
    let journal = match &failure.invocation_id {
        Some(id) => format!("journalctl _SYSTEMD_INVOCATION_ID={id}"),
        None => format!("journalctl -u '{}'", failure.unit),
    };
    format!("{} failed: {how}; {next}; its journal: {journal}", failure.unit)
}

/// The meaning of an exit status, and what to do next.
fn ended(code: u8) -> (String, &'static str) {
    let known = |meaning: &str| format!("{meaning} (exit status {code})");
    let Some(meaning) = exit::describe(code) else {
        return match code {
            CREDENTIALS => (
                known("systemd could not read one of its credentials"),
                "encrypt it anew, or remove it from /etc/credstore.encrypted",
            ),
            EXEC => (known("the program could not be started"), "see whether /usr/bin/tink-sync is there"),
            _ => (known("it ended in a way that is not its own"), "see the journal"),
        };
    };
    let next = match Exit::from_code(code) {
        Some(Exit::Incomplete) => "look with: sudo tink-sync status; the next pass tries again by itself",
        Some(Exit::TinkUnavailable) => {
            "look at Tink's status page and the network; the next pass tries again by itself"
        }
        Some(Exit::Database | Exit::DatabaseBusy | Exit::Refused | Exit::Configuration) => {
            "look with: sudo tink-sync check"
        }
        Some(
            Exit::Success
            | Exit::Internal
            | Exit::Usage
            | Exit::NeedsUser
            | Exit::Interrupted
            | Exit::Terminated,
        )
        | None => "please report it",
    };
    (known(meaning), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(result: Option<&str>, code: Option<&str>, id: Option<&str>) -> UnitFailure {
        let text = |text: Option<&str>| text.map(str::to_owned);
        UnitFailure {
            unit: "tink-sync.service".to_owned(),
            result: text(result),
            exit_code: text(code),
            invocation_id: text(id),
        }
    }

    #[test]
    fn the_sentence_says_how_it_ended_and_what_to_type() {
        for (result, code, said) in [
            ("exit-code", "69", "Tink as a whole could not be reached"),
            ("exit-code", "10", "sudo tink-sync status"),
            ("exit-code", "78", "sudo tink-sync check"),
            ("exit-code", "243", "credentials (exit status 243)"),
            ("exit-code", "203", "could not be started"),
            ("exit-code", "99", "exit status 99"),
            ("watchdog", "6", "no sign of life"),
            ("timeout", "15", "TimeoutStartSec="),
            ("oom-kill", "9", "MemoryMax="),
            ("start-limit-hit", "", "too often"),
            ("resources", "", "systemd says: resources"),
        ] {
            let text = sentence(&failure(Some(result), Some(code), Some("0123abcd")));
            assert!(text.starts_with("tink-sync.service failed: ") && text.contains(said), "{text}");
            assert!(text.ends_with("journalctl _SYSTEMD_INVOCATION_ID=0123abcd"), "{text}");
        }
        // If the unit was started by hand or for several units at once, systemd sets no variables.
        let text = sentence(&failure(None, None, None));
        assert!(text.ends_with("journalctl -u 'tink-sync.service'"), "{text}");
    }

    #[test]
    fn every_way_to_fail_has_a_next_step_of_its_own_words() {
        for exit in Exit::ALL.into_iter().filter(|exit| !exit.is_unit_success()) {
            let (how, next) = ended(exit.code());
            assert!(how.contains(exit.meaning()) && !next.is_empty(), "{exit:?}");
        }
    }
}
