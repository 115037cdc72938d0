//! The cache of sessions on Redis: a steady request asks nothing, and no gateway goes on believing what another ended.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::logins::identity;
use crate::support::relay::Relay;
use crate::support::{
    Browser, Gateway, RedisServer, SESSION_COOKIE, Step, Store, echo, gateway, let_pass, send, wait_until,
};

/// What no gateway may accept an ended session after, whatever is stalled (docs/behaviour.md, "Store").
const NEVER_LATER: Duration = Duration::from_secs(1);
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Uses the session until that asks Redis nothing.
#[track_caller]
fn until_cached(gateway: &Gateway, browser: &mut Browser) {
    wait_until("an answer of the cache", || {
        let hits = gateway.metric("cache_hits_total", "");
        browser.get("/x").expect(200);
        (gateway.metric("cache_hits_total", "") > hits).then_some(())
    });
}

/// How long after `ended` the session is accepted here.
#[track_caller]
fn accepted_for(browser: &mut Browser, ended: Instant) -> Duration {
    wait_until("a refusal", || {
        let begin = Instant::now();
        let response = browser.get("/x");
        if response.status == 200 {
            assert!(begin.duration_since(ended) < NEVER_LATER, "accepted {:?} after", begin.duration_since(ended));
            return None;
        }
        response.expect_refusal(401, "session_revoked");
        Some(begin.duration_since(ended))
    })
}

#[test]
fn a_steady_request_asks_redis_nothing() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    until_cached(&gateway, &mut browser);
    // Redis's own count of `GET` has the gateway's heartbeats in it, the gateway's of its reads has not.
    let asked = || {
        let reads = gateway.metric("store_commands_total", "command=\"read\"");
        (["pexpiretime", "pexpireat", "exists"].map(|command| redis.calls(command)), reads)
    };
    let (before, hits) = (asked(), gateway.metric("cache_hits_total", ""));
    assert!(before.1 > 0.0, "the first request was one");
    for _ in 0..200 {
        browser.get("/x").expect(200);
    }
    assert_eq!(asked(), before);
    assert!(gateway.metric("cache_hits_total", "") >= hits + 200.0);
    // Both are told of with the next proof.
    wait_until("the cache's metrics", || (gateway.metric("cache_entries", "") >= 1.0).then_some(()));
    assert_eq!(gateway.metric("cache_lease", ""), 1.0);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
}

#[test]
fn off_is_off() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).set("store.cache_entries", "off").start();
    let mut browser = gateway.logged_in("42", "7");
    let before = redis.calls("pexpiretime");
    for _ in 0..5 {
        browser.get("/x").expect(200);
    }
    assert_eq!(redis.calls("pexpiretime"), before + 5);
    assert_eq!(redis.calls("client"), 0, "it does not ask to be told of changes");
}

#[test]
fn what_another_gateway_ends_is_refused_within_moments() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).start());
    let mut times = Vec::new();
    for turn in 0..40 {
        let mut browser = here.logged_in("42", "7");
        let mut same = browser.at(there.address());
        until_cached(&there, &mut same);
        browser.post(if turn % 2 == 0 { "/api/logout" } else { "/api/auth/revoke-all-tokens" }).expect(200);
        times.push(accepted_for(&mut same, Instant::now()));
    }
    times.sort();
    assert!(times[times.len() * 9 / 10] < Duration::from_millis(50), "{times:?}");
}

#[test]
fn what_a_gateway_ends_it_refuses_itself_at_once() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    for path in ["/api/logout", "/api/auth/revoke-all-tokens"] {
        let mut browser = gateway.logged_in("42", "7");
        until_cached(&gateway, &mut browser);
        let mut thief = browser.clone();
        browser.post(path).expect(200);
        thief.get("/x").expect_refusal(401, "session_revoked");
    }
}

#[test]
fn with_news_stalled_an_ended_session_is_refused_and_its_streams_cut_within_a_second() {
    let (backend, redis) = (echo(), RedisServer::start());
    backend.on_head("/events", [send(EVENTS), send("1\r\n1\r\n"), Step::Hang]);
    let relay = Relay::before(redis.address());
    let Store::Redis { url, prefix } = Store::on(&redis) else { unreachable!() };
    let here = gateway(Store::Redis { url, prefix: prefix.clone() }).with_backend(&backend).start();
    let there = gateway(Store::Redis { url: relay.url(), prefix }).with_backend(&backend).start();
    let mut bystander = here.logged_in("42", "8").at(there.address());
    for turn in 0..4 {
        let mut browser = here.logged_in("42", "7");
        let mut same = browser.at(there.address());
        until_cached(&there, &mut same);
        let mut stream = there.wire();
        let (host, token) = (there.address(), same.token());
        stream.send(format!("GET /events HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
        assert_eq!(stream.try_receive_head().expect("a head").status, 200);
        let_pass(Duration::from_millis(300));
        relay.stall();
        // At several moments of the lease.
        let_pass(Duration::from_millis(turn * 230));
        browser.post(if turn % 2 == 0 { "/api/logout" } else { "/api/auth/revoke-all-tokens" }).expect(200);
        let ended = Instant::now();
        let cut = std::thread::spawn(move || {
            let _ = stream.rest();
            ended.elapsed()
        });
        accepted_for(&mut same, ended);
        let cut = cut.join().expect("it is cut");
        assert!(cut < NEVER_LATER, "cut after {cut:?}");
        // Without news each request is a question, and still answered.
        bystander.get("/x").expect(200);
        relay.go_on();
    }
    until_cached(&there, &mut bystander);
}

#[test]
fn with_the_connection_for_news_killed_again_and_again_nothing_ended_is_accepted() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).start());
    for _ in 0..10 {
        let mut browser = here.logged_in("42", "7");
        let mut same = browser.at(there.address());
        until_cached(&there, &mut same);
        let clients = redis.command(&["CLIENT", "LIST"]);
        let trackers: Vec<&str> = clients.lines().filter(|line| line.contains(" flags=tB ")).collect();
        assert!(!trackers.is_empty(), "{clients}");
        for tracker in trackers {
            let id = tracker.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id");
            redis.command(&["CLIENT", "KILL", "ID", id]);
        }
        browser.post("/api/logout").expect(200);
        accepted_for(&mut same, Instant::now());
    }
    let mut browser = here.logged_in("42", "7");
    until_cached(&here, &mut browser);
}

