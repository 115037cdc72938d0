//! The operator's listener: health, metrics, the admin API and its console (docs/behaviour.md, "Admin API", "Console").
//!
//! It is apart from the traffic port and on loopback unless configured otherwise. Health never needs a token, and neither
//! do metrics: they hold no session, user or tenant, and scrapers expect them open. Everything else asks for a token with
//! the right role, and is not there at all where no token is configured. A client of it is bounded like any other: in
//! number, in the size of what it sends, and in time. It must never know the traffic side: what it wants of that is
//! behind [`TrafficSide`].
//!
//! One call a file: its errors, its handler, its part of the OpenAPI document.

mod answer;
mod auth;
mod change;
mod change_tenant;
mod console;
mod end_session;
mod failures;
mod finding_filter;
mod finding_view;
mod health;
mod hold_session;
mod host;
mod input;
mod judge_anomaly;
mod list_activities;
mod list_alerts;
mod list_anomalies;
mod list_orphans;
mod list_sessions;
mod list_tenants;
mod locks;
mod maintenance;
mod mint_session;
mod openapi;
mod problem;
mod query_audit;
mod revoke_tenant;
mod revoke_user;
mod router;
mod session_view;
mod show_report;
mod show_session;
mod show_tenant;
mod state;
mod tenant_view;
#[cfg(test)]
mod tests;
mod token_digest;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

pub use self::state::{AdminServices, TrafficSide};

use self::auth::Peer;
use self::state::AdminState;
use crate::socket::{Listening, Sockets};

/// How the listener is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many connections it serves at once. One more takes the place of the oldest that waits for a request: whoever
    /// says nothing keeps nobody from asking how the gateway is.
    pub max_connections: usize,
    /// How long a client may take to send its headers, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a connection lives. It ends between two answers; an answer that is not read in half that time more is cut.
    pub connection_lifetime: Duration,
}

impl AdminSettings {
    /// Listens on `listen`, with bounds that suit a few scrapers and operators.
    #[must_use]
    pub const fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            max_connections: 64,
            header_timeout: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(60),
        }
    }
}

/// The bytes of headers that a client may send; hyper's least.
const MAX_HEADER_BYTES: usize = 8192;
const MAX_HEADERS: usize = 64;
/// How long to wait after the operating system could not accept, when it is out of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks for a place while every connection is at work.
const SEAT_PAUSE: Duration = Duration::from_millis(5);

/// The operator's listener, bound and not yet serving.
#[derive(Debug)]
pub struct AdminServer {
    listener: Listening,
    settings: AdminSettings,
}

impl AdminServer {
    /// Binds the listener.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(settings: AdminSettings, sockets: &mut Sockets) -> io::Result<Self> {
        let listener = sockets.bind(settings.listen)?.listen()?;
        Ok(Self { listener, settings })
    }

    /// Where it listens; of use when the configured port was 0.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is done, over TLS where there is an acceptor. To be ended last, so that a draining gateway can
    /// still be asked how it is.
    pub async fn serve(self, services: AdminServices, tls: Option<TlsAcceptor>, end: impl Future<Output = ()>) {
        let client = Client { router: router::router(AdminState::new(services)), tls, settings: self.settings };
        tokio::select! {
            () = self.accept(client) => {}
            () = end => {}
        }
    }

    async fn accept(self, client: Client) {
        let mut seats = Seats { most: self.settings.max_connections, taken: VecDeque::new() };
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    seats.make_room().await;
                    let busy = Arc::new(AtomicBool::new(false));
                    let task = tokio::spawn(client.clone().serve(stream, Peer(peer.ip()), busy.clone()));
                    seats.taken.push_back(Seat { task: task.abort_handle(), busy });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The connections that are served, the oldest first.
struct Seats {
    most: usize,
    taken: VecDeque<Seat>,
}

struct Seat {
    task: AbortHandle,
    /// Whether a request is being answered.
    busy: Arc<AtomicBool>,
}

impl Seats {
    /// Waits only while every connection is at work.
    async fn make_room(&mut self) {
        loop {
            self.taken.retain(|seat| !seat.task.is_finished());
            if self.taken.len() < self.most {
                return;
            }
            let waiting = self.taken.iter().position(|seat| !seat.busy.load(Ordering::Acquire));
            match waiting.and_then(|oldest| self.taken.remove(oldest)) {
                Some(seat) => return seat.task.abort(),
                None => tokio::time::sleep(SEAT_PAUSE).await,
            }
        }
    }
}

/// What one connection is served with.
#[derive(Clone)]
struct Client {
    router: axum::Router,
    tls: Option<TlsAcceptor>,
    settings: AdminSettings,
}

impl Client {
    /// Serves one connection for its lifetime.
    async fn serve(self, stream: TcpStream, peer: Peer, busy: Arc<AtomicBool>) {
        // An error is the client's: it hung up, spoke no TLS, or was too slow.
        match &self.tls {
            None => self.converse(stream, peer, busy).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(self.settings.header_timeout, tls.accept(stream));
                if let Ok(Ok(stream)) = handshake.await {
                    self.converse(stream, peer, busy).await;
                }
            }
        }
    }

    async fn converse<S>(&self, stream: S, peer: Peer, busy: Arc<AtomicBool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            let (answer, busy) = (service.call(request), busy.clone());
            async move {
                busy.store(true, Ordering::Release);
                let answer = answer.await;
                busy.store(false, Ordering::Release);
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_timeout)
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // An error is the client's here, too.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = tokio::time::sleep(self.settings.connection_lifetime) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(self.settings.connection_lifetime / 2, connection).await;
            }
        }
    }
}
