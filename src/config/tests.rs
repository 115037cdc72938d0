//! The configuration as operators meet it: files in, values or error lines out.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use proptest::prelude::*;
use toml::de::{DeTable, DeValue};

use super::raw::RawConfig;
use super::reader::{Read, Reader, read_table};
use super::{AuditTarget, Capture, Config, HostHeader, PeerAddress, StoreKind, locate};
use crate::http::SameSite;
use crate::policy::{Auth, IdentityMode, PathPattern};

const MINIMAL: &str = include_str!("../../config/minimal.toml");
const COMPLETE: &str = include_str!("../../config/gateway.toml");

/// A production configuration in three lines, to which a test adds what it is about.
const BASE: &str = "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n";
/// The same in development.
const LOCAL: &str = "server = { public_url = \"http://localhost:8080\", mode = \"development\" }\n\
                     upstream.url = \"http://b\"\nstore.embedded = \"s\"\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "HOST" => Some(String::from("env.test")),
        "TOKEN" => Some(String::from("from-the-environment-and-long-enough")),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse("t.toml", text, &environment).map_err(|errors| errors.all().iter().map(ToString::to_string).collect())
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{}", errors.join("\n")))
}

fn errors(text: &str) -> Vec<String> {
    parse(text).err().unwrap_or_default()
}

fn auth(config: &Config, method: &Method, path: &str) -> Auth {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    config.routes.pick(method, &segments, path.ends_with('/')).auth
}

#[test]
fn the_eleven_lines_are_enough() {
    assert_eq!(MINIMAL.lines().count(), 11);
    let config = valid(MINIMAL);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.server.listen, ["0.0.0.0:8080".parse().expect("an address")]);
    assert_eq!(config.server.public_url.to_string(), "https://app.example.com");
    assert_eq!(
        config.upstreams.get("default").expect("an upstream").peers,
        [PeerAddress::Tcp { host: String::from("127.0.0.1"), port: 5059 }]
    );
    let StoreKind::Redis { url, password: None } = &config.store.kind else { panic!("{:?}", config.store) };
    assert_eq!(url.expose_secret(), "redis://127.0.0.1:6379/0");
    let Capture::Json(pointers) = &config.login.capture else { panic!("{:?}", config.login.capture) };
    assert_eq!(
        pointers.tenant.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        ["/user/customer_id", "/customer_id"]
    );
    assert_eq!(config.cookie.name.as_str(), "__Host-session");
    assert!(config.cookie.secure && config.cookie.same_site == SameSite::Lax);
    assert_eq!(config.identity.mode, IdentityMode::Enforce);
    assert_eq!(config.session.limits.absolute, Duration::from_secs(8 * 3600));
    assert_eq!(config.session.status_path.as_ref().map(PathPattern::as_str), Some("/api/session/status"));
    assert!(config.tenants.is_none() && config.admin.token.is_none() && config.secrets.key.is_none());
    for (path, expected) in [
        ("/api/login", Auth::Public),
        ("/api/login/", Auth::Public),
        ("/login", Auth::Public),
        ("/api/logout", Auth::Public),
        ("/api/auth/revoke-all-tokens", Auth::Public),
        ("/api/orders", Auth::Required),
        ("/", Auth::Required),
    ] {
        assert_eq!(auth(&config, &Method::POST, path), expected, "{path}");
    }
}

/// `Debug` shows every value, so equal texts are equal configurations.
fn shown(config: &Config) -> String {
    format!("{config:#?}").replace("/var/tmp", &std::env::temp_dir().display().to_string())
}

#[test]
fn the_documented_file_is_valid_and_shows_the_true_defaults() {
    let complete = valid(COMPLETE);
    assert_eq!(complete.warnings, Vec::<String>::new());
    let sparse = valid(
        "server.public_url = \"https://app.example.com\"\nupstream.url = \"http://127.0.0.1:5059\"\n\
         store.redis = \"redis://127.0.0.1:6379/0\"",
    );
    // Its route table differs in nothing but the order in which hash maps are shown.
    assert_eq!(
        shown(&Config { routes: sparse.routes.clone(), session: sparse.session.clone(), ..complete.clone() }),
        shown(&sparse)
    );
    assert_eq!(complete.session.limits, sparse.session.limits);
}

