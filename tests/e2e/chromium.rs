//! A real browser on the demo's page: what its scripts can see and claim, what other sites can do with it, and what is
//! left after the logout.

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::{Backend as _, Step, Store, answer, echo, flask, gateway, send};
use crate::websockets::server;

const HTML: (&str, &str) = ("Content-Type", "text/html");
const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

#[test]
fn a_browser_logs_in_spoofs_in_vain_and_is_out_after_the_logout() {
    let Some(browser) = Chromium::start() else { return };
    let sockets = server();
    let gateway = gateway(Store::Embedded)
        .with_backend(flask())
        .over_tls(&["localhost"])
        .settings(&format!(
            "[upstreams.sockets]\nurl = \"{}\"\n[[routes]]\nmatch = [\"/chat\"]\nupstream = \"sockets\"",
            sockets.url()
        ))
        .start();
    let site = format!("https://localhost:{}", gateway.address().port());

    // Without a session, a page is the login and a script gets a 401.
    browser.open(&format!("{site}/api/invoices"));
    assert_eq!(browser.url(), format!("{site}/login?next=%2Fapi%2Finvoices"));
    browser.open(&format!("{site}/"));
    let protocol = browser.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol");
    assert_eq!(protocol, "h2");
    let status = "return (await fetch('/api/invoices')).status";
    assert_eq!(browser.run(status), 401);

    // The page's own form logs in; no script sees the cookie, and no storage has the token.
    browser.run(
        "document.querySelector('#login button').click();
         await until(() => document.querySelector('#session [data-field=state]').textContent === 'live')",
    );
    let cookies = browser.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    for (key, value) in [
        ("name", json!("__Host-session")),
        ("httpOnly", json!(true)),
        ("secure", json!(true)),
        ("sameSite", json!("Lax")),
        ("path", json!("/")),
        ("domain", json!("localhost")),
    ] {
        assert_eq!(cookies[0][key], value, "{key}");
    }
    assert_eq!(browser.run("return document.cookie"), "");
    let token = cookies[0]["value"].as_str().expect("a token");
    let kept = browser.run("return JSON.stringify([{...localStorage}, {...sessionStorage}])");
    assert!(!kept.to_string().contains(token));

    // The red button, and the same by hand under several names.
    let verdict = browser.run(
        "document.querySelector('[data-act=spoof]').click();
         return await until(() => { const said = document.querySelector('#verdict').textContent;
                                    return said.includes('claimed') && said })",
    );
    assert!(verdict.as_str().is_some_and(|said| said.contains("Flask was told 42")), "{verdict}");
    for name in ["X-Customer-ID", "X_Customer_ID", "x.customer.id"] {
        let told = browser.run(&format!(
            "const answer = await fetch('/api/invoices', {{ headers: {{ '{name}': '77' }} }});
             return (await answer.json()).believed.customer_id"
        ));
        assert_eq!(told, "42", "{name}");
    }
    gateway.wait_audit("identity.spoofed", |event| event["tenant"] == "42");

    let opened = format!(
        "window.chat = new WebSocket('wss://localhost:{}/chat');
         window.chatEnd = new Promise((told) => {{ chat.onclose = (end) => told([end.code, end.reason]) }});
         await new Promise((go, fail) => {{ chat.onopen = go; chat.onerror = fail }});
         const answer = new Promise((told) => {{ chat.onmessage = (message) => told(message.data) }});
         chat.send('hello');
         return await answer",
        gateway.address().port()
    );
    assert_eq!(browser.run(&opened), "42: hello");

    // After the logout nothing is left: not the socket, not the cookie, not the pages.
    browser.run(
        "document.querySelector('[data-act=logout]').click();
         await until(() => document.querySelector('#session [data-field=state]').textContent === 'none')",
    );
    assert_eq!(browser.run("return await chatEnd"), json!([4401, "session_revoked"]));
    assert_eq!(browser.cookies(), Vec::<serde_json::Value>::new());
    assert_eq!(browser.run(status), 401);
    browser.open(&format!("{site}/api/invoices"));
    assert_eq!(browser.url(), format!("{site}/login?next=%2Fapi%2Finvoices"));
}

