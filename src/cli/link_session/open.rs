//! Opens the link in the caller's own browser. It reaches the browser in a private file, since anybody who is on the machine
//! reads the arguments of every process, and the link works for anybody who has it. Nothing depends on it: the link was
//! printed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::atomic_file::PrivateFile;
use crate::cli::Environment;
use crate::config::{CLIENT_SECRET_VARIABLE, CREDENTIALS_VARIABLE, PASSWORD_VARIABLE, SERVICE_USER};
use crate::identity;
use crate::link::page;

/// A directory of this user's alone, on most desktops.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// Whether a browser may be started: with the rights of anybody who sits there, and no others.
pub(super) fn is_allowed() -> bool {
    !identity::is_root() && !identity::is_called(SERVICE_USER)
}

/// Starts the browser; the page is there until what is returned is dropped.
pub(super) fn in_browser(env: &Environment, address: &str) -> Option<PrivateFile> {
    let runtime = (env.variable)(RUNTIME).map(PathBuf::from).filter(|directory| directory.is_dir());
    let directory = runtime.unwrap_or_else(std::env::temp_dir);
    let page = match PrivateFile::create(&directory, ".html", &page::forwarding(address)) {
        Ok(page) => page,
        Err(error) => {
            tracing::warn!(
                "--open: cannot write to {}: {error}; open the link yourself",
                directory.display()
            );
            return None;
        }
    };
    let mut command = Command::new("xdg-open");
    command.arg(&page.path);
    for secret in [CLIENT_SECRET_VARIABLE, CREDENTIALS_VARIABLE, PASSWORD_VARIABLE] {
        command.env_remove(secret);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::warn!("--open: cannot start xdg-open: {error}; open the link yourself");
    }
    Some(page)
}
