use ::http::header::{COOKIE, HeaderValue, SET_COOKIE};

use super::*;
use crate::http::{GatewayCookieName, JsonPointer, Target};
use crate::login::{Capture, IdentityPointers, Users};

const ALICE: (u16, &str) = (200, r#"{"id": 7, "org": {"id": 42}}"#);
const NOBODY: (u16, &str) = (401, "{}");

fn rules() -> LoginRules {
    let pointer = |text: &str| vec![JsonPointer::parse(text).expect(text)];
    LoginRules {
        capture: Capture::Whoami {
            target: Target::parse("/api/me").expect("a path"),
            pointers: IdentityPointers {
                tenant: pointer("/org/id"),
                user: pointer("/id"),
                role: Vec::new(),
                tenants: Vec::new(),
            },
        },
        users: Users::default(),
        failure: Vec::new(),
        unless: Vec::new(),
        email: None,
    }
}

/// Runs a form login: what the browser had, what the login set, what whoami answers in turn. Gives the verdict and the
/// cookies of the questions.
fn run(cookies: Option<&'static str>, set: &[&'static str], answers: &[(u16, &str)]) -> (Verdict, Vec<String>) {
    let own = GatewayCookieName::parse("__Host-session").expect("a name");
    let sent: HeaderMap = cookies.into_iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect();
    let said: HeaderMap = set.iter().map(|line| (SET_COOKIE, HeaderValue::from_static(line))).collect();
    let mut browser = Browser::of_request(&own, &sent, "app.example.com", "/login");
    let (rules, spelling) = (rules(), IdentityRules::default());
    let mut inquiry = Inquiry::new(&rules, &spelling);
    let mut step = inquiry.read(&mut browser, &said, b"", 1_795_219_200);
    let mut answers = answers.iter();
    let mut asked = Vec::new();
    loop {
        match step {
            Step::Settled(verdict) => {
                assert!(answers.next().is_none(), "every answer was asked for");
                return (verdict, asked);
            }
            Step::Ask(question) => {
                let line = question.headers.get(COOKIE).expect("no question without cookies");
                asked.push(line.to_str().expect("text").to_owned());
                let (status, body) = answers.next().expect("no more questions than answers");
                let status = StatusCode::from_u16(*status).expect("a status");
                step = inquiry.answered(&mut browser, status, body.as_bytes());
            }
        }
    }
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::LoggedIn(..) => "somebody",
        Verdict::NamedBefore => "named before",
        Verdict::Refused(_) => "refused",
        Verdict::NoCookie => "no cookie",
        Verdict::Unnamed => "unnamed",
        Verdict::Bad(_) => "bad",
        Verdict::Failed => "failed",
        Verdict::Unfinished => "unfinished",
    }
}

#[test]
fn the_backend_is_asked_before_and_after_the_logins_cookies_are_in_the_browser() {
    for (row, cookies, set, answers, verdict, asked) in [
        ("a browser without cookies", None, &["s=new; Path=/"][..], &[ALICE][..], "somebody", &["s=new"][..]),
        (
            "one with others",
            Some("csrf=x"),
            &["s=new; Path=/"],
            &[NOBODY, ALICE],
            "somebody",
            &["csrf=x", "csrf=x; s=new"],
        ),
        ("one that is somebody", Some("s=old"), &["s=new; Path=/"], &[ALICE], "named before", &["s=old"]),
        ("an unwell backend", Some("s=old"), &["s=new; Path=/"], &[(503, "")], "named before", &["s=old"]),
        (
            "a backend that names nobody",
            Some("a=1"),
            &["s=new; Path=/"],
            &[(200, "{}"), ALICE],
            "somebody",
            &["a=1", "a=1; s=new"],
        ),
        ("a wrong password", None, &["csrf=x; Path=/"], &[NOBODY], "refused", &["csrf=x"]),
        ("a whoami that says no", None, &["s=new; Path=/"], &[(200, r#"{"ok": false}"#)], "refused", &["s=new"]),
        ("other pointers", None, &["s=new; Path=/"], &[(200, r#"{"uid": 7}"#)], "unnamed", &["s=new"]),
        ("no JSON", None, &["s=new; Path=/"], &[(200, "<p>")], "unnamed", &["s=new"]),
        ("no cookie", Some("a=1"), &[], &[], "no cookie", &[]),
        ("a cookie for elsewhere", None, &["s=new; Path=/admin"], &[], "no cookie", &[]),
        ("a cookie that goes", Some("s=old"), &["s=; Max-Age=0"], &[NOBODY], "no cookie", &["s=old"]),
        ("a name that no backend sets", None, &["__Host-session=x; Path=/"], &[], "no cookie", &[]),
    ] {
        let (found, questions) = run(cookies, set, answers);
        assert_eq!((name(&found), questions), (verdict, asked.iter().map(ToString::to_string).collect()), "{row}");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_settles_on_nobody() {
    let own = GatewayCookieName::parse("s").expect("a name");
    let mut browser = Browser::of_request(&own, &HeaderMap::new(), "a", "/");
    let (rules, spelling) = (rules(), IdentityRules::default());
    let step = Inquiry::new(&rules, &spelling).answered(&mut browser, StatusCode::OK, ALICE.1.as_bytes());
    assert!(matches!(step, Step::Settled(Verdict::NoCookie)));
}

#[test]
fn the_address_is_that_of_the_answer_which_names_the_user_and_of_none_before() {
    let own = GatewayCookieName::parse("__Host-session").expect("a name");
    let sent = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("sid=old"))]);
    let said = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("sid=new"))]);
    let rules = LoginRules { email: JsonPointer::parse("/mail").ok(), ..rules() };
    let spelling = IdentityRules::default();
    let long = format!(r#"{{"id": 7, "org": {{"id": 42}}, "mail": "{}"}}"#, "x".repeat(4000));
    for (last, expected) in [
        (r#"{"id": 7, "org": {"id": 42}, "mail": "alice@users.example"}"#, Some("alice@users.example")),
        (ALICE.1, None),
        (r#"{"id": 7, "org": {"id": 42}, "mail": ["alice@users.example"]}"#, None),
        (&long, None),
    ] {
        let mut browser = Browser::of_request(&own, &sent, "app.example.com", "/login");
        let mut inquiry = Inquiry::new(&rules, &spelling);
        inquiry.read(&mut browser, &said, br#"{"mail": "login@users.example"}"#, 1_795_219_200);
        let before = br#"{"mail": "guest@users.example"}"#;
        assert!(matches!(inquiry.answered(&mut browser, StatusCode::UNAUTHORIZED, before), Step::Ask(_)));
        let step = inquiry.answered(&mut browser, StatusCode::OK, last.as_bytes());
        assert!(matches!(step, Step::Settled(Verdict::LoggedIn(..))), "{last}");
        assert_eq!(inquiry.take_email().as_ref().map(Secret::expose_secret), expected, "{last}");
    }
}
