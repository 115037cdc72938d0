//! Access tokens of issuers instead of sessions (docs/behaviour.md, "Access tokens"): who is believed, what ends a token,
//! and how others got it wrong.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::http::Response;
use crate::support::issuer::{NAME, believing, id_of};
use crate::support::{
    Browser, Gateway, Issuer, RedisServer, Step, Store, answer, answer_json, echo, gateway, let_pass, send, wait_until,
};

const OPERATOR: &str = "an operator's token of more than 32 bytes";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";

/// A gateway that believes an issuer, whose keys it has.
pub(crate) fn start(store: Store, backend: &Echo, issuer: &Issuer, settings: &str) -> Gateway {
    Issuer::publish(backend, &[issuer]);
    let builder = gateway(store).with_backend(backend).settings(&believing(backend)).settings(settings);
    let gateway = builder.set("admin.token", OPERATOR).start();
    gateway.wait_log(&["the keys of an issuer of tokens are others"]);
    gateway
}

/// A client that sends a token.
pub(crate) fn client(gateway: &Gateway, token: &str) -> Browser {
    gateway.browser().with_header("Authorization", &format!("Bearer {token}"))
}

pub(crate) fn call(gateway: &Gateway, token: &str) -> Response {
    client(gateway, token).get("/x")
}

#[track_caller]
pub(crate) fn refused(gateway: &Gateway, token: &str, code: &str) {
    let answer = call(gateway, token).expect_refusal(401, code);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    assert!(!answer.headers.has("set-cookie") && !answer.headers.has("location"));
}

on_both_stores!(a_token_is_who_its_claims_say_and_goes_on_to_the_app, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(store, &backend, &issuer, "");
    let token = issuer.token(&json!({"role": "admin"}));
    let answer = client(&gateway, &token).request("POST", "/x").header("X-Customer-ID", "1").send().expect(200);
    let seen = backend.seen_at("/x").pop().expect("it came");
    assert_eq!(seen.header("x-customer-id"), Some("42"));
    assert_eq!(seen.header("x-user-id"), Some("7"));
    assert_eq!(seen.header("x-user-role"), Some("admin"));
    assert_eq!(seen.header("x-session-id"), Some(&*id_of(&token)));
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {token}")));
    assert!(!answer.headers.has("set-cookie"));
    assert!(answer.headers.all("vary").iter().any(|vary| vary.contains("Authorization")), "{answer:?}");
    // Seen before, it is the same.
    call(&gateway, &token).expect(200);
    let status = client(&gateway, &token).get("/api/session/status").expect(200).json();
    assert_eq!((&status["user"], &status["tenant"]), (&json!("7"), &json!("42")));
});

on_both_stores!(an_operator_denies_a_token_by_its_id_also_one_that_nobody_has_seen, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(store, &backend, &issuer, "");
    let (seen, unseen) = (issuer.token(&json!({})), issuer.token(&json!({"jti": "2"})));
    call(&gateway, &seen).expect(200);
    for token in [&seen, &unseen] {
        let path = format!("/v1/sessions/{}?reason=stolen", id_of(token));
        let answer = gateway.operator(OPERATOR).request("DELETE", &path).send().expect(200).json();
        assert_eq!(answer, json!({"invalidated_sessions": 1}));
        gateway.operator(OPERATOR).request("DELETE", &path).send().expect(404);
        refused(&gateway, token, "token_revoked");
    }
    let line = gateway.wait_audit("token.revoked", |event| event["session_id"] == json!(id_of(&unseen)));
    assert_eq!((&line["reason"], &line["details"]["words"]), (&json!("revoked"), &json!("stolen")));
    assert!(gateway.metric("revocations_total", "scope=\"token\"") >= 2.0);
    assert!(gateway.metric("sessions_rejected_total", "code=\"token_revoked\"") >= 2.0);
    call(&gateway, &issuer.token(&json!({"jti": "3"}))).expect(200);
});

#[test]
fn a_token_is_denied_by_command_without_showing_it() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "");
    let token = issuer.token(&json!({}));
    std::fs::write(gateway.file("token"), format!("{token}\n")).expect("written");
    let file = gateway.file("token");
    let config = gateway.config().display().to_string();
    let said = gateway.run(&["tokens", "revoke", "--from", &file.display().to_string(), "--config", &config]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("token {} denied\n", id_of(&token)));
    refused(&gateway, &token, "token_revoked");
}

