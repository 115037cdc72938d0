//! What real clients send that is odd and has one meaning, and what must reach no backend whatever they send.

use std::time::Duration;

use crate::support::http2;
use crate::support::{Backend as _, SESSION_COOKIE, Step, Store, Wire, answer, curl, echo, gateway, let_pass};

#[test]
fn a_401_says_how_one_shows_who_one_is() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let challenge = "Session realm=\"127.0.0.1\"";
    for path in ["/private", "/api/session/status"] {
        let refused = gateway.get_with_lines(path, &[]).expect(401);
        assert_eq!(refused.header("www-authenticate"), Some(challenge), "{path}");
    }
    backend.on("/public/own", [answer("401 Mine", &[("WWW-Authenticate", "Basic realm=\"mine\"")], "")]);
    let own = gateway.get_with_lines("/public/own", &[]).expect(401);
    assert_eq!(own.header("www-authenticate"), Some("Basic realm=\"mine\""), "the backend's is the backend's");
}

#[test]
fn a_backends_own_401_that_does_not_say_it_says_it_by_then() {
    let backend = echo();
    let mine = |headers: &[(&str, &str)]| [answer("401 Mine", headers, "mine")];
    backend.on("/public/none", mine(&[]));
    backend.on("/none", mine(&[]));
    backend.on("/api/failing", mine(&[("Content-Type", "application/json")]));
    backend.on("/public/two", mine(&[("WWW-Authenticate", "Basic realm=\"a\""), ("WWW-Authenticate", "Bearer")]));
    let logins = vec!["/api/login", "/api/failing"];
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).set("login.path", logins).start();
    let cookie = super::http2::log_in(&gateway);
    for option in ["--http1.1", "--http2"] {
        let call = |path: &str| {
            let call = curl(&gateway).with(&[option]).header("Cookie", &cookie);
            call.get(path).expect(401).headers.all("www-authenticate").join(", ")
        };
        for path in ["/public/none", "/none"] {
            assert_eq!(call(path), "Session realm=\"localhost\"", "{option} {path}");
        }
        let failed = curl(&gateway).with(&[option, "--data", "{}"]).get("/api/failing").expect(401);
        assert_eq!(failed.headers.all("www-authenticate"), ["Session realm=\"localhost\""], "{option}");
        assert_eq!(call("/public/two"), "Basic realm=\"a\", Bearer", "{option}");
    }
}

#[test]
fn what_javas_client_accepts_makes_it_no_browser() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let java = "Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    gateway.get_with_lines("/private", &[java]).expect_refusal(401, "session_required");
    gateway.get_with_lines("/private", &["Upgrade-Insecure-Requests: 1"]).expect(302);
}

#[test]
fn http_1_0_without_a_host_asks_for_the_public_one() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let answer = Wire::connect(gateway.address()).send("GET /public/x HTTP/1.0\r\n\r\n").rest();
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(backend.last().header("host"), Some(gateway.address().to_string().as_str()));
    for refused in ["GET /public/x HTTP/1.1\r\n\r\n", "GET http://evil.test/public/x HTTP/1.0\r\n\r\n"] {
        let answer = Wire::connect(gateway.address()).send(refused).rest();
        assert!(answer.get(8..).is_some_and(|rest| rest.starts_with(b" 400")), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_host_that_is_not_ours_is_named_in_its_refusal() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let refused = gateway.exchange("GET / HTTP/1.1\r\nHost: Old.example.com:8443\r\n\r\n");
    let refused = refused.expect_refusal(421, "host_not_allowed");
    assert_eq!(refused.at("/message"), "The host Old.example.com:8443 is not served here.");
    gateway.wait_log(&["server.hosts", "Old.example.com:8443"]);
}

#[test]
fn a_redirect_to_where_only_the_gateway_can_go_is_one_that_browsers_can_follow() {
    let backend = echo();
    let to = |location: &str| [answer("302 Found", &[("Location", location)], "")];
    let own = backend.url();
    backend.on("/public/own", to(&format!("{own}/next?a=b")));
    backend.on("/public/http", to("http://localhost/next"));
    backend.on("/public/elsewhere", to("http://elsewhere.example/next"));
    backend.on("/public/schemeless", to(&format!("{}/next", own.trim_start_matches("http:"))));
    backend.on("/public/foreign", to("/caf\u{e9}"));
    backend.on("/public/twice", [answer("302 Found", &[("Location", "/a"), ("Location", "/b")], "")]);
    let (beside, later) = (format!("{own}/as.json"), format!("5; url={own}/next"));
    backend.on("/public/beside", [answer("200 OK", &[("Content-Location", &beside), ("Refresh", &later)], "")]);
    let started = |rewrite: bool| {
        let gateway = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]);
        gateway.set("upstream.rewrite_location", rewrite).start()
    };
    let gateway = started(true);
    let site = format!("https://localhost:{}", gateway.address().port());
    let location = |gateway: &super::support::Gateway, path: &str| {
        let answer = curl(gateway).get(path).expect(302);
        answer.header("location").expect("a location").to_owned()
    };
    assert_eq!(location(&gateway, "/public/own"), format!("{site}/next?a=b"));
    assert_eq!(location(&gateway, "/public/http"), format!("{site}/next"));
    assert_eq!(location(&gateway, "/public/elsewhere"), "http://elsewhere.example/next");
    assert_eq!(location(&gateway, "/public/schemeless"), format!("{site}/next"));
    assert_eq!(location(&gateway, "/public/foreign"), "/caf%C3%A9");
    let beside = curl(&gateway).get("/public/beside").expect(200);
    assert_eq!(beside.header("content-location"), Some(format!("{site}/as.json").as_str()));
    assert_eq!(beside.header("refresh"), Some(format!("5;url={site}/next").as_str()));
    curl(&gateway).get("/public/twice").expect_refusal(502, "bad_answer");
    gateway.wait_log(&["it has two Locations, and they differ"]);
    assert_eq!(location(&started(false), "/public/own"), format!("{own}/next?a=b"));
}

