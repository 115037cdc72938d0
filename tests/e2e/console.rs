//! The console in a real browser: what operators see and do, what they cannot, and what nobody does in their name
//! (docs/behaviour.md, "Console").

use std::path::Path;

use serde_json::{Value, json};

use crate::support::chromium::Chromium;
use crate::support::echo::{Echo, Seen};
use crate::support::gateway::{Builder, write_certificate};
use crate::support::logins::identity;
use crate::support::{Browser, Gateway, RedisServer, Store, answer, answer_json, echo, gateway, wait_until};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const READER: &str = "r8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbR";
const KEY: &str = "kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s";
const STRANGER: &str = "198.51.100.1";
const HTML: (&str, &str) = ("Content-Type", "text/html");

/// What pages are asked in scripts.
const PAGE: &str = "
    const all = (what) => [...document.querySelectorAll(what)];
    const text = (what) => document.querySelector(what)?.textContent;
    const says = (words) => document.querySelector('main').textContent.includes(words);
";

/// An operator's browser.
struct Desk<'a> {
    browser: &'a Chromium,
    site: String,
}

impl<'a> Desk<'a> {
    fn at(browser: &'a Chromium, gateway: &Gateway) -> Self {
        Self { browser, site: format!("http://localhost:{}", gateway.admin_address().port()) }
    }

    /// Opens the console, types the token, and is in.
    fn sign_in(browser: &'a Chromium, gateway: &Gateway, token: &str) -> Self {
        let desk = Self::at(browser, gateway);
        desk.open("/console");
        assert_eq!(desk.browser.url(), format!("{}/console/sign-in?next=%2Fconsole", desk.site));
        desk.browser.press(&format!("{token}{}", Chromium::ENTER));
        desk.wait("text('h1') === 'Overview'");
        desk
    }

    fn open(&self, page: &str) {
        self.browser.open(&format!("{}{page}", self.site));
    }

    #[track_caller]
    fn ask(&self, script: &str) -> Value {
        self.browser.run(&format!("{PAGE} {script}"))
    }

    /// Waits until a condition holds on the page that is open then.
    #[track_caller]
    fn wait(&self, condition: &str) {
        self.ask(&format!("await until(() => {condition})"));
    }

    /// Clicks what is called by these words.
    #[track_caller]
    fn click(&self, what: &str, words: &str) {
        self.ask(&format!(
            "const found = await until(() => all('{what}').find((one) => one.textContent.trim() === '{words}'));
             found.id = 'to-be-clicked'; return 1"
        ));
        self.browser.click("#to-be-clicked");
    }

    /// Types into the field of this name.
    fn fill(&self, name: &str, value: &str) {
        self.ask(&format!("document.querySelector('main [name={name}]').focus()"));
        self.browser.press(value);
    }
}

fn backend() -> Echo {
    let backend = echo();
    backend.on_call("/api/login", |seen: &Seen| {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match body["password"].as_str() {
            Some("demo") => vec![answer_json(&identity(body["tenant"].clone(), body["user"].clone()))],
            _ => vec![answer("401 Unauthorized", &[], "{}")],
        }
    });
    backend
}

fn watched(store: Store) -> Builder {
    gateway(store)
        .set("monitor.mode", "enforce")
        .set("secrets.key", KEY)
        .set("admin.token", TOKEN)
        .settings(&format!("[[admin.tokens]]\nname = \"reader\"\ntoken = \"{READER}\"\nroles = [\"read\"]"))
        .set("server.trusted_proxies", vec!["127.0.0.1"])
}

fn from(gateway: &Gateway, address: &str) -> Browser {
    gateway.browser().with_header("X-Forwarded-For", address)
}

fn log_in(browser: &mut Browser, tenant: &str, user: &str) -> u16 {
    let login = json!({"username": user, "password": "demo", "tenant": tenant, "user": user});
    browser.post_json("/api/login", &login).status
}

fn session(gateway: &Gateway, tenant: &str, user: &str) -> Browser {
    let mut browser = gateway.browser();
    assert_eq!(log_in(&mut browser, tenant, user), 200);
    browser
}

