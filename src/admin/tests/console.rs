//! The console as browsers meet it: who gets in, who stays in, and what a form needs.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, header};

use super::{ALL, Admin, Got, HERE, MINT, OPERATE, READ, request, without_tokens};
use crate::monitor::{Evidence, FindingRecord};
use crate::store::monitor::{Kept, ToKeep};

const ORIGIN: &str = "http://127.0.0.1";

/// A browser's cookies.
#[derive(Clone, Default)]
struct Jar(Vec<(String, String)>);

impl Jar {
    fn keep(&mut self, got: &Got) {
        for line in got.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie::Cookie::parse(line.to_str().expect("text").to_owned()).expect("a cookie");
            self.0.retain(|(name, _)| name != cookie.name());
            if !cookie.value().is_empty() {
                self.0.push((cookie.name().to_owned(), cookie.value().to_owned()));
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn line(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// Somebody at the console.
#[derive(Clone)]
struct Person<'a> {
    admin: &'a Admin,
    jar: Jar,
}

impl<'a> Person<'a> {
    fn new(admin: &'a Admin) -> Self {
        Self { admin, jar: Jar::default() }
    }

    /// Somebody who signed in with a token.
    async fn signed_in(admin: &'a Admin, token: &str) -> Self {
        let mut person = Self::new(admin);
        let got = person.sign_in(token).await;
        assert_eq!((got.status, location(&got)), (303, "/console"), "{got:?}");
        person
    }

    fn request(&self, method: Method, path: &str, body: Option<&str>) -> Request<String> {
        let mut request = request(method, path, None, None);
        request.headers_mut().insert(header::COOKIE, self.jar.line().parse().expect("a value"));
        if let Some(body) = body {
            request.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(ORIGIN));
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
            *request.body_mut() = body.to_owned();
        }
        request
    }

    async fn send(&mut self, request: Request<String>) -> Got {
        let got = self.admin.send(request).await;
        self.jar.keep(&got);
        got
    }

    async fn get(&mut self, path: &str) -> Got {
        self.send(self.request(Method::GET, path, None)).await
    }

    async fn sign_in(&mut self, token: &str) -> Got {
        self.get("/console/sign-in").await;
        let visitor = self.jar.value("console-visitor").expect("a cookie").to_owned();
        let form = format!("form_token={visitor}&token={token}");
        self.send(self.request(Method::POST, "/console/sign-in", Some(&form))).await
    }

    /// What the forms of a page carry.
    async fn form_token(&mut self) -> String {
        let page = self.get("/console/locks").await;
        let (_, rest) = page.body.split_once("name=\"form_token\" value=\"").expect("the form for signing out");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Sends a form of a page.
    async fn post(&mut self, path: &str, fields: &str) -> Got {
        let form = format!("form_token={}&{fields}", self.form_token().await);
        self.send(self.request(Method::POST, path, Some(&form))).await
    }
}

fn location(got: &Got) -> &str {
    got.headers.get(header::LOCATION).map_or("", |value| value.to_str().expect("text"))
}

/// Pages, by GET.
const PAGES: [&str; 13] = [
    "/console",
    "/console/findings",
    "/console/findings/1-0",
    "/console/observed",
    "/console/sessions",
    "/console/sessions/AAAAAAAAAAAAAAAAAAAAAA",
    "/console/sessions/end-all?tenant=a&user=b",
    "/console/locks",
    "/console/tenants",
    "/console/tenants/orphans",
    "/console/tenant?id=a",
    "/console/tenant/change?id=a&change=suspend",
    "/console/audit",
];
/// Forms, by POST: where, and with what beside their token.
const FORMS: [(&str, &str); 8] = [
    ("/console/findings/1-0/verdict", "verdict=expected"),
    ("/console/sessions/AAAAAAAAAAAAAAAAAAAAAA/end", ""),
    ("/console/sessions/AAAAAAAAAAAAAAAAAAAAAA/hold", ""),
    ("/console/sessions/AAAAAAAAAAAAAAAAAAAAAA/release", ""),
    ("/console/sessions/end-all", "tenant=a&user=b"),
    ("/console/locks/AAAAAAAAAAAAAAAAAAAAAA/unlock", ""),
    ("/console/tenant/change", "id=a&change=suspend"),
    ("/console/sign-out", ""),
];

fn finding(tenant: &str, evidence: Evidence) -> FindingRecord {
    FindingRecord {
        kind: "LOGIN_AFTER_FAILURES".into(),
        severity: "high".into(),
        observed: false,
        tenant: Some(tenant.to_owned()),
        user: Some("7".into()),
        user_kind: None,
        session_id: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
        account: None,
        address: Some("192.0.2.1".into()),
        evidence,
        actions: Vec::new(),
    }
}

async fn keep(admin: &Admin, dedupe: &str, record: &FindingRecord) -> String {
    let finding =
        ToKeep { record, dedupe, repeat: Duration::from_secs(3600), risk: None, postings: &[], has_failed: false };
    match admin.state.services.commons.watch.kept().keep(finding).await.expect("kept") {
        Kept::New { id, .. } => id.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_gets_a_page_or_sends_a_form_without_having_signed_in() {
    let admin = Admin::new();
    for path in PAGES {
        for cookie in ["", "console=", "console=AAAA", "console=a; console=b"] {
            let mut asked = request(Method::GET, path, None, None);
            asked.headers_mut().insert(header::COOKIE, HeaderValue::from_static(cookie));
            let got = admin.send(asked).await;
            assert_eq!(got.status, 303, "{path}: {got:?}");
            assert!(location(&got).starts_with("/console/sign-in?next=%2Fconsole"), "{path}: {}", location(&got));
        }
        // A token is for the API.
        let got = admin.get(path).await;
        assert_eq!(got.status, 303, "{path}");
    }
    for (path, fields) in FORMS {
        let mut person = Person::new(&admin);
        let got = person.send(person.request(Method::POST, path, Some(fields))).await;
        assert_eq!((got.status, location(&got)), (303, "/console/sign-in"), "{path}");
    }
}

#[tokio::test]
async fn every_page_says_what_it_may_do_and_is_kept_nowhere() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, ALL).await;
    let others =
        ["/console/sign-in", "/console/style.css", "/console/live.js", "/console/icon.svg", "/console/nowhere"];
    for path in PAGES.into_iter().chain(others) {
        let got = person.get(path).await;
        let policy = got.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.starts_with("default-src 'self'; ") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(got.headers[header::REFERRER_POLICY], "same-origin", "{path}");
        assert_eq!(got.headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
        assert!(!got.body.contains("style=\"") && !got.body.contains(" onclick"), "{path}: nothing is inline");
    }
}

#[tokio::test]
async fn without_any_token_there_is_no_console() {
    let admin = Admin::new();
    *admin.traffic.config.lock() = without_tokens();
    for path in PAGES.into_iter().chain(["/console/sign-in", "/console/style.css", "/console/live.js", "/console/"]) {
        for method in [Method::GET, Method::POST] {
            let got = admin.send(request(method, path, None, None)).await;
            assert_eq!((got.problem().0, got.problem().1.as_str()), (404, "not_found"), "{path}");
            assert!(!got.headers.contains_key(header::CONTENT_SECURITY_POLICY), "{path}");
        }
    }
}

#[tokio::test]
async fn a_session_has_a_cookie_of_its_own_that_no_script_and_no_other_site_gets() {
    let admin = Admin::new();
    let mut person = Person::new(&admin);
    let got = person.sign_in(READ).await;
    let lines: Vec<_> =
        got.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().expect("text")).collect();
    let session = lines.iter().find(|line| line.starts_with("console=")).expect("a session");
    assert!(session.ends_with("; HttpOnly; SameSite=Strict; Path=/console"), "{session}");
    assert_eq!(person.jar.value("console").map(str::len), Some(43));
    assert!(!got.body.contains(READ) && !lines.concat().contains(READ), "the token itself goes nowhere");
}

#[tokio::test]
async fn whoever_signs_in_has_a_new_session_and_the_one_before_is_over() {
    let admin = Admin::new();
    let mut victim = Person::new(&admin);
    // Somebody else had planted it.
    victim.jar.0.push(("console".into(), "planted-planted-planted-planted-planted-pla".into()));
    assert_eq!(victim.sign_in(ALL).await.status, 303);
    let first = victim.clone();
    assert_ne!(first.jar.value("console"), Some("planted-planted-planted-planted-planted-pla"));
    // Another form, which was open in another tab before.
    let mut again = Person::new(&admin);
    again.get("/console/sign-in").await;
    victim.jar.0.append(&mut again.jar.0);
    let form = format!("form_token={}&token={ALL}", victim.jar.value("console-visitor").expect("a cookie"));
    let sent = victim.request(Method::POST, "/console/sign-in", Some(&form));
    assert_eq!(victim.send(sent).await.status, 303);
    assert_ne!(victim.jar.value("console"), first.jar.value("console"));
    assert_eq!(first.clone().get("/console/locks").await.status, 303, "it ended");
    assert_eq!(victim.get("/console/locks").await.status, 200);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_not_its_cookie_alone() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, READ).await;
    let mut thief = person.clone();
    let got = person.post("/console/sign-out", "").await;
    assert_eq!((got.status, location(&got), person.jar.value("console")), (303, "/console/sign-in", None));
    assert_eq!(thief.get("/console/locks").await.status, 303);
    assert!(admin.state.services.audit.shutdown(Duration::from_secs(60)));
    let calls: Vec<String> = admin
        .audit()
        .iter()
        .map(|line| format!("{} {} {}", line["actor"], line["outcome"], line["details"]["call"]).replace('"', ""))
        .collect();
    assert_eq!(calls, ["operator:reader success console_sign_in", "operator:reader success console_sign_out"]);
}

#[tokio::test]
async fn a_session_ends_unused_after_half_an_hour_and_used_after_eight() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, READ).await;
    for _ in 0..23 {
        admin.clock.advance(Duration::from_secs(20 * 60));
        assert_eq!(person.clone().get("/console/locks").await.status, 200);
    }
    admin.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(person.get("/console/locks").await.status, 303, "eight hours");
    let mut person = Person::signed_in(&admin, READ).await;
    admin.clock.advance(Duration::from_secs(29 * 60));
    // An open page that looks for news by itself is nobody who works.
    let mut look = person.request(Method::GET, "/console/locks", None);
    look.headers_mut().insert("x-console-refresh", HeaderValue::from_static("1"));
    assert_eq!(person.send(look).await.status, 200);
    admin.clock.advance(Duration::from_secs(60));
    assert_eq!(person.get("/console/locks").await.status, 303);
}

