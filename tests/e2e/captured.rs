//! The tokens that an app hands out at a login, kept for the session (docs/behaviour.md, "Captured tokens").

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::issuer::believing;
use crate::support::{
    Browser, Gate, Gateway, Issuer, RedisServer, SESSION_COOKIE, Step, Store, answer, answer_json, echo, gateway,
    let_pass, poll, wait_until,
};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const NEXT_KEY: &str = "x9HsVbEd8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiK";
const OPERATOR: &str = "an operator's token of more than 32 bytes";
const REFRESH: &str = "refresh = { path = \"/auth/refresh\", before = \"1s\" }\nrefresh_token = \"/refresh_token\"\n";

/// Captures what this backend hands out.
fn capturing(store: Store, backend: &Echo, login: &str) -> Builder {
    gateway(store)
        .with_backend(backend)
        .without("login")
        .set("secrets.key", KEY)
        .set("admin.token", OPERATOR)
        .settings(&format!("[login]\ncapture = \"jwt\"\n{login}"))
}

/// Logs in; the app answers this.
fn log_in(gateway: &Gateway, answer: &Value) -> Browser {
    let mut browser = gateway.browser();
    browser.post_json("/api/login", &json!({ "answer": answer })).expect(200);
    assert!(browser.has_session_cookie());
    browser
}

/// What the app got as `Authorization` of the last request for this path.
fn sent(backend: &Echo, path: &str) -> Option<String> {
    backend.seen_at(path).last().expect("it came").header("authorization").map(str::to_owned)
}

fn bearer(token: &str) -> Option<String> {
    Some(format!("Bearer {token}"))
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("a signature")
}

/// Seconds from now on.
fn in_seconds(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

on_both_stores!(the_browser_has_a_cookie_and_a_placeholder_and_the_app_gets_its_token, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(store, &backend, "").start();
    let token = app.token(&json!({}));
    let mut browser = gateway.browser();
    let said = browser.post_json("/api/login", &json!({"answer": {"access_token": token, "n": 1.50}})).expect(200);
    let shown = said.at("/access_token");
    assert_eq!(shown.rsplit_once('.').map(|(input, _)| input), token.rsplit_once('.').map(|(input, _)| input));
    assert_ne!(shown, token);
    assert!(!said.text().contains(signature(&token)));
    // Whatever the front end sends.
    for authorization in [None, Some(format!("Bearer {shown}")), Some("Basic eDp5".to_owned())] {
        let mut request = browser.request("GET", "/x");
        if let Some(value) = &authorization {
            request = request.header("Authorization", value);
        }
        request.send().expect(200);
        assert_eq!(sent(&backend, "/x"), bearer(&token), "{authorization:?}");
        let seen = backend.seen_at("/x").pop().expect("it came");
        assert_eq!((seen.header("x-customer-id"), seen.header("x-user-id")), (Some("42"), Some("7")));
        assert_eq!(seen.headers.all("authorization").len(), 1);
    }
    let status = browser.get("/api/session/status").expect(200).json();
    assert_eq!((&status["user"], &status["tenant"]), (&json!("7"), &json!("42")));
});

