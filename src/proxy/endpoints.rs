//! The gateway's own endpoints: session status and refresh, logout, logout everywhere.

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Response, StatusCode};
use serde::Serialize;

use super::body::AnswerBody;
use super::exchange::{Bound, Exchange};
use super::failure::Failure;
use super::forward::{Cleared, forward};
use super::limits::OWN_REQUEST_MAX;
use super::lookup::{LiveUse, Lookup, Recorded};
use super::newcomer::never_again;
use super::outgoing::ask_for_all;
use super::respond::{self, json};
use super::services::Gateway;
use crate::config::ClientValue;
use crate::http::{expire_set_cookie, keep_nowhere};
use crate::policy::{Authorization, Denial, Route, SessionFacts, permit_logout};
use crate::seal::Binding;
use crate::session::{By, EndReason, Scope};
use crate::upstream::UpstreamError;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

#[derive(Serialize)]
struct SessionDocument<'a> {
    authenticated: bool,
    user: &'a str,
    tenant: Option<&'a str>,
    /// Those that the client may choose from, where it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants: Option<Vec<&'a str>>,
    role: Option<&'a str>,
    created_at: String,
    expires_at: String,
    idle_expires_at: Option<String>,
}

#[derive(Serialize)]
struct NoSession {
    authenticated: bool,
    /// That there is one, which is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    reauth_required: Option<bool>,
}

#[derive(Serialize)]
struct LoggedOutEverywhere {
    success: bool,
    invalidated_sessions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_revoked: Option<bool>,
    /// `false` where it may be lost with the store's server before this gateway has it there again.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<bool>,
}

/// That a token was denied, where the backend does not answer a logout.
#[derive(Serialize)]
struct TokenRevoked {
    success: bool,
    token_revoked: bool,
}

/// `GET` status: what the session is. Never touches it.
pub(super) fn status(gateway: &Gateway, method: &Method, lookup: &Lookup) -> Result<Response<AnswerBody>, Failure> {
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Failure::MethodNotAllowed("GET, HEAD"));
    }
    match lookup {
        Lookup::Live(live) => Ok(session_document(gateway, live)),
        Lookup::Unavailable(_, unavailable) => Err(Failure::Store(unavailable.clone())),
        Lookup::BadToken(token) => Err(Failure::Denied(token.bad.denial())),
        Lookup::Held(_) => Ok(no_session(Some(true))),
        Lookup::NoCredential | Lookup::Unknown(_) | Lookup::Ended(_) => Ok(no_session(None)),
    }
}

/// `POST` refresh: records a use, then answers as status does.
pub(super) async fn refresh(
    gateway: &Gateway,
    method: &Method,
    lookup: &mut Lookup,
) -> Result<Response<AnswerBody>, Failure> {
    if *method != Method::POST {
        return Err(Failure::MethodNotAllowed("POST"));
    }
    if let Lookup::Live(live) = lookup {
        return match gateway.record_use(live).await.map_err(Failure::Store)? {
            Recorded::Yes => Ok(session_document(gateway, live)),
            Recorded::SessionGone => Ok(no_session(None)),
        };
    }
    status(gateway, &Method::GET, lookup)
}

fn session_document(gateway: &Gateway, live: &LiveUse) -> Response<AnswerBody> {
    let record = &live.record;
    let principal = &record.principal;
    let chooses = gateway.config().identity.client_value == ClientValue::Choose;
    let tenants = chooses.then(|| record.tenants().filter_map(|(tenant, _)| tenant.name()).collect());
    let mut response = no_store(json(
        StatusCode::OK,
        &SessionDocument {
            authenticated: true,
            user: principal.user.as_str(),
            tenant: principal.tenant.name(),
            tenants,
            role: principal.role.as_ref().map(crate::session::Role::as_str),
            created_at: record.created.rfc3339(),
            expires_at: record.deadline.rfc3339(),
            idle_expires_at: live.idle_expiry().map(crate::session::StoreTime::rfc3339),
        },
    ));
    gateway.expose_lifetime(response.headers_mut(), live);
    response
}

