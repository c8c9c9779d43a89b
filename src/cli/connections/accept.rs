//! `tink-sync connections accept-…`: confirmations by a person of what the program must not guess: that a user was
//! linked again, that the application renumbered its users, that another Tink app or fewer connections are right.

use super::viewed;
use crate::cli::actor::{Actor, ActorArgs};
use crate::cli::{Environment, Failure, app, table};
use crate::domain::owner::accept::{Acceptance, Accepted};
use crate::domain::population::Fall;
use crate::store::StoreError;
use crate::store::app::AppAccepted;
use crate::store::{AuditRow, Writer};

/// Arguments of `connections accept-user`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync connections accept-user c-17\n  tink-sync connections accept-user --same-tink-user c-17 c-18\n  tink-sync connections accept-user --same-tink-user --all --actor jane\n\nA connection is its id, its user and its Tink user. Where the application's view brings\nanother of the last two to a connection that holds data, nothing is synced (source_row)\nuntil its data are forgotten, or a person says here that it is still the same human being."
)]
#[group(skip)]
pub struct UserArgs {
    /// The connection (with --same-tink-user: the connections)
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// The application has renumbered its users: only the user differs, not the Tink user
    #[arg(long)]
    pub same_tink_user: bool,
    /// All connections of which only the user differs
    #[arg(long, requires = "same_tink_user")]
    pub all: bool,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
}

/// Confirms that the person is the same under another Tink user, or under another user of the application.
pub(super) fn user(env: &Environment, args: &UserArgs) -> Result<String, Failure> {
    app::ours(env)?;
    let what = match args.ids.as_slice() {
        _ if args.same_tink_user => Acceptance::User(&args.ids),
        [id] => Acceptance::TinkUser(id),
        _ => return Err(Failure::Usage("accept-user takes one connection at a time".to_owned())),
    };
    let (place, now) = (env.place(), env.clock.now());
    if !place.is_there()? {
        return Err(StoreError::Missing { place: place.clone() }.into());
    }
    let rows = viewed(env)?.rows;
    let actor = Actor::of(env, &args.who);
    let row = actor.row(now, "connection.user_accepted");
    let accepted = Writer::open(place, now)?.accept_users(&rows, what, &row)?;
    let accepted = accepted.map_err(|problem| Failure::Usage(format!("{problem}; nothing was accepted")))?;
    Ok(users(&accepted))
}

fn users(accepted: &[Accepted]) -> String {
    if accepted.is_empty() {
        return "There is no connection of which only the user_id differs: nothing was accepted.\n"
            .to_owned();
    }
    let line = |one: &Accepted| match one.tink_user {
        Some(_) => {
            format!("Connection {} goes on with its new Tink user; what it holds stays.\n", one.connection_id)
        }
        None => format!(
            "The data of connection {} are those of user {} from now on.\n",
            one.connection_id, one.user_id
        ),
    };
    let lines: String = accepted.iter().map(line).collect();
    format!("{lines}The next pass syncs them.\n")
}

/// Confirms that the configured Tink app has replaced the one whose data are here.
pub(super) fn tink_app(env: &Environment, who: &ActorArgs) -> Result<String, Failure> {
    let client_id = env.settings.tink.credentials()?.0;
    let (place, now) = (env.place(), env.clock.now());
    if !place.is_there()? {
        return Err(StoreError::Missing { place: place.clone() }.into());
    }
    let actor = Actor::of(env, who);
    let row = actor.row(now, "app.accepted");
    match Writer::open(place, now)?.accept_app(client_id, &row)? {
        AppAccepted::Already => Ok("The store is that of this app: there is nothing to accept.\n".to_owned()),
        AppAccepted::RunAtWork(run) => Err(Failure::Usage(format!(
            "run {run} is at work on the store: repeat this when it has ended; nothing was accepted"
        ))),
        AppAccepted::Now { connections, .. } => {
            let holding = table::count(usize::try_from(connections).unwrap_or(usize::MAX), "connection");
            Ok(table::wrap(
                &format!(
                    "Accepted: from now on the data come from the app with the client id {client_id}. {holding} with data of the app before \
                     go on with the users of the same ids; what is stored stays, and what was only a demo goes with \
                     tink-sync connections forget ID."
                ),
                0,
            ))
        }
    }
}

/// Confirms that far fewer connections are enabled or entitled than before.
pub(super) fn change(env: &Environment, who: &ActorArgs) -> Result<String, Failure> {
    app::ours(env)?;
    let (place, now) = (env.place(), env.clock.now());
    let overlaid = super::overlaid(env)?;
    let is_there = place.is_there()?;
    let last = env.reader_if_there()?.map(|reader| reader.last_view()).transpose()?.flatten();
    let fallen = last.is_some_and(|last| last.fallen.is_some());
    let Some(Fall { before, now: numbers, gone, .. }) = overlaid.fall.filter(|_| is_there) else {
        return Ok(format!(
            "There is nothing to confirm: the source view gives {} connections enabled, {} of them entitled{}.\n",
            overlaid.numbers.enabled,
            overlaid.numbers.entitled,
            if fallen { ", as many as before again; the next pass notes it" } else { "" }
        ));
    };
    let details = format!(
        "enabled {} of {}, entitled {} of {}, gone {gone}",
        numbers.enabled, before.enabled, numbers.entitled, before.entitled
    );
    let actor = Actor::of(env, who);
    let row = AuditRow { details: Some(&details), ..actor.row(now, "change.accepted") };
    let missing = overlaid.connections.iter().filter(|connection| connection.gone_at.is_some());
    let missing: Vec<i64> = missing.filter_map(|connection| connection.key).collect();
    Writer::open(place, now)?.accept_change(numbers, &missing, &row)?;
    Ok(format!(
        "Confirmed: {} connections enabled (before: {}), {} of them entitled (before: {}).\nThose that have no row any more are disabled; their data stay.\n",
        numbers.enabled, before.enabled, numbers.entitled, before.entitled
    ))
}
