//! What a person sees where the gateway answers by itself (docs/behaviour.md, "Errors").

use std::path::Path;

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::http::Response;
use crate::support::{Browser, Gateway, Step, Store, answer, echo, gateway};

const HTML: (&str, &str) = ("Content-Type", "text/html");
const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

/// Fails unless it is a whole page of its own that says what happened.
#[track_caller]
fn expect_page(response: &Response, status: u16, code: &str) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    let (page, id) = (response.text(), response.header("x-request-id").expect("a name").to_owned());
    for text in ["<html lang=\"en\">", "<main>", "<h1>", &status.to_string(), code, &id] {
        assert!(page.contains(text), "{text}: {page}");
    }
    page
}

fn navigate(browser: &mut Browser, method: &str, path: &str, body: &[u8]) -> Response {
    browser.request(method, path).header("Sec-Fetch-Mode", "navigate").body(body).send()
}

#[test]
fn whatever_a_navigation_is_refused_with_is_a_page_and_whatever_a_call_is_refused_with_is_json() {
    let backend = echo();
    backend.on("/public/late", [Step::Hang]);
    backend.on("/public/silent", [Step::Close]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("upstream.response_timeout", "500ms")
        .set("server.max_body", "1KiB")
        .settings("session.max_per_user = { count = 1, action = \"deny\" }")
        .settings("[[routes]]\nmatch = \"/staff\"\nroles = [\"staff\"]")
        .start();
    let mut member = gateway.logged_in("42", "7");
    let (large, again) = (vec![b'x'; 2000], json!({"answer": crate::support::logins::identity("42", "7")}).to_string());
    for (method, path, body, status, code) in [
        ("POST", "/private", &b"a=b"[..], 401, "session_required"),
        ("GET", "/staff", b"", 403, "forbidden_role"),
        ("POST", "/public/upload", &large, 413, "body_too_large"),
        ("GET", "/public/%2f", b"", 400, "bad_path"),
        ("POST", "/api/login", again.as_bytes(), 429, "too_many_sessions"),
        ("POST", "/public/silent", b"", 502, "upstream_unreachable"),
        ("GET", "/public/late", b"", 504, "upstream_timeout"),
    ] {
        let who = if status == 403 { &mut member } else { &mut gateway.browser() };
        expect_page(&navigate(who, method, path, body), status, code);
        who.request(method, path).body(body).send().expect_refusal(status, code);
    }
    let foreign = "GET / HTTP/1.1\r\nHost: old.example\r\nSec-Fetch-Mode: navigate\r\n\r\n";
    assert!(expect_page(&gateway.exchange(foreign), 421, "host_not_allowed").contains("The host old.example is not"));
    assert!(!gateway.get_with_lines("/private", &["Sec-Fetch-Mode: navigate"]).expect(302).headers.has("content-type"));
}

#[test]
fn a_form_that_comes_after_the_sessions_end_is_told_so_and_shown_the_way_to_the_login() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("login.login_url", "/login?from=app&x=1").start();
    let mut browser = gateway.logged_in("42", "7");
    let mut other_tab = browser.clone();
    browser.post("/api/logout");
    let page = expect_page(&navigate(&mut other_tab, "POST", "/orders", b"a=b"), 401, "session_revoked");
    assert!(page.contains("<a href=\"/login?from=app&amp;x=1\">Log in</a>"), "{page}");
    assert!(page.contains("What you sent has not reached the application"), "{page}");
    assert_eq!(backend.seen_at("/orders").len(), 0);
}

#[test]
fn templates_are_filled_in_by_status_and_language_and_what_clients_send_is_never_html() {
    let backend = echo();
    let described = gateway(Store::Embedded).with_backend(&backend).set("errors.pages", "pages");
    let folder = described.directory().join("pages");
    std::fs::create_dir_all(folder.join("de")).expect("a folder");
    let all = "{status} {code} <b title=\"{message}\">{request_id}</b> {login_url} {unknown}";
    std::fs::write(folder.join("4xx.html"), all).expect("a file");
    std::fs::write(folder.join("de/421.html"), "Hier nicht: {message}").expect("a file");
    let gateway = described.start();
    let ask = |host: &str, more: &str| {
        gateway.exchange(format!("GET / HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: navigate\r\n{more}\r\n"))
    };
    let plain = ask("old.example", "").expect(421);
    let id = plain.header("x-request-id").expect("a name");
    assert_eq!(
        plain.text(),
        format!(
            "421 host_not_allowed <b title=\"The host old.example is not served here.\">{id}</b> /login {{unknown}}"
        )
    );
    assert!(!plain.headers.has("content-security-policy"), "what an operator's page may load is theirs to say");
    let german = ask("old.example", "Accept-Language: de-AT, en;q=0.5\r\n").expect(421);
    assert_eq!(german.text(), "Hier nicht: The host old.example is not served here.");
    assert_eq!(german.header("content-language"), Some("de"));
    // Changed pages come with a reload.
    std::fs::write(folder.join("4xx.html"), "new").expect("a file");
    gateway.reload();
    assert_eq!(ask("old.example", "").expect(421).text(), "new");
}

