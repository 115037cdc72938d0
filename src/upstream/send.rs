//! One request, from its head to the answer's: choose a peer, get a connection, send, wait, and decide what a failure
//! means. The rule that stands above all: a request that may have been processed is not sent again.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::address::PeerAddress;
use super::alarm::Alarm;
use super::answer::{Lease, UpstreamBody, describe, receive};
use super::balance::{Balance, Candidate, order};
use super::body::RequestBody;
use super::error::UpstreamError;
use super::health::{Ejection, HealthCheck, watch};
use super::peer::Peer;
use super::switch::{Switched, UpstreamTunnel};
use super::tls::Trust;
use super::wire::{Outgoing, Wire};
use crate::clock::SharedClock;
use crate::telemetry::Metrics;

/// How often one request is put on a connection at most: an idle one that turns out closed, a fresh one, and one more
/// when even that closed before it took anything.
const MAX_ATTEMPTS: usize = 3;

/// An upstream's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its peers.
    pub peers: Vec<PeerAddress>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// What they are asked every two seconds, if anything.
    pub health: Option<HealthCheck>,
    /// When one is taken out for failing requests; `None`: never.
    pub eject: Option<Ejection>,
    /// Who vouches for peers over TLS.
    pub trust: Option<Trust>,
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
    balance: Balance,
    eject: Option<Ejection>,
    turn: AtomicUsize,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// End with the upstream.
    _checks: Vec<AbortOnDropHandle<()>>,
}

