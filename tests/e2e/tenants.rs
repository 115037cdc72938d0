//! Tenants that must exist, and users who paid and have none yet (docs/tenants.md), before a real Django app that says so.

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::backend::Backend;
use crate::support::gateway::Builder;
use crate::support::{Browser, Gateway, RedisServer, Store, accounts, answer_json, echo, gateway};

pub(super) const SETTINGS: &str = r#"
    [login]
    path = "/api/login"
    tenant = ["/user/customer_id"]
    user = ["/user/user_id"]
    [tenants]
    verify = "/api/tenants/verify/{user_id}"
    attempts = 2
    backoff = "0s"
    onboarding = ["/onboarding/*", "POST /api/tenants/"]
"#;

/// A gateway before the app, with what is added.
pub(super) fn before_the_app(store: Store) -> Builder {
    gateway(store).set("upstream.url", accounts().url()).settings(SETTINGS)
}

/// What is so of an account from now on.
pub(super) fn account(name: &str, organisation: &Value, paid: bool, mode: &str) {
    let fields = json!({"name": name, "organisation": organisation, "paid": paid, "mode": mode});
    Browser::new(accounts().address()).post_json("/test/account", &fields).expect(200);
}

/// How often the app was asked about an account.
pub(super) fn asked(name: &str) -> u64 {
    let encoded = name.replace('|', "%7C");
    let answer = Browser::new(accounts().address()).get(&format!("/test/asked/{encoded}")).expect(200).json();
    answer["asked"].as_u64().expect("a number")
}

pub(super) fn log_in(gateway: &Gateway, name: &str) -> Browser {
    let mut browser = gateway.browser();
    browser.post_json("/api/login", &json!({"username": name})).expect(200);
    assert!(browser.has_session_cookie());
    browser
}

/// A name that no other test has: the app is one for all of them.
pub(super) fn name_of(gateway: &Gateway, name: &str) -> String {
    format!("auth0|{name}-{}", gateway.address().port())
}

#[track_caller]
fn told(browser: &mut Browser, path: &str) -> (Option<String>, String) {
    let answer = browser.get(path).expect(200).json();
    (answer["tenant"].as_str().map(str::to_owned), answer["user"].as_str().expect("a user").to_owned())
}

on_both_stores!(a_login_needs_a_user_alone_and_gets_the_tenant_that_the_app_says, |store| {
    let gateway = before_the_app(store).start();
    let alice = name_of(&gateway, "alice");
    account(&alice, &json!("42"), true, "");
    let mut browser = log_in(&gateway, &alice);
    assert_eq!(told(&mut browser, "/orders"), (Some("42".into()), alice.clone()));
    assert_eq!(asked(&alice), 1, "the id is one segment of the path, whatever is in it");
    assert_eq!(gateway.metric("tenant_verifications_total", "outcome=\"yes\""), 1.0);
    assert_eq!(gateway.metric("tenant_verification_attempts_count", ""), 1.0);
    // A tenant that is shut out is so, whatever the app says.
    let other = name_of(&gateway, "bob");
    account(&other, &json!("4,2"), true, "");
    gateway.browser().post_json("/api/login", &json!({"username": other})).expect_refusal(503, "tenant_unverified");
});

