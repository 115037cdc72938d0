//! The endpoints for the app's own front end: a user's sessions, what was found in them, and who may see and end those of
//! others (docs/behaviour.md, "For the app's own pages").

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::chromium::Chromium;
use crate::support::gateway::Builder;
use crate::support::http::Response;
use crate::support::logins::identity;
use crate::support::{Browser, Gateway, SESSION_COOKIE, Store, answer, echo, gateway, let_pass, wait_until};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const KEY: &str = "kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s";
const LIST: &str = "/api/sessions";
const ANOMALIES: &str = "/api/sessions/anomalies";
const TERMINATE: &str = "/api/sessions/terminate";
const REPORT: &str = "/api/sessions/security-report";
const CALLS: &str = "SUSPICIOUS_RAPID_API_CALLS";

fn watched(store: Store) -> Builder {
    gateway(store)
        .set("monitor.mode", "observe")
        .set("monitor.admin_roles", vec!["boss"])
        .set("monitor.calls", toml::Table::from_iter([(String::from("count"), 2.into())]))
        .set("secrets.key", KEY)
        .set("admin.token", TOKEN)
        .set("login.role", vec!["/user/role"])
}

fn sessions(browser: &mut Browser) -> Vec<Value> {
    browser.get(LIST).expect(200).json()["sessions"].as_array().expect("a list").clone()
}

/// The browser's own session, as its page knows it.
fn own(browser: &mut Browser) -> String {
    let all = sessions(browser);
    let own = all.iter().find(|session| session["current"] == true).unwrap_or_else(|| panic!("{all:?}"));
    own["id"].as_str().expect("an id").to_owned()
}

fn terminate(browser: &mut Browser, id: &str) -> Response {
    browser.post_json(TERMINATE, &json!({"session_id": id, "reason": "SECURITY_ANOMALY", "notify_user": true}))
}

fn anomalies(browser: &mut Browser, query: &str) -> Vec<Value> {
    browser.get(&format!("{ANOMALIES}{query}")).expect(200).json()["anomalies"].as_array().expect("a list").clone()
}

/// Has something be found in the session of this browser.
fn call_too_often(browser: &mut Browser) {
    for _ in 0..3 {
        browser.get("/api/x").expect(200);
    }
}

fn found(gateway: &Gateway, count: usize) {
    wait_until("what was found is kept", || {
        let kept = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
        (kept["items"].as_array().map(Vec::len) == Some(count)).then_some(())
    });
}

on_both_stores!(a_user_sees_their_own_sessions_and_ends_another_one_once, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let (mut phone, mut laptop) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "7"));
    let mut other = gateway.logged_in("42", "8");
    let before = backend.seen().len();
    let listed = sessions(&mut phone);
    assert_eq!(listed.len(), 2, "{listed:?}");
    for session in &listed {
        let members: Vec<&String> = session.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["created_at", "current", "device", "id", "last_seen_at", "place"]);
    }
    let (lost, strange) = (own(&mut laptop), own(&mut other));
    assert_ne!(own(&mut phone), lost);

    for wrong in [strange.as_str(), "AAAAAAAAAAAAAAAAAAAAAA", "x", ""] {
        terminate(&mut phone, wrong).expect_refusal(404, "not_found");
    }
    let answer = terminate(&mut phone, &lost).expect(200);
    assert_eq!(answer.json(), json!({"success": true, "invalidated_sessions": 1}));
    assert!(answer.set_cookie("session-gateway").is_none_or(|cookie| !cookie.expires_it()));
    assert_eq!(terminate(&mut phone, &lost).expect(200).json()["invalidated_sessions"], 0, "idempotent");
    laptop.get("/x").expect_refusal(401, "session_revoked");
    laptop.get(LIST).expect_refusal(401, "session_revoked");
    assert_eq!(sessions(&mut phone).len(), 1);
    assert_eq!(sessions(&mut other).len(), 1, "somebody else's goes on");
    let ended = gateway.wait_audit("session.ended", |event| event["session_id"] == lost.as_str());
    assert_eq!((&ended["reason"], &ended["actor"]), (&json!("security_anomaly"), &json!("user")));
    assert_eq!(backend.seen().len(), before, "the backend hears nothing of it");
});

