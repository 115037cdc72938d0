//! The session cases: how sessions are attacked, each attack by name.

use std::time::Duration;

use serde_json::json;

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{RedisServer, SESSION_COOKIE, Step, Store, answer, echo, gateway, let_pass, send, wait_until};

const OTHER: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

on_both_stores!(an_unknown_or_self_chosen_id_is_never_adopted, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.browser();
    browser.set_cookie(SESSION_COOKIE, OTHER);
    browser.get("/x").expect_refusal(401, "session_required");
    browser.log_in_with(&identity(42, 7)).expect(200);
    assert_ne!(browser.token(), OTHER);
    let mut planted = gateway.browser();
    planted.set_cookie(SESSION_COOKIE, OTHER);
    planted.get("/x").expect_refusal(401, "session_required");
    assert!(backend.seen_at("/x").is_empty());
});

on_both_stores!(a_login_while_carrying_a_session_gives_a_new_id_and_ends_the_old_one_at_once, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut old = browser.clone();
    browser.get("/x").expect(200);
    let first = backend.last().header("x-session-id").map(str::to_owned);
    browser.log_in_with(&identity(77, 9)).expect(200);
    old.get("/x").expect_refusal(401, "session_revoked");
    browser.get("/x").expect(200);
    assert_ne!(backend.last().header("x-session-id").map(str::to_owned), first);
    assert_eq!(backend.last().identity(), (Some("77"), Some("9")));
});

#[test]
fn an_id_in_the_url_a_form_or_another_header_is_ignored() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let mut browser = gateway.browser();
    browser.get(&format!("/x?{SESSION_COOKIE}={token}")).expect_refusal(401, "session_required");
    browser.get(&format!("/x;{SESSION_COOKIE}={token}")).expect_refusal(401, "session_required");
    browser.post_form("/x", &[(SESSION_COOKIE, &token)]).expect_refusal(401, "session_required");
    for line in [
        format!("Authorization: Bearer {token}"),
        format!("X-Session-ID: {token}"),
        format!("{SESSION_COOKIE}: {token}"),
        format!("Set-Cookie: {SESSION_COOKIE}={token}"),
        format!("Cookie2: {SESSION_COOKIE}={token}"),
    ] {
        gateway.get_with_lines("/x", &[&line]).expect_refusal(401, "session_required");
    }
}

on_both_stores!(two_gateway_cookies_with_different_values_are_no_session, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let (own, other) = (format!("{SESSION_COOKIE}={token}"), format!("{SESSION_COOKIE}={OTHER}"));
    for pair in [[&own, &other], [&other, &own]] {
        let [first, second] = pair;
        let joined = format!("Cookie: {first}; {second}");
        gateway.get_with_lines("/x", &[&joined]).expect_refusal(401, "session_required");
        let (first, second) = (format!("Cookie: {first}"), format!("Cookie: {second}"));
        gateway.get_with_lines("/x", &[&first, &second]).expect_refusal(401, "session_required");
    }
    gateway.get_with_lines("/x", &[&format!("Cookie: {own}; {own}")]).expect(200);
});

#[test]
fn a_cookie_that_only_looks_like_ours_is_not_the_session_and_not_forwarded_as_if_it_were() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    for cookie in [
        format!("Session-Gateway={token}"),
        format!("SESSION-GATEWAY={token}"),
        format!("\"{SESSION_COOKIE}\"={token}"),
        format!("={SESSION_COOKIE}={token}"),
        format!("{SESSION_COOKIE} ={token}"),
        format!("\u{a0}{SESSION_COOKIE}={token}"),
        format!("{SESSION_COOKIE}\u{a0}={token}"),
        format!("\u{85}{SESSION_COOKIE}={token}"),
    ] {
        let line = format!("Cookie: a=1; {cookie}; b=2");
        let required = gateway.get_with_lines("/x", &[&line]);
        assert!(matches!(required.status, 400 | 401), "{cookie:?}: {}", required.status);
        if gateway.get_with_lines("/public/x", &[&line]).status == 200 {
            let seen = backend.last();
            let told = seen.header("cookie").unwrap_or_default();
            assert!(!told.contains(&token), "{cookie:?} went on as {told:?}");
        }
    }
    assert!(backend.seen_at("/x").is_empty());
}

#[test]
fn one_rule_for_parsing_and_stripping_a_cookie_inside_quotes() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let line = format!("Cookie: x=\"a; {SESSION_COOKIE}={token}; y=b\"");
    // A quote does not protect a semicolon (RFC 6265, 5.4), so ours stands between them: found, and taken out.
    gateway.get_with_lines("/x", &[&line]).expect(200);
    assert_eq!(backend.last().header("cookie"), Some("x=\"a; y=b\""));
}

