//! The request path, from top to bottom: a request comes in, an answer goes out, and every step says why it stands
//! where it stands.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, HeaderValue};
use http::request::Parts;
use http::{Method, Response, Version};
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;

use super::account::Account;
use super::body::AnswerBody;
use super::capture;
use super::claims::report_bearer;
use super::client_body::ClientBody;
use super::connection::ExchangeGuard;
use super::endpoint::Endpoint;
use super::endpoints;
use super::events;
use super::exchange::{Bound, Decided, Downstream, Exchange, RequestId, Transport};
use super::failure::Failure;
use super::follow::{Follower, Settled, settle};
use super::forward::{Cleared, Content, forward_unsealed};
use super::held::{cuts_of, for_as_long_as};
use super::lookup::{BadTokenUse, EndedUse, Lookup, Recorded, look_up};
use super::onboarding;
use super::readings::ReadTarget;
use super::respond;
use super::sealing::bound_by;
use super::services::Gateway;
use super::token::look_up_token;
use super::tunnel::{self, TunnelSession};
use crate::config::Config;
use crate::health;
use crate::http::{
    CameBack, Claims, KnownName, NotedHeaders, Preflight, Presented, ProtectedHeaders, Reading, Refusal, SameSite,
    Scheme, TraceParent, Upgrade, check_expectation, check_singular, client_address, forwarded_proto, http1_0_host,
    http2_host, is_led_here, is_navigation, is_safe, is_websocket_upgrade, only_looks_ahead, request_host,
    take_gateway_cookie, take_own_cookie, take_stray_token,
};
use crate::policy::{
    Aim, Auth, Authorization, Call, Denial, Event, Identity, IdentityMode, Route, TenantClaim, decide, is_forged,
    permit_preflight,
};
use crate::session::{By, Credential, SessionToken};
use crate::signed::{KEYS_PATH, Published};
use crate::told::Told;

static USER_AGENT: KnownName = KnownName::new("user-agent");
/// Most paths have no more segments.
const USUAL_DEPTH: usize = 8;

/// A request that may be looked at: everything that cannot be believed was refused or removed.
struct Admitted {
    cleared: Box<Cleared>,
    credential: Credential,
    /// What the gateway's cookie holds, where it takes that to open the token that the session has.
    cookie: Option<SessionToken>,
    claims: Claims,
    endpoint: Option<Endpoint>,
    route: Arc<Route>,
    /// What the backend's success would mean for sessions.
    event: Option<Arc<Event>>,
    /// The route's mode at this time.
    mode: IdentityMode,
    /// Whether a use of this path keeps a session alive.
    touches: bool,
    /// Whether it is for those who have no tenant yet.
    onboards: bool,
    /// Whether it asks for permission alone, on behalf of a page.
    preflight: Option<Preflight>,
    /// The protocol that the client wants to switch to.
    switch: Option<tunnel::Asked>,
    /// Of a login: the cookie that says that it comes from a known device.
    device: Option<Box<[u8]>>,
}

impl Admitted {
    /// Whether the exchange goes on when the client hangs up: what makes or ends sessions does.
    fn runs_to_its_end(&self) -> bool {
        self.event.is_some() || self.onboards || self.endpoint.is_some_and(Endpoint::runs_to_its_end)
    }
}

/// A request as it came.
pub(super) struct Arrival {
    /// Its head, but for the headers.
    parts: Parts,
    headers: NotedHeaders,
    body: ClientBody,
    /// What the framing says of its head.
    verdict: Result<(), Refusal>,
    /// Whether the connection can leave HTTP after it.
    may_switch: bool,
    transport: Transport,
}

/// A request that was looked at.
pub(super) struct Received {
    account: Box<Account>,
    admission: Result<Admission, Failure>,
}

