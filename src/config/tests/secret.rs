//! Where the client secret comes from, the message when it is missing, and that it is never shown.

use super::{Case, MARK, message, message_of, settings};
use crate::config::TinkSettings;
use secrecy::ExposeSecret;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

const CREDENTIAL: &str = "credentials/tink-sync.client-secret";

/// A case with a secret in each of the three places.
fn everywhere() -> Case {
    let case = Case::new("");
    let named = case.file("named", "from-file\n");
    case.file(CREDENTIAL, "from-credential\n");
    std::fs::write(case.path("tink-sync.toml"), format!("tink.client_secret_file = '{}'", named.display()))
        .unwrap();
    let directory = case.path("credentials");
    case.env("CREDENTIALS_DIRECTORY", directory).env("TINK_CLIENT_SECRET", "from-variable")
}

fn secret(tink: &TinkSettings) -> &str {
    tink.client_secret.as_ref().map_or("none", |secret| secret.expose_secret())
}

#[test]
fn the_secret_comes_from_the_first_place_that_has_one() {
    let mut case = everywhere();
    let first = case.load().unwrap();
    assert_eq!(secret(&first.tink), "from-file");
    assert_eq!(first.tink.client_secret_file, Some(case.path("named")));
    let told = |settings: &crate::config::Settings, text: &str| matches!(&settings.warnings[..], [only] if only.contains("two client secrets") && only.ends_with(text));
    assert!(told(&first, "unset TINK_CLIENT_SECRET"), "{:?}", first.warnings);

    std::fs::write(case.path("tink-sync.toml"), "").unwrap();
    let second = case.load().unwrap();
    assert_eq!(secret(&second.tink), "from-credential");
    assert_eq!(second.tink.client_secret_file, Some(case.path(CREDENTIAL)));
    assert!(told(&second, "unset TINK_CLIENT_SECRET"), "{:?}", second.warnings);

    std::fs::remove_dir_all(case.path("credentials")).unwrap();
    let third = case.load().unwrap();
    assert_eq!(secret(&third.tink), "from-variable");
    assert_eq!(third.tink.client_secret_file, None);
    assert!(matches!(&third.warnings[..], [text] if text.contains("TINK_CLIENT_SECRET")));

    case.env.retain(|(name, _)| name != "TINK_CLIENT_SECRET");
    assert_eq!(secret(&case.load().unwrap().tink), "none");
}

#[test]
fn credentials_say_what_to_set_where() {
    let none = settings("").tink;
    let text = none.credentials().unwrap_err().to_string();
    assert!(
        text.contains("tink-sync.toml: tink.client_id: not set") && text.contains("TINK_CLIENT_ID"),
        "{text}"
    );

    let text = settings("tink.client_id = 'id'").tink.credentials().unwrap_err().to_string();
    assert!(text.contains("tink-sync.toml: tink.client_secret_file: no client secret found"), "{text}");
    assert!(text.contains("systemd-creds encrypt --name=tink-sync.client-secret"), "{text}");

    let case = Case::new("tink.client_id = 'id'").env("TINK_CLIENT_SECRET", MARK);
    let tink = case.load().unwrap().tink;
    let (id, secret) = tink.credentials().unwrap();
    assert_eq!((id, secret.expose_secret()), ("id", MARK));
}