#[test]
fn a_no_lets_nobody_in_and_what_is_neither_is_asked_again_and_then_503() {
    let gateway = before_the_app(Store::Embedded).start();
    let hasty = before_the_app(Store::Embedded).set("upstream.response_timeout", "2s").start();
    for (row, organisation, paid, mode, status, code, times) in [
        ("no payment", Value::Null, false, "", 403, "tenant_missing", 1),
        ("500 with a no", Value::Null, true, "error", 503, "tenant_unverified", 2),
        ("500 with a yes", json!("42"), true, "error", 503, "tenant_unverified", 2),
        ("too slow", json!("42"), true, "slow", 503, "tenant_unverified", 2),
        ("a page", json!("42"), true, "page", 503, "tenant_unverified", 2),
        ("404", json!("42"), true, "gone", 503, "tenant_unverified", 2),
    ] {
        let gateway = if mode == "slow" { &hasty } else { &gateway };
        let name = name_of(gateway, &row.replace(' ', "-"));
        account(&name, &organisation, paid, mode);
        let mut browser = gateway.browser();
        let answer = browser.post_json("/api/login", &json!({"username": name}));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{row}");
        assert!(!browser.has_session_cookie(), "{row}");
        assert_eq!(asked(&name), times, "{row}");
    }
    assert_eq!(gateway.metric("tenant_verifications_total", "outcome=\"no\""), 1.0);
    assert_eq!(gateway.metric("tenant_verifications_total", "outcome=\"unclear\""), 4.0);
    assert_eq!(gateway.metric("tenant_verification_attempts_sum", ""), 9.0);
    assert_eq!(hasty.metric("tenant_verification_attempts_sum", ""), 2.0);
    let gateway = before_the_app(Store::Embedded).set("tenants.missing", vec!["404"]).start();
    let name = name_of(&gateway, "gone");
    account(&name, &json!("42"), true, "gone");
    gateway.browser().post_json("/api/login", &json!({"username": name})).expect_refusal(403, "tenant_missing");
}

on_both_stores!(who_paid_gets_to_the_onboarding_alone_and_then_into_the_tenant_that_was_made, |store| {
    let gateway = before_the_app(store).start();
    let alice = name_of(&gateway, "alice");
    account(&alice, &Value::Null, true, "");
    let mut browser = log_in(&gateway, &alice);
    let status = browser.get("/api/session/status").expect(200).json();
    assert_eq!((&status["tenant"], &status["user"]), (&Value::Null, &json!(alice)));
    let lives = |status: &Value| {
        let at = |name: &str| status[name].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        at("expires_at").duration_since(at("created_at")).as_secs()
    };
    assert_eq!(lives(&status), 2 * 3600);

    for (method, path) in [("GET", "/orders"), ("GET", "/"), ("GET", "/api/tenants/"), ("POST", "/onboarding")] {
        let answer = browser.request(method, path).send();
        answer.expect_refusal(403, "onboarding_required");
    }
    let claimed = browser.request("GET", "/onboarding/state").header("X-Customer-ID", "77").send().expect(200).json();
    assert_eq!((&claimed["tenant"], &claimed["user"]), (&Value::Null, &json!(alice)));
    let before = browser.token();

    // Still none: the answer is the app's, and nothing else changes.
    assert_eq!(told(&mut browser, "/onboarding/state"), (None, alice.clone()));
    assert_eq!(browser.token(), before);
    // What cannot be told yet is asked again by the next.
    account(&alice, &Value::Null, true, "error");
    let made = browser.post_json("/api/tenants/", &json!({"name": "acme"})).expect(201);
    assert!(!made.headers.has("set-cookie"));
    account(&alice, &json!("acme"), true, "");
    let bound = browser.get("/onboarding/state").expect(200);
    assert_eq!(bound.header("cache-control"), Some("no-store"));
    assert_ne!(browser.token(), before);
    assert_eq!(told(&mut browser, "/orders"), (Some("acme".into()), alice.clone()));
    assert_eq!(told(&mut browser, "/onboarding/state"), (Some("acme".into()), alice.clone()));
    // For no longer than it had, and under one end: a logout ends the old token, too.
    let status = browser.get("/api/session/status").expect(200).json();
    assert!(lives(&status) <= 2 * 3600, "{status}");
    let created = gateway.wait_audit("session.created", |event| event["tenant"] == "acme");
    assert_eq!(created["user"], json!(alice));
    let mut old = gateway.browser();
    old.set_cookie(crate::support::SESSION_COOKIE, &before);
    browser.post("/api/auth/revoke-all-tokens").expect(200);
    old.get("/onboarding/state").expect(401);
    browser.get("/orders").expect(401);
    // The next login is one like any other.
    assert_eq!(told(&mut log_in(&gateway, &alice), "/orders"), (Some("acme".into()), alice));
});