#[test]
fn the_page_to_begin_with_in_the_documents_is_filled_in() {
    let backend = echo();
    let described = gateway(Store::Embedded).with_backend(&backend).set("errors.pages", "pages");
    let folder = described.directory().join("pages");
    std::fs::create_dir_all(&folder).expect("a folder");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pages.md");
    let document = std::fs::read_to_string(document).expect("the document");
    let page = document.split("```html\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a page");
    std::fs::write(folder.join("4xx.html"), page).expect("a file");
    let gateway = described.start();
    let refused = navigate(&mut gateway.browser(), "POST", "/orders", b"a=b").expect(401);
    let id = refused.header("x-request-id").expect("a name").to_owned();
    let text = refused.text();
    assert!(
        text.contains("<title>401</title>") && text.contains("<a href=\"/login\">") && text.contains(&id),
        "{text}"
    );
    assert!(text.contains("body { font:") && !["{message}", "{status}"].iter().any(|place| text.contains(place)));
}

#[test]
fn a_navigation_whose_head_cannot_be_read_gets_a_page_if_that_much_of_it_was_seen() {
    const NAVIGATES: &str = "Sec-Fetch-Mode: navigate";
    const OF_OLD: &str = "Accept: text/html,application/xhtml+xml;q=0.9";
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.max_header", "8KiB")
        .set("server.trusted_origins", vec!["https://front.example"])
        .start();
    let cookie = format!("Cookie: a={}", "x".repeat(9000));
    let many = vec!["X-A: 1"; 101].join("\r\n");
    let lines = |lines: &[&str]| format!("{}\r\n", lines.join("\r\n"));
    for (head, status, code) in [
        (lines(&["GET / HTTP/1.1", NAVIGATES, &cookie]), 431, "headers_too_large"),
        (lines(&["GET / HTTP/1.1", OF_OLD, &cookie]), 431, "headers_too_large"),
        (lines(&["GET / HTTP/1.1", NAVIGATES, &many]), 431, "headers_too_large"),
        (lines(&["GET / HTTP/1.1", NAVIGATES, "X Y: 1"]), 400, "bad_request"),
        (lines(&["GET / HTTP/1.1", "X Y: 1", NAVIGATES]), 400, "bad_request"),
        (lines(&["GET / HTTP/1.1", "Content-Length: 1", "Content-Length: 2", NAVIGATES]), 400, "bad_request"),
        (lines(&["GET /a b HTTP/1.1", NAVIGATES]), 400, "bad_request"),
    ] {
        let head = format!("{head}\r\n");
        expect_page(&gateway.exchange(&head), status, code);
        // Who is no browser gets JSON; and so does one of whom nothing was seen.
        let of_a_call = head.replace(NAVIGATES, "Sec-Fetch-Mode: cors").replace(OF_OLD, "Accept: */*");
        gateway.exchange(&of_a_call).expect_refusal(status, code);
    }
    let first = lines(&["GET / HTTP/1.1", &cookie, NAVIGATES]);
    let mut wire = gateway.wire();
    wire.send(&first[..8500]).receive().expect_refusal(431, "headers_too_large");
    // In pieces as the network has them.
    let head = lines(&["GET / HTTP/1.1", NAVIGATES, "Accept-Language: de", "User-Agent: somebody's", "X Y: 1"]);
    let mut wire = gateway.wire();
    for piece in head.as_bytes().chunks(7) {
        wire.send(piece);
        crate::support::let_pass(std::time::Duration::from_millis(5));
    }
    expect_page(&wire.receive(), 400, "bad_request");
    let line = gateway.wait_log(&["somebody's"]);
    assert_eq!((&line["status"], &line["route"]), (&json!(400), &json!("refused")));
    let from = |origin: &str| {
        let head = lines(&["GET / HTTP/1.1", &format!("Origin: {origin}"), "X Y: 1"]);
        let refused = gateway.exchange(format!("{head}\r\n")).expect_refusal(400, "bad_request");
        refused.header("access-control-allow-origin").map(ToOwned::to_owned)
    };
    assert_eq!(from("https://front.example").as_deref(), Some("https://front.example"));
    assert_eq!(from("https://evil.example"), None);
    assert!(backend.seen().is_empty());
}

