//! A configuration from its tables: every section by itself, whatever is wrong with the others, then what several of them
//! must agree about.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::Method;

use super::error::{Place, Problems};
use super::files::Files;
use super::front::FrontConfig;
use super::login::Logins;
use super::paths::{OwnPath, Settings, own_paths, report_conflicts};
use super::raw::{
    RawAdmin, RawAlerts, RawAudit, RawBearer, RawConfig, RawCookie, RawCors, RawErrors, RawEvent, RawIdentity,
    RawLogin, RawLogout, RawMonitor, RawRoute, RawSecrets, RawServer, RawSession, RawStore, RawTelemetry, RawTenants,
    RawUpstream,
};
use super::reader::{DateText, Named, Spot};
use super::routes::Defaults;
use super::table::Field;
use super::upstream::Upstreams;
use super::{
    AdminConfig, AuditConfig, BearerConfig, ConfigDigest, ErrorsConfig, IdentityConfig, LoginConfig, LogoutConfig,
    Mode, SecretsConfig, ServerConfig, SessionConfig, StoreConfig, TelemetryConfig, TenantsConfig, UpstreamConfig,
    WatchedPaths,
};
use super::{
    admin, alerts, bearer, captured, chosen, cookie, cors, errors, events, front, identity, login, logout, mode,
    monitor, parsers, places, roles, routes, sealed, secrets, server, session, signed, store, telemetry, tenants,
    upstream, watched,
};
use crate::alerts::AlertRules;
use crate::http::{CookieAttributes, CorsPolicy};
use crate::monitor::MonitorRules;
use crate::policy::{EventTable, RouteTable};

/// A complete, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the gateway listens, what it is called, and how much it takes.
    pub server: ServerConfig,
    /// The backends by name; the `[upstream]` table is `default`.
    pub upstreams: BTreeMap<Arc<str>, UpstreamConfig>,
    /// Where sessions are kept.
    pub store: StoreConfig,
    /// How long sessions live.
    pub session: SessionConfig,
    /// The session cookie.
    pub cookie: CookieAttributes,
    /// What the backend is told of a session.
    pub identity: IdentityConfig,
    /// Which requests are logins.
    pub login: LoginConfig,
    /// Which requests end sessions.
    pub logout: LogoutConfig,
    /// Who may call what; the routes of login and logout included.
    pub routes: RouteTable,
    /// Which requests mean something for sessions once the backend has done them.
    pub events: EventTable,
    /// How the backend is asked about a tenant at login; `None`: it is not.
    pub tenants: Option<TenantsConfig>,
    /// Whose pages may read what the gateway answers.
    pub cors: CorsPolicy,
    /// How failures are shown.
    pub errors: ErrorsConfig,
    /// Whose tokens are believed; `None`: nobody's.
    pub bearer: Option<BearerConfig>,
    /// What is noticed, and what is done about it; `None`: nothing.
    pub monitor: Option<MonitorRules>,
    /// Where it looks at requests.
    pub watched: WatchedPaths,
    /// The endpoints for the app's own front end; `None`: there are none.
    pub front: Option<FrontConfig>,
    /// Who is told of what was found; `None`: nobody.
    pub alerts: Option<Arc<AlertRules>>,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Where audit events go.
    pub audit: AuditConfig,
    /// How the gateway logs.
    pub telemetry: TelemetryConfig,
    /// Secrets that are used by what signs or encrypts.
    pub secrets: SecretsConfig,
    /// Which text this is.
    pub digest: ConfigDigest,
    /// Things that are allowed but that an operator should know: logged at start, shown by `check`.
    pub warnings: Vec<String>,
}

impl Config {
    /// Whether a request is for those who have no tenant yet.
    #[must_use]
    pub fn onboards<S: AsRef<str>>(&self, method: &Method, segments: &[S], trailing_slash: bool) -> bool {
        let onboarding = self.tenants.as_ref().and_then(|tenants| tenants.onboarding.as_ref());
        onboarding.is_some_and(|onboarding| onboarding.covers(method, segments, trailing_slash))
    }
}

