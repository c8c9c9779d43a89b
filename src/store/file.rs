//! What commands may know of a store that is a file, or of an application's: the log beside it, who may read it,
//! and where SQLite keeps temporary files. Hands on; all of it stands in the engine.

pub use super::engine::sqlite::{scratch, sharing, wal};
