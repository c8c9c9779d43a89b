//! One execution of a hook: the event on its standard input, nothing of ours in its environment, and an end
//! when its time is over. What it prints goes where our own output goes.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::domain::hook::HookKind;

/// Where a hook finds programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Environment of a hook: the kind of the event.
const EVENT_VARIABLE: &str = "TINK_SYNC_EVENT";

/// A hook.
#[derive(Debug)]
pub(super) struct Program {
    pub kind: HookKind,
    pub path: PathBuf,
    /// How long it may take.
    pub limit: Duration,
}

/// How an execution ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// It may go better another time; in words.
    Badly(String),
    /// It will not go better by itself; in words, with the remedy.
    NotStarted(String),
}

impl Program {
    /// Runs it once.
    pub async fn run(&self, event: &[u8]) -> Ended {
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return self.not_started(&error),
        };
        if let Ok(ended) = tokio::time::timeout(self.limit, attend(&mut child, event)).await {
            return judge(&ended);
        }
        kill(&mut child).await;
        Ended::Badly(format!("it took longer than {} and was killed", humantime::format_duration(self.limit)))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", "/");
        command.env(EVENT_VARIABLE, self.kind.as_str()).current_dir("/");
        // A group of its own, so that what it starts ends with it.
        command.stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }

    fn not_started(&self, error: &std::io::Error) -> Ended {
        let path = self.path.display();
        let remedy = match error.kind() {
            ErrorKind::NotFound => {
                "is it there, and the interpreter in its first line? If it is no longer wanted: systemctl disable --now its path unit"
            }
            ErrorKind::PermissionDenied => "make it executable: chmod 755",
            _ => "see whether it can be run by hand",
        };
        Ended::NotStarted(format!("{path} cannot be started: {error}; {remedy}"))
    }
}

/// Hands over the event and waits for the end. A hook need not read, nor read all.
async fn attend(child: &mut Child, event: &[u8]) -> std::io::Result<ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(event).await;
    }
    child.wait().await
}

fn judge(ended: &std::io::Result<ExitStatus>) -> Ended {
    match ended {
        Ok(status) if status.success() => Ended::Well,
        Ok(status) => Ended::Badly(match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with {code}"),
            (None, signal) => format!("it was killed by signal {}", signal.unwrap_or_default()),
        }),
        Err(error) => Ended::Badly(format!("its end could not be waited for: {error}")),
    }
}

/// Ends the hook and all that it started in its group.
async fn kill(child: &mut Child) {
    // Not waited for yet, so the number is still its own.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // It may have left its group.
    let _ = child.kill().await;
}
