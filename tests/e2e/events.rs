//! The backend's own success ends sessions (docs/behaviour.md, "Events"): what it does, what guards it, and how it is
//! attacked by somebody with a valid session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::limits::HASH_OF_ACME;
use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::{
    Browser, Gate, Gateway, RedisServer, SESSION_COOKIE, Step, Store, Tab, answer, answer_json, echo, gateway, send,
    wait_until,
};

const DELETE: &str = "[[events]]\nmatch = \"DELETE /orgs/{tenant}\"\n";
const ANY: &str = "[[events]]\nmatch = \"DELETE /orgs/{tenant}\"\nany_tenant = true\nroles = [\"superadmin\"]\n\
                   count_pointer = \"/data/n\"\n";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn start(store: Store, backend: &Echo, events: &str) -> Gateway {
    gateway(store).with_backend(backend).settings(events).start()
}

fn delete(browser: &mut Browser, path: &str) -> crate::support::http::Response {
    browser.request("DELETE", path).send()
}

/// An answer in JSON with an order of the backend's.
fn ordering(orders: &[(&str, &str)]) -> Step {
    answer("200 OK", &[&[JSON], orders].concat(), "{\"success\": true}")
}

#[track_caller]
fn is_dead(browser: &Browser) {
    browser.clone().get("/x").expect_refusal(401, "session_revoked");
}

#[track_caller]
fn lives(browser: &Browser) {
    browser.clone().get("/x").expect(200);
}

fn ended_line(gateway: &Gateway, outcome: &str) -> Value {
    gateway.wait_audit("session.ended", |event| event["outcome"] == outcome && !event["details"]["event"].is_null())
}

on_both_stores!(an_organisation_that_the_backend_deleted_has_no_session_left, |store| {
    let backend = echo();
    backend.on("/orgs/42", [answer_json(&json!({"success": true}))]);
    let gateway = start(store, &backend, DELETE);
    let mut admin = gateway.logged_in("42", "1");
    let colleagues = [gateway.logged_in("42", "7"), gateway.logged_in("42", "7"), gateway.logged_in("42", "8")];
    let elsewhere = gateway.logged_in("77", "7");
    let mut stream = gateway.wire();
    backend.on_head("/stream", [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"), Step::Hang]);
    let cookie = colleagues[0].token();
    stream.send(format!("GET /stream HTTP/1.1\r\nHost: localhost\r\nCookie: {SESSION_COOKIE}={cookie}\r\n\r\n"));
    stream.try_receive_head().expect("a head");
    assert!(stream.chunk().expect("a chunk").is_some());

    let before = admin.clone();
    let done = delete(&mut admin, "/orgs/42").expect(200);
    assert_eq!(done.header("x-session-invalidated"), Some("4"));
    assert!(!admin.has_session_cookie(), "its own session is over, too: {done:?}");
    assert_eq!(done.header("cache-control"), Some("no-store"));
    is_dead(&before);
    colleagues.iter().for_each(is_dead);
    lives(&elsewhere);
    assert!(stream.chunk().is_err(), "what was open is cut");

    let line = ended_line(&gateway, "success");
    assert_eq!(
        (&line["tenant"], &line["reason"], &line["actor"]),
        (&json!("42"), &json!("org_deleted"), &json!("user"))
    );
    assert_eq!(line["details"]["invalidated_sessions"], 4);
    assert_eq!((&line["details"]["by_tenant"], &line["details"]["by_user"]), (&json!("42"), &json!("1")));
    assert_eq!(line["details"]["event"], "DELETE /orgs/{tenant}");
    assert_eq!(gateway.metric("revocations_total", "scope=\"tenant\""), 1.0);
    assert_eq!(gateway.metric("sessions_ended_total", "reason=\"org_deleted\""), 4.0);
    gateway.logged_in("42", "7").get("/x").expect(200);
});

on_both_stores!(each_action_ends_what_it_names_and_nothing_else, |store| {
    let backend = echo();
    backend.on("/do", [answer_json(&json!({"n": 0}))]);
    for (action, reason, count, [this, second, colleague]) in [
        ("revoke-user", "user_revoked", 2, [false, false, true]),
        ("revoke-other-sessions", "user_others_revoked", 1, [true, false, true]),
        ("revoke-session", "revoked", 1, [false, true, true]),
    ] {
        let event = format!("[[events]]\nmatch = \"POST /do\"\naction = \"{action}\"\ncount_pointer = \"/n\"\n");
        let gateway = start(fresh(&store), &backend, &event);
        let mut browser = gateway.logged_in("42", "7");
        let (same_user, other_user) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "8"));
        let same_name_elsewhere = gateway.logged_in("77", "7");
        let before = browser.clone();
        let done = browser.post("/do").expect(200);
        assert_eq!(done.json(), json!({"n": count}), "{action}");
        assert_eq!(done.header("x-session-invalidated"), Some(count.to_string().as_str()));
        assert_eq!(browser.has_session_cookie(), this, "{action}: {done:?}");
        for (browser, alive) in [(&before, this), (&same_user, second), (&other_user, colleague)] {
            if alive { lives(browser) } else { is_dead(browser) }
        }
        lives(&same_name_elsewhere);
        gateway.wait_audit("session.ended", |event| event["reason"] == reason && event["user"] == "7");
    }
});

