//! The reader of redirects, for tests that throw anything at it. Not part of what the library offers.

use jiff::Timestamp;

use super::reception::Reception;
use super::redirect::{LinkOutcome, Redirect, explain};
use super::state::States;

/// Receives the query of a redirect that nobody here has sent anybody for.
///
/// # Panics
/// If it is believed, or the page for it is not made of text alone.
pub(crate) fn challenge(query: &str) {
    // A key that nobody has seen a state of.
    let mut reception = Reception::new(States::new([0x5c; 32]), false);
    let received = reception.receive(query, Timestamp::UNIX_EPOCH);
    assert!(received.answer.is_err(), "it was believed");
    if let LinkOutcome::Refused(refusal) = Redirect::parse(query).answer {
        let page = super::page::Notice::refused(&refusal, &explain(&refusal, true)).html();
        assert_eq!(page.matches("<h1>").count(), 1, "something got into the page");
        assert!(!page.contains("<script"), "a script got into the page");
    }
}