#[tokio::test]
async fn wrong_tokens_count_as_wrong_calls_do_and_a_right_one_is_let_in_all_the_same() {
    let admin = Admin::new();
    for _ in 0..10 {
        let got = Person::new(&admin).sign_in("guess").await;
        assert_eq!(got.status, 401);
        assert!(got.body.contains("That is not a token of this gateway."), "{}", got.body);
        let call = admin.send(request(Method::GET, "/v1/tenants", Some("guess"), None)).await;
        assert_eq!(call.status, 401);
    }
    let got = Person::new(&admin).sign_in("guess").await;
    assert_eq!(got.status, 429);
    assert!(
        got.body.contains("Too many calls without a right token") && got.body.contains("60 seconds"),
        "{}",
        got.body
    );
    Person::signed_in(&admin, READ).await;
}

#[tokio::test]
async fn a_token_that_a_reload_took_away_ends_its_sessions_and_a_role_goes_at_once() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, ALL).await;
    assert!(person.get("/console/tenant?id=acme").await.body.contains("Suspend"));
    let mut config = (*super::config("")).clone();
    config.admin.tokens[0].roles = vec![crate::config::AdminRole::Read];
    *admin.traffic.config.lock() = Arc::new(config.clone());
    let page = person.get("/console/tenant?id=acme").await;
    assert!(page.status == 200 && !page.body.contains("Suspend"));
    config.admin.tokens.remove(0);
    *admin.traffic.config.lock() = Arc::new(config);
    assert_eq!(person.clone().get("/console/locks").await.status, 303);
    *admin.traffic.config.lock() = super::config("");
    assert_eq!(person.get("/console/locks").await.status, 303, "it does not come back with the token");
}

