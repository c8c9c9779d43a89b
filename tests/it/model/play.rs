//! Plays histories against the real program, many at once, and compares it with the little that is known to be true.
//!
//! What is true after a quiet time (a deep walk, then newer refreshes that agree): the live rows are the bank's, by
//! id, status, day and amount; the sums kept are those of the live rows; a reader's copy is the view. The exceptions,
//! which design section 8 wants, are these:
//!
//! * Rows older than [`REACH`] are not changed, and where ids were given anew in place, theirs may still be the old.
//! * What the bank took back or changed just before a renewal, unseen, may stay live: nothing pairs with it.
//! * A closed account keeps its booked rows.
//! * A list is cut short for one refresh; two that agree are believed.
//! * What a list that is cut short after months hides and was never shown may be older than later walks reach.
//! * A list without rows says nothing: at the end every account has new ones.
//! * After a renewal the bank lists everything and rests until it was read once.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::Date;
use rusqlite::Connection;
use tink_sandbox::{Action, Endpoint, Fault, PageShape};
use tink_sync::clock::Clock as _;
use tink_sync::domain::outcome::{Outcome, Reason};

use super::bank::{Bank, REACH, Row, Seen};
use super::history::{Act, Drift, History, Step, TEXTS, Weather};
use super::reader::Copy;
use crate::harness::texts;
use crate::inside::{KEPT_TOTALS, SUMMED_ROWS};
use crate::lab::{Lab, Told};
use crate::stored::Look;

/// The quiet time at the end: the hours before each of its passes.
const QUIET: [u32; 3] = [8 * 24, 24, 24];
/// After how many hours without a pass it was long.
const LONG: u32 = 60 * 24;
/// What an ordinary pass certainly reads.
const RECENT: i64 = 6;

/// Plays these histories at once; tells of each what went wrong.
pub fn play(histories: &[History]) -> Vec<Option<String>> {
    let mut lab = Lab::new();
    let total = |history: &History| history.steps.iter().map(|step| step.hours).sum::<u32>();
    let longest = histories.iter().map(total).max().unwrap_or_default();
    let mut players: Vec<Player> = Vec::new();
    let mut times: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (n, history) in histories.iter().enumerate() {
        let user = format!("h{n}");
        lab.add(&user);
        // All end together.
        let late = longest - total(history);
        let first = lab.clock.now() + SignedDuration::from_hours(i64::from(late));
        let epoch = first.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let player = Player::new(user, epoch, history);
        for hour in &player.times {
            times.entry(late + hour).or_default().push(n);
        }
        players.push(player);
    }
    let (mut hour, mut copy) = (0, Copy::default());
    for (at, who) in times {
        lab.wait(i64::from(at - hour));
        hour = at;
        let who: Vec<usize> = who.into_iter().filter(|n| players[*n].wrong.is_none()).collect();
        if who.is_empty() {
            continue;
        }
        for n in &who {
            players[*n].prepare(&lab);
        }
        let users: Vec<&str> = who.iter().map(|n| players[*n].user.as_str()).collect();
        let told = lab.pass_of(&users);
        lab.sandbox.clear_faults();
        copy.read(&lab);
        let db = looked_at(&lab);
        for n in &who {
            players[*n].check(&db, &told, &copy);
        }
    }
    players.into_iter().map(|player| player.wrong).collect()
}

/// One history on its way.
struct Player {
    user: String,
    epoch: Date,
    bank: Bank,
    steps: Vec<Step>,
    /// Hours from the beginning at which each of the steps is played.
    times: Vec<u32>,
    next: usize,
    today: i64,
    /// Rows that changed at the bank since all agreed, as they were: they may still be live.
    changed: Vec<Row>,
    /// Rows that had changed when a consent was renewed: they, or their likes, may stay for good.
    limits: Vec<Row>,
    /// A renewed consent was not read yet.
    renewing: bool,
    /// A list was cut short, and the whole one was not read since.
    was_cut: bool,
    trace: Vec<String>,
    wrong: Option<String>,
}

