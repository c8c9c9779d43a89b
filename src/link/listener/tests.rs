//! The listener over real sockets: its answers, its results, and how it treats silent clients.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn start() -> (SocketAddr, Callbacks<String>) {
    let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = listener.sockets[0].local_addr().unwrap();
    let choose: Arc<Choose<String>> = Arc::new(|query: &str| {
        let told = query.contains("tell").then(|| query.to_owned());
        (Notice::back(), told)
    });
    (address, listener.serve("/back", choose))
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer counts as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn a_visit_is_told_once_its_page_was_sent() {
    let (address, mut waiting) = start().await;
    let answer = ask(address, "GET /back?tell=1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&answer), "200");
    assert_eq!(waiting.next().await.as_deref(), Some("tell=1"));
    let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "connection: close",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
    ] {
        assert!(head.contains(header), "{header} is missing in {head}");
    }
    assert!(answer.contains("<h1>You are back from Tink</h1>"));
}

#[tokio::test]
async fn nothing_but_a_visit_of_the_path_is_told() {
    let (address, mut waiting) = start().await;
    let long = "x".repeat(HEAD * 2);
    for (request, expected) in [
        ("GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /back/?tell HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("HEAD /back?tell HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("POST /back?tell HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("GET /back?tell HTTP/1.1\r\nHost: x\r\nSec-Purpose: prefetch;prerender\r\n\r\n", "503"),
        ("GET /back?tell HTTP/1.1\r\nHost: x\r\nPurpose: prefetch\r\n\r\n", "503"),
        ("nonsense\r\n\r\n", "400"),
        (&format!("GET /back?tell HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), "431"),
        (&format!("GET /back?tell={long} HTTP/1.1\r\nHost: x\r\n\r\n"), "431"),
    ] {
        let answer = ask(address, request).await;
        assert_eq!(status(&answer), expected, "{}", &request[..request.len().min(60)]);
    }
    let head = ask(address, "HEAD /back HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.ends_with("\r\n\r\n") && head.to_lowercase().contains("allow: get"), "{head}");
    ask(address, "GET /back?tell=at+last HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(waiting.next().await.as_deref(), Some("tell=at+last"));
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let (address, mut waiting) = start().await;
    let mut silent = Vec::new();
    for n in 0..3 * CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some begin a request and never complete it.
        if n % 2 == 0 {
            stream.write_all(b"GET /back?tell HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        }
        silent.push(stream);
    }
    ask(address, "GET /back?tell HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(waiting.next().await.as_deref(), Some("tell"));
}

#[tokio::test]
async fn a_browser_that_went_away_has_still_come() {
    let (address, mut waiting) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /back?tell HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    drop(stream);
    assert_eq!(waiting.next().await.as_deref(), Some("tell"));
}

#[tokio::test]
async fn an_address_in_use_is_an_error_and_a_missing_one_is_not() {
    let taken = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = taken.sockets[0].local_addr().unwrap();
    let refused = Listener::bind(&[address]).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert!(refused.to_string().contains(&address.to_string()));
    // No machine has an address from the documentation range.
    let two = ["127.0.0.1:0".parse().unwrap(), "192.0.2.1:1".parse().unwrap()];
    assert_eq!(Listener::bind(&two).await.unwrap().sockets.len(), 1);
}
