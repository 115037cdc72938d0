//! Who paid and has no tenant yet, as operators see them (docs/tenants.md), before a real Django app.

use std::time::Duration;

use serde_json::{Value, json};

use super::tenants::{SETTINGS, account, before_the_app, log_in, name_of};
use crate::on_both_stores;
use crate::support::backend::Backend as _;
use crate::support::mail::{MailServer, Spoken};
use crate::support::{Gateway, RedisServer, Store, accounts, gateway, poll};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

/// The list, as the API has it.
fn orphans(gateway: &Gateway) -> Vec<Value> {
    let list = gateway.operator(TOKEN).get("/v1/orphans").expect(200).json();
    assert_eq!(list["next_cursor"], Value::Null);
    list["items"].as_array().expect("items").clone()
}

#[track_caller]
fn the_one(gateway: &Gateway, name: &str, attempts: u64, last_error: &Value) -> Value {
    let orphans = orphans(gateway);
    let [orphan] = &orphans[..] else { panic!("{orphans:?}") };
    assert_eq!((&orphan["user"], &orphan["attempts"]), (&json!(name), &json!(attempts)), "{orphan}");
    assert_eq!((&orphan["last_error"], &orphan["kind"]), (last_error, &Value::Null), "{orphan}");
    orphan.clone()
}

