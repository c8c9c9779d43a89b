//! The `state` that is sent with a link and must come back with the redirect: signed with a key that only
//! this process has, valid once and for a limited time. Must not know whose link it is.

use std::collections::HashSet;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

/// Bytes of the part that makes each state unique.
pub(crate) const NONCE: usize = 16;
pub(crate) const KEY: usize = 32;
/// The signed part: nonce and end in epoch seconds.
const CLAIM: usize = NONCE + 8;
/// Bytes of the signature.
const TAG: usize = 32;
/// Characters of a state as text.
const CHARS: usize = (CLAIM + TAG).div_ceil(3) * 4 - 1;

/// Why a state is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StateError {
    /// No state, or more than one.
    Missing,
    /// Not issued by this process, or changed.
    Wrong,
    Expired,
    Used,
    /// It came with the link itself, which has not been opened yet.
    NotSent,
}

/// Issues and checks states.
pub(crate) struct States {
    key: [u8; KEY],
    used: HashSet<[u8; NONCE]>,
}

impl States {
    /// `key` must be random and secret.
    pub(crate) fn new(key: [u8; KEY]) -> Self {
        Self { key, used: HashSet::new() }
    }

    /// A state that is valid before `until`; `nonce` must be random.
    pub(crate) fn issue(&self, nonce: [u8; NONCE], until: Timestamp) -> String {
        let mut bytes = [&nonce[..], &until.as_second().to_be_bytes()].concat();
        let tag = self.signer(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Checks a state and marks it as used.
    ///
    /// # Errors
    /// Why the state is not accepted; it is then not marked.
    pub(crate) fn spend(&mut self, state: Option<&str>, now: Timestamp) -> Result<(), StateError> {
        let nonce = self.check(state.ok_or(StateError::Missing)?, now)?;
        self.used.insert(nonce);
        Ok(())
    }

    fn check(&self, state: &str, now: Timestamp) -> Result<[u8; NONCE], StateError> {
        let wrong = StateError::Wrong;
        // A text of any other length is not decoded.
        let bytes = (state.len() == CHARS).then(|| BASE64URL_NOPAD.decode(state.as_bytes()).ok()).flatten();
        let bytes = bytes.ok_or(wrong)?;
        let (claim, tag) = bytes.split_at_checked(CLAIM).ok_or(wrong)?;
        // In constant time.
        self.signer(claim).verify_slice(tag).map_err(|_| wrong)?;
        let (nonce, until) = claim.split_first_chunk::<NONCE>().ok_or(wrong)?;
        if self.used.contains(nonce) {
            return Err(StateError::Used);
        }
        let until = i64::from_be_bytes(until.try_into().map_err(|_| wrong)?);
        if now.as_second() < until { Ok(*nonce) } else { Err(StateError::Expired) }
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn signer(&self, claim: &[u8]) -> Hmac<Sha256> {
        let mut signer = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        signer.update(claim);
        signer
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("used", &self.used.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY_A: [u8; KEY] = [7; KEY];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_state_is_good_once_and_in_time() {
        let mut states = States::new(KEY_A);
        let (one, two) = (states.issue([1; NONCE], at(900)), states.issue([2; NONCE], at(900)));
        assert_eq!(one.len(), CHARS);
        assert_eq!(states.spend(None, at(0)), Err(StateError::Missing));
        assert_eq!(states.spend(Some(&one), at(900)), Err(StateError::Expired));
        assert_eq!(states.spend(Some(&one), at(899)), Ok(()));
        assert_eq!(states.spend(Some(&one), at(0)), Err(StateError::Used));
        assert_eq!(states.spend(Some(&one), at(9000)), Err(StateError::Used));
        assert_eq!(states.spend(Some(&two), at(0)), Ok(()));
    }

    #[test]
    fn another_process_has_another_key() {
        let theirs = States::new([8; KEY]).issue([1; NONCE], at(900));
        assert_eq!(States::new(KEY_A).spend(Some(&theirs), at(0)), Err(StateError::Wrong));
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // Computed with the hmac module of Python over the same 24 bytes.
        let state = States::new(KEY_A).issue([1; NONCE], Timestamp::from_second(0).unwrap());
        let bytes = BASE64URL_NOPAD.decode(state.as_bytes()).unwrap();
        assert_eq!(bytes[..CLAIM], [[1; NONCE].as_slice(), &[0; 8]].concat());
        let (high, low) = bytes[CLAIM..].split_at(16);
        assert_eq!(u128::from_be_bytes(high.try_into().unwrap()), 0xd031_2f44_31cd_be84_0f18_e8ee_7e85_dd7e);
        assert_eq!(u128::from_be_bytes(low.try_into().unwrap()), 0x89f3_8099_56cb_6a93_4ee4_b7a2_7845_b115);
    }

    #[test]
    fn the_key_does_not_show() {
        assert_eq!(format!("{:?}", States::new(KEY_A)), "States { used: 0, .. }");
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_state(text in "\\PC{0,90}", nonce: [u8; NONCE]) {
            let mut states = States::new(KEY_A);
            let good = states.issue(nonce, at(900));
            prop_assume!(text != good);
            prop_assert_eq!(states.spend(Some(&text), at(0)), Err(StateError::Wrong));
            prop_assert_eq!(states.spend(Some(&good), at(0)), Ok(()));
        }

        #[test]
        fn no_changed_character_is_overlooked(place in 0..CHARS, by in "[A-Za-z0-9_+/= %-]", nonce: [u8; NONCE]) {
            let mut states = States::new(KEY_A);
            let good = states.issue(nonce, at(900));
            let mut changed = good.clone();
            changed.replace_range(place..=place, &by);
            prop_assume!(changed != good);
            prop_assert_eq!(states.spend(Some(&changed), at(0)), Err(StateError::Wrong));
        }
    }
}
