//! Money as Tink writes it (an unscaled integer and a scale) and its one canonical text.
//!
//! Exact integer and text arithmetic only; a float must never appear here.

/// An amount: `unscaled` × 10^(−`scale`) of `currency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// The digits and the sign.
    pub unscaled: i128,
    /// How many of the digits stand behind the point; negative for trailing zeros left out.
    pub scale: i32,
    /// ISO 4217 code.
    pub currency: &'static str,
}

impl Money {
    /// The value as canonical text.
    pub fn canonical(&self) -> String {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        decimal(sign, &self.unscaled.unsigned_abs().to_string(), self.scale)
    }

    /// This and `unscaled` × 10^(−`scale`) of the same currency.
    pub fn plus(self, unscaled: i128, scale: i32) -> Self {
        let common = self.scale.max(scale);
        let at_common = |unscaled: i128, scale: i32| unscaled * 10_i128.pow(common.abs_diff(scale));
        Self {
            unscaled: at_common(self.unscaled, self.scale) + at_common(unscaled, scale),
            scale: common,
            ..self
        }
    }

    /// The same value with one digit more behind the point.
    pub fn rescaled(self) -> Self {
        Self { unscaled: self.unscaled * 10, scale: self.scale + 1, ..self }
    }
}

/// Canonical text of `unscaled` × 10^(−`scale`): no exponent, no trailing zeros, no plus, no minus zero.
/// `None` if `unscaled` is no integer or `scale` is beyond ±1,000, which no bank needs and which would only burn memory.
pub fn canonical(unscaled: &str, scale: &str) -> Option<String> {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let scale: i32 = scale.parse().ok()?;
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (whole && scale.abs() <= 1000).then(|| decimal(sign, digits, scale))
}

fn decimal(sign: &str, digits: &str, scale: i32) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "0".to_owned();
    }
    if scale <= 0 {
        return format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs() as usize));
    }
    let padded = format!("{digits:0>width$}", width = scale as usize + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale as usize);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        for (unscaled, scale, text) in [
            ("-1300", "1", "-130"),
            ("19", "-3", "19000"),
            ("3000", "4", "0.3"),
            ("2308", "0", "2308"),
            ("23080", "1", "2308"),
            ("-5", "3", "-0.005"),
            ("-000", "2", "0"),
            ("00012", "2", "0.12"),
            (
                "123456789012345678901234567890123456789012",
                "2",
                "1234567890123456789012345678901234567890.12",
            ),
        ] {
            assert_eq!(canonical(unscaled, scale).as_deref(), Some(text));
        }
        for (unscaled, scale) in
            [("1.5", "0"), ("", "0"), ("-", "0"), ("1e3", "0"), ("1", "x"), ("1", "99999")]
        {
            assert_eq!(canonical(unscaled, scale), None);
        }
    }

    #[test]
    fn sums_are_exact_at_any_two_scales() {
        let money = Money { unscaled: -2308, scale: 2, currency: "EUR" };
        assert_eq!(money.plus(19, -3).canonical(), "18976.92");
        assert_eq!(money.plus(5, 3).canonical(), "-23.075");
    }

    #[test]
    fn rescaling_is_no_change() {
        let money = Money { unscaled: -2308, scale: 0, currency: "EUR" };
        assert_eq!(money.canonical(), "-2308");
        assert_eq!(money.rescaled().canonical(), "-2308");
    }
}
