//! Tenants that the client chooses (docs/behaviour.md, "Chosen tenants"): each request in one of those that the login
//! listed, and in none that is closed to the session by now.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::http::Response;
use crate::support::{
    Browser, Gateway, RedisServer, SWITCH, Step, Store, answer, answer_json, echo, gateway, let_pass, send,
};

const TOKEN: &str = "an operator's token of more than 32 bytes";
const CUT: Duration = Duration::from_secs(1);
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";

fn choosing(store: Store, backend: &Echo) -> Builder {
    gateway(store)
        .with_backend(backend)
        .set("identity.client_value", "choose")
        .set("login.tenants", vec!["/memberships/*/org_id"])
        .set("admin.token", TOKEN)
}

/// What a login answers for a user of 42 with these memberships.
fn member_of(user: u64, tenants: &[u64]) -> Value {
    let memberships: Vec<Value> = tenants.iter().map(|id| json!({"org_id": id})).collect();
    json!({"success": true, "user": {"customer_id": 42, "user_id": user}, "memberships": memberships})
}

/// User 7 of 42, who may choose 77 and 99 as well.
fn member(gateway: &Gateway) -> Browser {
    let mut browser = gateway.browser();
    browser.log_in_with(&member_of(7, &[42, 77, 99])).expect(200);
    assert!(browser.has_session_cookie());
    browser
}

/// A request in a tenant; in the login's own where it is empty.
fn ask(browser: &mut Browser, tenant: &str) -> Response {
    let request = browser.request("GET", "/x");
    if tenant.is_empty() { request.send() } else { request.header("X-Customer-ID", tenant).send() }
}

fn operate(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Value {
    gateway.operator(TOKEN).request(method, path).json(body).send().expect(200).json()
}

on_both_stores!(the_tenant_header_picks_one_of_the_sessions_tenants_and_no_other, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend).start();
    let mut browser = member(&gateway);
    for (chosen, injected) in [("", "42"), ("42", "42"), ("77", "77"), ("99", "99"), ("", "42")] {
        ask(&mut browser, chosen).expect(200);
        assert_eq!(backend.last().headers.all("X-Customer-ID"), [injected], "{chosen:?}");
        assert_eq!(backend.last().headers.all("X-User-ID"), ["7"]);
    }
    let vary = ask(&mut browser, "77").expect(200).headers.all("Vary").join(", ").to_ascii_lowercase();
    assert!(vary.contains("x-customer-id") && vary.contains("cookie"), "{vary}");
    let asked = backend.seen().len();
    for foreign in ["11", "042", "+77", "77.0", "77,42", "\"77\"", "7 7", "%37%37", "null", "*", "\u{e4}"] {
        ask(&mut browser, foreign).expect_refusal(403, "tenant_mismatch");
    }
    assert_eq!(backend.seen().len(), asked, "the backend hears of none");
    gateway.wait_audit("identity.spoofed", |event| event["tenant"] == "42" && event["user"] == "7");
    // One who is in no other.
    let mut alone = gateway.browser();
    alone.log_in_with(&member_of(8, &[42])).expect(200);
    ask(&mut alone, "42").expect(200);
    ask(&mut alone, "77").expect_refusal(403, "tenant_mismatch");
    // Nobody chooses without a session.
    gateway.browser().request("GET", "/x").header("X-Customer-ID", "77").send().expect_refusal(401, "session_required");
});

#[test]
fn what_another_server_could_read_as_the_tenant_header_never_chooses() {
    let backend = echo();
    let gateway = choosing(Store::Embedded, &backend).set("identity.tenant_format", "int").start();
    let browser = member(&gateway);
    let cookie = format!("Cookie: session-gateway={}", browser.token());
    let asked = |lines: &[&str]| gateway.get_with_lines("/x", &[&[cookie.as_str()], lines].concat());
    asked(&["X-Customer-ID: 77"]).expect(200);
    assert_eq!(backend.last().headers.all("X-Customer-ID"), ["77"]);
    asked(&["x-cUSTOMER-id:   77  "]).expect(200);
    assert_eq!(backend.last().headers.all("X-Customer-ID"), ["77"], "white space around a value is none of it");
    let before = backend.seen().len();
    for lines in [
        &["X-Customer-ID: 77", "X-Customer-ID: 77"][..],
        &["X-Customer-ID: 42", "X-Customer-ID: 77"],
        &["X-Customer-ID: 77", "X_Customer_ID: 77"],
        &["X_Customer_ID: 77"],
        &["X.Customer.ID: 77"],
        &["X-Customer_ID: 99", "X-Customer-ID: 77"],
        &["X-Customer-ID: 077"],
        &["X-Customer-ID:"],
    ] {
        asked(lines).expect_refusal(403, "tenant_mismatch");
    }
    assert_eq!(backend.seen().len(), before);
    asked(&["X_Customer_ID: 42"]).expect(200);
    assert_eq!(backend.last().headers.all("X-Customer-ID"), ["42"], "it says what is so, and chooses nothing");
}

