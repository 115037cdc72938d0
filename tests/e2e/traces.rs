//! What a session leaves in a browser, and what keeps it alive: caches, cookies in frames, polling, long downloads
//! (docs/behaviour.md, "Logout", "Session endpoints", "Open streams").

use std::time::Duration;

use serde_json::json;

use crate::on_both_stores;
use crate::support::{SESSION_COOKIE, Step, Store, answer, echo, gateway, let_pass, send, wait_until};

on_both_stores!(going_back_shows_no_page_of_a_session_that_is_over, |store| {
    let backend = echo();
    let html = ("Content-Type", "text/html; charset=utf-8");
    backend.on("/page", [answer("200 OK", &[html], "<p>hers</p>")]);
    backend.on("/kept", [answer("200 OK", &[html, ("Cache-Control", "private, max-age=60")], "<p>hers</p>")]);
    backend.on("/xhtml", [answer("200 OK", &[("Content-Type", "Application/XHTML+xml")], "<p/>")]);
    backend.on("/data", [answer("200 OK", &[("Content-Type", "application/json")], "{}")]);
    backend.on("/public/page", [answer("200 OK", &[html], "<p>anybody's</p>")]);
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for path in ["/page", "/kept", "/xhtml"] {
        let page = browser.get(path).expect(200);
        assert_eq!((page.header("cache-control"), page.header("vary")), (Some("no-store"), Some("Cookie")), "{path}");
    }
    assert_eq!(browser.get("/data").header("cache-control"), Some("private"));
    assert_eq!(browser.get("/public/page").header("cache-control"), None);
});

#[test]
fn what_is_kept_of_pages_and_of_the_rest_is_the_operators_choice() {
    let backend = echo();
    backend.on("/page", [answer("200 OK", &[("Content-Type", "text/html")], "")]);
    backend.on("/data", [answer("200 OK", &[("Content-Type", "application/json")], "{}")]);
    for (cache, pages, data, page) in [
        ("no-store", "private", Some("no-store"), Some("private")),
        ("leave", "leave", None, None),
        ("leave", "no-store", None, Some("no-store")),
    ] {
        let builder = gateway(Store::Embedded).with_backend(&backend).set("session.cache", cache);
        let gateway = builder.set("session.cache_pages", pages).start();
        let mut browser = gateway.logged_in("42", "7");
        assert_eq!(browser.get("/data").header("cache-control"), data, "{cache}");
        assert_eq!(browser.get("/page").header("cache-control"), page, "{pages}");
    }
}

#[test]
fn browsers_throw_away_what_the_operator_says_where_a_session_ends() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("session.clear_site_data", vec!["storage", "cache"])
        .settings("[[events]]\nmatch = \"POST /close\"\naction = \"revoke-session\"")
        .start();
    for path in ["/api/logout", "/api/auth/revoke-all-tokens", "/close"] {
        let ended = gateway.logged_in("42", "7").post(path).expect(200);
        assert_eq!(ended.header("clear-site-data"), Some("\"storage\", \"cache\""), "{path}");
    }
    assert_eq!(gateway.logged_in("42", "7").get("/x").header("clear-site-data"), None);
}

#[test]
fn in_the_frame_of_another_site_cookies_are_expired_as_they_were_set() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.public_url", "https://app.example.com")
        .set("server.hosts", vec!["*"])
        .set("cookie.same_site", "none")
        .set("cookie.partitioned", true)
        .set("logout.clear_cookies", vec!["sessionid"])
        .start();
    let logout = gateway.browser().post("/api/logout").expect(200);
    let lines = |name: &str| -> Vec<String> {
        let lines = logout.headers.all("set-cookie").into_iter().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    };
    let own = lines("__Host-session=");
    assert!(own.len() == 1 && own[0].contains("SameSite=None") && own[0].contains("Partitioned"), "{own:?}");
    let apps = lines("sessionid=");
    assert_eq!(apps.len(), 2, "{apps:?}");
    assert!(apps.iter().all(|line| line.contains("SameSite=None") && line.contains("Secure")), "{apps:?}");
    assert_eq!(apps.iter().filter(|line| line.contains("Partitioned")).count(), 1, "what was set without it goes, too");
}

#[test]
fn what_front_ends_send_by_themselves_keeps_no_session_alive() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).idle("2s").start();
    let mut browser = gateway.logged_in("42", "7");
    wait_until("the end", || {
        browser.post_json("/api/sessions/activity/batch", &json!([])).status.eq(&401).then_some(())?;
        browser.get("/socket.io/?EIO=4&transport=polling").status.eq(&401).then_some(())
    });
    gateway.wait_audit("session.ended", |event| event["reason"] == "idle_timeout");
}

on_both_stores!(a_download_that_began_in_time_is_whole_although_its_session_idles_out, |store| {
    let backend = echo();
    let parts = |head: &str| {
        let mut steps = vec![send(head)];
        steps.extend((0..8).flat_map(|_| [send("1\r\nx\r\n"), Step::Pause(Duration::from_millis(500))]));
        steps
    };
    backend.on_head("/file", parts("HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n"));
    backend.on_head("/events", parts("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let gateway = gateway(store).with_backend(&backend).idle("1s").start();
    let ask = |path: &str| {
        let browser = gateway.logged_in("42", "7");
        let mut wire = gateway.wire();
        let cookie = browser.token();
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {SESSION_COOKIE}={cookie}\r\n\r\n",
            gateway.address()
        ));
        (browser, wire)
    };
    let ((mut browser, mut file), (_, mut events)) = (ask("/file"), ask("/events"));
    assert_eq!(file.receive().expect(200).body.len(), 48, "it takes four times as long as the session may idle");
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
    events.try_receive_head().expect("a head");
    assert!(!events.rest().ends_with(b"0\r\n\r\n"), "what has no length is cut");
    // An end on purpose cuts a download, too.
    let (mut browser, mut file) = ask("/file");
    file.try_receive_head().expect("a head");
    let_pass(Duration::from_millis(300));
    browser.post("/api/logout").expect(200);
    assert!(file.rest().len() < 48);
});

#[test]
fn observing_names_clients_that_have_a_bearer_token_and_no_session() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("identity.mode", "observe").start();
    gateway.browser().request("GET", "/api/orders").header("Authorization", "Bearer abc").send().expect(200);
    let line = gateway.wait_log(&["a client has a bearer token and no session"]);
    assert_eq!((&line["path"], &line["client"]), (&json!("/api/orders"), &json!("127.0.0.1")));
    assert!(gateway.log().iter().all(|line| !line.contains("abc")), "and never the token");
    let mut browser = gateway.logged_in("42", "7");
    browser.request("GET", "/api/other").header("Authorization", "Bearer abc").send().expect(200);
    assert!(!gateway.log().iter().any(|line| line.contains("bearer token") && line.contains("/api/other")));
}