on_both_stores!(the_token_goes_nowhere_without_a_session_nor_what_stands_for_it, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let routes = "[[routes]]\nmatch = \"/open\"\nauth = \"public\"\n[[routes]]\nmatch = \"/maybe\"\nauth = \"optional\"\n\
         [[routes]]\nmatch = \"/elsewhere\"\nauthorization = \"drop\"\n";
    let gateway = capturing(store, &backend, "").settings(routes).start();
    let token = app.token(&json!({}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    let shown = format!(
        "{}.{}",
        token.rsplit_once('.').expect("parts").0,
        "placeholder_of_the_session_gateway__this_signature_is_of_nobody_"
    );
    let with = |browser: &mut Browser, path: &str, value: &str| {
        browser.request("GET", path).header("Authorization", value).send().expect(200);
        sent(&backend, path)
    };
    browser.get("/open").expect(200);
    assert_eq!(sent(&backend, "/open"), None, "not on a public route");
    assert_eq!(with(&mut browser, "/open", &format!("Bearer {shown}")), None, "what stands for it is of no use there");
    assert_eq!(with(&mut browser, "/open", "Bearer another"), bearer("another"), "what is the client's own is its own");
    let mut nobody = gateway.browser();
    nobody.get("/maybe").expect(200);
    assert_eq!(sent(&backend, "/maybe"), None);
    assert_eq!(with(&mut nobody, "/maybe", &format!("Bearer {shown}")), None);
    assert_eq!(with(&mut nobody, "/maybe", &format!("Bearer {token}")), None, "nobody has verified it");
    nobody.request("GET", "/x").header("Authorization", &format!("Bearer {token}")).send().expect(401);
    assert_eq!(with(&mut browser, "/maybe", "Bearer another"), bearer(&token), "with the session it is the session's");
    assert_eq!(with(&mut browser, "/elsewhere", "Bearer another"), None, "what is to have none has none");
    assert!(backend.seen_at("/x").is_empty());
});

#[test]
fn the_real_token_is_in_no_answer_cookie_log_audit_line_or_dump() {
    let redis = RedisServer::start();
    for store in [Store::on(&redis), Store::Embedded] {
        let (backend, app) = (echo(), Issuer::new("k"));
        backend.on("/x", vec![answer_json(&json!({"done": true}))]);
        let in_redis = matches!(store, Store::Redis { .. });
        let mut gateway = capturing(store, &backend, REFRESH).set("telemetry.level", "debug").start();
        let (token, refresh) = (app.token(&json!({})), app.token(&json!({"type": "refresh"})));
        let mut browser = gateway.browser();
        let wish = json!({
            "answer": {
                "access_token": token, "refresh_token": refresh, "again": {"list": [token]},
                "hint": format!("Bearer {token}"),
            },
            "headers": {"Set-Cookie": format!("access={token}; Path=/"), "X-Token": refresh, "Authorization": format!("Bearer {token}")},
        });
        let said = browser.post_json("/api/login", &wish).expect(200);
        let mut heard = format!("{:?}\n{}", said.headers, said.text());
        for path in ["/x", "/api/session/status"] {
            let said = browser.get(path).expect(200);
            heard.push_str(&format!("{:?}\n{}", said.headers, said.text()));
        }
        let said = browser.post("/auth/refresh").expect(200);
        heard.push_str(&said.text());
        heard.push_str(&gateway.admin_get("/metrics").text());
        let mut operator = gateway.operator(OPERATOR);
        heard.push_str(&operator.get("/v1/sessions?tenant=42").expect(200).text());
        if in_redis {
            redis.command(&["SAVE"]);
            let mut dump = 0;
            for key in redis.keys() {
                let bytes = redis.command(&["--no-raw", "DUMP", &key]);
                dump += usize::from(key.contains(":k:{"));
                heard.push_str(&bytes);
            }
            assert_eq!(dump, 1, "the sealed token is there");
        }
        browser.post("/api/logout").expect(200);
        gateway.terminate();
        let _ = gateway.process();
        heard.push_str(&gateway.log().join("\n"));
        let mut files = 0;
        for file in std::fs::read_dir(gateway.directory()).expect("the directory") {
            let path = file.expect("a file").path();
            if path.is_file() {
                let bytes = std::fs::read(&path).expect("readable");
                files += 1;
                for secret in [signature(&token), signature(&refresh)] {
                    let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                    assert!(!found, "{} has it", path.display());
                }
            }
        }
        assert!(files > 1, "the audit log and a store or a journal");
        for secret in [signature(&token), signature(&refresh)] {
            assert!(!heard.contains(secret), "it was heard of: {heard}");
        }
        assert_eq!(backend.seen_at("/x").len(), 1);
    }
}

on_both_stores!(a_logout_says_who_leaves_and_then_nothing_is_left, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(store, &backend, "").start();
    let token = app.token(&json!({}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    let mut copy = browser.clone();
    browser.post("/api/logout").expect(200);
    assert_eq!(sent(&backend, "/api/logout"), bearer(&token), "the app is told by its own token");
    copy.get("/x").expect_refusal(401, "session_revoked");
    assert!(backend.seen_at("/x").is_empty());
});

#[test]
fn with_a_session_its_sealed_token_goes_from_the_store() {
    let redis = RedisServer::start();
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(Store::on(&redis), &backend, "").set("session.max_per_user", "off").start();
    let sealed = || redis.keys().iter().filter(|key| key.contains(":k:{")).count();
    let log_in = || log_in(&gateway, &json!({"access_token": app.token(&json!({}))}));
    let (mut one, _two, mut three) = (log_in(), log_in(), log_in());
    assert_eq!(sealed(), 3);
    one.post("/api/logout").expect(200);
    assert_eq!(sealed(), 2, "logged out");
    three.post_json("/api/login", &json!({"answer": {"access_token": app.token(&json!({}))}})).expect(200);
    assert_eq!(sealed(), 2, "replaced");
    three.post("/api/auth/revoke-all-tokens").expect(200);
    wait_until("all of them are gone", || (sealed() == 0).then_some(()));
}

on_both_stores!(claims_come_first_and_then_the_answer_and_what_is_no_jwt_has_the_answer_alone, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(store, &backend, "token = [\"/access\"]\nrefresh_token = \"/refresh\"\n").start();
    for (row, answer, expected) in [
        ("claims alone", json!({"access": app.token(&json!({})), "refresh": "an-opaque-refresh-token"}), "42/7"),
        ("both", json!({"access": app.token(&json!({})), "org_id": 77, "sub": "9"}), "42/7"),
        ("the tenant in the answer", json!({"access": app.token(&json!({"org_id": null})), "org_id": 77}), "77/7"),
        ("no JWT", json!({"access": "an-opaque-access-token", "org_id": 77, "sub": 9}), "77/9"),
    ] {
        let mut browser = log_in(&gateway, &answer);
        browser.get("/x").expect(200);
        let seen = backend.seen_at("/x").pop().expect("it came");
        let who =
            format!("{}/{}", seen.header("x-customer-id").unwrap_or("-"), seen.header("x-user-id").unwrap_or("-"));
        assert_eq!(who, expected, "{row}");
        assert_eq!(sent(&backend, "/x"), bearer(answer["access"].as_str().expect("a token")), "{row}");
    }
});

#[test]
fn a_token_of_no_use_makes_no_session_and_is_not_passed_on() {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(Store::Embedded, &backend, "max_token = \"1KiB\"\n").start();
    for (row, token) in [
        ("over", app.token(&json!({"exp": in_seconds(-1)}))),
        ("a refresh token", app.token(&json!({"type": "refresh"}))),
        ("too long", app.token(&json!({"x": "x".repeat(1000)}))),
        ("it names nobody", app.token(&json!({"sub": null}))),
        ("it names no tenant", app.token(&json!({"org_id": null}))),
        ("a user that no header holds", app.token(&json!({"sub": "a b"}))),
    ] {
        let mut browser = gateway.browser();
        let said = browser.post_json("/api/login", &json!({"answer": {"access_token": token}}));
        let said = said.expect_refusal(502, "bad_identity");
        assert!(!browser.has_session_cookie() && !said.text().contains(signature(&token)), "{row}");
    }
    // Nobody has come in yet.
    let mut browser = gateway.browser();
    browser.post_json("/api/login", &json!({"answer": {"mfa_required": true, "access_token": "x"}})).expect(200);
    browser.post_json("/api/login", &json!({"answer": {"step": 2}})).expect(200);
    assert!(!browser.has_session_cookie());
}

#[test]
fn the_line_that_gunicorn_would_refuse_is_warned_of() {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(Store::Embedded, &backend, "max_token = \"12KiB\"\n").start();
    let token = app.token(&json!({"x": "x".repeat(6200)}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    gateway.wait_log(&["longer than gunicorn reads"]);
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&token));
}

on_both_stores!(nothing_is_left_of_a_token_that_is_to_be_removed, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(store, &backend, "answer = \"remove\"\n").start();
    let token = app.token(&json!({}));
    let mut browser = gateway.browser();
    let wish = json!({
        "answer": {"access_token": token, "refresh_token": "an-opaque-refresh-token", "name": "Alice"},
        "headers": {"X-Token": token},
    });
    let said = browser.post_json("/api/login", &wish).expect(200);
    assert_eq!(said.json(), json!({"name": "Alice"}));
    assert!(!said.headers.has("x-token"));
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&token));
});

