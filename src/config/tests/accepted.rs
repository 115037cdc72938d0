//! What good values mean, and what an operator is warned of.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::{BASE, LOCAL, auth, errors, valid};
use crate::audit::AuditTarget;
use crate::clock::WallTime;
use crate::config::{AdminRole, BodyMode, Config, HostHeader, ProxyProtocol, StoreKind, locate};
use crate::http::{JsonPointer, RequestHost, SameSite};
use crate::login::Capture;
use crate::policy::{Action, Auth, CountsAs, IdentityMode, Named, Order, QueryRule, QueryRules, TenantNamed};
use crate::session::{EndReason, TenantStatus};
use crate::upstream::{Balance, PeerAddress};

fn with(added: &str) -> Config {
    valid(&format!("{BASE}{added}\n"))
}

fn upstream_of(config: &Config, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    config.routes.pick(&Method::POST, &segments, path.ends_with('/')).upstream.to_string()
}

#[test]
fn the_command_line_names_the_file_before_the_environment_does() {
    let set = |name: &str| (name == "SESSION_GATEWAY_CONFIG").then(|| String::from("env.toml"));
    assert_eq!(locate(Some(PathBuf::from("x.toml")), set), PathBuf::from("x.toml"));
    assert_eq!(locate(None, set), PathBuf::from("env.toml"));
    assert_eq!(locate(None, |_| None), PathBuf::from("config/gateway.toml"));
    assert_eq!(locate(None, |_| Some(String::new())), PathBuf::from("config/gateway.toml"));
}

#[test]
fn over_http_in_development_the_cookie_is_plain() {
    let config = valid(LOCAL);
    assert_eq!(config.cookie.name.as_str(), "session-gateway-8080", "cookies know no ports");
    assert!(!config.cookie.secure);
    let config = valid(&LOCAL.replace("http://localhost:8080", "http://localhost"));
    assert_eq!(config.cookie.name.as_str(), "session-gateway-80");
    let config = valid(&LOCAL.replace("http://localhost:8080", "https://localhost:8443"));
    assert_eq!(config.cookie.name.as_str(), "__Host-session");
    assert!(config.cookie.secure);
    assert_eq!(with("cookie.same_site = \"none\"").cookie.same_site, SameSite::None);
    assert!(with("cookie.same_site = \"none\"\ncookie.partitioned = true").cookie.partitioned);
    assert_eq!(with("").server.hsts, Some(HeaderValue::from_static("max-age=31536000")));
    assert_eq!(with("server.hsts = \"off\"").server.hsts, None);
}

#[test]
fn the_environment_fills_in_names_and_secrets() {
    let config = valid(&BASE.replace("https://a.test", "https://${HOST}"));
    assert_eq!(config.server.public_url.host(), "env.test");
    let tokens = with("admin.token = \"${TOKEN}\"").admin.tokens;
    let [token] = tokens.as_slice() else { panic!("one token, not {tokens:?}") };
    assert_eq!(token.secret.expose_secret(), "from-the-environment-and-long-enough");
    assert_eq!((&*token.name, token.roles.as_slice()), ("admin", &AdminRole::ALL[..]));
}

#[test]
fn pages_that_may_call_may_read_unless_others_are_listed() {
    let trusted = "server.trusted_origins = [\"https://b.test\"]\n";
    let count = |added: &str| with(&format!("{trusted}{added}")).cors.origins.len();
    assert_eq!((count(""), count("cors.origins = []"), with("").cors.origins.len()), (1, 0, 0));
    assert_eq!(count("cors.origins = [\"https://c.test\", \"capacitor://localhost\"]"), 2);
    assert!(with(&format!("{trusted}cors.backend = \"replace\"")).cors.replaces);
}

