//! The common part of both journals: names of accounts, the two sides of a row, its texts on one line. Names
//! are built from what does not change, so that a later export matches an earlier one.

use std::collections::HashMap;

use super::ExportFormat;
use crate::domain::account::is_owed;
use crate::store::export::{ExportAccount, ExportRow};

/// Account of expenses that are not categorized yet.
pub(super) const EXPENSES: &str = "Expenses:Unknown";
/// Account of income that is not categorized yet.
pub(super) const INCOME: &str = "Income:Unknown";

/// The longest text of a journal, in bytes: ledger refuses a file with a line of more than 4,096, and a line holds
/// two texts.
const LONGEST_TEXT: usize = 1500;

/// The account names of a journal.
#[derive(Debug)]
pub(super) struct JournalAccounts {
    /// Account of what was spent.
    pub expenses: String,
    /// Account of what came in.
    pub income: String,
    names: HashMap<i64, String>,
}

impl JournalAccounts {
    /// Takes the accounts of the other side, whose names must be valid in this format.
    pub(super) fn new(expenses: &str, income: &str, format: ExportFormat) -> Result<Self, String> {
        let is_name = if format == ExportFormat::Beancount { is_beancount } else { is_ledger };
        for (option, name) in [("--expenses", expenses), ("--income", income)] {
            if !is_name(name) {
                return Err(format!("{option}: {name:?} is no account name here; one is {EXPENSES}"));
            }
        }
        Ok(Self { expenses: expenses.to_owned(), income: income.to_owned(), names: HashMap::new() })
    }

    /// Stores the names of the accounts; returns each account once, with its name, in the given order.
    pub(super) fn learn<'a>(&mut self, accounts: &'a [ExportAccount]) -> Vec<(String, &'a ExportAccount)> {
        let mut known: Vec<(String, &ExportAccount)> = Vec::new();
        for account in accounts {
            if self.names.contains_key(&account.key) {
                continue;
            }
            let name = name(account);
            self.names.insert(account.key, name.clone());
            known.push((name, account));
        }
        known
    }

    /// The two accounts of a row: the bank's, and the other side.
    pub(super) fn sides(&self, row: &ExportRow<'_>) -> (&str, &str) {
        let own = row.number("account_key").and_then(|key| self.names.get(&key));
        let comes_in = row.text("amount").is_some_and(|amount| !amount.starts_with('-') && amount != "0");
        let other = if comes_in { &self.income } else { &self.expenses };
        (own.map_or("Assets:Bank", String::as_str), other)
    }
}

/// `Assets:Bank:Checking-3456-17`: the type, the last digits of the number, and the key, which alone is unique.
fn name(account: &ExportAccount) -> String {
    let root = if is_owed(&account.kind) { "Liabilities" } else { "Assets" };
    let letters: String = account.kind.chars().filter(char::is_ascii_alphabetic).collect();
    let number = account.iban.as_deref().or(account.masked_pan.as_deref()).unwrap_or_default();
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    let mut parts = Vec::new();
    if let Some((first, rest)) = letters.split_at_checked(1).filter(|_| !letters.is_empty()) {
        parts.push(format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase()));
    }
    if let Some(end) = digits.last_chunk::<4>() {
        parts.push(end.iter().collect());
    }
    parts.push(account.key.to_string());
    format!("{root}:Bank:{}", parts.join("-"))
}

/// Letters, digits and dashes between colons, each part beginning with a capital or a digit; the first is one
/// of the five roots.
fn is_beancount(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let roots = ["Assets", "Liabilities", "Equity", "Income", "Expenses"];
    let mut parts = name.split(':');
    parts.next().is_some_and(|root| roots.contains(&root)) && parts.clone().count() > 0 && parts.all(is_part)
}

/// Words between colons, separated by single spaces, each part beginning with a letter or digit.
fn is_ledger(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(char::is_alphanumeric)
            && !part.ends_with(' ')
            && !part.contains("  ")
            && !part.contains(|c: char| c.is_control() || c == ';' || (c.is_whitespace() && c != ' '))
    };
    name.split(':').all(is_part)
}

/// The amount of the other side.
pub(super) fn opposite(amount: &str) -> String {
    match amount.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if amount == "0" => amount.to_owned(),
        None => format!("-{amount}"),
    }
}

