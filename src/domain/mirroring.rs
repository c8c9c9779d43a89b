//! Applies a source view to the stored connections: what a run writes at its beginning, and what `check`,
//! `why` and `connections` show before it. Pure: the stored connections and the view in, the new state of
//! every connection that changes out; in parts, see [`survey`].

pub mod survey;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::connection::{Seed, SourceRow, TinkUser};
use super::owner::{HeldConnection, Judged, Verdict};

/// A connection as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub held: HeldConnection,
    /// What else is stored from the view.
    pub state: MirroredState,
}

impl AsRef<HeldConnection> for Stored {
    fn as_ref(&self) -> &HeldConnection {
        &self.held
    }
}

/// What the view says about a connection, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirroredState {
    pub user_id: String,
    pub tink_user: Option<TinkUser>,
    /// The user has not disconnected.
    pub enabled: bool,
    /// The user's plan includes bank sync.
    pub entitled: bool,
    /// When the entitlement ends.
    pub entitled_until: Option<Timestamp>,
    pub market: Option<String>,
    pub priority: i64,
    /// Why it cannot be synced, if anything.
    pub problem: Option<String>,
    /// Set if its row belongs to another owner: whether the row requests a sync. All else stays as before.
    pub refused: Option<bool>,
    pub refused_user: Option<String>,
    /// Another name that the row gives the Tink user, not yet proven.
    pub moved: Option<TinkUser>,
    /// Since when it has no row.
    pub gone_at: Option<Timestamp>,
    /// Since when it is no longer both enabled and entitled.
    pub lapsed_at: Option<Timestamp>,
}

/// A connection that changes because of the view.
#[derive(Clone, Debug)]
pub struct Change {
    /// Place among those stored; `None` for a new one.
    pub place: Option<usize>,
    pub connection_id: String,
    /// The new state.
    pub state: MirroredState,
    /// It has another user or Tink user than before, and holds no data of the former.
    pub other_owner: bool,
    /// Place of the connection whose data it takes over.
    pub takes_over: Option<usize>,
    /// Tokens of an older link.
    pub seed: Option<Arc<Seed>>,
}

/// When the view was read, and whether it has fallen as a whole.
#[derive(Clone, Copy, Debug)]
struct Circumstances {
    at: Timestamp,
    /// There is an unconfirmed fall: no connection is disabled for lacking a row, or for NULL in it.
    fallen: bool,
    /// Connections with data that the view leaves open (no row, or NULL) keep their entitlement.
    keeps: bool,
}

impl Circumstances {
    const fn usual(at: Timestamp) -> Self {
        Self { at, fallen: false, keeps: false }
    }
}

/// The changes of connections that share no Tink user with any others: first those with a row, in the order
/// of the rows, then those without; unchanged ones are left out. `judged` are the verdicts on the rows;
/// `stored` is in the order in which they were first stored.
fn changes(stored: &[Stored], judged: Vec<Judged<'_>>, when: Circumstances) -> Vec<Change> {
    let mut listed = vec![false; stored.len()];
    for place in judged.iter().filter_map(|one| one.held) {
        if let Some(listed) = listed.get_mut(place) {
            *listed = true;
        }
    }
    let taken: HashSet<usize> = judged.iter().filter_map(Judged::takes_over).collect();
    let after = After { stored, taken: &taken, when };
    let with_row = judged.into_iter().map(|one| after.listed(one));
    let places = listed.into_iter().enumerate().filter(|(_, listed)| !listed).map(|(place, _)| place);
    with_row
        .chain(places.filter_map(|place| after.missing(place)))
        .filter(|change| after.is_news(change))
        .collect()
}

impl MirroredState {
    fn is_active(&self, at: Timestamp) -> bool {
        self.enabled && self.entitled && self.entitled_until.is_none_or(|until| until > at)
    }

    /// Whether it was to be synced when it last had a row.
    fn was_wanted(&self, at: Timestamp) -> bool {
        let lapsed_since = self.gone_at.is_some() && self.lapsed_at >= self.gone_at;
        self.is_active(at) || (self.enabled && lapsed_since)
    }
}

/// The input for the new state of a connection.
struct After<'a> {
    stored: &'a [Stored],
    /// Places of connections whose data another takes over.
    taken: &'a HashSet<usize>,
    when: Circumstances,
}

