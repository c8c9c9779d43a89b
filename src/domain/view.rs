//! The rows of a source view, packed. A view has as many rows as the application has users, and all are held
//! at once, since the owner of a connection's data depends on every row; so each costs little more than its
//! text. Decides nothing about the rows.

use std::sync::Arc;

use jiff::Timestamp;

use super::connection::{Nulls, SourceRow, TinkUser};

/// The source view as it was read.
#[derive(Clone, Debug, Default)]
pub struct Viewed {
    /// In the order of the view.
    pub rows: ViewRows,
    /// The location and name of the view.
    pub source: String,
    /// It is the view over our own tables, whose contents an operator typed.
    pub stand_alone: bool,
    /// When it was read.
    pub at: Timestamp,
    /// When its reading began, by the clock that all hosts share; `None` if this store has no other host.
    pub since: Option<Timestamp>,
}

/// Rows of the source view, in its order, each returned as a [`SourceRow`] of its own. Clones share their
/// contents.
#[derive(Clone, Debug, Default)]
pub struct ViewRows(Arc<PackedRows>);

#[derive(Clone, Debug, Default)]
struct PackedRows {
    /// The texts of all plain rows, concatenated.
    texts: String,
    rows: Vec<Packed>,
}

#[derive(Clone, Debug)]
enum Packed {
    Plain(Plain),
    /// A rare row: with a problem, tokens, names in another order, or very long texts.
    Whole(Box<SourceRow>),
}

/// A row without its texts: where they begin, and the length of each in bytes.
#[derive(Clone, Copy, Debug)]
struct Plain {
    begin: usize,
    connection_id: u16,
    user_id: u16,
    external: Option<u16>,
    tink: Option<u16>,
    market: Option<u16>,
    flags: u8,
    priority: i64,
    entitled_until: Option<Timestamp>,
}

const ENABLED: u8 = 1;
const ENTITLED: u8 = 2;
const ENABLED_NULL: u8 = 4;
const ENTITLED_NULL: u8 = 8;
const UNENCRYPTED: u8 = 16;
const UNTIL_UNREADABLE: u8 = 32;

impl ViewRows {
    /// The number of rows.
    pub fn number(&self) -> usize {
        self.0.rows.len()
    }

