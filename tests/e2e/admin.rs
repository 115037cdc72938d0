//! The admin API through the real binary: what operators see, what they end, and what is written down of it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::curl::Curl;
use crate::support::gateway::{Builder, write_certificate};
use crate::support::logins::identity;
use crate::support::python::python;
use crate::support::{
    Browser, Gateway, RedisServer, SESSION_COOKIE, Step, Store, Wire, answer, echo, gateway, let_pass, scratch, send,
    wait_until,
};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn with_operator(store: Store) -> Builder {
    gateway(store).set("admin.token", TOKEN)
}

fn call(gateway: &Gateway, method: &str, path: &str, body: Option<&Value>) -> crate::support::http::Response {
    let mut operator = gateway.operator(TOKEN);
    let request = operator.request(method, path);
    match body {
        Some(body) => request.json(body).send(),
        None => request.send(),
    }
}

#[track_caller]
fn get(gateway: &Gateway, path: &str) -> Value {
    call(gateway, "GET", path, None).expect(200).json()
}

#[track_caller]
fn post(gateway: &Gateway, path: &str, body: &Value) -> Value {
    call(gateway, "POST", path, Some(body)).expect(200).json()
}

#[track_caller]
fn put(gateway: &Gateway, tenant: &str, status: &str) -> Value {
    let body = json!({"status": status, "reason": "ticket 5"});
    call(gateway, "PUT", &format!("/v1/tenants/{tenant}"), Some(&body)).expect(200).json()
}

/// The ids of the sessions that a list names.
fn ids(gateway: &Gateway, query: &str) -> Vec<String> {
    let list = get(gateway, &format!("/v1/sessions?{query}"));
    let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
    list["items"].as_array().expect("items").iter().map(id).collect()
}

fn id_of(gateway: &Gateway, tenant: &str, user: &str) -> String {
    let ids = ids(gateway, &format!("tenant={tenant}&user={user}"));
    assert_eq!(ids.len(), 1);
    ids[0].clone()
}

#[track_caller]
fn assert_ended(browser: &mut Browser) {
    assert_eq!(browser.clone().get("/x").expect(401).json()["error_code"], "session_revoked");
}

fn invalidated(count: u64) -> Value {
    json!({"invalidated_sessions": count})
}