/// Guesses a password until the account is locked from there.
fn guess(gateway: &Gateway, user: &str) {
    let body = json!({"username": user, "password": "wrong"});
    for status in [401, 401, 401, 401, 401, 429] {
        assert_eq!(from(gateway, STRANGER).post_json("/api/login", &body).status, status);
    }
}

fn api(gateway: &Gateway, path: &str) -> Value {
    gateway.operator(TOKEN).get(path).expect(200).json()
}

#[test]
fn an_operator_judges_unlocks_ends_and_suspends_in_a_browser_and_is_named_in_the_audit_log() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    assert_eq!(desk.ask("return [text('.state .fine'), says('Nothing was found.')]"), json!(["ready", true]));

    // What is found appears on the page that is open.
    desk.ask("window.sameDocument = true");
    guess(&gateway, "bob");
    desk.wait("says('Too many failed logins')");
    let seen = desk.ask(
        "return [sameDocument, all('.chart rect.high').length, all('figure tbody tr')[0].textContent.slice(10),
                 text('#news'), text('.state a[href=\"/console/locks\"]')]",
    );
    assert_eq!(seen, json!([true, 1, "100", "There is something new on this page.", "1"]));

    desk.click("button", "Malicious");
    desk.wait("says('Noted: malicious.')");
    let found = api(&gateway, "/v1/anomalies")["items"][0].clone();
    assert_eq!((&found["verdict"], &found["verdict_by"]), (&json!("malicious"), &json!("admin")));
    let event = gateway.wait_audit("anomaly.verdict", |_| true);
    assert_eq!((&event["actor"], &event["address"]), (&json!("operator:admin"), &json!("127.0.0.1")));
    assert!(event["user_agent"].as_str().is_some_and(|agent| agent.contains("Chrome")), "{event}");

    desk.click("nav a", "Locks");
    desk.wait("text('h1') === 'Locks on logins'");
    desk.fill("account", &format!(" BOB{}", Chromium::ENTER));
    desk.wait("location.search.includes('account') && all('tbody tr').length === 1");
    desk.click("button", "Unlock");
    desk.wait("says('Unlocked. What led to it counts no more.') && says('Nobody is locked out.')");
    assert_eq!(api(&gateway, "/v1/locks")["items"], json!([]));
    assert_eq!(gateway.wait_audit("login.unlocked", |_| true)["actor"], "operator:admin");
    assert_eq!(log_in(&mut from(&gateway, STRANGER), "42", "bob"), 200);

    let mut carol = session(&gateway, "42", "carol");
    desk.open("/console/sessions");
    desk.fill("tenant", "42");
    desk.fill("user", &format!("carol{}", Chromium::ENTER));
    desk.wait("location.search.includes('user=carol') && all('tbody tr').length === 1");
    desk.click("button", "Hold");
    desk.wait(
        "says('The session is held until its user logs in again, or it is released.') && text('.badge') === 'held'",
    );
    carol.get("/x").expect_refusal(401, "reauth_required");
    assert_eq!(gateway.wait_audit("session.held", |_| true)["actor"], "operator:admin");
    desk.click("button", "Release");
    desk.wait("says('The session goes on.')");
    wait_until("the session goes on", || (carol.get("/x").status == 200).then_some(()));
    desk.click("button", "End");
    desk.wait("says('1 session has ended.') && says('There is no live session on this page.')");
    carol.get("/x").expect_refusal(401, "session_revoked");
    assert_eq!(gateway.wait_audit("session.ended", |event| event["user"] == "carol")["actor"], "operator:admin");

    // What ends many asks first, and says how many.
    let mut users = [session(&gateway, "42", "1"), session(&gateway, "42", "2")];
    desk.click("nav a", "Tenants");
    desk.click("main a", "42");
    desk.click("main a", "Suspend…");
    desk.wait("says('Tenant 42 is active, and has 3 live sessions. They end at once.')");
    desk.fill("reason", "<i>unpaid</i> & late");
    desk.click("button", "Suspend");
    desk.wait("says('The tenant is suspended. 3 sessions have ended.') && says('<i>unpaid</i> & late')");
    users.iter_mut().for_each(|user| drop(user.get("/x").expect(401)));
    assert_eq!(log_in(&mut gateway.browser(), "42", "1"), 403);
    let event = gateway.wait_audit("tenant.changed", |_| true);
    assert_eq!(
        (&event["actor"], &event["details"]["words"]),
        (&json!("operator:admin"), &json!("<i>unpaid</i> & late"))
    );
    desk.click("main a", "Restore…");
    desk.click("button", "Restore");
    desk.wait("says('The tenant is active.')");
    assert_eq!(log_in(&mut gateway.browser(), "42", "1"), 200);

    // All of a user's.
    let mut many = [session(&gateway, "42", "9"), session(&gateway, "42", "9")];
    desk.open("/console/sessions?tenant=42&user=9");
    desk.click("main a", "End all sessions of this user…");
    desk.wait("says('This ends 2 live sessions of user 9 of 42 at once.')");
    desk.click("button", "End them");
    desk.wait("says('2 sessions have ended.')");
    many.iter_mut().for_each(|user| drop(user.get("/x").expect_refusal(401, "session_revoked")));

    desk.click("nav a", "Audit log");
    desk.wait("all('tbody tr').some((row) => ['operator:admin', 'tenant.changed'].every((word) => row.textContent.includes(word)))");

    // After signing out there is nothing left to go back to.
    desk.click("button", "Sign out");
    desk.wait("text('h1') === 'Sign in'");
    browser.back();
    desk.wait("text('h1') === 'Sign in'");
    assert_eq!(desk.ask("return says('operator:admin')"), false);
    assert!(
        browser.cookies().iter().all(|cookie| cookie["name"] != format!("console-{}", gateway.admin_address().port()))
    );
}