/// The documented file with its examples turned on.
fn uncommented() -> String {
    COMPLETE
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| !c.is_whitespace())).unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn keys(table: &DeTable<'_>, path: &str, named: &[&str], found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key = if named.contains(&path) { "*" } else { key.get_ref() };
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value.get_ref() {
            DeValue::Table(table) => keys(table, &path, named, found),
            DeValue::Array(list) if list.iter().any(|element| element.get_ref().is_table()) => {
                for table in list.iter().filter_map(|element| element.get_ref().as_table()) {
                    keys(table, &path, named, found);
                }
            }
            _ => {
                found.insert(path.replace("upstreams.*.", "upstream."));
            }
        }
    }
}

#[test]
fn every_known_key_is_documented_and_every_documented_key_is_known() {
    let text = uncommented();
    let document = DeTable::parse(&text).expect("the examples are TOML");
    let mut documented = BTreeSet::new();
    keys(document.get_ref(), "", &["upstreams", "identity.query"], &mut documented);
    let mut known = Vec::new();
    RawConfig::describe("", &mut known);
    let known: BTreeSet<String> = known.iter().map(|path| path.replace("upstreams.*.", "upstream.")).collect();
    assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "documented, but not known");
    assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "known, but not documented");
}

#[test]
fn every_example_of_the_documented_file_is_of_the_right_type() {
    let text = uncommented();
    let document = DeTable::parse(&text).expect("the examples are TOML");
    let mut reader = Reader::new(&text, &|_| Some(String::from("x")));
    let file = reader.place(String::new(), 0);
    let _: RawConfig = read_table(document.get_ref(), file, &mut reader);
    assert!(reader.problems.no_errors(), "{}", reader.problems.into_errors("config/gateway.toml"));
}

#[test]
fn an_empty_file_names_all_that_is_missing() {
    assert_eq!(
        errors(""),
        [
            "t.toml:1: server.public_url: is missing; add `public_url = \"https://app.example.com\"`",
            "t.toml:1: upstream: is missing; add `[upstream]` with `url = \"http://127.0.0.1:5000\"`",
            "t.toml:1: store.redis: is missing; add `redis = \"redis://127.0.0.1:6379/0\"` or \
             `embedded = \"data/sessions.redb\"`",
        ]
    );
}

