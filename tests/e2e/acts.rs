//! What is done with a session is noticed: calls by the minute (docs/monitoring.md).

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::gateway::Builder;
use crate::support::{Browser, Gateway, RedisServer, Store, echo, flask, gateway, wait_until};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const KEY: &str = "kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s";
const CALLS: &str = "SUSPICIOUS_RAPID_API_CALLS";

fn watched(store: Store, mode: &str) -> Builder {
    gateway(store).set("monitor.mode", mode).set("secrets.key", KEY).set("admin.token", TOKEN)
}

fn limited(store: Store, mode: &str, count: u32) -> Builder {
    watched(store, mode).settings(&format!("[monitor.calls]\ncount = {count}"))
}

fn anomalies(gateway: &Gateway) -> Vec<Value> {
    let answer = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
    answer["items"].as_array().expect("items").clone()
}

/// Waits for so much of a calendar minute that a test, on whatever machine, comes to its end in it.
fn within_a_minute(needed: Duration) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let left = Duration::from_millis(60_000 - u64::try_from(since.as_millis() % 60_000).expect("below a minute"));
    if left < needed {
        thread::sleep(left + Duration::from_millis(100));
    }
}

/// How many of so many calls pass; the others are refused until the minute is over.
fn passing(browser: &mut Browser, calls: usize) -> usize {
    let answers = (0..calls).map(|_| browser.get("/api/x"));
    let mut passed = 0;
    for answer in answers {
        if answer.status == 200 {
            passed += 1;
        } else {
            let refused = answer.expect_refusal(429, "rate_limited");
            let seconds: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
            assert!((1..=61).contains(&seconds), "{seconds}");
        }
    }
    passed
}

