//! The control calls under `/_sandbox/`, which make the binary scriptable from a shell.
//!
//! A thin reading of JSON into what the library already does; anything more belongs into the library.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Endpoint, Params};
use crate::callers::Callers;
use crate::edit::Edit;
use crate::fault::{Action, Fault, Times};
use crate::reply::{Family, Reply};
use crate::state::Shared;

/// Where control calls live.
pub const PREFIX: &str = "/_sandbox/";

/// Answers a control call.
pub fn handle(shared: &Shared, head: &Parts, body: &[u8]) -> Reply {
    let refuse = |status, message: &str| Reply::refusal(Family::V1, status, "sandbox.control", message);
    let call = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    match (head.method.as_str(), call) {
        ("POST", "day") => read::<NewDay>(body).map(|NewDay { day }| shared.set_day(day)),
        ("POST", "latency") => read::<NewLatency>(body).map(|NewLatency { ms }| shared.set_latency(Duration::from_millis(ms))),
        ("POST", "faults") => read::<FaultSpec>(body).and_then(FaultSpec::fault).map(|fault| shared.faults.push(fault)),
        ("DELETE", "faults") => {
            shared.faults.clear();
            Ok(())
        }
        ("GET", "truth") => {
            let query = Params::parse(head.uri.query().unwrap_or_default().as_bytes());
            let user = query.first("user").and_then(|user| shared.users.find(&shared.world, user));
            return user.map_or_else(|| refuse(404, "no such user"), |user| Reply::value(&shared.truth(user)));
        }
        ("GET", "counters") => {
            let (requests, most) = (shared.meter.counts(), shared.meter.most_in_flight());
            let callers = shared.callers.as_ref();
            return Reply::value(&json!({
                "day": shared.day(), "requests": requests, "max_in_flight": most, "faults": shared.faults.len(),
                "max_in_flight_of_a_user": callers.map(Callers::most),
                "overlaps": callers.map(|callers| callers.overlaps().len()),
                "refresh_tokens_presented_again": shared.tokens.presented_again(),
            }));
        }
        _ => return refuse(404, "no such control call"),
    }
    .map_or_else(|message| refuse(400, &message), |()| Reply::nothing())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct NewDay {
    day: u32,
}

#[derive(Deserialize)]
struct NewLatency {
    ms: u64,
}

/// A fault as JSON: `{"action":"status","code":429,"headers":{"Retry-After":"5"},"endpoint":"accounts","times":3}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultSpec {
    action: String,
    user: Option<String>,
    endpoint: Option<Endpoint>,
    nth: Option<u32>,
    /// 0 is for ever.
    times: Option<u32>,
    code: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    edit: Option<Edit>,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    bytes: u64,
}

impl FaultSpec {
    fn fault(self) -> Result<Fault, String> {
        let time = Duration::from_millis(self.ms);
        let action = match self.action.as_str() {
            "status" => Action::Status {
                code: self.code.unwrap_or(500),
                headers: self.headers.into_iter().collect(),
                body: self.body,
            },
            "delay" => Action::Delay(time),
            "hang" => Action::Hang,
            "reset" => Action::Reset,
            "truncate" => Action::Truncate(self.bytes as usize),
            "slow_body" => Action::SlowBody { chunk: self.bytes as usize, every: time },
            "lose_reply" => Action::LoseReply,
            "big_body" => Action::BigBody(self.bytes),
            "malformed" => Action::Malformed,
            "html" => Action::Html,
            "gzip_bomb" => Action::gzip_bomb(self.bytes),
            "edit" => Action::Edit(self.edit.ok_or("`edit` is missing")?),
            "garbage" => Action::Garbage(self.body.into_bytes()),
            other => return Err(format!("no such action: {other}")),
        };
        let times = match self.times {
            None | Some(1) => Times::Once,
            Some(0) => Times::Forever,
            Some(times) => Times::N(times),
        };
        Ok(Fault { user: self.user, endpoint: self.endpoint, nth: self.nth, times, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_json() {
        let spec = br#"{"action":"status","code":429,"headers":{"Retry-After":"5"},"endpoint":"accounts","user":"user-1","nth":2,"times":0}"#;
        let fault = read::<FaultSpec>(spec).and_then(FaultSpec::fault).unwrap();
        let expected = Fault::new(Action::too_many("5"))
            .user("user-1")
            .at(Endpoint::Accounts)
            .nth(2)
            .times(Times::Forever);
        assert_eq!(fault, expected);
        assert!(read::<FaultSpec>(br#"{"action":"dance"}"#).and_then(FaultSpec::fault).is_err());
    }
}
