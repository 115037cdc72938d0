//! Real apps that hand out JSON Web Tokens, unchanged, behind what docs/tokens.md has for each: as apps of browsers, whose
//! tokens sessions have, and as apps of API clients. Two gateways on one Redis each time.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::probe_login::{probe, said};
use crate::support::gateway::Builder;
use crate::support::http::Response;
use crate::support::python::{JWT_SECRET, fastapi_jose, flask_jwt, simplejwt};
use crate::support::{App, Backend as _, Browser, Gateway, RedisServer, Store, gateway, let_pass, wait_until};

const PAGE: &str = include_str!("../../docs/tokens.md");
const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const OPERATOR: &str = "an operator's token of more than 32 bytes";
/// How long a token lives that is not to be over while a test runs.
const LONG: u32 = 600;

/// An app of a kind, and how its clients speak to it.
struct Kind {
    /// Its headings in the page, for browsers and for clients.
    headings: (&'static str, &'static str),
    start: fn(u32) -> App,
    login: &'static str,
    /// Whether a login is a form instead of JSON.
    form: bool,
    logout: &'static str,
    refresh: &'static str,
    /// Where its answers have tokens.
    access: &'static str,
    refresh_token: &'static str,
    /// Where clients log in and refresh, and the field that a refresh token goes in; as `Authorization` where there is none.
    clients: (&'static str, &'static str, Option<&'static str>),
    shared: OnceLock<App>,
}

static FLASK: Kind = Kind {
    headings: ("Flask with Flask-JWT-Extended", "Clients of Flask-JWT-Extended"),
    start: flask_jwt,
    login: "/api/login",
    form: false,
    logout: "/api/logout",
    refresh: "/api/refresh",
    access: "/access_token",
    refresh_token: "/refresh_token",
    clients: ("/auth/token", "/auth/refresh", None),
    shared: OnceLock::new(),
};

static DJANGO: Kind = Kind {
    headings: ("Django REST framework with SimpleJWT", "Clients of SimpleJWT"),
    start: simplejwt,
    login: "/api/token/",
    form: false,
    logout: "/api/token/blacklist/",
    refresh: "/api/token/refresh/",
    access: "/access",
    refresh_token: "/refresh",
    clients: ("/auth/token/", "/auth/refresh/", Some("refresh")),
    shared: OnceLock::new(),
};

static FASTAPI: Kind = Kind {
    headings: ("FastAPI with python-jose", "Clients of python-jose"),
    start: fastapi_jose,
    login: "/token",
    form: true,
    logout: "/api/logout",
    refresh: "/token/refresh",
    access: "/access_token",
    refresh_token: "/refresh_token",
    clients: ("/auth/token", "/auth/refresh", Some("refresh_token")),
    shared: OnceLock::new(),
};

/// One test, run with each of the apps.
macro_rules! with_each_app {
    ($name:ident, |$kind:ident| $body:block) => {
        fn $name($kind: &'static Kind) $body

        mod $name {
            #[test]
            fn flask_jwt_extended() {
                super::$name(&super::FLASK);
            }

            #[test]
            fn simplejwt() {
                super::$name(&super::DJANGO);
            }

            #[test]
            fn fastapi_and_python_jose() {
                super::$name(&super::FASTAPI);
            }
        }
    };
}

/// The section under a heading of the page.
fn section(heading: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n### {heading}\n")).expect(heading);
    section.split("\n#").next().unwrap_or_default()
}

/// The configuration under a heading of the page.
fn snippet(heading: &str) -> String {
    let blocks: Vec<&str> =
        section(heading).split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "{heading} has no configuration");
    blocks.concat()
}

impl Kind {
    /// The app, whose tokens outlive the test.
    fn app(&self) -> &App {
        self.shared.get_or_init(|| (self.start)(LONG))
    }

    /// A gateway before it by what the page has for its browsers.
    fn capturing(&self, store: &Store, app: &App) -> Builder {
        let deleting = snippet("When the app deletes an organisation");
        let builder = gateway(store.clone()).set("upstream.url", app.url()).set("admin.token", OPERATOR);
        builder.set("secrets.key", KEY).settings(&snippet(self.headings.0)).settings(&deleting)
    }

