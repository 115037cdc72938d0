//! What the monitoring's calls answer.

use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{Admin, OPERATE, request};
use crate::monitor::{Evidence, FindingRecord};
use crate::session::{By, TenantId};
use crate::store::monitor::{FindingId, Kept, ToKeep};
use crate::told::{Listener as _, NoLogin, Origin, Told};

fn record(severity: &str, tenant: Option<&str>) -> FindingRecord {
    FindingRecord {
        kind: "LOGIN_AFTER_FAILURES".into(),
        severity: severity.into(),
        observed: false,
        tenant: tenant.map(str::to_owned),
        user: tenant.map(|_| "7".into()),
        user_kind: None,
        session_id: tenant.map(|_| "AAAAAAAAAAAAAAAAAAAAAA".into()),
        account: None,
        address: Some("192.0.2.1".into()),
        evidence: Evidence::default().with("failures_elsewhere", 5),
        actions: Vec::new(),
    }
}

async fn keep(admin: &Admin, record: &FindingRecord, dedupe: &str) -> FindingId {
    let finding =
        ToKeep { record, dedupe, repeat: Duration::from_secs(3600), risk: None, postings: &[], has_failed: false };
    match admin.state.services.commons.watch.kept().keep(finding).await.expect("kept") {
        Kept::New { id, .. } | Kept::Again(id) => id,
    }
}

