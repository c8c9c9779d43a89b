//! Chooses the connection to which a bank is linked. Pure: returns the choice or the text of a refusal.

use jiff::Timestamp;

use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::ids::{USABLE, is_usable};
use crate::store::links::BegunLink;

#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub user: &'a str,
    pub connection: Option<&'a str>,
    pub external_user_id: Option<&'a str>,
    pub market: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// One that will be created.
    New {
        link: BegunLink,
        /// An earlier `connect` began it.
        resumed: bool,
    },
    /// An existing one.
    Known { connection_id: String, user: TinkUser, market: Option<String> },
}

impl Chosen {
    pub(super) fn connection_id(&self) -> &str {
        match self {
            Self::New { link, .. } => &link.connection_id,
            Self::Known { connection_id, .. } => connection_id,
        }
    }

    pub(super) fn tink_user(&self) -> TinkUser {
        match self {
            Self::New { link, .. } => TinkUser::External(link.external_user_id.clone()),
            Self::Known { user, .. } => user.clone(),
        }
    }

    pub(super) fn market(&self) -> Option<&str> {
        match self {
            Self::New { link, .. } => link.market.as_deref(),
            Self::Known { market, .. } => market.as_deref(),
        }
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self, Self::New { .. })
    }

    /// Describes what is about to happen.
    pub(super) fn words(&self) -> String {
        let id = self.connection_id();
        match self {
            Self::New { resumed: false, .. } => format!("A new connection: {id}.\n\n"),
            Self::New { resumed: true, .. } => {
                format!("Connection {id} was begun before and goes on, with the same user at Tink.\n\n")
            }
            Self::Known { .. } => {
                format!(
                    "Connection {id} is there already: the bank becomes another one of the same user at Tink.\n\n"
                )
            }
        }
    }
}

/// Chooses the connection. `rows` are all connections; `begun` the user's links that were not ended; `view`
/// is the application's view, if it has one; `new_id` is for a new user at Tink.
///
/// # Errors
/// Why no connection can be chosen, and what to do.
pub(super) fn choose(
    asked: &Asked<'_>,
    rows: &[SourceRow],
    begun: &[BegunLink],
    view: Option<&str>,
    now: Timestamp,
    new_id: String,
) -> Result<Chosen, String> {
    if !is_usable(asked.user) || asked.connection.is_some_and(|id| !is_usable(id)) {
        return Err(format!("ids of users and connections must be {USABLE}"));
    }
    let named = asked.connection.and_then(|id| rows.iter().find(|row| row.connection_id.as_str() == id));
    if let Some(row) = named {
        return known(asked, row, view, now);
    }
    let mut theirs = rows.iter().filter(|row| row.user_id.as_str() == asked.user);
    match (theirs.next(), theirs.next(), asked.connection, view) {
        (_, _, Some(_), None) | (None, _, None, None) => new(asked, rows, begun, new_id),
        (Some(row), None, None, _) => known(asked, row, view, now),
        (Some(_), Some(_), None, _) => Err(several(asked.user, rows)),
        (_, _, _, Some(view)) => Err(not_in_view(asked, view)),
    }
}

fn known(asked: &Asked<'_>, row: &SourceRow, view: Option<&str>, now: Timestamp) -> Result<Chosen, String> {
    let id = row.connection_id.as_str();
    let Some(user) = row.tink_user.clone().filter(|_| row.problem.is_none()) else {
        let problem = row.problem.as_deref().unwrap_or("it names no user at Tink");
        return Err(format!("connection {id} cannot be used: {problem}"));
    };
    if row.user_id.as_str() != asked.user {
        return Err(format!("connection {id} belongs to user {}, not to {}", row.user_id, asked.user));
    }
    if asked.external_user_id.is_some_and(|given| user != TinkUser::External(given.to_owned())) {
        return Err(format!(
            "connection {id} has another user at Tink than --external-user-id says; leave it out, or give a new --connection"
        ));
    }
    if !row.enabled {
        return Err(match view {
            None => format!("connection {id} is disabled: tink-sync connections enable {id}, then again"),
            Some(view) => format!("connection {id} is disabled by the application (view {view})"),
        });
    }
    if !row.entitled || row.entitled_until.is_some_and(|until| until <= now) {
        return Err(not_entitled(asked.user, view));
    }
    Ok(Chosen::Known { connection_id: id.to_owned(), user, market: row.market.clone() })
}