#[test]
fn a_page_of_a_neighbour_with_whom_the_browser_shares_its_cookies_can_do_nothing_with_them() {
    let Some(browser) = Chromium::start() else { return };
    let (backend, neighbour) = (echo(), echo());
    neighbour.on("/public/page", [answer("200 OK", &[HTML], "<title>neighbour</title>")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).start();
    // Another port of the same host is another origin of the same site: SameSite does not keep cookies from it.
    let other = crate::support::gateway(Store::Embedded).with_backend(&neighbour).over_tls(&["localhost"]).start();
    let [site, beside] = [&gateway, &other].map(|gateway| format!("https://localhost:{}", gateway.address().port()));

    backend.on("/public/page", [answer("200 OK", &[HTML], "<title>ours</title>")]);
    browser.open(&format!("{site}/public/page"));
    let login = json!({"answer": crate::support::logins::identity("42", "7")});
    let headers = "'Content-Type': 'application/json'";
    let status = browser.run(&format!(
        "return (await fetch('/api/login', {{ method: 'POST', headers: {{ {headers} }}, body: '{login}' }})).status"
    ));
    assert_eq!(status, 200);
    assert_eq!(browser.run("return (await fetch('/api/x', { method: 'POST' })).status"), 200);

    browser.open(&format!("{beside}/public/page"));
    assert_eq!(browser.cookies().len(), 1, "the browser would send it");
    let before = backend.seen().len();
    browser.run(&format!("await fetch('{site}/api/x', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }})"));
    let refused = gateway.wait_log(&["csrf_failed"]);
    assert_eq!((&refused["status"], &refused["path"]), (&json!(403), &json!("/api/x")));
    let code = browser.run(&format!(
        "const socket = new WebSocket('{}/chat'); return await new Promise((told) => {{ socket.onclose = (end) => told(end.code) }})",
        site.replace("https", "wss")
    ));
    assert_eq!(code, 1006, "no handshake");
    let refused = gateway.wait_log(&["\"/chat\""]);
    assert_eq!((&refused["status"], &refused["code"]), (&json!(403), &json!("csrf_failed")));
    // What it may not read, it cannot: the answer is made, and kept from the page.
    let read = browser.run(&format!(
        "return await fetch('{site}/api/secret', {{ credentials: 'include' }}).then(() => 'read', () => 'not read')"
    ));
    assert_eq!(read, "not read");
    assert_eq!(backend.seen().len() - before, backend.seen_at("/api/secret").len());
}

/// Clicks the page's button of this name, and answers what the page is that comes: status, heading, code and whether it is
/// wider than the window.
fn press(browser: &Chromium, name: &str) -> serde_json::Value {
    browser.run(&format!("document.querySelector('[name={name}] button').click()"));
    shown(browser)
}

fn shown(browser: &Chromium) -> serde_json::Value {
    browser.run(
        "await until(() => document.querySelector('main h1'));
         return [performance.getEntriesByType('navigation')[0].responseStatus, document.querySelector('h1').textContent,
                 document.querySelectorAll('dd')[1].textContent, performance.getEntriesByType('resource').length]",
    )
}

#[test]
fn forms_that_are_refused_end_on_a_page_that_says_why() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    let form = |name: &str, action: &str, value: &str| {
        format!(
            "<form name={name} method=post action=\"{action}\"><input name=a value=\"{value}\"><button></button></form>"
        )
    };
    let large = "x".repeat(2000);
    let forms = [
        form("large", "/orders", &large),
        form("staff", "/staff", "1"),
        form("silent", "/silent", "1"),
        form("late", "/late", "1"),
        form("odd", "/odd", "1"),
    ];
    backend.on("/forms", [answer("200 OK", &[HTML], forms.concat())]);
    backend.on("/silent", [Step::Close]);
    backend.on("/late", [Step::Hang]);
    backend.on("/odd", [send("NONSENSE\r\n\r\n"), Step::Close]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .over_tls(&["localhost"])
        .set("server.max_body", "1KiB")
        .set("upstream.response_timeout", "500ms")
        .settings("[[routes]]\nmatch = \"/staff\"\nroles = [\"staff\"]")
        .start();
    let site = format!("https://localhost:{}", gateway.address().port());
    browser.open(&format!("{site}/healthz"));
    log_in(&browser);
    for (name, expected) in [
        ("large", json!([413, "This is too large", "body_too_large", 0])),
        ("staff", json!([403, "This is not allowed", "forbidden_role", 0])),
        ("silent", json!([502, "Something went wrong", "upstream_unreachable", 0])),
        ("odd", json!([502, "Something went wrong", "bad_answer", 0])),
        ("late", json!([504, "Please try again in a moment", "upstream_timeout", 0])),
    ] {
        browser.open(&format!("{site}/forms"));
        assert_eq!(press(&browser, name), expected);
    }
    // A neighbour's page, to which the browser lends its cookies, cannot send a form in this one's name.
    let neighbour = echo();
    neighbour.on("/public/forms", [answer("200 OK", &[HTML], form("forged", &format!("{site}/orders"), "1"))]);
    let beside = crate::support::gateway(Store::Embedded).with_backend(&neighbour).over_tls(&["localhost"]).start();
    browser.open(&format!("https://localhost:{}/public/forms", beside.address().port()));
    let before = backend.seen_at("/orders").len();
    assert_eq!(press(&browser, "forged"), json!([403, "This is not allowed", "csrf_failed", 0]));
    assert_eq!(backend.seen_at("/orders").len(), before);
}

/// Logs in from a script of the page's own origin.
fn log_in(browser: &Chromium) {
    let login = json!({"answer": crate::support::logins::identity("42", "7")});
    let status = browser.run(&format!(
        "return (await fetch('/api/login', {{ method: 'POST', headers: {{ 'Content-Type': 'application/json' }},
                                             body: '{login}' }})).status"
    ));
    assert_eq!(status, 200);
}

