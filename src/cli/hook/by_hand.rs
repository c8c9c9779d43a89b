//! The hook commands for people: sends a sample event the way real ones go, and retries or removes events
//! that were put aside. Runs no program itself: the unit does, in its own sandbox.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::TestArgs;
use crate::cli::Failure;
use crate::cli::identity::spool_unusable;
use crate::cli::table::{self, count};
use crate::cli::timer::state::{is_systemd, systemctl};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::hook::{HookEvent, HookKind};
use crate::exit::Exit;
use crate::observe::spool::{self, Spool};

/// Prefix of the id of a sample; its hook gets only one attempt, since a person waits.
pub(super) const SAMPLE: &str = "test-";
/// Interval at which the result is polled.
const LOOK: Duration = Duration::from_millis(100);

/// Sends a sample event and waits until it is delivered.
///
/// # Errors
/// [`Failure::Usage`] if nothing would run the hook, [`Failure::Io`] if the spool cannot be written.
pub(super) fn test(args: &TestArgs, spool: &Spool) -> Result<Exit, Failure> {
    let kind = args.kind;
    if is_systemd() && !is_enabled(kind) {
        return Err(Failure::Usage(format!(
            "nothing runs the hook {kind} yet: sudo systemctl enable --now tink-sync-hook@{kind}.path"
        )));
    }
    let (queue, now) = (spool.queue(kind), SystemClock.now());
    let id = format!("{SAMPLE}{}", now.as_millisecond());
    let text = sample(kind, &id, now);
    let file = spool.add(kind, &id, &text).map_err(|error| refused(spool, &queue, &error))?;
    if !is_systemd() {
        table::print(&format!("no systemd runs here; the event waits: {}\n", spool.shown(&file).display()))?;
        return Ok(Exit::Success);
    }
    let end = Instant::now() + args.wait;
    while file.symlink_metadata().is_ok() {
        if Instant::now() > end {
            table::print(&format!(
                "{kind}: not delivered within {}; the event still waits: journalctl -u tink-sync-hook@{kind}\n",
                humantime::format_duration(args.wait)
            ))?;
            return Ok(Exit::Incomplete);
        }
        std::thread::sleep(LOOK);
    }
    let put_aside = spool.failed(kind).join(format!("{id}.json"));
    if std::fs::remove_file(put_aside).is_ok() {
        table::print(&format!("{kind}: the hook failed; why: journalctl -u tink-sync-hook@{kind} -n 20\n"))?;
        return Ok(Exit::Incomplete);
    }
    table::print(&format!(
        "{kind}: delivered; the output of the program: journalctl -u tink-sync-hook@{kind} -n 20\n"
    ))?;
    Ok(Exit::Success)
}

/// A unit whose state cannot be read counts as enabled.
fn is_enabled(kind: HookKind) -> bool {
    let name = format!("tink-sync-hook@{kind}.path");
    systemctl(&["show", &name, "--property", "ActiveState"])
        .map_or(true, |answer| !answer.contains("ActiveState=inactive"))
}

/// An event of this kind as hooks get it, for a connection that does not exist.
fn sample(kind: HookKind, id: &str, at: Timestamp) -> String {
    let details = match kind {
        HookKind::NewTransactions => r#"{"test":true,"added":1,"updated":0,"removed":0,"replaced":0}"#,
        HookKind::FirstFailure => r#"{"test":true,"outcome":"failed","reason":"bank_unavailable"}"#,
        HookKind::Recovered => r#"{"test":true,"from":"failed"}"#,
        HookKind::ConsentSoon => r#"{"test":true,"credentials_id":"test","provider":"test","days_left":7}"#,
        HookKind::NeedsUser => r#"{"test":true,"reason":"consent_expired"}"#,
        HookKind::PassFailed => r#"{"test":true,"exit_code":10}"#,
    };
    let of_connection = kind != HookKind::PassFailed;
    spool::text(&HookEvent {
        kind,
        id: id.to_owned(),
        at,
        run_id: "test".into(),
        connection_id: of_connection.then(|| "test".into()),
        user_id: of_connection.then(|| "test".into()),
        details: details.to_owned(),
    })
}

/// Moves events that were put aside back into the queue.
///
/// # Errors
/// [`Failure::Io`] if the spool cannot be read or written.
pub(super) fn retry(kinds: &[HookKind], spool: &Spool) -> Result<Exit, Failure> {
    let (mut lines, mut odd) = (Vec::new(), 0);
    for kind in kinds {
        let failed = spool.failed(*kind);
        let (back, stay) = spool.retry(*kind).map_err(|error| refused(spool, &failed, &error))?;
        odd += stay;
        if back > 0 {
            lines.push(format!("{kind}: {} told again\n", count(back, "event")));
        }
    }
    if odd > 0 {
        let them =
            if odd == 1 { "1 thing is no event and stays" } else { "some things are no events and stay" };
        lines.push(format!("{them}: sudo tink-sync hook drop\n"));
    }
    if lines.is_empty() {
        lines.push("nothing was put aside\n".to_owned());
    }
    table::print(&lines.concat())?;
    Ok(Exit::Success)
}

/// Removes the events that were put aside.
///
/// # Errors
/// [`Failure::Io`] if the spool cannot be read or written.
pub(super) fn drop_failed(kinds: &[HookKind], spool: &Spool) -> Result<Exit, Failure> {
    let mut gone = 0;
    for kind in kinds {
        let failed = spool.failed(*kind);
        gone += spool.drop_failed(*kind).map_err(|error| refused(spool, &failed, &error))?;
    }
    table::print(&format!("{} removed\n", count(gone, "file")))?;
    Ok(Exit::Success)
}

fn refused(spool: &Spool, place: &Path, error: &std::io::Error) -> Failure {
    let failure = spool_unusable(&spool.shown(place), error);
    match error.kind() {
        ErrorKind::PermissionDenied => {
            Failure::Usage(format!("{failure}; it wants sudo: sudo tink-sync hook …"))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_sample_is_an_event_that_says_what_it_is() {
        for kind in HookKind::ALL {
            let text = sample(*kind, "test-1", Timestamp::UNIX_EPOCH);
            assert!(text.ends_with("}\n") && text.lines().count() == 1);
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&event["event"], &event["test"]), (&json!(kind.as_str()), &json!(true)));
            assert_eq!(event["connection_id"].is_string(), *kind != HookKind::PassFailed);
        }
    }

    #[test]
    fn what_was_put_aside_comes_back_or_goes() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let kind = HookKind::Recovered;
        for directory in [spool.queue(kind), spool.failed(kind)] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write(spool.failed(kind).join("1.json"), "{}").unwrap();
        std::fs::create_dir(spool.failed(kind).join("odd")).unwrap();
        retry(&[HookKind::NeedsUser], &spool).unwrap();
        assert_eq!(spool.given_up(kind), 2);
        retry(HookKind::ALL, &spool).unwrap();
        assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (1, 1));
        drop_failed(HookKind::ALL, &spool).unwrap();
        assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (1, 0));
    }
}
