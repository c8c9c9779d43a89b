//! What a view makes of the connections that are stored.

use jiff::SignedDuration;

use super::*;

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn user(n: usize) -> TinkUser {
    TinkUser::External(format!("t-{n}"))
}

fn row(n: usize) -> SourceRow {
    SourceRow::active(&format!("c-{n}"), &format!("u-{n}"), Some(user(n)))
}

/// The first `n` connections, each with data.
fn stored(number: usize) -> Vec<Stored> {
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

fn viewed(rows: Vec<SourceRow>, hours: i64) -> Viewed {
    Viewed { rows, at: at(hours), ..Viewed::default() }
}

/// What it is stored as by now.
fn after(stored: &[Stored], mirrored: &Mirroring) -> Vec<Stored> {
    let mut after = stored.to_vec();
    for change in &mirrored.changes {
        if let Some(place) = change.place {
            after[place].state = change.state.clone();
        }
    }
    after
}

/// How many are enabled by now, and how many of them entitled.
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
    // It stays a fall, and ends when they are back.
    let held = after(&held, &last);
    assert!(mirror(&held, viewed(Vec::new(), 100), remembered).fall.is_some());
    let back = mirror(&held, viewed((0..8).map(row).collect(), 100), remembered);
    assert_eq!((back.fall, kept(&held, &back)), (None, (8, 8)));
    assert!(
        back.changes.iter().all(|change| change.state.gone_at.is_none() && change.state.lapsed_at.is_none())
    );
    // Once it is confirmed they are gone.
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
    let null = with(&|row| SourceRow { enabled: false, unsaid: true, ..row });
    assert_eq!((null.fall.is_some(), kept(&stored(8), &null)), (true, (8, 8)));
    // Of one alone NULL means no.
    let mut rows: Vec<_> = (0..8).map(row).collect();
    (rows[0].enabled, rows[0].unsaid) = (false, true);
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
fn where_nothing_is_kept_a_missing_row_disables_at_once() {
    let mut held = stored(8);
    held[3].held.has_data = false;
    assert_eq!(kept(&held, &mirror(&held, viewed(Vec::new(), 0), before(8))), (7, 7));
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
    // And is forgotten once the row is its own again.
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
