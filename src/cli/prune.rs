//! `tink-sync prune`: deletes what is past its retention, as every pass does at its end. Decides nothing:
//! `report.history`, `report.history_on_demand`, `sync.keep_raw` and `sync.keep_removed` do.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Environment, Failure, day, table};
use crate::exit::Exit;
use crate::store::Store;
use crate::store::Writer;
use crate::store::prune::{Pruned, Retention};

/// The time limit within a pass; the next pass continues.
const TIME_IN_A_PASS: Duration = Duration::from_secs(10);
/// The pause between two steps, in which others can write.
const BREATH: Duration = Duration::from_millis(2);

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync prune --dry-run    what would go?\n  tink-sync prune\n\nEvery pass does the same at its end. It is of use after report.history,\nreport.history_on_demand, sync.keep_raw or sync.keep_removed was lowered. Of transactions only\nthose go that were removed that long ago."
)]
pub struct Args {
    /// Only report what would be deleted
    #[arg(long)]
    pub dry_run: bool,
}

pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let retention = retention(env);
    if !env.place().is_there()? {
        table::print(&table::no_store(env.place()))?;
        return Ok(Exit::Success);
    }
    if args.dry_run {
        let pruned = old(env, &retention)?;
        table::print(&told(env, "Would go", pruned))?;
        return Ok(Exit::Success);
    }
    let mut tables = Writer::open(env.place(), env.clock.now())?;
    let mut sum = Pruned::default();
    if old(env, &retention)? == sum {
        table::print(&told(env, "Gone", sum))?;
        return Ok(Exit::Success);
    }
    loop {
        let pruned = tables.prune(&retention)?;
        if pruned == Pruned::default() {
            break;
        }
        sum += pruned;
        std::thread::sleep(BREATH);
    }
    table::print(&told(env, "Gone", sum))?;
    Ok(Exit::Success)
}

/// What is past its retention. If there is anything, the clock is compared with Tink's first, as in a pass: by a wrong one,
/// everything is old.
///
/// # Errors
/// As [`day::may_prune`].
fn old(env: &Environment, retention: &Retention) -> Result<Pruned, Failure> {
    let reader = env.reader()?;
    let pruned = reader.prunable(retention)?;
    if pruned == Pruned::default() {
        return Ok(pruned);
    }
    day::may_prune(env, reader).map(|()| pruned)
}

/// Prunes at the end of a pass, for a bounded time. A failure is logged and does not change the result of the pass.
pub(super) async fn after_pass(env: &Environment, store: &Store) {
    let (retention, began) = (retention(env), Instant::now());
    let mut sum = Pruned::default();
    while began.elapsed() < TIME_IN_A_PASS {
        match store.prune(retention).await {
            Ok(pruned) if pruned == Pruned::default() => break,
            Ok(pruned) => sum += pruned,
            Err(error) => return tracing::warn!("what is past its retention was not pruned: {error}"),
        }
        tokio::time::sleep(BREATH).await;
    }
    tracing::debug!(
        runs = sum.runs,
        run_connections = sum.run_connections,
        audit = sum.audit,
        raw = sum.raw,
        removed = sum.removed,
        "pruned what is past its retention"
    );
}

fn retention(env: &Environment) -> Retention {
    let now = env.clock.now();
    let before = |kept: Duration| {
        let kept = SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX);
        now.saturating_sub(kept).unwrap_or(Timestamp::MIN)
    };
    // If no original JSON is kept, even the newest goes.
    let raw = env.settings.sync.keep_raw.map_or(Timestamp::MAX, before);
    let report = &env.settings.report;
    Retention {
        history: before(report.history),
        on_demand: before(report.history_on_demand.min(report.history)),
        raw,
        removed: before(env.settings.sync.keep_removed),
    }
}

fn told(env: &Environment, beginning: &str, pruned: Pruned) -> String {
    let settings = &env.settings;
    let history = table::exact(settings.report.history);
    let on_demand = table::exact(settings.report.history_on_demand);
    let raw = settings.sync.keep_raw.map_or_else(|| "0".to_owned(), table::exact);
    let removed = table::exact(settings.sync.keep_removed);
    let keys = format!(
        "(report.history {history}, report.history_on_demand {on_demand}, sync.keep_raw {raw}, sync.keep_removed {removed})"
    );
    if pruned == Pruned::default() {
        return format!("Nothing is past its retention {keys}.\n");
    }
    let count = |number: u64, thing: &str| table::count(usize::try_from(number).unwrap_or(usize::MAX), thing);
    let parts = [
        (pruned.runs, count(pruned.runs, "run")),
        (pruned.run_connections, count(pruned.run_connections, "outcome") + " of connections in runs"),
        (pruned.audit, count(pruned.audit, "row") + " of the audit log"),
        (pruned.raw, "original JSON of ".to_owned() + &count(pruned.raw, "transaction")),
        (pruned.removed, count(pruned.removed, "removed transaction")),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, part)| part);
    let text = format!("{beginning}: {}. {keys}", parts.collect::<Vec<_>>().join(", "));
    table::wrap(&text, 0)
}
