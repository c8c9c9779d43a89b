//! When passes start, as far as known: from systemd's timer, else from the past passes. Reports what keeps
//! them from starting. Starts nothing, and reads only systemd and the store.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::table::{self, exact, minute, rfc3339, span};
use super::timer::cadence::SHIPPED;
use super::timer::state::{Timer, UNIT};
use super::{Environment, Failure, app};
use crate::store::Reader;

/// The number of past passes from which the interval is estimated.
const PASSES: u32 = 10;
/// After this many missed passes a problem is reported.
const MISSED: i32 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// The timer; `None` if it is not installed or systemd does not run.
    timer: Option<Timer>,
    /// Start times of the last passes, newest first.
    passes: Vec<Timestamp>,
    /// How to switch passes on again, if they are switched off as a whole.
    switched_off: Option<String>,
    /// Problems that make passes useless.
    obstacles: Vec<ScheduleProblem>,
}

/// A problem that keeps passes from starting, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ScheduleProblem {
    /// An identifier for machines.
    pub kind: &'static str,
    pub text: String,
    pub remedy: String,
}

impl Schedule {
    /// Combines the store's passes with systemd's state of the timer.
    ///
    /// # Errors
    /// [`Failure`] if the store cannot be read.
    pub(super) fn with(env: &Environment, reader: &Reader, timer: Option<Timer>) -> Result<Self, Failure> {
        let timer = timer.filter(|timer| timer.installed);
        let passes = reader.passes(PASSES)?;
        let switched_off = (!env.settings.enabled).then(|| env.switch().1);
        Ok(Self { timer, passes, switched_off, obstacles: obstacles(env, reader)? })
    }

    /// The interval between two passes: that of the timer, else the median so far, but at least the shipped
    /// one, since a pass by hand between two others proves nothing.
    pub(super) fn every(&self) -> SignedDuration {
        let of_timer = self.timer.as_ref().and_then(Timer::cadence);
        let shipped = signed(SHIPPED.distance());
        if let Some(cadence) = of_timer {
            return signed(cadence.distance());
        }
        let mut gaps: Vec<_> = self
            .passes
            .iter()
            .zip(self.passes.iter().skip(1))
            .map(|(later, earlier)| later.duration_since(*earlier))
            .collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or(shipped).max(shipped)
    }