impl Player {
    fn new(user: String, epoch: Date, history: &History) -> Self {
        let mut bank = Bank::new(epoch, &history.accounts);
        let kinds = [-250, -4500, -350, -1299].into_iter().cycle().zip(TEXTS.into_iter().cycle());
        for (n, (cents, text)) in (0..i64::from(history.rows)).zip(kinds) {
            bank.add(0, true, Some(-(n * 3) % 60), cents, text);
        }
        for account in 1..history.accounts.len() {
            for n in 0..4 {
                bank.add(account, true, Some(-n), -500 - n, "TRAM");
            }
        }
        let quiet = |hours| Step { hours, acts: Vec::new(), weather: Weather::Fine };
        let books = |account| Act::Book { account, on: Some(0), cents: 7700, text: 4 };
        // A list without rows says nothing.
        let last = |hours| Step { acts: vec![books(0), books(1)], ..quiet(hours) };
        let steps: Vec<Step> =
            std::iter::once(quiet(0)).chain(history.steps.clone()).chain(QUIET.map(last)).collect();
        let times = steps.iter().scan(0, |hours, step| {
            *hours += step.hours;
            Some(*hours)
        });
        Self {
            times: times.collect(),
            user,
            epoch,
            bank,
            steps,
            next: 0,
            today: 0,
            changed: Vec::new(),
            limits: Vec::new(),
            renewing: false,
            was_cut: false,
            trace: Vec::new(),
            wrong: None,
        }
    }

    fn act(&mut self, acts: &[Act]) {
        // Nothing happens until a renewed consent was read.
        let acts = if self.renewing { &[] } else { acts };
        let (renewals, others): (Vec<&Act>, Vec<&Act>) = acts.iter().partition(|act| act.is_renewal());
        for act in others {
            let changed = self.bank.act(act, self.today);
            self.changed.extend(changed);
        }
        for act in renewals.into_iter().take(1) {
            self.limits.extend(self.changed.iter().cloned());
            self.renewing = true;
            self.bank.act(&self.as_told(act), self.today);
        }
    }

    /// A text that became another one is told by day and amount alone, which other rows must not share.
    fn as_told(&self, act: &Act) -> Act {
        let mut act = act.clone();
        if let Act::Renew { drift, .. } | Act::Beside { drift } = &mut act
            && *drift == Drift::Prefix
            && !self.changed.is_empty()
        {
            *drift = Drift::Case;
        }
        act
    }

    /// Lets happen what the next step says, up to the pass.
    fn prepare(&mut self, lab: &Lab) {
        let step = &mut self.steps[self.next];
        let acts = std::mem::take(&mut step.acts);
        let day = self.epoch.until(lab.clock.today()).unwrap().get_days();
        self.today = i64::from(day);
        self.act(&acts);
        let step = &mut self.steps[self.next];
        let cuts = matches!(step.weather, Weather::Cut { .. } | Weather::EmptyList);
        let meanwhile = matches!(step.weather, Weather::Meanwhile(_));
        if self.renewing && (cuts || meanwhile) || cuts && (step.hours > LONG || self.was_cut) {
            step.weather = Weather::Fine;
        }
        self.was_cut |= matches!(step.weather, Weather::Cut { .. });
        let (user, weather, now) = (self.user.as_str(), step.weather.clone(), lab.clock.now());
        let script = self.bank.show(now, &weather);
        lab.script(user, script);
        let shape = match &weather {
            Weather::Loop => PageShape { page_loop: true, trailing_empty: true, ..PageShape::default() },
            _ => PageShape::default(),
        };
        lab.sandbox.plan(user, |plan| plan.shape = shape);
        match &weather {
            Weather::PageFails => {
                lab.sandbox.fault(Fault::new(Action::status(404)).user(user).at(Endpoint::Transactions));
            }
            Weather::Meanwhile(acts) => {
                self.act(acts);
                let script = self.bank.show(now + SignedDuration::from_mins(1), &Weather::Fine);
                lab.sandbox.on_page(&self.user, 1, script);
            }
            _ => {}
        }
        let told: Vec<String> = acts.iter().map(ToString::to_string).collect();
        self.trace.push(format!("day {}: {}; {weather}", self.today, told.join(", ")));
    }

