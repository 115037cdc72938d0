//! What the pipeline works with: the configuration in force, the store, the upstreams, the logs.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, SET_COOKIE};
use tokio_util::task::TaskTracker;

use super::app_tokens::AppTokens;
use super::asked_about::AskedAbout;
use super::endpoint::Endpoints;
use super::exchange::{Exchange, RequestIds};
use super::failure::Failure;
use super::former_cookies::FormerCookies;
use super::late_endings::Endings;
use super::lookup::{LiveUse, Recorded};
use super::named::Named;
use super::rarely::Rarely;
use super::rechecks::Rechecks;
use super::upstreams::{BoundUpstream, Upstreams, upstreams};
use crate::bearer::Bearer;
use crate::clock::Clock;
use crate::commons::Commons;
use crate::config::{Config, StoreKind};
use crate::custody::{CustodyKeys, is_stand_in};
use crate::entropy::{Entropy, EntropyError};
use crate::health::Readiness;
use crate::http::{
    CookieName, GatewayCookieName, GatewayMark, OriginPolicy, RequestFilter, TraceParent, bearer_token,
    expire_backend_cookie, may_hold_bearer_token,
};
use crate::maintenance::MaintenanceMode;
use crate::policy::{Auth, Authorization, Identity, Permit, Route, VouchedBy};
use crate::seal::{SealedCookies, SealingKeys};
use crate::secret::Secret;
use crate::session::{By, EndReason, Principal, SessionToken};
use crate::sessions::{Cuts, OpenStream, OpenStreams, Sessions, Terms};
use crate::signed::{Published, Signer};
use crate::store::membership::MembershipStore;
use crate::store::touch_queue::{Queued, TouchQueue};
use crate::store::{SessionStore, StoreResult};
use crate::telemetry::{Given, Log, Metrics, Place, RouteMetrics, Traces};
use crate::told::{Origin, Teller, Told};
use crate::upstream::{BodyLimits, BodyMemory};
use crate::watch::Watch;

/// What a [`Gateway`] is made of; see [`Gateway::new`].
#[derive(Clone)]
pub struct Services {
    /// The configuration.
    pub config: Arc<Config>,
    /// What the operators' side works with, too.
    pub commons: Commons,
    /// Where touches wait that need not be written at once.
    pub touches: Arc<TouchQueue>,
    /// Who hears of what happens.
    pub teller: Teller,
    /// The log.
    pub log: Log,
    /// Where spans go, if anywhere.
    pub traces: Option<Arc<Traces>>,
}

/// The gateway: turns a request into an answer. Its `handle` (gateway.rs) is the path of all that is admitted.
pub struct Gateway {
    services: Services,
    filter: RequestFilter,
    origins: OriginPolicy,
    endpoints: Endpoints,
    upstreams: Upstreams,
    /// Where tokens of issuers are believed.
    bearer: Option<Arc<Bearer>>,
    /// Where what backends are told is signed.
    signer: Option<Arc<Signer>>,
    /// For the bodies of logins and logouts.
    bodies: Arc<BodyMemory>,
    endings: Arc<Endings>,
    unnamed: Rarely,
    unclear: Rarely,
    asked_about: AskedAbout,
    rechecks: Arc<Rechecks>,
    mark: GatewayMark,
    former_cookies: FormerCookies,
    /// The cookie of devices that are known; `None` where none are.
    device_cookie: Option<CookieName>,
    /// The app's own cookies that are sealed; `None` where none are.
    sealed_cookies: Option<SealedCookies>,
    /// They do not change while the process runs.
    sealing_keys: Arc<SealingKeys>,
    /// The tokens that sessions have instead of their browsers; `None` where none are captured.
    app_tokens: Option<Arc<AppTokens>>,
    request_ids: RequestIds,
    names: RouteNames,
    route_metrics: Named<RouteMetrics>,
}

/// What a gateway takes over from the one before it, where that stays as it is.
#[derive(Clone, Copy, Default)]
struct Before<'a> {
    upstreams: Option<&'a Upstreams>,
    bearer: Option<&'a Arc<Bearer>>,
    signer: Option<&'a Arc<Signer>>,
    app_tokens: Option<&'a Arc<AppTokens>>,
}