#[test]
fn what_was_only_observed_is_shown_as_what_would_have_been_done() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).set("monitor.mode", "observe").with_backend(&backend).start();
    let body = json!({"username": "bob", "password": "wrong"});
    (0..5).for_each(|_| drop(from(&gateway, STRANGER).post_json("/api/login", &body).expect(401)));
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    desk.click("main a", "what would have been done");
    desk.wait("text('h1') === 'What would have been done'");
    let sums = desk.ask("return all('table')[0].innerText.includes('would have locked logins') && says('observed')");
    assert_eq!(sums, true);
    desk.open("/console/locks");
    desk.wait("says('observed: nobody is refused')");
}

#[test]
fn whoever_may_only_look_is_offered_nothing_else_and_refused_it() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    guess(&gateway, "bob");
    let mut bob = session(&gateway, "42", "7");
    let desk = Desk::sign_in(&browser, &gateway, READER);
    for page in ["/console", "/console/findings", "/console/sessions", "/console/locks", "/console/tenant?id=42"] {
        desk.open(page);
        desk.wait("document.readyState === 'complete'");
        let offered = desk.ask("return all('main button, main a.button').map((one) => one.textContent)");
        let filter = if page == "/console" || page.contains("tenant") { json!([]) } else { json!(["Show"]) };
        assert_eq!(offered, filter, "{page}");
    }
    let id = api(&gateway, "/v1/sessions")["items"][0]["id"].as_str().expect("an id").to_owned();
    let forged = desk.ask(&format!(
        "const form = new URLSearchParams({{ form_token: document.querySelector('[name=form_token]').value }});
         const answer = await fetch('/console/sessions/{id}/end', {{ method: 'POST', body: form }});
         return [answer.status, (await answer.text()).includes('roles do not have `operate`')]"
    ));
    assert_eq!(forged, json!([403, true]));
    bob.get("/x").expect(200);
    let denied = gateway.wait_audit("admin.called", |event| event["reason"] == "forbidden_role");
    assert_eq!(denied["actor"], "operator:reader");
}

