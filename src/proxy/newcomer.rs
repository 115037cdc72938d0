//! A session for whom the backend vouches, in the place of the one that the request came with.

use std::sync::Arc;

use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, SET_COOKIE};

use super::exchange::Exchange;
use super::failure::Failure;
use super::services::Gateway;
use crate::http::keep_nowhere;
use crate::session::{By, Credential, EndReason, Principal, SessionId, StoreTime, TenantId, UserAgent};
use crate::sessions::{Deposit, Issued, Newcomer};
use crate::store::{Going, StoreResult};
use crate::told::{NoLogin, Source, Told};

/// What vouches for the bytes of a body, and no longer holds once they are others.
pub(super) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whom the backend vouches for.
pub(super) struct Vouched {
    pub(super) principal: Principal,
    /// The tenants that they may choose from.
    pub(super) tenants: Vec<TenantId>,
    /// How the backend came to say so.
    pub(super) source: Source,
    pub(super) remembered: bool,
    /// The store's time before the backend was asked: a revocation from then on wins.
    pub(super) began: StoreTime,
    /// The token that the app handed out for it.
    pub(super) deposit: Option<Deposit>,
}

/// Makes a session for a principal that the backend has just vouched for.
pub(super) async fn make_session(
    gateway: &Gateway,
    exchange: &mut Exchange,
    vouched: Vouched,
    credential: Credential,
) -> Result<Issued, Failure> {
    let Vouched { principal, tenants, source, remembered, began, deposit } = vouched;
    let newcomer = Newcomer {
        principal: principal.clone(),
        tenants,
        remembered,
        address: Some(exchange.client.get()),
        user_agent: UserAgent::of(exchange.user_agent.as_ref().map(HeaderValue::as_bytes)),
        began,
        deposit,
    };
    // It ends as soon as this one is made.
    let replaces = match credential {
        Credential::Session(old) => Some(old),
        Credential::None | Credential::Unusable | Credential::Bearer => None,
    };
    exchange.principal = Some(Arc::new(principal));
    let origin = exchange.origin(By::User);
    let terms = gateway.terms_of(&newcomer.principal);
    let issued = gateway.sessions().issue(&origin, source, terms, newcomer, replaces).await?;
    exchange.session = Some(issued.id);
    Ok(issued)
}

/// Ends the session that the request carried. Where that fails the new one must not go out: two would live. Answers the first
/// token of a session that was held, and that its own user has logged in again for.
pub(super) async fn end_replaced(
    gateway: &Gateway,
    exchange: &mut Exchange,
    credential: Credential,
    new: &Issued,
) -> Result<Option<SessionId>, Failure> {
    match end_presented(gateway, exchange, credential, EndReason::Replaced).await {
        Ok(was) => Ok(was.and_then(|was| tell_of_release(gateway, exchange, *was, new))),
        Err(unavailable) => {
            gateway.sessions().take_back(&exchange.origin(By::Gateway), new).await;
            Err(Failure::Store(unavailable))
        }
    }
}

/// What was held is held no longer where its own user has logged in again; after another's login it is over, and no more.
fn tell_of_release(gateway: &Gateway, exchange: &Exchange, was: Going, new: &Issued) -> Option<SessionId> {
    let Going { id, live, hold } = was;
    let (principal, heir) = (&live.record.principal, &new.record.principal);
    if hold.is_none() || (&principal.tenant, &principal.user) != (&heir.tenant, &heir.user) {
        return None;
    }
    let (principal, by) = (principal.clone(), Some(new.id));
    gateway.tell(exchange, &Told::SessionReleased { id, principal, held: hold, by });
    Some(live.record.decided_by(id))
}

/// Ends the session that the request carried, if it did: a rule of the gateway's, not its user's wish. Answers what it was.
pub(super) async fn end_presented(
    gateway: &Gateway,
    exchange: &mut Exchange,
    credential: Credential,
    reason: EndReason,
) -> StoreResult<Option<Box<Going>>> {
    let Credential::Session(id) = credential else { return Ok(None) };
    gateway.sessions().end_by_id(&exchange.origin(By::Gateway), id, reason).await.map(|ending| ending.was)
}

/// Tells of a login that made no session.
pub(super) fn tell_of_none(gateway: &Gateway, exchange: &Exchange, why: NoLogin) {
    gateway.tell(exchange, &Told::NoLogin { why, principal: exchange.principal.clone() });
}

/// Has an answer give its browser the session.
pub(super) fn give(headers: &mut HeaderMap, issued: Issued) {
    headers.append(SET_COOKIE, issued.set_cookie);
    never_again(headers);
}

/// Nobody may ever be told that an answer which gave or took a session is still good.
pub(super) fn never_again(headers: &mut HeaderMap) {
    keep_nowhere(headers);
    headers.remove(ETAG);
    headers.remove(LAST_MODIFIED);
}