#[test]
fn two_lines_of_a_header_that_decides_are_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (one, two) in [
        ("Content-Type: application/json", "Content-Type: text/plain"),
        ("Content-Type: application/json", "content-type: application/json"),
        ("Content-Encoding: gzip", "Content-Encoding: identity"),
        ("Authorization: Basic YTpi", "Authorization: Basic YTpj"),
        ("Origin: https://a.example", "Origin: https://b.example"),
        ("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"),
        ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Mode: cors"),
        ("Referer: https://a.example/", "Referer: https://b.example/"),
    ] {
        gateway.get_with_lines("/public/x", &[one, two]).expect_refusal(400, "bad_request");
        gateway.get_with_lines("/public/x", &[one]).expect(200);
    }
    gateway.get_with_lines("/public/x", &["Accept: a/b", "Accept: c/d", "X-Own: 1", "X-Own: 2"]).expect(200);
    assert_eq!(backend.seen().len(), 9);
}

#[test]
fn the_sessions_token_reaches_the_backend_under_no_name() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let token = browser.token();
    let own = format!("{SESSION_COOKIE}={token}");
    for lines in [
        vec![format!("Cookie: {own}; a={token}; b=2")],
        vec![format!("Cookie: a=1,{own}; b=2"), format!("Cookie: {own}")],
        vec![format!("Cookie: b=2; x=1, {own}")],
        vec![format!("Cookie: {own}; b=2"), format!("Authorization: Bearer {token}")],
        vec![format!("Cookie: {own}; b=2"), format!("X-Auth: \"{token}\""), format!("Referer: http://a/?t={token}")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        gateway.get_with_lines(&format!("/public/x?t={token}&u=1"), &lines).expect(200);
        let seen = backend.last();
        let raw = String::from_utf8_lossy(&seen.raw);
        // Where no cookie of ours was presented, nobody knows what a token is.
        if lines.iter().any(|line| line.starts_with(&format!("Cookie: {own}"))) {
            assert!(!raw.contains(&token), "{lines:?}: {raw}");
            assert_eq!(seen.target, "/public/x?t=&u=1");
        }
        assert!(!raw.contains(&own), "{lines:?}: {raw}");
        assert_eq!(seen.header("cookie"), Some("b=2"), "{lines:?}");
    }
    gateway.get_with_lines(&format!("/public/{token}"), &[&format!("Cookie: {own}")]).expect_refusal(400, "bad_path");
}

