//! Room for the store on its file system. A full disk ends passes with 74; this warns long before.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::Finding;
use crate::exit::Exit;

const MIB: u64 = 1 << 20;
/// A pass may need this much for its log alone.
const TOO_LITTLE: u64 = 32 * MIB;
/// Anything on the machine may use this up quickly.
const LITTLE: u64 = 256 * MIB;

/// The finding about free space; `None` if the system does not report it.
pub(super) fn finding(directory: &Path, store: &Path) -> Option<Finding> {
    let system = statvfs(directory).ok()?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    let size = std::fs::metadata(store).map_or(0, |file| file.len());
    Some(judged(free, size, directory))
}

/// Rewriting the file after `connections forget` needs twice the size of the store: a copy beside it, and the
/// log through which the copy is written back.
fn judged(free: u64, size: u64, directory: &Path) -> Finding {
    let what = "disk";
    let text = format!("{} free at {}", amount(free), directory.display());
    let remedy = "make room there, or move the store (store.url)";
    if free < TOO_LITTLE {
        return Finding::fail(Exit::Database, what, format!("only {text}, too little for a pass"))
            .remedy(remedy);
    }
    let wanted = LITTLE.max(size.saturating_mul(2));
    if free < wanted {
        let text = format!(
            "only {text}; the store has {}, and connections forget needs twice as much again",
            amount(size)
        );
        return Finding::warn(what, text, remedy);
    }
    Finding::ok(what, text)
}

fn amount(bytes: u64) -> String {
    let mib = bytes / MIB;
    if mib < 10 * 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib / 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Grade;

    #[test]
    fn room_for_two_more_stores_is_enough() {
        let grade = |free: u64, size: u64| judged(free * MIB, size * MIB, Path::new("/x")).grade;
        assert_eq!(grade(31, 0), Grade::Fail(Exit::Database));
        assert_eq!([grade(32, 0), grade(255, 1), grade(1900, 1000)], [Grade::Warn; 3]);
        assert_eq!([grade(256, 1), grade(2000, 1000)], [Grade::Ok; 2]);
        assert_eq!(judged(20_000 * MIB, 0, Path::new("/x")).text, "19 GiB free at /x");
    }
}
