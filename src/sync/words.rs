//! The words of bank texts: when two texts mean the same, and which words mean nothing. Pure; knows no rows.

use std::collections::{HashMap, HashSet};

/// A word in more texts than this, and in more than one text in [`COMMON_SHARE`], means nothing.
const COMMON_FLOOR: usize = 2;
const COMMON_SHARE: usize = 5;
/// Shorter words mean nothing.
const SHORTEST: usize = 3;

/// A text without what varies between two answers of a bank: case, blanks and line ends.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// The words that many rows of an account have in common.
#[derive(Debug, Default)]
pub(super) struct CommonWords(HashSet<String>);

impl CommonWords {
    /// Determines them from the texts of an account's rows.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        // The same shop every week is not boilerplate: a text counts once.
        let distinct: HashSet<String> = texts.map(letters).collect();
        for text in &distinct {
            for word in words(text) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let limit = COMMON_FLOOR.max(distinct.len() / COMMON_SHARE);
        Self(counts.into_iter().filter(|(_, count)| *count > limit).map(|(word, _)| word).collect())
    }
}

/// A text as its letters and its words.
#[derive(Debug)]
pub(super) struct Text {
    letters: String,
    words: HashSet<String>,
}

impl Text {
    /// Reads a text, in any script.
    pub(super) fn of(text: &str) -> Self {
        Self { letters: letters(text).replace(' ', ""), words: words(&letters(text)) }
    }

    /// Whether both have the same letters and digits.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.letters == other.letters
    }

    /// Whether both mean the same: the same letters, or meaningful words of which one side has all that the
    /// other has. Numbers (of a card, a terminal, a day) are ignored where there are words.
    pub(super) fn agrees(&self, other: &Self, common: &CommonWords) -> bool {
        if self.is_same(other) {
            return true;
        }
        let distinctive = |text: &Self| -> HashSet<String> {
            let told: HashSet<String> = text.words.difference(&common.0).cloned().collect();
            let named: HashSet<String> =
                told.iter().filter(|word| !word.chars().any(char::is_numeric)).cloned().collect();
            if named.is_empty() { told } else { named }
        };
        let (mine, others) = (distinctive(self), distinctive(other));
        !mine.is_empty() && !others.is_empty() && (mine.is_subset(&others) || others.is_subset(&mine))
    }
}

/// The letters and digits of a text in lower case, in any script, with one blank between words.
fn letters(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn words(letters: &str) -> HashSet<String> {
    letters.split(' ').filter(|word| word.chars().count() >= SHORTEST).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(a: &str, b: &str, texts: &[&str]) -> bool {
        Text::of(a).agrees(&Text::of(b), &CommonWords::of(texts.iter().copied()))
    }

    #[test]
    fn texts_of_every_script_are_compared() {
        for (old, new, expected) in [
            ("Żabka", "ŻABKA  ", true),
            ("Кафе", "КАФЕ", true),
            ("Кафе", "Хлеб", false),
            ("", "", true),
            ("", "COFFEE", false),
            ("to be", "to go", false),
            ("COFFEE BAR", "1234*coffee*bar*PRG", true),
            ("COFFEE BAR 4711", "COFFEE BAR 4712", true),
            ("4711 01.02.", "4711 02.02.", true),
            ("4711", "4712", false),
        ] {
            assert_eq!(agree(old, new, &[]), expected, "{old:?} and {new:?}");
        }
    }

    #[test]
    fn what_every_text_says_tells_nothing() {
        let texts = ["CARD PAYMENT TO TRAM", "CARD PAYMENT TO BAKERY", "CARD PAYMENT TO CINEMA", "RENT"];
        let (hotel, shop) = ("CARD PAYMENT TO GRAND HOTEL", "CARD PAYMENT TO CITY BOOKSTORE");
        assert!(!agree(hotel, shop, &texts));
        assert!(!agree(hotel, shop, &[]), "nor do words that only some texts share");
        assert!(agree(hotel, "GRAND HOTEL BERLIN", &texts));
        assert!(!agree("CARD PAYMENT", "CARD PAYMENT TO GRAND HOTEL", &texts), "one side tells nothing");
    }

    #[test]
    fn the_same_shop_every_week_is_no_boilerplate() {
        let texts = ["GRAND HOTEL"; 20];
        assert!(agree("GRAND HOTEL", "POS GRAND HOTEL", &texts));
    }

    #[test]
    fn folding_forgets_case_blanks_and_line_ends() {
        assert_eq!(folded(" Grand\r\n  HOTEL\t"), "grand hotel");
        assert_eq!(folded("GRAND HOTEL"), "grand hotel");
        assert_ne!(folded("GRANDHOTEL"), "grand hotel");
    }
}
