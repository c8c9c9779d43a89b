//! Whose data a connection may hold. A connection is its id, the application's user and the Tink user.
//! Decides for every row of the source view whether the stored connection continues with it, takes over
//! another's data, or is refused. Pure: the stored connections and the rows in, a verdict for each row out;
//! no I/O. Refers to rows and connections and copies none: a view may have hundreds of thousands.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::connection::{Nulls, SourceRow, TinkUser};
use super::ids::{ConnectionId, USABLE, shown};
use super::view::ViewRows;

pub mod accept;

/// A stored connection, as far as ownership is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldConnection {
    pub connection_id: String,
    pub user_id: String,
    /// Its user at Tink; `None` if it only has a refresh token.
    pub tink_user: Option<TinkUser>,
    /// Other users or names at Tink whose data it holds.
    pub former: Vec<TinkUser>,
    /// Whether any of their data is stored.
    pub has_data: bool,
}

impl AsRef<Self> for HeldConnection {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl HeldConnection {
    /// The names at Tink that it has or had.
    pub fn names(&self) -> impl Iterator<Item = &TinkUser> {
        self.tink_user.iter().chain(&self.former)
    }
}

/// A source view with one row per id.
#[derive(Clone, Debug)]
pub struct SingleView(ViewRows);

/// Some or all of these rows.
#[derive(Clone, Debug)]
pub struct SingleRows(Vec<SourceRow>);

/// A row of the source view, with its verdict.
#[derive(Clone, Debug)]
pub struct Judged<'r> {
    /// The row; its `problem` describes what is wrong with the row itself.
    pub row: &'r SourceRow,
    /// Place of the stored connection with its id.
    pub held: Option<usize>,
    /// The verdict on the row.
    pub verdict: Verdict,
}

/// The verdict on a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection continues under this Tink user.
    Own {
        tink_user: Option<TinkUser>,
        /// Place of a stored connection that is no longer enabled, whose data it takes over.
        takes_over: Option<usize>,
    },
    /// The row names the Tink user in another way: Tink has to prove that it is the same.
    Moved(TinkUser),
    Refused(Refusal),
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// A sentence for people, including the remedy.
    pub text: String,
    /// Place of the stored connection that has its Tink user.
    pub other: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The row names another user.
    OtherUser { same_tink_user: bool },
    /// The row names another Tink user.
    OtherTinkUser,
    /// Its Tink user is that of another connection.
    Shared {
        /// That connection is enabled.
        enabled: bool,
        same_user: bool,
    },
}

impl RefusalKind {
    /// Whether the row belongs to another owner.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::OtherUser { .. } | Self::OtherTinkUser)
    }
}

/// Judges the rows of the view, in its order. `held` is in the order in which they were first stored.
pub fn judge<'r>(held: &[impl AsRef<HeldConnection>], rows: &'r SingleRows) -> Vec<Judged<'r>> {
    let held: Vec<&HeldConnection> = held.iter().map(AsRef::as_ref).collect();
    let mut judged = identities(&held, rows);
    OwnershipClaims::of(&held, &judged).resolve(held.len(), &mut judged);
    judged
}

/// Each row with its verdict against the connection stored under its id.
fn identities<'r>(held: &[&HeldConnection], rows: &'r SingleRows) -> Vec<Judged<'r>> {
    let places: HashMap<&str, usize> =
        held.iter().enumerate().map(|(place, held)| (held.connection_id.as_str(), place)).collect();
    let judged = rows.0.iter().map(|row| {
        let place = places.get(row.connection_id.as_str()).copied();
        let verdict = identity(row, place.and_then(|place| held.get(place).copied()));
        Judged { row, held: place, verdict }
    });
    judged.collect()
}

impl SingleRows {
    /// At most one row.
    pub fn alone(row: Option<SourceRow>) -> Self {
        Self(row.into_iter().collect())
    }
}

