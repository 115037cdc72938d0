//! How a session is ended on purpose (docs/behaviour.md, "Logout").

use serde_json::json;

use crate::on_both_stores;
use crate::support::{SESSION_COOKIE, Step, Store, answer, echo, flask, gateway, wait_until};

on_both_stores!(a_logout_at_flask_ends_the_session_even_for_a_copied_cookie, |store| {
    let gateway = gateway(store).with_backend(flask()).start();
    let mut browser = gateway.browser();
    browser.log_in_to_flask("bob");
    let mut stolen = browser.clone();
    let logout = browser.post("/api/logout").expect(200);
    assert_eq!(logout.json(), json!({"success": true}), "the backend's answer goes on");
    assert!(logout.set_cookie(SESSION_COOKIE).is_some_and(|cookie| cookie.expires_it()));
    assert_eq!(logout.header("clear-site-data"), None, "it is slow in browsers, so that it is the operator's choice");
    stolen.get("/api/invoices").expect_refusal(401, "session_revoked");
    gateway.wait_audit("session.ended", |event| event["reason"] == "logout" && event["tenant"] == "77");
});

on_both_stores!(the_session_ends_whatever_the_backend_answers, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .set("upstream.response_timeout", "1s")
        .set("logout.clear_cookies", vec!["session"])
        .start();
    for (steps, status) in [
        (vec![answer("200 OK", &[], "bye")], 200),
        (vec![answer("302 Found", &[("Location", "/login")], "")], 302),
        (vec![answer("401 Unauthorized", &[], "")], 401),
        (vec![answer("500 Oops", &[], "")], 500),
        (vec![Step::Close], 204),
        (vec![Step::Hang], 204),
    ] {
        backend.on("/api/logout", steps);
        let mut browser = gateway.logged_in("42", "7");
        browser.set_cookie("session", "backend");
        let mut stolen = browser.clone();
        browser.post("/api/logout").expect(status);
        assert!(!browser.has_session_cookie() && browser.cookie("session").is_none(), "{status}");
        stolen.get("/x").expect_refusal(401, "session_revoked");
    }
});

on_both_stores!(the_backend_hears_of_the_logout_with_the_sessions_identity, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    for method in ["POST", "GET", "DELETE"] {
        let mut browser = gateway.logged_in("42", "7");
        browser.request(method, "/api/logout").header("X-Customer-ID", "77").send().expect(200);
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")), "{method}");
        assert!(!browser.has_session_cookie());
    }
});

#[test]
fn a_logout_without_a_session_passes_without_identity_and_ends_nothing() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut other = gateway.logged_in("42", "7");
    gateway.browser().request("POST", "/api/logout").header("X-Customer-ID", "42").send().expect(200);
    backend.last().assert_anonymous();
    other.get("/x").expect(200);
}

on_both_stores!(logging_out_everywhere_ends_all_of_the_users_sessions_and_nobody_elses, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut mine: Vec<_> = (0..3).map(|_| gateway.logged_in("42", "7")).collect();
    let mut others = [gateway.logged_in("42", "8"), gateway.logged_in("77", "7")];
    let asked = backend.seen().len();
    let answer = mine[0].clone().post("/api/auth/revoke-all-tokens").expect(200);
    assert_eq!(answer.json(), json!({"success": true, "invalidated_sessions": 3}));
    assert!(answer.set_cookie(SESSION_COOKIE).is_some_and(|cookie| cookie.expires_it()));
    assert_eq!(backend.seen().len(), asked, "the gateway answers itself");
    mine.iter_mut().for_each(|browser| drop(browser.get("/x").expect_refusal(401, "session_revoked")));
    others.iter_mut().for_each(|browser| drop(browser.get("/x").expect(200)));
    gateway.logged_in("42", "7").get("/x").expect(200);
    gateway.wait_audit("session.ended", |event| event["reason"] == "logout_all");
});

#[test]
fn logging_out_everywhere_takes_a_session_a_post_and_our_own_page() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.browser().post("/api/auth/revoke-all-tokens").expect_refusal(401, "session_required");
    let mut browser = gateway.logged_in("42", "7");
    let foreign = browser.request("POST", "/api/auth/revoke-all-tokens").header("Origin", "https://evil.example");
    foreign.send().expect_refusal(403, "csrf_failed");
    let asked = backend.seen().len();
    // Another method is no log-out, and no way around the session either.
    for method in ["GET", "PUT", "DELETE"] {
        gateway.browser().request(method, "/api/auth/revoke-all-tokens").send().expect_refusal(401, "session_required");
    }
    assert_eq!(backend.seen().len(), asked);
    browser.get("/api/auth/revoke-all-tokens").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    browser.get("/x").expect(200);
}

