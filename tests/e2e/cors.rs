//! Which pages of other origins may read the gateway's answers (docs/behaviour.md, "Cross-origin reading").

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::http::Response;
use crate::support::{Gateway, Store, answer, echo, gateway};

const FRONT: &str = "https://front.example";
const HTML: (&str, &str) = ("Content-Type", "text/html");

fn allows(response: &Response) -> (Option<&str>, Option<&str>) {
    (response.header("access-control-allow-origin"), response.header("access-control-allow-credentials"))
}

fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Response {
    gateway.exchange(format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: content-type,x-own\r\n\r\n",
        gateway.address()
    ))
}

#[test]
fn the_gateways_own_answers_can_be_read_from_listed_origins_and_no_others() {
    let backend = echo();
    backend.on("/public/x", [answer("200 OK", &[("Access-Control-Allow-Origin", "https://own.example")], "")]);
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).set("server.trusted_origins", vec![FRONT, "app://x"]).start();
    for origin in [FRONT, "app://x"] {
        let line = format!("Origin: {origin}");
        for (path, status) in [("/private", 401), ("/api/session/status", 401), ("/public/%2f", 400)] {
            let refused = gateway.get_with_lines(path, &[&line]).expect(status);
            assert_eq!(allows(&refused), (Some(origin), Some("true")), "{path}");
            assert_eq!(refused.header("vary"), Some("Origin"));
            let exposed = refused.header("access-control-expose-headers").expect("a list");
            assert!(["X-Request-ID", "Retry-After", "X-Session-Expires-In"].iter().all(|name| exposed.contains(name)));
        }
        let backends = gateway.get_with_lines("/public/x", &[&line]).expect(200);
        assert_eq!(
            allows(&backends),
            (Some("https://own.example"), None),
            "what the app says of its own answers stays"
        );
    }
    for origin in ["https://evil.example", "null", "https://front.example.evil.test", "http://front.example"] {
        let refused = gateway.get_with_lines("/private", &[&format!("Origin: {origin}")]).expect(401);
        assert_eq!(allows(&refused), (None, None), "{origin}");
    }
    assert_eq!(allows(&gateway.get_with_lines("/private", &[]).expect(401)), (None, None));
}

#[test]
fn preflights_of_the_gateways_own_endpoints_are_its_own_and_the_others_the_backends() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("cors.origins", vec![FRONT]).start();
    for (path, methods) in [
        ("/api/session/status", "GET, HEAD"),
        ("/api/session/refresh", "POST"),
        ("/api/auth/revoke-all-tokens", "POST"),
    ] {
        let allowed = preflight(&gateway, path, FRONT).expect(204);
        assert_eq!(allows(&allowed), (Some(FRONT), Some("true")), "{path}");
        assert_eq!(allowed.header("access-control-allow-methods"), Some(methods), "{path}");
        assert_eq!(allowed.header("access-control-allow-headers"), Some("content-type,x-own"), "{path}");
        assert_eq!(allowed.header("access-control-max-age"), Some("600"));
        let refused = preflight(&gateway, path, "https://evil.example").expect(204);
        assert!(refused.headers.0.iter().all(|(name, _)| !name.starts_with("access-control-")), "{refused:?}");
    }
    assert!(backend.seen().is_empty());
    preflight(&gateway, "/api/x", FRONT).expect(200);
    assert_eq!(backend.last().header("x-customer-id"), None);
}