#[test]
fn a_browser_shows_the_pages_and_fetches_nothing_for_them() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    let form = "<form method=post action=/orders><input name=a value=b><button>Send</button></form>";
    backend.on("/public/form", [answer("200 OK", &[HTML], form)]);
    backend.on("/public/silent", [Step::Close]);
    let gateway: Gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .over_tls(&["localhost"])
        .set("server.hosts", vec!["localhost"])
        .start();
    let (local, port) = ("https://localhost", gateway.address().port());
    let shows = |status: u16, heading: &str| {
        let seen = browser.run(
            "await until(() => document.querySelector('main h1'));
             return [document.querySelector('h1').textContent, document.title, document.documentElement.lang,
                     document.querySelectorAll('h1').length, performance.getEntriesByType('resource').length,
                     performance.getEntriesByType('navigation')[0].responseStatus,
                     getComputedStyle(document.querySelector('dl')).borderTopStyle]",
        );
        assert_eq!(seen, json!([heading, heading, "en", 1, 0, status, "solid"]));
    };
    browser.open(&format!("{local}:{port}/public/form"));
    browser.run("document.querySelector('button').click()");
    shows(401, "Please log in");
    assert_eq!(browser.run("return document.querySelector('a').getAttribute('href')"), "/login");
    browser.open(&format!("{local}:{port}/public/silent"));
    shows(502, "Something went wrong");
    browser.open(&format!("https://127.0.0.1:{port}/"));
    shows(421, "Not served here");
}

/// The pages of docs/pages.md, drawn by a browser: readable in either colour, and on a phone. `WRITE_PICTURES=1` writes them
/// anew.
#[test]
fn the_pages_are_readable_in_either_colour_and_on_a_phone_and_are_what_the_documents_show() {
    let Some(browser) = Chromium::start() else { return };
    let backend = echo();
    backend.on("/public/form", [answer("200 OK", &[HTML], "<form method=post action=/orders><button></form>")]);
    backend.on("/public/silent", [Step::Close]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("admin.token", TOKEN)
        .settings("[[routes]]\nmatch = \"/staff\"\nroles = [\"staff\"]")
        .start();
    let site = format!("http://127.0.0.1:{}", gateway.address().port());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pages");
    let draw = |name: &str| {
        for (kind, width, height, dark) in
            [("light", 760, 420, false), ("dark", 760, 420, true), ("phone", 360, 420, true)]
        {
            browser.show_at(width, height, dark);
            let seen = browser.run(
                "await until(() => document.querySelector('main h1'));
                 const light = (colour) => colour.match(/\\d+/g).slice(0, 3)
                     .map((part) => { const c = part / 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 })
                     .reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], .05);
                 const style = getComputedStyle(document.body);
                 const [ink, paper] = [light(style.color), light(style.backgroundColor)];
                 const links = [...document.querySelectorAll('a')].map((a) => light(getComputedStyle(a).color));
                 const contrast = (ink) => Math.max(ink, paper) / Math.min(ink, paper);
                 const wide = document.documentElement.scrollWidth > innerWidth;
                 return [paper < .5, contrast(ink) >= 7, links.every((link) => contrast(link) >= 4.5), wide]",
            );
            // Contrast as WCAG 2.2 asks for it, AAA for text and AA for links; nothing is cut off.
            assert_eq!(seen, json!([dark, true, true, false]), "{name}-{kind}");
            let (file, picture) = (folder.join(format!("{name}-{kind}.png")), browser.picture());
            if std::env::var_os("WRITE_PICTURES").is_some() {
                std::fs::write(&file, picture).expect("a picture is written");
            }
            let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let size = |bytes: &[u8]| bytes.get(16..24).map(<[u8]>::to_vec);
            let wanted = [width.to_be_bytes(), height.to_be_bytes()].concat();
            assert_eq!(size(&kept).as_deref(), Some(&*wanted), "{}", file.display());
            assert!(kept.len() < 24 << 10, "{} has {} bytes", file.display(), kept.len());
        }
    };
    browser.open(&format!("{site}/public/form"));
    browser.run("document.querySelector('button').click()");
    draw("401");
    browser.open(&format!("{site}/healthz"));
    let login = json!({"answer": crate::support::logins::identity("42", "7")});
    browser.run(&format!(
        "await fetch('/api/login', {{ method: 'POST', body: '{login}', headers: {{ 'Content-Type': 'application/json' }} }})"
    ));
    browser.open(&format!("{site}/staff"));
    draw("403");
    browser.open(&format!("{site}/public/silent"));
    draw("502");
    let closed =
        json!({"on": true, "message": "We are moving to new servers and are back at ten.", "retry_after": "2h"});
    gateway.operator(TOKEN).request("PUT", "/v1/maintenance").json(&closed).send().expect(200);
    browser.open(&format!("{site}/public/form"));
    draw("maintenance");
}
