//! Which connection may hold what, in every situation.

use jiff::Timestamp;

use super::accept::{Acceptance, Accepted, accept};
use super::*;

fn ext(id: &str) -> TinkUser {
    TinkUser::External(id.to_owned())
}

fn tink(id: &str) -> TinkUser {
    TinkUser::Tink(id.to_owned())
}

fn single(rows: Vec<SourceRow>) -> SingleRows {
    SingleView::of(rows.into_iter().collect()).all()
}

/// A stored connection with data.
fn held(id: &str, user: &str, tink_user: TinkUser) -> HeldConnection {
    HeldConnection {
        connection_id: id.to_owned(),
        user_id: user.to_owned(),
        tink_user: Some(tink_user),
        former: Vec::new(),
        has_data: true,
    }
}

fn row(id: &str, user: &str, tink_user: TinkUser) -> SourceRow {
    SourceRow::active(id, user, Some(tink_user))
}

fn both(id: &str, user: &str, external: &str, tink_id: &str) -> SourceRow {
    SourceRow { also: Some(Box::new(tink(tink_id))), ..row(id, user, ext(external)) }
}

fn off(row: SourceRow) -> SourceRow {
    SourceRow { enabled: false, ..row }
}

/// The verdict on each row, in short: `id=own`, `id<place` for a take-over, `id?` for one to be proven,
/// `id!kind`.
fn verdicts(held: &[HeldConnection], rows: Vec<SourceRow>) -> Vec<String> {
    let short = |one: &Judged<'_>| {
        let id = one.row.connection_id.as_str();
        match &one.verdict {
            Verdict::Own { takes_over: Some(place), .. } => format!("{id}<{place}"),
            Verdict::Own { .. } if one.row.problem.is_some() => format!("{id}!row"),
            Verdict::Own { .. } => format!("{id}=own"),
            Verdict::Moved(_) => format!("{id}?"),
            Verdict::Refused(refusal) => match refusal.kind {
                RefusalKind::OtherUser { same_tink_user: true } => format!("{id}!user"),
                RefusalKind::OtherUser { same_tink_user: false } => format!("{id}!both"),
                RefusalKind::OtherTinkUser => format!("{id}!tink"),
                RefusalKind::Shared { enabled: true, .. } => format!("{id}!shared"),
                RefusalKind::Shared { enabled: false, .. } => format!("{id}!left"),
            },
        }
    };
    judge(held, &single(rows)).iter().map(short).collect()
}

#[test]
fn a_connection_with_data_keeps_its_user_and_its_tink_user() {
    let bob = held("c", "bob", ext("b"));
    for (row, expected) in [
        (row("c", "bob", ext("b")), "c=own"),
        (row("c", "carl", ext("k")), "c!both"),
        (row("c", "carl", ext("b")), "c!user"),
        (row("c", "bob", ext("k")), "c!tink"),
        (row("c", "bob", tink("t")), "c?"),
        (both("c", "bob", "b", "t"), "c=own"),
        // One of the two names is another user's.
        (both("c", "bob", "k", "t"), "c!tink"),
        (SourceRow { tink_user: None, ..row("c", "bob", ext("b")) }, "c=own"),
        (off(row("c", "carl", ext("k"))), "c!both"),
    ] {
        assert_eq!(verdicts(std::slice::from_ref(&bob), vec![row.clone()]), [expected], "{row:?}");
    }
    let nothing = HeldConnection { has_data: false, ..bob };
    assert_eq!(verdicts(&[nothing], vec![row("c", "carl", ext("k"))]), ["c=own"]);
}

#[test]
fn names_that_a_connection_has_had_are_its_own() {
    let both_ways = HeldConnection { former: vec![ext("b")], ..held("c", "bob", tink("t")) };
    let verdict = |row: SourceRow| {
        let rows = single(vec![row]);
        judge(std::slice::from_ref(&both_ways), &rows).remove(0).verdict
    };
    let own = |user: TinkUser| Verdict::Own { tink_user: Some(user), takes_over: None };
    assert_eq!(verdict(row("c", "bob", tink("t"))), own(tink("t")));
    assert_eq!(verdict(row("c", "bob", ext("b"))), own(ext("b")));
    // The name proven last stays while it is named.
    assert_eq!(verdict(both("c", "bob", "b", "t")), own(tink("t")));
    assert_eq!(verdict(row("c", "bob", ext("k"))), Verdict::Moved(ext("k")));
    // A connection that only had a refresh token.
    let token = HeldConnection { tink_user: None, former: Vec::new(), ..both_ways };
    assert_eq!(verdicts(&[token], vec![row("c", "bob", ext("b"))]), ["c?"]);
}

