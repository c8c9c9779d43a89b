//! A tiny HTTP/1.1 server that stands for Tink in this folder's tests: it answers from a script and
//! remembers what it was asked. Must not be used outside of tests. It is not the sandbox: that answers as Tink would and has
//! no user or clock of a test's making, while these tests fix each answer byte by byte and look at each request as sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What one request asked.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which of the calls: `client`, `grant`, `exchange`, `consents`, `accounts`, `transactions`.
    pub route: &'static str,
    /// Path and query as sent.
    pub target: String,
    /// The head in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

/// One answer of the script.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    length: Option<usize>,
    hang: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: String::new(), length: Some(body.len()), body, hang: false }
    }

    pub fn header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }

    /// Ends before the announced length.
    pub fn cut(mut self) -> Self {
        self.length = Some(self.body.len() + 10);
        self
    }

    /// Announces no length; the end of the connection is the end.
    pub fn unannounced(mut self) -> Self {
        self.length = None;
        self
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self { hang: true, ..Self::new(200, "") }
    }
}

#[derive(Default)]
struct State {
    script: HashMap<&'static str, VecDeque<Reply>>,
    seen: Vec<Seen>,
    tokens: u32,
}

/// The server; it ends when dropped.
pub struct Fake {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state, task: task.abort_handle() }
    }

    /// Answers the next calls of `route` with these, in order; then as Tink would.
    pub fn on(&self, route: &'static str, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().script.entry(route).or_default().extend(replies);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn routes(&self) -> Vec<&'static str> {
        self.seen().iter().map(|seen| seen.route).collect()
    }

    pub fn count(&self, route: &str) -> usize {
        self.routes().iter().filter(|seen| **seen == route).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(seen) = read(&mut stream).await else { return };
    let reply = answer(&mut state.lock().unwrap(), seen);
    if reply.hang {
        std::future::pending::<()>().await;
    }
    let length = reply.length.map(|length| format!("content-length: {length}\r\n"));
    let head = format!(
        "HTTP/1.1 {} X\r\nconnection: close\r\nx-request-id: r-1\r\n{}{}\r\n",
        reply.status,
        length.unwrap_or_default(),
        reply.headers
    );
    // The client may hang up before it has read everything.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&reply.body).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let (head, mut body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_owned(), body.as_bytes().to_vec());
        }
    };
    let target = head.split(' ').nth(1)?.to_owned();
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        stream.read_buf(&mut body).await.ok()?;
    }
    let body = String::from_utf8(body).unwrap();
    let route = route(&target, &body);
    Some(Seen { route, target, head, body })
}

fn route(target: &str, body: &str) -> &'static str {
    match target.split('?').next().unwrap_or_default() {
        "/api/v1/oauth/token" if body.contains("client_credentials") => "client",
        "/api/v1/oauth/token" => "exchange",
        "/api/v1/oauth/authorization-grant" => "grant",
        "/api/v1/oauth/authorization-grant/delegate" => "delegate",
        "/api/v1/user/create" => "create",
        "/api/v1/provider-consents" => "consents",
        "/data/v2/accounts" => "accounts",
        "/data/v2/transactions" => "transactions",
        _ => "unknown",
    }
}

fn answer(state: &mut State, seen: Seen) -> Reply {
    let route = seen.route;
    state.seen.push(seen);
    if let Some(reply) = state.script.get_mut(route).and_then(VecDeque::pop_front) {
        return reply;
    }
    state.tokens += 1;
    let n = state.tokens;
    let body = match route {
        "client" => {
            format!(r#"{{"access_token":"client-{n}","expires_in":1800,"scope":"authorization:grant"}}"#)
        }
        "exchange" => format!(r#"{{"access_token":"user-{n}","expires_in":7200}}"#),
        "grant" => format!(r#"{{"code":"code-{n}"}}"#),
        "consents" => r#"{"providerConsents":[]}"#.to_owned(),
        "accounts" => r#"{"accounts":[],"nextPageToken":""}"#.to_owned(),
        "transactions" => r#"{"transactions":[],"nextPageToken":""}"#.to_owned(),
        _ => return Reply::new(404, ""),
    };
    Reply::new(200, body)
}
