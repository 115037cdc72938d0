//! The store goes away and comes back: nobody gets in unverified, nobody is logged out, nothing happens twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::logins::identity;
use crate::support::{RedisServer, Store, echo, gateway, let_pass, wait_until};

#[test]
fn killing_redis_under_load_forwards_nothing_unverified_logs_nobody_out_and_duplicates_nothing() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let browsers: Vec<_> = (0..4).map(|n| gateway.logged_in("42", &format!("user{n}"))).collect();
    let over = AtomicBool::new(false);
    let outcomes: Vec<(String, u16)> = std::thread::scope(|scope| {
        let load = |number: usize| {
            let (mut browser, over) = (browsers[number].clone(), &over);
            scope.spawn(move || {
                let mut outcomes = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let target = format!("/orders?user=user{number}&n={}", outcomes.len());
                    let response = browser.request("POST", &target).body("order").send();
                    assert!(browser.has_session_cookie(), "an outage never takes the cookie: {response:?}");
                    outcomes.push((target, response.status));
                    let_pass(Duration::from_millis(2));
                }
                outcomes
            })
        };
        let users: Vec<_> = (0..browsers.len()).map(load).collect();
        for _ in 0..2 {
            let_pass(Duration::from_millis(400));
            redis.kill();
            let_pass(Duration::from_millis(600));
            redis.start_again();
            wait_until("recovery", || (browsers[0].clone().get("/x").status == 200).then_some(()));
        }
        let_pass(Duration::from_millis(300));
        over.store(true, Ordering::SeqCst);
        users.into_iter().flat_map(|user| user.join().expect("no user fails")).collect()
    });
    let mut seen = HashMap::<String, usize>::new();
    for request in backend.seen_at("/orders") {
        let user = request.target.split(['=', '&']).nth(1).expect("a user").to_owned();
        assert_eq!(request.identity(), (Some("42"), Some(user.as_str())), "forwarded with its own session only");
        *seen.entry(request.target).or_default() += 1;
    }
    for (target, status) in &outcomes {
        let times = seen.get(target).copied().unwrap_or(0);
        match status {
            200 => assert_eq!(times, 1, "{target}"),
            503 => assert_eq!(times, 0, "{target} was refused and yet forwarded"),
            other => panic!("{target}: {other}"),
        }
    }
    assert!(outcomes.iter().any(|(_, status)| *status == 503), "the outage was felt");
    for browser in &browsers {
        browser.clone().get("/x").expect(200);
    }
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