#[test]
fn pages_are_read_from_their_folder_and_told_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("a file");
    std::fs::create_dir(folder.path().join("de")).expect("a folder");
    std::fs::create_dir(folder.path().join("images")).expect("a folder");
    write("401.html", b"<p>{message}");
    write("de/5xx.html", b"<p>{mesage}");
    write("images/x.html", b"");
    write("style.css", b"");
    let named = format!("errors.pages = \"{}\"", folder.path().display());
    let config = with(&named);
    assert_ne!(config.errors.pages, crate::http::Pages::default());
    assert!(
        config.warnings.iter().any(|warning| warning.contains("5xx.html has \"{mesage}\"")),
        "{:?}",
        config.warnings
    );
    write("404x.html", b"");
    write("403.html", b"\xff");
    let said = errors(&format!("{BASE}{named}\n"));
    assert!(said.iter().any(|error| error.contains("404x.html is no page that is ever shown")), "{said:?}");
    assert!(said.iter().any(|error| error.contains("403.html is not UTF-8")), "{said:?}");
}

fn secret_file(content: &str, mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).expect("permissions");
    file
}

#[test]
fn a_secret_file_loses_its_last_newline_and_should_not_be_everyones() {
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let file = secret_file("0123456789abcdef0123456789abcdef\r\n", mode);
        let config = with(&format!("admin.token_file = \"{}\"", file.path().display()));
        assert_eq!(config.admin.tokens[0].secret.expose_secret(), "0123456789abcdef0123456789abcdef");
        assert_eq!(config.warnings.len(), warnings, "{mode:o} {:?}", config.warnings);
    }
    for (content, expected) in [("\n", "is empty"), ("short\n", "is shorter than 32 bytes")] {
        let file = secret_file(content, 0o600);
        let errors = errors(&format!("{BASE}secrets.key_file = \"{}\"\n", file.path().display()));
        assert!(matches!(errors.as_slice(), [one] if one.contains(expected)), "{errors:?}");
    }
}

#[test]
fn several_operators_have_names_and_roles_of_their_own() {
    let file = secret_file("0123456789abcdef0123456789abcdef", 0o600);
    let tokens = with(&format!(
        "[[admin.tokens]]\nname = \"ops@example.com\"\ntoken_file = \"{}\"\nroles = [\"read\", \"operate\"]\n\
         [[admin.tokens]]\nname = \"backend\"\ntoken = \"${{TOKEN}}\"\nroles = [\"mint\", \"mint\"]\n",
        file.path().display()
    ))
    .admin
    .tokens;
    let shown: Vec<_> = tokens.iter().map(|token| (&*token.name, token.roles.as_slice())).collect();
    assert_eq!(
        shown,
        [("ops@example.com", &[AdminRole::Read, AdminRole::Operate][..]), ("backend", &[AdminRole::Mint])]
    );
}

#[test]
fn operators_may_call_from_elsewhere_over_tls_or_at_their_own_risk() {
    let token = "token = \"${TOKEN}\"";
    for local in ["127.0.0.5:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(with(&format!("admin = {{ listen = \"{local}\", {token} }}")).warnings, [""; 0], "{local}");
    }
    let risky = with(&format!("admin = {{ listen = \"0.0.0.0:9090\", {token}, dangerously_allow_plaintext = true }}"));
    assert_eq!(
        risky.warnings,
        [
            "t.toml:4: admin.dangerously_allow_plaintext: lets operators' tokens cross the network in the clear; set `admin.tls` instead"
        ]
    );
    let health_and_metrics_alone = with("admin.listen = \"0.0.0.0:9090\"");
    assert_eq!(health_and_metrics_alone.warnings, [""; 0]);
}

