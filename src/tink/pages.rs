//! Walks through all pages of a list, and detects endless ones (API.md 4.2). Must not stop early: neither a
//! short nor an empty page nor a date is the end.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::{Endpoint, Error, ErrorKind};

/// The largest page that Tink allows (API.md 1.4).
pub(super) const PAGE_SIZE: u32 = 100;
/// No list of one account is longer than this many pages.
const MAX_PAGES: u32 = 100_000;

/// The position of a walk. Tokens already seen are kept as hashes, so that a long walk stays small.
#[derive(Debug, Default)]
pub(super) struct PageCursor {
    token: Option<String>,
    seen: HashSet<u64>,
    pages: u32,
    ended: bool,
    restarted: bool,
}

impl PageCursor {
    pub(super) fn has_more(&self) -> bool {
        !self.ended
    }

    /// The token of the page to read; `None` for the first page.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Moves on to the page after the one just read.
    pub(super) fn advance(&mut self, next: Option<String>, endpoint: Endpoint) -> Result<(), Error> {
        let looped = |detail| Err(Error::new(ErrorKind::PageLoop, endpoint, detail));
        self.pages += 1;
        match &next {
            None => self.ended = true,
            Some(token) if !self.seen.insert(hash(token)) => return looped("a page token came twice"),
            Some(_) if self.pages >= MAX_PAGES => return looped("too many pages"),
            Some(_) => {}
        }
        self.token = next;
        Ok(())
    }

    /// Restarts the walk if `error` refuses a page token, at most once; returns whether it did.
    pub(super) fn restart(&mut self, error: &Error) -> bool {
        let is_list = matches!(error.endpoint, Endpoint::Accounts | Endpoint::Transactions);
        let is_refused = is_list && error.kind == ErrorKind::BadRequest;
        if !is_refused || self.token.is_none() || self.restarted {
            return false;
        }
        *self = Self { pages: self.pages, restarted: true, ..Self::default() };
        true
    }
}

fn hash(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn advance(walk: &mut PageCursor, next: Option<&str>) -> Result<(), ErrorKind> {
        walk.advance(next.map(str::to_owned), Endpoint::Accounts).map_err(|error| error.kind)
    }

    fn refused() -> Error {
        Error::new(ErrorKind::BadRequest, Endpoint::Accounts, "")
    }

    #[test]
    fn a_walk_ends_without_a_token() {
        let mut walk = PageCursor::default();
        assert!(walk.has_more() && walk.token().is_none());
        advance(&mut walk, Some("a")).unwrap();
        assert!(walk.has_more());
        assert_eq!(walk.token(), Some("a"));
        advance(&mut walk, None).unwrap();
        assert!(!walk.has_more());
    }

    #[test]
    fn a_token_that_comes_again_is_a_loop() {
        let mut walk = PageCursor::default();
        for token in ["a", "b"] {
            advance(&mut walk, Some(token)).unwrap();
        }
        assert_eq!(advance(&mut walk, Some("a")), Err(ErrorKind::PageLoop));
    }

    #[test]
    fn the_number_of_pages_is_limited_also_over_a_restart() {
        let mut walk = PageCursor::default();
        let go = |mut range: std::ops::Range<u32>, walk: &mut PageCursor| {
            range.try_for_each(|n| advance(walk, Some(&n.to_string())))
        };
        assert_eq!(go(0..MAX_PAGES / 2, &mut walk), Ok(()));
        assert!(walk.restart(&refused()));
        assert_eq!(go(0..MAX_PAGES / 2 - 1, &mut walk), Ok(()));
        assert_eq!(go(MAX_PAGES..MAX_PAGES + 1, &mut walk), Err(ErrorKind::PageLoop));
    }

    #[test]
    fn a_refused_token_restarts_once_and_a_refused_first_page_never() {
        let mut walk = PageCursor::default();
        assert!(!walk.restart(&refused()));
        advance(&mut walk, Some("a")).unwrap();
        assert!(!walk.restart(&Error::new(ErrorKind::Server, Endpoint::Accounts, "")));
        assert!(walk.restart(&refused()));
        assert_eq!(walk.token(), None);
        advance(&mut walk, Some("a")).unwrap();
        assert!(!walk.restart(&refused()));
    }

    proptest! {
        #[test]
        fn every_walk_over_distinct_tokens_reads_all_of_them(
            tokens in proptest::collection::hash_set("[a-z+/=]{1,8}", 0..50)
        ) {
            let mut walk = PageCursor::default();
            let mut read = Vec::new();
            for token in &tokens {
                advance(&mut walk, Some(token)).unwrap();
                read.push(walk.token().unwrap().to_owned());
            }
            advance(&mut walk, None).unwrap();
            prop_assert!(!walk.has_more());
            prop_assert_eq!(read, tokens.into_iter().collect::<Vec<_>>());
        }
    }
}