    /// Compares what came of it.
    fn check(&mut self, db: &Connection, told: &Told, copy: &Copy) {
        let (outcome, reason) = told.ended(&self.user);
        let counts = told.counts(&self.user);
        self.trace.push(format!(
            "    {outcome:?} {reason:?}, added {} updated {} removed {}",
            counts.added, counts.updated, counts.removed
        ));
        let live = live(db, self.epoch, &self.user);
        let is_last = self.next + 1 == self.steps.len();
        let wrong = self.ended(outcome, reason, is_last).or_else(|| {
            let weather = &self.steps[self.next].weather;
            let well = ended_well(outcome, reason) || outcome == Outcome::NeedsUser;
            let was_read = weather.shows_all() && well;
            if was_read {
                self.renewing = false;
                self.was_cut = false;
            }
            let left = left(&self.bank, self.today, &live);
            if left.is_empty() {
                self.changed.clear();
            }
            let wrong = was_read.then(|| self.recent(&left)).flatten();
            wrong.or_else(|| is_last.then(|| self.last(db, &left)).flatten())
        });
        let wrong = wrong.or_else(|| copy.difference(db, &self.user));
        let wrong = wrong.or_else(|| sums(db, &self.user));
        self.wrong = wrong.map(|wrong| format!("{wrong}\n{}", self.trace.join("\n")));
        self.next += 1;
    }

    /// A pass without a fault ends well, and the last one with everything judged.
    fn ended(&self, outcome: Outcome, reason: Option<Reason>, is_last: bool) -> Option<String> {
        let is_fine = matches!(self.steps[self.next].weather, Weather::Fine | Weather::Meanwhile(_));
        // Which account goes on under the new id is settled one pass later where two others wait.
        let is_fine = is_fine && !(self.renewing && outcome == Outcome::NeedsUser);
        let suspects = reason == Some(Reason::MassVanish);
        let wrong = is_fine && !ended_well(outcome, reason) || is_last && suspects;
        wrong.then(|| format!("the pass ended {outcome:?} {reason:?}"))
    }

    /// What an ordinary pass over all that the bank has leaves right at once.
    fn recent(&self, left: &Left) -> Option<String> {
        let is_recent = |row: &&Seen| row.day.is_some_and(|day| day >= self.today - RECENT);
        let is_live = |row: &Seen| left.extra.iter().any(|extra| extra.id == row.id);
        let lost: Vec<&Seen> = left.lost.iter().filter(is_recent).filter(|row| !is_live(row)).collect();
        if !lost.is_empty() {
            return Some(format!("lost in an ordinary pass: {lost:?}"));
        }
        let is_told = |row: &Seen| may_be(&self.changed, row) || may_be(&self.limits, row);
        let extra: Vec<&Seen> = left.extra.iter().filter(is_recent).filter(|row| !is_told(row)).collect();
        (!extra.is_empty()).then(|| format!("doubled in an ordinary pass: {extra:?}"))
    }

    /// What is right after a quiet time.
    fn last(&mut self, db: &Connection, left: &Left) -> Option<String> {
        let extra: Vec<&Seen> = left.extra.iter().filter(|row| !may_be(&self.limits, row)).collect();
        if !left.lost.is_empty() || !extra.is_empty() {
            return Some(format!("after a quiet time lost {:?}, too much {extra:?}", left.lost));
        }
        let sql =
            "SELECT account_id, account_key FROM accounts_v1 WHERE connection_id = ?1 AND closed_at IS NULL";
        let open = texts(db, sql, &self.user).len();
        let expected = self.bank.truth().len();
        if left.pendings_of_closed > 0 {
            return Some("a closed account has reservations".to_owned());
        }
        (open != expected).then(|| format!("{open} accounts are open, not {expected}"))
    }
}

