//! tink-sync.
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod exit;
pub mod lifecycle;
pub mod observe;
pub mod store;
pub mod sync;
pub mod tink;
