//! Who sits at the keyboard, for the audit log. Knows only the environment, and writes nothing itself.

use jiff::Timestamp;

use crate::cli::Environment;
use crate::store::sqlite::own::AuditRow;

/// The person behind a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Actor {
    name: Option<String>,
    ip: Option<String>,
}

impl Actor {
    /// The one who called `sudo`, else the user; and from where, if over SSH.
    pub(in crate::cli) fn of(env: &Environment) -> Self {
        Self::from_variables(|name| (env.variable)(name)?.into_string().ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&str; 2]| {
            names.into_iter().find_map(|name| variable(name).filter(|text| !text.is_empty()))
        };
        let ip = first(["SSH_CONNECTION", "SSH_CLIENT"]);
        let ip = ip.and_then(|text| text.split_whitespace().next().map(str::to_owned));
        Self { name: first(["SUDO_USER", "USER"]), ip }
    }

    /// A row of the audit log, to be filled in.
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
        assert_eq!(actor(&[("SUDO_USER", ""), ("USER", "bob")]), (text("bob"), None));
        assert_eq!(actor(&[("SSH_CONNECTION", "192.0.2.7 1 192.0.2.1 22")]), (None, text("192.0.2.7")));
        assert_eq!(actor(&[("SSH_CLIENT", "2001:db8::1 1 22")]), (None, text("2001:db8::1")));
    }
}
