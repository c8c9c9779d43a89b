//! How a view changes the stored connections.

use std::sync::Arc;

use jiff::SignedDuration;

use super::survey::{Survey, ViewPart};
use super::*;
use crate::domain::connection::Nulls;
use crate::domain::population::{Fall, Numbers, Remembered};
use crate::domain::view::Viewed;

/// The result of mirroring a view.
#[derive(Debug)]
pub(super) struct Mirroring {
    pub(super) changes: Vec<Change>,
    pub(super) numbers: Numbers,
    pub(super) fall: Option<Fall>,
}

fn mirror(stored: &[Stored], viewed: Viewed, remembered: Remembered) -> Mirroring {
    mirror_in_parts(stored, viewed, remembered, 500)
}

/// As the store does it, with places instead of keys.
pub(super) fn mirror_in_parts(
    stored: &[Stored],
    viewed: Viewed,
    remembered: Remembered,
    at_least: usize,
) -> Mirroring {
    let mut survey = Survey::of(viewed.rows, viewed.at);
    for (place, stored) in stored.iter().enumerate() {
        survey.add(i64::try_from(place).unwrap(), stored);
    }
    let surveyed = survey.done(at_least);
    let places = |part: ViewPart<'_>| -> Vec<usize> {
        part.keys().into_iter().map(|key| usize::try_from(key).unwrap()).collect()
    };
    let of =
        |places: &[usize]| -> Vec<Stored> { places.iter().map(|place| stored[*place].clone()).collect() };
    let taken = surveyed.shared_parts().map(|part| part.taken_and_news(&of(&places(part))).0).sum();
    let fall = surveyed.fall(remembered, taken).filter(|_| !viewed.stand_alone);
    let mut all = Vec::new();
    for part in surveyed.open_parts() {
        let places = places(part);
        for mut change in part.changes(&of(&places), fall) {
            for place in change.place.iter_mut().chain(&mut change.takes_over) {
                *place = places[*place];
            }
            all.push(change);
        }
    }
    Mirroring { changes: all, numbers: surveyed.numbers(), fall }
}

pub(super) fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

pub(super) fn user(n: usize) -> TinkUser {
    TinkUser::External(format!("t-{n}"))
}

pub(super) fn row(n: usize) -> SourceRow {
    SourceRow::active(&format!("c-{n}"), &format!("u-{n}"), Some(user(n)))
}

/// The first `number` connections, each with data.
pub(super) fn stored(number: usize) -> Vec<Stored> {
    let one = |n: usize| Stored {
        held: HeldConnection {
            connection_id: format!("c-{n}"),
            user_id: format!("u-{n}"),
            tink_user: Some(user(n)),
            former: Vec::new(),
            has_data: true,
        },
        state: MirroredState {
            user_id: format!("u-{n}"),
            tink_user: Some(user(n)),
            enabled: true,
            entitled: true,
            ..MirroredState::default()
        },
    };
    (0..number).map(one).collect()
}

fn before(number: u64) -> Remembered {
    Remembered { before: Some(Numbers { enabled: number, entitled: number }), fallen_at: None }
}

pub(super) fn viewed(rows: Vec<SourceRow>, hours: i64) -> Viewed {
    Viewed { rows: rows.into_iter().collect(), at: at(hours), ..Viewed::default() }
}

fn no_enabled(row: SourceRow) -> SourceRow {
    SourceRow { enabled: false, nulls: Nulls { enabled: true, ..row.nulls }, ..row }
}

fn no_entitled(row: SourceRow) -> SourceRow {
    SourceRow { entitled: false, nulls: Nulls { entitled: true, ..row.nulls }, ..row }
}

/// The stored state afterwards.
pub(super) fn after(stored: &[Stored], mirrored: &Mirroring) -> Vec<Stored> {
    let mut after = stored.to_vec();
    for change in &mirrored.changes {
        if let Some(place) = change.place {
            after[place].state = change.state.clone();
        }
    }
    after
}