on_both_stores!(a_tenant_that_is_shut_out_is_refused_at_once_and_nothing_else_is, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend).start();
    let mut browser = member(&gateway);
    ask(&mut browser, "77").expect(200);
    for (tenant, others) in [("77", ["", "99"]), ("42", ["77", "99"])] {
        for status in ["suspended", "deleted"] {
            let change = json!({"status": status, "reason": "a test"});
            let changed = operate(&gateway, "PUT", &format!("/v1/tenants/{tenant}"), &change);
            assert_eq!(changed["invalidated_sessions"], 0, "{changed}");
            ask(&mut browser, tenant).expect_refusal(403, "tenant_suspended");
            for other in others {
                ask(&mut browser, other).expect(200);
            }
        }
        let change = json!({"status": "active", "reason": "a test"});
        operate(&gateway, "PUT", &format!("/v1/tenants/{tenant}"), &change);
        ask(&mut browser, tenant).expect_refusal(403, "tenant_suspended");
        browser = member(&gateway);
        ask(&mut browser, tenant).expect(200);
    }
    // Without a header it is the login's own that is meant.
    operate(&gateway, "PUT", "/v1/tenants/42", &json!({"status": "suspended", "reason": "a test"}));
    ask(&mut browser, "").expect_refusal(403, "tenant_suspended");
    assert_eq!(browser.get("/api/session/status").expect(200).at("/authenticated"), "true");
    gateway.browser().log_in_with(&member_of(7, &[42, 77])).expect_refusal(403, "tenant_suspended");
});

on_both_stores!(a_tenant_that_is_revoked_is_lost_until_the_next_login, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend).start();
    let (mut browser, mut plain) = (member(&gateway), gateway.browser());
    plain.log_in_with(&member_of(8, &[])).expect(200);
    let revoked = operate(&gateway, "POST", "/v1/tenants/77/revoke", &json!({"reason": "a test"}));
    assert_eq!(revoked["invalidated_sessions"], 0, "no session ended");
    let lost = ask(&mut browser, "77").expect_refusal(403, "tenant_suspended");
    assert!(lost.text().contains("log in again"), "{}", lost.text());
    let revoked = operate(&gateway, "POST", "/v1/tenants/42/revoke", &json!({"reason": "a test"}));
    assert_eq!(revoked["invalidated_sessions"], 1, "the one that has no other");
    plain.get("/x").expect_refusal(401, "session_revoked");
    ask(&mut browser, "").expect_refusal(403, "tenant_suspended");
    ask(&mut browser, "99").expect(200);
    browser.log_in_with(&member_of(7, &[42, 77])).expect(200);
    for tenant in ["", "77"] {
        ask(&mut browser, tenant).expect(200);
    }
    ask(&mut browser, "99").expect_refusal(403, "tenant_mismatch");
});

on_both_stores!(whoever_revokes_the_user_in_any_of_the_tenants_ends_the_session, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend).start();
    for tenant in ["42", "77"] {
        let (mut browser, mut other) = (member(&gateway), gateway.browser());
        other.log_in_with(&member_of(8, &[42, 77])).expect(200);
        ask(&mut browser, "99").expect(200);
        operate(&gateway, "POST", &format!("/v1/tenants/{tenant}/users/7/revoke"), &json!({"reason": "a test"}));
        for chosen in ["", "77", "99"] {
            ask(&mut browser, chosen).expect_refusal(401, "session_revoked");
        }
        ask(&mut other, "77").expect(200);
    }
});

