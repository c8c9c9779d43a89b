//! A gate between the program and the fake Tink: it lets everything pass until a certain call is asked for, and from
//! then on it fails in a way of its own, as an address does whose server goes away or whose certificate is changed.

use std::fs;
use std::net::{SocketAddr, TcpListener as Socket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tink_sandbox::Endpoint;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// What becomes of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it goes on.
    Stays,
    /// Nobody listens there any more.
    Closed,
    /// Somebody who speaks no TLS.
    Plain,
    /// Its certificate is signed by itself.
    SelfSigned,
    /// Its certificate is another name's.
    OtherName,
    /// Its certificate is out of date.
    Expired,
}

/// An authority of our own, and certificates for this machine.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The TLS of a server with the certificate of this fate.
    fn server(&self, fate: Fate) -> TlsAcceptor {
        let name = if fate == Fate::OtherName { "another.example" } else { "127.0.0.1" };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if fate == Fate::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = match fate {
            Fate::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        let chain: Vec<CertificateDer<'static>> = vec![certificate.unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An open gate; it closes when dropped.
pub struct Gate {
    address: SocketAddr,
    tls: bool,
    /// The certificate of the authority that the good certificate is signed by.
    pub authority: PathBuf,
    closed: CancellationToken,
    keeper: Option<JoinHandle<()>>,
}

impl Gate {
    /// A gate to `tink`, over TLS unless it is to close. From the first call to `turn` on the fate has come; without
    /// one it has come at once. The authority's certificate is written into `directory`.
    pub fn open(tink: SocketAddr, directory: &Path, turn: Option<Endpoint>, fate: Fate) -> Self {
        let socket = Socket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let authority = Authority::new();
        let file = directory.join("authority.pem");
        fs::write(&file, &authority.pem).unwrap();
        let (closed, turned) = (CancellationToken::new(), CancellationToken::new());
        if turn.is_none() {
            turned.cancel();
        }
        let tls = fate != Fate::Closed;
        let before = tls.then(|| authority.server(Fate::Stays));
        let after = match fate {
            Fate::Closed => After::Closed,
            Fate::Plain => After::Plain,
            _ => After::Tls(authority.server(fate)),
        };
        let keeper = Keeper { tink, needle: turn.map_or("", needle), turned, before, after };
        let until = closed.clone();
        let keeper = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(until.run_until_cancelled(Arc::new(keeper).keep(socket)));
        });
        Self { address, tls, authority: file, closed, keeper: Some(keeper) }
    }

    /// Its address for the program.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.closed.cancel();
        self.keeper.take().map(JoinHandle::join);
    }
}

/// What only this call says.
fn needle(call: Endpoint) -> &'static str {
    match call {
        Endpoint::ClientToken => "grant_type=client_credentials",
        Endpoint::CodeExchange => "grant_type=authorization_code",
        Endpoint::Grant => "/oauth/authorization-grant",
        Endpoint::Consents => "/provider-consents",
        Endpoint::CredentialsRefresh => "/credentials/",
        Endpoint::Accounts => "/data/v2/accounts",
        Endpoint::Transactions => "/data/v2/transactions",
        _ => panic!("no gate turns at {call:?}"),
    }
}

enum After {
    Closed,
    Plain,
    Tls(TlsAcceptor),
}

struct Keeper {
    tink: SocketAddr,
    needle: &'static str,
    turned: CancellationToken,
    before: Option<TlsAcceptor>,
    after: After,
}

impl Keeper {
    async fn keep(self: Arc<Self>, socket: Socket) {
        let listener = TcpListener::from_std(socket).unwrap();
        loop {
            let is_to_close = matches!(self.after, After::Closed);
            let caller = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = self.turned.cancelled(), if is_to_close => break,
            };
            tokio::spawn(Arc::clone(&self).serve(caller));
        }
        drop(listener);
        std::future::pending::<()>().await;
    }

    async fn serve(self: Arc<Self>, mut caller: TcpStream) {
        let tls = match (&self.after, &self.before) {
            (After::Closed, _) if self.turned.is_cancelled() => return,
            (After::Plain, _) if self.turned.is_cancelled() => {
                // The server may have gone: that is no better.
                let _ = caller.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                return;
            }
            (After::Tls(after), _) if self.turned.is_cancelled() => after,
            (_, Some(before)) => before,
            (_, None) => return self.pass(caller).await,
        };
        if let Ok(caller) = tls.accept(caller).await {
            self.pass(caller).await;
        }
    }

    /// Passes on what both sides say, until the turn is asked for: then every connection is cut.
    async fn pass(&self, caller: impl AsyncRead + AsyncWrite) {
        let tink = TcpStream::connect(self.tink).await.unwrap();
        let (mut from_caller, mut to_caller) = tokio::io::split(caller);
        let (mut from_tink, mut to_tink) = tokio::io::split(tink);
        let asking = async {
            // All that was said, since a call may come in pieces.
            let mut said = Vec::new();
            while let Ok(read @ 1..) = from_caller.read_buf(&mut said).await {
                let is_turn = !self.needle.is_empty()
                    && said.windows(self.needle.len()).any(|part| part == self.needle.as_bytes());
                if is_turn {
                    return self.turned.cancel();
                }
                if to_tink.write_all(&said[said.len() - read..]).await.is_err() {
                    return;
                }
            }
        };
        let answering = async {
            // A side that is gone ends the other one too.
            let _ = tokio::io::copy(&mut from_tink, &mut to_caller).await;
        };
        tokio::select! {
            () = asking => {}
            () = answering => {}
            () = self.turned.cancelled(), if !self.needle.is_empty() => {}
        }
    }
}
