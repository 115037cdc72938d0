//! How many sessions a user may have, and tenants that are shut out (docs/behaviour.md, "Login").

use std::thread;

use serde_json::json;

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{Browser, RedisServer, Store, echo, gateway};

/// The tenant `acme` in the keys of Redis, as docs/redis.md says.
pub const HASH_OF_ACME: &str = "giszrYfBSKCiClunzV68qg";

on_both_stores!(a_login_beyond_the_limit_ends_the_oldest_session_with_reason_limit, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("session.max_per_user = { count = 2, action = \"revoke-oldest\" }")
        .start();
    let mut first = gateway.logged_in("42", "7");
    let mut second = gateway.logged_in("42", "7");
    let mut neighbour = gateway.logged_in("42", "8");
    let mut third = gateway.logged_in("42", "7");
    first.get("/x").expect_refusal(401, "session_revoked");
    for browser in [&mut second, &mut third, &mut neighbour] {
        browser.get("/x").expect(200);
    }
    gateway.wait_audit("session.ended", |event| event["reason"] == "limit" && event["user"] == "7");
    assert!((gateway.metric("sessions_ended_total", "limit") - 1.0).abs() < f64::EPSILON);
});

on_both_stores!(a_login_beyond_the_limit_is_429_and_the_backends_answer_stays_behind, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("session.max_per_user = { count = 1, action = \"deny\" }")
        .start();
    let mut first = gateway.logged_in("42", "7");
    let mut other = gateway.browser();
    let mut answer = identity("42", "7");
    answer["secret"] = json!("only for who is logged in");
    let refused = other.log_in_with(&answer);
    assert_eq!(refused.header("retry-after"), Some("60"));
    let refused = refused.expect_refusal(429, "too_many_sessions");
    assert!(!refused.text().contains("only for") && !other.has_session_cookie());
    first.get("/x").expect(200);
    // Logging in again in the same browser takes the place of its own session.
    first.log_in_with(&identity("42", "7")).expect(200);
    first.get("/x").expect(200);
    first.post("/api/logout").expect(200);
    other.log_in_with(&identity("42", "7")).expect(200);
});

#[test]
fn racing_logins_on_four_gateways_never_exceed_the_limit() {
    let backend = echo();
    for action in ["deny", "revoke-oldest"] {
        let store = Store::redis();
        let limit = format!("session.max_per_user = {{ count = 2, action = \"{action}\" }}");
        let gateways: Vec<_> =
            (0..4).map(|_| gateway(store.clone()).with_backend(&backend).settings(&limit).start()).collect();
        let browsers = thread::scope(|scope| {
            let logins = (0..16).map(|n| {
                let gateway = &gateways[n % 4];
                scope.spawn(move || {
                    let mut browser = gateway.browser();
                    browser.log_in_with(&identity("42", "7"));
                    browser
                })
            });
            let logins: Vec<_> = logins.collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect::<Vec<_>>()
        });
        let with_cookie: Vec<_> = browsers.into_iter().filter(Browser::has_session_cookie).collect();
        let made = with_cookie.len();
        let live = with_cookie.into_iter().map(|mut browser| browser.get("/x").status).filter(|status| *status == 200);
        let live = live.count();
        assert!((1..=2).contains(&live), "{action}: {live} of {made}");
    }
}

#[test]
fn of_sixteen_logins_at_once_on_two_gateways_none_is_refused_and_three_live() {
    let backend = echo();
    let store = Store::redis();
    let limit = "session.max_per_user = { count = 3, action = \"revoke-oldest\" }";
    let gateways: Vec<_> =
        (0..2).map(|_| gateway(store.clone()).with_backend(&backend).settings(limit).start()).collect();
    for round in 0..10 {
        let user = round.to_string();
        let browsers = thread::scope(|scope| {
            let logins = (0..16).map(|n| {
                let (gateway, user) = (&gateways[n % 2], &user);
                scope.spawn(move || {
                    let mut browser = gateway.browser();
                    browser.log_in_with(&identity("42", user.as_str())).expect(200);
                    browser
                })
            });
            let logins: Vec<_> = logins.collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(browsers.iter().all(Browser::has_session_cookie));
        thread::sleep(std::time::Duration::from_millis(100));
        let live = browsers.into_iter().map(|mut browser| browser.get("/x").status).filter(|status| *status == 200);
        assert_eq!(live.count(), 3, "{round}");
    }
}

#[test]
fn a_tenant_that_is_shut_out_is_refused_at_login_and_as_a_claim_in_every_mode() {
    let server = RedisServer::start();
    let backend = echo();
    let store = Store::on(&server);
    let Store::Redis { prefix, .. } = &store else { panic!("on Redis") };
    let standing = format!("{prefix}n:{{{HASH_OF_ACME}}}");
    let enforcing = gateway(store.clone()).with_backend(&backend).start();
    let observing = gateway(store.clone())
        .with_backend(&backend)
        .set("identity.mode", "observe")
        .settings("identity.query = { customer_id = \"match\" }\nidentity.strip = [\"X-Org-ID\"]")
        .start();
    let compatible = gateway(store.clone()).with_backend(&backend).set("identity.mode", "compat").start();
    let mut old = enforcing.logged_in("acme", "7");
    for status in ["suspended", "deleted"] {
        server.command(&["SET", &standing, &format!("17 {status}")]);
        enforcing.browser().log_in_with(&identity("acme", "7")).expect_refusal(403, "tenant_suspended");
        old.clone().get("/x").expect_refusal(401, "session_revoked");
        let before = backend.seen().len();
        for gateway in [&observing, &compatible] {
            for value in ["acme", "other,acme"] {
                let claim = gateway.browser().request("GET", "/x").header("X-Customer-ID", value).send();
                claim.expect_refusal(403, "tenant_suspended");
            }
            gateway.browser().request("GET", "/x").header("X_Customer_ID", "acme").send().expect(403);
        }
        observing.browser().get("/x?customer_id=%61cme").expect_refusal(403, "tenant_suspended");
        observing.browser().request("GET", "/x").header("X-Org-ID", "acme").send().expect(403);
        assert_eq!(backend.seen().len(), before, "nothing of it reached the backend");
        compatible.browser().request("GET", "/x").header("X-Customer-ID", "other").send().expect(200);
    }
    server.command(&["SET", &standing, "18"]);
    old.get("/x").expect_refusal(401, "session_revoked");
    observing.browser().request("GET", "/x").header("X-Customer-ID", "acme").send().expect(200);
    enforcing.logged_in("acme", "7");
}