on_both_stores!(whoever_ends_the_session_that_they_are_in_is_logged_out, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let id = own(&mut browser);
    let answer = browser.post_json(TERMINATE, &json!({"session_id": id})).expect(200);
    assert_eq!(answer.json()["invalidated_sessions"], 1);
    assert!(!browser.has_session_cookie(), "{answer:?}");
    let ended = gateway.wait_audit("session.ended", |event| event["session_id"] == id.as_str());
    assert_eq!(ended["reason"], "logout");
});

on_both_stores!(an_admin_of_the_tenant_sees_and_ends_those_of_the_tenant_and_nobody_elses, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut boss = gateway.logged_in_as("42", "1", "boss");
    let mut clerk = gateway.logged_in_as("42", "2", "clerk");
    let mut foreign_boss = gateway.logged_in_as("43", "1", "boss");
    let mut user = gateway.logged_in("42", "7");
    call_too_often(&mut user);
    call_too_often(&mut clerk);
    found(&gateway, 2);
    let id = own(&mut user);

    assert_eq!(anomalies(&mut boss, "").len(), 2);
    assert_eq!(anomalies(&mut boss, "?user_id=7&severity=MEDIUM")[0]["session_id"], id.as_str());
    assert_eq!(anomalies(&mut boss, "?user_id=7&severity=high"), Vec::<Value>::new());
    assert_eq!(anomalies(&mut foreign_boss, ""), Vec::<Value>::new());
    let own_ones = anomalies(&mut clerk, "");
    assert_eq!((own_ones.len(), &own_ones[0]["user_id"], &own_ones[0]["type"]), (1, &json!("2"), &json!(CALLS)));
    assert_eq!(anomalies(&mut clerk, "?user_id=2").len(), 1);
    clerk.get(&format!("{ANOMALIES}?user_id=7")).expect_refusal(403, "forbidden_role");
    for wrong in ["?severity=worst", "?cursor=x", "?user_id=", "?limit=1", "?severity=low&severity=high"] {
        boss.get(&format!("{ANOMALIES}{wrong}")).expect_refusal(400, "bad_request");
    }

    terminate(&mut foreign_boss, &id).expect_refusal(404, "not_found");
    terminate(&mut clerk, &id).expect_refusal(404, "not_found");
    user.get("/x").expect(200);
    assert_eq!(terminate(&mut boss, &id).expect(200).json()["invalidated_sessions"], 1);
    user.get("/x").expect_refusal(401, "session_revoked");
    let ended = gateway.wait_audit("session.ended", |event| event["session_id"] == id.as_str());
    assert_eq!((&ended["user"], &ended["details"]["by_user"]), (&json!("7"), &json!("1")), "{ended:#}");
});

