//! A React page in a real browser, on the app's own origin and on another one, as docs/apps.md sets them up: log in, work
//! in two organisations, a second account in another tab, log out and go back, a session that is over, what a browser
//! fetches before anyone asked, a restart of the browser.

use serde_json::{Value, json};

use crate::apps::Row;
use crate::support::chromium::{Chromium, skip};
use crate::support::gateway::Builder;
use crate::support::{Gateway, Store, gateway, membership};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const TOKEN: &str = "an operator's token of more than 32 bytes";

/// The page's functions for the script of a step.
const PAGE: &str = "
    const one = (what) => until(() => document.querySelector(what));
    const text = (what) => document.querySelector(what)?.textContent;
    const fill = (form, fields) => Object.entries(fields).forEach(([name, value]) => {
        const field = form.elements[name];
        if (field.type === 'checkbox') field.checked = value; else field.value = value;
    });
    const signIn = async (username, remember = false) => {
        const form = await one('#sign-in');
        fill(form, { username, password: 'demo', remember });
        form.querySelector('button').click();
        await one('#who');
    };
    const choose = async (organisation, first) => {
        const select = await one('#organisation');
        select.value = organisation;
        select.dispatchEvent(new Event('change', { bubbles: true }));
        await until(() => text('#projects li') === first);
    };
    const add = async (name) => {
        const form = await one('#add');
        fill(form, { name });
        form.querySelector('button').click();
        // What it said before goes with that.
        await new Promise((go) => setTimeout(go, 0));
        return await until(() => {
            const names = [...document.querySelectorAll('#projects li')].map((item) => item.textContent);
            return (names.includes(name) && 'added') || text('#failed') || text('#why');
        });
    };
    const projects = () => [...document.querySelectorAll('#projects li')].map((item) => item.textContent);
";

#[track_caller]
fn step(browser: &Chromium, script: &str) -> Value {
    browser.run(&format!("{PAGE} {script}"))
}

/// A browser, where there is one; it drives a page that was built.
fn browser() -> Option<Chromium> {
    let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/front/dist/page.js");
    if !built.exists() {
        skip("the page of tests/front is not built");
        return None;
    }
    Chromium::start()
}

/// A gateway in front of the app, with the block under a heading of docs/apps.md.
fn behind(heading: &str) -> Builder {
    gateway(Store::Embedded)
        .with_backend(&Row::of(heading, membership()))
        .over_tls(&["localhost"])
        .set("secrets.key", KEY)
        .set("admin.token", TOKEN)
}

fn site(gateway: &Gateway) -> String {
    format!("https://localhost:{}", gateway.address().port())
}

/// Ends all sessions of a user, as an operator does.
fn end_all_of(gateway: &Gateway, user: &str) {
    let path = format!("/v1/tenants/42/users/{user}/revoke");
    gateway.operator(TOKEN).post_json(&path, &json!({"reason": "a test"})).expect(200);
}

