//! What a browser gets of its session's token in answers other than the login's (docs/behaviour.md, "Captured tokens"):
//! whatever the app repeats of it, or hands out beside it, wherever that stands.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http2::over_tls;
use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::http::Response;
use crate::support::{
    Browser, Gate, Gateway, Issuer, Step, Store, answer, answer_json, curl, echo, gateway, send, wait_until,
};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const REFRESH_TOKEN: &str = "an-opaque-refresh-token-of-the-app";

/// An app, a gateway that captures its tokens, and a browser whose session has one.
struct Site {
    backend: Echo,
    app: Issuer,
    gateway: Gateway,
    browser: Browser,
    token: String,
}

impl Site {
    fn open(store: Store, settings: &str) -> Self {
        let (backend, app) = (echo(), Issuer::new("k"));
        let gateway = gateway(store).with_backend(&backend).without("login").set("secrets.key", KEY);
        let gateway = gateway.settings("[login]\ncapture = \"jwt\"\nrefresh_token = \"/refresh_token\"\n");
        let gateway = gateway.settings(settings).start();
        let (mut browser, token) = (gateway.browser(), app.token(&json!({})));
        let said = json!({"access_token": token, "refresh_token": REFRESH_TOKEN});
        browser.post_json("/api/login", &json!({ "answer": said })).expect(200);
        Self { backend, app, gateway, browser, token }
    }

    fn signature(&self) -> &str {
        self.token.rsplit('.').next().expect("a signature")
    }

    /// Fails if an answer shows the session's token, or what gets another one.
    #[track_caller]
    fn shows_nothing(&self, row: &str, said: &Response) {
        let heard = format!("{:?}\n{}", said.headers, said.text());
        for secret in [self.signature(), REFRESH_TOKEN] {
            assert!(!heard.contains(secret), "{row}: {heard}");
        }
    }

    /// What it says in the token's place.
    fn stand_in(&self) -> String {
        let (input, signature) = self.token.rsplit_once('.').expect("parts");
        let text = "placeholder_of_the_session_gateway__this_signature_is_of_nobody_";
        let text: String = text.chars().cycle().take(signature.len()).collect();
        format!("{input}.{text}")
    }
}

on_both_stores!(an_answer_that_repeats_the_token_has_what_stands_for_it, |store| {
    let mut site = Site::open(store, "");
    let body = json!({"id": 7, "token": site.token, "sessions": [{"refresh": REFRESH_TOKEN}], "n": 1.50});
    for (row, status) in [("/api/me", "200 OK"), ("/api/broken", "500 Internal Server Error"), ("/no", "404 Not Found")]
    {
        site.backend.on(row, vec![answer(status, &[("Content-Type", "application/json")], body.to_string())]);
        let said = site.browser.get(row);
        site.shows_nothing(row, &said);
        assert_eq!((said.at("/token"), said.at("/n"), said.at("/id")), (site.stand_in(), "1.5".into(), "7".into()));
        assert_eq!(said.header("content-length").map(str::to_owned), Some(body.to_string().len().to_string()));
    }
    let page = format!("<script>window.token = '{}'</script>", site.token);
    site.backend.on("/page", vec![answer("200 OK", &[("Content-Type", "text/html; charset=utf-8")], &page)]);
    let said = site.browser.navigate("/page").expect(200);
    assert_eq!(said.text(), page.replace(&site.token, &site.stand_in()));
    site.gateway.wait_log(&["an answer had a token of the app's in it", "/api/me"]);
    let told = site.gateway.log().iter().filter(|line| line.contains("an answer had a token")).count();
    assert_eq!(told, 1, "once a minute");
    assert!(site.gateway.log().iter().all(|line| !line.contains(site.signature())));
});

