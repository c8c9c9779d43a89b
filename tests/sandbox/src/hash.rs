//! Numbers from keys: the one source of everything that looks random in the sandbox.
//!
//! All of it is a pure function of its input, so that data needs no memory. It must never read a clock or a system generator.

use std::fmt;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Combines two keys into a new one that shows no trace of either.
pub fn mix(a: u64, b: u64) -> u64 {
    scramble(a ^ scramble(b.wrapping_add(GOLDEN)))
}

/// Key of a text.
pub fn of_text(text: &str) -> u64 {
    text.bytes().fold(GOLDEN, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of throws that begins at a key.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of `key`, told apart from the key's other streams by `topic`.
    pub fn new(key: u64, topic: u64) -> Self {
        Self(mix(key, topic))
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scramble(self.0)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((self.roll() >> 32).wrapping_mul(u64::from(bound)) >> 32) as u32
    }

    /// True in `per_mille` of 1,000 throws.
    pub fn hit(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, which must not be empty.
    #[expect(clippy::indexing_slicing, reason = "a throw below the length is a place in it")]
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// A whole number whose long-run mean is `mean`: its floor or the next one up.
    pub fn about(&mut self, mean: f64) -> u32 {
        let part = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        (mean + part).floor() as u32
    }
}

/// An id as Tink makes them: 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

impl Id {
    /// The id of a key.
    pub fn of(key: u64) -> Self {
        Self(mix(key, 1), mix(key, 2))
    }

    /// Reads an id; `None` for anything that is not exactly one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let half = |range| u64::from_str_radix(&text[range], 16).ok();
        digits.then(|| Some(Self(half(0..16)?, half(16..32)?))).flatten()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_printing() {
        let id = Id::of(42);
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        assert_eq!(Id::parse("0123"), None);
        assert_eq!(Id::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(Id::parse("é".repeat(16).as_str()), None);
    }

    #[test]
    fn throws_stay_in_bounds_and_repeat() {
        let (mut a, mut b) = (Dice::new(1, 2), Dice::new(1, 2));
        for _ in 0..1000 {
            assert!(a.below(7) < 7);
            b.below(7);
        }
        assert_eq!(a.roll(), b.roll());
        assert_eq!(a.below(0), 0);
        assert!((0..100).all(|_| a.about(1.0) == 1));
    }
}
