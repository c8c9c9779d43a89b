//! What people and machines get to see of a run: log and journal, report, progress, systemd's status
//! line. Takes events of the domain; changes nothing and decides nothing.

pub mod journal;
pub mod log;
pub mod notify;
pub mod outlet;
pub mod progress;
pub mod report;
pub mod spool;
pub mod terminal;
pub mod textfile;
