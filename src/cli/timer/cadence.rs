//! How often passes start: the intervals a timer can keep, their form for systemd, and whether they agree
//! with the configuration. Pure.

use std::time::Duration;

use humantime::format_duration;

use crate::config::Settings;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Intervals in minutes that divide a day evenly on the clock.
const MINUTES: [u64; 13] = [5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440];
/// The largest delay of a start after its slot.
const LONGEST_SPREAD: Duration = Duration::from_secs(HOUR);
/// The most attempts at a connection in one pass.
const ROUNDS: u64 = 2;

pub(in crate::cli) const SHIPPED: Cadence = Cadence(360);

/// The interval between two passes in minutes; one of [`MINUTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Cadence(u64);

impl Cadence {
    /// The cadence with this interval.
    ///
    /// # Errors
    /// The message if a timer cannot keep it, with those it can.
    pub(super) fn of(every: Duration) -> Result<Self, String> {
        let found = MINUTES.into_iter().find(|minutes| Duration::from_secs(minutes * 60) == every);
        found.map(Self).ok_or_else(|| {
            let known: Vec<String> = MINUTES.map(|minutes| Self(minutes).to_string()).into();
            format!(
                "a timer cannot keep {} on every day; choose one of {}",
                format_duration(every),
                known.join(", ")
            )
        })
    }

    /// The cadence nearest to this interval.
    pub(in crate::cli) fn nearest(every: Duration) -> Self {
        let far = |minutes: &u64| Duration::from_secs(minutes * 60).abs_diff(every);
        MINUTES.into_iter().min_by_key(far).map_or(SHIPPED, Self)
    }

    /// The cadence of this calendar expression; `None` if [`Self::calendar`] does not write it.
    pub(in crate::cli) fn of_calendar(expression: &str) -> Option<Self> {
        MINUTES.into_iter().map(Self).find(|cadence| cadence.calendar() == expression)
    }

    /// The calendar expression for systemd, in UTC so that all days are equal, and in the form that systemd shows.
    pub(super) fn calendar(self) -> String {
        match self.0 {
            1440 => "*-*-* 00:00:00 UTC".to_owned(),
            minutes if minutes % 60 == 0 => format!("*-*-* 00/{}:00:00 UTC", minutes / 60),
            minutes => format!("*-*-* *:00/{minutes}:00 UTC"),
        }
    }

    /// The largest delay after a slot, so that installations do not start at once.
    pub(super) fn spread(self) -> Duration {
        (self.distance() / 6).min(LONGEST_SPREAD)
    }

    pub(in crate::cli) fn distance(self) -> Duration {
        Duration::from_secs(self.0 * 60)
    }

    fn passes_per_day(self) -> u64 {
        DAY / (self.0 * 60)
    }

    /// Whether the passes of a day fit into the part of the quota that they may use.
    ///
    /// # Errors
    /// The message if they do not, with the shortest cadence that fits.
    pub(super) fn fits(self, settings: &Settings) -> Result<(), String> {
        let left = for_passes(settings);
        if self.passes_per_day() <= left {
            return Ok(());
        }
        let shortest = MINUTES.into_iter().map(Self).find(|cadence| cadence.passes_per_day() <= left);
        let shortest = shortest.map_or_else(
            || "none does: raise quota.syncs_per_day".to_owned(),
            |cadence| format!("the shortest that does is {cadence}"),
        );
        Err(format!(
            "every {self} makes {} syncs per user and day, and quota.syncs_per_day less quota.reserved_for_manual leaves {left} to passes; {shortest}",
            self.passes_per_day()
        ))
    }

    /// Settings that conflict with this cadence, each with a remedy.
    pub(in crate::cli) fn conflicts(self, settings: &Settings) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let (worst, left) = (self.passes_per_day() * ROUNDS, for_passes(settings));
        if worst > left {
            found.push((
                format!("a pass every {self} can make {worst} syncs per user and day when a bank fails, and the quota leaves {left} to passes"),
                "take a longer cadence (tink-sync timer --every), or raise quota.syncs_per_day".to_owned(),
            ));
        }
        let rest = settings.sync.min_interval;
        if rest >= self.distance() {
            found.push((
                format!("sync.min_interval ({}) is not below the cadence ({self}): passes skip connections that are due", format_duration(rest)),
                format!("set sync.min_interval below {self}"),
            ));
        }
        let deadline = settings.sync.deadline;
        if deadline > self.distance() {
            found.push((
                format!("sync.deadline ({}) is longer than the cadence ({self}): a long pass swallows the next one", format_duration(deadline)),
                format!("set sync.deadline to {self} or less"),
            ));
        }
        found
    }
}