    /// The row at a place, counted from 0.
    pub fn get(&self, place: usize) -> Option<SourceRow> {
        Some(match self.0.rows.get(place)? {
            Packed::Plain(plain) => plain.unpacked(&self.0.texts),
            Packed::Whole(row) => SourceRow::clone(row),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = SourceRow> {
        (0..self.number()).filter_map(|place| self.get(place))
    }

    pub fn push(&mut self, row: SourceRow) {
        let all = Arc::make_mut(&mut self.0);
        let begin = all.texts.len();
        let packed = if let Some(plain) = Plain::of(&row, begin) {
            let (external, tink) = names(&row).unwrap_or_default();
            let texts = [Some(row.connection_id.as_str()), Some(row.user_id.as_str()), external, tink];
            all.texts.extend(texts.into_iter().chain([row.market.as_deref()]).flatten());
            Packed::Plain(plain)
        } else {
            Packed::Whole(Box::new(row))
        };
        all.rows.push(packed);
    }
}

impl Extend<SourceRow> for ViewRows {
    fn extend<I: IntoIterator<Item = SourceRow>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

impl FromIterator<SourceRow> for ViewRows {
    fn from_iter<I: IntoIterator<Item = SourceRow>>(rows: I) -> Self {
        let mut all = Self::default();
        all.extend(rows);
        all
    }
}

/// The names at Tink, this app's own first; `None` if they are in another order.
fn names(row: &SourceRow) -> Option<(Option<&str>, Option<&str>)> {
    match (row.tink_user.as_ref(), row.also.as_deref()) {
        (None, None) => Some((None, None)),
        (Some(TinkUser::External(external)), None) => Some((Some(external), None)),
        (Some(TinkUser::Tink(tink)), None) => Some((None, Some(tink))),
        (Some(TinkUser::External(external)), Some(TinkUser::Tink(tink))) => {
            Some((Some(external), Some(tink)))
        }
        _ => None,
    }
}

impl Plain {
    /// Returns `None` for a row that must be kept whole.
    fn of(row: &SourceRow, begin: usize) -> Option<Self> {
        let length = |text: &str| u16::try_from(text.len()).ok();
        let maybe = |text: Option<&str>| text.map_or(Some(None), |text| length(text).map(Some));
        let (external, tink) = names(row).filter(|_| row.problem.is_none() && row.seed.is_none())?;
        let flags = [
            (row.enabled, ENABLED),
            (row.entitled, ENTITLED),
            (row.nulls.enabled, ENABLED_NULL),
            (row.nulls.entitled, ENTITLED_NULL),
            (row.unencrypted, UNENCRYPTED),
            (row.until_unreadable, UNTIL_UNREADABLE),
        ];
        Some(Self {
            begin,
            connection_id: length(row.connection_id.as_str())?,
            user_id: length(row.user_id.as_str())?,
            external: maybe(external)?,
            tink: maybe(tink)?,
            market: maybe(row.market.as_deref())?,
            flags: flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag)).sum(),
            priority: row.priority,
            entitled_until: row.entitled_until,
        })
    }

    fn unpacked(&self, texts: &str) -> SourceRow {
        let mut rest = texts.get(self.begin..).unwrap_or_default();
        let mut text = |length: u16| {
            let (text, behind) = rest.split_at_checked(length.into()).unwrap_or_default();
            rest = behind;
            text
        };
        let (connection_id, user_id) = (text(self.connection_id).into(), text(self.user_id).into());
        let external = self.external.map(|length| TinkUser::External(text(length).to_owned()));
        let tink = self.tink.map(|length| TinkUser::Tink(text(length).to_owned()));
        let market = self.market.map(|length| text(length).to_owned());
        let mut names = external.into_iter().chain(tink);
        SourceRow {
            connection_id,
            user_id,
            tink_user: names.next(),
            also: names.next().map(Box::new),
            enabled: self.flags & ENABLED != 0,
            entitled: self.flags & ENTITLED != 0,
            nulls: Nulls {
                enabled: self.flags & ENABLED_NULL != 0,
                entitled: self.flags & ENTITLED_NULL != 0,
            },
            entitled_until: self.entitled_until,
            until_unreadable: self.flags & UNTIL_UNREADABLE != 0,
            market,
            priority: self.priority,
            problem: None,
            seed: None,
            unencrypted: self.flags & UNENCRYPTED != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::connection::Seed;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![4 => "[a-zé€]{0,9}", 1 => Just("x".repeat(70_000))]
    }

    fn name() -> impl Strategy<Value = TinkUser> {
        prop_oneof![text().prop_map(TinkUser::External), text().prop_map(TinkUser::Tink)]
    }

    fn row() -> impl Strategy<Value = SourceRow> {
        let maybe = |text| proptest::option::of(text);
        let texts = (text(), text(), maybe(name().boxed()), maybe(name().boxed()));
        let rare =
            (proptest::option::of(text()), proptest::option::weighted(0.1, text()), any::<[bool; 7]>());
        (texts, rare, any::<i64>(), proptest::option::of(0..4_000_000_000_i64)).prop_map(
            |((connection, user, tink_user, also), (market, problem, flags), priority, until)| {
                let [enabled, entitled, no_enabled, no_entitled, unencrypted, until_unreadable, seeded] =
                    flags;
                let seed =
                    Seed { version: "1".to_owned(), refresh: vec![1], access: None, access_until: None };
                SourceRow {
                    also: also.map(Box::new),
                    enabled,
                    entitled,
                    nulls: Nulls { enabled: no_enabled, entitled: no_entitled },
                    unencrypted,
                    until_unreadable,
                    market,
                    priority,
                    problem,
                    entitled_until: until.and_then(|until| Timestamp::from_millisecond(until * 977).ok()),
                    seed: seeded.then(|| Arc::new(seed)),
                    ..SourceRow::active(&connection, &user, tink_user)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn rows_come_out_as_they_went_in(rows in proptest::collection::vec(row(), 0..6)) {
            let packed: ViewRows = rows.iter().cloned().collect();
            prop_assert_eq!(packed.number(), rows.len());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn a_usual_row_is_packed() {
        let both = SourceRow {
            also: Some(Box::new(TinkUser::Tink("t".to_owned()))),
            market: Some("SE".to_owned()),
            ..SourceRow::active("c", "u", Some(TinkUser::External("e".to_owned())))
        };
        let named = |name| SourceRow::active("c", "u", name);
        let one_way = [TinkUser::External("e".to_owned()), TinkUser::Tink("t".to_owned())].map(Some);
        let rows: ViewRows = [both, named(None)].into_iter().chain(one_way.map(named)).collect();
        assert!(rows.0.rows.iter().all(|row| matches!(row, Packed::Plain(_))), "{rows:?}");
        assert_eq!(rows.0.texts, "cuetSEcucuecut");
    }
}
