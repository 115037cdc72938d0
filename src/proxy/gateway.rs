//! The request path, from top to bottom: a request comes in, an answer goes out, and every step says why it stands
//! where it stands.
//!
//! Steps 1 to 7, for which nothing is waited, are in [`admission`](super::admission); what asks the store or the backend is
//! here.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};

use super::account::Account;
use super::admission::{Admission, Admitted, Arrival};
use super::body::AnswerBody;
use super::capture;
use super::claims::report_bearer;
use super::client_body::ClientBody;
use super::connection::ExchangeGuard;
use super::endpoint::Endpoint;
use super::endpoints;
use super::events;
use super::exchange::{Bound, Decided, Downstream, Exchange};
use super::failure::Failure;
use super::follow::{Follower, Settled, Was, settle};
use super::forward::forward_unsealed;
use super::front;
use super::held::{cuts_of, for_as_long_as};
use super::lookup::{Lookup, Recorded, look_up};
use super::onboarding;
use super::respond;
use super::sealing::bound_by;
use super::services::Gateway;
use super::token::look_up_token;
use super::tunnel::{self, TunnelSession};
use super::withheld::withhold;
use crate::config::{Config, Front};
use crate::http::{NotedHeaders, Refusal};
use crate::policy::{Auth, Authorization, Identity, IdentityMode, TenantClaim, decide, permit_preflight};
use crate::session::Credential;

/// A request that was looked at.
pub(super) struct Received {
    account: Box<Account>,
    admission: Result<Admission, Failure>,
}

impl Gateway {
    /// Takes the first look at a request, for which nothing is waited. `verdict` is what the framing says of its head, `guard`
    /// is held until the answer is over.
    pub(super) fn receive(
        self: &Arc<Self>,
        mut parts: Parts,
        body: ClientBody,
        downstream: &Downstream,
        verdict: Result<(), Refusal>,
        guard: ExchangeGuard,
    ) -> Received {
        let headers = NotedHeaders::from(std::mem::take(&mut parts.headers));
        let (may_switch, transport) = (guard.may_switch(), downstream.transport);
        let arrival = Arrival { parts, headers, body, verdict, may_switch, transport };
        // From here on it is accounted for, whatever becomes of it.
        let mut account = Account::open(self.clone(), self.begin(&arrival, downstream), guard);
        let admission = self.admit(&mut account.exchange, arrival);
        Received { account, admission }
    }

    /// Answers one request.
    pub(super) async fn handle(self: Arc<Self>, received: Received) -> Response<AnswerBody> {
        let Received { mut account, admission } = received;
        match admission {
            Err(failure) => {
                let response = self.refuse(&mut account.exchange, &failure);
                self.finish(account, response)
            }
            Ok(Admission::Elsewhere(location)) => self.finish(account, respond::elsewhere(location)),
            Ok(Admission::Health(answer)) => self.finish(account, respond::health(&answer)),
            Ok(Admission::Keys(keys)) => self.finish(account, respond::keys(keys)),
            Ok(Admission::LooksAhead) => self.finish(account, respond::nothing()),
            Ok(Admission::Preflight(methods, asked)) => {
                let Config { cors, server, .. } = self.config();
                let reader = account.exchange.reader.as_ref();
                let said = cors.preflight(&asked, reader, methods, &server.further_methods);
                self.finish(account, respond::permission(said))
            }
            Ok(Admission::Admitted(_)) if !account.guard().has_room() => self.turn_away(account),
            // What makes or ends sessions runs to its end, whoever still listens.
            Ok(Admission::Admitted(admitted)) if admitted.runs_to_its_end() => {
                let client = account.exchange.client.get();
                let Some((detached, _attended)) = account.guard().run_to_its_end(client) else {
                    return self.turn_away(account);
                };
                let answer = self.clone().answer(account, admitted);
                let task = self.tasks().spawn(async move {
                    let _place = detached;
                    answer.await
                });
                task.await.unwrap_or_else(|_| respond::after_panic())
            }
            Ok(Admission::Admitted(admitted)) => self.answer(account, admitted).await,
        }
    }

    /// Too much is under way already.
    fn turn_away(self: &Arc<Self>, mut account: Box<Account>) -> Response<AnswerBody> {
        let response = self.refuse(&mut account.exchange, &Failure::TooManyUnderWay);
        self.finish(account, response)
    }

    /// From an admitted request to the finished answer.
    async fn answer(self: Arc<Self>, mut account: Box<Account>, admitted: Box<Admitted>) -> Response<AnswerBody> {
        let is_audited = admitted.runs_to_its_end();
        let response = match self.dispatch(&mut account.exchange, admitted).await {
            Ok(response) => response,
            Err(failure) => self.refuse(&mut account.exchange, &failure),
        };
        if response.status() == StatusCode::FORBIDDEN {
            self.note_refusal(&account.exchange);
        }
        if is_audited {
            // Whoever is told of a session that was made or ended can rely on a line that says so.
            Box::pin(self.teller().written()).await;
        }
        self.finish(account, response)
    }

