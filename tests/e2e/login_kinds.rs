//! Several logins, each with its own paths, capture and pointers; kinds of users, and users without a tenant
//! (docs/behaviour.md, "Login").

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::{Browser, Gateway, Store, echo, gateway, passwordless};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
/// Users by JSON, by a link, and without a tenant; operators by another cookie, of whom one has a user's id.
const LOGINS: &str = r#"
    [[login]]
    path = "/login"
    without_tenant = "session"
    tenant = "/customer_id"
    user = "/user_id"
    [[login]]
    path = "GET /magic/{name}"
    capture = "whoami"
    whoami = { path = "/api/me", tenant = "/org/id", user = "/id" }
    [[login]]
    path = "/admin/login"
    kind = "admin"
    capture = "whoami"
    whoami = { path = "/admin/me", tenant = "/operator/org", user = "/operator/id" }
    [[routes]]
    match = "/api/health"
    auth = "public"
"#;

fn several(store: Store) -> Builder {
    gateway(store).with_backend(passwordless()).settings(LOGINS).set("admin.token", TOKEN)
}

fn user(gateway: &Gateway, name: &str) -> Browser {
    let mut browser = gateway.browser();
    browser.post_json("/login", &json!({ "name": name })).expect(200);
    assert!(browser.has_session_cookie(), "{name}");
    browser
}

fn operator(gateway: &Gateway) -> Browser {
    let mut browser = gateway.browser();
    browser.post("/admin/login").expect(200);
    assert!(browser.has_session_cookie());
    browser
}

/// Tenant and user that the app is told.
fn told(browser: &mut Browser) -> (Value, Value) {
    let mut told = browser.get("/api/data").expect(200).json();
    (told["tenant"].take(), told["user"].take())
}

