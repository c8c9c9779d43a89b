//! The names of all keys, and the message for an unknown name. Names only, no values.

/// Every key of the configuration file, in the order of the example.
pub const KEYS: &[&str] = &[
    "enabled",
    "tink.client_id",
    "tink.client_secret_file",
    "tink.api_url",
    "tink.link_url",
    "tink.connect_timeout",
    "tink.request_timeout",
    "tink.max_response",
    "tink.requests_per_second",
    "tink.concurrency",
    "tink.refresh",
    "store.url",
    "store.token_key_file",
    "store.pgpass_file",
    "source.view",
    "source.database",
    "sync.min_interval",
    "sync.history",
    "sync.overlap",
    "sync.lookahead",
    "sync.stale_after",
    "sync.rewalk",
    "sync.deep_rewalk",
    "sync.connection_timeout",
    "sync.deadline",
    "sync.outage_patience",
    "sync.keep_raw",
    "sync.keep_removed",
    "quota.syncs_per_day",
    "quota.reserved_for_manual",
    "retry.attempts",
    "retry.base",
    "retry.max",
    "consent.warn",
    "balance.min_days_open",
    "report.metrics_file",
    "report.history",
    "report.history_on_demand",
    "hooks.directory",
    "hooks.spool",
];

const TABLES: &[&str] =
    &["tink", "store", "source", "sync", "quota", "retry", "consent", "balance", "report", "hooks"];

/// The message for the unknown key `name` (dotted).
pub(super) fn unknown(name: &str) -> String {
    if let Some(known) = nearest(name) {
        return format!("unknown key; did you mean `{known}`?");
    }
    secret_remedy(name).map_or_else(|| "unknown key".to_owned(), |remedy| format!("unknown key; {remedy}"))
}

/// The known key or table the operator probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    let limit = (name.chars().count() / 2).clamp(1, 3);
    let close = |candidates: &'static [&'static str]| {
        let rated = candidates.iter().map(|known| (strsim::levenshtein(name, known), *known));
        rated.filter(|(far, _)| *far <= limit).min().map(|(_, known)| known)
    };
    close(KEYS).or_else(|| elsewhere(name)).or_else(|| close(TABLES))
}

/// A key with the same last part in another table.
fn elsewhere(name: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    KEYS.iter().find(|known| last(known) == last(name)).copied()
}

/// Where the secret belongs that a key of this name would hold.
fn secret_remedy(name: &str) -> Option<&'static str> {
    let name = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase().replace(['_', '-'], "");
    if name.contains("password") || name.contains("passwd") || name.contains("pgpass") {
        Some(
            "secrets are never written into this file; put the PostgreSQL password into a password file \
             of its own and name that in `store.pgpass_file`",
        )
    } else if name.contains("tokenkey") {
        Some(
            "secrets are never written into this file; put the key into a file of its own and name that \
             in `store.token_key_file`",
        )
    } else if ["secret", "token", "apikey"].iter().any(|word| name.contains(word)) {
        Some(
            "secrets are never written into this file; put it into a file of its own, name that in \
             `tink.client_secret_file`, or store it as the systemd credential `tink-sync.client-secret`",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested() {
        for (typed, meant) in [
            ("enabeld", "enabled"),
            ("sync.overlp", "sync.overlap"),
            ("sync.min-interval", "sync.min_interval"),
            ("tink.client_secret_fle", "tink.client_secret_file"),
            ("min_interval", "sync.min_interval"),
            ("sync.client_id", "tink.client_id"),
            ("snyc", "sync"),
        ] {
            assert_eq!(unknown(typed), format!("unknown key; did you mean `{meant}`?"));
        }
        assert_eq!(unknown("weather"), "unknown key");
    }

    #[test]
    fn a_key_for_a_secret_says_where_it_goes() {
        for (typed, place) in [
            ("client_secret", "`tink.client_secret_file`"),
            ("tink.client_secret", "`tink.client_secret_file`"),
            ("tink.clientSecret", "`tink.client_secret_file`"),
            ("tink.access_token", "`tink.client_secret_file`"),
            ("store.password", "`store.pgpass_file`"),
            ("store.token_key", "`store.token_key_file`"),
        ] {
            let text = unknown(typed);
            assert!(text.contains(place) && text.contains("never written"), "{typed}: {text}");
        }
    }
}
