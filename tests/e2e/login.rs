//! The app's own login becomes a session (docs/behaviour.md, "Cookie and token", "Login").

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{
    Gate, RedisServer, SESSION_COOKIE, Step, Store, answer, answer_json, django, echo, flask, gateway, poll, wait_until,
};

on_both_stores!(a_json_login_at_flask_makes_a_session, |store| {
    let gateway = gateway(store).with_backend(flask()).start();
    let mut browser = gateway.browser();
    browser.get("/api/invoices").expect_refusal(401, "session_required");
    let login = browser.log_in_to_flask("alice");
    assert_eq!(login.at("/user/customer_id"), "42", "the backend's answer goes on as it was");
    assert_eq!(login.header("cache-control"), Some("no-store"));
    let me = browser.get("/api/me").expect(200);
    assert_eq!(me.at("/believed/customer_id"), "42");
    assert_eq!(me.at("/believed/user_id"), "7");
    assert_eq!(me.at("/believed/role"), "admin");
    assert_eq!(me.at("/believed/session_id").len(), 22);
    assert_eq!(gateway.wait_audit("session.created", |_| true)["tenant"], "42");
});

on_both_stores!(the_cookie_is_43_random_characters_and_httponly_for_the_session_only, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.browser();
    let login = browser.log_in_with(&identity(42, 7)).expect(200);
    let cookie = login.set_cookie(SESSION_COOKIE).expect("a session cookie");
    assert_eq!(cookie.value.len(), 43);
    assert!(cookie.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert_eq!(cookie.attribute("path"), Some("/"));
    assert_eq!(cookie.attribute("httponly"), Some(""));
    assert!(cookie.attribute("samesite").is_some_and(|value| value.eq_ignore_ascii_case("lax")), "{cookie:?}");
    for absent in ["domain", "max-age", "expires", "secure"] {
        assert_eq!(cookie.attribute(absent), None, "{absent} over http in development");
    }
    assert_ne!(gateway.logged_in("42", "7").token(), cookie.value);
});

#[test]
fn a_login_with_and_without_a_trailing_slash_is_the_same_login() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    browser.post_json("/api/login/", &json!({"answer": identity(1, 2)})).expect(200);
    assert!(browser.has_session_cookie());
}

#[test]
fn the_login_request_reaches_the_backend_without_identity_and_asks_for_no_compression() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let body = json!({"answer": identity(42, 8)});
    let request =
        browser.request("POST", "/api/login").header("X-Customer-ID", "1").header("Accept-Encoding", "gzip, br");
    request.json(&body).send().expect(200);
    let seen = backend.last();
    seen.assert_anonymous();
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.body, body.to_string().into_bytes());
}

#[test]
fn only_a_successful_post_that_names_tenant_and_user_is_a_login() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let user = json!({"customer_id": 42, "user_id": 7});
    for (why, wish) in [
        ("401", json!({"status": 401, "answer": {"user": user}})),
        (
            "3xx is not success for json",
            json!({"status": 302, "answer": {"user": user}, "headers": [["Location", "/"]]}),
        ),
        ("500", json!({"status": 500, "answer": {"user": user}})),
        ("success is false", json!({"answer": {"success": false, "user": user}})),
        ("ok is false", json!({"answer": {"ok": false, "user": user}})),
        ("a second factor is due", json!({"answer": {"success": true, "mfa_required": true, "user": user}})),
        ("a second factor, truthy text", json!({"answer": {"requires_2fa": "totp", "user": user}})),
        ("no user", json!({"answer": {"user": {"customer_id": 42}}})),
        ("no tenant", json!({"answer": {"user": {"user_id": 7}}})),
        ("null tenant", json!({"answer": identity(Value::Null, 7)})),
        ("empty tenant", json!({"answer": identity("", 7)})),
        ("not an object", json!({"answer": [1, 2]})),
    ] {
        let mut browser = gateway.browser();
        let response = browser.post_json("/api/login", &wish);
        assert_eq!(u64::from(response.status), wish["status"].as_u64().unwrap_or(200), "{why}");
        assert_eq!(response.json(), wish["answer"], "{why}: the answer goes on unchanged");
        assert!(!browser.has_session_cookie(), "{why}");
    }
    let mut browser = gateway.browser();
    browser.get("/api/login");
    assert!(!browser.has_session_cookie(), "GET is no login");
}

