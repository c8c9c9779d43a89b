//! When to warn of the end of a consent: once for each step of `consent.warn`, and once when it has expired.
//! Banks move the date by seconds at every refresh, keep it ten days ahead forever, or leave it out now and
//! then; none of that is a renewal. Pure: dates in, a decision out.

use jiff::{SignedDuration, Timestamp};

/// The step of a consent that has expired.
const EXPIRED: i64 = 0;

/// What was reported about the end of a consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The lowest reported step, in days; 0 means that it has expired.
    pub step: Option<i64>,
    /// The reported date.
    pub date: Option<Timestamp>,
}

/// A warning that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The step that was reached.
    pub step: i64,
    /// Whole days left; negative once it has passed.
    pub days_left: i64,
}

/// The whole days that are left until an end, for messages: "3 days".
pub fn span(days_left: i64) -> String {
    match days_left {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

impl Told {
    /// Returns the new state, and the warning that is due for a consent that ends at `end`. `known` is the
    /// date that it had before.
    pub fn next(
        self,
        end: Timestamp,
        known: Option<Timestamp>,
        now: Timestamp,
        steps: &[i64],
    ) -> (Self, Option<Warning>) {
        let left = end.duration_since(now);
        let days_left = left.as_secs().div_euclid(24 * 3600);
        let told = if self.is_renewed(end, known, days_left, steps) { Self::default() } else { self };
        let step = match days_left {
            ..0 => Some(EXPIRED),
            _ => steps.iter().copied().filter(|step| days_left < *step).min(),
        };
        match step {
            Some(step) if told.step.is_none_or(|before| step < before) => {
                (Self { step: Some(step), date: Some(end) }, Some(Warning { step, days_left }))
            }
            _ => (told, None),
        }
    }

    /// Whether the date has moved later by more than the reported step: at once, or gradually until it is
    /// further away than any step.
    fn is_renewed(self, end: Timestamp, known: Option<Timestamp>, days_left: i64, steps: &[i64]) -> bool {
        let Some(step) = self.step else { return false };
        let length = SignedDuration::from_hours(24 * step.max(1));
        let is_later = |than: Option<Timestamp>| than.is_some_and(|than| end.duration_since(than) > length);
        let is_far = steps.iter().all(|step| days_left >= *step);
        is_later(known) || (is_far && is_later(self.date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: [i64; 4] = [14, 7, 3, 1];

    fn hours(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    /// Steps reported in passes six hours apart; `end` gives the date as shown at each, in hours.
    fn told(passes: i64, end: impl Fn(i64) -> Option<i64>) -> Vec<i64> {
        let (mut told, mut known, mut steps) = (Told::default(), None, Vec::new());
        for pass in 0..passes {
            let Some(end) = end(pass * 6) else { continue };
            let (next, warning) = told.next(hours(end), known, hours(pass * 6), &STEPS);
            steps.extend(warning.map(|warning| warning.step));
            (told, known) = (next, Some(hours(end)));
        }
        steps
    }

    const DAY: i64 = 24;

    #[test]
    fn each_step_is_told_once_also_of_a_date_that_moves_a_little() {
        let all = [14, 7, 3, 1, 0];
        assert_eq!(told(400, |_| Some(30 * DAY)), all);
        // By an hour, back and forth, at every refresh.
        assert_eq!(told(400, |now| Some(30 * DAY + now / 6 % 2)), all);
        // Later by a little each time.
        assert_eq!(told(800, |now| Some(30 * DAY + now / 100)), all);
    }

    #[test]
    fn a_date_that_runs_ahead_is_told_once() {
        assert_eq!(told(1500, |now| Some(now + 10 * DAY)), [14]);
        assert_eq!(told(1500, |now| Some(now + 12)), [1]);
        assert_eq!(told(1500, |now| Some(now + 20 * DAY)), [0; 0]);
        assert_eq!(told(1500, |now| Some(now + 14 * DAY - 1)), [14]);
    }

    #[test]
    fn a_date_that_is_missing_now_and_then_changes_nothing() {
        for often in [2, 3, 7] {
            let shown = |now: i64| (now / 6 % often != 0).then_some(30 * DAY);
            assert_eq!(told(400, shown), [14, 7, 3, 1, 0]);
        }
    }

    #[test]
    fn a_renewal_begins_anew() {
        let renewed_at =
            |day: i64, to: i64| move |now: i64| Some(if now < day * DAY { 30 * DAY } else { to * DAY });
        assert_eq!(told(600, renewed_at(28, 120)), [14, 7, 3, 14, 7, 3, 1, 0]);
        assert_eq!(told(600, renewed_at(35, 125)), [14, 7, 3, 1, 0, 14, 7, 3, 1, 0]);
        // By more than the reported step, though it ends soon again.
        assert_eq!(told(600, renewed_at(29, 35)), [14, 7, 3, 7, 3, 1, 0]);
        // By less: it continues where it was.
        assert_eq!(told(600, renewed_at(24, 33)), [14, 7, 3, 1, 0]);
        assert_eq!(told(600, renewed_at(24, 37)), [14, 7, 3, 1, 0]);
        // Day by day, until it is far away.
        let slowly = |now: i64| {
            Some(if now < 25 * DAY { 30 * DAY } else { 30 * DAY + (now - 25 * DAY).min(60 * DAY) * 2 })
        };
        assert_eq!(told(900, slowly), [14, 7, 14, 7, 3, 1, 0]);
    }

    #[test]
    fn the_days_are_whole_ones_and_past_is_past() {
        for (hours_left, step, days_left) in
            [(-1, 0, -1), (0, 1, 0), (23, 1, 0), (24, 3, 1), (6 * 24, 7, 6), (-25, 0, -2)]
        {
            let (_, warning) = Told::default().next(hours(hours_left), None, hours(0), &STEPS);
            assert_eq!(warning, Some(Warning { step, days_left }), "{hours_left}");
        }
        assert_eq!(Told::default().next(hours(14 * 24), None, hours(0), &STEPS).1, None);
        let (told, warning) = Told::default().next(hours(-1), None, hours(0), &[]);
        assert_eq!(
            (told.step, warning.map(|w| w.step)),
            (Some(0), Some(0)),
            "that it has expired is told without steps too"
        );
    }

    proptest! {
        #[test]
        fn a_date_that_stays_within_a_step_is_never_told_twice(moves in proptest::collection::vec(0i64..24, 400)) {
            let steps = told(400, |now| Some(40 * DAY + moves[usize::try_from(now / 6).unwrap()]));
            let mut sorted = steps.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.dedup();
            prop_assert_eq!(steps, sorted);
        }
    }
}
