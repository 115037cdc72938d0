//! Asking the backend at login whether the user may use the tenant (`[tenants]` `verify`).
//!
//! A success (2xx) is a yes, and where its JSON names a tenant, it must be the login's. A client error is a no. Anything
//! else is asked again, and in the end refused: a tenant that could not be verified is not believed.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::exchange::Exchange;
use super::questions::Questions;
use super::respond::Failure;
use super::services::Gateway;
use crate::config::TenantsConfig;
use crate::http::Target;
use crate::login::{Capture, IdentityPointers, LoginIdentity};
use crate::session::Principal;

/// Verifies the tenant of a login, where that is configured.
pub(super) async fn verify_tenant(
    gateway: &Gateway,
    exchange: &mut Exchange,
    backend: &Questions,
    principal: &Principal,
) -> Result<(), Failure> {
    let Some(settings) = &gateway.config().tenants else { return Ok(()) };
    let target = Target::parse(&filled(settings, principal))
        .map_err(|_| Failure::TenantUnverified(String::from("the path cannot hold this user or tenant")))?;
    let mut last = String::new();
    for attempt in 1..=settings.attempts {
        if attempt > 1 {
            tokio::time::sleep(settings.backoff * (attempt - 1)).await;
        }
        match backend.ask(gateway, exchange, backend.browser.question(&target)).await {
            Ok((status, body)) if status.is_success() => return confirm(gateway, principal, &body),
            Ok((status, _)) if status.is_client_error() => return Err(Failure::TenantRefused),
            Ok((status, _)) => {
                last.clear();
                // Writing to a String cannot fail.
                let _ = write!(last, "the backend answered {status}");
            }
            Err(Failure::Upstream(error)) => last = error.to_string(),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::TenantUnverified(last))
}

/// The path with the user and tenant filled in.
fn filled(settings: &TenantsConfig, principal: &Principal) -> String {
    let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    settings
        .verify
        .replace("{user_id}", &encoded(principal.user.as_str()))
        .replace("{tenant}", &encoded(principal.tenant.as_str()))
}

/// An answer may name the tenant itself; another one than the login's is a no.
fn confirm(gateway: &Gateway, principal: &Principal, body: &[u8]) -> Result<(), Failure> {
    let config = gateway.config();
    let (Capture::Json(pointers) | Capture::Whoami { pointers, .. }) = &config.login.rules.capture else {
        return Ok(());
    };
    let Ok(answer) = serde_json::from_slice(body) else { return Ok(()) };
    let only_tenant =
        IdentityPointers { tenant: pointers.tenant.clone(), user: pointers.tenant.clone(), role: Vec::new() };
    match LoginIdentity::from_json(&answer, &only_tenant, &config.identity.rules) {
        LoginIdentity::None => Ok(()),
        LoginIdentity::Principal(named) if named.tenant == principal.tenant => Ok(()),
        LoginIdentity::Principal(_) | LoginIdentity::Bad(_) => Err(Failure::TenantRefused),
    }
}