#[tokio::test]
async fn a_form_without_its_token_with_anothers_or_from_elsewhere_does_nothing() {
    let admin = Admin::new();
    let id = admin.session("acme", "7").await;
    let mut person = Person::signed_in(&admin, ALL).await;
    let own = person.form_token().await;
    let other = Person::signed_in(&admin, ALL).await.form_token().await;
    let path = format!("/console/sessions/{id}/end");
    let origin = |value: &'static str| (header::ORIGIN, HeaderValue::from_static(value));
    let site = |value| (header::HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static(value));
    for (form, origins) in [
        (String::new(), vec![origin(ORIGIN)]),
        (String::from("form_token="), vec![origin(ORIGIN)]),
        (format!("form_token={other}"), vec![origin(ORIGIN)]),
        (format!("form_token={}", &own[1..]), vec![origin(ORIGIN)]),
        (format!("form_token={own}"), vec![]),
        (format!("form_token={own}"), vec![origin("null")]),
        (format!("form_token={own}"), vec![origin("http://evil.test")]),
        (format!("form_token={own}"), vec![origin("http://127.0.0.1:8080")]),
        (format!("form_token={own}"), vec![origin("http://localhost")]),
        (format!("form_token={own}"), vec![origin(ORIGIN), origin(ORIGIN)]),
        (format!("form_token={own}"), vec![origin(ORIGIN), site("cross-site")]),
        (format!("form_token={own}"), vec![origin(ORIGIN), site("same-site")]),
    ] {
        let mut sent = person.request(Method::POST, &path, Some(&form));
        sent.headers_mut().remove(header::ORIGIN);
        for (name, value) in &origins {
            sent.headers_mut().append(name, value.clone());
        }
        let got = person.send(sent).await;
        assert_eq!(got.status, 403, "{form} {origins:?}");
        assert!(got.body.contains("This form did not come from a page of this console"), "{}", got.body);
    }
    assert_eq!(admin.get(&format!("/v1/sessions/{id}")).await.status, 200, "it lives");
    let got = person.post(&path, "").await;
    assert_eq!((got.status, location(&got)), (303, "/console/sessions"));
    assert!(person.get("/console/sessions").await.body.contains("1 session has ended."));
    assert!(admin.state.services.audit.shutdown(Duration::from_secs(60)));
    let denied = admin.audit().into_iter().find(|line| line["reason"] == "csrf_failed").expect("a line");
    assert_eq!((&denied["actor"], &denied["details"]["path"]), (&"operator:admin".into(), &path.into()));
}

