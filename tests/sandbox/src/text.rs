//! What stands on a bank statement: names and texts, plain and odd.
//!
//! Words only; which row gets which is decided by its key.

use std::borrow::Cow;

use crate::hash::Dice;

/// A counterparty: raw text, clean text, merchant category code.
const PLACES: [(&str, &str, &str); 20] = [
    ("TESCO STORES 3297", "Tesco", "5411"),
    ("PAYPAL *SPOTIFY 35314369001", "Spotify", "5815"),
    ("UBER *TRIP HELP.UBER.COM", "Uber", "4121"),
    ("AMZN Mktp DE*2K4RT81L4", "Amazon", "5942"),
    ("SHELL 1203 HAMBURG", "Shell", "5541"),
    ("LIDL SP. Z O.O. WARSZAWA", "Lidl", "5411"),
    ("NETFLIX.COM 866-579-7172", "Netflix", "4899"),
    ("Kortköp ICA NÄRA SÖDER", "Ica", "5411"),
    ("SEPA-LASTSCHRIFT STADTWERKE", "Stadtwerke", "4900"),
    ("VIR SEPA LOYER JANVIER", "Loyer", "6513"),
    ("RYANAIR FR7HQ2K1", "Ryanair", "3246"),
    ("MCDONALD'S 00412 LYON", "McDonald's", "5814"),
    ("CASH WITHDRAWAL 0412", "Withdrawal", "6011"),
    ("SALARY ACME INDUSTRIES", "Acme", "0000"),
    ("DD VODAFONE LTD 7004412", "Vodafone", "4814"),
    ("IKEA KØBENHAVN TAASTRUP", "Ikea", "5712"),
    ("FARMACIA SAN JUAN 2", "Farmacia", "5912"),
    ("TRENITALIA ROMA TERMINI", "Trenitalia", "4112"),
    ("H&M 0203 \"CENTRUM\"", "H&M", "5651"),
    ("APPLE.COM/BILL ITUNES", "Apple", "5818"),
];

/// Names of accounts.
const ACCOUNT_NAMES: [&str; 8] = [
    "PERSONKONTO",
    "Current Account",
    "Girokonto",
    "Sparkonto",
    "Compte courant",
    "eKonto",
    "  Everyday  ",
    "Cuenta\u{a0}Nómina",
];

/// The texts of one row.
#[derive(Debug, Clone)]
pub struct Words {
    /// As the bank has it.
    pub original: String,
    /// Cleaned.
    pub display: &'static str,
    /// Merchant category code.
    pub category: &'static str,
}

/// Draws the texts of a row. `odd` adds what real statements are feared for.
pub fn words(dice: &mut Dice, odd: bool) -> Words {
    let (original, display, category) = dice.pick(&PLACES);
    let frame = if odd { dice.below(6) } else { u32::MAX };
    let original = match frame {
        0 => format!("  {original} "),
        1 => original.replace(' ', "\u{a0}"),
        2 => format!("{original} \u{1f355}\u{1f1f5}\u{1f1f1}"),
        3 => format!("{original}\\\"\u{7f}\t"),
        4 => format!("\u{feff}{original}\u{200b}"),
        5 => format!("{original} {}", "x".repeat(600)),
        _ => original.to_owned(),
    };
    Words { original, display, category }
}

/// The text of a row that was booked under a new id: often the same, sometimes only similar.
pub fn rebooked(original: String, dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => format!("CARD {original}"),
        1 => original.to_uppercase(),
        _ => original,
    }
}

/// The name of an account.
pub fn account_name(dice: &mut Dice, odd: bool) -> Cow<'static, str> {
    let name = dice.pick(&ACCOUNT_NAMES);
    if odd { Cow::Owned(format!(" {name} \u{1f3e6}")) } else { Cow::Borrowed(name) }
}