/// Another part of the same store.
fn fresh(store: &Store) -> Store {
    match store {
        Store::Embedded => Store::Embedded,
        Store::Redis { .. } => Store::redis(),
    }
}

on_both_stores!(only_a_success_counts, |store| {
    let backend = echo();
    let gateway = start(store, &backend, &format!("{DELETE}when_pointer = \"/data/gone\"\n"));
    let mut admin = gateway.logged_in("42", "1");
    let order = ("X-Session-Event", "logout");
    for (status, body) in [
        ("403 Forbidden", "{\"data\": {\"gone\": 1}}"),
        ("500 No", "{\"data\": {\"gone\": 1}}"),
        ("302 Found", "{\"data\": {\"gone\": 1}}"),
        ("200 OK", "{\"success\": false, \"data\": {\"gone\": 1}}"),
        ("200 OK", "{\"data\": {\"gone\": null}}"),
        ("200 OK", "{\"data\": {}}"),
        ("200 OK", "{}"),
        ("200 OK", ""),
    ] {
        backend.on("/orgs/42", [answer(status, &[JSON, order], body)]);
        let passed = delete(&mut admin, "/orgs/42");
        assert_eq!((passed.status.to_string().as_str(), passed.text().as_str()), (&status[..3], body));
        assert!(!passed.headers.has("x-session-invalidated") && !passed.headers.has("x-session-event"), "{passed:?}");
        lives(&admin);
    }
    backend.on("/orgs/42", [answer("201 Created", &[JSON], "{\"data\": {\"gone\": 0}}")]);
    delete(&mut admin, "/orgs/42").expect(201);
    assert!(!admin.has_session_cookie());
});

on_both_stores!(another_tenant_is_out_of_reach_unless_the_event_says_so, |store| {
    let backend = echo();
    backend.on("/orgs/77", [answer_json(&json!({"success": true}))]);
    let gateway = start(store, &backend, DELETE);
    let mut attacker = gateway.logged_in("42", "666");
    let victim = gateway.logged_in("77", "1");
    for path in ["/orgs/77", "/orgs/77/", "//orgs///77", "/orgs/%37%37", "/%6frgs/77"] {
        delete(&mut attacker, path);
        lives(&victim);
    }
    assert_eq!(backend.seen_at("/orgs/77").len(), 4, "the backend decides what it does");
    let passed = delete(&mut attacker, "/orgs/77").expect(200);
    assert_eq!(passed.header("x-session-invalidated"), Some("0"));
    lives(&attacker);
    let line = ended_line(&gateway, "denied");
    assert_eq!((&line["reason"], &line["tenant"]), (&json!("tenant_mismatch"), &json!("77")));
    assert_eq!((&line["details"]["by_tenant"], &line["details"]["by_user"]), (&json!("42"), &json!("666")));
    // Nothing of what clients may write names a tenant.
    let request = attacker.request("DELETE", "/orgs/42?tenant=77").header("X-Customer-ID", "77");
    request
        .header("X-Session-Event", "revoke-tenant")
        .header("X-Session-Tenant", "77")
        .json(&json!({"tenant": 77}))
        .send();
    lives(&victim);
});

on_both_stores!(a_role_that_may_reaches_other_tenants_and_any_other_role_reaches_none, |store| {
    let backend = echo();
    backend.on("/orgs/77", [answer_json(&json!({"success": true, "data": {"n": 99}}))]);
    let gateway = start(store, &backend, ANY);
    let victims = [gateway.logged_in("77", "1"), gateway.logged_in("77", "2")];
    for (role, own) in [(Some("Superadmin"), "42"), (Some("admin"), "77"), (None, "77")] {
        let mut attacker = match role {
            Some(role) => gateway.logged_in_as(own, "666", role),
            None => gateway.logged_in(own, "666"),
        };
        let request = attacker.request("DELETE", "/orgs/77").header("X-User-Role", "superadmin");
        let passed = request.send().expect(200);
        // What the backend counted is not so.
        assert_eq!((passed.at("/data/n").as_str(), passed.header("x-session-invalidated")), ("0", Some("0")));
        lives(&victims[0]);
        attacker.post("/api/logout");
    }
    assert_eq!(ended_line(&gateway, "denied")["reason"], "forbidden_role");
    let mut superadmin = gateway.logged_in_as("1", "1", "superadmin");
    let done = delete(&mut superadmin, "/orgs/77").expect(200);
    assert_eq!((done.at("/data/n").as_str(), done.header("x-session-invalidated")), ("2", Some("2")));
    victims.iter().for_each(is_dead);
    lives(&superadmin);
});

