//! Real apps of each kind, each behind the configuration that docs/apps.md gives for it.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::{
    App, Browser, Gateway, Store, django_site, flask_login, flask_session, gateway, membership, passwordless,
};

const PAGE: &str = include_str!("../../docs/apps.md");
const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

/// An app with the configuration that stands under a heading of the page.
pub(crate) struct Row {
    app: &'static App,
    settings: &'static str,
}

impl Backend for Row {
    fn url(&self) -> String {
        self.app.url()
    }

    fn settings(&self) -> &'static str {
        self.settings
    }
}

impl Row {
    /// The one under this heading.
    pub(crate) fn of(heading: &str, app: &'static App) -> Self {
        let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect(heading);
        let (_, block) = section.split_once("```toml\n").expect(heading);
        let (settings, _) = block.split_once("```").expect(heading);
        Self { app, settings }
    }
}

/// The gateway of a row.
fn row(heading: &str, app: &'static App) -> Gateway {
    gateway(Store::Embedded).with_backend(&Row::of(heading, app)).set("secrets.key", KEY).start()
}

/// What a browser is shown: the tenant and user that the app was told, and whom it knows by itself.
#[track_caller]
fn shown(browser: &mut Browser, page: &str) -> (String, String, String) {
    let answer = browser.get(page).expect(200);
    (answer.at("/tenant"), answer.at("/user"), answer.at("/own"))
}

fn three(tenant: &str, user: &str, own: &str) -> (String, String, String) {
    (tenant.to_owned(), user.to_owned(), own.to_owned())
}

/// Alice and Bob log in, see what is theirs, cannot use each other's cookies of the app, and log out.
#[track_caller]
fn two_users(
    gateway: &Gateway,
    log_in: impl Fn(&mut Browser, &str),
    log_out: impl Fn(&mut Browser),
    own_cookies: &[&str],
    (alice, bob): (&str, &str),
) {
    gateway.browser().get("/orders").expect(401);
    let mut alices = gateway.browser();
    log_in(&mut alices, "alice");
    assert!(alices.has_session_cookie());
    assert_eq!(shown(&mut alices, "/orders"), three("42", alice, alice));
    // Who claims to be somebody else is told what is theirs all the same.
    let claimed = alices.request("GET", "/orders").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(claimed.at("/tenant"), "42");
    let mut bobs = gateway.browser();
    log_in(&mut bobs, "bob");
    assert_eq!(shown(&mut bobs, "/orders"), three("77", bob, bob));

    let mut thief = bobs.clone();
    for name in own_cookies {
        let stolen = alices.cookie(name).expect(name).to_owned();
        thief.set_cookie(name, &stolen);
    }
    let (tenant, user, own) = shown(&mut thief, "/orders");
    assert_eq!((&*tenant, &*user), ("77", bob));
    assert_ne!(own, alice, "the app takes the thief for the one whose cookies they are");

    let kept = alices.clone();
    log_out(&mut alices);
    alices.get("/orders").expect(401);
    kept.clone().get("/orders").expect(401);
    assert_eq!(own_cookies.iter().find(|name| alices.cookie(name).is_some()), None, "they are cleared");
    assert_eq!(shown(&mut bobs, "/orders"), three("77", bob, bob), "and nobody else is logged out");
}

/// A form without a token against forgery.
fn by_form(browser: &mut Browser, name: &str) {
    browser.get("/login").expect(200);
    browser.post_form("/login", &[("username", name), ("password", "wrong")]).expect(200);
    assert!(!browser.has_session_cookie(), "a wrong password is no login");
    browser.post_form("/login", &[("username", name), ("password", "demo"), ("remember", "y")]).expect(302);
}

#[test]
fn an_app_with_a_json_login_serves_two_users_each_their_own() {
    let gateway = row("A JSON login", flask_login());
    let log_in = |browser: &mut Browser, name: &str| {
        let fields = |password| json!({"username": name, "password": password, "remember": true});
        browser.post_json("/api/login", &fields("wrong")).expect(401);
        browser.post_json("/api/login", &fields("demo")).expect(200);
    };
    let log_out = |browser: &mut Browser| {
        browser.post("/api/logout").expect(200);
    };
    two_users(&gateway, log_in, log_out, &["session", "remember_token"], ("7", "19"));
}