#[test]
fn only_exact_bytes_are_the_token() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let (first, rest) = token.split_at(1);
    let octal = format!("\\{:03o}{rest}", first.as_bytes()[0]);
    let percent = format!("%{:02X}{rest}", first.as_bytes()[0]);
    for value in
        [format!("\"{token}\""), format!("\"{octal}\""), octal, percent, format!("{token}="), format!("{token},a")]
    {
        let refused = gateway.get_with_lines("/x", &[&format!("Cookie: {SESSION_COOKIE}={value}")]);
        refused.expect_refusal(401, "session_required");
    }
    let line = format!("Cookie: $Version=1; {SESSION_COOKIE}={token}; $Path=/");
    gateway.get_with_lines("/x", &[&line]).expect(200);
    assert_eq!(backend.last().header("cookie"), Some("$Version=1; $Path=/"), "$Version is an ordinary cookie");
}

#[test]
fn a_value_that_cannot_be_a_token_is_refused_without_asking_the_store() {
    let backend = echo();
    let redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).set("server.max_header", "32KiB").start();
    let long = "x".repeat(5 * 1024);
    let many = (0..200).map(|n| format!("c{n}=v")).collect::<Vec<_>>().join("; ");
    // When a session was last used: asked with each lookup, and by nothing else.
    let lookups = || redis.calls("PEXPIRETIME");
    for cookie in [
        format!("{SESSION_COOKIE}="),
        SESSION_COOKIE.to_owned(),
        format!("{SESSION_COOKIE}=short"),
        format!("{SESSION_COOKIE}=\u{e9}\u{e9}"),
        format!("{SESSION_COOKIE}={long}"),
        format!("{SESSION_COOKIE}={}", "!".repeat(43)),
        many,
        "; ; ;".to_owned(),
    ] {
        gateway.get_with_lines("/x", &[&format!("Cookie: {cookie}")]).expect_refusal(401, "session_required");
    }
    assert_eq!(lookups(), 0, "no store call for what cannot be a token");
    let raw = [b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: session-gateway=\x01\x7f\r\n\r\n".as_slice()].concat();
    assert!(matches!(gateway.exchange(raw).status, 400 | 401));
    gateway.logged_in("42", "7").get("/x").expect(200);
    assert!(lookups() > 0, "a lookup is counted");
}

on_both_stores!(the_backend_gets_the_other_cookies_byte_identical_and_never_ours, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let own = format!("{SESSION_COOKIE}={}", gateway.logged_in("42", "7").token());
    for (sent, told) in [
        (format!("a=1; {own}; b=\"2 3\""), Some("a=1; b=\"2 3\"")),
        (format!("{own}; a=\u{e9}%20;b=,x"), Some("a=\u{e9}%20;b=,x")),
        (format!("a=1;{own}"), Some("a=1")),
        (own.clone(), None),
        (format!("sessionid=x.y-z:_; {own}; csrftoken=="), Some("sessionid=x.y-z:_; csrftoken==")),
    ] {
        gateway.get_with_lines("/x", &[&format!("Cookie: {sent}")]).expect(200);
        assert_eq!(backend.last().header("cookie"), told, "{sent:?}");
        gateway.get_with_lines("/public/x", &[&format!("Cookie: {sent}")]).expect(200);
        assert_eq!(backend.last().header("cookie"), told, "on a public route: {sent:?}");
    }
});

#[test]
fn the_store_never_holds_the_token() {
    let backend = echo();
    let redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/x").expect(200);
    let id = backend.last().header("x-session-id").expect("an id").to_owned();
    let keys = redis.keys();
    assert!(keys.iter().any(|key| key.ends_with(&format!("s:{{{id}}}"))), "{keys:?}");
    for key in keys {
        let dump = redis.command(&["DUMP", &key]);
        assert!(!key.contains(&browser.token()) && !dump.contains(&browser.token()), "{key}");
    }
}

on_both_stores!(logout_csrf_is_refused, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for (method, name, value) in [
        ("POST", "Sec-Fetch-Site", "cross-site"),
        ("POST", "Sec-Fetch-Site", "same-site"),
        ("POST", "Origin", "https://evil.example"),
        ("POST", "Origin", "null"),
        ("GET", "Sec-Fetch-Site", "cross-site"),
    ] {
        let refused = browser.request(method, "/api/logout").header(name, value).send();
        refused.expect_refusal(403, "csrf_failed");
    }
    browser.get("/x").expect(200);
});