on_both_stores!(every_spelling_of_a_tenant_is_the_tenant_that_logged_in, |store| {
    let backend = echo();
    backend.on("/orgs/0042", [answer_json(&json!({}))]);
    let gateway = gateway(store).with_backend(&backend).set("identity.tenant_format", "int").settings(DELETE).start();
    let mut admin = gateway.logged_in("042", "1");
    let colleague = gateway.logged_in("42", "7");
    for path in ["/orgs/4,2", "/orgs/42;x=1", "/orgs/%D9%A4%D9%A2", "/orgs/42.0", "/orgs/+42", "/orgs/%2042"] {
        assert_eq!(delete(&mut admin, path).header("x-session-invalidated"), Some("0"), "{path}");
        lives(&colleague);
    }
    assert_eq!(ended_line(&gateway, "failure")["reason"], "what the path names cannot be a tenant");
    assert_eq!(delete(&mut admin, "/orgs/%30042").expect(200).header("x-session-invalidated"), Some("2"));
    is_dead(&colleague);
});

on_both_stores!(a_tenant_that_the_answer_names_is_held_to_the_same_guard, |store| {
    let backend = echo();
    let event = "[[events]]\nmatch = \"POST /close/{_}\"\ntenant_pointer = \"/org/id\"\ncount_pointer = \"/n\"\n\
                 reason = \"org_soft_deleted\"\n";
    let gateway = start(store, &backend, event);
    let mut admin = gateway.logged_in("42", "1");
    let victim = gateway.logged_in("77", "1");
    for body in [
        "{\"org\": {\"id\": 77}, \"n\": 5}",
        "{\"org\": {\"id\": \"77\"}, \"n\": 5}",
        "{\"org\": {\"id\": 42}, \"org\": {\"id\": 77}, \"n\": 5}",
        "{\"org\": {\"id\": 42, \"id\": 77}, \"n\": 5}",
        "{\"org\": {\"id\": 77}, \"n\": 5, \"name\": \"\\ud800\"}",
        "{\"org\": {\"id\": 42.5}, \"n\": 5}",
        "{\"org\": {\"id\": [42]}, \"n\": 5}",
        "{\"n\": 5}",
    ] {
        backend.on("/close/acme", [answer("200 OK", &[JSON], body)]);
        let passed = admin.post("/close/acme").expect(200);
        assert_eq!(passed.text(), body.replace("\"n\": 5", "\"n\": 0"), "nothing ended, and no other byte changed");
        lives(&victim);
        lives(&admin);
    }
    backend.on("/close/acme", [answer("200 OK", &[JSON], "{\"n\":5,\"n\":\"6\",\"org\":{\"id\":42}}")]);
    let done = admin.post("/close/acme").expect(200);
    assert_eq!(done.text(), "{\"n\":5,\"n\":1,\"org\":{\"id\":42}}", "where a key stands twice the last one counts");
    assert_eq!(done.header("content-length"), Some(done.body.len().to_string().as_str()));
    gateway.wait_audit("session.ended", |event| event["reason"] == "org_soft_deleted" && event["tenant"] == "42");
});

on_both_stores!(an_answer_that_cannot_be_read_hides_no_deletion, |store| {
    let backend = echo();
    let event = format!("{DELETE}when_pointer = \"/deleted\"\ncount_pointer = \"/n\"\n");
    let gateway = gateway(store).with_backend(&backend).set("login.max_body", "1KiB").settings(&event).start();
    let huge = json!({"deleted": 1, "name": "x".repeat(2000)}).to_string();
    for (header, body, status) in [
        // Python writes these; each could be the name of an organisation.
        (JSON, "{\"deleted\": 1, \"name\": \"\\ud800\"}", 200),
        (JSON, "{\"deleted\": 1, \"rating\": NaN}", 200),
        (JSON, huge.as_str(), 502),
        (("Content-Encoding", "gzip"), "\u{1f}compressed all the same", 502),
    ] {
        let mut admin = gateway.logged_in("42", "1");
        let before = admin.clone();
        backend.on("/orgs/42", [answer("200 OK", &[header], body)]);
        let done = delete(&mut admin, "/orgs/42").expect(status);
        assert_eq!(done.text() == body, status == 200, "{done:?}");
        assert_eq!(backend.last().header("accept-encoding"), Some("identity"));
        is_dead(&before);
    }
    backend.on("/orgs/42", [send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"del"), Step::Close]);
    let mut admin = gateway.logged_in("42", "1");
    let before = admin.clone();
    delete(&mut admin, "/orgs/42").expect_refusal(502, "bad_answer");
    is_dead(&before);
    // A page says nothing, and a size that is configured is enough.
    let mut admin = gateway.logged_in("42", "1");
    backend.on("/orgs/42", [answer("200 OK", &[("Content-Type", "text/html")], "<p>deleted</p>")]);
    delete(&mut admin, "/orgs/42").expect(200);
    lives(&admin);
});

