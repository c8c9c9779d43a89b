//! What the environment decides, and what happens with strange values in it.

use super::{Case, message_of};
use std::os::unix::ffi::OsStringExt;

#[test]
fn the_environment_wins_over_the_file() {
    let text = "enabled = true\n[tink]\nclient_id = 'from-file'";
    let case = Case::new(text).env("TINK_CLIENT_ID", "from-environment").env("TINK_SYNC_ENABLED", "false");
    let settings = case.load().unwrap();
    assert_eq!(settings.tink.client_id.as_deref(), Some("from-environment"));
    assert!(!settings.enabled);
    let settings = Case::new(text).load().unwrap();
    assert_eq!(settings.tink.client_id.as_deref(), Some("from-file"));
    assert!(settings.enabled);
}

#[test]
fn the_switch_knows_the_usual_words_and_guesses_nothing() {
    for (word, enabled) in
        [("TRUE", true), ("yes", true), ("1", true), ("off", false), ("No", false), ("0", false)]
    {
        let case = Case::new("").env("TINK_SYNC_ENABLED", word);
        assert_eq!(case.load().unwrap().enabled, enabled, "{word}");
    }
    let case = Case::new("").env("TINK_SYNC_ENABLED", "flase");
    assert_eq!(message_of(&case), "environment variable TINK_SYNC_ENABLED: expected `true` or `false`");
    let case = Case::new("enabled = false");
    assert!(!case.load().unwrap().enabled);
    assert!(Case::new("enabled = false").env("TINK_SYNC_ENABLED", "true").load().unwrap().enabled);
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let case = Case::new("enabled = false\ntink.client_id = 'id'");
    let case = case.env("TINK_CLIENT_ID", "").env("TINK_SYNC_ENABLED", "").env("TINK_CLIENT_SECRET", "");
    let settings = case.env("CREDENTIALS_DIRECTORY", "").load().unwrap();
    assert_eq!(settings.tink.client_id.as_deref(), Some("id"));
    assert!(!settings.enabled && settings.tink.client_secret.is_none());
    assert!(settings.warnings.is_empty() && !settings.credentials.is_of_service());
}

#[test]
fn a_variable_that_is_no_text_is_an_error() {
    for name in ["TINK_CLIENT_ID", "TINK_SYNC_ENABLED", "TINK_CLIENT_SECRET"] {
        let broken = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
        let text = message_of(&Case::new("").env(name, broken));
        assert_eq!(text, format!("environment variable {name}: expected text in UTF-8"));
    }
}

#[test]
fn a_client_id_is_one_word() {
    for id in ["a b", "id\n", " id", "ä"] {
        let text = message_of(&Case::new("").env("TINK_CLIENT_ID", id));
        assert!(text.contains("tink.client_id: expected the client id"), "{text}");
    }
    assert!(message_of(&Case::new("tink.client_id = ''")).contains("tink.client_id"));
}