/// What a gateway has in common with the one before it, under another configuration.
struct Shared {
    bodies: Arc<BodyMemory>,
    endings: Arc<Endings>,
    rechecks: Arc<Rechecks>,
    mark: GatewayMark,
    former_cookies: FormerCookies,
    sealing_keys: Arc<SealingKeys>,
}

/// The names, in logs and metrics, of what is no route of the configuration.
pub(super) struct RouteNames {
    pub(super) refused: Arc<str>,
    pub(super) health: Arc<str>,
    pub(super) keys: Arc<str>,
}

impl Gateway {
    /// Puts a gateway together.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn new(services: Services) -> Result<Self, EntropyError> {
        let mark = mark(&services)?;
        let sealing_keys = Arc::new(sealing_keys(&services)?);
        let (bodies, endings, former_cookies) = (Arc::default(), Arc::default(), FormerCookies::default());
        let rechecks = Arc::default();
        let shared = Shared { bodies, endings, rechecks, mark, former_cookies, sealing_keys };
        Self::assemble(services, Before::default(), shared)
    }

    /// The same gateway under another configuration: a new one, which shares the services and every upstream that stays
    /// as it is.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn reconfigured(&self, config: Arc<Config>) -> Result<Self, EntropyError> {
        let former_cookies = self.former_cookies.followed_by(self.config(), &config, self.clock().monotonic());
        let (bodies, endings, mark) = (self.bodies.clone(), self.endings.clone(), self.mark.clone());
        let (rechecks, sealing_keys) = (self.rechecks.clone(), self.sealing_keys.clone());
        let shared = Shared { bodies, endings, rechecks, mark, former_cookies, sealing_keys };
        let (bearer, signer, app_tokens) = (self.bearer.as_ref(), self.signer.as_ref(), self.app_tokens.as_ref());
        let before = Before { upstreams: Some(&self.upstreams), bearer, signer, app_tokens };
        Self::assemble(Services { config, ..self.services.clone() }, before, shared)
    }

    fn assemble(services: Services, before: Before<'_>, shared: Shared) -> Result<Self, EntropyError> {
        let config = &services.config;
        services.commons.watch.reports().count(config.monitor.is_some());
        services.commons.sessions.believe_tokens(config.bearer.as_ref().map(|bearer| bearer.rules.longest()));
        let upstreams = upstreams(config, before.upstreams, &services.commons.clock, &services.commons.metrics);
        services.commons.watch.go_by(config.monitor.as_ref());
        let names = RouteNames { refused: "refused".into(), health: "health".into(), keys: "keys".into() };
        let route_metrics = config
            .routes
            .names()
            .chain([&names.refused, &names.health, &names.keys])
            .map(|name| (name.clone(), services.commons.metrics.route(name)))
            .collect();
        Ok(Self {
            filter: RequestFilter::new(config.identity.protected_names(), config.server.allow_headers.clone()),
            origins: OriginPolicy::new(
                config.server.public_url.clone(),
                config.server.trusted_origins.clone(),
                config.server.hosts.clone(),
            ),
            endpoints: Endpoints::of(config),
            bearer: bearer(&services, before.bearer),
            signer: signer(&services, before.signer),
            upstreams,
            bodies: shared.bodies,
            endings: shared.endings,
            unnamed: Rarely::default(),
            unclear: Rarely::default(),
            asked_about: AskedAbout::default(),
            rechecks: shared.rechecks,
            mark: shared.mark,
            former_cookies: shared.former_cookies,
            app_tokens: app_tokens(&services, before.app_tokens)?,
            device_cookie: device_cookie(config),
            sealed_cookies: sealed_cookies(config, &shared.sealing_keys),
            sealing_keys: shared.sealing_keys,
            request_ids: RequestIds::new(&*services.commons.entropy)?,
            names,
            route_metrics,
            services,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.services.config
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_config(&self) -> Arc<Config> {
        self.services.config.clone()
    }

    pub(super) fn store(&self) -> &dyn SessionStore {
        &*self.services.commons.store
    }

    /// Who verifies tokens of issuers, where they are believed.
    pub(super) fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_deref()
    }

    /// Who signs what backends are told, where that is configured.
    pub(super) fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }

    /// The keys by which backends check what is signed, where there are any.
    #[must_use]
    pub fn published_keys(&self) -> Option<Published> {
        self.signer()?.published()
    }

    /// Ends what a request came with: a session, or an issuer's token.
    pub(super) async fn end_use(&self, origin: &Origin, live: &LiveUse, reason: EndReason) -> StoreResult<bool> {
        match live.denial(reason) {
            Some(denial) => self.sessions().deny(origin, denial).await.map(|ending| ending.ended),
            None => self.sessions().end(origin, live.id, &live.record, reason).await,
        }
    }

    /// Registers what is about to be opened for a request.
    pub(super) fn open_for(&self, live: &LiveUse, cuts: Cuts) -> OpenStream {
        self.streams().register(live.holder(), cuts, live.over_at())
    }

    /// The permit, without a token that is not to go on: the one that vouches, where the operator wants it so
    /// (`bearer.authorization`); and any other, for nobody has verified it, nor asked whether it was denied. Not on a public
    /// route, of which nothing is decided, nor where a migration lets through what the client claims.
    ///
    /// What stands for a token that a session has ([`custody`](crate::custody)) never goes on: to the app it is a bad one.
    pub(super) fn as_vouched(&self, permit: Permit, route: &Route, headers: &HeaderMap) -> Permit {
        let (bearer, captures) = (&self.config().bearer, self.app_tokens.is_some());
        if bearer.is_none() && !captures {
            return permit;
        }
        let stands_in = || headers.get_all(AUTHORIZATION).iter().any(|value| is_stand_in(value.as_bytes()));
        let drops = match permit.identity() {
            Identity::Verified(verified) if matches!(verified.vouched_by(), VouchedBy::Token(_)) => {
                bearer.as_ref().is_some_and(|bearer| bearer.authorization == Authorization::Drop)
            }
            Identity::AsClaimed => captures && stands_in(),
            _ if route.auth == Auth::Public => captures && stands_in(),
            _ => may_hold_bearer_token(headers),
        };
        if drops { permit.without_authorization() } else { permit }
    }

    /// Who paid and has no tenant, and who asks the backend about whom.
    pub(super) fn memberships(&self) -> &dyn MembershipStore {
        &*self.services.commons.memberships
    }

    /// What notices, and refuses logins.
    pub(super) const fn watch(&self) -> &Watch {
        &self.services.commons.watch
    }

    /// The cookie of devices that are known, where they are.
    pub(super) const fn device_cookie(&self) -> Option<&CookieName> {
        self.device_cookie.as_ref()
    }

    pub(super) const fn sessions(&self) -> &Sessions {
        &self.services.commons.sessions
    }

    /// Whether the site is being worked on.
    pub(super) fn maintenance(&self) -> &MaintenanceMode {
        &self.services.commons.maintenance
    }

    /// What a session is granted.
    pub(super) fn terms(&self) -> Terms<'_> {
        let config = self.config();
        Terms { limits: &config.session.limits, max_per_user: config.session.max_per_user, cookie: &config.cookie }
    }

    /// What a session of this principal is granted: one without a tenant has less time to get one.
    pub(super) fn terms_of(&self, principal: &Principal) -> Terms<'_> {
        let onboarding = self.config().tenants.as_ref().and_then(|tenants| tenants.onboarding.as_ref());
        match onboarding.filter(|_| self.is_onboarding(principal)) {
            Some(onboarding) => Terms { limits: &onboarding.limits, ..self.terms() },
            None => self.terms(),
        }
    }

    pub(super) const fn teller(&self) -> &Teller {
        &self.services.teller
    }

    /// Tells of what a request did, as its user's act.
    pub(super) fn tell(&self, exchange: &Exchange, told: &Told) {
        self.services.teller.tell(&exchange.origin(By::User), told);
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.services.commons.metrics
    }

    /// The same, to be kept.
    pub(super) const fn shared_metrics(&self) -> &Arc<Metrics> {
        &self.services.commons.metrics
    }

    /// The metrics of a route, by its name.
    pub(super) fn route_metrics(&self, name: &str) -> Option<&RouteMetrics> {
        self.route_metrics.get(name)
    }

    pub(super) const fn log(&self) -> &Log {
        &self.services.log
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.services.commons.readiness
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.services.commons.clock
    }

    pub(super) const fn tasks(&self) -> &TaskTracker {
        &self.services.commons.tasks
    }

    /// When it was said last that a login named nobody.
    pub(super) const fn unnamed(&self) -> &Rarely {
        &self.unnamed
    }

    /// When it was said last that it cannot be told whose a followed cookie is.
    pub(super) const fn unclear(&self) -> &Rarely {
        &self.unclear
    }

    /// The values of followed cookies that were asked about.
    pub(super) const fn asked_about(&self) -> &AskedAbout {
        &self.asked_about
    }

    /// When the backend is asked again about whom.
    pub(super) const fn rechecks(&self) -> &Arc<Rechecks> {
        &self.rechecks
    }

    /// The endings that wait for the store.
    pub(super) const fn endings(&self) -> &Arc<Endings> {
        &self.endings
    }

    pub(super) const fn streams(&self) -> &Arc<OpenStreams> {
        self.services.commons.sessions.open()
    }

    /// What marks the requests that were here.
    pub(super) const fn mark(&self) -> &GatewayMark {
        &self.mark
    }

    pub(super) const fn filter(&self) -> &RequestFilter {
        &self.filter
    }

    pub(super) const fn origins(&self) -> &OriginPolicy {
        &self.origins
    }

    /// The names of the gateway's own cookie before it got its present one, for as long as a session of theirs lives.
    pub(super) fn former_cookies(&self) -> impl Iterator<Item = &GatewayCookieName> {
        self.former_cookies.names()
    }

    /// The app's own cookies that are bound to the session they were set in.
    pub(super) const fn sealed_cookies(&self) -> Option<&SealedCookies> {
        self.sealed_cookies.as_ref()
    }

    /// Whether a request comes with a token of its own. What stands for one that a session has is none.
    pub(super) fn has_bearer_token(&self, headers: &HeaderMap) -> bool {
        bearer_token(headers).is_some_and(|token| self.app_tokens.is_none() || !is_stand_in(token))
    }

    /// The tokens that sessions have; `None` where none are captured.
    pub(super) const fn app_tokens(&self) -> Option<&Arc<AppTokens>> {
        self.app_tokens.as_ref()
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.services.commons.entropy
    }

    pub(super) fn traces(&self) -> Option<&Traces> {
        self.services.traces.as_deref()
    }

    /// The place of a request in a trace, where traces are made. A client is not believed that its trace is recorded.
    pub(super) fn place(&self, trace: Option<TraceParent>, from_proxy: bool) -> Option<Box<Place>> {
        let given = |trace: TraceParent| Given {
            trace: trace.trace_bytes(),
            parent: trace.parent_bytes(),
            recorded: from_proxy.then_some(trace.is_recorded()),
        };
        self.traces()?.begin(trace.map(given)).map(Box::new)
    }

    pub(super) const fn request_ids(&self) -> &RequestIds {
        &self.request_ids
    }

    pub(super) const fn names(&self) -> &RouteNames {
        &self.names
    }

    /// What the paths of the gateway's own, and those of logins and logouts, stand for.
    pub(super) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The upstream that a permit names.
    pub(super) fn upstream(&self, permit: &Permit) -> Result<&BoundUpstream, Failure> {
        let name = permit.upstream();
        self.upstreams.get(name).ok_or_else(|| Failure::Internal(format!("there is no upstream `{name}`")))
    }

    pub(super) fn bodies(&self) -> &BodyMemory {
        &self.bodies
    }

    /// What a client's request body is held to.
    pub(super) fn body_limits(&self) -> BodyLimits {
        let server = &self.config().server;
        BodyLimits { max_body: server.max_body, body_timeout: server.body_timeout }
    }

    /// Appends the lines that expire the backend's own cookies when a session ends.
    pub(super) fn expire_backend_cookies(&self, headers: &mut HeaderMap<HeaderValue>) {
        for name in &self.config().logout.clear_cookies {
            self.expire_backend_cookie(headers, name);
        }
    }

    /// The same, but for those that the answer itself sets.
    pub(super) fn expire_left_backend_cookies(&self, headers: &mut HeaderMap<HeaderValue>) {
        let sets = |headers: &HeaderMap, name: &str| {
            let is_it =
                |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b'=').next() == Some(name.as_bytes());
            headers.get_all(SET_COOKIE).iter().any(is_it)
        };
        for name in &self.config().logout.clear_cookies {
            if !sets(headers, name) {
                self.expire_backend_cookie(headers, name);
            }
        }
    }

    /// Appends the lines that expire one of them.
    pub(super) fn expire_backend_cookie(&self, headers: &mut HeaderMap<HeaderValue>, name: &str) {
        for line in expire_backend_cookie(name, &self.config().cookie) {
            headers.append(SET_COOKIE, line);
        }
    }

    /// Records the use of a session, as urgently as needed.
    pub(super) async fn record_use(&self, live: &mut LiveUse) -> StoreResult<Recorded> {
        if live.tightened {
            // A touch that still waits was reckoned with the old limits.
            self.services.touches.forget(live.id).await;
        }
        live.record_use(self.store(), &|touch| self.services.touches.push(touch) == Queued::Yes).await
    }
}