on_both_stores!(a_token_that_its_browser_keeps_is_denied_with_the_session, |store| {
    let (backend, app) = (echo(), Issuer::new("k1"));
    Issuer::publish(&backend, &[&app]);
    let gateway = capturing(store, &backend, "answer = \"keep\"\n").settings(&believing(&backend)).start();
    gateway.wait_log(&["the keys of an issuer of tokens are others"]);
    let token = app.token(&json!({}));
    let mut browser = gateway.browser();
    let said = browser.post_json("/api/login", &json!({"answer": {"access_token": token}})).expect(200);
    assert_eq!(said.at("/access_token"), token);
    let mut alone = gateway.browser().with_header("Authorization", &format!("Bearer {token}"));
    alone.get("/x").expect(200);
    browser.post("/api/logout").expect(200);
    alone.get("/x").expect_refusal(401, "token_revoked");
    gateway.wait_audit("token.revoked", |event| event["reason"] == "logout" && event["user"] == "7");
});

on_both_stores!(a_token_is_of_no_use_while_its_session_is_held_neither_through_it_nor_beside_it, |store| {
    let (backend, app) = (echo(), Issuer::new("k1"));
    Issuer::publish(&backend, &[&app]);
    let open = "[[routes]]\nmatch = \"/shop\"\nauth = \"optional\"\n";
    let login = "answer = \"keep\"\n";
    let gateway = capturing(store, &backend, login).settings(&believing(&backend)).settings(open).start();
    gateway.wait_log(&["the keys of an issuer of tokens are others"]);
    let token = app.token(&json!({}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    let mut alone = gateway.browser().with_header("Authorization", &format!("Bearer {token}"));
    alone.get("/x").expect(200);
    let mut operator = gateway.operator(OPERATOR);
    let listed = operator.get("/v1/sessions").expect(200).json();
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    operator.post(&format!("/v1/sessions/{id}/hold")).expect(200);
    browser.get("/x").expect_refusal(401, "reauth_required");
    browser.get("/shop").expect(200);
    assert_eq!(sent(&backend, "/shop"), None);
    alone.get("/x").expect_refusal(401, "token_revoked");
    browser.clone().post("/api/logout");
    let mut browser = log_in(&gateway, &json!({"access_token": app.token(&json!({"jti": "another"}))}));
    // An access token of its own cannot be held, and the answer says that there is no such session.
    assert_eq!(operator.post("/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA/hold").status, 404);
    browser.get("/x").expect(200);
    // Released, it goes on with its token; what the browser was left stays denied.
    let listed = operator.get("/v1/sessions").expect(200).json();
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    operator.post(&format!("/v1/sessions/{id}/hold")).expect(200);
    operator.post(&format!("/v1/sessions/{id}/release")).expect(200);
    browser.get("/x").expect(200);
    assert!(sent(&backend, "/x").is_some_and(|sent| sent.starts_with("Bearer ")));
});

#[test]
fn a_token_of_an_issuer_that_is_known_is_verified_and_one_of_another_is_trusted_as_the_answer_is() {
    let (backend, app, forger) = (echo(), Issuer::new("k1"), Issuer::new("k1"));
    Issuer::publish(&backend, &[&app]);
    let gateway = capturing(Store::Embedded, &backend, "").settings(&believing(&backend)).start();
    gateway.wait_log(&["the keys of an issuer of tokens are others"]);
    log_in(&gateway, &json!({"access_token": app.token(&json!({}))}));
    log_in(&gateway, &json!({"access_token": forger.token(&json!({"iss": "https://elsewhere.test/"}))}));
    log_in(&gateway, &json!({"access_token": "an-opaque-access-token", "org_id": 1, "sub": 2}));
    for token in [forger.token(&json!({})), app.token(&json!({"aud": "another"}))] {
        let mut browser = gateway.browser();
        browser
            .post_json("/api/login", &json!({"answer": {"access_token": token}}))
            .expect_refusal(502, "bad_identity");
    }
    // A mobile client of the same app goes on by itself; what stands for a token is none.
    let token = app.token(&json!({}));
    let mut client = gateway.browser().with_header("Authorization", &format!("Bearer {token}"));
    client.get("/x").expect(200);
    let shown = log_in(&gateway, &json!({"access_token": token}));
    let shown = shown.clone().post_json("/api/login", &json!({"answer": {"access_token": token}})).at("/access_token");
    let mut left = gateway.browser().with_header("Authorization", &format!("Bearer {shown}"));
    left.get("/x").expect_refusal(401, "session_required");
}

on_both_stores!(without_a_refresh_token_the_session_is_over_with_its_token, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = capturing(store, &backend, "").start();
    let token = app.token(&json!({"exp": in_seconds(2)}));
    let mut browser = log_in(&gateway, &json!({"access_token": token, "refresh_token": "an-opaque-refresh-token"}));
    browser.get("/x").expect(200);
    let refused = wait_until("it is over", || {
        let said = browser.get("/x");
        (said.status != 200).then_some(said)
    });
    refused.expect_refusal(401, "session_expired");
});

on_both_stores!(an_upgrade_and_an_event_carry_the_token_too, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let events = "[[events]]\nmatch = \"POST /password\"\naction = \"revoke-other-sessions\"\n";
    let gateway = capturing(store, &backend, "").settings(events).start();
    let token = app.token(&json!({}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    browser.post("/password").expect(200);
    assert_eq!(sent(&backend, "/password"), bearer(&token));
    let origin = format!("http://{}", gateway.address());
    let upgrade = browser.request("GET", "/socket").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let upgrade = upgrade.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    upgrade.header("Origin", &origin).header("Authorization", "Bearer mine").send();
    assert_eq!(sent(&backend, "/socket"), bearer(&token));
});

on_both_stores!(a_switch_of_tenants_goes_on_with_the_token_that_the_app_hands_out_for_it, |store| {
    let (backend, app) = (echo(), Issuer::new("k"));
    let events = "[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n";
    let gateway = capturing(store, &backend, "").settings(events).start();
    let (first, second) = (app.token(&json!({})), app.token(&json!({"org_id": "77"})));
    let mut browser = log_in(&gateway, &json!({"access_token": first}));
    let old = browser.clone();
    let order =
        [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77"), ("Content-Type", "application/json")];
    backend.on("/switch", vec![answer("200 OK", &order, json!({"access_token": second}).to_string())]);
    let said = browser.post("/switch").expect(200);
    assert!(!said.text().contains(signature(&second)), "{}", said.text());
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&second));
    assert_eq!(backend.seen_at("/x").pop().expect("it").header("x-customer-id"), Some("77"));
    old.clone().get("/y").expect(200);
    assert_eq!(sent(&backend, "/y"), bearer(&first), "in its moment the session of before has its own");
    // With a token of another tenant the app would answer for that one.
    backend.on("/switch", vec![answer("200 OK", &[order[0], ("X-Session-Tenant", "99")], "{}")]);
    browser.post("/switch").expect_refusal(502, "bad_identity");
    browser.get("/x").expect(200);
    assert_eq!(backend.seen_at("/x").pop().expect("it").header("x-customer-id"), Some("77"));
});

#[test]
fn a_key_is_changed_without_logging_anybody_out() {
    let (backend, app) = (echo(), Issuer::new("k"));
    let mut gateway = capturing(Store::Embedded, &backend, "").start();
    let token = app.token(&json!({}));
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    std::fs::write(gateway.file("old.key"), KEY).expect("written");
    gateway.change("secrets.previous_files", vec!["old.key"]);
    gateway.restart_with("secrets.key", NEXT_KEY);
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&token));
    // Without the key of before nobody can open it, and nobody is logged out for that.
    gateway.change("secrets.previous_files", Vec::<String>::new());
    gateway.restart_with("secrets.key", NEXT_KEY);
    browser.get("/x").expect_refusal(503, "token_unavailable");
    gateway.wait_log(&["cannot be opened"]);
    log_in(&gateway, &json!({"access_token": token}));
}

