//! The journal of ledger and hledger, in the syntax that both read: one balanced entry per row, with Tink's
//! id as a tag. Texts lose only characters that would be read as syntax, and what is too long for a line; amounts
//! lose nothing.

use std::io::{self, Write};

use super::names::{JournalAccounts, dated, flag, opposite, short, texts};
use super::{ExportHead, Form};
use crate::store::export::ExportRow;

pub(super) struct Ledger {
    counters: JournalAccounts,
}

impl Ledger {
    pub(super) fn new(counters: JournalAccounts) -> Self {
        Self { counters }
    }
}

impl Form for Ledger {
    fn begin(&mut self, out: &mut dyn Write, head: &ExportHead<'_>) -> io::Result<()> {
        for (name, account) in self.counters.learn(head.accounts) {
            writeln!(out, "; {} (connection {})", short(&account.name), short(&account.connection_id))?;
            writeln!(out, "account {name}")?;
        }
        if !head.accounts.is_empty() {
            writeln!(out, "account {}\naccount {}", self.counters.expenses, self.counters.income)?;
        }
        Ok(())
    }

    fn row(&mut self, out: &mut dyn Write, row: &ExportRow<'_>) -> io::Result<()> {
        let (day, booked) = dated(row);
        let header = format!("{day} {} {}", flag(row), description(row));
        writeln!(out, "\n{}", header.trim_end())?;
        writeln!(out, "    ; tink_id: {}", value(row.text("transaction_id").unwrap_or_default()))?;
        if let Some(booked) = booked {
            writeln!(out, "    ; booked_date: {}", value(booked))?;
        }
        let (own, other) = self.counters.sides(row);
        let amount = row.text("amount").unwrap_or_default();
        let currency = commodity(row.text("currency").unwrap_or_default());
        writeln!(out, "    {own:<40}  {amount:>12} {currency}")?;
        writeln!(out, "    {other:<40}  {:>12} {currency}", opposite(amount))
    }
}

/// `payee | narration`, as hledger writes it. A semicolon would begin a comment, another bar would move the
/// border between the two, a parenthesis at the beginning would be a code.
fn description(row: &ExportRow<'_>) -> String {
    let plain = |text: String| text.replace(';', ",").replace('|', "/");
    let text = match texts(row) {
        (Some(payee), narration) if !narration.is_empty() => {
            format!("{} | {}", plain(payee), plain(narration))
        }
        (Some(payee), _) => plain(payee),
        (None, narration) => plain(narration),
    };
    if text.starts_with(['(', '*', '!']) { format!("- {text}") } else { text }
}

/// The value of a tag. Characters with a meaning in a comment are percent-encoded: `%2C`.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    encoded(text, plain, '%')
}

/// A currency: plain if it has only letters, else encoded and quoted.
fn commodity(currency: &str) -> String {
    if !currency.is_empty() && currency.chars().all(|c| c.is_ascii_alphabetic()) {
        return currency.to_owned();
    }
    format!("\"{}\"", encoded(currency, |c| c.is_ascii_alphanumeric(), '_'))
}

/// Replaces every character that is not plain by its bytes in hexadecimal, each after `mark`.
fn encoded(text: &str, is_plain: impl Fn(char) -> bool, mark: char) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(out, "{mark}{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_syntax_is_none() {
        assert_eq!(value("0123abcdef"), "0123abcdef");
        assert_eq!(value("a,b: [c]"), "a%2Cb%3A%20%5Bc%5D");
        assert_eq!(commodity("EUR"), "EUR");
        assert_eq!(commodity("€"), "\"_E2_82_AC\"");
        assert_eq!(commodity("X\"1"), "\"X_221\"");
    }
}