/// The keys of this process. Without a configured one, which production asks for, they go with it.
fn sealing_keys(services: &Services) -> Result<SealingKeys, EntropyError> {
    let secrets = &services.config.secrets;
    match &secrets.key {
        Some(key) => Ok(SealingKeys::new(key, &secrets.previous)),
        None => SealingKeys::ephemeral(&*services.commons.entropy),
    }
}

/// Whoever holds the tokens of sessions: the same for as long as the process runs and any are captured.
fn app_tokens(services: &Services, before: Option<&Arc<AppTokens>>) -> Result<Option<Arc<AppTokens>>, EntropyError> {
    let (config, commons) = (&services.config, &services.commons);
    if !config.login.captures_tokens() {
        return Ok(None);
    }
    if config.login.leaves_tokens() {
        commons.sessions.leave_tokens();
    }
    if let Some(before) = before {
        return Ok(Some(before.clone()));
    }
    let key = match &config.secrets.key {
        Some(key) => key.clone(),
        None => Secret::new(SessionToken::generate(&*commons.entropy)?.expose_secret()),
    };
    let keys = Arc::new(CustodyKeys::new(&key, &config.secrets.previous));
    Ok(Some(Arc::new(AppTokens::new(keys, &*commons.entropy)?)))
}

/// A cookie for this host alone, which browsers take over TLS only.
fn device_cookie(config: &Config) -> Option<CookieName> {
    config.monitor.as_ref()?.device_cookie?;
    Some(CookieName::new(if config.cookie.secure { "__Host-device" } else { "device" }))
}

