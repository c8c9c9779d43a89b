//! `tink-sync migrate-store`: moves the store to another database, and prints the steps left to do by hand.
//! Changes neither the old store nor the configuration.

use serde::Serialize;

use super::actor::{Actor, ActorArgs};
use super::table::{self, TableLine, Tone};
use super::{Environment, Failure};
use crate::config;
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::observe::{progress, terminal};
use crate::store::Place;
use crate::store::transfer::{ACTION, AtTarget, TableSum, Transfer};

/// Arguments of `migrate-store`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo systemctl stop tink-sync.timer\n  tink-sync migrate-store --to postgres://sync@db.example/bank --dry-run\n  tink-sync migrate-store --to postgres://sync@db.example/bank\n  tink-sync migrate-store --to sqlite:/var/lib/tink-sync/new.db  and back\n\nEverything goes along: rows, removed rows, keys, run history, audit log,\nencrypted tokens. Readers of the views go on with the change_seq they have.\nThe old store is only read and stays as it is; nothing may write to it while\nthis works, and what a pass writes to it afterwards does not come along. Cut\nshort, the same command goes on with what is there; until it is complete no\nother command uses the new store. At the end both are read anew and compared\nby count and checksum, table by table and account by account. On PostgreSQL\nthe role must own the schema; its password is found as for store.url. Then set\nstore.url: the configuration is not changed."
)]
pub struct Args {
    /// Where the store goes, as store.url has it: an empty database, or a new file
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Only report what would be copied
    #[arg(long)]
    pub dry_run: bool,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub who: ActorArgs,
}

/// The rows that were moved, or would be.
struct MoveReport {
    tables: Vec<TableSum>,
    /// The last number of the feed; `None` in a rehearsal.
    change: Option<i64>,
    /// The new store was complete before.
    was_complete: bool,
    /// An earlier attempt has copied a part.
    resumed: bool,
}

/// # Errors
/// [`Failure::Usage`] if it cannot be moved there, [`Failure::Store`] if a store cannot be read or written,
/// or is in use.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let to = config::store_place(&env.settings, &args.to, &env.variable)
        .map_err(|problem| Failure::Usage(format!("--to: {problem}")))?;
    let watched = args.format == Format::Human && terminal::is_error_watched() && !env.quiet;
    let transfer = Transfer { from: env.place(), to: &to, told: &progress::step };
    let report = if args.dry_run { rehearsed(&transfer)? } else { moved(env, args, &transfer, watched)? };
    match args.format {
        Format::Human => table::print(&human(env, args, &to, &report))?,
        Format::Json => table::print_json(&json(env, args, &to, &report))?,
    }
    Ok(Exit::Success)
}

fn rehearsed(transfer: &Transfer<'_>) -> Result<MoveReport, Failure> {
    let (found, tables) = transfer.rehearse()?.map_err(Failure::Usage)?;
    let resumed = found == AtTarget::Part;
    Ok(match found {
        AtTarget::All(tables) => MoveReport { tables, change: None, was_complete: true, resumed },
        AtTarget::Nothing | AtTarget::Part => {
            MoveReport { tables, change: None, was_complete: false, resumed }
        }
    })
}

fn moved(
    env: &Environment,
    args: &Args,
    transfer: &Transfer<'_>,
    watched: bool,
) -> Result<MoveReport, Failure> {
    if watched {
        // Each row is copied once and compared once.
        progress::start(transfer.rows()?.saturating_mul(2), "rows");
    }
    let actor = Actor::of(env, &args.who);
    let done = transfer.run(&actor.row(env.clock.now(), ACTION));
    progress::clear();
    let moved = done?.map_err(Failure::Usage)?;
    Ok(MoveReport {
        tables: moved.tables,
        change: Some(moved.change),
        was_complete: moved.was_complete,
        resumed: moved.resumed,
    })
}

fn rows(tables: &[TableSum]) -> u64 {
    tables.iter().map(|table| table.rows).sum()
}