#[test]
fn names_that_are_markup_are_shown_as_they_are_and_run_nowhere() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let (tenant, user) = ("</script><script>hacked=1</script>", "\"><img/src=x/onerror=hacked=1>");
    let long = "x".repeat(128);
    for (tenant, user) in [(tenant, user), ("..", "%2e%2e"), (&*long, &*long)] {
        let mut browser = gateway.browser().with_header("User-Agent", "<svg/onload=hacked=1> Firefox/128.0");
        assert_eq!(log_in(&mut browser, tenant, user), 200, "{tenant}");
    }
    let hostile = gateway.browser().with_header("User-Agent", tenant).with_header("X-Customer-ID", user);
    let _spoofs = hostile.clone().get("/x");
    (0..5).for_each(|_| {
        let _failed = hostile.clone().post_json("/api/login", &json!({"username": tenant, "password": "wrong"}));
    });
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    browser.show_at(320, 640, false);
    for page in
        ["/console", "/console/findings", "/console/sessions", "/console/locks", "/console/tenants", "/console/audit"]
    {
        desk.open(page);
        let seen = desk.ask(
            "await until(() => document.readyState === 'complete');
             all('details').forEach((one) => { one.open = true });
             return [typeof hacked, all('script').length, all('img, iframe, object').length,
                     document.documentElement.scrollWidth <= innerWidth]",
        );
        assert_eq!(seen, json!(["undefined", 1, 0, true]), "{page}");
    }
    desk.open("/console/sessions");
    assert_eq!(desk.ask(&format!("return [says({}), says({})]", json!(tenant), json!(user))), json!([true, true]));
    // By its link each is found again, whatever it is called.
    for (tenant, user) in [(tenant, user), ("..", "%2e%2e")] {
        desk.open("/console/tenants");
        desk.click("main a", &tenant.replace('\'', "\\'"));
        desk.wait("text('h1') === 'A tenant' && text('dl a') === '1'");
        desk.ask("document.querySelector('dl a').click()");
        desk.wait(&format!("text('h1') === 'Live sessions' && says({})", json!(user)));
        assert_eq!(desk.ask("return all('tbody tr').length"), 1);
    }
}

#[test]
fn another_sites_page_does_nothing_in_an_operators_name_and_shows_nothing_of_the_console() {
    let Some(browser) = Chromium::start() else { return };
    let (backend, neighbour) = (backend(), echo());
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let mut victim = session(&gateway, "42", "7");
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    let id = api(&gateway, "/v1/sessions")["items"][0]["id"].as_str().expect("an id").to_owned();
    let token = desk.ask("return document.querySelector('[name=form_token]').value");
    let own = token.as_str().expect("a token");
    let form = |value: &str| {
        format!(
            "<form method=post action=\"{}/console/sessions/{id}/end\"><input name=form_token value=\"{value}\"><button>Win</button></form>",
            desk.site
        )
    };
    let frame = format!("<iframe src=\"{}/console\"></iframe>", desk.site);
    // Even if it knew the token.
    for (path, page) in [("/public/blind", form("x")), ("/public/knowing", form(own)), ("/public/frame", frame)] {
        neighbour.on(path, [answer("200 OK", &[HTML], page), answer("200 OK", &[HTML], "")]);
    }
    let beside = crate::support::gateway(Store::Embedded).with_backend(&neighbour).start();
    for (path, name) in [("blind", "localhost"), ("knowing", "localhost")] {
        // Another port of the same host: the browser sends the cookie, and says where the form comes from.
        browser.open(&format!("http://{name}:{}/public/{path}", beside.address().port()));
        browser.click("button");
        desk.wait("text('h1') === 'That is not allowed'");
    }
    victim.get("/x").expect(200);
    gateway.wait_audit("admin.called", |event| event["reason"] == "csrf_failed" && event["actor"] == "operator:admin");
    browser.open(&format!("http://localhost:{}/public/frame", beside.address().port()));
    let framed = browser.run("await new Promise((go) => setTimeout(go, 500)); return frames[0].length + document.querySelector('iframe').contentDocument?.body?.childElementCount || 0");
    assert_eq!(framed, 0, "nothing of it is shown in a frame");
    // From another site a link leads to its page all the same, and a script reads nothing.
    browser.open(&format!("http://127.0.0.1:{}/public/blind", beside.address().port()));
    let read = format!(
        "return await fetch('{}/console', {{ credentials: 'include' }}).then(() => 'read', () => 'not read')",
        desk.site
    );
    assert_eq!(browser.run(&read), "not read");
    browser.run(&format!("location.href = '{}/console/findings'", desk.site));
    desk.wait("text('h1') === 'Findings'");
}

