//! Opens the link in the caller's own browser. The link is passed in a private file: it works for anyone who has
//! it, and every user of the machine can read the arguments of a process. Optional, since the link was printed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::atomic_file::PrivateFile;
use crate::cli::Environment;
use crate::config::{CLIENT_SECRET_VARIABLE, CREDENTIALS_VARIABLE, PASSWORD_VARIABLE, SERVICE_USER};
use crate::identity;
use crate::link::page;

/// Names a directory private to the user, on most desktops.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// Whether a browser may be started: not with the rights of root or of the service.
pub(super) fn is_allowed() -> bool {
    !identity::is_root() && !identity::is_called(SERVICE_USER)
}

/// Starts the browser; the page exists until the returned file is dropped.
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