on_both_stores!(a_logout_denies_the_token_and_a_logout_everywhere_all_of_its_user, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    backend.on("/api/logout", vec![answer_json(&json!({"success": true}))]);
    let gateway = start(store, &backend, &issuer, "");
    let tokens: Vec<String> = (0..3).map(|n| issuer.token(&json!({"jti": n.to_string()}))).collect();
    let others = issuer.token(&json!({"sub": "8"}));
    tokens.iter().for_each(|token| drop(call(&gateway, token).expect(200)));
    let answer = client(&gateway, &tokens[0]).post("/api/logout").expect(200);
    assert!(!answer.headers.has("set-cookie"), "{answer:?}");
    refused(&gateway, &tokens[0], "token_revoked");
    call(&gateway, &tokens[1]).expect(200);
    let mut session = gateway.logged_in("42", "7");
    let answer = client(&gateway, &tokens[1]).post("/api/auth/revoke-all-tokens").expect(200).json();
    assert_eq!(answer, json!({"success": true, "invalidated_sessions": 1, "token_revoked": true}));
    refused(&gateway, &tokens[1], "token_revoked");
    refused(&gateway, &tokens[2], "token_revoked");
    session.get("/x").expect_refusal(401, "session_revoked");
    call(&gateway, &others).expect(200);
});

on_both_stores!(a_revocation_of_user_or_tenant_ends_older_tokens_and_a_shut_out_tenant_has_none, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(store, &backend, &issuer, "");
    let mut operator = gateway.operator(OPERATOR);
    let of = |tenant: &str, user: &str| issuer.token(&json!({"org_id": tenant, "sub": user}));
    let (mine, other, theirs, shut) = (of("42", "7"), of("42", "8"), of("43", "7"), of("44", "7"));
    [&mine, &other, &theirs, &shut].iter().for_each(|token| drop(call(&gateway, token).expect(200)));
    operator.post("/v1/tenants/42/users/7/revoke").expect(200);
    refused(&gateway, &mine, "token_revoked");
    call(&gateway, &other).expect(200);
    operator.post("/v1/tenants/42/revoke").expect(200);
    refused(&gateway, &other, "token_revoked");
    call(&gateway, &theirs).expect(200);
    // One that is made a moment later may have been made before, by a clock that differs.
    refused(&gateway, &issuer.token(&json!({"jti": "new"})), "token_revoked");
    let now = jiff::Timestamp::now().as_second();
    wait_until("its second is over", || (jiff::Timestamp::now().as_second() > now + 1).then_some(()));
    call(&gateway, &issuer.token(&json!({"iat": now + 6, "exp": now + 600}))).expect(200);
    operator.request("PUT", "/v1/tenants/44").json(&json!({"status": "suspended"})).send().expect(200);
    call(&gateway, &shut).expect_refusal(403, "tenant_suspended");
    operator.request("PUT", "/v1/tenants/44").json(&json!({"status": "active"})).send().expect(200);
    refused(&gateway, &shut, "token_revoked");
});

on_both_stores!(the_apps_own_success_ends_the_tokens_of_whom_it_deleted, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let ordering = |order: &str| answer("200 OK", &[("X-Session-Event", order)], "{}");
    backend.on("/password", vec![ordering("revoke-other-sessions")]);
    backend.on("/leave", vec![ordering("logout")]);
    backend.on("/switch", vec![ordering("switch-tenant")]);
    let events = "[[events]]\nmatch = \"DELETE /orgs/{tenant}\"\n[[events]]\nmatch = \"POST /password\"\n\
         header = [\"revoke-other-sessions\"]\n[[events]]\nmatch = \"POST /leave\"\nheader = [\"logout\"]\n\
         [[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = start(store, &backend, &issuer, events);
    let token = |tenant: &str, n: u32| issuer.token(&json!({"org_id": tenant, "jti": n.to_string()}));
    let (one, two) = (token("42", 1), token("42", 2));
    [&one, &two].iter().for_each(|token| drop(call(&gateway, token).expect(200)));
    let mut browser = gateway.logged_in("42", "7");
    client(&gateway, &one).post("/password").expect(200);
    // The one that changed the password stays, and can do it again.
    call(&gateway, &one).expect(200);
    client(&gateway, &one).post("/password").expect(200);
    call(&gateway, &one).expect(200);
    refused(&gateway, &two, "token_revoked");
    browser.get("/x").expect_refusal(401, "session_revoked");
    client(&gateway, &one).post("/switch").expect(200);
    gateway.wait_audit("event.unknown", |event| event["details"]["said"] == "switch-tenant");
    call(&gateway, &one).expect(200);
    client(&gateway, &one).post("/leave").expect(200);
    refused(&gateway, &one, "token_revoked");
    let (gone, left) = (token("43", 3), token("43", 4));
    call(&gateway, &left).expect(200);
    client(&gateway, &gone).request("DELETE", "/orgs/43").send().expect(200);
    refused(&gateway, &gone, "token_revoked");
    refused(&gateway, &left, "token_revoked");
});