    /// When the timer starts the next pass, if known.
    pub(super) fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        self.timer.as_ref()?.next_at().filter(|next| *next >= now && self.switched_off.is_none())
    }

    /// When the pass begins that takes what is due at `due`, if known.
    pub(super) fn pass_for(&self, due: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let next = self.next_pass(now)?;
        let later = due.unwrap_or(next).duration_since(next);
        if !later.is_positive() {
            return Some(next);
        }
        let every = self.timer.as_ref()?.cadence().map(|cadence| signed(cadence.distance()))?.as_secs();
        let slots = (later.as_secs() + every - 1) / every;
        next.checked_add(SignedDuration::from_secs(slots.saturating_mul(every))).ok()
    }

    /// Describes the next pass; `None` if its start is not known.
    pub(super) fn words(&self, now: Timestamp) -> Option<String> {
        let next = self.next_pass(now)?;
        let rhythm = self.timer.as_ref()?.rhythm();
        Some(format!("{} UTC (in {}), {rhythm}", minute(next), span(next.duration_since(now))))
    }

    /// The problems that keep passes from starting.
    pub(super) fn problems(&self, now: Timestamp) -> Vec<ScheduleProblem> {
        if let Some(remedy) = &self.switched_off {
            return vec![ScheduleProblem {
                kind: "switched_off",
                text: "Passes are switched off: nothing is kept fresh.".to_owned(),
                remedy: remedy.clone(),
            }];
        }
        let of_timer = self.timer.as_ref().and_then(stopped).or_else(|| self.missed(now));
        of_timer.into_iter().chain(self.obstacles.iter().cloned()).collect()
    }

    /// Reports that no pass has begun for too long, regardless of the timer's state.
    fn missed(&self, now: Timestamp) -> Option<ScheduleProblem> {
        let (since, every) = (now.duration_since(*self.passes.first()?), self.every());
        if since <= every.checked_mul(MISSED)? {
            return None;
        }
        let every = exact(every.unsigned_abs());
        let remedy = match self.timer {
            Some(_) => format!("systemctl status {UNIT} tink-sync.service"),
            None => "look at what starts tink-sync run on this machine".to_owned(),
        };
        Some(ScheduleProblem {
            kind: "no_pass",
            text: format!("No pass has begun for {}, and one is due every {every}.", span(since)),
            remedy,
        })
    }

    pub(super) fn json(&self, now: Timestamp) -> ScheduleJson {
        ScheduleJson {
            every_seconds: self.every().as_secs(),
            last_pass_at: self.passes.first().copied().map(rfc3339),
            next_pass_at: self.next_pass(now).map(rfc3339),
            troubles: self.problems(now),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ScheduleJson {
    every_seconds: i64,
    last_pass_at: Option<String>,
    next_pass_at: Option<String>,
    troubles: Vec<ScheduleProblem>,
}

impl ScheduleProblem {
    /// For people: the text, then the remedy on a line of its own.
    pub(super) fn show(&self, color: bool) -> String {
        let text = table::wrap(&self.text, 0);
        format!("{}\n  {}\n", table::paint(text.trim_end(), table::Tone::Bad, color), self.remedy)
    }
}

/// Reasons why passes fail as a whole, or handle far fewer connections than before.
fn obstacles(env: &Environment, reader: &Reader) -> Result<Vec<ScheduleProblem>, Failure> {
    let other = app::other_in(env, reader)?.map(|other| {
        let text = app::sentence(env, &other);
        let (text, remedy) = text.split_once("; ").unwrap_or((&text, app::ACCEPT));
        ScheduleProblem {
            kind: "other_app",
            text: format!("Every pass ends with 78: {text}."),
            remedy: remedy.to_owned(),
        }
    });
    let last = reader.last_view()?;
    let fallen = last.and_then(|last| Some((last.numbers, last.fallen?))).map(|(now, (since, before))| ScheduleProblem {
        kind: "fall",
        text: format!(
            "Since {} UTC the source view has given far fewer connections than before: {} entitled (before: {}), {} enabled (before: {}).",
            minute(since), now.entitled, before.entitled, now.enabled, before.enabled
        ),
        remedy: "correct the view, or, if that is right: tink-sync connections accept-change".to_owned(),
    });
    Ok(other.into_iter().chain(fallen).collect())
}

/// Reports an installed timer that does not run.
fn stopped(timer: &Timer) -> Option<ScheduleProblem> {
    if timer.running {
        return None;
    }
    let text = format!("{UNIT} does not run: no pass will be started.");
    let remedy = if timer.masked {
        format!("systemctl unmask {UNIT} && systemctl enable --now {UNIT}")
    } else {
        format!("systemctl enable --now {UNIT}")
    };
    Some(ScheduleProblem { kind: "timer_stopped", text, remedy })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_4H: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
        TimersCalendar={ OnCalendar=*-*-* 00/4:00:00 UTC ; next_elapse=x }\n\
        NextElapseUSecRealtime=Mon 2026-06-01 14:00:00 UTC\n";

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    /// A schedule whose passes began this many hours ago.
    fn schedule(timer: &str, ago: &[i64]) -> Schedule {
        let timer = Some(Timer::read(timer)).filter(|timer| timer.installed);
        Schedule {
            timer,
            passes: ago.iter().map(|ago| now() - hours(*ago)).collect(),
            switched_off: None,
            obstacles: Vec::new(),
        }
    }

    fn kinds(schedule: &Schedule) -> Vec<&'static str> {
        schedule.problems(now()).iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn what_is_due_later_is_taken_by_a_later_pass() {
        let schedule = schedule(EVERY_4H, &[2]);
        let at = |due: Option<i64>| {
            let pass = schedule.pass_for(due.map(|due| now() + hours(due)), now());
            pass.map(|pass| pass.duration_since(now()).as_hours())
        };
        assert_eq!([at(None), at(Some(-5)), at(Some(2))], [Some(2); 3]);
        assert_eq!([at(Some(3)), at(Some(6)), at(Some(7))], [Some(6), Some(6), Some(10)]);
        assert_eq!(schedule.words(now()).unwrap(), "2026-06-01 14:00 UTC (in 2h), a pass every 4h");
        assert_eq!(Schedule::default().pass_for(None, now()), None, "nobody knows");
    }

    #[test]
    fn passes_that_do_not_come_any_more_are_missed_after_two() {
        assert_eq!(kinds(&schedule(EVERY_4H, &[8])), [""; 0]);
        assert_eq!(kinds(&schedule(EVERY_4H, &[9])), ["no_pass"]);
        // Without a timer the interval is estimated from the passes, and is at least six hours.
        assert_eq!(kinds(&schedule("", &[12, 13, 14])), [""; 0]);
        assert_eq!(kinds(&schedule("", &[13, 14, 15])), ["no_pass"]);
        assert_eq!(kinds(&schedule("", &[40, 64, 65, 88, 112])), [""; 0], "one a day");
        assert_eq!(kinds(&schedule("", &[49, 73, 97])), ["no_pass"]);
        assert_eq!(kinds(&schedule("", &[])), [""; 0], "none was ever made");
    }

    #[test]
    fn a_timer_that_does_not_run_is_told_with_the_command_that_starts_it() {
        let stopped = schedule(&EVERY_4H.replace("ActiveState=active", "ActiveState=inactive"), &[1]);
        assert_eq!(kinds(&stopped), ["timer_stopped"]);
        assert_eq!(stopped.problems(now())[0].remedy, "systemctl enable --now tink-sync.timer");
        let masked = schedule("LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n", &[1]);
        assert!(masked.problems(now())[0].remedy.starts_with("systemctl unmask "));
        let off = Schedule { switched_off: Some("remove it".to_owned()), ..stopped };
        assert_eq!((kinds(&off), off.next_pass(now())), (vec!["switched_off"], None));
    }
}
