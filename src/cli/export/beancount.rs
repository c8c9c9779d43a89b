//! The journal of beancount 2 and 3: directives for currencies and accounts, then one balanced entry per row,
//! with Tink's id as metadata.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::names::{JournalAccounts, dated, flag, one_line, opposite, texts};
use super::{ExportHead, Form};
use crate::store::export::{ExportAccount, ExportRow};

/// Currencies need a date before all rows.
const BEGINNING: &str = "1400-01-01";
/// The number of significant digits of beancount's decimals.
const PRECISION: usize = 28;

pub(super) struct Beancount {
    counters: JournalAccounts,
    /// It was logged that an amount is longer than beancount's.
    is_warned: bool,
}

impl Beancount {
    pub(super) fn new(counters: JournalAccounts) -> Self {
        Self { counters, is_warned: false }
    }

    /// Logs, once, that an amount is longer than those that beancount calculates with.
    fn warn_of_length(&mut self, amount: &str, row: &ExportRow<'_>) {
        let digits = amount.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
        if digits > PRECISION && !self.is_warned {
            tracing::warn!(
                "the amount of transaction {} has more than {PRECISION} digits: the journal has all of them, and beancount \
                 rounds such amounts when it calculates",
                row.text("transaction_id").unwrap_or_default()
            );
            self.is_warned = true;
        }
    }

    fn open_other_sides(&self, out: &mut dyn Write, accounts: &[ExportAccount]) -> io::Result<()> {
        let Some(first) = accounts.iter().map(|account| account.first_day.as_str()).min() else {
            return Ok(());
        };
        let names = BTreeSet::from([&self.counters.expenses, &self.counters.income]);
        names.into_iter().try_for_each(|name| writeln!(out, "{} open {name}", first.max(BEGINNING)))
    }
}

impl Form for Beancount {
    fn begin(&mut self, out: &mut dyn Write, head: &ExportHead<'_>) -> io::Result<()> {
        let currencies: BTreeSet<&str> = head.accounts.iter().map(|a| a.currency.as_str()).collect();
        for currency in currencies {
            let name = commodity(currency);
            writeln!(out, "{BEGINNING} commodity {name}")?;
            if name != currency {
                writeln!(out, "  name: {}", string(currency))?;
            }
        }
        for (name, account) in self.counters.learn(head.accounts) {
            let days = head.accounts.iter().filter(|a| a.key == account.key).map(|a| a.first_day.as_str());
            writeln!(out, "{} open {name}", days.min().unwrap_or(BEGINNING).max(BEGINNING))?;
            writeln!(out, "  name: {}", string(&account.name))?;
            writeln!(out, "  connection_id: {}", string(&account.connection_id))?;
        }
        self.open_other_sides(out, head.accounts)
    }

    fn row(&mut self, out: &mut dyn Write, row: &ExportRow<'_>) -> io::Result<()> {
        let (day, booked) = dated(row);
        write!(out, "\n{day} {} ", flag(row))?;
        match texts(row) {
            (Some(payee), narration) => writeln!(out, "{} {}", string(&payee), string(&narration))?,
            (None, narration) => writeln!(out, "{}", string(&narration))?,
        }
        writeln!(out, "  tink_id: {}", string(row.text("transaction_id").unwrap_or_default()))?;
        if let Some(booked) = booked {
            writeln!(out, "  booked_date: {}", string(booked))?;
        }
        let amount = row.text("amount").unwrap_or_default();
        self.warn_of_length(amount, row);
        let (own, other) = self.counters.sides(row);
        let currency = commodity(row.text("currency").unwrap_or_default());
        writeln!(out, "  {own:<40}  {amount:>12} {currency}")?;
        writeln!(out, "  {other:<40}  {:>12} {currency}", opposite(amount))
    }
}

fn string(text: &str) -> String {
    format!("\"{}\"", one_line(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// The currency itself if beancount accepts it, else a name derived from its hash; its directive then names
/// the currency.
fn commodity(currency: &str) -> String {
    let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '\'' | '.' | '_' | '-');
    let fits = (2..=24).contains(&currency.len())
        && currency.starts_with(|c: char| c.is_ascii_uppercase())
        && currency.ends_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
        && currency.chars().all(inner);
    if fits {
        return currency.to_owned();
    }
    let hash = Sha256::digest(currency.as_bytes());
    hash.iter().take(10).fold("X-".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02X}");
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_inside_their_quotes() {
        assert_eq!(string("say \"hi\" \\ \n; #tag"), r#""say \"hi\" \\ ; #tag""#);
    }

    #[test]
    fn currencies_are_as_sent_or_named_after_what_was_sent() {
        for currency in ["EUR", "XAU", "A1", "X.Y-Z'3"] {
            assert_eq!(commodity(currency), currency);
        }
        for currency in ["eur", "€", "E", "EUR-", "1EUR", "", &"A".repeat(25)] {
            let name = commodity(currency);
            assert_eq!(name.len(), 22);
            assert_eq!(commodity(&name), name, "what it becomes is a currency");
        }
        assert_ne!(commodity("eur"), commodity("€"));
    }
}
