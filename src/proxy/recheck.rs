//! Asking again (`tenants.recheck`): whether users whose sessions are in use still have their tenant.
//!
//! Beside the requests, which wait for none of it, and seldom: of each user or tenant once in an interval, by one gateway of
//! all, a few at a time, and none of them because others are asked about as well. A clear no ends sessions; whatever else the
//! backend says, or does not say, ends none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::exchange::Exchange;
use super::forward::Cleared;
use super::lookup::LiveUse;
use super::questions::Questions;
use super::services::Gateway;
use super::verify::{Answered, ask};
use crate::config::{LoginPath, TenantsConfig};
use crate::login::Membership;
use crate::policy::Route;
use crate::session::{By, EndReason, Principal, Scope};
use crate::store::membership::Subject;

/// How long an answer may take: nobody waits for it but the next question.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question that is due.
struct Recheck {
    exchange: Exchange,
    backend: Questions,
    principal: Principal,
    subject: Subject,
    every: Duration,
}

impl Gateway {
    /// Has the backend asked again about whose session this is, if that is due. Never waits.
    ///
    /// A session without a tenant is none of those: of who gets one, the next success of the onboarding asks.
    pub(super) fn recheck(self: &Arc<Self>, exchange: &Exchange, live: &LiveUse, cleared: &Cleared) {
        let Some((settings, every)) = self.config().tenants.as_ref().and_then(|it| Some((it, it.recheck?))) else {
            return;
        };
        let Some((principal, subject)) = subject(settings, live) else { return };
        let Some(place) = self.rechecks().is_due(&subject.kept(), self.clock().monotonic(), every) else { return };
        let Some(route) = self.route_of_login(principal) else { return };
        let backend = Questions::like(self, route, cleared);
        let backend = match subject {
            Subject::User(..) => backend,
            // Whoever brings cookies of somebody else's could have the backend say no, and end the sessions of all.
            Subject::Tenant(_) => backend.in_nobodys_name(self),
        };
        let exchange = Exchange { decided: None, ..exchange.clone() };
        let recheck = Recheck { exchange, backend, principal: principal.clone(), subject, every };
        let gateway = self.clone();
        tokio::spawn(async move {
            let _place = place;
            gateway.ask_again(recheck).await;
        });
    }

    /// The route of a login of this user's kind: whom it leads to says who has which tenant.
    fn route_of_login(&self, principal: &Principal) -> Option<&Route> {
        let config = self.config();
        let LoginPath { methods, pattern } = config.login.of(&principal.user)?.paths.first()?;
        let segments: Vec<&str> = pattern.as_str().split('/').skip(1).collect();
        let method = if methods.contains(&http::Method::POST) { http::Method::POST } else { http::Method::GET };
        Some(config.routes.pick(&method, &segments, false))
    }

    async fn ask_again(self: Arc<Self>, mut recheck: Recheck) {
        match self.memberships().claim(&recheck.subject, recheck.every).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!(%error, "nobody is asked about while the store cannot say by whom"),
        }
        let Some(settings) = &self.config().tenants else { return };
        let noes = match recheck.subject {
            Subject::User(..) => 1,
            Subject::Tenant(_) => settings.attempts,
        };
        for no in 0..noes {
            if no > 0 {
                sleep(settings.backoff * no).await;
            }
            if !self.says_no(&mut recheck).await {
                return;
            }
        }
        // It runs to its end, also when the process is told to.
        let gateway = self.clone();
        self.tasks().spawn(async move { gateway.end_of(recheck).await });
    }

    /// Whether the backend says in so many words that there is no such tenant, or not for this user.
    async fn says_no(&self, Recheck { exchange, backend, principal, .. }: &mut Recheck) -> bool {
        let Some(_place) = self.rechecks().question().await else { return false };
        match timeout(PATIENCE, ask(self, exchange, backend, principal, 1)).await {
            Ok(answered) => matches!(answered, Ok(Answered { said: Membership::No { .. }, .. })),
            Err(_) => {
                self.metrics().tenant_verified("unclear", 1);
                false
            }
        }
    }

    async fn end_of(&self, Recheck { exchange, subject, .. }: Recheck) {
        let (scope, reason) = match subject {
            Subject::User(tenant, user) => (Scope::User { tenant, user }, EndReason::UserRevoked),
            Subject::Tenant(tenant) => (Scope::Tenant { tenant }, EndReason::OrgDeleted),
        };
        let (request_id, reason_word) = (exchange.id.as_str(), reason.as_str());
        tracing::info!(request_id, reason = reason_word, "the backend says that a tenant is gone: sessions end");
        if let Err(error) = self.sessions().end_all_of(&exchange.origin(By::Gateway), scope, reason).await {
            tracing::warn!(request_id, %error, "sessions of a tenant that is gone could not be ended; it is asked again");
        }
    }
}

/// About whom the backend is asked, and in whose sessions. `None` for who has no tenant.
fn subject<'a>(settings: &TenantsConfig, live: &'a LiveUse) -> Option<(&'a Principal, Subject)> {
    if settings.asks_about_users() {
        // As at the login: what the user chose among their tenants is none of its answer.
        let own = &*live.record.principal;
        own.tenant.name()?;
        return Some((own, Subject::User(own.tenant.clone(), own.user.clone())));
    }
    let chosen = &**live.principal();
    chosen.tenant.name()?;
    Some((chosen, Subject::Tenant(chosen.tenant.clone())))
}