on_both_stores!(a_logout_whose_body_is_refused_is_a_logout_all_the_same, |store| {
    let backend = echo();
    let builder = gateway(store).with_backend(&backend).set("logout.clear_cookies", vec!["app"]);
    let gateway = builder.set("session.clear_site_data", vec!["cache"]).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.set_cookie("app", "backend");
    let refused = browser.request("POST", "/api/logout").body(vec![b'x'; (1 << 20) + 10]).send();
    assert_eq!(refused.header("clear-site-data"), Some("\"cache\""));
    refused.expect_refusal(413, "body_too_large");
    assert!(!browser.has_session_cookie() && browser.cookie("app").is_none());
});

#[test]
fn a_backend_may_have_several_ways_out() {
    let backend = echo();
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).set("logout.path", vec!["/logout", "/admin/logout"]).start();
    for path in ["/logout", "/admin/logout/"] {
        let mut browser = gateway.logged_in("42", "7");
        let mut copied = browser.clone();
        browser.post(path).expect(200);
        assert!(!browser.has_session_cookie());
        copied.get("/x").expect_refusal(401, "session_revoked");
    }
    gateway.browser().post("/api/logout").expect_refusal(401, "session_required");
}

on_both_stores!(a_logout_runs_to_its_end_when_the_client_hangs_up, |store| {
    let backend = echo();
    let gate = crate::support::Gate::closed();
    backend.on("/api/logout", [Step::Await(gate.clone()), answer("200 OK", &[], "bye")]);
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.request("POST", "/api/logout").send_and_hang_up();
    backend.wait_for("/api/logout");
    gate.open();
    wait_until("the end of the session", || (browser.clone().get("/x").status == 401).then_some(()));
});

#[test]
fn ended_sessions_are_counted_by_reason() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.logged_in("42", "7").post("/api/logout").expect(200);
    assert_eq!(gateway.metric("sessions_ended_total", "reason=\"logout\""), 1.0);
    assert_eq!(gateway.metric("sessions_created_total", ""), 1.0);
}

#[test]
fn a_logout_is_answered_whole_whatever_the_browser_has_cached() {
    let backend = echo();
    backend.on_call("/api/logout", |seen| {
        let conditional = ["if-none-match", "if-modified-since", "if-range", "range"];
        let status = if conditional.iter().any(|name| seen.headers.has(name)) { "304 Not Modified" } else { "200 OK" };
        vec![answer(status, &[("ETag", "\"a\"")], "")]
    });
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (name, value) in [("If-None-Match", "\"a\""), ("Range", "bytes=0-1")] {
        let mut browser = gateway.logged_in("42", "7");
        let answer = browser.request("GET", "/api/logout").header(name, value).send().expect(200);
        assert!(answer.set_cookie(SESSION_COOKIE).is_some_and(|cookie| cookie.expires_it()), "{name}");
    }
}

on_both_stores!(what_only_looks_ahead_ends_no_session, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for (method, header) in [
        ("HEAD", ("X-Y", "z")),
        ("GET", ("Sec-Purpose", "prefetch;prerender")),
        ("GET", ("Purpose", "prefetch")),
        ("GET", ("X-Moz", "prefetch")),
    ] {
        let asked = backend.seen().len();
        let ahead = browser.request(method, "/api/logout").header(header.0, header.1).send().expect(204);
        assert!(ahead.set_cookie(SESSION_COOKIE).is_none() && ahead.header("clear-site-data").is_none(), "{header:?}");
        assert_eq!(backend.seen().len(), asked, "the app would act on it: {method} {header:?}");
        browser.get("/x").expect(200);
    }
    // A preflight and a question what may be asked are answered by the app.
    browser.request("OPTIONS", "/api/logout").send().expect(200);
    browser.get("/x").expect(200);
    let sibling = browser.request("GET", "/api/logout").header("Sec-Fetch-Site", "same-site").send();
    sibling.expect_refusal(403, "csrf_failed");
    browser.get("/x").expect(200);
    browser.get("/api/logout").expect(200);
    assert!(!browser.has_session_cookie());
});

#[test]
fn a_route_that_takes_calls_from_anywhere_takes_logins_and_logouts_from_anywhere() {
    let backend = echo();
    let described = gateway(Store::Embedded).with_backend(&backend);
    let gateway = described
        .set("server.trusted_origins", vec!["capacitor://localhost"])
        .settings("[[routes]]\nmatch = [\"/api/login\", \"/api/logout\"]\nauth = \"public\"\ncsrf = \"off\"")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    let app = browser.request("POST", "/x").header("Origin", "capacitor://localhost").send();
    app.expect(200);
    browser.request("POST", "/x").header("Origin", "null").send().expect_refusal(403, "csrf_failed");
    let foreign = browser.request("POST", "/api/logout").header("Origin", "null").send();
    foreign.expect(200);
    assert!(!browser.has_session_cookie());
}
