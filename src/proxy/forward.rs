//! Forwarding: the cleared request, the permit's identity, one upstream; the answer streams back.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response};
use http_body::Body as _;

use super::client_body::ClientBody;
use super::cut::Cuttable;
use super::exchange::Exchange;
use super::failure::Failure;
use super::outgoing::{self, Head, Sender};
use super::services::Gateway;
use super::signing::sign;
use super::upstreams::BoundUpstream;
use super::withheld::ask_for_what_can_be_searched;
use crate::clock::Monotonic;
use crate::config::{BodyMode, CacheControl, ClientValue};
use crate::http::{
    NotedHeaders, OwnLocations, RequestHost, Scheme, Target, Upgrade, keep_nowhere_by, keep_private, vary_by,
};
use crate::policy::{Identity, Permit, VouchedBy};
use crate::sessions::OpenStream;
use crate::upstream::{BodyError, BodyLimits, Outgoing, RequestBody, Switched, UpstreamBody};

const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");
const AUTHORIZATION: HeaderValue = HeaderValue::from_static("Authorization");

/// A request's place in its trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request of which everything that cannot be believed was refused or removed.
pub(super) struct Cleared {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) host: RequestHost,
    pub(super) scheme: Scheme,
    /// The marks of the gateways that it has been through, this one's included.
    pub(super) via: HeaderValue,
    /// Without hop-by-hop, overriding, identity and forwarding headers, and without the gateway's own cookie.
    pub(super) headers: NotedHeaders,
    pub(super) content: Content,
}

/// The body of a request on its way to the backend.
pub(super) enum Content {
    /// Still with the client; breaks off when its session ends.
    Client(Cuttable<ClientBody>, Begin),
    /// All there.
    Whole(Bytes),
}

/// When the backend is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// As the upstream wants it.
    AsConfigured,
    /// Once the whole body is there.
    WhenComplete,
}

impl Content {
    /// A body that is still with the client.
    pub(super) const fn of(incoming: ClientBody) -> Self {
        Self::Client(Cuttable::new(incoming, None), Begin::AsConfigured)
    }

    /// Has the backend asked only once all of it is there, whatever the upstream is configured to take.
    pub(super) const fn complete_first(&mut self) {
        if let Self::Client(_, begin) = self {
            *begin = Begin::WhenComplete;
        }
    }

    /// Breaks off with the session that `open` stands for, if there is anything left to come; and whether that is a use of
    /// the session.
    pub(super) fn cut_by(&mut self, open: &OpenStream, is_use: bool) {
        if let Self::Client(body, _) = self
            && !body.is_end_stream()
        {
            body.cut_by(Some(open.another()));
            body.is_use(is_use);
        }
    }

    /// All of it, at most `max` bytes.
    pub(super) async fn buffer(&mut self, gateway: &Gateway, max: usize) -> Result<Bytes, Failure> {
        let whole = match std::mem::replace(self, Self::Whole(Bytes::new())) {
            Self::Whole(bytes) => bytes,
            Self::Client(incoming, _) => {
                let limits = gateway.body_limits();
                let limits = BodyLimits { max_body: limits.max_body.min(max as u64), ..limits };
                gateway.bodies().take(incoming, limits).await.map_err(body_failure)?
            }
        };
        *self = Self::Whole(whole.clone());
        Ok(whole)
    }
}

/// Sends a request to the permit's upstream, on a connection that carries nothing else, and returns its answer as it
/// came, but for hop-by-hop headers. For an answer that the gateway itself believes; most callers want [`forward`].
pub(super) async fn send(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    mut cleared: Box<Cleared>,
) -> Result<Response<UpstreamBody>, Failure> {
    let upstream = gateway.upstream(permit)?;
    let mut request = without_body(gateway, exchange, permit, upstream, &mut cleared)?;
    fill(&mut request, gateway, upstream, exchange.client.get(), cleared).await?;
    let sent = begin_to_send(gateway, exchange, permit, &mut request).await?;
    let answer = upstream.peers.send_alone(tenant_of(permit), request).await;
    exchange.upstream_took(gateway.clock().monotonic().since(sent));
    answer.map_err(Failure::Upstream)
}

