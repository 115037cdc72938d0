//! From an issuer's token in `Authorization` to whom it stands for: verified first, then asked about.

use std::sync::Arc;
use std::time::Duration;

use super::lookup::{BadTokenUse, LiveUse, Lookup, ask};
use crate::bearer::{BadBearer, Bearer, VerifiedToken};
use crate::clock::Clock;
use crate::http::bearer_token;
use crate::jwt::TokenFault;
use crate::policy::BadToken;
use crate::session::{EndReason, TokenStanding};
use crate::store::{KnownToken, STALE_AT_MOST, SessionStore};

/// Looks up the token of a request.
pub(super) async fn look_up_token(
    bearer: &Bearer,
    store: &dyn SessionStore,
    clock: &dyn Clock,
    headers: &http::HeaderMap,
) -> Lookup {
    match bearer.verify(bearer_token(headers).unwrap_or_default()).await {
        Ok(token) => look_at_token(store, clock, token, STALE_AT_MOST).await,
        Err(bad) => {
            let (bad, why) = match bad {
                BadBearer::KeysUnavailable => (BadToken::Unknown, "keys_unavailable"),
                BadBearer::Token(TokenFault::Expired) => (BadToken::Expired, TokenFault::Expired.as_str()),
                BadBearer::Token(fault) => (BadToken::Invalid, fault.as_str()),
            };
            Lookup::BadToken(BadTokenUse { token: None, bad, why, ended: None })
        }
    }
}

/// Looks up a token that was verified. What is answered was so no longer than `within` ago.
pub(super) async fn look_at_token(
    store: &dyn SessionStore,
    clock: &dyn Clock,
    token: VerifiedToken,
    within: Duration,
) -> Lookup {
    if let Some(KnownToken { standing, asked }) = store.known_token(token.id, &token.record, within) {
        return found(token, standing, asked);
    }
    match ask(clock, |asked| store.proven(asked), || store.read_token(token.id, &token.record)).await {
        Err(unavailable) => Lookup::Unavailable(token.id, unavailable),
        Ok((standing, asked)) => found(token, standing, asked),
    }
}

fn found(token: VerifiedToken, standing: TokenStanding, asked: crate::clock::Monotonic) -> Lookup {
    let (bad, why, ended) = match standing {
        TokenStanding::Live(live) => return Lookup::Live(LiveUse::by_token(token, live, asked)),
        TokenStanding::Revoked(reason) => (BadToken::Revoked, reason.as_str(), reason),
        TokenStanding::TenantRefused(status) => {
            (BadToken::OfSuspendedTenant, status.as_str(), EndReason::TenantRevoked)
        }
    };
    let token = Some((token.id, Arc::clone(&token.record.principal)));
    Lookup::BadToken(BadTokenUse { token, bad, why, ended: Some(ended) })
}
