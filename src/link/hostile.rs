//! Feeds arbitrary redirects to the parser, for property tests and fuzzing. Not part of the library's API.

use jiff::Timestamp;

use super::reception::Reception;
use super::redirect::{LinkOutcome, Redirect, explain};
use super::state::States;

/// Receives the query of a redirect that no link of ours led to.
///
/// # Panics
/// If the query is accepted, or its page contains markup from it.
pub(crate) fn challenge(query: &str) {
    // No state was ever issued with this key.
    let mut reception = Reception::new(States::new([0x5c; 32]), false);
    let received = reception.receive(query, Timestamp::UNIX_EPOCH);
    assert!(received.answer.is_err(), "it was believed");
    if let LinkOutcome::Refused(refusal) = Redirect::parse(query).answer {
        let page = super::page::Notice::refused(&refusal, &explain(&refusal, true)).html();
        assert_eq!(page.matches("<h1>").count(), 1, "something got into the page");
        assert!(!page.contains("<script"), "a script got into the page");
    }
}