#[test]
fn all_errors_are_told_together_in_the_order_of_the_file() {
    let text = "[session]\nidel = \"5m\"\nabsolute = 8\n[server]\nmode = \"prod\"\npublic_url = \"https://a.test/app\"\n\
                [nonsense]\nx = 1\n[upstream]\nurl = \"https://b\"\n[store]\nembedded = \"s\"\n";
    assert_eq!(
        errors(text),
        [
            "t.toml:2: session.idel: is not a known key; did you mean `idle`?",
            "t.toml:3: session.absolute: is an integer; write a string",
            "t.toml:5: server.mode: \"prod\" is not known; choose one of \"production\", \"development\"",
            "t.toml:6: server.public_url: \"https://a.test/app\" is not an origin; write scheme, host and port alone, as \
             in \"https://app.example.com\"",
            "t.toml:7: nonsense: is not a known key; remove it",
            "t.toml:10: upstream.url: an https upstream is not supported by this version; use http:// or unix:",
        ]
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    for (text, start) in [
        ("[server\nmode = 1", "t.toml:1: is not TOML: "),
        ("[server]\nmode = \"a\"\nmode = \"b\"", "t.toml:3: is not TOML: "),
        ("[server]\n\nmode = production", "t.toml:3: is not TOML: "),
    ] {
        let errors = errors(text);
        assert!(errors.iter().any(|error| error.starts_with(start)), "{text:?}: {errors:?}");
    }
}

/// Added to [`BASE`], so that the first added line is line 4.
#[test]
fn each_bad_value_is_refused_with_what_to_do() {
    for (added, expected) in [
        (
            "server.listen = \"8080\"",
            "t.toml:4: server.listen: \"8080\" is not an address and port; write it as \"127.0.0.1:8080\" or \"[::]:8080\"",
        ),
        ("server.listen = []", "t.toml:4: server.listen: is empty; write at least one address as \"127.0.0.1:8080\""),
        (
            "server.listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            "t.toml:4: server.listen[1]: 127.0.0.1:1 collides with an earlier address; remove one",
        ),
        (
            "server.max_header = \"2MiB\"",
            "t.toml:4: server.max_header: \"2MiB\" is out of bounds; choose from \"1KiB\" to \"1MiB\"",
        ),
        ("server.max_headers = 7", "t.toml:4: server.max_headers: 7 is out of bounds; choose from 8 to 1000"),
        ("server.max_headers = -1", "t.toml:4: server.max_headers: is negative or too large; write a whole number"),
        (
            "server.header_timeout = \"10\"",
            "t.toml:4: server.header_timeout: \"10\" is not a duration; write one as \"500ms\", \"30s\", \"1h30m\" or \"7d\"",
        ),
        (
            "server.hosts = [\"a.test:80\"]",
            "t.toml:4: server.hosts[0]: \"a.test:80\" is not a host name or address without port, \"*.\" and a name, or \"*\"",
        ),
        (
            "server.trusted_proxies = [\"10.0.0.0/33\"]",
            "t.toml:4: server.trusted_proxies[0]: \"10.0.0.0/33\" is neither a network nor an address; write it as \"10.0.0.0/8\" or \"10.1.2.3\"",
        ),
        (
            "server.allow_headers = [\"x_user_id\"]",
            "t.toml:4: server.allow_headers: \"x_user_id\" is protected; clients may never send it, so remove it",
        ),
        (
            "server.proxy_protocol = \"optional\"",
            "t.toml:4: server.proxy_protocol: is not supported by this version; remove it",
        ),
        (
            "server.tls = { cert = \"a\", key = \"b\" }",
            "t.toml:4: server.tls: is not supported by this version; remove it",
        ),
        (
            "upstream.health_path = \"/x\"",
            "t.toml:4: upstream.health_path: is not supported by this version; remove it",
        ),
        (
            "upstream.balance = \"hash-tenant\"",
            "t.toml:4: upstream.balance: \"hash-tenant\" is not supported by this version; remove it",
        ),
        ("upstream.urls = [\"http://a\"]", "t.toml:4: upstream.urls: stands beside `url`; keep one of the two"),
        (
            "upstreams.x.url = \"http://a/b\"",
            "t.toml:4: upstreams.x.url: \"http://a/b\" has a path; backends get the client's path, so end it after the port",
        ),
        (
            "upstreams.x.url = \"http://me:hidden@a\"",
            "t.toml:4: upstreams.x.url: holds a user or password, which no backend is sent; remove it",
        ),
        ("upstreams.x.urls = []", "t.toml:4: upstreams.x.urls: has 0 addresses; write 1 to 64"),
        (
            "upstreams.default.url = \"http://a\"",
            "t.toml:4: upstreams.default: is the same as `[upstream]`; keep one of the two",
        ),
        ("store.redis = \"redis://a\"", "t.toml:3: store.embedded: stands beside `store.redis`; keep one of the two"),
        ("store.password = \"hidden\"", "t.toml:4: store.password: belongs to `store.redis`; remove it"),
        ("store.on_error = \"allow\"", "t.toml:4: store.on_error: \"allow\" is not known; choose one of \"deny\""),
        ("store.cache_entries = 5", "t.toml:4: store.cache_entries: is not supported by this version; remove it"),
        (
            "store.prefix = \"a{b}\"",
            "t.toml:4: store.prefix: \"a{b}\" cannot be a prefix; use up to 64 letters, digits, `:`, `-`, `_` or `.`",
        ),
        (
            "session.idle = \"100ms\"",
            "t.toml:4: session.idle: \"100ms\" is out of bounds; choose from \"1s\" to \"400d\"",
        ),
        (
            "session.absolute = \"off\"",
            "t.toml:4: session.absolute: \"off\" is not a duration; write one as \"500ms\", \"30s\", \"1h30m\" or \"7d\"",
        ),
        (
            "session.max_per_user = { count = 3 }",
            "t.toml:4: session.max_per_user: is not supported by this version; remove it",
        ),
        (
            "session.no_touch = [\"/a/*/b\"]",
            "t.toml:4: session.no_touch[0]: \"/a/*/b\" has a `*` that is not the whole last segment",
        ),
        ("session.status_path = \"/s/{x}\"", "t.toml:4: session.status_path: \"/s/{x}\" is a pattern; write one path"),
        ("session.expose = \"yes\"", "t.toml:4: session.expose: is a string; write true or false"),
        ("cookie.name = \"a b\"", "t.toml:4: cookie.name: \"a b\" is not 1 to 64 letters, digits, `-`, `_` or `.`"),
        (
            "cookie.same_site = \"None\"",
            "t.toml:4: cookie.same_site: \"None\" is not known; choose one of \"strict\", \"lax\", \"none\"",
        ),
        (
            "identity.user_header = \"x-customer-id\"",
            "t.toml:4: identity.user_header: is the same header as `identity.tenant_header`; give each its own",
        ),
        (
            "identity.tenant_header = \"X-User-Id\"",
            "t.toml:4: identity.tenant_header: is the same header as `identity.user_header`; give each its own",
        ),
        (
            "identity.user_header = \"Host\"",
            "t.toml:4: identity.user_header: \"Host\" has a meaning of its own in HTTP or is set by the gateway; choose another",
        ),
        (
            "identity.user_header = \"X_User\"",
            "t.toml:4: identity.user_header: \"X_User\" cannot be told apart by every backend; use up to 64 letters, digits and `-`",
        ),
        (
            "identity.strip = [\"Content-Type\"]",
            "t.toml:4: identity.strip[0]: \"Content-Type\" has a meaning of its own in HTTP or is set by the gateway; choose another",
        ),
        (
            "identity.query = { a = \"keep\" }",
            "t.toml:4: identity.query.a: \"keep\" is not known; choose one of \"overwrite\", \"drop\", \"match\"",
        ),
        (
            "identity.anonymous = \"a,b\"",
            "t.toml:4: identity.anonymous: \"a,b\" has a character other than visible ASCII without comma; write \"omit\" or a tenant",
        ),
        (
            "identity.mode = \"compat\"",
            "t.toml:4: identity.mode: \"compat\" needs an end in production; add `compat_until = \"2027-03-31\"`",
        ),
        (
            "identity = { mode = \"compat\", compat_until = \"soon\" }",
            "t.toml:4: identity.compat_until: \"soon\" is not a date; write it as \"2027-03-31\" or \"2027-03-31T18:00:00Z\"",
        ),
        ("login.path = []", "t.toml:4: login.path: is empty; write the path that logins are sent to"),
        ("login.path = \"login\"", "t.toml:4: login.path: \"login\" does not start with `/`"),
        ("login.capture = \"jwt\"", "t.toml:4: login.capture: \"jwt\" is not supported by this version; remove it"),
        (
            "login.capture = \"whoami\"",
            "t.toml:4: login.whoami: is missing; add `whoami = { path = \"/api/me\", tenant = \"/org/id\", user = \"/id\" }`",
        ),
        (
            "login = { capture = \"whoami\", whoami = { path = \"/me\", tenant = \"/t\" } }",
            "t.toml:4: login.whoami.user: is missing; add `user = \"/id\"`",
        ),
        (
            "login.tenant = \"customer_id\"",
            "t.toml:4: login.tenant: \"customer_id\" does not begin with a slash, as in \"/user/id\"",
        ),
        ("login.user = []", "t.toml:4: login.user: is empty; write where the answer names it, as in \"/user/id\""),
        (
            "login.failure = [\"401\"]",
            "t.toml:4: login.failure[0]: \"401\" is not a status that could be a success; write one from \"200\" to \"399\"",
        ),
        (
            "login.login_url = \"https://sso.test/\"",
            "t.toml:4: login.login_url: \"https://sso.test/\" is not a path; start it with one `/` and write it percent-encoded",
        ),
        (
            "login.login_url = \"//sso.test\"",
            "t.toml:4: login.login_url: \"//sso.test\" is not a path; start it with one `/` and write it percent-encoded",
        ),
        (
            "logout.path = \"/api/login\"",
            "t.toml:4: logout.path: \"/api/login\" is also `login.path` (line 1); give each a path of its own",
        ),
        (
            "logout = { path = \"/bye\", all_path = \"/bye/\" }",
            "t.toml:4: logout.all_path: \"/bye/\" is also `logout.path` (line 4); give each a path of its own",
        ),
        (
            "login.path = [\"/l\", \"/l/\"]",
            "t.toml:4: login.path: \"/l/\" is also `login.path` (line 4); give each a path of its own",
        ),
        (
            "session.status_path = \"/healthz\"",
            "t.toml:4: session.status_path: \"/healthz\" is a health endpoint; choose another path",
        ),
        ("logout.clear_cookies = [\"a;b\"]", "t.toml:4: logout.clear_cookies[0]: \"a;b\" is not the name of a cookie"),
        (
            "tenants.attempts = 3",
            "t.toml:4: tenants.verify: is missing; add `verify = \"/api/tenants/verify/{user_id}\"`",
        ),
        ("tenants.verify = \"/t/{user}\"", "t.toml:4: tenants.verify: {user} is not known; use {user_id} and {tenant}"),
        (
            "tenants.verify = \"/t\"",
            "t.toml:4: tenants.verify: \"/t\" has no {user_id} or {tenant}; write where they stand",
        ),
        (
            "admin.listen = \"0.0.0.0:8080\"",
            "t.toml:4: admin.listen: 0.0.0.0:8080 collides with 127.0.0.1:8080 of `server.listen`; give operators an address of their own",
        ),
        (
            "admin.token = \"hidden\"",
            "t.toml:4: admin.token: is shorter than 32 bytes; make a strong one with `session-gateway keygen`",
        ),
        (
            "admin.token = \"changeme\"",
            "t.toml:4: admin.token: is a well-known word; make a strong one with `session-gateway keygen`",
        ),
        (
            "admin.token_file = \"/nowhere/at/all\"",
            "t.toml:4: admin.token_file: \"/nowhere/at/all\" cannot be read: No such file or directory (os error 2)",
        ),
        (
            "admin = { token = \"${TOKEN}\", token_file = \"x\" }",
            "t.toml:4: admin.token_file: stands beside `admin.token`; keep one of the two",
        ),
        ("admin.tokens = [{ name = \"a\" }]", "t.toml:4: admin.tokens: is not supported by this version; remove it"),
        (
            "secrets.key = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
            "t.toml:4: secrets.key: is one repeated character; make a strong one with `session-gateway keygen`",
        ),
        ("audit.file = \"\"", "t.toml:4: audit.file: \"\" is not a file's path"),
        (
            "telemetry.level = \"verbose\"",
            "t.toml:4: telemetry.level: \"verbose\" is not known; choose one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        (
            "admin.listen = \"${UNSET}\"",
            "t.toml:4: admin.listen: the environment variable UNSET is not set; set it, or write `$${` for a literal `${`",
        ),
        ("[[events]]\nmatch = \"DELETE /a/{tenant}\"", "t.toml:4: events: is not supported by this version; remove it"),
        ("[monitor]", "t.toml:4: monitor: is not supported by this version; remove it"),
        ("[cors]\norigins = []", "t.toml:4: cors: is not supported by this version; remove it"),
        ("[[routes]]\nauth = \"public\"", "t.toml:4: routes[0].match: is missing; add `match = \"/static/*\"`"),
        (
            "[[routes]]\nmatch = \"/a\"\nauht = \"public\"",
            "t.toml:6: routes[0].auht: is not a known key; did you mean `auth`?",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nmethods = [\"get\"]",
            "t.toml:6: routes[0].methods[0]: \"get\" is not a method that is forwarded; write GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nauth = \"public\"\nroles = [\"x\"]",
            "t.toml:7: routes[0].roles: needs `auth = \"required\"`: without a session there is no role to check",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nupstream = \"defualt\"",
            "t.toml:6: routes[0].upstream: there is no upstream \"defualt\"; did you mean `default`?",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nmode = \"compat\"",
            "t.toml:6: routes[0].mode: \"compat\" needs an end in production; add `compat_until = \"2027-03-31\"`",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\ncompat_until = 2027-03-31",
            "t.toml:6: routes[0].compat_until: has no effect without `mode = \"compat\"`; remove it",
        ),
        (
            "[[routes]]\nmatch = \"/a/{x}\"\n[[routes]]\nmatch = [\n\"/b\",\n\"/a/{y}\"]",
            "t.toml:9: routes[1].match[1]: \"/a/{y}\" is the same as `routes[0].match` in line 5, for the same methods; merge the two routes or give each its own methods",
        ),
        (
            "[[routes]]\nmatch = \"/login\"\nauth = \"required\"",
            "t.toml:1: login.login_url: \"/login\" needs a session for GET by a route of that pattern, so nobody could log in; make that route `auth = \"public\"` for GET too, or remove it",
        ),
        (
            "[[routes]]\nmatch = \"/api/login\"\nmethods = [\"GET\"]\nauth = \"public\"",
            "t.toml:1: login.path: \"/api/login\" needs a session for POST by a route of that pattern, so nobody could log in; make that route `auth = \"public\"` for POST too, or remove it",
        ),
        ("\"a b\\n\" = 1", "t.toml:4: \"a b\\n\": is not a known key; remove it"),
        ("routes = \"x\"", "t.toml:4: routes: is a string; write a list"),
        ("login.header = 1", "t.toml:4: login.header: is an integer; write a table"),
    ] {
        assert_eq!(errors(&format!("{BASE}{added}\n")), [expected], "{added}");
    }
}
