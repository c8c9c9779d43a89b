//! `tink-sync quarantine`: lists records that could not be read, reads them again with this release, or drops
//! them. Shows personal data only on request, and sends nothing to Tink.

use std::collections::BTreeSet;

use super::actor::{Actor, ActorArgs};
use super::connections;
use super::table::{self, TableLine, Tone};
use super::{Environment, Failure};
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::FetchedRow;
use crate::store::Reader;
use crate::store::quarantine::{Replayed, Rereading};
use crate::store::reads::{NotKept, Quarantined};
use crate::store::{AuditRow, Writer};
use crate::sync::reconcile;
use crate::tink;

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync quarantine list\n  tink-sync quarantine retry                    after an upgrade that reads more\n  tink-sync quarantine drop --connection c-17   what is of no use"
)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: QuarantineAction,
}

/// What can be done with the quarantine.
#[derive(Debug, clap::Subcommand)]
pub enum QuarantineAction {
    /// List records from Tink that could not be read
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
    /// Delete records that cannot be read
    #[command(
        group = clap::ArgGroup::new("which").required(true),
        after_help = "Examples:\n  tink-sync quarantine list --raw --connection c-17     look first\n  tink-sync quarantine drop --connection c-17\n  tink-sync quarantine drop --connection c-17 --transaction 4f2a…\n  tink-sync quarantine drop --all --actor jane --ip 203.0.113.7\n\nWhat Tink still lists comes back with the next pass that reads its date. A\nconnection on which a run is at work is left alone (10)."
    )]
    Drop {
        /// Those of these connections
        #[arg(long, value_name = "ID", num_args = 1.., group = "which")]
        connection: Vec<String>,
        /// Those of all connections
        #[arg(long, group = "which")]
        all: bool,
        /// Only those with these transaction ids
        #[arg(long, value_name = "ID", num_args = 1.., requires = "connection")]
        transaction: Vec<String>,
        /// On whose behalf.
        #[command(flatten)]
        who: ActorArgs,
    },
}

/// Lists the quarantine, reads its records again or drops them.
///
/// # Errors
/// [`Failure`] if the store cannot be used or the request is invalid.
pub(super) fn run(env: &Environment, args: Args) -> Result<Exit, Failure> {
    match args.action {
        QuarantineAction::List { connection, raw, format } => {
            let reader = env.reader_if_there()?;
            let records = records(reader.as_ref(), &connection, raw)?;
            let rest = reader.as_ref().map(|reader| reader.not_kept(&connection)).transpose()?;
            match (format, rest) {
                (Format::Human, None) => table::print(&table::no_store(env.place()))?,
                (Format::Human, Some(rest)) => table::print(&listing(&records, &rest, env.color))?,
                (Format::Json, rest) => list_json(&records, &rest.unwrap_or_default())?,
            }
            Ok(Exit::Success)
        }
        QuarantineAction::Retry { connection, who } => retry(env, &connection, &who),
        QuarantineAction::Drop { connection, all: _, transaction, who } => {
            drop_of(env, &connection, &transaction, &who)
        }
    }
}

fn list_json(records: &[Quarantined], rest: &[NotKept]) -> Result<(), Failure> {
    records.iter().try_for_each(table::print_json)?;
    rest.iter().try_for_each(table::print_json)
}

/// The records of these connections; fails if one of them is unknown.
fn records(reader: Option<&Reader>, connections: &[String], raw: bool) -> Result<Vec<Quarantined>, Failure> {
    let known = reader.map(Reader::connections).transpose()?.unwrap_or_default();
    let is_unknown = |id: &&str| !known.iter().any(|known| known.connection_id == *id);
    let unknown: Vec<&str> = connections.iter().map(String::as_str).filter(is_unknown).collect();
    if !unknown.is_empty() {
        return Err(connections::unknown(&unknown, ""));
    }
    let reader = reader.filter(|_| !known.is_empty());
    Ok(reader.map(|reader| reader.quarantine(connections, raw)).transpose()?.unwrap_or_default())
}

fn listing(records: &[Quarantined], rest: &[NotKept], color: bool) -> String {
    if records.is_empty() && rest.is_empty() {
        return "The quarantine is empty: every record could be read.\n".to_owned();
    }
    if records.is_empty() {
        return only_counted(rest, "");
    }
    let line = |record: &Quarantined| {
        let id = record.transaction_id.as_deref().unwrap_or("without a readable id");
        TableLine {
            cells: vec![
                record.connection_id.clone(),
                record.first_seen_at.get(..16).unwrap_or_default().replace('T', " "),
                record.run_id.clone().unwrap_or_else(|| "-".to_owned()),
            ],
            notes: vec![format!("{} ({id}, account {})", record.reason, record.account_id)],
            tone: Tone::Plain,
        }
    };
    let lines: Vec<TableLine> = records.iter().map(line).collect();
    let mut text = table::table(&["CONNECTION", "SINCE (UTC)", "RUN"], &lines, color);
    text.push_str(&only_counted(rest, " more"));
    // Each raw record on a line of its own, unwrapped, to be copied.
    for raw in records.iter().filter_map(|record| record.raw.as_deref()) {
        text.push_str(&table::clean(raw));
        text.push('\n');
    }
    text
}

