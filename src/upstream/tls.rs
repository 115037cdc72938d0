//! TLS to a peer: whom the gateway believes. A peer is verified by the host name of its address, always.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Authorities whose certificates are believed.
#[derive(Clone)]
pub struct Trust {
    roots: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

/// Why there is nobody to believe. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not a file of certificates.
    #[error("holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")")]
    NoCertificate,
    /// A certificate that is none.
    #[error("holds a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// The system has no authorities.
    #[error("this system has no certificate authorities ({0}); install them, or name a file with `ca`")]
    NoSystemRoots(String),
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// Believes the authorities in a PEM file, and no others.
    ///
    /// # Errors
    /// When there is none in it, or one that cannot be used.
    pub fn in_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let roots = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TrustError::BadCertificate(error.to_string()))?;
        if roots.is_empty() {
            return Err(TrustError::NoCertificate);
        }
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| TrustError::BadCertificate(error.to_string()))?;
        }
        Self::new(roots, store)
    }

    /// Believes the system's authorities.
    ///
    /// # Errors
    /// When it has none.
    pub fn of_the_system() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Old systems have some that nobody can use any more.
        let (usable, _) = store.add_parsable_certificates(found.certs.iter().cloned());
        if usable == 0 {
            let cause = found.errors.first().map_or_else(|| String::from("none were found"), ToString::to_string);
            return Err(TrustError::NoSystemRoots(cause));
        }
        Self::new(found.certs, store)
    }

    fn new(roots: Vec<CertificateDer<'static>>, store: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { roots, config: Arc::new(config) })
    }

    /// The same authorities, where something else than HTTP is spoken.
    #[must_use]
    pub fn for_another_protocol(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols.clear();
        Self { roots: self.roots.clone(), config: Arc::new(config) }
    }

    /// Shakes hands with `host`, which must prove that it is.
    ///
    /// # Errors
    /// When it does not prove it, or the handshake fails otherwise.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await
    }
}

/// The same authorities are the same trust.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.roots == other.roots
    }
}

impl Eq for Trust {}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trust").field("roots", &self.roots.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_file_without_a_usable_certificate_is_no_trust() {
        for (pem, expected) in [
            ("", "holds no certificate"),
            ("some text", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "cannot be used"),
        ] {
            let error = Trust::in_pem(pem.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{pem:?}: {error}");
        }
    }

    #[test]
    fn the_same_authorities_are_the_same_trust() {
        let (one, other) = (authority(), authority());
        let trust = |pem: &str| Trust::in_pem(pem.as_bytes()).unwrap();
        assert_eq!(trust(&one), trust(&one));
        assert_ne!(trust(&one), trust(&other));
        assert_ne!(trust(&one), trust(&format!("{one}{other}")));
    }
}
