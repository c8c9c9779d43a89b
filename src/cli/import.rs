//! `tink-sync import`: takes over the rows an application has kept, once, so that the first pass duplicates
//! none of them. Wires input, store and report; the store decides which rows are new, the pass pairs them.

mod input;
mod line;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::actor::{Actor, ActorArgs};
use super::table::{self, TableLine, Tone, count};
use super::{Environment, Failure, app, connections, mirror, shared_clock};
use crate::domain::event::Summary;
use crate::exit::Exit;
use crate::observe::report::{self, Format};
use crate::store::Store;
use crate::store::import::{self, Import, Imported};
use crate::store::{NewRun, Run, RunEnd, Selection};
use crate::sync::pass::leases;
use input::Lines;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync import rows.jsonl --dry-run    what would be taken over?\n  tink-sync import rows.jsonl              all rows, or none\n  sqlite3 app.db < rows.sql | tink-sync import -\n\nOne JSON object per line, with Tink's JSON of the transaction as it came:\n  {\"connection_id\": \"c-17\", \"account_id\": \"…\", \"transaction_id\": \"…\", \"raw\": {…}}\nor, without raw, with amount, currency, booked_date, description, status and\nwhat else transactions_v1 has. account_id may be left out if raw has it; if both\nare there, account_id counts: give the one that Tink uses today.\n\nThe first pass then adds no row that is there under the same id, replaces one by\none what Tink gives under a new id, and keeps what it does not give any more."
)]
pub struct Args {
    /// File with the rows; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only rows of this connection; lines of others are left out and counted
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    /// Read everything, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Go on without lines that cannot be taken over
    #[arg(long)]
    pub skip_bad: bool,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub who: ActorArgs,
}

/// Imports the rows.
///
/// # Errors
/// [`Failure::Usage`] if a line cannot be taken over; then nothing was written. Other variants if the input
/// cannot be read or the store cannot be written.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let imported = runtime.block_on(take_over(env, args))?;
    match args.format {
        Format::Human => table::print(&human(&imported, args.dry_run, env.color))?,
        Format::Json => table::print_json(&json(&imported, args.dry_run))?,
    }
    if !imported.kept {
        let lines = count(usize::try_from(imported.bad).unwrap_or(usize::MAX), "line");
        return Err(Failure::Usage(format!(
            "nothing was taken over: {lines} cannot be; correct them, or use --skip-bad"
        )));
    }
    Ok(exit_of(&imported))
}

fn exit_of(imported: &Imported) -> Exit {
    match (imported.kept, imported.bad) {
        (false, _) => Exit::Usage,
        (true, 0) => Exit::Success,
        (true, _) => Exit::Incomplete,
    }
}

async fn take_over(env: &Environment, args: &Args) -> Result<Imported, Failure> {
    let place = env.place();
    let lines = Lines::open(&args.file, place.file())?;
    let patience = env.settings.sync.outage_patience.unwrap_or(Duration::ZERO);
    let open = if args.dry_run { Store::open_dry } else { Store::open };
    let store = open(place, patience, env.started)?;
    shared_clock::heed(env, &store).await?;
    let run = store.begin_run(new_run(env)).await?;
    let done = tokio::select! {
        done = import_lines(env, args, &store, &run, lines) => done,
        never = leases::keep_alive(&store, &run, env.clock.as_ref()), if store.is_shared() && !args.dry_run => match never {},
    };
    let (exit, summary) = match &done {
        Ok(imported) => (exit_of(imported), summary(imported)),
        Err(failure) => (failure.into(), Summary::default()),
    };
    let totals = report::stored_totals(&summary, (0, 0), env.took(), false);
    let end = RunEnd { totals, exit_code: exit.code(), pass_failed: false, at: env.clock.now() };
    // If that fails too, the first failure is the one to report.
    let ended = store.finish_run(&run, end).await;
    store.close().await;
    let imported = done?;
    ended?;
    Ok(imported)
}

