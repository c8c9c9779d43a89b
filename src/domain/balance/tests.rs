//! The reconciliation on made-up accounts: correct books show no difference, and each kind of fault is found
//! to the cent.

use jiff::SignedDuration;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::amount::Amount;

mod beginning;
mod evidence;

fn money(cents: i64, currency: &str) -> Money {
    let amount = Amount::from_parts(&cents.to_string(), "2").unwrap();
    Money { amount, currency: currency.to_owned() }
}

fn at(n: u32) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(6 * i64::from(n))
}

/// An account at a bank, and its stored copy.
struct Account {
    balance: i64,
    /// Stored rows: cents, currency, status, day of June (0 for none).
    rows: Vec<(i64, &'static str, Status, i8)>,
    first_day: Option<Date>,
    quarantined: u32,
    owed: bool,
    n: u32,
    state: Reconciliation,
}

impl Account {
    fn new(balance: i64, rows: &[i64]) -> Self {
        let rows = rows.iter().map(|cents| (*cents, "EUR", Status::Booked, 10)).collect();
        let state = Reconciliation::default();
        let mut account = Self { balance, rows, first_day: None, quarantined: 0, owed: true, n: 0, state };
        account.judge();
        account.first_day = Some(date(2026, 6, 10));
        account
    }

    fn input(&self) -> BalanceInput {
        let mut sums = Sums::default();
        for (cents, currency, status, day) in &self.rows {
            let day = (*day > 0).then(|| date(2026, 6, *day));
            if let Some(part) = Part::of(*status, day, self.first_day) {
                sums.add(part, &money(*cents, currency));
            }
        }
        let balance = Some(money(self.balance, "EUR"));
        BalanceInput {
            balance,
            refresh: Some(at(self.n)),
            sums,
            ahead: Sums::default(),
            quarantined: self.quarantined,
            owed: self.owed,
        }
    }

    fn judge(&mut self) -> &Reconciliation {
        self.n += 1;
        self.state = reconcile(&self.state, &self.input(), at(self.n));
        &self.state
    }

    /// A booking that appears on both sides.
    fn book(&mut self, cents: i64, day: i8) {
        self.balance += cents;
        self.rows.push((cents, "EUR", Status::Booked, day));
    }

    fn difference(&self) -> Option<String> {
        self.state.difference.as_ref().map(|difference| difference.amount.to_string())
    }

