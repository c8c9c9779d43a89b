//! The checks of the configuration: the file, the switch, the network, the secrets, who else may read
//! these and who else may change the file. Shows no secret, and sends nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use super::{Finding, Grade};
use crate::atomic_file::directory_of;
use crate::cli::Environment;
use crate::config::{ConfigError, Network, SERVICE_USER, secrets::oddity};
use crate::exit::Exit;
use crate::identity::mending;
use crate::store::Reader;

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
const STICKY: u32 = 0o1000;

const ENCRYPT: &str =
    "systemd-creds encrypt --name=tink-sync.client-secret - /etc/credstore.encrypted/tink-sync.client-secret";

/// A configuration that cannot be used. The message names file, key and the expected value, which is the remedy.
pub(super) fn refused(error: &ConfigError) -> Finding {
    let text = error.to_string();
    let (text, remedy) = match text.split_once("; ") {
        Some((text, remedy)) => (text.to_owned(), remedy.to_owned()),
        None => (text, "correct it; man tink-sync.toml describes every key".to_owned()),
    };
    Finding::fail(Exit::Configuration, "configuration", text).remedy(remedy)
}

/// The file has been read already; this reports its warnings and the switch.
pub(super) fn configuration(env: &Environment) -> Vec<Finding> {
    let settings = &env.settings;
    let mut findings = vec![Finding::ok("configuration", format!("{} is valid", settings.file.display()))];
    // `secrets` reports secret files that others may read, with their remedy.
    let told_below = settings.permission_problems();
    let warnings = settings.warnings.iter().filter(|text| !told_below.contains(text));
    findings.extend(warnings.map(|text| match text.split_once("; ") {
        Some((text, remedy)) => Finding::warn("configuration", text, remedy),
        None => Finding { grade: Grade::Warn, ..Finding::ok("configuration", text.clone()) },
    }));
    if !settings.enabled {
        let (by, remedy) = env.switch();
        findings.push(Finding::warn("configuration", format!("passes are switched off ({by})"), remedy));
    }
    findings
}

/// Who else could change the configuration or a secret: by the file, or by replacing it in its directory. `secrets`
/// tells who may write to the files with secrets.
pub(super) fn writable(env: &Environment) -> Vec<Finding> {
    let (settings, file) = (&env.settings, env.settings.file.as_path());
    let secrets = settings.secret_files().into_iter().filter(|(_, path)| !settings.credentials.guards(path));
    let directories: BTreeSet<&Path> =
        secrets.map(|(_, path)| path.as_path()).chain([file]).map(directory_of).collect();
    let found = [file].into_iter().chain(directories).filter_map(|path| {
        let found = fs::metadata(path).ok()?;
        let mode = found.permissions().mode() & 0o7777;
        // In such a directory nobody replaces the file of another.
        let is_sticky = found.is_dir() && mode & STICKY != 0;
        let who = match mode {
            _ if is_sticky => return None,
            mode if mode & OTHERS_WRITE != 0 => "every user of this machine".to_owned(),
            mode if mode & GROUP_WRITE != 0 && is_foreign(found.uid(), found.gid()) => {
                format!("the group {}", group_name(found.gid()))
            }
            _ => return None,
        };
        let text = format!("{who} may change {} (mode {mode:04o})", path.display());
        Some(Finding::warn("permissions", text, mending(path, None, "go-w")))
    });
    found.collect()
}

/// Whether a group is neither root's nor the service's nor the owner's own.
fn is_foreign(owner: u32, group: u32) -> bool {
    let owner = User::from_uid(Uid::from_raw(owner)).ok().flatten();
    let service = User::from_name(SERVICE_USER).ok().flatten();
    let own: Vec<u32> = [owner, service].into_iter().flatten().map(|user| user.gid.as_raw()).collect();
    group != 0 && !own.contains(&group)
}

fn group_name(group: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(group)).ok().flatten();
    known.map_or_else(|| group.to_string(), |group| group.name)
}

/// The proxy and the certificate authorities that the environment sets; empty if it sets neither.
pub(super) fn network(env: &Environment) -> Vec<Finding> {
    let network = match Network::of(&env.variable) {
        Ok(network) => network,
        Err(error) => return vec![refused(&error)],
    };
    let mut findings = Vec::new();
    let https = env.settings.tink.api_url.starts_with("https:");
    if let Some(proxy) = if https { &network.https } else { &network.http } {
        let text =
            format!("Tink is asked through the proxy of {}, but for hosts of NO_PROXY", proxy.variable);
        findings.push(Finding::ok("proxy", text));
    }
    if !network.authorities.is_empty() {
        let text = format!("those of {} instead of the system's", network.authorities.join(" and "));
        findings.push(Finding::ok("authorities", text));
    }
    findings
}