/// What the first look at a request comes to.
enum Admission {
    /// A health check, which needs nothing else.
    Health(health::HealthAnswer),
    /// Somebody wants the keys by which backends check what is signed.
    Keys(Published),
    /// It is to be had over https alone, there.
    Elsewhere(HeaderValue),
    /// Nobody asked for it yet: it makes and ends nothing, and the backend does not hear of it.
    LooksAhead,
    /// A page asks for permission, which is the gateway's own to give; the methods, where they are its own, too.
    Preflight(Option<&'static str>, Box<NotedHeaders>),
    /// It goes on.
    Admitted(Box<Admitted>),
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

    /// The facts of the exchange that are known before anything is believed.
    fn begin(&self, arrival: &Arrival, downstream: &Downstream) -> Exchange {
        let Arrival { parts, headers, .. } = arrival;
        let server = &self.config().server;
        let proxies = &server.trusted_proxies;
        let peer = downstream.peer.get();
        let from_proxy = proxies.iter().any(|network| network.contains(&peer));
        let given = if from_proxy { RequestId::from_proxy(headers) } else { None };
        let trace = TraceParent::noted_in(headers);
        Exchange {
            id: given.unwrap_or_else(|| self.request_ids().next()),
            client: downstream.peer.or(client_address(peer, proxies, headers)),
            scheme: forwarded_proto(peer, proxies, headers).unwrap_or(match downstream.transport {
                Transport::Tls => Scheme::Https,
                Transport::ToBeRedirected | Transport::PlainOnTls => Scheme::Http,
                // The proxy that ends TLS in front need not say so.
                Transport::Plain => server.public_url.scheme(),
            }),
            method: parts.method.clone(),
            version: parts.version,
            target: None,
            host: None,
            reader: self.config().cors.reader(headers),
            user_agent: headers.lines(&USER_AGENT).next().cloned(),
            trace,
            place: self.place(trace, from_proxy),
            received: arrival.body.received(),
            started: self.clock().monotonic(),
            asks_for_page: false,
            languages: None,
            is_login: false,
            had_cookie: false,
            may_have_cookie: false,
            route: None,
            session: None,
            decided: None,
            principal: None,
            bound: Bound::Unknown,
            opened: None,
            opened_for: None,
            code: None,
            upstream: None,
            added: None,
        }
    }

    /// Everything that can be said of a request without asking the store or the backend.
    fn admit(&self, exchange: &mut Exchange, arrival: Arrival) -> Result<Admission, Failure> {
        let Arrival { mut parts, mut headers, body, verdict, may_switch, transport } = arrival;
        let server = &self.config().server;

        // Whatever it is answered with, how that is to look.
        exchange.asks_for_page = is_navigation(&headers);
        if exchange.asks_for_page {
            exchange.languages = headers.get(ACCEPT_LANGUAGE).cloned();
        }
        if transport == Transport::PlainOnTls {
            return Err(Failure::PlainOnTls);
        }

        // 1. Framing first: of a head that can be read in two ways, nothing else can be believed either.
        verdict?;

        // 2. Method and path in their one normal form, which the backend will get, too. What framing is to HTTP/1, the
        //    form of the parsed head is to HTTP/2.
        let read = self.read_target(&parts, &headers);
        let ReadTarget { mut target, lenient, refused } =
            read.inspect_err(|_| exchange.target = parts.uri.path_and_query().cloned())?;
        exchange.target = Some(target.path_and_query().clone());

        // 3. Health, before the host is looked at: load balancers ask by address, and some in HTTP/1.0 without a Host.
        if let Some(answer) = health::answer(&parts.method, target.path(), self.readiness()) {
            exchange.route = Some(self.names().health.clone());
            return Ok(Admission::Health(answer));
        }
        //    Keys likewise: who asks for them is a backend, and they are for everybody.
        if target.path() == KEYS_PATH
            && let Some(keys) = self.published_keys()
        {
            exchange.route = Some(self.names().keys.clone());
            let allowed = matches!(parts.method, Method::GET | Method::HEAD);
            return if allowed { Ok(Admission::Keys(keys)) } else { Err(Failure::MethodNotAllowed("GET, HEAD")) };
        }
        let host = match parts.version {
            Version::HTTP_2 => http2_host(&headers, &parts.uri),
            Version::HTTP_10 => http1_0_host(&headers, &parts.uri, server.public_url.authority()),
            _ => request_host(&headers, &parts.uri),
        }?;
        if !server.hosts.allows(&host) {
            return Err(Failure::HostNotAllowed(host));
        }
        exchange.host = Some(host.clone());
        if transport == Transport::ToBeRedirected {
            return self.to_https(&parts.method, &target).map(Admission::Elsewhere);
        }
        check_expectation(&headers)?;
        if self.bearer().is_some() && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            // Of two tokens the backend might read the one that was not looked at.
            return Err(Failure::Denied(Denial::TokenInvalid));
        }
        check_singular(&headers)?;

        // 4. Which endpoint or route it is for, and whether its success is an event, decided on the path that the backend
        //    will see. One that was here before would go to the same upstream again, and come back.
        let lenient = lenient.and_then(|lenient| Some((self.strictest_route(&parts.method, &lenient)?, lenient)));
        if let (None, Some(refusal)) = (&lenient, refused) {
            return Err(refusal.into());
        }
        let segments: SmallVec<[Cow<'_, str>; USUAL_DEPTH]> = target.segments().collect();
        let slash = target.path().ends_with('/');
        // A preflight asks the backend whether a page may call; it is no call of the endpoint itself.
        let preflight = Preflight::of(&parts.method, &headers);
        let endpoint = self.endpoints().pick(&parts.method, &segments, slash).filter(|_| preflight.is_none());
        let answered = preflight.and_then(|_| self.endpoints().answered(&segments, slash));
        let route = match &lenient {
            Some((strictest, _)) => strictest.clone(),
            None => self.config().routes.pick(&parts.method, &segments, slash).clone(),
        };
        let event = self.config().events.pick(&parts.method, &segments, slash);
        let ahead = only_looks_ahead(&headers);
        let event = event.filter(|_| endpoint.is_none() && preflight.is_none()).cloned();
        let no_touch = &self.config().session.no_touch;
        let counts = |reading: &Reading| no_touch.find(&reading.segments, reading.trailing_slash).is_empty();
        let counts_as_read = lenient.as_ref().is_none_or(|(_, lenient)| lenient.readings.iter().all(counts));
        let touches = !ahead && preflight.is_none() && counts_as_read && no_touch.find(&segments, slash).is_empty();
        exchange.route = Some(route.pattern.clone());
        if route.auth == Auth::Blocked && endpoint.is_none() {
            return Err(Failure::Denied(Denial::PathBlocked));
        }
        let onboards = lenient.is_none() && self.config().onboards(&parts.method, &segments, slash);
        let via = self.mark().take(&mut headers).map_err(|CameBack| Failure::CameBack(route.upstream.clone()))?;
        exchange.is_login = matches!(endpoint, Some(Endpoint::Login(_)));
        drop(segments);
        if let Some((_, lenient)) = lenient {
            target = lenient.target;
        }
        let held_up = self.maintenance().holds_up(exchange.client.get());
        // A page that may read our answers is to learn of the maintenance, too.
        let answers_it = answered.is_some() || self.config().cors.replaces || held_up.is_some();
        if preflight.is_some() && answers_it {
            return Ok(Admission::Preflight(answered, Box::new(headers)));
        }
        if let Some(maintenance) = held_up {
            return Err(Failure::Maintenance(maintenance));
        }
        // What changes something is no look ahead, whatever it says of itself: then the backend does it, and it counts.
        let ignores_event = event.is_some() && ahead && is_safe(&parts.method);
        if ignores_event || endpoint.is_some_and(|endpoint| endpoint.ignores(&parts.method, ahead)) {
            return Ok(Admission::LooksAhead);
        }

        // 5. The gateway's own cookie goes out, by the same rule that reads it. What it holds goes wherever else it stands,
        //    and from here on there is no token any more, but for the id that it hashes to.
        let presented = take_gateway_cookie(&mut headers, &self.config().cookie.name);
        if let Presented::One(token) = &presented {
            take_stray_token(&mut headers, &mut target, token)?;
        }
        let cookie = match &presented {
            Presented::One(token) if self.app_tokens().is_some() => Some(token.clone()),
            _ => None,
        };
        let mut credential = Credential::from(presented);
        exchange.had_cookie = credential != Credential::None;
        exchange.may_have_cookie = exchange.asks_for_page
            && !exchange.had_cookie
            && matches!(parts.method, Method::GET | Method::HEAD)
            && self.config().cookie.same_site == SameSite::Strict
            && is_led_here(&headers, &server.public_url);
        // A gateway cookie wins, also one that is worth nothing: nothing falls through to what stands beside it.
        if credential == Credential::None && self.bearer().is_some() && self.has_bearer_token(&headers) {
            credential = Credential::Bearer;
        }
        // What it was called before is worth nothing here, and to whoever reads it at the backend as much as ever.
        for name in self.former_cookies() {
            take_gateway_cookie(&mut headers, name);
        }

        // Nor is it anybody's else which devices are known; a login alone asks.
        let device = self.device_cookie().and_then(|name| take_own_cookie(&mut headers, name));
        let device = device.filter(|_| exchange.is_login);

        // A switch of protocols is asked for with headers that step 7 takes out. An event is none: who asked for one
        // with it would have its answer carried past step 14.
        let switch = match parts.extensions.remove::<OnUpgrade>() {
            Some(client) if may_switch && endpoint.is_none() && event.is_none() => {
                let upgrade = Upgrade::asked_for(&parts.method, parts.version, &headers, &route.upgrade)?;
                upgrade.map(|upgrade| tunnel::Asked { upgrade, client })
            }
            _ => None,
        };

        // 6. The cross-origin rule, before a look-up is spent on a forged call.
        let aim = match endpoint {
            Some(endpoint) => endpoint.aim(),
            None if is_websocket_upgrade(&headers) => Aim::WebSocket,
            None if switch.is_some() => Aim::OtherProtocol,
            None => Aim::Backend,
        };
        //    No page can have a browser send a token by itself; but a login goes by what is in its body.
        let checked = route.csrf && (credential != Credential::Bearer || exchange.is_login);
        let call = Call { method: &parts.method, aim, ambient: credential.is_ambient(), checked };
        if is_forged(call, self.origins(), &headers, &host) {
            return Err(Failure::CrossOrigin);
        }

        // 7. Whatever the client claims to be goes out, and what it claimed is kept for the audit. Only a route that
        //    is being migrated may still need the claim; step 12 decides.
        let mode = route.mode.at(|| self.clock().wall());
        let protected = match (mode, endpoint) {
            (IdentityMode::Compat { .. } | IdentityMode::Observe, None) => {
                ProtectedHeaders::LetClientsChooseTheirTenant
            }
            _ => ProtectedHeaders::Remove,
        };
        let claims = self.filter().strip_request_but(&mut headers, protected).claims;
        let cleared = Box::new(Cleared {
            method: parts.method,
            target,
            host,
            scheme: exchange.scheme,
            via,
            headers,
            content: Content::of(body),
        });
        Ok(Admission::Admitted(Box::new(Admitted {
            cleared,
            credential,
            cookie,
            claims,
            endpoint,
            route,
            event,
            mode,
            touches,
            onboards,
            preflight,
            switch,
            device,
        })))
    }

    /// From an admitted request to the finished answer.
    async fn answer(self: Arc<Self>, mut account: Box<Account>, admitted: Box<Admitted>) -> Response<AnswerBody> {
        let is_audited = admitted.runs_to_its_end();
        let response = match self.dispatch(&mut account.exchange, admitted).await {
            Ok(response) => response,
            Err(failure) => self.refuse(&mut account.exchange, &failure),
        };
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
        let Admitted { credential, endpoint, mode, touches, onboards, preflight, .. } = *admitted;
        let Admitted { mut cleared, cookie, claims, route, event, switch, device, .. } = *admitted;
        exchange.bound = Bound::presented(credential);

        // 8. A login needs no session, and makes one from the backend's own answer.
        if let Some(Endpoint::Login(number)) = endpoint {
            let call = capture::Call { number, route: &route, credential, device };
            return Box::pin(capture::login(self, exchange, call, cleared)).await;
        }

        // 9. The session, read from the store. A public route costs no look-up; a preflight carries no identity.
        let mut lookup = if endpoint.is_none() && (route.auth == Auth::Public || preflight.is_some()) {
            Lookup::not_asked(credential)
        } else if let (Credential::Bearer, Some(bearer)) = (credential, self.bearer()) {
            look_up_token(bearer, self.store(), self.clock(), &cleared.headers).await
        } else {
            let lookup = look_up(self.store(), self.clock(), credential, &self.config().session.limits).await;
            exchange.bound = bound_by(&lookup);
            lookup
        };
        self.note(exchange, &lookup).await;

        // 10. The gateway's own endpoints.
        match endpoint {
            Some(Endpoint::Login(_)) | None => {}
            Some(Endpoint::Logout) => {
                // The backend is told who logs out by the token, too, which goes with the session.
                let token = self.token_as_it_is(&lookup, cookie.as_ref()).await;
                return Box::pin(endpoints::logout(self, exchange, &route, &lookup, token, cleared)).await;
            }
            Some(Endpoint::LogoutAll) => return Box::pin(endpoints::logout_all(self, exchange, &lookup)).await,
            Some(Endpoint::Status) => return endpoints::status(self, &cleared.method, &lookup),
            Some(Endpoint::Refresh) => return Box::pin(endpoints::refresh(self, &cleared.method, &mut lookup)).await,
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
            return Err(Failure::Denied(Denial::SessionEnded(reason)));
        }

        //     What the session has of the app's own tokens goes along in the place of what the client sends, but not where the
        //     client's is not to go either.
        let permit = match self.token_for(exchange, &lookup, cookie.as_ref(), &cleared).await? {
            Some(token) if preflight.is_none() && route.authorization == Authorization::Pass => {
                permit.with_token(token)
            }
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

        // 14. What the backend's success means for sessions happens before anybody hears of the success: the backend
        //     does it, the store ends them, then the answer goes out.
        if let (Some(event), Lookup::Live(live)) = (&event, &lookup) {
            let (route, permit, cookie) = (&route, &permit, cookie.as_ref());
            let call = events::Call { event, route, permit, live, cookie, cuts: cuts_of(mode) };
            return Box::pin(events::run(self, exchange, &call, cleared)).await;
        }

        if let (true, None, Lookup::Live(live)) = (onboards, &switch, &lookup)
            && self.is_onboarding(&live.record.principal)
        {
            let call = onboarding::Call { route: &route, permit: &permit, live, mode };
            return Box::pin(onboarding::run(self, exchange, &call, cleared)).await;
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
            let was_live = match &lookup {
                Lookup::Live(_) => Some(true),
                Lookup::Unknown(None) => None,
                _ => Some(false),
            };
            let follower = if self.config().login.follows() {
                Box::pin(Follower::of(self, &route, &cleared, credential, was_live)).await
            } else {
                None
            };
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
        Ok(response)
    }

    /// Keeps what the look-up showed for log and audit, and writes down an end by time that is first noticed here.
    async fn note(&self, exchange: &mut Exchange, lookup: &Lookup) {
        match lookup {
            Lookup::Live(live) => {
                exchange.session = Some(live.id);
                exchange.principal = Some(live.record.principal.clone());
            }
            Lookup::Ended(ended) => {
                exchange.session = Some(ended.id);
                Box::pin(self.note_end(exchange, ended)).await;
                let principal = ended.record.as_ref().map(|record| record.principal.clone());
                self.tell(exchange, &Told::SessionRejected { id: ended.id, principal, reason: ended.reason });
            }
            Lookup::Unknown(id) => exchange.session = *id,
            Lookup::BadToken(BadTokenUse { token, why, .. }) => {
                exchange.session = token.as_ref().map(|(id, _)| *id);
                self.tell(exchange, &Told::TokenRejected { token: token.clone(), why });
            }
            Lookup::NoCredential | Lookup::Unavailable(..) => {}
        }
    }

    async fn note_end(&self, exchange: &Exchange, ended: &EndedUse) {
        let (Some(record), false) = (&ended.record, ended.noted) else { return };
        self.sessions().note_end(&exchange.origin(By::Gateway), ended.id, record, ended.reason).await;
    }
}