/// Rows that the bank has and the store lacks, and rows that only the store has.
pub fn left(bank: &Bank, today: i64, live: &BTreeMap<String, Vec<Seen>>) -> Left {
    let mut left = Left::default();
    let mut live = live.clone();
    for (account, id, mut rows) in bank.truth() {
        let mut stored = live.remove(id).unwrap_or_default();
        rows.retain(|row| !take(&mut stored, |other| other == row));
        let is_old = |row: &Seen| row.day.is_some_and(|day| day < today - REACH);
        rows.retain(|row| !(is_old(row) && take(&mut stored, |other| other.id == row.id)));
        if account.reissued {
            // Under an id of before.
            rows.retain(|row| !(is_old(row) && take(&mut stored, |other| other.content() == row.content())));
        }
        left.lost.extend(rows);
        left.extra.extend(stored);
    }
    // A closed account keeps its booked rows, whatever they were.
    for closed in bank.closed() {
        left.pendings_of_closed += live.remove(closed).iter().flatten().filter(|row| !row.booked).count();
    }
    left.extra.extend(live.into_values().flatten());
    left
}

#[derive(Debug, Default)]
pub struct Left {
    pendings_of_closed: usize,
    pub lost: Vec<Seen>,
    pub extra: Vec<Seen>,
}

impl Left {
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.extra.is_empty()
    }
}

fn take(rows: &mut Vec<Seen>, is_it: impl Fn(&Seen) -> bool) -> bool {
    let place = rows.iter().position(is_it);
    place.map(|place| rows.swap_remove(place)).is_some()
}

/// Whether a live row is one of those that changed, under whichever id.
fn may_be(changed: &[Row], live: &Seen) -> bool {
    changed.iter().any(|row| row.key == live.key() || row.content() == live.content())
}

fn ended_well(outcome: Outcome, reason: Option<Reason>) -> bool {
    match outcome {
        Outcome::Synced | Outcome::Unchanged => true,
        Outcome::Partial => reason == Some(Reason::MassVanish),
        _ => false,
    }
}

/// The store with all that is looked at here.
pub fn looked_at(lab: &Lab) -> Look<'_> {
    lab.looking(&format!("transactions_v1 accounts_v1 {KEPT_TOTALS} {SUMMED_ROWS}"))
}

/// The live rows of a user by account.
pub fn live(db: &Connection, epoch: Date, user: &str) -> BTreeMap<String, Vec<Seen>> {
    let sql = "SELECT account_id, transaction_id, status, booked_date, amount, description_original
               FROM transactions_v1
               WHERE connection_id = ?1 AND removed_at IS NULL";
    let mut live: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for row in texts(db, sql, user) {
        let [account, id, status, date, amount, text] = <[_; 6]>::try_from(row).unwrap();
        let date: Option<Date> = date.map(|date| date.parse().unwrap());
        let seen = Seen {
            id: id.unwrap(),
            booked: status.as_deref() == Some("booked"),
            day: date.map(|date| i64::from(epoch.until(date).unwrap().get_days())),
            cents: cents(&amount.unwrap()),
            text: text.unwrap_or_default(),
        };
        live.entry(account.unwrap()).or_default().push(seen);
    }
    live
}

fn cents(amount: &str) -> i64 {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    format!("{whole}{part:0<2}").parse().unwrap()
}

/// Whether the sums kept for the balance proof are those of the live rows.
pub fn sums(db: &Connection, user: &str) -> Option<String> {
    let add = |sql: &str| {
        let mut sums: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for row in texts(db, sql, user) {
            *sums.entry(row[0].clone()).or_default() += cents(row[1].as_ref().unwrap());
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    };
    let (kept, rows) = (add(KEPT_TOTALS), add(SUMMED_ROWS));
    (kept != rows).then(|| format!("the sums are {kept:?}, those of the rows {rows:?}"))
}