#[tokio::test]
async fn a_sign_in_that_another_page_sends_is_none() {
    let admin = Admin::new();
    let mut person = Person::new(&admin);
    person.get("/console/sign-in").await;
    let visitor = person.jar.value("console-visitor").expect("a cookie").to_owned();
    let right = format!("form_token={visitor}&token={ALL}");
    for (form, origin) in [
        (format!("token={ALL}"), ORIGIN),
        (format!("form_token=x&token={ALL}"), ORIGIN),
        (right.clone(), "http://evil.test"),
        (right.clone(), "null"),
    ] {
        let mut sent = person.request(Method::POST, "/console/sign-in", Some(&form));
        sent.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(origin));
        assert_eq!(person.send(sent).await.status, 403, "{form} {origin}");
    }
    assert_eq!(person.jar.value("console"), None);
    let sent = person.request(Method::POST, "/console/sign-in", Some(&right));
    assert_eq!(person.send(sent).await.status, 303);
}

#[tokio::test]
async fn after_the_sign_in_comes_the_page_that_was_asked_for_and_none_elsewhere() {
    let admin = Admin::new();
    for (next, expected) in [
        ("%2Fconsole%2Ffindings%3Fseverity%3Dhigh", "/console/findings?severity=high"),
        ("https%3A%2F%2Fevil.test", "/console"),
        ("%2F%2Fevil.test%2Fconsole", "/console"),
        ("%2Fmetrics", "/console"),
    ] {
        let mut person = Person::new(&admin);
        person.get(&format!("/console/sign-in?next={next}")).await;
        let visitor = person.jar.value("console-visitor").expect("a cookie").to_owned();
        let form = format!("form_token={visitor}&token={READ}&next={next}");
        let got = person.send(person.request(Method::POST, "/console/sign-in", Some(&form))).await;
        assert_eq!((got.status, location(&got)), (303, expected), "{next}");
    }
}

