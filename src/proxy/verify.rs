//! Asking the backend at login whether the user may use the tenant (`[tenants]` `verify`).
//!
//! What is neither a yes nor a no is asked again, and in the end refused: a tenant that could not be verified is not
//! believed.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::exchange::Exchange;
use super::failure::Failure;
use super::questions::{Questions, Reply};
use super::services::Gateway;
use crate::config::TenantsConfig;
use crate::http::Target;
use crate::login::Membership;
use crate::session::Principal;

/// Verifies the tenant of a login, where that is configured.
pub(super) async fn verify_tenant(
    gateway: &Gateway,
    exchange: &mut Exchange,
    backend: &Questions,
    principal: &Principal,
) -> Result<(), Failure> {
    let (Some(settings), Some(tenant)) = (&gateway.config().tenants, principal.tenant.name()) else { return Ok(()) };
    let target = Target::parse(&filled(settings, principal.user.as_str(), tenant))
        .map_err(|_| Failure::TenantUnverified(String::from("the path cannot hold this user or tenant")))?;
    let mut last = String::new();
    for attempt in 1..=settings.attempts {
        if attempt > 1 {
            tokio::time::sleep(settings.backoff * (attempt - 1)).await;
        }
        last = match backend.ask(gateway, exchange, backend.browser.question(&target)).await {
            Ok(Reply { status, body, .. }) => {
                let spelling = &gateway.config().identity.rules;
                match settings.answer.read(status, &body, &principal.tenant, spelling) {
                    Membership::Yes => return Ok(()),
                    Membership::No => return Err(Failure::TenantRefused),
                    Membership::Unclear(why) => why,
                }
            }
            Err(Failure::Upstream(error)) => error.to_string(),
            Err(Failure::BadIdentity(why)) => why.to_owned(),
            Err(failure) => return Err(failure),
        };
    }
    Err(Failure::TenantUnverified(last))
}

/// The path with the user and tenant filled in.
fn filled(settings: &TenantsConfig, user: &str, tenant: &str) -> String {
    let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    settings.verify.replace("{user_id}", &encoded(user)).replace("{tenant}", &encoded(tenant))
}