#[test]
fn a_server_that_was_emptied_takes_the_cache_with_it() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    until_cached(&gateway, &mut browser);
    redis.command(&["FLUSHALL"]);
    let emptied = Instant::now();
    wait_until("a refusal", || (browser.get("/x").status == 401).then_some(()));
    assert!(emptied.elapsed() < NEVER_LATER);
}

#[test]
fn where_redis_refuses_to_tell_of_changes_the_gateway_runs_without_its_cache_and_says_so() {
    let (backend, redis) = (echo(), RedisServer::start());
    redis.command(&["ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", "-client|tracking"]);
    let Store::Redis { prefix, .. } = Store::on(&redis) else { unreachable!() };
    let url = format!("redis://narrow:secret@{}/0", redis.address());
    let store = Store::Redis { url, prefix };
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).start());
    let line = here.wait_log(&["the session cache is off", "NOPERM"]);
    assert_eq!(line["level"], json!("WARN"), "{line}");
    let mut browser = here.logged_in("42", "7");
    let mut same = browser.at(there.address());
    for _ in 0..3 {
        same.get("/x").expect(200);
    }
    browser.post("/api/logout").expect(200);
    same.get("/x").expect_refusal(401, "session_revoked");
    let details = here.admin_get("/readyz").expect(200).text();
    assert!(details.contains("the session cache is off") && details.contains("\"cache\""), "{details}");
    assert!(here.metric("cache_hits_total", "") == 0.0 && here.metric("cache_lease", "") == 0.0);
    let said = || here.log().iter().filter(|line| line.contains("the session cache is off")).count();
    assert_eq!(said(), 1, "once");
}

#[test]
fn made_up_tokens_push_out_no_session_and_are_not_asked_about_twice() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).set("store.cache_entries", 1000).start();
    let mut browser = gateway.logged_in("42", "7");
    until_cached(&gateway, &mut browser);
    let mut guesser = gateway.browser();
    for n in 0..3000 {
        guesser.set_cookie(SESSION_COOKIE, &format!("{n:043}"));
        guesser.get("/x").expect_refusal(401, "session_required");
    }
    let asked = redis.calls("pexpiretime");
    browser.get("/x").expect(200);
    for _ in 0..10 {
        guesser.get("/x").expect_refusal(401, "session_required");
    }
    assert_eq!(redis.calls("pexpiretime"), asked);
    assert!(gateway.metric("cache_entries", "") <= 1125.0);
}

#[test]
fn a_steady_user_costs_about_one_write_per_half_granularity() {
    let (backend, redis) = (echo(), RedisServer::start());
    // A granularity of a second.
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).idle("30s").start();
    let mut browser = gateway.logged_in("42", "7");
    until_cached(&gateway, &mut browser);
    let (writes, begin) = (redis.calls("pexpireat"), Instant::now());
    while begin.elapsed() < Duration::from_secs(4) {
        browser.get("/x").expect(200);
    }
    let writes = redis.calls("pexpireat") - writes;
    // A use is queued once half of it is over, and written a tenth of a second later.
    assert!((4..=8).contains(&writes), "{writes} writes in {:?}", begin.elapsed());
}

#[test]
fn lower_limits_hold_for_what_is_cached() {
    let (backend, redis) = (echo(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    until_cached(&gateway, &mut browser);
    let reloads = gateway.metric("config_reloads_total", "success");
    gateway.reload_with("session.idle", "1s");
    wait_until("the reload", || (gateway.metric("config_reloads_total", "success") > reloads).then_some(()));
    browser.get("/x").expect(200);
    let_pass(Duration::from_millis(1100));
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
}

#[test]
fn a_session_that_is_used_on_one_gateway_alone_stays_alive_on_the_other_and_idle_ends_on_both() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).idle("1s").start());
    let mut browser = here.browser();
    browser.log_in_with(&identity(42, 7)).expect(200);
    let mut same = browser.at(there.address());
    same.get("/x").expect(200);
    for _ in 0..20 {
        browser.get("/x").expect(200);
        let_pass(Duration::from_millis(100));
    }
    // What is known there of its last use is two seconds old.
    same.get("/x").expect(200);
    let_pass(Duration::from_millis(1100));
    browser.get("/x").expect_refusal(401, "session_idle_timeout");
    same.get("/x").expect_refusal(401, "session_idle_timeout");
}
