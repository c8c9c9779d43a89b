//! Sends one request, with retries, and reads its response: pace, limits, statuses. Must not know token
//! lifetimes or the meaning of a response; the caller passes in the parser, since a response that does not
//! parse is requested again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, NoProxy, Proxy, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use super::error::{Endpoint, Error, ErrorKind};
use super::gzip::{self, Damage, Unpacker};
use super::head::{Answer, Head, chain};
use super::options::{CallCounters, ClientOptions, ClientTotals};
use super::pace::{Pacer, Reservation};
use super::retry::{Retry, RetryDecision};
use crate::clock::{Clock, millis};

const USER_AGENT: &str = concat!("tink-sync/", env!("CARGO_PKG_VERSION"));
/// How much is unpacked at once.
const PIECE: usize = 16 * 1024;
/// How much of an error's body is read.
const ERROR_BODY: u64 = 16 * 1024;

/// One request, kept so that it can be sent again. Has no `Debug`: it holds secrets.
pub(super) struct Request<'a> {
    pub endpoint: Endpoint,
    pub query: &'a [(&'static str, String)],
    /// The fields of a form. If they are empty and nothing is `posted`, the request is a GET.
    pub form: &'a [(&'static str, &'a str)],
    /// The value for `{id}` in the path, and the JSON body to POST.
    pub posted: Option<(&'a str, &'a str)>,
    pub bearer: Option<&'a SecretString>,
    pub tries: u32,
    /// The first attempt already repeats an earlier request.
    pub repeated: bool,
}

/// Everything needed to send requests, shared by the process.
pub(super) struct Transport {
    http: Lazy,
    /// For requests that may be sent only once: always a new connection, so that a pooled one that died
    /// unnoticed cannot lose the request.
    unpooled: Lazy,
    base: String,
    max_response: u64,
    pub pacer: Pacer,
    pub retry: Retry,
    clock: Arc<dyn Clock>,
    counters: CallCounters,
    errors: AtomicU64,
    token_failures: AtomicU64,
}

/// An HTTP client built on first use: loading the system's certificates takes longer than the rest of a pass
/// that has nothing to do.
struct Lazy {
    build: Box<dyn Fn() -> ClientBuilder + Send + Sync>,
    built: OnceLock<reqwest::Client>,
}

impl Lazy {
    fn new(build: impl Fn() -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self { build: Box::new(build), built: OnceLock::new() }
    }

    fn get(&self) -> Result<&reqwest::Client, Error> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let built = (self.build)()
            .build()
            .map_err(|e| Error { unsent: true, ..unusable(&chain(&e.without_url())) })?;
        Ok(self.built.get_or_init(|| built))
    }
}

fn unusable(detail: &str) -> Error {
    Error::new(ErrorKind::Config, Endpoint::Setup, detail)
}

/// The configured proxies; hosts in `NO_PROXY` bypass them.
fn proxies(options: &ClientOptions) -> reqwest::Result<Vec<Proxy>> {
    let (https, http) = (options.proxies.https.as_ref(), options.proxies.http.as_ref());
    let https = https.map(|address| Proxy::https(address.expose_secret()));
    let http = http.map(|address| Proxy::http(address.expose_secret()));
    https
        .into_iter()
        .chain(http)
        .map(|proxy| proxy.map(|proxy| proxy.no_proxy(NoProxy::from_env())))
        .collect()
}

enum Fault {
    TooLarge,
    Broken(reqwest::Error),
    Damaged(Damage),
}

