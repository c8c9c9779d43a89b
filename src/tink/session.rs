//! The calls of one connection with its user's token, which is kept in memory only. Must not decide what a
//! failure means for the connection.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use tokio::sync::Mutex;

use super::client::Client;
use super::error::{Endpoint, Error, ErrorKind};
use super::http::Request;
use super::memory::{Memory, MemoryPart, TooMuch};
use super::options::CallCounters;
use super::pages::{PAGE_SIZE, PageCursor};
use super::token::{Bearer, Effort};
use super::wire;
use crate::domain::account::Account;
use crate::domain::anomaly::Anomalies;
use crate::domain::connection::TinkUser;
use crate::domain::consent::Consent;
use crate::domain::ids::{AccountId, CredentialsId};

/// The most accounts that a user may have; they are held in memory together.
const MAX_ACCOUNTS: usize = 2_000;
/// Claiming that the user is present would start a login that nobody answers.
const NOBODY_THERE: &str =
    r#"{"userAvailability":{"userPresent":false,"userAvailableForInteraction":false}}"#;

/// About how many copies of a list exist while it is processed: as read, as judged, as written, as stored.
const COPIES: usize = 4;

pub(super) type Query = Vec<(&'static str, String)>;

/// A user token that the link already has.
pub struct GivenToken {
    pub secret: SecretString,
    /// Its remaining lifetime, if known.
    pub life: Option<Duration>,
}

impl fmt::Debug for GivenToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenToken").field("life", &self.life).finish_non_exhaustive()
    }
}

/// The tokens of a link that has its own.
pub trait OwnTokens: Send + Sync {
    /// Returns a user token, another one if Tink has `refused` the last; `None` if there is none.
    fn token(&self, refused: bool) -> BoxFuture<'_, Result<Option<GivenToken>, Error>>;
}

/// The result of a list call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items that could be read.
    pub items: Vec<T>,
    /// Whether `items` is everything that was listed; if not, nothing may be concluded from an absent item.
    pub complete: bool,
}

/// How a connection's responses deviated from the documented form, by the account concerned.
type Noted = BTreeMap<Option<AccountId>, Anomalies>;

/// One connection's calls to Tink.
pub struct Session {
    client: Client,
    user: Option<TinkUser>,
    own: Option<Arc<dyn OwnTokens>>,
    token: Mutex<Option<Arc<Bearer>>>,
    counters: CallCounters,
    noted: std::sync::Mutex<Noted>,
    memory: Memory,
}

impl Client {
    /// Opens a session for one user. Sends nothing yet; the first call mints the user's token.
    pub fn session(&self, user: TinkUser) -> Session {
        Session::new(self.clone(), Some(user), None)
    }

    /// Opens a session for a link that may have its own tokens: these come first, minting for `user` after
    /// them.
    pub fn session_of_link(&self, user: Option<TinkUser>, own: Option<Arc<dyn OwnTokens>>) -> Session {
        Session::new(self.clone(), user, own)
    }
}

impl Session {
    pub(super) fn new(client: Client, user: Option<TinkUser>, own: Option<Arc<dyn OwnTokens>>) -> Self {
        let memory = Memory::new(client.turn());
        let (counters, noted) = (CallCounters::default(), std::sync::Mutex::default());
        Self { client, user, own, token: Mutex::new(None), counters, noted, memory }
    }

    /// All readable consents of the user (API.md 5.1; not paged).
    ///
    /// # Errors
    /// The call's error after all retries.
    pub async fn consents(&self) -> Result<Vec<Consent>, Error> {
        Ok(self.consent_list().await?.items)
    }

    /// All readable consents of the user, and whether they are all that Tink listed.
    ///
    /// # Errors
    /// As [`Self::consents`].
    pub async fn consent_list(&self) -> Result<Listed<Consent>, Error> {
        let list = self.call(Endpoint::ProviderConsents, &Query::new(), wire::consents).await?;
        self.note(None, list.anomalies);
        let size: usize = list.readable.iter().map(size_of_consent).sum();
        self.hold(MemoryPart::Consents, size.saturating_mul(COPIES), Endpoint::ProviderConsents).await?;
        Ok(Listed { items: list.readable, complete: list.complete })
    }

