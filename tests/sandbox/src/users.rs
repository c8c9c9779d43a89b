//! Who the users are and what tests have changed about them.
//!
//! Only users that something was done to take memory. It must not generate data.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::plan::UserPlan;
use crate::script::Script;
use crate::world::{UserKey, World};

/// What differs from the seed for one user.
#[derive(Debug, Clone, Default)]
pub struct UserState {
    /// Instead of the seed's plan.
    pub plan: Option<UserPlan>,
    /// Instead of generated data.
    pub script: Option<Arc<Script>>,
    /// Scripts that replace the data once this many more transactions pages have been served.
    pub on_page: Vec<(u32, Arc<Script>)>,
    /// A script that replaces the data once the consents have been read this many more times.
    pub on_consents: Option<(u32, Arc<Script>)>,
    /// Finished refreshes by consent.
    pub refreshes: BTreeMap<usize, u32>,
    /// Tink does not know the user any more.
    pub deleted: bool,
    /// Tokens with a smaller serial are revoked.
    pub revoked_below: u64,
}

impl UserState {
    /// The plan that holds for `user`.
    pub fn plan(&self, world: &World, user: UserKey) -> Cow<'_, UserPlan> {
        self.plan.as_ref().map_or_else(|| Cow::Owned(self.first_plan(world, user)), Cow::Borrowed)
    }

    /// The plan of `user`, to be changed.
    pub fn plan_mut(&mut self, world: &World, user: UserKey) -> &mut UserPlan {
        let first = self.first_plan(world, user);
        self.plan.get_or_insert(first)
    }

    /// A scripted user gets no surprises from the seed.
    fn first_plan(&self, world: &World, user: UserKey) -> UserPlan {
        if self.script.is_some() { UserPlan::default() } else { world.seeded_plan(user) }
    }
}

/// All changed users, and those made at run time.
#[derive(Debug, Default)]
pub struct Users {
    states: RwLock<HashMap<UserKey, Arc<UserState>>>,
    made: RwLock<Made>,
    untouched: Arc<UserState>,
}

#[derive(Debug, Default)]
struct Made {
    names: Vec<String>,
    keys: HashMap<String, UserKey>,
}

impl Users {
    /// The user with this external id or Tink id, if Tink knows it.
    pub fn find(&self, world: &World, name_or_id: &str) -> Option<UserKey> {
        let known = |user: &UserKey| {
            user.made_index()
                .map_or(user.0 < u64::from(world.users), |index| index < read(&self.made).names.len())
        };
        let named = world.user_named(name_or_id).or_else(|| read(&self.made).keys.get(name_or_id).copied());
        let user = named.or_else(|| world.user_of_id(name_or_id).filter(known))?;
        (!self.state(user).deleted).then_some(user)
    }

    /// The user with this external id; made if there is none.
    pub fn find_or_make(&self, world: &World, name: &str) -> UserKey {
        if let Some(user) = world.user_named(name) {
            return user;
        }
        let mut made = write(&self.made);
        if let Some(&user) = made.keys.get(name) {
            return user;
        }
        let user = UserKey::made(made.names.len());
        made.names.push(name.to_owned());
        made.keys.insert(name.to_owned(), user);
        user
    }

    /// External id of a user.
    pub fn name(&self, user: UserKey) -> String {
        match user.made_index() {
            Some(index) => read(&self.made).names.get(index).cloned().unwrap_or_default(),
            None => format!("user-{}", user.0),
        }
    }

    /// What differs from the seed for `user`.
    pub fn state(&self, user: UserKey) -> Arc<UserState> {
        Arc::clone(read(&self.states).get(&user).unwrap_or(&self.untouched))
    }

    /// Changes a user. Answers that are being written go on with what they had.
    pub fn change<T>(&self, user: UserKey, change: impl FnOnce(&mut UserState) -> T) -> T {
        change(Arc::make_mut(write(&self.states).entry(user).or_default()))
    }

    /// Counts a reading of the consents and applies the script that waited for it.
    pub fn consents_read(&self, user: UserKey, state: &UserState) {
        if state.on_consents.is_none() {
            return;
        }
        self.change(user, |state| match &mut state.on_consents {
            Some((looks, _)) if *looks > 1 => *looks -= 1,
            waiting => state.script = waiting.take().map(|(_, script)| script).or(state.script.take()),
        });
    }

    /// Counts a transactions page that was served and applies the scripts that waited for it.
    pub fn page_served(&self, user: UserKey, state: &UserState) {
        if state.on_page.is_empty() {
            return;
        }
        self.change(user, |state| {
            state.on_page.iter_mut().for_each(|(pages, _)| *pages = pages.saturating_sub(1));
            if let Some(last) = state.on_page.iter().rfind(|(pages, _)| *pages == 0) {
                state.script = Some(Arc::clone(&last.1));
            }
            state.on_page.retain(|(pages, _)| *pages > 0);
        });
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
