//! What can be said of a request without asking the store or the backend: steps 1 to 7 of the request path, which goes
//! on in [`gateway`](super::gateway).

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;

use super::client_body::ClientBody;
use super::endpoint::Endpoint;
use super::exchange::{Bound, Downstream, Exchange, RequestId, Transport};
use super::failure::Failure;
use super::forward::{Cleared, Content};
use super::readings::ReadTarget;
use super::services::Gateway;
use super::tunnel::{self};
use crate::config::ExportRoute;
use crate::health;
use crate::http::{
    CameBack, Claims, KnownName, NotedHeaders, Preflight, Presented, ProtectedHeaders, Reading, Refusal, SameSite,
    Scheme, TraceParent, Upgrade, check_expectation, check_singular, client_address, forwarded_proto, http1_0_host,
    http2_host, is_led_here, is_navigation, is_safe, is_websocket_upgrade, only_looks_ahead, request_host,
    take_gateway_cookie, take_own_cookie, take_stray_token, wanted_method,
};
use crate::policy::{Aim, Auth, Call, Denial, Event, IdentityMode, Route, is_forged};
use crate::session::{Credential, SessionToken};
use crate::signed::{KEYS_PATH, Published};

static AUTHORIZATION: KnownName = KnownName::new("authorization");
static USER_AGENT: KnownName = KnownName::new("user-agent");
/// Most paths have no more segments.
const USUAL_DEPTH: usize = 8;

/// A request that may be looked at: everything that cannot be believed was refused or removed.
pub(super) struct Admitted {
    pub(super) cleared: Box<Cleared>,
    pub(super) credential: Credential,
    /// What the gateway's cookie holds, where it takes that to open the token that the session has.
    pub(super) cookie: Option<SessionToken>,
    pub(super) claims: Claims,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) route: Arc<Route>,
    /// What the backend's success would mean for sessions.
    pub(super) event: Option<Arc<Event>>,
    /// The route's mode at this time.
    pub(super) mode: IdentityMode,
    /// Whether a use of this path keeps a session alive.
    pub(super) touches: bool,
    /// Whether it counts as a call of its user.
    pub(super) is_call: bool,
    /// How the records of its answer are counted, where that is an export.
    pub(super) export: Option<Arc<ExportRoute>>,
    /// Whether it is for those who have no tenant yet.
    pub(super) onboards: bool,
    /// Whether it asks for permission alone, on behalf of a page.
    pub(super) preflight: Option<Preflight>,
    /// The protocol that the client wants to switch to.
    pub(super) switch: Option<tunnel::Asked>,
    /// Of a login: the cookie that says that it comes from a known device.
    pub(super) device: Option<Box<[u8]>>,
}

impl Admitted {
    /// Whether the exchange goes on when the client hangs up: what makes or ends sessions does.
    pub(super) fn runs_to_its_end(&self) -> bool {
        self.event.is_some() || self.onboards || self.endpoint.is_some_and(Endpoint::runs_to_its_end)
    }
}

/// A request as it came.
pub(super) struct Arrival {
    /// Its head, but for the headers.
    pub(super) parts: Parts,
    pub(super) headers: NotedHeaders,
    pub(super) body: ClientBody,
    /// What the framing says of its head.
    pub(super) verdict: Result<(), Refusal>,
    /// Whether the connection can leave HTTP after it.
    pub(super) may_switch: bool,
    pub(super) transport: Transport,
}

/// What the first look at a request comes to.
pub(super) enum Admission {
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
    /// The facts of the exchange that are known before anything is believed.
    pub(super) fn begin(&self, arrival: &Arrival, downstream: &Downstream) -> Exchange {
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
            withheld: None,
            opened_for: None,
            code: None,
            upstream: None,
            added: None,
        }
    }

    /// Everything that can be said of a request without asking the store or the backend.
    pub(super) fn admit(&self, exchange: &mut Exchange, arrival: Arrival) -> Result<Admission, Failure> {
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
        if self.bearer().is_some() && headers.lines(&AUTHORIZATION).nth(1).is_some() {
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
        let wanted = preflight.and_then(|_| wanted_method(&headers));
        let answered = wanted.and_then(|wanted| self.endpoints().answered(&wanted, &segments, slash));
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
        let is_front = matches!(endpoint, Some(Endpoint::Front(_)));
        let touches =
            !ahead && !is_front && preflight.is_none() && counts_as_read && no_touch.find(&segments, slash).is_empty();
        let api = &self.config().watched.api;
        let is_at_api = |reading: &Reading| !api.find(&reading.segments, reading.trailing_slash).is_empty();
        let is_call = endpoint.is_none()
            && preflight.is_none()
            && (!api.find(&segments, slash).is_empty()
                || lenient.as_ref().is_some_and(|(_, lenient)| lenient.readings.iter().any(is_at_api)));
        let exports = &self.config().watched.exports;
        let read = |reading: &Reading| exports.find(&reading.segments, reading.trailing_slash).first();
        let read = || lenient.as_ref().and_then(|(_, lenient)| lenient.readings.iter().find_map(read));
        let export = exports.find(&segments, slash).first().or_else(read).cloned();
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
        //    Those for the app's own pages end sessions: no route lets them be called from elsewhere.
        let checked = (route.csrf || is_front) && (credential != Credential::Bearer || exchange.is_login);
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
            is_call,
            export,
            onboards,
            preflight,
            switch,
            device,
        })))
    }
}