on_both_stores!(an_admin_judges_findings_of_others_and_nobody_blesses_themselves, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut boss = gateway.logged_in_as("42", "1", "boss");
    let mut foreign_boss = gateway.logged_in_as("43", "1", "boss");
    let mut thief = gateway.logged_in("42", "7");
    call_too_often(&mut thief);
    call_too_often(&mut boss);
    found(&gateway, 2);
    // On Redis it is noted as its tenant's just after it is kept.
    let id = |browser: &mut Browser, user: &str| {
        wait_until("it is noted as its tenant's", || {
            let found = anomalies(browser, &format!("?user_id={user}"));
            Some(found.first()?["id"].as_str().expect("an id").to_owned())
        })
    };
    let say = |browser: &mut Browser, id: &str, verdict: &str| {
        browser.post_json(&format!("{ANOMALIES}/{id}/feedback"), &json!({"verdict": verdict}))
    };
    let (of_thief, of_boss) = (id(&mut thief, "7"), id(&mut boss, "1"));
    for (browser, id) in [(&mut thief, &of_thief), (&mut boss, &of_boss)] {
        say(browser, id, "expected").expect(204);
        let said = gateway.wait_audit("anomaly.verdict", |event| event["details"]["finding"] == id.as_str());
        assert_eq!((&said["reason"], &said["details"]["verdict"]), (&json!("client_reported"), &json!("expected")));
        let kept = gateway.operator(TOKEN).get(&format!("/v1/anomalies/{id}")).expect(200).json();
        assert_eq!(kept["verdict"], Value::Null, "it is no verdict");
    }
    assert_eq!(gateway.metric("finding_verdicts_total", r#"{verdict="expected"}"#), 0.0);
    for (browser, id) in [(&mut foreign_boss, &of_thief), (&mut thief, &of_boss)] {
        say(browser, id, "expected").expect_refusal(404, "not_found");
    }
    for unknown in ["1-0", "x"] {
        say(&mut boss, unknown, "malicious").expect_refusal(404, "not_found");
    }
    say(&mut boss, &of_thief, "maybe").expect_refusal(400, "bad_request");
    say(&mut boss, &of_thief, "malicious").expect(204);
    let kept = gateway.operator(TOKEN).get(&format!("/v1/anomalies/{of_thief}")).expect(200).json();
    assert_eq!((&kept["verdict"], &kept["verdict_by"]), (&json!("malicious"), &json!("42/1")));
    assert_eq!(anomalies(&mut thief, "")[0]["verdict"], "malicious");
    assert_eq!(gateway.metric("finding_verdicts_total", r#"{verdict="malicious"}"#), 1.0);
});

on_both_stores!(an_admin_has_the_report_of_the_own_tenant_as_json_and_for_spreadsheets, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut boss = gateway.logged_in_as("42", "1", "boss");
    let mut user = gateway.logged_in_as("42", "7", "clerk");
    gateway.logged_in("43", "9");
    call_too_often(&mut user);
    found(&gateway, 1);
    let report = boss.get(REPORT).expect(200).json();
    assert_eq!((&report["tenant"], report["days"].as_array().map(Vec::len)), (&json!("42"), Some(7)));
    assert_eq!((&report["days"][6]["findings"], &report["days"][6]["logins"]), (&json!(1), &json!(2)), "{report:#}");
    assert_eq!(report["days"][6]["failures"], Value::Null);
    assert_eq!(report["top_users"][0]["user"], "7");
    let csv = boss.get(&format!("{REPORT}?format=csv")).expect(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").is_some_and(|value| value.starts_with("attachment")), "{csv:?}");
    assert!(csv.text().starts_with("date,what,name,severity,observed,count\n") && csv.text().contains(CALLS));
    user.get(REPORT).expect_refusal(403, "forbidden_role");
    for wrong in ["start_date=2020-01-01", "start_date=2026-02-30", "format=html", "tenant=43"] {
        boss.get(&format!("{REPORT}?{wrong}")).expect_refusal(400, "bad_request");
    }
});

on_both_stores!(without_a_session_that_may_be_used_there_is_nothing_to_see, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut stranger = gateway.browser();
    let mut held = gateway.logged_in_as("42", "1", "boss");
    let id = own(&mut held);
    gateway.operator(TOKEN).post_json(&format!("/v1/sessions/{id}/hold"), &json!({})).expect(200);
    let before = backend.seen().len();
    for (browser, code) in [(&mut stranger, "session_required"), (&mut held, "reauth_required")] {
        for path in [LIST, ANOMALIES, REPORT] {
            browser.get(path).expect_refusal(401, code);
        }
        terminate(browser, &id).expect_refusal(401, code);
        browser
            .post_json(&format!("{ANOMALIES}/1-0/feedback"), &json!({"verdict": "expected"}))
            .expect_refusal(401, code);
    }
    assert_eq!(backend.seen().len(), before);
});

#[test]
fn another_site_has_a_browser_end_nothing_whatever_the_route_says() {
    let backend = echo();
    let open = "[[routes]]\nmatch = \"/api/*\"\ncsrf = \"off\"\nauth = \"optional\"";
    let gateway = watched(Store::Embedded).with_backend(&backend).settings(open).start();
    let mut browser = gateway.logged_in("42", "7");
    let id = own(&mut browser);
    let body = json!({"session_id": id}).to_string();
    let from = |browser: &mut Browser, site: &str, origin: &str, kind: &str| {
        let request = browser.request("POST", TERMINATE).header("Sec-Fetch-Site", site).header("Origin", origin);
        request.header("Content-Type", kind).body(body.clone()).send()
    };
    from(&mut browser, "cross-site", "https://evil.test", "application/json").expect_refusal(403, "csrf_failed");
    from(&mut browser, "same-site", "https://sibling.app.test", "text/plain").expect_refusal(403, "csrf_failed");
    // What a form can send is no JSON, wherever it stands.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        from(&mut browser, "same-origin", "https://app.test", kind).expect_refusal(400, "bad_request");
    }
    browser.get("/x").expect(200);
    from(&mut browser, "same-origin", "https://app.test", "application/json; charset=utf-8").expect(200);
}

#[test]
fn what_is_too_large_or_no_json_is_refused_and_ends_nothing() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let id = own(&mut browser);
    let mut send =
        |body: String| browser.request("POST", TERMINATE).header("Content-Type", "application/json").body(body).send();
    send(format!("{{\"session_id\":\"{id}\",\"reason\":\"{}\"}}", "A".repeat(5000)))
        .expect_refusal(413, "body_too_large");
    for bad in ["", "null", "[]", "{", "{\"session_id\":7}", "{\"session_id\":\"x\",\"more\":1}"] {
        send(bad.to_owned()).expect_refusal(400, "bad_request");
    }
    send(format!("{{\"session_id\":\"{id}\",\"reason\":\"two words\"}}")).expect_refusal(400, "bad_request");
    send(format!("{{\"session_id\":\"{id}\"}}{}", " ".repeat(3000))).expect(200);
}