impl SingleView {
    /// One row per id, at the place of the first; an id that is repeated or unusable becomes the row's
    /// problem.
    pub fn of(rows: ViewRows) -> Self {
        let mut odd: HashMap<ConnectionId, (SourceRow, u64)> = HashMap::new();
        let is_odd = doubtful(&rows);
        for row in rows.iter().filter(&is_odd) {
            match odd.entry(row.connection_id.clone()) {
                Entry::Vacant(place) => drop(place.insert((row, 1))),
                Entry::Occupied(mut place) => {
                    let (all, number) = place.get_mut();
                    add_copy(all, &row);
                    *number += 1;
                }
            }
        }
        if odd.is_empty() {
            return Self(rows);
        }
        let single = |row| if is_odd(&row) { odd.remove(&row.connection_id).map(joined) } else { Some(row) };
        Self(rows.iter().filter_map(single).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = SourceRow> {
        self.0.iter()
    }

    pub fn get(&self, place: usize) -> Option<SourceRow> {
        self.0.get(place)
    }

    /// The rows at these places; a missing place is skipped.
    pub fn pick<'p>(&self, places: impl IntoIterator<Item = &'p usize>) -> SingleRows {
        SingleRows(places.into_iter().filter_map(|place| self.0.get(*place)).collect())
    }

    pub fn all(&self) -> SingleRows {
        SingleRows(self.0.iter().collect())
    }
}

/// Returns a test for rows whose id is empty or may occur more than once. Keeps only a hash of each id.
fn doubtful(rows: &ViewRows) -> impl Fn(&SourceRow) -> bool + use<> {
    let state = RandomState::new();
    let mut ids: Vec<u64> = rows.iter().map(|row| state.hash_one(row.connection_id.as_str())).collect();
    ids.sort_unstable();
    let pairs = ids.windows(2).filter(|pair| pair.first() == pair.last());
    let twice: HashSet<u64> = pairs.flatten().copied().collect();
    move |row| {
        let id = row.connection_id.as_str();
        id.is_empty() || twice.contains(&state.hash_one(id))
    }
}

/// Adds a row to those with its id, so that their order decides nothing. They request a sync if one of them does;
/// whom they belong to is open if they differ.
fn add_copy(all: &mut SourceRow, row: &SourceRow) {
    let end = |row: &SourceRow| (row.entitled, row.entitled_until.is_none(), row.entitled_until);
    if end(row) > end(all) {
        (all.entitled, all.entitled_until) = (row.entitled, row.entitled_until);
    }
    all.enabled |= row.enabled;
    all.nulls = Nulls {
        enabled: !all.enabled && (all.nulls.enabled || row.nulls.enabled),
        entitled: !all.entitled && (all.nulls.entitled || row.nulls.entitled),
    };
    if all.user_id != row.user_id {
        all.user_id = "".into();
    }
    if (&all.tink_user, &all.also) != (&row.tink_user, &row.also) {
        (all.tink_user, all.also) = (None, None);
    }
    all.market = all.market.take().filter(|market| row.market.as_ref() == Some(market));
    all.priority = all.priority.max(row.priority);
    all.until_unreadable &= row.until_unreadable;
    all.unencrypted |= row.unencrypted;
}

/// The one row for `number` rows with its id.
fn joined((row, number): (SourceRow, u64)) -> SourceRow {
    let problem = match (row.connection_id.as_str(), number) {
        ("", 1) => Some(format!("a row of the source view has a connection_id that is not {USABLE}")),
        ("", rows) => {
            Some(format!("{rows} rows of the source view have a connection_id that is not {USABLE}"))
        }
        (_, 1) => row.problem,
        (_, _) => Some("the source view has this connection_id more than once".to_owned()),
    };
    let seed = row.seed.filter(|_| problem.is_none());
    SourceRow { problem, seed, ..row }
}

/// Whether a row is that of the connection stored under its id.
fn identity(row: &SourceRow, held: Option<&HeldConnection>) -> Verdict {
    let own = |tink_user| Verdict::Own { tink_user, takes_over: None };
    // Without data there is nothing to expose to another user.
    let Some(held) = held.filter(|held| held.has_data) else { return own(row.tink_user.clone()) };
    let user = row.user_id.as_str();
    if user != held.user_id {
        let unnamed = user.is_empty() && row.problem.is_some();
        return if unnamed { own(held.tink_user.clone()) } else { other_user(row, held) };
    }
    let Some(named) = row.tink_user.as_ref() else { return own(held.tink_user.clone()) };
    let Some(present) = held.tink_user.as_ref() else { return Verdict::Moved(named.clone()) };
    if row.names().any(|name| name == present) {
        return own(Some(present.clone()));
    }
    if let Some(former) = row.names().find(|name| held.former.contains(name)) {
        return own(Some(former.clone()));
    }
    if row.names().any(|name| name.is_like(present)) {
        let id = shown(&held.connection_id);
        let text = format!(
            "the source view gives it another Tink user: forget it first (tink-sync connections forget {id}), or give it a new id; \
             if the same person linked anew: tink-sync connections accept-user {id}"
        );
        return Verdict::Refused(Refusal { kind: RefusalKind::OtherTinkUser, text, other: None });
    }
    Verdict::Moved(named.clone())
}

fn other_user(row: &SourceRow, held: &HeldConnection) -> Verdict {
    let same_tink_user = row.names().any(|name| held.names().any(|known| known == name));
    let (id, new, old) = (shown(&held.connection_id), shown(row.user_id.as_str()), shown(&held.user_id));
    let text = if same_tink_user {
        format!(
            "the source view gives it to another user ({new}, so far {old}): forget it first (tink-sync connections forget {id}), or give it a new id; \
             if the application has renumbered its users: tink-sync connections accept-user --same-tink-user {id}"
        )
    } else {
        format!(
            "the source view gives it to another user ({new}, so far {old}) with another Tink user: \
             forget it first (tink-sync connections forget {id}), or give it a new id"
        )
    };
    Verdict::Refused(Refusal { kind: RefusalKind::OtherUser { same_tink_user }, text, other: None })
}

/// A connection that has or requests a Tink user.
struct OwnershipClaim<'a> {
    /// The row and its place in the view, if there is one that counts.
    row: Option<(usize, &'a SourceRow)>,
    /// The stored connection and its place.
    held: Option<(usize, &'a HeldConnection)>,
    /// The Tink user under which it continues.
    own: Option<&'a TinkUser>,
    has_data: bool,
    /// It was already stored under this user and Tink user.
    known: bool,
    /// The view has it enabled, or its row is broken and leaves that open.
    enabled: bool,
}

/// All connections that have or request a Tink user, the earlier owners first.
struct OwnershipClaims<'a>(Vec<OwnershipClaim<'a>>);

impl<'a> OwnershipClaims<'a> {
    fn of(held: &[&'a HeldConnection], judged: &[Judged<'a>]) -> Self {
        let mut claims = Vec::with_capacity(judged.len().max(held.len()));
        let mut rows: Vec<Option<&Judged<'_>>> = vec![None; held.len()];
        for (place, one) in judged.iter().enumerate() {
            if let Some(row) = one.held.and_then(|held| rows.get_mut(held)) {
                *row = Some(one);
            }
            let of = one.held.and_then(|place| Some((place, *held.get(place)?)));
            claims.extend(OwnershipClaim::of_row(place, one, of));
        }
        let kept = held.iter().zip(rows).enumerate().filter(|(_, (held, _))| held.has_data);
        for (place, (held, row)) in kept {
            let counts = row.is_some_and(Judged::is_claim);
            // A broken row does not show whether the connection is still there.
            let broken = row.is_some_and(|one| one.row.problem.is_some());
            if !counts {
                claims.push(OwnershipClaim::of_held(place, held, broken));
            }
        }
        claims.sort_by_key(|claim| {
            let (held, row) = (claim.held.map(|(place, _)| place), claim.row.map(|(place, _)| place));
            (!claim.has_data, !claim.known, held.unwrap_or(usize::MAX), row)
        });
        Self(claims)
    }