on_both_stores!(whoami_is_asked_with_the_token, |store| {
    let (backend, _) = (echo(), ());
    let whoami = "whoami = { path = \"/me\", tenant = \"/org/id\", user = \"/id\", bearer = true }\n";
    let gateway = capturing(store, &backend, whoami).start();
    backend.on("/me", vec![answer_json(&json!({"id": 7, "org": {"id": 42}}))]);
    let token = "an-opaque-access-token";
    let mut browser = log_in(&gateway, &json!({"access_token": token}));
    assert_eq!(sent(&backend, "/me"), bearer(token));
    browser.get("/x").expect(200);
    assert_eq!(
        (sent(&backend, "/x"), backend.last().header("x-customer-id").map(str::to_owned)),
        (bearer(token), Some("42".into()))
    );
    backend.on("/me", vec![answer("401 Unauthorized", &[], "{}")]);
    let mut browser = gateway.browser();
    let said = browser.post_json("/api/login", &json!({"answer": {"access_token": "another-opaque-token"}}));
    said.expect_refusal(502, "bad_identity");
});

/// An app whose refresh tokens are good once: it counts what is presented, and what was presented twice.
fn rotating(backend: &Echo, app: &'static Issuer, life: i64, thinks: Duration) {
    let used = std::sync::Mutex::new(HashSet::new());
    backend.on_call("/auth/refresh", move |seen| {
        let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
        let presented = body["refresh"].as_str().expect("a refresh token").to_owned();
        let number: u64 = presented.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number");
        let first = used.lock().expect("nobody panics").insert(presented);
        let said = if first {
            let token = app.token(&json!({"exp": in_seconds(life), "jti": number + 1}));
            answer_json(&json!({"access_token": token, "refresh_token": format!("an-opaque-refresh-{}", number + 1)}))
        } else {
            answer("401 Unauthorized", &[], "{}")
        };
        vec![Step::Pause(thinks), said]
    });
}

