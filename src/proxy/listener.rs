//! The accept loop: connection limits, deadlines, draining.
//!
//! Owns sockets and nothing else: what a request means is [`Gateway`]'s business. After a reload a connection keeps the
//! deadlines and bounds with which it was accepted; its next request gets the new gateway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::client_body::ClientBody;
use super::exchange::{Downstream, Transport};
use super::http2::serve_http2;
use super::io::{ClientIo, ConnectionState, ConnectionTimeouts};
use super::proxy_protocol::{Prefixed, read_header};
use super::services::Gateway;
use crate::config::ProxyProtocol;
use crate::http::HeadLimits;
use crate::network::Network;
use crate::socket::Listening;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OpenConnection;
use crate::tls::HTTP2;

/// hyper's smallest permitted read buffer.
const SMALLEST_BUFFER: usize = 8192;
/// So many headers hyper takes when it is not told how many, and has the room for them on its stack. Told any number, it
/// allocates that room for each request.
const HEADERS_WITHOUT_ALLOCATION: usize = 100;
/// How long a connection rests until its memory is given back. The requests of one page come sooner.
const QUIET: Duration = Duration::from_millis(200);
/// How long to wait after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long a connection that was just accepted may take to begin its first request when the process ends.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The bounds of a listener, and what its connections speak before HTTP.
#[derive(Clone)]
pub struct ListenerLimits {
    /// Connections in all.
    pub connections: usize,
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

/// Accepts connections until `stage` says otherwise, each served by a task that `connections` tracks.
pub async fn accept(
    listener: Listening,
    current: Current,
    slots: Arc<Slots>,
    connections: TaskTracker,
    mut stage: watch::Receiver<Stage>,
) {
    let stage_of_connections = stage.clone();
    let take = |stream: TcpStream, peer: SocketAddr| {
        let peer = peer.ip().to_canonical();
        let in_force = current.load_full();
        let Some(slot) = Slots::take(&slots, peer, &in_force.limits, in_force.gateway.metrics()) else {
            in_force.gateway.metrics().connection_refused();
            return;
        };
        let limits = in_force.limits.clone();
        connections.spawn(serve(stream, peer, slot, current.clone(), limits, stage_of_connections.clone()));
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
        let downstream = Downstream { peer: client.into(), transport: Transport::Plain };
        return Some(Opened { stream: ClientStream::Plain(stream), downstream });
    };
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

/// Ready when a connection is to end after the request it has. One that was accepted and has sent nothing yet is given a
/// moment: its first request is on the way, and closing would lose it.
pub(super) async fn ending(stage: &mut watch::Receiver<Stage>, begun: &Notify) {
    closing(stage).await;
    let _ = tokio::time::timeout(FIRST_REQUEST, begun.notified()).await;
}

async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    mut slot: Slot,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    // Small answers must not wait for the next one. A socket that refuses the option is a socket that is gone.
    let _ = stream.set_nodelay(true);
    let gateway = current.load().gateway.clone();
    let opening =
        tokio::time::timeout(limits.timeouts.header, Box::pin(open(stream, peer, &mut slot, &gateway, &limits)));
    let nobody = Notify::new();
    let opened = tokio::select! {
        biased;
        opened = opening => opened,
        () = ending(&mut stage, &nobody) => return,
    };
    match opened {
        Ok(Some(Opened { stream: ClientStream::Plain(stream), downstream })) => {
            serve_http1(stream, downstream, current, limits, stage).await;
        }
        Ok(Some(Opened { stream: ClientStream::Tls(stream), downstream })) if speaks_http2(&stream) => {
            Box::pin(serve_http2(stream, downstream, current, limits, stage)).await;
        }
        Ok(Some(Opened { stream: ClientStream::Tls(stream), downstream })) => {
            serve_http1(stream, downstream, current, limits, stage).await;
        }
        Ok(None) => {}
        Err(_) => {
            gateway.metrics().connection_failed("opening_timeout");
            tracing::debug!(%peer, "a connection took too long to open");
        }
    }
    drop(slot);
}

/// Makes a future where it is to stay. Made first and boxed then, all the room that it will ever need would be copied.
fn made_in_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What comes to a connection beside its requests.
enum Aside {
    /// The client has taken too long.
    Overdue,
    /// The process is to end.
    Ending,
    /// Nothing has been under way for a while.
    Quiet,
}

fn aside<'a>(comes: impl Future<Output = ()> + Send + 'a, what: Aside) -> BoxFuture<'a, Aside> {
    Box::pin(async move {
        comes.await;
        what
    })
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    downstream: Downstream,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    let state = ConnectionState::http1(limits.head);
    let mut io = ClientIo::new(stream, state.clone(), limits.timeouts.write);
    let begun = Arc::new(Notify::new());
    let mut service = service_fn({
        let (current, state, begun, stage) = (current.clone(), state.clone(), begun.clone(), stage.clone());
        let downstream = downstream.clone();
        move |request: Request<Incoming>| {
            begun.notify_one();
            let (verdict, guard) = state.begin_exchange();
            let (gateway, stage) = (current.load().gateway.clone(), stage.clone());
            let request = request.map(ClientBody::Http1);
            let downstream = downstream.clone();
            // Boxed: hyper keeps the room of this future for as long as there is the connection.
            made_in_place(|| async move {
                let mut answer = gateway.handle(request, &downstream, verdict, guard).await;
                if *stage.borrow() != Stage::Serving && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            })
        }
    });
    let mut stage_of_tunnel = stage.clone();
    // None of them is polled but when it was itself what woke the task, which a request does twice or more.
    let mut asides = FuturesUnordered::new();
    asides.push(aside(state.overdue(&limits.timeouts), Aside::Overdue));
    asides.push(aside(ending(&mut stage, &begun), Aside::Ending));
    // hyper is there while there is something to do. Between requests it would hold 16 KiB of empty buffers.
    let result = loop {
        tokio::select! {
            biased;
            head = io.head() => if !head.unwrap_or(false) { return },
            // Dropping the connection closes it: there is nobody to talk to.
            Some(_) = asides.next() => return,
        }
        let connection = http1(&limits).serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = Box::pin(connection);
        asides.push(aside(state.quiet(QUIET), Aside::Quiet));
        tokio::select! {
            biased;
            result = connection.as_mut() => break result,
            Some(came) = asides.next() => match came {
                Aside::Overdue => return,
                Aside::Ending => {
                    connection.as_mut().graceful_shutdown();
                    break connection.as_mut().await;
                }
                Aside::Quiet => {}
            }
        }
        let Some(parts) = Pin::into_inner(connection).into_parts() else { return };
        (io, service) = (parts.io.into_inner(), parts.service);
        // Bytes that belong to no request any more could be read as the next one.
        if !parts.read_buf.is_empty() || !io.is_drained() {
            return;
        }
    };
    // Taken in any case: it would keep the state alive that holds it.
    let tunnel = state.take_tunnel();
    match (result, tunnel) {
        (Ok(()), Some(tunnel)) => tunnel(Box::pin(async move { closing(&mut stage_of_tunnel).await })).await,
        (Ok(()), None) => {}
        (Err(error), _) => current.load().gateway.connection_failed(downstream.peer.get(), &error),
    }
}