on_both_stores!(more_calls_of_a_user_than_there_may_be_are_refused_until_the_minute_is_over, |store| {
    let backend = echo();
    let gateway = limited(store, "enforce", 10).with_backend(&backend).start();
    let (mut alice, mut other_device) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "7"));
    let mut eve = gateway.logged_in("43", "7");
    within_a_minute(Duration::from_secs(20));
    assert_eq!(passing(&mut alice, 6), 6);
    // What is no call, what is refused, and what is answered here counts for nothing.
    for _ in 0..5 {
        alice.get("/page").expect(200);
        alice.get("/api/session/status").expect(200);
        alice.get("/api/admin/users").expect_refusal(403, "forbidden_role");
        gateway.browser().get("/api/x").expect_refusal(401, "session_required");
    }
    assert_eq!(passing(&mut other_device, 7), 4, "a user's devices count together");
    assert_eq!(passing(&mut alice, 3), 0);
    alice.get("/page").expect(200);
    assert_eq!(passing(&mut eve, 3), 3, "the user of that id in another tenant is somebody else");
    assert_eq!(backend.seen_at("/api/x").len(), 13);

    let found = gateway.wait_audit("anomaly.found", |event| event["reason"] == CALLS);
    assert_eq!((&found["tenant"], &found["user"], &found["actor"]), (&json!("42"), &json!("7"), &json!("gateway")));
    assert_eq!((&found["details"]["mode"], &found["details"]["action"]), (&json!("enforce"), &json!("throttle")));
    let kept = anomalies(&gateway);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        (&kept[0]["type"], &kept[0]["severity"], &kept[0]["user"]),
        (&json!(CALLS), &json!("medium"), &json!("7"))
    );
    assert_eq!(kept[0]["actions"], json!([{"action": "throttle", "done": true}]));
    assert_eq!((&kept[0]["evidence"]["calls"], &kept[0]["evidence"]["within_seconds"]), (&json!(11), &json!(60)));
    assert_eq!(gateway.metric("findings_total", &format!(r#"{{type="{CALLS}",severity="medium"}}"#)), 1.0);
    assert_eq!(gateway.metric("monitor_actions_total", r#"{action="throttle",mode="enforce"}"#), 1.0);
    assert!(gateway.metric("monitor_seconds_count", "") >= 1.0);
});

#[test]
fn in_the_next_minute_a_user_may_call_again() {
    let backend = echo();
    let gateway = limited(Store::Embedded, "enforce", 3).with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    within_a_minute(Duration::from_secs(5));
    assert_eq!(passing(&mut alice, 5), 3);
    let refused = alice.get("/api/x").expect_refusal(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    thread::sleep(Duration::from_secs(seconds));
    assert_eq!(passing(&mut alice, 5), 3, "when it was said");
}

on_both_stores!(what_is_only_observed_throttles_nobody_and_says_what_it_would_have_done, |store| {
    let backend = echo();
    let gateway = limited(store, "observe", 5).with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    within_a_minute(Duration::from_secs(10));
    assert_eq!(passing(&mut alice, 20), 20);
    let found = gateway.wait_audit("anomaly.found", |event| event["reason"] == CALLS);
    assert_eq!(found["details"]["mode"], "observe");
    let kept = anomalies(&gateway);
    assert_eq!(
        (&kept[0]["observed"], &kept[0]["actions"][0]),
        (&json!(true), &json!({"action": "throttle", "done": false}))
    );
    assert_eq!(gateway.metric("monitor_actions_total", r#"{action="throttle",mode="observe"}"#), 1.0);
    assert_eq!(gateway.metric("monitor_actions_total", r#"mode="enforce""#), 0.0);
});

/// How many of the calls that several browsers make at once pass.
fn at_once(browsers: &[Browser], calls: usize) -> usize {
    thread::scope(|scope| {
        let one = |browser: &Browser| {
            let mut browser = browser.clone();
            scope.spawn(move || passing(&mut browser, calls))
        };
        let all: Vec<_> = browsers.iter().map(one).collect();
        all.into_iter().map(|one| one.join().expect("answers")).sum()
    })
}

#[test]
fn of_calls_at_once_exactly_as_many_pass_at_one_gateway_as_there_may_be() {
    let backend = echo();
    let gateway = limited(Store::Embedded, "enforce", 50).with_backend(&backend).start();
    let browsers: Vec<Browser> = (0..6).map(|_| gateway.logged_in("42", "7")).collect();
    within_a_minute(Duration::from_secs(20));
    assert_eq!(at_once(&browsers, 20), 50);
    assert_eq!(backend.seen_at("/api/x").len(), 50);
}

#[test]
fn what_is_called_at_other_gateways_counts_within_two_seconds_and_never_too_much() {
    let app = flask();
    let store = Store::redis();
    let start = || limited(store.clone(), "enforce", 40).with_backend(app).start();
    let gateways = [start(), start(), start()];
    let mut alice = gateways[0].browser();
    alice.log_in_to_flask("alice");
    let at = |number: usize| alice.at(gateways[number].address());
    // Each of them has looked who else is there.
    wait_until("three gateways that know of each other", || {
        let exchanges = |gateway: &Gateway| gateway.metric("store_commands_total", r#"command="calls_exchange""#);
        gateways.iter().all(|gateway| exchanges(gateway) >= 1.0).then_some(())
    });
    within_a_minute(Duration::from_secs(30));
    let pass = |number: usize, calls: usize| {
        let mut browser = at(number);
        (0..calls).filter(|_| browser.get("/api/invoices").status == 200).count()
    };
    // So few that this gateway would not speak of them by itself.
    assert_eq!(pass(1, 2), 2);
    assert_eq!(pass(0, 30), 30);
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(pass(2, 20), 8, "it has heard of all the others' calls, and of no more");
    thread::sleep(Duration::from_millis(2500));
    assert_eq!((pass(0, 5), pass(1, 5), pass(2, 5)), (0, 0, 0));
    let found = gateways[2].wait_audit("anomaly.found", |event| event["reason"] == CALLS);
    assert!(
        found["details"]["evidence"].as_str().is_some_and(|text| text.contains("\"at_other_gateways\":32")),
        "{found}"
    );
    assert_eq!(anomalies(&gateways[1]).len(), 1, "one finding for all");
}

#[test]
fn a_call_asks_the_store_for_nothing_however_many_there_are() {
    let (backend, redis) = (echo(), RedisServer::start());
    let start = || {
        watched(Store::on(&redis), "enforce")
            .settings("[monitor.calls]\ncount = 1000000")
            .with_backend(&backend)
            .start()
    };
    let gateway = start();
    let mut alice = gateway.logged_in("42", "7");
    alice.get("/api/x").expect(200);
    let before = gateway.metric("store_commands_total", "");
    let began = std::time::Instant::now();
    for _ in 0..300 {
        alice.get("/api/x").expect(200);
    }
    let asked = gateway.metric("store_commands_total", "") - before;
    // What asks by the clock, and not by the request: the watch over server, locks and maintenance, and the gateways among
    // themselves. With a look-up or a count for each call it were 300 and more.
    let by_the_clock = 20.0 + 10.0 * began.elapsed().as_secs_f64();
    assert!(asked < by_the_clock.min(200.0), "{asked}");
}