#[test]
fn a_request_cannot_get_its_answer_past_the_gateway() {
    let backend = echo();
    backend.on("/orgs/42", [answer_json(&json!({"deleted": 1}))]);
    let event = format!(
        "{DELETE}when_pointer = \"/deleted\"\n[[events]]\nmatch = \"GET /close\"\naction = \"revoke-user\"\nwhen_pointer = \"/deleted\"\n"
    );
    let gateway = start(Store::Embedded, &backend, &event);
    for lines in [
        &[("Range", "bytes=0-1")][..],
        &[("If-None-Match", "*"), ("If-Modified-Since", "Sat, 28 Nov 2026 00:00:00 GMT")],
        &[("Accept-Encoding", "gzip, br")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("Connection", "Upgrade"), ("Upgrade", "spdy/3.1")],
        &[("X-HTTP-Method-Override", "GET")],
        &[("Expect", "100-continue")],
    ] {
        let mut admin = gateway.logged_in("42", "1");
        let before = admin.clone();
        let own = format!("http://{}", gateway.address());
        let request = admin.request("DELETE", "/orgs/42").header("Origin", &own);
        lines.iter().fold(request, |request, (name, value)| request.header(name, value)).send().expect(200);
        is_dead(&before);
        let seen = backend.last();
        for name in ["range", "if-none-match", "if-modified-since", "upgrade", "x-http-method-override"] {
            assert!(!seen.headers.has(name), "{name} went on");
        }
    }
    // An app runs the same code for HEAD, whose answer would say nothing.
    backend.on("/close", [answer_json(&json!({"deleted": 1}))]);
    let mut browser = gateway.logged_in("42", "1");
    let before = browser.clone();
    browser.request("HEAD", "/close").send().expect(200);
    assert_eq!(backend.last().method, "GET");
    is_dead(&before);
}

on_both_stores!(half_a_body_is_not_enough_to_have_it_done, |store| {
    let backend = echo();
    backend.on_head("/orgs/42", [answer_json(&json!({}))]);
    let gateway = gateway(store).with_backend(&backend).set("upstream.request_body", "stream").settings(DELETE).start();
    let admin = gateway.logged_in("42", "1");
    let mut wire = gateway.wire();
    let (host, token) = (gateway.address(), admin.token());
    let head = format!("DELETE /orgs/42 HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n");
    wire.send(format!("{head}Content-Length: 10\r\n\r\n12345"));
    drop(wire);
    gateway.wait_log(&["\"/orgs/42\"", "\"status\":"]);
    assert!(backend.seen_at("/orgs/42").is_empty(), "the backend would have done it, and nobody would have heard");
    lives(&admin);
});

on_both_stores!(it_is_done_to_the_end_when_the_client_hangs_up, |store| {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/orgs/42", [Step::Await(Arc::clone(&gate)), answer_json(&json!({}))]);
    let gateway = start(store, &backend, DELETE);
    let (mut admin, colleague) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "7"));
    admin.request("DELETE", "/orgs/42").send_and_hang_up();
    backend.wait_for("/orgs/42");
    lives(&colleague);
    gate.open();
    wait_until("the revocation", || (colleague.clone().get("/x").status == 401).then_some(()));
});

on_both_stores!(a_login_that_runs_meanwhile_does_not_survive, |store| {
    let backend = echo();
    backend.on("/orgs/42", [answer_json(&json!({}))]);
    let gateway = start(store, &backend, DELETE);
    let mut admin = gateway.logged_in("42", "1");
    let gate = Gate::closed();
    let identity = crate::support::logins::identity(42, 9);
    backend.on("/api/login", [Step::Await(Arc::clone(&gate)), answer_json(&identity)]);
    let mut late = gateway.browser();
    let login = std::thread::spawn(move || (late.post_json("/api/login", &json!({})), late));
    backend.wait_for("/api/login");
    wait_until("the login at the backend", || (backend.seen_at("/api/login").len() == 2).then_some(()));
    delete(&mut admin, "/orgs/42").expect(200);
    gate.open();
    let (answer, late) = login.join().expect("an answer");
    answer.expect_refusal(401, "session_revoked");
    assert!(!late.has_session_cookie());
});

