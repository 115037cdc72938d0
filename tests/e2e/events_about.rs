//! Events that name somebody: another user than who asks, and what becomes of a tenant itself (docs/behaviour.md, "Events").

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{Browser, Step, Store, answer_json, echo, gateway};

fn done() -> [Step; 1] {
    [answer_json(&json!({"success": true}))]
}

fn lives(browser: &Browser) -> bool {
    browser.clone().get("/x").status == 200
}

fn delete(browser: &mut Browser, path: &str) -> crate::support::http::Response {
    browser.request("DELETE", path).send()
}

on_both_stores!(a_user_whom_the_backend_deleted_is_logged_out_and_not_who_deleted_them, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("[[events]]\nmatch = \"DELETE /admin/users/{user}\"\naction = \"revoke-user\"")
        .start();
    backend.on("/admin/users/8", done()).on("/admin/users/1", done()).on("/admin/users/9", done());
    let mut admin = gateway.logged_in("42", "1");
    let gone = [gateway.logged_in("42", "8"), gateway.logged_in("42", "8")];
    let (colleague, namesake) = (gateway.logged_in("42", "7"), gateway.logged_in("77", "8"));
    let answer = delete(&mut admin, "/admin/users/8").expect(200);
    assert_eq!(answer.header("x-session-invalidated"), Some("2"));
    assert!(admin.has_session_cookie() && lives(&admin), "{answer:?}");
    assert!(gone.iter().all(|browser| !lives(browser)));
    assert!(lives(&colleague) && lives(&namesake), "neither another user nor one of that name elsewhere");
    let line = gateway.wait_audit("session.ended", |event| event["reason"] == "user_revoked");
    assert_eq!((&line["tenant"], &line["user"]), (&json!("42"), &json!("8")));
    assert_eq!((&line["details"]["by_user"], &line["details"]["by_tenant"]), (&json!("1"), &json!("42")));
    assert_eq!(delete(&mut admin, "/admin/users/9").expect(200).header("x-session-invalidated"), Some("0"));
    // Who deletes oneself is out.
    let before = admin.clone();
    delete(&mut admin, "/admin/users/1").expect(200);
    assert!(!admin.has_session_cookie() && !lives(&before));
});

on_both_stores!(a_user_of_another_tenant_is_out_of_reach_unless_the_event_says_so, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings(
            "[[events]]\nmatch = \"DELETE /orgs/{tenant}/users/{user}\"\naction = \"revoke-user\"\n\
             [[events]]\nmatch = \"DELETE /all/{tenant}/users/{user}\"\naction = \"revoke-user\"\nany_tenant = true\n\
             roles = [\"superadmin\"]\n\
             [[events]]\nmatch = \"POST /lock\"\naction = \"revoke-user\"\nuser_pointer = \"/user/id\"",
        )
        .start();
    backend.on("/orgs/77/users/8", done()).on("/all/77/users/8", done());
    let (mut admin, victim) = (gateway.logged_in("42", "1"), gateway.logged_in("77", "8"));
    for path in ["/orgs/77/users/8", "/all/77/users/8"] {
        assert_eq!(delete(&mut admin, path).expect(200).header("x-session-invalidated"), Some("0"), "{path}");
        assert!(lives(&victim));
    }
    for reason in ["tenant_mismatch", "forbidden_role"] {
        gateway.wait_audit("session.ended", |event| event["outcome"] == "denied" && event["reason"] == reason);
    }
    let mut root = gateway.logged_in_as("1", "1", "superadmin");
    assert_eq!(delete(&mut root, "/all/77/users/8").expect(200).header("x-session-invalidated"), Some("1"));
    assert!(!lives(&victim) && lives(&root));

    let locked = gateway.logged_in("42", "5");
    for (named, ended) in [(json!(null), "0"), (json!([5]), "0"), (json!("6"), "0"), (json!(5), "1")] {
        backend.on("/lock", [answer_json(&json!({"user": {"id": named}}))]);
        assert!(lives(&locked));
        assert_eq!(admin.post("/lock").expect(200).header("x-session-invalidated"), Some(ended), "{named}");
    }
    assert!(!lives(&locked) && lives(&admin));
});

