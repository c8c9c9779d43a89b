//! The terms of open banking as types. No I/O, no clock, nothing from the other modules.

pub mod account;
pub mod advice;
pub mod amount;
pub mod anomaly;
pub mod balance;
pub mod cause;
pub mod connection;
pub mod consent;
pub mod event;
pub mod hook;
pub mod ids;
pub mod mirroring;
pub mod outcome;
pub mod owner;
pub mod population;
pub mod server;
pub mod texts;
pub mod total;
pub mod transaction;
pub mod unreadable;
pub mod view;
pub mod warning;
pub mod window;