#[test]
fn one_tink_user_is_one_connections_and_the_first_has_it() {
    let bob = [held("c-1", "bob", ext("b"))];
    let rows = |user: &str| vec![row("c-2", user, ext("b")), row("c-1", "bob", ext("b"))];
    for user in ["bob", "carl"] {
        assert_eq!(verdicts(&bob, rows(user)), ["c-2!shared", "c-1=own"], "whatever the view's order");
    }
    // Without data: the one that was stored first, else the first of the view.
    let fresh = [HeldConnection { has_data: false, ..held("c-1", "bob", ext("b")) }];
    assert_eq!(verdicts(&fresh, rows("carl")), ["c-2!shared", "c-1=own"]);
    assert_eq!(verdicts(&[], rows("carl")), ["c-2=own", "c-1!shared"]);
    // Also if only a second name matches.
    let told =
        vec![both("c-1", "bob", "b", "t"), row("c-2", "carl", tink("t")), both("c-3", "dan", "d", "t")];
    assert_eq!(verdicts(&bob, told), ["c-1=own", "c-2!shared", "c-3!shared"]);
    // If both have data, the one that was stored first keeps the Tink user.
    let two = [held("c-1", "bob", ext("b")), held("c-2", "carl", ext("b"))];
    assert_eq!(verdicts(&two, rows("carl")), ["c-2!shared", "c-1=own"]);
}

#[test]
fn who_has_a_tink_user_now_has_it_before_who_comes_back_to_it_or_comes_anew() {
    // c-1 returns to a former name, which belongs to c-2 by now.
    let back = HeldConnection { former: vec![ext("k")], ..held("c-1", "bob", ext("b")) };
    let both = [back, held("c-2", "carl", ext("k"))];
    let rows = vec![row("c-1", "bob", ext("k")), row("c-2", "carl", ext("k"))];
    assert_eq!(verdicts(&both, rows), ["c-1!shared", "c-2=own"]);
    // Without data, c-1 loses the name once its user or its Tink user changes.
    let fresh = |id: &str, user: &str, name| HeldConnection { has_data: false, ..held(id, user, name) };
    let rows = || vec![row("c-1", "bob", ext("k")), row("c-2", "carl", ext("k"))];
    for first in [fresh("c-1", "dan", ext("k")), fresh("c-1", "bob", ext("b"))] {
        let both = [first, fresh("c-2", "carl", ext("k"))];
        assert_eq!(verdicts(&both, rows()), ["c-1!shared", "c-2=own"]);
    }
}

#[test]
fn who_is_not_enabled_any_more_makes_room_for_the_same_user_only() {
    let bob = [held("c-1", "bob", ext("b"))];
    for gone in [Vec::new(), vec![off(row("c-1", "bob", ext("b")))]] {
        let with = |user: &str| gone.iter().cloned().chain([row("c-2", user, ext("b"))]).collect::<Vec<_>>();
        assert_eq!(verdicts(&bob, with("bob")).last().unwrap(), "c-2<0");
        assert_eq!(verdicts(&bob, with("carl")).last().unwrap(), "c-2!left");
    }
    // Its id was given to another user: it is no longer there under it.
    let rows = vec![row("c-1", "carl", ext("k")), row("c-2", "bob", ext("b"))];
    assert_eq!(verdicts(&bob, rows), ["c-1!both", "c-2<0"]);
    // Two cannot both take it over, and one that holds data continues with its own.
    let rows = vec![row("c-2", "bob", ext("b")), row("c-3", "bob", ext("b"))];
    assert_eq!(verdicts(&bob, rows), ["c-2<0", "c-3!shared"]);
    let two = [held("c-1", "bob", ext("b")), held("c-2", "bob", ext("b"))];
    assert_eq!(verdicts(&two, vec![row("c-2", "bob", ext("b"))]), ["c-2=own"]);
    // Of two that are gone, the first is followed.
    assert_eq!(verdicts(&two, vec![row("c-3", "bob", ext("b"))]), ["c-3<0"]);
    // A Tink user from before a user was linked again is not free either.
    let anew = [HeldConnection { former: vec![ext("old")], ..held("c-1", "bob", ext("b")) }];
    assert_eq!(
        verdicts(&anew, vec![row("c-1", "bob", ext("b")), row("c-2", "carl", ext("old"))]),
        ["c-1=own", "c-2!shared"]
    );
}

