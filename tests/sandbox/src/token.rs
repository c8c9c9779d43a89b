//! Access tokens, codes and refresh tokens.
//!
//! Access tokens carry their own content, signed, so a hundred thousand users cost nothing; only what may be used once
//! is remembered. It must not know about HTTP.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::hash::{Id, mix};
use crate::lock;
use crate::scope::Scopes;
use crate::world::UserKey;

/// How many unspent codes and refresh tokens are remembered; the oldest go first.
const UNSPENT: usize = 1 << 17;
const CLIENT: u64 = u64::MAX;

/// What a token or code allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Whose data; `None` for the application itself.
    pub user: Option<UserKey>,
    /// To do what.
    pub scopes: Scopes,
}

/// A readable access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// What it allows.
    pub grant: Grant,
    /// When it ends, on the sandbox's clock.
    pub expires_ms: u64,
    /// Grows with each token.
    pub serial: u64,
}

/// Maker and checker of all of them.
#[derive(Debug)]
pub struct Tokens {
    signature: u64,
    serial: AtomicU64,
    length: usize,
    codes: Mutex<Unspent>,
    link: Mutex<Unspent>,
    refresh: Mutex<Unspent>,
    spent_refresh: Mutex<HashSet<String>>,
    presented_again: AtomicU64,
}

impl Tokens {
    /// Access tokens are filled up to `length`.
    pub fn new(seed: u64, length: usize) -> Self {
        Self {
            signature: mix(seed, 77),
            serial: AtomicU64::new(0),
            length,
            codes: Mutex::default(),
            link: Mutex::default(),
            refresh: Mutex::default(),
            spent_refresh: Mutex::default(),
            presented_again: AtomicU64::new(0),
        }
    }

    /// The number that the next thing made here will have.
    pub fn next_serial(&self) -> u64 {
        self.serial.load(Relaxed)
    }

    /// Makes an access token.
    pub fn access(&self, grant: Grant, expires_ms: u64) -> String {
        let serial = self.serial.fetch_add(1, Relaxed);
        self.write(Access { grant, expires_ms, serial })
    }

    fn write(&self, access: Access) -> String {
        let Access { grant, expires_ms, serial } = access;
        let user = grant.user.map_or(CLIENT, |user| user.0);
        let check =
            [user, u64::from(grant.scopes.0), expires_ms, serial].into_iter().fold(self.signature, mix);
        let text = format!("{user:016x}{:08x}{expires_ms:016x}{serial:016x}{check:016x}", grant.scopes.0);
        format!("{text:-<width$}", width = self.length)
    }

    /// Reads an access token made here.
    pub fn read(&self, text: &str) -> Option<Access> {
        let part = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        let user = part(0..16)?;
        let scopes = Scopes(u32::from_str_radix(text.get(16..24)?, 16).ok()?);
        let grant = Grant { user: (user != CLIENT).then_some(UserKey(user)), scopes };
        let access = Access { grant, expires_ms: part(24..40)?, serial: part(40..56)? };
        (self.write(access) == text).then_some(access)
    }

    /// Makes a code for one use.
    pub fn code(&self, grant: Grant) -> String {
        lock(&self.codes).add(self.unique(1), grant)
    }

    /// Makes a code for one visit at Tink Link; it opens nothing else.
    pub fn link_code(&self, grant: Grant) -> String {
        lock(&self.link).add(self.unique(3), grant)
    }

    /// Uses a code for Tink Link.
    pub fn spend_link_code(&self, code: &str) -> Option<Grant> {
        lock(&self.link).grants.remove(code)
    }

    /// An id that nobody can guess from another.
    pub fn random_id(&self) -> String {
        self.unique(4)
    }

    /// What a code allows, without using it.
    pub fn peek_code(&self, code: &str) -> Option<Grant> {
        lock(&self.codes).grants.get(code).copied()
    }

    /// Uses a code.
    pub fn spend_code(&self, code: &str) -> Option<Grant> {
        lock(&self.codes).grants.remove(code)
    }

    /// Makes a refresh token for one use.
    pub fn refresh_token(&self, grant: Grant) -> String {
        lock(&self.refresh).add(self.unique(2), grant)
    }

    /// What a refresh token allows, without using it.
    pub fn peek_refresh(&self, token: &str) -> Option<Grant> {
        lock(&self.refresh).grants.get(token).copied()
    }

    /// Uses a refresh token.
    pub fn spend_refresh(&self, token: &str) -> Option<Grant> {
        let spent = lock(&self.refresh).grants.remove(token);
        let is_new = spent.is_some() && lock(&self.spent_refresh).insert(token.to_owned());
        if !is_new && lock(&self.spent_refresh).contains(token) {
            self.presented_again.fetch_add(1, Relaxed);
        }
        spent
    }

    /// How often a refresh token was presented that had been used.
    pub fn presented_again(&self) -> u64 {
        self.presented_again.load(Relaxed)
    }

    fn unique(&self, topic: u64) -> String {
        let serial = self.serial.fetch_add(1, Relaxed);
        Id::of(mix(mix(self.signature, serial), topic)).to_string()
    }
}

#[derive(Debug, Default)]
struct Unspent {
    grants: HashMap<String, Grant>,
    order: VecDeque<String>,
}

impl Unspent {
    fn add(&mut self, text: String, grant: Grant) -> String {
        if self.order.len() == UNSPENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.grants.remove(&oldest);
        }
        self.order.push_back(text.clone());
        self.grants.insert(text.clone(), grant);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: Grant = Grant { user: Some(UserKey(9)), scopes: Scopes(5) };

    #[test]
    fn access_tokens_are_read_back_and_cannot_be_forged() {
        for length in [0, 1500] {
            let tokens = Tokens::new(1, length);
            let text = tokens.access(GRANT, 1000);
            assert!(text.len() >= length);
            assert_eq!(tokens.read(&text), Some(Access { grant: GRANT, expires_ms: 1000, serial: 0 }));
            assert_eq!(tokens.read(&text.replacen('0', "1", 1)), None);
            assert_eq!(Tokens::new(2, length).read(&text), None);
            let client = Grant { user: None, ..GRANT };
            assert_eq!(tokens.read(&tokens.access(client, 0)).map(|access| access.grant), Some(client));
        }
        assert_eq!(Tokens::new(1, 0).read("ééééééééééééééééééééééééééééééééééééééé"), None);
    }

    #[test]
    fn codes_and_refresh_tokens_work_once() {
        let tokens = Tokens::new(1, 0);
        let (code, refresh) = (tokens.code(GRANT), tokens.refresh_token(GRANT));
        assert_eq!(tokens.peek_code(&code), Some(GRANT));
        assert_eq!((tokens.spend_code(&code), tokens.spend_code(&code)), (Some(GRANT), None));
        assert_eq!((tokens.spend_refresh(&refresh), tokens.presented_again()), (Some(GRANT), 0));
        assert_eq!((tokens.spend_refresh(&refresh), tokens.spend_refresh("unknown")), (None, None));
        assert_eq!(tokens.presented_again(), 1);
        let link = tokens.link_code(GRANT);
        assert_eq!(tokens.spend_code(&link), None);
        assert_eq!((tokens.spend_link_code(&link), tokens.spend_link_code(&link)), (Some(GRANT), None));
    }
}
