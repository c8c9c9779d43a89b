//! The sync itself: plan → claim → fetch → reconcile → commit → record. Pure parts (`reconcile`,
//! `accounts`, `policy`) decide; `connection` and `walk` tell the story of one connection; `pass` runs
//! many of them. No SQL, no HTTP client, no configuration file here.

pub mod accounts;
mod anomalies;
mod attempt;
mod balance;
pub mod connection;
mod consents;
mod fresh_link;
pub mod freshen;
mod incomplete;
mod judgement;
#[cfg(test)]
mod made_up;
mod moved;
mod pairing;
pub mod pass;
pub mod policy;
pub mod reconcile;
pub mod rotation;
mod staleness;
mod walk;
mod words;