#[test]
fn what_one_gateway_denies_another_refuses_within_a_second() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let store = Store::redis();
    let gateways = [start(store.clone(), &backend, &issuer, ""), start(store, &backend, &issuer, "")];
    for n in 0..20 {
        let token = issuer.token(&json!({"jti": n.to_string()}));
        gateways.iter().for_each(|gateway| drop(call(gateway, &token).expect(200)));
        client(&gateways[n % 2], &token).post("/api/logout").expect(200);
        let denied = Instant::now();
        let other = &gateways[1 - n % 2];
        wait_until("the other refuses it", || (call(other, &token).status == 401).then_some(()));
        assert!(denied.elapsed() < Duration::from_secs(1), "{:?}", denied.elapsed());
        refused(other, &token, "token_revoked");
    }
}

#[test]
fn a_server_that_comes_back_with_older_data_does_not_revive_what_was_denied() {
    let (backend, issuer, mut server) = (echo(), Issuer::new("k1"), RedisServer::start());
    let gateway = start(Store::on(&server), &backend, &issuer, "");
    let tokens: Vec<String> =
        (0..2).map(|n| issuer.token(&json!({"jti": n.to_string(), "sub": n.to_string()}))).collect();
    tokens.iter().for_each(|token| drop(call(&gateway, token).expect(200)));
    let before = server.remember();
    client(&gateway, &tokens[0]).post("/api/logout").expect(200);
    gateway.operator(OPERATOR).post("/v1/tenants/42/users/1/revoke").expect(200);
    server.kill();
    call(&gateway, &tokens[0]).expect_refusal(503, "store_unavailable");
    server.start_again_with(&before);
    wait_until("it is used again", || (call(&gateway, &tokens[0]).status != 503).then_some(()));
    tokens.iter().for_each(|token| refused(&gateway, token, "token_revoked"));
}

on_both_stores!(a_stream_is_cut_when_its_token_is_denied_or_over, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    backend.on("/events", vec![send(EVENTS), Step::Hang]);
    let gateway = start(store, &backend, &issuer, "");
    let open = |token: &str| {
        let mut wire = gateway.wire();
        let address = gateway.address();
        wire.send(format!("GET /events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"));
        wire.try_receive_head().expect("a head").expect(200);
        assert_eq!(wire.chunk().expect("an event"), Some(b"x".to_vec()));
        wire
    };
    let denied = issuer.token(&json!({}));
    let mut stream = open(&denied);
    let_pass(Duration::from_millis(300));
    client(&gateway, &denied).post("/api/logout").expect(200);
    assert!(stream.patience(Duration::from_secs(1)).is_closed(), "within a second");
    let now = jiff::Timestamp::now().as_second();
    let short = issuer.token(&json!({"exp": now + 3}));
    let mut stream = open(&short);
    assert!(stream.patience(Duration::from_secs(5)).is_closed(), "at its end");
    assert!(jiff::Timestamp::now().as_second() >= now + 2, "and not before");
});