fn issuer() -> &'static Issuer {
    Box::leak(Box::new(Issuer::new("k")))
}

on_both_stores!(a_token_is_refreshed_before_it_is_over_and_the_front_end_gets_what_stands_for_the_new_one, |store| {
    let (backend, app) = (echo(), issuer());
    rotating(&backend, app, 600, Duration::ZERO);
    let gateway = capturing(store, &backend, REFRESH).start();
    let token = app.token(&json!({"exp": in_seconds(3)}));
    let mut browser = log_in(&gateway, &json!({"access_token": token, "refresh_token": "an-opaque-refresh-1"}));
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&token));
    assert!(backend.seen_at("/auth/refresh").is_empty(), "not in its first half");
    let another = wait_until("it is refreshed", || {
        browser.get("/x").expect(200);
        sent(&backend, "/x").filter(|sent| *sent != bearer(&token).expect("one"))
    });
    let seen = backend.seen_at("/auth/refresh").pop().expect("it came");
    assert_eq!((seen.method.as_str(), seen.header("authorization"), seen.header("x-user-id")), ("POST", None, None));
    let said = browser.post("/auth/refresh").expect(200);
    let (shown, real) = (said.at("/access_token"), another.strip_prefix("Bearer ").expect("a token"));
    assert_eq!(shown.rsplit_once('.').expect("parts").0, real.rsplit_once('.').expect("parts").0);
    assert!(!said.text().contains(signature(real)) && !said.text().contains("an-opaque-refresh"), "{}", said.text());
    assert_eq!(backend.seen_at("/auth/refresh").len(), 1, "the gateway answers");
    assert!(gateway.metric("token_refreshes_total", "{outcome=\"refreshed\"}") >= 1.0);
});