/// A connection that will be created, or whose creation was begun.
fn new(asked: &Asked<'_>, rows: &[SourceRow], begun: &[BegunLink], new_id: String) -> Result<Chosen, String> {
    let before = begun.iter().find(|link| asked.connection.is_none_or(|id| link.connection_id == id));
    if let Some(link) = before {
        if asked.external_user_id.is_some_and(|given| given != link.external_user_id) {
            return Err(format!(
                "connection {} was begun with another user at Tink; leave --external-user-id out, or give a new --connection",
                link.connection_id
            ));
        }
        let market = asked.market.map(str::to_owned).or_else(|| link.market.clone());
        return Ok(Chosen::New { link: BegunLink { market, ..link.clone() }, resumed: true });
    }
    let id = asked.connection.unwrap_or(asked.user);
    if rows.iter().any(|row| row.connection_id.as_str() == id) {
        return Err(format!(
            "there is a connection {id} of another user already: give yours a name with --connection"
        ));
    }
    let is_given = |row: &&SourceRow| {
        asked
            .external_user_id
            .is_some_and(|given| row.tink_user == Some(TinkUser::External(given.to_owned())))
    };
    let mut others = rows.iter().filter(|row| row.user_id.as_str() != asked.user);
    if let Some(row) = others.find(is_given) {
        return Err(format!(
            "the user at Tink that --external-user-id names is that of connection {} of user {}, who would get this bank too: leave it out, or correct it",
            row.connection_id, row.user_id
        ));
    }
    let link = BegunLink {
        connection_id: id.to_owned(),
        user_id: asked.user.to_owned(),
        external_user_id: asked.external_user_id.map_or(new_id, str::to_owned),
        market: asked.market.map(str::to_owned),
    };
    Ok(Chosen::New { link, resumed: false })
}

fn several(user: &str, rows: &[SourceRow]) -> String {
    let ids: Vec<&str> = rows
        .iter()
        .filter(|row| row.user_id.as_str() == user)
        .map(|row| row.connection_id.as_str())
        .collect();
    format!(
        "user {user} has several connections ({}): say with --connection which gets the bank",
        ids.join(", ")
    )
}

fn not_in_view(asked: &Asked<'_>, view: &str) -> String {
    let what = match asked.connection {
        Some(id) => format!("connection {id}"),
        None => format!("a connection of user {}", asked.user),
    };
    format!(
        "the application's view {view} has no {}: the application makes connections. Let it show one, with an external_user_id of its choice (a-z, 0-9 and -, nothing personal), then again",
        what.trim_start_matches("a ")
    )
}

/// Nothing is fetched for such a user, so nothing is linked.
pub(super) fn not_entitled(user: &str, view: Option<&str>) -> String {
    match view {
        None => format!("user {user} is not entitled: tink-sync users set {user} --entitled yes, then again"),
        Some(view) => format!(
            "user {user} is not entitled, says the application (view {view}): nothing would be fetched"
        ),
    }
}

/// Two users must never share one user at Tink.
pub(super) fn begun_by_another(link: &BegunLink) -> String {
    let BegunLink { connection_id: id, user_id, .. } = link;
    format!(
        "a connection {id} was begun for user {user_id} and is not linked yet: give yours a name with --connection, or take the other one back with tink-sync connections forget {id}"
    )
}

/// The bank is linked at Tink, but no connection here is for it.
pub(super) fn forgotten_meanwhile(link: &BegunLink) -> String {
    let BegunLink { connection_id: id, user_id, external_user_id, .. } = link;
    format!(
        "connection {id} was forgotten here, or added with another user at Tink, while this waited, so nothing was stored; Tink has linked the bank to its user {external_user_id}: delete that user there, or keep it with tink-sync connections add NEW-ID --user {user_id} --external-user-id {external_user_id}"
    )
}

#[cfg(test)]
mod tests;