impl std::fmt::Display for Cadence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            minutes if minutes % 60 == 0 => write!(f, "{}h", minutes / 60),
            minutes => write!(f, "{minutes}m"),
        }
    }
}

/// Syncs per user and day that the quota leaves to passes.
fn for_passes(settings: &Settings) -> u64 {
    settings.quota.syncs_per_day.saturating_sub(settings.quota.reserved_for_manual).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::Fixture;

    #[test]
    fn slots_on_the_clock_are_written_and_read_back() {
        for (minutes, calendar, spread) in [
            (5, "*-*-* *:00/5:00 UTC", 50),
            (30, "*-*-* *:00/30:00 UTC", 300),
            (60, "*-*-* 00/1:00:00 UTC", 600),
            (240, "*-*-* 00/4:00:00 UTC", 2400),
            (360, "*-*-* 00/6:00:00 UTC", 3600),
            (1440, "*-*-* 00:00:00 UTC", 3600),
        ] {
            let cadence = Cadence::of(Duration::from_secs(minutes * 60)).unwrap();
            assert_eq!(cadence.calendar(), calendar);
            assert_eq!(cadence.spread(), Duration::from_secs(spread));
            assert_eq!(Cadence::of_calendar(calendar), Some(cadence));
        }
        assert_eq!(Cadence::of_calendar("Mon *-*-* 03:00:00"), None);
        for odd in [0, 1, 59, 61, 7 * 3600, 48 * 3600] {
            let text = Cadence::of(Duration::from_secs(odd)).unwrap_err();
            assert!(
                text.ends_with("one of 5m, 10m, 15m, 20m, 30m, 1h, 2h, 3h, 4h, 6h, 8h, 12h, 24h"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_nearest_cadence_is_found() {
        for (minutes, nearest) in [(0, 5), (361, 360), (23 * 60, 1440), (9 * 1440, 1440), (500, 480)] {
            assert_eq!(Cadence::nearest(Duration::from_secs(minutes * 60)), Cadence(nearest));
        }
    }

    #[test]
    fn the_shipped_timer_has_the_shipped_cadence() {
        let unit = include_str!("../../../systemd/tink-sync.timer");
        assert!(unit.contains(&format!("\nOnCalendar={}\n", SHIPPED.calendar())));
        assert!(unit.contains("\nRandomizedDelaySec=1h\n") && SHIPPED.spread() == LONGEST_SPREAD);
    }

    #[test]
    fn a_cadence_must_fit_the_quota() {
        let mut settings = Fixture::new().env().settings;
        assert_eq!(SHIPPED.fits(&settings), Ok(()));
        assert_eq!(SHIPPED.conflicts(&settings), []);
        // 100 a day, of which 20 are reserved for people.
        let text = Cadence(15).fits(&settings).unwrap_err();
        assert!(text.contains("makes 96 syncs") && text.ends_with("the shortest that does is 20m"), "{text}");
        assert_eq!(Cadence(20).fits(&settings), Ok(()));
        settings.quota.syncs_per_day = 20;
        assert!(SHIPPED.fits(&settings).unwrap_err().contains("none does"));
    }

    #[test]
    fn what_does_not_go_with_the_cadence_is_told() {
        let mut settings = Fixture::new().env().settings;
        let told = |cadence: Cadence, settings: &Settings| {
            let found = cadence.conflicts(settings).into_iter().map(|(text, _)| text);
            found.collect::<Vec<_>>().join("; ")
        };
        let text = told(Cadence(30), &settings);
        assert!(text.contains("96 syncs") && text.contains("sync.min_interval (5h)"), "{text}");
        assert!(text.contains("sync.deadline (5h)"), "{text}");
        settings.sync.min_interval = Duration::from_hours(3);
        settings.sync.deadline = Duration::from_hours(4);
        assert_eq!(told(Cadence(240), &settings), "");
        settings.sync.min_interval = Duration::from_hours(4);
        assert!(told(Cadence(240), &settings).contains("min_interval"));
    }
}
