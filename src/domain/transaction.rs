//! A transaction as Tink shows it, with exact money and texts byte for byte (API.md 4.1).

use jiff::Timestamp;
use jiff::civil::Date;

use super::amount::Money;
use super::ids::TransactionId;
use super::texts::Texts;

/// Tink's status of a row; unknown values count as `Undefined`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Posted by the bank.
    Booked,
    /// Announced, not posted yet; its booked date is the expected one.
    Pending,
    /// Neither of the two.
    Undefined,
}

impl Status {
    /// The text in the store and the views.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Pending => "pending",
            Self::Undefined => "undefined",
        }
    }

    /// Reads the text of the store or of Tink, in any case.
    pub fn parse(text: &str) -> Self {
        let mut known = [Self::Booked, Self::Pending].into_iter();
        known.find(|status| text.eq_ignore_ascii_case(status.as_str())).unwrap_or(Self::Undefined)
    }
}

/// One transaction of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Tink's id, unique inside the account.
    pub id: TransactionId,
    /// Booked, pending or undefined.
    pub status: Status,
    /// Signed amount and its currency; minus is money leaving the account.
    pub money: Money,
    /// Day of posting in the bank's time zone; for a pending row the expected one.
    pub booked_date: Option<Date>,
    pub value_date: Option<Date>,
    /// When it was initiated.
    pub transaction_date: Option<Date>,
    /// Exact time of posting, if the bank gives a valid one.
    pub booked_at: Option<Timestamp>,
    /// Its texts, as Tink sent them.
    pub texts: Texts,
}

impl Transaction {
    /// The text that identifies it best: the bank's raw one, else the cleaned one.
    pub fn text(&self) -> &str {
        let text = self.texts.description_original().or(self.texts.description());
        text.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_in_any_case_and_an_unknown_one_is_undefined() {
        for status in [Status::Booked, Status::Pending, Status::Undefined] {
            assert_eq!(Status::parse(status.as_str()), status);
            assert_eq!(Status::parse(&status.as_str().to_uppercase()), status);
        }
        assert_eq!(Status::parse("HELD"), Status::Undefined);
        assert_eq!(Status::Undefined.as_str(), "undefined");
    }
}
