//! What identifies the views and triggers that a release publishes: a number, and a fingerprint of the
//! scripts. Both are in `ts_sequences`.

/// The name of the row with the fingerprint.
pub(crate) const FINGERPRINT: &str = "published";
/// The name of the row with the number; older releases store none.
pub(crate) const NUMBER: &str = "publication";

/// What a store has published, or a release publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// Raised by every release that changes the fingerprint; 0 if none is stored.
    pub number: i64,
    pub fingerprint: i64,
}

/// Whose views a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Views {
    Ours,
    /// Those of an older release, or none.
    Older,
    /// Those of a newer release, which this one leaves alone: two releases on one store would otherwise publish in
    /// turn, and renumber all rows.
    Newer,
}

impl Views {
    /// What was found, for a release that publishes `ours`.
    pub(crate) fn of(found: Option<Publication>, ours: Publication) -> Self {
        match found {
            Some(found) if found.fingerprint == ours.fingerprint => Self::Ours,
            Some(found) if found.number > ours.number => Self::Newer,
            _ => Self::Older,
        }
    }
}

/// A fingerprint of SQL scripts (FNV-1a), without their comments (`--`) and insignificant whitespace.
pub(crate) fn fingerprint(scripts: &[&str]) -> i64 {
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let scripts = scripts.iter().map(|script| significant(script));
    scripts.fold(0xcbf2_9ce4_8422_2325, |hash, text| text.bytes().fold(hash, byte)).cast_signed()
}

/// A script without comments; whitespace is kept in quotes, and between two words as one blank.
fn significant(script: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '\'' | '"');
    let mut text = String::with_capacity(script.len());
    let (mut quote, mut gap) = (None, false);
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        if quote.is_some() {
            text.push(letter);
            quote = quote.filter(|end| *end != letter);
        } else if letter == '-' && letters.peek() == Some(&'-') {
            letters.by_ref().find(|letter| *letter == '\n');
            gap = true;
        } else if letter.is_whitespace() {
            gap = true;
        } else {
            if gap && is_word(letter) && text.ends_with(is_word) {
                text.push(' ');
            }
            gap = false;
            text.push(letter);
            quote = Some(letter).filter(|letter| matches!(letter, '\'' | '"'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_whitespace_are_not_part_of_the_fingerprint_and_everything_else_is() {
        let of = |script: &str| fingerprint(&[script]);
        let plain = of("SELECT a, 'x -- y' FROM t WHERE \"a  b\" = 1;");
        for same in [
            "-- SQLite's way\nSELECT a,\n    'x -- y' -- why\nFROM t\tWHERE \"a  b\"=1 ;\n",
            "SELECT a,'x -- y' FROM t WHERE \"a  b\" = 1; -- end",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
        for other in [
            "SELECT a, 'x -- z' FROM t WHERE \"a  b\" = 1;",
            "SELECT a, 'x -- y' FROM t WHERE \"a b\" = 1;",
            "SELECTa, 'x -- y' FROM t WHERE \"a  b\" = 1;",
            "SELECT a, 'x -- y' FROM t;",
        ] {
            assert_ne!(of(other), plain, "{other}");
        }
        assert_eq!(of("'it''s -- here' x"), of("'it''s -- here'   x -- it's"));
    }

    #[test]
    fn a_release_leaves_its_own_views_and_those_of_a_newer_one_alone() {
        let ours = Publication { number: 2, fingerprint: 7 };
        for (number, fingerprint, whose) in [
            (2, 7, Views::Ours),
            (0, 7, Views::Ours),
            (3, 8, Views::Newer),
            (2, 8, Views::Older),
            (1, 8, Views::Older),
            (0, 8, Views::Older),
        ] {
            let found = Publication { number, fingerprint };
            assert_eq!(Views::of(Some(found), ours), whose, "{number} {fingerprint}");
        }
        assert_eq!(Views::of(None, ours), Views::Older);
    }
}
