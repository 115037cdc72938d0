//! Configuration: one TOML file, turned into domain types that cannot be wrong.
//!
//! `raw` mirrors the file; each section turns its raw part into the types below and reports every error it finds, so
//! that an operator sees all of them at once. What the file means is decided here and nowhere else: whoever holds a
//! [`Config`] need not check it again.
//!
//! It reads the file and the secret files that it names. It must never open a socket, and never show a secret.

mod address;
mod admin;
mod bearer;
mod cookie;
mod cors;
mod dated;
mod digest;
mod error;
mod errors;
mod events;
mod files;
mod identity;
mod login;
mod logout;
mod mode;
mod parsers;
mod paths;
mod raw;
mod reader;
mod roles;
mod routes;
mod sealed;
mod secrets;
mod server;
mod session;
mod store;
mod syntax;
mod table;
mod telemetry;
mod tenants;
mod tls;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use admin::{AdminConfig, AdminRole, AdminToken};
pub use bearer::BearerConfig;
pub use digest::ConfigDigest;
pub use error::{ConfigError, ConfigErrors};
pub use errors::ErrorsConfig;
pub use identity::{ClientValue, IdentityConfig};
pub use login::{Login, LoginConfig, LoginPath};
pub use logout::LogoutConfig;
pub use mode::Mode;
pub use secrets::SecretsConfig;
pub use server::{ProxyProtocol, ServerConfig};
pub use session::{CacheControl, SessionConfig};
pub use store::{StoreConfig, StoreKind};
pub use telemetry::{AuditConfig, TelemetryConfig, TracesConfig};
pub use tenants::TenantsConfig;
pub use tls::TlsConfig;
pub use upstream::{BodyMode, HostHeader, UpstreamConfig};
pub(crate) use value::{duration, show_duration};

use crate::http::{CookieAttributes, CorsPolicy};
use crate::policy::{EventTable, RouteTable};
use crate::settled::{self, ReadError};
use error::{Place, Problems};
use files::Files;
use paths::Settings;
use raw::RawConfig;
use reader::{DateText, Reader};
use routes::Defaults;
use table::read_table;

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

/// The file that is read when the command line names none and the environment neither.
const DEFAULT_FILE: &str = "config/gateway.toml";
/// The environment variable that names the file.
const FILE_VARIABLE: &str = "SESSION_GATEWAY_CONFIG";
/// A larger file is not a configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// The file to read: the one the command line names, else `$SESSION_GATEWAY_CONFIG`, else `config/gateway.toml`.
#[must_use]
pub fn locate(named: Option<PathBuf>, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let from_environment = || variable(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
}

/// The process's environment, for [`Config::load`].
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Config {
    /// Reads and checks a file. `variable` looks up environment variables.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let name = file.display().to_string();
        let text = read(file).map_err(|message| ConfigError::of_file(&name, message))?;
        Self::parse_file(&name, &text, Some(file), variable)
    }

    /// Checks a file's text; `name` is the file's name in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Self::parse_file(name, text, None, variable)
    }

    fn parse_file(
        name: &str,
        text: &str,
        path: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(text, variable);
        let (document, faults) = DeTable::parse_recoverable(text);
        for (offset, message) in syntax::faults(text, &faults) {
            let place = reader.place(String::new(), offset);
            reader.problems.error(&place, message);
        }
        if !faults.is_empty() {
            // What was recovered of a broken file would give errors that are none.
            return Err(reader.problems.into_errors(name));
        }
        let file = reader.place(String::new(), 0);
        let raw: RawConfig = read_table(document.get_ref(), file.clone(), &mut reader);
        let mut problems = reader.problems;
        let source = Source { place: file, path };
        match assemble(raw, &source, &mut problems) {
            Some(config) if problems.no_errors() => {
                let digest = ConfigDigest::of(text);
                Ok(Self { digest, warnings: problems.into_warnings(name), ..config })
            }
            _ => Err(problems.into_errors(name)),
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let bytes = match settled::read(file, LARGEST_FILE) {
        Ok(settled) => settled.bytes,
        Err(error @ (ReadError::Io(_) | ReadError::Missing(..))) => {
            return Err(format!("{error}; name another file with --config"));
        }
        Err(error) => return Err(error.to_string()),
    };
    let text = String::from_utf8(bytes).map_err(|_| String::from("is not UTF-8; save it as UTF-8"))?;
    // The start of a configuration is often a valid one.
    if text.ends_with('\n') {
        Ok(text)
    } else {
        Err(String::from("does not end with the end of a line, so that it may have been cut off; end its last line"))
    }
}

/// Where a configuration stands.
struct Source<'a> {
    /// Its beginning.
    place: Place,
    /// `None`: in no file.
    path: Option<&'a Path>,
}