#[test]
fn an_app_with_a_form_login_and_a_remember_cookie_serves_two_users_each_their_own() {
    let gateway = row("A form login with a remember cookie", flask_login());
    let log_out = |browser: &mut Browser| {
        browser.post("/api/logout").expect(200);
    };
    two_users(&gateway, by_form, log_out, &["session", "remember_token"], ("7", "19"));
}

#[test]
fn an_app_whose_sessions_are_kept_at_the_server_serves_two_users_each_their_own() {
    let gateway = row("Sessions kept at the server", flask_session());
    let log_out = |browser: &mut Browser| {
        browser.get("/logout").expect(302);
    };
    two_users(&gateway, by_form, log_out, &["session"], ("7", "19"));
}

#[test]
fn djangos_admin_serves_two_users_each_their_own() {
    let gateway = row("Django's admin", django_site());
    let token = |browser: &Browser| browser.cookie("csrftoken").expect("the form sets it").to_owned();
    let log_in = |browser: &mut Browser, name: &str| {
        browser.get("/admin/login/").expect(200);
        for (password, status) in [("wrong", 200), ("demo", 302)] {
            let fields = [("csrfmiddlewaretoken", &*token(browser)), ("username", name), ("password", password)];
            browser.post_form("/admin/login/", &fields).expect(status);
        }
        let page = browser.navigate("/admin/").expect(200);
        assert!(page.text().contains("Site administration"));
    };
    let log_out = |browser: &mut Browser| {
        let token = token(browser);
        browser.post_form("/admin/logout/", &[("csrfmiddlewaretoken", &token)]).expect(200);
    };
    two_users(&gateway, log_in, log_out, &["sessionid"], ("1", "2"));
    let location = gateway.browser().navigate("/admin/").expect(302).header("location").map(str::to_owned);
    assert_eq!(location.as_deref(), Some("/admin/login/?next=%2Fadmin%2F"));
}

#[test]
fn an_api_with_jwts_is_reached_with_a_session_and_not_by_its_token_alone() {
    let gateway = row("An API with JWTs", django_site());
    let log_in = |name: &str| -> (Browser, String) {
        let mut browser = gateway.browser();
        browser.post_json("/api/token", &json!({"username": name, "password": "wrong"})).expect(401);
        let answer = browser.post_json("/api/token", &json!({"username": name, "password": "demo"})).expect(200);
        assert!(browser.has_session_cookie());
        (browser, format!("Bearer {}", answer.at("/access")))
    };
    let orders = |browser: &mut Browser, token: &str| {
        browser.request("GET", "/api/orders").header("Authorization", token).send()
    };
    let own = |answer: crate::support::http::Response| -> Value {
        serde_json::from_slice(&answer.expect(200).body).expect("JSON")
    };
    let (mut alice, alices) = log_in("alice");
    assert_eq!(own(orders(&mut alice, &alices)), json!({"tenant": "42", "user": "1", "own": "1"}));
    orders(&mut gateway.browser(), &alices).expect(401);

    // What the page says does not work: then it must say it no longer.
    let (mut bob, _) = log_in("bob");
    assert_eq!(own(orders(&mut bob, &alices)), json!({"tenant": "77", "user": "2", "own": "1"}));

    alice.post("/api/logout");
    assert!(!alice.has_session_cookie());
    orders(&mut alice, &alices).expect(401);
}

#[test]
fn an_app_with_links_sign_ups_and_switches_is_followed_wherever_it_lets_somebody_in() {
    let gateway = row("Links in mails, sign-ups, switches", passwordless());
    let told = |browser: &mut Browser| {
        let answer = browser.get("/api/data").expect(200);
        (answer.at("/tenant"), answer.at("/user"), answer.at("/app"))
    };
    gateway.browser().get("/api/data").expect(401);
    let mut browser = gateway.browser();
    browser.navigate("/magic/alice").expect(302);
    assert_eq!(told(&mut browser), three("42", "7", "alice"));
    let before = browser.clone();
    browser.navigate("/magic/bob").expect(302);
    assert_eq!(told(&mut browser), three("77", "1", "bob"));
    before.clone().get("/api/data").expect(401);
    let mut newcomer = gateway.browser();
    newcomer.post_form("/signup", &[("name", "dave")]).expect(200);
    assert_eq!(told(&mut newcomer), three("", "9", "dave"));
    let mut thief = newcomer.clone();
    thief.set_cookie("session", browser.cookie("session").expect("the app sets it"));
    assert_eq!(told(&mut thief), three("", "9", ""), "a copied cookie names nobody");
    browser.get("/signout").expect(200);
    browser.get("/api/data").expect(401);
}

