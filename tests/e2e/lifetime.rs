//! How long a session lives (docs/behaviour.md, "Time-outs, exactly"). Here time is real: the store's clock decides.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::on_both_stores;
use crate::support::http::Response;
use crate::support::logins::identity;
use crate::support::{Browser, RedisServer, SESSION_COOKIE, Store, echo, gateway, let_pass};

/// Logs in and uses the session so many times, each time before an idle limit of two seconds is over: each must be
/// answered by 200. Where the machine was too slow for that the answers show nothing, and it begins anew.
fn used_in_time(
    times: usize,
    log_in: impl Fn() -> Browser,
    mut use_it: impl FnMut(&mut Browser, usize) -> Response,
) -> Browser {
    'attempt: for _ in 0..10 {
        let mut last = Instant::now();
        let mut browser = log_in();
        for turn in 0..times {
            let_pass(Duration::from_millis(1200));
            let sent = Instant::now();
            let response = use_it(&mut browser, turn);
            if last.elapsed() >= Duration::from_secs(2) {
                continue 'attempt;
            }
            response.expect(200);
            last = sent;
        }
        return browser;
    }
    panic!("this machine is too slow to use a session every two seconds")
}

on_both_stores!(a_session_ends_when_it_is_idle_and_not_before, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let mut browser = used_in_time(4, || gateway.logged_in("42", "7"), |browser, _| browser.get("/x"));
    // I + g is 2 s and a fifteenth of a second.
    let_pass(Duration::from_millis(2150));
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
    gateway.wait_audit("session.ended", |event| event["reason"] == "idle_timeout");
});

on_both_stores!(the_absolute_limit_holds_however_busy_the_session_is, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).absolute("2s").start();
    let before = Instant::now();
    let mut browser = gateway.logged_in("42", "7");
    let begin = Instant::now();
    loop {
        let sent = begin.elapsed();
        let response = browser.clone().get("/x");
        if response.status != 200 {
            response.expect_refusal(401, "session_expired");
            assert!(before.elapsed() >= Duration::from_secs(2), "not before its time");
            break;
        }
        assert!(sent < Duration::from_millis(2100), "never later than 100 ms after its time");
        let_pass(Duration::from_millis(20));
    }
    browser.get("/x").expect_refusal(401, "session_expired");
});

on_both_stores!(a_remembered_session_lives_by_its_own_limits, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .idle("1s")
        .absolute("1s")
        .set("session.remember", "1h")
        .set("session.remember_idle", "off")
        .start();
    let mut browser = gateway.browser();
    let login = browser.post_json("/api/login", &json!({"answer": identity(42, 7), "remember": true})).expect(200);
    let cookie = login.set_cookie(SESSION_COOKIE).expect("a session cookie");
    assert_eq!(cookie.attribute("max-age"), Some("3600"));
    let mut other = gateway.logged_in("42", "8");
    let_pass(Duration::from_millis(1500));
    browser.get("/x").expect(200);
    other.get("/x").expect(401);
});

on_both_stores!(status_says_what_the_session_is_and_never_touches, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let anonymous = gateway.browser().get("/api/session/status").expect(401);
    assert_eq!(anonymous.json(), json!({"authenticated": false}));
    let mut browser = gateway.logged_in_as("42", "7", "admin");
    let status = browser.get("/api/session/status").expect(200);
    assert_eq!(
        (status.at("/tenant"), status.at("/user"), status.at("/role")),
        ("42".into(), "7".into(), "admin".into())
    );
    assert_eq!(status.json()["authenticated"], true);
    for time in ["/created_at", "/expires_at", "/idle_expires_at"] {
        let text = status.at(time);
        assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{time}: {text}");
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2200) {
        browser.clone().get("/api/session/status");
        let_pass(Duration::from_millis(100));
    }
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
    assert!(backend.seen().iter().all(|seen| !seen.path().starts_with("/api/session")), "the gateway answers itself");
});

on_both_stores!(refresh_touches_and_answers_as_status_does, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let mut told = String::new();
    let mut browser = used_in_time(
        3,
        || gateway.logged_in("42", "7"),
        |browser, _| {
            let refreshed = browser.post("/api/session/refresh");
            if refreshed.status == 200 {
                assert_eq!(refreshed.at("/tenant"), "42");
                let until = refreshed.at("/idle_expires_at");
                assert!(until > told);
                told = until;
            }
            refreshed
        },
    );
    let refused = browser.request("POST", "/api/session/refresh").header("Sec-Fetch-Site", "cross-site").send();
    refused.expect_refusal(403, "csrf_failed");
    gateway.browser().post("/api/session/refresh").expect(401);
});

on_both_stores!(polling_does_not_keep_a_session_alive, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let mut browser = gateway.logged_in("42", "7");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2200) {
        browser.clone().get("/api/sessions/activity");
        let_pass(Duration::from_millis(150));
    }
    assert!(!backend.seen_at("/api/sessions/activity").is_empty(), "it is forwarded all the same");
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
});

on_both_stores!(public_routes_do_not_touch, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let mut browser = gateway.logged_in("42", "7");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2200) {
        browser.get("/public/x").expect(200);
        let_pass(Duration::from_millis(150));
    }
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
});

on_both_stores!(a_session_outlives_a_crash_of_its_gateway, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut ended = gateway.logged_in("42", "8");
    let mut stolen = ended.clone();
    ended.post("/api/logout");
    gateway.crash_and_restart();
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    stolen.get("/x").expect_refusal(401, "session_revoked");
});

on_both_stores!(a_lower_idle_limit_applies_to_live_sessions_at_their_next_use, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).idle("30m").start();
    let mut browser = gateway.logged_in("42", "7");
    gateway.restart_with("session.idle", "1s");
    browser.get("/x");
    let_pass(Duration::from_millis(1300));
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
});

#[test]
fn what_one_gateway_accepts_keeps_the_session_alive_on_another() {
    let backend = echo();
    let redis = RedisServer::start();
    let store = Store::on(&redis);
    let one = gateway(store.clone()).with_backend(&backend).idle("2s").start();
    let two = gateway(store).with_backend(&backend).idle("2s").start();
    let on_one = used_in_time(
        4,
        || one.logged_in("42", "7"),
        |browser, turn| {
            let gateway = if turn % 2 == 0 { &one } else { &two };
            browser.at(gateway.address()).get("/x")
        },
    );
    let on_two = on_one.at(two.address());
    on_one.clone().post("/api/logout");
    on_two.clone().get("/x").expect_refusal(401, "session_revoked");
}

#[test]
fn remaining_times_are_told_only_when_asked_for() {
    let backend = echo();
    let plain = gateway(Store::Embedded).with_backend(&backend).start();
    let response = plain.logged_in("42", "7").get("/x").expect(200);
    assert!(!response.headers.has("x-session-expires-in") && !response.headers.has("x-session-idle-expires-in"));
    let told = gateway(Store::Embedded).with_backend(&backend).set("session.expose", true).start();
    let mut browser = told.logged_in("42", "7");
    for (method, path) in [("GET", "/x"), ("GET", "/api/session/status"), ("POST", "/api/session/refresh")] {
        let response = browser.request(method, path).send().expect(200);
        let seconds = |name: &str| response.header(name).and_then(|text| text.parse::<u64>().ok()).expect("seconds");
        assert!((28_700..=28_800).contains(&seconds("x-session-expires-in")), "{path}");
        assert!((1_700..=1_860).contains(&seconds("x-session-idle-expires-in")), "{path}");
    }
    assert!(!told.browser().get("/api/session/status").headers.has("x-session-expires-in"));
}
