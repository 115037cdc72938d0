//! One request, from its head to the answer's: choose a peer, get a connection, send, wait, and decide what a failure
//! means. The rule that stands above all: a request that may have been processed is not sent again.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio_util::task::AbortOnDropHandle;

use super::address::PeerAddress;
use super::answer::{UpstreamBody, receive};
use super::balance::{Balance, Candidate, order};
use super::body::RequestBody;
use super::check::watch;
use super::connection::Trouble;
use super::error::UpstreamError;
use super::health::Ejection;
use super::http1::{BodyFraming, Persistence};
use super::lease::Lease;
use super::observe::UpstreamObserver;
use super::outgoing::Outgoing;
use super::peer::Peer;
use super::settings::UpstreamSettings;
use super::switch::{Switched, UpstreamTunnel};
use crate::clock::SharedClock;

/// Which connection a request is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// An idle one before a fresh one; it is kept afterwards.
    Any,
    /// A fresh one; it is kept afterwards.
    Fresh,
    /// A fresh one that ends with the answer.
    Own,
}

impl Wanted {
    /// What it is after the first try.
    const fn again(self) -> Self {
        match self {
            Self::Any | Self::Fresh => Self::Fresh,
            Self::Own => Self::Own,
        }
    }
}

/// How often one request is put on a connection at most: an idle one that turns out closed, a fresh one, and one more
/// when even that closed before it took anything.
const MAX_ATTEMPTS: usize = 3;

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
    pub fn new(settings: UpstreamSettings, clock: &SharedClock, observer: &dyn UpstreamObserver) -> Self {
        let peer = |address: &PeerAddress| Arc::new(Peer::new(&settings, address.clone(), Arc::clone(clock), observer));
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
    pub async fn send(&self, request: impl Into<Outgoing> + Send) -> Result<Response<UpstreamBody>, UpstreamError> {
        self.send_for(None, request).await
    }

    /// [`send`](Self::send), to the peer that [`Balance::HashKey`] gives this key.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_for<'a, R: Into<Outgoing>>(
        &'a self,
        key: Option<&'a str>,
        request: R,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, UpstreamError>> + Send + use<'a, R> {
        let request = request.into();
        let wanted = if is_of_certain_end(&request) { Wanted::Any } else { Wanted::Own };
        self.send_on(wanted, key, request)
    }

    /// [`send_for`](Self::send_for), on a connection that carries nothing else, before or after. For a request whose
    /// answer says who somebody is: no other answer can be taken for it, whatever a backend writes and when.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_alone(
        &self,
        key: Option<&str>,
        request: impl Into<Outgoing> + Send,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        self.send_on(Wanted::Own, key, request.into()).await
    }

    async fn send_on(
        &self,
        mut wanted: Wanted,
        key: Option<&str>,
        mut request: Outgoing,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        give_way().await;
        for _ in 0..MAX_ATTEMPTS {
            let (peer, lease) = self.connection(key, wanted).await?;
            let is_used = lease.connection.is_used;
            match self.exchange(lease, &mut request).await {
                Ok(response) => {
                    peer.note_answer();
                    return Ok(response);
                }
                Err(Trouble::Unsent) => {}
                // A connection that was idle may close at any time, which says nothing of its peer.
                Err(Trouble::Unanswered(_)) if is_used && is_repeatable(&request) => {}
                Err(Trouble::Unanswered(error)) if is_used => return Err(error),
                Err(Trouble::Unanswered(error) | Trouble::Final(error)) => {
                    self.note_error(peer, &error);
                    return Err(error);
                }
            }
            wanted = wanted.again();
        }
        Err(broken("each connection was closed before it took the request"))
    }

    /// Sends a request whose headers ask for another protocol (`Upgrade`), and waits for the head of its answer. A
    /// connection of its own carries it, and it is sent once.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_upgrade(
        &self,
        key: Option<&str>,
        request: impl Into<Outgoing> + Send,
    ) -> Result<Switched, UpstreamError> {
        let mut request = request.into();
        give_way().await;
        let (peer, mut lease) = self.connection(key, Wanted::Own).await?;
        let head = match self.first_answer(&mut lease, &mut request, Persistence::Upgrade).await {
            Ok(head) => head,
            Err(Trouble::Unanswered(error) | Trouble::Final(error)) => {
                self.note_error(peer, &error);
                return Err(error);
            }
            Err(Trouble::Unsent) => return Err(broken("it was closed before it took the request")),
        };
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            peer.note_answer();
            let Lease { connection, load, .. } = lease;
            return Ok(Switched::Yes(head, UpstreamTunnel { io: connection.into_tunnel(), _load: load }));
        }
        let received = receive(head, lease, request.body_mut()).await;
        match &received {
            Ok(_) => peer.note_answer(),
            Err(error) => self.note_error(peer, error),
        }
        received.map(Switched::No)
    }

    /// A connection to the peer that is to have the request, or to the next that can be connected.
    async fn connection(&self, key: Option<&str>, wanted: Wanted) -> Result<(&Arc<Peer>, Lease), UpstreamError> {
        let mut cause = String::from("there is no peer");
        for peer in self.peers_to_try(key) {
            let home = if wanted == Wanted::Own { None } else { peer.pool().cloned() };
            let load = peer.begin();
            if wanted == Wanted::Any
                && let Some(connection) = peer.idle_connection()
            {
                return Ok((peer, Lease { connection, home, load }));
            }
            match peer.fresh_connection(self.connect_timeout).await {
                Ok(connection) => return Ok((peer, Lease { connection, home, load })),
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

    /// A request failed at this peer, if it was the peer at which it failed.
    fn note_error(&self, peer: &Arc<Peer>, error: &UpstreamError) {
        if matches!(
            error,
            UpstreamError::Broken { .. } | UpstreamError::Malformed { .. } | UpstreamError::Timeout { .. }
        ) {
            self.note_failure(peer);
        }
    }

    /// Sends the request on one connection, and takes over the answer once its head is there.
    async fn exchange(&self, mut lease: Lease, request: &mut Outgoing) -> Result<Response<UpstreamBody>, Trouble> {
        let persistence = if lease.home.is_some() { Persistence::Persistent } else { Persistence::Close };
        let head = self.first_answer(&mut lease, request, persistence).await.inspect_err(|trouble| {
            // On a connection that was kept, what is no answer may be the rest of the one before.
            if let (Trouble::Final(UpstreamError::Malformed { .. }), Some(home), true) =
                (trouble, &lease.home, lease.connection.is_used)
            {
                home.distrust();
            }
        })?;
        receive(head, lease, request.body_mut()).await.map_err(Trouble::Final)
    }

    /// Sends the request on one connection and waits for the head of the answer, for as long as the request moves.
    async fn first_answer(
        &self,
        lease: &mut Lease,
        request: &mut Outgoing,
        persistence: Persistence,
    ) -> Result<Response<()>, Trouble> {
        let connection = &mut lease.connection;
        connection.begin(request, &request.own, framing(request), persistence);
        let method = request.method().clone();
        let body = request.body_mut();
        let mut alarm = std::mem::take(&mut connection.alarm);
        let answer = poll_fn(|context| {
            // Before the answer is looked for: that moves the connection on, which must not count as its own movement.
            let late = alarm.is_due(context, || connection.last_movement() + self.response_timeout);
            match connection.poll_head(context, &method, body) {
                Poll::Pending if late => {
                    Poll::Ready(Err(Trouble::Final(UpstreamError::Timeout { after: self.response_timeout })))
                }
                polled => polled,
            }
        })
        .await;
        lease.connection.alarm = alarm;
        answer
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

fn broken(cause: &str) -> UpstreamError {
    UpstreamError::Broken { cause: cause.to_owned() }
}

/// How a request's body goes out. What its headers say of that is nobody's word.
fn framing(request: &Request<RequestBody>) -> BodyFraming {
    match request.body().size_hint().exact() {
        Some(0) if !expects_a_body(request.method()) => BodyFraming::None,
        Some(length) => BodyFraming::Length(length),
        None => BodyFraming::Chunked,
    }
}

/// Ready when the tasks that can run now have run. Requests that came together then go out together, and a backend that
/// waits on another core is woken for all of them at once: to wake it for each costs as much as half of the rest. Unlike
/// tokio's `yield_now` it does not look for what has come since.
async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether a request, and the answer to it, end where everybody sees them end, as far as the request decides that. Not
/// with a body: a backend that leaves it unread takes it for the next request. Not a HEAD: a backend may answer it with a
/// body.
fn is_of_certain_end(request: &Request<RequestBody>) -> bool {
    request.body().is_end_stream() && *request.method() != Method::HEAD
}

/// Whether a request may be sent a second time though it may have been processed: a safe method (RFC 9110, 9.2.1),
/// without a body.
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    safe && request.body().is_end_stream()
}

/// Whether a request of this method says that its body is empty (RFC 9110, 8.6).
fn expects_a_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
}