#[test]
fn an_unsafe_call_with_a_session_must_come_from_our_own_pages() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.trusted_origins", vec!["https://partner.example"])
        .start();
    let mut browser = gateway.logged_in("42", "7");
    let own = format!("http://{}", gateway.address());
    let localhost = format!("http://localhost:{}", gateway.address().port());
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for (lines, passes) in [
            (&[][..], true),
            (&[("Sec-Fetch-Site", "same-origin")][..], true),
            (&[("Sec-Fetch-Site", "none")], true),
            (&[("Sec-Fetch-Site", "same-site")], false),
            (&[("Sec-Fetch-Site", "cross-site")], false),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", own.as_str())], false),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://partner.example")], true),
            (&[("Origin", own.as_str())], true),
            (&[("Origin", "https://partner.example")], true),
            (&[("Origin", "https://partner.example.evil.example")], false),
            (&[("Origin", "http://127.0.0.1:1")], false),
            (&[("Origin", localhost.as_str())], false),
            (&[("Origin", "null")], false),
        ] {
            let request = browser.request(method, "/x");
            let response = lines.iter().fold(request, |request, (name, value)| request.header(name, value)).send();
            if passes {
                assert_eq!(response.status, 200, "{method} {lines:?}");
            } else {
                response.expect_refusal(403, "csrf_failed");
            }
        }
    }
    browser.request("GET", "/x").header("Sec-Fetch-Site", "cross-site").send().expect(200);
}

on_both_stores!(a_request_that_starts_after_a_revocation_was_acknowledged_is_401, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    for _ in 0..20 {
        let mut browser = gateway.logged_in("42", "7");
        let mut stolen = browser.clone();
        browser.post("/api/logout");
        stolen.get("/x").expect_refusal(401, "session_revoked");
    }
    assert!(backend.seen_at("/x").is_empty());
});

on_both_stores!(a_touch_in_flight_cannot_resurrect_an_ended_session, |store| {
    let backend = echo();
    // An idle limit this short makes nearly every use a touch.
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    for _ in 0..5 {
        let mut browser = gateway.logged_in("42", "7");
        let racing = browser.clone();
        let users: Vec<_> = (0..4)
            .map(|_| {
                let mut browser = racing.clone();
                std::thread::spawn(move || while browser.get("/x").status == 200 {})
            })
            .collect();
        let_pass(Duration::from_millis(30));
        browser.post("/api/logout");
        users.into_iter().for_each(|user| user.join().expect("every answer was whole"));
        for _ in 0..5 {
            let mut late = racing.clone();
            late.get("/x").expect_refusal(401, "session_revoked");
            let_pass(Duration::from_millis(20));
        }
    }
});

#[test]
fn a_store_that_answers_garbage_is_503_and_nothing_is_forwarded() {
    let backend = echo();
    let redis = RedisServer::start();
    // Nobody who writes records tells of it: a cache would go by what it knew before.
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).set("store.cache_entries", "off").start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/x").expect(200);
    let id = backend.last().header("x-session-id").expect("an id").to_owned();
    let key = redis.keys().into_iter().find(|key| key.ends_with(&format!("s:{{{id}}}"))).expect("the record");
    redis.command(&["SET", &key, "garbage", "KEEPTTL"]);
    let mut cookie_kept = browser.clone();
    let forwarded = backend.seen_at("/x").len();
    cookie_kept.get("/x").expect_refusal(503, "store_unavailable");
    assert!(cookie_kept.has_session_cookie());
    assert_eq!(backend.seen_at("/x").len(), forwarded);
}

#[test]
fn an_answer_with_our_set_cookie_is_no_store_and_never_a_304() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    let wish =
        json!({"answer": identity(42, 7), "headers": [["Cache-Control", "public, max-age=60"], ["ETag", "\"a\""]]});
    let request = browser.request("POST", "/api/login").header("If-None-Match", "\"a\"").json(&wish);
    let login = request.send().expect(200);
    assert_eq!(login.header("cache-control"), Some("no-store"));
    let mut stolen = browser.clone();
    let logout = browser.post("/api/logout");
    assert!(logout.set_cookie(SESSION_COOKIE).is_some() && logout.status != 304);
    assert!(logout.headers.all("cache-control").concat().contains("no-store"), "{logout:?}");
    let refused = stolen.request("GET", "/x").header("If-None-Match", "\"a\"").send().expect(401);
    assert!(refused.set_cookie(SESSION_COOKIE).is_none(), "it may come late, when a new login's cookie is there");
    assert!(refused.headers.all("cache-control").concat().contains("no-store"), "{refused:?}");
}

