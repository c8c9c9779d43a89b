//! The sync itself: plan → claim → fetch → reconcile → commit → record. Pure parts (`reconcile`,
//! `accounts`, `policy`) decide; `connection` and `walk` sync one connection; `pass` runs
//! many of them. No SQL, no HTTP client, no configuration file here.

pub mod accounts;
mod anomalies;
mod attempt;
mod balance;
pub mod connection;
mod consents;
pub mod context;
mod fresh_link;
pub mod hold;
mod incomplete;
mod judgement;
#[cfg(test)]
mod made_up;
mod moved;
mod pairing;
pub mod pass;
pub mod policy;
pub mod reconcile;
pub mod refresh;
mod result;
pub mod rotation;
mod staleness;
mod walk;
mod words;