#[test]
fn the_paths_are_the_gateways_by_their_methods_and_the_apps_where_nothing_is_monitored() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let allowed = browser.get(TERMINATE).expect_refusal(405, "method_not_allowed");
    assert_eq!(allowed.header("allow"), Some("POST"));
    browser.post(ANOMALIES).expect_refusal(405, "method_not_allowed");
    browser.post_json(LIST, &json!({})).expect(200);
    assert_eq!(backend.last().target, LIST, "the collection's other methods are the app's");
    browser.get("/api/sessions/7").expect(200);
    assert_eq!(backend.last().target, "/api/sessions/7");
    for (key, value) in [("monitor.path", "off"), ("monitor.mode", "off")] {
        let gateway = watched(Store::Embedded).set(key, value).with_backend(&backend).start();
        let mut browser = gateway.logged_in("42", "7");
        browser.get(LIST).expect(200);
        assert_eq!(backend.last().target, LIST);
    }
    let gateway = watched(Store::Embedded).set("monitor.path", "/gateway/me").with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    assert_eq!(browser.get("/gateway/me").expect(200).json()["sessions"].as_array().map(Vec::len), Some(1));
    browser.get("/gateway/me/anomalies").expect(200);
    browser.get(LIST).expect(200);
    assert_eq!(backend.last().target, LIST);
}

#[test]
fn asking_is_no_use_of_the_session_and_no_call() {
    let backend = echo();
    let gateway = watched(Store::redis()).idle("4s").with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let began = std::time::Instant::now();
    let ended = wait_until("the session times out", || {
        let answer = browser.get(LIST);
        // Nobody may ask more than 300 times a minute.
        (!matches!(answer.status, 200 | 429)).then_some(answer)
    });
    ended.expect_refusal(401, "session_idle_timeout");
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json()["items"], json!([]));
}

