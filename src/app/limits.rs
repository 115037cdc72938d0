//! What a configuration holds the clients' connections to.

use super::tls::ListenerTls;
use crate::config::ServerConfig;
use crate::descriptors::Room;
use crate::http::HeadLimits;
use crate::proxy::{ConnectionTimeouts, ListenerLimits};
use crate::tls::{HTTP1, HTTP2};

/// What the traffic listener speaks over TLS, the preferred first.
pub(super) const TRAFFIC_PROTOCOLS: [&[u8]; 2] = [HTTP2, HTTP1];

/// The bounds of the traffic listener.
pub(super) fn listener_limits(server: &ServerConfig, room: Room, tls: Option<&ListenerTls>) -> ListenerLimits {
    ListenerLimits {
        connections: room.connections,
        exchanges: room.exchanges,
        detached: room.connections.div_ceil(2),
        connections_per_address: server.max_connections_per_address,
        trusted_proxies: server.trusted_proxies.clone(),
        proxy_protocol: server.proxy_protocol,
        tls: tls.map(ListenerTls::acceptor),
        head: HeadLimits { bytes: server.max_header, count: server.max_headers },
        timeouts: ConnectionTimeouts {
            header: server.header_timeout,
            keepalive: server.client_keepalive,
            write: server.write_timeout,
        },
    }
}