on_both_stores!(headers_and_cookies_that_carry_the_token_have_what_stands_for_it, |store| {
    let mut site = Site::open(store, "");
    let (cookie, bearer) = (format!("access={}; HttpOnly", site.token), format!("Bearer {}", site.token));
    let lines = [
        ("Set-Cookie", &*cookie),
        ("Set-Cookie", "theme=dark"),
        ("X-Token", &*site.token),
        ("Authorization", &*bearer),
    ];
    for path in ["/api/me", "/api/logout"] {
        site.backend.on(path, vec![answer("200 OK", &lines, "{}")]);
        let said = site.browser.post(path).expect(200);
        site.shows_nothing(path, &said);
        assert_eq!(said.header("x-token"), Some(&*site.stand_in()), "{path}");
        assert_eq!(said.set_cookie("access").expect("one").value, site.stand_in(), "{path}");
        assert_eq!(said.set_cookie("theme").expect("one").value, "dark");
    }
});

on_both_stores!(the_answer_of_an_event_that_is_no_switch_shows_no_token, |store| {
    let events = "[[events]]\nmatch = \"POST /password\"\naction = \"revoke-other-sessions\"\n\
         [[events]]\nmatch = \"POST /count\"\naction = \"revoke-other-sessions\"\ncount_pointer = \"/ended\"\n\
         [[events]]\nmatch = \"POST /leave\"\nheader = [\"logout\"]\n";
    let mut site = Site::open(store, events);
    let another = site.app.token(&json!({"jti": "another"}));
    let body = json!({"access_token": another, "again": site.token, "refresh_token": REFRESH_TOKEN, "ended": 0});
    for path in ["/password", "/count", "/leave"] {
        let order = [("X-Session-Event", "logout"), ("Content-Type", "application/json")];
        site.backend.on(path, vec![answer("200 OK", &order, body.to_string())]);
        let said = site.browser.post(path).expect(200);
        site.shows_nothing(path, &said);
        assert!(!said.text().contains(another.rsplit('.').next().expect("a signature")), "{path}: {}", said.text());
        assert_eq!(site.backend.seen_at(path)[0].header("accept-encoding"), Some("identity"), "{path}");
    }
});

on_both_stores!(a_token_that_another_path_or_method_hands_out_is_kept_back_and_the_session_goes_on, |store| {
    let settings = "[login]\nrefresh = { path = \"/auth/refresh\", before = \"1s\" }\n";
    let mut site = Site::open(store, settings);
    let another = site.app.token(&json!({"jti": "another"}));
    let hand_out = json!({"access_token": another, "refresh_token": "another-opaque-refresh-token"});
    for path in ["/auth/refresh", "/auth/v2/refresh"] {
        let header = format!("Bearer {another}");
        let lines = [("Content-Type", "application/json"), ("X-New-Token", &*header)];
        site.backend.on(path, vec![answer("200 OK", &lines, hand_out.to_string())]);
    }
    for (method, path) in [("PUT", "/auth/refresh"), ("GET", "/auth/refresh"), ("POST", "/auth/v2/refresh")] {
        let said = site.browser.request(method, path).send().expect(200);
        let shown = said.at("/access_token");
        assert_eq!(shown.rsplit_once('.').map(|(input, _)| input), another.rsplit_once('.').map(|(input, _)| input));
        let heard = format!("{:?}{}", said.headers, said.text());
        assert!(!heard.contains(another.rsplit('.').next().expect("a signature")), "{method} {path}: {heard}");
        site.browser.get("/x").expect(200);
        let sent = site.backend.seen_at("/x").pop().and_then(|seen| seen.header("authorization").map(str::to_owned));
        assert_eq!(sent, Some(format!("Bearer {}", site.token)), "{method} {path}");
    }
    // What is no token of the app's is for the page.
    let room = site.app.token_with(&json!({"cty": "chat"}), &json!({}));
    site.backend.on("/chat", vec![answer_json(&json!({ "access_token": room }))]);
    assert_eq!(site.browser.post("/chat").expect(200).at("/access_token"), room);
});

