use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::login::Users;
use crate::session::{TenantId, UserId};

fn rules(tenant: &str, user: &str) -> LoginRules {
    let pointer = |text: &str| vec![JsonPointer::parse(text).expect(text)];
    let pointers = IdentityPointers {
        tenant: pointer(tenant),
        user: pointer(user),
        role: pointer("/user/role"),
        tenants: Vec::new(),
    };
    LoginRules {
        capture: Capture::Json(pointers),
        users: Users::default(),
        failure: Vec::new(),
        unless: Vec::new(),
        email: None,
    }
}

fn report<'a>(rules: &'a LoginRules, hidden: &'a Hidden) -> Report<'a> {
    Report { known: Known { rules, sealed: &[], cleared: &[], believes: false }, hidden }
}

fn lines(report: &Report<'_>, headers: &HeaderMap, body: &str) -> String {
    report.answer("POST /login", StatusCode::OK, headers, Ok(body.as_bytes())).lines()
}

fn logged_in(tenant: &str, user: &str) -> Verdict {
    let tenant = TenantId::parse(tenant).expect("a tenant");
    Verdict::LoggedIn(Principal { tenant, user: UserId::parse(user).expect("a user"), role: None }, Vec::new())
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
    let rules = rules("/user/customer_id", "/user/user_id");
    let text = lines(&report(&rules, &hidden), &headers, &body);
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
        let rules = rules(tenant, user);
        let report = report(&rules, &hidden);
        let [tenant, user] = [tenant, user].map(|at| json.pointer(at).and_then(Value::as_str).expect("a text"));
        let conclusion = report.explain(logged_in(tenant, user), &headers, body.as_bytes());
        assert!(conclusion.is_session());
        let offers = report.offers(body.as_bytes());
        let advice = report.advice(&conclusion, &headers, body.as_bytes(), &offers).join("\n");
        let text = lines(&report, &headers, &body) + &report.conclusion(&conclusion) + &offers.lines() + &advice;
        for secret in ["t0ken-value", "hunter2", "cookie-value"] {
            assert!(!text.contains(secret), "{secret:?} in\n{text}");
        }
    }
}

#[test]
fn pointers_that_miss_get_a_suggestion() {
    let rules = rules("/customer", "/user/user_id");
    let hidden = Hidden::default();
    let report = report(&rules, &hidden);
    let conclusion = report.explain(Verdict::Unnamed, &HeaderMap::new(), flask().to_string().as_bytes());
    let text = report.conclusion(&conclusion);
    assert!(text.contains("no tenant at /customer; try `login.tenant = [\"/user/customer_id\"]`"), "{text}");
    assert!(!text.contains("no user"), "{text}");
    let account = json!({"account": {"id": 7, "tenant": {"id": 42}}}).to_string();
    let text = report.conclusion(&report.explain(Verdict::Unnamed, &HeaderMap::new(), account.as_bytes()));
    assert!(text.contains("try `login.tenant = [\"/account/tenant/id\"]`"), "{text}");
    assert!(text.contains("try `login.user = [\"/account/id\"]`"), "{text}");
}

#[test]
fn what_an_answer_may_name_is_listed_with_its_values_the_tokens_claims_too() {
    let rules = rules("/customer", "/user");
    let hidden = Hidden::default();
    let body = json!({
        "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3Iiwib3JnX2lkIjo0Mn0.c2lnbmF0dXJl",
        "user": {"email": "a@example.com", "id": 7},
    });
    let body = body.to_string();
    let report = report(&rules, &hidden);
    let offers = report.offers(body.as_bytes());
    assert_eq!(
        offers.lines().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        [
            "tenant /org_id = 42, claimed by the token at /access_token",
            "user /user/id = 7",
            "user /user/email = a@example.com",
            "user /sub = 7, claimed by the token at /access_token",
        ]
    );
    let text = lines(&report, &HeaderMap::new(), &body);
    assert!(text.contains("token    at /access_token, HS256, read and not verified:"), "{text}");
    assert!(text.contains("/org_id                          42"), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
    let advice = report.advice(&Conclusion::Nobody(Vec::new()), &HeaderMap::new(), body.as_bytes(), &offers);
    assert!(
        advice.iter().any(|line| line.contains(
            "`capture = \"jwt\"`, `token = \"/access_token\"`, `tenant = \"/org_id\"`, `user = \"/sub\"` keep"
        )),
        "{advice:?}"
    );
}

#[test]
fn advice_is_given_where_it_fits_and_not_where_it_is_taken() {
    let mut headers = HeaderMap::new();
    for line in ["sessionid=x; HttpOnly", "remember_token=x", "csrftoken=x"] {
        headers.append(SET_COOKIE, HeaderValue::from_static(line));
    }
    let rules = rules("/tenant", "/user");
    let hidden = Hidden::default();
    let body = json!({"status": "otp_required", "memberships": [{"org_id": 1}, {"org_id": 2}]}).to_string();
    let advice = |known: Known<'_>, body: &str| {
        let report = Report { known, hidden: &hidden };
        let conclusion = report.explain(Verdict::Unnamed, &headers, body.as_bytes());
        report.advice(&conclusion, &headers, body.as_bytes(), &report.offers(body.as_bytes())).join("\n")
    };
    let nothing = Known { rules: &rules, sealed: &[], cleared: &[], believes: false };
    let all = advice(nothing, &body);
    for part in [
        "`login.unless = [\"/status=otp_required\"]`",
        "/memberships/*/org_id lists 2 of the user's tenants",
        "`identity.seal_cookies = [\"sessionid\", \"remember_token\"]`",
        "`logout.clear_cookies = [\"sessionid\", \"remember_token\"]`",
    ] {
        assert!(all.contains(part), "{part} in\n{all}");
    }
    assert!(!all.contains("whoami"), "{all}");
    assert!(advice(nothing, "<html>").contains("`capture = \"whoami\"`"));
    let cookies = [String::from("sessionid"), String::from("remember_token")];
    let unless = vec![Condition::parse("/status=otp_required").expect("a condition")];
    let told = LoginRules { unless, ..rules.clone() };
    let everything = Known { rules: &told, sealed: &cookies, cleared: &cookies, believes: true };
    let taken = advice(everything, &body);
    assert!(taken.starts_with("/memberships/*/org_id lists 2") && !taken.contains('\n'), "{taken}");
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
    let rules = rules("/customer_id", "/user_id");
    let hidden = Hidden::default();
    let text = lines(&report(&rules, &hidden), &HeaderMap::new(), &body);
    assert!(text.lines().count() < MOST_VALUES + 10);
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("more"));
}