/// How many are enabled afterwards, and how many of them entitled.
fn kept(stored: &[Stored], mirrored: &Mirroring) -> (usize, usize) {
    let after = after(stored, mirrored);
    let new = mirrored.changes.iter().filter(|change| change.place.is_none()).map(|change| &change.state);
    let enabled = after.iter().map(|stored| &stored.state).chain(new).filter(|state| state.enabled);
    (enabled.clone().count(), enabled.filter(|state| state.entitled).count())
}

#[test]
fn an_empty_view_disables_nobody_and_pauses_after_three_days() {
    let held = stored(8);
    let first = mirror(&held, viewed(Vec::new(), 0), before(8));
    assert_eq!(first.fall.map(|fall| fall.gone), Some(8));
    assert_eq!(kept(&held, &first), (8, 8));
    assert!(first.changes.iter().all(|change| change.state.gone_at == Some(at(0))));
    let remembered = Remembered { fallen_at: Some(at(0)), ..before(8) };
    let held = after(&held, &first);
    assert_eq!(kept(&held, &mirror(&held, viewed(Vec::new(), 71), remembered)), (8, 8));
    let last = mirror(&held, viewed(Vec::new(), 72), remembered);
    assert_eq!(kept(&held, &last), (8, 0));
    assert!(last.changes.iter().all(|change| change.state.lapsed_at == Some(at(72))));
    // It remains a fall, and ends when the rows are back.
    let held = after(&held, &last);
    assert!(mirror(&held, viewed(Vec::new(), 100), remembered).fall.is_some());
    let back = mirror(&held, viewed((0..8).map(row).collect(), 100), remembered);
    assert_eq!((back.fall, kept(&held, &back)), (None, (8, 8)));
    assert!(
        back.changes.iter().all(|change| change.state.gone_at.is_none() && change.state.lapsed_at.is_none())
    );
    // Once it is confirmed, they are gone.
    let mut held = held;
    for held in &mut held {
        (held.state.enabled, held.state.entitled) = (false, false);
    }
    let confirmed = mirror(&held, viewed(Vec::new(), 100), before(0));
    assert_eq!((confirmed.fall, kept(&held, &confirmed)), (None, (0, 0)));
}

#[test]
fn what_a_row_says_counts_and_what_it_does_not_say_does_not() {
    let with = |change: &dyn Fn(SourceRow) -> SourceRow| {
        mirror(&stored(8), viewed((0..8).map(row).map(change).collect(), 0), before(8))
    };
    let paused = with(&|row| SourceRow { entitled: false, ..row });
    assert_eq!((paused.fall.is_some(), kept(&stored(8), &paused)), (true, (8, 0)));
    let off = with(&|row| SourceRow { enabled: false, ..row });
    assert_eq!((off.fall.is_some(), kept(&stored(8), &off)), (true, (0, 0)));
    let null = with(&no_enabled);
    assert_eq!((null.fall.is_some(), kept(&stored(8), &null)), (true, (8, 8)));
    // For a single one NULL means no.
    let mut rows: Vec<_> = (0..8).map(row).collect();
    rows[0] = no_enabled(row(0));
    let one = mirror(&stored(8), viewed(rows, 0), before(8));
    assert_eq!((one.fall, kept(&stored(8), &one)), (None, (7, 7)));
}

#[test]
fn others_in_their_place_are_a_fall_too_unless_they_take_over() {
    let others = |n: usize| SourceRow::active(&format!("n-{n}"), &format!("x-{n}"), Some(user(100 + n)));
    let replaced = mirror(&stored(8), viewed((0..8).map(others).collect(), 0), before(8));
    assert_eq!(replaced.fall.map(|fall| fall.gone), Some(8));
    let renamed = |n: usize| SourceRow { connection_id: format!("n-{n}").into(), ..row(n) };
    let taken = mirror(&stored(8), viewed((0..8).map(renamed).collect(), 0), before(8));
    assert_eq!((taken.fall, kept(&stored(8), &taken)), (None, (8, 8)));
    assert!(taken.changes.iter().take(8).all(|change| change.takes_over.is_some()));
}