/// Where a configuration stands.
pub(super) struct Source<'a> {
    /// Its beginning.
    pub(super) place: Place,
    /// `None`: in no file.
    pub(super) path: Option<&'a Path>,
}

/// The whole of it. `None` only when something was reported.
pub(super) fn assemble(raw: RawConfig, source: &Source<'_>, problems: &mut Problems) -> Option<Config> {
    let mut files = Files::default();
    if let Some(path) = source.path {
        files.configuration(&source.place, path);
    }
    raw.upstream.get().into_iter().for_each(|raw| files.of_upstream(raw));
    raw.upstreams.get().into_iter().flat_map(|named| named.0.values()).for_each(|raw| files.of_upstream(&raw.value));
    let (tables, listed) = Tables::of(raw);
    tables.report_files(&mut files);
    let sections = Sections::of(&tables, listed, &source.place, problems);
    sections.report_files(&tables, &mut files);
    sections.agree(&tables, problems);
    files.report_shared(problems);
    sections.into_config()
}

/// The tables as they are written. One that is not there is one without any key, but where that is another thing.
struct Tables {
    /// Where `[login]` stands.
    login: Place,
    server: RawServer,
    store: RawStore,
    session: RawSession,
    cookie: RawCookie,
    identity: RawIdentity,
    logout: RawLogout,
    routes: Vec<Spot<RawRoute>>,
    events: Vec<Spot<RawEvent>>,
    tenants: Option<RawTenants>,
    cors: RawCors,
    errors: RawErrors,
    bearer: Option<RawBearer>,
    monitor: Option<(Place, RawMonitor)>,
    alerts: Option<RawAlerts>,
    admin: RawAdmin,
    audit: RawAudit,
    telemetry: RawTelemetry,
    secrets: RawSecrets,
}

/// Tables of which there may be several.
struct Listed {
    upstream: Field<RawUpstream>,
    upstreams: Field<Named<RawUpstream>>,
    logins: Vec<RawLogin>,
}

impl Tables {
    fn of(raw: RawConfig) -> (Self, Listed) {
        let tables = Self {
            login: raw.login.place().clone(),
            server: raw.server.table(),
            store: raw.store.table(),
            session: raw.session.table(),
            cookie: raw.cookie.table(),
            identity: raw.identity.table(),
            logout: raw.logout.table(),
            routes: raw.routes.into_value().unwrap_or_default(),
            events: raw.events.into_value().unwrap_or_default(),
            tenants: raw.tenants.is_given().then(|| raw.tenants.table()),
            cors: raw.cors.table(),
            errors: raw.errors.table(),
            bearer: raw.bearer.is_given().then(|| raw.bearer.table()),
            monitor: raw.monitor.is_given().then(|| (raw.monitor.place().clone(), raw.monitor.table())),
            alerts: raw.alerts.is_given().then(|| raw.alerts.table()),
            admin: raw.admin.table(),
            audit: raw.audit.table(),
            telemetry: raw.telemetry.table(),
            secrets: raw.secrets.table(),
        };
        (tables, Listed { upstream: raw.upstream, upstreams: raw.upstreams, logins: raw.login.tables() })
    }

    /// Which files they name.
    fn report_files(&self, files: &mut Files) {
        files.of_server(&self.server);
        files.of_store(&self.store);
        files.of_admin(&self.admin);
        files.of_secrets(&self.secrets);
        files.of_telemetry(&self.telemetry);
        signed::files(&self.identity, files);
        self.bearer.iter().for_each(|raw| bearer::files(raw, files));
        self.monitor.iter().for_each(|(_, raw)| places::files(raw, files));
        self.alerts.iter().for_each(|raw| alerts::files(raw, files));
    }
}

