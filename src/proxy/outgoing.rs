//! The head of a request as a backend gets it: the permit's identity in, and what the gateway knows of the client.
//!
//! It takes only headers from which everything that the client claims was removed. `probe-login` sends its requests with
//! it, too.

use http::header::{self, ACCEPT_ENCODING, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{Method, Request, Uri};

use super::failure::Failure;
use crate::config::{Config, HostHeader};
use crate::http::{KnownName, NotedHeaders, RequestHost, Scheme, Target, VIA};
use crate::policy::{Denial, ForeignClaim, Identity, Permit, rewrite, rewrite_query};
use crate::session::TenantId;
use crate::upstream::{Outgoing, OwnLines, RequestBody};

static AUTHORIZATION: HeaderName = header::AUTHORIZATION;
static EXPECT: KnownName = KnownName::new("expect");
static HOST: HeaderName = header::HOST;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What bears the marks of the gateways that a request has been through.
static X_GATEWAY_VIA: HeaderName = VIA;

/// A request's head from which everything that cannot be believed was removed.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Target,
    pub(crate) host: &'a RequestHost,
    pub(crate) scheme: Scheme,
    /// Without hop-by-hop, overriding, identity and forwarding headers, and without the gateway's own cookie.
    pub(crate) headers: NotedHeaders,
}

/// Who sends it, what the exchange is called, and which gateways it has been through.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) address: &'a HeaderValue,
    pub(crate) request_id: &'a HeaderValue,
    pub(crate) via: &'a HeaderValue,
}

/// Why a request cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    /// Its query names another tenant than the session's.
    #[error("its query names another tenant than the session's")]
    ForeignTenant,
    /// Ours.
    #[error("{0}")]
    Internal(String),
}

impl From<Unsendable> for Failure {
    fn from(unsendable: Unsendable) -> Self {
        match unsendable {
            Unsendable::ForeignTenant => Self::Denied(Denial::TenantMismatch),
            Unsendable::Internal(why) => Self::Internal(why),
        }
    }
}

/// Makes a request unconditional and for the whole answer: what is answered with a cookie of ours must not be a 304, nor
/// a part.
pub(super) fn ask_for_all(headers: &mut NotedHeaders) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove_named(&name);
    }
}

/// The same, for an answer that the gateway reads: what is compressed could not be.
pub(crate) fn ask_for_what_can_be_read(headers: &mut NotedHeaders) {
    ask_for_all(headers);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// The request as an upstream that wants this host is to get it, but for its body.
pub(crate) fn without_body(
    config: &Config,
    permit: &Permit,
    host: &HostHeader,
    head: Head<'_>,
    sender: Sender<'_>,
) -> Result<Outgoing, Unsendable> {
    let mut headers = head.headers;

    // Expectations are met here.
    headers.remove(&EXPECT);
    let mut headers = headers.into_map();
    // The identity goes in last, after everything of that name went out.
    rewrite(&mut headers, permit, &config.identity.headers, config.identity.anonymous.as_ref())
        .map_err(|unwritable| Unsendable::Internal(unwritable.to_string()))?;
    let asked = head.host.header_value();
    let host = match host {
        HostHeader::Preserve => asked,
        HostHeader::Fixed(value) => value,
    };
    // After the identity: should a name of ours be one of its, ours holds.
    let mut own = OwnLines::of(&[
        (&HOST, host),
        (&X_FORWARDED_FOR, sender.address),
        (&X_FORWARDED_HOST, asked),
        (&X_FORWARDED_PROTO, &HeaderValue::from_static(head.scheme.as_str())),
        (&X_REQUEST_ID, sender.request_id),
        (&X_GATEWAY_VIA, sender.via),
    ]);
    // In the place of whatever the client sends.
    if let Some(token) = permit.token() {
        own.put(&AUTHORIZATION, token);
    }

    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = uri(config, permit, head.target)?;
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = headers;
    Ok(Outgoing::new(request, own))
}

/// The target as the backend is to see it: a tenant in the query is the permit's, or gone.
fn uri(config: &Config, permit: &Permit, target: &Target) -> Result<Uri, Unsendable> {
    let identity = &config.identity;
    let tenant = match permit.identity() {
        Identity::Verified(verified) => Some(&verified.principal().tenant),
        Identity::Anonymous => None,
        Identity::AsClaimed => return Ok(Uri::from(target.path_and_query().clone())),
    };
    let query = match target.query() {
        Some(query) => query,
        None if tenant.is_some() && identity.query.add() => "",
        None => return Ok(Uri::from(target.path_and_query().clone())),
    };
    let same =
        |claim: &str, tenant: &TenantId| identity.rules.canonical_tenant(claim).is_ok_and(|claim| claim == *tenant);
    match rewrite_query(query, &identity.query, tenant, same) {
        Ok(None) => Ok(Uri::from(target.path_and_query().clone())),
        Ok(Some(query)) => {
            let text = if query.is_empty() { target.path().to_owned() } else { format!("{}?{query}", target.path()) };
            Uri::try_from(text).map_err(|error| Unsendable::Internal(format!("a rewritten query is no URI: {error}")))
        }
        Err(ForeignClaim) => Err(Unsendable::ForeignTenant),
    }
}
