//! One request, from its head to the answer's: choose a peer, get a connection, send, wait, and decide what a failure
//! means. The rule that stands above all: a request that may have been processed is not sent again.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use super::address::PeerAddress;
use super::answer::{Lease, UpstreamBody, describe, receive};
use super::body::RequestBody;
use super::error::UpstreamError;
use super::peer::Peer;
use super::switch::{Switched, UpstreamTunnel};
use super::wire::{Outgoing, Wire};
use crate::clock::SharedClock;

/// How often one request is put on a connection at most: an idle one that turns out closed, a fresh one, and one more
/// when even that closed before it took anything.
const MAX_ATTEMPTS: usize = 3;

/// An upstream's settings.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its peers, taken in turn.
    pub peers: Vec<PeerAddress>,
    /// How long an idle connection is kept; `None`: each request has its own, closed afterwards.
    pub keepalive: Option<Duration>,
    /// The time for one peer to be looked up and connected.
    pub connect_timeout: Duration,
    /// The longest time without progress until the answer's head. It starts anew as the request's body moves.
    pub response_timeout: Duration,
}

/// A group of peers that serve the same.
pub struct Upstream {
    name: Arc<str>,
    peers: Vec<Arc<Peer>>,
    turn: AtomicUsize,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl Upstream {
    /// An upstream. Nothing is connected before the first request.
    #[must_use]
    pub fn new(settings: UpstreamSettings, clock: SharedClock) -> Self {
        let UpstreamSettings { name, peers, keepalive, connect_timeout, response_timeout } = settings;
        let peer = move |address| Arc::new(Peer::new(address, keepalive, Arc::clone(&clock)));
        let peers = peers.into_iter().map(peer).collect();
        Self { name, peers, turn: AtomicUsize::new(0), connect_timeout, response_timeout }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request and waits for the head of its answer. The headers are the caller's, in full, except those that
    /// frame the message: `Content-Length` and `Transfer-Encoding` follow from the body, `Connection` from the
    /// keep-alive setting. Dropping the future closes the connection.
    ///
    /// # Errors
    /// See [`UpstreamError`]. After [`UpstreamError::Unreachable`] nothing was sent; after any other the backend may
    /// have seen the request.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<UpstreamBody>, UpstreamError> {
        let mut request = self.framed(request);
        let mut fresh = false;
        for _ in 0..MAX_ATTEMPTS {
            let repeatable = is_repeatable(&request);
            let (lease, reused) = self.connection(fresh, repeatable).await?;
            let spare = (reused && repeatable).then(|| copy(&request));
            match self.exchange(lease, request).await {
                Ok(response) => return Ok(response),
                Err(Failure::Unsent(unsent)) => request = *unsent,
                Err(Failure::Unanswered(error)) => request = spare.ok_or(error)?,
                Err(Failure::Final(error)) => return Err(error),
            }
            fresh = true;
        }
        Err(UpstreamError::Broken { cause: "each connection was closed before it took the request".to_owned() })
    }

    /// Sends a request whose headers ask for another protocol (`Upgrade`, and `upgrade` in `Connection`), and waits for
    /// the head of its answer. A connection of its own carries it, and it is sent once.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_upgrade(&self, request: Request<RequestBody>) -> Result<Switched, UpstreamError> {
        let protocol = request.headers().get(UPGRADE).cloned();
        let mut request = self.framed(request);
        ask_to_switch(request.headers_mut(), protocol);
        let (mut lease, _) = self.connection(true, false).await?;
        let response = match self.first_answer(&mut lease, request).await {
            Ok(response) => response,
            Err(Failure::Unanswered(error) | Failure::Final(error)) => return Err(error),
            Err(Failure::Unsent(_)) => return Err(broken("it was closed before it took the request")),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return receive(response, lease).map(Switched::No).map_err(broken);
        }
        let (head, body) = response.into_parts();
        let mut response = Response::from_parts(head, ());
        let io = hyper::upgrade::on(&mut response).await.map_err(|error| broken(&describe(&error)))?;
        drop(body);
        lease.connection.wire.switch();
        Ok(Switched::Yes(response, UpstreamTunnel { io: TokioIo::new(io), _lease: lease }))
    }