#[test]
fn a_falsy_second_factor_mark_does_not_hold_a_login_up() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for mark in [json!(false), Value::Null, json!(0), json!("")] {
        let mut answer = identity(42, 7);
        answer["mfa_required"] = mark.clone();
        let mut browser = gateway.browser();
        browser.log_in_with(&answer).expect(200);
        assert!(browser.has_session_cookie(), "{mark}");
    }
}

#[test]
fn the_first_pointer_that_hits_names_the_identity() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    browser
        .log_in_with(&json!({"customer_id": "second", "user_id": "u", "user": {"customer_id": "first"}}))
        .expect(200);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("first"), Some("u")));
}

on_both_stores!(identity_values_are_exact, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    for (given, told) in [
        ("42", "42"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551617", "18446744073709551617"),
        ("-1", "-1"),
        (r#""042""#, "042"),
        (r#""acme:eu}1!~""#, "acme:eu}1!~"),
    ] {
        let given: Value = serde_json::from_str(given).expect("JSON");
        let mut browser = gateway.browser();
        browser.log_in_with(&identity(given, 7)).expect(200);
        browser.get("/x").expect(200);
        assert_eq!(backend.last().identity(), (Some(told), Some("7")));
    }
});

#[test]
fn an_identity_that_no_header_can_carry_is_a_bad_gateway() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for bad in [
        json!("a,b"),
        json!("a b"),
        json!("a\r\nX-Customer-ID: 1"),
        json!("a\0"),
        json!("ä"),
        json!("x".repeat(129)),
        json!(true),
        json!(1.5),
        json!("\u{fffd}"),
        json!([42]),
        json!({"id": 42}),
    ] {
        for answer in [identity(bad.clone(), 7), identity(42, bad.clone())] {
            let mut browser = gateway.browser();
            let response = browser.log_in_with(&answer).expect_refusal(502, "bad_identity");
            assert!(!browser.has_session_cookie(), "{bad}");
            assert!(!response.text().contains("customer_id"), "the backend's answer is not passed on");
        }
    }
    assert_eq!(gateway.metric("sessions_created_total", ""), 0.0);
}

#[test]
fn a_login_answer_above_its_limit_makes_no_session() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("login.max_body", "1KiB").start();
    let mut answer = identity(42, 7);
    answer["padding"] = json!("x".repeat(5000));
    let mut browser = gateway.browser();
    let response = browser.log_in_with(&answer);
    assert_eq!(response.status, 502);
    assert!(!browser.has_session_cookie());
}

on_both_stores!(a_login_that_carries_a_session_replaces_it, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut old = browser.clone();
    browser.log_in_with(&identity(42, 7)).expect(200);
    assert_ne!(browser.token(), old.token());
    browser.get("/x").expect(200);
    let refused = old.get("/x").expect_refusal(401, "session_revoked");
    assert!(refused.set_cookie(SESSION_COOKIE).is_none(), "the successor's cookie may be in the browser already");
    gateway.wait_audit("session.ended", |event| event["reason"] == "replaced");
});

#[test]
fn a_failed_login_leaves_the_session_that_it_carried() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.post_json("/api/login", &json!({"status": 401, "answer": {"success": false}})).expect(401);
    browser.get("/x").expect(200);
    gateway.wait_audit("login.failed", |_| true);
}

#[test]
fn a_login_that_asks_to_be_remembered_gets_a_cookie_with_max_age() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (asked, kept) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!("on"), true),
        (json!("true"), true),
        (json!("yes"), true),
        (json!("y"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("no"), false),
        (json!("off"), false),
        (Value::Null, false),
    ] {
        let mut browser = gateway.browser();
        let login = browser.post_json("/api/login", &json!({"answer": identity(42, 7), "remember": asked})).expect(200);
        let cookie = login.set_cookie(SESSION_COOKIE).expect("a session cookie");
        assert_eq!(cookie.attribute("max-age"), kept.then_some("604800"), "{asked}");
    }
}