fn shown(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.run(&[&["orphans", "list", "--config", "gateway.toml"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

on_both_stores!(who_paid_is_listed_with_what_went_wrong_until_there_is_a_tenant, |store| {
    let gateway = before_the_app(store).set("admin.token", TOKEN).start();
    assert!(shown(&gateway, &[]).contains("nobody who paid is without a tenant"));
    let alice = name_of(&gateway, "alice");
    account(&alice, &Value::Null, true, "");
    log_in(&gateway, &alice);
    let first = the_one(&gateway, &alice, 1, &Value::Null);
    let told = gateway.wait_audit("login.orphaned", |event| event["user"] == json!(alice));
    assert_eq!((&told["outcome"], &told["details"]), (&json!("success"), &json!({"new": true})));
    assert_eq!((&told["tenant"], &told["actor"]), (&Value::Null, &json!("user")));
    let counted = || (gateway.metric("orphans", "") == 1.0).then_some(());
    poll(Duration::from_secs(30), counted).expect("those who wait are counted every ten seconds");

    // The same again, and a page that asks again and again.
    let mut browser = log_in(&gateway, &alice);
    gateway.wait_audit("login.orphaned", |event| event["details"] == json!({"new": false}));
    browser.get("/onboarding/state").expect(200);
    let again = the_one(&gateway, &alice, 3, &Value::Null);
    assert_eq!(again["since_at"], first["since_at"]);
    assert!(again["last_at"].as_str() > first["last_at"].as_str(), "{again}");
    // What goes wrong is there to be read.
    account(&alice, &Value::Null, true, "error");
    browser.get("/onboarding/state").expect(200);
    the_one(&gateway, &alice, 4, &json!("the backend answered 500 Internal Server Error"));
    gateway.browser().post_json("/api/login", &json!({"username": alice})).expect_refusal(503, "tenant_unverified");
    the_one(&gateway, &alice, 6, &json!("the backend answered 500 Internal Server Error"));
    account(&alice, &Value::Null, true, "broken");
    browser.post_json("/api/tenants/", &json!({"name": "acme"})).expect(500);
    let said = "the backend answered 500 Internal Server Error on an onboarding route";
    the_one(&gateway, &alice, 6, &json!(said));
    let table = shown(&gateway, &[]);
    for text in ["USER", "SINCE", "ATTEMPTS", "LAST ERROR", &alice, said] {
        assert!(table.contains(text), "{text} in {table}");
    }
    let listed: Value = serde_json::from_str(&shown(&gateway, &["--json"])).expect("JSON");
    assert_eq!(listed["items"][0]["last_error"], json!(said));

    account(&alice, &Value::Null, true, "");
    browser.post_json("/api/tenants/", &json!({"name": "acme"})).expect(201);
    assert_eq!(orphans(&gateway), [Value::Null; 0], "bound in the onboarding");
    log_in(&gateway, &alice);
    assert_eq!(orphans(&gateway), [Value::Null; 0]);
});

#[test]
fn a_login_that_gets_a_tenant_or_has_not_paid_any_more_waits_for_none() {
    let redis = RedisServer::start();
    let [one, other] = [(); 2]
        .map(|()| before_the_app(Store::on(&redis)).set("store.prefix", "both:").set("admin.token", TOKEN).start());
    let (bob, eve) = (name_of(&one, "bob"), name_of(&one, "eve"));
    for name in [&bob, &eve] {
        account(name, &Value::Null, true, "");
        log_in(&one, name);
    }
    let names: Vec<Value> = orphans(&other).iter().map(|orphan| orphan["user"].clone()).collect();
    assert_eq!(names, [json!(bob), json!(eve)], "who waits longest first, for all gateways");
    let page = one.operator(TOKEN).get("/v1/orphans?limit=1").expect(200).json();
    let next = page["next_cursor"].as_str().expect("there is more");
    let page = other.operator(TOKEN).get(&format!("/v1/orphans?limit=1&cursor={next}")).expect(200).json();
    assert_eq!(page["items"][0]["user"], json!(eve));
    for wrong in ["?cursor=x", "?limit=0", "?user=7"] {
        assert_eq!(one.operator(TOKEN).get(&format!("/v1/orphans{wrong}")).status, 400, "{wrong}");
    }
    account(&bob, &json!("42"), true, "");
    log_in(&other, &bob);
    account(&eve, &Value::Null, false, "");
    other.browser().post_json("/api/login", &json!({"username": eve})).expect_refusal(403, "tenant_missing");
    assert_eq!(orphans(&one), [Value::Null; 0]);
}

on_both_stores!(operators_are_mailed_at_once_about_each_who_paid_for_nothing, |store| {
    let server = MailServer::start(Spoken::Plain);
    let gateway = before_the_app(store).set("admin.token", TOKEN).settings(&server.alerts()).start();
    let alice = name_of(&gateway, "alice");
    account(&alice, &Value::Null, true, "");
    log_in(&gateway, &alice);
    let mails = server.wait_for(1);
    assert_eq!(mails[0].subject(), "HIGH SECURITY ALERT: PAID_WITHOUT_TENANT");
    let (text, html) = mails[0].parts();
    assert!(text.contains(&alice) && html.contains(&alice), "{text}");
    // Who waits already is not told again.
    log_in(&gateway, &alice);
    let found = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
    let [found] = &found["items"].as_array().expect("items")[..] else { panic!("{found}") };
    assert_eq!((&found["type"], &found["severity"]), (&json!("PAID_WITHOUT_TENANT"), &json!("high")));
    assert_eq!((&found["evidence"]["user"], &found["repeats"]), (&json!(alice), &json!(0)));
    assert_eq!(server.wait_for(1).len(), 1);
});

#[test]
fn where_there_is_no_onboarding_who_paid_is_refused_and_listed() {
    let without = SETTINGS.lines().filter(|line| !line.contains("onboarding")).collect::<Vec<_>>().join("\n");
    let gateway = gateway(Store::Embedded)
        .set("upstream.url", accounts().url())
        .settings(&without)
        .set("admin.token", TOKEN)
        .start();
    let alice = name_of(&gateway, "alice");
    account(&alice, &Value::Null, true, "");
    gateway.browser().post_json("/api/login", &json!({"username": alice})).expect_refusal(403, "tenant_missing");
    the_one(&gateway, &alice, 1, &Value::Null);
    let told = gateway.wait_audit("login.orphaned", |event| event["user"] == json!(alice));
    assert_eq!((&told["outcome"], &told["details"]), (&json!("denied"), &json!({"new": true})));
}
