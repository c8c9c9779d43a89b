//! What a balance indicates about rows that are about to be removed.

use super::*;

/// The evidence on removing rows of these cents, which are among the account's.
fn evidence(account: &Account, before: Option<(i64, i64)>, going: &[i64]) -> Evidence {
    let going: Vec<Money> = going.iter().map(|cents| money(*cents, "EUR")).collect();
    let stand = before.map(|(balance, rows)| Stand {
        balance: money(balance, "EUR"),
        rows: Total::from(&money(rows, "EUR").amount),
    });
    account.input().evidence(&account.state, stand.as_ref(), going.iter())
}

#[test]
fn a_balance_stands_beside_all_booked_rows_that_count_by_now() {
    let mut input = Account::new(100_000, &[-500, -200]).input();
    input.sums.add(Part::Earlier, &money(-70_000, "EUR"));
    input.sums.add(Part::Booked, &money(-9, "SEK"));
    input.ahead.add(Part::Booked, &money(-200, "EUR"));
    let rows = Total::from(&money(-70_500, "EUR").amount);
    assert_eq!(input.stand(), Some(Stand { balance: money(100_000, "EUR"), rows }));
}

#[test]
fn the_last_balance_speaks_alone_and_only_of_its_own_currency() {
    let mut account = Account::new(100_000, &[-500, -700]);
    let anchored = std::mem::take(&mut account.state);
    let before = Some((100_000, -1200));
    account.rows.push((-60, "EUR", Status::Booked, 12));
    assert_eq!(
        evidence(&account, before, &[-700]),
        Evidence::Contradicts,
        "it did not move for new rows either"
    );
    account.balance += 700 - 60;
    assert_eq!(evidence(&account, before, &[-700]), Evidence::Proves);
    let going = [money(-700, "EUR"), money(-33, "SEK")];
    let stand = |currency| Stand {
        balance: money(100_000, currency),
        rows: Total::from(&money(-1200, "EUR").amount),
    };
    let said =
        |state: &Reconciliation, stand: &Stand| account.input().evidence(state, Some(stand), going.iter());
    assert_eq!(
        said(&account.state, &stand("EUR")),
        Evidence::Proves,
        "rows in another currency are no part of it"
    );
    assert_eq!(said(&account.state, &stand("SEK")), Evidence::Silent);
    let mut foreign = anchored.clone();
    foreign.anchor.as_mut().unwrap().currency = "SEK".to_owned();
    assert_eq!(said(&anchored, &stand("SEK")), Evidence::Proves);
    assert_eq!(said(&foreign, &stand("SEK")), Evidence::Silent);
}

#[test]
fn a_balance_speaks_for_or_against_rows_that_would_go() {
    let rows = [-500, -700, -900];
    let mut account = Account::new(100_000, &rows);
    let before = Some((100_000, -2100));
    assert_eq!(evidence(&account, before, &[-700]), Evidence::Contradicts, "it did not move");
    assert_eq!(evidence(&account, before, &[-700, 700]), Evidence::Silent, "they sum to nothing");
    assert_eq!(evidence(&account, before, &[]), Evidence::Silent);
    account.balance += 700;
    assert_eq!(evidence(&account, before, &[-700]), Evidence::Proves);
    assert_eq!(evidence(&account, before, &[-500]), Evidence::Silent, "it moved by something else");
    // New rows were added meanwhile.
    account.book(-60, 12);
    assert_eq!(evidence(&account, before, &[-700]), Evidence::Proves);
    account.balance -= 700;
    assert_eq!(evidence(&account, before, &[-700]), Evidence::Contradicts, "it moved by the new rows alone");
    account.state = Reconciliation::default();
    assert_eq!(evidence(&account, None, &[-700]), Evidence::Silent, "nothing is known of before");
}

#[test]
fn a_difference_that_the_removal_would_close_is_proof() {
    let mut account = Account::new(100_000, &[-500, -700]);
    account.balance += 700;
    account.judge();
    // At the last walk the balance had moved already, and the row was still listed.
    assert_eq!(evidence(&account, Some((100_700, -1200)), &[-700]), Evidence::Proves);
}

#[test]
fn a_balance_that_never_moves_contradicts_nothing() {
    let mut account = Account::new(0, &[-500]);
    account.rows.push((-700, "EUR", Status::Booked, 12));
    account.judge();
    assert_eq!(account.state.doubt, Some(Doubt::BalanceStill));
    assert_eq!(evidence(&account, Some((0, -1200)), &[-700]), Evidence::Silent);
}
