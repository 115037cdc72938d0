//! The endpoints for the app's own front end (docs/monitoring.md, "For the app's own pages"): a user's sessions and what was
//! found in them, and for those with a role of `monitor.admin_roles` those of their tenant.
//!
//! None of it is a use of the session. Whatever is another tenant's is not there: 404, whoever asks.

mod activity;
mod asker;
mod findings;
mod list;
mod report;
mod said;
mod script;
mod terminate;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, Response};

use super::body::AnswerBody;
use super::exchange::{Decided, Exchange};
use super::failure::Failure;
use super::forward::Cleared;
use super::lookup::{LiveUse, Lookup};
use super::services::Gateway;
use crate::config::Front;
use crate::http::Claims;
use crate::policy::{Denial, IdentityMode, SessionFacts, TenantClaim};
use crate::session::TenantStatus;
use crate::sessions::Cuts;
use asker::Asker;

/// Answers one of them.
pub(super) async fn answer(
    gateway: &Gateway,
    exchange: &mut Exchange,
    front: Front,
    lookup: &mut Lookup,
    claims: &Claims,
    mut cleared: Box<Cleared>,
) -> Result<Response<AnswerBody>, Failure> {
    if !takes(front, &cleared.method) {
        return Err(Failure::MethodNotAllowed(front.methods()));
    }
    if front == Front::Script {
        return Ok(script::script());
    }
    // A session of several tenants is in one of them, which must be open to it.
    gateway.choose_tenant(exchange, lookup, claims);
    let live = live(lookup)?;
    match gateway.ask_of_tenant(live).await? {
        TenantClaim::Refused(TenantStatus::Active) => return Err(Failure::Denied(Denial::TenantLost)),
        TenantClaim::Refused(_) => return Err(Failure::Denied(Denial::TenantSuspended)),
        _ => {}
    }
    gateway.keep_to_onboarding(lookup, IdentityMode::Enforce, false)?;
    let live = live_of(lookup)?;
    let principal = live.principal().clone();
    let roles = gateway.config().front.as_ref().map_or(&[][..], |front| &front.admin_roles);
    let is_admin = principal.role.as_ref().is_some_and(|role| roles.contains(role));
    let asker = Asker { live, principal, is_admin };
    if let Some(weight) = weight(front) {
        gateway.watch().may_ask(live.id, weight).map_err(|seconds| Failure::TooManyCalls { seconds })?;
    }
    // A body may be long in coming: then the session is looked at again.
    let (asked, token, tenant) = (live.accepted_as_of(), live.token.clone(), live.in_tenant().cloned());
    exchange.decided = Some(Decided { id: live.id, asked, cuts: Cuts::Always, token, tenant });
    let mut response = match front {
        Front::Activity => activity::one(gateway, exchange, &asker, &mut cleared).await?,
        Front::ActivityBatch => activity::batch(gateway, exchange, &asker, &mut cleared).await?,
        Front::List => list::list(gateway, &asker, &cleared).await?,
        Front::Anomalies => findings::list(gateway, &asker, &cleared).await?,
        Front::Feedback => findings::feedback(gateway, exchange, &asker, &mut cleared).await?,
        Front::Terminate => terminate::terminate(gateway, exchange, &asker, &mut cleared).await?,
        Front::SecurityReport => report::report(gateway, &asker, &cleared).await?,
        Front::Script => script::script(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn takes(front: Front, method: &Method) -> bool {
    front.methods().split(", ").any(|taken| method == taken)
}

/// What a call of it counts for, of those that a session may make in a minute. `None`: it is counted as what it reports.
const fn weight(front: Front) -> Option<u32> {
    match front {
        Front::Activity | Front::ActivityBatch | Front::Script => None,
        Front::List | Front::Anomalies | Front::SecurityReport | Front::Terminate => Some(2),
        // It makes a line in the audit log.
        Front::Feedback => Some(10),
    }
}

/// The session, if there is one that may be used.
fn live_of(lookup: &Lookup) -> Result<&LiveUse, Failure> {
    match lookup {
        Lookup::Live(live) => Ok(live),
        other => Err(not_live(other)),
    }
}

fn live(lookup: &mut Lookup) -> Result<&mut LiveUse, Failure> {
    match lookup {
        Lookup::Live(live) => Ok(live),
        other => Err(not_live(other)),
    }
}

fn not_live(lookup: &Lookup) -> Failure {
    match (lookup, lookup.facts()) {
        (Lookup::Unavailable(_, unavailable), _) => Failure::Store(unavailable.clone()),
        (Lookup::BadToken(token), _) => Failure::Denied(token.bad.denial()),
        (_, SessionFacts::Ended(reason)) => Failure::Denied(Denial::SessionEnded(reason)),
        (_, SessionFacts::Held) => Failure::Denied(Denial::ReauthRequired),
        _ => Failure::Denied(Denial::SessionRequired),
    }
}