fn http1(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits.head.bytes.max(SMALLEST_BUFFER))
        // A client that has said all it has to say may still be listening. And one that is gone has sent its request: a
        // login or logout of its must reach its end, which hyper would cut short if it took the end of the bytes for
        // the end of the exchange.
        .half_close(true);
    // The framing counts exactly; hyper must only not give up before it.
    if limits.head.count > HEADERS_WITHOUT_ALLOCATION {
        builder.max_headers(limits.head.count);
    }
    builder
}

fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// How many connections there are, in all and per network.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    per_network: HashMap<Network, usize>,
}

struct Slot {
    slots: Arc<Slots>,
    network: Network,
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
        Some(Slot { slots: slots.clone(), network: address.into(), _counted: metrics.connection_opened() })
    }
}

impl Taken {
    /// Counts a connection from `address`, unless there are too many.
    fn take(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let exempt = limits.trusted_proxies.iter().any(|network| network.contains(&address));
        let count = self.per_network.entry(address.into()).or_default();
        let fits = exempt || *count < limits.connections_per_address;
        if fits {
            *count += 1;
        }
        fits
    }

    fn give_back(&mut self, network: Network) {
        if let Some(count) = self.per_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.per_network.remove(&network);
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
        taken.give_back(self.network);
        self.network = address.into();
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.in_all = taken.in_all.saturating_sub(1);
        taken.give_back(self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, connections_per_address: usize) -> ListenerLimits {
        let second = Duration::from_secs(1);
        ListenerLimits {
            connections,
            connections_per_address,
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            proxy_protocol: ProxyProtocol::Off,
            head: HeadLimits { bytes: 1024, count: 10 },
            tls: None,
            timeouts: ConnectionTimeouts { header: second, keepalive: second, write: second },
        }
    }

    #[test]
    fn the_two_thousand_addresses_of_one_ipv6_network_get_the_connections_of_one_client() {
        let (slots, limits, metrics) = (Arc::new(Slots::default()), limits(2000, 512), Metrics::new());
        let take = |address: IpAddr| Slots::take(&slots, address, &limits, &metrics);
        let address = |network, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, host, host]);
        let taken: Vec<Slot> = (0..2000).filter_map(|host| take(address(1, host))).collect();
        assert_eq!(taken.len(), 512);
        let other = take(address(2, 0)).expect("a place for another network");
        let proxied: Vec<Slot> = (0..1000).filter_map(|_| take([10, 0, 0, 1].into())).collect();
        assert_eq!(proxied.len(), 1000, "a trusted proxy is exempt");
        drop((taken, other, proxied));
        let left = slots.taken.lock();
        assert_eq!((left.in_all, left.per_network.len()), (0, 0), "all is given back");
    }
}