fn rows_of(tables: &[TableSum], name: &str) -> u64 {
    tables.iter().find(|table| table.table == name).map_or(0, |table| table.rows)
}

fn human(env: &Environment, args: &Args, to: &Place, report: &MoveReport) -> String {
    let line = |table: &TableSum| TableLine {
        cells: vec![table.table.to_owned(), table.rows.to_string()],
        notes: Vec::new(),
        tone: Tone::Plain,
    };
    let lines: Vec<TableLine> = report.tables.iter().filter(|table| table.rows > 0).map(line).collect();
    let mut text = table::table(&["TABLE", "ROWS"], &lines, env.color);
    let number = |rows| usize::try_from(rows).unwrap_or(usize::MAX);
    let all = table::count(number(rows(&report.tables)), "row");
    let accounts = table::count(number(rows_of(&report.tables, "ts_accounts")), "account");
    if args.dry_run && !report.was_complete {
        let rest =
            if report.resumed { " An earlier try has copied a part, and is gone on with." } else { "" };
        text += &table::wrap(
            &format!("{all} would be copied to {to}.{rest} Nothing was changed: this is a rehearsal."),
            0,
        );
        return text;
    }
    let verb = if report.was_complete { "was complete before" } else { "is complete" };
    let feed = report.change.map_or_else(String::new, |change| {
        format!(" The feed goes on at change_seq {change}: readers keep the numbers they have.")
    });
    text += &table::wrap(
        &format!(
            "The store at {to} {verb}: {all}, {accounts}, equal by count and checksum to {}, which was not changed.{feed}",
            env.place()
        ),
        0,
    );
    text + &next_steps(env, args)
}

/// The steps left to do by hand.
fn next_steps(env: &Environment, args: &Args) -> String {
    let settings = &env.settings;
    let mut steps = vec![format!("store.url = \"{}\" in {}", args.to, settings.file.display())];
    // Without a database of its own the view is in the store.
    if settings.source.view.is_some() && settings.source.database.is_none() {
        steps.push(format!(
            "source.database = \"{}\" there, too: the application's view did not move",
            env.place()
        ));
    }
    steps.push("tink-sync check, then tink-sync run --dry-run".to_owned());
    steps.push("systemctl start tink-sync.timer".to_owned());
    let lines = (1..).zip(&steps).map(|(number, step)| table::wrap(&format!("{number}. {step}"), 3));
    let keep = "Keep the old store until readers and passes have moved; no pass may write to it any more.";
    format!("Next:\n{}{}", lines.collect::<String>(), table::wrap(keep, 0))
}

/// The result as JSON.
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the JSON")]
#[derive(Serialize)]
struct MoveJson<'a> {
    schema: u8,
    dry_run: bool,
    from: String,
    to: String,
    complete: bool,
    was_complete: bool,
    resumed: bool,
    rows: u64,
    accounts: u64,
    change_seq: Option<i64>,
    tables: Vec<TableJson<'a>>,
}

#[derive(Serialize)]
struct TableJson<'a> {
    table: &'a str,
    rows: u64,
    checksum: Option<String>,
}

fn json<'a>(env: &Environment, args: &Args, to: &Place, report: &'a MoveReport) -> MoveJson<'a> {
    let table = |table: &'a TableSum| {
        let checksum = table.checksum.map(|sum| format!("{sum:032x}"));
        TableJson { table: table.table, rows: table.rows, checksum }
    };
    MoveJson {
        schema: 1,
        dry_run: args.dry_run,
        from: env.place().to_string(),
        to: to.to_string(),
        complete: !args.dry_run || report.was_complete,
        was_complete: report.was_complete,
        resumed: report.resumed,
        rows: rows(&report.tables),
        accounts: rows_of(&report.tables, "ts_accounts"),
        change_seq: report.change,
        tables: report.tables.iter().map(table).collect(),
    }
}