fn no_session(reauth_required: Option<bool>) -> Response<AnswerBody> {
    no_store(json(StatusCode::UNAUTHORIZED, &NoSession { authenticated: false, reauth_required }))
}

fn no_store(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Logout: the session ends first, then the backend is told, and whatever it answers the cookies go.
pub(super) async fn logout(
    gateway: &Gateway,
    exchange: &mut Exchange,
    route: &Route,
    lookup: &Lookup,
    token: Option<HeaderValue>,
    mut cleared: Box<Cleared>,
) -> Result<Response<AnswerBody>, Failure> {
    let permit = match lookup {
        Lookup::Unavailable(id, unavailable) if unavailable.unreadable => {
            // Whatever it is, it must not keep its browser from leaving.
            let ended = gateway.sessions().end_by_id(&exchange.origin(By::User), *id, EndReason::Logout).await;
            ended.map_err(Failure::Store)?;
            permit_logout(route, SessionFacts::Unknown)
        }
        Lookup::Unavailable(_, unavailable) => return Err(Failure::Store(unavailable.clone())),
        Lookup::Live(live) => {
            let origin = exchange.origin(By::User);
            let ended = gateway.end_use(&origin, live, EndReason::Logout).await;
            ended.map_err(Failure::Store)?;
            // The backend is told who logs out: it was true when the request came.
            permit_logout(route, lookup.facts())
        }
        Lookup::Held(held) => {
            let (sessions, origin) = (gateway.sessions(), exchange.origin(By::User));
            sessions.end(&origin, held.id, &held.record, EndReason::Logout).await.map_err(Failure::Store)?;
            // Whoever has its cookie is not known to be its user: the backend hears of a log-out, and of nobody's.
            permit_logout(route, lookup.facts())
        }
        Lookup::Ended(ended) => {
            // It may go on by a token that its browser never got.
            if let Some(next) = ended.next {
                let ended = gateway.sessions().end_by_id(&exchange.origin(By::User), next, EndReason::Logout).await;
                ended.map_err(Failure::Store)?;
            }
            permit_logout(route, lookup.facts())
        }
        Lookup::BadToken(token) => return Err(Failure::Denied(token.bad.denial())),
        Lookup::NoCredential | Lookup::Unknown(_) => permit_logout(route, lookup.facts()),
    };
    let permit = gateway.as_vouched(permit, route, &cleared.headers);
    let token = token.filter(|_| route.authorization == Authorization::Pass);
    let permit = if let Some(token) = token { permit.with_token(token) } else { permit };
    let live = if let Lookup::Live(live) = lookup { Some(live) } else { None };
    let is_token = live.is_some_and(|live| live.token.is_some());
    if let Err(failure) = cleared.content.buffer(gateway, OWN_REQUEST_MAX).await {
        // The session is over whatever came with the request.
        let mut response = gateway.refuse(exchange, &failure);
        logged_out_of(gateway, live, response.headers_mut());
        return Ok(response);
    }
    ask_for_all(&mut cleared.headers);
    gateway.open_cookies(exchange, &mut cleared).await;
    exchange.bound = match exchange.bound {
        // Whoever had no session has none now, either.
        Bound::To(Binding::NoSession) => Bound::To(Binding::NoSession),
        _ => Bound::Over,
    };
    let mut response = match forward(gateway, exchange, &permit, cleared).await {
        Ok(answer) => answer.map(AnswerBody::streamed),
        Err(Failure::Upstream(
            error @ (UpstreamError::Unreachable { .. }
            | UpstreamError::Timeout { .. }
            | UpstreamError::Broken { .. }
            | UpstreamError::Malformed { .. }),
        )) => {
            let request_id = exchange.id.as_str();
            tracing::warn!(request_id, %error, "the backend did not answer a logout; the session ended all the same");
            gateway.metrics().upstream_error(error.kind());
            if is_token {
                json(StatusCode::OK, &TokenRevoked { success: true, token_revoked: true })
            } else {
                respond::nothing()
            }
        }
        Err(Failure::BadAnswer(_)) => respond::nothing(),
        Err(failure) => return Err(failure),
    };
    logged_out_of(gateway, live, response.headers_mut());
    Ok(response)
}

/// Logout everywhere: all sessions of the user, answered by the gateway.
pub(super) async fn logout_all(
    gateway: &Gateway,
    exchange: &mut Exchange,
    lookup: &Lookup,
) -> Result<Response<AnswerBody>, Failure> {
    let live = match (lookup, lookup.facts()) {
        (Lookup::Live(live), _) => live,
        (Lookup::Unavailable(_, unavailable), _) => return Err(Failure::Store(unavailable.clone())),
        (Lookup::BadToken(token), _) => return Err(Failure::Denied(token.bad.denial())),
        (_, SessionFacts::Ended(reason)) => return Err(Failure::Denied(Denial::SessionEnded(reason))),
        (_, SessionFacts::Held) => return Err(Failure::Denied(Denial::ReauthRequired)),
        _ => return Err(Failure::Denied(Denial::SessionRequired)),
    };
    let (sessions, origin) = (gateway.sessions(), exchange.origin(By::User));
    let (mut ended, mut replicated, mut failed) = (0, true, None);
    // Of one who has several tenants each session is in one of them, or may choose it.
    for (tenant, _) in live.record.tenants() {
        let scope = Scope::User { tenant: tenant.clone(), user: live.record.principal.user.clone() };
        match sessions.end_all_of(&origin, scope, EndReason::LogoutAll).await {
            Ok(all) => {
                ended += all.ended;
                replicated &= all.replicated;
            }
            Err(unavailable) => failed = Some(unavailable),
        }
    }
    if let Some(unavailable) = failed {
        return Err(Failure::Store(unavailable));
    }
    // The one that asks may go on as another's already, by a token that its browser does not have yet.
    let own = gateway.end_use(&origin, live, EndReason::LogoutAll).await.map_err(Failure::Store)?;
    let is_token = live.token.is_some();
    let document = LoggedOutEverywhere {
        success: true,
        // A token is no session: it is said apart.
        invalidated_sessions: ended + u64::from(own && !is_token),
        token_revoked: is_token.then_some(true),
        replicated: (!replicated).then_some(false),
    };
    let mut response = json(StatusCode::OK, &document);
    logged_out(gateway, live, response.headers_mut());
    Ok(response)
}

/// The same for an answer with which the backend itself has logged the browser out: what it set there stays.
pub(super) fn take_session(gateway: &Gateway, headers: &mut HeaderMap) {
    headers.append(SET_COOKIE, expire_set_cookie(&gateway.config().cookie));
    gateway.expire_left_backend_cookies(headers);
    clear_site_data(gateway, headers);
    never_again(headers);
}

fn clear_site_data(gateway: &Gateway, headers: &mut HeaderMap) {
    if let Some(kinds) = &gateway.config().session.clear_site_data {
        headers.insert(CLEAR_SITE_DATA, kinds.clone());
    }
}

/// The headers of every answer that says that this session is over: the cookies go, and what else the browser is to forget.
/// Whoever sends a token has neither.
pub(super) fn logged_out(gateway: &Gateway, live: &LiveUse, headers: &mut HeaderMap) {
    logged_out_of(gateway, Some(live), headers);
}

/// The same, also of one that was over before.
fn logged_out_of(gateway: &Gateway, live: Option<&LiveUse>, headers: &mut HeaderMap) {
    if live.is_none_or(|live| live.token.is_none()) {
        gateway.expire_cookies(headers);
        clear_site_data(gateway, headers);
    }
    keep_nowhere(headers);
}
