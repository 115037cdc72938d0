//! No browser goes round between the gateway and the app's login page, whatever of the app's own session it still has
//! (docs/behaviour.md, "Errors").

use crate::support::chromium::Chromium;
use crate::support::http::Response;
use crate::support::{Browser, SESSION_COOKIE, Store, answer, django_admin, echo, flask, gateway, wait_until};

/// For the Django app with `redirect_authenticated_user`.
const DJANGO: &str = r#"
    [login]
    path = ["/accounts/login/", "/admin/login/"]
    capture = "whoami"
    whoami = { path = "/api/me", tenant = "/org/id", user = "/id" }
    failure = ["200"]
    login_url = "/accounts/login/"
    [logout]
    clear_cookies = ["sessionid"]
    [[routes]]
    match = ["/api/health"]
    auth = "public"
"#;

/// Goes where the answers lead, as a browser does; fails if that has no end.
#[track_caller]
fn open(browser: &mut Browser, path: &str) -> (String, Response) {
    let mut path = path.to_owned();
    for _ in 0..10 {
        let answer = browser.navigate(&path);
        match answer.header("location") {
            Some(next) if (300..400).contains(&answer.status) => next.clone_into(&mut path),
            _ => return (path, answer),
        }
    }
    panic!("it goes round: {path}");
}

/// Logs in at one of the Django app's forms.
#[track_caller]
fn log_in(browser: &mut Browser, form: &str) -> Response {
    browser.get(form).expect(200);
    let token = browser.cookie("csrftoken").expect("the form sets it").to_owned();
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("username", "alice"), ("password", "demo")];
    browser.post_form(form, &fields)
}

/// A browser that was started anew, or that comes on the day of the roll-out: the app knows it, the gateway does not.
fn known_to_the_app_alone(gateway: &crate::support::Gateway, form: &str) -> Browser {
    let mut browser = gateway.browser();
    log_in(&mut browser, form).expect(302);
    let mut anew = gateway.browser();
    anew.set_cookie("sessionid", browser.cookie("sessionid").expect("the app's own session"));
    anew
}

#[test]
fn a_browser_that_the_app_knows_and_the_gateway_does_not_comes_to_the_form_and_not_round_and_round() {
    for (login_url, page) in [("/accounts/login/", "/"), ("/admin/login/", "/admin/"), ("/admin/login/", "/")] {
        let gateway = gateway(Store::Embedded)
            .with_backend(django_admin())
            .settings(DJANGO)
            .set("login.login_url", login_url)
            .start();
        let mut browser = known_to_the_app_alone(&gateway, login_url);
        let (path, form) = open(&mut browser, page);
        assert!(path.starts_with(login_url), "{login_url}: {path}");
        assert!(form.expect(200).text().contains("password"), "{login_url}: the form");
        assert!(browser.cookie("sessionid").is_none(), "{login_url}: the app does not know it any more");
        log_in(&mut browser, login_url).expect(302);
        assert_eq!(open(&mut browser, "/").1.expect(200).at("/app"), "alice");
    }
}

#[test]
fn whoever_is_sent_to_the_login_page_leaves_cookies_behind_that_are_none() {
    let backend = echo();
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).set("logout.clear_cookies", vec!["app", "remember"]).start();
    let ended = gateway.logged_in("42", "7").token();
    gateway.browser().with_header("Cookie", &format!("{SESSION_COOKIE}={ended}")).post("/api/logout").expect(200);
    let never_made = "A".repeat(43);
    for (what, token, expires) in [
        ("none", None, false),
        ("a session that is over", Some(ended.as_str()), true),
        ("one that was never made", Some(never_made.as_str()), true),
        ("what cannot be one", Some("x"), true),
    ] {
        let mut browser = gateway.browser();
        if let Some(token) = token {
            browser.set_cookie(SESSION_COOKIE, token);
        }
        let sent = browser.navigate("/page").expect(302);
        assert_eq!(sent.set_cookie(SESSION_COOKIE).is_some_and(|cookie| cookie.expires_it()), expires, "{what}");
        for name in ["app", "remember"] {
            assert!(sent.set_cookie(name).is_some_and(|cookie| cookie.expires_it()), "{what}: {name}");
        }
    }
}

#[test]
fn the_401_of_a_call_costs_nobody_a_cookie() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("logout.clear_cookies", vec!["app"]).start();
    let mut late = gateway.logged_in("42", "7");
    late.clone().post("/api/logout").expect(200);
    for path in ["/x", "/api/session/status"] {
        let refused = late.get(path).expect(401);
        assert!(refused.headers.all("set-cookie").is_empty(), "{path}: a new login's cookie may be there already");
    }
    let refused = late.post("/api/session/refresh").expect(401);
    assert!(refused.headers.all("set-cookie").is_empty());
}

