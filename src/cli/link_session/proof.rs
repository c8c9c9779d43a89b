//! Checks at Tink what a session led to. The redirect alone never counts as proof that a bank was linked or a
//! consent renewed: anyone can type its address or truncate it. Must not store anything.

use jiff::Timestamp;

use super::{LinkSession, data, words};
use crate::cli::{Failure, table};
use crate::domain::connection::TinkUser;
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::CredentialsId;
use crate::exit::Exit;
use crate::tink::Client;

impl LinkSession<'_> {
    /// Polls until `shows` returns a value, about as long as for data. If it does not, prints `otherwise` and
    /// returns an exit code; also returns one after a signal.
    pub(in crate::cli) async fn prove<T>(
        &self,
        (client, user): (&Client, &TinkUser),
        otherwise: &str,
        shows: impl Fn(&[Consent]) -> Option<T>,
    ) -> Result<Result<T, Exit>, Failure> {
        let found = tokio::select! {
            biased;
            () = self.signals.token.cancelled() => {
                table::print(words::STOPPED)?;
                return Ok(Err(self.signals.exit()));
            }
            found = data::look(self.env, client, user, words::ASKING, shows) => found?,
        };
        if found.is_none() {
            table::print(otherwise)?;
        }
        Ok(found.ok_or(Exit::Incomplete))
    }
}

/// The consent that a session led to, by Tink's lists before and after it: a new one, else one that has
/// changed. Of several the one that the redirect has `named`, which proves nothing by itself.
pub(in crate::cli) fn linked(
    before: &[Consent],
    after: &[Consent],
    named: Option<&CredentialsId>,
    now: Timestamp,
) -> Option<CredentialsId> {
    let through = || after.iter().filter(|consent| is_through(consent, now));
    let was = |consent: &Consent| before.iter().find(|old| is_same(old, consent));
    let new: Vec<&Consent> = through().filter(|consent| was(consent).is_none()).collect();
    let changed: Vec<&Consent> =
        through().filter(|consent| was(consent).is_some_and(|old| has_moved(old, consent))).collect();
    let best = [new, changed].into_iter().find(|found| !found.is_empty())?;
    let is_named = |consent: &&&Consent| named == Some(&consent.credentials_id);
    best.iter().find(is_named).or(best.first()).map(|consent| consent.credentials_id.clone())
}

/// Whether the consent was renewed: Tink shows that it has changed and needs no user.
pub(in crate::cli) fn is_renewed(before: &Consent, after: &[Consent], now: Timestamp) -> bool {
    let of_it = after.iter().filter(|consent| is_same(before, consent));
    of_it.into_iter().any(|consent| is_through(consent, now) && has_moved(before, consent))
}

fn is_same(one: &Consent, other: &Consent) -> bool {
    one.credentials_id == other.credentials_id
}

fn has_moved(before: &Consent, after: &Consent) -> bool {
    before.status_updated != after.status_updated || before.expires_at != after.expires_at
}

/// Whether the consent no longer needs its user; Tink may still be fetching.
fn is_through(consent: &Consent, now: Timestamp) -> bool {
    match consent.health(now) {
        Health::Healthy | Health::PastDate | Health::Unavailable => true,
        Health::Busy => consent.status == "UPDATING",
        Health::NeedsUser(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn consent(id: &str, status: &str, age: i64) -> Consent {
        Consent {
            credentials_id: id.into(),
            provider: None,
            account_ids: Vec::new(),
            status: status.to_owned(),
            status_updated: Some(Timestamp::from_second(1_800_000_000 - age).unwrap()),
            expires_at: None,
            extendable: None,
            error_type: None,
            error_reason: None,
        }
    }

    #[test]
    fn a_bank_is_linked_once_tink_lists_what_it_did_not() {
        let old = [consent("a", "UPDATED", 90)];
        let with = |consent: Consent| linked(&old, &[old[0].clone(), consent], None, now());
        assert_eq!(linked(&old, &old, Some(&"a".into()), now()), None);
        assert_eq!(linked(&old, &[], Some(&"b".into()), now()), None);
        for (status, counts) in [
            ("UPDATED", true),
            ("UPDATING", true),
            ("TEMPORARY_ERROR", true),
            ("CREATED", false),
            ("AUTHENTICATION_ERROR", false),
        ] {
            assert_eq!(with(consent("b", status, 1)).is_some(), counts, "{status}");
        }
        assert_eq!(linked(&old, &[consent("a", "UPDATED", 1)], None, now()), Some("a".into()));
        // A name chooses among what Tink shows; a refreshed consent does not count as new.
        let after = [consent("a", "UPDATED", 1), consent("b", "UPDATED", 1), consent("c", "UPDATED", 1)];
        for (named, expected) in [(Some("c"), "c"), (Some("a"), "b"), (Some("z"), "b"), (None, "b")] {
            let named = named.map(CredentialsId::from);
            assert_eq!(linked(&old, &after, named.as_ref(), now()), Some(expected.into()));
        }
    }

    #[test]
    fn a_consent_is_renewed_once_tink_shows_it() {
        let expired = consent("a", "SESSION_EXPIRED", 90);
        for (after, counts) in [
            (expired.clone(), false),
            (consent("a", "SESSION_EXPIRED", 1), false),
            (consent("a", "UPDATED", 1), true),
            (consent("b", "UPDATED", 1), false),
        ] {
            assert_eq!(is_renewed(&expired, std::slice::from_ref(&after), now()), counts, "{after:?}");
        }
        let soon = consent("a", "UPDATED", 90);
        assert!(!is_renewed(&soon, std::slice::from_ref(&soon), now()));
        let longer = Consent { expires_at: Some("2030-01-01T00:00:00Z".parse().unwrap()), ..soon.clone() };
        assert!(is_renewed(&soon, &[longer], now()));
    }
}
