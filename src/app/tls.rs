//! TLS on a listener as it is in force: what makes handshakes, and what watches the files of their certificates.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::SharedClock;
use crate::commons::Commons;
use crate::config::TlsConfig;
use crate::health::Readiness;
use crate::telemetry::Metrics;
use crate::tls::{self, CertificateFiles, CertificateResolver, CertificateWatch, Term, reload_when_changed};

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

    /// Takes over what a configuration has just read from the same files, unless it is out of its time.
    pub(super) fn take_over(&self, config: &TlsConfig, now: u64) {
        if config.certificates.worse_than(Some(&self.resolver.in_force()), now).is_none() {
            self.resolver.replace(config.certificates.clone());
        }
    }

    /// Watches the files from now on.
    pub(super) fn watch(&mut self, watcher: Watcher) {
        let watch = reload_when_changed(self.files.clone(), self.resolver.clone(), watcher);
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
    }
}

/// Who hears of a listener's certificates: operators, by a warning of that name, and the metrics.
#[derive(Clone)]
pub(super) struct Watcher {
    name: &'static str,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
}

impl Watcher {
    /// Of the listener whose certificates have this name.
    pub(super) fn of(name: &'static str, commons: &Commons) -> Self {
        let Commons { readiness, metrics, clock, .. } = commons;
        Self { name, readiness: readiness.clone(), metrics: metrics.clone(), clock: clock.clone() }
    }
}

impl CertificateWatch for Watcher {
    fn now(&self) -> u64 {
        seconds(&self.clock)
    }

    fn warn(&self, warning: Option<String>) {
        self.readiness.warn(self.name, warning);
    }

    fn in_force(&self, terms: &[Term], now: u64) {
        let left = terms.iter().map(|term| (&*term.name, term.left_at(now)));
        self.metrics.certificates(self.name, left.collect());
    }
}

/// The time as certificates have it: seconds since the Unix epoch.
pub(super) fn seconds(clock: &SharedClock) -> u64 {
    clock.wall().as_micros() / 1_000_000
}