    /// Refuses claims to what another has, and lets those that follow a disabled one take over.
    fn resolve(self, held: usize, judged: &mut [Judged<'_>]) {
        let mut owners: HashMap<&TinkUser, usize> = HashMap::with_capacity(self.0.len());
        for (number, claim) in self.0.iter().enumerate() {
            let others = claim.names().filter_map(|name| self.0.get(*owners.get(name)?));
            let others: Vec<&OwnershipClaim<'_>> = others.collect();
            let stands = claim
                .row
                .and_then(|(row, _)| judged.get_mut(row))
                .is_none_or(|one| resolve_one(one, claim, &others));
            for name in claim.names().filter(|_| stands) {
                // One that is no longer enabled makes room.
                let room =
                    owners.get(name).and_then(|owner| self.0.get(*owner)).is_none_or(|owner| !owner.enabled);
                if room && (claim.enabled || !owners.contains_key(name)) {
                    owners.insert(name, number);
                }
            }
        }
        debug_assert!(judged.iter().all(|one| one.held.is_none_or(|place| place < held)));
    }
}

/// Decides the claim of a row against the earlier ones; returns `false` if it is refused.
fn resolve_one(one: &mut Judged<'_>, claim: &OwnershipClaim<'_>, others: &[&OwnershipClaim<'_>]) -> bool {
    let refused = others.iter().find(|other| other.enabled || other.user_id() != claim.user_id());
    if let Some(other) = refused {
        one.verdict = Verdict::Refused(shared(claim, other));
        return false;
    }
    if let (Verdict::Own { takes_over, .. }, false) = (&mut one.verdict, claim.has_data) {
        *takes_over = others.iter().find_map(|other| other.place());
    }
    true
}

fn shared(claim: &OwnershipClaim<'_>, other: &OwnershipClaim<'_>) -> Refusal {
    let (id, first) = (shown(claim.connection_id()), shown(other.connection_id()));
    let user = shown(other.user_id());
    let same_user = claim.user_id() == other.user_id();
    let text = match (other.enabled, same_user) {
        (true, true) => format!(
            "connection {first} of the same user has the same Tink user: disconnect {first} (in the source view; stand-alone: \
             tink-sync connections disable {first}), and this one takes its data over; \
             or forget the one that is not needed (tink-sync connections forget {first})"
        ),
        (true, false) => format!(
            "connection {first} of user {user} has the same Tink user, and had it first: \
             correct the one that names the wrong Tink user (in the source view; stand-alone: forget it and add it anew)"
        ),
        (false, _) => format!(
            "it names the Tink user of connection {first} of user {user}, which is not enabled any more but whose data are still here: \
             correct that (in the source view; stand-alone: in connections add), or forget the other first (tink-sync connections forget {first}); \
             if it is the same person under a new user_id: tink-sync connections accept-user --same-tink-user {id}"
        ),
    };
    Refusal { kind: RefusalKind::Shared { enabled: other.enabled, same_user }, text, other: other.place() }
}

impl Judged<'_> {
    /// Whether the row requests a Tink user.
    fn is_claim(&self) -> bool {
        let may = matches!(self.verdict, Verdict::Own { .. } | Verdict::Moved(_));
        may && self.row.enabled && self.row.problem.is_none()
    }

    /// What keeps the connection from being synced, if anything does.
    pub fn problem(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Refused(refusal) => Some(&refusal.text),
            _ => self.row.problem.as_deref(),
        }
    }
}

impl<'a> OwnershipClaim<'a> {
    fn of_row(place: usize, one: &Judged<'a>, held: Option<(usize, &'a HeldConnection)>) -> Option<Self> {
        if !one.is_claim() {
            return None;
        }
        let stored = held.map(|(_, held)| held);
        let own = match &one.verdict {
            Verdict::Own { tink_user, .. } => tink_user.as_ref(),
            Verdict::Moved(_) | Verdict::Refused(_) => None,
        };
        let known = stored
            .is_some_and(|held| held.tink_user.as_ref() == own && held.user_id == one.row.user_id.as_str());
        let mut names = one.row.names().chain(stored.into_iter().flat_map(HeldConnection::names));
        Some(Self {
            row: Some((place, one.row)),
            held,
            own: own.and_then(|own| names.find(|name| *name == own)),
            has_data: stored.is_some_and(|held| held.has_data),
            known,
            enabled: true,
        })
    }

    const fn of_held(place: usize, held: &'a HeldConnection, broken: bool) -> Self {
        Self { row: None, held: Some((place, held)), own: None, has_data: true, known: true, enabled: broken }
    }

    /// The names at Tink that it has or requests, the one under which it continues first; may repeat.
    fn names(&self) -> impl Iterator<Item = &'a TinkUser> {
        let asked = self.row.into_iter().flat_map(|(_, row)| row.names());
        let kept = self.held.filter(|_| self.has_data).into_iter().flat_map(|(_, held)| held.names());
        self.own.into_iter().chain(asked).chain(kept)
    }

    fn place(&self) -> Option<usize> {
        self.held.map(|(place, _)| place)
    }

    fn connection_id(&self) -> &'a str {
        let held = self.held.map(|(_, held)| held.connection_id.as_str());
        self.row.map(|(_, row)| row.connection_id.as_str()).or(held).unwrap_or_default()
    }

    /// The user that has or requests it.
    fn user_id(&self) -> &'a str {
        let held = self.held.map(|(_, held)| held.user_id.as_str());
        self.row.map(|(_, row)| row.user_id.as_str()).or(held).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
