//! What calls do, what they are told when they are wrong, and what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use http::{Method, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{ALL, Admin, Then, request};
use crate::session::{Barred, EndReason};

#[tokio::test]
async fn a_session_is_made_listed_shown_and_ended() {
    let admin = Admin::new();
    let body = r#"{"tenant":"acme","user":"7","role":"boss","remember":true}"#;
    let got = admin.post("/v1/sessions", body).await;
    let location = got.headers[header::LOCATION].to_str().expect("text").to_owned();
    let made = got.expect(201);
    let line = made["set_cookie"].as_str().expect("a line");
    assert!(line.starts_with("__Host-session=") && line.ends_with("; Secure; Path=/; Max-Age=604800"), "{line}");
    assert_eq!(location, format!("/v1/sessions/{}", made["id"].as_str().expect("an id")));
    let shown = admin.get(&location).await.expect(200);
    assert_eq!((&shown["tenant"], &shown["user"], &shown["role"]), (&json!("acme"), &json!("7"), &json!("boss")));
    assert_eq!((&shown["remembered"], &shown["address"]), (&json!(true), &Value::Null));
    assert_eq!(shown["expires_at"], made["expires_at"]);
    assert_eq!(admin.get("/v1/sessions").await.expect(200), json!({"items": [shown], "next_cursor": null}));
    let open = admin.open_for(made["id"].as_str().expect("an id"));
    let ended = admin.call(Method::DELETE, &format!("{location}?reason=seen%20enough"), None).await.expect(200);
    assert_eq!(ended, json!({"invalidated_sessions": 1}));
    for method in [Method::GET, Method::DELETE] {
        let got = admin.call(method, &location, None).await;
        assert_eq!((got.problem().0, got.problem().1.as_str()), (404, "session_not_found"));
    }
    assert_eq!(open.reason(), Some(EndReason::Revoked.into()), "what was open for it is cut");
}