const BATCH: &str = "/api/sessions/activity/batch";
const ACTIVITY: &str = "/api/sessions/activity";

fn batch(count: usize) -> Value {
    let activity = |number| json!({"action": "DATA_ACCESS", "details": {"number": number}, "timestamp": "2020-01-01"});
    json!({"activities": (0..count).map(activity).collect::<Vec<_>>()})
}

/// What operators read of what the front ends of tenant 42 report, the newest first, once there are so many.
fn reported(gateway: &Gateway, count: usize) -> Vec<Value> {
    wait_until("what was reported is kept", || {
        let kept = gateway.operator(TOKEN).get("/v1/activities?tenant=42&limit=1000").expect(200).json();
        let items = kept["items"].as_array().expect("items").clone();
        (items.len() == count).then_some(items)
    })
}

on_both_stores!(what_a_page_reports_operators_read_with_who_whence_and_when, |store| {
    let backend = echo();
    let gateway = watched(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7").with_header("User-Agent", "curl/8.5.0");
    let before = backend.seen().len();
    let answer = browser.post_json(ACTIVITY, &json!({"action": "LOGIN"})).expect(202);
    assert_eq!(answer.json(), json!({"accepted": 1}));
    let mut said = batch(3);
    said["activities"][1]["action"] = json!("no word");
    said["activities"][2]["details"] = json!("x".repeat(1025));
    assert_eq!(browser.post_json(BATCH, &said).expect(202).json(), json!({"accepted": 2}));
    let kept = reported(&gateway, 3);
    let id = own(&mut browser);
    for activity in &kept {
        assert_eq!((&activity["session_id"], &activity["user"]), (&json!(id), &json!("7")), "{activity}");
        assert!(activity["address"] == "127.0.0.1" && activity["received_at"].as_str().is_some_and(|at| at > "2026"));
        assert!(activity["user_agent"].as_str().is_some_and(|agent| agent.contains("curl")), "{activity}");
    }
    let details: Vec<&Value> = kept.iter().map(|activity| &activity["details"]).collect();
    assert_eq!(details, [&Value::Null, &json!({"number": 0}), &Value::Null], "too large ones are not kept");
    assert_eq!(kept[2]["action"], "LOGIN");
    assert_eq!(gateway.operator(TOKEN).get("/v1/activities?tenant=43").expect(200).json()["items"], json!([]));
    assert_eq!(gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json()["items"], json!([]), "no call");
    assert_eq!(backend.seen().len(), before);
});

#[test]
fn what_is_reported_is_bounded_in_size_number_and_time() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut stranger = gateway.browser();
    stranger.post_json(BATCH, &batch(1)).expect_refusal(401, "session_required");
    browser.post_json(BATCH, &batch(101)).expect_refusal(400, "bad_request");
    browser.post_json(BATCH, &json!({"activities": ["x"]})).expect_refusal(400, "bad_request");
    browser.post_json(BATCH, &json!([])).expect_refusal(400, "bad_request");
    let huge = json!({"activities": [{"action": "X", "details": "x".repeat(65_536)}]});
    browser.post_json(BATCH, &huge).expect_refusal(413, "body_too_large");
    browser
        .post_json(ACTIVITY, &json!({"action": "X", "details": "x".repeat(4096)}))
        .expect_refusal(413, "body_too_large");
    browser.post_json(ACTIVITY, &json!({"action": "not a word"})).expect_refusal(400, "bad_request");
    let mut other = gateway.logged_in("42", "8");
    for _ in 0..5 {
        other.post_json(BATCH, &batch(100)).expect(202);
    }
    for _ in 0..55 {
        other.post_json(BATCH, &batch(1)).expect(202);
    }
    let refused = other.post_json(BATCH, &batch(1)).expect_refusal(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=60).contains(&seconds));
    other.post_json(ACTIVITY, &json!({"action": "X"})).expect_refusal(429, "rate_limited");
    other.get("/x").expect(200);
    gateway.logged_in("42", "9").post_json(BATCH, &batch(1)).expect(202);
    assert_eq!(gateway.metric("monitor_dropped_total", ""), 0.0);
    for user in 10..16 {
        let mut one = gateway.logged_in("42", &user.to_string());
        for _ in 0..6 {
            one.post_json(BATCH, &batch(100)).expect(202);
        }
    }
    assert!(gateway.metric("monitor_dropped_total", "") > 0.0, "thousands in a moment are too many");
}

