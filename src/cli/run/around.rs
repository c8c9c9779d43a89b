//! What surrounds the pass: its threads, whether the log beside the store can be emptied, and the metrics. Changes
//! nothing else.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::cli::{Environment, status};
use crate::file_limit;
use crate::observe::textfile;
use crate::store::file::wal;

/// The only worker thread reads and compares, the store's thread writes, and the calling thread watches. More
/// workers would wait for the writer, and use memory by the number of cores.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
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