#[test]
fn the_order_of_rows_with_one_id_decides_nothing() {
    let bob = [held("c-1", "bob", ext("b"))];
    let until = |second| SourceRow {
        entitled_until: Timestamp::from_second(second).ok(),
        ..row("c-1", "bob", ext("b"))
    };
    let plain = || row("c-1", "bob", ext("b"));
    let copies = [
        plain(),
        off(plain()),
        until(1),
        until(2),
        row("c-1", "eve", ext("b")),
        row("c-1", "bob", ext("k")),
        both("c-1", "bob", "b", "t"),
        SourceRow { entitled: false, ..until(3) },
        SourceRow { entitled: false, nulls: Nulls { entitled: true, enabled: false }, ..plain() },
        SourceRow { entitled: false, until_unreadable: true, ..plain() },
        SourceRow { market: Some("SE".to_owned()), priority: 1, unencrypted: true, ..plain() },
        SourceRow { problem: Some("odd".to_owned()), ..SourceRow::active("c-1", "", None) },
    ];
    for one in &copies {
        for other in &copies {
            let [rows, turned] =
                [[one, other], [other, one]].map(|rows| single(rows.map(Clone::clone).into()));
            let [judged, same] = [&rows, &turned].map(|rows| judge(&bob, rows).remove(0));
            assert_eq!((judged.row, &judged.verdict), (same.row, &same.verdict));
            // Two rows that agree on another owner are refused for that.
            assert!(judged.problem().is_some_and(|text| one == other || text.contains("more than once")));
            let row = judged.row;
            assert_eq!(
                (row.enabled, row.entitled),
                (one.enabled || other.enabled, one.entitled || other.entitled)
            );
        }
    }
    // An entitlement that goes on is not ended by a row of an earlier one.
    for (one, other, expected) in [
        (until(1), until(2), until(2).entitled_until),
        (until(1), plain(), None),
        (SourceRow { entitled: false, ..until(3) }, until(2), until(2).entitled_until),
        (SourceRow { entitled: false, ..plain() }, until(2), until(2).entitled_until),
    ] {
        assert_eq!(single(vec![one, other]).0[0].entitled_until, expected);
    }
}

#[test]
fn rows_that_cannot_be_read_are_told_and_take_nothing_away() {
    let bob = [held("c-1", "bob", ext("b"))];
    let broken = SourceRow { problem: Some("odd".to_owned()), ..SourceRow::active("c-1", "", None) };
    assert_eq!(verdicts(&bob, vec![broken, row("c-2", "bob", ext("b"))]), ["c-1!row", "c-2!shared"]);
    let twice = vec![row("c-1", "bob", ext("b")), row("c-1", "bob", ext("b"))];
    assert_eq!(verdicts(&bob, twice), ["c-1!row"]);
    // A broken row that names another user is that user's, and only a broken one may name none.
    let odd = |user: &str| SourceRow { problem: Some("odd".to_owned()), ..row("c-1", user, ext("k")) };
    assert_eq!(verdicts(&bob, vec![odd("carl")]), ["c-1!both"]);
    assert_eq!(verdicts(&bob, vec![odd("")]), ["c-1!row"]);
    assert_eq!(verdicts(&bob, vec![row("c-1", "", ext("k"))]), ["c-1!both"]);
    let nameless = || SourceRow { problem: Some("odd".to_owned()), ..row("", "u", ext("x")) };
    let alone = single(vec![nameless()]);
    let alone = judge(&bob, &alone);
    assert!(alone[0].problem().unwrap().starts_with("a row of the source view"), "{:?}", alone[0].problem());
    let rows = single(vec![nameless(), row("c-1", "bob", ext("b")), nameless()]);
    let judged = judge(&bob, &rows);
    assert_eq!(judged.len(), 2);
    assert!(
        judged[0].problem().unwrap().starts_with("2 rows of the source view"),
        "{:?}",
        judged[0].problem()
    );
}

#[test]
fn the_texts_say_what_to_do() {
    let bob = [held("c-1", "bob", ext("b"))];
    let said = |rows: Vec<SourceRow>| {
        let rows = single(rows);
        judge(&bob, &rows).pop().unwrap().problem().unwrap().to_owned()
    };
    for (rows, parts) in [
        (vec![row("c-1", "carl", ext("k"))], ["carl, so far bob", "tink-sync connections forget c-1"]),
        (vec![row("c-1", "carl", ext("b"))], ["renumbered", "accept-user --same-tink-user c-1"]),
        (vec![row("c-1", "bob", ext("k"))], ["another Tink user", "accept-user c-1"]),
        (
            vec![row("c-2", "carl", ext("b"))],
            ["connection c-1 of user bob", "accept-user --same-tink-user c-2"],
        ),
        (
            vec![row("c-1", "bob", ext("b")), row("c-2", "bob", ext("b"))],
            ["connection c-1 of the same user", "forget c-1"],
        ),
    ] {
        let text = said(rows);
        assert!(parts.iter().all(|part| text.contains(part)) && text.contains("source view"), "{text}");
    }
}

fn accepted(
    held: &[HeldConnection],
    rows: &[SourceRow],
    what: Acceptance<'_>,
) -> Result<Vec<(usize, String, bool)>, String> {
    let short = |one: Accepted| (one.place, one.user_id, one.tink_user.is_some());
    accept(held, &rows.iter().cloned().collect(), what).map(|all| all.into_iter().map(short).collect())
}

