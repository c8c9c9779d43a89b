//! What of Tink's answers had another form than documented, so that it could be read only in part. Holds
//! names of fields and numbers, never a value.

use std::collections::BTreeMap;

/// One kind of anomaly; it is told once for each account, not once for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A field of another type or form than documented: it counts as absent.
    Field(&'static str),
    /// A text with bytes that cannot be decoded, half a surrogate pair or U+0000: U+FFFD stands for them.
    Text,
    /// An answer that is no valid JSON, but clear enough to be read.
    Json,
    /// A list that was left out, or is null: it counts as empty, and nothing is concluded from it.
    NoList(&'static str),
    /// An account whose id cannot be read: the others are used, and none is taken as gone.
    Account,
    /// A consent whose id or status cannot be read: the others are used, and none is taken as gone.
    Consent,
}

impl Anomaly {
    /// The text of the store and of `TINK_REASON`.
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

    /// What it means, and what was done about it.
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

/// Anomalies of one kind of place, each with how often it was met.
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

    /// Counts those of `other` too.
    pub fn merge(&mut self, other: Self) {
        for (anomaly, times) in other.0 {
            self.add(anomaly, times);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this kind.
    pub fn contains(&self, anomaly: Anomaly) -> bool {
        self.0.contains_key(&anomaly)
    }

    /// Each kind, with how often it was met.
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
