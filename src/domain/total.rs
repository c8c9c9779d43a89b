//! Exact sums of amounts, of any size. Unlike an [`Amount`], which is what a bank sends, a total has no limit:
//! rows of any two scales add up to the last digit. Never passes through a binary float.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use num_bigint::BigInt;

use super::amount::{self, Amount, AmountError};

/// An exact decimal: `unscaled` × 10^(−`scale`). Two scales of one value are equal.
#[derive(Clone, Debug, Default)]
pub struct Total {
    unscaled: BigInt,
    scale: u32,
}

impl Total {
    /// Reads a decimal text of any length.
    ///
    /// # Errors
    /// [`AmountError::Unscaled`] if the text is not a decimal number.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let scale = u32::try_from(fraction.len()).map_err(|_| AmountError::TooLong)?;
        let joined = format!("{whole}{fraction}");
        let (negative, digits) = amount::integer(&joined)?;
        let unscaled = match digits.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) if digits.is_empty() => BigInt::ZERO,
            Err(_) => digits.parse().map_err(|_| AmountError::Unscaled)?,
        };
        Ok(Self { unscaled: if negative { -unscaled } else { unscaled }, scale })
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.unscaled == BigInt::ZERO
    }

    /// This total less another.
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left -= other;
        left
    }

    /// Raises `self` to the larger scale; returns `other` at that scale.
    fn aligned(&mut self, other: &Self) -> BigInt {
        let ten = |places: u32| BigInt::from(10u8).pow(places);
        if other.scale > self.scale {
            self.unscaled *= ten(other.scale - self.scale);
            self.scale = other.scale;
        }
        if other.scale == self.scale {
            return other.unscaled.clone();
        }
        &other.unscaled * ten(self.scale - other.scale)
    }
}

impl From<&Amount> for Total {
    fn from(amount: &Amount) -> Self {
        // The text of an amount is always a decimal number.
        Self::parse(amount.as_str()).unwrap_or_default()
    }
}

impl AddAssign<&Self> for Total {
    fn add_assign(&mut self, other: &Self) {
        let more = self.aligned(other);
        self.unscaled += more;
    }
}

impl SubAssign<&Self> for Total {
    fn sub_assign(&mut self, other: &Self) {
        let less = self.aligned(other);
        self.unscaled -= less;
    }
}

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.minus(other).is_zero()
    }
}

impl Eq for Total {}

impl fmt::Display for Total {
    /// The canonical text, as for an [`Amount`]: no exponent, no trailing zeros after the point, no `-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let digits = self.unscaled.magnitude().to_string();
        let negative = self.unscaled < BigInt::ZERO;
        f.write_str(&amount::place_point(negative, &digits, self.scale.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(text: &str) -> Total {
        Total::parse(text).unwrap()
    }

    fn sum(texts: &[&str]) -> String {
        let mut sum = Total::default();
        for text in texts {
            sum += &total(text);
        }
        sum.to_string()
    }

    #[test]
    fn sums_are_exact_to_the_last_digit_at_any_size() {
        let nines = "9".repeat(64);
        let tiny = format!("0.{}1", "0".repeat(63));
        assert_eq!(sum(&["0.1", "0.2"]), "0.3");
        assert_eq!(sum(&["-0.05", "0.05"]), "0");
        assert_eq!(sum(&["100", "-0.10", "0.1"]), "100");
        assert_eq!(sum(&["-12.5", "-7.50"]), "-20");
        assert_eq!(sum(&["-0.005"]), "-0.005");
        assert_eq!(sum(&[&nines, "1"]), format!("1{}", "0".repeat(64)));
        assert_eq!(sum(&[&nines, &tiny]), format!("{nines}.{}1", "0".repeat(63)));
        assert_eq!(sum(&[&nines, &tiny, &format!("-{nines}")]), tiny);
    }

    #[test]
    fn two_scales_of_one_value_are_equal() {
        assert_eq!(total("-130.00"), total("-130"));
        assert_eq!(total("0.000"), Total::default());
        assert_ne!(total("1.30"), total("1.3000001"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "1e3", "1_000", "1.2.3", "--1", "1.-5", "x"] {
            assert_eq!(Total::parse(text), Err(AmountError::Unscaled), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integer_arithmetic(parts in prop::collection::vec((-(1i128 << 80)..(1i128 << 80), 0u32..12), 0..40)) {
            let (mut sum, mut known) = (Total::default(), 0i128);
            for (n, (unscaled, scale)) in parts.iter().enumerate() {
                let amount = Amount::from_parts(&unscaled.to_string(), &scale.to_string()).unwrap();
                let at_twelve = unscaled * 10i128.pow(12 - scale);
                if n % 3 == 0 {
                    sum -= &Total::from(&amount);
                    known -= at_twelve;
                } else {
                    sum += &Total::from(&amount);
                    known += at_twelve;
                }
            }
            prop_assert_eq!(sum.to_string(), Amount::from_parts(&known.to_string(), "12").unwrap().to_string());
            prop_assert_eq!(Total::parse(&sum.to_string()).unwrap(), sum);
        }
    }
}