#[test]
fn a_gateway_cookie_wins_over_a_token_also_one_that_is_worth_nothing() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "");
    let token = issuer.token(&json!({"org_id": "43"}));
    let bearer = format!("Bearer {token}");
    let mut browser = gateway.logged_in("42", "7").with_header("Authorization", &bearer);
    browser.get("/x").expect(200);
    let seen = backend.seen_at("/x").pop().expect("it came");
    assert_eq!(seen.header("x-customer-id"), Some("42"));
    assert_eq!(seen.header("authorization"), None, "nobody has verified the token, nor asked whether it was denied");
    let mut over = browser.clone();
    browser.post("/api/logout").expect(200);
    over.get("/x").expect_refusal(401, "session_revoked");
    let mut nonsense = gateway.browser().with_header("Authorization", &bearer);
    nonsense.set_cookie("session-gateway", "nonsense");
    nonsense.get("/x").expect_refusal(401, "session_required");
    // That logout was the session's alone.
    call(&gateway, &token).expect(200);
}

#[test]
fn no_token_that_nobody_verified_reaches_the_app_but_on_public_routes() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "[[routes]]\nmatch = \"/open\"\nauth = \"optional\"\n");
    let denied = issuer.token(&json!({}));
    client(&gateway, &denied).post("/api/logout").expect(200);
    refused(&gateway, &denied, "token_revoked");
    let app_got = |path: &str| backend.seen_at(path).pop().expect("it came").header("authorization").map(String::from);
    let mut junk = client(&gateway, &denied);
    junk.set_cookie("session-gateway", "junk");
    junk.get("/open").expect(200);
    assert_eq!(app_got("/open"), None, "beside a cookie that is worth nothing");
    let mut own = gateway.logged_in("42", "8").with_header("Authorization", &format!("Bearer {denied}"));
    own.get("/mine").expect(200);
    assert_eq!(app_got("/mine"), None, "beside somebody's own session");
    for odd in [format!("Bearer\t{denied}"), format!("Basic x, Bearer {denied}"), format!("Digest bearer {denied}")] {
        gateway.browser().with_header("Authorization", &odd).get("/open").expect(200);
        assert_eq!(app_got("/open"), None, "{odd}");
    }
    gateway.logged_in("42", "8").with_header("Authorization", "Basic dTpw").get("/basic").expect(200);
    assert_eq!(app_got("/basic").as_deref(), Some("Basic dTpw"));
    client(&gateway, &denied).get("/public/x").expect(200);
    assert!(app_got("/public/x").is_some(), "nothing is decided there");
}

on_both_stores!(a_long_answer_with_a_length_to_a_token_is_whole, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(store, &backend, &issuer, "");
    let pieces: Vec<Step> = (0..8).flat_map(|_| [send("x"), Step::Pause(Duration::from_millis(200))]).collect();
    let head = send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    backend.on_head("/big", [vec![head], pieces].concat());
    let token = issuer.token(&json!({}));
    assert_eq!(client(&gateway, &token).get("/big").expect(200).text(), "xxxxxxxx");
    call(&gateway, &token).expect(200);
});

#[test]
fn the_token_goes_no_further_where_that_is_wanted_and_other_schemes_are_none() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "[bearer]\nauthorization = \"drop\"\n");
    call(&gateway, &issuer.token(&json!({}))).expect(200);
    assert_eq!(backend.seen_at("/x").pop().expect("it came").header("authorization"), None);
    let mut basic = gateway.browser().with_header("Authorization", "Basic dTpw");
    basic.get("/x").expect_refusal(401, "session_required");
}

#[test]
fn a_key_that_is_rotated_in_is_asked_for_and_one_that_vanished_takes_its_tokens_along() {
    let (backend, old, new) = (echo(), Issuer::new("old"), Issuer::new("new"));
    let gateway = start(Store::Embedded, &backend, &old, "");
    let (before, after) = (old.token(&json!({})), new.token(&json!({})));
    call(&gateway, &before).expect(200);
    Issuer::publish(&backend, &[&new]);
    call(&gateway, &after).expect(200);
    refused(&gateway, &before, "token_invalid");
    assert_eq!(backend.seen_at("/jwks.json").len(), 2);
}

#[test]
fn a_thousand_unknown_keys_are_asked_for_once() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "");
    std::thread::scope(|threads| {
        for thread in 0..20 {
            let (gateway, issuer) = (&gateway, &issuer);
            threads.spawn(move || {
                for n in 0..50 {
                    let token = issuer.token_with(&json!({"kid": format!("{thread}-{n}")}), &json!({}));
                    refused(gateway, &token, "token_invalid");
                }
            });
        }
    });
    assert_eq!(backend.seen_at("/jwks.json").len(), 2, "at start, and for all of them");
    call(&gateway, &issuer.token(&json!({}))).expect(200);
}