/// What each section comes to; `None` where it cannot come to anything.
struct Sections {
    mode: Mode,
    server: Option<ServerConfig>,
    upstreams: Upstreams,
    store: Option<StoreConfig>,
    session: SessionConfig,
    cookie: Option<CookieAttributes>,
    identity: IdentityConfig,
    logins: Logins,
    logout: LogoutConfig,
    own_paths: Vec<OwnPath>,
    routes: RouteTable,
    events: EventTable,
    tenants: Option<TenantsConfig>,
    cors: CorsPolicy,
    errors: ErrorsConfig,
    bearer: Option<BearerConfig>,
    monitor: Option<MonitorRules>,
    watched: WatchedPaths,
    front: Option<FrontConfig>,
    alerts: Option<AlertRules>,
    admin: AdminConfig,
    audit: AuditConfig,
    telemetry: TelemetryConfig,
    secrets: SecretsConfig,
}

impl Sections {
    /// Each in turn; a later one may go by an earlier one.
    fn of(tables: &Tables, listed: Listed, file: &Place, problems: &mut Problems) -> Self {
        let mode = mode::mode(&tables.server, problems);
        let server = server::server(&tables.server, mode, problems);
        let upstreams = upstream::upstreams(listed.upstream, &listed.upstreams, file, problems);
        let session = session::session(&tables.session, problems);
        let cookie = cookie::cookie(&tables.cookie, server.as_ref().map(|server| &server.public_url), problems);
        let identity = identity::identity(&tables.identity, mode, problems);
        let further_methods = server.as_ref().map_or(&[][..], |server| &server.further_methods);
        let own_cookie = cookie.as_ref().map_or("", |cookie| cookie.name.as_str());
        let mut logins = login::logins(listed.logins, own_cookie, further_methods, problems);
        let tenants = tables
            .tenants
            .as_ref()
            .and_then(|raw| tenants::tenants(raw, logins.config(), &session.limits, further_methods, problems));
        if tenants.as_ref().is_some_and(TenantsConfig::asks_about_the_user) {
            logins.ask_for_tenants();
        }
        let logout = logout::logout(&tables.logout, problems);
        let monitor = tables.monitor.as_ref().and_then(|(_, raw)| monitor::monitor(raw, problems));
        let raw_monitor = tables.monitor.as_ref().map(|(_, raw)| raw);
        let front = raw_monitor.and_then(|raw| front::front(raw, monitor.is_some(), problems));
        let settings = Settings::of(&tables.session, &tables.logout, raw_monitor);
        let own_paths = own_paths(&session, &logins, &logout, front.as_ref(), &settings);
        // A wrong date has been reported by its own section.
        let compat_until = tables.identity.compat_until.get().and_then(|DateText(text)| identity::date(text).ok());
        let defaults = Defaults { mode, further_methods, identity: identity.mode, compat_until };
        let mut routes = routes::routes(&tables.routes, &own_paths, &defaults, &upstreams, problems);
        if let Some(tenants) = &tenants {
            routes::block(&mut routes, &tenants.asked);
        }
        let events = events::events(&tables.events, further_methods, &routes, &own_paths, problems);
        let watched = tables.monitor.as_ref().map(|(_, raw)| watched::watched(raw, monitor.as_ref(), problems));
        let trusted = server.as_ref().map_or(&[][..], |server| &server.trusted_origins);
        let traffic: Vec<_> =
            server.iter().flat_map(|server| server.listen.iter().copied().chain(server.redirect_http)).collect();
        let email = tables.alerts.as_ref().and_then(|raw| alerts::user_email(raw, problems));
        if let Some(email) = &email {
            logins.look_for_emails(email);
        }
        let site = server.as_ref().map_or("", |server| server.public_url.host());
        Self {
            mode,
            store: store::store(&tables.store, problems),
            tenants,
            cors: cors::cors(&tables.cors, trusted, problems),
            errors: errors::errors(&tables.errors, problems),
            bearer: tables.bearer.as_ref().and_then(|raw| bearer::bearer(raw, mode, problems)),
            monitor,
            watched: watched.unwrap_or_default(),
            front,
            alerts: tables.alerts.as_ref().and_then(|raw| alerts::alerts(raw, site, email.is_some(), problems)),
            admin: admin::admin(&tables.admin, mode, &traffic, problems),
            audit: telemetry::audit(&tables.audit, problems),
            telemetry: telemetry::telemetry(&tables.telemetry, problems),
            secrets: secrets::secrets(&tables.secrets, mode, problems),
            server,
            upstreams,
            session,
            cookie,
            identity,
            logins,
            logout,
            own_paths,
            routes,
            events,
        }
    }

