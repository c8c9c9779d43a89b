//! The number of connections to sync, and whether it has fallen sharply. A view that suddenly gives none is
//! more often broken than true. Pure: numbers in, an alarm out.

use jiff::{SignedDuration, Timestamp};

/// A fall of at most this many is normal.
const EVERYDAY: u64 = 5;
/// How long connections without a row keep their state while the fall is unconfirmed.
const KEPT: SignedDuration = SignedDuration::from_hours(72);
/// While a fall is unconfirmed, a connection that was enabled and entitled this recently counts as one that
/// should be synced.
pub const RECENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The number of connections in the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub enabled: u64,
    pub entitled: u64,
}

impl Numbers {
    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self { enabled: self.enabled.max(other.enabled), entitled: self.entitled.max(other.entitled) }
    }
}

/// What is remembered of the last passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The maximum of the last days; `None` for a store that has not seen a view.
    pub before: Option<Numbers>,
    /// Since when there are far fewer, unconfirmed.
    pub fallen_at: Option<Timestamp>,
}

/// Far fewer connections are enabled or entitled than before, and no person has confirmed that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fall {
    pub before: Numbers,
    pub now: Numbers,
    /// Connections that were enabled and entitled and no longer have a row.
    pub gone: u64,
    pub since: Timestamp,
}

impl Fall {
    /// Returns the fall, if any. `gone` counts those that were to be synced and lost their row; `silent`
    /// means that the row of one that was to be synced has NULL for `enabled` or `entitled`. That the only
    /// one ends by its own row is normal, too.
    pub fn of(remembered: Remembered, now: Numbers, gone: u64, silent: bool, at: Timestamp) -> Option<Self> {
        let before = remembered.before?;
        let much = |fall: u64, of: u64| fall > EVERYDAY && fall.saturating_mul(3) > of;
        let none = |before: u64, now: u64| now == 0 && (before > 1 || (before == 1 && (gone > 0 || silent)));
        let fell = |before: u64, now: u64| none(before, now) || much(before.saturating_sub(now), before);
        let fallen = fell(before.enabled, now.enabled)
            || fell(before.entitled, now.entitled)
            // New connections in their place do not make it less suspicious.
            || much(gone, before.entitled);
        // A time in the future comes from a clock that was wrong.
        let since = remembered.fallen_at.filter(|since| *since <= at).unwrap_or(at);
        fallen.then_some(Self { before, now, gone, since })
    }

    /// Whether connections whose row is missing or NULL still keep their state: not forever, since nothing
    /// confirms their entitlement any more.
    pub fn keeps(&self, at: Timestamp) -> bool {
        at.duration_since(self.since) < KEPT
    }

    /// A sentence for people.
    pub fn sentence(&self) -> String {
        let Self { before, now, gone, .. } = self;
        let gone = if *gone > 0 {
            format!(
                "; {gone} that were entitled have no row any more, and those with data are kept as they were for at most three days"
            )
        } else {
            String::new()
        };
        format!(
            "the source view gives far fewer connections than before: {} entitled (before: {}), {} enabled (before: {}){gone}",
            now.entitled, before.entitled, now.enabled, before.enabled
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn fallen(before: (u64, u64), now: (u64, u64), gone: u64) -> bool {
        let numbers = |(enabled, entitled)| Numbers { enabled, entitled };
        let remembered = Remembered { before: Some(numbers(before)), fallen_at: None };
        Fall::of(remembered, numbers(now), gone, false, at(0)).is_some()
    }

    #[test]
    fn more_than_a_third_and_more_than_five_or_all_is_a_fall() {
        for (before, now, is_one) in [
            ((18, 18), (12, 12), false),
            ((18, 18), (11, 12), true),
            ((18, 18), (12, 11), true),
            ((6, 6), (1, 1), false),
            ((7, 7), (1, 1), true),
            ((2, 2), (2, 0), true),
            ((1, 1), (1, 0), false),
            ((8, 8), (8, 0), true),
            ((8, 0), (8, 0), false),
            ((0, 0), (0, 0), false),
            ((10, 10), (12, 11), false),
        ] {
            assert_eq!(fallen(before, now, 0), is_one, "{before:?} {now:?}");
        }
        assert!(fallen((1, 1), (0, 0), 1), "the only one has no row any more");
        assert!(fallen((9, 9), (9, 9), 6), "six of nine left, six others came");
        assert!(!fallen((9, 9), (9, 9), 5) && !fallen((30, 30), (30, 30), 10));
    }

    #[test]
    fn a_store_that_has_seen_nothing_knows_of_no_fall() {
        assert_eq!(Fall::of(Remembered::default(), Numbers::default(), 0, false, at(0)), None);
    }

    #[test]
    fn it_keeps_those_who_are_gone_for_three_days() {
        let fall = |fallen_at| {
            let remembered = Remembered { before: Some(Numbers { enabled: 9, entitled: 9 }), fallen_at };
            Fall::of(remembered, Numbers::default(), 9, false, at(100)).unwrap()
        };
        assert!(fall(None).keeps(at(100)) && fall(Some(at(29))).keeps(at(100)));
        assert!(!fall(Some(at(28))).keeps(at(100)));
        assert_eq!(fall(Some(at(101))).since, at(100), "of a clock that was ahead");
    }

    #[test]
    fn who_was_entitled_in_the_last_seven_days_should_be_synced() {
        assert_eq!(RECENT, SignedDuration::from_secs(604_800));
    }

    #[test]
    fn the_only_one_that_is_over_by_its_own_row_is_no_fall_unless_the_row_is_silent() {
        let one = Numbers { enabled: 1, entitled: 1 };
        let remembered = Remembered { before: Some(one), fallen_at: None };
        let over = Numbers { enabled: 1, entitled: 0 };
        for (gone, silent, is_one) in [(0, false, false), (0, true, true), (1, false, true)] {
            assert_eq!(Fall::of(remembered, over, gone, silent, at(0)).is_some(), is_one, "{gone} {silent}");
        }
    }

    #[test]
    fn a_fall_says_both_numbers_and_who_is_kept() {
        let (before, now) = (Numbers { enabled: 9, entitled: 8 }, Numbers { enabled: 2, entitled: 1 });
        let fall = Fall { before, now, gone: 7, since: at(0) };
        let said = fall.sentence();
        assert!(
            said.contains("1 entitled (before: 8), 2 enabled (before: 9); 7 that were entitled"),
            "{said}"
        );
        assert!(!Fall { gone: 0, ..fall }.sentence().contains("no row"));
        let most = Numbers { enabled: 1, entitled: 5 }.max(Numbers { enabled: 3, entitled: 4 });
        assert_eq!(most, Numbers { enabled: 3, entitled: 5 });
    }
}
