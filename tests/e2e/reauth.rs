//! Held sessions: nobody may use one before its user logs in again, or an operator releases it (docs/behaviour.md, "Held
//! sessions").

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::websocket::SWITCH;
use crate::support::{
    Browser, Gateway, SESSION_COOKIE, Step, Store, answer, echo, gateway, let_pass, send, wait_until,
};

const TOKEN: &str = "an operator's token of more than 32 bytes";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
/// What a hold bars is barred within this time, on every gateway.
const WITHIN: Duration = Duration::from_secs(1);

fn operated(store: Store) -> Builder {
    gateway(store).set("admin.token", TOKEN)
}

/// The session of a browser, as operators know it.
fn id_of(gateway: &Gateway, tenant: &str, user: &str) -> String {
    let listed = gateway.operator(TOKEN).get(&format!("/v1/sessions?tenant={tenant}&user={user}")).expect(200).json();
    let [one] = listed["items"].as_array().expect("a list").as_slice() else { panic!("one session: {listed}") };
    one["id"].as_str().expect("an id").to_owned()
}

fn change(gateway: &Gateway, id: &str, call: &str) -> Value {
    let path = format!("/v1/sessions/{id}/{call}");
    gateway.operator(TOKEN).post_json(&path, &json!({"reason": "a laptop, lost"})).expect(200).json()
}

fn hold(gateway: &Gateway, tenant: &str, user: &str) -> String {
    let id = id_of(gateway, tenant, user);
    assert_eq!(change(gateway, &id, "hold")["held"], true);
    id
}