#[test]
fn debug_shows_no_secret() {
    let text = BASE.replace("store.embedded = \"s\"", "store.redis = \"redis://u:hidden-in-url@a\"")
        + "admin.token = \"hidden-0123456789-0123456789-0123456789\"\nsecrets.key = \"hidden-9876543210-9876543210-9876543210\"\n";
    let config = valid(&text);
    assert!(!format!("{config:?}").contains("hidden"));
    assert!(!config.store.describe().contains("hidden"));
    assert_eq!(config.store.describe(), "redis://a:6379/0");
    let text = BASE.replace("store.embedded = \"s\"", "store = { redis = \"redis://a\", password = \"hidden\" }");
    let config = valid(&text);
    assert!(!format!("{config:?}").contains("hidden"));
    assert!(matches!(config.store.kind, StoreKind::Redis { journal: Some(_), .. }));
}

#[test]
fn every_form_of_address_is_understood() {
    for (url, peer) in [
        ("http://app:5000", "http://app:5000"),
        ("http://app", "http://app:80"),
        ("http://app_1:5000/", "http://app_1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock"),
    ] {
        let config = valid(&BASE.replace("http://b", url));
        let peers = &config.upstreams.get("default").expect("an upstream").peers;
        assert_eq!(peers.iter().map(ToString::to_string).collect::<Vec<_>>(), [peer], "{url}");
    }
    for url in [
        "redis://a",
        "redis://u:p@a:1/2",
        "rediss://:p@[::1]:1",
        "redis+unix:///run/r.sock",
        "redis+unix:/run/r.sock?db=1",
        "valkey://a",
        "valkeys://u:p@a",
    ] {
        valid(&BASE.replace("store.embedded = \"s\"", &format!("store.redis = \"{url}\"")));
    }
    let config = with("server.trusted_proxies = [\"10.0.0.1\", \"10.9.9.9/8\", \"::1\"]");
    let nets: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.1/32", "10.0.0.0/8", "::1/128"]);
}

#[test]
fn upstream_settings_are_taken_as_written() {
    let config = with(
        "[upstreams.api]\nurls = [\"http://a:1\", \"unix:/s\"]\nkeepalive = \"1s\"\nhost = \"api.internal:81\"\n\
         request_body = \"stream\"\nbalance = \"hash-tenant\"\neject = \"off\"\n\
         health_path = \"/up?quick=1\"\nspool = { above = \"0B\" }",
    );
    let api = config.upstreams.get("api").expect("an upstream");
    assert_eq!(
        api.peers,
        [PeerAddress::Tcp { host: String::from("a"), port: 1 }, PeerAddress::Unix(PathBuf::from("/s"))]
    );
    assert_eq!((api.balance, api.eject), (Balance::HashKey, None));
    assert_eq!(api.health_path.as_ref().map(PathAndQuery::as_str), Some("/up?quick=1"));
    assert_eq!(api.keepalive, Some(std::time::Duration::from_secs(1)));
    assert_eq!(api.host, HostHeader::Fixed(HeaderValue::from_static("api.internal:81")));
    assert_eq!((api.request_body, api.spool.above), (BodyMode::Stream, 0));
}

#[test]
fn the_only_upstream_is_the_default_one() {
    let config = valid(&BASE.replace("upstream.url", "upstreams.api.url"));
    assert_eq!(upstream_of(&config, "/x"), "api");
}

#[test]
fn login_and_logout_go_where_the_routes_around_them_go() {
    let config = with(
        "upstreams.api.url = \"http://a\"\n[[routes]]\nmatch = \"/api/*\"\nupstream = \"api\"\nroles = [\"admin\"]",
    );
    for (path, upstream, expected) in [
        ("/api/login", "api", Auth::Public),
        ("/api/logout", "api", Auth::Public),
        ("/login", "default", Auth::Public),
        ("/api/x", "api", Auth::Required),
        ("/x", "default", Auth::Required),
    ] {
        assert_eq!(upstream_of(&config, path), upstream, "{path}");
        assert_eq!(auth(&config, &Method::POST, path), expected, "{path}");
    }
    let segments = ["api", "login"];
    assert!(config.routes.pick(&Method::POST, &segments, false).roles.is_empty());
}

