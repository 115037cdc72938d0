use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::session::{TenantId, UserId};

fn capture(tenant: &str, user: &str) -> Capture {
    let pointer = |text: &str| vec![JsonPointer::parse(text).expect(text)];
    Capture::Json(IdentityPointers { tenant: pointer(tenant), user: pointer(user), role: pointer("/user/role") })
}

fn logged_in(tenant: &str, user: &str) -> Verdict {
    let tenant = TenantId::parse(tenant).expect("a tenant");
    Verdict::LoggedIn(Principal { tenant, user: UserId::parse(user).expect("a user"), role: None })
}

fn flask() -> Value {
    json!({
        "success": true,
        "token": "eyJhbGciOi.secret",
        "user": {"user_id": 7, "customer_id": 42, "role": "admin", "email": "a@example.com", "bio": "private words"},
        "csrf": {"id": 99_417},
        "teams": [{"org_id": "o-1"}, {"org_id": "o-2"}],
    })
}

#[test]
fn values_are_shown_only_where_an_identity_may_stand_and_secrets_nowhere() {
    let body = flask().to_string();
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, HeaderValue::from_static("sessionid=s3cret-cookie; HttpOnly"));
    headers.append(SET_COOKIE, HeaderValue::from_static("nameless-s3cret"));
    let mut hidden = Hidden::default();
    hidden.add("hunter2");
    hidden.add_answer(&headers, body.as_bytes());
    let capture = capture("/user/customer_id", "/user/user_id");
    let text = Report { capture: &capture, hidden: &hidden }.answer(StatusCode::OK, &headers, Ok(body.as_bytes()));
    for shown in [
        "status   200",
        "cookies  sessionid, (without a name)",
        "/user/customer_id                42   <- tenant",
        "/user/user_id                    7   <- user",
        "\"admin\"   <- role",
        "\"a@example.com\"",
        "/token                           text, 17 characters",
        "/user/bio                        text, 13 characters",
        "/success                         true",
        "/teams                           list of 2",
        "/teams/0/org_id                  \"o-1\"",
    ] {
        assert!(text.contains(shown), "{shown:?} in\n{text}");
    }
    for secret in ["eyJ", "s3cret", "private words", "99417", "hunter2"] {
        assert!(!text.contains(secret), "{secret:?} in\n{text}");
    }
}

#[test]
fn a_pointer_at_a_secret_does_not_make_it_visible() {
    let json = json!({"token": "t0ken-value", "uid": "hunter2", "id": "cookie-value"});
    let body = json.to_string();
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, HeaderValue::from_static("s=cookie-value"));
    let mut hidden = Hidden::default();
    hidden.add("hunter2");
    hidden.add_answer(&headers, body.as_bytes());
    for (tenant, user) in [("/token", "/uid"), ("/uid", "/token"), ("/id", "/id")] {
        let capture = capture(tenant, user);
        let report = Report { capture: &capture, hidden: &hidden };
        let [tenant, user] = [tenant, user].map(|at| json.pointer(at).and_then(Value::as_str).expect("a text"));
        let conclusion = report.explain(logged_in(tenant, user), &headers, body.as_bytes());
        assert!(conclusion.is_session());
        let text = report.answer(StatusCode::OK, &headers, Ok(body.as_bytes())) + &report.conclusion(&conclusion);
        for secret in ["t0ken-value", "hunter2", "cookie-value"] {
            assert!(!text.contains(secret), "{secret:?} in\n{text}");
        }
    }
}

#[test]
fn pointers_that_miss_get_a_suggestion() {
    for (answer, tenant, user) in [
        (flask(), Some("/user/customer_id"), Some("/user/user_id")),
        (json!({"org": {"id": 5}, "id": 9}), Some("/org/id"), Some("/id")),
        (json!({"data": {"tenantId": "x", "userName": "alice"}}), Some("/data/tenantId"), Some("/data/userName")),
        (json!({"a/b": {"company-id": 1}, "email": "a@b"}), Some("/a~1b/company-id"), Some("/email")),
        (json!({"customer_id": null, "org_id": "", "deep": {"org_id": 3}}), Some("/deep/org_id"), None),
        (json!({"session": {"user_id": 7, "tenant_id": 1}}), None, None),
        (json!(["x"]), None, None),
    ] {
        assert_eq!(suggest(&answer, Part::Tenant).as_deref(), tenant, "{answer}");
        assert_eq!(suggest(&answer, Part::User).as_deref(), user, "{answer}");
    }
    let capture = capture("/customer", "/user/user_id");
    let report = Report { capture: &capture, hidden: &Hidden::default() };
    let conclusion = report.explain(Verdict::Unnamed, &HeaderMap::new(), flask().to_string().as_bytes());
    let text = report.conclusion(&conclusion);
    assert!(text.contains("no tenant at /customer; try `login.tenant = [\"/user/customer_id\"]`"), "{text}");
    assert!(!text.contains("no user"), "{text}");
}

#[test]
fn what_a_backend_sends_is_bounded_and_cannot_break_a_line() {
    let mut members = serde_json::Map::new();
    for number in 0..5000 {
        members.insert(format!("k{number}\n\u{1b}[2J"), json!("x"));
    }
    let mut deep = json!({"user_id": 1});
    for _ in 0..60 {
        deep = json!({ "d": deep });
    }
    members.insert(String::from("deep"), deep);
    let body = Value::Object(members).to_string();
    let capture = capture("/customer_id", "/user_id");
    let report = Report { capture: &capture, hidden: &Hidden::default() };
    let text = report.answer(StatusCode::OK, &HeaderMap::new(), Ok(body.as_bytes()));
    assert!(text.lines().count() < MOST_VALUES + 10);
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("more"));
}