impl After<'_> {
    /// Whether there is anything to write for a connection.
    fn is_news(&self, change: &Change) -> bool {
        let before = change.place.and_then(|place| self.stored.get(place));
        let is_more = change.other_owner || change.takes_over.is_some() || change.seed.is_some();
        is_more || before.is_none_or(|before| before.state != change.state)
    }

    /// A connection that has a row.
    fn listed(&self, one: Judged<'_>) -> Change {
        let before = one.held.and_then(|place| self.stored.get(place));
        let takes_over = one.takes_over();
        let problem = one.problem().map(str::to_owned);
        let Judged { row, held: place, verdict } = one;
        let refusal = match &verdict {
            Verdict::Refused(refusal) => Some(refusal.kind),
            _ => None,
        };
        let mut state = match (before, refusal) {
            (Some(before), Some(kind)) if kind.is_foreign() => MirroredState {
                refused: Some(row.enabled && row.entitled),
                refused_user: Some(row.user_id.as_str().to_owned()),
                moved: None,
                gone_at: None,
                ..before.state.clone()
            },
            _ => self.own(row, &verdict, before),
        };
        state.problem = problem;
        let taken = place.is_some_and(|place| self.taken.contains(&place));
        self.close(before, &mut state, taken);
        let usable = state.problem.is_none();
        Change {
            place,
            connection_id: row.connection_id.as_str().to_owned(),
            other_owner: before.is_some_and(|before| !before.held.has_data && before.is_others(&state)),
            state,
            takes_over,
            seed: row.seed.clone().filter(|_| usable),
        }
    }

    /// The state by the connection's own row.
    fn own(&self, row: &SourceRow, verdict: &Verdict, before: Option<&Stored>) -> MirroredState {
        let kept = before.filter(|before| before.held.has_data);
        let stays = kept.and_then(|kept| kept.held.tink_user.clone());
        let (tink_user, moved) = match verdict {
            Verdict::Own { tink_user, .. } => (tink_user.clone(), None),
            Verdict::Moved(user) => (stays, Some(user.clone())),
            Verdict::Refused(_) if kept.is_some() => (stays, None),
            Verdict::Refused(_) => (row.tink_user.clone(), None),
        };
        let unnamed = before.filter(|_| row.user_id.as_str().is_empty());
        // A fall disables nobody who is not said to be disabled: without data, or in the end, one is paused.
        let silent = before.filter(|_| self.when.fallen && row.is_silent()).map(|before| &before.state);
        let as_before = silent.filter(|_| self.when.keeps && kept.is_some());
        MirroredState {
            user_id: unnamed
                .map_or_else(|| row.user_id.as_str().to_owned(), |before| before.state.user_id.clone()),
            tink_user,
            enabled: silent.map_or(row.enabled, |state| state.enabled),
            entitled: as_before
                .map_or(row.entitled && !silent.is_some_and(|state| state.enabled), |state| state.entitled),
            entitled_until: as_before.map_or(row.entitled_until, |state| state.entitled_until),
            market: row.market.clone(),
            priority: row.priority,
            moved,
            lapsed_at: before.and_then(|before| before.state.lapsed_at),
            ..MirroredState::default()
        }
    }

    /// A connection without a row.
    fn missing(&self, place: usize) -> Option<Change> {
        let before = self.stored.get(place)?;
        let mut state = MirroredState {
            problem: None,
            refused: None,
            refused_user: None,
            moved: None,
            gone_at: before.state.gone_at.or(Some(self.when.at)),
            ..before.state.clone()
        };
        let taken = self.taken.contains(&place);
        // Without data there is nothing to keep fresh, and the next connection may have this Tink user.
        state.entitled &= self.when.keeps && before.held.has_data;
        if taken || !self.when.fallen {
            (state.enabled, state.entitled) = (false, false);
        }
        self.close(Some(before), &mut state, taken);
        let connection_id = before.held.connection_id.clone();
        Some(Change {
            place: Some(place),
            connection_id,
            state,
            other_owner: false,
            takes_over: None,
            seed: None,
        })
    }

    fn close(&self, before: Option<&Stored>, state: &mut MirroredState, taken: bool) {
        state.enabled &= !taken;
        let was_active = before.is_some_and(|before| before.state.enabled && before.state.entitled);
        state.lapsed_at = match state.lapsed_at {
            _ if state.is_active(self.when.at) => None,
            None if was_active => Some(self.when.at),
            lapsed => lapsed,
        };
    }
}

impl Stored {
    fn is_others(&self, state: &MirroredState) -> bool {
        self.state.user_id != state.user_id || self.state.tink_user != state.tink_user
    }
}

impl Judged<'_> {
    fn takes_over(&self) -> Option<usize> {
        match &self.verdict {
            Verdict::Own { takes_over, .. } => *takes_over,
            Verdict::Moved(_) | Verdict::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
