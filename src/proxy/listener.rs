//! The accept loop, and what comes before HTTP: a place, the PROXY header, TLS.
//!
//! Owns sockets and nothing else: what a request means is [`Gateway`]'s business. After a reload a connection keeps the
//! deadlines and bounds with which it was accepted; its next request gets the new gateway.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::exchange::{Downstream, Transport};
use super::http1::serve_http1;
use super::http2::serve_http2;
use super::in_force::{Current, Stage, closing, ending};
use super::limits::ListenerLimits;
use super::proxy_protocol::read_header;
use super::services::Gateway;
use super::slots::{Client, Slot, Slots};
use crate::prefixed::Prefixed;
use crate::socket::Listening;
use crate::tls::HTTP2;

/// How long to wait after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Traffic, over TLS where that is configured.
    Traffic,
    /// Sending clients of plain HTTP to https (`server.redirect_http`).
    Redirect,
}

/// Accepts connections until `stage` says otherwise, each served by a task that `connections` tracks.
pub async fn accept(
    listener: Listening,
    entrance: Entrance,
    current: Current,
    slots: Arc<Slots>,
    connections: TaskTracker,
    mut stage: watch::Receiver<Stage>,
) {
    let stage_of_connections = stage.clone();
    let take = |stream: TcpStream, peer: SocketAddr| {
        let peer = peer.ip().to_canonical();
        let in_force = current.load_full();
        let Some(slot) = Slots::take(&slots, peer, &in_force.limits, in_force.gateway.shared_metrics()) else {
            in_force.gateway.metrics().connection_refused();
            return;
        };
        let limits = in_force.limits.clone();
        let accepted = Accepted { stream, peer, entrance, slot };
        connections.spawn(serve(accepted, current.clone(), limits, stage_of_connections.clone()));
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing(&mut stage) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => take(stream, peer),
            // One connection's failure (reset before it was accepted) or a want of descriptors: neither ends the loop.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever waits in the queue was promised a connection.
    listener.close(take).await;
}

/// What is to be known of a connection before its first request.
struct Opened {
    stream: ClientStream,
    downstream: Downstream,
}

/// A connection that was just accepted.
struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    entrance: Entrance,
    slot: Slot,
}

enum ClientStream {
    Plain(Prefixed<TcpStream>),
    Tls(Box<TlsStream<Prefixed<TcpStream>>>),
}

/// Reads what comes before HTTP. `None`: the connection is to be closed, and why was told.
async fn open(
    stream: TcpStream,
    peer: IpAddr,
    entrance: Entrance,
    slot: &mut Slot,
    gateway: &Gateway,
    limits: &ListenerLimits,
) -> Option<Opened> {
    let (client, stream) = match read_header(stream, peer, limits.proxy_protocol, &limits.trusted_proxies).await {
        Ok(read) => read,
        Err(error) => {
            gateway.metrics().connection_failed("proxy_header");
            tracing::debug!(%peer, %error, "a connection was closed");
            return None;
        }
    };
    if client != peer && !slot.move_to(client) {
        gateway.metrics().connection_refused();
        return None;
    }
    let plain = match (entrance, &limits.tls) {
        (Entrance::Redirect, _) => Some(Transport::ToBeRedirected),
        (Entrance::Traffic, None) => Some(Transport::Plain),
        (Entrance::Traffic, Some(_)) => None,
    };
    if let Some(transport) = plain {
        let downstream = Downstream { peer: client.into(), transport };
        return Some(Opened { stream: ClientStream::Plain(stream), downstream });
    }
    let tls = limits.tls.as_ref()?;
    // A handshake begins with another byte.
    if stream.first_byte().await.is_ok_and(|byte| byte.is_ascii_alphabetic()) {
        let downstream = Downstream { peer: client.into(), transport: Transport::PlainOnTls };
        return Some(Opened { stream: ClientStream::Plain(stream), downstream });
    }
    match tls.accept(stream).await {
        Ok(stream) => {
            let downstream = Downstream { peer: client.into(), transport: Transport::Tls };
            Some(Opened { stream: ClientStream::Tls(Box::new(stream)), downstream })
        }
        Err(error) => {
            gateway.metrics().connection_failed("tls_handshake");
            tracing::debug!(%client, %error, "a TLS handshake failed");
            None
        }
    }
}

async fn serve(
    Accepted { stream, peer, entrance, mut slot }: Accepted,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    // Small answers must not wait for the next one. A socket that refuses the option is a socket that is gone.
    let _ = stream.set_nodelay(true);
    let gateway = current.load().gateway.clone();
    let opening = tokio::time::timeout(
        limits.timeouts.header,
        Box::pin(open(stream, peer, entrance, &mut slot, &gateway, &limits)),
    );
    let nobody = Notify::new();
    let opened = tokio::select! {
        biased;
        opened = opening => opened,
        () = ending(&mut stage, &nobody) => return,
    };
    let slot = Arc::new(slot);
    match opened {
        Ok(Some(Opened { stream: ClientStream::Plain(stream), downstream })) => {
            serve_http1(stream, Client { downstream, slot }, current, limits, stage).await;
        }
        Ok(Some(Opened { stream: ClientStream::Tls(stream), downstream })) if speaks_http2(&stream) => {
            Box::pin(serve_http2(stream, Client { downstream, slot }, current, limits, stage)).await;
        }
        Ok(Some(Opened { stream: ClientStream::Tls(stream), downstream })) => {
            serve_http1(stream, Client { downstream, slot }, current, limits, stage).await;
        }
        Ok(None) => {}
        Err(_) => {
            gateway.metrics().connection_failed("opening_timeout");
            tracing::debug!(%peer, "a connection took too long to open");
        }
    }
}

fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}
