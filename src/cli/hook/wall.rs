//! Keeps a hook from writing into the spool. It runs as the user of the delivering process, which removes
//! events, so it could fill the store's disk or plant files in the way of later events. Landlock enforces this;
//! on a kernel without it only permissions protect the spool. Restricts this process, then executes the program.

use std::io::{self, Error, ErrorKind};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};
use nix::unistd::{AccessFlags, access};
use tokio::process::Command;

use crate::cli::Failure;
use crate::exit::Exit;

/// This program, even if its file was replaced by a newer one.
const MYSELF: &str = "/proc/self/exe";
/// Later versions of Landlock add nothing needed here.
const KNOWN: ABI = ABI::V6;
/// The signals with which this process ends if it cannot execute the program: any exit code could be the
/// program's own.
const NOT_THERE: Signal = Signal::SIGUSR1;
const NOT_EXECUTABLE: Signal = Signal::SIGUSR2;

/// Arguments of `hook-wall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory it must not write in
    #[arg(long, value_name = "DIR")]
    spool: PathBuf,
    /// What to become
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
}

/// The spool, if a wall around it is possible. Everything beside the spool, up to the root, is allowed by
/// name, so there is no wall if a hook may create files beside the spool, as in a directory of its own user.
pub(super) fn wanted(spool: &Path) -> Option<PathBuf> {
    let spool = spool.canonicalize().ok()?;
    access(spool.parent()?, AccessFlags::W_OK).is_err().then_some(spool)
}

/// The command that executes `program` behind the wall.
pub(super) fn around(program: &Path, spool: &Path) -> Command {
    let mut command = Command::new(MYSELF);
    command.args(["hook-wall", "--spool"]).arg(spool).arg(program);
    command
}

/// The error if the program could not be executed behind the wall.
pub(super) fn problem(ended: &io::Result<ExitStatus>) -> Option<Error> {
    match Signal::try_from(ended.as_ref().ok()?.signal()?).ok()? {
        NOT_THERE => Some(ErrorKind::NotFound.into()),
        NOT_EXECUTABLE => Some(ErrorKind::PermissionDenied.into()),
        _ => None,
    }
}

/// Builds the wall and executes the program.
///
/// # Errors
/// [`Failure::Io`] if either fails.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match build(&args.spool) {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "hook: this kernel has no Landlock, so the program could write into {}",
            args.spool.display()
        ),
        Err(error) => return Err(Failure::Io(Error::other(error))),
    }
    let error = std::process::Command::new(&args.program).exec();
    tracing::warn!("hook: {}: {error}", args.program.display());
    let _ = raise(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => NOT_THERE,
        _ => NOT_EXECUTABLE,
    });
    Err(error.into())
}

/// Allows writing everywhere except in the spool; returns whether the kernel enforces it.
fn build(spool: &Path) -> Result<bool, String> {
    let writes = AccessFs::from_write(KNOWN);
    let rules = path_beneath_rules(beside(spool), writes);
    let wall = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)
        // The delivering process has the same user; the hook must not be able to kill it.
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|created| created.add_rules(rules))
        .and_then(RulesetCreated::restrict_self);
    let status =
        wall.map_err(|error| format!("the hook cannot be kept from {}: {error}", spool.display()))?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Everything that is neither the directory nor above it.
fn beside(directory: &Path) -> Vec<PathBuf> {
    let mut beside = Vec::new();
    for above in directory.ancestors().skip(1) {
        let Ok(entries) = std::fs::read_dir(above) else { continue };
        let all = entries.filter_map(|entry| Some(entry.ok()?.path()));
        // The target of a link is listed under its own name, or is the directory itself.
        beside.extend(all.filter(|path| !directory.starts_with(path) && !path.is_symlink()));
    }
    beside
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_wall_is_built_of_what_lies_beside_and_above() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a/spool/needs-user", "a/other", "b"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("a/spool"), root.join("link")).unwrap();
        let beside = beside(&root.join("a/spool"));
        assert!(beside.contains(&root.join("a/other")) && beside.contains(&root.join("b")));
        for within in ["a/spool", "a/spool/needs-user", "a", "link", ""] {
            assert!(!beside.contains(&root.join(within)), "{within}");
        }
        assert!(!beside.contains(&PathBuf::from("/")));
    }
}