on_both_stores!(an_order_is_obeyed_where_it_is_configured_and_never_seen_by_the_client, |store| {
    let backend = echo();
    backend.on("/elsewhere", [ordering(&[("X-Session-Event", "logout")])]);
    let event =
        "[[events]]\nmatch = \"POST /account/*\"\nheader = [\"logout\", \"revoke-user\", \"revoke-other-sessions\"]\n";
    let gateway = start(store, &backend, event);
    for (orders, count, [this, second], reason) in [
        (&[][..], None, [true, true], None),
        (&["logout"][..], Some("1"), [false, true], Some("logout")),
        (&["revoke-user"], Some("2"), [false, false], Some("user_revoked")),
        (&["revoke-other-sessions"], Some("1"), [true, false], Some("user_others_revoked")),
        (&["revoke-other-sessions", "logout", "logout"], Some("2"), [false, false], None),
        (&["revoke-tenant"], None, [true, true], None),
        (&["switch-tenant"], None, [true, true], None),
        (&["logout, revoke-user"], None, [true, true], None),
        (&["Logout"], None, [true, true], None),
        (&["reboot"], None, [true, true], None),
    ] {
        let lines: Vec<_> = orders.iter().map(|order| ("X-Session-Event", *order)).collect();
        backend.on("/account/x", [ordering(&lines)]);
        let mut browser = gateway.logged_in("42", "7");
        let (before, mut second_browser) = (browser.clone(), gateway.logged_in("42", "7"));
        let done = browser.post("/account/x").expect(200);
        assert_eq!(done.header("x-session-invalidated"), count, "{orders:?}");
        assert!(!done.headers.has("x-session-event"), "{done:?}");
        assert_eq!(browser.has_session_cookie(), this, "{orders:?}: {done:?}");
        for (browser, alive) in [(&before, this), (&second_browser, second)] {
            if alive { lives(browser) } else { is_dead(browser) }
        }
        if let Some(reason) = reason {
            gateway.wait_audit("session.ended", |event| event["reason"] == reason);
        }
        second_browser.post("/api/logout");
        browser.post("/api/logout");
    }
    let unknown = gateway.wait_audit("event.unknown", |event| event["details"]["said"] == "reboot");
    assert_eq!(unknown["details"]["event"], "POST /account/*");
    let browser = gateway.logged_in("42", "7");
    assert!(!browser.clone().post("/elsewhere").expect(200).headers.has("x-session-event"));
    lives(&browser);
});

#[test]
fn what_only_obeys_orders_passes_answers_of_any_size_and_an_endless_one_ends_with_its_session() {
    let backend = echo();
    let event = "[[events]]\nmatch = \"POST /any/*\"\nheader = [\"logout\"]\n";
    let gateway = start(Store::Embedded, &backend, event);
    let mut browser = gateway.logged_in("42", "7");
    let large = "x".repeat(3 << 20);
    backend.on("/any/large", [answer("200 OK", &[JSON, ("ETag", "\"1\"")], &large)]);
    let passed = browser.request("POST", "/any/large").header("Accept-Encoding", "gzip").body(large.clone()).send();
    assert_eq!((passed.body.len(), passed.header("etag")), (large.len(), Some("\"1\"")));
    assert_eq!((backend.last().received, backend.last().header("accept-encoding")), (large.len(), Some("gzip")));
    let head = "HTTP/1.1 200 OK\r\nX-Session-Event: logout\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    backend.on("/any/endless", [send(head), Step::Hang]);
    let mut wire = gateway.wire();
    let (host, token) = (gateway.address(), browser.token());
    wire.send(format!("POST /any/endless HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
    let head = wire.try_receive_head().expect("a head").expect(200);
    assert!(head.set_cookie(SESSION_COOKIE).is_some_and(|cookie| cookie.expires_it()));
    assert!(wire.chunk().expect("a chunk").is_some());
    let begin = Instant::now();
    assert!(wire.chunk().is_err());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

on_both_stores!(a_switch_of_tenants_gives_a_new_token_and_the_old_one_has_a_moment, |store| {
    let backend = echo();
    let switch = [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77"), ("X-Session-Role", "viewer")];
    backend.on("/switch", [ordering(&switch)]);
    let event = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = start(store, &backend, event);
    let mut browser = gateway.logged_in_as("42", "7", "admin");
    let deadline = browser.get("/api/session/status").at("/expires_at");
    let mut before = browser.clone();
    let done = browser.post("/switch").expect(200);
    assert_eq!(done.header("cache-control"), Some("no-store"));
    assert!(["x-session-event", "x-session-tenant", "x-session-role"].iter().all(|name| !done.headers.has(name)));
    assert_ne!(browser.token(), before.token());
    browser.get("/x").expect(200);
    let seen = backend.last();
    assert_eq!((seen.identity(), seen.header("x-user-role")), ((Some("77"), Some("7")), Some("viewer")));
    assert_eq!(browser.get("/api/session/status").at("/expires_at"), deadline, "no longer than before");
    before.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")), "in flight, and still who it was");
    // Who switches twice with one token has one of the two.
    before.post("/switch").expect_refusal(401, "session_revoked");
    lives(&browser);
    let created = gateway.wait_audit("session.created", |event| event["tenant"] == "77");
    let ended = gateway.wait_audit("session.ended", |event| event["reason"] == "replaced");
    assert_eq!((&created["details"]["rotated_from"], &ended["tenant"]), (&ended["session_id"], &json!("42")));
    // The role of the other tenant is none here.
    backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "42")])]);
    browser.post("/switch").expect(200);
    browser.get("/x").expect(200);
    assert_eq!((backend.last().identity(), backend.last().header("x-user-role")), ((Some("42"), Some("7")), None));
});