#[test]
fn a_session_that_is_over_by_the_time_its_body_is_there_does_nothing() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut victim = gateway.logged_in_as("42", "7", "clerk");
    let id = own(&mut victim);
    let activity = json!({"action": "X"}).to_string();
    let verdict = json!({"verdict": "expected"}).to_string();
    let ends = [
        (TERMINATE, json!({"session_id": id}).to_string(), false, "session_revoked"),
        (ACTIVITY, activity, true, "reauth_required"),
        (&format!("{ANOMALIES}/1-0/feedback"), verdict, false, "session_revoked"),
    ];
    for (path, body, is_held, code) in ends {
        let mut boss = gateway.logged_in_as("42", "1", "boss");
        let of_boss = own(&mut boss);
        let mut wire = gateway.wire();
        let (begin, rest) = body.split_at(1);
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {SESSION_COOKIE}={}\r\nSec-Fetch-Site: same-origin\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{begin}",
            gateway.address(),
            boss.token(),
            body.len()
        ));
        // What the store said is believed for 0.9 s.
        let_pass(Duration::from_millis(500));
        let hold = format!("/v1/sessions/{of_boss}/hold");
        let how = if is_held { hold.as_str() } else { "/v1/tenants/42/users/1/revoke" };
        gateway.operator(TOKEN).post_json(how, &json!({})).expect(200);
        let_pass(Duration::from_millis(700));
        wire.send(rest);
        wire.receive().expect_refusal(401, code);
    }
    assert_eq!(sessions(&mut victim).len(), 1);
}

#[test]
fn who_asks_too_often_is_told_to_wait_and_fills_no_audit_log() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut user = gateway.logged_in("42", "7");
    for _ in 0..60 {
        user.post_json(&format!("{ANOMALIES}/1-0/feedback"), &json!({"verdict": "expected"}))
            .expect_refusal(404, "not_found");
    }
    let refused = user.post_json(&format!("{ANOMALIES}/1-0/feedback"), &json!({"verdict": "expected"}));
    assert!(refused.expect_refusal(429, "rate_limited").header("retry-after").is_some());
    for path in [LIST, ANOMALIES] {
        user.get(path).expect_refusal(429, "rate_limited");
    }
    user.post_json(ACTIVITY, &json!({"action": "X"})).expect(202);
    user.get("/x").expect(200);
    gateway.logged_in("42", "8").get(LIST).expect(200);
}

#[test]
fn a_preflight_of_what_stays_the_apps_is_the_apps() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).set("cors.origins", vec!["https://f.test"]).start();
    let preflight = |path: &str, method: &str| {
        gateway.exchange(format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://f.test\r\n\
             Access-Control-Request-Method: {method}\r\n\r\n",
            gateway.address()
        ))
    };
    let own = preflight(LIST, "GET").expect(204);
    assert_eq!(own.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(preflight(TERMINATE, "PUT").expect(204).header("access-control-allow-methods"), Some("POST"));
    assert!(backend.seen().is_empty());
    for method in ["POST", "PUT", "DELETE"] {
        preflight(LIST, method).expect(200);
        assert_eq!(backend.last().target, LIST, "{method}");
    }
}

