//! `tink-sync connections`: lists the connections, and edits those of the stand-alone store. Where an
//! application provides its own view, the application alone decides, and nothing is edited here.

mod accept;
mod add;
mod forget;
mod lines;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::actor::{Actor, ActorArgs};
use super::mirror::Reading;
use super::remedy;
use super::rules::Rules;
use super::table::{self, Each, TableLine, Tone, age, rfc3339};
use super::{Environment, Failure};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::ids::{ConnectionId, UserId, shown};
use crate::domain::view::Viewed;
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::Reader;
use crate::store::StoreError;
use crate::store::foresight;
use crate::store::reads::{KnownConnection, Overlaid, State};
use crate::store::{AuditRow, Writer};

/// The most ids that a message names.
pub(super) const NAMED: usize = 20;

/// Arguments of `connections`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync connections list\n  tink-sync connections add my-bank --user me --external-user-id user-123\n  tink-sync connections disable my-bank"
)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: ConnectionsAction,
}

/// What can be done with connections.
#[derive(Debug, clap::Subcommand)]
pub enum ConnectionsAction {
    /// List every connection with its user and state
    #[command(
        after_help = "Examples:\n  tink-sync connections list\n  tink-sync connections list --format json"
    )]
    List {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Add connections of users that Tink knows already
    Add(add::Args),
    /// Erase everything about connections here, and on request at Tink
    Forget(forget::Args),
    /// Accept the balance differences of a connection: the reconciliation starts again
    #[command(
        after_help = "Examples:\n  tink-sync why my-bank                              by how much, and since when\n  tink-sync connections accept-balance my-bank"
    )]
    AcceptBalance {
        /// The connection
        id: String,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
    /// Accept what a renewal left unmatched: rows without a counterpart, accounts that may be one
    #[command(
        after_help = "Examples:\n  tink-sync why my-bank                              what is left open\n  tink-sync connections accept-unmatched my-bank\n\nThe rows stay as they are, and accounts that may be one stay several."
    )]
    AcceptUnmatched {
        /// The connection
        id: String,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
    /// Accept that a user was linked again, or renumbered by the application
    AcceptUser(accept::UserArgs),
    /// Accept the Tink app that is configured in place of the one whose data are here
    #[command(
        after_help = "Examples:\n  tink-sync connections accept-app\n\nThe store remembers the client id of the app that fed it first; with another one every run\nends with 78 before it changes anything. An app that goes live should get a store of its own."
    )]
    AcceptApp {
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
    /// Confirm that far fewer connections are enabled or entitled than before
    #[command(
        after_help = "Examples:\n  tink-sync check                              what was there, and what is\n  tink-sync connections accept-change\n\nA fall by more than a third (and more than five) against the last week, or to none, makes\nevery pass end with 10 until it is confirmed here or the number recovers. Until then nobody is\ndisabled because his row is missing, and whoever was entitled is synced for three days more."
    )]
    AcceptChange {
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
    /// Let runs work on a connection again
    #[command(after_help = "Examples:\n  tink-sync connections enable my-bank")]
    Enable {
        /// The connection
        id: String,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
    /// Keep runs away from a connection; its data stays
    #[command(after_help = "Examples:\n  tink-sync connections disable my-bank")]
    Disable {
        /// The connection
        id: String,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
}

/// Lists or edits connections.
///
/// # Errors
/// [`Failure`] if the store cannot be used or the request is invalid.
pub(super) fn run(env: &Environment, args: Args) -> Result<Exit, Failure> {
    match args.action {
        ConnectionsAction::List { format } => list(env, format)?,
        ConnectionsAction::Add(args) => table::print(&add::add(env, args)?)?,
        ConnectionsAction::Forget(args) => forget::forget(env, &args)?,
        ConnectionsAction::AcceptBalance { id, who } => table::print(&accept_balance(env, &id, &who)?)?,
        ConnectionsAction::AcceptUnmatched { id, who } => table::print(&accept_unmatched(env, &id, &who)?)?,
        ConnectionsAction::AcceptUser(args) => table::print(&accept::user(env, &args)?)?,
        ConnectionsAction::AcceptApp { who } => table::print(&accept::tink_app(env, &who)?)?,
        ConnectionsAction::AcceptChange { who } => table::print(&accept::change(env, &who)?)?,
        ConnectionsAction::Enable { id, who } => table::print(&switch(env, &id, true, &who)?)?,
        ConnectionsAction::Disable { id, who } => table::print(&switch(env, &id, false, &who)?)?,
    }
    Ok(Exit::Success)
}

/// The connections known here; in a stand-alone store including those added or switched since the last run.
pub(super) fn known(env: &Environment, reader: &Reader) -> Result<Vec<KnownConnection>, Failure> {
    let mut all = Vec::new();
    each_known(env, reader, |connection| all.push(connection))?;
    Ok(all)
}

/// As [`known`], passed to `take` one by one.
pub(super) fn each_known(
    env: &Environment,
    reader: &Reader,
    take: impl FnMut(KnownConnection),
) -> Result<(), Failure> {
    if env.settings.source.view.is_none() {
        overlaid_on(env, reader)?.connections.into_iter().for_each(take);
    } else {
        reader.each_connection(take)?;
    }
    Ok(())
}

/// The source view as it is now.
pub(super) fn viewed(env: &Environment) -> Result<Viewed, Failure> {
    let reader = if_there(Reader::open(env.place()))?;
    let last = reader.map(|reader| reader.last_view()).transpose()?.flatten();
    Reading::of(env, env.vault()?.map(Into::into), Duration::ZERO, last).read()
}

/// The connections as the next run will see them: the current source view laid over those known here.
pub(super) fn overlaid(env: &Environment) -> Result<Overlaid, Failure> {
    foreseen(env, Some(viewed(env)?))
}

/// As [`overlaid`], over the connections known in this snapshot.
pub(super) fn overlaid_on(env: &Environment, reader: &Reader) -> Result<Overlaid, Failure> {
    let viewed =
        Reading::of(env, env.vault()?.map(Into::into), Duration::ZERO, reader.last_view()?).read()?;
    foreseen_on(env, reader, Some(viewed))
}

/// The connections as a pass that the timer started at the moment of this snapshot would see them, with this
/// view or without one.
pub(super) fn foreseen_on(
    env: &Environment,
    reader: &Reader,
    viewed: Option<Viewed>,
) -> Result<Overlaid, Failure> {
    Ok(reader.foresee(viewed, &Rules::of(&env.settings).of_pass(env.clock.now()))?)
}

/// As [`foreseen_on`], for the store as it is now.
pub(super) fn foreseen(env: &Environment, viewed: Option<Viewed>) -> Result<Overlaid, Failure> {
    Ok(foresight::foresee(env.place(), viewed, &Rules::of(&env.settings).of_pass(env.clock.now()))?)
}

/// As [`overlaid`], as if nothing were known here.
pub(super) fn as_if_new(env: &Environment) -> Result<Overlaid, Failure> {
    let viewed = Reading::of(env, env.vault()?.map(Into::into), Duration::ZERO, None).read()?;
    Ok(foresight::foresee_anew(Some(viewed), &Rules::of(&env.settings).of_pass(env.clock.now()))?)
}

/// The rows of the source view, each with the problem that keeps it from being synced, if any.
pub(super) fn judged_rows(env: &Environment) -> Result<Vec<SourceRow>, Failure> {
    let viewed = viewed(env)?;
    let mut rows: Vec<SourceRow> = viewed.rows.iter().collect();
    let problems: HashMap<String, String> = foreseen(env, Some(viewed))?
        .connections
        .into_iter()
        .filter_map(|c| Some((c.connection_id, c.problem?)))
        .collect();
    for row in &mut rows {
        row.problem = problems.get(row.connection_id.as_str()).cloned();
    }
    Ok(rows)
}

/// The `wanted` connections, of those in the view and `more`, that cannot be synced, each with its problem.
pub(super) fn refused(
    env: &Environment,
    more: Vec<SourceRow>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, String)>, Failure> {
    let mut viewed = match env.settings.source.view {
        None if !env.place().is_there()? => Viewed::default(),
        _ => viewed(env)?,
    };
    // The caller handles ids that are in the view already.
    let known: HashSet<ConnectionId> = viewed.rows.iter().map(|row| row.connection_id).collect();
    let new = more.into_iter().filter(|row| !known.contains(&row.connection_id));
    viewed.rows.extend(new);
    let refused = foreseen(env, Some(viewed))?
        .connections
        .into_iter()
        .filter(|connection| wanted(&connection.connection_id));
    Ok(refused.filter_map(|connection| Some((connection.connection_id, connection.problem?))).collect())
}

/// An open store; `None` for one that the next run will create or migrate to this release.
fn if_there<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Missing { .. } | StoreError::Older { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// A connection with the fields of `connections_v1` and more.
#[derive(Serialize)]
pub(super) struct ConnectionJson<'a> {
    connection_id: &'a str,
    user_id: &'a str,
    external_user_id: Option<&'a str>,
    tink_user_id: Option<&'a str>,
    mode: &'a str,
    enabled: bool,
    entitled: bool,
    entitled_until: Option<String>,
    state: &'static str,
    reason: Option<&'a str>,
    consecutive_failures: u32,
    last_attempt_at: Option<String>,
    last_success_at: Option<String>,
    data_as_of: Option<String>,
    data_age_seconds: Option<i64>,
    not_before: Option<String>,
    next_attempt_at: Option<String>,
    last_error: Option<&'a str>,
    problem: Option<&'a str>,
    remedy: Option<String>,
    consent_expires_at: Option<String>,
    consent_days_left: Option<i64>,
}

impl<'a> ConnectionJson<'a> {
    pub(super) fn of(connection: &'a KnownConnection, now: Timestamp) -> Self {
        let (external_user_id, tink_user_id) = match &connection.tink_user {
            Some(TinkUser::External(id)) => (Some(id.as_str()), None),
            Some(TinkUser::Tink(id)) => (None, Some(id.as_str())),
            None => (None, None),
        };
        Self {
            connection_id: &connection.connection_id,
            user_id: &connection.user_id,
            external_user_id,
            tink_user_id,
            mode: &connection.mode,
            enabled: connection.enabled,
            entitled: connection.entitled,
            entitled_until: connection.entitled_until.map(rfc3339),
            state: connection.state(now).as_str(),
            reason: connection.reason(now),
            consecutive_failures: connection.failures,
            last_attempt_at: connection.last_attempt_at.map(rfc3339),
            last_success_at: connection.last_success_at.map(rfc3339),
            data_as_of: connection.data_as_of.map(rfc3339),
            data_age_seconds: connection.data_age(now).map(|age| age.as_secs()),
            not_before: connection.not_before.map(rfc3339),
            next_attempt_at: connection.next_attempt(now).map(rfc3339),
            last_error: connection.last_error.as_deref(),
            problem: connection.problem.as_deref(),
            remedy: remedy::of_connection(connection, now),
            consent_expires_at: connection.consent_ends.map(rfc3339),
            consent_days_left: connection.consent_ends.map(|end| days_left(end, now)),
        }
    }
}

#[derive(Serialize)]
struct ConnectionsJson<C> {
    schema: u8,
    connections: C,
}

/// Whole days until `end`; negative once it has passed.
pub(super) fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    end.duration_since(now).as_secs().div_euclid(86_400)
}

fn list(env: &Environment, format: Format) -> Result<(), Failure> {
    // Before the first run or `add` the list is empty, which is not an error.
    let reader = env.reader_if_there()?;
    let connections = reader.as_ref().map(|reader| known(env, reader)).transpose()?.unwrap_or_default();
    let now = env.clock.now();
    if format == Format::Json {
        let connections = Each(|| connections.iter().map(|c| ConnectionJson::of(c, now)));
        return table::print_json(&ConnectionsJson { schema: 1, connections });
    }
    table::print(&listing(env, &connections, env.color))
}

/// The message that there are no connections, and where they come from.
pub(super) fn none_yet(view: Option<&str>) -> String {
    match view {
        Some(view) => format!("No connections yet: the next run takes them from the view {view}.\n"),
        None => "No connections yet. Next: tink-sync connect --user ID\n".to_owned(),
    }
}

fn listing(env: &Environment, connections: &[KnownConnection], color: bool) -> String {
    if connections.is_empty() {
        return none_yet(env.settings.source.view.as_deref());
    }
    let now = env.clock.now();
    let line = |connection: &KnownConnection| {
        let state = connection.state(now);
        let plain = matches!(state, State::New | State::Ok | State::Paused | State::Disabled);
        // These reasons only repeat the state.
        let says_more = |reason: &&str| !["disabled", "not_entitled"].contains(reason);
        let reason = connection.reason(now).filter(says_more).unwrap_or("-");
        TableLine {
            cells: vec![
                connection.connection_id.clone(),
                connection.user_id.clone(),
                state.as_str().to_owned(),
                reason.to_owned(),
                age(connection.last_success_at, now),
            ],
            notes: Vec::new(),
            tone: if plain { Tone::Plain } else { Tone::Warning },
        }
    };
    let lines: Vec<TableLine> = connections.iter().map(line).collect();
    table::table(&["CONNECTION", "USER", "STATE", "REASON", "AGE"], &lines, color)
}

/// Refuses to edit if an application provides the view.
pub(super) fn only_stand_alone(env: &Environment) -> Result<(), Failure> {
    let Some(view) = &env.settings.source.view else { return Ok(()) };
    Err(Failure::Usage(format!(
        "here the application decides: connections and entitlement come from its view {view} (source.view in {}); \
         change them in the application",
        env.settings.file.display()
    )))
}

fn switch(env: &Environment, id: &str, enabled: bool, who: &ActorArgs) -> Result<String, Failure> {
    only_stand_alone(env)?;
    let (place, now) = (env.place(), env.clock.now());
    if !place.is_there()? {
        return Err(unknown(&[id], ""));
    }
    let mut tables = Writer::open(place, now)?;
    let rows = viewed(env)?.rows;
    let user = rows.iter().find(|row| row.connection_id.as_str() == id).map(|row| row.user_id);
    let action = if enabled { "connection.enabled" } else { "connection.disabled" };
    let actor = Actor::of(env, who);
    let audit = AuditRow {
        connection_id: Some(id),
        user_id: user.as_ref().map(UserId::as_str),
        ..actor.row(now, action)
    };
    if !tables.set_enabled(id, enabled, &audit)? {
        return Err(unknown(&[id], ""));
    }
    Ok(if enabled {
        format!("Enabled connection {id}.\n{}", next_step(id))
    } else {
        format!(
            "Disabled connection {id}: runs leave it alone, its data stays.\nBack again: tink-sync connections enable {id}\n"
        )
    })
}

/// Writes what an operator accepts of a connection, audited as `action`, also where an application provides the
/// view; returns the number of accounts.
fn accept_of(
    env: &Environment,
    id: &str,
    who: &ActorArgs,
    action: &'static str,
    write: impl FnOnce(&mut Writer, &AuditRow<'_>) -> Result<u64, StoreError>,
) -> Result<usize, Failure> {
    let (place, now) = (env.place(), env.clock.now());
    let user = Reader::open(place)?.user_of(id)?.ok_or_else(|| unknown(&[id], ""))?;
    let actor = Actor::of(env, who);
    let audit = AuditRow { connection_id: Some(id), user_id: Some(&user), ..actor.row(now, action) };
    let accounts = write(&mut Writer::open(place, now)?, &audit)?;
    Ok(usize::try_from(accounts).unwrap_or(usize::MAX))
}

/// Ends the reports of balance differences that an operator has checked.
fn accept_balance(env: &Environment, id: &str, who: &ActorArgs) -> Result<String, Failure> {
    let accept = |tables: &mut Writer, audit: &AuditRow<'_>| tables.accept_balances(id, audit);
    Ok(match accept_of(env, id, who, "balance.accepted", accept)? {
        0 => format!("No balance of connection {id} differs from what its rows explain.\n"),
        accounts => format!(
            "Accepted the balance of {} of connection {id}: from now on it must move by the rows again.\n",
            table::count(accounts, "account")
        ),
    })
}

/// Ends the reports of rows and accounts that a renewal left open.
fn accept_unmatched(env: &Environment, id: &str, who: &ActorArgs) -> Result<String, Failure> {
    let accept = |tables: &mut Writer, audit: &AuditRow<'_>| tables.accept_unmatched(id, audit);
    Ok(match accept_of(env, id, who, "connection.unmatched_accepted", accept)? {
        0 => format!("Nothing of a renewal is open in connection {id}.\n"),
        accounts => format!(
            "Accepted {} of connection {id} as they are: their rows stay, and the next pass does not report them.\n",
            table::count(accounts, "account")
        ),
    })
}

fn next_step(id: &str) -> String {
    format!("Next: tink-sync run --connection {id} fetches its data; without it the next pass does.\n")
}

/// The failure of a command that names connections nobody knows here; `more` continues the message.
pub(super) fn unknown(ids: &[&str], more: &str) -> Failure {
    let ids = naming(ids.iter().copied());
    Failure::Usage(format!("unknown connection: {ids}; `tink-sync connections list` shows all{more}"))
}

/// Lists up to [`NAMED`] ids and the number of the others.
pub(super) fn naming<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = ids.len().saturating_sub(NAMED);
    let named = ids.take(NAMED).map(shown).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

#[cfg(test)]
mod tests;