async fn import_lines(
    env: &Environment,
    args: &Args,
    store: &Store,
    run: &Run,
    lines: Lines,
) -> Result<Imported, Failure> {
    let patience = env.settings.sync.outage_patience.unwrap_or(Duration::ZERO);
    app::ours(env)?;
    mirror::mirror(env, store, run, env.vault()?.map(Into::into), patience).await?;
    let keep_raw = env.settings.sync.keep_raw.is_some();
    known(store, args.connection.as_deref()).await?;
    let (only, left_out) = (args.connection.clone(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&left_out);
    let wanted = lines.filter(move |line| {
        let Ok((_, Ok(text))) = line else { return true };
        let is_other = only.is_some() && line::connection(text).is_some_and(|named| Some(named) != only);
        counter.fetch_add(u64::from(is_other), Ordering::Relaxed);
        !is_other
    });
    let parsed = wanted.map(move |line| {
        line.map(|(number, text)| (number, text.and_then(|text| line::read(&text, keep_raw))))
    });
    let import = Import {
        lines: Box::new(parsed),
        skip_bad: args.skip_bad,
        actor: Actor::of(env, &args.who).into_parts(),
        now: env.clock.now(),
    };
    let imported = store.import(run, import).await??;
    Ok(Imported { left_out: left_out.load(Ordering::Relaxed), ..imported })
}

/// Fails if the view has no such connection.
async fn known(store: &Store, connection: Option<&str>) -> Result<(), Failure> {
    let Some(id) = connection else { return Ok(()) };
    let asked = Selection { connections: vec![id.into()], users: Vec::new() };
    let unknown = store.unknown(asked).await?;
    if unknown.is_empty() { Ok(()) } else { Err(connections::unknown(&[id], "")) }
}

fn new_run(env: &Environment) -> NewRun {
    NewRun {
        run_id: super::run::new_id(env.started),
        trigger: "manual",
        on_demand: true,
        host: super::run::host(),
        version: env!("CARGO_PKG_VERSION"),
        process_started: env.began(),
        started_at: env.began(),
    }
}

/// The totals recorded for the run.
fn summary(imported: &Imported) -> Summary {
    let mut summary = Summary::default();
    if imported.kept {
        summary.connections = imported.connections.len() as u64;
        summary.counts.accounts = imported.connections.values().map(|taken| taken.accounts).sum();
        summary.counts.added = imported.connections.values().map(|taken| taken.added).sum();
    }
    summary
}

fn totals(imported: &Imported) -> (u64, u64, u64) {
    imported.connections.values().fold((0, 0, 0), |(read, added, known), taken| {
        (read + taken.read, added + taken.added, known + taken.known)
    })
}

fn human(imported: &Imported, dry_run: bool, color: bool) -> String {
    let (read, added, known) = totals(imported);
    let rows = count(usize::try_from(read).unwrap_or(usize::MAX), "row");
    let done = if dry_run || !imported.kept { "to be taken over" } else { "taken over" };
    let mut text = format!("{rows} read: {added} {done}, {known} there already.\n");
    let line = |(id, taken): (&String, &import::Taken)| TableLine {
        cells: vec![
            id.clone(),
            taken.read.to_string(),
            taken.added.to_string(),
            taken.known.to_string(),
            taken.accounts.to_string(),
        ],
        notes: Vec::new(),
        tone: Tone::Plain,
    };
    let lines: Vec<TableLine> = imported.connections.iter().map(line).collect();
    if !lines.is_empty() {
        text.push_str(&table::table(&["CONNECTION", "ROWS", "NEW", "THERE", "NEW ACCOUNTS"], &lines, color));
    }
    for (number, problem) in &imported.problems {
        text.push_str(&table::wrap(&format!("line {number}: {problem}"), 0));
    }
    let told = imported.problems.len() as u64;
    if imported.bad > told {
        let more = format!("and {} more lines that cannot be taken over", imported.bad - told);
        text.push_str(&table::wrap(&more, 0));
    }
    if imported.left_out > 0 {
        let lines = count(usize::try_from(imported.left_out).unwrap_or(usize::MAX), "line");
        text.push_str(&table::wrap(&format!("{lines} of other connections left out."), 0));
    }
    if imported.kept && added > 0 {
        text.push_str(if dry_run {
            "Nothing was changed. The same without --dry-run takes them over.\n"
        } else {
            "Next: tink-sync run --dry-run tells what the first pass makes of them.\n"
        });
    }
    text
}

/// The result of an import as JSON.
#[derive(Serialize)]
struct ImportJson<'a> {
    schema: u8,
    dry_run: bool,
    kept: bool,
    read: u64,
    added: u64,
    known: u64,
    bad: u64,
    left_out: u64,
    connections: Vec<TakenJson<'a>>,
    problems: Vec<ProblemJson<'a>>,
}

#[derive(Serialize)]
struct TakenJson<'a> {
    connection_id: &'a str,
    user_id: &'a str,
    read: u64,
    added: u64,
    known: u64,
    new_accounts: u64,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    line: u64,
    problem: &'a str,
}

fn json(imported: &Imported, dry_run: bool) -> ImportJson<'_> {
    let (read, added, known) = totals(imported);
    let connections = imported.connections.iter().map(|(connection_id, taken)| TakenJson {
        connection_id,
        user_id: &taken.user_id,
        read: taken.read,
        added: taken.added,
        known: taken.known,
        new_accounts: taken.accounts,
    });
    let problems = imported.problems.iter().map(|(line, problem)| ProblemJson { line: *line, problem });
    ImportJson {
        schema: 1,
        dry_run,
        kept: imported.kept && !dry_run,
        read,
        added,
        known,
        bad: imported.bad,
        left_out: imported.left_out,
        connections: connections.collect(),
        problems: problems.collect(),
    }
}