/// `*` for a booked row, `!` for any other.
pub(super) fn flag(row: &ExportRow<'_>) -> char {
    if row.text("status") == Some("booked") { '*' } else { '!' }
}

/// The day of a row as journals can write it, and its booked date if that differs or is unknown.
pub(super) fn dated<'a>(row: &'a ExportRow<'_>) -> (&'a str, Option<&'a str>) {
    // Journals accept no day before the year 1400; earlier ones, such as another calendar's first day, are
    // raised to it.
    let day = if row.day.as_str() < "1400-01-01" { "1400-01-01" } else { row.day.as_str() };
    let booked = row.text("booked_date").unwrap_or("unknown");
    (day, (booked != day).then_some(booked))
}

/// The other party and the purpose, each on one line and cut; the first only if it differs from the second.
pub(super) fn texts(row: &ExportRow<'_>) -> (Option<String>, String) {
    let first = |columns: [&str; 2]| {
        columns.into_iter().filter_map(|column| row.text(column)).map(short).find(|text| !text.is_empty())
    };
    let goes_out = row.text("amount").is_some_and(|amount| amount.starts_with('-'));
    let party = if goes_out { "payee_name" } else { "payer_name" };
    let narration = first(["description", "description_original"]).unwrap_or_default();
    let payee = first(["merchant_name", party]).filter(|payee| *payee != narration);
    (payee, narration)
}

/// A text on one line, without anything that an editor or a terminal would act on.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if is_odd(c) { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text on one line, with `…` for what is too long for a journal.
pub(super) fn short(text: &str) -> String {
    let mut line = one_line(text);
    if line.len() > LONGEST_TEXT {
        line.truncate(line.floor_char_boundary(LONGEST_TEXT - '…'.len_utf8()));
        line.push('…');
    }
    line
}

/// Control characters, line separators, and marks that change the direction of text.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: i64, kind: &str, iban: Option<&str>) -> ExportAccount {
        ExportAccount {
            key,
            connection_id: "c".to_owned(),
            name: "My money".to_owned(),
            kind: kind.to_owned(),
            iban: iban.map(str::to_owned),
            masked_pan: None,
            currency: "EUR".to_owned(),
            first_day: "2026-06-01".to_owned(),
        }
    }

    #[test]
    fn names_are_made_of_what_stays() {
        for (kind, iban, expected) in [
            ("CHECKING", Some("PL61 1090 3456"), "Assets:Bank:Checking-3456-17"),
            ("CREDIT_CARD", None, "Liabilities:Bank:Creditcard-17"),
            ("", None, "Assets:Bank:17"),
            ("ŻÓŁĆ:1", Some("PL6"), "Assets:Bank:17"),
        ] {
            let name = name(&account(17, kind, iban));
            assert_eq!(name, expected);
            assert!(is_beancount(&name) && is_ledger(&name));
        }
    }

    #[test]
    fn names_of_the_other_side_are_checked_for_their_form() {
        for (name, beancount, ledger) in [
            ("Expenses:Unknown", true, true),
            ("Expenses:Food-1:2", true, true),
            ("Expenses", false, true),
            ("Expenses:food", false, true),
            ("Ausgaben:Öl und Gas", false, true),
            ("Expenses:", false, false),
            ("a  b", false, false),
            ("(virtual)", false, false),
            ("a;b", false, false),
            ("a\nb", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_beancount(name), is_ledger(name)), (beancount, ledger), "{name:?}");
        }
        let error = JournalAccounts::new("Expenses", "Income:X", ExportFormat::Beancount).unwrap_err();
        assert!(error.starts_with("--expenses: "), "{error}");
    }

    #[test]
    fn the_other_side_has_the_same_digits() {
        for (amount, other) in [("-130.5", "130.5"), ("0", "0"), ("9007199254740993", "-9007199254740993")] {
            assert_eq!(opposite(amount), other);
        }
    }

    #[test]
    fn texts_come_on_one_line() {
        assert_eq!(one_line(" a\r\n\tb  c\u{202e}d\u{0}\u{2028}"), "a b c d");
        assert_eq!(one_line("\n"), "");
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        for (text, kept) in [("x", 1497), ("é", 748), ("€", 499), ("👩", 374)] {
            assert_eq!(short(&text.repeat(5000)), format!("{}…", text.repeat(kept)));
        }
        let longest = "x".repeat(LONGEST_TEXT);
        assert_eq!(short(&longest), longest);
    }
}
