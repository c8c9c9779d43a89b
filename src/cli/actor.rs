//! The actor behind a command, for the audit log: taken from `--actor` and `--ip`, else from the environment.
//! Writes nothing itself, and asks no other program.

use std::net::IpAddr;

use jiff::Timestamp;
use nix::unistd::{User, getuid};

use crate::cli::Environment;
use crate::observe::terminal;
use crate::store::AuditRow;

/// The options with which an application names the person it calls for.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub struct ActorArgs {
    /// Who asked for it, for the audit log
    #[arg(long, value_name = "WHO", value_parser = name)]
    pub actor: Option<String>,
    /// The address that person came from, for the audit log
    #[arg(long, value_name = "ADDR", requires = "actor")]
    pub ip: Option<IpAddr>,
}

fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err("expected a name on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// The person behind a command, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Actor {
    name: Option<String>,
    ip: Option<String>,
}

impl Actor {
    /// The person named by the options, else the caller of `sudo` or `doas`, else the user, with the address
    /// of the SSH session. A field may stay unknown: `sudo` removes the SSH variables from the environment.
    pub(in crate::cli) fn of(env: &Environment, args: &ActorArgs) -> Self {
        Self::told(args).unwrap_or_else(|| {
            let found = Self::from_variables(|variable| (env.variable)(variable)?.into_string().ok());
            Self { name: found.name.or_else(user), ..found }
        })
    }

    /// The person named by the options; `None` without `--actor`.
    pub(in crate::cli) fn told(args: &ActorArgs) -> Option<Self> {
        let name = args.actor.clone()?;
        Some(Self { name: Some(name), ip: args.ip.map(|ip| ip.to_string()) })
    }

    /// The person who started a sync of one connection, at a terminal or if `sudo`, `doas` or SSH set their variables:
    /// units have none of these.
    pub(in crate::cli) fn at_hand(env: &Environment) -> Option<Self> {
        let is_told = |name: &&str| (env.variable)(name).is_some_and(|text| !text.is_empty());
        let found = ["SUDO_USER", "DOAS_USER", "SSH_CONNECTION", "SSH_CLIENT"].iter().any(is_told);
        (found || terminal::is_error_watched()).then(|| Self::of(env, &ActorArgs::default()))
    }

    // These variables survive when root becomes the service user.
    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|text| !text.trim().is_empty()))
        };
        let ip = first(&["SSH_CONNECTION", "SSH_CLIENT"]);
        let ip = ip.and_then(|text| text.split_whitespace().next().map(str::to_owned));
        Self { name: first(&["SUDO_USER", "DOAS_USER", "USER", "LOGNAME"]), ip }
    }

    /// Name and address, for actions that are not recorded through [`Self::row`].
    pub(in crate::cli) fn into_parts(self) -> (Option<String>, Option<String>) {
        (self.name, self.ip)
    }

    /// An audit row with result "ok"; the caller fills in the rest.
    pub(in crate::cli) fn row<'a>(&'a self, at: Timestamp, action: &'a str) -> AuditRow<'a> {
        AuditRow {
            at,
            actor: self.name.as_deref(),
            ip: self.ip.as_deref(),
            action,
            connection_id: None,
            user_id: None,
            result: "ok",
            details: None,
        }
    }
}

/// The user that this process runs as.
fn user() -> Option<String> {
    User::from_uid(getuid()).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(variables: &[(&str, &str)]) -> (Option<String>, Option<String>) {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let actor = Actor::from_variables(find);
        (actor.name, actor.ip)
    }

    #[test]
    fn the_person_is_the_one_behind_sudo() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(actor(&[("SUDO_USER", "ann"), ("USER", "root")]), (text("ann"), None));
        assert_eq!(actor(&[("DOAS_USER", "ann"), ("USER", "root")]), (text("ann"), None));
        assert_eq!(actor(&[("SUDO_USER", ""), ("USER", "bob")]), (text("bob"), None));
        assert_eq!(actor(&[("LOGNAME", "bob")]), (text("bob"), None));
        assert_eq!(actor(&[("SSH_CONNECTION", "192.0.2.7 1 192.0.2.1 22")]), (None, text("192.0.2.7")));
        assert_eq!(actor(&[("SSH_CLIENT", "2001:db8::1 1 22")]), (None, text("2001:db8::1")));
    }

    #[test]
    fn an_address_is_only_that_of_the_person_who_is_named() {
        let told = |ip: Option<&str>| {
            Actor::told(&ActorArgs { actor: Some("jane".to_owned()), ip: ip.map(|ip| ip.parse().unwrap()) })
        };
        assert_eq!(told(None), Some(Actor { name: Some("jane".to_owned()), ip: None }));
        assert_eq!(told(Some("::1")).unwrap().ip.as_deref(), Some("::1"));
        assert_eq!(Actor::told(&ActorArgs::default()), None);
    }

    #[test]
    fn a_name_is_text_on_one_line() {
        assert_eq!(name("jane@example.com"), Ok("jane@example.com".to_owned()));
        for text in ["", " ", "a\nb", "\u{1b}[31m"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