/// Sends a request for another protocol to the permit's upstream; the answer is as it came.
pub(super) async fn send_upgrade(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    mut cleared: Box<Cleared>,
    upgrade: &Upgrade,
) -> Result<Switched, Failure> {
    let upstream = gateway.upstream(permit)?;
    let mut request = without_body(gateway, exchange, permit, upstream, &mut cleared)?;
    fill(&mut request, gateway, upstream, exchange.client.get(), cleared).await?;
    upgrade.write(request.headers_mut());
    let sent = begin_to_send(gateway, exchange, permit, &mut request).await?;
    let answer = upstream.peers.send_upgrade(tenant_of(permit), request).await;
    exchange.upstream_took(gateway.clock().monotonic().since(sent));
    answer.map_err(Failure::Upstream)
}

/// The moment at which the backend is asked: what the store said of the session is not older by then than it may be, and what
/// the backend is told is signed as of now, however long the body took to come.
async fn begin_to_send(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    request: &mut Outgoing,
) -> Result<Monotonic, Failure> {
    let now = gateway.clock().monotonic();
    let now = match exchange.take_outdated(now) {
        None => now,
        Some(outdated) => {
            Box::pin(gateway.look_again(outdated)).await?;
            gateway.clock().monotonic()
        }
    };
    sign(gateway, permit, request)?;
    Ok(now)
}

/// The request as the permit's upstream is to get it, but for its body.
fn without_body(
    gateway: &Gateway,
    exchange: &Exchange,
    permit: &Permit,
    upstream: &BoundUpstream,
    cleared: &mut Cleared,
) -> Result<Outgoing, Failure> {
    let head = Head {
        method: &cleared.method,
        target: &cleared.target,
        host: &cleared.host,
        scheme: cleared.scheme,
        headers: std::mem::take(&mut cleared.headers),
    };
    let (address, request_id) = (exchange.client.header_value(), exchange.id.header_value());
    let sender = Sender { address, request_id, via: &cleared.via };
    let mut request = outgoing::without_body(gateway.config(), permit, &upstream.host, head, sender)?;
    ask_for_what_can_be_searched(exchange, &mut request);
    if let Some(place) = exchange.place.as_deref() {
        request.headers_mut().insert(TRACEPARENT, place.traceparent());
        if place.begins_here() {
            // What vendors noted of another trace says nothing of this one.
            request.headers_mut().remove(TRACESTATE);
        }
    }
    Ok(request)
}

/// Gives a request its body.
async fn fill(
    request: &mut Outgoing,
    gateway: &Gateway,
    upstream: &BoundUpstream,
    client: IpAddr,
    cleared: Box<Cleared>,
) -> Result<(), Failure> {
    *request.body_mut() = match cleared.content {
        Content::Whole(bytes) if bytes.is_empty() => RequestBody::Empty,
        Content::Whole(bytes) => RequestBody::Full(bytes),
        Content::Client(incoming, _) if incoming.is_end_stream() => RequestBody::Empty,
        Content::Client(incoming, begin) => Box::pin(client_body(gateway, incoming, begin, upstream, client)).await?,
    };
    Ok(())
}

/// The tenant whose requests may be meant to meet in one process.
fn tenant_of(permit: &Permit) -> Option<&str> {
    match permit.identity() {
        Identity::Verified(verified) => verified.principal().tenant.name(),
        Identity::Anonymous | Identity::AsClaimed => None,
    }
}

/// Sends a request to the permit's upstream; the answer is without anything that only the gateway may say, and the app's
/// own cookies in it are sealed for the session of the request.
pub(super) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    cleared: Box<Cleared>,
) -> Result<Response<UpstreamBody>, Failure> {
    let mut answer = forward_unsealed(gateway, exchange, permit, cleared).await?;
    gateway.seal_cookies(exchange, answer.headers_mut()).await?;
    Ok(answer)
}

