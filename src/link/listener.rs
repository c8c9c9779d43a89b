//! Waits on this machine for the browser's redirect. Small on purpose: one path, one method, short timeouts.
//! Must not judge redirects: [`Choose`] does. Sends the chosen page, then passes the result on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::page::{Notice, content_security_policy};

/// Largest head of a request, in bytes.
const HEAD: usize = 16 * 1024;
/// Time limit for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time limit for a whole connection.
const WHOLE_TIME: Duration = Duration::from_secs(30);
/// The most connections of a socket at one time; browsers open some in advance. A further one replaces the
/// oldest, so that silent clients keep no other out.
const CONNECTIONS: usize = 32;

/// Chooses the page for the query of a redirect, and the result to pass on, if any.
pub(crate) type Choose<T> = dyn Fn(&str) -> (Notice, Option<T>) + Send + Sync;

#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
}

impl Listener {
    /// Binds the sockets. Of two addresses the second may be one that this machine does not have.
    ///
    /// # Errors
    /// As the system reports it, with the address.
    pub(crate) async fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut sockets: Vec<TcpListener> = Vec::new();
        for address in addresses {
            match TcpListener::bind(address).await {
                Ok(socket) => sockets.push(socket),
                // A machine without IPv6 has no such address, and its browser will not try it.
                Err(error) if !sockets.is_empty() && error.kind() != io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
            }
        }
        Ok(Self { sockets })
    }

    /// Serves `path` until the returned value is dropped. A result is passed on once its page was sent.
    pub(crate) fn serve<T: Send + 'static>(self, path: &str, choose: Arc<Choose<T>>) -> Callbacks<T> {
        let (told, hear) = unbounded_channel();
        let place = Arc::new(CallbackTarget { path: path.to_owned(), choose, told });
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            tasks.spawn(accept(socket, Arc::clone(&place)));
        }
        Callbacks { hear, _tasks: tasks }
    }
}

/// A running listener; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Callbacks<T> {
    hear: UnboundedReceiver<T>,
    _tasks: JoinSet<Infallible>,
}

impl<T> Callbacks<T> {
    /// The next result; waits for ever if none comes.
    pub(crate) async fn next(&mut self) -> Option<T> {
        self.hear.recv().await
    }
}

struct CallbackTarget<T> {
    path: String,
    choose: Arc<Choose<T>>,
    told: UnboundedSender<T>,
}

/// The result of one connection, passed on when the connection ends for any reason: a browser that left
/// before it got the page counts as well.
struct News<'a, T> {
    place: &'a CallbackTarget<T>,
    callback: Mutex<Option<T>>,
}

impl<T> Drop for News<'_, T> {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // If the receiver is gone, it has its result already.
            let _ = self.place.told.send(callback);
        }
    }
}

async fn accept<T: Send + 'static>(socket: TcpListener, place: Arc<CallbackTarget<T>>) -> Infallible {
    let mut connections = JoinSet::new();
    // Oldest first. A connection only waits for its browser: once the request is complete, it is answered at once.
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = socket.accept().await;
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS || accepted.is_err() {
            // On an error, most likely no file handle is left, and closing the oldest frees one.
            open.pop_front().inspect(AbortHandle::abort);
        }
        match accepted {
            Ok((stream, _)) => open.push_back(connections.spawn(connection(stream, Arc::clone(&place)))),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves one request.
async fn connection<T: Send + 'static>(stream: TcpStream, place: Arc<CallbackTarget<T>>) {
    let news = News { place: &place, callback: Mutex::new(None) };
    let service = service_fn(|request: Request<Incoming>| {
        let (notice, callback) = judge(&request, &place);
        if callback.is_some() {
            *news.callback.lock().unwrap_or_else(PoisonError::into_inner) = callback;
        }
        async move { Ok::<_, Infallible>(response(&notice)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(WHOLE_TIME, serving).await;
}

fn judge<T>(request: &Request<Incoming>, place: &CallbackTarget<T>) -> (Notice, Option<T>) {
    if request.uri().path() != place.path {
        (Notice::not_found(), None)
    } else if request.method() != Method::GET {
        (Notice::not_allowed(), None)
    } else if is_ahead_of_time(request) {
        (Notice::not_ahead_of_time(), None)
    } else {
        (place.choose)(request.uri().query().unwrap_or_default())
    }
}

/// Browsers mark requests that fetch a page in advance; such a page may never be shown.
fn is_ahead_of_time(request: &Request<Incoming>) -> bool {
    let names = ["sec-purpose", "purpose", "x-moz"];
    names.iter().filter_map(|name| request.headers().get(*name)).any(|value| {
        value.to_str().is_ok_and(|value| value.contains("prefetch") || value.contains("preview"))
    })
}

fn response(notice: &Notice) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(notice.html())));
    *response.status_mut() = StatusCode::from_u16(notice.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::try_from(content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if notice.status == StatusCode::METHOD_NOT_ALLOWED.as_u16() {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

#[cfg(test)]
mod tests;