#[test]
fn an_operators_own_tables_are_taken_at_their_word() {
    let own = Viewed { stand_alone: true, ..viewed(Vec::new(), 0) };
    let mirrored = mirror(&stored(8), own, before(8));
    assert_eq!((mirrored.fall, kept(&stored(8), &mirrored)), (None, (0, 0)));
}

#[test]
fn a_fall_disables_nobody_not_even_one_that_was_paused_or_has_no_data() {
    let mut held = stored(9);
    held[2].state.entitled = false;
    (held[3].state.entitled, held[3].held.has_data) = (false, false);
    held[4].held.has_data = false;
    // Without data one is paused: nothing is missed, and another connection may come with its Tink user.
    let first = mirror(&held, viewed(Vec::new(), 0), before(9));
    assert_eq!(kept(&held, &first), (9, 6));
    let remembered = Remembered { fallen_at: Some(at(0)), ..before(9) };
    let held = after(&held, &first);
    for hours in [71, 72, 500] {
        let later = mirror(&held, viewed(Vec::new(), hours), remembered);
        let entitled = if hours < 72 { 6 } else { 0 };
        assert_eq!((later.fall.map(|fall| fall.gone), kept(&held, &later)), (Some(7), (9, entitled)));
    }
    // One that was paused before, while others are there.
    let mut held = stored(9);
    held[0].state.entitled = false;
    let rows = |from: usize| (from..9).map(row).collect();
    assert!(mirror(&held, viewed(rows(1), 0), before(9)).fall.is_none());
    assert_eq!(kept(&held, &mirror(&held, viewed(rows(7), 0), before(9))), (9, 8));
}

#[test]
fn null_disables_nobody_in_a_fall_and_pauses_after_three_days() {
    for (number, change) in [(8, no_enabled as fn(SourceRow) -> SourceRow), (8, no_entitled), (1, no_enabled)]
    {
        let mut held = stored(number);
        held[0].held.has_data = number == 1;
        let silent = |hours| viewed((0..number).map(row).map(change).collect(), hours);
        let all = before(number as u64);
        let first = mirror(&held, silent(0), all);
        let with_data = held.iter().filter(|held| held.held.has_data).count();
        assert_eq!((first.fall.is_some(), kept(&held, &first)), (true, (number, with_data)));
        let remembered = Remembered { fallen_at: Some(at(0)), ..all };
        let held = after(&held, &first);
        let paused = mirror(&held, silent(72), remembered);
        assert_eq!((paused.fall.is_some(), kept(&held, &paused)), (true, (number, 0)));
        // It does not end by itself.
        let held = after(&held, &paused);
        let later = mirror(&held, silent(100), remembered);
        assert_eq!((later.fall.is_some(), kept(&held, &later)), (true, (number, 0)));
    }
}

#[test]
fn a_row_that_says_no_in_one_column_is_not_open_for_null_in_the_other() {
    let disabled = |row: SourceRow| SourceRow { enabled: false, ..no_entitled(row) };
    let paused = |row: SourceRow| SourceRow { entitled: false, ..no_enabled(row) };
    for change in [disabled, paused] {
        let silent = mirror(&stored(8), viewed((0..8).map(row).map(change).collect(), 0), before(8));
        assert_eq!((silent.fall.is_some(), kept(&stored(8), &silent)), (true, (0, 0)));
    }
}

#[test]
fn a_refused_row_changes_nothing_of_the_connection() {
    let mut held = stored(1);
    held[0].state.entitled = false;
    let anothers = SourceRow::active("c-0", "u-9", Some(user(9)));
    let change = |row: SourceRow| mirror(&held, viewed(vec![row], 0), before(1)).changes.remove(0);
    let refused = change(anothers.clone()).state;
    assert_eq!((refused.user_id.as_str(), refused.tink_user.clone()), ("u-0", Some(user(0))));
    assert_eq!((refused.enabled, refused.entitled, refused.refused), (true, false, Some(true)));
    assert!(refused.problem.is_some() && refused.refused_user.as_deref() == Some("u-9"));
    assert_eq!(change(SourceRow { enabled: false, ..anothers }).state.refused, Some(false));
    // It is forgotten once the row is its own again.
    let own = change(row(0)).state;
    assert_eq!((own.problem, own.refused, own.entitled), (None, None, true));
}