on_both_stores!(a_new_password_ends_the_others_and_gives_a_new_token_in_one_answer, |store| {
    let backend = echo();
    backend.on("/password", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "42")])]);
    let event =
        "[[events]]\nmatch = \"POST /password\"\naction = \"revoke-other-sessions\"\nheader = [\"switch-tenant\"]\n";
    let gateway = start(store, &backend, event);
    let (mut browser, other) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "7"));
    let before = browser.token();
    let done = browser.post("/password").expect(200);
    assert_eq!(done.header("x-session-invalidated"), Some("1"));
    assert_ne!(browser.token(), before);
    lives(&browser);
    is_dead(&other);
});

on_both_stores!(a_switch_that_names_no_tenant_or_a_wrong_one_changes_nothing, |store| {
    let backend = echo();
    let event = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = start(store, &backend, event);
    let mut browser = gateway.logged_in("42", "7");
    let token = browser.token();
    for lines in [&[][..], &["", ""], &["a,b"], &["77", "77"]] {
        let tenants = lines.iter().map(|tenant| ("X-Session-Tenant", *tenant));
        let lines: Vec<_> = [("X-Session-Event", "switch-tenant")].into_iter().chain(tenants).collect();
        backend.on("/switch", [ordering(&lines)]);
        browser.post("/switch").expect_refusal(502, "bad_identity");
        assert_eq!(browser.token(), token);
        browser.get("/x").expect(200);
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    }
});

on_both_stores!(without_a_session_a_success_means_nothing, |store| {
    let backend = echo();
    backend.on("/optional/x", [ordering(&[("X-Session-Event", "revoke-user")])]);
    let event = "[[events]]\nmatch = \"POST /optional/x\"\naction = \"revoke-user\"\nheader = [\"revoke-user\"]\n";
    let gateway = start(store, &backend, event);
    let mut browser = gateway.logged_in("42", "7");
    let passed = gateway.browser().post("/optional/x").expect(200);
    assert!(!passed.headers.has("x-session-invalidated") && !passed.headers.has("x-session-event"));
    lives(&browser);
    browser.post("/optional/x").expect(200);
    assert!(!browser.has_session_cookie());
});

#[test]
fn in_observe_the_session_and_never_the_claim_says_whose_sessions_end() {
    let backend = echo();
    backend.on("/orgs/77", [answer_json(&json!({}))]).on("/orgs/42", [answer_json(&json!({}))]);
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).set("identity.mode", "observe").settings(DELETE).start();
    let (attacker, victim) = (gateway.logged_in("42", "666"), gateway.logged_in("77", "1"));
    let mut claiming = attacker.with_header("X-Customer-ID", "77");
    assert_eq!(delete(&mut claiming, "/orgs/77").expect(200).header("x-session-invalidated"), Some("0"));
    lives(&victim);
    assert_eq!(delete(&mut claiming, "/orgs/42").expect(200).header("x-session-invalidated"), Some("1"));
}

#[test]
fn in_observe_a_claim_that_the_backend_believed_makes_no_session_in_another_tenant() {
    let backend = echo();
    backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")])]);
    backend.on("/orgs/77", [answer_json(&json!({}))]);
    let events = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n\
                  [[events]]\nmatch = \"DELETE /orgs/{tenant}\"\nany_tenant = true\n";
    let store = Store::redis();
    let observing =
        gateway(store.clone()).with_backend(&backend).set("identity.mode", "observe").settings(events).start();
    let enforcing = start(store, &backend, events);
    let victim = enforcing.logged_in("77", "1");
    let mut claiming = observing.logged_in("42", "666").with_header("X-Customer-ID", "77");
    let token = claiming.token();
    claiming.post("/switch").expect(200);
    assert_eq!(claiming.token(), token);
    let line = ended_line(&observing, "denied");
    assert_eq!(line["reason"], "observed_only");
    let mut later = claiming.at(enforcing.address());
    later.get("/y").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("666")));
    assert_eq!(delete(&mut claiming, "/orgs/77").expect(200).header("x-session-invalidated"), Some("0"));
    lives(&victim);
}