on_both_stores!(a_held_session_is_refused_says_so_and_goes_on_when_it_is_released, |store| {
    let backend = echo();
    let gateway =
        operated(store).with_backend(&backend).settings("[[routes]]\nmatch = \"/shop\"\nauth = \"optional\"").start();
    let mut browser = gateway.logged_in("42", "7");
    let id = hold(&gateway, "42", "7");
    let before = backend.seen().len();
    browser.get("/x").expect_refusal(401, "reauth_required");
    browser.post("/x").expect_refusal(401, "reauth_required");
    browser.post("/api/auth/revoke-all-tokens").expect_refusal(401, "reauth_required");
    for endpoint in [browser.get("/api/session/status"), browser.post("/api/session/refresh")] {
        assert_eq!(endpoint.expect(401).json(), json!({"authenticated": false, "reauth_required": true}));
    }
    assert_eq!(backend.seen().len(), before, "the backend hears nothing of it");
    browser.get("/shop").expect(200);
    backend.last().assert_anonymous();
    let page = browser.navigate("/orders?page=2").expect(302);
    assert_eq!(page.header("location"), Some("/login?next=%2Forders%3Fpage%3D2"));
    assert!(browser.has_session_cookie(), "by which the next login takes its place");
    let form = browser.request("POST", "/orders").header("Sec-Fetch-Mode", "navigate").header("Accept", "text/html");
    let page = form.body("amount=100").send().expect(401).text();
    assert!(page.contains("reauth_required") && page.contains("has not reached the application"), "{page}");

    change(&gateway, &id, "release");
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    assert_eq!(browser.get("/api/session/status").expect(200).at("/user"), "7");
    assert!(backend.seen().iter().all(|seen| seen.body != b"amount=100"), "what was posted is not replayed");
    let held = gateway.wait_audit("session.held", |_| true);
    assert_eq!(
        (&held["session_id"], &held["reason"], &held["user"]),
        (&json!(id), &json!("a laptop, lost"), &json!("7"))
    );
    gateway.wait_audit("session.released", |event| event["session_id"] == id);
    let rejected = gateway.wait_audit("session.rejected", |_| true);
    assert_eq!((&rejected["reason"], &rejected["session_id"]), (&json!("held"), &json!(id)));
    assert!(gateway.metric("sessions_rejected_total", r#"{code="reauth_required"}"#) >= 4.0);
    assert_eq!(gateway.metric("sessions_held_total", r#"{by="operator"}"#), 1.0);
    assert_eq!(gateway.metric("sessions_released_total", r#"{by="operator"}"#), 1.0);
});

on_both_stores!(the_next_login_of_its_user_in_that_browser_takes_its_place, |store| {
    let backend = echo();
    let gateway = operated(store)
        .with_backend(&backend)
        .settings("session.max_per_user = { count = 1, action = \"deny\" }")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    let mut thief = browser.clone();
    let id = hold(&gateway, "42", "7");
    browser.navigate("/orders").expect(302);
    gateway.browser().log_in_with(&identity("42", "7")).expect_refusal(429, "too_many_sessions");
    browser.log_in_with(&identity("42", "7")).expect(200);
    browser.get("/x").expect(200);
    assert_ne!(id_of(&gateway, "42", "7"), id);
    thief.get("/x").expect_refusal(401, "session_revoked");
    let ended = gateway.wait_audit("session.ended", |event| event["session_id"] == id);
    assert_eq!(ended["reason"], "replaced");
    let released = gateway.wait_audit("session.released", |event| event["session_id"] == id);
    assert_eq!(released["reason"], "logged_in");
    assert_eq!(released["details"]["by_session"], json!(id_of(&gateway, "42", "7")));
    assert_eq!(gateway.metric("sessions_released_total", r#"{by="login"}"#), 1.0);
    assert_eq!(gateway.operator(TOKEN).post(&format!("/v1/sessions/{id}/release")).status, 404, "it is over");
});

on_both_stores!(another_users_login_in_that_browser_ends_it_and_releases_nothing, |store| {
    let backend = echo();
    let gateway = operated(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut before = browser.clone();
    let id = hold(&gateway, "42", "7");
    browser.log_in_with(&identity("42", "8")).expect(200);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("8")));
    before.get("/x").expect_refusal(401, "session_revoked");
    gateway.wait_audit("session.ended", |event| event["session_id"] == id);
    assert!(!gateway.audit().iter().any(|event| event["type"] == "session.released"));
});

on_both_stores!(a_login_elsewhere_and_a_failed_one_leave_it_held, |store| {
    let backend = echo();
    backend.on_call("/api/login", |seen| {
        let wish: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match wish["answer"].is_null() {
            true => vec![answer("401 Unauthorized", &[], "{}")],
            false => vec![crate::support::answer_json(&wish["answer"])],
        }
    });
    let gateway = operated(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    hold(&gateway, "42", "7");
    let mut elsewhere = gateway.logged_in("42", "7");
    browser.post_json("/api/login", &json!({})).expect(401);
    browser.get("/x").expect_refusal(401, "reauth_required");
    elsewhere.get("/x").expect(200);
});

on_both_stores!(logging_out_of_it_works_and_tells_the_backend_of_nobody, |store| {
    let backend = echo();
    let gateway = operated(store).with_backend(&backend).settings("logout.clear_cookies = [\"app\"]").start();
    let mut browser = gateway.logged_in("42", "7");
    browser.set_cookie("app", "of alice");
    let id = hold(&gateway, "42", "7");
    browser.post("/api/logout").expect(200);
    assert!(!browser.has_session_cookie() && browser.cookie("app").is_none());
    let seen = backend.last();
    assert_eq!(seen.path(), "/api/logout");
    seen.assert_anonymous();
    let ended = gateway.wait_audit("session.ended", |event| event["session_id"] == id);
    assert_eq!((&ended["reason"], &ended["actor"]), (&json!("logout"), &json!("user")));
});

on_both_stores!(it_times_out_as_ever, |store| {
    let backend = echo();
    let gateway = operated(store).with_backend(&backend).idle("2s").start();
    let mut browser = gateway.logged_in("42", "7");
    hold(&gateway, "42", "7");
    let begin = Instant::now();
    let over = wait_until("its end", || {
        let answer = browser.get("/x");
        (answer.at("/error_code") != "reauth_required").then(|| answer.expect_refusal(401, "session_idle_timeout"))
    });
    drop(over);
    assert!(begin.elapsed() < Duration::from_secs(5), "being refused is no use of it");
});

/// Asks without pause until the answer is of this status; says how long it took.
fn until(browser: &mut Browser, status: u16) -> Duration {
    let begin = Instant::now();
    while browser.get("/x").status != status {
        assert!(begin.elapsed() < WITHIN, "not heard of");
    }
    begin.elapsed()
}

#[test]
fn a_hold_and_a_release_are_seen_by_every_gateway_within_a_second_fifty_times() {
    let backend = echo();
    let store = Store::redis();
    let gateways = [(); 2].map(|()| operated(store.clone()).with_backend(&backend).start());
    let mut here = gateways[0].logged_in("42", "7");
    let mut there = here.at(gateways[1].address());
    let id = id_of(&gateways[0], "42", "7");
    let mut latest = Duration::ZERO;
    for round in 0..50 {
        there.get("/x").expect(200);
        change(&gateways[round % 2], &id, "hold");
        // At once where it was asked for, and soon on the other.
        [&mut here, &mut there][round % 2].get("/x").expect_refusal(401, "reauth_required");
        latest = latest.max(until([&mut there, &mut here][round % 2], 401));
        change(&gateways[round % 2], &id, "release");
        [&mut here, &mut there][round % 2].get("/x").expect(200);
        until([&mut there, &mut here][round % 2], 200);
    }
    println!("the other gateway refused {latest:?} after the answer at the latest");
}

#[test]
fn what_is_open_for_it_is_cut_on_every_gateway_within_a_second_and_can_be_opened_anew_when_it_is_released() {
    let backend = echo();
    backend.on_head("/ws", [send(SWITCH), Step::Raw { echo: true }]);
    backend.on_head("/events", [send(EVENTS), Step::Hang]);
    let store = Store::redis();
    let gateways = [(); 2].map(|()| operated(store.clone()).with_backend(&backend).start());
    let browser = gateways[0].logged_in("42", "7");
    let id = id_of(&gateways[0], "42", "7");
    let mut tabs = gateways.each_ref().map(|gateway| gateway.open(&browser, "/ws"));
    let mut streams = gateways.each_ref().map(|gateway| {
        let mut wire = gateway.wire();
        let (address, token) = (gateway.address(), browser.token());
        wire.send(format!("GET /events HTTP/1.1\r\nHost: {address}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
        wire.try_receive_head().expect("a head").expect(200);
        assert_eq!(wire.chunk().expect("an event"), Some(b"x".to_vec()));
        wire
    });
    let upload = {
        let mut wire = gateways[1].wire();
        let (address, token) = (gateways[1].address(), browser.token());
        wire.send(format!(
            "POST /upload HTTP/1.1\r\nHost: {address}\r\nCookie: {SESSION_COOKIE}={token}\r\nContent-Length: 1000\r\n\r\nhalf"
        ));
        wire
    };
    // So that all of it is older than an ordinary answer.
    let_pass(Duration::from_millis(400));
    let begin = Instant::now();
    change(&gateways[0], &id, "hold");
    for tab in &mut tabs {
        assert_eq!(tab.expect_close(4401), "reauth_required");
    }
    for wire in &mut streams {
        assert!(wire.rest().is_empty());
    }
    let mut upload = upload;
    upload.receive().expect_refusal(401, "reauth_required");
    assert!(begin.elapsed() < WITHIN + Duration::from_millis(200), "{:?}", begin.elapsed());
    assert!(backend.seen_at("/upload").is_empty());
    change(&gateways[0], &id, "release");
    let mut tab = wait_until("a new tab", || {
        let (head, tab) = gateways[1].ask(&browser, "/ws", &[]);
        (head.status == 101).then_some(tab)
    });
    tab.send("x").expect("x");
    let cut = || gateways[1].metric("streams_cut_total", r#"{code="reauth_required"}"#);
    wait_until("the count of what was cut", || (cut() >= 2.0).then_some(()));
}

#[test]
fn a_request_that_waits_for_its_body_when_the_hold_comes_does_not_reach_the_backend() {
    let backend = echo();
    let gateway = operated(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let id = id_of(&gateway, "42", "7");
    for round in 0..50 {
        let mut wire = gateway.wire();
        let (address, token) = (gateway.address(), browser.token());
        wire.send(format!(
            "POST /pay HTTP/1.1\r\nHost: {address}\r\nCookie: {SESSION_COOKIE}={token}\r\nContent-Length: 8\r\n\r\nhalf"
        ));
        let_pass(Duration::from_millis(250));
        change(&gateway, &id, "hold");
        wire.send("half");
        wire.receive().expect_refusal(401, "reauth_required");
        assert!(backend.seen_at("/pay").is_empty(), "round {round}");
        change(&gateway, &id, "release");
    }
}

on_both_stores!(what_the_app_sealed_for_it_opens_nowhere_while_it_is_held, |store| {
    let backend = echo();
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", "sessionid=alices; Path=/")], "")]);
    let gateway = operated(store)
        .with_backend(&backend)
        .set("secrets.key", "kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s")
        .settings("identity.seal_cookies = [\"sessionid\"]\n[[routes]]\nmatch = \"/open\"\nauth = \"public\"")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/set").expect(200);
    browser.get("/open").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("sessionid=alices"));
    let id = hold(&gateway, "42", "7");
    browser.get("/open").expect(200);
    assert_eq!(backend.last().header("cookie"), None);
    browser.post("/api/logout");
    assert_eq!(backend.last().header("cookie"), None);
    gateway.wait_audit("session.ended", |event| event["session_id"] == id);
});

#[test]
fn the_commands_hold_and_release_a_session_and_the_list_shows_it() {
    let backend = echo();
    let gateway = operated(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let id = id_of(&gateway, "42", "7");
    let run = |arguments: &[&str]| {
        let output = gateway.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let config = gateway.config().to_str().expect("a path").to_owned();
    let said = run(&["sessions", "hold", &id, "--reason", "a laptop, lost", "--config", &config]);
    assert_eq!(said, format!("session {id} held\n"));
    browser.get("/x").expect_refusal(401, "reauth_required");
    let said = run(&["sessions", "hold", &id, "--config", &config]);
    assert_eq!(said, format!("session {id} held (it was so already)\n"));
    assert!(run(&["sessions", "list", "--config", &config]).contains("a laptop, lost"));
    assert!(run(&["sessions", "show", &id, "--config", &config]).contains("a laptop, lost"));
    let said = run(&["sessions", "release", &id, "--config", &config, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON"), json!({"held": false, "changed": true}));
    browser.get("/x").expect(200);
}
