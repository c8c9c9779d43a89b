//! Answers before they become HTTP.
//!
//! The error bodies are our own: Tink publishes no schema for them.

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;

/// Which generation of the API a path belongs to; they differ in their errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `errorCode` and `errorMessage`.
    V1,
    /// `code`, `message`, `details`.
    V2,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Type of the body.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// 200 with JSON.
    pub fn json(body: String) -> Self {
        Self { status: 200, content_type: "application/json", headers: Vec::new(), body: Bytes::from(body) }
    }

    /// 200 with a value as JSON.
    pub fn value(value: &impl Serialize) -> Self {
        Self::json(serde_json::to_string(value).expect("our own types have string keys and serialise"))
    }

    /// 204.
    pub fn nothing() -> Self {
        Self { status: 204, ..Self::json(String::new()) }
    }

    /// An error.
    pub fn refusal(family: Family, status: u16, code: &str, message: &str) -> Self {
        let body = match family {
            Family::V1 => json!({"errorCode": code, "errorMessage": message}),
            Family::V2 => json!({"code": rpc_code(status), "message": message, "details": []}),
        };
        Self { status, ..Self::value(&body) }
    }
}

/// The number that the style of v2 errors has for a status.
fn rpc_code(status: u16) -> u8 {
    match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        503 => 14,
        _ => 13,
    }
}