on_both_stores!(an_answer_that_stalls_after_a_success_ends_sessions_all_the_same, |store| {
    let backend = echo();
    backend.on("/orgs/42", [send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"), Step::Hang]);
    let gateway = gateway(store).with_backend(&backend).set("upstream.response_timeout", "1s").settings(DELETE).start();
    let (mut admin, colleague) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "7"));
    delete(&mut admin, "/orgs/42").expect_refusal(502, "bad_answer");
    is_dead(&colleague);
});

#[test]
fn what_the_store_does_not_take_is_not_called_done_and_is_done_once_it_is_back() {
    let (backend, gate) = (echo(), Gate::closed());
    backend.on("/orgs/42", [Step::Await(Arc::clone(&gate)), answer_json(&json!({"success": true}))]);
    let mut redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "save", ""]);
    let gateway = start(Store::on(&redis), &backend, DELETE);
    let (mut admin, colleague) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "7"));
    let stranger = gateway.logged_in("77", "1");
    let deleting = std::thread::spawn(move || (delete(&mut admin, "/orgs/42"), admin));
    backend.wait_for("/orgs/42");
    redis.freeze();
    gate.open();
    let (answer, admin) = deleting.join().expect("an answer");
    answer.expect_refusal(503, "store_unavailable");
    assert!(admin.has_session_cookie(), "a store that cannot say costs nobody a cookie");
    let failed = ended_line(&gateway, "failure");
    assert_eq!((&failed["reason"], &failed["tenant"]), (&json!("store_unavailable"), &json!("42")));
    let asked = backend.seen_at("/orgs/42").len();
    delete(&mut admin.clone(), "/orgs/42").expect_refusal(503, "store_unavailable");
    assert_eq!(backend.seen_at("/orgs/42").len(), asked, "a store that is down is found out before");
    redis.thaw();
    wait_until("the revocation", || (colleague.clone().get("/x").status == 401).then_some(()));
    is_dead(&admin);
    lives(&stranger);
    assert_eq!(ended_line(&gateway, "success")["tenant"], "42");
    redis.kill();
}

#[test]
fn what_the_store_does_not_take_outlives_a_kill_of_the_gateway() {
    let (backend, gate) = (echo(), Gate::closed());
    backend.on("/orgs/42", [Step::Await(Arc::clone(&gate)), answer_json(&json!({"success": true}))]);
    let mut redis = RedisServer::start();
    let mut gateway = start(Store::on(&redis), &backend, DELETE);
    let (mut admin, colleague) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "7"));
    let stranger = gateway.logged_in("77", "1");
    let deleting = std::thread::spawn(move || (delete(&mut admin, "/orgs/42"), admin));
    backend.wait_for("/orgs/42");
    // Killed and not frozen: it hears nothing of the revocation.
    redis.kill();
    gate.open();
    let (answer, admin) = deleting.join().expect("an answer");
    answer.expect_refusal(503, "store_unavailable");
    ended_line(&gateway, "failure");
    gateway.process().kill();
    redis.start_again();
    gateway.crash_and_restart();
    is_dead(&colleague);
    is_dead(&admin);
    lives(&stranger);
    let ended = ended_line(&gateway, "success");
    assert_eq!((&ended["tenant"], &ended["details"]["late"]), (&json!("42"), &json!(true)));
    assert_eq!((&ended["details"]["invalidated_sessions"], &ended["actor"]), (&json!(2), &json!("user")));
}

const SWITCH: &str = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";

/// A backend that switches to tenant 77.
fn switching() -> Echo {
    let backend = echo();
    backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")])]);
    backend
}

on_both_stores!(a_logout_with_either_token_of_a_switch_leaves_neither, |store| {
    let backend = switching();
    let gateway = start(store, &backend, SWITCH);
    for (path, with_old) in [
        ("/api/logout", true),
        ("/api/logout", false),
        ("/api/auth/revoke-all-tokens", true),
        ("/api/auth/revoke-all-tokens", false),
    ] {
        let mut browser = gateway.logged_in("42", "7");
        let mut before = browser.clone();
        browser.post("/switch").expect(200);
        let (mut old, mut new) = (before.clone(), browser.clone());
        let answer = if with_old { &mut before } else { &mut browser }.post(path).expect(200);
        if path.ends_with("tokens") {
            assert_eq!(answer.json()["invalidated_sessions"], 1, "it is one session");
        }
        new.get("/x").expect_refusal(401, "session_revoked");
        assert_eq!(old.get("/x").status, 401, "{path} {with_old}");
    }
});

