//! The part of root's environment that stays when root becomes another user: what this program itself reads,
//! and what describes the terminal. Everything else, such as the addresses of root's agents and the libraries
//! that root preloads, is dropped. Shows no value.

use std::ffi::{OsStr, OsString};
use std::path::Path;

pub type Variable = (OsString, OsString);

/// The search path for programs, regardless of root's own.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables that stay as they are.
const KEPT: [&str; 36] = [
    "CLICOLOR",
    "COLORTERM",
    "COLUMNS",
    "LANG",
    "LANGUAGE",
    "LINES",
    "NO_COLOR",
    "TERM",
    "TZ",
    "RUST_BACKTRACE",
    // The original caller, for the audit log.
    "DOAS_USER",
    "LOGNAME",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SUDO_GID",
    "SUDO_UID",
    "SUDO_USER",
    "USER",
    // The connection to Tink.
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    // What systemd gives to an operator's own unit.
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "TRIGGER_TIMER_REALTIME_USEC",
    "TRIGGER_UNIT",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];
/// Prefixes of the names of others that stay. `PG`: the connection to PostgreSQL.
const KEPT_BEGINNINGS: [&str; 3] = ["LC_", "PG", "TINK_"];

/// The environment that remains for a user with this home; sorted, so that it can be compared.
pub fn cleaned(variables: impl Iterator<Item = Variable>, home: &Path) -> Vec<Variable> {
    let mut left: Vec<Variable> = variables.filter(|(name, _)| stays(name)).collect();
    left.push(("PATH".into(), PATH.into()));
    left.push(("HOME".into(), home.into()));
    left.sort();
    left
}

fn stays(name: &OsStr) -> bool {
    let is_kept = |name: &str| {
        KEPT.contains(&name) || KEPT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    };
    name.to_str().is_some_and(is_kept)
}

/// The environment of this process, sorted.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment as a whole")]
pub fn of_process() -> Vec<Variable> {
    let mut all: Vec<Variable> = std::env::vars_os().collect();
    all.sort();
    all
}

/// The arguments that this process was started with.
pub fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(given: &[(&str, &str)]) -> Vec<(String, String)> {
        let given = given.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let left = cleaned(given, Path::new("/var/lib/tink-sync"));
        let text = |part: OsString| part.into_string().unwrap();
        left.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn what_is_root_s_ends_and_what_is_ours_stays() {
        let gone = [
            ("LD_PRELOAD", "/root/x.so"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/0/bus"),
            ("BROWSER", "/root/browser"),
            ("TMPDIR", "/root/tmp"),
            ("SQLITE_TMPDIR", "/root/tmp"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("PATH", "/root/bin"),
            ("HOME", "/root"),
        ];
        let own = [("HOME", "/var/lib/tink-sync"), ("PATH", PATH)].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(left(&gone), own);
        for stays in
            ["TINK_CLIENT_ID", "LC_ALL", "TERM", "HTTPS_PROXY", "SUDO_USER", "SSH_CONNECTION", "PGHOST"]
        {
            assert!(left(&[(stays, "x")]).contains(&(stays.to_owned(), "x".to_owned())), "{stays}");
        }
    }

    #[test]
    fn what_is_clean_is_left_alone() {
        let once = left(&[("TERM", "xterm"), ("LD_PRELOAD", "/root/x.so"), ("HOME", "/root")]);
        let again: Vec<(&str, &str)> = once.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(left(&again), once);
    }
}
