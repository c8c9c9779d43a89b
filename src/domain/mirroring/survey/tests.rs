//! Parts give the same result as the whole, and only what has to be looked at is looked at.

use proptest::prelude::*;

use super::super::tests::{Mirroring, after, at, mirror_in_parts, row, stored, user, viewed};
use super::super::{MirroredState, Stored};
use super::*;
use crate::domain::connection::Nulls;
use crate::domain::owner::HeldConnection;
use crate::domain::view::Viewed;

/// The same, with everything looked at together.
fn mirror_as_a_whole(stored: &[Stored], viewed: Viewed, remembered: Remembered) -> Mirroring {
    let rows = SingleView::of(viewed.rows).all();
    let judged = judge(stored, &rows);
    let named = judged.iter().filter(|one| !one.row.connection_id.as_str().is_empty() && one.row.enabled);
    let numbers = Numbers {
        enabled: named.clone().count() as u64,
        entitled: named.filter(|one| one.row.entitled).count() as u64,
    };
    let is_wanted = |place: usize| stored[place].state.was_wanted(viewed.at);
    let is_left =
        |place: &usize| judged.iter().all(|one| one.held != Some(*place) && one.takes_over() != Some(*place));
    let gone = (0..stored.len()).filter(|place| is_left(place) && is_wanted(*place)).count() as u64;
    let is_enabled = |place: usize| stored[place].state.enabled && remembered.fallen_at.is_some();
    let is_kept = |place: usize| is_wanted(place) || is_enabled(place);
    let silent = judged.iter().any(|one| one.row.is_silent() && one.held.is_some_and(is_kept));
    let fall = Fall::of(remembered, numbers, gone, silent, viewed.at).filter(|_| !viewed.stand_alone);
    let keeps = fall.is_some_and(|fall| fall.keeps(viewed.at));
    let when = Circumstances { at: viewed.at, fallen: fall.is_some(), keeps };
    Mirroring { changes: changes(stored, judge(stored, &rows), when), numbers, fall }
}

/// Few ids and few names, so that many are shared, duplicated or followed.
fn any_row() -> impl Strategy<Value = SourceRow> {
    let name = || proptest::option::weighted(0.8, any_name());
    (
        0..9_u8,
        0..3_u8,
        name(),
        name(),
        any::<[bool; 4]>(),
        proptest::option::weighted(0.1, Just("odd".to_owned())),
    )
        .prop_map(
            |(id, user, tink_user, also, [enabled, entitled, no_enabled, no_entitled], problem)| {
                let id = if id == 0 { String::new() } else { format!("c-{id}") };
                SourceRow {
                    also: also.map(Box::new),
                    enabled: enabled && !no_enabled,
                    entitled: entitled && !no_entitled,
                    nulls: Nulls { enabled: no_enabled, entitled: no_entitled },
                    problem,
                    ..SourceRow::active(&id, &format!("u-{user}"), tink_user)
                }
            },
        )
}

fn any_name() -> impl Strategy<Value = TinkUser> {
    (0..14_u8, any::<bool>()).prop_map(|(n, is_external)| {
        if is_external { TinkUser::External(format!("t-{n}")) } else { TinkUser::Tink(format!("t-{n}")) }
    })
}

fn any_stored(id: usize) -> impl Strategy<Value = Stored> {
    let names = (proptest::option::weighted(0.9, any_name()), proptest::collection::vec(any_name(), 0..2));
    (names, 0..3_u8, any::<[bool; 3]>(), proptest::option::weighted(0.3, -100..9_i64)).prop_map(
        move |((tink_user, former), user, [has_data, enabled, entitled], gone)| Stored {
            held: HeldConnection {
                connection_id: format!("c-{id}"),
                user_id: format!("u-{user}"),
                tink_user: tink_user.clone(),
                former,
                has_data,
            },
            state: MirroredState {
                user_id: format!("u-{user}"),
                tink_user,
                enabled,
                entitled,
                gone_at: gone.map(at),
                lapsed_at: gone.filter(|_| !enabled).map(at),
                ..MirroredState::default()
            },
        },
    )
}