impl Transport {
    pub(super) fn new(options: &ClientOptions, clock: Arc<dyn Clock>, seed: u64) -> Result<Self, Error> {
        options.check()?;
        let url = Url::parse(&options.api_url).map_err(|e| unusable(&format!("api_url: {e}")))?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(unusable("api_url is not an http address"));
        }
        let (connect, whole) = (options.connect_timeout, options.request_timeout);
        // This module unpacks gzip itself, since the library reads only the first of several members.
        let packed = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        let proxies = proxies(options).map_err(|e| unusable(&chain(&e.without_url())))?;
        let builder = move || {
            let direct = reqwest::Client::builder().no_proxy();
            proxies
                .iter()
                .cloned()
                .fold(direct, ClientBuilder::proxy)
                .user_agent(USER_AGENT)
                .default_headers(packed.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(connect)
                .timeout(whole)
        };
        Ok(Self {
            http: Lazy::new(builder.clone()),
            unpooled: Lazy::new(move || builder().pool_max_idle_per_host(0)),
            base: options.api_url.trim_end_matches('/').to_owned(),
            max_response: options.max_response,
            pacer: Pacer::new(options.requests_per_second, options.concurrency),
            retry: Retry::new(options.retry, seed),
            clock,
            counters: CallCounters::default(),
            errors: AtomicU64::new(0),
            token_failures: AtomicU64::new(0),
        })
    }