on_both_stores!(whoever_logs_out_everywhere_or_changes_a_password_means_every_tenant, |store| {
    let backend = echo();
    backend.on("/api/password", [answer_json(&json!({"success": true}))]);
    let gateway = choosing(store, &backend)
        .settings("[[events]]\nmatch = \"POST /api/password\"\naction = \"revoke-other-sessions\"")
        .start();
    // Logged in elsewhere, where 42 is not even listed any more.
    let elsewhere = json!({"user": {"customer_id": 77, "user_id": 7}, "memberships": [{"org_id": 99}]});
    let mut other = gateway.browser();
    other.log_in_with(&elsewhere).expect(200);
    let mut browser = member(&gateway);
    let changed = browser.request("POST", "/api/password").header("X-Customer-ID", "99").send().expect(200);
    assert_eq!(changed.header("x-session-invalidated"), Some("1"));
    other.get("/x").expect_refusal(401, "session_revoked");
    for tenant in ["", "77", "99"] {
        ask(&mut browser, tenant).expect(200);
    }
    other.log_in_with(&elsewhere).expect(200);
    let all = browser.post("/api/auth/revoke-all-tokens").expect(200);
    assert_eq!(all.at("/invalidated_sessions"), "2");
    for browser in [&mut browser, &mut other] {
        browser.get("/x").expect(401);
    }
});

on_both_stores!(what_else_names_a_tenant_names_the_chosen_one, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend)
        .settings(
            "[[routes]]\nmatch = [\"/orgs/{tenant}/*\"]\ntenant_in_body = [\"/customer_id\"]\n\
             [[routes]]\nmatch = [\"/api/roles\"]\nroles = [\"admin\"]\n\
             [identity.query]\ncustomer_id = \"set\"\norg = \"match\"\ntenant = \"overwrite\"",
        )
        .start();
    let mut browser = gateway.browser();
    let mut answer = member_of(7, &[42, 77]);
    answer["user"]["role"] = "admin".into();
    browser.log_in_with(&answer).expect(200);
    let mut call = |method: &str, target: &str, tenant: &str, body: &Value| {
        let request = browser.request(method, target);
        let request = if tenant.is_empty() { request } else { request.header("X-Customer-ID", tenant) };
        if body.is_null() { request.send() } else { request.json(body).send() }
    };
    for (tenant, other) in [("", "77"), ("42", "77"), ("77", "42")] {
        let own = if tenant.is_empty() { "42" } else { tenant };
        call("GET", &format!("/orgs/{own}/x"), tenant, &Value::Null).expect(200);
        call("GET", &format!("/orgs/{other}/x"), tenant, &Value::Null).expect_refusal(403, "tenant_mismatch");
        call("POST", &format!("/orgs/{own}/x"), tenant, &json!({"customer_id": own})).expect(200);
        let foreign = call("POST", &format!("/orgs/{own}/x"), tenant, &json!({"customer_id": other}));
        foreign.expect_refusal(403, "tenant_mismatch");
        call("GET", &format!("/x?tenant={other}&org={own}"), tenant, &Value::Null).expect(200);
        assert_eq!(backend.last().target, format!("/x?tenant={own}&org={own}&customer_id={own}"));
        call("GET", &format!("/x?org={other}"), tenant, &Value::Null).expect_refusal(403, "tenant_mismatch");
    }
    // The role is the one of the login's own tenant: nobody knows what somebody may do in another.
    call("GET", "/api/roles", "", &Value::Null).expect(200);
    assert_eq!(backend.last().headers.all("X-User-Role"), ["admin"]);
    call("GET", "/api/roles", "77", &Value::Null).expect_refusal(403, "forbidden_role");
    call("GET", "/x", "77", &Value::Null).expect(200);
    assert!(backend.last().headers.all("X-User-Role").is_empty());
});

on_both_stores!(an_event_is_about_the_chosen_tenant, |store| {
    let backend = echo();
    backend.on_call("/orgs/77", |_| vec![answer_json(&json!({"success": true}))]);
    backend.on_call("/orgs/42", |_| vec![answer_json(&json!({"success": true}))]);
    backend.on_call("/members/8", |_| vec![answer_json(&json!({"success": true}))]);
    let gateway = choosing(store, &backend)
        .settings(
            "[[events]]\nmatch = \"DELETE /orgs/{tenant}\"\naction = \"delete-tenant\"\n\
             [[events]]\nmatch = \"DELETE /members/{user}\"\naction = \"revoke-user\"",
        )
        .start();
    let mut admin = member(&gateway);
    let (mut here, mut there) = (gateway.browser(), gateway.browser());
    here.log_in_with(&json!({"user": {"customer_id": 77, "user_id": 8}})).expect(200);
    there.log_in_with(&json!({"user": {"customer_id": 42, "user_id": 8}})).expect(200);
    let removed = admin.request("DELETE", "/members/8").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(removed.header("x-session-invalidated"), Some("1"));
    here.get("/x").expect_refusal(401, "session_revoked");
    there.get("/x").expect(200);
    // Another tenant's is not the chosen one's to delete.
    let other = admin.request("DELETE", "/orgs/42").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(other.header("x-session-invalidated"), Some("0"));
    ask(&mut admin, "").expect(200);
    admin.request("DELETE", "/orgs/77").header("X-Customer-ID", "77").send().expect(200);
    ask(&mut admin, "77").expect_refusal(403, "tenant_suspended");
    ask(&mut admin, "").expect(200);
    let told = gateway.wait_audit("tenant.changed", |event| event["tenant"] == "77");
    assert_eq!((&told["outcome"], &told["details"]["status"]), (&json!("success"), &json!("deleted")));
});

