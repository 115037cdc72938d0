//! From a permit to header edits: exactly one of each identity header, or none.

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::permit::{Identity, Permit, VerifiedIdentity};
use super::route::Authorization;
use crate::http::{IdentityHeaders, SESSION_RISK};

/// An identity that cannot be written as a header. Identity values are checked when a session is made, so this is a
/// broken store; the request must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session's identity cannot be written as a header")]
pub struct Unwritable;

/// Writes what the permit says into headers from which everything that the client claimed was already removed; but for the
/// token that its session has, whose line takes the place of the client's where the request is written.
/// `anonymous` is the tenant header's value where there is no tenant, if one is configured: for requests without identity,
/// and for users without a tenant.
///
/// # Errors
/// When a value cannot be a header; nothing may be forwarded then.
pub fn rewrite(
    headers: &mut HeaderMap,
    permit: &Permit,
    names: &IdentityHeaders,
    anonymous: Option<&HeaderValue>,
) -> Result<(), Unwritable> {
    if permit.authorization() == Authorization::Drop {
        headers.remove(AUTHORIZATION);
    }
    match permit.identity() {
        Identity::Verified(verified) => inject(headers, verified, names, anonymous)?,
        Identity::Anonymous => {
            if let Some(value) = anonymous {
                headers.insert(names.tenant.clone(), value.clone());
            }
        }
        Identity::AsClaimed => {}
    }
    if let Some(risk) = permit.risk() {
        headers.insert(SESSION_RISK, HeaderValue::from_static(risk));
    }
    Ok(())
}

fn inject(
    headers: &mut HeaderMap,
    verified: &VerifiedIdentity,
    names: &IdentityHeaders,
    anonymous: Option<&HeaderValue>,
) -> Result<(), Unwritable> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Unwritable);
    let session = HeaderValue::from_bytes(verified.vouched_by().id().as_bytes()).map_err(|_| Unwritable)?;
    let principal = verified.principal();
    match (principal.tenant.name(), anonymous) {
        (Some(tenant), _) => _ = headers.insert(names.tenant.clone(), value(tenant)?),
        // An app in which absent means tenant 1 takes nobody for its user.
        (None, Some(anonymous)) => _ = headers.insert(names.tenant.clone(), anonymous.clone()),
        (None, None) => _ = headers.remove(&names.tenant),
    }
    headers.insert(names.user.clone(), value(principal.user.as_str())?);
    match &principal.role {
        Some(role) => _ = headers.insert(names.role.clone(), value(role.as_str())?),
        // It went out with all that the client claimed. To see that takes less than to remove nothing.
        None if headers.keys().any(|name| *name == names.role) => _ = headers.remove(&names.role),
        None => {}
    }
    headers.insert(names.session.clone(), session);
    Ok(())
}