    /// Builds the HTTP client.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: it cannot be built, for example for lack of trusted certificates.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        self.http.get().map(drop)
    }

    /// Sends `request` until a response parses, the failure is final or the attempts are used up. `parse`
    /// returns why a body is unreadable, without quoting its values.
    pub(super) async fn call<T>(
        &self,
        request: &Request<'_>,
        counters: &CallCounters,
        parse: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Answer<T>, Error> {
        let mut done = 0;
        let mut lost: Option<Error> = None;
        loop {
            let repeated = request.repeated || done > 0;
            let error = match self.attempt(request, counters, repeated, &parse).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // The attempt whose response was lost may have used the code up: return that attempt's error.
            let is_spent = request.endpoint == Endpoint::CodeExchange
                && matches!(error.kind, ErrorKind::BadRequest | ErrorKind::Unauthorized);
            if is_spent && let Some(lost) = lost.take() {
                return Err(Error { status: error.status, ..lost });
            }
            done += 1;
            match self.retry.judge(&error, done, request.tries) {
                RetryDecision::Again(wait) => {
                    log(&error, wait, "trying again");
                    sleep(wait).await;
                }
                RetryDecision::Pause { pause, again } => {
                    log(&error, pause, "pausing all requests");
                    self.pacer.pause_as_asked(pause);
                    counters.count_pause(pause);
                    if !again {
                        return Err(error);
                    }
                }
                RetryDecision::Fail => return Err(error),
            }
            lost = Some(error).filter(|error| !error.is_undone()).or(lost);
        }
    }

    async fn attempt<T>(
        &self,
        request: &Request<'_>,
        counters: &CallCounters,
        repeated: bool,
        parse: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Answer<T>, Error> {
        let _slot = self.pacer.enter().await;
        counters.count(repeated);
        self.counters.count(repeated);
        let started = Instant::now();
        let mut head = Head::new(request.endpoint);
        let result = self.send(request, &mut head, parse).await;
        tracing::debug!(
            endpoint = request.endpoint.as_str(),
            status = head.status,
            duration_ms = millis(started.elapsed()),
            request_id = head.request_id,
            "request"
        );
        match result {
            Ok(value) => Ok(Answer { value, head }),
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    async fn send<T>(
        &self,
        request: &Request<'_>,
        head: &mut Head,
        parse: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let sent = self.build(request)?.send().await;
        let mut response = sent.map_err(|e| head.transport(e))?;
        let status = response.status();
        head.read(status.as_u16(), response.headers(), self.clock.as_ref());
        if status.as_u16() == 429 {
            self.pacer.slow_down();
        }
        let mut body = Vec::new();
        let is_packed = response.headers().contains_key(CONTENT_ENCODING);
        let mut memory = self.pacer.reserve(response.content_length().filter(|_| !is_packed)).await;
        if !status.is_success() {
            // Part of the explanation, or none, is better than losing the status.
            let _ = collect(&mut response, &mut memory, ERROR_BODY, &mut body).await;
            return Err(head.refusal(status.as_u16(), &body));
        }
        match collect(&mut response, &mut memory, self.max_response, &mut body).await {
            Ok(()) => parse(&body).map_err(|reason| head.error(ErrorKind::Malformed, &reason)),
            Err(Fault::Broken(broken)) => Err(head.transport(broken)),
            Err(Fault::Damaged(damage)) => Err(head.error(ErrorKind::Malformed, damage.as_str())),
            Err(Fault::TooLarge) => {
                let detail = format!("more than {} bytes", self.max_response);
                Err(head.error(ErrorKind::TooLarge, &detail))
            }
        }
    }

    fn build(&self, request: &Request<'_>) -> Result<RequestBuilder, Error> {
        let path = request.endpoint.path();
        let http = if request.endpoint == Endpoint::TokenRefresh { &self.unpooled } else { &self.http };
        let http = http.get()?;
        let mut builder = match request.posted {
            Some((id, json)) => {
                let url = format!("{}{}", self.base, path.replace("{id}", id));
                http.post(url).header(CONTENT_TYPE, "application/json").body(json.to_owned())
            }
            None if request.form.is_empty() => http.get(format!("{}{path}", self.base)),
            None => http.post(format!("{}{path}", self.base)).form(request.form),
        };
        if !request.query.is_empty() {
            builder = builder.query(request.query);
        }
        Ok(match request.bearer {
            Some(token) => builder.bearer_auth(token.expose_secret()),
            None => builder,
        })
    }

    pub(super) fn count_token_failure(&self) {
        self.token_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> ClientTotals {
        ClientTotals {
            requests: self.counters.requests(),
            retries: self.counters.retries(),
            errors: self.errors.load(Ordering::Relaxed),
            token_failures: self.token_failures.load(Ordering::Relaxed),
        }
    }
}

/// Reads a body and unpacks it; `body` keeps what was read before a fault.
async fn collect(
    response: &mut Response,
    memory: &mut Reservation<'_>,
    limit: u64,
    body: &mut Vec<u8>,
) -> Result<(), Fault> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut sent = Vec::with_capacity(memory.covers(announced));
    let received = receive(response, memory, limit, &mut sent).await;
    if !gzip::is_packed(&sent) {
        *body = sent;
        return received;
    }
    let mut unpacker = Unpacker::new(&sent, PIECE);
    loop {
        match unpacker.next() {
            Ok([]) => return received,
            Ok(piece) => append(body, piece, memory, limit).await?,
            // If the body was cut short, that is the reason for the damage.
            Err(damage) => return received.and(Err(Fault::Damaged(damage))),
        }
    }
}

/// Reads a body as sent, without unpacking it.
async fn receive(
    response: &mut Response,
    memory: &mut Reservation<'_>,
    limit: u64,
    sent: &mut Vec<u8>,
) -> Result<(), Fault> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Fault::TooLarge);
    }
    while let Some(chunk) = response.chunk().await.map_err(Fault::Broken)? {
        append(sent, &chunk, memory, limit).await?;
    }
    Ok(())
}

async fn append(
    body: &mut Vec<u8>,
    piece: &[u8],
    memory: &mut Reservation<'_>,
    limit: u64,
) -> Result<(), Fault> {
    let length = body.len().saturating_add(piece.len());
    if u64::try_from(length).is_ok_and(|length| length > limit) {
        return Err(Fault::TooLarge);
    }
    memory.grow(length).await;
    body.extend_from_slice(piece);
    Ok(())
}

/// Logs why and how long a call waits, without the detail, which may quote a body.
fn log(error: &Error, wait: Duration, what: &'static str) {
    tracing::debug!(
        endpoint = error.endpoint.as_str(),
        kind = ?error.kind,
        status = error.status,
        request_id = error.request_id,
        wait_ms = millis(wait),
        "{what}"
    );
}