    /// The request as it goes on the wire.
    fn framed(&self, request: Request<RequestBody>) -> Request<RequestBody> {
        let (mut head, body) = request.into_parts();
        head.version = Version::HTTP_11;
        use_origin_form(&mut head);
        head.headers.remove(CONNECTION);
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TRANSFER_ENCODING);
        match body.size_hint().exact() {
            Some(0) if !expects_a_body(&head.method) => {}
            Some(length) => {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            // Said here for every method: hyper would leave out the body of a GET without a length.
            None => {
                head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        if self.peers.iter().all(|peer| peer.pool().is_none()) {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Request::from_parts(head, body)
    }

    /// A connection to the peer whose turn it is, or to the next that can be connected; whether it was used before.
    async fn connection(&self, fresh: bool, repeatable: bool) -> Result<(Lease, bool), UpstreamError> {
        let mut cause = String::from("there is no peer");
        for peer in self.peers_in_turn() {
            let home = peer.pool().cloned();
            if !fresh && let Some(connection) = peer.idle_connection(repeatable).await {
                return Ok((Lease { connection, home }, true));
            }
            match peer.fresh_connection(self.connect_timeout).await {
                Ok(connection) => return Ok((Lease { connection, home }, false)),
                Err(error) => cause = format!("{}: {error}", peer.address()),
            }
        }
        Err(UpstreamError::Unreachable { cause })
    }

    /// Every peer once, beginning with the next; those that failed just now at the end.
    fn peers_in_turn(&self) -> Vec<&Arc<Peer>> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.peers.len()).unwrap_or(0);
        let (later, first) = self.peers.split_at(start);
        let mut peers: Vec<_> = first.iter().chain(later).collect();
        if peers.len() > 1 {
            peers.sort_by_cached_key(|peer| peer.rests());
        }
        peers
    }

    /// Sends the request on one connection.
    async fn exchange(
        &self,
        mut lease: Lease,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let response = self.first_answer(&mut lease, request).await?;
        receive(response, lease).map_err(|cause| Failure::Final(broken(cause)))
    }

    /// Sends the request on one connection and waits for the head of the answer.
    async fn first_answer(
        &self,
        lease: &mut Lease,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failure> {
        let wire = Arc::clone(&lease.connection.wire);
        let request = request.map(|body| Outgoing::new(body, Arc::clone(&wire)));
        let answer = lease.connection.sender.try_send_request(request);
        match self.head_of(answer, &wire).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(judge(error, &wire)),
            None => Err(Failure::Final(UpstreamError::Timeout { after: self.response_timeout })),
        }
    }

    /// Waits for the answer's head for as long as the request moves; `None` when it did not for too long.
    async fn head_of<F>(&self, answer: F, wire: &Wire) -> Option<F::Output>
    where
        F: Future,
    {
        let mut answer = pin!(answer);
        let mut alarm = pin!(sleep_until(wire.last_movement() + self.response_timeout));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = &mut alarm => {
                    let deadline = wire.last_movement() + self.response_timeout;
                    if deadline <= Instant::now() {
                        return None;
                    }
                    alarm.as_mut().reset(deadline);
                }
            }
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why one connection gave no answer.
enum Failure {
    /// Not a byte of the request was written: here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// The connection ended before a byte of an answer.
    Unanswered(UpstreamError),
    /// There is nothing to be done.
    Final(UpstreamError),
}

fn broken(cause: &str) -> UpstreamError {
    UpstreamError::Broken { cause: cause.to_owned() }
}

/// Says on the wire that the sender wants another protocol.
fn ask_to_switch(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// What a failed exchange means. hyper hands a request back only if it never began to write it.
fn judge(mut error: TrySendError<Request<Outgoing>>, wire: &Wire) -> Failure {
    if let Some(request) = error.take_message() {
        return Failure::Unsent(Box::new(request.map(|outgoing| outgoing.body)));
    }
    if let Some(fault) = wire.take_fault() {
        return Failure::Final(fault.into());
    }
    let broken = UpstreamError::Broken { cause: describe(error.error()) };
    if wire.answered() { Failure::Final(broken) } else { Failure::Unanswered(broken) }
}

/// Whether a request may be sent a second time though it may have been processed: a safe method (RFC 9110, 9.2.1),
/// without a body.
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    safe && request.body().is_end_stream()
}

/// A copy of a request without a body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// Whether a request of this method says that its body is empty (RFC 9110, 8.6).
fn expects_a_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
}

/// A backend gets path and query, never an authority that differs from `Host`.
fn use_origin_form(head: &mut Parts) {
    if head.uri.authority().is_some() {
        head.uri = head.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn order() -> Request<RequestBody> {
        Request::post("/order").body(RequestBody::Full(Bytes::from_static(b"order"))).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_never_reached_the_wire_comes_back_whole() {
        let wire = Arc::new(Wire::new());
        let (near, _far) = tokio::io::duplex(1024);
        let (mut sender, connection) = handshake(TokioIo::new(near)).await.unwrap();
        let answer = sender.try_send_request(order().map(|body| Outgoing::new(body, Arc::clone(&wire))));
        // The connection ends before its task took the request.
        drop(connection);
        let Failure::Unsent(request) = judge(answer.await.unwrap_err(), &wire) else { panic!("it was not sent") };
        assert_eq!(request.uri(), "/order");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "order");
    }

    #[tokio::test]
    async fn a_request_that_reached_the_wire_does_not_come_back() {
        let wire = Arc::new(Wire::new());
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut sender, connection) = handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.try_send_request(order().map(|body| Outgoing::new(body, Arc::clone(&wire))));
        far.read_u8().await.unwrap();
        drop(far);
        assert!(matches!(judge(answer.await.unwrap_err(), &wire), Failure::Unanswered(_)));
    }
}