#[test]
fn a_named_file_that_cannot_be_used_is_reported_only_when_needed() {
    for (content, problem) in [
        (None, "does not exist"),
        (Some("\n"), "is empty"),
        (Some("a\nb\n"), "must hold the secret alone on a single line"),
    ] {
        let case = everywhere();
        let path = case.path("other");
        if let Some(content) = content {
            case.file("other", content);
        }
        let text = format!("[tink]\nclient_id = 'id'\nclient_secret_file = '{}'", path.display());
        std::fs::write(case.path("tink-sync.toml"), text).unwrap();
        let tink = case.load().unwrap().tink;
        let text = tink.credentials().unwrap_err().to_string();
        assert!(text.contains("tink.client_secret_file: the file that this key names"), "{text}");
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn a_broken_credential_is_not_passed_over() {
    let case = Case::new("tink.client_id = 'id'").env("TINK_CLIENT_SECRET", "from-variable");
    case.file(CREDENTIAL, "");
    let directory = case.path("credentials");
    let tink = case.env("CREDENTIALS_DIRECTORY", directory).load().unwrap().tink;
    let text = tink.credentials().unwrap_err().to_string();
    assert!(text.contains("the systemd credential `tink-sync.client-secret` is empty"), "{text}");
}

#[test]
fn a_credentials_directory_that_does_not_exist_is_none() {
    let case = Case::new("").env("CREDENTIALS_DIRECTORY", "/nowhere/at/all");
    let settings = case.load().unwrap();
    assert!(settings.tink.client_secret.is_none() && settings.tink.client_secret_problem.is_none());
    assert!(settings.secret_files().is_empty());
}

#[test]
fn a_secret_pasted_into_the_file_is_refused_and_not_shown() {
    for (key, remedy) in [
        ("tink.client_secret", "`tink.client_secret_file`"),
        ("client_secret", "`tink.client_secret_file`"),
        ("tink.client_secret_file", "the absolute path of a file"),
        ("store.token_key_file", "the absolute path of a file"),
        ("store.token_key", "`store.token_key_file`"),
        ("store.password", "`store.pgpass_file`"),
        ("tink.client_secret_fil", "did you mean `tink.client_secret_file`?"),
    ] {
        for value in [format!("'{MARK}'"), format!("['{MARK}']"), format!("{{ a = '{MARK}' }}")] {
            let text = message(&format!("{key} = {value}"));
            let is_text = value.starts_with('\'');
            assert!(
                text.contains(remedy) || !is_text && text.contains("expected a text in quotes"),
                "{text}"
            );
        }
    }
}

#[test]
fn no_message_about_any_key_shows_its_value() {
    for key in crate::config::KEYS {
        let server = format!("'postgres://h:{MARK}/d?sslmode={MARK}'");
        for value in [format!("'{MARK}'"), format!("'sqlite:?{MARK}'"), server, format!("['{MARK}']")] {
            let case = Case::new(&format!("{key} = {value}"));
            // some keys take any text; all others must fail without showing it
            if case.load().is_err() {
                message_of(&case);
            }
        }
    }
}

#[test]
fn the_settings_do_not_show_the_secret() {
    let case = Case::new("tink.client_id = 'id'").env("TINK_CLIENT_SECRET", MARK);
    let settings = case.load().unwrap();
    assert!(!format!("{settings:?}").contains(MARK));
    assert!(!settings.warnings.concat().contains(MARK));
    let case = Case::new("").env("TINK_CLIENT_SECRET", format!("{MARK}\n{MARK}"));
    assert_eq!(
        message_of(&case),
        "environment variable TINK_CLIENT_SECRET: expected the secret on a single line"
    );
}

#[test]
fn the_password_of_a_server_comes_from_the_file_that_is_named_else_from_the_credential() {
    let place = |case: &Case| case.load().unwrap().store.url;
    let url = "store.url = 'postgres://app@db/bank'\n";
    let none = place(&Case::new(url));
    let case = Case::new(url);
    case.file("credentials/tink-sync.pgpass", "*:*:*:app:hidden");
    let directory = case.path("credentials");
    let unit = case.env("CREDENTIALS_DIRECTORY", &directory);
    let credential = place(&unit);
    assert_ne!(credential, none);
    let named = Case::new(&format!("{url}store.pgpass_file = '/etc/tink-sync/pgpass'"));
    assert!(place(&named) != none && place(&named) != credential);
    let both = named.env("CREDENTIALS_DIRECTORY", &directory);
    let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone().into_os_string());
    let file = both.path("tink-sync.toml");
    assert_eq!(crate::config::load(&file, &env).unwrap().store.url, place(&both));
    assert_eq!(both.load().unwrap().store.pgpass_file, Some("/etc/tink-sync/pgpass".into()));
}

#[test]
fn a_password_of_a_server_in_the_environment_is_warned_of() {
    let warned = |text: &str| {
        let settings = Case::new(text).env("PGPASSWORD", MARK).load().unwrap();
        assert!(!format!("{settings:?}").contains(MARK));
        settings
            .warnings
            .iter()
            .any(|warning| warning.contains("PGPASSWORD, where other programs can see it"))
    };
    assert!(warned("store.url = 'postgres://app@db/bank'"));
    assert!(warned("[source]\nview = 'v'\ndatabase = 'postgres://app@db/bank'"));
    assert!(!warned("store.url = 'sqlite:a.db'"));
}

#[test]
fn secret_files_open_to_others_are_warned_about() {
    let mut case = everywhere();
    case.env.retain(|(name, _)| name != "TINK_CLIENT_SECRET");
    std::fs::remove_file(case.path(CREDENTIAL)).unwrap();
    case.file("credentials/tink-sync.token-key", "key");
    case.file("credentials/tink-sync.pgpass", "pass");
    let open = Permissions::from_mode(0o644);
    for name in ["named", "credentials/tink-sync.token-key", "credentials/tink-sync.pgpass"] {
        set_permissions(case.path(name), open.clone()).unwrap();
    }
    let settings = case.load().unwrap();
    assert_eq!(settings.secret_files().len(), 3);
    assert_eq!(settings.store.token_key_file, Some(case.path("credentials/tink-sync.token-key")));
    assert_eq!(settings.store.pgpass_file, Some(case.path("credentials/tink-sync.pgpass")));
    // systemd itself protects the two below $CREDENTIALS_DIRECTORY
    let [warning] = &settings.warnings[..] else { panic!("{:?}", settings.warnings) };
    assert_eq!(settings.permission_problems(), settings.warnings);
    assert!(warning.starts_with("tink.client_secret_file: ") && warning.contains("(mode 0644)"), "{warning}");
    assert!(warning.contains("chmod 600 "), "{warning}");
}