#[test]
fn while_the_site_is_closed_its_pages_say_so_and_the_session_is_there_afterwards() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    backend.on("/page", [answer("200 OK", &[HTML], "<title>the app</title>")]);
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).set("admin.token", TOKEN).start();
    let page = format!("https://localhost:{}/page", gateway.address().port());
    let close = |body| gateway.operator(TOKEN).request("PUT", "/v1/maintenance").json(&body).send().expect(200);
    browser.open(&format!("https://localhost:{}/healthz", gateway.address().port()));
    log_in(&browser);
    close(json!({"on": true, "message": "Back at <ten>", "retry_after": "2h"}));
    browser.open(&page);
    assert_eq!(shown(&browser), json!([503, "Back soon", "maintenance", 0]));
    assert_eq!(browser.run("return document.querySelector('main p').textContent"), "Back at <ten>");
    // The page itself may fetch nothing.
    browser.open(&format!("https://localhost:{}/healthz", gateway.address().port()));
    let call = "const answer = await fetch('/api/x'); return [answer.status, (await answer.json()).error_code]";
    assert_eq!(browser.run(call), json!([503, "maintenance"]));
    close(json!({"on": false}));
    browser.open(&page);
    assert_eq!(browser.run("return await until(() => document.title === 'the app')"), true);
}

#[test]
fn a_browser_with_too_many_cookies_or_without_tls_sees_a_page() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    backend.on("/public/page", [answer("200 OK", &[HTML], "<title>cookies</title>")]);
    let plain = gateway(Store::Embedded).with_backend(&backend).set("server.max_header", "8KiB").start();
    let site = format!("http://127.0.0.1:{}", plain.address().port());
    browser.open(&format!("{site}/public/page"));
    browser.run("for (let n = 0; n < 4; n += 1) document.cookie = `c${n}=${'x'.repeat(3000)}; path=/`");
    browser.open(&format!("{site}/public/page"));
    assert_eq!(shown(&browser), json!([431, "This is too large", "headers_too_large", 0]));
    let tls = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).start();
    browser.open(&format!("http://localhost:{}/public/page", tls.address().port()));
    assert_eq!(shown(&browser), json!([400, "This request cannot be answered", "https_required", 0]));
}

#[test]
fn in_the_frame_of_another_site_a_session_lives_there_and_nowhere_else() {
    let Some(browser) = Chromium::start() else { return };
    let (backend, portal) = (echo(), echo());
    let login = json!({"answer": crate::support::logins::identity("42", "7")});
    // What the frame does, and tells the page around it.
    let script = format!(
        "<script>(async () => {{
            const status = async () => (await fetch('/api/session/status')).status;
            const before = await status();
            const login = await fetch('/api/login', {{ method: 'POST', body: '{login}',
                                      headers: {{ 'Content-Type': 'application/json' }} }});
            const changed = await fetch('/api/x', {{ method: 'POST' }});
            parent.postMessage([before, login.status, await status(), changed.status], '*');
        }})()</script>"
    );
    backend.on("/public/frame", [answer("200 OK", &[HTML], script)]);
    let described = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]);
    let gateway = described.set("cookie.same_site", "none").set("cookie.partitioned", true).start();
    let site = format!("https://localhost:{}", gateway.address().port());
    let page = format!(
        "<script>onmessage = (message) => {{ window.told = message.data }}</script>
         <iframe src=\"{site}/public/frame\"></iframe>"
    );
    portal.on("/portal", [answer("200 OK", &[HTML], page)]);
    // An address is another site than a name.
    let around = format!("http://127.0.0.1:{}/portal", portal.address().port());
    browser.open(&around);
    assert_eq!(browser.run("return await until(() => window.told)"), json!([401, 200, 200, 200]));
    // The frame's cookie is the frame's: whoever comes by the front door has none.
    browser.open(&format!("{site}/healthz"));
    assert_eq!(browser.run("return (await fetch('/api/session/status')).status"), 401);
    log_in(&browser);
    browser.open(&around);
    assert_eq!(browser.run("return await until(() => window.told)"), json!([200, 200, 200, 200]), "it is still there");
    assert_eq!(backend.seen_at("/api/x").iter().filter(|seen| seen.identity() == (Some("42"), Some("7"))).count(), 2);
}
