//! Ends a session of the user's own, or for an admin one of their tenant.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::body::AnswerBody;
use super::super::endpoints::logged_out;
use super::super::exchange::Exchange;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::respond::json;
use super::super::services::Gateway;
use super::asker::Asker;
use super::said::body;
use crate::session::{By, EndReason, Ended, Principal, SessionId, Standing};
use crate::store::gone_on;

/// The longest word that says why.
const LONGEST_REASON: usize = 64;
/// What the audit log calls it where it is not the session's own user.
const EVENT: &str = "sessions.terminate";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    session_id: String,
    #[serde(default)]
    reason: Option<String>,
    /// For the app's own use: the gateway writes to nobody because of it.
    #[serde(default, rename = "notify_user")]
    _notify_user: bool,
}

#[derive(Serialize)]
struct Terminated {
    success: bool,
    invalidated_sessions: u64,
}

pub(super) async fn terminate(
    gateway: &Gateway,
    exchange: &mut Exchange,
    asker: &Asker<'_>,
    cleared: &mut Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    let Body { session_id, reason, .. } = body(gateway, exchange, cleared).await?;
    let is_anomaly = match reason.as_deref() {
        None => false,
        Some(word) if is_word(word) => word == "SECURITY_ANOMALY",
        Some(_) => return Err(Failure::Misunderstood("The reason is one word, as SECURITY_ANOMALY.")),
    };
    let id = SessionId::parse(session_id.as_bytes()).ok_or(Failure::NotFound)?;
    let Some(going) = gone_on(gateway.store(), id).await.map_err(Failure::Store)? else {
        return over_already(gateway, asker, id).await;
    };
    let record = going.live.record;
    let whose = &record.principal;
    if !asker.may_see(whose) {
        return Err(Failure::NotFound);
    }
    let is_own = asker.is_self(whose);
    let reason = match (is_anomaly, is_own) {
        (true, _) => EndReason::SecurityAnomaly,
        (false, true) => EndReason::Logout,
        (false, false) => EndReason::Revoked,
    };
    let origin = exchange.origin(if is_own { By::User } else { By::Event(EVENT.into()) });
    let ended = gateway.sessions().end(&origin, going.id, &record, reason).await.map_err(Failure::Store)?;
    let mut response = answered(u64::from(ended));
    // That of an issuer's token is no session, and has another id.
    if record.decided_by(going.id) == asker.live.record.decided_by(asker.live.id) {
        logged_out(gateway, asker.live, response.headers_mut());
    }
    Ok(response)
}

/// A session that is over, or never was. Whose it was is not always known any more; then nothing happens, and nothing is said
/// but that.
async fn over_already(gateway: &Gateway, asker: &Asker<'_>, id: SessionId) -> Result<Response<AnswerBody>, Failure> {
    let standing = gateway.store().read(id).await.map_err(Failure::Store)?;
    let Standing::Ended(Ended { record, .. }) = standing else { return Err(Failure::NotFound) };
    let owner: Option<Arc<Principal>> = match record {
        Some(record) => Some(record.principal.clone()),
        None => gateway.watch().owner_of_ended(id).await.map_err(Failure::Store)?,
    };
    match owner {
        Some(owner) if !asker.may_see(&owner) => Err(Failure::NotFound),
        _ => Ok(answered(0)),
    }
}

fn answered(invalidated_sessions: u64) -> Response<AnswerBody> {
    json(StatusCode::OK, &Terminated { success: true, invalidated_sessions })
}

fn is_word(text: &str) -> bool {
    (1..=LONGEST_REASON).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}