#[test]
fn an_explicit_route_replaces_an_implicit_one() {
    let config = with("[[routes]]\nmatch = [\"/api/logout\", \"/login\"]\nauth = \"optional\"\ncsrf = \"off\"");
    assert_eq!(auth(&config, &Method::POST, "/api/logout"), Auth::Optional);
    assert_eq!(config.routes.explicit_count(), 2);
}

#[test]
fn compat_ends_with_its_own_date_else_with_the_common_one() {
    let config = with(
        "identity.compat_until = \"2027-03-31T00:00:00Z\"\n[[routes]]\nmatch = \"/a\"\nmode = \"compat\"\n\
         [[routes]]\nmatch = \"/b\"\nmode = \"compat\"\ncompat_until = 2027-12-31",
    );
    let end = |segment: &str| match config.routes.pick(&Method::GET, &[segment], false).mode {
        IdentityMode::Compat { until } => until.map(WallTime::rfc3339),
        other => panic!("{other:?}"),
    };
    assert_eq!(end("a").as_deref(), Some("2027-03-31T00:00:00.000Z"));
    assert_eq!(end("b").as_deref(), Some("2028-01-01T00:00:00.000Z"));
    assert_eq!(config.identity.mode, IdentityMode::Enforce);
    let open_ended = valid(&format!("{LOCAL}identity.mode = \"compat\"\n"));
    assert_eq!(open_ended.identity.mode, IdentityMode::Compat { until: None });
}

#[test]
fn each_capture_reads_its_own_table() {
    let config = with("login = { capture = \"header\", header = { role = \"off\" } }");
    let capture = &config.login.logins[0].rules.capture;
    let Capture::Header(headers) = capture else { panic!("{capture:?}") };
    assert_eq!((headers.tenant.as_str(), &headers.role), ("x-session-tenant", &None));
    let config = with(
        "login = { capture = \"whoami\", whoami = { path = \"/me?full=1\", tenant = \"/t\", user = [\"/u\", \"/v\"] } }",
    );
    let capture = &config.login.logins[0].rules.capture;
    let Capture::Whoami { target, pointers } = capture else { panic!("{capture:?}") };
    assert_eq!((target.as_str(), pointers.user.len(), pointers.role.len()), ("/me?full=1", 2, 0));
}

#[test]
fn words_of_several_sections_are_understood() {
    let config = with(
        "audit.file = \"-\"\nsession = { max_per_user = { count = 3, action = \"deny\" }, idle = \"off\", status_path = \"off\", remember_field = \"stay\" }\n\
         identity = { anonymous = \"1\", query = { tenant = \"drop\" } }\nlogin.failure = [200, \"302\"]\n\
         server.hosts = [\"*.test\"]\nevents = []\nserver.proxy_protocol = \"required\"\n\
         server.trusted_proxies = [\"10.0.0.1\"]\nadmin.tokens = []",
    );
    assert_eq!(config.audit.file, AuditTarget::Stdout);
    assert_eq!(config.server.proxy_protocol, ProxyProtocol::Required);
    assert_eq!(config.session.limits.idle, None);
    assert!(config.session.status_path.is_none());
    assert_eq!(config.session.remember_field.as_str(), "/stay");
    let limit = config.session.max_per_user.expect("a limit");
    assert_eq!((limit.count.get(), limit.action), (3, crate::session::LimitAction::Deny));
    assert_eq!(config.identity.anonymous, Some(HeaderValue::from_static("1")));
    assert_eq!(config.identity.query, QueryRules::new(vec![(String::from("tenant"), QueryRule::Drop)]));
    assert_eq!(config.login.logins[0].rules.failure, [200, 302]);
    assert!(config.server.hosts.allows(&RequestHost::parse("a.test").expect("a host")));
}