#[test]
fn a_further_method_passes_where_it_is_named_and_is_never_taken_for_a_safe_one() {
    let backend = echo();
    let of = |methods: &[&str]| {
        gateway(Store::Embedded)
            .with_backend(&backend)
            .set("server.methods", methods.to_vec())
            .settings("[[routes]]\nmatch = \"/dav/*\"\nmethods = [\"GET\", \"PROPFIND\"]\nauth = \"public\"")
    };
    let usual = gateway(Store::Embedded).with_backend(&backend).start();
    let refused = usual.browser().request("PROPFIND", "/public/x").send().expect(405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    let dav = of(&["PROPFIND", "QUERY"]).start();
    for method in ["PROPFIND", "QUERY"] {
        dav.browser().request(method, "/public/x").body("<all/>").send().expect(200);
        assert_eq!((backend.last().method.as_str(), backend.last().body.as_slice()), (method, &b"<all/>"[..]));
        let mut browser = dav.logged_in("42", "7");
        browser.request(method, "/x").send().expect(200);
        let foreign = browser.request(method, "/x").header("Origin", "https://evil.example").send();
        foreign.expect_refusal(403, "csrf_failed");
    }
    dav.browser().request("PROPFIND", "/dav/x").send().expect(200);
    dav.browser().request("QUERY", "/dav/x").send().expect_refusal(401, "session_required");
    for method in ["TRACE", "CONNECT", "propfind", "MKCOL"] {
        let refused = dav.browser().request(method, "/public/x").send().expect(405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND, QUERY"));
    }
    // What may have been done is not done again.
    backend.on("/public/once", [Step::Close]);
    let before = backend.seen().len();
    dav.browser().request("PROPFIND", "/public/once").send().expect(502);
    assert_eq!(backend.seen().len(), before + 1);
}

#[test]
fn a_head_over_a_limit_is_answered_431_and_the_log_names_the_limit() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let lines: Vec<String> = (0..100).map(|number| format!("X-{number}: 1")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    gateway.get_with_lines("/public/x", &lines).expect_refusal(431, "headers_too_large");
    gateway.wait_log(&["server.max_headers", "raise it"]);
    gateway
        .get_with_lines("/public/x", &[&format!("X: {}", "1".repeat(40_000))])
        .expect_refusal(431, "headers_too_large");
    gateway.wait_log(&["\"server.max_header\"", "raise it"]);
    let wide = super::support::gateway(Store::Embedded).with_backend(&backend).set("server.max_headers", 200).start();
    wide.get_with_lines("/public/x", &lines).expect(200);
}

#[test]
fn an_upload_that_finds_no_room_on_the_disk_is_told_to_come_again_and_the_start_says_so() {
    let backend = echo();
    let described = || gateway(Store::Embedded).with_backend(&backend).settings("upstream.spool.dir = \"nowhere\"");
    let gateway = described().start();
    gateway.wait_log(&["nowhere", "takes no file"]);
    gateway.browser().request("POST", "/public/x").body(vec![b'x'; 10_000]).send().expect(200);
    let refused = gateway.browser().request("POST", "/public/x").body(vec![b'x'; 300_000]).send();
    assert!(refused.header("retry-after").is_some());
    refused.expect_refusal(503, "overloaded");
    let said = |settings: &str| {
        // As many connections as any machine has descriptors for: else it would be warned of them, too.
        let checked = super::support::gateway(Store::Embedded)
            .with_backend(&backend)
            .settings(settings)
            .set("server.max_connections", 100)
            .check(&[]);
        assert!(checked.status.success());
        String::from_utf8_lossy(&checked.stderr).into_owned()
    };
    assert!(said("upstream.spool.dir = \"nowhere\"").contains("upstream.spool.dir: nowhere takes no file"));
    assert!(said("upstream.spool.dir = \"/dev/shm\"").contains("is in memory (tmpfs)"));
    assert_eq!(said("upstream.spool.dir = \".\""), "");
}

#[test]
fn characters_that_no_uri_may_hold_are_encoded_as_a_browser_would() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (sent, told) in [
        (&b"/public/\"<>^`{|}"[..], "/public/%22%3C%3E%5E%60%7B%7C%7D"),
        (b"/public/a?q={\"a\":[1|2]}&p=<\\^`>", "/public/a?q=%7B%22a%22:[1%7C2]%7D&p=%3C%5C%5E%60%3E"),
        ("/public/Zo\u{eb}?n=Zo\u{eb}".as_bytes(), "/public/Zo%C3%AB?n=Zo%C3%AB"),
        (b"/public/a?n=Zo\xeb", "/public/a?n=Zo%EB"),
    ] {
        for split in [sent.len() / 2, sent.len()] {
            let mut wire = gateway.wire();
            // A request before it on the connection, so that its line begins behind another's end.
            wire.send("GET /public/first HTTP/1.1\r\nHost: localhost\r\n\r\nGET ".as_bytes());
            wire.send(&sent[..split]);
            let_pass(Duration::from_millis(20));
            wire.send(&sent[split..]).send(" HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wire.receive().expect(200);
            wire.receive().expect(200);
            assert_eq!(backend.last().target, told);
        }
    }
    for (sent, code) in [
        (&b"/public/Zo\xeb"[..], "bad_path"),
        (b"/public/a\x7f", "bad_path"),
        (b"/public/a\x01b", "bad_path"),
        (b"/pub\\lic", "bad_path"),
        (b"/public/a?\x01", "bad_request"),
        (b"/public/a b", "bad_request"),
        (b"/public/a?b#c", "bad_request"),
        (b"http://a{b/public/x", "bad_request"),
    ] {
        let bytes = [b"GET ", sent, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat();
        gateway.exchange(bytes).expect_refusal(400, code);
    }
}

#[test]
fn over_http_2_the_same_characters_are_encoded_where_the_library_takes_them() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).over_tls(&["localhost"]).with_backend(&backend).start();
    let authority = format!("localhost:{}", gateway.address().port());
    for (sent, told) in
        [("/public/{a}|\"^", "/public/%7Ba%7D%7C%22%5E"), ("/public/a?q={a}|^`\\", "/public/a?q=%7Ba%7D%7C%5E%60%5C")]
    {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", &*authority), (":path", sent)];
        http2::send_frames(&gateway, &http2::frame(1, 5, 1, &http2::literals(&fields)));
        assert_eq!(backend.wait_for(told.split('?').next().expect("a path")).target, told, "{sent}");
    }
}
