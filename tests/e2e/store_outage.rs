//! The store goes away and comes back: nobody gets in unverified, nobody is logged out, nothing happens twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::logins::identity;
use crate::support::relay::Relay;
use crate::support::{
    RedisServer, SESSION_COOKIE, SWITCH, Step, Store, Wire, echo, frame, gateway, let_pass, send, wait_until,
};

#[test]
fn an_outage_of_redis_under_load_forwards_nothing_unverified_logs_nobody_out_and_duplicates_nothing() {
    let outages = &[Outage::Killed, Outage::Frozen, Outage::Killed];
    Storm { connections: 8, pace: Duration::from_millis(16), outages, keepalive: "off" }.rage();
}

#[test]
#[ignore = "half a minute of heavy load, for a release build: see benches/README.md"]
fn so_it_is_at_two_thousand_requests_a_second_on_kept_connections() {
    let outages = &[Outage::Killed, Outage::Frozen].repeat(4);
    let report = Storm { connections: 32, pace: Duration::from_millis(16), outages, keepalive: "2s" }.rage();
    std::fs::write(std::env::temp_dir().join("store-outage.txt"), report).expect("the report can be written");
}

#[test]
fn while_redis_is_down_public_routes_are_served_and_the_rest_is_503_within_a_second() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    redis.kill();
    let asked = backend.seen().len();
    for (method, path) in [
        ("GET", "/x"),
        ("POST", "/x"),
        ("GET", "/optional/x"),
        ("GET", "/api/session/status"),
        ("POST", "/api/session/refresh"),
    ] {
        let begin = Instant::now();
        let refused = browser.request(method, path).send().expect_refusal(503, "store_unavailable");
        assert!(begin.elapsed() < Duration::from_secs(1), "{path} took {:?}", begin.elapsed());
        assert!(refused.headers.has("retry-after") && !refused.headers.has("set-cookie"), "{refused:?}");
    }
    let refused = gateway.browser().post("/api/login").expect_refusal(503, "store_unavailable");
    assert_eq!(refused.at("/message"), "Nobody can log in just now. Please try again in a moment.");
    assert_eq!(backend.seen().len(), asked);
    browser.get("/public/x").expect(200);
    gateway.browser().get("/optional/x").expect(200);
    gateway.browser().get("/x").expect_refusal(401, "session_required");
    assert!(browser.has_session_cookie());
    redis.start_again();
    wait_until("recovery", || (browser.get("/x").status == 200).then_some(()));
}

#[test]
fn a_frozen_redis_is_an_outage_and_not_a_log_out() {
    let backend = echo();
    let redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    redis.freeze();
    for _ in 0..3 {
        let begin = Instant::now();
        browser.get("/x").expect_refusal(503, "store_unavailable");
        assert!(begin.elapsed() < Duration::from_millis(1200), "{:?}", begin.elapsed());
    }
    assert!(backend.seen_at("/x").is_empty());
    redis.thaw();
    wait_until("recovery", || (browser.get("/x").status == 200).then_some(()));
}

#[test]
fn a_logout_that_the_store_cannot_take_down_is_never_called_done() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    redis.kill();
    browser.post("/api/logout").expect_refusal(503, "store_unavailable");
    assert!(browser.has_session_cookie());
    redis.start_again();
    wait_until("recovery", || (browser.get("/x").status == 200).then_some(()));
    browser.post("/api/logout").expect(200);
}

#[test]
fn the_absolute_limit_cuts_what_is_open_while_redis_is_gone() {
    const ABSOLUTE: Duration = Duration::from_secs(4);
    let backend = echo();
    let mut redis = RedisServer::start();
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    backend.on_head("/events", [send(events), send("1\r\n1\r\n"), Step::Hang]);
    backend.on_head("/ws", [send(SWITCH), Step::Raw { echo: true }]);
    let gateway =
        gateway(Store::on(&redis)).with_backend(&backend).absolute("4s").set("upstream.request_body", "stream").start();
    let begin = Instant::now();
    let browser = gateway.logged_in("42", "7");
    let made = Instant::now();
    let (host, token) = (gateway.address(), browser.token());
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n");
    let mut stream = gateway.wire();
    stream.send(head("GET /events") + "\r\n");
    assert_eq!(stream.try_receive_head().expect("a head").status, 200);
    let mut upload = gateway.wire();
    upload.send(head("POST /upload") + "Content-Length: 1000\r\n\r\npart of it");
    let mut tab = gateway.open(&browser, "/ws");
    tab.send(frame("hello")).expect(frame("hello"));
    wait_until("the upload", || backend.seen_at("/upload").iter().any(|seen| seen.received > 0).then_some(()));
    redis.kill();
    let cut = |ended: Instant| {
        assert!(ended.duration_since(begin) >= ABSOLUTE, "{:?}: too early", ended.duration_since(begin));
        // A tenth of a second, and what a busy machine takes.
        assert!(ended.duration_since(made) < ABSOLUTE + Duration::from_millis(400), "{:?}", ended.duration_since(made));
    };
    let waiting = [
        std::thread::spawn(move || {
            stream.rest();
            Instant::now()
        }),
        std::thread::spawn(move || {
            tab.expect_close(4401);
            Instant::now()
        }),
        std::thread::spawn(move || {
            upload.receive().expect_refusal(401, "session_expired");
            Instant::now()
        }),
    ];
    waiting.into_iter().for_each(|waiting| cut(waiting.join().expect("it is cut")));
}

