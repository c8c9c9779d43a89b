//! `tink-sync connections add`: one connection from options, or many from a file. Adds all or none.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::Read as _;

use super::{NAMED, lines, naming, next_step, only_stand_alone, viewed};
use crate::cli::actor::{Actor, ActorArgs};
use crate::cli::{Environment, Failure, app, table};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::ids::UserId;
use crate::store::{AuditRow, Writer, stand_alone::OwnConnection};

/// Arguments of `connections add`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync connections add c-1 --user u-1 --external-user-id u-1\n  tink-sync connections add --file connections.jsonl\n\nA line of the file:\n  {\"connection_id\": \"c-1\", \"user_id\": \"u-1\", \"external_user_id\": \"u-1\"}\nwith tink_user_id instead of external_user_id if that is what you have;\nmarket and priority as you like."
)]
#[group(skip)]
pub struct Args {
    /// Your id of the connection
    #[arg(required_unless_present = "file", requires = "user", requires = "tink")]
    pub id: Option<String>,
    /// Your id of the user it belongs to
    #[arg(long, value_name = "USER", requires = "id")]
    pub user: Option<String>,
    /// The external user id under which your app made the Tink user
    #[arg(long, value_name = "ID", group = "tink", requires = "id")]
    pub external_user_id: Option<String>,
    /// Tink's own id of the user
    #[arg(long, value_name = "ID", group = "tink", requires = "id")]
    pub tink_user_id: Option<String>,
    /// The user's market, such as SE
    #[arg(long, value_name = "MARKET", requires = "id")]
    pub market: Option<String>,
    /// Higher goes first among equals
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i64,
    /// Add every connection of this file of JSON lines (- is standard input), all or none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "user", "tink", "market", "priority"])]
    pub file: Option<String>,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
}

pub(super) fn add(env: &Environment, args: Args) -> Result<String, Failure> {
    only_stand_alone(env)?;
    let who = args.who.clone();
    let new = match &args.file {
        Some(file) => lines::parse(&read_file(file)?, file)?,
        None => vec![one(args)?],
    };
    app::ours(env)?;
    refuse_anothers(env, &new)?;
    let now = env.clock.now();
    let mut tables = Writer::open(env.place(), now)?;
    let actor = Actor::of(env, &who);
    let audit: Vec<AuditRow<'_>> = new
        .iter()
        .map(|connection| AuditRow {
            connection_id: Some(&connection.connection_id),
            user_id: Some(&connection.user_id),
            ..actor.row(now, "connection.created")
        })
        .collect();
    let known = tables.add(&new, &audit)?;
    if !known.is_empty() {
        let ids = naming(known.iter().map(String::as_str));
        return Err(Failure::Usage(format!("already there: {ids}; nothing was added")));
    }
    added(env, &new)
}

fn one(args: Args) -> Result<OwnConnection, Failure> {
    let connection = OwnConnection {
        connection_id: args.id.unwrap_or_default(),
        user_id: args.user.unwrap_or_default(),
        external_user_id: args.external_user_id,
        tink_user_id: args.tink_user_id,
        market: args.market,
        priority: args.priority,
    };
    match lines::problem(&connection) {
        Some(problem) => Err(Failure::Usage(problem.to_owned())),
        None => Ok(connection),
    }
}

/// Refuses a connection that would get a Tink user, or an id, under which another user's data are here.
fn refuse_anothers(env: &Environment, new: &[OwnConnection]) -> Result<(), Failure> {
    if new.len() == 1 && !env.place().is_there()? {
        return Ok(());
    }
    let rows: Vec<SourceRow> = new.iter().map(row).collect();
    let ours: HashSet<String> = new.iter().map(|connection| connection.connection_id.clone()).collect();
    let refused = super::refused(env, rows, |id| ours.contains(id))?;
    let told: Vec<String> = refused.iter().take(NAMED).map(|(id, text)| format!("  {id}: {text}")).collect();
    match refused.len() {
        0 => Ok(()),
        number => {
            let more = if number > told.len() {
                format!("\n  and {} more", number - told.len())
            } else {
                String::new()
            };
            Err(Failure::Usage(format!("nothing was added:\n{}{more}", told.join("\n"))))
        }
    }
}

/// The row that the view will have for a connection.
fn row(connection: &OwnConnection) -> SourceRow {
    let external = connection.external_user_id.clone().filter(|id| !id.is_empty()).map(TinkUser::External);
    let tink_user = external.or_else(|| connection.tink_user_id.clone().map(TinkUser::Tink));
    SourceRow::active(&connection.connection_id, &connection.user_id, tink_user)
}

/// Reports what was added and what to do next.
fn added(env: &Environment, new: &[OwnConnection]) -> Result<String, Failure> {
    let rows = viewed(env)?.rows;
    let ours: HashSet<&str> = new.iter().map(|connection| connection.connection_id.as_str()).collect();
    let paused = rows.iter().filter(|row| !row.entitled && ours.contains(row.connection_id.as_str()));
    let paused: BTreeSet<UserId> = paused.map(|row| row.user_id).collect();
    let waits = new.iter().all(|connection| paused.contains(&connection.user_id.as_str().into()));
    let mut text = match new {
        [one] => format!("Added connection {} of user {}.\n", one.connection_id, one.user_id),
        _ => format!("Added {}.\n", table::count(new.len(), "connection")),
    };
    // If no user is entitled, the next step is another one.
    text.push_str(&match new {
        _ if waits => String::new(),
        [one] => next_step(&one.connection_id),
        _ => "Next: tink-sync run fetches their data; without it the next pass does.\n".to_owned(),
    });
    if let Some(first) = paused.first() {
        let users = naming(paused.iter().map(UserId::as_str));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Not entitled, so not synced: user {users}. Change it with: tink-sync users set {first} --entitled yes"
        );
    }
    Ok(text)
}

/// The text of a file, or of standard input for `-`; some editors put a byte order mark at its beginning.
pub(super) fn read_file(file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::Usage(format!("{file}: cannot be read: {error}")))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