on_both_stores!(an_operator_ends_a_session_a_user_all_but_one_and_a_tenant_with_exact_counts, |store| {
    let backend = echo();
    let mut gateway = with_operator(store).with_backend(&backend).start();
    let mut one = gateway.logged_in("42", "1");
    let shown = get(&gateway, "/v1/sessions?tenant=42&user=1")["items"][0].clone();
    assert_eq!((&shown["tenant"], &shown["user"], &shown["role"]), (&json!("42"), &json!("1"), &Value::Null));
    assert_eq!((&shown["address"], &shown["remembered"]), (&json!("127.0.0.1"), &json!(false)));
    let path = format!("/v1/sessions/{}", shown["id"].as_str().expect("an id"));
    assert_eq!(get(&gateway, &path), shown);
    let ended = call(&gateway, "DELETE", &format!("{path}?reason=lost+laptop"), None).expect(200).json();
    assert_eq!(ended, json!({"invalidated_sessions": 1}));
    assert_ended(&mut one);
    call(&gateway, "DELETE", &path, None).expect(404);

    let mut users: Vec<_> = (0..4).map(|_| gateway.logged_in("42", "2")).collect();
    let mut others = [gateway.logged_in("42", "3"), gateway.logged_in("43", "2")];
    let kept = ids(&gateway, "tenant=42&user=2")[0].clone();
    let body = json!({"except_session": kept, "reason": "password changed"});
    assert_eq!(post(&gateway, "/v1/tenants/42/users/2/revoke", &body), invalidated(3));
    let alive = users.iter().map(|browser| browser.clone().get("/x").status).filter(|status| *status == 200).count();
    assert_eq!((alive, ids(&gateway, "tenant=42&user=2")), (1, vec![kept]));
    assert_eq!(post(&gateway, "/v1/tenants/42/users/2/revoke", &json!({})), invalidated(1));
    users.iter_mut().for_each(assert_ended);
    others.iter_mut().for_each(|browser| drop(browser.get("/x").expect(200)));

    let mut more: Vec<_> = (0..3).map(|user| gateway.logged_in("42", &user.to_string())).collect();
    assert_eq!(post(&gateway, "/v1/tenants/42/revoke", &json!({"reason": "breach"})), invalidated(4));
    more.iter_mut().for_each(assert_ended);
    assert_ended(&mut others[0]);
    others[1].get("/x").expect(200);
    gateway.logged_in("42", "1").get("/x").expect(200);

    assert_eq!(gateway.metric("revocations_total", "session"), 1.0);
    assert_eq!(gateway.metric("revocations_total", "user"), 2.0);
    assert_eq!(gateway.metric("revocations_total", "tenant"), 1.0);
    assert_eq!(gateway.metric("sessions_ended_total", "revoked"), 9.0, "all four kinds of it");

    let line = |reason: &str| gateway.audit().into_iter().find(|event| event["reason"] == reason).expect("a line");
    for (reason, words, count) in [("user_others_revoked", "password changed", 3), ("tenant_revoked", "breach", 4)] {
        let event = line(reason);
        assert_eq!((&event["type"], &event["actor"]), (&json!("session.ended"), &json!("operator:admin")));
        assert_eq!(event["details"]["words"], words);
        assert_eq!(event["details"]["invalidated_sessions"], count);
    }
    assert_eq!(line("lost laptop")["details"]["call"], "end_session");
    gateway.process().stop();
    let verified = gateway.run(&["audit", "verify", "--config", "gateway.toml", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
});

on_both_stores!(a_list_shows_each_session_that_lives_through_it_once_whatever_comes_and_goes, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    for number in 0..30 {
        gateway.logged_in(&format!("t{}", number % 3), &number.to_string());
    }
    let living: Vec<String> =
        ids(&gateway, "limit=1000").into_iter().enumerate().filter(|(at, _)| at % 5 != 0).map(|(_, id)| id).collect();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let (mut next, mut page) = (String::from("/v1/sessions?limit=4"), 0);
    loop {
        let list = get(&gateway, &next);
        for item in list["items"].as_array().expect("items") {
            *seen.entry(item["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        next = format!("/v1/sessions?limit=4&cursor={cursor}");
        page += 1;
        gateway.logged_in(&format!("t{}", page % 3), &format!("new{page}"));
        // One of those that need not live through it.
        if let Some(gone) = ids(&gateway, "limit=1000").iter().find(|id| !living.contains(id)) {
            call(&gateway, "DELETE", &format!("/v1/sessions/{gone}"), None).expect(200);
        }
    }
    assert!(page >= 6, "{page}");
    for id in &living {
        assert_eq!(seen.get(id), Some(&1), "{id}");
    }
    assert!(seen.values().all(|count| *count == 1));
    let tenants = get(&gateway, "/v1/tenants?limit=2");
    assert_eq!(tenants["items"].as_array().map(Vec::len), Some(2));
    let rest = get(&gateway, &format!("/v1/tenants?cursor={}", tenants["next_cursor"].as_str().expect("a cursor")));
    assert_eq!((&rest["items"][0]["tenant"], &rest["next_cursor"]), (&json!("t2"), &Value::Null));
});

on_both_stores!(a_suspended_or_deleted_tenant_is_shut_out_and_a_restored_one_revives_nothing, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    let mut other = gateway.logged_in("43", "7");
    for status in ["suspended", "deleted"] {
        let mut before = gateway.logged_in("42", "7");
        let changed = put(&gateway, "42", status);
        let expected = json!({"tenant": "42", "status": status, "invalidated_sessions": 1});
        assert_eq!(changed, expected);
        assert_ended(&mut before);
        let refused = gateway.browser().log_in_with(&identity("42", "7")).expect(403).json();
        assert_eq!(refused["error_code"], "tenant_suspended");
        let mint = call(&gateway, "POST", "/v1/sessions", Some(&json!({"tenant": "42", "user": "7"}))).expect(403);
        assert_eq!(mint.json()["code"], "tenant_suspended");
        let shown = get(&gateway, "/v1/tenants/42");
        assert_eq!((&shown["status"], &shown["reason"]), (&json!(status), &json!("ticket 5")));
        assert_eq!(put(&gateway, "42", "active")["invalidated_sessions"], 0);
        assert_ended(&mut before);
    }
    other.get("/x").expect(200);
    gateway.logged_in("42", "7").get("/x").expect(200);
    let event = gateway.wait_audit("tenant.changed", |event| event["details"]["status"] == "deleted");
    assert_eq!((&event["actor"], &event["tenant"]), (&json!("operator:admin"), &json!("42")));
});

on_both_stores!(an_operator_ends_a_session_that_switched_tenants_by_its_old_id, |store| {
    let backend = echo();
    let switch = [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")];
    backend.on("/switch", [answer("200 OK", &switch, "")]);
    let event = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = with_operator(store).with_backend(&backend).settings(event).start();
    let mut browser = gateway.logged_in("42", "7");
    let old = id_of(&gateway, "42", "7");
    let mut before = browser.clone();
    browser.post("/switch").expect(200);
    assert_eq!(ids(&gateway, "tenant=42"), Vec::<String>::new(), "it is listed once");
    assert_eq!(ids(&gateway, "tenant=77").len(), 1);
    let ended = call(&gateway, "DELETE", &format!("/v1/sessions/{old}"), None).expect(200).json();
    assert_eq!(ended["invalidated_sessions"], 1);
    assert_ended(&mut browser);
    assert_eq!(before.get("/x").status, 401);
    call(&gateway, "DELETE", &format!("/v1/sessions/{old}"), None).expect(404);
});

#[test]
fn a_tenant_that_is_shut_out_is_refused_under_every_spelling_that_a_backend_could_read() {
    let backend = echo();
    for mode in ["observe", "compat"] {
        let gateway = with_operator(Store::Embedded)
            .with_backend(&backend)
            .set("identity.mode", mode)
            .set("identity.tenant_format", "int")
            .settings("identity.query = { customer_id = \"match\", org = \"drop\" }\nidentity.strip = [\"X-Org-ID\"]")
            .start();
        put(&gateway, "42", "suspended");
        let before = backend.seen().len();
        let send = |name: &str, value: &[u8]| {
            let head = [b"GET /x HTTP/1.1\r\nHost: localhost\r\n", name.as_bytes(), b": ", value, b"\r\n\r\n"].concat();
            gateway.exchange(head)
        };
        for name in ["X-Customer-ID", "X_Customer_ID", "X-Org-ID"] {
            for value in [
                "+42",
                "4_2",
                "42.0",
                "0x2a",
                "42x",
                "\"42\"",
                "%34%32",
                "7, +42",
                "42\t7",
                "\u{ff14}\u{ff12}",
                "\u{0664}2",
            ] {
                send(name, value.as_bytes()).expect_refusal(403, "tenant_mismatch");
            }
            send(name, b"4\xff2").expect_refusal(403, "tenant_mismatch");
            for value in ["42", "042", "7,42"] {
                send(name, value.as_bytes()).expect_refusal(403, "tenant_suspended");
            }
        }
        for query in [
            "customer_id=42%20",
            "customer_id=+42",
            "customer_id=%2B42",
            "org=4_2",
            "%6Frg=%2042",
            "org=7&org=42%00",
            "x=1;org=%EF%BC%94%EF%BC%92",
            "org=4%FF2",
        ] {
            gateway.browser().get(&format!("/x?{query}")).expect_refusal(403, "tenant_mismatch");
        }
        for query in ["customer_id=%34%32", "org=42", "org=7;org=042"] {
            gateway.browser().get(&format!("/x?{query}")).expect_refusal(403, "tenant_suspended");
        }
        assert_eq!(backend.seen().len(), before, "nothing of it reached the backend in {mode}");
        for (name, value) in
            [("X-Customer-ID", "43"), ("X-Customer-ID", ""), ("X-Org-ID", "acme"), ("X-Session-Begun", "1.2")]
        {
            send(name, value.as_bytes()).expect(200);
        }
        gateway.browser().get("/x?customer_id=&org=43&other=4_2").expect(200);
    }
}

on_both_stores!(a_minted_session_is_a_session_like_any_other, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    let body = json!({"tenant": "42", "user": "7", "role": "editor", "remember": true});
    let made = call(&gateway, "POST", "/v1/sessions", Some(&body)).expect(201);
    let answer = made.json();
    let line = answer["set_cookie"].as_str().expect("a line");
    let (pair, attributes) = line.split_once("; ").expect("attributes");
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=604800");
    let (name, value) = pair.split_once('=').expect("a pair");
    assert_eq!(name, SESSION_COOKIE);
    let mut browser = gateway.browser();
    browser.set_cookie(name, value);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    assert_eq!(backend.last().header("x-user-role"), Some("editor"));
    let location = made.header("location").expect("where it is");
    assert_eq!(get(&gateway, location)["id"], answer["id"]);
    for secret in
        [&gateway.log().join("\n"), &std::fs::read_to_string(gateway.file("audit.jsonl")).expect("it is there")]
    {
        assert!(!secret.contains(value) && !secret.contains(TOKEN));
    }
    let created = gateway.wait_audit("session.created", |event| event["session_id"] == answer["id"]);
    assert_eq!(created["actor"], "operator:admin");
    browser.post("/api/logout").expect(200);
    call(&gateway, "GET", location, None).expect(404);
});

#[test]
fn what_an_operator_ends_is_cut_at_once() {
    let backend = echo();
    backend.on_head("/events", [send(EVENTS), send("1\r\n1\r\n"), Step::Hang]);
    let gateway = with_operator(Store::Embedded).with_backend(&backend).start();
    for path in ["session", "/v1/tenants/42/users/7/revoke", "/v1/tenants/42/revoke"] {
        let browser = gateway.logged_in("42", "7");
        let mut wire = gateway.wire();
        let (host, token) = (gateway.address(), browser.token());
        wire.send(format!("GET /events HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
        assert_eq!(wire.try_receive_head().expect("a head").status, 200);
        assert_eq!(wire.chunk().expect("a chunk"), Some(b"1".to_vec()));
        if path == "session" {
            let id = id_of(&gateway, "42", "7");
            call(&gateway, "DELETE", &format!("/v1/sessions/{id}"), None).expect(200);
        } else {
            assert_eq!(post(&gateway, path, &json!({})), invalidated(1));
        }
        let ended = Instant::now();
        assert!(wire.rest().is_empty(), "it is cut");
        assert!(ended.elapsed() < Duration::from_secs(1), "{path} {:?}", ended.elapsed());
    }
}

#[test]
fn any_gateway_shows_and_ends_what_any_other_made_and_tells_of_all_within_a_second() {
    let backend = echo();
    let store = Store::redis();
    let [one, two] = [(); 2].map(|()| with_operator(store.clone()).with_backend(&backend).start());
    let mut browser = one.logged_in("42", "7");
    let path = format!("/v1/sessions/{}?reason=ticket+5", id_of(&two, "42", "7"));
    call(&two, "DELETE", &path, None).expect(200);
    let ended = Instant::now();
    assert_ended(&mut browser);
    for (gateway, kind) in [(&one, "session.ended"), (&two, "session.created")] {
        let path = format!("/v1/audit?tenant=42&type={kind}");
        wait_until("the other's event", || (get(gateway, &path)["items"] != json!([])).then_some(()));
        assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    }
    let called = get(&one, "/v1/audit?type=admin.called")["items"].clone();
    assert_eq!(called.as_array().map(Vec::len), Some(2), "{called:#}");
    for (line, outcome) in [(&called[0], "begun"), (&called[1], "success")] {
        assert_eq!((&line["actor"], &line["reason"]), (&json!("operator:admin"), &json!("ticket 5")));
        assert_eq!((&line["outcome"], &line["request_id"]), (&json!(outcome), &called[0]["request_id"]));
    }
}

#[test]
fn a_change_goes_on_when_its_caller_hangs_up() {
    let (server, backend) = (RedisServer::start(), echo());
    let gateway = with_operator(Store::on(&server)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    server.freeze();
    // It waits for the store when its caller goes.
    let mut caller = Wire::connect(gateway.admin_address());
    caller.send(format!(
        "POST /v1/tenants/42/revoke HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
    ));
    let_pass(Duration::from_millis(200));
    drop(caller);
    let_pass(Duration::from_millis(50));
    server.thaw();
    let over = |event: &Value| event["outcome"] != "begun";
    let called = gateway.wait_audit("admin.called", |event| over(event) && event["details"]["call"] == "revoke_tenant");
    assert_eq!(called["outcome"], "success");
    assert_ended(&mut browser);
}

#[test]
fn what_an_operator_asked_for_is_on_disk_before_it_has_an_effect() {
    let (server, backend) = (RedisServer::start(), echo());
    let mut gateway = with_operator(Store::on(&server)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    server.freeze();
    let mut caller = Wire::connect(gateway.admin_address());
    let body = "{\"reason\":\"ticket 5\"}";
    caller.send(format!(
        "POST /v1/tenants/42/revoke HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let begun = gateway.wait_audit("admin.called", |event| event["details"]["call"] == "revoke_tenant");
    assert_eq!((&begun["outcome"], &begun["reason"]), (&json!("begun"), &json!("ticket 5")));
    assert_eq!((&begun["tenant"], &begun["actor"]), (&json!("42"), &json!("operator:admin")));
    // The journal has it a moment later; the store may do it as soon as it goes on.
    let_pass(Duration::from_millis(100));
    gateway.process().kill();
    server.thaw();
    gateway.crash_and_restart();
    assert_ended(&mut browser);
    let ended = gateway.wait_audit("session.ended", |event| event["details"]["late"] == true);
    assert_eq!((&ended["actor"], &ended["details"]["words"]), (&json!("operator:admin"), &json!("ticket 5")));
    assert_eq!(ended["request_id"], begun["request_id"]);
    let called = gateway.audit().into_iter().filter(|event| event["type"] == "admin.called").count();
    assert_eq!(called, 1, "nobody said how the call went");
}

#[test]
fn a_store_that_does_not_answer_is_503_and_no_lie() {
    let (mut server, backend) = (RedisServer::start(), echo());
    let gateway = with_operator(Store::on(&server)).with_backend(&backend).start();
    gateway.logged_in("42", "7");
    let id = id_of(&gateway, "42", "7");
    server.kill();
    gateway.wait_unready();
    for (method, path) in [
        ("GET", String::from("/v1/sessions")),
        ("GET", format!("/v1/sessions/{id}")),
        ("DELETE", format!("/v1/sessions/{id}")),
        ("GET", String::from("/v1/tenants/42")),
        ("POST", String::from("/v1/tenants/42/revoke")),
        ("GET", String::from("/v1/audit")),
    ] {
        let answer = call(&gateway, method, &path, None).expect(503);
        assert_eq!(answer.json()["code"], "store_unavailable", "{method} {path}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{method} {path}");
    }
    let over = |event: &Value| event["outcome"] != "begun";
    let failed = gateway.wait_audit("admin.called", |event| over(event) && event["details"]["call"] == "revoke_tenant");
    assert_eq!((&failed["outcome"], &failed["details"]["code"]), (&json!("failure"), &json!("store_unavailable")));
}

#[test]
fn a_reload_takes_over_tokens_roles_and_limits() {
    let backend = echo();
    let gateway = with_operator(Store::Embedded).with_backend(&backend).start();
    get(&gateway, "/v1/sessions");
    let other = "another-1234567890-1234567890-1234567890";
    gateway.reload_with("admin.token", other);
    call(&gateway, "GET", "/v1/sessions", None).expect(401);
    gateway.operator(other).get("/v1/sessions").expect(200);
    gateway.reload_with("session.absolute", "1h");
    let made = gateway.operator(other).post_json("/v1/sessions", &json!({"tenant": "42", "user": "7"})).expect(201);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let shown = gateway.operator(other).get(&format!("/v1/sessions/{id}")).expect(200).json();
    let hour = |text: &Value| text.as_str().and_then(|text| text.get(11..13)?.parse::<u32>().ok()).expect("a time");
    assert_eq!((hour(&shown["created_at"]) + 1) % 24, hour(&shown["expires_at"]) % 24);
}

#[test]
fn operators_call_over_tls_and_renewed_certificates_are_taken_over() {
    let backend = echo();
    let builder = with_operator(Store::Embedded).with_backend(&backend);
    for name in ["admin", "new"] {
        write_certificate(builder.directory(), name, &["localhost"]);
    }
    let builder = builder.settings("admin.tls = { cert = \"admin.crt\", key = \"admin.key\" }");
    let gateway = builder.start_without_waiting();
    let ready = || gateway.browser().request("GET", "/readyz").try_send().is_ok_and(|answer| answer.status == 200);
    wait_until("the gateway", || ready().then_some(()));
    let ask = |file: &str, options: &[&str]| {
        let call = Curl::to(gateway.admin_address().port()).trusting(&gateway, file).with(options);
        call.header("Authorization", &format!("Bearer {TOKEN}")).try_send("/v1/tenants")
    };
    let (protocol, response) = ask("admin.crt", &[]).expect("an answer");
    assert_eq!((protocol.as_str(), response.status), ("HTTP/1.1", 200));
    ask("admin.crt", &["--tls-max", "1.1"]).expect_err("an old protocol");
    ask("new.crt", &[]).expect_err("another certificate");
    for ending in ["crt", "key"] {
        std::fs::rename(gateway.file(&format!("new.{ending}")), gateway.file(&format!("admin.{ending}")))
            .expect("moves");
    }
    wait_until("the new certificate", || ask("admin.crt", &[]).ok());
}

#[test]
fn a_token_keeps_the_gateway_from_listening_beyond_loopback_in_the_clear() {
    let backend = echo();
    let elsewhere = || with_operator(Store::Embedded).with_backend(&backend).set("admin.listen", "0.0.0.0:0");
    let (status, said) = elsewhere().refused();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("admin.listen") && said.contains("set `admin.tls`"), "{said}");
    let output = elsewhere().set("admin.dangerously_allow_plaintext", true).check(&[]);
    assert!(output.status.success(), "{output:?}");
    let output = elsewhere().without("admin.token").check(&[]);
    assert!(output.status.success(), "health and metrics alone hold no secret: {output:?}");
}

/// Calls made from the document itself: what it allows, what it does not, methods that it does not name, and chains of
/// calls.
#[test]
fn schemathesis_finds_no_server_error_and_no_undocumented_answer() {
    let backend = echo();
    let gateway = with_operator(Store::redis()).with_backend(&backend).start();
    for user in 0..3 {
        gateway.logged_in("0", &user.to_string());
    }
    let folder = scratch();
    let output = Command::new(python("schemathesis"))
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml")])
        .args(["run", &format!("http://{}/openapi.json", gateway.admin_address())])
        .args([
            "--header",
            &format!("Authorization: Bearer {TOKEN}"),
            "--no-color",
            "--seed",
            "1",
            "--continue-on-failure",
        ])
        .current_dir(folder.path())
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // All but the document itself.
    assert!(said.contains("Tested: 23\n"), "{said}");
}
