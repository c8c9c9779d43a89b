//! The cause of an error, kept when the error is passed on, shared or reported twice. Adds no text of its
//! own: the error above it has the text for people.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The cause of an error. Errors are compared by their own text, so any two causes are equal.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Wraps an error as the cause of another.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// Returns the error itself; `None` if it is of another type.
    pub fn get<T: Error + 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Prints the text only: fields of an underlying error may hold what must not be logged.
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Within this impl `self.0.fmt(f)` would be the error's own Debug.
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Cause {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the write failed")]
    struct Outer {
        secret: u8,
        source: std::num::ParseIntError,
    }

    #[test]
    fn a_cause_says_what_its_error_says_and_shows_no_field_of_it() {
        let source = "x".parse::<u8>().unwrap_err();
        let cause = Cause::of(Outer { secret: 42, source: source.clone() });
        assert_eq!(
            (cause.to_string(), format!("{cause:?}")),
            ("the write failed".into(), "the write failed".into())
        );
        assert_eq!(cause.source().map(ToString::to_string), Some(source.to_string()));
        assert_eq!(cause.get::<Outer>().map(|error| error.secret), Some(42));
        assert!(cause.get::<fmt::Error>().is_none());
        assert!(cause == Cause::of(fmt::Error), "errors are compared by what they say");
    }
}
