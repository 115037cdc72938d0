//! What is in force for the clients' connections: the gateway that answers, their bounds, and how far the end of the process
//! has come. Owns no socket.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::connection::ConnectionTimeouts;
use super::services::Gateway;
use crate::config::ProxyProtocol;
use crate::http::HeadLimits;

/// How long a connection that was just accepted may take to begin its first request when the process ends.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The bounds of a listener, and what its connections speak before HTTP.
#[derive(Clone)]
pub struct ListenerLimits {
    /// Connections in all.
    pub connections: usize,
    /// Exchanges in all. Each may hold a connection to a backend, and a client of HTTP/2 has many on one of its own.
    pub exchanges: usize,
    /// Those of them that run to their end, whoever waits for them: what makes and ends sessions.
    pub detached: usize,
    /// Connections from one network; trusted proxies are exempt, for they speak for many.
    pub connections_per_address: usize,
    /// Proxies that are exempt from the limit per network, and whose PROXY header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those proxies send one.
    pub proxy_protocol: ProxyProtocol,
    /// Bounds of a request's head.
    pub head: HeadLimits,
    /// How handshakes are made; `None`: the listener speaks plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Deadlines of a connection.
    pub timeouts: ConnectionTimeouts,
}

/// The gateway that answers, and the bounds of new connections. A reload swaps both at once.
pub struct InForce {
    /// Answers requests.
    pub gateway: Arc<Gateway>,
    /// Bounds connections.
    pub limits: Arc<ListenerLimits>,
}

/// What is in force now.
pub type Current = Arc<ArcSwap<InForce>>;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Traffic is served.
    Serving,
    /// Traffic is served, and each answer is its connection's last: whoever keeps connections for later requests has
    /// none to this process by the time it closes.
    Leaving,
    /// No new connections; requests in flight finish.
    Closing,
}

/// Ready when no new requests are to be taken.
pub(super) async fn closing(stage: &mut watch::Receiver<Stage>) {
    // An error means that nobody can say so any more, which is the same.
    let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
}

/// Ready when a connection is to end after the request it has. One that was accepted and has sent nothing yet is given a
/// moment: its first request is on the way, and closing would lose it.
pub(super) async fn ending(stage: &mut watch::Receiver<Stage>, begun: &Notify) {
    closing(stage).await;
    let _ = tokio::time::timeout(FIRST_REQUEST, begun.notified()).await;
}
