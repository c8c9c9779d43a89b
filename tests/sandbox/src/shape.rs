//! How pages are cut, ordered and ended: every shape is legal, and the trouble-making ones must be asked for.
//!
//! Pure arithmetic over row numbers; it must not know what the rows are.

use std::ops::Range;

use crate::hash::{Dice, mix};

/// How the end of a list is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndForm {
    /// `"nextPageToken":""`, as live.
    #[default]
    Empty,
    /// `"nextPageToken":null`.
    Null,
    /// No such field.
    Absent,
}

/// What page tokens look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenStyle {
    /// Hexadecimal.
    #[default]
    Plain,
    /// Holds `+`, `/` and `=`, which the client must escape.
    Reserved,
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Latest booked date first.
    #[default]
    Newest,
    /// Latest booked date last.
    Oldest,
    /// No order at all, but the same on each page.
    Shuffled,
}

/// How one user's pages are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent habits, of which a server may have any")]
pub struct PageShape {
    /// Form of the end.
    pub end: EndForm,
    /// Form of the tokens.
    pub token: TokenStyle,
    /// Order of rows.
    pub order: Order,
    /// Pages hold fewer rows than asked for although more follow.
    pub short: bool,
    /// This page (from 0) is empty but has a token.
    pub empty_page: Option<u32>,
    /// The last row comes with a token that leads to an empty last page.
    pub trailing_empty: bool,
    /// Each page begins with the last row of the one before.
    pub repeat_row: bool,
    /// Every page from the second on gives its own token as the next: a loop without end. Never drawn by seed.
    pub page_loop: bool,
}

impl PageShape {
    /// The shape that the seed gives a user; every part of it is harmless to a correct client.
    pub fn seeded(dice: &mut Dice) -> Self {
        Self {
            end: dice.pick(&[EndForm::Empty, EndForm::Null, EndForm::Absent]),
            token: dice.pick(&[TokenStyle::Plain, TokenStyle::Reserved]),
            order: dice.pick(&[Order::Newest, Order::Oldest, Order::Shuffled]),
            short: dice.hit(300),
            empty_page: dice.hit(300).then(|| dice.below(3)),
            trailing_empty: dice.hit(300),
            repeat_row: dice.hit(300),
            page_loop: false,
        }
    }
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Number of rows before it.
    pub offset: u32,
    /// Number of pages before it.
    pub page: u32,
}

/// Rows of one page and what follows.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The rows, as numbers in the ordered list.
    pub rows: Range<usize>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// Cuts the page at `at` out of `total` rows.
pub fn cut(total: usize, size: u32, at: Cursor, shape: &PageShape) -> Cut {
    let offset = (at.offset as usize).min(total);
    if shape.empty_page == Some(at.page) {
        return Cut { rows: offset..offset, next: Some(Cursor { page: at.page + 1, ..at }) };
    }
    let take =
        if shape.short { size - Dice::new(u64::from(at.page), 7).below(size / 2 + 1) } else { size }.max(1);
    let repeated = shape.repeat_row && offset > 0 && offset < total && take > 1;
    let start = offset - usize::from(repeated);
    let end = (start + take as usize).min(total);
    let following = Cursor { offset: end as u32, page: at.page + 1 };
    let next = if shape.page_loop && at.page > 0 {
        Some(at)
    } else {
        (end < total || (shape.trailing_empty && offset < total)).then_some(following)
    };
    Cut { rows: start..end, next }
}

/// The token that leads to `cursor`. `signature` binds it to the user, the call and its filters.
pub fn token(cursor: Cursor, style: TokenStyle, signature: u64) -> String {
    let Cursor { offset, page } = cursor;
    let check = mix(signature, u64::from(offset) << 32 | u64::from(page));
    match style {
        TokenStyle::Plain => format!("{offset:08x}{page:08x}{check:016x}"),
        TokenStyle::Reserved => format!("{offset:x}+{page:x}/{check:016x}=="),
    }
}

/// Reads a token; `None` unless [`token`] made exactly this one.
pub fn cursor(text: &str, style: TokenStyle, signature: u64) -> Option<Cursor> {
    let (offset, page) = match style {
        TokenStyle::Plain => (text.get(0..8)?, text.get(8..16)?),
        TokenStyle::Reserved => {
            let (offset, rest) = text.split_once('+')?;
            (offset, rest.split_once('/')?.0)
        }
    };
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    let cursor = Cursor { offset: number(offset)?, page: number(page)? };
    (token(cursor, style, signature) == text).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seeded_shape_shows_every_row() {
        for seed in 0..500 {
            let shape = PageShape::seeded(&mut Dice::new(seed, 0));
            for (total, size) in
                [(0, 10), (1, 1), (5, 1), (7, 2), (99, 100), (100, 100), (101, 100), (250, 100)]
            {
                let (mut seen, mut at, mut pages) = (vec![false; total], Some(Cursor::default()), 0);
                while let Some(cursor) = at {
                    let page = cut(total, size, cursor, &shape);
                    assert!(page.rows.len() <= size as usize);
                    page.rows.for_each(|row| seen[row] = true);
                    at = page.next;
                    pages += 1;
                    assert!(pages < 1000, "{shape:?} never ends");
                }
                assert!(seen.iter().all(|&row| row), "{shape:?} hides rows");
            }
        }
    }

    #[test]
    fn a_loop_gives_the_same_token_for_ever() {
        let shape = PageShape { page_loop: true, ..PageShape::default() };
        let second = cut(50, 10, Cursor::default(), &shape).next.unwrap();
        assert_eq!(cut(50, 10, second, &shape).next, Some(second));
    }

    #[test]
    fn tokens_are_sealed() {
        let at = Cursor { offset: 200, page: 2 };
        for style in [TokenStyle::Plain, TokenStyle::Reserved] {
            let text = token(at, style, 5);
            assert_eq!(cursor(&text, style, 5), Some(at));
            assert_eq!(cursor(&text, style, 6), None);
            assert_eq!(cursor(&text.replacen('c', "d", 1), style, 5).is_some(), !text.contains('c'));
        }
        assert!(["+", "/", "="].iter().all(|c| token(at, TokenStyle::Reserved, 5).contains(c)));
        assert_eq!(cursor("", TokenStyle::Plain, 5), None);
        assert_eq!(cursor("ééééééééééééé", TokenStyle::Plain, 5), None);
    }
}