    fn assert_proven(&mut self) {
        let refresh = at(self.n + 1);
        let state = self.judge();
        assert_eq!((&state.difference, state.doubt, state.proven), (&None, None, Some(refresh)));
    }
}

#[test]
fn each_fault_is_seen_to_the_cent_and_ends_when_it_is_mended() {
    type Fault = fn(&mut Account);
    let faults: [(&str, Fault, Fault, &str); 5] = [
        ("a lost row", |a| a.balance -= 1250, |a| a.rows.push((-1250, "EUR", Status::Booked, 12)), "-12.5"),
        (
            "a doubled row",
            |a| a.rows.push(a.rows[0]),
            |a| {
                a.rows.remove(4);
            },
            "5",
        ),
        ("a flipped sign", |a| a.rows[1].0 = 700, |a| a.rows[1].0 = -700, "-14"),
        (
            "a lost page",
            |a| drop(a.rows.drain(..2)),
            |a| a.rows.extend([(-500, "EUR", Status::Booked, 10), (-700, "EUR", Status::Booked, 10)]),
            "-12",
        ),
        (
            "a row removed by mistake",
            |a| {
                a.rows.remove(0);
            },
            |a| a.rows.push((-500, "EUR", Status::Booked, 10)),
            "-5",
        ),
    ];
    for (name, make, mend, difference) in faults {
        let mut account = Account::new(100_000, &[-500, -700, 30]);
        account.book(-20, 11);
        account.assert_proven();
        make(&mut account);
        account.judge();
        assert_eq!(account.difference().as_deref(), Some(difference), "{name}");
        let (since, proven) = (at(account.n), at(account.n - 1));
        account.book(-99, 13);
        account.judge();
        let open = account.state.difference.clone().unwrap();
        assert_eq!((open.amount.to_string().as_str(), open.since, open.changed), (difference, since, since));
        assert_eq!((account.state.proven, account.state.judged), (Some(proven), Some(at(account.n))));
        mend(&mut account);
        account.assert_proven();
    }
}

#[test]
fn a_difference_that_grows_keeps_its_beginning() {
    let mut account = Account::new(0, &[]);
    account.balance += 100;
    account.judge();
    account.balance += 50;
    account.judge();
    let open = account.state.difference.clone().unwrap();
    assert_eq!((open.amount.to_string().as_str(), open.since, open.changed), ("1.5", at(2), at(3)));
}

#[test]
fn history_that_comes_later_is_no_booking_and_a_late_booking_is_one() {
    let mut account = Account::new(100_000, &[-500]);
    account.rows.extend([(-70_000, "EUR", Status::Booked, 2), (90, "EUR", Status::Booked, 9)]);
    account.book(-42, 11);
    account.assert_proven();
    account.book(-33, 8);
    account.assert_proven();
    account.book(-1, 0);
    account.assert_proven();
    account.rows.retain(|row| row.3 != 2);
    account.assert_proven();
}

#[test]
fn pending_rows_never_count_until_they_are_booked() {
    let mut account = Account::new(100_000, &[]);
    account.rows.push((-500, "EUR", Status::Pending, 12));
    account.assert_proven();
    account.rows[0].2 = Status::Booked;
    account.balance -= 500;
    account.assert_proven();
}

#[test]
fn rows_of_unknown_weight_prove_nothing_and_accuse_nobody() {
    for row in [(-500, "SEK", Status::Booked, 12), (-500, "EUR", Status::Undefined, 12)] {
        let mut account = Account::new(100_000, &[-1]);
        let proven = account.state.proven;
        account.rows.push(row);
        account.balance -= 47;
        account.judge();
        let state = &account.state;
        assert_eq!((state.doubt, state.proven, &state.difference), (Some(Doubt::UnclearRows), proven, &None));
        account.book(-2, 13);
        account.assert_proven();
        // If the bank does not count them, there is no doubt.
        account.rows.push(row);
        account.assert_proven();
    }
}

#[test]
fn a_doubt_does_not_hide_an_open_difference() {
    let mut account = Account::new(100_000, &[-1]);
    account.balance -= 1000;
    account.judge();
    account.rows.push((-500, "SEK", Status::Booked, 12));
    account.balance -= 47;
    account.judge();
    assert_eq!(
        (account.state.doubt, account.difference().as_deref()),
        (Some(Doubt::UnclearRows), Some("-10"))
    );
    account.judge();
    assert_eq!((account.state.doubt, account.difference().as_deref()), (None, Some("-10")));
    account.rows.push((-1000, "EUR", Status::Booked, 12));
    account.assert_proven();
}

#[test]
fn nothing_is_proven_while_a_record_is_in_quarantine() {
    let mut account = Account::new(100_000, &[-1]);
    let before = account.state.proven;
    account.quarantined = 1;
    account.judge();
    assert_eq!((account.state.doubt, account.difference()), (Some(Doubt::Quarantine), None));
    assert_eq!(account.state.proven, before, "the numbers agree, but that may be chance");
    // Tink no longer lists it.
    account.quarantined = 0;
    account.assert_proven();

    let mut account = Account { state: Reconciliation::default(), quarantined: 1, ..account };
    account.judge();
    assert_eq!((account.state.doubt, account.state.proven), (Some(Doubt::Quarantine), None));
    account.quarantined = 0;
    account.assert_proven();
}

#[test]
fn what_leaves_the_quarantine_is_weighed_by_when_it_went_in() {
    let mut account = Account::new(100_000, &[-1]);
    account.quarantined = 1;
    account.balance -= 500;
    account.judge();
    assert_eq!(account.difference().as_deref(), Some("-5"));
    assert_eq!(account.state.doubt, Some(Doubt::Quarantine), "it says so");
    account.quarantined = 0;
    account.rows.push((-500, "EUR", Status::Booked, 12));
    account.assert_proven();

    // Here the balance included it from the beginning.
    account.state = Reconciliation::default();
    account.quarantined = 1;
    account.judge();
    account.quarantined = 0;
    account.rows.push((-500, "EUR", Status::Booked, 12));
    account.judge();
    assert_eq!((account.state.doubt, account.difference()), (Some(Doubt::Quarantine), None));
    account.assert_proven();
}

#[test]
fn without_balance_or_refresh_nothing_is_proven_and_the_anchor_stays() {
    let mut account = Account::new(100_000, &[-1]);
    let without = |change: fn(&mut BalanceInput)| {
        let mut input = account.input();
        change(&mut input);
        reconcile(&account.state, &input, at(9))
    };
    let none = without(|input| input.balance = None);
    assert_eq!(none, Reconciliation { doubt: Some(Doubt::NoBalance), ..account.state.clone() });
    let none = without(|input| input.refresh = None);
    assert_eq!(none, Reconciliation { doubt: Some(Doubt::NoRefresh), ..account.state.clone() });
    let other = without(|input| input.balance = Some(money(5, "SEK")));
    assert_eq!((other.doubt, other.anchor.unwrap().currency.as_str()), (Some(Doubt::CurrencyChanged), "SEK"));
    account.assert_proven();
}

#[test]
fn a_difference_is_reported_once_a_refresh_shows_that_it_has_stood_long_enough() {
    let mut account = Account::new(100_000, &[-1]);
    account.balance += 5;
    // Refreshes are six hours apart, and the first sight is that of the first one.
    let reports = |account: &mut Account, hours: i64| -> Vec<bool> {
        let report = |_| {
            let before = account.state.clone();
            account.judge();
            account.state.is_due_for_report(&before, SignedDuration::from_hours(hours))
        };
        (0..5).map(report).collect()
    };
    assert_eq!(reports(&mut account, 12), [false, false, true, false, false]);
    // It ended, and another one begins.
    account.balance -= 5;
    account.assert_proven();
    account.balance += 7;
    assert_eq!(reports(&mut account, 0), [true, false, false, false, false]);
    account.balance -= 7;
    account.assert_proven();
    account.balance += 9;
    assert_eq!(reports(&mut account, 48), [false; 5]);
}

#[test]
fn only_what_may_come_of_two_refreshes_is_delicate() {
    let mut account = Account::new(100_000, &[-1]);
    let step = |account: &mut Account| {
        let before = account.state.clone();
        let after = account.judge().clone();
        (after.is_delicate(&before), after.is_due_for_report(&before, SignedDuration::ZERO))
    };
    assert!(account.state.is_delicate(&Reconciliation::default()), "the first anchor");
    assert_eq!(step(&mut account), (false, false), "agreement");
    account.balance += 5;
    assert_eq!(step(&mut account), (true, true), "a new difference");
    assert_eq!(step(&mut account), (false, false), "the same difference");
    account.balance += 5;
    assert_eq!(step(&mut account), (true, false), "another difference");
    account.balance -= 10;
    assert_eq!(step(&mut account), (false, false), "agreement again");
    account.rows.push((-500, "SEK", Status::Booked, 12));
    account.balance -= 47;
    assert_eq!(step(&mut account), (true, false), "a new start");
}

#[test]
fn an_accepted_difference_is_the_new_beginning() {
    let mut account = Account::new(100_000, &[-1]);
    assert!(!account.state.accept(at(1)));
    account.balance += 5;
    account.judge();
    assert!(account.state.accept(at(7)));
    assert_eq!((account.difference(), account.state.anchor.as_ref().unwrap().since), (None, at(7)));
    account.book(-3, 14);
    account.assert_proven();
}

#[test]
fn words_of_the_store_read_back() {
    // The store finds its rows by these texts.
    assert_eq!(Part::ALL.map(Part::as_str), ["booked", "earlier", "undefined"]);
    for doubt in Doubt::ALL {
        assert_eq!(Doubt::parse(doubt.as_str()), Some(doubt));
    }
    for convention in [Convention::Usual, Convention::DebtPositive] {
        assert_eq!(Convention::parse(convention.as_str()), Some(convention));
    }
    assert_eq!((Doubt::parse("x"), Convention::parse("x")), (None, None));
}

#[test]
fn a_sum_is_empty_without_rows_and_without_money() {
    let (money, rows) = (Total::from(&money(5, "EUR").amount), 2);
    assert!(Sum::default().is_empty());
    // Two rows that cancel out are still two rows, and a change may leave money without rows.
    assert!(!Sum { rows, ..Sum::default() }.is_empty() && !Sum { total: money, rows: 0 }.is_empty());
}

#[test]
fn a_debt_that_is_recognised_while_a_record_is_in_quarantine_proves_nothing() {
    let mut account = Account::new(5000, &[-5000]);
    let before = account.state.proven;
    account.quarantined = 1;
    account.balance += 750;
    account.rows.push((-750, "EUR", Status::Booked, 12));
    account.judge();
    assert_eq!(account.state.convention, Some(Convention::DebtPositive));
    assert_eq!((account.state.doubt, account.state.proven), (Some(Doubt::Quarantine), before));
    account.quarantined = 0;
    account.assert_proven();
}

#[test]
fn a_debt_that_is_stated_as_a_positive_number_is_recognised_and_kept() {
    let mut account = Account::new(5000, &[-5000]);
    let spend = |account: &mut Account, cents: i64| {
        account.balance += cents;
        account.rows.push((-cents, "EUR", Status::Booked, 12));
    };
    spend(&mut account, 750);
    account.assert_proven();
    assert_eq!(account.state.convention, Some(Convention::DebtPositive));
    spend(&mut account, 20);
    account.assert_proven();
    // A missing purchase is a difference like any other.
    account.balance += 300;
    account.judge();
    assert_eq!(account.difference().as_deref(), Some("3"));
    account.rows.push((-300, "EUR", Status::Booked, 12));
    account.assert_proven();
}

#[test]
fn a_balance_that_never_moves_proves_nothing_and_accuses_nobody() {
    let mut account = Account::new(0, &[-500]);
    for _ in 0..3 {
        account.rows.push((-700, "EUR", Status::Booked, 12));
        account.judge();
        assert_eq!((account.state.doubt, account.difference()), (Some(Doubt::BalanceStill), None));
    }
    // Once it moves it is a real balance, and everything since the anchor counts.
    account.balance -= 2100;
    account.assert_proven();
    account.rows.push((-700, "EUR", Status::Booked, 12));
    account.judge();
    assert_eq!(account.difference().as_deref(), Some("7"));
}

#[test]
fn rows_dated_after_the_day_of_the_refresh_do_not_count_yet() {
    let mut account = Account::new(100_000, &[-500]);
    account.rows.push((-700, "EUR", Status::Booked, 25));
    let mut input = account.input();
    input.ahead.add(Part::Booked, &money(-700, "EUR"));
    let state = reconcile(&account.state, &input, at(5));
    assert_eq!((state.difference, state.doubt), (None, None));
    account.balance -= 700;
    account.assert_proven();
}

/// What happens at the bank and in the store between refreshes.
#[derive(Clone, Debug)]
enum Act {
    Book(i64, i8),
    Change(usize, i64),
    Remove(usize),
    History(i64),
    Judge,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let cents = -1_000_000i64..1_000_000;
    let act = prop_oneof![
        (cents.clone(), 10i8..28).prop_map(|(cents, day)| Act::Book(cents, day)),
        (any::<usize>(), cents.clone()).prop_map(|(row, cents)| Act::Change(row, cents)),
        any::<usize>().prop_map(Act::Remove),
        cents.prop_map(Act::History),
        Just(Act::Judge),
    ];
    prop::collection::vec(act, 0..60)
}

impl Account {
    fn act(&mut self, act: &Act) {
        let current: Vec<usize> = (0..self.rows.len()).filter(|n| self.rows[*n].3 >= 10).collect();
        let pick = |n: usize| current.get(n % current.len().max(1)).copied();
        match act {
            Act::Book(cents, day) => self.book(*cents, *day),
            Act::Change(n, cents) => {
                if let Some(n) = pick(*n) {
                    self.balance += cents - self.rows[n].0;
                    self.rows[n].0 = *cents;
                }
            }
            Act::Remove(n) => {
                if let Some(n) = pick(*n) {
                    self.balance -= self.rows.remove(n).0;
                }
            }
            Act::History(cents) => self.rows.push((*cents, "EUR", Status::Booked, 3)),
            Act::Judge => drop(self.judge().clone()),
        }
    }
}

proptest! {
    #[test]
    fn honest_books_are_never_accused(opening in any::<i32>(), acts in acts()) {
        let mut account = Account::new(i64::from(opening), &[]);
        for act in acts {
            account.act(&act);
            prop_assert_eq!((&account.state.difference, account.state.doubt), (&None, None));
        }
        account.assert_proven();
    }

    #[test]
    fn one_fault_is_seen_however_much_happens_around_it(
        before in acts(), after in acts(), fault in 1i64..1_000_000,
    ) {
        let mut account = Account::new(7, &[-5]);
        for act in before {
            account.act(&act);
        }
        account.book(1, 10);
        account.assert_proven();
        account.balance += fault;
        let honest = |act: &&Act| !matches!(act, Act::History(_));
        for act in after.iter().filter(honest) {
            account.act(act);
        }
        account.judge();
        let amount = money(fault, "EUR").amount.to_string();
        prop_assert_eq!(account.difference(), Some(amount));
    }

    #[test]
    fn sums_of_changes_are_the_sums_of_what_is_there(rows in prop::collection::vec((any::<i64>(), 0u8..3), 1..40), gone in any::<usize>()) {
        let row = |(cents, part): &(i64, u8)| (Part::ALL[usize::from(*part)], money(*cents, "EUR"));
        let (mut all, mut left) = (Sums::default(), Sums::default());
        for (n, told) in rows.iter().enumerate() {
            let (part, money) = row(told);
            all.add(part, &money);
            if n != gone % rows.len() {
                left.add(part, &money);
            }
        }
        let (part, money) = row(&rows[gone % rows.len()]);
        all.take(part, &money);
        all.0.retain(|_, sum| !sum.is_empty());
        left.0.retain(|_, sum| !sum.is_empty());
        prop_assert_eq!(all, left);
    }
}
