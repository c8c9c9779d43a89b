//! Everything the server's threads and the handle share.
//!
//! Each part has its own lock or atomic; no lock may be held while an answer is written.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::callers::Callers;
use crate::config::Config;
use crate::fault::Faults;
use crate::link::Link;
use crate::meter::Meter;
use crate::reply::Reply;
use crate::scope::Scopes;
use crate::token::{Access, Tokens};
use crate::truth::Truth;
use crate::users::{UserState, Users};
use crate::world::{UserKey, View, World};

/// The running sandbox.
#[derive(Debug)]
pub struct Shared {
    /// Its settings.
    pub config: Config,
    /// What the application may ask for.
    pub app_scopes: Scopes,
    /// Its data.
    pub world: World,
    /// Its users.
    pub users: Users,
    /// Its tokens.
    pub tokens: Tokens,
    /// Tink Link.
    pub link: Link,
    /// What shall go wrong.
    pub faults: Faults,
    /// What was asked.
    pub meter: Meter,
    /// Who reads whose data; only if users are counted.
    pub callers: Option<Callers>,
    day: AtomicU32,
    latency_micros: AtomicU64,
    started: Instant,
    skipped_ms: AtomicU64,
}

impl Shared {
    /// The state at the start.
    pub fn new(config: Config) -> Self {
        Self {
            app_scopes: Scopes::parse(&config.app_scopes.join(",")).unwrap_or_default(),
            world: World::new(&config),
            users: Users::default(),
            tokens: Tokens::new(config.seed, config.token_length),
            link: Link::new(config.redirect_uris.clone()),
            faults: Faults::default(),
            meter: Meter::new(config.count_per_user, config.log),
            callers: config.count_per_user.then(Callers::default),
            day: AtomicU32::new(config.day),
            latency_micros: AtomicU64::new(config.latency.as_micros() as u64),
            started: Instant::now(),
            skipped_ms: AtomicU64::new(0),
            config,
        }
    }

    /// The current day.
    pub fn day(&self) -> u32 {
        self.day.load(Relaxed)
    }

    /// Goes to `day`.
    pub fn set_day(&self, day: u32) {
        self.day.store(day, Relaxed);
    }

    /// Pause before each answer.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Relaxed))
    }

    /// Sets the pause before each answer.
    pub fn set_latency(&self, latency: Duration) {
        self.latency_micros.store(latency.as_micros() as u64, Relaxed);
    }

    /// The clock that tokens age by, in milliseconds.
    pub fn clock_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + self.skipped_ms.load(Relaxed)
    }

    /// The sandbox's day at noon, in epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.world.calendar.second(self.day() as i32, 43_200) * 1000
    }

    /// Puts the clock of the tokens forward.
    pub fn skip(&self, time: Duration) {
        self.skipped_ms.fetch_add(time.as_millis() as u64, Relaxed);
    }

    /// Shows the generated data of `user` to `look`, on the current day.
    pub fn with_view<T>(&self, user: UserKey, state: &UserState, look: impl FnOnce(&View<'_>) -> T) -> T {
        let plan = state.plan(&self.world, user);
        look(&View::new(&self.world, user, &plan, self.day(), &state.refreshes))
    }

    /// The truth about `user`, on the current day.
    pub fn truth(&self, user: UserKey) -> Truth {
        let state = self.users.state(user);
        match &state.script {
            Some(script) => Truth::of_script(script),
            None if user.made_index().is_some() => Truth::default(),
            None => self.with_view(user, &state, Truth::of_view),
        }
    }

    /// The token of a call, if it is one of ours, whether or not it is still good.
    pub fn access(&self, call: &Call) -> Option<Access> {
        self.tokens.read(call.bearer.as_deref()?)
    }

    /// The good token of a call, with the scope, or the refusal.
    pub fn authorize(&self, call: &Call, scope: &str) -> Result<Access, Reply> {
        let access = self.access(call).filter(|access| self.is_good(access));
        let access = access.ok_or_else(|| {
            call.refuse(401, "oauth.unauthorized", "the access token is missing, expired or revoked")
        })?;
        if !access.grant.scopes.hold(Scopes::one(scope)) {
            return Err(call.refuse(403, "oauth.missing_scope", &format!("the access token lacks {scope}")));
        }
        Ok(access)
    }

    /// The user of a call whose token has the scope, or the refusal.
    pub fn authorize_user(&self, call: &Call, scope: &str) -> Result<UserKey, Reply> {
        let user = self.authorize(call, scope)?.grant.user;
        user.ok_or_else(|| call.refuse(401, "oauth.unauthorized", "a user's access token is needed"))
    }

    fn is_good(&self, access: &Access) -> bool {
        let alive = !self.config.enforce_expiry || self.clock_ms() < access.expires_ms;
        alive
            && access.grant.user.is_none_or(|user| {
                let state = self.users.state(user);
                !state.deleted && access.serial >= state.revoked_below
            })
    }
}
