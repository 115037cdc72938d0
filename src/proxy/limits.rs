//! What connections of clients are held to.

use std::time::Duration;

use ipnet::IpNet;
use tokio_rustls::TlsAcceptor;

use crate::config::ProxyProtocol;
use crate::http::HeadLimits;

/// The largest request body of an exchange that runs to its end: it is read whole before the backend sees any of it.
pub(super) const OWN_REQUEST_MAX: usize = 1024 * 1024;

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

/// How long each wait on a client's connection may last.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// From the first byte of a head (on a new connection: from its start) to its end.
    pub header: Duration,
    /// From the end of an answer to the first byte of the next head.
    pub keepalive: Duration,
    /// Without the client taking a byte of an answer.
    pub write: Duration,
}