proptest! {
    /// Also once it has been written, when most is unchanged.
    #[test]
    fn a_view_compared_in_parts_comes_to_the_same_as_one_compared_as_a_whole(
        rows in proptest::collection::vec(any_row(), 0..12),
        held in (0..9_usize).prop_flat_map(|n| (1..=n).map(any_stored).collect::<Vec<_>>()),
        at_least in 1..4_usize,
        before in proptest::option::of(0..12_u64),
        fallen_at in proptest::option::of(-100..1_i64),
        stand_alone in any::<bool>(),
    ) {
        let remembered = Remembered {
            before: before.map(|number| Numbers { enabled: number, entitled: number }),
            fallen_at: fallen_at.map(at),
        };
        let view = || Viewed { stand_alone, ..viewed(rows.clone(), 10) };
        let mut held = held;
        for _ in 0..2 {
            let mut whole = mirror_as_a_whole(&held, view(), remembered);
            let mut parts = mirror_in_parts(&held, view(), remembered, at_least);
            for all in [&mut whole, &mut parts] {
                all.changes.sort_by(|one, other| one.connection_id.cmp(&other.connection_id));
            }
            prop_assert_eq!(format!("{parts:?}"), format!("{whole:?}"));
            held = after(&held, &whole);
        }
    }
}

fn surveyed(stored: &[Stored], rows: Vec<SourceRow>, at_least: usize) -> Surveyed {
    let mut survey = Survey::of(rows.into_iter().collect(), at(0));
    stored.iter().zip(0..).for_each(|(stored, key)| survey.add(key, stored));
    survey.done(at_least)
}

#[test]
fn parts_have_as_many_as_are_asked_for_and_those_who_belong_to_them() {
    let mut rows: Vec<SourceRow> = (0..9).map(row).collect();
    rows[7].tink_user = Some(user(1));
    let sizes = |rows: &[SourceRow], at_least| -> Vec<usize> {
        let surveyed = surveyed(&[], rows.to_vec(), at_least);
        surveyed.open_parts().map(|part| part.changes(&[], None).len()).collect()
    };
    assert_eq!(sizes(&rows, 2), [3, 2, 2, 2]);
    assert_eq!(sizes(&rows, 4), [4, 4, 1]);
    assert_eq!(sizes(&rows, 9), [9]);
    assert_eq!(surveyed(&stored(3), (0..3).map(row).collect(), 2).open_parts().count(), 0);
}

#[test]
fn who_is_gone_on_with_was_gone_only_if_wanted_and_without_a_row() {
    let follows = || SourceRow { connection_id: "n-0".into(), ..row(0) };
    let taken = |held: &[Stored], rows: Vec<SourceRow>| {
        let surveyed = surveyed(held, rows, 500);
        let parts: Vec<u64> = surveyed.shared_parts().map(|part| part.taken_and_news(held).0).collect();
        parts
    };
    let held = stored(1);
    assert_eq!(taken(&held, vec![follows()]), [1]);
    assert_eq!(taken(&held, vec![SourceRow { enabled: false, ..row(0) }, follows()]), [0]);
    let mut off = held;
    off[0].state.enabled = false;
    assert_eq!(taken(&off, vec![follows()]), [0]);
}

#[test]
fn only_what_may_have_news_is_looked_at_again() {
    let open = |stored: &[Stored], rows: Vec<SourceRow>| {
        let surveyed = surveyed(stored, rows, 500);
        (surveyed.open_alone(), surveyed.shared_parts().count())
    };
    let mut held = stored(4);
    (held[3].state.enabled, held[3].state.entitled, held[3].state.gone_at) = (false, false, Some(at(-1)));
    let as_before = || (0..3).map(row).collect::<Vec<_>>();
    assert_eq!(open(&held, as_before()), (0, 0));
    let other = SourceRow { priority: 1, ..row(0) };
    assert_eq!(open(&held, vec![other, row(1), row(2)]), (1, 0));
    assert_eq!(open(&held, vec![row(0), row(1)]), (1, 0));
    // Two that share a Tink user are, regardless of changes.
    held[1].held.former = vec![user(0)];
    assert_eq!(open(&held, as_before()), (0, 1));
}

#[test]
fn new_connections_are_numbered_in_the_order_of_the_view() {
    // GIVEN more than one part, and two rows far from each other with one Tink user
    let mut rows: Vec<SourceRow> = (0..9).map(row).collect();
    rows[7].tink_user = Some(user(1));
    let ids = |rows: Vec<SourceRow>| -> Vec<String> {
        let mirrored = mirror_in_parts(&[], viewed(rows, 0), Remembered::default(), 2);
        mirrored.changes.into_iter().map(|change| change.connection_id).collect()
    };
    assert_eq!(ids(rows), ["c-0", "c-1", "c-7", "c-2", "c-3", "c-4", "c-5", "c-6", "c-8"]);
}