on_both_stores!(a_logout_that_races_a_switch_leaves_no_session, |store| {
    let backend = switching();
    let gateway = start(store, &backend, SWITCH);
    for round in 0..50_u64 {
        let mut browser = gateway.logged_in("42", "7");
        let mut before = browser.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| browser.post("/switch"));
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(300 * (round % 20)));
                before.post("/api/logout").expect(200);
            });
        });
        for (token, mut browser) in [("new", browser), ("old", before)] {
            let status = browser.get("/api/session/status").status;
            assert_eq!(status, 401, "{round}: the {token} one");
        }
    }
});

#[test]
fn the_old_token_of_a_switch_has_ten_seconds() {
    let backend = echo();
    backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")])]);
    let redis = RedisServer::start();
    let event = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = start(Store::on(&redis), &backend, event);
    let mut browser = gateway.logged_in("42", "7");
    browser.post("/switch").expect(200);
    let key = redis.keys().into_iter().find(|key| key.contains("e:")).expect("the old session is to end");
    let end = redis.command(&["GET", &key]);
    let at = end.trim().strip_prefix("replaced@").and_then(|end| end.split_once('>')).map(|(at, _)| at);
    let at: f64 = at.and_then(|at| at.parse().ok()).expect(&end);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs_f64();
    assert!((at / 1e6 - now - 10.0).abs() < 2.0, "{end} at {now}");
}

#[test]
fn a_switch_into_a_tenant_that_is_shut_out_or_not_the_users_is_refused() {
    let backend = echo();
    let redis = RedisServer::start();
    let store = Store::on(&redis);
    let Store::Redis { prefix, .. } = &store else { panic!("on Redis") };
    redis.command(&["SET", &format!("{prefix}n:{{{HASH_OF_ACME}}}"), "17 suspended"]);
    let events = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n\
                  [tenants]\nverify = \"/verify/{tenant}\"\n";
    backend.on("/verify/acme", [answer_json(&json!({"exists": true}))]);
    backend.on("/verify/77", [answer_json(&json!({"exists": false}))]);
    backend.on("/verify/42", [answer_json(&json!({"exists": true}))]);
    let gateway = start(store, &backend, events);
    let mut browser = gateway.logged_in("42", "7");
    let token = browser.token();
    for (tenant, code) in [("acme", "tenant_suspended"), ("77", "tenant_missing")] {
        backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", tenant)])]);
        browser.post("/switch").expect_refusal(403, code);
        assert_eq!(browser.token(), token);
        lives(&browser);
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    }
    assert_eq!((backend.seen_at("/verify/acme").len(), backend.seen_at("/verify/77").len()), (1, 1));
}

#[test]
fn what_one_gateway_ends_is_over_on_the_other_and_its_tunnels_are_cut() {
    let backend = echo();
    backend.on("/orgs/42", [answer_json(&json!({}))]);
    backend.on("/switch", [ordering(&[("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")])]);
    let events = format!("{DELETE}[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n");
    let store = Store::redis();
    let one = start(store.clone(), &backend, &events);
    let two = start(store, &backend, &events);
    backend.on_head("/ws", [send(crate::support::SWITCH), Step::Raw { echo: false }]);
    let (mut admin, colleague) = (one.logged_in("42", "1"), two.logged_in("42", "7"));
    let mut switching = one.logged_in("42", "9");
    switching.post("/switch").expect(200);
    switching.at(two.address()).get("/x").expect(200);
    let mut tab: Tab = two.open(&colleague, "/ws");
    assert_eq!(delete(&mut admin, "/orgs/42").expect(200).header("x-session-invalidated"), Some("2"));
    is_dead(&colleague);
    tab.expect_close(4401);
    switching.at(two.address()).get("/x").expect(200);
}

on_both_stores!(what_only_looks_ahead_is_no_event, |store| {
    let backend = echo();
    let events = "[[events]]\nmatch = \"GET /leave-elsewhere\"\naction = \"revoke-other-sessions\"\n\
                  [[events]]\nmatch = \"DELETE /devices\"\naction = \"revoke-other-sessions\"\n\
                  [[events]]\nmatch = \"GET /orders\"\nheader = [\"logout\"]";
    let gateway = start(store, &backend, events);
    let (mut browser, other) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "7"));
    backend.on("/orders", [ordering(&[("X-Session-Event", "logout")])]);
    for header in ["Sec-Purpose", "Purpose", "X-Moz"] {
        browser.request("GET", "/leave-elsewhere").header(header, "prefetch").send().expect(204);
        browser.request("GET", "/orders").header(header, "prefetch").send().expect(204);
    }
    assert!(backend.seen_at("/orders").is_empty(), "nobody has asked for it yet");
    lives(&other);
    lives(&browser);
    browser.get("/leave-elsewhere").expect(200);
    is_dead(&other);
    // What changes something is done by the backend whatever it says of itself, and so it counts.
    let other = gateway.logged_in("42", "7");
    browser.request("DELETE", "/devices").header("Purpose", "prefetch").send().expect(200);
    is_dead(&other);
});