#[test]
fn an_owner_without_data_is_replaced_and_said_so() {
    let mut held = stored(1);
    held[0].held.has_data = false;
    let change = mirror(&held, viewed(vec![SourceRow::active("c-0", "u-9", Some(user(9)))], 0), before(1))
        .changes
        .remove(0);
    assert!(change.other_owner && change.state.user_id == "u-9" && change.state.problem.is_none());
    assert!(mirror(&held, viewed(vec![row(0)], 0), before(1)).changes.is_empty());
}

#[test]
fn of_what_is_as_it_was_nothing_is_written() {
    let mut rows: Vec<SourceRow> = (0..9).map(row).collect();
    rows[3].priority = 1;
    let mirrored = mirror(&stored(8), viewed(rows, 0), before(8));
    let places: Vec<_> = mirrored.changes.iter().map(|change| change.place).collect();
    assert_eq!(places, [Some(3), None]);
}

#[test]
fn who_was_to_be_synced_when_his_row_was_there_last_counts_as_gone() {
    let now = 10;
    for (enabled, entitled, until, gone_at, lapsed_at, counts) in [
        (true, true, None, None, None, true),
        (true, true, Some(now + 1), None, None, true),
        (true, true, Some(now), None, None, false),
        (true, true, Some(now - 1), None, None, false),
        (true, false, None, None, None, false),
        (true, false, None, None, Some(5), false),
        // What lapsed without a row lapsed because of that.
        (true, false, None, Some(5), Some(5), true),
        (true, false, None, Some(5), Some(6), true),
        (true, false, None, Some(5), Some(4), false),
        (false, false, None, Some(5), Some(6), false),
        (false, true, None, None, None, false),
    ] {
        let mut held = stored(8);
        for one in &mut held {
            (one.state.enabled, one.state.entitled) = (enabled, entitled);
            one.state.entitled_until = until.map(at);
            (one.state.gone_at, one.state.lapsed_at) = (gone_at.map(at), lapsed_at.map(at));
        }
        let fall = mirror(&held, viewed(Vec::new(), now), before(8)).fall.unwrap();
        assert_eq!(
            fall.gone,
            if counts { 8 } else { 0 },
            "{enabled} {entitled} {until:?} {gone_at:?} {lapsed_at:?}"
        );
    }
}

#[test]
fn rows_that_are_enabled_and_named_are_counted() {
    let rows = vec![
        row(0),
        SourceRow { entitled: false, ..row(1) },
        SourceRow { enabled: false, ..row(2) },
        SourceRow { problem: Some("odd".to_owned()), ..SourceRow::active("", "u-9", None) },
    ];
    let mirrored = mirror(&stored(3), viewed(rows, 0), before(3));
    assert_eq!(mirrored.numbers, Numbers { enabled: 2, entitled: 1 });
}

#[test]
fn a_row_that_leaves_open_what_it_has_to_say_makes_a_fall_only_of_one_that_was_to_be_synced() {
    let fell = |held: &[Stored], unsaid: bool| {
        let nulls = Nulls { entitled: unsaid, ..Nulls::default() };
        let silent = SourceRow { entitled: false, nulls, ..row(0) };
        mirror(held, viewed(vec![silent], 0), before(1)).fall.is_some()
    };
    let mut held = stored(1);
    assert!(fell(&held, true) && !fell(&held, false) && !fell(&[], true));
    held[0].state.enabled = false;
    assert!(!fell(&held, true));
}