impl Upstream {
    /// An upstream. Checks of its peers, where there are any, begin at once; nothing else is connected before the first
    /// request.
    #[must_use]
    pub fn new(settings: UpstreamSettings, clock: &SharedClock, metrics: &Metrics) -> Self {
        let peer = |address: &PeerAddress| {
            let metric = metrics.upstream_peer(&settings.name, &address.to_string());
            Arc::new(Peer::new(&settings, address.clone(), Arc::clone(clock), metric))
        };
        let peers: Vec<_> = settings.peers.iter().map(peer).collect();
        let checked = peers.iter().zip(settings.health.iter().cycle());
        let checks = checked
            .map(|(peer, check)| AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(peer), check.clone()))))
            .collect();
        let UpstreamSettings { name, balance, eject, connect_timeout, response_timeout, .. } = settings;
        let turn = AtomicUsize::new(0);
        Self { name, peers, balance, eject, turn, connect_timeout, response_timeout, _checks: checks }
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
        self.send_for(None, request).await
    }

    /// [`send`](Self::send), to the peer that [`Balance::HashKey`] gives this key.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_for(
        &self,
        key: Option<&str>,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        // Boxed: it is handed down through several futures, each of which would have room for it.
        let mut request = Box::new(self.framed(request));
        let mut fresh = false;
        for _ in 0..MAX_ATTEMPTS {
            let repeatable = is_repeatable(&request);
            let (lease, reused) = self.connection(key, fresh, repeatable).await?;
            let spare = (reused && repeatable).then(|| Box::new(copy(&request)));
            let peer = Arc::clone(lease.load.peer());
            match self.exchange(lease, request).await {
                Ok(response) => return Ok(response),
                Err(Failure::Unsent(unsent)) => request = unsent,
                Err(Failure::Unanswered(error)) => {
                    // A connection that was idle may close at any time, which says nothing of its peer.
                    if !reused {
                        self.note_failure(&peer);
                    }
                    request = spare.ok_or(error)?;
                }
                Err(Failure::Final(error)) => {
                    if matches!(error, UpstreamError::Broken { .. } | UpstreamError::Timeout { .. }) {
                        self.note_failure(&peer);
                    }
                    return Err(error);
                }
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
    pub async fn send_upgrade(
        &self,
        key: Option<&str>,
        request: Request<RequestBody>,
    ) -> Result<Switched, UpstreamError> {
        let protocol = request.headers().get(UPGRADE).cloned();
        let mut request = self.framed(request);
        ask_to_switch(request.headers_mut(), protocol);
        let (mut lease, _) = self.connection(key, true, false).await?;
        let peer = Arc::clone(lease.load.peer());
        let response = match self.first_answer(&mut lease, Box::new(request)).await {
            Ok(response) => response,
            Err(Failure::Unanswered(error) | Failure::Final(error)) => {
                if matches!(error, UpstreamError::Broken { .. } | UpstreamError::Timeout { .. }) {
                    self.note_failure(&peer);
                }
                return Err(error);
            }
            Err(Failure::Unsent(_)) => return Err(broken("it was closed before it took the request")),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let received = receive(response, lease).map_err(broken)?;
            peer.note_answer();
            return Ok(Switched::No(received));
        }
        peer.note_answer();
        let (head, body) = response.into_parts();
        let mut response = Response::from_parts(head, ());
        lease.connection.drive_apart();
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

    /// A connection to the peer that is to have the request, or to the next that can be connected; whether it was used
    /// before.
    async fn connection(
        &self,
        key: Option<&str>,
        fresh: bool,
        repeatable: bool,
    ) -> Result<(Lease, bool), UpstreamError> {
        let mut cause = String::from("there is no peer");
        for peer in self.peers_to_try(key) {
            let (home, load) = (peer.pool().cloned(), peer.begin());
            if !fresh && let Some(connection) = peer.idle_connection(repeatable).await {
                return Ok((Lease { connection, home, load }, true));
            }
            match peer.fresh_connection(self.connect_timeout).await {
                Ok(connection) => return Ok((Lease { connection, home, load }, false)),
                Err(error) => {
                    self.note_failure(peer);
                    cause = format!("{}: {error}", peer.address());
                }
            }
        }
        Err(UpstreamError::Unreachable { cause })
    }

    /// Every peer once, in the order in which they are to be tried.
    fn peers_to_try(&self, key: Option<&str>) -> impl Iterator<Item = &Arc<Peer>> {
        // Most upstreams have one peer, and nothing to weigh.
        let order = if self.peers.len() < 2 { Vec::new() } else { self.weigh(key) };
        let only = if order.is_empty() { self.peers.first() } else { None };
        order.into_iter().filter_map(|position| self.peers.get(position)).chain(only)
    }

    fn weigh(&self, key: Option<&str>) -> Vec<usize> {
        let candidates: Vec<Candidate> = self.peers.iter().map(|peer| peer.candidate()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        order(self.balance, &candidates, turn, key)
    }

    /// A request failed at this peer. The last one that is in stays in, whatever it does.
    fn note_failure(&self, peer: &Arc<Peer>) {
        peer.note_failure(self.eject, || self.peers.iter().all(|other| Arc::ptr_eq(other, peer) || other.is_out()));
    }

    /// Sends the request on one connection.
    async fn exchange(
        &self,
        mut lease: Lease,
        request: Box<Request<RequestBody>>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let peer = Arc::clone(lease.load.peer());
        let response = self.first_answer(&mut lease, request).await?;
        if !lease.connection.wire.uploaded() {
            // The rest of the upload must not wait for a client that is slow to take the answer.
            lease.connection.drive_apart();
        }
        let received = receive(response, lease).map_err(|cause| Failure::Final(broken(cause)))?;
        peer.note_answer();
        Ok(received)
    }

    /// Sends the request on one connection and waits for the head of the answer.
    async fn first_answer(
        &self,
        lease: &mut Lease,
        request: Box<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, Failure> {
        let connection = &mut lease.connection;
        let wire = Arc::clone(&connection.wire);
        let request = request.map(|body| Outgoing::new(body, Arc::clone(&wire)));
        let mut alarm = std::mem::take(&mut connection.alarm);
        let answer = self.head_of(connection.send(request), &wire, &mut alarm).await;
        connection.alarm = alarm;
        match answer {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(judge(error, &wire)),
            None => Err(Failure::Final(UpstreamError::Timeout { after: self.response_timeout })),
        }
    }

    /// Waits for the answer's head for as long as the request moves; `None` when it did not for too long.
    async fn head_of<F>(&self, answer: F, wire: &Wire, alarm: &mut Alarm) -> Option<F::Output>
    where
        F: Future,
    {
        let mut answer = pin!(answer);
        poll_fn(|context| {
            // Before the answer is looked for: that moves the connection on, which must not count as its own movement.
            let late = alarm.is_due(context, || wire.last_movement() + self.response_timeout);
            match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if late => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
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
