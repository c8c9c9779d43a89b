//! Our side of Tink Link (API.md 6): the address the browser is sent to, and the redirect it returns with.
//! Everything is pure except the [`listener`], which only transports. Must not know Tink's API, the store or
//! the clock: codes, keys and the time are given.
//!
//! ```text
//! url ─► browser ─► Tink Link and the bank ─► listener (or a pasted address) ─► reception ─► page
//!                                                                                  │
//!                                                              state · redirect ◄──┘
//! ```

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub(crate) mod listener;
pub(crate) mod page;
pub(crate) mod reception;
pub(crate) mod redirect;
pub(crate) mod state;
pub(crate) mod url;
