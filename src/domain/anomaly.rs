//! Parts of Tink's answers that deviate from the documented form, so that they could be read only in part.
//! Holds field names and numbers, never a value.

use std::collections::BTreeMap;

/// One kind of anomaly; reported once per account, not once per value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A field of another type or form than documented; it counts as absent.
    Field(&'static str),
    /// A text with undecodable bytes, half a surrogate pair or U+0000, replaced by U+FFFD.
    Text,
    /// An answer that is not valid JSON, but clear enough to be read.
    Json,
    /// A list that is missing or null; it counts as empty, and nothing is concluded from it.
    NoList(&'static str),
    /// An account whose id cannot be read; the others are used, and no account counts as gone.
    Account,
    /// A consent whose id or status cannot be read; the others are used, and no consent counts as gone.
    Consent,
}

impl Anomaly {
    /// The text in the store and in `TINK_REASON`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Field(name) => name,
            Self::NoList("accounts") => "accounts left out",
            Self::NoList("transactions") => "transactions left out",
            Self::NoList(_) => "consents left out",
            Self::Text => "undecodable text",
            Self::Json => "invalid JSON",
            Self::Account => "unreadable account",
            Self::Consent => "unreadable consent",
        }
    }

    /// What it means, and how it was handled.
    pub fn sentence(self, times: u64) -> String {
        let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
        match self {
            Self::Field(name) => {
                format!("{name} has another form than documented ({often}) and is stored as NULL")
            }
            Self::Text => {
                format!("a text could not be decoded as a whole ({often}): U+FFFD stands for what is lost")
            }
            Self::Json => {
                format!("an answer is not valid JSON in {times} place(s) and was read all the same")
            }
            Self::NoList(name) => {
                format!("an answer came without {name} ({often}): nothing is taken as gone")
            }
            Self::Account => {
                format!(
                    "{times} listed account(s) have no readable id and are left out: none is taken as gone"
                )
            }
            Self::Consent => format!(
                "{times} listed consent(s) have no readable id or status and are left out: none is taken as gone"
            ),
        }
    }
}

/// Anomalies of one account or connection, each with how often it occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anomalies(BTreeMap<Anomaly, u64>);

impl Anomalies {
    pub fn note(&mut self, anomaly: Anomaly) {
        self.add(anomaly, 1);
    }

    pub fn add(&mut self, anomaly: Anomaly, times: u64) {
        if times > 0 {
            *self.0.entry(anomaly).or_default() += times;
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        for (anomaly, times) in other.0 {
            self.add(anomaly, times);
        }
    }

    /// Whether no anomaly was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an anomaly of this kind was noted.
    pub fn contains(&self, anomaly: Anomaly) -> bool {
        self.0.contains_key(&anomaly)
    }

    /// Each kind, with how often it occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Anomaly, u64)> {
        self.0.iter().map(|(anomaly, times)| (*anomaly, *times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anomalies_of_one_kind_are_added_up() {
        let mut all = Anomalies::default();
        assert!(all.is_empty());
        all.note(Anomaly::Text);
        let mut more = Anomalies::default();
        more.note(Anomaly::Field("dates.value"));
        more.add(Anomaly::Text, 2);
        more.add(Anomaly::Json, 0);
        all.merge(more);
        let counted: Vec<_> = all.iter().map(|(anomaly, times)| (anomaly.as_str(), times)).collect();
        assert_eq!(counted, [("dates.value", 1), ("undecodable text", 3)]);
    }

    #[test]
    fn an_anomaly_says_what_is_odd_and_how_often() {
        let all = [
            Anomaly::Field("dates.value"),
            Anomaly::Text,
            Anomaly::Json,
            Anomaly::NoList("accounts"),
            Anomaly::Account,
            Anomaly::Consent,
        ];
        for anomaly in all {
            assert!(anomaly.sentence(3).contains('3'), "{anomaly:?}");
        }
        assert!(
            Anomaly::Text.sentence(1).contains("(once)") && Anomaly::Text.sentence(2).contains("(2 times)")
        );
        let mut met = Anomalies::default();
        met.note(Anomaly::Text);
        assert!(met.contains(Anomaly::Text) && !met.contains(Anomaly::Json) && !met.is_empty());
    }
}