on_both_stores!(an_app_that_refuses_to_refresh_ends_the_session, |store| {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden"] {
        let (backend, app) = (echo(), issuer());
        backend.on("/auth/refresh", vec![answer(status, &[], "{}")]);
        let gateway = capturing(store.clone(), &backend, REFRESH).start();
        let answer =
            json!({"access_token": app.token(&json!({"exp": in_seconds(2)})), "refresh_token": "an-opaque-refresh-1"});
        let mut browser = log_in(&gateway, &answer);
        let refused = wait_until("it is over", || {
            let said = browser.get("/x");
            (said.status != 200).then_some(said)
        });
        refused.expect_refusal(401, "session_revoked");
        gateway.wait_audit("session.ended", |event| event["reason"] == "token_refused");
        assert_eq!(backend.seen_at("/auth/refresh").len(), 1, "{status}");
    }
});

on_both_stores!(an_app_that_is_unwell_keeps_the_session_and_after_the_token_is_over_it_is_503, |store| {
    let (backend, app) = (echo(), issuer());
    let gateway = capturing(store, &backend, REFRESH).start();
    for unwell in [
        answer("500 Internal Server Error", &[], "{}"),
        answer("404 Not Found", &[], "{}"),
        answer("302 Found", &[("Location", "/elsewhere")], ""),
        answer("200 OK", &[], "<html>"),
        answer_json(&json!({"ok": true})),
        answer_json(&json!({"access_token": app.token(&json!({"sub": "8"}))})),
        answer_json(&json!({"access_token": app.token(&json!({"org_id": "77"}))})),
        Step::Close,
    ] {
        backend.on("/auth/refresh", vec![unwell]);
        let answer =
            json!({"access_token": app.token(&json!({"exp": in_seconds(2)})), "refresh_token": "an-opaque-refresh-1"});
        let mut browser = log_in(&gateway, &answer);
        let refused = wait_until("it is over", || {
            let said = browser.get("/x");
            (said.status != 200).then_some(said)
        });
        let refused = refused.expect_refusal(503, "token_unavailable");
        assert!(refused.headers.has("retry-after") && refused.set_cookie(SESSION_COOKIE).is_none());
        browser.get("/api/session/status").expect(200);
        // Well again.
        let token = app.token(&json!({}));
        backend.on("/auth/refresh", vec![answer_json(&json!({"access_token": token}))]);
        wait_until("it goes on", || (browser.get("/x").status == 200).then_some(()));
        assert_eq!(sent(&backend, "/x"), bearer(&token));
    }
    assert!(backend.seen_at("/elsewhere").is_empty(), "redirects are not followed");
});