#[test]
fn what_expires_cookies_in_foreign_frames_has_the_attributes_that_browsers_want_there() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .settings("cookie = { same_site = \"none\", partitioned = true }\nlogout.clear_cookies = [\"app\"]")
        .set("server.public_url", "https://app.test")
        .set("server.hosts", vec!["app.test"])
        .start();
    let mut browser = gateway.browser();
    browser.set_cookie("__Host-session", &"A".repeat(43));
    let request = browser.request("GET", "/page").header("Host", "app.test").header("Sec-Fetch-Mode", "navigate");
    let sent = request.send();
    let over = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        sent.expect(302).headers.all("set-cookie"),
        [
            format!("__Host-session=; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; {over}"),
            format!("app=; SameSite=None; Partitioned; Secure; Path=/; {over}"),
            format!("app=; SameSite=None; Secure; Path=/; {over}"),
        ]
    );
}

#[test]
fn a_link_in_a_mail_asks_once_more_where_the_cookie_is_strict() {
    let gateway = gateway(Store::Embedded)
        .with_backend(django_admin())
        .settings(DJANGO)
        .set("cookie.same_site", "strict")
        .start();
    let mut browser = gateway.browser();
    log_in(&mut browser, "/accounts/login/").expect(302);
    // The browser keeps its strict cookie back; the app's lax one comes along.
    let mut from_mail = gateway.browser();
    from_mail.set_cookie("sessionid", browser.cookie("sessionid").expect("the app's own session"));
    let led = |browser: &mut Browser, site: &str, referer: &str| {
        let request = browser.request("GET", "/?a=1&b='2'").header("Sec-Fetch-Mode", "navigate");
        request.header("Sec-Fetch-Site", site).header("Referer", referer).send()
    };
    let page = led(&mut from_mail, "cross-site", "https://mail.test/").expect(200);
    assert!(page.headers.all("set-cookie").is_empty(), "nothing is taken from who may be logged in");
    assert!(page.text().contains("content=\"0;url=/?a=1&amp;b=&#39;2&#39;\""), "{}", page.text());
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(led(&mut browser, "same-origin", "").expect(200).at("/app"), "alice", "with the cookie it is answered");

    // Once: whoever has no cookie then has none, and comes to the form.
    let ours = format!("http://{}/", gateway.address());
    for (site, referer) in [("same-origin", ours.as_str()), ("cross-site", &ours), ("none", "")] {
        let mut again = from_mail.clone();
        let sent = led(&mut again, site, referer).expect(302);
        assert!(sent.header("location").is_some_and(|to| to.starts_with("/accounts/login/?next=")), "{site}");
        assert!(again.cookie("sessionid").is_none(), "{site}");
    }
    // A call is no navigation, and an ended session is known to be none.
    let call = from_mail.request("GET", "/").header("Sec-Fetch-Site", "cross-site").header("Sec-Fetch-Mode", "cors");
    call.send().expect_refusal(401, "session_required");
    from_mail.set_cookie(SESSION_COOKIE, &"A".repeat(43));
    led(&mut from_mail, "cross-site", "").expect(302);
}

#[test]
fn a_browser_that_follows_a_link_from_another_site_comes_to_its_page_with_a_strict_cookie() {
    let Some(browser) = Chromium::start() else { return };
    let mail = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(flask())
        .over_tls(&["localhost"])
        .set("cookie.same_site", "strict")
        .start();
    let site = format!("https://localhost:{}", gateway.address().port());
    // An address is another site than a name.
    let link = format!("<a id=\"link\" href=\"{site}/api/me\">look</a>");
    mail.on("/mail", [answer("200 OK", &[("Content-Type", "text/html")], link)]);
    browser.open(&format!("{site}/"));
    browser.run(
        "document.querySelector('#login button').click();
         await until(() => document.querySelector('#session [data-field=state]').textContent === 'live')",
    );
    browser.open(&format!("http://127.0.0.1:{}/mail", mail.address().port()));
    browser.run("document.querySelector('#link').click()");
    wait_until("the page", || (browser.url() == format!("{site}/api/me")).then_some(()));
    let shown = browser.run(
        "return await until(() => document.body.textContent.includes('customer_id') && document.body.textContent)",
    );
    assert!(shown.as_str().is_some_and(|shown| shown.contains("42")), "{shown}");
}