#[test]
fn a_person_may_accept_a_new_link_of_the_same_user() {
    let bob = [held("c-1", "bob", ext("b")), held("c-2", "carl", ext("k"))];
    let anew = |user: &str, name| accepted(&bob, &[row("c-1", user, name)], Acceptance::TinkUser("c-1"));
    assert_eq!(anew("bob", ext("b2")), Ok(vec![(0, "bob".to_owned(), true)]));
    assert_eq!(
        anew("bob", tink("t")),
        Ok(vec![(0, "bob".to_owned(), true)]),
        "also one that Tink did not prove"
    );
    for (user, name, said) in [
        ("dan", ext("b2"), "another user"),
        ("dan", ext("b"), "another user"),
        ("bob", ext("b"), "nothing to accept"),
        // This one is Carl's.
        ("bob", ext("k"), "connection c-2 of user carl"),
    ] {
        let problem = anew(user, name).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    // Also while its own row is disabled: it may be enabled again, or the view may leave that open.
    let rows = [off(row("c-1", "bob", ext("k"))), row("c-2", "carl", ext("k"))];
    let problem = accepted(&bob, &rows, Acceptance::TinkUser("c-1")).unwrap_err();
    assert!(problem.contains("connection c-2 of user carl"), "{problem}");
    assert!(accepted(&bob, &[], Acceptance::TinkUser("c-1")).unwrap_err().contains("no row"));
}

#[test]
fn a_person_may_accept_that_users_were_renumbered() {
    let held = [held("c-1", "1", ext("a")), held("c-2", "2", ext("b")), held("c-3", "3", ext("c"))];
    // Two swap their users, and one has another Tink user as well.
    let rows = [row("c-1", "2", ext("a")), row("c-2", "1", ext("b")), row("c-3", "9", ext("z"))];
    let all = [(0, "2".to_owned(), false), (1, "1".to_owned(), false)];
    assert_eq!(accepted(&held, &rows, Acceptance::User(&[])), Ok(all.to_vec()));
    let one = |id: &str| accepted(&held, &rows, Acceptance::User(&[id.to_owned()]));
    assert_eq!(one("c-1"), Ok(all[..1].to_vec()));
    assert!(one("c-3").unwrap_err().contains("another Tink user"));
    // Links and users were renumbered: the data of the old link are the new user's.
    let rows = [row("n-1", "one", ext("a"))];
    assert_eq!(
        accepted(&held, &rows, Acceptance::User(&["n-1".to_owned()])),
        Ok(vec![(0, "one".to_owned(), false)])
    );
    // What cannot be accepted in this way is explained.
    let said = |row: SourceRow| accepted(&held, &[row], Acceptance::User(&["c-1".to_owned()])).unwrap_err();
    assert!(said(row("c-1", "1", ext("a2"))).contains("leave --same-tink-user out"));
    assert!(said(row("c-1", "9", ext("z"))).contains("to another user (9, so far 1) with another Tink user"));
    assert!(said(row("c-1", "1", ext("a"))).contains("nothing"), "{}", said(row("c-1", "1", ext("a"))));
    let odd = SourceRow { problem: Some("is odd".to_owned()), ..row("c-1", "1", ext("a")) };
    assert_eq!(said(odd), "connection c-1: is odd");
}

#[test]
fn an_acceptance_takes_nothing_away_from_one_who_is_not_named() {
    let held = [held("c-1", "1", ext("a"))];
    let rows = [row("c-1", "1", ext("z")), row("c-4", "1", ext("z"))];
    assert_eq!(verdicts(&held, rows.to_vec()), ["c-1!tink", "c-4=own"]);
    let said = accepted(&held, &rows, Acceptance::TinkUser("c-1")).unwrap_err();
    assert!(said.starts_with("connection c-4: connection c-1 of the same user"), "{said}");
}

#[test]
fn nobody_comes_into_the_data_of_two_users_by_one_acceptance() {
    let dora = HeldConnection { former: vec![ext("s")], ..held("y", "dora", tink("t")) };
    let held = [held("x", "carl", ext("a")), dora, held("c", "bob", tink("t"))];
    // It continues under its stored name, which is dora's before it is carl's.
    let rows = [both("c", "bob", "a", "t"), row("d", "bob", ext("s"))];
    assert!(accepted(&held, &rows, Acceptance::User(&[])).is_err());
}

#[test]
fn a_row_of_another_user_or_tink_user_is_foreign_and_one_that_shares_is_not() {
    for (kind, foreign) in [
        (RefusalKind::OtherUser { same_tink_user: true }, true),
        (RefusalKind::OtherTinkUser, true),
        (RefusalKind::Shared { enabled: true, same_user: false }, false),
    ] {
        assert_eq!(kind.is_foreign(), foreign, "{kind:?}");
    }
}
