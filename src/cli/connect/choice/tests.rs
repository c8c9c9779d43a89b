//! Which connection gets the bank, in every situation.

use super::*;

fn row(connection: &str, user: &str) -> SourceRow {
    let tink_user = TinkUser::External(format!("ext-{connection}"));
    SourceRow { market: Some("DE".to_owned()), ..SourceRow::active(connection, user, Some(tink_user)) }
}

fn begun(connection: &str) -> BegunLink {
    BegunLink {
        connection_id: connection.to_owned(),
        user_id: "me".to_owned(),
        external_user_id: "ext-begun".to_owned(),
        market: Some("SE".to_owned()),
    }
}

fn me(connection: Option<&str>) -> Asked<'_> {
    Asked { user: "me", connection, external_user_id: None, market: None }
}

fn chosen(
    asked: &Asked<'_>,
    rows: &[SourceRow],
    begun: &[BegunLink],
    view: Option<&str>,
) -> Result<Chosen, String> {
    choose(asked, rows, begun, view, Timestamp::UNIX_EPOCH, "ts-new".to_owned())
}

fn known(connection: &str) -> Chosen {
    Chosen::Known {
        connection_id: connection.to_owned(),
        user: TinkUser::External(format!("ext-{connection}")),
        market: Some("DE".to_owned()),
    }
}

#[test]
fn a_new_user_gets_a_connection_of_the_same_name() {
    let link = BegunLink { external_user_id: "ts-new".to_owned(), market: None, ..begun("me") };
    let new = Chosen::New { link: link.clone(), resumed: false };
    assert_eq!(chosen(&me(None), &[row("other", "you")], &[], None), Ok(new));
    let asked = Asked { external_user_id: Some("mine"), market: Some("PL"), ..me(Some("c-9")) };
    let link = BegunLink {
        connection_id: "c-9".to_owned(),
        external_user_id: "mine".to_owned(),
        market: Some("PL".to_owned()),
        ..link
    };
    assert_eq!(chosen(&asked, &[], &[], None), Ok(Chosen::New { link, resumed: false }));
}

#[test]
fn the_one_connection_of_a_user_gets_a_second_bank() {
    for view in [None, Some("v")] {
        let rows = [row("c-1", "me"), row("c-2", "you")];
        assert_eq!(chosen(&me(None), &rows, &[], view), Ok(known("c-1")));
        assert_eq!(chosen(&me(Some("c-1")), &rows, &[], view), Ok(known("c-1")));
    }
}

#[test]
fn of_several_connections_one_must_be_named() {
    let rows = [row("c-1", "me"), row("c-2", "me")];
    assert!(chosen(&me(None), &rows, &[], None).unwrap_err().contains("(c-1, c-2)"));
    assert_eq!(chosen(&me(Some("c-2")), &rows, &[], None), Ok(known("c-2")));
    let third = chosen(&me(Some("c-3")), &rows, &[], None).unwrap();
    assert!(third.is_new() && third.connection_id() == "c-3");
}

#[test]
fn what_was_begun_goes_on() {
    let resumed = |asked: &Asked<'_>| chosen(asked, &[], &[begun("me")], None);
    assert_eq!(resumed(&me(None)), Ok(Chosen::New { link: begun("me"), resumed: true }));
    let asked = Asked { market: Some("FI"), ..me(None) };
    assert_eq!(resumed(&asked).unwrap().market(), Some("FI"));
    assert!(!matches!(resumed(&me(Some("other"))), Ok(Chosen::New { resumed: true, .. })));
    let asked = Asked { external_user_id: Some("another"), ..me(None) };
    assert!(resumed(&asked).unwrap_err().contains("begun with another user at Tink"));
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let off = SourceRow { enabled: false, ..row("c-1", "me") };
    let paused = SourceRow { entitled: false, ..row("c-1", "me") };
    let over = SourceRow { entitled_until: Some(Timestamp::UNIX_EPOCH), ..row("c-1", "me") };
    let odd = SourceRow { problem: Some("the row is odd".to_owned()), ..row("c-1", "me") };
    let link_only = SourceRow { tink_user: None, ..row("c-1", "me") };
    let theirs = row("me", "you");
    for (asked, row, view, words) in [
        (me(None), &off, None, "tink-sync connections enable c-1"),
        (me(None), &off, Some("v"), "disabled by the application"),
        (me(None), &paused, None, "tink-sync users set me --entitled yes"),
        (me(None), &over, Some("v"), "not entitled, says the application (view v)"),
        (me(None), &odd, None, "the row is odd"),
        (me(None), &link_only, Some("v"), "names no user at Tink"),
        (me(None), &theirs, None, "with --connection"),
        (me(Some("me")), &theirs, None, "belongs to user you"),
        (me(None), &theirs, Some("v"), "has no connection of user me"),
        (me(Some("c-9")), &row("c-1", "me"), Some("v"), "has no connection c-9"),
        (Asked { external_user_id: Some("x"), ..me(None) }, &row("c-1", "me"), None, "another user at Tink"),
        (Asked { external_user_id: Some("ext-c-2"), ..me(None) }, &row("c-2", "you"), None, "of user you"),
        (Asked { user: "a\nb", ..me(None) }, &off, None, "without control characters"),
    ] {
        let refused = chosen(&asked, std::slice::from_ref(row), &[], view).unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    }
}
