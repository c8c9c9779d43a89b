//! How fast the sandbox is: a bounded number of calls over kept-alive connections on loopback, by kind of call.
//!
//! `cargo run --release -p tink-sandbox --example load [calls]`. The clients run on the same cores, so the figures are lower bounds.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement that meets an error is worth nothing, and its figures are for people"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use tink_sandbox::{Config, Sandbox};

const CONNECTIONS: usize = 8;
const READ: &str = "accounts:read,transactions:read,provider-consents:read";

fn main() {
    let calls = std::env::args().nth(1).and_then(|calls| calls.parse().ok()).unwrap_or(80_000);
    let sandbox = Sandbox::start(Config { users: 100_000, ..Config::default() });
    let users = (0..1000).map(|number| format!("user-{}", number * 97)).collect::<Vec<_>>();
    let tokens = users.iter().map(|user| sandbox.access_token(user, READ)).collect::<Vec<_>>();
    let get = |path: &str| {
        tokens
            .iter()
            .map(|token| format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"))
            .collect()
    };
    let secret = "client_id=sandbox-client&client_secret=sandbox-secret&grant_type=client_credentials";
    let length = secret.len();
    let form = format!(
        "POST /api/v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{secret}"
    );
    let day0 = sandbox.config().day0;
    let pages: Vec<String> = get("/data/v2/transactions?pageSize=100&bookedDateLte=9999-12-31");
    let consents: Vec<String> = get("/api/v1/provider-consents");
    let accounts: Vec<String> = get("/data/v2/accounts?pageSize=100");
    let window: Vec<String> =
        get(&format!("/data/v2/transactions?pageSize=100&bookedDateGte={day0}&bookedDateLte=9999-12-31"));
    let mix = consents
        .iter()
        .zip(&accounts)
        .flat_map(|(a, b)| [form.clone(), a.clone(), b.clone()])
        .collect::<Vec<_>>();
    for (name, requests, calls) in [
        ("client tokens", &vec![form.clone()], calls),
        ("consents", &consents, calls),
        ("accounts", &accounts, calls),
        ("tokens, consents, accounts", &mix, calls),
        ("transactions since day 0", &window, calls / 4),
        ("transactions, pages of 100", &pages, calls / 4),
    ] {
        measure(name, sandbox.address(), requests, calls);
    }
}

fn measure(name: &str, address: SocketAddr, requests: &[String], calls: usize) {
    let start = Instant::now();
    let bytes: usize = thread::scope(|scope| {
        let each = calls / CONNECTIONS;
        let clients = (0..CONNECTIONS)
            .map(|client| scope.spawn(move || run(address, requests, client * 131, each)))
            .collect::<Vec<_>>();
        clients.into_iter().map(|client| client.join().expect("a client met an error")).sum()
    });
    let time = start.elapsed().as_secs_f64();
    println!("{name:<28} {:>8.0} calls/s {:>7.1} MB/s", calls as f64 / time, bytes as f64 / time / 1e6);
}

fn run(address: SocketAddr, requests: &[String], first: usize, calls: usize) -> usize {
    let mut stream =
        BufReader::with_capacity(1 << 16, TcpStream::connect(address).expect("the sandbox listens"));
    stream.get_ref().set_nodelay(true).expect("a fresh socket takes options");
    let (mut line, mut body, mut total) = (String::new(), Vec::new(), 0);
    for call in 0..calls {
        let request = &requests[(first + call) % requests.len()];
        stream.get_mut().write_all(request.as_bytes()).expect("the sandbox reads");
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).expect("the sandbox answers");
            assert!(!line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.1 200"), "{line}");
            match line.strip_prefix("content-length: ") {
                Some(digits) => length = digits.trim_end().parse().expect("lengths are numbers"),
                None if line == "\r\n" => break,
                None => {}
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).expect("bodies are whole");
        total += length;
    }
    total
}
