//! Exact money: a canonical decimal text and a currency. Never passes through a binary float.
//!
//! Tink sends `unscaledValue` × 10^(−`scale`) (API.md 3.2); both are integers of any size, the
//! scale may be negative, and the same value comes back at different scales.

use std::fmt;

/// More digits than any bank sends; keeps a hostile scale from becoming a gigabyte of zeros.
const MAX_DIGITS: usize = 64;

/// An exact decimal in canonical text: no exponent, no trailing zeros after the point, no `-0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(String);

/// Why a pair of unscaled value and scale is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The unscaled value is not a plain integer.
    #[error("unscaledValue is not an integer")]
    Unscaled,
    /// The scale is not a plain integer.
    #[error("scale is not an integer")]
    Scale,
    /// The unscaled value has more than 64 digits, or the scale is beyond ±64.
    #[error("the number has more than {MAX_DIGITS} digits")]
    TooLong,
}

impl Amount {
    /// Builds the exact value `unscaled × 10^(−scale)` from the two integers as text.
    ///
    /// # Errors
    /// [`AmountError`] if either text is not a plain integer, or is beyond the limits of
    /// [`AmountError::TooLong`].
    pub fn from_parts(unscaled: &str, scale: &str) -> Result<Self, AmountError> {
        let scale: i32 = scale.parse().map_err(|_| AmountError::Scale)?;
        let (negative, digits) = integer(unscaled)?;
        if digits.len() > MAX_DIGITS || scale.unsigned_abs() as usize > MAX_DIGITS {
            return Err(AmountError::TooLong);
        }
        if digits.is_empty() {
            return Ok(Self("0".to_owned()));
        }
        Ok(Self(place_point(negative, digits, scale)))
    }

    /// Reads a canonical text back from the store.
    ///
    /// # Errors
    /// [`AmountError`] if the text is not a decimal number or has more than 64 digits.
    pub fn from_decimal(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unscaled = format!("{whole}{fraction}");
        Self::from_parts(&unscaled, &fraction.len().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits an integer text into its sign and its digits without leading zeros (empty for zero).
pub(super) fn integer(text: &str) -> Result<(bool, &str), AmountError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::Unscaled);
    }
    Ok((negative, digits.trim_start_matches('0')))
}

/// Writes `digits × 10^(−scale)`; `digits` is not empty and has no leading zero.
pub(super) fn place_point(negative: bool, digits: &str, scale: i32) -> String {
    let places = scale.unsigned_abs() as usize;
    let mut text = String::with_capacity(digits.len() + places + 3);
    if negative {
        text.push('-');
    }
    if scale <= 0 {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', places));
        return text;
    }
    let split = digits.len().saturating_sub(places);
    let (whole, fraction) = digits.split_at(split);
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let zeros = places - fraction.len();
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.extend(std::iter::repeat_n('0', zeros));
        text.push_str(fraction);
    }
    text
}

/// An amount with the currency it is in; the currency belongs to the row, not to the account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// The exact value; negative is money leaving the account.
    pub amount: Amount,
    /// ISO 4217 code as Tink sent it.
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(unscaled: &str, scale: &str) -> String {
        Amount::from_parts(unscaled, scale).unwrap().to_string()
    }

    #[test]
    fn documented_pairs_come_out_exact() {
        for (unscaled, scale, expected) in [
            ("19", "-3", "19000"),
            ("3000", "4", "0.3"),
            ("2308", "0", "2308"),
            ("23080", "1", "2308"),
            ("-1300", "1", "-130"),
            ("-13000", "2", "-130"),
            ("-99", "1", "-9.9"),
            ("9007199254740993", "2", "90071992547409.93"),
            ("123456789012345678", "3", "123456789012345.678"),
            ("5", "2", "0.05"),
            ("-5", "3", "-0.005"),
            ("0", "2", "0"),
            ("-0", "2", "0"),
            ("000", "-2", "0"),
            ("007", "0", "7"),
        ] {
            assert_eq!(text(unscaled, scale), expected, "{unscaled} at {scale}");
        }
    }

    #[test]
    fn what_is_not_an_integer_is_refused() {
        for (unscaled, scale) in [("", "2"), ("1.5", "0"), ("1e3", "0"), ("--1", "0"), ("１", "0")] {
            assert_eq!(Amount::from_parts(unscaled, scale), Err(AmountError::Unscaled));
        }
        for scale in ["", "2.0", "x", "99999999999"] {
            assert_eq!(Amount::from_parts("1", scale), Err(AmountError::Scale));
        }
        for scale in ["-65", "65"] {
            assert_eq!(Amount::from_parts("1", scale), Err(AmountError::TooLong));
        }
        assert!(["-64", "64"].iter().all(|scale| Amount::from_parts(&"9".repeat(64), scale).is_ok()));
        assert_eq!(Amount::from_parts(&"9".repeat(65), "0"), Err(AmountError::TooLong));
    }

    proptest! {
        #[test]
        fn agrees_with_integer_arithmetic(unscaled in -(1i128 << 90)..(1i128 << 90), scale in 0u32..12) {
            let text = text(&unscaled.to_string(), &scale.to_string());
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            prop_assert!(!fraction.ends_with('0') || fraction.is_empty());
            prop_assert!(text != "-0");
            let rebuilt: i128 = format!("{whole}{fraction}").parse().unwrap();
            let missing = scale - u32::try_from(fraction.len()).unwrap();
            prop_assert_eq!(rebuilt * 10i128.pow(missing), unscaled);
        }

        #[test]
        fn every_scale_of_one_value_is_equal(unscaled in any::<i64>(), scale in -9i32..9, extra in 0i32..9) {
            let wider = format!("{unscaled}{}", "0".repeat(usize::try_from(extra).unwrap()));
            prop_assert_eq!(
                text(&unscaled.to_string(), &scale.to_string()),
                text(&wider, &(scale + extra).to_string())
            );
        }

        #[test]
        fn canonical_text_reads_back(unscaled in any::<i128>(), scale in -20i32..20) {
            let amount = Amount::from_parts(&unscaled.to_string(), &scale.to_string()).unwrap();
            prop_assert_eq!(Amount::from_decimal(amount.as_str()).unwrap(), amount);
        }
    }
}
