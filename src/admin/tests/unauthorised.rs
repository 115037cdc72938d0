//! Who may not call: every call of the OpenAPI document without a token, with a wrong one, with too weak a role.

use http::{Method, header};
use serde_json::Value;

use super::{ALL, Admin, HERE, MINT, OPERATE, READ, request, without_tokens};

/// Every call of the document: method, path with its parameters filled in, the role that it needs.
async fn calls(admin: &Admin) -> Vec<(Method, String, String)> {
    let document = admin.get("/openapi.json").await.expect(200);
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let role = operation["security"][0]["token"][0].as_str().unwrap_or_else(|| panic!("{path} needs no role"));
            let path = path.replace("{id}", "AAAAAAAAAAAAAAAAAAAAAA").replace("{tenant}", "a").replace("{user}", "b");
            assert!(!path.contains('{'), "{path}");
            calls.push((method, path, role.to_owned()));
        }
    }
    calls
}

#[tokio::test]
async fn no_documented_call_is_answered_without_the_right_token_and_role() {
    let admin = Admin::new();
    let calls = calls(&admin).await;
    assert_eq!(calls.len(), 24, "{calls:?}");
    for (number, (method, path, role)) in (0_u8..).zip(calls) {
        // Each from an address of its own: failures are counted.
        let from = std::net::IpAddr::from([192, 0, 2, number]);
        for wrong in [None, Some("wrong"), Some("")] {
            let got = admin.send_from(from, request(method.clone(), &path, wrong, None)).await;
            assert_eq!(got.problem().1, "unauthorized", "{method} {path}");
            assert_eq!(
                (got.status, &got.headers[header::WWW_AUTHENTICATE]),
                (401, &"Bearer".parse().expect("a value"))
            );
        }
        let tokens = [("read", READ), ("operate", OPERATE), ("mint", MINT)];
        for (_, weak) in tokens.into_iter().filter(|(has, _)| *has != role) {
            let got = admin.send(request(method.clone(), &path, Some(weak), None)).await;
            assert_eq!((got.status, got.problem().1.as_str()), (403, "forbidden_role"), "{method} {path}");
        }
        let (_, right) = tokens.into_iter().find(|(has, _)| *has == role).expect("a known role");
        let got = admin.send(request(method.clone(), &path, Some(right), None)).await;
        assert!(![401, 403].contains(&got.status), "{method} {path}: {got:?}");
    }
}

#[tokio::test]
async fn without_any_token_there_is_no_call_and_no_document() {
    let admin = Admin::new();
    let calls = calls(&admin).await;
    *admin.traffic.config.lock() = without_tokens();
    for (method, path, _) in calls {
        for other in [method, Method::PATCH] {
            let got = admin.send(request(other, &path, Some(ALL), None)).await;
            assert_eq!(got.problem().0, 404, "{path}");
            assert!(!got.headers.contains_key(header::ALLOW));
        }
    }
    assert_eq!(admin.send(request(Method::GET, "/metrics", None, None)).await.status, 200);
}

#[tokio::test]
async fn who_keeps_guessing_waits_and_a_right_token_never_does() {
    let admin = Admin::new();
    let guess = || admin.send(request(Method::GET, "/v1/tenants", Some("guess"), None));
    for _ in 0..20 {
        assert_eq!(guess().await.status, 401);
    }
    let got = guess().await;
    assert_eq!((got.problem().1.as_str(), got.headers[header::RETRY_AFTER].as_bytes()), ("rate_limited", &b"60"[..]));
    assert_eq!(admin.get("/v1/tenants").await.status, 200, "a right token from the same address");
    admin.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(guess().await.status, 401);
}

#[tokio::test]
async fn guesses_are_counted_in_the_audit_log_and_a_weak_role_is_named() {
    let admin = Admin::new();
    for _ in 0..5 {
        admin.send(request(Method::GET, "/v1/tenants", Some("guess"), None)).await;
    }
    admin.send(request(Method::DELETE, "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", Some(READ), None)).await;
    assert!(admin.state.services.audit.shutdown(std::time::Duration::from_secs(60)));
    let lines = admin.audit();
    let counts: Vec<&Value> =
        lines.iter().filter(|line| line["reason"] == "unauthorized").map(|line| &line["details"]["count"]).collect();
    assert_eq!(counts, [1, 4], "{lines:#?}");
    let denied = lines.iter().find(|line| line["reason"] == "forbidden_role").expect("a line");
    assert_eq!((&denied["actor"], &denied["outcome"]), (&"operator:reader".into(), &"denied".into()));
    assert_eq!(denied["details"]["method"], "DELETE");
    assert_eq!(denied["address"], HERE.to_string());
}

#[tokio::test]
async fn a_token_that_a_reload_took_away_is_wrong_from_then_on() {
    let admin = Admin::new();
    assert_eq!(admin.get("/v1/tenants").await.status, 200);
    let mut config = (*super::config("")).clone();
    config.admin.tokens.retain(|token| &*token.name != "admin");
    *admin.traffic.config.lock() = std::sync::Arc::new(config);
    assert_eq!(admin.get("/v1/tenants").await.status, 401);
}