#[test]
fn a_login_answer_as_apps_write_it_makes_a_session() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let plain = r#"{"user": {"customer_id": 42, "user_id": 7}}"#;
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(plain.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let deep =
        format!(r#"{{"tree": {}{}, "user": {{"customer_id": 42, "user_id": 7}}}}"#, "[".repeat(200), "]".repeat(200));
    for (row, body) in [
        ("a lone surrogate", br#"{"name": "\ud800", "user": {"customer_id": 42, "user_id": 7}}"#.to_vec()),
        ("NaN and Infinity", br#"{"r": [NaN, -Infinity], "user": {"customer_id": 42, "user_id": 7}}"#.to_vec()),
        ("a byte order mark", [b"\xEF\xBB\xBF", plain.as_bytes()].concat()),
        ("UTF-16", utf16),
        ("Latin-1", b"{\"name\": \"Zo\xEB\", \"user\": {\"customer_id\": 42, \"user_id\": 7}}".to_vec()),
        ("200 levels", deep.into_bytes()),
        ("42.0", br#"{"user": {"customer_id": 42.0, "user_id": 7.0}}"#.to_vec()),
    ] {
        backend.on("/api/login", [answer("200 OK", &[("Content-Type", "application/json")], &body)]);
        let mut browser = gateway.browser();
        let login = browser.post_json("/api/login", &json!({})).expect(200);
        assert!(browser.has_session_cookie(), "{row}");
        assert_eq!(login.body, body, "{row}: the answer goes on as it was");
        browser.get("/x").expect(200);
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")), "{row}");
    }
    for body in
        [r#"{"user": {"customer_id": "\ud800", "user_id": 7}}"#, r#"{"user": {"customer_id": NaN, "user_id": 7}}"#]
    {
        backend.on("/api/login", [answer("200 OK", &[], body)]);
        gateway.browser().post_json("/api/login", &json!({})).expect_refusal(502, "bad_identity");
    }
}

#[test]
fn a_success_that_names_nobody_is_counted_apart_and_warned_of_once() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("login.unless", vec!["/mfa_required", "/status=otp_required"])
        .start();
    for (row, answer, outcome) in [
        ("other names", json!({"uid": 7, "org": 42}), "unnamed"),
        ("no tenant", json!({"user": {"user_id": 7}}), "unnamed"),
        (
            "a value that is due",
            json!({"status": "otp_required", "user": {"customer_id": 42, "user_id": 7}}),
            "incomplete",
        ),
        ("another value", json!({"status": "ok", "user": {"customer_id": 42, "user_id": 7}}), "success"),
    ] {
        let labels = format!("outcome=\"{outcome}\"");
        let before = gateway.metric("logins_total", &labels);
        gateway.browser().log_in_with(&answer).expect(200);
        assert_eq!(gateway.metric("logins_total", &labels) - before, 1.0, "{row}");
    }
    gateway.wait_log(&["named nobody"]);
    let warned: Vec<String> = gateway.log().into_iter().filter(|line| line.contains("named nobody")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("/user/customer_id"), "{}", warned[0]);
}

#[test]
fn only_a_clear_yes_about_the_tenant_lets_a_login_through() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .settings("[tenants]\nverify = \"/verify/{user_id}\"\nattempts = 2\nbackoff = \"0s\"\n")
        .start();
    for (status, body, expected) in [
        ("200 OK", r#"{"tenant_exists": true}"#, Ok(())),
        ("200 OK", r#"{"success": true, "tenant_id": "42"}"#, Ok(())),
        ("200 OK", r#"{"tenant_exists": false}"#, Err((403, "tenant_missing", 1))),
        ("200 OK", r#"{"tenant_exists": true, "tenant_id": "77"}"#, Err((403, "tenant_missing", 1))),
        ("200 OK", r#"{"tenant_exists": true, "user": {"customer_id": 77}}"#, Err((403, "tenant_missing", 1))),
        ("200 OK", "{}", Err((503, "tenant_unverified", 2))),
        ("200 OK", "<html>", Err((503, "tenant_unverified", 2))),
        ("204 No Content", "", Err((503, "tenant_unverified", 2))),
        ("404 Not Found", r#"{"tenant_exists": false}"#, Err((503, "tenant_unverified", 2))),
        ("403 Forbidden", "", Err((503, "tenant_unverified", 2))),
        ("500 Internal Server Error", "", Err((503, "tenant_unverified", 2))),
    ] {
        backend.on("/verify/7", [answer(status, &[], body)]);
        let before = backend.seen_at("/verify/7").len();
        let mut browser = gateway.browser();
        let login = browser.log_in_with(&identity(42, 7));
        match expected {
            Ok(()) => assert!(login.status == 200 && browser.has_session_cookie(), "{status} {body}"),
            Err((refused, code, asked)) => {
                login.expect_refusal(refused, code);
                assert!(!browser.has_session_cookie(), "{status} {body}");
                assert_eq!(backend.seen_at("/verify/7").len() - before, asked, "{status} {body}");
            }
        }
    }
}

#[test]
fn a_form_login_can_ask_to_be_remembered_too() {
    let backend = echo();
    backend.on("/api/login", [answer_json(&identity(42, 7))]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (value, kept) in [("on", true), ("1", true), ("y", true), ("0", false), ("None", false)] {
        let login = gateway.browser().post_form("/api/login", &[("name", "x"), ("remember", value)]).expect(200);
        let cookie = login.set_cookie(SESSION_COOKIE).expect("a session cookie");
        assert_eq!(cookie.attribute("max-age"), kept.then_some("604800"), "{value}");
        let parts = format!(
            "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nx\r\n\
             --b\r\nContent-Disposition: form-data; name=\"remember\"\r\n\r\n{value}\r\n--b--\r\n"
        );
        let mut browser = gateway.browser();
        let request = browser.request("POST", "/api/login").header("Content-Type", "multipart/form-data; boundary=b");
        let login = request.body(parts).send().expect(200);
        let cookie = login.set_cookie(SESSION_COOKIE).expect("a session cookie");
        assert_eq!(cookie.attribute("max-age"), kept.then_some("604800"), "multipart {value}");
    }
}

on_both_stores!(a_login_by_response_header_is_captured_and_the_headers_go_no_further, |store| {
    let backend = echo();
    let headers = [("X-Session-Tenant", "42"), ("X-Session-User", "7"), ("X-Session-Role", "admin"), ("Location", "/")];
    backend.on("/api/login", [answer("302 Found", &headers, "")]);
    let gateway = gateway(store).with_backend(&backend).set("login.capture", "header").start();
    let mut browser = gateway.browser();
    let login = browser.post_form("/api/login", &[("name", "x")]).expect(302);
    assert!(browser.has_session_cookie());
    assert_eq!(login.header("location"), Some("/"));
    for name in ["x-session-tenant", "x-session-user", "x-session-role"] {
        assert!(!login.headers.has(name), "{name} reached the client");
    }
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    assert_eq!(backend.last().header("x-user-role"), Some("admin"));
});

on_both_stores!(a_form_login_at_django_is_captured_by_asking_who_came_in, |store| {
    let gateway = gateway(store).with_backend(django()).start();
    let mut browser = gateway.browser();
    let sent = browser.navigate("/").expect(302);
    assert!(sent.header("location").is_some_and(|to| to.starts_with("/accounts/login/?next=")), "{sent:?}");
    let login = browser.log_in_to_django("alice").expect(302);
    assert_eq!(login.header("location"), Some("/"));
    assert!(browser.has_session_cookie() && browser.cookie("sessionid").is_some(), "both cookies are there");
    let data = browser.request("GET", "/api/shipments").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(data.at("/organisation"), "Northwind Traders");
    assert_eq!((data.at("/believed/customer_id"), data.at("/believed/user_id")), ("42".into(), "7".into()));
});

on_both_stores!(a_failed_form_login_at_django_makes_no_session, |store| {
    let gateway = gateway(store).with_backend(django()).start();
    let mut browser = gateway.browser();
    browser.get("/accounts/login/").expect(200);
    let token = browser.cookie("csrftoken").expect("the form sets it").to_owned();
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("username", "alice"), ("password", "wrong")];
    browser.post_form("/accounts/login/", &fields).expect(200);
    assert!(!browser.has_session_cookie());
    browser.get("/api/shipments").expect_refusal(401, "session_required");
});

#[test]
fn logging_out_of_django_expires_both_cookies() {
    let gateway = gateway(Store::Embedded).with_backend(django()).start();
    let mut browser = gateway.browser();
    browser.log_in_to_django("bob").expect(302);
    let token = browser.cookie("csrftoken").expect("rotated at login").to_owned();
    browser.post_form("/accounts/logout/", &[("csrfmiddlewaretoken", &token)]).expect(302);
    assert!(!browser.has_session_cookie() && browser.cookie("sessionid").is_none());
}

#[test]
fn whoami_is_asked_only_if_the_login_set_a_cookie() {
    let backend = echo();
    backend.on("/api/login", [answer("302 Found", &[("Location", "/")], "")]);
    backend.on("/api/me", [answer_json(&json!({"id": 7, "org": {"id": 42}}))]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(WHOAMI).start();
    let mut browser = gateway.browser();
    browser.post_form("/api/login", &[("name", "x")]).expect(302);
    assert!(!browser.has_session_cookie());
    assert!(backend.seen_at("/api/me").is_empty());
}

#[test]
fn whoami_is_asked_with_the_cookies_that_the_browser_would_then_send() {
    let backend = echo();
    let cookies = [("Set-Cookie", "app=new; Path=/; HttpOnly"), ("Set-Cookie", "gone=; Max-Age=0"), ("Location", "/")];
    backend.on("/api/login", [answer("302 Found", &cookies, "")]);
    backend.on_call("/api/me", |seen| match seen.header("cookie") {
        Some(cookies) if cookies.contains("app=new") => vec![answer_json(&json!({"id": 7, "org": {"id": 42}}))],
        _ => vec![answer("401 Unauthorized", &[], "")],
    });
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(WHOAMI).start();
    let mut browser = gateway.browser();
    for (name, value) in [("app", "old"), ("gone", "1"), ("theme", "dark")] {
        browser.set_cookie(name, value);
    }
    browser.post_form("/api/login", &[("name", "x")]).expect(302);
    assert!(browser.has_session_cookie());
    let asked =
        backend.seen_at("/api/me").into_iter().find(|seen| seen.headers.get("cookie").unwrap_or("").contains("new"));
    let asked = asked.expect("asked with the new cookie");
    let mut pairs: Vec<_> = asked.header("cookie").expect("cookies").split("; ").collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["app=new", "theme=dark"]);
    asked.assert_anonymous();
}

#[test]
fn a_whoami_login_by_someone_whom_the_backend_knew_already_makes_no_session() {
    let backend = echo();
    backend.on("/api/login", [answer("302 Found", &[("Set-Cookie", "app=new"), ("Location", "/")], "")]);
    backend.on("/api/me", [answer_json(&json!({"id": 7, "org": {"id": 42}}))]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .settings(WHOAMI)
        .set("logout.clear_cookies", vec!["app"])
        .start();
    let mut browser = gateway.browser();
    browser.set_cookie("app", "planted");
    let response = browser.post_form("/api/login", &[("name", "x")]);
    assert!(matches!(response.status, 302 | 303), "{response:?}");
    assert!(response.header("location").is_some_and(|to| to.starts_with("/login")), "{response:?}");
    assert!(!browser.has_session_cookie() && browser.cookie("app").is_none());
}

on_both_stores!(a_login_by_someone_whom_the_backend_knew_already_ends_what_came_with_it_and_can_be_repeated, |store| {
    let backend = echo();
    backend.on("/api/login", [answer("302 Found", &[("Set-Cookie", "app=new"), ("Location", "/")], "")]);
    backend.on("/api/me", [answer_json(&json!({"id": 7, "org": {"id": 42}}))]);
    let gateway = gateway(store).with_backend(&backend).settings(WHOAMI).start();
    let mut browser = gateway.browser();
    browser.post_form("/api/login", &[("name", "x")]).expect(302);
    assert!(browser.has_session_cookie(), "nobody was known before");
    browser.set_cookie("theme", "dark");
    let mut kept = browser.clone();
    browser.post_form("/api/login", &[("name", "x")]).expect(302);
    // Nothing is configured, so all that could have named the user goes: the next login counts.
    assert!(["app", "theme"].iter().all(|name| browser.cookie(name).is_none()) && !browser.has_session_cookie());
    kept.get("/x").expect_refusal(401, "session_revoked");
    gateway.wait_audit("login.failed", |event| event["reason"] == "named_before" && event["outcome"] == "denied");
    browser.post_form("/api/login", &[("name", "x")]).expect(302);
    browser.get("/x").expect(200);
});

#[test]
fn a_login_that_the_gateway_refuses_is_in_the_audit_log_with_its_reason() {
    let backend = echo();
    let limit = "session.max_per_user = { count = 1, action = \"deny\" }";
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(limit).start();
    gateway.logged_in("42", "7");
    gateway.browser().log_in_with(&identity("42", "7")).expect_refusal(429, "too_many_sessions");
    gateway.wait_audit("login.failed", |event| event["reason"] == "too_many_sessions" && event["user"] == "7");
    gateway.browser().log_in_with(&identity("4\n2", "7")).expect_refusal(502, "bad_identity");
    gateway.wait_audit("login.failed", |event| event["reason"] == "bad_identity" && event["outcome"] == "denied");
}

const WHOAMI: &str = r#"
    [login]
    capture = "whoami"
    whoami = { path = "/api/me", tenant = "/org/id", user = "/id" }
"#;

#[test]
fn a_login_while_the_store_is_down_is_503_and_the_backends_answer_stays_here() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    redis.kill();
    let mut browser = gateway.browser();
    let refused = browser.log_in_with(&identity(42, 7)).expect_refusal(503, "store_unavailable");
    assert!(refused.headers.has("retry-after"));
    assert!(refused.headers.all("set-cookie").is_empty(), "{refused:?}");
    assert!(!refused.text().contains("customer_id"));
}

on_both_stores!(a_login_runs_to_its_end_when_the_client_hangs_up, |store| {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/api/login", [Step::Await(gate.clone()), answer_json(&identity(42, 7))]);
    let gateway = gateway(store).with_backend(&backend).start();
    gateway.browser().request("POST", "/api/login").json(&json!({})).send_and_hang_up();
    backend.wait_for("/api/login");
    gate.open();
    gateway.wait_audit("session.created", |event| event["tenant"] == "42");
    wait_until("the counter", || (gateway.metric("sessions_created_total", "") > 0.5).then_some(()));
});

#[test]
fn the_cookie_goes_out_after_the_store_has_the_session() {
    let backend = echo();
    let redis = RedisServer::start();
    let store = Store::on(&redis);
    let (one, two) =
        (gateway(store.clone()).with_backend(&backend).start(), gateway(store).with_backend(&backend).start());
    for _ in 0..50 {
        one.logged_in("42", "7").at(two.address()).get("/x").expect(200);
    }
}

#[test]
fn a_login_is_answered_while_another_hangs() {
    let backend = echo();
    backend.on_call("/api/login", |seen| match seen.body.as_slice() {
        b"{}" => vec![Step::Hang],
        _ => vec![answer_json(&identity(42, 7))],
    });
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.browser().request("POST", "/api/login").json(&json!({})).send_and_hang_up();
    backend.wait_for("/api/login");
    let answered =
        poll(Duration::from_secs(2), || Some(gateway.browser().post_json("/api/login", &json!({"a": 1})).status));
    assert_eq!(answered, Some(200));
}

#[test]
fn login_csrf_is_refused_before_the_backend_is_asked() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let body = json!({"answer": identity(42, 7)});
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        let mut browser = gateway.browser();
        let response = browser.request("POST", "/api/login").header(name, value).json(&body).send();
        response.expect_refusal(403, "csrf_failed");
    }
    assert!(backend.seen().is_empty());
    let own = format!("http://{}", gateway.address());
    for (name, value) in [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none"), ("Origin", own.as_str())] {
        let mut browser = gateway.browser();
        browser.request("POST", "/api/login").header(name, value).json(&body).send().expect(200);
    }
}
