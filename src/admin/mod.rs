//! The operator's listener: health and metrics.
//!
//! It is apart from the traffic port and on loopback unless configured otherwise. Health never needs a token, and neither
//! do metrics: they hold no session, user or tenant, and scrapers expect them open. It knows no session and changes
//! nothing. A client of it is bounded like any other: in number, in the size of its headers, and in time.

mod problem;
mod router;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::health::Readiness;
use crate::socket::{Listening, Sockets};
use crate::telemetry::Metrics;

/// How the listener is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many connections it serves at once; more wait to be accepted.
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

/// What the operator's listener shows.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Whether the gateway is ready, and why not.
    pub readiness: Arc<Readiness>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The operator's listener, bound and not yet serving.
#[derive(Debug)]
pub struct AdminServer {
    listener: Listening,
    settings: AdminSettings,
    state: AdminState,
}

impl AdminServer {
    /// Binds the listener.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(settings: AdminSettings, state: AdminState, sockets: &mut Sockets) -> io::Result<Self> {
        let listener = sockets.bind(settings.listen)?.listen()?;
        Ok(Self { listener, settings, state })
    }

    /// Where it listens; of use when the configured port was 0.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is done. To be ended last, so that a draining gateway can still be asked how it is.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(self.settings.max_connections));
        let service = TowerToHyperService::new(router::router(self.state));
        let accept = async {
            loop {
                // Never closed, so the permit always comes; and without one nothing is accepted.
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                match self.listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(converse(stream, service.clone(), self.settings, permit))),
                    Err(error) => {
                        tracing::warn!(%error, "the admin listener could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = end => {}
        }
    }
}

/// Serves one connection for its lifetime.
async fn converse(
    stream: TcpStream,
    service: TowerToHyperService<axum::Router>,
    settings: AdminSettings,
    permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // An error is the client's: it hung up, sent no HTTP, or was too slow.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = tokio::time::sleep(settings.connection_lifetime) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(settings.connection_lifetime / 2, connection).await;
        }
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    async fn start(settings: AdminSettings) -> (SocketAddr, AdminState) {
        let state = AdminState { readiness: Arc::new(Readiness::new()), metrics: Arc::new(Metrics::new()) };
        let mut sockets = Sockets::new(false);
        let server = AdminServer::bind(settings, state.clone(), &mut sockets).expect("binds");
        let address = server.local_addr().expect("an address");
        tokio::spawn(server.serve(std::future::pending()));
        (address, state)
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn a_client_gets_its_answer() {
        let (address, _) = start(AdminSettings::at(LOOPBACK)).await;
        let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_never_ends_its_headers_is_cut_and_makes_room() {
        let settings = AdminSettings {
            max_connections: 1,
            header_timeout: Duration::from_millis(50),
            ..AdminSettings::at(LOOPBACK)
        };
        let (address, _) = start(settings).await;
        let mut slow = TcpStream::connect(address).await.expect("connects");
        slow.write_all(b"GET / HTTP/1.1\r\nX").await.expect("sends");
        let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).await.expect("was closed");
    }

    #[tokio::test]
    async fn a_connection_ends_after_its_lifetime() {
        let settings = AdminSettings { connection_lifetime: Duration::from_millis(50), ..AdminSettings::at(LOOPBACK) };
        let (address, _) = start(settings).await;
        let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn headers_beyond_the_bound_are_refused() {
        let (address, _) = start(AdminSettings::at(LOOPBACK)).await;
        let long = "x".repeat(MAX_HEADER_BYTES);
        let answer = exchange(address, &format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {long}")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}