#[track_caller]
fn run(gateway: &Gateway, arguments: &[&str]) -> Value {
    let output = gateway.run(&[arguments, &["--config", "gateway.toml", "--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

on_both_stores!(each_login_has_its_own_paths_methods_capture_and_pointers, |store| {
    let gateway = several(store).start();
    assert_eq!(told(&mut user(&gateway, "bob")), (json!("77"), json!("1")));
    assert_eq!(told(&mut operator(&gateway)), (json!("77"), json!("1")), "the header has the bare id");
    let mut by_link = gateway.browser();
    by_link.navigate("/magic/alice").expect(302);
    assert_eq!(told(&mut by_link), (json!("42"), json!("7")));
    // By another method the same path is none.
    let mut browser = gateway.browser();
    browser.post("/magic/alice");
    browser.get("/login");
    assert!(!browser.has_session_cookie());
});

#[test]
fn a_login_by_link_is_none_for_whoever_only_looks_ahead() {
    let gateway = several(Store::Embedded).start();
    let mut browser = gateway.browser();
    browser.request("HEAD", "/magic/alice").send().expect(204);
    browser.request("GET", "/magic/alice").header("Sec-Purpose", "prefetch;prerender").send().expect(204);
    assert!(!browser.has_session_cookie() && browser.cookie("session").is_none(), "the app did not hear of it");
}

on_both_stores!(admin_1_is_not_user_1_for_limits_revocations_and_whoever_lists_them, |store| {
    let gateway = several(store).settings("session.max_per_user = { count = 1, action = \"revoke-oldest\" }").start();
    let (mut user, mut admin) = (user(&gateway, "bob"), operator(&gateway));
    user.get("/api/data").expect(200);
    admin.get("/api/data").expect(200);
    let listed = |kind: &[&str]| {
        let sessions = run(&gateway, &[&["users", "sessions", "77", "1"], kind].concat());
        let kinds = sessions["items"].as_array().expect("a list").iter().map(|session| session["kind"].clone());
        kinds.collect::<Vec<Value>>()
    };
    assert_eq!(listed(&[]), [Value::Null]);
    assert_eq!(listed(&["--kind", "admin"]), [json!("admin")]);
    assert_eq!(listed(&["--kind", "other"]), [] as [Value; 0]);

    let revoked = run(&gateway, &["users", "revoke", "77", "1", "--kind", "admin", "--yes"]);
    assert_eq!(revoked["invalidated_sessions"], 1);
    admin.get("/api/data").expect_refusal(401, "session_revoked");
    user.get("/api/data").expect(200);
    gateway.wait_audit("session.ended", |event| {
        event["user"] == "1" && event["details"]["kind"] == "admin" && event["reason"] == "user_revoked"
    });
    let events = |more: &[&str]| {
        let made = ["audit", "query", "--type", "session.created", "--user", "1"];
        run(&gateway, &[&made, more].concat())["items"].as_array().expect("a list").len()
    };
    assert_eq!((events(&[]), events(&["--kind", "admin"])), (1, 1));

    let mut admin = operator(&gateway);
    let all = user.post("/api/auth/revoke-all-tokens").expect(200);
    assert_eq!(all.at("/invalidated_sessions"), "1", "the user's own");
    admin.get("/api/data").expect(200);
    // An operator's call that names no kind is about the users of none.
    let revoked = run(&gateway, &["users", "revoke", "77", "1", "--yes"]);
    assert_eq!(revoked["invalidated_sessions"], 0);
    admin.get("/api/data").expect(200);
});

on_both_stores!(an_event_of_an_admins_ends_no_user_with_the_same_id, |store| {
    let events = "[[events]]\nmatch = \"POST /switch/{_}\"\naction = \"revoke-user\"\n";
    let gateway = several(store).settings(events).start();
    let (mut user, mut admin) = (user(&gateway, "bob"), operator(&gateway));
    let mut left_behind = admin.clone();
    admin.post("/switch/bob").expect(200);
    left_behind.get("/api/data").expect_refusal(401, "session_revoked");
    user.get("/api/data").expect(200);
});

on_both_stores!(a_user_whom_an_event_names_by_an_id_alone_is_out_whichever_kind_it_is, |store| {
    let event = "[[events]]\nmatch = \"DELETE /users/{user}\"\naction = \"revoke-user\"\n";
    let gateway = several(store).settings(event).start();
    let (mut user, mut admin, mut alice) = (user(&gateway, "bob"), operator(&gateway), user(&gateway, "alice"));
    let mut left_behind = admin.clone();
    admin.request("DELETE", "/users/1").send().expect(200);
    user.get("/api/data").expect_refusal(401, "session_revoked");
    left_behind.get("/api/data").expect_refusal(401, "session_revoked");
    alice.get("/api/data").expect(200);
});

on_both_stores!(a_user_without_a_tenant_gets_a_session_and_the_backend_no_tenant, |store| {
    let gateway = several(store).start();
    let mut dave = user(&gateway, "dave");
    assert_eq!(told(&mut dave), (Value::Null, json!("9")));
    // Nor one that the client claims.
    let claimed = dave.request("GET", "/api/data").header("X-Customer-ID", "42").send().expect(200);
    assert_eq!(claimed.json()["tenant"], Value::Null);
    gateway.wait_audit("identity.spoofed", |event| event["user"] == "9" && event["tenant"] == Value::Null);
    let status = dave.get("/api/session/status").expect(200).json();
    assert_eq!((&status["tenant"], &status["user"]), (&Value::Null, &json!("9")));

    let mut alice = user(&gateway, "alice");
    let sessions = run(&gateway, &["sessions", "list", "--tenant", ","]);
    assert_eq!((sessions["items"].as_array().map(Vec::len), &sessions["items"][0]["tenant"]), (Some(1), &Value::Null));
    let tenants = run(&gateway, &["tenants", "list"]);
    let names: Vec<&Value> =
        tenants["items"].as_array().expect("a list").iter().map(|tenant| &tenant["tenant"]).collect();
    assert_eq!(names, [",", "42"]);
    assert_eq!(run(&gateway, &["users", "revoke", ",", "9", "--yes"])["invalidated_sessions"], 1);
    dave.get("/api/data").expect_refusal(401, "session_revoked");
    alice.get("/api/data").expect(200);
    run(&gateway, &["tenants", "suspend", ",", "--yes"]);
    let mut refused = gateway.browser();
    refused.post_json("/login", &json!({ "name": "dave" })).expect_refusal(403, "tenant_suspended");
    alice.get("/api/data").expect(200);
});

#[test]
fn a_user_without_a_tenant_is_nobodys_where_absent_means_somebody() {
    let gateway = several(Store::Embedded).set("identity.anonymous", "0").start();
    assert_eq!(told(&mut user(&gateway, "dave")), (json!("0"), json!("9")));
}

#[test]
fn a_claim_of_any_tenant_is_foreign_to_who_has_none() {
    let gateway = several(Store::Embedded).set("identity.client_value", "match").start();
    let mut dave = user(&gateway, "dave");
    let claimed = dave.request("GET", "/api/data").header("X-Customer-ID", "42").send();
    claimed.expect_refusal(403, "tenant_mismatch");
}

#[test]
fn without_a_word_a_login_that_names_no_tenant_makes_no_session() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    browser.log_in_with(&json!({"user": {"user_id": 9}})).expect(200);
    assert!(!browser.has_session_cookie());
    // And a tenant that is written as none is none.
    browser.log_in_with(&identity(",", 9)).expect_refusal(502, "bad_identity");
}

#[test]
fn check_warns_of_a_login_that_any_link_can_be() {
    let output = several(Store::Embedded).check(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("GET /magic/{name}\" is no POST"), "{said}");
}