#[tokio::test]
async fn a_link_in_a_mail_leads_to_its_page_although_its_cookie_does_not_come() {
    let admin = Admin::new();
    let mut led = request(Method::GET, "/console/findings?severity=high", None, None);
    led.headers_mut().insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    let got = admin.send(led).await;
    assert_eq!(got.status, 200);
    assert!(got.body.contains("content=\"0; url=/console/findings?severity=high\""), "{}", got.body);
}

#[tokio::test]
async fn what_a_role_does_not_allow_is_not_shown_and_is_refused_when_it_is_posted() {
    let admin = Admin::new();
    let id = admin.session("acme", "7").await;
    let found = keep(&admin, "a", &finding("acme", Evidence::default())).await;
    let mut reader = Person::signed_in(&admin, READ).await;
    for path in PAGES.into_iter().filter(|path| !path.contains("change") && !path.contains("end-all")) {
        let page = reader.get(path).await;
        let forms: Vec<_> = page.body.match_indices("method=\"post\"").collect();
        assert_eq!(forms.len(), 1, "{path} has the form for signing out alone: {}", page.body);
    }
    for (path, fields) in [
        (format!("/console/findings/{found}/verdict"), "verdict=expected"),
        (format!("/console/sessions/{id}/end"), ""),
        (format!("/console/sessions/{id}/hold"), ""),
        (format!("/console/sessions/{id}/release"), ""),
        (String::from("/console/sessions/end-all"), "tenant=acme&user=7"),
        (String::from("/console/locks/AAAAAAAAAAAAAAAAAAAAAA/unlock"), ""),
        (String::from("/console/tenant/change"), "id=acme&change=suspend"),
    ] {
        let got = reader.post(&path, fields).await;
        assert_eq!(got.status, 403, "{path}");
        assert!(got.body.contains("This token's roles do not have `operate`"), "{}", got.body);
    }
    assert_eq!(admin.get(&format!("/v1/sessions/{id}")).await.status, 200);
    for token in [OPERATE, MINT] {
        let got = Person::signed_in(&admin, token).await.get("/console").await;
        assert_eq!(got.status, 403);
        assert!(got.body.contains("do not have `read`"), "{}", got.body);
    }
}

#[tokio::test]
async fn a_change_is_the_operators_own_in_the_audit_log_with_address_browser_and_words() {
    let admin = Admin::new();
    admin.session("acme", "7").await;
    let mut person = Person::signed_in(&admin, ALL).await;
    let asked = person.get("/console/tenant/change?id=acme&change=suspend").await;
    assert!(asked.body.contains("1 live session") && asked.body.contains("Suspend this tenant?"), "{}", asked.body);
    let form = format!("form_token={}&id=acme&change=suspend&reason=unpaid+%26+angry", person.form_token().await);
    let mut sent = person.request(Method::POST, "/console/tenant/change", Some(&form));
    sent.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("Browser/1"));
    let got = person.send(sent).await;
    assert_eq!((got.status, location(&got)), (303, "/console/tenant?id=acme"));
    let page = person.get("/console/tenant?id=acme").await;
    assert!(page.body.contains("The tenant is suspended. 1 session has ended."), "{}", page.body);
    assert_eq!(admin.get("/v1/tenants/acme").await.expect(200)["reason"], "unpaid & angry");
    let changed = admin.audit().into_iter().find(|line| line["type"] == "tenant.changed").expect("a line");
    assert_eq!(changed["actor"], "operator:admin");
    assert_eq!((&changed["address"], &changed["user_agent"]), (&HERE.to_string().into(), &"Browser/1".into()));
    assert_eq!(changed["details"]["words"], "unpaid & angry");
}