    /// Which files are written.
    fn report_files(&self, tables: &Tables, files: &mut Files) {
        self.store.iter().for_each(|store| store.report_written(&tables.store, files));
        self.audit.report_written(&tables.audit, self.secrets.key.is_none(), files);
    }

    /// What no section can say by itself.
    fn agree(&self, tables: &Tables, problems: &mut Problems) {
        report_conflicts(&self.own_paths, self.logins.refreshes(), problems);
        if let Some(server) = &self.server {
            identity::report_allowed(&tables.server.allow_headers, &server.allow_headers, &self.identity, problems);
        }
        if let Some(logins) = self.logins.config() {
            let Self { secrets, bearer, session, mode, .. } = self;
            captured::report(&tables.login, logins, secrets, (bearer.as_ref(), session), *mode, problems);
        }
        if let Some(cookie) = &self.cookie {
            let own = cookie.name.as_str();
            parsers::report_own_cookie(&tables.logout.clear_cookies, own, problems);
            logout::report_kept_cookies(&tables.logout, self.logins.config(), problems);
            sealed::report(&tables.identity, &tables.logout, own, &self.secrets, self.mode, problems);
            sealed::report_followed(&tables.identity, self.logins.config(), problems);
        }
        chosen::report(&tables.identity, &self.identity, self.logins.tenants_listed(), problems);
        if let (Some((place, raw)), Some(rules)) = (&tables.monitor, &self.monitor) {
            monitor::report_secret(place, &self.secrets, self.mode, problems);
            places::report_blind(raw, &rules.places, problems);
        }
        let onboards = self.tenants.as_ref().is_some_and(|tenants| tenants.onboarding.is_some());
        if let (true, Some(raw)) =
            (onboards && self.logins.config().is_some_and(LoginConfig::captures_tokens), &tables.tenants)
        {
            problems.error(raw.onboarding.place(), "cannot stand beside a login with `capture = \"jwt\"`: its token does not move into the new tenant; remove one of the two");
        }
        if let Some(raw) = tables.tenants.as_ref().filter(|_| self.logins.disagree_about_tenants()) {
            problems.error(
                raw.verify.place(),
                "cannot tell users without a tenant apart: a login of the same kind lets them in unasked \
                 (`without_tenant = \"session\"`); give its users a `kind` of their own",
            );
        }
        let named = |config: &LoginConfig| config.logins.iter().any(|login| roles::are_named_by(&login.rules));
        if self.logins.config().is_some_and(|config| !named(config)) {
            roles::report_unnamed(&tables.routes, &tables.events, problems);
        }
        roles::report_excluded(&tables.events, &self.routes, problems);
    }

    fn into_config(self) -> Option<Config> {
        Some(Config {
            server: self.server?,
            upstreams: self.upstreams.into_map(),
            store: self.store?,
            session: self.session,
            cookie: self.cookie?,
            identity: self.identity,
            login: self.logins.into_config()?,
            logout: self.logout,
            routes: self.routes,
            events: self.events,
            tenants: self.tenants,
            cors: self.cors,
            errors: self.errors,
            bearer: self.bearer,
            monitor: self.monitor,
            watched: self.watched,
            front: self.front,
            alerts: self.alerts.map(Arc::new),
            admin: self.admin,
            audit: self.audit,
            telemetry: self.telemetry,
            secrets: self.secrets,
            digest: ConfigDigest::default(),
            warnings: Vec::new(),
        })
    }
}
