//! One store, one app (docs/redis.md, "One prefix, one app"), and one machine with two (docs/behaviour.md, "Cookie and token").

use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::{RedisServer, Store, echo, gateway};

/// A gateway that says which app it stands before.
fn of(builder: Builder, app: &str) -> Builder {
    builder.without("store.shared_prefix").set("server.public_url", app).set("server.hosts", vec!["*"])
}

#[test]
fn a_second_app_under_one_prefix_is_refused_at_the_start_and_the_first_goes_on() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let start = |app: &str| of(gateway(store.clone()).with_backend(&backend), app);
    let first = start("http://a.example").start();
    let second = start("http://a.example").start();
    let mut browser = first.logged_in("42", "7");
    browser.at(second.address()).get("/x").expect(200);
    let (status, said) = start("http://b.example").refused();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("has sessions of another app, http://a.example"), "{said}");
    assert!(said.contains("store.shared_prefix"), "{said}");
    browser.get("/x").expect(200);

    // Who says that it is meant may come; and nobody who runs is stopped by it, whatever becomes of its connections.
    let shared = start("http://b.example").set("store.shared_prefix", true).start();
    browser.at(shared.address()).get("/x").expect(200);
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    crate::support::wait_until("the first goes on", || {
        (first.browser().log_in_with(&identity(42, 8)).status == 200).then_some(())
    });
    browser.get("/x").expect(200);
    shared.wait_log(&["has sessions of another app, which are valid here", "http://a.example"]);
    first.wait_log(&["does not start again without `store.shared_prefix = true`", "http://b.example", "WARN"]);
    let (status, _) = start("http://a.example").refused();
    assert_eq!(status.code(), Some(1), "but it does not start again beside the other");

    // Another prefix is another world.
    of(gateway(Store::on(&redis)).with_backend(&backend), "http://b.example").start();
}

#[test]
fn an_app_that_left_is_in_nobodys_way_once_its_sessions_are_over() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let start = |app: &str| {
        let builder = of(gateway(store.clone()).with_backend(&backend), app);
        builder.absolute("2s").idle("1s").set("session.remember", "2s")
    };
    let mut first = start("http://a.example").start();
    first.terminate();
    first.process().wait(std::time::Duration::from_secs(10)).expect("it ends");
    crate::support::wait_until("its place", || {
        let (gateway, ended) = (start("http://b.example").start_without_waiting(), std::time::Duration::from_secs(5));
        let mut gateway = gateway;
        crate::support::poll(ended, || {
            let lines = gateway.log();
            lines
                .iter()
                .any(|line| line.contains("\"serving\""))
                .then_some(true)
                .or_else(|| lines.iter().any(|line| line.contains("another app")).then_some(false))
        })
        .filter(|serves| *serves)
        .map(|_| gateway.process().stop())
    });
}

#[test]
fn a_store_that_was_away_at_the_start_is_not_shared_by_accident_either() {
    let (backend, mut redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let start = |app: &str| of(gateway(store.clone()).with_backend(&backend), app);
    let first = start("http://a.example").start();
    let browser = first.logged_in("42", "7");
    redis.freeze();
    let second = start("http://b.example").start_without_waiting();
    crate::support::wait_until("it listens", || crate::support::Wire::try_connect(second.address()).ok().map(drop));
    redis.thaw();
    crate::support::wait_until("it knows why", || {
        second.log().iter().any(|line| line.contains("has sessions of another app")).then_some(())
    });
    let status = browser.at(second.address()).get("/x").status;
    assert_eq!(status, 503, "nobody is let in by a session of the other app");
    let _ = &mut redis;
}

#[test]
fn an_embedded_file_is_one_apps() {
    let backend = echo();
    let mut gateway = of(gateway(Store::Embedded).with_backend(&backend), "http://a.example").start();
    gateway.logged_in("42", "7").get("/x").expect(200);
    gateway.restart_with("server.drain_timeout", "2s");
    gateway.change("server.public_url", "http://b.example");
    gateway.process().stop();
    let refused = gateway.run(&["serve", "--config", "gateway.toml"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("has sessions of another app, http://a.example"), "{said}");
    gateway.change("store.shared_prefix", true);
    gateway.crash_and_restart();
}

#[test]
fn two_gateways_on_one_machine_log_nobody_out_of_each_other() {
    let backend = echo();
    let [one, two] =
        [(); 2].map(|()| gateway(Store::Embedded).with_backend(&backend).with_the_default_cookie().start());
    let mut browser = one.browser();
    browser.log_in_with(&identity(42, 7)).expect(200);
    let mut there = browser.at(two.address());
    there.log_in_with(&identity(77, 8)).expect(200);
    let port = one.address().port();
    assert!(there.cookie(&format!("session-gateway-{port}")).is_some(), "a browser sends both to both");
    there.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("77"), Some("8")));
    let mut back = there.at(one.address());
    back.get("/x").expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    back.post("/api/logout").expect(200);
    back.at(two.address()).get("/x").expect(200);
}
