//! The upstream against scripted backends on real sockets. Where time matters, tokio's clock stands still and is
//! moved on only when nothing else can happen.

mod answers;
mod bodies;
mod mixed;
mod model;
mod peers;
mod repeats;
mod reuse;
mod switch;
mod timeouts;
mod tls;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::clock::{ManualClock, SharedClock, WallTime};

const SECOND: Duration = Duration::from_secs(1);
const NO_LIMITS: BodyLimits = BodyLimits { max_body: u64::MAX, body_timeout: Duration::from_secs(3600) };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn clock() -> (Arc<ManualClock>, SharedClock) {
    let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
    (Arc::clone(&clock), clock)
}

/// An upstream of these peers with keep-alive off.
fn upstream(peers: Vec<PeerAddress>) -> Upstream {
    upstream_of(settings(peers), &clock().1)
}

/// An upstream of this backend that keeps idle connections for ten seconds.
fn upstream_with_keepalive(backend: &Backend) -> Upstream {
    let settings = UpstreamSettings { keepalive: kept(10 * SECOND), ..settings(vec![backend.address()]) };
    upstream_of(settings, &clock().1)
}

/// Connections are kept for so long, and used again at once.
fn kept(idle: Duration) -> Option<Keepalive> {
    Some(Keepalive { idle, quiet: Duration::ZERO })
}

fn upstream_of(settings: UpstreamSettings, clock: &SharedClock) -> Upstream {
    Upstream::new(settings, clock, &Unobserved)
}

fn settings(peers: Vec<PeerAddress>) -> UpstreamSettings {
    UpstreamSettings {
        name: "default".into(),
        peers,
        balance: Balance::RoundRobin,
        health: None,
        eject: None,
        trust: None,
        keepalive: None,
        connect_timeout: 2 * SECOND,
        response_timeout: 60 * SECOND,
    }
}

fn get(path: &str) -> Request<RequestBody> {
    request(Method::GET, path, RequestBody::Empty)
}

fn post(path: &str, body: &'static str) -> Request<RequestBody> {
    request(Method::POST, path, RequestBody::Full(Bytes::from_static(body.as_bytes())))
}

fn request(method: Method, path: &str, body: RequestBody) -> Request<RequestBody> {
    Request::builder().method(method).uri(path).header("host", "app.example.com").body(body).unwrap()
}

/// The connection on which the backend gave this answer to a request, which the client took for "ok".
async fn exchanged(upstream: &Upstream, backend: &Backend, answer: &str) -> Call {
    let script = async {
        let mut call = backend.accept().await;
        call.answer(answer).await;
        call
    };
    let (answer, call) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
    call
}

async fn text(answer: Response<UpstreamBody>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A backend that does what the test says, connection by connection.
struct Backend(TcpListener);

impl Backend {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> PeerAddress {
        PeerAddress::Tcp { host: "127.0.0.1".to_owned(), port: self.0.local_addr().unwrap().port() }
    }

    async fn accept(&self) -> Call {
        Call(self.0.accept().await.unwrap().0)
    }

    /// Whether nobody connects for an hour (of tokio's clock, which must be paused).
    async fn is_left_alone(&self) -> bool {
        timeout(3600 * SECOND, self.0.accept()).await.is_err()
    }
}

/// One connection, seen from the backend.
struct Call(TcpStream);

impl Call {
    /// The head of the next request, up to and without the empty line; `None` when the connection ends first.
    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return None,
            }
        }
        head.truncate(head.len() - 4);
        Some(String::from_utf8(head).unwrap())
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What still comes until the connection ends, whether cleanly or not.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }

    /// Reads a request's head and answers it.
    async fn answer(&mut self, answer: &str) -> String {
        let head = self.head().await.unwrap();
        self.say(answer).await;
        head
    }
}

/// A client's body, piece by piece from a channel; closing the channel ends it.
struct Pieces {
    pieces: mpsc::Receiver<Result<Frame<Bytes>, &'static str>>,
    left: Option<u64>,
}

impl Pieces {
    fn of_length(length: u64) -> (mpsc::Sender<Result<Frame<Bytes>, &'static str>>, Self) {
        let (sender, pieces) = mpsc::channel(1);
        (sender, Self { pieces, left: Some(length) })
    }

    fn of_unknown_length() -> (mpsc::Sender<Result<Frame<Bytes>, &'static str>>, Self) {
        let (sender, pieces) = mpsc::channel(1);
        (sender, Self { pieces, left: None })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        let next = self.pieces.poll_recv(context);
        if let Poll::Ready(Some(Ok(frame))) = &next
            && let (Some(data), Some(left)) = (frame.data_ref(), &mut self.left)
        {
            *left -= data.len() as u64;
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn piece(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailer() -> Result<Frame<Bytes>, &'static str> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-user-id", "1".parse().unwrap());
    Ok(Frame::trailers(trailers))
}

/// A body without end that counts what was taken of it.
struct Endless(Arc<std::sync::atomic::AtomicU64>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
        self.0.fetch_add(PIECE.len() as u64, std::sync::atomic::Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}
