//! The integration tests: the real binary and the real library against the sandbox over HTTP and real
//! SQLite files. One binary, a module per capability; no sleeping, no timing assertions.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly"
)]

mod absence;
mod accounts;
mod application;
mod architecture;
mod audit;
mod backoff;
mod balance;
mod broken;
mod clock;
mod commands;
mod connect;
mod connect_refused;
mod consents;
mod cost;
mod credentials_refresh;
mod days;
mod documents;
mod dry_run;
mod emptying;
mod engines;
mod export;
mod faults;
mod feed;
mod files;
mod foresight;
mod forget;
mod fresh_link;
mod gate;
mod generated;
mod harness;
mod hook_program;
mod hooks;
mod hostile;
mod import;
mod inside;
mod invariants;
mod isolation;
mod lab;
mod late_history;
mod limits;
mod mass;
mod matrix;
mod memory;
mod metrics;
mod migrate;
mod mistakes;
mod model;
mod moved;
mod no_alarm;
mod odd;
mod outage;
mod owners;
mod ownership;
mod permissions;
mod postgres;
mod prune;
mod quarantine;
mod ran;
mod readers;
mod reconsent;
mod refresh;
mod reissued;
mod removal;
mod renew;
mod renewals;
mod rows;
mod scripted;
mod secrets;
mod shared_numbers;
mod shipped;
mod side_by_side;
mod source;
mod stale;
mod store_faults;
mod store_refusals;
mod stored;
#[cfg(debug_assertions)]
mod storm;
mod surroundings;
mod tls;
mod unread;
mod upgrade;
mod values;
mod view;
mod visitor;
mod window;