#[test]
fn a_react_page_of_the_apps_own_origin_is_one_users_from_the_login_to_the_restart_of_the_browser() {
    let Some(mut browser) = browser() else { return };
    let gateway = behind("A React page").start();
    let page = site(&gateway);
    browser.open(&page);
    step(&browser, "await signIn('alice')");

    // Work, each call in the organisation that the page names; and in none that the user is not in.
    let first =
        "await until(() => text('#projects li')); return [text('#who'), text('#organisation'), text('#projects li')]";
    assert_eq!(step(&browser, first), json!(["7", "4277", "Contoso one"]));
    assert_eq!(step(&browser, "await choose('77', 'Fabrikam one'); return await add('of alice')"), "added");
    let other = step(&browser, "await choose('42', 'Contoso one'); return projects().includes('of alice')");
    assert_eq!(other, false);
    let foreign = "const answer = await fetch('/api/projects', { headers: { 'X-Customer-ID': '99' } });
                   return [answer.status, (await answer.json()).error]";
    assert_eq!(step(&browser, foreign), json!([403, "tenant_mismatch"]));
    gateway.wait_audit("identity.spoofed", |event| event["user"] == "7");

    // What a browser fetches before anyone asked ends nothing.
    let ahead = "const link = Object.assign(document.createElement('link'), { rel: 'prefetch', href: '/api/logout' });
                 document.head.append(link);
                 await until(() => performance.getEntriesByName(link.href).length);
                 return (await fetch('/api/session/status')).status";
    assert_eq!(step(&browser, ahead), 200);

    // A second account in another tab: the first tab's page is alice's still, and writes nothing into what is bob's.
    let alices = browser.tab();
    browser.open_tab();
    browser.open(&page);
    step(&browser, "await one('#who'); document.querySelector('#leave').click(); await signIn('bob')");
    assert_eq!(step(&browser, "return [text('#who'), text('#organisation')]"), json!(["19", "7799"]));
    let bobs = browser.tab();
    browser.go_to_tab(&alices);
    assert_eq!(step(&browser, "return await add('of nobody')"), "tenant_mismatch");
    browser.go_to_tab(&bobs);

    // Back shows nothing of a session that is over.
    browser.open(&format!("{page}/report"));
    assert_eq!(step(&browser, "return text('h1')"), "Report of 77");
    browser.open(&page);
    step(&browser, "(await one('#leave')).click(); await one('#sign-in')");
    browser.back();
    assert_eq!(browser.url(), format!("{page}/sign-in?next=%2Freport"));
    assert_eq!(step(&browser, "return document.body.textContent.includes('Fabrikam')"), false);

    // A session that is over is known to be over, and why.
    browser.open(&page);
    step(&browser, "await signIn('carol')");
    gateway.reload_with("session.idle", "1s");
    step(&browser, "await until(async () => (await fetch('/api/session/status')).status === 401)");
    assert_eq!(step(&browser, "return await add('of nobody')"), "session_idle_timeout");
    gateway.reload_with("session.idle", "30m");
    step(&browser, "await signIn('carol')");
    end_all_of(&gateway, "23");
    assert_eq!(step(&browser, "return await add('of nobody')"), "session_revoked");
    let left = browser.cookies();
    let of_the_app = |cookie: &&Value| cookie["name"] == "session" && cookie["value"] != "";
    assert_eq!(left.iter().filter(of_the_app).count(), 1, "the app's own is there, and of no use: {left:?}");
    assert_eq!(step(&browser, "return (await fetch('/api/me')).status"), 401);

    // A browser that is closed leaves only those logged in who asked to be remembered.
    step(&browser, "await signIn('alice')");
    browser.restart();
    browser.open(&page);
    step(&browser, "await signIn('alice', true)");
    browser.restart();
    browser.open(&page);
    assert_eq!(step(&browser, first), json!(["7", "4277", "Contoso one"]));
    assert_eq!(
        step(&browser, "return (await (await fetch('/api/projects')).json()).own"),
        "7",
        "the app knows her, too"
    );
}

#[test]
fn a_react_page_of_another_origin_works_reads_refusals_and_is_out_with_its_session() {
    let Some(mut browser) = browser() else { return };
    // The page's own server: the same host, another port, so that its cookies are sent, and its scripts are foreign.
    let pages = behind("A React page").start();
    let gateway = behind("A React page on another origin").set("server.trusted_origins", vec![site(&pages)]).start();
    let page = format!("{}/?api={}", site(&pages), site(&gateway));
    browser.open(&page);
    step(&browser, "await signIn('alice')");
    let first = "await until(() => text('#projects li')); return [text('#who'), text('#projects li')]";
    assert_eq!(step(&browser, first), json!(["7", "Contoso one"]));
    assert_eq!(step(&browser, "await choose('77', 'Fabrikam one'); return await add('from elsewhere')"), "added");
    let foreign = format!(
        "const answer = await fetch('{}/api/projects', {{ credentials: 'include', headers: {{ 'X-Customer-ID': '99' }} }});
         return [answer.status, (await answer.json()).error]",
        site(&gateway)
    );
    assert_eq!(step(&browser, &foreign), json!([403, "tenant_mismatch"]));

    // A second account in another tab.
    let alices = browser.tab();
    browser.open_tab();
    browser.open(&page);
    step(&browser, "(await one('#leave')).click(); await signIn('carol')");
    browser.go_to_tab(&alices);
    assert_eq!(step(&browser, "return await add('of nobody')"), "tenant_mismatch", "carol is not in 77");

    // Ended from outside: the page is told why, and begins anew.
    end_all_of(&gateway, "23");
    assert_eq!(step(&browser, "return await add('of nobody')"), "session_revoked");
    step(&browser, "await signIn('bob'); (await one('#leave')).click(); await one('#sign-in')");
    let status =
        format!("return (await fetch('{}/api/session/status', {{ credentials: 'include' }})).status", site(&gateway));
    assert_eq!(step(&browser, &status), 401);

    // A page of an origin that is not listed reads nothing.
    let stranger = behind("A React page").start();
    browser.open(&format!("{}/?api={}", site(&stranger), site(&gateway)));
    let read = format!(
        "return await fetch('{}/api/session/status', {{ credentials: 'include' }}).then(() => 'read', () => 'not read')",
        site(&gateway)
    );
    assert_eq!(step(&browser, &read), "not read");
}
