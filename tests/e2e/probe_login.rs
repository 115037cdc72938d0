//! `session-gateway probe-login`: what an operator is shown of a login before anything is in front of anything.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::support::gateway::Builder;
use serde_json::{Value, json};

use crate::support::{Store, answer_json, django, echo, flask, gateway};

const PASSWORD: &str = "demo";

/// Runs it, with this password.
pub(crate) fn probe(builder: Builder, arguments: &[&str], password: &str) -> Output {
    let (mut command, scratch) = builder.command();
    let mut child = command
        .arg("probe-login")
        .args(["--config", "gateway.toml"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    writeln!(child.stdin.take().expect("piped"), "{password}").expect("it reads the password");
    let output = child.wait_with_output().expect("it ends");
    drop(scratch);
    output
}

/// All that it printed.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn probe_login_shows_who_would_be_logged_in_and_no_secret() {
    let output = probe(gateway(Store::Embedded).with_backend(flask()), &["--field", "username=alice"], PASSWORD);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "POST /api/login",
        "status   200",
        "/user/customer_id                42   <- tenant",
        "/token                           text, 14 characters",
        "A session for user 7 of tenant 42, with the role admin.",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
    for secret in ["legacy-token", "demo\""] {
        assert!(!said.contains(secret), "{secret:?} in\n{said}");
    }
}

#[test]
fn probe_login_suggests_pointers_when_the_configured_ones_miss() {
    let builder = gateway(Store::Embedded)
        .with_backend(flask())
        .set("login.tenant", vec!["/tenant"])
        .set("login.user", vec!["/uid"]);
    let output = probe(builder, &["--field", "username=alice"], PASSWORD);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "No session: the answer names nobody.",
        "no tenant at /tenant; try `login.tenant = [\"/user/customer_id\"]`",
        "no user at /uid; try `login.user = [\"/user/user_id\"]`",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
}

#[test]
fn probe_login_tells_a_refused_login_and_an_absent_backend_apart() {
    let refused =
        probe(gateway(Store::Embedded).with_backend(flask()), &["--field", "username=alice"], "wrong-password");
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("No session: 401 is no success here."), "{}", said(&refused));
    assert!(!said(&refused).contains("wrong-password"));

    let absent = gateway(Store::Embedded).with_backend(flask()).set("upstream.url", "http://127.0.0.1:1");
    let absent = probe(absent, &["--field", "username=alice"], PASSWORD);
    assert_eq!(absent.status.code(), Some(1));
    assert!(said(&absent).contains("refused"), "{}", said(&absent));
}

#[test]
fn probe_login_asks_whoami_with_the_cookies_of_a_form_login() {
    let pair = "abcdefghijklmnopqrstuvwxyz012345";
    let arguments = [
        "--field",
        "username=alice",
        "--field",
        &format!("csrfmiddlewaretoken={pair}"),
        "--header",
        &format!("Cookie: csrftoken={pair}"),
    ];
    let output = probe(gateway(Store::Embedded).with_backend(django()), &arguments, PASSWORD);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "status   302",
        "GET /api/me with the cookies csrftoken\n",
        "GET /api/me with the cookies csrftoken, sessionid\n",
        "user 7 of tenant 42",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
    assert!(!said.contains(pair), "{said}");

    let wrong = probe(gateway(Store::Embedded).with_backend(django()), &arguments, "wrong-password");
    assert_eq!(wrong.status.code(), Some(1), "a form that is shown again is no login");
}

#[test]
fn probe_login_says_whether_a_wrong_password_would_be_told_apart() {
    let arguments = ["--field", "username=alice", "--wrong"];
    let apart = probe(gateway(Store::Embedded).with_backend(flask()), &arguments, PASSWORD);
    assert_eq!(apart.status.code(), Some(0), "{}", said(&apart));
    for part in ["Once more with a wrong password:", "No session: 401", "A wrong password makes no session"] {
        assert!(said(&apart).contains(part), "{part:?} in\n{}", said(&apart));
    }

    // An app that lets anybody in, or whose answer to a failed login names the user, too.
    let backend = echo();
    backend.on("/api/login", [answer_json(&json!({"user": {"user_id": 7, "customer_id": 42}}))]);
    let alike = probe(gateway(Store::Embedded).with_backend(&backend), &arguments, PASSWORD);
    assert_eq!(alike.status.code(), Some(1), "{}", said(&alike));
    assert!(said(&alike).contains("A wrong password makes a session, too"), "{}", said(&alike));
    let sent = String::from_utf8(backend.last().body).expect("text");
    assert!(sent.contains("\"password\":\"wrong-") && !said(&alike).contains("wrong-"), "{sent}\n{}", said(&alike));
}

#[test]
fn probe_login_prints_what_it_found_as_json() {
    let arguments = ["--field", "username=alice", "--json", "--wrong"];
    let output = probe(gateway(Store::Embedded).with_backend(flask()), &arguments, PASSWORD);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else");
    assert_eq!(found["session"], true);
    assert_eq!(found["answers"][0]["status"], 200);
    assert_eq!(
        found["candidates"][0],
        json!({"part": "tenant", "pointer": "/user/customer_id", "value": "42"}),
        "{found}"
    );
    assert!(found["wrong_password"].as_str().is_some_and(|said| said.contains("told apart")), "{found}");
    assert!(!said(&output).contains("legacy-token"), "{found}");
}

#[test]
fn probe_login_never_takes_a_users_id_for_a_tenant_and_lists_all_that_may_be_one() {
    let backend = echo();
    let body = json!({
        "account": {"id": 7, "email": "alice@example.com", "tenant": {"id": 42, "name": "Northwind"}},
        "memberships": [{"org_id": 42, "role": "admin"}, {"org_id": 77, "role": "viewer"}],
        "status": "otp_required",
    });
    backend.on("/api/login", [answer_json(&body)]);
    let builder =
        gateway(Store::Embedded).with_backend(&backend).set("login.tenant", vec!["/t"]).set("login.user", vec!["/u"]);
    let output = probe(builder, &["--field", "username=alice", "--json-body"], PASSWORD);
    let said = said(&output);
    for part in [
        "no tenant at /t; try `login.tenant = [\"/account/tenant/id\"]`",
        "no user at /u; try `login.user = [\"/account/id\"]`",
        "tenant   /account/tenant/id = 42",
        "user     /account/id = 7",
        "user     /account/email = alice@example.com",
        "/memberships/*/org_id lists 2 of the user's tenants",
        "`login.unless = [\"/status=otp_required\"]`",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
    assert!(!said.contains("tenant   /account/id"), "{said}");
}
