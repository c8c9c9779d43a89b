//! One execution of a hook: with the event on its standard input, none of our environment, and a time limit.
//! Its output goes where our own goes.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::wall;
use crate::config::environment::PATH;
use crate::domain::hook::HookKind;
use crate::observe::spool::{QUOTA, Spool};

/// The interval at which the space used in the spool is checked.
const LOOK: Duration = Duration::from_millis(200);
/// Environment of a hook: the kind of the event.
const EVENT_VARIABLE: &str = "TINK_SYNC_EVENT";

#[derive(Debug)]
pub(super) struct Program {
    pub kind: HookKind,
    pub path: PathBuf,
    /// The time limit of one execution.
    pub limit: Duration,
    /// The spool, if the program is kept from writing into it.
    pub away: Option<PathBuf>,
    /// The spool, whose size is watched since the program might write there nevertheless.
    pub spool: Spool,
}

/// How an execution ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// A later attempt may succeed; with the reason.
    Badly(String),
    /// Later attempts fail as well; with the reason and the remedy.
    NotStarted(String),
}

impl Program {
    pub(super) async fn run(&self, event: &[u8]) -> Ended {
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return self.not_started(&error),
        };
        let ended = tokio::select! {
            ended = attend(&mut child, event) => Some(ended),
            () = tokio::time::sleep(self.limit) => None,
            () = self.over_quota() => {
                kill(&mut child).await;
                return self.hoards();
            }
        };
        if let Some(ended) = ended {
            return match wall::problem(&ended) {
                Some(error) => self.not_started(&error),
                None => judge(&ended),
            };
        }
        kill(&mut child).await;
        Ended::Badly(format!("it took longer than {} and was killed", humantime::format_duration(self.limit)))
    }

    /// Returns once the directory of events takes more space than [`QUOTA`].
    async fn over_quota(&self) {
        while !self.spool.is_over_quota(self.kind) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes everything that is not an event at once, since the disk is the store's, too.
    fn hoards(&self) -> Ended {
        let swept = match self.spool.sweep(self.kind) {
            Ok(()) => "what was no event is removed".to_owned(),
            Err(error) => format!("what is no event cannot be removed: {error}"),
        };
        let most = QUOTA / 1024 / 1024;
        Ended::NotStarted(format!(
            "more than {most} MiB lie where its events wait, so it was killed; {swept}; the rest: sudo tink-sync hook drop {}",
            self.kind
        ))
    }

    fn command(&self) -> Command {
        let mut command = match &self.away {
            None => Command::new(&self.path),
            Some(spool) => wall::around(&self.path, spool),
        };
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", "/");
        command.env(EVENT_VARIABLE, self.kind.as_str()).current_dir("/");
        // A process group of its own, so that its child processes are killed with it.
        command.stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }

    fn not_started(&self, error: &std::io::Error) -> Ended {
        let path = self.path.display();
        let remedy = match error.kind() {
            ErrorKind::NotFound => {
                "is it there, and the interpreter in its first line? If it is no longer wanted: systemctl disable --now its path unit"
            }
            ErrorKind::PermissionDenied => {
                "make it executable: chmod 755; and by hand only its unit can run it"
            }
            _ => "see whether it can be run by hand",
        };
        Ended::NotStarted(format!("{path} cannot be started: {error}; {remedy}"))
    }
}

/// Writes the event and waits for the end. A hook need not read the event, or all of it.
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

/// Kills the hook and every process in its group.
async fn kill(child: &mut Child) {
    // The hook has not been reaped yet, so its process id is still its own.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // The hook may have left its group.
    let _ = child.kill().await;
}