#[test]
fn a_redirect_or_a_slow_answer_is_no_set_of_keys_and_holds_nobody_for_long() {
    let (backend, elsewhere, issuer) = (echo(), echo(), Issuer::new("k1"));
    Issuer::publish(&elsewhere, &[&issuer]);
    let location = format!("http://{}/jwks.json", elsewhere.address());
    backend.on("/jwks.json", vec![answer("302 Found", &[("Location", &location)], "")]);
    let builder = gateway(Store::Embedded).with_backend(&backend).settings(&believing(&backend));
    let gateway = builder.start();
    gateway.wait_log(&["it answered 302"]);
    backend.on("/jwks.json", vec![Step::Hang]);
    let began = Instant::now();
    call(&gateway, &issuer.token(&json!({}))).expect_refusal(503, "keys_unavailable");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(elsewhere.seen_at("/jwks.json").is_empty());
}

#[test]
fn keys_of_the_apps_own_are_read_from_files_and_weak_ones_refused() {
    let backend = echo();
    let issuer = |more: &str| {
        format!(
            "[[bearer.issuers]]\nissuer = \"\"\naudience = \"any\"\ntenant = \"/t\"\nkey_file = \"jwt.key\"\n{more}\n"
        )
    };
    let with_key = |key: &str, algorithm: &str| {
        let builder = gateway(Store::Embedded).with_backend(&backend);
        std::fs::write(builder.directory().join("jwt.key"), key).expect("written");
        builder.settings(&issuer(&format!("algorithms = [\"{algorithm}\"]")))
    };
    for (key, says) in [("t1ny", "keygen"), ("", "empty"), ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "keygen")] {
        let (status, said) = with_key(key, "HS256")
            .set("server.mode", "production")
            .set("server.public_url", "https://a.test")
            .refused();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("bearer.issuers[0].key_file") && said.contains(says), "{said}");
        assert!(key.is_empty() || !said.contains(key), "{said}");
    }
    let secret = "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPa";
    let gateway = with_key(secret, "HS256").start();
    let now = jiff::Timestamp::now().as_second();
    let input = |claims: Value| {
        let b64 = |text: String| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}", b64(json!({"alg": "HS256", "kid": "whatever"}).to_string()), b64(claims.to_string()))
    };
    let signed = |input: String| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = ring::hmac::sign(&key, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let good = signed(input(json!({"t": 42, "sub": 7, "iat": now, "exp": now + 60, "type": "access"})));
    call(&gateway, &good).expect(200);
    assert_eq!(backend.seen_at("/x").pop().expect("it came").header("x-customer-id"), Some("42"));
    let named = signed(input(json!({"iss": NAME, "t": 42, "sub": 7, "iat": now, "exp": now + 60})));
    refused(&gateway, &named, "token_invalid");
}

#[test]
fn no_cross_origin_rule_stands_against_a_token_and_public_routes_do_not_look_at_it() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "[[routes]]\nmatch = \"/public\"\nauth = \"public\"\n");
    let token = issuer.token(&json!({}));
    let mut page = client(&gateway, &token).with_header("Origin", "https://other.test");
    page.post("/x").expect(200);
    page.post("/api/logout").expect(200);
    refused(&gateway, &token, "token_revoked");
    client(&gateway, &token).get("/public").expect(200);
}

#[test]
fn a_migration_that_observes_says_who_comes_with_a_token_and_refuses_only_what_was_revoked() {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "[identity]\nmode = \"observe\"\n");
    let token = issuer.token(&json!({}));
    client(&gateway, &token).request("GET", "/x").header("X-Customer-ID", "1").send().expect(200);
    assert_eq!(backend.seen_at("/x").pop().expect("it came").header("x-customer-id"), Some("1"));
    gateway.wait_log(&["identity observed", "mismatch"]);
    call(&gateway, "nonsense").expect(200);
    gateway.wait_log(&["a client has a bearer token and no session"]);
    client(&gateway, &token).post("/api/logout").expect(200);
    refused(&gateway, &token, "token_revoked");
}