/// A line for each account with records of which only the number is known; `more` follows that number.
fn only_counted(rest: &[NotKept], more: &str) -> String {
    let line = |NotKept { connection_id, account_id, not_kept }: &NotKept| {
        let (records, are) = if *not_kept == 1 { ("record", "is") } else { ("records", "are") };
        let text = format!(
            "{not_kept}{more} {records} of connection {connection_id}, account {account_id}, {are} only counted."
        );
        table::wrap(&text, 0)
    };
    rest.iter().map(line).collect()
}

/// The connections with records to read once more, and those with any record to drop.
#[derive(Default)]
struct Concerned {
    kept: BTreeSet<String>,
    any: BTreeSet<String>,
}

/// The connections that have records, of those named or of all; prints a message if there are none.
fn concerned(env: &Environment, connections: &[String], otherwise: &str) -> Result<Concerned, Failure> {
    let reader = env.reader_if_there()?;
    let records = records(reader.as_ref(), connections, false)?;
    let Some(reader) = reader else {
        table::print(&table::no_store(env.place()))?;
        return Ok(Concerned::default());
    };
    let kept: BTreeSet<String> = records.into_iter().map(|record| record.connection_id).collect();
    let counted = reader.not_kept(connections)?.into_iter().map(|counted| counted.connection_id);
    let any: BTreeSet<String> = kept.iter().cloned().chain(counted).collect();
    if any.is_empty() {
        table::print(&format!("The quarantine is empty: {otherwise}.\n"))?;
    }
    Ok(Concerned { kept, any })
}

fn retry(env: &Environment, connections: &[String], who: &ActorArgs) -> Result<Exit, Failure> {
    let Concerned { kept: ids, any } = concerned(env, connections, "there is nothing to read once more")?;
    if ids.is_empty() {
        if !any.is_empty() {
            table::print("The records left are only counted: there is nothing to read once more.\n")?;
        }
        return Ok(Exit::Success);
    }
    let keep_raw = env.settings.sync.keep_raw.is_some();
    let how = Rereading {
        read: &|raw, account, strict| {
            let (transaction, raw) = tink::replay(raw, account, strict, keep_raw)?;
            Ok(FetchedRow { transaction, raw })
        },
        changes: reconcile::latecomers,
    };
    let mut tables = Writer::open(env.place(), env.clock.now())?;
    let (actor, mut exit) = (Actor::of(env, who), Exit::Success);
    for id in &ids {
        let user = env.reader()?.user_of(id)?;
        let row = actor.row(env.clock.now(), "quarantine.retried");
        let audit = AuditRow { connection_id: Some(id), user_id: user.as_deref(), ..row };
        let replay = tables.replay(id, &how, &audit)?;
        if replay.is_none() {
            exit = Exit::Incomplete;
        }
        table::print(&replay.map_or_else(|| at_work(id), |replay| told(id, replay)))?;
    }
    Ok(exit)
}

fn drop_of(
    env: &Environment,
    connections: &[String],
    transactions: &[String],
    who: &ActorArgs,
) -> Result<Exit, Failure> {
    let ids = concerned(env, connections, "there is nothing to drop")?.any;
    if ids.is_empty() {
        return Ok(Exit::Success);
    }
    let mut tables = Writer::open(env.place(), env.clock.now())?;
    let (actor, mut exit) = (Actor::of(env, who), Exit::Success);
    for id in &ids {
        let user = env.reader()?.user_of(id)?;
        let row = actor.row(env.clock.now(), "quarantine.dropped");
        let audit = AuditRow { connection_id: Some(id), user_id: user.as_deref(), ..row };
        let dropped = tables.drop_quarantined(id, transactions, &audit)?;
        if dropped.is_none() {
            exit = Exit::Incomplete;
        }
        let done = |records: u64| {
            let records = table::count(usize::try_from(records).unwrap_or(usize::MAX), "record");
            format!("Connection {id}: {records} dropped.\n")
        };
        table::print(&dropped.map_or_else(|| at_work(id), done))?;
    }
    Ok(exit)
}

fn at_work(id: &str) -> String {
    format!("Connection {id}: a run is at work on it; repeat this when it has ended.\n")
}

fn told(id: &str, replay: Replayed) -> String {
    let parts = [
        (replay.added, "added"),
        (replay.updated, "updated"),
        (replay.replaced, "took the place of older rows"),
        (replay.obsolete, "obsolete, as the row has changed since"),
        (replay.waiting, "left to the next pass, which reads the account as a whole"),
        (replay.unreadable, "still unreadable"),
    ];
    let parts =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    let parts = parts.collect::<Vec<_>>().join(", ");
    let read = table::count(usize::try_from(replay.readable).unwrap_or(usize::MAX), "record");
    table::wrap(
        &format!(
            "Connection {id}: {read} can be read now{}{parts}.",
            if parts.is_empty() { "" } else { ": " }
        ),
        0,
    )
}