#[test]
fn a_gateway_that_was_stopped_uses_no_answer_of_before() {
    let (backend, redis) = (echo(), RedisServer::start());
    let Store::Redis { url, prefix } = Store::on(&redis) else { unreachable!() };
    // The last that is asked about a session: how its tenant stands.
    let relay = Relay::of_words(redis.address(), b":n:{");
    let here = gateway(Store::Redis { url, prefix: prefix.clone() }).with_backend(&backend).start();
    let mut there = gateway(Store::Redis { url: relay.url(), prefix })
        .with_backend(&backend)
        .set("store.cache_entries", "off")
        .start();
    for round in 0..12 {
        let mut browser = here.logged_in("42", "7");
        let path = format!("/late/{round}");
        relay.stall();
        let wires: Vec<Wire> = (0..8)
            .map(|_| {
                let mut wire = there.wire();
                let (host, token) = (there.address(), browser.token());
                wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
                wire
            })
            .collect();
        let_pass(Duration::from_millis(100));
        // The questions are on their way, and the answers come while nobody reads them.
        there.process().signal(Signal::STOP);
        relay.go_on();
        let_pass(Duration::from_millis(100));
        browser.post("/api/logout").expect(200);
        let_pass(Duration::from_millis(1200));
        assert!(backend.seen_at(&path).is_empty(), "nobody was asked before");
        there.process().signal(Signal::CONT);
        for mut wire in wires {
            let response = wire.receive();
            assert!([401, 503].contains(&response.status), "{response:?}");
        }
        assert!(backend.seen_at(&path).is_empty(), "accepted long after the end");
    }
}

#[test]
fn a_session_that_cannot_be_read_does_not_keep_its_browser_from_leaving() {
    const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let Store::Redis { prefix, .. } = &store else { unreachable!() };
    let record_of = |seen: &[String]| {
        let mine = |key: &&String| key.starts_with(&format!("{prefix}s:")) && !seen.contains(key);
        redis.keys().iter().find(mine).expect("the session's record").clone()
    };
    let gateway = gateway(store.clone()).with_backend(&backend).set("admin.token", TOKEN).start();
    // Garbage, and what a newer version would write.
    let broken: [&dyn Fn(&str); 2] = [&|key| drop(redis.command(&["SET", key, "garbage", "KEEPTTL"])), &|key| {
        drop(redis.command(&["SETRANGE", key, "0", "\u{7f}"]));
    }];
    for break_it in broken {
        for way in ["logout", "login", "operator"] {
            let before = redis.keys();
            let mut browser = gateway.logged_in("42", "7");
            let mut thief = browser.clone();
            let key = record_of(&before);
            break_it(&key);
            wait_until("the news of it", || (browser.get("/x").status == 503).then_some(()));
            let asked = backend.seen_at("/x").len();
            let refused = browser.get("/x").expect_refusal(503, "store_unavailable");
            assert!(!refused.headers.has("set-cookie"), "it may be another version's: {refused:?}");
            browser.get("/api/session/status").expect_refusal(503, "store_unavailable");
            match way {
                "logout" => {
                    browser.post("/api/logout").expect(200);
                    assert!(!browser.has_session_cookie());
                }
                "login" => {
                    browser.log_in_with(&identity("42", "7")).expect(200);
                    browser.get("/y").expect(200);
                }
                _ => {
                    let id = key.split(['{', '}']).nth(1).expect("an id");
                    let mut operator = gateway.operator(TOKEN);
                    let mut end = || operator.request("DELETE", &format!("/v1/sessions/{id}")).send();
                    assert_eq!(end().expect(200).at("/invalidated_sessions"), "1");
                    end().expect(404);
                }
            }
            thief.get("/x").expect_refusal(401, "session_revoked");
            assert_eq!(backend.seen_at("/x").len(), asked, "{way}");
        }
    }
}