on_both_stores!(what_is_open_in_a_tenant_is_cut_with_it_and_what_is_open_elsewhere_goes_on, |store| {
    let backend = echo();
    backend.on_head("/events", [send(EVENTS), Step::Hang]);
    backend.on_head("/ws", [send(SWITCH), Step::Hang]);
    let gateway = choosing(store, &backend).start();
    let browser = member(&gateway);
    let open = |tenant: &str| {
        let mut wire = gateway.wire();
        let (host, token) = (gateway.address(), browser.token());
        let lines = format!("Host: {host}\r\nCookie: session-gateway={token}\r\nX-Customer-ID: {tenant}\r\n");
        wire.send(format!("GET /events HTTP/1.1\r\n{lines}\r\n"));
        wire.try_receive_head().expect("a head").expect(200);
        assert_eq!(wire.chunk().expect("an event"), Some(b"x".to_vec()));
        wire
    };
    let (mut in_77, mut in_99, mut in_own) = (open("77"), open("99"), open("42"));
    let (switched, mut tab) = gateway.ask(&browser, "/ws", &["X-Customer-ID: 77"]);
    assert_eq!(switched.status, 101);
    // An answer that has just begun is left to come to its end.
    let_pass(Duration::from_millis(300));
    let began = Instant::now();
    operate(&gateway, "POST", "/v1/tenants/77/revoke", &json!({"reason": "a test"}));
    assert!(in_77.rest().is_empty() && began.elapsed() < CUT, "{:?}", began.elapsed());
    tab.expect_close(4401);
    assert!(!in_99.is_closed() && !in_own.is_closed());
    let began = Instant::now();
    operate(&gateway, "PUT", "/v1/tenants/42", &json!({"status": "suspended", "reason": "a test"}));
    assert!(in_own.rest().is_empty() && began.elapsed() < CUT, "{:?}", began.elapsed());
    assert!(!in_99.is_closed());
});

#[test]
fn what_one_gateway_revokes_no_other_accepts_after_fifty_milliseconds() {
    let (backend, store) = (echo(), Store::redis());
    let gateways = [(); 2].map(|()| choosing(store.clone(), &backend).start());
    let mut late = Vec::new();
    for _ in 0..50 {
        let mut browser = member(&gateways[0]);
        let mut there = browser.at(gateways[1].address());
        ask(&mut browser, "77").expect(200);
        ask(&mut there, "77").expect(200);
        operate(&gateways[0], "POST", "/v1/tenants/77/revoke", &json!({"reason": "a test"}));
        let revoked = Instant::now();
        ask(&mut browser, "77").expect_refusal(403, "tenant_suspended");
        while ask(&mut there, "77").status == 200 {
            assert!(revoked.elapsed() < Duration::from_secs(1), "never later than a second");
            thread::yield_now();
        }
        late.push(revoked.elapsed());
        ask(&mut there, "99").expect(200);
    }
    late.sort_unstable();
    assert!(late[late.len() - 2] < Duration::from_millis(50), "{late:?}");
}

#[test]
fn what_was_revoked_in_a_tenant_stays_so_on_a_server_that_was_emptied_or_comes_back_with_older_data() {
    let backend = echo();
    let mut server = RedisServer::start();
    let mut gateway = choosing(Store::on(&server), &backend).start();
    let mut browser = member(&gateway);
    ask(&mut browser, "77").expect(200);
    let older = server.remember();
    operate(&gateway, "POST", "/v1/tenants/77/revoke", &json!({"reason": "a test"}));
    operate(&gateway, "PUT", "/v1/tenants/99", &json!({"status": "suspended", "reason": "a test"}));
    server.kill();
    server.start_again_with(&older);
    gateway.wait_ready();
    ask(&mut browser, "").expect(200);
    for tenant in ["77", "99"] {
        ask(&mut browser, tenant).expect_refusal(403, "tenant_suspended");
    }
}