#[test]
fn all_that_a_row_says_is_kept() {
    let said = SourceRow {
        entitled: false,
        entitled_until: Some(at(5)),
        market: Some("SE".to_owned()),
        priority: 4,
        ..row(0)
    };
    let mut held = stored(1);
    held[0].state.lapsed_at = Some(at(-1));
    let state = |row: SourceRow| mirror(&held, viewed(vec![row], 0), before(1)).changes.remove(0).state;
    let expected = MirroredState {
        user_id: "u-0".to_owned(),
        tink_user: Some(user(0)),
        enabled: true,
        entitled: false,
        entitled_until: Some(at(5)),
        market: Some("SE".to_owned()),
        priority: 4,
        lapsed_at: Some(at(-1)),
        ..MirroredState::default()
    };
    assert_eq!(state(said.clone()), expected);
    // Another name for the Tink user waits for proof.
    let other = TinkUser::Tink("t".to_owned());
    let moved = state(SourceRow { tink_user: Some(other.clone()), ..said.clone() });
    assert_eq!(moved, MirroredState { moved: Some(other), ..expected.clone() });
    // A broken row without a user leaves the user unchanged.
    let broken = state(SourceRow { user_id: "".into(), problem: Some("odd".to_owned()), ..said });
    assert_eq!(broken, MirroredState { problem: Some("odd".to_owned()), ..expected });
}

#[test]
fn a_row_that_shares_anothers_tink_user_is_its_own_otherwise() {
    let mut held = stored(2);
    let shares = SourceRow { tink_user: Some(user(0)), market: Some("SE".to_owned()), ..row(1) };
    let change = |held: &[Stored]| {
        let mirrored = mirror(held, viewed(vec![row(0), shares.clone()], 0), before(2));
        mirrored.changes.into_iter().find(|change| change.place == Some(1)).unwrap()
    };
    held[1].held.has_data = false;
    let fresh = change(&held);
    assert_eq!((&fresh.state.market, fresh.state.refused), (&Some("SE".to_owned()), None));
    assert_eq!((&fresh.state.tink_user, fresh.other_owner), (&Some(user(0)), true));
    assert!(fresh.state.problem.is_some());
    // Both got data under one Tink user: the later one keeps its Tink user.
    held[1].held.has_data = true;
    (held[1].held.tink_user, held[1].state.tink_user) = (Some(user(0)), Some(user(0)));
    held[1].held.former = vec![user(1)];
    let late = change(&held);
    assert_eq!((late.state.tink_user, late.state.refused, late.other_owner), (Some(user(0)), None, false));
    assert!(late.state.problem.is_some());
}

#[test]
fn what_a_row_was_refused_for_goes_with_the_row() {
    let mut held = stored(1);
    let wrong = MirroredState {
        problem: Some("odd".to_owned()),
        refused: Some(true),
        refused_user: Some("u-9".to_owned()),
        moved: Some(user(9)),
        ..held[0].state.clone()
    };
    held[0].state = wrong;
    let gone = mirror(&held, viewed(Vec::new(), 7), before(1)).changes.remove(0).state;
    let clean = MirroredState { gone_at: Some(at(7)), ..stored(1)[0].state.clone() };
    assert_eq!(gone, clean);
    // `gone_at` stays until a row comes, even another owner's.
    held[0].state = MirroredState { moved: Some(user(9)), ..clean };
    assert_eq!(mirror(&held, viewed(Vec::new(), 9), before(1)).changes.remove(0).state.gone_at, Some(at(7)));
    let anothers = SourceRow::active("c-0", "u-9", Some(user(8)));
    let refused = mirror(&held, viewed(vec![anothers], 9), before(1)).changes.remove(0).state;
    assert_eq!((refused.gone_at, refused.moved, refused.refused), (None, None, Some(true)));
}

#[test]
fn whose_data_another_takes_over_is_not_enabled_any_more() {
    // GIVEN a fall: no connection is disabled for lacking a row
    let held = stored(8);
    let follows = |n: usize| SourceRow { connection_id: format!("n-{n}").into(), ..row(n) };
    let change = |rows: Vec<SourceRow>| {
        let mirrored = mirror(&held, viewed(rows, 0), before(8));
        assert!(mirrored.fall.is_some());
        mirrored.changes.into_iter().find(|change| change.place == Some(1)).unwrap().state
    };
    // WHEN another id follows one of them, without a row and with a row of another owner
    let gone = change(vec![follows(1)]);
    assert!(!gone.enabled && gone.lapsed_at == Some(at(0)));
    let anothers = SourceRow::active("c-1", "u-9", Some(user(9)));
    let refused = change(vec![anothers, follows(1)]);
    assert!(!refused.enabled && refused.refused == Some(true));
}

