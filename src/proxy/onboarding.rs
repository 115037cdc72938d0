//! Sessions of users who paid and have no tenant yet: good for the routes that lead to one (`tenants.onboarding`) and for
//! nothing else, until the backend says which it is.

use std::sync::Arc;

use http::Response;
use http::header::SET_COOKIE;

use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::Failure;
use super::follow::{Follower, Settled, Was, settle};
use super::forward::{Cleared, forward_unsealed};
use super::held::{cuts_of, for_as_long_as};
use super::lookup::{LiveUse, Lookup};
use super::newcomer::never_again;
use super::outgoing::ask_for_all;
use super::questions::Questions;
use super::sealing::Came;
use super::services::Gateway;
use super::verify::ask;
use crate::login::Membership;
use crate::policy::{Denial, IdentityMode, Permit, Route};
use crate::session::{By, Principal, StoreTime, UserAgent};
use crate::sessions::{Holder, Issued, Newcomer};

/// A request on such a route, with such a session.
pub(super) struct Call<'a> {
    pub(super) route: &'a Route,
    pub(super) permit: &'a Permit,
    pub(super) live: &'a LiveUse,
    pub(super) mode: IdentityMode,
}

impl Gateway {
    /// Whether a session is of a user who has no tenant yet, and is to get one.
    pub(super) fn is_onboarding(&self, principal: &Principal) -> bool {
        let config = self.config();
        principal.tenant.name().is_none()
            && config.tenants.as_ref().is_some_and(|tenants| tenants.onboarding.is_some())
            && !config.login.lets_in_without_tenant(principal.user.kind())
    }

    /// Refuses what is not for such a session. `onboards`: the request is for one.
    pub(super) fn keep_to_onboarding(
        &self,
        lookup: &Lookup,
        mode: IdentityMode,
        onboards: bool,
    ) -> Result<(), Failure> {
        match lookup {
            Lookup::Live(live)
                if !onboards && mode != IdentityMode::Observe && self.is_onboarding(&live.record.principal) =>
            {
                Err(Failure::Denied(Denial::OnboardingRequired))
            }
            _ => Ok(()),
        }
    }
}

/// Has the backend do it, and after a success asks again of which tenant the user is. With one the session goes on in it,
/// under a new token; without, the answer is what it was.
pub(super) async fn run(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    call: &Call<'_>,
    mut cleared: Box<Cleared>,
) -> Result<Response<AnswerBody>, Failure> {
    let (live, cuts) = (call.live, cuts_of(call.mode));
    // Before the backend is asked: a revocation from here on wins.
    let began = gateway.store().begin().await.map_err(Failure::Store)?;
    let mut backend = Questions::like(gateway, call.route, &cleared);
    let follower = Follower::of(gateway, call.route, &cleared, live.credential(), Some(Was::Live)).await;
    let open = gateway.open_for(live, cuts);
    cleared.content.cut_by(&open, true);
    ask_for_all(&mut cleared.headers);
    let user = &live.record.principal.user;
    let mut answer = match forward_unsealed(gateway, exchange, call.permit, cleared).await {
        Ok(answer) => answer,
        Err(failure) => {
            if let Failure::Upstream(error) = &failure {
                gateway.note_failure(user, &error.to_string()).await;
            }
            return for_as_long_as(Some(open), Err(failure));
        }
    };
    if answer.status().is_server_error() {
        gateway.note_failure(user, &format!("the backend answered {} on an onboarding route", answer.status())).await;
    }
    backend.receive_cookies(gateway, answer.headers());
    // Where the app let somebody in by it, that is settled first, and this another time.
    let follows = follower.as_ref().is_some_and(|follower| follower.may_tell(gateway, answer.headers()));
    if answer.status().is_success() && !follows {
        gateway.check_cookies(exchange, answer.headers())?;
        if let Some(issued) = bind(gateway, exchange, live, began, &backend).await? {
            let holder = Holder::session(issued.id, issued.record.clone());
            gateway.seal_cookies_anew(exchange, answer.headers_mut(), &issued, Came::OfTheSameUser)?;
            answer.headers_mut().append(SET_COOKIE, issued.set_cookie);
            never_again(answer.headers_mut());
            let open = gateway.streams().register(holder, cuts, live.over_at());
            return for_as_long_as(Some(open), Ok(answer));
        }
    }
    let settled = settle(gateway, exchange, follower, answer.headers_mut()).await?;
    if settled == Settled::AsItWas {
        gateway.expose_lifetime(answer.headers_mut(), live);
    }
    for_as_long_as(gateway.still_open(Some(open), &settled, cuts, &answer), Ok(answer))
}

/// Goes on in the tenant that the backend names, for no longer than the session had. `None`: it names none yet, or cannot
/// say; the next success asks again.
async fn bind(
    gateway: &Gateway,
    exchange: &mut Exchange,
    live: &LiveUse,
    began: StoreTime,
    backend: &Questions,
) -> Result<Option<Issued>, Failure> {
    let principal = &*live.record.principal;
    // Once: an answer that has to be waited for is asked for by the next request as well.
    let answered = match ask(gateway, exchange, backend, principal, 1).await {
        Ok(answered) => answered,
        Err(failure) => {
            failure.log(exchange.id.as_str());
            return Ok(None);
        }
    };
    gateway.note_answer(&principal.user, &answered).await;
    let Membership::Yes(tenant) = answered.said else { return Ok(None) };
    let newcomer = Newcomer {
        principal: Principal { tenant, ..principal.clone() },
        tenants: Vec::new(),
        remembered: live.record.remembered,
        address: Some(exchange.client.get()),
        user_agent: UserAgent::of(exchange.user_agent.as_ref().map(http::HeaderValue::as_bytes)),
        began,
        // No login that keeps tokens leads here (config/tenants.rs).
        deposit: None,
    };
    let origin = exchange.origin(By::User);
    let issued = gateway.sessions().rotate(&origin, gateway.terms(), newcomer, live.id, &live.record).await?;
    (exchange.session, exchange.principal) = (Some(issued.id), Some(Arc::clone(&issued.record.principal)));
    Ok(Some(issued))
}