/// Every section in turn, whatever is wrong with the others. `None` only when something was reported.
fn assemble(raw: RawConfig, source: &Source<'_>, problems: &mut Problems) -> Option<Config> {
    let mut files = Files::default();
    if let Some(path) = source.path {
        files.configuration(&source.place, path);
    }
    raw.upstream.get().into_iter().for_each(|raw| files.of_upstream(raw));
    raw.upstreams.get().into_iter().flat_map(|named| named.0.values()).for_each(|raw| files.of_upstream(&raw.value));
    let raw_server = raw.server.table();
    let mode = mode::mode(&raw_server, problems);
    files.of_server(&raw_server);
    let server = server::server(&raw_server, mode, problems);
    let upstreams = upstream::upstreams(raw.upstream, &raw.upstreams, &source.place, problems);
    let raw_store = raw.store.table();
    files.of_store(&raw_store);
    let store = store::store(&raw_store, problems);
    store.iter().for_each(|store| store.report_written(&raw_store, &mut files));
    let raw_session = raw.session.table();
    let session = session::session(&raw_session, problems);
    let public_url = server.as_ref().map(|server| &server.public_url);
    let cookie = cookie::cookie(&raw.cookie.table(), public_url, problems);
    let raw_identity = raw.identity.table();
    let identity = identity::identity(&raw_identity, mode, problems);
    if let Some(server) = &server {
        identity::report_allowed(&raw_server.allow_headers, &server.allow_headers, &identity, problems);
    }
    let further_methods = server.as_ref().map_or(&[][..], |server| &server.further_methods);
    let own_cookie = cookie.as_ref().map_or("", |cookie| cookie.name.as_str());
    let logins = login::logins(raw.login.tables(), own_cookie, further_methods, problems);
    let raw_logout = raw.logout.table();
    let logout = logout::logout(&raw_logout, problems);
    if let Some(cookie) = &cookie {
        parsers::report_own_cookie(&raw_logout.clear_cookies, cookie.name.as_str(), problems);
        logout::report_kept_cookies(&raw_logout, logins.config(), problems);
    }
    let own_paths = paths::own_paths(&session, &logins, &logout, &Settings::of(&raw_session, &raw_logout));
    paths::report_conflicts(&own_paths, problems);
    // A wrong date has been reported by its own section.
    let compat_until = raw_identity.compat_until.get().and_then(|DateText(text)| identity::date(text).ok());
    let defaults = Defaults { mode, further_methods, identity: identity.mode, compat_until };
    let raw_routes = raw.routes.get().map_or(&[][..], Vec::as_slice);
    let routes = routes::routes(raw_routes, &own_paths, &defaults, &upstreams, problems);
    let raw_events = raw.events.get().map_or(&[][..], Vec::as_slice);
    let events = events::events(raw_events, further_methods, &routes, &own_paths, problems);
    let named = |config: &LoginConfig| config.logins.iter().any(|login| roles::are_named_by(&login.rules));
    if logins.config().is_some_and(|config| !named(config)) {
        roles::report_unnamed(raw_routes, raw_events, problems);
    }
    roles::report_excluded(raw_events, &routes, problems);
    let tenants =
        if raw.tenants.is_given() { tenants::tenants(&raw.tenants.table(), logins.config(), problems) } else { None };
    let trusted = server.as_ref().map_or(&[][..], |server| &server.trusted_origins);
    let cors = cors::cors(&raw.cors.table(), trusted, problems);
    let errors = errors::errors(&raw.errors.table(), problems);
    let bearer = if raw.bearer.is_given() {
        let raw = raw.bearer.table();
        bearer::files(&raw, &mut files);
        bearer::bearer(&raw, mode, problems)
    } else {
        None
    };
    let traffic: Vec<_> =
        server.iter().flat_map(|server| server.listen.iter().copied().chain(server.redirect_http)).collect();
    let raw_admin = raw.admin.table();
    files.of_admin(&raw_admin);
    let admin = admin::admin(&raw_admin, mode, &traffic, problems);
    let raw_secrets = raw.secrets.table();
    files.of_secrets(&raw_secrets);
    let secrets = secrets::secrets(&raw_secrets, mode, problems);
    if let Some(cookie) = &cookie {
        sealed::report(&raw_identity, &raw_logout, cookie.name.as_str(), &secrets, mode, problems);
    }
    let raw_audit = raw.audit.table();
    let audit = telemetry::audit(&raw_audit, problems);
    audit.report_written(&raw_audit, secrets.key.is_none(), &mut files);
    files.report_shared(problems);
    let telemetry = telemetry::telemetry(&raw.telemetry.table(), problems);
    Some(Config {
        server: server?,
        upstreams: upstreams.into_map(),
        store: store?,
        session,
        cookie: cookie?,
        identity,
        login: logins.into_config()?,
        logout,
        routes,
        events,
        tenants,
        cors,
        errors,
        bearer,
        admin,
        audit,
        telemetry,
        secrets,
        digest: ConfigDigest::default(),
        warnings: Vec::new(),
    })
}