#[test]
fn a_console_whose_store_is_down_says_so_and_works_again_with_it() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let mut redis = RedisServer::start();
    let gateway = watched(Store::on(&redis)).with_backend(&backend).start();
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    redis.kill();
    // The open page learns of it by itself.
    desk.wait("says('not ready') && says('The session store does not answer.')");
    for page in ["/console/findings", "/console/sessions", "/console/locks", "/console/tenants", "/console/audit"] {
        desk.open(page);
        let seen = desk.ask(
            "return [text('h1'), says('The session store does not answer'), says('Try again in 1 second.'),
                     performance.getEntriesByType('navigation')[0].responseStatus]",
        );
        assert_eq!(seen, json!(["The session store does not answer", true, true, 503]), "{page}");
    }
    redis.start_again();
    wait_until("the store", || (gateway.admin_get("/readyz").status == 200).then_some(()));
    desk.open("/console/sessions");
    desk.wait("text('h1') === 'Live sessions'");
}

#[test]
fn over_tls_the_cookie_is_bound_to_this_host_and_a_reload_that_takes_the_token_away_ends_what_an_open_page_shows() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let builder = watched(Store::Embedded).with_backend(&backend);
    write_certificate(builder.directory(), "admin", &["localhost"]);
    let builder = builder.settings("admin.tls = { cert = \"admin.crt\", key = \"admin.key\" }");
    let mut gateway = builder.start_without_waiting();
    let ready = |gateway: &Gateway| {
        gateway.browser().request("GET", "/readyz").try_send().is_ok_and(|answer| answer.status == 200)
    };
    wait_until("the gateway", || ready(&gateway).then_some(()));
    let site = format!("https://localhost:{}", gateway.admin_address().port());
    let desk = Desk { browser: &browser, site };
    desk.open("/console/locks");
    browser.press(&format!("{TOKEN}{}", Chromium::ENTER));
    desk.wait("text('h1') === 'Locks on logins'");
    let cookies = browser.cookies();
    let session = cookies
        .iter()
        .find(|cookie| cookie["name"] == format!("__Host-console-{}", gateway.admin_address().port()))
        .unwrap_or_else(|| panic!("{cookies:?}"));
    for (key, value) in
        [("httpOnly", json!(true)), ("secure", json!(true)), ("sameSite", json!("Strict")), ("path", json!("/"))]
    {
        assert_eq!(session[key], value, "{key}");
    }
    assert_eq!(desk.ask("return document.cookie"), "");
    gateway.change("admin.token", "another-token-another-token-another-token-42");
    gateway.process().signal(rustix::process::Signal::HUP);
    desk.wait("text('h1') === 'Sign in'");
}

