//! Encrypts the tokens of older links for the store, and decrypts them: XChaCha20-Poly1305, bound to the
//! connection and the kind of token, prefixed with the id of the key. Keeps no token and knows no file.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, HEXLOWER};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

const KEY: usize = 32;
/// So many bytes at the beginning of what is encrypted are the id of the key.
pub(crate) const KEY_ID: usize = 8;
/// So many of them are shown: messages that may contain a token hide longer words of this kind.
const KEY_ID_SHOWN: usize = 4;
const NONCE: usize = 24;

/// The kind of an encrypted token; a refresh token cannot be put in the place of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The token that renewing uses up.
    Refresh,
    /// The token for calls.
    Access,
}

/// Why something cannot be encrypted or decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("must hold 32 bytes in base64; make a key with: head -c 32 /dev/urandom | base64")]
    BadKey,
    #[error(
        "encrypted with another key (id {found}, this one is {mine}); put that key back, or run tink-sync rekey with it"
    )]
    OtherKey {
        /// The key it was encrypted with.
        found: String,
        /// The key at hand.
        mine: String,
    },
    /// The data is damaged, or was encrypted for another connection.
    #[error("the encrypted token is damaged, or belongs to another connection")]
    Damaged,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(#[source] getrandom::Error),
}

/// A key, ready to encrypt and decrypt.
#[derive(Clone)]
pub struct Vault {
    cipher: XChaCha20Poly1305,
    id: [u8; KEY_ID],
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("key_id", &self.key_id()).finish_non_exhaustive()
    }
}

fn shown(id: &[u8]) -> String {
    HEXLOWER.encode(id.get(..KEY_ID_SHOWN).unwrap_or(id))
}

impl Vault {
    /// The vault of a key of 32 bytes in base64.
    pub fn new(key: &SecretString) -> Result<Self, VaultError> {
        let bytes = BASE64.decode(key.expose_secret().trim().as_bytes()).map_err(|_| VaultError::BadKey)?;
        let bytes: [u8; KEY] = bytes.try_into().map_err(|_| VaultError::BadKey)?;
        let digest = Sha256::new().chain_update(b"tink-sync key id").chain_update(bytes).finalize();
        let mut id = [0; KEY_ID];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Ok(Self { cipher: XChaCha20Poly1305::new(&bytes.into()), id })
    }

    /// The key's id, which reveals nothing about the key.
    pub fn key_id(&self) -> String {
        shown(&self.id)
    }

    /// Checks by its first bytes that something was encrypted with this key.
    ///
    /// # Errors
    /// [`VaultError::OtherKey`] or [`VaultError::Damaged`].
    pub fn recognise(&self, encrypted: &[u8]) -> Result<(), VaultError> {
        let id = encrypted.get(..KEY_ID).ok_or(VaultError::Damaged)?;
        if id == self.id {
            return Ok(());
        }
        Err(VaultError::OtherKey { found: shown(id), mine: self.key_id() })
    }

    /// Encrypts a token of this connection.
    pub fn encrypt(
        &self,
        connection: &str,
        what: TokenKind,
        token: &SecretString,
    ) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(VaultError::NoRandomness)?;
        let aad = bound_to(connection, what);
        let payload = Payload { msg: token.expose_secret().as_bytes(), aad: &aad };
        // Fails only for texts of gigabytes.
        let text = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Damaged)?;
        Ok([&self.id[..], &nonce, &text].concat())
    }

    /// Decrypts what [`Self::encrypt`] made for the same connection.
    ///
    /// # Errors
    /// [`VaultError::OtherKey`] or [`VaultError::Damaged`].
    pub fn decrypt(
        &self,
        connection: &str,
        what: TokenKind,
        encrypted: &[u8],
    ) -> Result<SecretString, VaultError> {
        self.recognise(encrypted)?;
        let (_, rest) = encrypted.split_at_checked(KEY_ID).ok_or(VaultError::Damaged)?;
        let (nonce, text) = rest.split_at_checked(NONCE).ok_or(VaultError::Damaged)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| VaultError::Damaged)?;
        let aad = bound_to(connection, what);
        let payload = Payload { msg: text, aad: &aad };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Damaged)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| VaultError::Damaged)
    }
}

fn bound_to(connection: &str, what: TokenKind) -> Vec<u8> {
    let what = match what {
        TokenKind::Refresh => "refresh",
        TokenKind::Access => "access",
    };
    format!("tink-sync 1 {what} {connection}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::new(&BASE64.encode(&[byte; KEY]).into()).unwrap()
    }

    #[test]
    fn what_was_encrypted_is_decrypted_by_the_same_key_for_the_same_connection_only() {
        let (mine, other, token) = (vault(1), vault(2), SecretString::from("t-öken"));
        let encrypted = mine.encrypt("c-1", TokenKind::Refresh, &token).unwrap();
        assert_eq!(mine.decrypt("c-1", TokenKind::Refresh, &encrypted).unwrap().expose_secret(), "t-öken");
        assert_eq!(mine.decrypt("c-2", TokenKind::Refresh, &encrypted).unwrap_err(), VaultError::Damaged);
        assert_eq!(mine.decrypt("c-1", TokenKind::Access, &encrypted).unwrap_err(), VaultError::Damaged);
        let found = mine.key_id();
        let mine_id = other.key_id();
        let refused = other.decrypt("c-1", TokenKind::Refresh, &encrypted).unwrap_err();
        assert_eq!(refused, VaultError::OtherKey { found, mine: mine_id });
        // The same token is never encrypted to the same bytes twice, and never to its own.
        assert_ne!(encrypted, mine.encrypt("c-1", TokenKind::Refresh, &token).unwrap());
        assert!(!encrypted.windows(4).any(|part| part == b"t-\xc3\xb6"));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let vault = vault(7);
        let encrypted = vault.encrypt("c", TokenKind::Access, &"token".into()).unwrap();
        for index in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[index] ^= 1;
            assert!(vault.decrypt("c", TokenKind::Access, &changed).is_err(), "{index}");
            assert!(vault.decrypt("c", TokenKind::Access, &encrypted[..index]).is_err(), "{index}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for text in ["", "abc", "not base64!", &BASE64.encode(&[1; 31]), &BASE64.encode(&[1; 33])] {
            assert_eq!(Vault::new(&text.into()).unwrap_err(), VaultError::BadKey, "{text}");
        }
        let spaced = format!(" {}\n", BASE64.encode(&[1; 32]));
        assert_eq!(Vault::new(&spaced.into()).unwrap().key_id(), vault(1).key_id());
        assert!(!format!("{:?}", vault(1)).contains(&BASE64.encode(&[1; 32])));
    }
}
