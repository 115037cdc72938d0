//! The accept loop: connection limits, deadlines, draining.
//!
//! Owns sockets and nothing else: what a request means is [`Gateway`]'s business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::exchange::{Downstream, Transport};
use super::io::{ClientIo, ConnectionState, ConnectionTimeouts};
use super::proxy_protocol::{Prefixed, read_header};
use super::services::Gateway;
use crate::config::ProxyProtocol;
use crate::http::HeadLimits;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OpenConnection;

/// hyper's smallest permitted read buffer.
const SMALLEST_BUFFER: usize = 8192;
/// How long to wait after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 4096;

/// The bounds of a listener, and what its connections speak before HTTP.
#[derive(Clone)]
pub struct ListenerLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address; trusted proxies are exempt, for they speak for many.
    pub connections_per_address: usize,
    /// Proxies that are exempt from the limit per address, and whose PROXY header is believed.
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

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Traffic is served.
    Serving,
    /// No new connections; requests in flight finish.
    Closing,
}

/// Opens a listening socket.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until `stage` says otherwise, each served by a task that `connections` tracks.
pub async fn accept(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    limits: Arc<ListenerLimits>,
    slots: Arc<Slots>,
    connections: TaskTracker,
    mut stage: watch::Receiver<Stage>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing(&mut stage) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let peer = peer.ip().to_canonical();
                let Some(slot) = Slots::take(&slots, peer, &limits, gateway.metrics()) else {
                    gateway.metrics().connection_refused();
                    continue;
                };
                connections.spawn(serve(stream, peer, slot, gateway.clone(), limits.clone(), stage.clone()));
            }
            // One connection's failure (reset before it was accepted) or a want of descriptors: neither ends the loop.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ready when no new requests are to be taken.
async fn closing(stage: &mut watch::Receiver<Stage>) {
    // An error means that nobody can say so any more, which is the same.
    let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
}

/// What is to be known of a connection before its first request.
struct Opened {
    stream: ClientStream,
    downstream: Downstream,
}

enum ClientStream {
    Plain(Prefixed<TcpStream>),
    Tls(Box<TlsStream<Prefixed<TcpStream>>>),
}

/// Reads what comes before HTTP. `None`: the connection is to be closed, and why was told.
async fn open(
    stream: TcpStream,
    peer: IpAddr,
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
    if client != peer && !slot.move_to(client, limits) {
        gateway.metrics().connection_refused();
        return None;
    }
    let Some(tls) = &limits.tls else {
        let downstream = Downstream { peer: client, transport: Transport::Plain };
        return Some(Opened { stream: ClientStream::Plain(stream), downstream });
    };
    match tls.accept(stream).await {
        Ok(stream) => {
            let downstream = Downstream { peer: client, transport: Transport::Tls };
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
    stream: TcpStream,
    peer: IpAddr,
    mut slot: Slot,
    gateway: Arc<Gateway>,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    // Small answers must not wait for the next one. A socket that refuses the option is a socket that is gone.
    let _ = stream.set_nodelay(true);
    let opening = tokio::time::timeout(limits.timeouts.header, open(stream, peer, &mut slot, &gateway, &limits));
    let opened = tokio::select! {
        biased;
        opened = opening => opened,
        () = closing(&mut stage) => return,
    };
    match opened {
        Ok(Some(Opened { stream: ClientStream::Plain(stream), downstream })) => {
            serve_http1(stream, downstream, gateway, limits, stage).await;
        }
        Ok(Some(Opened { stream: ClientStream::Tls(stream), downstream })) => {
            serve_http1(stream, downstream, gateway, limits, stage).await;
        }
        Ok(None) => {}
        Err(_) => {
            gateway.metrics().connection_failed("opening_timeout");
            tracing::debug!(%peer, "a connection took too long to open");
        }
    }
    drop(slot);
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    downstream: Downstream,
    gateway: Arc<Gateway>,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    let state = ConnectionState::new(limits.head);
    let io = TokioIo::new(ClientIo::new(stream, state.clone(), limits.timeouts.write));
    let service = service_fn({
        let (gateway, state) = (gateway.clone(), state.clone());
        move |request| {
            let (verdict, guard) = state.begin_exchange();
            let gateway = gateway.clone();
            async move { Ok::<_, Infallible>(gateway.handle(request, downstream, verdict, guard).await) }
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(limits.head.bytes.max(SMALLEST_BUFFER))
        // The framing refuses what has more. Not one beyond that, for up to a hundred cost no allocation.
        .max_headers(limits.head.count)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        // Dropping the connection closes it: there is nobody to talk to.
        () = state.overdue(&limits.timeouts) => return,
        () = closing(&mut stage) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = result {
        gateway.connection_failed(downstream.peer, &error);
    }
}

/// How many connections there are, in all and per address.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    per_address: HashMap<IpAddr, usize>,
}

struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
    _counted: OpenConnection,
}

impl Slots {
    /// Takes a slot for a connection from `address`; `None` when there is none left.
    fn take(slots: &Arc<Self>, address: IpAddr, limits: &ListenerLimits, metrics: &Metrics) -> Option<Slot> {
        let mut taken = slots.taken.lock();
        if taken.in_all >= limits.connections || !taken.take(address, limits) {
            return None;
        }
        taken.in_all += 1;
        drop(taken);
        Some(Slot { slots: slots.clone(), address, _counted: metrics.connection_opened() })
    }
}

impl Taken {
    /// Counts a connection from `address`, unless there are too many.
    fn take(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let exempt = limits.trusted_proxies.iter().any(|network| network.contains(&address));
        let count = self.per_address.entry(address).or_default();
        let fits = exempt || *count < limits.connections_per_address;
        if fits {
            *count += 1;
        }
        fits
    }

    fn give_back(&mut self, address: IpAddr) {
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

impl Slot {
    /// Counts the connection for `address` from now on, which a proxy named as its client's; `false` when that one has
    /// too many.
    fn move_to(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let mut taken = self.slots.taken.lock();
        if !taken.take(address, limits) {
            return false;
        }
        taken.give_back(self.address);
        self.address = address;
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.in_all = taken.in_all.saturating_sub(1);
        taken.give_back(self.address);
    }
}
