//! What surrounds the pass: its threads, whether this machine's clock can be trusted, whether the log beside
//! the store can be emptied, and the metrics. Changes nothing else.

use std::io;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Environment, status};
use crate::file_limit;
use crate::observe::textfile;
use crate::store::Reader;
use crate::store::engine::sqlite::wal;
use crate::tink::{self, Client};

/// A clock up to this much later than a run that compared it with Tink's counts as right, since it was right then.
pub(in crate::cli) const SOON: SignedDuration = SignedDuration::from_hours(24);

/// The only worker thread reads and compares, the store's thread writes, and the calling thread watches. More
/// workers would wait for the writer, and use memory by the number of cores.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Whether the clock can be trusted: dates decide which rows are read, kept and deleted. It can if a run of the
/// last [`SOON`] compared it with Tink's; else Tink is asked. A store that no Tink app has fed yet has nothing to
/// lose, so nothing is asked: the pass compares the clocks before it reads anything.
///
/// # Errors
/// [`ClockOff`](tink::ErrorKind::ClockOff) if Tink's clock is on another day.
pub(super) async fn knows_the_day(env: &Environment, client: &Client) -> Result<bool, tink::Error> {
    let Ok(reader) = env.reader() else { return Ok(false) };
    if vouched(env, &reader, SOON) {
        return Ok(true);
    }
    let is_fed = reader.app().is_ok_and(|app| app.is_some());
    drop(reader);
    if is_fed {
        client.agree_on_time().await?;
    }
    Ok(client.clocks_agree())
}

/// Whether a run that began at most this long ago has compared the clocks, and none did later than now.
pub(in crate::cli) fn vouched(env: &Environment, reader: &Reader, within: SignedDuration) -> bool {
    let since = env.began().saturating_sub(within).unwrap_or(Timestamp::MIN);
    reader.clocks_agreed(since, env.began()).unwrap_or_default()
}

/// Logs which readers keep the log beside the store from being emptied, once it is larger than passes leave it.
pub(super) fn look_at_log(env: &Environment) {
    let Some(log) = env.place().file().map(wal::look) else { return };
    let readers: Vec<String> = log.readers.iter().map(ToString::to_string).collect();
    if log.bytes >= wal::LARGE && !readers.is_empty() {
        tracing::warn!(
            "the log beside the store has {} MiB and cannot be emptied while {} reads it; let that program end its transaction",
            log.bytes >> 20,
            readers.join(" and ")
        );
    }
}

/// Writes the metrics file, if configured. A failure is logged and does not change the result of the run.
pub(super) fn write_metrics(env: &Environment) {
    let Some(path) = env.settings.report.metrics_file.as_ref() else { return };
    let text = match status::metrics_text(env) {
        Ok(text) => text,
        Err(error) => return tracing::warn!("no metrics were written: {error}"),
    };
    if let Err(error) = textfile::replace(path, &text, &env.protected()) {
        let error = file_limit::explain(&error);
        tracing::warn!("report.metrics_file: cannot write {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_machine_gets_no_more_threads() {
        assert_eq!(runtime().unwrap().metrics().num_workers(), 1);
    }
}
