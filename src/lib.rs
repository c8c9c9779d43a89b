//! tink-sync keeps bank data fresh for every connected user of an application that uses Tink.
//!
//! One execution of `tink-sync run` is one pass; a systemd timer starts the next. Nothing runs between.
//!
//! # The flow of data, one way
//!
//! ```text
//! tink-sync.toml ─► config::Settings ─► store.plan (who is due, why the others are not)
//!                                          │ store.claim, in batches; sync::pass bounds what runs at once
//!                                          ▼
//!            sync::connection: consents ─► accounts ─► sync::walk: pages of transactions   (tink)
//!                                          │
//!                                          ▼
//!            sync::reconcile(stored, fetched) ─► ChangeSet ─► store.commit(lease, changes, checkpoint)
//!                                          │
//!   exit ◄─ observe::report, journal ◄─ domain::event ◄─ store.record(outcome), lease released
//! ```
//!
//! A rehearsal (`--dry-run`) takes the same path; its store puts temporary tables, and a view, over the
//! file's.
//!
//! # Which module may use which
//!
//! `cli` wires everything · `sync` uses `domain`, `tink`, `store`, `clock` and `vault` · `tink` uses `domain`
//! and `clock` · `store` uses `domain`, `vault`, `failpoint`, `identity` and `file_limit` · `observe` uses
//! `domain`, `exit`, `atomic_file` and `failpoint` · `config` uses `domain`, `identity` and the place of a
//! store (`store::Place`) · `domain` uses no other module.
//! `link` uses `domain`: the Link session of a browser, there and back; only it serves HTTP, with `hyper`.
//! `clap` is used only in `cli` (and the report's form), `reqwest` only in `tink`, SQL only in `store`; what
//! only SQLite can do only in `store::engine`, of which `store::file` hands on what commands may know.
//! `failure` is why a command could not do its work, and knows the errors of the others; `exit` makes codes
//! of it, and of the end of a pass; `lifecycle` handles signals, and uses `exit`.
//! `identity` decides which user the process is, `vault` encrypts tokens, `clock` gives the time, `failpoint`
//! is called at every durable step, `file_limit` reports when a file may not grow: they use no other module.
//! `atomic_file` replaces every file that is replaced, and uses `failpoint` and `identity`.
//! `tests/it/architecture.rs` reads the sources and fails on anything else. Terms, decisions and the rules
//! for rows are in `src/DESIGN.md`, what this program relies on in Tink's API in `src/tink/API.md`; comments
//! cite their sections.
//!
//! # Invariants
//!
//! Each has a test with its number in the name (`invariant_01_…` and so on).
//!
//! 1. A watermark and the rows it covers commit in one transaction.
//! 2. Only a complete, error-free walk over all pages of a window moves a watermark, and only of an account with a
//!    healthy consent, looked at twice, does it remove booked rows that have no successor.
//! 3. Every commit presents the lease's fencing token; a lost lease means rollback.
//! 4. No network call while a write transaction is open.
//! 5. `reconcile` is pure and idempotent: applying its result twice changes nothing the second time.
//! 6. One connection's failure, panic or timeout never changes another's outcome; only a broken store
//!    stops the run.
//! 7. Time comes from [`clock::Clock`], randomness from a generator that is passed in.
//! 8. No secret implements `Display` or `Serialize`; `Debug` redacts; response bodies, IBANs and names
//!    are never logged.
//! 9. A rotated refresh token is durable before the access token that came with it is used, and one whose
//!    presentation was cut short is found by the next run and never presented again.
//! 10. A dry run opens the store read-only and never rotates anything.
//! 11. Money never passes through a binary float; two scales of one value are equal.
//! 12. The plan of a dry run equals the result of the run that follows on the same data.
//! 13. The sums kept for the balance reconciliation are those of the live rows, exact, after every commit.
//! 14. No row of one Tink user is ever visible under another `user_id`, whatever the application's view does
//!     over time.
//! 15. The work of a pass depends on what is due and what changed, not on how old or how large the store is.

// What is `pub` here is for `main.rs`, the tests and the fuzz targets; nothing else uses this crate.
#![warn(unreachable_pub)]

/// How the program works inside, and why.
#[cfg(doc)]
#[doc = include_str!("DESIGN.md")]
pub mod design {}

mod atomic_file;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod exit;
pub mod failpoint;
mod failure;
mod file_limit;
mod identity;
mod lifecycle;
mod link;
mod observe;
pub mod store;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod tink;
mod vault;

/// Reads anything as what a browser brings back from Tink Link.
#[cfg(fuzzing)]
pub fn challenge_redirect(query: &str) {
    link::hostile::challenge(query);
}