#[test]
fn where_the_gateway_speaks_for_the_app_nothing_of_what_the_app_says_is_left() {
    let backend = echo();
    let all = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Headers", "*"), ("Vary", "Accept")];
    backend.on("/public/x", [answer("200 OK", &all, "")]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .settings(&format!("[cors]\norigins = [\"{FRONT}\"]\nbackend = \"replace\""))
        .start();
    let mine = gateway.get_with_lines("/public/x", &[&format!("Origin: {FRONT}")]).expect(200);
    assert_eq!(allows(&mine), (Some(FRONT), Some("true")));
    assert_eq!(mine.headers.all("vary"), ["Accept", "Origin"]);
    let foreign = gateway.get_with_lines("/public/x", &["Origin: https://evil.example"]).expect(200);
    assert!(foreign.headers.0.iter().all(|(name, _)| !name.to_lowercase().starts_with("access-control-")));
    let before = backend.seen().len();
    let allowed = preflight(&gateway, "/api/x", FRONT).expect(204);
    assert_eq!(allowed.header("access-control-allow-methods"), Some("PUT"));
    let refused = preflight(&gateway, "/api/x", "https://evil.example").expect(204);
    assert!(refused.headers.0.iter().all(|(name, _)| !name.starts_with("access-control-")), "{refused:?}");
    assert_eq!(backend.seen().len(), before, "the backend hears of no preflight");
}

#[test]
fn a_front_end_on_another_origin_reads_errors_and_endpoints_in_a_browser() {
    let Some(browser) = Chromium::start() else { return };
    let (backend, pages) = (echo(), echo());
    pages.on("/public/page", [answer("200 OK", &[HTML], "<title>front</title>")]);
    let front = gateway(Store::Embedded).with_backend(&pages).over_tls(&["localhost"]).start();
    // Another port of the same host is another origin.
    let origin = format!("https://localhost:{}", front.address().port());
    let of = |backends: &str| {
        let described = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]);
        described.set("server.trusted_origins", vec![origin.clone()]).set("cors.backend", backends).start()
    };
    let stranger = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).start();
    // An app that lets the page in by itself, as Flask-CORS and django-cors-headers do; preflights are its own, too.
    let own = [
        ("Access-Control-Allow-Origin", origin.as_str()),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "PUT"),
        ("Access-Control-Allow-Headers", "X-Own"),
        ("Access-Control-Expose-Headers", "X-Request-ID"),
    ];
    backend.on("/public/own", [answer("200 OK", &own, "")]);
    browser.open(&format!("{origin}/public/page"));
    reads(&browser, &of("leave"), &of("replace"), &stranger);
}

/// What a page reads of three gateways: one that leaves the app's answers as they are, one that speaks for it, and one that
/// does not know the page's origin.
fn reads(browser: &Chromium, leave: &Gateway, replace: &Gateway, stranger: &Gateway) {
    let [leave, replace, stranger] =
        [leave, replace, stranger].map(|gateway| format!("https://localhost:{}", gateway.address().port()));
    let read = |site: &str, path: &str, more: &str| {
        browser.run(&format!(
            "return await fetch('{site}{path}', {{ credentials: 'include', {more} }}).then(
                 async (answer) => {{
                     const text = await answer.text();
                     let code = ''; try {{ code = JSON.parse(text).error_code ?? '' }} catch {{ }}
                     return [answer.status, code, answer.headers.get('x-request-id') !== null];
                 }},
                 () => 'Failed to fetch')"
        ))
    };
    let unread = json!("Failed to fetch");
    for site in [&leave, &replace] {
        assert_eq!(read(site, "/private", ""), json!([401, "session_required", true]));
        assert_eq!(read(site, "/api/session/status", ""), json!([401, "", true]));
        assert_eq!(
            read(site, "/api/session/refresh", "method: 'POST', headers: { 'X-Own': '1' }"),
            json!([401, "", true])
        );
    }
    assert_eq!(read(&stranger, "/private", ""), unread);
    assert_eq!(read(&stranger, "/api/session/status", ""), unread);
    // The app says nothing of other origins.
    assert_eq!(read(&leave, "/public/x", ""), unread);
    assert_eq!(read(&replace, "/public/x", ""), json!([200, "", true]));
    let with_preflight = "method: 'PUT', headers: { 'X-Own': '1' }, body: 'x'";
    // Where the app lets the page in, the page is in, also at a gateway that does not know its origin.
    for site in [&leave, &replace, &stranger] {
        assert_eq!(read(site, "/public/own", ""), json!([200, "", true]), "{site}");
        assert_eq!(read(site, "/public/own", with_preflight), json!([200, "", true]), "{site}");
    }
    assert_eq!(read(&leave, "/public/x", with_preflight), unread);
    assert_eq!(read(&replace, "/public/x", with_preflight), json!([200, "", true]));
    let login = json!({"answer": crate::support::logins::identity("42", "7")});
    let login = format!("method: 'POST', headers: {{ 'Content-Type': 'application/json' }}, body: '{login}'");
    assert_eq!(read(&replace, "/api/login", &login), json!([200, "", true]));
    assert_eq!(read(&replace, "/api/session/status", ""), json!([200, "", true]));
    assert_eq!(read(&replace, "/api/x", with_preflight), json!([200, "", true]));
}
