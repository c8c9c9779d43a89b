//! Everything that people and machines see of a run: log and journal, report, progress, systemd's status
//! line. Takes events of the domain; changes nothing and decides nothing.

pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod outlet;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod spool;
pub(crate) mod terminal;
pub(crate) mod textfile;
