//! The checks of the configuration: the file, the switch, the network, the secrets and who else may read
//! them. Shows no secret, and sends nothing.

use super::{Finding, Grade};
use crate::cli::Environment;
use crate::config::{ConfigError, ENABLED_VARIABLE, Network, secrets::oddity};
use crate::exit::Exit;

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
        let remedy = match (env.variable)(ENABLED_VARIABLE).filter(|value| !value.is_empty()) {
            Some(_) => format!("remove {ENABLED_VARIABLE} from the environment"),
            None => format!("remove enabled = false from {}", settings.file.display()),
        };
        findings.push(Finding::warn("configuration", "passes are switched off", remedy));
    }
    findings
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
pub(super) fn secrets(env: &Environment, offline: bool) -> Vec<Finding> {
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
    findings.extend(token_key(env));
    let problems = settings.permission_problems();
    findings.extend(problems.iter().map(|problem| {
        let (text, remedy) =
            problem.split_once("; fix it with: ").unwrap_or((problem.as_str(), "chmod 600 that file"));
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
fn token_key(env: &Environment) -> Option<Finding> {
    let what = "token key";
    // A store that cannot be read has a finding of its own.
    let stored = env.reader_if_there().ok().flatten().and_then(|reader| reader.token_keys().ok());
    let stored = stored.unwrap_or_default();
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
