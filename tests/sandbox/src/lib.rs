//! A fake Tink API over real HTTP, for tests, benches and the demo.
//!
//! [`Sandbox::start`] serves a generated world on a free port until it is dropped. The world is a pure function of a seed and a
//! day: [`Sandbox::set_day`] lets time pass, [`Sandbox::truth`] tells what a client must then hold, [`Sandbox::plan`] changes
//! what happens to a user, [`Sandbox::script`] replaces a user's data, [`Sandbox::fault`] makes calls go wrong.
//!
//! ```text
//! server ─► call ─► faults ─► oauth │ listing │ credentials │ link ─► body
//!                                        │
//!                       users (plan, script) · world ─► row ─► detail ─► render │ truth
//! ```
//!
//! Nothing here may know about the client under test, and nothing may be served that Tink would not, unless a test asks for it.

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "days, counts and sizes of a made-up world are small; a wrong one would only make another world"
)]
#![expect(clippy::expect_used, reason = "each one states why it cannot fail")]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod account;
mod banking;
mod body;
mod calendar;
mod call;
mod callers;
mod config;
mod control;
mod credentials;
mod detail;
mod edit;
mod fault;
mod hash;
mod json;
mod link;
mod listing;
mod meter;
mod money;
mod newbank;
mod oauth;
mod plan;
mod render;
mod reply;
mod row;
mod sandbox;
mod scope;
pub mod script;
mod server;
mod shape;
mod state;
mod text;
mod token;
mod truth;
mod users;
mod world;

pub use call::Endpoint;
pub use callers::Overlap;
pub use config::{Config, Rates, RefreshMode};
pub use edit::Edit;
pub use fault::{Action, Fault, Times};
pub use meter::Logged;
pub use money::canonical;
pub use plan::{ConsentPlan, Decay, Expiry, RefreshOutcome, UserPlan};
pub use sandbox::Sandbox;
pub use scope::SCOPES;
pub use script::{Script, ScriptRow};
pub use shape::{EndForm, Order, PageShape, TokenStyle};
pub use truth::{Truth, TruthAccount, TruthRow};
pub use world::UserKey;

/// Locks, also after a panic elsewhere: each lock here guards data that is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