#[test]
fn a_stream_goes_on_piece_by_piece_and_shows_no_token_that_is_cut_in_two() {
    let site = Site::open(Store::Embedded, "");
    let (one, two) = site.token.split_at(site.token.len() - 20);
    let (first, second) = (Gate::closed(), Gate::closed());
    let chunk = |text: &str| send(format!("{:x}\r\n{text}\r\n", text.len()));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let steps = vec![
        send(head),
        chunk("data: begin\n\n"),
        Step::Await(first.clone()),
        chunk(&format!("data: {one}")),
        Step::Await(second.clone()),
        chunk(&format!("{two}\n\n")),
        chunk("data: end\n\n"),
        send("0\r\n\r\n"),
    ];
    site.backend.on("/events", steps);
    let mut wire = site.gateway.wire();
    let cookie = site.browser.token();
    wire.send(format!(
        "GET /events HTTP/1.1\r\nHost: {}\r\nCookie: session-gateway={cookie}\r\n\r\n",
        site.gateway.address()
    ));
    wire.try_receive_head().expect("a head").expect(200);
    assert_eq!(wire.chunk().expect("an event"), Some(b"data: begin\n\n".to_vec()), "before the next one is there");
    first.open();
    let mut heard = wire.chunk().expect("what is no token of it").expect("a piece");
    assert!(heard.starts_with(b"data: eyJ"));
    second.open();
    while let Some(piece) = wire.chunk().expect("a piece") {
        heard.extend(piece);
    }
    let heard = String::from_utf8(heard).expect("text");
    assert_eq!(heard, format!("data: {}\n\ndata: end\n\n", site.stand_in()));
}

#[test]
fn a_large_answer_streams_through_and_what_is_no_text_is_not_touched() {
    let mut site = Site::open(Store::Embedded, "");
    let piece = format!("{{\"line\": \"{}\"}}\n", "x".repeat(1000));
    let body = format!("{}{}\n{}", piece.repeat(3000), site.token, piece.repeat(3000));
    let length = body.len().to_string();
    for kind in ["application/x-ndjson", "application/json", "image/png"] {
        let gate = Gate::closed();
        let (half, rest) = body.split_at(body.len() / 3);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        site.backend.on("/large", vec![send(head), send(half), Step::Await(gate.clone()), send(rest)]);
        let mut wire = site.gateway.wire();
        let cookie = site.browser.token();
        wire.send(format!(
            "GET /large HTTP/1.1\r\nHost: {}\r\nCookie: session-gateway={cookie}\r\n\r\n",
            site.gateway.address()
        ));
        wire.try_receive_head().expect("a head").expect(200);
        let mut heard = wire.exactly(half.len() - 100).expect("it does not wait for the rest");
        gate.open();
        heard.extend(wire.exactly(body.len() - heard.len()).expect("the rest"));
        let expected = if kind == "image/png" { body.clone() } else { body.replace(&site.token, &site.stand_in()) };
        assert!(heard == expected.as_bytes(), "{kind}");
    }
    let _ = &mut site;
}

#[test]
fn an_answer_whose_token_cannot_be_taken_out_breaks_off() {
    let mut site = Site::open(Store::Embedded, "");
    let token = site.app.token(&json!({"jti": "another"}));
    let (first, rest) = token.rsplit('.').next().expect("a signature").split_at(1);
    let escaped = format!("\\u00{:02x}{rest}", first.as_bytes()[0]);
    let body = json!({ "access_token": token }).to_string().replace(&format!("{first}{rest}"), &escaped);
    site.backend.on("/odd", vec![answer("200 OK", &[("Content-Type", "application/json")], body)]);
    assert!(site.browser.request("GET", "/odd").try_send().is_err());
    site.gateway.wait_log(&["an answer was broken off", "/odd"]);
    site.browser.get("/x").expect(200);
}

