//! Reads JSON objects and lists from a response: in one typed pass, and only if that fails, again member by
//! member, so that an odd member counts as absent and affects no other. Must not know what they mean.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::{Raw, string};
use crate::domain::anomaly::{Anomalies, Anomaly};

/// The most elements of a list: a page has a hundred, and no user has as many consents.
pub(super) const LONGEST_LIST: usize = 10_000;

/// What can be read leniently from a member of any type.
pub(super) trait Soft<'a>: Sized {
    /// Reads it; returns `None` and notes an anomaly if it is of another type.
    fn soft(raw: Raw<'a>, place: &'static str, anomalies: &mut Anomalies) -> Option<Self>;
}

impl<'a> Soft<'a> for Raw<'a> {
    fn soft(raw: Raw<'a>, _: &'static str, _: &mut Anomalies) -> Option<Self> {
        Some(raw)
    }
}

/// A text, or any JSON in its place. The single typed pass takes only texts, borrowed from the response if
/// nothing in them is escaped; an object with any other member is then read member by member, each as it was
/// sent.
#[derive(Clone)]
pub(super) enum Leaf<'a> {
    /// The content of a JSON string, without U+0000.
    Text(Cow<'a, str>),
    Raw(Raw<'a>),
}

impl<'a> From<Raw<'a>> for Leaf<'a> {
    fn from(raw: Raw<'a>) -> Self {
        Self::Raw(raw)
    }
}

impl<'a> Soft<'a> for Leaf<'a> {
    fn soft(raw: Raw<'a>, _: &'static str, _: &mut Anomalies) -> Option<Self> {
        Some(Self::Raw(raw))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Leaf<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Leaf<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text without U+0000")
            }

            // A raw U+0000 is not JSON, so a borrowed text has none.
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Leaf::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.contains('\0') {
                    return Err(E::invalid_value(Unexpected::Str("U+0000"), &self));
                }
                Ok(Leaf::Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A member that is an object. A derived struct reader would accept a list, too.
#[derive(Default)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl<'a, T: Soft<'a>> Soft<'a> for Object<T> {
    fn soft(raw: Raw<'a>, place: &'static str, anomalies: &mut Anomalies) -> Option<Self> {
        T::soft(raw, place, anomalies).map(Self)
    }
}

/// A list whose elements are read one by one.
pub(super) type List<'a> = Elements<Raw<'a>>;

/// The elements of a list, at most `LONGEST_LIST` of them.
pub(super) struct Elements<T> {
    items: Vec<T>,
    is_overlong: bool,
}

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Self { items: Vec::new(), is_overlong: false }
    }
}

impl<T> Elements<T> {
    /// The elements; fails if there are too many.
    pub(super) fn items(self, name: &str) -> Result<Vec<T>, String> {
        if self.is_overlong { Err(format!("{name} has far too many elements")) } else { Ok(self.items) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Elements<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ElementVisitor<T> {
            type Value = Elements<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Elements::default();
                while list.items.len() < LONGEST_LIST {
                    let Some(element) = elements.next_element()? else { return Ok(list) };
                    list.items.push(element);
                }
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    list.is_overlong = true;
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(ElementVisitor(PhantomData))
    }
}

impl<'a> Soft<'a> for List<'a> {
    fn soft(raw: Raw<'a>, place: &'static str, anomalies: &mut Anomalies) -> Option<Self> {
        let list = serde_json::from_str(raw.get()).ok();
        if list.is_none() {
            anomalies.note(Anomaly::Field(place));
        }
        list
    }
}

/// Passes every member of an object to `take`, except null ones; returns whether it is an object at all.
pub(super) fn members<'a>(raw: Raw<'a>, mut take: impl FnMut(&str, Raw<'a>)) -> bool {
    struct MemberVisitor<F>(F);

    impl<'de, F: FnMut(&str, Raw<'de>)> Visitor<'de> for MemberVisitor<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            // A name that cannot be decoded is not one that we know.
            while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                if let Some(name) = string(name).filter(|_| value.get() != "null") {
                    (self.0)(&name, value);
                }
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(raw.get()).deserialize_map(MemberVisitor(&mut take)).is_ok()
}

/// The last part of a place such as `dates.booked`: the name of the member.
pub(super) fn leaf(place: &str) -> &str {
    place.rsplit('.').next().unwrap_or(place)
}

/// Declares a JSON object in which every member may be absent, null or odd. Each member is given with its
/// place in the response, which ends with its name there.
macro_rules! json_object {
    ($(#[$doc:meta])* $name:ident<$lt:lifetime> { $($field:ident: $kind:ty = $place:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $name<$lt> {
            $(#[serde(borrow)] $field: Option<$kind>,)+
        }

        impl<$lt> $crate::tink::wire::shape::Soft<$lt> for $name<$lt> {
            fn soft(
                raw: $crate::tink::wire::Raw<$lt>,
                place: &'static str,
                anomalies: &mut $crate::domain::anomaly::Anomalies,
            ) -> Option<Self> {
                use $crate::domain::anomaly::Anomaly;
                use $crate::tink::wire::shape::{Soft, leaf, members};

                let mut read = Self::default();
                let is_object = members(raw, |name, value| {
                    $(if name == leaf($place) {
                        // If a member occurs twice, the last one counts, as everywhere.
                        if read.$field.is_some() {
                            anomalies.note(Anomaly::Field($place));
                        }
                        read.$field = Soft::soft(value, $place, anomalies);
                    })+
                });
                if is_object {
                    return Some(read);
                }
                anomalies.note(Anomaly::Field(place));
                None
            }
        }
    };
}
pub(super) use json_object;