/// The same, with the app's own cookies as the app set them: to be sealed once it is settled for which session.
pub(super) async fn forward_unsealed(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    mut cleared: Box<Cleared>,
) -> Result<Response<UpstreamBody>, Failure> {
    let upstream = gateway.upstream(permit)?;
    let mut request = without_body(gateway, exchange, permit, upstream, &mut cleared)?;
    fill(&mut request, gateway, upstream, exchange.client.get(), cleared).await?;
    let sent = begin_to_send(gateway, exchange, permit, &mut request).await?;
    let answer = upstream.peers.send_for(tenant_of(permit), request).await;
    exchange.upstream_took(gateway.clock().monotonic().since(sent));
    let mut answer = answer.map_err(Failure::Upstream)?;
    polish(gateway, exchange, permit, answer.headers_mut());
    Ok(answer)
}

/// Makes a backend's answer one of the gateway's: without what only the gateway may say, and private where it was made
/// for a session.
pub(super) fn polish(gateway: &Gateway, exchange: &Exchange, permit: &Permit, headers: &mut HeaderMap) {
    clean_answer(gateway, exchange, permit, headers);
    let Identity::Verified(verified) = permit.identity() else { return };
    let by = match verified.vouched_by() {
        VouchedBy::Session(_) => COOKIE,
        VouchedBy::Token(_) => AUTHORIZATION,
    };
    let identity = &gateway.config().identity;
    if identity.client_value == ClientValue::Choose {
        // What a browser kept of one tenant is no answer in another.
        vary_by(headers, &HeaderValue::from(identity.headers.tenant.clone()));
    }
    let session = &gateway.config().session;
    match if is_page(headers) { session.cache_pages } else { session.cache } {
        CacheControl::Private => keep_private(headers, &by),
        CacheControl::NoStore => keep_nowhere_by(headers, &by),
        CacheControl::Leave => {}
    }
}

/// Whether a browser shows it, and would show it again from what it kept when somebody goes back.
fn is_page(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"text/html"[..], b"application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
}

/// Removes from a backend's answer what only the gateway may say, and mends where it sends browsers to.
pub(super) fn clean_answer(gateway: &Gateway, exchange: &Exchange, permit: &Permit, headers: &mut HeaderMap) {
    if OwnLocations::may_be_in(gateway.filter().strip_response(headers)) {
        mend_location(gateway, exchange, permit, headers);
    }
    let dropped = crate::http::drop_gateway_set_cookie(headers, &gateway.config().cookie.name);
    if dropped > 0 {
        let request_id = exchange.id.as_str();
        tracing::warn!(request_id, dropped, "dropped a Set-Cookie of the gateway's own name from the backend");
    }
}

/// An app that does not know by which name, and by which scheme, browsers reach it sends them where they cannot go.
fn mend_location(gateway: &Gateway, exchange: &Exchange, permit: &Permit, headers: &mut HeaderMap) {
    let locations = gateway.upstream(permit).ok().and_then(|upstream| upstream.locations.as_ref());
    if let (Some(locations), Some(host)) = (locations, &exchange.host) {
        locations.mend(headers, host);
    }
}

/// A client's body as the upstream wants it: all there, or as it comes.
async fn client_body(
    gateway: &Gateway,
    incoming: Cuttable<ClientBody>,
    begin: Begin,
    upstream: &BoundUpstream,
    client: IpAddr,
) -> Result<RequestBody, Failure> {
    let limits = gateway.body_limits();
    match (upstream.body, begin) {
        (BodyMode::Stream, Begin::AsConfigured) => RequestBody::client(incoming, limits).map_err(Failure::Body),
        (BodyMode::ContentLength, _) | (_, Begin::WhenComplete) => {
            upstream.spool.take(incoming, limits, client.into()).await.map_err(body_failure)
        }
    }
}

fn body_failure(error: BodyError) -> Failure {
    match error {
        BodyError::Client(fault) => Failure::Body(fault),
        BodyError::NoRoom => Failure::Overloaded,
        BodyError::Spool(error) => Failure::Spool(error.to_string()),
    }
}