#[test]
fn what_one_gateway_binds_goes_on_at_the_other() {
    let redis = RedisServer::start();
    let [one, other] = [(); 2].map(|()| before_the_app(Store::on(&redis)).set("store.prefix", "both:").start());
    let alice = name_of(&one, "alice");
    account(&alice, &Value::Null, true, "");
    let mut browser = log_in(&one, &alice);
    browser.at(other.address()).get("/orders").expect_refusal(403, "onboarding_required");
    let old = browser.clone();
    browser.post_json("/api/tenants/", &json!({"name": "acme"})).expect(201);
    assert_eq!(told(&mut browser.at(other.address()), "/orders"), (Some("acme".into()), alice.clone()));
    // The old token has a moment, for the same routes alone.
    old.at(other.address()).get("/orders").expect_refusal(403, "onboarding_required");
    one.operator("").get("/v1/sessions").expect(404);
}

#[test]
fn users_of_a_login_that_lets_them_in_without_a_tenant_are_not_in_onboarding() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .set("upstream.url", backend.url())
        .settings(
            "[[login]]\npath = \"/api/login\"\ntenant = \"/user/customer_id\"\nuser = \"/user/user_id\"\n\
             [[login]]\npath = \"/admin/login\"\nkind = \"admin\"\nwithout_tenant = \"session\"\nuser = \"/id\"\n\
             [tenants]\nverify = \"/verify/{user_id}\"\nonboarding = [\"/onboarding/*\"]\nonboarding_lifetime = \"1m\"\n",
        )
        .start();
    backend.on("/admin/login", [answer_json(&json!({"id": 7}))]);
    backend.on("/verify/7", [answer_json(&json!({"tenant_exists": false, "has_payment": true}))]);
    let mut admin = gateway.browser();
    admin.post("/admin/login").expect(200);
    admin.get("/orders").expect(200);
    assert!(backend.seen_at("/verify/7").is_empty(), "nobody is asked about them");
    let mut user = gateway.browser();
    user.log_in_with(&json!({"user": {"user_id": 7}})).expect(200);
    user.get("/orders").expect_refusal(403, "onboarding_required");
    user.get("/onboarding/x").expect(200);
    assert_eq!(backend.seen_at("/onboarding/x")[0].identity(), (None, Some("7")));
    // A login that names a tenant which is gone leads there, too; one that names another's does not.
    for (named, code) in [
        (json!({"tenant_exists": true, "tenant_id": 77, "has_payment": true}), 403),
        (json!({"tenant_exists": false, "has_payment": true}), 200),
    ] {
        backend.on("/verify/7", [answer_json(&named)]);
        let mut user = gateway.browser();
        assert_eq!(user.log_in_with(&json!({"user": {"user_id": 7, "customer_id": 42}})).status, code);
        assert_eq!(user.has_session_cookie(), code == 200);
    }
}

#[test]
fn no_client_asks_what_the_gateway_asks_unless_a_route_lets_them() {
    let backend = echo();
    let start = |routes: &str| {
        let settings =
            "[tenants]\nverify = \"/verify/{user_id}?full=1\"\n[[routes]]\nmatch = \"/*\"\nauth = \"optional\"\n";
        gateway(Store::Embedded).with_backend(&backend).settings(settings).settings(routes).start()
    };
    backend.on("/verify/7", [answer_json(&json!({"exists": true}))]);
    let gateway = start("");
    let mut browser = gateway.logged_in("42", "7");
    assert_eq!(backend.last().target, "/verify/7?full=1");
    let asked = backend.seen_at("/verify/7").len();
    for target in ["/verify/7", "/verify/8?full=1", "//verify/%37", "/verify/7/"] {
        browser.get(target).expect_refusal(403, "path_blocked");
        gateway.browser().get(target).expect_refusal(403, "path_blocked");
        browser.post(target).expect_refusal(403, "path_blocked");
    }
    assert_eq!(backend.seen_at("/verify/7").len(), asked);
    browser.get("/verify/7/more").expect(200);
    browser.get("/verify").expect(200);
    let gateway = start("[[routes]]\nmatch = \"/verify/{user}\"\n");
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/verify/7").expect(200);
    browser.get("/verify/8").expect_refusal(403, "tenant_mismatch");
}