#[test]
fn answers_made_for_a_session_are_private_and_what_is_stricter_stays() {
    let backend = echo();
    for (path, value) in [("/none", None), ("/public-one", Some("public, max-age=60")), ("/strict", Some("no-store"))] {
        let headers: Vec<_> = value.map(|value| ("Cache-Control", value)).into_iter().collect();
        backend.on(path, [answer("200 OK", &headers, "ok")]);
    }
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let none = browser.get("/none").expect(200);
    assert_eq!(none.header("cache-control"), Some("private"));
    assert!(none.headers.all("vary").join(",").to_ascii_lowercase().contains("cookie"));
    let public = browser.get("/public-one").expect(200);
    let public = public.headers.all("cache-control").join(",");
    assert!(public.contains("private") && !public.contains("public"), "{public}");
    assert_eq!(browser.get("/strict").header("cache-control"), Some("no-store"));
}

#[test]
fn no_cdn_in_front_is_told_to_keep_what_was_made_for_a_session_or_makes_one() {
    const FOR_A_CDN: [(&str, &str); 4] = [
        ("CDN-Cache-Control", "max-age=600"),
        ("Cloudflare-CDN-Cache-Control", "max-age=600"),
        ("Surrogate-Control", "max-age=600"),
        ("X-Accel-Expires", "600"),
    ];
    let backend = echo();
    let mut said = vec![("Cache-Control", "public"), ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"), ("Vary", "*")];
    said.extend(FOR_A_CDN);
    let page = [&said[..], &[("Content-Type", "text/html")]].concat();
    backend.on("/data", [answer("200 OK", &said, "ok")]);
    backend.on("/page", [answer("200 OK", &page, "ok")]);
    backend.on("/public/data", [answer("200 OK", &said, "ok")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    let login = browser.post_json("/api/login", &json!({"answer": identity(42, 7), "headers": said})).expect(200);
    let (data, page) = (browser.get("/data").expect(200), browser.get("/page").expect(200));
    for (answer, cache) in [(login, "no-store"), (data, "private"), (page, "no-store")] {
        assert_eq!(answer.headers.all("cache-control"), [cache]);
        assert_eq!(answer.headers.all("vary"), ["*"]);
        assert!(FOR_A_CDN.iter().all(|(name, _)| !answer.headers.has(name)), "{answer:?}");
        assert!(answer.headers.has("expires"), "it is for the browser, too");
    }
    let public = browser.get("/public/data").expect(200);
    assert!(FOR_A_CDN.iter().all(|(name, value)| public.header(name) == Some(value)), "{public:?}");
}

#[test]
fn head_204_and_304_have_no_body_the_same_authorisation_and_leave_the_connection_in_step() {
    let backend = echo();
    backend.on("/204", [send("HTTP/1.1 204 No Content\r\n\r\n")]);
    backend.on("/304", [send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let mut wire = gateway.wire();
    let mut ask = |method: &str, path: &str, token: &str| {
        let cookie = format!("Cookie: {SESSION_COOKIE}={token}");
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{cookie}\r\n\r\n", gateway.address()));
        wire.receive_for(method)
    };
    for (method, path, status) in [("HEAD", "/x", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/x", 200)]
    {
        ask(method, path, &token).expect(status);
    }
    let asked = backend.seen().len();
    for (method, path) in [("HEAD", "/x"), ("GET", "/204"), ("GET", "/304"), ("GET", "/x")] {
        ask(method, path, OTHER).expect(401);
    }
    assert_eq!(backend.seen().len(), asked);
}

#[test]
fn a_cookie_of_our_name_from_the_backend_is_dropped_and_logged() {
    let backend = echo();
    let lines: Vec<_> = [
        "session-gateway=evil",
        "Session-Gateway=evil; Path=/",
        "SESSION-GATEWAY=evil; Domain=example.com",
        "session-gateway =evil",
        "=session-gateway=evil",
        "a=1; Path=/; HttpOnly",
        "b=2; Expires=Thu, 01 Jan 2037 00:00:00 GMT, c=3",
    ]
    .map(|value| ("Set-Cookie", value))
    .into();
    backend.on("/x", [answer("200 OK", &lines, "ok")]);
    backend.on("/api/login", [answer("200 OK", &lines, identity(42, 7).to_string())]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.browser();
    let login = browser.post_json("/api/login", &json!({})).expect(200);
    assert_ne!(browser.token(), "evil");
    assert_eq!(login.headers.all("set-cookie").len(), 3, "ours, a and b, one line each: {login:?}");
    let response = browser.get("/x").expect(200);
    let kept = response.headers.all("set-cookie");
    assert_eq!(kept, [lines[5].1, lines[6].1], "the others pass, one line each, as they were");
    wait_until("it is logged", || gateway.log().into_iter().find(|line| line.contains("Set-Cookie")));
    assert!(!gateway.log().iter().any(|line| line.contains("evil")), "but not its value");
}

#[test]
fn a_log_line_stays_one_parseable_line_whatever_a_client_sends() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let agents = ["\u{1b}[31mred", "a\u{2028}b".trim_matches(' '), "\\\"}{", "\u{ff}\u{fe}"];
    for agent in agents {
        let agent: String = agent.bytes().map(char::from).collect();
        let response = gateway.get_with_lines("/public/x", &[&format!("User-Agent: {agent}")]);
        assert!(matches!(response.status, 200 | 400), "{response:?}");
        gateway.get_with_lines("/x", &[&format!("User-Agent: {agent}"), "X-Request-ID: a\tb"]);
    }
    gateway.get_with_lines("/public/log-end", &[]).expect(200);
    gateway.wait_log(&["/public/log-end"]);
    for line in gateway.log() {
        serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(!line.contains(['\u{1b}', '\u{2028}']), "{line:?}");
    }
}

#[test]
fn a_websocket_upgrade_from_a_foreign_absent_or_null_origin_is_refused_before_the_backend_is_touched() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let cookie = format!("Cookie: {SESSION_COOKIE}={}", gateway.logged_in("42", "7").token());
    let asked = backend.seen().len();
    for origin in [None, Some("Origin: null"), Some("Origin: https://evil.example")] {
        let mut lines = vec![
            cookie.as_str(),
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        lines.extend(origin);
        gateway.get_with_lines("/x", &lines).expect_refusal(403, "csrf_failed");
    }
    assert_eq!(backend.seen().len(), asked);
}

#[test]
fn trace_connect_unknown_and_lower_case_methods_are_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for line in [
        "TRACE /public/x",
        "TRACK /public/x",
        "CONNECT 127.0.0.1:80",
        "get /public/x",
        "Get /public/x",
        "FOO /public/x",
        "PROPFIND /public/x",
    ] {
        let response = gateway.exchange(format!("{line} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        assert!(matches!(response.status, 405 | 501), "{line}: {}", response.status);
    }
    assert!(backend.seen().is_empty());
}

on_both_stores!(a_request_is_authorised_before_it_gets_its_100_continue, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let head = |cookie: &str, expect: &str| {
        let host = gateway.address();
        format!(
            "POST /x HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={cookie}\r\nExpect: {expect}\r\nContent-Length: 3\r\n\r\n"
        )
    };
    let refused = gateway.exchange(head(OTHER, "100-continue")).expect_refusal(401, "session_required");
    assert!(refused.interim.is_empty(), "nobody was told to go on");
    let mut wire = gateway.wire();
    wire.send(head(&token, "100-continue"));
    assert_eq!(wire.head().expect("an interim answer").0, 100);
    assert_eq!(wire.send("abc").receive().expect(200).at("/body"), "abc");
    gateway.exchange(head(&token, "200-maybe")).expect(417);
});

on_both_stores!(next_never_leads_to_another_site, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.browser();
    let sent = browser.navigate("/orders?page=2&x=%2F").expect(302);
    let location = sent.header("location").expect("a location").to_owned();
    let next = location.strip_prefix("/login?next=").expect("the login page");
    let next = percent_encoding::percent_decode_str(next).decode_utf8().expect("UTF-8");
    assert_eq!(next, "/orders?page=2&x=%2F");
    for target in
        ["//evil.example/a", "/%09/evil.example", "/https:evil.example", "/@evil.example", "/%5c%5cevil.example"]
    {
        let response = browser.navigate(target);
        if response.status == 302 {
            let location = response.header("location").expect("a location").to_owned();
            let next = location.strip_prefix("/login").expect("the login page");
            assert!(!next.starts_with("?next=%2F%2F") && !next.starts_with("?next=//"), "{target}: {location}");
            assert!(
                !next.contains(['\r', '\n', '\t', '\\']) && !next.contains("%5C") && !next.contains("%5c"),
                "{location}"
            );
        } else {
            assert_eq!(response.status, 400, "{target}");
        }
    }
});

#[test]
fn a_hanging_backend_does_not_keep_a_logout_from_ending_the_session() {
    let backend = echo();
    backend.on("/api/logout", [Step::Hang]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.response_timeout", "1s").start();
    let mut browser = gateway.logged_in("42", "7");
    let mut stolen = browser.clone();
    browser.post("/api/logout").expect(204);
    stolen.get("/x").expect_refusal(401, "session_revoked");
}