#[test]
fn readiness_and_metrics_follow_the_store_and_liveness_does_not() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let mut gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    assert_eq!(gateway.metric("store_up", ""), 1.0);
    redis.kill();
    gateway.wait_unready();
    assert_eq!(gateway.browser().get("/healthz").status, 200);
    assert_eq!(gateway.metric("store_up", ""), 0.0);
    let (outside, inside) = (gateway.browser().get("/readyz").expect(503), gateway.admin_get("/readyz").expect(503));
    assert!(!outside.text().contains("store"), "the reason is for the admin port only: {}", outside.text());
    assert!(inside.text().contains("store"), "{}", inside.text());
    redis.start_again();
    gateway.wait_ready();
}

#[test]
fn a_gateway_started_before_its_redis_becomes_ready_by_itself() {
    let backend = echo();
    let mut redis = RedisServer::start();
    redis.kill();
    let mut gateway = gateway(Store::on(&redis)).with_backend(&backend).start_without_waiting();
    wait_until("the listener", || gateway.browser().request("GET", "/healthz").try_send().ok());
    gateway.browser().get("/readyz").expect(503);
    gateway.browser().get("/public/x").expect(200);
    redis.start_again();
    gateway.wait_ready();
    gateway.logged_in("42", "7").get("/x").expect(200);
}

#[test]
fn a_full_redis_fails_logins_and_nothing_else() {
    let backend = echo();
    let redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    gateway.browser().log_in_with(&identity("42", "8")).expect_refusal(503, "store_unavailable");
    wait_until("the warning", || gateway.admin_get("/readyz").text().contains("logins fail").then_some(()));
    assert_eq!(gateway.browser().get("/readyz").status, 200, "or every gateway would leave service at once");
    browser.get("/x").expect(200);
    browser.post("/api/logout").expect(200);
}

/// How the store is lost.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Its process ends, connections break, and it starts again with what it had on disk.
    Killed,
    /// It answers nothing, and later goes on.
    Frozen,
}

/// A load on a gateway whose Redis comes and goes.
struct Storm<'a> {
    /// Kept client connections, each with a user of its own.
    connections: usize,
    /// From one request of a connection to its next.
    pace: Duration,
    outages: &'a [Outage],
    /// `upstream.keepalive`
    keepalive: &'a str,
}

/// Whose cookie a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    Own,
    Forged,
    None,
}

#[derive(Debug)]
struct Outcome {
    target: String,
    cookie: Cookie,
    status: u16,
    begun: Instant,
    took: Duration,
}

