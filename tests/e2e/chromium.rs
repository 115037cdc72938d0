//! A real browser on the demo's page: what its scripts can see and claim, what other sites can do with it, and what is
//! left after the logout.

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::{Backend as _, Store, answer, echo, flask, gateway};
use crate::websockets::server;

const HTML: (&str, &str) = ("Content-Type", "text/html");

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
