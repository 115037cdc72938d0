//! TLS on a listener as it is in force: what makes handshakes, and what watches the files of their certificates.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::config::TlsConfig;
use crate::health::Readiness;
use crate::tls::{self, CertificateFiles, CertificateResolver, reload_when_changed};

/// The certificates of a listener, given to handshakes and renewed when their files change.
pub(super) struct ListenerTls {
    files: Vec<CertificateFiles>,
    resolver: Arc<CertificateResolver>,
    acceptor: TlsAcceptor,
    /// Ends with this: nothing is watched that is not served.
    watch: Option<AbortOnDropHandle<()>>,
}

impl ListenerTls {
    /// For a configuration and what the listener speaks; its files are not watched yet. `None`: the listener speaks
    /// plain HTTP.
    pub(super) fn of(config: Option<&TlsConfig>, protocols: &[&[u8]]) -> Result<Option<Self>, rustls::Error> {
        let Some(config) = config else { return Ok(None) };
        let resolver = Arc::new(CertificateResolver::new(config.certificates.clone()));
        let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(resolver.clone(), protocols)?));
        Ok(Some(Self { files: config.files.clone(), resolver, acceptor, watch: None }))
    }

    /// What makes the handshakes of new connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Whether a configuration names the same files in the same order, so that this can go on, tickets and all.
    pub(super) fn is_for(&self, config: Option<&TlsConfig>) -> bool {
        config.is_some_and(|config| config.files == self.files)
    }

    /// Takes over what a configuration has just read from the same files.
    pub(super) fn take_over(&self, config: &TlsConfig) {
        self.resolver.replace(config.certificates.clone());
    }

    /// Watches the files from now on; what keeps a change from being taken over is shown as a warning of that name.
    pub(super) fn watch(&mut self, name: &'static str, readiness: Arc<Readiness>) {
        let told = move |warning| readiness.warn(name, warning);
        let watch = reload_when_changed(self.files.clone(), self.resolver.clone(), told);
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
    }
}