#[test]
fn tokens_and_a_take_over_are_news_though_nothing_else_has_changed() {
    let seed = || {
        Some(Arc::new(Seed { version: "1".to_owned(), refresh: vec![1], access: None, access_until: None }))
    };
    let changes = |held: &[Stored], rows| mirror(held, viewed(rows, 0), before(1)).changes;
    let seeded = changes(&stored(1), vec![SourceRow { seed: seed(), ..row(0) }]);
    assert_eq!((seeded.len(), seeded[0].seed.is_some()), (1, true));
    // A wrong row supplies no tokens.
    let wrong = SourceRow { seed: seed(), problem: Some("odd".to_owned()), ..row(0) };
    assert_eq!(changes(&stored(1), vec![wrong])[0].seed, None);
    let mut held = stored(2);
    held[1].held = HeldConnection { has_data: false, ..held[1].held.clone() };
    (held[1].held.user_id, held[1].held.tink_user) = ("u-0".to_owned(), Some(user(0)));
    (held[1].state.user_id, held[1].state.tink_user) = ("u-0".to_owned(), Some(user(0)));
    let follows = SourceRow { connection_id: "c-1".into(), ..row(0) };
    let taken = changes(&held, vec![follows]).remove(0);
    assert_eq!((taken.place, taken.takes_over, taken.other_owner), (Some(1), Some(0), false));
    assert_eq!(taken.state, held[1].state);
}

#[test]
fn another_owner_is_another_user_or_another_tink_user_of_whom_nothing_is_kept() {
    let mut held = stored(1);
    held[0].held.former = vec![user(9)];
    let is_other = |held: &[Stored], id: &str, tink_user: TinkUser| {
        let rows = vec![SourceRow::active("c-0", id, Some(tink_user))];
        mirror(held, viewed(rows, 0), before(1)).changes.remove(0).other_owner
    };
    assert!(!is_other(&held, "u-0", user(9)), "a name of its own, and its data are kept");
    held[0].held.has_data = false;
    assert!(is_other(&held, "u-0", user(9)) && is_other(&held, "u-9", user(0)));
}

#[test]
fn one_lapses_when_it_is_not_enabled_and_entitled_any_more() {
    let lapsed = |before: (bool, bool), lapsed_at: Option<i64>, now: (bool, bool)| {
        let mut held = stored(1);
        (held[0].state.enabled, held[0].state.entitled) = before;
        held[0].state.lapsed_at = lapsed_at.map(at);
        // Regardless of other columns.
        let row = SourceRow { enabled: now.0, entitled: now.1, priority: 1, ..row(0) };
        mirror(&held, viewed(vec![row], 3), Remembered::default()).changes.remove(0).state.lapsed_at
    };
    let (active, off, paused) = ((true, true), (false, true), (true, false));
    assert_eq!(lapsed(active, None, off), Some(at(3)));
    assert_eq!(lapsed(active, None, paused), Some(at(3)));
    assert_eq!(lapsed(active, Some(1), off), Some(at(1)), "its time was over before");
    assert_eq!(lapsed(off, Some(1), paused), Some(at(1)));
    assert_eq!(lapsed(off, None, paused), None, "it never was");
    assert_eq!(lapsed(paused, None, off), None, "it never was");
    assert_eq!(lapsed(off, Some(1), active), None);
}

#[test]
fn a_connection_with_data_keeps_its_tink_user_when_its_row_names_anothers() {
    let other = || TinkUser::Tink("other".to_owned());
    let rows = vec![
        SourceRow { also: Some(Box::new(other())), ..row(0) },
        SourceRow::active("c-1", "u-1", Some(other())),
    ];
    let changes = mirror(&stored(2), viewed(rows, 0), before(2)).changes;
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((change.place, &change.state.tink_user), (Some(1), &Some(user(1))));
    assert!(change.state.problem.is_some());
}