#[test]
fn a_keyboard_alone_is_enough() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    guess(&gateway, "bob");
    let desk = Desk::sign_in(&browser, &gateway, TOKEN);
    desk.open("/console");
    let focused = "const at = document.activeElement;
                   const outline = getComputedStyle(at);
                   const box = at.getBoundingClientRect();
                   return [at.textContent.trim(), outline.outlineStyle !== 'none', box.right > 0 && box.bottom > 0]";
    let mut order = Vec::new();
    for _ in 0..40 {
        browser.press(&Chromium::TAB.to_string());
        let seen = desk.ask(focused);
        let name = seen[0].as_str().expect("a name").to_owned();
        if name == "Malicious" {
            break;
        }
        assert_eq!((&seen[1], &seen[2]), (&json!(true), &json!(true)), "{name}: it is seen where one is");
        order.push(name);
    }
    let expected = [
        "Skip to the content",
        "Overview",
        "Findings",
        "Observed",
        "Sessions",
        "Locks",
        "Tenants",
        "Audit log",
        "Sign out",
    ];
    assert_eq!(order[..expected.len()], expected);
    assert!(order.contains(&String::from("Too many failed logins")), "{order:?}");
    // While one is at work with a part of the page, it is not replaced.
    desk.ask("window.before = document.activeElement; await new Promise((go) => setTimeout(go, 6000))");
    assert_eq!(desk.ask("return before === document.activeElement && before.isConnected"), true);
    browser.press(" ");
    desk.wait("says('Noted: malicious.')");
    // The link at the top leads past the navigation.
    browser.press(&format!("{}{}", Chromium::TAB, Chromium::ENTER));
    assert_eq!(desk.ask("return document.activeElement.id"), "main");
}

