//! HTTP over TCP: listens, accepts connections, answers calls, carries faults out.
//!
//! What an answer says is decided elsewhere; this is the only place that touches sockets.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::body::ReplyBody;
use crate::call::{Call, Endpoint};
use crate::callers::{Read, Reading};
use crate::control;
use crate::fault::Action;
use crate::hash::Id;
use crate::meter::Logged;
use crate::reply::Reply;
use crate::state::Shared;
use crate::{credentials, link, listing, oauth};

/// Connections that may wait to be accepted; thousands may come at once.
const BACKLOG: u32 = 4096;
/// Largest request body that is read.
const MAX_REQUEST: usize = 1 << 20;
const PAGE_FOR_PEOPLE: &str =
    "<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>";

/// The server's own thread. The runtime ends on it too, because async callers may not block on that.
pub fn run(
    listen: SocketAddr,
    threads: usize,
    shared: Arc<Shared>,
    started: &mpsc::Sender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime =
        match runtime::Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
    runtime.block_on(async {
        match bind(listen) {
            Ok((listener, address)) => {
                let server = tokio::spawn(serve(listener, shared));
                drop(started.send(Ok(address)));
                drop(stopped.await);
                server.abort();
            }
            Err(error) => drop(started.send(Err(error))),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until dropped.
async fn serve(listener: TcpListener, shared: Arc<Shared>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => drop(tokio::spawn(connection(stream, from.ip(), Arc::clone(&shared)))),
            // Out of file handles, most likely: those in use will be given back.
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The connection is to be reset.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is reset by a fault")
    }
}

impl std::error::Error for Reset {}

async fn connection(stream: TcpStream, from: IpAddr, shared: Arc<Shared>) {
    // Without it small answers wait for the client's acknowledgements; if it fails, they just do.
    let _ = stream.set_nodelay(true);
    let dated = shared.config.dated;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, from, request).await }
    });
    let mut connection =
        http1::Builder::new().auto_date_header(dated).serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    let reset = ended.is_err_and(|error| {
        std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<Reset>)
    });
    if reset {
        // With no time to linger, closing sends RST. If it cannot be set, the client sees an early end: as bad.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn answer(
    shared: &Shared,
    from: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Reset> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await.map_err(|_| Reset)?.to_bytes();
    if head.uri.path().starts_with(control::PREFIX) {
        return Ok(respond(control::handle(shared, &head, &body), shared, &head.headers, ReplyBody::whole));
    }
    let call = Call::new(&head, body);
    let user = oauth::user_of_call(shared, &call);
    let _in_flight = shared.meter.begin(call.endpoint, user);
    let _reading = reading(shared, &call, from);
    let name = || user.map(|user| shared.users.name(user));
    let fault = shared.faults.strike(call.endpoint, name);
    let latency = shared.latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let answered = carry_out(shared, &call, &head, fault).await;
    if shared.meter.logs() {
        shared.meter.log(Logged {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            endpoint: call.endpoint,
            user: name(),
            headers: head.headers.clone(),
            body: String::from_utf8_lossy(&call.body).into_owned(),
            status: answered.as_ref().map_or(0, |response| response.status().as_u16()),
        });
    }
    answered
}

/// A call that reads the data of the user of its token.
fn reading<'a>(shared: &'a Shared, call: &Call, from: IpAddr) -> Option<Reading<'a>> {
    let access = shared.access(call)?;
    let read = Read { user: access.grant.user?, from, token: access.serial };
    shared.callers.as_ref()?.begin(call.endpoint, read)
}