#[test]
fn an_upgrade_that_is_refused_shows_no_token_and_what_is_left_to_browsers_is_left_as_it_is() {
    let mut site = Site::open(Store::Embedded, "");
    site.backend.on("/socket", vec![answer("403 Forbidden", &[("X-Token", &site.token)], &site.token)]);
    let origin = format!("http://{}", site.gateway.address());
    let upgrade = site.browser.request("GET", "/socket").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let upgrade = upgrade.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let said = upgrade.header("Origin", &origin).send().expect(403);
    site.shows_nothing("an upgrade", &said);
    assert_eq!(said.text(), site.stand_in());

    // A route whose backend is not to get the token can show none, and may compress what it says.
    let routes = "[[routes]]\nmatch = \"/files/*\"\nauthorization = \"drop\"\n";
    let mut site = Site::open(Store::Embedded, routes);
    site.browser.request("GET", "/files/a").header("Accept-Encoding", "gzip").send().expect(200);
    assert_eq!(site.backend.last().header("accept-encoding"), Some("gzip"));
    site.browser.request("GET", "/api/a").header("Accept-Encoding", "gzip").send().expect(200);
    assert_eq!(site.backend.last().header("accept-encoding"), Some("identity"));

    let bearer = "[[bearer.issuers]]\nissuer = \"x\"\naudience = \"any\"\nalgorithms = [\"HS256\"]\n\
         key_file = \"jwt\"\ntenant = \"/t\"\n";
    let (backend, app) = (echo(), Issuer::new("k"));
    let builder = gateway(Store::Embedded).with_backend(&backend).without("login").set("secrets.key", KEY);
    std::fs::write(builder.directory().join("jwt"), "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPaEo").expect("written");
    let gateway = builder.settings("[login]\ncapture = \"jwt\"\nanswer = \"keep\"\n").settings(bearer).start();
    let (mut browser, token) = (gateway.browser(), app.token(&json!({})));
    browser.post_json("/api/login", &json!({"answer": {"access_token": token}})).expect(200);
    backend.on("/api/me", vec![answer_json(&json!({ "token": token }))]);
    assert_eq!(browser.get("/api/me").expect(200).at("/token"), token, "its browser has it anyway");
}

#[test]
fn over_http2_no_answer_shows_the_token_either() {
    let (backend, app) = (echo(), Issuer::new("k"));
    let gateway = over_tls().with_backend(&backend).without("login").set("secrets.key", KEY);
    let gateway = gateway.settings("[login]\ncapture = \"jwt\"\n").start();
    let token = app.token(&json!({}));
    let login = json!({"answer": {"access_token": token}}).to_string();
    let call = || curl(&gateway).with(&["--http2"]);
    let login = call().header("Content-Type", "application/json").with(&["--data", &login]).send("/api/login");
    let cookie =
        login.1.expect(200).header("set-cookie").expect("a session").split(';').next().expect("one").to_owned();
    let long = format!("{}{token}{}", "x".repeat(100_000), "y".repeat(100_000));
    for (path, kind, body) in
        [("/me", "application/json", json!({"token": token}).to_string()), ("/long", "text/plain", long)]
    {
        backend.on(path, vec![answer("200 OK", &[("Content-Type", kind), ("X-Token", &token)], &body)]);
        let (protocol, said) = call().header("Cookie", &cookie).send(path);
        let (said, signature) = (said.expect(200), token.rsplit('.').next().expect("a signature"));
        assert_eq!((&*protocol, said.body.len()), ("HTTP/2", body.len()), "{path}");
        assert!(!said.text().contains(signature) && !format!("{:?}", said.headers).contains(signature), "{path}");
        assert!(said.text().contains("placeholder_of_the_session"), "{path}");
    }
}

/// Repeats each request's `Authorization` in its answer, which is as long as the test wants it.
fn repeating(backend: &Echo, length: usize) {
    backend.on_call("/repeat", move |seen| {
        let token: Value = json!({"token": seen.header("authorization"), "text": "x".repeat(length)});
        vec![answer_json(&token)]
    });
}

#[test]
fn under_many_requests_at_once_no_answer_shows_the_token_of_its_session() {
    let site = Site::open(Store::Embedded, "");
    let began = Instant::now();
    for length in [0, 1_000, 60_000, 200_000] {
        repeating(&site.backend, length);
        std::thread::scope(|threads| {
            for _ in 0..8 {
                let (site, mut browser) = (&site, site.browser.clone());
                threads.spawn(move || {
                    for _ in 0..10 {
                        let said = browser.get("/repeat").expect(200);
                        site.shows_nothing("many", &said);
                        assert_eq!(said.at("/token"), format!("Bearer {}", site.stand_in()));
                    }
                });
            }
        });
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    wait_until("it is told", || site.gateway.log().iter().any(|line| line.contains("had a token")).then_some(()));
}