/// What makes a page hard to read or to use: nothing, that is.
const FAULTS: &str = "
    const faults = [];
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => parts(colour).slice(0, 3)
        .map((part) => { const c = part / 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 })
        .reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], .05);
    const contrast = (one, other) => Math.max(light(one), light(other)) / Math.min(light(one), light(other));
    const paper = (of) => {
        for (let at = of; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (parts(colour).length < 4 || parts(colour)[3] > 0) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    let texts = 0;
    for (const one of all('body, body *')) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const box = one.getBoundingClientRect();
        const style = getComputedStyle(one);
        if (!one.checkVisibility() || box.width < 2 || box.right < 0) continue;
        if (box.right > innerWidth + 1) faults.push(`wider than the window: ${one.outerHTML.slice(0, 80)}`);
        if (own || one.matches('input:not([type=hidden]), select')) {
            texts += 1;
            const ink = one.matches('svg text') ? style.fill : style.color;
            const seen = contrast(ink, paper(one));
            if (seen < 4.5) faults.push(`contrast ${seen}: ${one.outerHTML.slice(0, 80)}`);
        }
        if (one.matches('svg rect') && contrast(style.fill, paper(one)) < 3) faults.push(`a bar is hardly seen: ${style.fill}`);
        if (one.matches('input:not([type=hidden]), select, button, a.button')) {
            if (contrast(style.borderColor, paper(one.parentElement)) < 3) faults.push(`an edge is hardly seen: ${one.outerHTML}`);
            if (box.height < 24 || box.width < 24) faults.push(`too small for a finger: ${one.outerHTML}`);
        }
    }
    if (texts < 5) faults.push(`only ${texts} texts were looked at`);
    if (document.documentElement.scrollWidth > innerWidth) faults.push('it scrolls sideways');
    if (all('h1').length !== 1 || all('main, nav, header').length < 2) faults.push('headings or landmarks are missing');
    const ids = all('[id]').map((one) => one.id);
    if (new Set(ids).size !== ids.length) faults.push(`an id is there twice: ${ids}`);
    if (document.documentElement.lang !== 'en' || !document.title) faults.push('no language, or no title');
    for (const one of all('input:not([type=hidden]), select')) if (!one.labels.length) faults.push(`no label: ${one.outerHTML}`);
    return faults;
";

/// Pages as docs/console.md shows them. `WRITE_PICTURES=1` writes them anew.
#[test]
fn the_pages_are_readable_in_either_colour_on_a_phone_and_aloud_and_are_what_the_documents_show() {
    let Some(browser) = Chromium::start() else { return };
    let backend = backend();
    let gateway = watched(Store::Embedded).with_backend(&backend).start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console");
    let desk = Desk::at(&browser, &gateway);
    let look = |name: &str, pictured: &[&str]| {
        for (kind, width, height, dark) in [
            ("light", 1040, 720, false),
            ("dark", 1040, 720, true),
            ("phone", 320, 640, false),
            ("phone-dark", 320, 640, true),
        ] {
            browser.show_at(width, height, dark);
            desk.wait("document.readyState === 'complete' && document.querySelector('main h1')");
            assert_eq!(desk.ask(FAULTS), json!([]), "{name} {kind}");
            assert_eq!(
                desk.ask(&format!("return matchMedia('(prefers-color-scheme: dark)').matches === {dark}")),
                true
            );
            if !pictured.contains(&kind) {
                continue;
            }
            let (file, picture) = (folder.join(format!("{name}-{kind}.png")), browser.picture());
            if std::env::var_os("WRITE_PICTURES").is_some() {
                std::fs::create_dir_all(&folder).expect("a folder");
                std::fs::write(&file, picture).expect("a picture is written");
            }
            let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let wanted = [u32::to_be_bytes(width), u32::to_be_bytes(height)].concat();
            assert_eq!(kept.get(16..24), Some(&*wanted), "{}", file.display());
            assert!(kept.len() < 96 << 10, "{} has {} bytes", file.display(), kept.len());
        }
    };
    desk.open("/console");
    look("sign-in", &[]);
    browser.press(&format!("wrong{}", Chromium::ENTER));
    desk.wait("says('That is not a token of this gateway.')");
    look("wrong", &[]);
    browser.press(&format!("{TOKEN}{}", Chromium::ENTER));
    desk.wait("text('h1') === 'Overview'");

    guess(&gateway, "bob");
    guess(&gateway, "carol");
    assert_eq!(log_in(&mut from(&gateway, "192.0.2.7"), "42", "bob"), 200);
    for user in ["7", "7", "19"] {
        session(&gateway, "42", user);
    }
    wait_until("three findings", || {
        (api(&gateway, "/v1/anomalies")["items"].as_array().map(Vec::len) == Some(3)).then_some(())
    });
    let finding = api(&gateway, "/v1/anomalies")["items"][0]["id"].as_str().expect("an id").to_owned();
    let id = api(&gateway, "/v1/sessions")["items"][0]["id"].as_str().expect("an id").to_owned();
    for (name, page, pictured) in [
        ("overview", String::from("/console"), &["light", "dark", "phone"][..]),
        ("findings", String::from("/console/findings"), &[]),
        ("finding", format!("/console/findings/{finding}"), &["light", "phone-dark"]),
        ("observed", String::from("/console/observed"), &[]),
        ("sessions", String::from("/console/sessions?tenant=42&user=7"), &["dark"]),
        ("session", format!("/console/sessions/{id}"), &[]),
        ("locks", String::from("/console/locks"), &[]),
        ("tenants", String::from("/console/tenants"), &[]),
        ("tenant", String::from("/console/tenant?id=42"), &[]),
        ("suspend", String::from("/console/tenant/change?id=42&change=suspend"), &["light"]),
        ("audit", String::from("/console/audit"), &["light"]),
        ("nothing", String::from("/console/findings/1-0"), &[]),
    ] {
        desk.open(&page);
        look(name, pictured);
    }

    // A screen reader meets tables as tables, also where they are drawn as cards, and the chart by its words.
    desk.open("/console");
    let aloud = browser.read_aloud();
    let has = |role: &str, name: &str| aloud.iter().any(|(a_role, a_name)| a_role == role && a_name == name);
    for (role, name) in [
        ("navigation", "Pages"),
        ("main", ""),
        ("heading", "Overview"),
        ("heading", "Newest findings"),
        ("image", "Findings of the last 14 days: 3"),
        ("table", "The newest findings"),
        ("columnheader", "Severity"),
        ("link", "Too many failed logins"),
    ] {
        assert!(has(role, name), "{role} {name}: {aloud:?}");
    }
    assert_eq!(aloud.iter().filter(|(role, _)| role == "row").count(), 4, "the head, and three findings");
    let verdicts = aloud.iter().filter(|(role, name)| role == "button" && name.starts_with("Expected: "));
    assert_eq!(verdicts.count(), 3, "each says of what");
}
