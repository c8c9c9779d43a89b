//! `tink-sync quarantine`: records that could not be read, and reading them once more with this release.
//! Shows nobody's data unless that is asked for, and asks nobody at Tink.

use serde_json::json;

use super::actor::{Actor, ActorArgs};
use super::connections::naming;
use super::table::{self, Line, Tone};
use super::{Environment, Failure};
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::sqlite::own::{AuditRow, OwnTables};
use crate::store::sqlite::quarantine::{Reread, Rereading};
use crate::store::sqlite::reads::{self, Quarantined};
use crate::store::{FetchedRow, StoreError};
use crate::sync::reconcile;
use crate::tink;

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync quarantine list\n  tink-sync quarantine retry          after an upgrade that can read more"
)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the quarantine.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// List records of Tink's that could not be read
    #[command(
        after_help = "Examples:\n  tink-sync quarantine list --connection c-17\n  tink-sync quarantine list --raw --format json | jq -r .raw\n\nWithout --raw no name and no amount is shown."
    )]
    List {
        /// Only of these connections
        #[arg(long, value_name = "ID", num_args = 1..)]
        connection: Vec<String>,
        /// Show the records as Tink sent them, with people's data
        #[arg(long)]
        raw: bool,
        /// Form of the output; as JSON one object per line
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Read them once more and store what can be read now
    #[command(
        after_help = "Examples:\n  tink-sync quarantine retry\n  tink-sync quarantine retry --connection c-17 --actor jane --ip 203.0.113.7\n\nTink is not asked. A connection on which a run is at work is left alone (10)."
    )]
    Retry {
        /// Only of these connections
        #[arg(long, value_name = "ID", num_args = 1..)]
        connection: Vec<String>,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
}

/// Lists the quarantine or reads it once more.
///
/// # Errors
/// [`Failure`] if the store cannot be used, or what was asked for makes no sense.
pub fn run(env: &Environment, args: Args) -> Result<Exit, Failure> {
    match args.action {
        Action::List { connection, raw, format } => {
            let records = records(env, &connection, raw)?;
            match format {
                Format::Human if !env.store_path()?.exists() => {
                    table::print(&table::no_store(&env.store_path()?))?;
                }
                Format::Human => table::print(&listing(&records, env.color))?,
                Format::Json => records.iter().try_for_each(|record| table::print_json(&json!(record)))?,
            }
            Ok(Exit::Success)
        }
        Action::Retry { connection, who } => retry(env, &connection, &who),
    }
}

/// The records of these connections, all of which must be known.
fn records(env: &Environment, connections: &[String], raw: bool) -> Result<Vec<Quarantined>, Failure> {
    let path = env.store_path()?;
    let known = match reads::connections(&path) {
        Err(StoreError::Missing { .. }) => Vec::new(),
        other => other?,
    };
    let is_unknown = |id: &&str| !known.iter().any(|known| known.connection_id == *id);
    let unknown: Vec<&str> = connections.iter().map(String::as_str).filter(is_unknown).collect();
    if !unknown.is_empty() {
        let unknown = naming(unknown.into_iter());
        return Err(Failure::Usage(format!(
            "unknown connection: {unknown}; `tink-sync connections list` shows all"
        )));
    }
    if known.is_empty() { Ok(Vec::new()) } else { Ok(reads::quarantine(&path, connections, raw)?) }
}

fn listing(records: &[Quarantined], color: bool) -> String {
    if records.is_empty() {
        return "The quarantine is empty: every record could be read.\n".to_owned();
    }
    let line = |record: &Quarantined| {
        let id = record.transaction_id.as_deref().unwrap_or("without a readable id");
        Line {
            cells: vec![
                record.connection_id.clone(),
                record.first_seen_at.get(..16).unwrap_or_default().replace('T', " "),
                record.run_id.clone().unwrap_or_else(|| "-".to_owned()),
            ],
            notes: vec![format!("{} ({id}, account {})", record.reason, record.account_id)],
            tone: Tone::Plain,
        }
    };
    let lines: Vec<Line> = records.iter().map(line).collect();
    let mut text = table::table(&["CONNECTION", "SINCE (UTC)", "RUN"], &lines, color);
    // As they are, each on a line of its own: to be copied.
    for raw in records.iter().filter_map(|record| record.raw.as_deref()) {
        text.push_str(&table::clean(raw));
        text.push('\n');
    }
    text
}

fn retry(env: &Environment, connections: &[String], who: &ActorArgs) -> Result<Exit, Failure> {
    let records = records(env, connections, false)?;
    if !env.store_path()?.exists() {
        table::print(&table::no_store(&env.store_path()?))?;
        return Ok(Exit::Success);
    }
    let mut ids: Vec<&str> = records.iter().map(|record| record.connection_id.as_str()).collect();
    ids.dedup();
    if ids.is_empty() {
        table::print("The quarantine is empty: there is nothing to read once more.\n")?;
        return Ok(Exit::Success);
    }
    let keep_raw = env.settings.sync.keep_raw.is_some();
    let how = Rereading {
        read: &|raw, account, strict| {
            let (transaction, raw) = tink::reread(raw, account, strict, keep_raw)?;
            Ok(FetchedRow { transaction, raw })
        },
        changes: reconcile::latecomers,
    };
    let mut tables = OwnTables::open(&env.store_path()?, env.clock.now())?;
    let (actor, mut exit) = (Actor::of(env, who), Exit::Success);
    for id in ids {
        let user = reads::user_of(&env.store_path()?, id)?;
        let row = actor.row(env.clock.now(), "quarantine.retried");
        let audit = AuditRow { connection_id: Some(id), user_id: user.as_deref(), ..row };
        let reread = tables.reread(id, &how, &audit)?;
        if reread.is_none() {
            exit = Exit::Incomplete;
        }
        table::print(&told(id, reread))?;
    }
    Ok(exit)
}

fn told(id: &str, reread: Option<Reread>) -> String {
    let Some(reread) = reread else {
        return format!("Connection {id}: a run is at work on it; repeat this when it has ended.\n");
    };
    let parts = [
        (reread.added, "added"),
        (reread.updated, "updated"),
        (reread.replaced, "took the place of older rows"),
        (reread.obsolete, "obsolete, as the row has changed since"),
        (reread.waiting, "left to the next pass, which reads the account as a whole"),
        (reread.unreadable, "still unreadable"),
    ];
    let parts =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    let parts = parts.collect::<Vec<_>>().join(", ");
    let read = table::count(usize::try_from(reread.readable).unwrap_or(usize::MAX), "record");
    table::wrap(
        &format!(
            "Connection {id}: {read} can be read now{}{parts}.",
            if parts.is_empty() { "" } else { ": " }
        ),
        0,
    )
}