on_both_stores!(a_switch_of_tenants_keeps_what_may_be_chosen_and_gives_nothing_back, |store| {
    let backend = echo();
    let headers = [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "99")];
    backend.on("/api/switch", [answer("200 OK", &headers, "{}")]);
    let gateway = choosing(store, &backend)
        .settings("[[events]]\nmatch = \"POST /api/switch\"\nheader = [\"switch-tenant\"]")
        .start();
    let mut browser = member(&gateway);
    operate(&gateway, "POST", "/v1/tenants/77/revoke", &json!({"reason": "a test"}));
    browser.post("/api/switch").expect(200);
    let status = browser.get("/api/session/status").expect(200).json();
    assert_eq!((&status["tenant"], &status["tenants"]), (&json!("99"), &json!(["99", "42", "77"])));
    for (tenant, injected) in [("", "99"), ("42", "42")] {
        ask(&mut browser, tenant).expect(200);
        assert_eq!(backend.last().headers.all("X-Customer-ID"), [injected]);
    }
    ask(&mut browser, "77").expect_refusal(403, "tenant_suspended");
});

on_both_stores!(operators_see_and_make_sessions_that_may_choose, |store| {
    let backend = echo();
    let gateway = choosing(store, &backend).start();
    let body = json!({"tenant": "42", "user": "7", "tenants": ["77", "42"], "reason": "a test"});
    let made = gateway.operator(TOKEN).post_json("/v1/sessions", &body).expect(201).json();
    let id = made["id"].as_str().expect("an id");
    let shown = gateway.operator(TOKEN).get(&format!("/v1/sessions/{id}")).expect(200).json();
    assert_eq!((&shown["tenant"], &shown["tenants"]), (&json!("42"), &json!(["42", "77"])));
    let listed = |tenant: &str| {
        let list = gateway.operator(TOKEN).get(&format!("/v1/sessions?tenant={tenant}")).expect(200).json();
        list["items"].as_array().expect("a list").len()
    };
    assert_eq!((listed("42"), listed("77")), (1, 0), "under the tenant of its login");
    let mut browser = gateway.browser();
    let (cookie, _) = made["set_cookie"].as_str().and_then(|line| line.split_once(';')).expect("a cookie");
    let (name, value) = cookie.split_once('=').expect("name=value");
    browser.set_cookie(name, value);
    ask(&mut browser, "77").expect(200);
    let created = gateway.wait_audit("session.created", |event| event["session_id"] == id);
    assert_eq!(created["details"]["tenants"], 2);
    for tenants in [json!(["a b"]), json!(vec!["1"; 65])] {
        let body = json!({"tenant": "42", "user": "7", "tenants": tenants});
        gateway.operator(TOKEN).post_json("/v1/sessions", &body).expect(400);
    }
});

#[test]
fn a_list_that_cannot_be_read_makes_no_session() {
    let backend = echo();
    let gateway = choosing(Store::Embedded, &backend).start();
    let too_many: Vec<u64> = (1..=65).collect();
    for memberships in [
        member_of(7, &too_many)["memberships"].clone(),
        json!([{"org_id": "a,b"}]),
        json!([{"org_id": {"id": 77}}]),
        json!("77"),
    ] {
        let mut answer = member_of(7, &[]);
        answer["memberships"] = memberships;
        let mut browser = gateway.browser();
        browser.log_in_with(&answer).expect_refusal(502, "bad_identity");
        assert!(!browser.has_session_cookie());
    }
    let most: Vec<u64> = (1..=64).collect();
    let mut browser = gateway.browser();
    browser.log_in_with(&member_of(7, &most)).expect(200);
    ask(&mut browser, "64").expect(200);
    // Whoever is in none has the login's own.
    browser.log_in_with(&member_of(7, &[])).expect(200);
    ask(&mut browser, "64").expect_refusal(403, "tenant_mismatch");
}

#[test]
fn a_gateway_that_no_longer_lets_clients_choose_still_judges_the_logins_own_tenant() {
    let backend = echo();
    let gateway = choosing(Store::Embedded, &backend).start();
    let mut browser = member(&gateway);
    gateway.change("login.tenants", Vec::<String>::new());
    gateway.reload_with("identity.client_value", "ignore");
    ask(&mut browser, "77").expect(200);
    assert_eq!(backend.last().headers.all("X-Customer-ID"), ["42"]);
    operate(&gateway, "PUT", "/v1/tenants/42", &json!({"status": "suspended", "reason": "a test"}));
    ask(&mut browser, "77").expect_refusal(403, "tenant_suspended");
}
