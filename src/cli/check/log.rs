//! The check of the log beside the store: every pass empties it at its end, unless a reader stays open.

use super::Finding;
use crate::cli::table;
use crate::store::file::wal::{self, LARGE, Log};
use crate::store::{Place, Reader};

const MIB: u64 = 1 << 20;

/// The log and its readers, beside a store that this process has not opened; `None` while there is no store file.
pub(super) fn look(place: &Place) -> Option<Log> {
    Some(wal::look(place.file().filter(|path| path.exists())?))
}

/// The size of the log and its readers.
pub(super) fn finding(log: &Log, reader: Option<&Reader>) -> Finding {
    let runs = reader.and_then(|reader| reader.runs(1).ok()).unwrap_or_default();
    judged(log, runs.iter().any(|run| run.at_work))
}

fn judged(log: &Log, is_at_work: bool) -> Finding {
    let what = "log";
    let size = if log.bytes < MIB {
        format!("{} KiB", log.bytes / 1024)
    } else {
        format!("{} MiB", log.bytes / MIB)
    };
    let readers: Vec<String> = log.readers.iter().map(|reader| table::clean(&reader.to_string())).collect();
    let readers = readers.join(" and ");
    // What a pass writes stays there until the pass ends.
    if log.bytes < MIB || (is_at_work && log.bytes < LARGE) {
        return Finding::ok(what, format!("{size} beside the store"));
    }
    if !readers.is_empty() {
        let text = format!("{size} beside the store, which cannot be emptied while {readers} reads it");
        let remedy = "let that program end its transaction, or end it; the next pass then empties the log";
        return Finding::warn(what, text, remedy);
    }
    if log.bytes < LARGE {
        return Finding::ok(what, format!("{size} beside the store; the next pass empties it"));
    }
    let text = format!("{size} beside the store; no reader is seen");
    Finding::warn(what, text, "the next pass empties it; if it does not: fuser on the file that ends in -shm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Grade;
    use crate::store::file::wal::LogReader;

    #[test]
    fn a_log_that_grows_is_told_with_whom_it_waits_for() {
        let reader =
            |pid| LogReader { pid: Some(pid), command: Some("py\u{1b}thon3".to_owned()), user: None };
        let log = |mib: u64, readers: &[u32]| Log {
            bytes: mib * MIB,
            readers: readers.iter().map(|pid| reader(*pid)).collect(),
        };
        let held = judged(&log(5, &[7, 8]), false);
        assert_eq!(held.grade, Grade::Warn);
        assert!(
            held.text.starts_with("5 MiB") && held.text.contains("process 7 (py thon3) and process 8"),
            "{}",
            held.text
        );
        assert_eq!(judged(&log(5, &[7]), true).grade, Grade::Ok);
        assert_eq!(judged(&log(65, &[7]), true).grade, Grade::Warn);
        assert_eq!([judged(&log(0, &[7]), false).grade, judged(&log(5, &[]), false).grade], [Grade::Ok; 2]);
        assert_eq!(judged(&log(64, &[]), false).grade, Grade::Warn);
    }
}