on_both_stores!(a_tenant_that_the_app_shuts_out_gets_no_session_until_it_is_restored, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings(
            "[[events]]\nmatch = \"POST /orgs/{tenant}/suspend\"\naction = \"suspend-tenant\"\nany_tenant = true\n\
             roles = [\"superadmin\"]\n\
             [[events]]\nmatch = \"DELETE /orgs/{tenant}\"\naction = \"delete-tenant\"\ncount_pointer = \"/n\"\n\
             reason = \"org_soft_deleted\"\n\
             [[events]]\nmatch = \"POST /orgs/{tenant}/restore\"\naction = \"restore-tenant\"\nany_tenant = true\n\
             roles = [\"superadmin\"]",
        )
        .start();
    for path in ["/orgs/42/suspend", "/orgs/42/restore", "/orgs/77/restore"] {
        backend.on(path, done());
    }
    backend.on("/orgs/77", [answer_json(&json!({"n": 9}))]);
    let mut root = gateway.logged_in_as("1", "1", "superadmin");
    let mut user = gateway.logged_in("42", "7");
    let refused = |tenant: i32| {
        gateway.browser().log_in_with(&identity(tenant, 7)).expect_refusal(403, "tenant_suspended");
    };
    user.post("/orgs/42/restore").expect(200);
    assert!(lives(&user), "not for whom it is not meant");

    assert_eq!(root.post("/orgs/42/suspend").expect(200).header("x-session-invalidated"), Some("1"));
    user.get("/x").expect_refusal(401, "session_revoked");
    refused(42);
    let changed = gateway.wait_audit("tenant.changed", |event| event["details"]["status"] == "suspended");
    assert_eq!(
        (&changed["tenant"], &changed["details"]["event"]),
        (&json!("42"), &json!("POST /orgs/{tenant}/suspend"))
    );
    root.post("/orgs/42/restore").expect(200);
    assert!(lives(&gateway.logged_in("42", "7")) && lives(&root));

    let mut owner = gateway.logged_in("77", "7");
    let answer = delete(&mut owner, "/orgs/77").expect(200);
    assert_eq!((answer.json()["n"].clone(), owner.has_session_cookie()), (json!(1), false));
    refused(77);
    gateway.wait_audit("session.ended", |event| event["reason"] == "org_soft_deleted" && event["tenant"] == "77");
    root.post("/orgs/77/restore").expect(200);
    assert!(lives(&gateway.logged_in("77", "7")));
});

on_both_stores!(a_preview_of_a_deletion_ends_nothing, |store| {
    let backend = echo();
    let recipe = "[[events]]\nmatch = \"DELETE /admin/organizations/{tenant}\"\nany_tenant = true\nroles = [\"superadmin\"]\n\
                  count_pointer = \"/data/invalidated_sessions\"";
    let gateway = gateway(store).with_backend(&backend).settings(recipe).start();
    let mut root = gateway.logged_in_as("1", "1", "superadmin");
    let user = gateway.logged_in("42", "7");
    let mut answered = |body: Value| {
        backend.on("/admin/organizations/42", [answer_json(&body)]);
        delete(&mut root, "/admin/organizations/42").expect(200)
    };
    for preview in [
        json!({"success": true, "data": {"preview": {"users": 2}}}),
        json!({"success": true, "data": {"invalidated_sessions": null}}),
        json!({"success": true}),
        json!([]),
    ] {
        let answer = answered(preview.clone());
        assert_eq!((answer.json(), answer.header("x-session-invalidated")), (preview.clone(), None));
        assert!(lives(&user), "{preview}");
    }
    let real = answered(json!({"success": true, "data": {"invalidated_sessions": 0}}));
    assert_eq!(real.at("/data/invalidated_sessions"), "1");
    assert!(!lives(&user));
});

#[test]
fn an_event_whose_words_mean_nothing_is_refused_at_the_start() {
    let start = |event: &str| gateway(Store::Embedded).with_backend(&echo()).settings(event).refused();
    for (event, says) in [
        ("[[events]]\nmatch = \"DELETE /users/{id}\"\naction = \"revoke-user\"", "has a `{id}`, which no event knows"),
        ("[[events]]\nmatch = \"POST /x\"\naction = \"revoke-user\"\ncounts_as = \"password\"", "counts_as"),
    ] {
        let (status, said) = start(event);
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

on_both_stores!(a_user_is_out_however_the_deletion_spells_who_it_is, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("[[events]]\nmatch = \"DELETE /users/{user}\"\naction = \"revoke-user\"")
        .start();
    for spelling in ["007", "+7", "%2B7", "%207", "%D9%A7", "%37", "7"] {
        let (mut admin, mut user) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "7"));
        let deleted = admin.request("DELETE", &format!("/users/{spelling}")).send().expect(200);
        assert_eq!(deleted.header("x-session-invalidated"), Some("1"), "{spelling}");
        user.get("/x").expect_refusal(401, "session_revoked");
        admin.get("/x").expect(200);
    }
    // Whoever is called so is meant as well.
    let (mut admin, mut other) = (gateway.logged_in("42", "1"), gateway.logged_in("42", "007"));
    admin.request("DELETE", "/users/007").send().expect(200);
    other.get("/x").expect_refusal(401, "session_revoked");
});
