//! Tests of the sandbox over its HTTP face, as a client sees it.
//!
//! They use a client of their own, because the real one must not be what the sandbox is measured by. None sleeps or measures time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod binary;
mod client;
mod faults;
mod oauth;
mod paging;
mod scripts;
mod truth;
