//! TLS to a server, with the certificate checks of libpq's `sslmode`. Must not decide whether there is TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pgpass::{GROUP_READS, open_to_others};
use crate::domain::server::{Roots, Security, SslMode};

/// How much of a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// The server has its key.
    Key,
    /// Also: a trusted authority has signed it, and it is in date.
    Chain,
    /// Also: it is for the intended host.
    Name,
}

impl Check {
    /// As libpq: named authorities are checked whatever the mode.
    fn of(security: &Security) -> Self {
        match (security.mode, &security.roots) {
            (SslMode::VerifyFull, _) | (_, Roots::System) => Self::Name,
            (SslMode::VerifyCa, _) | (_, Roots::File(_)) => Self::Chain,
            (_, Roots::Unset) => Self::Key,
        }
    }
}

/// The TLS connector for a server.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn connector(security: &Security) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let wrong = |error: Error| format!("TLS cannot be set up: {error}");
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(security, provider)?);
    let config = match &security.own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            config.with_client_auth_cert(chain, private_key(key)?).map_err(|error| {
                format!("{} and {} cannot be used together: {error}", certificate.display(), key.display())
            })?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(
    security: &Security,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let check = Check::of(security);
    if check == Check::Key {
        return Ok(Arc::new(Lenient { roots: None, provider }));
    }
    let roots = Arc::new(roots(&security.roots)?);
    if check == Check::Chain {
        return Ok(Arc::new(Lenient { roots: Some(roots), provider }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    Ok(verifier.map_err(|error| format!("TLS cannot be set up: {error}"))?)
}

/// The trusted authorities.
fn roots(named: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Roots::File(path) = named {
        for certificate in certificates(path)? {
            let added = store.add(certificate);
            added.map_err(|error| format!("{} cannot be used as sslrootcert: {error}", path.display()))?;
        }
        return Ok(store);
    }
    // One unusable certificate among the system's must not invalidate the others.
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(store);
    }
    let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    Err(format!(
        "the system has no root certificates{why}; install ca-certificates, or name the authority in `sslrootcert`"
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    if let Some(problem) = open_to_others(path, GROUP_READS) {
        return Err(problem);
    }
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{} holds no usable key: {error}", path.display()))
}

/// Checks less than the web does: never the name, and without roots not the signer. That the server has the
/// key of its certificate is always verified.
#[derive(Debug)]
struct Lenient {
    roots: Option<Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let certificate = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(mode: SslMode, roots: Roots) -> Security {
        Security { mode, roots, own: None }
    }

    #[test]
    fn certificates_are_looked_at_as_libpq_does() {
        let file = || Roots::File("ca.crt".into());
        for (mode, bare, with_file) in [
            (SslMode::Allow, Check::Key, Check::Chain),
            (SslMode::Prefer, Check::Key, Check::Chain),
            (SslMode::Require, Check::Key, Check::Chain),
            (SslMode::VerifyCa, Check::Chain, Check::Chain),
            (SslMode::VerifyFull, Check::Name, Check::Name),
        ] {
            assert_eq!(Check::of(&security(mode, Roots::Unset)), bare, "{mode}");
            assert_eq!(Check::of(&security(mode, file())), with_file, "{mode}");
        }
        assert_eq!(Check::of(&security(SslMode::VerifyFull, Roots::System)), Check::Name);
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let root = tempfile::tempdir().unwrap();
        let empty = root.path().join("empty.crt");
        std::fs::write(&empty, "no certificate\n").unwrap();
        let refused = |security: Security| match connector(&security) {
            Ok(_) => panic!("{security:?} was taken"),
            Err(error) => error,
        };
        let error = refused(security(SslMode::Require, Roots::File(empty.clone())));
        assert!(error.contains("empty.crt holds no certificate"), "{error}");
        let missing = root.path().join("missing.crt");
        let error = refused(security(SslMode::VerifyCa, Roots::File(missing.clone())));
        assert!(error.contains("missing.crt cannot be read"), "{error}");
        let own = Some((empty, missing));
        let error = refused(Security { own, ..security(SslMode::Prefer, Roots::Unset) });
        assert!(error.contains("empty.crt holds no certificate"), "{error}");
    }
}
