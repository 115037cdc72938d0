//! The certificates in force, which can be replaced while connections are made.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificates;

/// Gives each handshake its certificate.
#[derive(Debug)]
pub struct CertificateResolver(ArcSwap<Certificates>);

impl CertificateResolver {
    /// With these to begin with.
    #[must_use]
    pub fn new(certificates: Arc<Certificates>) -> Self {
        Self(ArcSwap::new(certificates))
    }

    /// Those in force.
    #[must_use]
    pub fn in_force(&self) -> Arc<Certificates> {
        self.0.load_full()
    }

    /// From the next handshake on, these. Answers whether they differ from those in force.
    pub fn replace(&self, certificates: Arc<Certificates>) -> bool {
        let differ = !self.0.load().same_as(&certificates);
        if differ {
            self.0.store(certificates);
        }
        differ
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().choose(hello.server_name(), hello.signature_schemes()))
    }
}