#[tokio::test]
async fn findings_are_listed_page_by_page_and_told_apart_by_tenant_user_and_severity() {
    let admin = Admin::new();
    for number in 0..6 {
        let tenant = ["acme", "other"][number % 2];
        let severity = if number < 2 { "low" } else { "high" };
        keep(&admin, &record(severity, Some(tenant)), &number.to_string()).await;
    }
    let admins = FindingRecord { user_kind: Some("admin".into()), ..record("low", Some("third")) };
    keep(&admin, &admins, "an admin's").await;
    keep(&admin, &record("high", None), "nobody's").await;
    keep(&admin, &record("high", Some(TenantId::none().shown())), "without a tenant").await;
    let count = |query: &'static str| {
        let admin = &admin;
        async move {
            admin.get(&format!("/v1/anomalies{query}")).await.expect(200)["items"].as_array().expect("items").len()
        }
    };
    for (query, expected) in [
        ("", 9),
        ("?severity=low", 3),
        ("?severity=high", 6),
        ("?tenant=acme", 3),
        ("?tenant=acme&user=7", 3),
        ("?tenant=acme&user=8", 0),
        ("?tenant=,", 1),
        ("?tenant=third", 1),
        ("?kind=admin", 1),
        ("?tenant=third&user=7&kind=admin", 1),
        ("?tenant=third&user=7", 0),
        ("?tenant=acme&user=7&kind=admin", 0),
        ("?tenant=acme&severity=high", 2),
        ("?type=LOGIN_AFTER_FAILURES", 9),
        ("?type=IMPOSSIBLE_TRAVEL", 0),
        ("?observed=false", 9),
        ("?observed=true", 0),
        ("?verdict=none", 9),
        ("?verdict=expected", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/v1/anomalies?limit=2&tenant=acme{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 3);
    for (query, says) in [
        ("?severity=worst", "severity: is not known"),
        ("?user=7", "user: users are within tenants"),
        ("?cursor=x", "cursor:"),
        ("?kind=a,b", "kind:"),
        ("?limit=0", "limit:"),
        ("?type=x", "type: is not known"),
        ("?verdict=x", "verdict: is not known; choose one of none, expected, malicious"),
        ("?observed=x", "observed: is not known"),
        ("?mode=x", "the query"),
    ] {
        let got = admin.get(&format!("/v1/anomalies{query}")).await;
        assert!(got.problem().0 == 400 && got.problem().2.starts_with(says), "{got:?}");
    }
    let nobodys = admin.get("/v1/anomalies").await.expect(200)["items"][1].clone();
    assert_eq!((&nobodys["tenant"], &nobodys["session_id"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_verdict_is_noted_with_who_said_it_and_when() {
    let admin = Admin::new();
    let id = keep(&admin, &record("high", Some("acme")), "one").await;
    keep(&admin, &record("high", Some("acme")), "one").await;
    let path = format!("/v1/anomalies/{id}");
    let shown = admin.get(&path).await.expect(200);
    assert_eq!(
        (&shown["verdict"], &shown["repeats"], &shown["evidence"]["failures_elsewhere"]),
        (&Value::Null, &json!(1), &json!(5))
    );
    let verdict = format!("{path}/verdict");
    let body = r#"{"verdict":"expected","reason":"a test"}"#;
    let got = admin.send(request(Method::POST, &verdict, Some(OPERATE), Some(body))).await;
    assert_eq!(got.expect(200), json!({"verdict": "expected"}));
    for (verdict, expected) in [("expected", 1), ("malicious", 0), ("none", 0)] {
        let judged = admin.get(&format!("/v1/anomalies?verdict={verdict}")).await.expect(200);
        assert_eq!(judged["items"].as_array().map(Vec::len), Some(expected), "{verdict}");
    }
    let shown = admin.get(&path).await.expect(200);
    assert_eq!((&shown["verdict"], &shown["verdict_by"]), (&json!("expected"), &json!("operator")));
    assert_eq!(shown["verdict_at"], "2023-11-14T22:13:20.000Z");
    for wrong in [r#"{"verdict":"maybe"}"#, "{}", r#"{"verdict":"expected","by":"me"}"#] {
        assert_eq!(admin.post(&verdict, wrong).await.problem().0, 400, "{wrong}");
    }
    for unknown in ["/v1/anomalies/1-0", "/v1/anomalies/x"] {
        assert_eq!(admin.get(unknown).await.problem().1, "finding_not_found");
        let got = admin.post(&format!("{unknown}/verdict"), body).await;
        assert_eq!(got.problem().1, "finding_not_found");
    }
}

#[tokio::test]
async fn there_are_no_locks_where_nothing_failed_and_none_of_a_made_up_name() {
    let admin = Admin::new();
    assert_eq!(admin.get("/v1/locks").await.expect(200), json!({"items": [], "next_cursor": null}));
    for id in ["AAAAAAAAAAAAAAAAAAAAAA", "x"] {
        let got = admin.call(Method::DELETE, &format!("/v1/locks/{id}"), None).await;
        assert_eq!((got.problem().0, got.problem().1.as_str()), (404, "lock_not_found"));
    }
    for wrong in ["?cursor=1_x", "?account=", "?account=%20", "?limit=0"] {
        assert_eq!(admin.get(&format!("/v1/locks{wrong}")).await.problem().0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_report_is_of_a_week_unless_the_call_says_of_what() {
    let admin = Admin::new();
    let commons = &admin.state.services.commons;
    let (reports, now) = (commons.watch.reports(), commons.clock.wall());
    let failed = Told::NoLogin { why: NoLogin::Failed(401), principal: None };
    reports.hear(&Origin::of(By::User), &failed, now);
    reports.count(true);
    reports.hear(&Origin::of(By::User), &failed, now);
    let report = admin.get("/v1/report").await.expect(200);
    assert_eq!((&report["start_date"], &report["end_date"]), (&json!("2023-11-08"), &json!("2023-11-14")));
    let days = report["days"].as_array().expect("days");
    assert_eq!((days.len(), &days[6]["failures"]), (7, &json!(1)), "{report}");
    assert_eq!(report["tenant"], Value::Null);
    for (query, first, days) in [
        ("?tenant=acme", "2023-11-08", 7),
        ("?tenant=,", "2023-11-08", 7),
        ("?start_date=2023-11-14", "2023-11-14", 1),
        ("?end_date=2023-01-01", "2022-12-26", 7),
        ("?start_date=2023-08-15", "2023-08-15", 92),
    ] {
        let report = admin.get(&format!("/v1/report{query}")).await.expect(200);
        assert_eq!(report["start_date"], first, "{query}");
        assert_eq!(report["days"].as_array().map(Vec::len), Some(days), "{query}");
    }
    assert_eq!(admin.get("/v1/report?tenant=acme").await.expect(200)["days"][6]["failures"], Value::Null);
    let table = admin.get("/v1/report?format=csv&start_date=2023-11-14").await;
    let rows = ["date,what,name,severity,observed,count", "2023-11-14,logins,,,,0", "2023-11-14,failures,,,,1"];
    assert_eq!((table.status, table.headers[CONTENT_TYPE].as_bytes()), (200, &b"text/csv; charset=utf-8"[..]));
    assert!(table.body.starts_with(&rows.join("\n")), "{}", table.body);
    for (query, says) in [
        ("?start_date=2023-08-14", "start_date: a report has at most 92 days, not 93"),
        ("?start_date=2023-11-15", "start_date: is after end_date"),
        ("?end_date=yesterday", "end_date: write a day as 2026-11-24"),
        ("?format=xml", "format: is not known; choose one of json, csv"),
        ("?days=3", "the query"),
    ] {
        let got = admin.get(&format!("/v1/report{query}")).await;
        assert!(got.problem().0 == 400 && got.problem().2.starts_with(says), "{got:?}");
    }
}
