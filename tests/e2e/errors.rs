//! What a refused client is told (docs/behaviour.md, "Errors").

use std::time::Duration;

use serde_json::json;

use crate::on_both_stores;
use crate::support::{SESSION_COOKIE, Step, Store, answer, echo, gateway, let_pass, send};

on_both_stores!(an_api_call_without_a_session_gets_json_and_a_page_goes_to_the_login, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    for (why, lines, status) in [
        ("nothing said", &[][..], 401),
        ("fetch", &["Sec-Fetch-Mode: cors", "Accept: text/html"], 401),
        ("same-origin fetch", &["Sec-Fetch-Mode: same-origin"], 401),
        ("navigation", &["Sec-Fetch-Mode: navigate"], 302),
        ("old browser", &["Accept: text/html,application/xhtml+xml;q=0.9"], 302),
        ("accepts JSON", &["Accept: application/json"], 401),
        ("old XHR", &["Accept: application/xhtml+xml", "X-Requested-With: XMLHttpRequest"], 401),
        ("navigating XHR", &["Sec-Fetch-Mode: navigate", "X-Requested-With: XMLHttpRequest"], 401),
    ] {
        let response = gateway.get_with_lines("/orders", lines);
        assert_eq!(response.status, status, "{why}");
        if status == 401 {
            let refused = response.expect_refusal(401, "session_required");
            assert_eq!(refused.at("/login_url"), "/login", "{why}");
        } else {
            let location = response.header("location").expect("a location");
            assert!(location.starts_with("/login?next=") && location.ends_with("orders"), "{location}");
        }
    }
    let mut browser = gateway.browser();
    let post = browser.request("POST", "/orders").header("Sec-Fetch-Mode", "navigate").send().expect(401);
    assert_eq!(
        post.header("content-type"),
        Some("text/html; charset=utf-8"),
        "what a form sent is not lost on the way"
    );
    let head = browser.request("HEAD", "/orders").header("Sec-Fetch-Mode", "navigate").send();
    assert_eq!(head.status, 302);
    assert!(backend.seen().is_empty());
});

on_both_stores!(the_reason_of_an_end_is_known_afterwards, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).idle("1s").start();
    let mut idle = gateway.logged_in("42", "1");
    let mut revoked = gateway.logged_in("42", "2");
    let mut stolen = revoked.clone();
    revoked.post("/api/logout");
    stolen.get("/x").expect_refusal(401, "session_revoked");
    let_pass(Duration::from_millis(1300));
    idle.get("/x").expect_refusal(401, "session_idle_timeout");
});

on_both_stores!(a_page_of_an_ended_session_leads_to_the_login_without_its_cookie_and_the_backends, |store| {
    let backend = echo();
    let gateway =
        gateway(store).with_backend(&backend).set("logout.clear_cookies", vec!["session", "remember_token"]).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut stolen = browser.clone();
    browser.post("/api/logout");
    // A call expires nothing: its answer may come late, when a new login's cookies are there.
    let refused = stolen.get("/x").expect_refusal(401, "session_revoked");
    assert!(refused.headers.all("set-cookie").is_empty(), "{refused:?}");
    let sent = stolen.navigate("/x").expect(302);
    for name in [SESSION_COOKIE, "session", "remember_token"] {
        assert!(sent.set_cookie(name).is_some_and(|cookie| cookie.expires_it()), "{name}: {sent:?}");
    }
    assert!(!stolen.has_session_cookie());
});

#[test]
fn a_body_above_the_limit_is_413_however_it_is_framed() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_body", "1KiB").start();
    let host = gateway.address();
    let big = "x".repeat(2000);
    let sized = format!("POST /public/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000\r\n\r\n{big}");
    gateway.exchange(sized).expect_refusal(413, "body_too_large");
    let chunked = format!(
        "POST /public/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{big}\r\n0\r\n\r\n"
    );
    gateway.exchange(chunked).expect_refusal(413, "body_too_large");
    assert!(backend.seen().iter().all(|seen| !seen.complete), "no backend takes half a body for a whole one");
    let fits = format!("POST /public/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024));
    gateway.exchange(fits).expect(200);
}

#[test]
fn a_backend_that_is_away_or_not_understood_is_502_and_one_that_is_late_504() {
    let backend = echo();
    backend.on("/late", [Step::Hang]);
    backend.on("/garbage", [send("NONSENSE\r\n\r\n"), Step::Close]);
    let cookie = "HTTP/1.1 200 OK\r\nSet-Cookie: a=s3cret\0\r\n\r\n";
    backend.on("/cookie", [send(cookie), Step::Close]);
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n";
    backend.on("/chunks", [send(chunks), Step::Hang]);
    backend.on("/folded", [send("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nX-B : 3\r\nContent-Length: 0\r\n\r\n")]);
    backend.on("/silent", [Step::Close]);
    let late = gateway(Store::Embedded).with_backend(&backend).set("upstream.response_timeout", "1s").start();
    let mut browser = late.logged_in("42", "7");
    browser.get("/late").expect_refusal(504, "upstream_timeout");
    browser.get("/garbage").expect_refusal(502, "bad_answer");
    browser.get("/chunks").expect_refusal(502, "bad_answer");
    browser.get("/cookie").expect_refusal(502, "bad_answer");
    late.wait_log(&["line 2 of its head is malformed", "set-cookie"]);
    assert!(late.log().iter().all(|line| !line.contains("s3cret")), "a cookie's value is in the log");
    let folded = browser.get("/folded").expect(200);
    assert_eq!((folded.header("x-a"), folded.header("x-b")), (Some("1 2"), Some("3")));
    browser.post("/silent").expect_refusal(502, "upstream_unreachable");
    assert!(late.metric("upstream_errors_total", "") >= 3.0);

    let nobody = format!("http://{}", crate::support::ports::local(crate::support::ports::free_port()));
    let away = gateway(Store::Embedded).with_backend(&backend).set("upstream.url", nobody).start();
    away.browser().get("/public/x").expect_refusal(502, "upstream_unreachable");
}

#[test]
fn a_backends_own_errors_pass_as_they_are() {
    let backend = echo();
    for (path, status) in [("/401", "401 Mine"), ("/404", "404 Gone"), ("/500", "500 Oops"), ("/503", "503 Later")] {
        backend.on(path, [answer(status, &[("Content-Type", "text/plain"), ("X-Own", "yes")], "mine")]);
    }
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for status in [401, 404, 500, 503] {
        let response = browser.get(&format!("/{status}")).expect(status);
        assert_eq!((response.text(), response.header("x-own")), ("mine".into(), Some("yes")));
        assert!(browser.has_session_cookie(), "a backend's {status} ends no session");
    }
}

#[test]
fn a_refusal_names_the_request_and_tells_nothing_of_the_inside() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let refused = gateway.browser().get("/x").expect_refusal(401, "session_required");
    let id = refused.at("/request_id");
    gateway.wait_log(&[&id]);
    assert!(!refused.text().contains("127.0.0.1") && !refused.headers.has("server") && !refused.headers.has("via"));
    let login =
        gateway.browser().post_json("/api/login", &json!({"answer": {"user": {"customer_id": "a b", "user_id": 1}}}));
    assert!(!login.expect_refusal(502, "bad_identity").text().contains("a b"));
}