    /// The same with its API clients as well.
    fn with_clients(&self, builder: Builder) -> Builder {
        std::fs::write(builder.directory().join("jwt"), JWT_SECRET).expect("written");
        builder.settings(&snippet(self.headings.1).replace("/run/secrets/jwt", "jwt"))
    }

    /// Logs in, at this path.
    fn log_in_at(&self, path: &str, browser: &mut Browser, name: &str, password: &str) -> Response {
        if self.form {
            browser.post_form(path, &[("username", name), ("password", password)])
        } else {
            browser.post_json(path, &json!({"username": name, "password": password}))
        }
    }

    /// A browser in which somebody has logged in, and the token that the app made for them.
    fn logged_in(&self, gateway: &Gateway, name: &str) -> (Browser, String) {
        let mut browser = gateway.browser();
        let said = self.log_in_at(self.login, &mut browser, name, "demo").expect(200);
        assert!(browser.has_session_cookie());
        let token = real(&said.at(self.access));
        (browser, token)
    }

    /// The tokens that the app itself hands out to somebody who comes to it, past any gateway.
    fn pair(&self, app: &App, name: &str) -> (String, String) {
        let said = self.log_in_at(self.login, &mut Browser::new(app.address()), name, "demo").expect(200);
        (said.at(self.access), said.at(self.refresh_token))
    }
}

/// The token for which a placeholder stands: signed as the app signs it.
fn real(shown: &str) -> String {
    let (input, _) = shown.rsplit_once('.').expect("parts");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("a signature")
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// A client that sends a token.
fn client(at: std::net::SocketAddr, token: &str) -> Browser {
    Browser::new(at).with_header("Authorization", &format!("Bearer {token}"))
}

/// Whom the app was told, and whom it knows by the token that it got.
#[track_caller]
fn orders(browser: &mut Browser) -> [String; 4] {
    let said = browser.get("/api/orders").expect(200);
    ["/tenant", "/user", "/own_tenant", "/own"].map(|pointer| said.at(pointer))
}

fn who(tenant: &str, user: &str) -> [String; 4] {
    [tenant, user, tenant, user].map(str::to_owned)
}

/// Whoever this is is out of each gateway within a second, by this refusal.
#[track_caller]
fn is_out(browser: &Browser, gateways: &[Gateway], code: &str) {
    let began = Instant::now();
    for gateway in gateways {
        let mut browser = browser.at(gateway.address());
        wait_until("they are out", || (browser.get("/api/orders").status != 200).then_some(()));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        browser.get("/api/orders").expect_refusal(401, code);
    }
}

fn two(start: impl Fn() -> Builder) -> [Gateway; 2] {
    [start().start(), start().start()]
}

with_each_app!(a_browser_has_a_cookie_and_a_placeholder_and_the_app_knows_its_user_by_the_token, |kind| {
    let (store, app) = (Store::redis(), kind.app());
    let gateways = two(|| kind.capturing(&store, app));
    let mut browser = gateways[0].browser();
    kind.log_in_at(kind.login, &mut browser, "alice", "wrong").expect(401);
    assert!(!browser.has_session_cookie());
    let said = kind.log_in_at(kind.login, &mut browser, "alice", "demo").expect(200);
    let shown = said.at(kind.access);
    assert_eq!(claims(&shown)["org_id"], 42, "the page goes on to read it");
    let (mut bob, _) = kind.logged_in(&gateways[1], "bob");
    for gateway in &gateways {
        // As the page sends it, and with a lie.
        let mut page = browser.at(gateway.address()).with_header("Authorization", &format!("Bearer {shown}"));
        assert_eq!(orders(&mut page), who("42", "7"));
        assert_eq!(orders(&mut page.with_header("X-Customer-ID", "77")), who("42", "7"));
        assert_eq!(orders(&mut browser.at(gateway.address())), who("42", "7"), "whatever the page sends");
    }
    assert_eq!(orders(&mut bob), who("77", "19"));
    // What the page has is worth nothing to whoever takes it: not at the app, and not here. The token itself was the app's.
    let token = real(&shown);
    assert_ne!(client(app.address(), &shown).get("/api/orders").status, 200);
    assert_eq!(orders(&mut client(app.address(), &token))[2..], who("42", "7")[2..]);
    for token in [&shown, &token] {
        client(gateways[1].address(), token).get("/api/orders").expect_refusal(401, "session_required");
    }
    // The front end refreshes by itself.
    let mut page = browser.at(gateways[1].address()).with_header("Authorization", &format!("Bearer {shown}"));
    let answered = page.post_json(kind.refresh, &json!({"refresh": said.at(kind.refresh_token)})).expect(200);
    assert_eq!(claims(&answered.at(kind.access)), claims(&shown), "it is not time for another one");
    for token in [&token, &real(&said.at(kind.refresh_token))] {
        assert!(!said.text().contains(signature(token)) && !answered.text().contains(signature(token)));
    }
    let copy = browser.clone();
    browser.post(kind.logout);
    assert!(!browser.has_session_cookie());
    is_out(&copy, &gateways, "session_revoked");
    assert_eq!(orders(&mut bob), who("77", "19"));
});

with_each_app!(a_user_everywhere_and_an_organisation_that_is_deleted_are_out_within_a_second, |kind| {
    let (store, app) = (Store::redis(), kind.app());
    let gateways = two(|| kind.capturing(&store, app));
    let [(mut one, _), (two, _)] = [0, 1].map(|at| kind.logged_in(&gateways[at], "alice"));
    let (mut carol, _) = kind.logged_in(&gateways[0], "carol");
    let (mut bob, _) = kind.logged_in(&gateways[1], "bob");
    let said = one.clone().post("/api/auth/revoke-all-tokens").expect(200).json();
    assert_eq!((&said["success"], &said["invalidated_sessions"]), (&json!(true), &json!(2)));
    [&one, &two].iter().for_each(|browser| is_out(browser, &gateways, "session_revoked"));
    assert_eq!(orders(&mut carol), who("42", "8"), "she is of the same organisation, and somebody else");

    // The app deletes an organisation, and goes on believing its tokens.
    kind.log_in_at(kind.login, &mut one, "alice", "demo").expect(200);
    one.clone().request("DELETE", "/api/organisations/42").send().expect(200);
    [&one, &carol].iter().for_each(|browser| is_out(browser, &gateways, "session_revoked"));
    let mut browser = gateways[1].browser();
    let refused = kind.log_in_at(kind.login, &mut browser, "carol", "demo");
    refused.expect_refusal(403, "tenant_suspended");
    assert_eq!(orders(&mut bob), who("77", "19"));

    // An operator deletes the other.
    let mut operator = gateways[0].operator(OPERATOR);
    operator.request("PUT", "/v1/tenants/77").json(&json!({"status": "deleted"})).send().expect(200);
    is_out(&bob, &gateways, "session_revoked");
});

with_each_app!(a_session_outlives_its_tokens_and_presents_each_refresh_token_once, |kind| {
    let (store, app) = (Store::redis(), (kind.start)(4));
    let gateways = two(|| kind.capturing(&store, &app));
    let (browser, first) = kind.logged_in(&gateways[0], "alice");
    let began = Instant::now();
    let shown = |gateway: &Gateway| {
        let mut page = browser.at(gateway.address());
        page.post_json(kind.refresh, &json!({})).expect(200).at(kind.access)
    };
    let mut seen = HashSet::from([first.clone()]);
    // Three lives of a token, on both gateways at once.
    while began.elapsed() < Duration::from_secs(13) {
        std::thread::scope(|threads| {
            for gateway in gateways.iter().cycle().take(6) {
                let mut browser = browser.at(gateway.address());
                threads.spawn(move || assert_eq!(orders(&mut browser), who("42", "7")));
            }
        });
        seen.insert(real(&shown(&gateways[seen.len() % 2])));
        let_pass(Duration::from_millis(200));
    }
    assert!(seen.len() >= 3, "{} tokens", seen.len());
    assert_ne!(client(app.address(), &first).get("/api/orders").status, 200, "the first is over long since");
    assert!(gateways.iter().all(|gateway| gateway.metric("token_refreshes_total", "failed") == 0.0));
    assert!(gateways.iter().all(|gateway| gateway.audit().iter().all(|event| event["reason"] != "token_refused")));
});

with_each_app!(a_token_that_somebody_copied_is_dead_with_the_session_or_the_user_it_was_of, |kind| {
    let (store, app) = (Store::redis(), kind.app());
    let start = || kind.with_clients(kind.capturing(&store, app).set("login.answer", "keep"));
    let gateways = two(start);
    // One that a page was left, and one that was read before there was a gateway.
    let mut browser = gateways[0].browser();
    let left = kind.log_in_at(kind.login, &mut browser, "alice", "demo").expect(200).at(kind.access);
    let before = kind.pair(app, "alice").0;
    let carols = kind.pair(app, "carol").0;
    let bobs = kind.pair(app, "bob").0;
    let at = |gateway: &Gateway, token: &str| orders(&mut client(gateway.address(), token));
    for gateway in &gateways {
        for token in [&left, &before] {
            assert_eq!(at(gateway, token), who("42", "7"));
        }
        assert_eq!((at(gateway, &carols), at(gateway, &bobs)), (who("42", "8"), who("77", "19")));
    }
    browser.post(kind.logout);
    is_out(&client(gateways[0].address(), &left), &gateways, "token_revoked");
    assert_eq!(at(&gateways[1], &before), who("42", "7"), "that logout was of the other");
    let (mut browser, _) = kind.logged_in(&gateways[1], "alice");
    browser.post("/api/auth/revoke-all-tokens").expect(200);
    is_out(&client(gateways[0].address(), &before), &gateways, "token_revoked");
    let (mut browser, _) = kind.logged_in(&gateways[1], "carol");
    browser.request("DELETE", "/api/organisations/42").send().expect(200);
    for gateway in &gateways {
        let mut thief = client(gateway.address(), &carols);
        let began = Instant::now();
        wait_until("it is dead", || (thief.get("/api/orders").status != 200).then_some(()));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        thief.get("/api/orders").expect_refusal(403, "tenant_suspended");
        assert_eq!(at(gateway, &bobs), who("77", "19"));
    }
    // Past the gateway the app takes it until it is over: nobody may reach it there.
    assert_eq!(orders(&mut client(app.address(), &carols))[3], "8");
});

with_each_app!(an_api_client_calls_refreshes_and_logs_out_with_the_apps_own_tokens, |kind| {
    let (store, app) = (Store::redis(), kind.app());
    let gateways = two(|| kind.with_clients(kind.capturing(&store, app)));
    let (login, refresh, field) = kind.clients;
    let mut phone = gateways[0].browser();
    kind.log_in_at(login, &mut phone, "alice", "wrong").expect(401);
    let said = kind.log_in_at(login, &mut phone, "alice", "demo").expect(200);
    assert!(!phone.has_session_cookie(), "it has no use for one");
    let (access, refreshing) = (said.at(kind.access), said.at(kind.refresh_token));
    assert_eq!(real(&access), access);
    for gateway in &gateways {
        assert_eq!(orders(&mut client(gateway.address(), &access)), who("42", "7"));
        let forged = client(gateway.address(), &access).with_header("X-Customer-ID", "77");
        assert_eq!(orders(&mut forged.clone()), who("42", "7"));
        client(gateway.address(), &refreshing).get("/api/orders").expect_refusal(401, "token_invalid");
    }
    let said = match field {
        Some(field) => phone.post_json(refresh, &json!({ field: refreshing })),
        None => client(gateways[1].address(), &refreshing).post(refresh),
    };
    let another = said.expect(200).at(kind.access);
    assert_eq!(orders(&mut client(gateways[1].address(), &another)), who("42", "7"));
    client(gateways[0].address(), &access).post(kind.logout);
    is_out(&client(gateways[0].address(), &access), &gateways, "token_revoked");
    assert_eq!(orders(&mut client(gateways[0].address(), &another)), who("42", "7"));
    let said = client(gateways[1].address(), &another).post("/api/auth/revoke-all-tokens").expect(200).json();
    assert_eq!(said["token_revoked"], true);
    is_out(&client(gateways[0].address(), &another), &gateways, "token_revoked");
    let bobs = kind.pair(app, "bob").0;
    assert_eq!(orders(&mut client(gateways[0].address(), &bobs)), who("77", "19"));
    client(gateways[1].address(), &bobs).request("DELETE", "/api/organisations/77").send().expect(200);
    for gateway in &gateways {
        let mut phone = client(gateway.address(), &bobs);
        let began = Instant::now();
        wait_until("it is out", || (phone.get("/api/orders").status != 200).then_some(()));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        phone.get("/api/orders").expect_refusal(403, "tenant_suspended");
    }
});

with_each_app!(the_real_tokens_are_in_no_answer_cookie_log_audit_line_or_dump, |kind| {
    let (redis, app) = (RedisServer::start(), kind.app());
    let store = Store::on(&redis);
    let mut gateway = kind.capturing(&store, app).set("telemetry.level", "debug").start();
    let mut browser = gateway.browser();
    let said = kind.log_in_at(kind.login, &mut browser, "alice", "demo").expect(200);
    let secrets = [kind.access, kind.refresh_token].map(|at| signature(&real(&said.at(at))).to_owned());
    let mut heard = format!("{:?}\n{}", said.headers, said.text());
    for (method, path) in [
        ("GET", "/api/orders"),
        ("GET", "/api/session/status"),
        ("POST", kind.refresh),
        ("POST", "/api/session/refresh"),
        // What repeats the token, in its answer and in a header, and what hands out another one.
        ("GET", "/api/me"),
        ("POST", "/api/renew"),
        ("DELETE", "/api/organisations/77"),
        ("GET", "/nowhere"),
    ] {
        let said = browser.request(method, path).send();
        heard.push_str(&format!("{:?}\n{}", said.headers, said.text()));
    }
    heard.push_str(&gateway.admin_get("/metrics").text());
    heard.push_str(&gateway.operator(OPERATOR).get("/v1/sessions?tenant=42").expect(200).text());
    for key in redis.keys() {
        heard.push_str(&redis.command(&["--no-raw", "DUMP", &key]));
    }
    browser.post(kind.logout);
    heard.push_str(&gateway.operator(OPERATOR).get("/v1/audit").expect(200).text());
    gateway.terminate();
    let _ = gateway.process();
    heard.push_str(&gateway.log().join("\n"));
    for file in std::fs::read_dir(gateway.directory()).expect("the directory") {
        let path = file.expect("a file").path();
        if path.is_file() {
            heard.push_str(&String::from_utf8_lossy(&std::fs::read(&path).expect("readable")));
        }
    }
    assert!(heard.contains("session.created") && heard.contains("/api/orders"), "the audit log and the log are in it");
    for secret in &secrets {
        assert!(!heard.contains(secret), "it was heard of: {heard}");
    }
    // Nor any other of the app's: whatever looks like a token in what the browser got does not verify.
    let tokens = heard.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    let shown: Vec<&str> = tokens.filter(|text| text.starts_with("eyJ") && text.matches('.').count() == 2).collect();
    assert!(shown.len() >= 6, "{shown:?}");
    assert!(shown.iter().all(|shown| real(shown) != **shown), "{shown:?}");
});

with_each_app!(probe_login_says_what_is_claimed_and_kept_and_shows_no_token, |kind| {
    let app = kind.app();
    let mut arguments = vec!["--field", "username=alice"];
    if kind.form {
        arguments.push("--form");
    }
    let refreshed = format!("the refresh token at {} gets another one by POST {}", kind.refresh_token, kind.refresh);
    let at = format!("at {}, HS256, read and not verified:", kind.access);
    let output = probe(kind.with_clients(kind.capturing(&Store::Embedded, app)), &arguments, "demo");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "A session for user 7 of tenant 42, without a role.",
        "42   <- tenant",
        "\"7\"   <- user",
        &at,
        "it is kept for the session, and the browser gets what stands for it",
        &refreshed,
        "by `[bearer]` the token of the login is good: A session for user 7 of tenant 42",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(text.lines().any(|line| line.contains("/exp") && line.contains("(20")), "a time is one for people: {text}");
    assert!(!text.contains("eyJ") && !text.contains("`[[bearer.issuers]]`"), "{text}");

    // Nothing is known of the app yet.
    let builder = gateway(Store::Embedded).set("upstream.url", app.url()).set("login.path", kind.login);
    let output = probe(builder, &[&arguments[..], if kind.form { &[] } else { &["--json-body"] }].concat(), "demo");
    let text = said(&output);
    for part in [
        format!("`capture = \"jwt\"`, `token = \"{}\"`, `refresh_token = \"{}\"`", kind.access, kind.refresh_token),
        "`tenant = \"/org_id\"`".to_owned(),
        "`[[bearer.issuers]]` with `issuer = \"\"`, `audience = \"any\"`, `algorithms = [\"HS256\"]`".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in\n{text}");
    }
    assert!(!text.contains("eyJ"), "{text}");

    // A key that is not the app's lets nobody in, and that is said here first.
    let builder = kind.with_clients(kind.capturing(&Store::Embedded, app));
    std::fs::write(builder.directory().join("jwt"), KEY).expect("written");
    let output = probe(builder, &arguments, "demo");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("its token is not good by `[bearer]`") && text.contains("is not good: signature"), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
});

#[test]
fn probe_login_asks_whoami_with_the_token_and_shows_none_of_it() {
    let kind = &FLASK;
    let builder = kind.capturing(&Store::Embedded, kind.app()).without("login.tenant").without("login.user");
    let builder = builder.settings(&snippet("A token that does not name the tenant"));
    let output = probe(builder, &["--field", "username=alice", "--json"], "demo");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["answers"][1]["request"], "GET /api/me with its token");
    assert!(!text.contains("eyJ"), "{text}");
}

with_each_app!(whom_the_token_does_not_name_the_app_is_asked_about_with_it, |kind| {
    let (store, app) = (Store::redis(), kind.app());
    let gateways = two(|| {
        let builder = kind.capturing(&store, app).without("login.tenant").without("login.user");
        builder.settings(&snippet("A token that does not name the tenant"))
    });
    let (browser, token) = kind.logged_in(&gateways[0], "alice");
    for gateway in &gateways {
        assert_eq!(orders(&mut browser.at(gateway.address())), who("42", "7"));
        assert!(!browser.at(gateway.address()).get("/api/me").expect(200).text().contains(signature(&token)));
    }
    browser.clone().post(kind.logout);
    is_out(&browser, &gateways, "session_revoked");
});

#[test]
fn every_block_of_the_page_is_run_or_taken_by_check() {
    let run: Vec<&str> =
        [&FLASK, &DJANGO, &FASTAPI].iter().flat_map(|kind| [kind.headings.0, kind.headings.1]).collect();
    let mut blocks = 0;
    for (before, rest) in PAGE.match_indices("```toml\n").map(|(at, _)| PAGE.split_at(at)) {
        let heading = before.rsplit("\n##").next().unwrap_or_default();
        let heading = heading.lines().next().unwrap_or_default().trim_start_matches('#').trim();
        let block = rest.trim_start_matches("```toml\n").split("```").next().unwrap_or_default();
        blocks += 1;
        if run.contains(&heading) {
            continue;
        }
        let builder = gateway(Store::Embedded).set("upstream.url", "http://127.0.0.1:1");
        let key = builder.directory().join("key");
        std::fs::write(&key, JWT_SECRET).expect("written");
        let text = ["/run/secrets/gateway-key", "/run/secrets/jwt"]
            .iter()
            .fold(block.to_owned(), |text, secret| text.replace(secret, &key.display().to_string()));
        let checked = builder.settings(&text).check(&[]);
        assert!(checked.status.success(), "{heading}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(blocks >= 8, "only {blocks} blocks");
}
