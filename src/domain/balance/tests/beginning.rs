//! How the reconciliation begins, when it starts again, and what it keeps then.

use super::*;

#[test]
fn that_a_balance_stands_still_is_delicate_when_it_is_first_seen() {
    let mut account = Account::new(0, &[-500]);
    for is_delicate in [true, false] {
        let before = account.state.clone();
        account.rows.push((-700, "EUR", Status::Booked, 12));
        assert_eq!(account.judge().is_delicate(&before), is_delicate);
        assert_eq!(account.state.doubt, Some(Doubt::BalanceStill));
    }
}

#[test]
fn the_first_anchor_proves_itself_and_its_beginning_stays() {
    let mut account = Account::new(100_000, &[-500]);
    assert_eq!(account.state.proven, Some(at(1)));
    account.book(-20, 11);
    account.assert_proven();
    assert_eq!(account.state.anchor.as_ref().unwrap().since, at(1));
}

#[test]
fn a_balance_in_another_currency_is_a_new_beginning() {
    let mut account = Account::new(5000, &[-5000]);
    account.balance += 750;
    account.rows.push((-750, "EUR", Status::Booked, 12));
    account.judge();
    assert!(account.state.convention.is_some());
    let input = BalanceInput { balance: Some(money(5, "SEK")), ..account.input() };
    let after = reconcile(&account.state, &input, at(9));
    assert_eq!((after.difference, after.convention), (None, None));
    assert_eq!((after.doubt, after.proven), (Some(Doubt::CurrencyChanged), account.state.proven));
    assert_eq!(after.anchor.unwrap().since, at(9));
}

#[test]
fn a_balance_in_another_currency_ends_no_difference() {
    let mut account = Account::new(5000, &[-5000]);
    account.balance += 300;
    account.judge();
    let open = account.state.clone();
    // A refresh that was compared with nothing was not judged.
    let input = BalanceInput { balance: Some(money(5, "SEK")), refresh: Some(at(9)), ..account.input() };
    account.state = reconcile(&account.state, &input, at(9));
    assert_eq!(account.state, Reconciliation { doubt: Some(Doubt::CurrencyChanged), ..open.clone() });
    // As before, once the currency is.
    let mut back = account.state.clone();
    back = reconcile(&back, &account.input(), at(10));
    assert_eq!((back.difference, back.doubt), (open.difference, None));
    // A person may end it; then the other currency is the new beginning.
    assert!(account.state.accept(at(10)));
    let after = reconcile(&account.state, &input, at(11));
    assert_eq!((after.doubt, after.anchor.unwrap().since), (Some(Doubt::CurrencyChanged), at(11)));
}

#[test]
fn a_row_of_the_wrong_sign_is_a_difference_where_nothing_is_owed() {
    let mut account = Account::new(5000, &[-5000]);
    account.owed = false;
    account.balance -= 500;
    account.rows.push((500, "EUR", Status::Booked, 12));
    account.judge();
    assert_eq!((account.difference().as_deref(), account.state.convention), (Some("-10"), None));
    account.book(-700, 12);
    account.judge();
    assert_eq!(account.difference().as_deref(), Some("-10"));
    account.rows[1].0 = -500;
    account.assert_proven();
    assert_eq!(account.state.convention, Some(Convention::Usual));
}

#[test]
fn a_booking_of_the_future_that_counts_at_once_is_proof_and_moves_no_opening() {
    let mut account = Account::new(100_000, &[-500]);
    let first = account.state.anchor.clone().unwrap();
    account.balance += 5;
    account.judge();
    assert!(account.state.difference.is_some());
    account.balance -= 5 + 700;
    account.rows.push((-700, "EUR", Status::Booked, 25));
    let mut input = account.input();
    input.ahead.add(Part::Booked, &money(-700, "EUR"));
    input.refresh = Some(at(7));
    let after = reconcile(&account.state, &input, at(8));
    assert_eq!((after.difference, after.doubt, after.proven), (None, None, Some(at(7))));
    let anchor = after.anchor.unwrap();
    assert_eq!((anchor.since, anchor.opening), (at(1), first.opening));
    assert_eq!(anchor.balance, Some(Total::from(&money(99_300, "EUR").amount)));
}

#[test]
fn a_difference_that_was_a_debt_stated_as_a_positive_number_ends() {
    let mut account = Account::new(5000, &[-5000]);
    account.balance += 300;
    account.judge();
    assert_eq!(account.difference().as_deref(), Some("3"));
    account.rows.push((-300, "EUR", Status::Booked, 12));
    account.assert_proven();
    assert_eq!(account.state.convention, Some(Convention::DebtPositive));
    assert_eq!(account.state.anchor.as_ref().unwrap().since, at(1));
}
