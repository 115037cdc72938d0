//! Asking the backend whether a user's tenant exists (`[tenants]` `verify`).
//!
//! What is neither a yes nor a no is asked again, and in the end refused: a tenant that could not be verified is not
//! believed.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::exchange::Exchange;
use super::failure::Failure;
use super::questions::{Questions, Reply};
use super::services::Gateway;
use crate::config::TenantsConfig;
use crate::http::Target;
use crate::login::Membership;
use crate::session::{By, Principal, TenantId};
use crate::told::Told;

/// For whom a session is made that the backend has vouched for: somebody of the tenant that `verify` says, or, having paid,
/// of none yet. Where nobody is asked, for the same.
pub(super) async fn verify_login(
    gateway: &Gateway,
    exchange: &mut Exchange,
    backend: &Questions,
    principal: Principal,
) -> Result<Principal, Failure> {
    let Some(settings) = asked_about(gateway, &principal) else { return Ok(principal) };
    let answered = ask(gateway, exchange, backend, &principal, settings.attempts).await?;
    let is_new = gateway.note_answer(&principal.user, &answered).await;
    match answered.said {
        Membership::Yes(tenant) => Ok(Principal { tenant, ..principal }),
        Membership::No { paid: true } => {
            let let_in = settings.onboarding.is_some();
            let principal = Principal { tenant: TenantId::none(), ..principal };
            gateway.tell(exchange, &Told::LoginOrphaned { principal: Arc::new(principal.clone()), let_in, is_new });
            if is_new == Some(true) {
                gateway.watch().orphaned(&principal.user, exchange.origin(By::Gateway));
            }
            if let_in { Ok(principal) } else { Err(Failure::TenantMissing) }
        }
        Membership::No { paid: false } => Err(Failure::TenantMissing),
        Membership::Unclear(why) => Err(Failure::TenantUnverified(why)),
    }
}

/// Verifies the tenant that a session is to go on in.
pub(super) async fn verify_tenant(
    gateway: &Gateway,
    exchange: &mut Exchange,
    backend: &Questions,
    principal: &Principal,
) -> Result<(), Failure> {
    let Some(settings) = asked_about(gateway, principal) else { return Ok(()) };
    match ask(gateway, exchange, backend, principal, settings.attempts).await?.said {
        Membership::Yes(tenant) if tenant == principal.tenant => Ok(()),
        Membership::Yes(_) | Membership::No { .. } => Err(Failure::TenantMissing),
        Membership::Unclear(why) => Err(Failure::TenantUnverified(why)),
    }
}

/// How the backend is asked about a user; `None`: it is not, because nothing is configured, or because users of this login
/// may be without a tenant.
fn asked_about<'a>(gateway: &'a Gateway, principal: &Principal) -> Option<&'a TenantsConfig> {
    let config = gateway.config();
    let settings = config.tenants.as_ref()?;
    let needs_none = principal.tenant.name().is_none() && config.login.lets_in_without_tenant(principal.user.kind());
    (!needs_none).then_some(settings)
}

/// What the backend said in the end.
pub(super) struct Answered {
    pub(super) said: Membership,
    /// How often it was asked.
    pub(super) asked: u32,
}

/// Asks until the answer is a yes or a no, at most so often.
pub(super) async fn ask(
    gateway: &Gateway,
    exchange: &mut Exchange,
    backend: &Questions,
    principal: &Principal,
    attempts: u32,
) -> Result<Answered, Failure> {
    let Some(settings) = &gateway.config().tenants else {
        return Ok(Answered { said: Membership::Yes(principal.tenant.clone()), asked: 0 });
    };
    let Principal { tenant, user, .. } = principal;
    let target = match (settings.asks_about_the_user(), tenant.name()) {
        (false, None) => None,
        (_, tenant) => Target::parse(&filled(settings, user.as_str(), tenant.unwrap_or_default())).ok(),
    };
    let Some(target) = target else {
        let why = String::from("the path cannot hold this user or tenant");
        return Ok(Answered { said: Membership::Unclear(why), asked: 0 });
    };
    let (mut said, mut asked) = (Membership::Unclear(String::new()), 0);
    while asked < attempts && matches!(said, Membership::Unclear(_)) {
        if asked > 0 {
            tokio::time::sleep(settings.backoff * asked).await;
        }
        asked += 1;
        said = match backend.ask(gateway, exchange, backend.browser.question(&target)).await {
            Ok(Reply { status, body, .. }) => {
                settings.answer.read(status, &body, tenant, &gateway.config().identity.rules)
            }
            Err(Failure::Upstream(error)) => Membership::Unclear(error.to_string()),
            Err(Failure::BadIdentity(why)) => Membership::Unclear(why.to_owned()),
            Err(failure) => return Err(failure),
        };
    }
    let outcome = match &said {
        Membership::Yes(_) => "yes",
        Membership::No { paid: true } => "paid",
        Membership::No { paid: false } => "no",
        Membership::Unclear(_) => "unclear",
    };
    gateway.metrics().tenant_verified(outcome, asked);
    Ok(Answered { said, asked })
}

/// The path with the user and tenant filled in.
fn filled(settings: &TenantsConfig, user: &str, tenant: &str) -> String {
    let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    settings.verify.replace("{user_id}", &encoded(user)).replace("{tenant}", &encoded(tenant))
}
