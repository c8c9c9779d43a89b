//! Answers that are JSON of the right outline and wrong all the same, and lists that are paged badly.
//!
//! Pure but for the calls it is handed; which call is struck is decided elsewhere.

use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::call::{Call, Endpoint};
use crate::reply::Reply;

/// How an answer is changed. An error stays as it is; so does, for the changes of pages, what has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Every value is null; the objects and lists around the values stay.
    Nulls,
    /// Every value is null but those that identify something and those of tokens.
    NullsButIds,
    /// Every value is of a type that is not documented.
    WrongTypes,
    /// Every value of a documented set is one that nobody has heard of.
    UnknownEnums,
    /// Each page is the first one, with the same page token again.
    Loop,
    /// The page comes twice: all rows repeat.
    Repeat,
    /// A page without rows comes before the first.
    EmptyFirst,
    /// The list comes in two halves, and a day passes between them.
    NextDay,
}

/// The token of the pages made here.
const TOKEN: &str = "more";
/// Members that hold a value of a documented set.
const ENUMS: [&str; 5] = ["status", "type", "token_type", "customerSegment", "providerMutability"];
/// Members that identify something, or without which there is no token.
const IDS: [&str; 7] =
    ["id", "credentialsId", "accountId", "accountIds", "access_token", "code", "nextPageToken"];

impl Edit {
    /// What becomes of a call. `real` answers calls; `next_day` lets a day pass.
    pub fn apply(self, call: &Call, real: impl Fn(&Call) -> Reply, next_day: impl Fn()) -> Reply {
        let list = match call.endpoint {
            Endpoint::Accounts => "accounts",
            Endpoint::Transactions => "transactions",
            _ => "",
        };
        let is_first = call.query.first("pageToken").is_none_or(|token| token != TOKEN);
        let unpaged = || real(&Call { query: call.query.without("pageToken"), ..call.clone() });
        match self {
            Self::Nulls | Self::NullsButIds | Self::WrongTypes | Self::UnknownEnums => {
                changed(real(call), |body| self.spoil("", body))
            }
            _ if list.is_empty() => real(call),
            Self::Loop => changed(unpaged(), go_on),
            Self::Repeat | Self::EmptyFirst | Self::NextDay => {
                let half = |body: &mut Value| self.cut(body, list, is_first);
                let reply = changed(unpaged(), half);
                if self == Self::NextDay && is_first {
                    next_day();
                }
                reply
            }
        }
    }

    /// Leaves one of two pages.
    fn cut(self, body: &mut Value, list: &str, is_first: bool) {
        if let Some(rows) = body.get_mut(list).and_then(Value::as_array_mut) {
            match (self, is_first) {
                (Self::EmptyFirst, true) => rows.clear(),
                (Self::NextDay, true) => rows.truncate(rows.len() / 2),
                (Self::NextDay, false) => drop(rows.drain(..rows.len() / 2)),
                _ => {}
            }
        }
        if is_first {
            go_on(body);
        }
    }

    /// Changes every value below, `name` being the member it is of.
    fn spoil(self, name: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(name, value)| self.spoil(name, value)),
            Value::Array(elements) => elements.iter_mut().for_each(|value| self.spoil(name, value)),
            _ => match self {
                Self::Nulls => *value = Value::Null,
                Self::NullsButIds if !IDS.contains(&name) => *value = Value::Null,
                // What is wrong with it is for the rows to show, not for the end of the list.
                Self::WrongTypes if name != "nextPageToken" => *value = of_another_type(value),
                Self::UnknownEnums if ENUMS.contains(&name) => *value = Value::from("NEVER_HEARD_OF"),
                _ => {}
            },
        }
    }
}

fn of_another_type(value: &Value) -> Value {
    match value {
        Value::String(_) => Value::Array(Vec::new()),
        Value::Number(_) => Value::Object(Map::new()),
        _ => Value::from("text"),
    }
}

/// Says that another page follows.
fn go_on(body: &mut Value) {
    if let Some(members) = body.as_object_mut() {
        members.insert("nextPageToken".to_owned(), TOKEN.into());
    }
}

fn changed(reply: Reply, change: impl FnOnce(&mut Value)) -> Reply {
    if reply.status != 200 {
        return reply;
    }
    let Ok(mut body) = serde_json::from_slice(&reply.body) else { return reply };
    change(&mut body);
    Reply { body: Bytes::from(body.to_string()), ..reply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spoilt(edit: Edit) -> Value {
        let mut body =
            json!({"accounts": [{"id": "a", "type": "CHECKING", "scale": 2}], "nextPageToken": ""});
        edit.spoil("", &mut body);
        body
    }

    #[test]
    fn values_are_spoilt_and_the_outline_stays() {
        let account = |id: Value, kind: Value, scale: Value, end: Value| json!({"accounts": [{"id": id, "type": kind, "scale": scale}], "nextPageToken": end});
        let null = || Value::Null;
        assert_eq!(spoilt(Edit::Nulls), account(null(), null(), null(), null()));
        assert_eq!(spoilt(Edit::NullsButIds), account(json!("a"), null(), null(), json!("")));
        assert_eq!(spoilt(Edit::WrongTypes), account(json!([]), json!([]), json!({}), json!("")));
        let unheard = account(json!("a"), json!("NEVER_HEARD_OF"), json!(2), json!(""));
        assert_eq!(spoilt(Edit::UnknownEnums), unheard);
    }

    #[test]
    fn a_list_is_cut_in_two() {
        let cut = |edit: Edit, is_first| {
            let mut body = json!({"transactions": [1, 2, 3], "nextPageToken": ""});
            edit.cut(&mut body, "transactions", is_first);
            body
        };
        let page = |rows: &[u8], end: &str| json!({"transactions": rows, "nextPageToken": end});
        assert_eq!(cut(Edit::NextDay, true), page(&[1], TOKEN));
        assert_eq!(cut(Edit::NextDay, false), page(&[2, 3], ""));
        assert_eq!(cut(Edit::EmptyFirst, true), page(&[], TOKEN));
        assert_eq!(cut(Edit::Repeat, false), page(&[1, 2, 3], ""));
    }
}
