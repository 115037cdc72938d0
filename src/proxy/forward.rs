//! Forwarding: the cleared request, the permit's identity, one upstream; the answer streams back.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, VARY,
};
use http::{Method, Request, Response, Uri};
use hyper::body::{Body as _, Incoming};

use super::exchange::Exchange;
use super::gateway::Gateway;
use super::respond::Failure;
use crate::config::{HostHeader, RequestBodyMode};
use crate::http::{RequestHost, Scheme, Target};
use crate::policy::{Identity, Permit, rewrite};
use crate::upstream::{BodyLimits, RequestBody, SpoolError, UpstreamBody, spool};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request of which everything that cannot be believed was refused or removed.
pub(super) struct Cleared {
    pub(super) method: Method,
    pub(super) target: Target,
    /// The query as the backend is to see it, where it differs from the client's.
    pub(super) query: Option<String>,
    pub(super) host: RequestHost,
    pub(super) scheme: Scheme,
    /// Without hop-by-hop, overriding, identity and forwarding headers, and without the gateway's own cookie.
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

/// The body of a request on its way to the backend.
pub(super) enum Content {
    /// Still with the client.
    Client(Incoming),
    /// All there.
    Whole(Bytes),
}

impl Content {
    /// All of it, at most `max` bytes.
    pub(super) async fn buffer(&mut self, gateway: &Gateway, max: usize) -> Result<Bytes, Failure> {
        let whole = match std::mem::replace(self, Self::Whole(Bytes::new())) {
            Self::Whole(bytes) => bytes,
            Self::Client(incoming) => {
                let limits = BodyLimits { bytes: max as u64, ..gateway.body_limits() };
                RequestBody::client(incoming, limits).collect_whole().await.map_err(Failure::Body)?
            }
        };
        *self = Self::Whole(whole.clone());
        Ok(whole)
    }
}

/// Sends a request to the permit's upstream and returns its answer as it came, but for hop-by-hop headers. Most callers
/// want [`forward`].
pub(super) async fn send(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    cleared: Cleared,
) -> Result<Response<UpstreamBody>, Failure> {
    let Cleared { method, target, query, host, scheme, mut headers, content } = cleared;
    let upstream = gateway.upstream(permit)?;
    let config = gateway.config();

    // The identity goes in last, after everything of that name went out.
    rewrite(&mut headers, permit, &config.identity.headers, config.identity.anonymous.as_ref())
        .map_err(|unwritable| Failure::Internal(unwritable.to_string()))?;
    let host_value = match &upstream.host {
        HostHeader::Preserve => host.header_value(),
        HostHeader::Fixed(value) => value.clone(),
    };
    headers.insert(HOST, host_value);
    headers.insert(X_FORWARDED_FOR, address_value(exchange)?);
    headers.insert(X_FORWARDED_HOST, host.header_value());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    headers.insert(X_REQUEST_ID, exchange.id.header_value().clone());
    // Expectations are met here, and the body's length is the body's own.
    headers.remove(EXPECT);
    headers.remove(CONTENT_LENGTH);

    let body = match content {
        Content::Whole(bytes) if bytes.is_empty() && !announces_length(&method) => RequestBody::Empty,
        Content::Whole(bytes) => RequestBody::Full(bytes),
        Content::Client(incoming) if incoming.is_end_stream() && !announces_length(&method) => RequestBody::Empty,
        Content::Client(incoming) if incoming.is_end_stream() => RequestBody::Full(Bytes::new()),
        Content::Client(incoming) => client_body(gateway, incoming, upstream.body_mode).await?,
    };
    let path = match query.as_deref() {
        Some("") => target.path().to_owned(),
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path_and_query().into_owned(),
    };
    let uri =
        Uri::try_from(path).map_err(|error| Failure::Internal(format!("a normalised path is no URI: {error}")))?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;

    let sent = gateway.clock().monotonic();
    let answer = upstream.peers.send(request).await;
    exchange.upstream += gateway.clock().monotonic().since(sent);
    answer.map_err(Failure::Upstream)
}

/// Sends a request to the permit's upstream; the answer is without anything that only the gateway may say.
pub(super) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    cleared: Cleared,
) -> Result<Response<UpstreamBody>, Failure> {
    let mut answer = send(gateway, exchange, permit, cleared).await?;
    clean_answer(gateway, exchange, answer.headers_mut());
    if let Identity::Verified(_) = permit.identity()
        && gateway.config().session.cache == crate::config::CacheControl::Private
    {
        keep_private(answer.headers_mut());
    }
    Ok(answer)
}

/// Removes from a backend's answer what only the gateway may say.
pub(super) fn clean_answer(gateway: &Gateway, exchange: &Exchange, headers: &mut HeaderMap) {
    gateway.request_filter().strip_response(headers);
    let dropped = crate::http::drop_gateway_set_cookie(headers, &gateway.config().cookie.name);
    if dropped > 0 {
        let request_id = exchange.id.as_str();
        tracing::warn!(request_id, dropped, "the backend tried to set the gateway's own cookie");
    }
}

/// Methods whose requests say how long their body is even when there is none (RFC 9110 §8.6).
fn announces_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn address_value(exchange: &Exchange) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(&exchange.client.to_string()).map_err(|error| Failure::Internal(error.to_string()))
}

/// A client's body as the upstream wants it: with a length, or as it comes.
async fn client_body(gateway: &Gateway, incoming: Incoming, mode: RequestBodyMode) -> Result<RequestBody, Failure> {
    let limits = gateway.body_limits();
    let known = incoming.size_hint().exact();
    if known.is_some_and(|length| length > limits.bytes) {
        return Err(Failure::Body(crate::upstream::BodyFault::TooLarge));
    }
    let body = RequestBody::client(incoming, limits);
    if known.is_some() || mode == RequestBodyMode::Stream {
        return Ok(body);
    }
    spool(body, gateway.spool_settings()).await.map_err(|error| match error {
        SpoolError::Client(fault) => Failure::Body(fault),
        SpoolError::Io(error) => Failure::Internal(format!("a request body cannot be spooled: {error}")),
    })
}

/// Answers made for a session must not be kept by caches that others share (contract §5). What is stricter stays.
fn keep_private(headers: &mut HeaderMap) {
    let mut kept = Vec::new();
    let mut strict = false;
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(text) = value.to_str() else { continue };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let name = directive.split('=').next().unwrap_or_default().trim();
            if name.eq_ignore_ascii_case("public") || name.eq_ignore_ascii_case("s-maxage") {
                continue;
            }
            // `private="X-Header"` and `no-cache="X-Header"` speak of a header alone.
            strict |= ["private", "no-store"].iter().any(|strict| directive.eq_ignore_ascii_case(strict));
            kept.push(directive);
        }
    }
    if !strict {
        kept.insert(0, "private");
    }
    if let Ok(value) = HeaderValue::from_str(&kept.join(", ")) {
        headers.insert(CACHE_CONTROL, value);
    } else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    let varies = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("cookie"));
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

/// A question of the gateway's own to the backend, asked as the client would: its address and user agent stay, for
/// backends bind their sessions to them.
pub(super) fn own_question(like: &HeaderMap, cookies: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [http::header::USER_AGENT, http::header::ACCEPT_LANGUAGE] {
        if let Some(value) = like.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(cookies) = cookies {
        headers.insert(COOKIE, cookies.clone());
    }
    headers
}