#[test]
fn an_operator_is_warned_of_what_is_allowed_but_odd() {
    for (added, expected) in [
        (
            "session.idle = \"9h\"",
            "t.toml:4: session.idle: an idle time-out of 9h is never reached: `session.absolute` is 8h",
        ),
        (
            "session.remember = \"1h\"",
            "t.toml:4: session.remember: a remembered session ends before another one; raise `session.remember`",
        ),
        ("server.hosts = [\"*\"]", "t.toml:4: server.hosts: answers for every host; list the hosts that are yours"),
        (
            "server.hosts = [\"b.test\"]",
            "t.toml:4: server.hosts: lacks the host of `server.public_url`, which is then answered with 421; add it",
        ),
        (
            "server.trusted_proxies = [\"0.0.0.0/0\"]",
            "t.toml:4: server.trusted_proxies: trusts every address, so that any client can claim any address",
        ),
        (
            "identity.mode = \"observe\"",
            "t.toml:4: identity.mode: \"observe\" enforces nothing: the backend gets what clients claim",
        ),
        (
            "identity = { mode = \"compat\", compat_until = 2027-01-01 }",
            "t.toml:4: identity.mode: \"compat\" lets requests without a session reach the backend with their own claims",
        ),
        (
            "cookie.name = \"sid\"",
            "t.toml:4: cookie.name: does not start with `__Host-`, so that a site on a neighbouring domain can plant a cookie of this name",
        ),
        (
            "login.whoami = { path = \"/me\" }",
            "t.toml:4: login.whoami: is not read with this `login.capture`; remove it or change `login.capture`",
        ),
        (
            "[[routes]]\nmatch = \"/api/session/status\"",
            "t.toml:5: routes[0].match: \"/api/session/status\" is `session.status_path`, which the gateway answers itself; it has no effect here",
        ),
        (
            "login.role = [\"/role\"]\n[[routes]]\nmatch = \"/a\"\nauth = \"optional\"\nroles = [\"x\"]",
            "t.toml:8: routes[0].roles: is not checked for requests without a session",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nroles = [\"x\"]",
            "t.toml:6: routes[0].roles: is asked for here, and no login names a role (`login.role`), so that nobody has one: 403 `forbidden_role` for everybody",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\nroles = [\"x\"]",
            "t.toml:6: events[0].roles: is asked for here, and no login names a role (`login.role`), so that nobody has one: the event never counts",
        ),
        (
            "login.role = [\"/role\"]\n[[routes]]\nmatch = \"/a/*\"\nroles = [\"x\"]\n\
             [[events]]\nmatch = \"DELETE /a/{tenant}\"\nroles = [\"y\"]",
            "t.toml:10: events[0].roles: can never match: the event's route lets in x alone; name one of these",
        ),
        (
            "[[events]]\nmatch = \"GET /close/{tenant}\"",
            "t.toml:5: events[0].match: can be called by a link on any page; use a method that changes things",
        ),
    ] {
        assert_eq!(with(added).warnings, [expected], "{added}");
    }
    let development = valid(&format!("{LOCAL}admin.token = \"secret\"\n"));
    assert_eq!(
        development.warnings,
        [
            "t.toml:4: admin.token: is a well-known word; make a strong one with `session-gateway keygen` before production"
        ]
    );
}

#[test]
fn a_store_may_have_an_authority_of_its_own() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = rcgen::CertificateParams::new(Vec::new()).expect("parameters").self_signed(&key).expect("signed").pem();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(pem.as_bytes()).expect("written");
    let store = format!("store = {{ redis = \"rediss://a\", ca = \"{}\" }}", file.path().display());
    let config = valid(&BASE.replace("store.embedded = \"s\"", &store));
    assert_eq!(config.store.describe(), "rediss://a:6379/0");
    let without = valid(&BASE.replace("store.embedded = \"s\"", "store.redis = \"rediss://a\""));
    assert_ne!(config.store, without.store, "a reload cannot change it");
}

#[test]
fn a_file_that_cannot_be_read_is_one_error() {
    let missing = Config::load(Path::new("/nowhere/x.toml"), &|_| None).expect_err("no such file");
    assert!(missing.to_string().starts_with("/nowhere/x.toml: cannot be read: No such file"), "{missing}");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"\xff").expect("written");
    let binary = Config::load(file.path(), &|_| None).expect_err("not text");
    assert!(binary.to_string().ends_with("is not UTF-8; save it as UTF-8"), "{binary}");
}

