//! The texts of a transaction, byte for byte, in one allocation: a pass holds many rows, which consist mostly
//! of text, and most of them are only compared. Must not know what a text means.

use std::fmt;

/// The number of texts of a transaction.
const COUNT: usize = 12;

/// The texts that are present, concatenated.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Texts {
    packed: Box<str>,
    /// Where each text ends; an absent one has length 0.
    ends: [u32; COUNT],
    /// One bit per text that is present.
    present: u16,
}

impl Texts {
    fn pack<T: AsRef<str>>(texts: &[Option<T>; COUNT]) -> Self {
        let size = texts.iter().flatten().map(|text| text.as_ref().len()).sum();
        let (mut packed, mut ends, mut present) = (String::with_capacity(size), [0; COUNT], 0);
        for (at, (text, end)) in texts.iter().zip(&mut ends).enumerate() {
            if let Some(text) = text {
                packed.push_str(text.as_ref());
                present |= 1 << at;
            }
            // No answer is as large as 4 GiB (`tink.max_response`).
            *end = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        }
        Self { packed: packed.into_boxed_str(), ends, present }
    }

    fn get(&self, at: usize) -> Option<&str> {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        let from = at.checked_sub(1).map_or(0, end);
        if self.present & (1 << at) == 0 { None } else { self.packed.get(from..end(at)) }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..COUNT).map(|at| self.get(at))).finish()
    }
}

/// Declares the texts by name: as fields to pack, and as accessors.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $at:literal,)+) => {
        /// The texts of a transaction before they are packed.
        #[derive(Clone, Debug, Default)]
        pub struct TextFields<T> {
            $($(#[$doc])* pub $name: Option<T>,)+
        }

        impl<T: AsRef<str>> From<TextFields<T>> for Texts {
            fn from(fields: TextFields<T>) -> Self {
                Self::pack(&[$(fields.$name,)+])
            }
        }

        impl Texts {
            $($(#[$doc])* pub fn $name(&self) -> Option<&str> {
                self.get($at)
            })+
        }
    };
}

texts! {
    /// Cleaned text (`descriptions.display`).
    description = 0,
    /// The bank's raw text (`descriptions.original`).
    description_original = 1,
    /// Long text (`descriptions.detailed.unstructured`).
    description_detailed = 2,
    /// Merchant's name.
    merchant_name = 3,
    /// Merchant category code.
    merchant_category_code = 4,
    /// Tink's category id.
    category_id = 5,
    /// Tink's type (`DEFAULT`, `PAYMENT`, …).
    kind = 6,
    /// Payment reference.
    reference = 7,
    /// The bank's id of the transaction; not promised unique or stable.
    provider_transaction_id = 8,
    /// Whether the bank says that the row can still change.
    mutability = 9,
    /// Payer's name.
    payer_name = 10,
    /// Payee's name.
    payee_name = 11,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_comes_back_and_absent_is_not_empty(
            texts in vec(of("\\PC{0,6}"), COUNT), others in vec(of("[a]{0,1}"), COUNT)
        ) {
            let packed = |texts: &[Option<String>]| Texts::pack(<&[_; COUNT]>::try_from(texts).unwrap());
            let read: Vec<Option<String>> =
                (0..COUNT).map(|at| packed(&texts).get(at).map(str::to_owned)).collect();
            prop_assert_eq!(&read, &texts);
            prop_assert_eq!(packed(&texts) == packed(&others), texts == others);
        }
    }

    #[test]
    fn texts_are_equal_only_where_each_is() {
        let one = TextFields { payer_name: Some("ab"), payee_name: Some("c"), ..TextFields::default() };
        let other = TextFields { payer_name: Some("a"), payee_name: Some("bc"), ..TextFields::default() };
        assert_ne!(Texts::from(one.clone()), Texts::from(other));
        let empty = TextFields { merchant_name: Some(""), ..one.clone() };
        assert_ne!(Texts::from(one.clone()), Texts::from(empty.clone()));
        let (texts, empty) = (Texts::from(one), Texts::from(empty));
        assert_eq!((texts.payer_name(), texts.payee_name()), (Some("ab"), Some("c")));
        assert_eq!((texts.merchant_name(), empty.merchant_name()), (None, Some("")));
        assert!(format!("{empty:?}").contains(r#"Some("ab"), Some("c")"#), "{empty:?}");
    }
}