#[test]
fn two_gateways_present_a_refresh_token_once_although_the_app_thinks_for_longer_than_a_turn_lasts() {
    // oauth2-proxy#1992: a refresh that was slower than its lock was begun again by the next instance.
    let redis = RedisServer::start();
    let (backend, app) = (echo(), issuer());
    rotating(&backend, app, 600, Duration::from_secs(17));
    let store = Store::on(&redis);
    // Due at half of its life, so that what is begun then is under way for long when it is over.
    let refresh = REFRESH.replace("\"1s\"", "\"9s\"");
    let gateways = [capturing(store.clone(), &backend, &refresh).start(), capturing(store, &backend, &refresh).start()];
    let over = in_seconds(18);
    let token = app.token(&json!({ "exp": over }));
    let browser = log_in(&gateways[0], &json!({"access_token": token, "refresh_token": "an-opaque-refresh-1"}));
    let browsers = gateways.each_ref().map(|gateway| browser.at(gateway.address()));
    let call = |browser: &Browser| {
        let mut browser = browser.clone();
        let took = Instant::now();
        let status = browser.get("/x").status;
        (status, took.elapsed())
    };
    // While the old one is good, nobody waits.
    let begun = poll(Duration::from_secs(20), || {
        for browser in &browsers {
            let (status, took) = call(browser);
            assert!(status == 200 && took < Duration::from_secs(3), "{status} {took:?}");
        }
        (!backend.seen_at("/auth/refresh").is_empty()).then_some(())
    });
    assert!(begun.is_some(), "it is refreshed at half of its life");
    while in_seconds(0) <= over {
        let_pass(Duration::from_millis(100));
    }
    // It is over by now: all wait, and all go on.
    std::thread::scope(|scope| {
        let browsers = &browsers;
        let waiting: Vec<_> = (0..50).map(|number| scope.spawn(move || call(&browsers[number % 2]))).collect();
        for waiting in waiting {
            let (status, took) = waiting.join().expect("no panic");
            assert!(status == 200 && took > Duration::from_secs(1), "{status} {took:?}");
        }
    });
    assert_eq!(backend.seen_at("/auth/refresh").len(), 1, "it was presented once");
    for browser in browsers {
        browser.clone().get("/api/session/status").expect(200);
    }
}

