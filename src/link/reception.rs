//! Receives the redirect: parses it, checks its state, chooses the page. Pure; the time is given. Must not
//! act on a redirect whose state is not valid.

use jiff::Timestamp;

use super::page::Notice;
use super::redirect::{LinkOutcome, Redirect, explain};
use super::state::{StateError, States};

/// Receives the redirects of one session.
#[derive(Debug)]
pub(crate) struct Reception {
    states: States,
    repair: bool,
}

/// A redirect's result, and the page to show for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub notice: Notice,
    /// How the session ended, or why the redirect is not accepted.
    pub answer: Result<LinkOutcome, StateError>,
}

impl Reception {
    /// A reception that accepts these states; `repair` is a session for an existing consent.
    pub(crate) fn new(states: States, repair: bool) -> Self {
        Self { states, repair }
    }

    /// Receives the query of a redirect. The first one with a valid state uses that up; the link itself does not.
    pub(crate) fn receive(&mut self, query: &str, now: Timestamp) -> Received {
        let Redirect { state, is_link, answer } = Redirect::parse(query);
        let spent = if is_link { Err(StateError::NotSent) } else { self.states.spend(state.as_deref(), now) };
        if let Err(error) = spent {
            return Received { notice: Notice::bad_state(error), answer: Err(error) };
        }
        let notice = match &answer {
            LinkOutcome::Linked(_) => Notice::back(),
            LinkOutcome::Refused(refusal) => Notice::refused(refusal, &explain(refusal, self.repair)),
        };
        Received { notice, answer: Ok(answer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reception() -> (Reception, String, Timestamp) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let states = States::new([7; 32]);
        let state = states.issue([1; 16], Timestamp::from_second(1_800_000_900).unwrap());
        (Reception::new(states, false), state, now)
    }

    #[test]
    fn the_first_answer_with_the_state_counts() {
        let (mut reception, state, now) = reception();
        let wrong = reception.receive("state=wrong&credentials_id=c", now);
        assert_eq!((wrong.answer, wrong.notice.status), (Err(StateError::Wrong), 400));
        let linked = reception.receive(&format!("credentials_id=c&state={state}"), now);
        assert_eq!(
            (linked.answer, linked.notice),
            (Ok(LinkOutcome::Linked(Some("c".into()))), Notice::back())
        );
        let again = reception.receive(&format!("credentials_id=c&state={state}"), now);
        assert_eq!((again.answer, again.notice.status), (Err(StateError::Used), 409));
    }

    #[test]
    fn the_link_itself_is_no_answer_and_uses_nothing_up() {
        let (mut reception, state, now) = reception();
        for query in ["client_id=c&state=", "authorization_code=x&credentials_id=c&state="] {
            let link = reception.receive(&format!("{query}{state}"), now);
            assert_eq!((link.answer, link.notice.status), (Err(StateError::NotSent), 400));
        }
        assert!(reception.receive(&format!("credentials_id=c&state={state}"), now).answer.is_ok());
    }

    #[test]
    fn whatever_the_address_names_the_page_promises_nothing() {
        for named in ["", "&credentials_id=made-up"] {
            let (mut reception, state, now) = reception();
            assert_eq!(reception.receive(&format!("state={state}{named}"), now).notice, Notice::back());
        }
    }

    #[test]
    fn an_error_needs_the_state_too() {
        let (mut reception, state, now) = reception();
        assert!(reception.receive("error=USER_CANCELLED", now).answer.is_err());
        let refused = reception.receive(&format!("error=USER_CANCELLED&state={state}"), now);
        assert!(matches!(refused.answer, Ok(LinkOutcome::Refused(_))));
        assert_eq!(refused.notice.title, "Cancelled");
    }

    proptest! {
        #[test]
        fn nothing_is_believed_without_the_state(query in "(\\PC|[a-z_=&%0-9A-Z+]|state=|credentials_id=){0,60}") {
            let (mut reception, _, now) = reception();
            prop_assert!(reception.receive(&query, now).answer.is_err());
        }

        #[test]
        fn a_changed_query_is_believed_only_with_the_very_state(cut in 0usize..140, byte in 0u8..128) {
            let (mut reception, state, now) = reception();
            let mut bytes = format!("credentials_id=c1&state={state}&x=1").into_bytes();
            let place = cut % bytes.len();
            bytes[place] = byte;
            let query = String::from_utf8(bytes).unwrap();
            let intact = Redirect::parse(&query).state.as_deref() == Some(&state);
            prop_assert_eq!(reception.receive(&query, now).answer.is_ok(), intact);
        }
    }
}