#[test]
fn text_is_taken_in_batches_alone_and_of_no_other_sites_page() {
    let backend = echo();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut send = |path: &str, headers: &[(&str, &str)]| {
        let mut request = browser.request("POST", path).header("Content-Type", "text/plain;charset=UTF-8");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(batch(1).to_string()).send()
    };
    send(BATCH, &[("Sec-Fetch-Site", "same-origin")]).expect(202);
    send(BATCH, &[("Origin", &format!("http://{}", gateway.address()))]).expect(202);
    send(BATCH, &[]).expect(202);
    send(BATCH, &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.test")])
        .expect_refusal(403, "csrf_failed");
    send(BATCH, &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://x.app.test")])
        .expect_refusal(403, "csrf_failed");
    send(ACTIVITY, &[("Sec-Fetch-Site", "same-origin")]).expect_refusal(400, "bad_request");
}

/// A page that counts what its script sends, and answers as the test says.
const PAGE: &str = "<!doctype html><title>page</title><script type=module>\
    window.sent = []; window.answers = []; const real = window.fetch;\
    window.fetch = async (target, options) => { const body = JSON.parse(options.body);\
        window.sent.push(body.activities); const status = window.answers.shift();\
        return status ? new Response('', { status }) : real(target, options); };\
    const before = new Set(Object.getOwnPropertyNames(window));\
    window.monitor = await import('/api/sessions/monitor.js');\
    window.added = Object.getOwnPropertyNames(window).filter((name) => !before.has(name) && name !== 'monitor');\
    window.ready = true;</script>";

#[test]
fn the_script_reports_in_batches_leaves_nothing_out_on_the_page_and_stops_without_a_session() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    backend.on_call("/page", |_| vec![answer("200 OK", &[("Content-Type", "text/html")], PAGE)]);
    let gateway = watched(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).start();
    let site = format!("https://localhost:{}", gateway.address().port());
    browser.open(&format!("{site}/api/sessions/monitor.js"));
    browser.run(&format!(
        "await fetch('/api/login', {{ method: 'POST', headers: {{ 'Content-Type': 'application/json' }},\
         body: JSON.stringify({{ answer: {} }}) }})",
        identity(42, 7)
    ));
    browser.open(&format!("{site}/page"));
    assert_eq!(browser.run("await until(() => window.ready); return window.added"), json!([]), "nothing global");

    // A flood is kept down to what there is room for, and goes in two requests.
    let sizes = browser.run(
        "for (let n = 0; n < 300; n += 1) monitor.record('DATA_ACCESS', { n });\
         const cyclic = {}; cyclic.self = cyclic; monitor.record('X', cyclic);\
         await until(() => sent.length === 2); return sent.map((batch) => batch.length)",
    );
    assert_eq!(sizes, json!([100, 100]));
    assert_eq!(browser.run("return sent[0][0].details.n"), json!(100), "the oldest are gone");
    let kept = reported(&gateway, 200);
    assert_eq!(kept[0]["details"], json!({"n": 299}));
    assert!(kept[0]["user_agent"].as_str().is_some_and(|agent| agent.contains("Chrom")), "{}", kept[0]);

    // What waits goes when the page is hidden, as a beacon.
    let hide = "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });\
                document.dispatchEvent(new Event('visibilitychange'))";
    browser.run(&format!("monitor.record('LAST'); {hide}"));
    let kept = reported(&gateway, 202);
    assert_eq!((&kept[0]["action"], &kept[1]["action"]), (&json!("PAGE_VISIBILITY"), &json!("LAST")));

    // Asked to wait, it does, and loses nothing; without a session it stops.
    let waited = browser.run(
        "sent.length = 0; answers.push(429); monitor.record('AGAIN');\
         await until(() => sent.length === 1); const since = performance.now();\
         await until(() => sent.length === 2); return [performance.now() - since >= 4500, sent[1].length]",
    );
    assert_eq!(waited, json!([true, 1]));
    let after = browser.run(
        "sent.length = 0; answers.push(401); monitor.record('OVER');\
         await until(() => sent.length === 1); monitor.record('MORE');\
         await new Promise((go) => setTimeout(go, 6000)); return sent.length",
    );
    assert_eq!(after, json!(1), "it has stopped");
}
