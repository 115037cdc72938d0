//! The upstreams of a configuration, each with what the configuration says of requests to it.
//!
//! An upstream whose settings a reload left as they were is carried over, with its idle connections and with what is
//! known of its peers. One that was changed or removed lives on for as long as requests under way hold it.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::PathAndQuery;

use super::named::Named;
use crate::clock::SharedClock;
use crate::config::{BodyMode, Config, HostHeader, UpstreamConfig};
use crate::http::{OwnLocations, RequestHost};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::PeerMetric;
use crate::upstream::{
    HealthCheck, Keepalive, PeerAddress, PeerObserver, Spool, Upstream, UpstreamObserver, UpstreamSettings,
};

impl UpstreamObserver for Metrics {
    fn peer(&self, upstream: &str, address: &PeerAddress) -> Box<dyn PeerObserver> {
        Box::new(self.upstream_peer(upstream, &address.to_string()))
    }
}

impl PeerObserver for PeerMetric {
    fn stands(&self, is_in: bool) {
        self.set(is_in);
    }
}

/// Upstreams by name.
pub(super) type Upstreams = Named<BoundUpstream>;

/// An upstream with what the configuration says of requests to it.
pub(super) struct BoundUpstream {
    settings: UpstreamSettings,
    pub(super) peers: Arc<Upstream>,
    pub(super) host: HostHeader,
    pub(super) body: BodyMode,
    pub(super) spool: Arc<Spool>,
    /// Where it may send browsers to that only the gateway knows the way to; `None`: what it says stays.
    pub(super) locations: Option<OwnLocations>,
}

impl BoundUpstream {
    /// How long an answer that is read whole may take after its head.
    pub(super) const fn patience(&self) -> Duration {
        self.settings.response_timeout
    }
}

/// The upstreams of `config`; those that `before` has with the same settings are the same.
pub(super) fn upstreams(
    config: &Config,
    before: Option<&Upstreams>,
    clock: &SharedClock,
    metrics: &Metrics,
) -> Upstreams {
    let bind = |(name, upstream): (&Arc<str>, &UpstreamConfig)| {
        let settings = settings(name, upstream, config);
        let before = before.and_then(|before| before.get(name));
        let peers = match before.filter(|before| before.settings == settings) {
            Some(same) => Arc::clone(&same.peers),
            None => Arc::new(Upstream::new(settings.clone(), clock, metrics)),
        };
        let spool = match before.filter(|before| *before.spool.settings() == upstream.spool) {
            Some(same) => Arc::clone(&same.spool),
            None => Arc::new(Spool::new(upstream.spool.clone())),
        };
        let locations = upstream.rewrite_location.then(|| locations(upstream, config));
        let (host, body) = (upstream.host.clone(), upstream.request_body);
        let bound = BoundUpstream { settings, peers, host, body, spool, locations };
        (Arc::clone(name), bound)
    };
    config.upstreams.iter().map(bind).collect()
}

fn settings(name: &Arc<str>, upstream: &UpstreamConfig, config: &Config) -> UpstreamSettings {
    UpstreamSettings {
        name: Arc::clone(name),
        peers: upstream.peers.clone(),
        balance: upstream.balance,
        health: upstream.health_path.as_ref().map(|path| health_check(path, upstream, config)),
        eject: upstream.eject,
        trust: upstream.trust.clone(),
        keepalive: upstream.keepalive.map(Keepalive::of),
        connect_timeout: upstream.connect_timeout,
        response_timeout: upstream.response_timeout,
    }
}

/// The addresses by which a backend may call itself: those at which it listens, and the Host that it is told.
fn locations(upstream: &UpstreamConfig, config: &Config) -> OwnLocations {
    let listens = upstream.peers.iter().filter_map(|peer| match peer {
        PeerAddress::Tcp { host, port } | PeerAddress::Tls { host, port } => Some((host.clone(), *port)),
        PeerAddress::Unix(_) => None,
    });
    let is_told = match &upstream.host {
        HostHeader::Preserve => None,
        HostHeader::Fixed(host) => host.to_str().ok().and_then(RequestHost::parse),
    };
    let is_told = is_told.into_iter().flat_map(|host| {
        let ports = host.port().map_or_else(|| vec![80, 443], |port| vec![port]);
        ports.into_iter().map(move |port| (host.host().to_owned(), port))
    });
    OwnLocations::new(config.server.public_url.clone(), listens.chain(is_told))
}

/// A check has no client whose `Host` could be preserved, so it asks as browsers would.
fn health_check(path: &PathAndQuery, upstream: &UpstreamConfig, config: &Config) -> HealthCheck {
    let host = match &upstream.host {
        HostHeader::Fixed(host) => host.clone(),
        HostHeader::Preserve => {
            let url = config.server.public_url.to_string();
            let authority = url.split_once("://").map_or("", |(_, authority)| authority);
            HeaderValue::try_from(authority).unwrap_or(HeaderValue::from_static("localhost"))
        }
    };
    HealthCheck { path: path.clone(), host }
}