#[test]
fn an_app_with_two_kinds_of_login_has_users_and_operators_of_one_id() {
    let gateway = row("Two kinds of login", passwordless());
    let told = |browser: &mut Browser| {
        let answer = browser.get("/api/data").expect(200);
        (answer.at("/tenant"), answer.at("/user"))
    };
    let (mut user, mut operator) = (gateway.browser(), gateway.browser());
    user.post_json("/login", &json!({"name": "bob"})).expect(200);
    operator.post("/admin/login").expect(200);
    let one = (String::from("77"), String::from("1"));
    assert_eq!((told(&mut user), told(&mut operator)), (one.clone(), one.clone()));
    operator.get("/admin/me").expect(200);
    user.set_cookie("operator", operator.cookie("operator").expect("the app sets it"));
    user.get("/admin/me").expect(401);
    // The one's log-out everywhere is not the other's.
    user.post("/api/auth/revoke-all-tokens").expect(200);
    user.get("/api/data").expect(401);
    assert_eq!(told(&mut operator), one);
}

#[test]
fn every_block_of_the_page_is_run() {
    let (tests, with_a_browser) = (include_str!("apps.rs"), include_str!("front.rs"));
    let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(headings.len() >= 5, "{headings:?}");
    for heading in headings {
        let is_run = tests.contains(&format!("row(\"{heading}\", "))
            || with_a_browser.contains(&format!("behind(\"{heading}\")"));
        assert!(is_run, "{heading} is run by no test");
        let anchor: String =
            heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-')).collect();
        assert!(PAGE.contains(&format!("(#{})", anchor.replace(' ', "-"))), "{heading} is not in the table");
    }
}

#[test]
fn an_app_with_memberships_serves_each_user_in_each_of_their_organisations_and_no_other() {
    let gateway = row("Several organisations", membership());
    let log_in = |name: &str| {
        let mut browser = gateway.browser();
        browser.post_json("/api/login", &json!({"username": name, "password": "wrong"})).expect(401);
        let fields = json!({"username": name, "password": "demo", "remember": true});
        browser.post_json("/api/login", &fields).expect(200);
        browser
    };
    let ask = |browser: &mut Browser, organisation: &str| {
        let request = browser.request("GET", "/api/projects");
        if organisation.is_empty() { request.send() } else { request.header("X-Customer-ID", organisation).send() }
    };
    let (mut alice, mut bob) = (log_in("alice"), log_in("bob"));
    for (browser, id, own, other, foreign) in [(&mut alice, "7", "42", "77", "99"), (&mut bob, "19", "77", "99", "42")]
    {
        for (organisation, told) in [("", own), (own, own), (other, other)] {
            let answer = ask(browser, organisation).expect(200);
            assert_eq!((answer.at("/tenant"), answer.at("/user"), answer.at("/own")), three(told, id, id));
        }
        ask(browser, foreign).expect_refusal(403, "tenant_mismatch");
        let write = browser.request("POST", "/api/projects").header("X-Customer-ID", foreign);
        write.json(&json!({"name": "of nobody"})).send().expect_refusal(403, "tenant_mismatch");
        let status = browser.get("/api/session/status").expect(200).json();
        assert_eq!((&status["tenant"], &status["tenants"]), (&json!(own), &json!([own, other])));
    }
    let mut thief = bob.clone();
    for name in ["session", "remember_token"] {
        thief.set_cookie(name, alice.cookie(name).expect(name));
    }
    assert_eq!(ask(&mut thief, "77").expect(200).at("/own"), "nobody", "whichever organisation is chosen");
    let kept = alice.clone();
    alice.post("/api/logout").expect(200);
    for organisation in ["", "42", "77"] {
        ask(&mut kept.clone(), organisation).expect(401);
    }
    ask(&mut bob, "99").expect(200);
}