#[test]
fn what_is_got_for_a_session_that_ended_meanwhile_is_kept_for_nobody() {
    let redis = RedisServer::start();
    let (backend, app) = (echo(), issuer());
    let gate = Gate::closed();
    let token = app.token(&json!({"jti": "the new one"}));
    backend.on("/auth/refresh", vec![Step::Await(gate.clone()), answer_json(&json!({"access_token": token}))]);
    let gateway = capturing(Store::on(&redis), &backend, REFRESH).start();
    let old =
        json!({"access_token": app.token(&json!({"exp": in_seconds(2)})), "refresh_token": "an-opaque-refresh-1"});
    let mut browser = log_in(&gateway, &old);
    wait_until("it is being refreshed", || {
        browser.get("/x");
        (!backend.seen_at("/auth/refresh").is_empty()).then_some(())
    });
    let copy = browser.clone();
    // Another user logs in at the same browser.
    let theirs = app.token(&json!({"sub": "8"}));
    browser.post_json("/api/login", &json!({"answer": {"access_token": theirs}})).expect(200);
    gate.open();
    copy.clone().get("/x").expect_refusal(401, "session_revoked");
    let_pass(Duration::from_millis(300));
    let sealed = redis.keys().iter().filter(|key| key.contains(":k:{")).count();
    assert_eq!(sealed, 1, "the new session's alone");
    browser.get("/x").expect(200);
    assert_eq!(sent(&backend, "/x"), bearer(&theirs));
}

on_both_stores!(a_refresh_token_may_go_as_bearer, |store| {
    let (backend, app) = (echo(), issuer());
    let token = app.token(&json!({}));
    backend.on("/auth/refresh", vec![answer_json(&json!({"access_token": token}))]);
    let refresh = REFRESH.replace("before", "send = \"bearer\", before");
    let gateway = capturing(store, &backend, &refresh).start();
    let old =
        json!({"access_token": app.token(&json!({"exp": in_seconds(2)})), "refresh_token": "an-opaque-refresh-1"});
    let mut browser = log_in(&gateway, &old);
    wait_until("it is refreshed", || {
        browser.get("/x").expect(200);
        (sent(&backend, "/x") == bearer(&token)).then_some(())
    });
    let seen = backend.seen_at("/auth/refresh").pop().expect("it came");
    assert_eq!((seen.header("authorization"), seen.body.len()), (Some("Bearer an-opaque-refresh-1"), 0));
});