/// The real answer, or what the fault makes of it.
async fn carry_out(
    shared: &Shared,
    call: &Call,
    head: &Parts,
    fault: Option<Action>,
) -> Result<Response<ReplyBody>, Reset> {
    let respond = |reply, body: &dyn Fn(Bytes) -> ReplyBody| Ok(respond(reply, shared, &head.headers, body));
    let real = || dispatch(shared, call);
    match fault {
        None => respond(real(), &ReplyBody::whole),
        Some(Action::Delay(time)) => {
            sleep(time).await;
            respond(real(), &ReplyBody::whole)
        }
        Some(Action::Hang) => pending().await,
        Some(Action::Reset) => Err(Reset),
        Some(Action::LoseReply) => {
            real();
            Err(Reset)
        }
        Some(Action::Truncate(sent)) => respond(real(), &|bytes| ReplyBody::cut(&bytes, sent)),
        Some(Action::SlowBody { chunk, every }) => {
            respond(real(), &|bytes| ReplyBody::slow(bytes, chunk, every))
        }
        Some(Action::BigBody(size)) => respond(real(), &|bytes| ReplyBody::padded(bytes, size)),
        Some(Action::Malformed) => {
            let reply = real();
            let half = reply.body.slice(..reply.body.len() / 2);
            respond(Reply { status: 200, body: half, ..reply }, &ReplyBody::whole)
        }
        Some(Action::Html) => {
            let reply = Reply::json(PAGE_FOR_PEOPLE.to_owned());
            respond(Reply { content_type: "text/html; charset=utf-8", ..reply }, &ReplyBody::whole)
        }
        Some(Action::Garbage(bytes)) => {
            respond(Reply { body: Bytes::from(bytes), ..Reply::json(String::new()) }, &ReplyBody::whole)
        }
        Some(Action::Answer { code, headers, body }) => {
            let reply =
                Reply { status: code, headers, body: Bytes::from(body), ..Reply::json(String::new()) };
            respond(reply, &ReplyBody::whole)
        }
        Some(Action::Unannounced(bytes)) => {
            let reply = Reply { body: Bytes::from(bytes), ..Reply::json(String::new()) };
            respond(reply, &ReplyBody::unannounced)
        }
        Some(Action::Gzip(bytes)) => {
            let headers = vec![("Content-Encoding".to_owned(), "gzip".to_owned())];
            let reply = Reply { body: Bytes::from(bytes), headers, ..Reply::json(String::new()) };
            respond(reply, &ReplyBody::whole)
        }
        Some(Action::Edit(edit)) => {
            let next_day = || shared.set_day(shared.day() + 1);
            respond(edit.apply(call, |call| dispatch(shared, call), next_day), &ReplyBody::whole)
        }
        Some(Action::Status { code, headers, body }) => {
            let mut reply = call.refuse(code, "sandbox.fault", "a fault was asked for");
            if !body.is_empty() {
                reply.body = Bytes::from(body);
            }
            respond(Reply { headers, ..reply }, &ReplyBody::whole)
        }
    }
}

fn dispatch(shared: &Shared, call: &Call) -> Reply {
    let answer = match call.endpoint {
        Endpoint::ClientToken | Endpoint::CodeExchange | Endpoint::RefreshToken => oauth::token(shared, call),
        Endpoint::Grant | Endpoint::Delegate => oauth::grant(shared, call),
        Endpoint::RevokeAll => oauth::revoke_all(shared, call),
        Endpoint::UserCreate => oauth::create_user(shared, call),
        Endpoint::User => oauth::show_user(shared, call),
        Endpoint::UserDelete => oauth::delete_user(shared, call),
        Endpoint::Consents => credentials::consents(shared, call),
        Endpoint::CredentialsRefresh => credentials::refresh(shared, call),
        Endpoint::CredentialsDelete => credentials::delete(shared, call),
        Endpoint::Accounts => listing::accounts(shared, call),
        Endpoint::Account => listing::account(shared, call),
        Endpoint::Transactions => listing::transactions(shared, call),
        Endpoint::Link => link::page(shared, call),
        Endpoint::LinkChoice => link::choose(shared, call),
        Endpoint::Unknown => Err(call.refuse(404, "request.not_found", "no such call")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// Makes HTTP of a reply. Headers that are not legal are left out; tests that need such send them as garbage.
fn respond(
    reply: Reply,
    shared: &Shared,
    asked: &HeaderMap,
    body: impl Fn(Bytes) -> ReplyBody,
) -> Response<ReplyBody> {
    let mut response = Response::new(body(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    let id = Id::of(shared.meter.next_request());
    headers.extend(
        HeaderValue::from_str(&id.to_string()).map(|id| (HeaderName::from_static("x-request-id"), id)),
    );
    if let Some(trace) = asked.get("x-client-trace-id") {
        headers.insert(HeaderName::from_static("x-client-trace-id"), trace.clone());
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}