#[tokio::test]
async fn errors_of_the_api_are_sentences() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, ALL).await;
    for (path, status, text) in [
        ("/console/findings/1-0", 404, "There is no finding of this id; they are kept for 90 days."),
        ("/console/findings/%2e%2e%2f", 404, "There is no finding of this id"),
        ("/console/sessions/x", 404, "There is no live session of this id."),
        ("/console/findings?severity=urgent", 400, "Severity: is not known; choose one of low, medium, high."),
        ("/console/sessions?user=7", 400, "User: users are within tenants"),
        ("/console/tenant?id=%3Cb%3E%20x", 400, "Tenant: "),
        ("/console/tenant", 404, "nothing at this path"),
        ("/console/tenant/change?id=acme&change=burn", 400, "Change: is none that a tenant can have."),
        ("/console/audit?since=yesterday", 400, "Since: is not a time"),
        ("/console/nowhere", 404, "There is nothing here"),
    ] {
        let got = person.get(path).await;
        assert_eq!(got.status, status, "{path}: {got:?}");
        assert!(got.body.contains(text), "{path}: {}", got.body);
        assert_eq!(got.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn nothing_that_comes_from_outside_is_markup() {
    let admin = Admin::new();
    let markup = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";
    let evidence =
        Evidence::default().with(markup, markup).with("list", vec![markup]).with("long", "x".repeat(100_000));
    let mut record = finding("acme", evidence);
    record.user = Some(markup.into());
    record.tenant = Some(markup.into());
    record.address = Some(markup.into());
    record.kind = markup.into();
    record.severity = markup.into();
    let id = keep(&admin, "a", &record).await;
    let mut person = Person::signed_in(&admin, ALL).await;
    let encoded = "%3C%2Fscript%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%3E%3Cimg%20src%3Dx%3E";
    let mut pages = vec![
        String::from("/console"),
        String::from("/console/findings"),
        format!("/console/findings/{id}"),
        format!("/console/sign-in?next={encoded}"),
        format!("/console/{encoded}"),
    ];
    for path in PAGES {
        let separator = if path.contains('?') { '&' } else { '?' };
        for name in ["tenant", "user", "kind", "cursor", "account", "severity", "since", "id", "change", "type"] {
            pages.push(format!("{path}{separator}{name}={encoded}"));
        }
    }
    for path in pages {
        let body = person.get(&path).await.body;
        let scripts: Vec<_> = body.match_indices("<script").collect();
        assert!(scripts.len() <= 1 && !body.contains("<img") && !body.contains('\u{202e}'), "{path}: {body}");
    }
    let page = person.get(&format!("/console/findings/{id}")).await.body;
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)") && page.contains("\\u{202e}"), "{page}");
    assert!(page.len() < 20_000, "what is very long is cut");
}

#[tokio::test]
async fn a_tenant_of_dots_alone_is_reached_like_any_other() {
    let admin = Admin::new();
    let mut person = Person::signed_in(&admin, ALL).await;
    for (tenant, encoded) in [("..", ".."), ("a/b", "a%2Fb"), ("%2e", "%252e")] {
        let got = person.post("/console/tenant/change", &format!("id={encoded}&change=suspend")).await;
        assert_eq!(got.status, 303, "{got:?}");
        let page = person.get(location(&got)).await;
        assert!(page.status == 200 && page.body.contains("The tenant is suspended"), "{page:?}");
        let body = person.get("/console/tenants").await.body;
        assert!(
            body.contains(&format!("<bdi>{tenant}</bdi>")) && body.contains(&format!("/console/tenant?id={encoded}\"")),
            "{body}"
        );
    }
}