#[test]
fn an_event_is_what_its_words_say() {
    let config = with(
        "login.role = [\"/role\"]\n\
         [[events]]\nmatch = \"DELETE /admin/organizations/{tenant}\"\nany_tenant = true\nroles = [\"superadmin\"]\n\
         [[events]]\nmatch = \"POST /orgs/{_}/close/\"\ntenant_pointer = \"/data/id\"\nwhen_pointer = \"/data/n\"\n\
         count_pointer = \"/data/n\"\nreason = \"org_soft_deleted\"\n\
         [[events]]\nmatch = \"POST /password\"\naction = \"revoke-other-sessions\"\nheader = [\"logout\"]\n\
         [[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n\
         [[events]]\nmatch = \"DELETE /orgs/{tenant}/users/{user}\"\naction = \"revoke-user\"\nany_tenant = true\n\
         [[events]]\nmatch = \"POST /{_}/users/{_}/lock\"\naction = \"revoke-user\"\nuser_pointer = \"/id\"\n\
         [[events]]\nmatch = \"POST /orgs/{tenant}/restore\"\naction = \"restore-tenant\"\nany_tenant = true\n\
         [[events]]\nmatch = \"POST /account/password\"\nwhen_pointer = \"/changed\"\ncounts_as = \"password_change\"",
    );
    let event = |method: Method, path: &str| {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        config.events.pick(&method, &segments, path.ends_with('/')).expect("an event")
    };
    let of_tenant = |at, any, status| Action::Tenant { tenant: TenantNamed { at, any }, status };
    let delete = event(Method::DELETE, "/admin/organizations/42/");
    assert_eq!(&*delete.name, "DELETE /admin/organizations/{tenant}");
    assert_eq!(delete.action, Some(of_tenant(Named::InPath(2), true, None)));
    assert_eq!((delete.roles.len(), delete.reason), (1, None));
    let close = event(Method::POST, "/orgs/x/close");
    let id = JsonPointer::parse("/data/id").expect("a pointer");
    assert_eq!(close.action, Some(of_tenant(Named::InAnswer(id), false, None)));
    assert_eq!((close.when.as_ref(), close.reason), (close.count.as_ref(), Some(EndReason::OrgSoftDeleted)));
    let password = event(Method::POST, "/password");
    assert_eq!((&password.action, &*password.obeyed), (&Some(Action::OtherSessions), &[Order::Logout][..]));
    let gone = event(Method::DELETE, "/orgs/42/users/7");
    let tenant = Some(TenantNamed { at: Named::InPath(1), any: true });
    assert_eq!(gone.action, Some(Action::User { user: Some(Named::InPath(3)), tenant }));
    let locked = event(Method::POST, "/x/users/y/lock");
    let id = Named::InAnswer(JsonPointer::parse("/id").expect("a pointer"));
    assert_eq!(locked.action, Some(Action::User { user: Some(id), tenant: None }));
    let restored = event(Method::POST, "/orgs/42/restore");
    assert_eq!(restored.action, Some(of_tenant(Named::InPath(1), true, Some(TenantStatus::Active))));
    let switch = event(Method::POST, "/switch");
    assert_eq!((&switch.action, &*switch.obeyed), (&None, &[Order::SwitchTenant][..]));
    let changed = event(Method::POST, "/account/password");
    assert_eq!((&changed.action, changed.counts_as), (&None, Some(CountsAs::PasswordChange)));
    assert_eq!(restored.counts_as, None);
    assert!(config.events.pick(&Method::GET, &["password"], false).is_none());
    assert_eq!(config.warnings, Vec::<String>::new());
}