#[tokio::test]
async fn a_session_is_held_released_and_listed_as_what_it_is_and_each_change_is_told_with_its_words() {
    let admin = Admin::new();
    let id = admin.session("acme", "7").await;
    let path = format!("/v1/sessions/{id}");
    let shown = admin.get(&path).await.expect(200);
    assert_eq!((&shown["held"], &shown["held_at"], &shown["held_for"]), (&json!(false), &Value::Null, &Value::Null));
    let open = admin.open_for(&id);
    let words = r#"{"reason":"a laptop, lost"}"#;
    let hold = format!("{path}/hold");
    assert_eq!(admin.post(&hold, words).await.expect(200), json!({"held": true, "changed": true}));
    assert_eq!(open.reason(), Some(Barred::Held), "what was open for it is cut");
    assert_eq!(admin.post(&hold, r#"{"reason":"again"}"#).await.expect(200), json!({"held": true, "changed": false}));
    let shown = admin.get(&path).await.expect(200);
    assert_eq!((&shown["held"], &shown["held_for"]), (&json!(true), &json!("a laptop, lost")));
    assert!(shown["held_at"].is_string());
    assert_eq!(admin.get("/v1/sessions?tenant=acme").await.expect(200)["items"], json!([shown]));
    let release = format!("{path}/release");
    assert_eq!(
        admin.post(&release, r#"{"reason":"found"}"#).await.expect(200),
        json!({"held": false, "changed": true})
    );
    assert_eq!(admin.post(&release, "").await.expect(200), json!({"held": false, "changed": false}));
    for call in ["hold", "release"] {
        let got = admin.post(&format!("/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA/{call}"), "").await;
        assert_eq!((got.problem().0, got.problem().1.as_str()), (404, "session_not_found"));
    }
    let lines = admin.audit();
    let told = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let [held] = told("session.held")[..] else { panic!("told once: {lines:#?}") };
    assert_eq!(
        (&held["session_id"], &held["reason"], &held["actor"]),
        (&json!(id), &json!("a laptop, lost"), &json!("operator:admin"))
    );
    assert_eq!((&held["tenant"], &held["user"]), (&json!("acme"), &json!("7")));
    let [released] = told("session.released")[..] else { panic!("told once: {lines:#?}") };
    assert_eq!((&released["reason"], &released["details"]["held_for"]), (&json!("found"), &json!("a laptop, lost")));
}

#[tokio::test]
async fn every_change_is_on_disk_with_its_operator_and_words_when_it_is_answered() {
    let admin = Admin::new();
    let id = admin.session("acme", "7").await;
    let kept = admin.session("acme", "8").await;
    admin.session("acme", "8").await;
    let words = r#"{"reason":"ticket 5"}"#;
    admin.call(Method::DELETE, &format!("/v1/sessions/{id}?reason=ticket%205"), None).await.expect(200);
    let others = format!(r#"{{"reason":"ticket 5","except_session":"{kept}"}}"#);
    let got = admin.post("/v1/tenants/acme/users/8/revoke", &others).await.expect(200);
    assert_eq!(got, json!({"invalidated_sessions": 1}));
    let got = admin.post("/v1/tenants/acme/users/8/revoke", words).await.expect(200);
    assert_eq!(got, json!({"invalidated_sessions": 1}));
    admin.session("acme", "9").await;
    let got = admin.post("/v1/tenants/acme/revoke", words).await.expect(200);
    assert_eq!(got, json!({"invalidated_sessions": 1}));
    let body = r#"{"status":"suspended","reason":"ticket 5"}"#;
    let got = admin.call(Method::PUT, "/v1/tenants/acme", Some(body)).await.expect(200);
    assert_eq!(got, json!({"tenant": "acme", "status": "suspended", "invalidated_sessions": 0}));
    let lines = admin.audit();
    for change in lines.chunk_by(|one, next| one["request_id"] == next["request_id"]) {
        let outcomes: Vec<_> = change.iter().map(|line| line["outcome"].as_str().unwrap_or("-")).collect();
        assert!(outcomes[0] == "begun" && outcomes[1..].iter().all(|outcome| *outcome == "success"), "{change:#?}");
        assert!(change[0]["request_id"].is_string() && change.len() > 2, "{change:#?}");
    }
    let told: Vec<String> = lines
        .iter()
        .filter(|line| line["outcome"] != "begun" && line["type"] != "session.created")
        .filter(|line| line["details"]["call"] != "mint_session")
        .map(|line| {
            assert_eq!(line["actor"], "operator:admin");
            assert_eq!(line["address"], "127.0.0.1");
            let words = if line["type"] == "session.ended" || line["type"] == "tenant.changed" {
                &line["details"]["words"]
            } else {
                &line["reason"]
            };
            assert_eq!(words, "ticket 5", "{line:#}");
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let what = if line["type"] == "admin.called" { &line["details"]["call"] } else { &line["reason"] };
            format!("{} {} {} {}", text(&line["type"]), text(&line["tenant"]), text(&line["user"]), text(what))
        })
        .collect();
    assert_eq!(
        told,
        [
            "session.ended acme 7 revoked",
            "admin.called - - end_session",
            "session.ended acme 8 user_others_revoked",
            "admin.called acme 8 revoke_user",
            "session.ended acme 8 user_revoked",
            "admin.called acme 8 revoke_user",
            "session.ended acme - tenant_revoked",
            "admin.called acme - revoke_tenant",
            "tenant.changed acme - tenant_revoked",
            "session.ended acme - tenant_revoked",
            "admin.called acme - change_tenant",
        ]
    );
}

#[tokio::test]
async fn nothing_is_changed_while_the_audit_log_cannot_be_written() {
    let admin = Admin::with("", Some("/dev/full"));
    let body = r#"{"tenant":"acme","user":"7"}"#;
    // Nobody knew before the first line was tried, which is before anything is done.
    let got = admin.post("/v1/sessions", body).await;
    assert_eq!((got.problem().0, got.problem().1.as_str()), (503, "audit_unavailable"));
    assert!(got.headers.contains_key(header::RETRY_AFTER) && !got.body.contains("__Host-session"));
    assert_eq!(admin.get("/v1/sessions").await.expect(200)["items"], json!([]));
    let got = admin.call(Method::PUT, "/v1/tenants/acme", Some(r#"{"status":"deleted"}"#)).await;
    assert_eq!((got.problem().0, got.problem().1.as_str()), (503, "audit_unavailable"));
    assert_eq!(admin.get("/v1/tenants/acme").await.expect(200)["status"], "active");
}

#[tokio::test]
async fn what_was_done_and_cannot_be_written_down_is_not_called_done_but_is_known_to_have_begun() {
    let admin = Admin::with("session.max_per_user = { count = 1, action = \"revoke-oldest\" }", None);
    let open = admin.open_for(&admin.session("acme", "7").await);
    let (file, clock) = (admin.folder.path().join("audit.jsonl"), admin.clock.clone());
    let old = file.with_extension("old");
    let then = Arc::new(Then(Mutex::new(Some(Box::new({
        let old = old.clone();
        move || {
            std::fs::rename(&file, old).expect("it is there");
            std::os::unix::fs::symlink("/dev/full", file).expect("a link");
            // So that the rotation is looked for.
            clock.advance(std::time::Duration::from_secs(2));
        }
    })))));
    // The first session gives way and is cut, between the making of the second and its lines.
    assert!(open.poll(&Context::from_waker(&then.into())).is_pending());
    let got = admin.post("/v1/sessions", r#"{"tenant":"acme","user":"7"}"#).await;
    assert_eq!((got.problem().0, got.problem().1.as_str()), (503, "audit_unconfirmed"));
    assert!(!got.body.contains("__Host-session"));
    assert_eq!(admin.get("/v1/sessions").await.expect(200)["items"], json!([]), "it was taken back");
    let known = std::fs::read_to_string(old).expect("it is there");
    let last: Value = serde_json::from_str(known.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["type"], &last["outcome"]), (&json!("admin.called"), &json!("begun")));
}

#[tokio::test]
async fn a_suspended_tenant_gets_no_session_and_a_restored_one_does() {
    let admin = Admin::new();
    admin.session("acme", "7").await;
    let put = |body| admin.call(Method::PUT, "/v1/tenants/acme", Some(body));
    let got = put(r#"{"status":"deleted","reason":"gone"}"#).await.expect(200);
    assert_eq!(got["invalidated_sessions"], 1);
    let shown = admin.get("/v1/tenants/acme").await.expect(200);
    assert_eq!(
        (&shown["status"], &shown["reason"], &shown["sessions"]),
        (&json!("deleted"), &json!("gone"), &json!(0))
    );
    assert!(shown["changed_at"].is_string());
    let got = admin.post("/v1/sessions", r#"{"tenant":"acme","user":"7"}"#).await;
    assert_eq!((got.problem().0, got.problem().1.as_str()), (403, "tenant_suspended"));
    put(r#"{"status":"active"}"#).await.expect(200);
    assert_eq!(admin.get("/v1/sessions").await.expect(200)["items"], json!([]), "nothing is revived");
    // A login that began before the change would be superseded by it.
    admin.clock.advance(std::time::Duration::from_secs(1));
    admin.session("acme", "7").await;
}

#[tokio::test]
async fn a_user_has_no_more_sessions_than_the_configuration_allows() {
    let admin = Admin::with("session.max_per_user = { count = 1, action = \"deny\" }", None);
    admin.session("acme", "7").await;
    let got = admin.post("/v1/sessions", r#"{"tenant":"acme","user":"7"}"#).await;
    assert_eq!((got.problem().0, got.problem().1.as_str()), (429, "too_many_sessions"));
    assert!(got.headers.contains_key(header::RETRY_AFTER));
    let admin = Admin::with("session.max_per_user = { count = 1, action = \"revoke-oldest\" }", None);
    let (first, second) = (admin.session("acme", "7").await, admin.session("acme", "7").await);
    assert_eq!(admin.get(&format!("/v1/sessions/{first}")).await.status, 404);
    assert_eq!(admin.get(&format!("/v1/sessions/{second}")).await.status, 200);
    let ended = admin.audit().into_iter().find(|line| line["reason"] == "limit").expect("a line");
    assert_eq!((&ended["actor"], &ended["session_id"]), (&json!("gateway"), &json!(first)));
}

#[tokio::test]
async fn one_tenant_has_one_spelling() {
    let admin = Admin::with("identity.tenant_format = \"int\"", None);
    admin.session("0042", "a/b").await;
    assert_eq!(admin.get("/v1/sessions?tenant=042&user=a%2Fb").await.expect(200)["items"][0]["tenant"], "42");
    assert_eq!(admin.get("/v1/tenants/00042").await.expect(200)["tenant"], "42");
    let got = admin.post("/v1/tenants/042/users/a%2fb/revoke", "").await.expect(200);
    assert_eq!(got["invalidated_sessions"], 1);
    let got = admin.get("/v1/tenants/acme").await;
    assert_eq!(got.problem().2, "tenant: is not a decimal integer");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let admin = Admin::new();
    for tenant in ["a", "b", "c"] {
        admin.session(tenant, "7").await;
    }
    for path in ["/v1/sessions", "/v1/tenants", "/v1/audit"] {
        let whole = admin.get(path).await.expect(200);
        assert_eq!(whole["next_cursor"], Value::Null);
        let mut found = Vec::new();
        let mut next = format!("{path}?limit=1");
        loop {
            let page = admin.get(&next).await.expect(200);
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= 1);
            found.extend(items.iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{path}?limit=1&cursor={cursor}");
        }
        assert_eq!(Value::Array(found), whole["items"], "{path}");
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_named() {
    let admin = Admin::new();
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(201));
    let huge = format!("{{\"reason\":\"{}\"}}", "x".repeat(20_000));
    let revoke = "/v1/tenants/acme/revoke";
    for (method, path, body, status, says) in [
        (Method::GET, "/v1/sessions?tennant=a", None, 400, "unknown field `tennant`"),
        (Method::GET, "/v1/sessions?tenant=a&tenant=b", None, 400, "`tenant` is given twice"),
        (Method::GET, "/v1/sessions?tenant=", None, 400, "tenant: is empty"),
        (Method::GET, "/v1/sessions?user=a", None, 400, "give `tenant` too"),
        (Method::GET, "/v1/sessions?limit=0", None, 400, "limit: choose a number from 1 to 1000"),
        (Method::GET, "/v1/sessions?limit=1001", None, 400, "limit: choose"),
        (Method::GET, "/v1/sessions?limit=x", None, 400, "limit: choose"),
        (Method::GET, "/v1/sessions?cursor=x", None, 400, "cursor: is none of this list"),
        (Method::GET, "/v1/tenants?cursor=!", None, 400, "cursor: is none of this list"),
        (Method::GET, "/v1/audit?cursor=s.1.1", None, 400, "cursor: is none of this list"),
        (Method::GET, "/v1/audit?since=now", None, 400, "since: is not a time"),
        (Method::GET, "/v1/audit?type=x", None, 400, "type: is not known; choose one of session.created"),
        (Method::GET, "/v1/tenants/a?x=1", None, 400, "unknown field `x`"),
        (Method::GET, "/v1/tenants/a%2Cb", None, 400, "tenant: has a character"),
        (Method::GET, "/v1/tenants/%ff", None, 400, "not UTF-8"),
        (Method::GET, "/v1/sessions/x", None, 404, "no live session"),
        (Method::DELETE, "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA?reason=a%0Ab", None, 400, "reason: write one line"),
        (Method::POST, revoke, Some(long.as_str()), 400, "reason: write one line"),
        (Method::POST, revoke, Some(huge.as_str()), 413, "larger than 16 KiB"),
        (Method::POST, revoke, Some("{\"why\":\"x\"}"), 400, "unknown field `why`"),
        (Method::POST, revoke, Some("{\"reason\":\"a\",\"reason\":\"b\"}"), 400, "duplicate field `reason`"),
        (Method::POST, revoke, Some("{"), 400, "the body is not as it should be"),
        (Method::POST, revoke, Some("{} x"), 400, "trailing characters"),
        (Method::POST, revoke, Some("[]"), 400, "no JSON object"),
        (Method::POST, "/v1/sessions", Some("[\"a\",\"b\",null,false,null]"), 400, "no JSON object"),
        (
            Method::POST,
            "/v1/tenants/acme/users/7/revoke",
            Some("{\"except_session\":\"x\"}"),
            400,
            "except_session: is not",
        ),
        (Method::PUT, "/v1/tenants/acme", Some("{\"status\":\"frozen\"}"), 400, "unknown variant `frozen`"),
        (Method::PUT, "/v1/tenants/acme", Some("{}"), 400, "missing field `status`"),
        (Method::PUT, "/v1/tenants/acme", None, 400, "the body is not as it should be"),
        (Method::POST, "/v1/sessions", Some("{\"tenant\":1,\"user\":\"a\"}"), 400, "expected a string"),
        (Method::POST, "/v1/sessions", Some("{\"tenant\":\"a\",\"user\":\"b c\"}"), 400, "user: has a character"),
        (Method::POST, "/v1/sessions", Some("{\"tenant\":\"a\",\"user\":\"b\",\"role\":\"\"}"), 400, "role: is empty"),
    ] {
        let got = admin.call(method, path, body).await;
        let (found, _, detail) = got.problem();
        assert_eq!(found, status, "{path} {got:?}");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let mut form = request(Method::POST, revoke, Some(ALL), Some("reason=x"));
    form.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().expect("a value"));
    assert_eq!(admin.send(form).await.problem().0, 415);
    assert_eq!(admin.get("/v1/sessions").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn audit_events_are_found_by_time_tenant_user_and_type() {
    let admin = Admin::new();
    admin.session("acme", "7").await;
    admin.clock.advance(std::time::Duration::from_secs(100));
    admin.session("other", "7").await;
    admin.post("/v1/tenants/acme/revoke", "").await.expect(200);
    for (query, expected) in [
        ("", 9),
        ("?tenant=acme", 6),
        ("?tenant=acme&type=session.ended", 1),
        ("?user=7", 6),
        ("?type=admin.called", 6),
        ("?since=2023-11-14T22:14:00Z", 6),
        ("?until=2023-11-14T22:14:00Z", 3),
        ("?until=2023-11-14T23:14:00%2B01:00&tenant=acme", 3),
        ("?tenant=nobody", 0),
    ] {
        let got = admin.get(&format!("/v1/audit{query}")).await.expect(200);
        assert_eq!(got["items"].as_array().map(Vec::len), Some(expected), "{query}: {got:#}");
    }
    let all = admin.get("/v1/audit").await.expect(200)["items"].as_array().expect("items").clone();
    let (mut back, mut query) = (Vec::new(), String::from("order=newest&limit=4"));
    loop {
        let page = admin.get(&format!("/v1/audit?{query}")).await.expect(200);
        back.extend(page["items"].as_array().expect("items").iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("order=newest&limit=4&cursor={next}");
    }
    back.reverse();
    assert_eq!(back, all, "each once, the newest first");
    assert_eq!(admin.get("/v1/audit?order=best").await.problem().2, "order: choose oldest or newest");
}

#[tokio::test]
async fn the_document_is_of_openapi_3_1_and_describes_all_that_is_answered() {
    let admin = Admin::new();
    let document = admin.get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{document:#}");
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("operations").values() {
            for status in ["400", "401", "403", "429", "503"] {
                let body = &operation["responses"][status]["content"]["application/problem+json"];
                assert_eq!(body["schema"]["$ref"], "#/components/schemas/Problem", "{path} {status}");
            }
            let takes_a_body = operation.get("requestBody").is_some();
            assert_eq!(operation["responses"].get("415").is_some(), takes_a_body, "{path}");
        }
    }
}

#[tokio::test]
async fn the_document_says_of_what_names_and_cursors_are_made_wherever_they_stand() {
    let document = Admin::new().get("/openapi.json").await.expect(200);
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |name: &str, schema: &Value| {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        said.entry(name.to_owned()).or_default().insert(pattern.to_owned());
    };
    for operation in document["paths"].as_object().expect("paths").values().filter_map(Value::as_object) {
        for operation in operation.values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                note(parameter["name"].as_str().expect("a name"), &parameter["schema"]);
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = body["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
            let members = body.and_then(|name| document["components"]["schemas"][name]["properties"].as_object());
            members.into_iter().flatten().for_each(|(name, schema)| note(name, schema));
        }
    }
    for name in ["tenant", "user", "kind", "role", "cursor", "reason"] {
        let patterns = said.get(name).unwrap_or_else(|| panic!("{name} in {said:?}"));
        assert!(!patterns.contains(""), "{name}: {patterns:?}");
        // What a login names may be spelt anew (`identity.encode`); what is asked for is spelt as it is kept. Each list has
        // cursors of its own.
        let most = match name {
            "tenant" | "user" => 2,
            "cursor" => usize::MAX,
            _ => 1,
        };
        assert!(patterns.len() <= most, "{name}: {patterns:?}");
    }
}