    /// What is rare in it is boxed: the memory of its future is that of every request under way.
    async fn dispatch(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        admitted: Box<Admitted>,
    ) -> Result<Response<AnswerBody>, Failure> {
        // Looked at where it stands: it is large.
        let Admitted { credential, endpoint, mode, touches, is_call, onboards, preflight, .. } = *admitted;
        let Admitted { mut cleared, cookie, claims, route, event, export, switch, device, .. } = *admitted;
        exchange.bound = Bound::presented(credential);

        // 8. A login needs no session, and makes one from the backend's own answer.
        if let Some(Endpoint::Login(number)) = endpoint {
            let call = capture::Call { number, route: &route, credential, device };
            return Box::pin(capture::login(self, exchange, call, cleared)).await;
        }

        // 9. The session, read from the store. A public route costs no look-up; a preflight carries no identity.
        let is_for_all = endpoint == Some(Endpoint::Front(Front::Script));
        let mut lookup = if is_for_all || endpoint.is_none() && (route.auth == Auth::Public || preflight.is_some()) {
            Lookup::not_asked(credential)
        } else if let (Credential::Bearer, Some(bearer)) = (credential, self.bearer()) {
            look_up_token(bearer, self.store(), self.clock(), &cleared.headers).await
        } else {
            let lookup = look_up(self.store(), self.clock(), credential, &self.config().session.limits).await;
            exchange.bound = bound_by(&lookup);
            lookup
        };
        self.note(exchange, &lookup).await;
        if let Lookup::Live(live) = &lookup {
            self.see(exchange, live, touches);
        }

        // 10. The gateway's own endpoints.
        match endpoint {
            Some(Endpoint::Login(_)) | None => {}
            Some(Endpoint::Logout) => {
                // The backend is told who logs out by the token, too, which goes with the session.
                let sent = self.token_as_it_is(&lookup, cookie.as_ref()).await;
                let token = sent.map(|sent| withhold(exchange, sent));
                return Box::pin(endpoints::logout(self, exchange, &route, &lookup, token, cleared)).await;
            }
            Some(Endpoint::LogoutAll) => return Box::pin(endpoints::logout_all(self, exchange, &lookup)).await,
            Some(Endpoint::Status) => return endpoints::status(self, &cleared.method, &lookup),
            Some(Endpoint::Refresh) => return Box::pin(endpoints::refresh(self, &cleared.method, &mut lookup)).await,
            Some(Endpoint::Front(front)) => {
                return Box::pin(front::answer(self, exchange, front, &mut lookup, &claims, cleared)).await;
            }
            Some(Endpoint::TokenRefresh) => {
                let answer = Box::pin(self.answer_for_token(exchange, &lookup, cookie.as_ref(), &cleared)).await?;
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
        }

        // 11. The decision. Nothing is forwarded without its permit. A session of several tenants is in one of them first.
        self.choose_tenant(exchange, &mut lookup, &claims);
        self.tell_of_claims(exchange, &route, mode, &claims, &lookup);
        if mode == IdentityMode::Observe {
            report_bearer(exchange, &route, &cleared, &lookup);
        }
        let permit = if let Some(preflight) = preflight {
            permit_preflight(&route, preflight)
        } else {
            self.keep_to_onboarding(&lookup, mode, onboards)?;
            let mut claim = self.compare_claims(exchange, &route, &cleared, &claims, &lookup);
            if let Lookup::Live(live) = &mut lookup
                && live.in_tenant().is_some()
                && (claim == TenantClaim::Harmless || mode == IdentityMode::Observe)
            {
                claim = Box::pin(self.ask_of_tenant(live)).await?;
            }
            let permit = decide(&route, mode, lookup.facts(), claim).map_err(|denial| lookup.failure(denial))?;
            self.as_vouched(permit, &route, &cleared.headers)
        };

        // 12. Unless the permit says so, no claim that step 7 may have left goes any further; and nobody's of a tenant
        //     that is shut out.
        if *permit.identity() == Identity::AsClaimed {
            Box::pin(self.refuse_claims_of_the_shut_out(&cleared)).await?;
            self.filter().strip_risk(&mut cleared.headers);
            if self.signer().is_some() {
                // Nor a proof that was somebody's.
                self.filter().strip_proofs(&mut cleared.headers);
            }
        } else if mode != IdentityMode::Enforce {
            self.filter().strip_request(&mut cleared.headers);
        }

        // 13. The app's own cookies come in if they were sealed for this session, and the use is recorded before the
        //     backend does anything: for a session that ended meanwhile, it does nothing.
        self.open_cookies(exchange, &mut cleared).await;
        if let Lookup::Live(live) = &mut lookup
            && touches
            && !live.is_recorded()
            && self.record_use(live).await.map_err(Failure::Store)? == Recorded::SessionGone
        {
            let reason = Box::pin(self.why_gone(live.id)).await?;
            return Err(Failure::Denied(reason.into()));
        }

        //     Beside it, and now and then, the backend is asked whether its user still has that tenant.
        if let Lookup::Live(live) = &lookup {
            self.recheck(exchange, live, &cleared);
        }

        //     What the session has of the app's own tokens goes along in the place of what the client sends, but not where the
        //     client's is not to go either; the answer does not show it.
        let permit = match self.token_for(exchange, &lookup, cookie.as_ref(), &cleared).await? {
            Some(sent) if preflight.is_none() && route.authorization == Authorization::Pass => {
                permit.with_token(withhold(exchange, sent))
            }
            _ => permit,
        };

        //     So does how bad it is what is open of the session.
        let permit = match &lookup {
            Lookup::Live(live) => self.with_risk(permit, live),
            _ => permit,
        };

        // From here on the backend may be asked; at that moment the look-up must not be too old.
        if let Lookup::Live(live) = &lookup {
            let token = live.token.clone();
            let (asked, tenant) = (live.accepted_as_of(), live.in_tenant().cloned());
            exchange.decided = Some(Decided { id: live.id, asked, cuts: cuts_of(mode), token, tenant });
        }

        // What a body says of its tenant is the session's, where the route has such a place.
        if !route.naming.in_body().is_empty() {
            Box::pin(self.compare_body(exchange, &route, &permit, &mut cleared)).await?;
        }
        if let (true, Lookup::Live(live)) = (is_call, &lookup) {
            self.count_call(exchange, live)?;
        }

        // 14. What the backend's success means for sessions happens before anybody hears of the success: the backend
        //     does it, the store ends them, then the answer goes out.
        if let (Some(event), Lookup::Live(live)) = (&event, &lookup) {
            let (route, permit, cookie) = (&route, &permit, cookie.as_ref());
            let call = events::Call { event, route, permit, live, cookie, cuts: cuts_of(mode) };
            Self::ask_for_records(export.as_ref(), &mut cleared);
            let answer = Box::pin(events::run(self, exchange, &call, cleared)).await?;
            return Ok(self.counted(exchange, export, answer));
        }

        if let (true, None, Lookup::Live(live)) = (onboards, &switch, &lookup)
            && self.is_onboarding(&live.record.principal)
        {
            let call = onboarding::Call { route: &route, permit: &permit, live, mode };
            Self::ask_for_records(export.as_ref(), &mut cleared);
            let answer = Box::pin(onboarding::run(self, exchange, &call, cleared)).await?;
            return Ok(self.counted(exchange, export, answer));
        }

        // 15. To the backend, and its answer back. From here on the end of the session ends them, too.
        let open = self.open_stream(&lookup, mode);
        let mut settled = Settled::AsItWas;
        let mut response = if let Some(asked) = switch {
            // Nothing of a token's use is recorded.
            let touches = touches && credential != Credential::Bearer;
            let session = open.map(|open| TunnelSession { open, touches });
            Box::pin(tunnel::open(self, exchange, &permit, cleared, asked, session)).await?
        } else {
            if let Some(open) = &open {
                cleared.content.cut_by(open, touches && credential != Credential::Bearer);
            }
            // Asked for before the request is gone; and what the app did with its own session by it is settled before
            // anybody hears of it.
            let was = match &lookup {
                Lookup::Unknown(None) => None,
                looked_up => Some(Was::found(looked_up)),
            };
            let follower = if self.config().login.follows() {
                Box::pin(Follower::of(self, &route, &cleared, credential, was)).await
            } else {
                None
            };
            Self::ask_for_records(export.as_ref(), &mut cleared);
            match forward_unsealed(self, exchange, &permit, cleared).await {
                Ok(mut answer) => {
                    settled = settle(self, exchange, follower, answer.headers_mut()).await?;
                    for_as_long_as(self.still_open(open, &settled, cuts_of(mode), &answer), Ok(answer))?
                }
                failed @ Err(_) => for_as_long_as(open, failed)?,
            }
        };
        if let (Lookup::Live(live), Settled::AsItWas) = (&lookup, settled) {
            self.expose_lifetime(response.headers_mut(), live);
        }
        Ok(self.counted(exchange, export, response))
    }
}