/// Client id, client secret, the key for tokens of older links, and who else may read the files. With
/// `--offline` a missing id or secret is only a warning.
pub(super) fn secrets(env: &Environment, offline: bool, reader: Option<&Reader>) -> Vec<Finding> {
    let (settings, tink) = (&env.settings, &env.settings.tink);
    let missing = |what, text: String, remedy: &str| {
        if offline {
            Finding::warn(what, text, remedy)
        } else {
            Finding::fail(Exit::Configuration, what, text).remedy(remedy)
        }
    };
    let mut findings = Vec::new();
    findings.push(match tink.client_id {
        Some(_) => Finding::ok("client id", "set"),
        None => missing(
            "client id",
            "not set".to_owned(),
            "copy it from Tink Console into tink.client_id or TINK_CLIENT_ID",
        ),
    });
    findings.push(match client_secret(env) {
        Ok(finding) => finding,
        Err(text) => {
            let remedy = format!(
                "write it to a file of mode 600 and name that in tink.client_secret_file, or: {ENCRYPT}"
            );
            missing("client secret", text, &remedy)
        }
    });
    findings.extend(token_key(env, reader));
    let problems = settings.permission_problems();
    findings.extend(problems.iter().map(|problem| {
        // A path may contain a semicolon.
        let parts = problem.split_once("; fix it with: ").or_else(|| problem.rsplit_once("; "));
        let (text, remedy) = parts.unwrap_or((problem.as_str(), "chmod 600 that file"));
        Finding::fail(Exit::Configuration, "permissions", text).remedy(remedy)
    }));
    if problems.is_empty() && !settings.secret_files().is_empty() {
        findings.push(Finding::ok("permissions", "no secret is open to other users"));
    }
    findings
}

/// The source of the client secret and whether it looks like one; an error if there is none.
fn client_secret(env: &Environment) -> Result<Finding, String> {
    let (what, tink) = ("client secret", &env.settings.tink);
    let Some(secret) = &tink.client_secret else {
        return Err(tink.client_secret_problem.clone().unwrap_or_else(|| "not found".to_owned()));
    };
    let place = match &tink.client_secret_file {
        Some(file) => file.display().to_string(),
        None => "the environment".to_owned(),
    };
    Ok(match oddity(secret, tink.client_id.as_deref()) {
        Some(odd) => Finding::warn(
            what,
            format!("read from {place}, {odd}"),
            "put the secret there as Tink Console shows it: alone, on one line",
        ),
        None => Finding::ok(what, format!("read from {place}")),
    })
}

const PUT_BACK: &str = "put the key that they were encrypted with into the credential tink-sync.token-key, or into the \
     file that store.token_key_file names";

/// The key that encrypts tokens of older links, if set or needed: whether it is the one of the stored tokens.
fn token_key(env: &Environment, reader: Option<&Reader>) -> Option<Finding> {
    let what = "token key";
    // A store that cannot be read has a finding of its own.
    let stored = reader.and_then(|reader| reader.token_keys().ok()).unwrap_or_default();
    let fail = |text: &str| Some(Finding::fail(Exit::Configuration, what, text).remedy(PUT_BACK));
    match env.vault() {
        Ok(None) if stored.is_empty() => None,
        Ok(None) => fail("the store holds encrypted tokens, and no key is set"),
        Ok(Some(vault)) => match stored.iter().find_map(|key| vault.recognise(key).err()) {
            Some(error) => fail(&format!("the store holds tokens {error}")),
            None => Some(Finding::ok(what, "is a key of 32 bytes")),
        },
        Err(failure) => {
            let remedy = "make one with: head -c 32 /dev/urandom | base64; but tokens that are encrypted need the key they were encrypted with";
            Some(Finding::fail((&failure).into(), what, failure.to_string()).remedy(remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_foreign_unless_it_is_roots_or_the_owners_own() {
        let me = User::from_uid(Uid::effective()).unwrap().unwrap();
        let [uid, gid] = [me.uid.as_raw(), me.gid.as_raw()];
        assert_eq!([is_foreign(uid, 0), is_foreign(uid, gid), is_foreign(uid, 65_533)], [false, false, true]);
    }
}