fn sealed_cookies(config: &Config, keys: &Arc<SealingKeys>) -> Option<SealedCookies> {
    let names = &config.identity.seal_cookies;
    (!names.is_empty())
        .then(|| SealedCookies::new(names.iter().map(|name| CookieName::new(name)).collect(), keys.clone()))
}

/// Who verifies tokens under this configuration: whoever did before, where the rules are the same.
fn bearer(services: &Services, before: Option<&Arc<Bearer>>) -> Option<Arc<Bearer>> {
    let (config, commons) = (&services.config, &services.commons);
    let rules = &config.bearer.as_ref()?.rules;
    let same = before.filter(|before| before.is_for(rules, &config.identity.rules)).cloned();
    let another = || Bearer::new(rules.clone(), config.identity.rules, &commons.clock, &commons.metrics);
    Some(same.unwrap_or_else(another))
}

/// Who signs under this configuration: whoever did before, where the rules are the same, or who follows them.
fn signer(services: &Services, before: Option<&Arc<Signer>>) -> Option<Arc<Signer>> {
    let rules = services.config.identity.signed.as_ref()?;
    let issuer = services.config.server.public_url.to_string();
    let same = before.filter(|before| before.is_for(rules, &issuer)).cloned();
    let another = || Arc::new(Signer::new(rules, &issuer, &services.commons.clock, before.map(|before| &**before)));
    Some(same.unwrap_or_else(another))
}

/// Gateways that share a store are one to a request that goes round; any other is itself alone.
fn mark(services: &Services) -> Result<GatewayMark, EntropyError> {
    let Config { store, secrets, server, .. } = &*services.config;
    let StoreKind::Redis { address, .. } = &store.kind else {
        let mut bytes = [0; 16];
        services.commons.entropy.fill(&mut bytes)?;
        return Ok(GatewayMark::of(bytes));
    };
    let [url, password] = address.expose_secret();
    Ok(GatewayMark::shared_by(&[
        url.as_bytes(),
        password.as_bytes(),
        store.prefix.as_bytes(),
        secrets.key.as_ref().map_or("", Secret::expose_secret).as_bytes(),
        server.public_url.to_string().as_bytes(),
    ]))
}
