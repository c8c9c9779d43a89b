//! The handle: starts the server, changes its world while it runs, tells what it knows, stops it.
//!
//! Only a thin face of the shared state; no rule of Tink's may be decided here.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::call::Endpoint;
use crate::callers::{Callers, Overlap};
use crate::config::Config;
use crate::fault::Fault;
use crate::meter::Logged;
use crate::plan::UserPlan;
use crate::scope::Scopes;
use crate::script::Script;
use crate::server;
use crate::state::Shared;
use crate::token::Grant;
use crate::truth::Truth;
use crate::users::UserState;
use crate::world::{UserKey, View};

/// A running fake Tink. It stops when dropped.
///
/// Users are named by external id or Tink id. The server has threads of its own, so the handle works in blocking and in async tests.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Panics
    /// If the system gives no socket or thread; [`Sandbox::try_start`] returns that as an error.
    #[expect(clippy::panic, reason = "in a test there is nobody to hand the error to")]
    pub fn start(config: Config) -> Self {
        match Self::try_start(config) {
            Ok(sandbox) => sandbox,
            Err(error) => panic!("the sandbox cannot start: {error}"),
        }
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// If the address is taken or the system gives no socket or thread.
    pub fn try_start(config: Config) -> io::Result<Self> {
        let (listen, threads) = (config.listen, config.threads);
        let shared = Arc::new(Shared::new(config));
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::channel();
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("tink-sandbox".to_owned())
            .spawn(move || server::run(listen, threads, served, &started, stopped))?;
        let address = start.recv().map_err(io::Error::other)??;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The current day.
    pub fn day(&self) -> u32 {
        self.shared.day()
    }

    /// Lets time pass, or turns it back.
    pub fn set_day(&self, day: u32) {
        self.shared.set_day(day);
    }

    /// Sets the pause before each answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// Makes all tokens older by `time`, at once.
    pub fn age_tokens(&self, time: Duration) {
        self.shared.skip(time);
    }

    /// Changes what happens to a user. For scripted users only page shapes and decay matter; they begin with the plainest plan.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn plan<T>(&self, user: &str, change: impl FnOnce(&mut UserPlan) -> T) -> T {
        let key = self.key(user);
        self.shared.users.change(key, |state| change(state.plan_mut(&self.shared.world, key)))
    }

    /// Gives a user back the plan of the seed, also if Tink had forgotten the user.
    pub fn unplan(&self, user: &str) {
        let key = self.shared.users.find_or_make(&self.shared.world, user);
        self.shared.users.change(key, |state| {
            state.plan = None;
            state.refreshes.clear();
            state.deleted = false;
        });
    }

    /// Lets Tink forget a user: 404 for new grants, 401 for tokens.
    pub fn forget(&self, user: &str) {
        let key = self.key(user);
        self.shared.users.change(key, |state| state.deleted = true);
    }

    /// Ends all access tokens of a user given so far.
    pub fn revoke(&self, user: &str) {
        let key = self.key(user);
        let serial = self.shared.tokens.next_serial();
        self.shared.users.change(key, |state| state.revoked_below = serial);
    }

    /// Replaces all data of a user, who may be new.
    pub fn script(&self, external_id: &str, script: Script) {
        let key = self.shared.users.find_or_make(&self.shared.world, external_id);
        self.shared.users.change(key, |state| {
            state.script = Some(Arc::new(script));
            state.deleted = false;
        });
    }

    /// After `pages` more transactions pages served to the user (from 1), replaces all data of the user.
    pub fn on_page(&self, user: &str, pages: u32, script: Script) {
        let key = self.key(user);
        self.shared.users.change(key, |state| state.on_page.push((pages, Arc::new(script))));
    }

    /// Gives a generated user the data and plan of the seed back; Tink forgets any other.
    pub fn unscript(&self, external_id: &str) {
        let key = self.key(external_id);
        self.shared.users.change(key, |state| {
            let deleted = key.made_index().is_some();
            *state = UserState { deleted, revoked_below: state.revoked_below, ..UserState::default() };
        });
    }

    /// Queues a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.push(fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// How many faults have not been used up.
    pub fn faults_left(&self) -> usize {
        self.shared.faults.len()
    }

    /// What a client must hold about a user on the current day.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn truth(&self, user: &str) -> Truth {
        self.shared.truth(self.key(user))
    }

    /// Tink's id of a user.
    pub fn user_id(&self, user: &str) -> String {
        self.shared.world.user_id(self.key(user)).to_string()
    }

    /// The credentials ids of a generated user on the current day, by number of the consent.
    pub fn credentials_ids(&self, user: &str) -> Vec<String> {
        self.view(user, |view| {
            view.consents().map(|number| view.credentials_id(number).to_string()).collect()
        })
    }

    /// The ids of a generated user's accounts on the current day, hidden ones included, by number of the account.
    pub fn account_ids(&self, user: &str) -> Vec<String> {
        self.view(user, |view| view.accounts().map(|account| account.id.to_string()).collect())
    }

    /// An access token without the road to it. `scopes` is a list with commas.
    pub fn access_token(&self, user: &str, scopes: &str) -> String {
        let life = self.shared.config.user_expires_in * 1000;
        self.shared.tokens.access(self.grant(user, scopes), self.shared.clock_ms() + life)
    }

    /// A refresh token as if given in the past. `scopes` is a list with commas.
    pub fn refresh_token(&self, user: &str, scopes: &str) -> String {
        self.shared.tokens.refresh_token(self.grant(user, scopes))
    }

    /// Lets Tink Link send browsers back to one more address.
    pub fn register_redirect(&self, redirect_uri: &str) {
        self.shared.link.register(redirect_uri);
    }

    /// Calls by endpoint.
    pub fn requests(&self) -> BTreeMap<Endpoint, u64> {
        self.shared.meter.counts()
    }

    /// Calls to one endpoint.
    pub fn requests_to(&self, endpoint: Endpoint) -> u64 {
        self.requests().get(&endpoint).copied().unwrap_or(0)
    }

    /// Calls of one user by endpoint; needs [`Config::count_per_user`].
    pub fn requests_of(&self, user: &str) -> BTreeMap<Endpoint, u64> {
        self.shared.meter.user_counts(self.key(user))
    }

    /// Starts counting anew and empties the log.
    pub fn reset_counters(&self) {
        self.shared.meter.reset();
        self.shared.callers.iter().for_each(Callers::reset);
    }

    /// Most calls that were in flight at one time.
    pub fn max_in_flight(&self) -> usize {
        self.shared.meter.most_in_flight()
    }

    /// Most calls that read the data of one user at one time; needs [`Config::count_per_user`].
    pub fn max_in_flight_of_a_user(&self) -> usize {
        self.shared.callers.as_ref().map_or(0, Callers::most)
    }

    /// Where two machines were at the data of one user; needs [`Config::count_per_user`].
    pub fn overlaps(&self) -> Vec<Overlap> {
        self.shared.callers.as_ref().map(Callers::overlaps).unwrap_or_default()
    }

    /// The external id of a user.
    pub fn name_of(&self, user: UserKey) -> String {
        self.shared.users.name(user)
    }

    /// How often a refresh token was presented that had been used.
    pub fn presented_again(&self) -> u64 {
        self.shared.tokens.presented_again()
    }

    /// The last requests, oldest first; needs [`Config::log`]. Those without an answer yet are not in it.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.meter.logged()
    }

    fn grant(&self, user: &str, scopes: &str) -> Grant {
        Grant { user: Some(self.key(user)), scopes: Scopes::parse(scopes).unwrap_or_default() }
    }

    fn view<T>(&self, user: &str, look: impl FnOnce(&View<'_>) -> T) -> T {
        let key = self.key(user);
        self.shared.with_view(key, &self.shared.users.state(key), look)
    }

    #[expect(clippy::panic, reason = "a test that names a user who is not there is wrong")]
    fn key(&self, user: &str) -> UserKey {
        match self.shared.users.find(&self.shared.world, user) {
            Some(key) => key,
            None => panic!("the sandbox has no user {user:?}"),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The thread may have died already; then there is nothing to stop and nothing to wait for.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