    /// Asks Tink to fetch the data of a consent from its bank (API.md 5.3), declaring the user absent.
    /// Acceptance does not mean that the fetch is done.
    ///
    /// # Errors
    /// The call's error; the call is not retried, since Tink may have accepted it.
    pub async fn refresh(&self, consent: &CredentialsId) -> Result<(), Error> {
        let id = consent.as_str();
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let detail = "the consent's id cannot stand in an address";
            return Err(Error::new(ErrorKind::Malformed, Endpoint::CredentialsRefresh, detail));
        }
        let effort = self.client.effort(&self.counters);
        let token = self.token(effort, None).await?;
        let request = Request {
            endpoint: Endpoint::CredentialsRefresh,
            query: &[],
            form: &[],
            posted: Some((id, NOBODY_THERE)),
            bearer: Some(&token.secret),
            tries: 1,
            repeated: false,
        };
        effort.transport.call(&request, effort.counters, wire::done).await.map(drop)
    }

    /// All readable accounts of the user, over all pages (API.md 3.1). If an id occurs twice, the account
    /// that was refreshed later wins, else the later one.
    ///
    /// # Errors
    /// The call's error after all retries.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        Ok(self.account_list().await?.items)
    }

    /// All readable accounts of the user, and whether they are all that Tink listed.
    ///
    /// # Errors
    /// As [`Self::accounts`]; a page on which no account can be read is
    /// [`Malformed`](super::ErrorKind::Malformed).
    pub async fn account_list(&self) -> Result<Listed<Account>, Error> {
        let mut noted = Noted::new();
        let list = self.account_pages(&mut noted).await;
        for (account, anomalies) in noted {
            self.note(account.as_ref(), anomalies);
        }
        list
    }

    /// Reads the pages, from the first again if Tink refuses a page token; `noted` is of the last time.
    async fn account_pages(&self, noted: &mut Noted) -> Result<Listed<Account>, Error> {
        let mut walk = PageCursor::default();
        let nothing = || Listed { items: Vec::new(), complete: true };
        let (mut list, mut size) = (nothing(), 0);
        while walk.has_more() {
            let mut query = vec![("pageSize", PAGE_SIZE.to_string())];
            query.extend(walk.token().map(|token| ("pageToken", token.to_owned())));
            match self.call(Endpoint::Accounts, &query, wire::accounts).await {
                Ok(page) => {
                    noted.entry(None).or_default().merge(page.anomalies);
                    list.complete &= page.complete;
                    for (account, anomalies) in page.rows {
                        noted.entry(Some(account.id.clone())).or_default().merge(anomalies);
                        size += size_of_account(&account);
                        merge(&mut list.items, account);
                    }
                    self.hold(MemoryPart::Accounts, size.saturating_mul(COPIES), Endpoint::Accounts).await?;
                    if list.items.len() > MAX_ACCOUNTS {
                        let detail = format!("more than {MAX_ACCOUNTS} accounts");
                        return Err(Error::new(ErrorKind::TooLarge, Endpoint::Accounts, &detail));
                    }
                    walk.advance(page.next, Endpoint::Accounts)?;
                }
                Err(error) if walk.restart(&error) => {
                    (list, size) = (nothing(), 0);
                    noted.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(list)
    }

    /// How the responses so far deviated from the documented form, by the account concerned. Each deviation
    /// is returned once.
    pub fn take_anomalies(&self) -> Vec<(Option<AccountId>, Anomalies)> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *noted).into_iter().collect()
    }

    pub(super) fn note(&self, account: Option<&AccountId>, anomalies: Anomalies) {
        if !anomalies.is_empty() {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.entry(account.cloned()).or_default().merge(anomalies);
        }
    }

    /// Records how many bytes of unwritten rows and records are held, and waits until that is allowed: one
    /// connection at a time may hold more than a few megabytes.
    ///
    /// # Errors
    /// [`TooLarge`](super::ErrorKind::TooLarge): more than any connection may hold.
    pub async fn hold_unwritten(&self, bytes: usize) -> Result<(), Error> {
        self.hold(MemoryPart::Unwritten, bytes, Endpoint::Transactions).await
    }

    /// Records that no unwritten rows are held any more.
    pub fn release_unwritten(&self) {
        self.memory.release(MemoryPart::Unwritten);
    }

    pub(super) async fn hold(&self, part: MemoryPart, bytes: usize, endpoint: Endpoint) -> Result<(), Error> {
        self.memory.hold(part, bytes).await.map_err(|TooMuch| {
            let detail = match endpoint {
                Endpoint::Transactions => {
                    "the account has far more records than fit in memory: sync.history makes a first walk shorter"
                }
                _ => "the lists are longer than fit in memory",
            };
            Error::new(ErrorKind::TooLarge, endpoint, detail)
        })
    }

    pub(super) fn release(&self, part: MemoryPart) {
        self.memory.release(part);
    }

    /// The number of HTTP requests sent for this session, including token requests.
    pub fn requests(&self) -> u64 {
        self.counters.requests()
    }

    /// Time of process-wide pauses that its own requests caused (429).
    pub fn own_pauses(&self) -> Duration {
        self.counters.paused()
    }

    pub fn retries(&self) -> u64 {
        self.counters.retries()
    }

    pub(super) fn keep_raw(&self) -> bool {
        self.client.keep_raw()
    }

    /// Reads with the user's token; on a 401, once more with a new one (API.md 7.1).
    pub(super) async fn call<T>(
        &self,
        endpoint: Endpoint,
        query: &Query,
        parse: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let effort = self.client.effort(&self.counters);
        let token = self.token(effort, None).await?;
        match self.get(effort, endpoint, query, &token, &parse).await {
            // Not for a proxy's 401, which says nothing about the token: a new one may cost a refresh token.
            Err(error) if error.kind == ErrorKind::Unauthorized => {
                let token = self.token(effort, Some(&token)).await?;
                self.get(effort.second(), endpoint, query, &token, &parse).await
            }
            other => other,
        }
    }

    async fn get<T>(
        &self,
        effort: Effort<'_>,
        endpoint: Endpoint,
        query: &Query,
        token: &Bearer,
        parse: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let request = Request {
            endpoint,
            query,
            form: &[],
            posted: None,
            bearer: Some(&token.secret),
            tries: effort.tries,
            repeated: effort.repeated,
        };
        Ok(effort.transport.call(&request, effort.counters, parse).await?.value)
    }

    /// The user's token if it is fresh and not `stale`, else a new one.
    async fn token(&self, effort: Effort<'_>, stale: Option<&Arc<Bearer>>) -> Result<Arc<Bearer>, Error> {
        let mut token = self.token.lock().await;
        if let Some(current) = token.as_ref()
            && current.is_fresh()
            && !stale.is_some_and(|stale| Arc::ptr_eq(stale, current))
        {
            return Ok(Arc::clone(current));
        }
        *token = None;
        let given = match &self.own {
            Some(own) => own.token(stale.is_some()).await?,
            None => None,
        };
        let fresh = match (given, &self.user) {
            (Some(given), _) => Bearer::given(given.secret, given.life),
            (None, Some(user)) => self.client.tokens().user(effort, user).await?,
            (None, None) => return Err(Error::new(ErrorKind::TokenLost, Endpoint::TokenRefresh, "")),
        };
        *token = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// The approximate size of an account in memory.
fn size_of_account(account: &Account) -> usize {
    let texts =
        [&account.iban, &account.account_number, &account.masked_pan, &account.financial_institution_id];
    let texts = texts.into_iter().flatten().chain([&account.name, &account.kind]).map(String::len);
    size_of::<Account>() + account.id.as_str().len() + texts.sum::<usize>() + 256
}

/// The approximate size of a consent in memory.
fn size_of_consent(consent: &Consent) -> usize {
    let ids = consent.account_ids.iter().map(|id| id.as_str().len() + 48);
    size_of::<Consent>() + consent.credentials_id.as_str().len() + ids.sum::<usize>() + 256
}

fn merge(accounts: &mut Vec<Account>, account: Account) {
    match accounts.iter_mut().find(|known| known.id == account.id) {
        Some(known) if known.last_refreshed > account.last_refreshed => {}
        Some(known) => *known = account,
        None => accounts.push(account),
    }
}