impl Storm<'_> {
    /// Lets it pass, checks what came of each request, and reports figures.
    fn rage(&self) -> String {
        let backend = echo();
        let mut redis = RedisServer::start();
        let gateway =
            gateway(Store::on(&redis)).with_backend(&backend).set("upstream.keepalive", self.keepalive).start();
        let browsers: Vec<_> = (0..self.connections).map(|n| gateway.logged_in("42", &format!("user{n}"))).collect();
        let over = AtomicBool::new(false);
        let begin = Instant::now();
        let (outcomes, marks) = std::thread::scope(|scope| {
            let users: Vec<_> = browsers
                .iter()
                .enumerate()
                .map(|(number, browser)| {
                    let (token, wire, over) = (browser.token(), gateway.wire(), &over);
                    scope.spawn(move || self.ask_until(over, wire, number, &token))
                })
                .collect();
            let mut marks = Vec::new();
            for outage in self.outages {
                let_pass(Duration::from_millis(400));
                let lost = Instant::now();
                match outage {
                    Outage::Killed => redis.kill(),
                    Outage::Frozen => redis.freeze(),
                }
                let_pass(Duration::from_millis(1500));
                match outage {
                    Outage::Killed => redis.start_again(),
                    Outage::Frozen => redis.thaw(),
                }
                let back = Instant::now();
                wait_until("recovery", || (browsers[0].clone().get("/x").status == 200).then_some(()));
                marks.push((*outage, lost, back));
            }
            let_pass(Duration::from_millis(400));
            over.store(true, Ordering::SeqCst);
            let outcomes: Vec<_> = users.into_iter().flat_map(|user| user.join().expect("no user fails")).collect();
            (outcomes, marks)
        });
        let passed = begin.elapsed();
        let mut seen = HashMap::<String, usize>::new();
        for request in backend.seen_at("/orders") {
            let user = request.target.split(['=', '&']).nth(1).expect("a user").to_owned();
            assert_eq!(request.identity(), (Some("42"), Some(user.as_str())), "forwarded with its own session only");
            *seen.entry(request.target).or_default() += 1;
        }
        let asked: HashMap<_, _> = outcomes.iter().map(|outcome| (outcome.target.as_str(), outcome.cookie)).collect();
        for target in seen.keys() {
            assert_eq!(asked.get(target.as_str()), Some(&Cookie::Own), "{target} was forwarded without a session");
        }
        for outcome in &outcomes {
            let times = seen.get(&outcome.target).copied().unwrap_or(0);
            match (outcome.status, outcome.cookie) {
                (200, Cookie::Own) => assert_eq!(times, 1, "{outcome:?}"),
                (503, Cookie::Own | Cookie::Forged) => assert_eq!(times, 0, "refused and yet forwarded: {outcome:?}"),
                (401, Cookie::Forged | Cookie::None) => assert_eq!(times, 0, "{outcome:?}"),
                _ => panic!("{outcome:?}"),
            }
            assert!(outcome.took < Duration::from_secs(1), "{outcome:?}");
        }
        for browser in &browsers {
            browser.clone().get("/x").expect(200);
        }
        report(&outcomes, &marks, passed)
    }

    /// Sends one request after the other on a kept connection, each under a name of its own.
    fn ask_until(&self, over: &AtomicBool, mut wire: Wire, number: usize, token: &str) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let n = outcomes.len();
            let method = if n % 2 == 0 { "GET" } else { "POST" };
            let target = format!("/orders?user=user{number}&n={n}");
            let (cookie, value) = match n % 8 {
                5 => (Cookie::Forged, Some(token.chars().rev().collect())),
                6 => (Cookie::None, None),
                _ => (Cookie::Own, Some(token.to_owned())),
            };
            let cookie_line = value.map_or_else(String::new, |value| format!("Cookie: {SESSION_COOKIE}={value}\r\n"));
            let body = if method == "POST" { "Content-Length: 5\r\n\r\norder" } else { "\r\n" };
            let begun = Instant::now();
            wire.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{cookie_line}{body}"));
            let answer = wire.receive_for(method);
            let took = begun.elapsed();
            assert!(cookie != Cookie::Own || !answer.headers.has("set-cookie"), "nobody is logged out: {answer:?}");
            assert!(answer.status != 503 || !answer.headers.has("set-cookie"), "a cookie is kept: {answer:?}");
            outcomes.push(Outcome { target, cookie, status: answer.status, begun, took });
            let_pass(self.pace.saturating_sub(took));
        }
        outcomes
    }
}

/// What happened, in figures.
fn report(outcomes: &[Outcome], marks: &[(Outage, Instant, Instant)], passed: Duration) -> String {
    let mut by_kind = BTreeMap::<String, usize>::new();
    for outcome in outcomes {
        *by_kind.entry(format!("{} with cookie {:?}", outcome.status, outcome.cookie)).or_default() += 1;
    }
    let rate = outcomes.len() as f64 / passed.as_secs_f64();
    let mut text = format!("{} requests, {rate:.0} a second: {by_kind:?}\n", outcomes.len());
    let end = |outcome: &Outcome| outcome.begun + outcome.took;
    let refused = || outcomes.iter().filter(|outcome| outcome.status == 503);
    for (at, (outage, lost, back)) in marks.iter().enumerate() {
        let next = marks.get(at + 1).map(|(_, lost, _)| *lost);
        let here = || refused().filter(|one| end(one) > *lost && next.is_none_or(|next| end(one) < next));
        let first = here().map(end).min().expect("each outage is felt").duration_since(*lost);
        let slowest = here().map(|one| one.took).max().unwrap_or_default();
        let last = here().map(end).max().map_or(Duration::ZERO, |last| last.saturating_duration_since(*back));
        let line = format!("first 503 after {first:.1?}, slowest {slowest:.1?}, last {last:.1?} after its return");
        text.push_str(&format!("{outage:?}: {line}\n"));
    }
    text
}
