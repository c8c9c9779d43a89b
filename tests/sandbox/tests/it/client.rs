//! A tiny HTTP client over a plain socket, and the way to a token and through a list.
//!
//! It must not share code with the sandbox, or both could be wrong in the same way.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tink_sandbox::Sandbox;

/// Everything a client that only reads needs.
pub const READ: &str = "accounts:read,balances:read,transactions:read,provider-consents:read";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::at(sandbox.address())
    }

    pub fn at(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    pub fn send(&mut self, method: &str, target: &str, token: Option<&str>, kind: &str, body: &str) {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\n{bearer}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    pub fn receive(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub fn get(&mut self, token: &str, target: &str) -> Answer {
        self.send("GET", target, Some(token), "text/plain", "");
        self.receive().unwrap()
    }

    pub fn post(&mut self, token: Option<&str>, target: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", escape(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.send("POST", target, token, "application/x-www-form-urlencoded", &body);
        self.receive().unwrap()
    }

    /// The token endpoint with the right client.
    pub fn token(&mut self, fields: &[(&str, &str)]) -> Answer {
        let client = [("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")];
        self.post(None, "/api/v1/oauth/token", &[&client, fields].concat())
    }

    pub fn client_token(&mut self) -> String {
        self.token(&[("grant_type", "client_credentials")]).text("access_token")
    }

    pub fn code(&mut self, user: &str, scope: &str) -> Answer {
        let token = self.client_token();
        self.post(
            Some(&token),
            "/api/v1/oauth/authorization-grant",
            &[("external_user_id", user), ("scope", scope)],
        )
    }

    pub fn exchange(&mut self, code: &str) -> Answer {
        self.token(&[("grant_type", "authorization_code"), ("code", code)])
    }

    /// A user's token, the long way.
    pub fn mint(&mut self, user: &str, scope: &str) -> String {
        let code = self.code(user, scope).text("code");
        self.exchange(&code).text("access_token")
    }

    /// All pages of a list. `query` begins with `?`.
    pub fn pages(&mut self, token: &str, path: &str, query: &str) -> Vec<Value> {
        let (mut pages, mut next) = (Vec::new(), String::new());
        loop {
            let answer = self.get(token, &format!("{path}{query}{next}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            let page_token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            pages.push(page);
            if page_token.is_empty() {
                return pages;
            }
            next = format!("&pageToken={}", escape(&page_token));
        }
    }

    /// All elements of a list, repeated ones too.
    pub fn walk(&mut self, token: &str, name: &str, query: &str) -> Vec<Value> {
        let pages = self.pages(token, &format!("/data/v2/{name}"), query);
        pages.into_iter().flat_map(|page| page[name].as_array().unwrap().clone()).collect()
    }
}

/// Percent-encodes all but the plainest characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(byte.into()),
            _ => write!(escaped, "%{byte:02X}").unwrap(),
        }
    }
    escaped
}
