//! Everything specific to SQLite: its file, its statements, its schema, and the overlay of a rehearsal.

pub(crate) mod copy;
pub(crate) mod erase;
pub(crate) mod explain;
pub(crate) mod feed;
pub(crate) mod open;
pub(crate) mod regular;
pub(crate) mod rehearsal;
pub(crate) mod rows;
pub(crate) mod schema;
pub mod scratch;
pub mod sharing;
pub(crate) mod source;
pub(crate) mod statement;
pub mod wal;
