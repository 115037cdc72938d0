//! What is done with a session is noticed: calls by the minute (docs/monitoring.md).

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::python::acting_app;
use crate::support::{
    Browser, Gate, Gateway, RedisServer, SESSION_COOKIE, Step, Store, answer, echo, flask, gateway, send, wait_until,
};

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

/// How often the store is asked while this goes on, beyond what it is asked by the clock.
fn asked_while(gateway: &Gateway, act: impl FnOnce()) -> f64 {
    let asked = || gateway.metric("store_commands_total", "");
    let pause = Duration::from_secs(4);
    let before = asked();
    thread::sleep(pause);
    let by_the_clock = (asked() - before) / pause.as_secs_f64();
    let (before, began) = (asked(), std::time::Instant::now());
    act();
    let (asked, took) = (asked() - before, began.elapsed().as_secs_f64());
    asked - by_the_clock * took
}

#[test]
fn with_everything_on_a_request_asks_the_store_for_less_than_a_fiftieth_of_a_command() {
    let (backend, redis) = (echo(), RedisServer::start());
    let settings = "[monitor.calls]\ncount = 1000000\n[[monitor.exports.routes]]\nmatch = \"/e/*\"\ncount = \"lines\"";
    let gateway = watched(Store::on(&redis), "enforce").settings(settings).with_backend(&backend).start();
    let browsers: Vec<Browser> = (0..4).map(|number| gateway.logged_in("42", &number.to_string())).collect();
    // Of one of them something is open, which its backend is told.
    let mut alice = browsers[0].clone();
    reach(&mut alice);
    wait_until("a risk", || risk(&backend, &mut alice));
    const EACH: usize = 1500;
    let asked = asked_while(&gateway, || {
        thread::scope(|scope| {
            for browser in &browsers {
                let mut browser = browser.clone();
                scope.spawn(move || (0..EACH).for_each(|_| _ = browser.get("/api/x").expect(200)));
            }
        });
    });
    let requests = (EACH * browsers.len()) as f64;
    println!("{:.4} commands a request of {requests}", asked / requests);
    assert!(asked / requests <= 0.02, "{asked} for {requests}");
}

const PRIVILEGES: &str = "SUSPICIOUS_PRIVILEGE_ESCALATION_ATTEMPTS";
const EXPORTS: &str = "SUSPICIOUS_DATA_EXPORT_VOLUME";
const PASSWORDS: &str = "SUSPICIOUS_PASSWORD_CHANGES";
const REVOKED_USE: &str = "REVOKED_SESSION_USE";
const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.1";

/// The findings of a kind, once what was done is with the store.
fn found(gateway: &Gateway, kind: &str) -> Vec<Value> {
    // It waits for a tenth of a second for others to go along.
    thread::sleep(Duration::from_millis(600));
    anomalies(gateway).into_iter().filter(|finding| finding["type"] == kind).collect()
}

fn evidence(finding: &Value) -> &Value {
    &finding["evidence"]
}

on_both_stores!(the_third_different_thing_that_is_refused_for_a_role_is_found, |store| {
    let backend = echo();
    backend.on("/admin/settings", [answer("403 Forbidden", &[], "{}")]);
    backend.on("/api/items", [answer("403 Forbidden", &[], "{}")]);
    let gateway = watched(store, "enforce").with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    // The same again, more of a folder, and what is for everybody and refused by the app, are nothing new.
    for path in ["/api/admin/users/1", "/api/admin/users/2", "/api/admin/users/1", "/api/items"] {
        assert_eq!(alice.get(path).status, 403, "{path}");
    }
    alice.post("/api/admin/users/1").expect(403);
    assert_eq!(found(&gateway, PRIVILEGES), Vec::<Value>::new(), "two: to read users, and to change them");
    alice.get("/admin/settings").expect(403);
    let found = found(&gateway, PRIVILEGES);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["severity"], &found[0]["user"], &found[0]["tenant"]),
        (&json!("high"), &json!("7"), &json!("42"))
    );
    assert_eq!(
        (&evidence(&found[0])["targets"], &evidence(&found[0])["last"]),
        (&json!(3), &json!("GET /admin/settings"))
    );
    assert!(found[0]["session_id"].is_string());
    let audited = gateway.wait_audit("anomaly.found", |event| event["reason"] == PRIVILEGES);
    assert_eq!((&audited["user"], &audited["details"]["severity"]), (&json!("7"), &json!("high")));
    let mut admin = gateway.logged_in_as("42", "8", "admin");
    for path in ["/api/admin/a", "/api/admin/b", "/api/admin/c"] {
        admin.get(path).expect(200);
    }
    assert_eq!(found_of(&gateway, "8"), 0);
});

/// How many findings there are about a user.
fn found_of(gateway: &Gateway, user: &str) -> usize {
    anomalies(gateway).iter().filter(|finding| finding["user"] == user).count()
}

on_both_stores!(a_client_that_claims_to_be_somebody_else_in_three_ways_is_found, |store| {
    let backend = echo();
    let gateway = watched(store, "enforce").with_backend(&backend).start();
    // A front end that still sends its own values, or one that is out of date, claims nothing much.
    let mut honest =
        gateway.logged_in_as("42", "7", "user").with_header("X-Customer-ID", "42").with_header("X-User-ID", "7");
    let mut stale = gateway.logged_in("42", "8").with_header("X-Customer-ID", "41");
    for _ in 0..5 {
        honest.get("/api/x").expect(200);
        stale.get("/api/x").expect(200);
    }
    assert_eq!(found(&gateway, PRIVILEGES), Vec::<Value>::new());
    let mut thief = gateway.logged_in("42", "9").with_header("X-Customer-ID", "1").with_header("X-User-ID", "1");
    thief.get("/api/x").expect(200);
    thief.request("GET", "/api/x").header("X-User-Role", "admin").send().expect(200);
    let found = found(&gateway, PRIVILEGES);
    assert_eq!((found.len(), &found[0]["user"]), (1, &json!("9")), "{found:?}");
    assert_eq!(evidence(&found[0])["last"], "identity header: role");
});

#[test]
fn what_is_refused_at_three_gateways_is_found_together() {
    let (backend, store) = (echo(), Store::redis());
    let start = || watched(store.clone(), "observe").with_backend(&backend).start();
    let gateways = [start(), start(), start()];
    let alice = gateways[0].logged_in("42", "7");
    for (gateway, path) in gateways.iter().zip(["/api/admin/a", "/api/admin/b", "/api/admin/c"]) {
        alice.at(gateway.address()).get(path).expect(403);
        thread::sleep(Duration::from_millis(300));
    }
    let found = found(&gateways[1], PRIVILEGES);
    assert_eq!((found.len(), &found[0]["observed"]), (1, &json!(true)), "{found:?}");
}

/// A watched gateway whose exports are these.
fn exporting(store: Store, routes: &[(&str, &str)]) -> Builder {
    let route =
        |(path, count): &(&str, &str)| format!("[[monitor.exports.routes]]\nmatch = \"{path}\"\ncount = \"{count}\"\n");
    watched(store, "enforce").settings(&routes.iter().map(route).collect::<String>())
}

on_both_stores!(records_are_counted_however_an_export_says_how_many_it_has, |store| {
    let backend = echo();
    let rows: Vec<Value> = (0..1001).map(|number| json!({"id": number, "tags": ["a", "b"]})).collect();
    let json = json!({"total": 5, "results": rows}).to_string();
    let lines = "1,2,3\n".repeat(1001);
    backend.on("/e/header", [answer("200 OK", &[("X-Row-Count", "1001")], "")]);
    backend.on("/e/range", [answer("200 OK", &[("Content-Range", "items 0-1000/9999")], "")]);
    backend.on("/e/lines", [answer("200 OK", &[("Content-Type", "text/csv")], &lines)]);
    backend.on("/e/pointer", [answer("200 OK", &[("Content-Type", "application/json")], &json)]);
    backend.on("/e/bytes", [answer("200 OK", &[], "x".repeat(1024 * 1000 + 1))]);
    backend.on("/e/refused", [answer("404 Not Found", &[("X-Row-Count", "5000")], "")]);
    backend.on("/e/unknown", [answer("200 OK", &[], "")]);
    let routes = [
        ("/e/header", "header:X-Row-Count"),
        ("/e/range", "content-range"),
        ("/e/lines", "lines"),
        ("/e/pointer", "pointer:/results"),
        ("/e/bytes", "bytes:1KiB"),
        ("/e/each/*", "each"),
        ("/e/refused", "header:X-Row-Count"),
        ("/e/unknown", "header:X-Row-Count"),
    ];
    let gateway = exporting(store, &routes).with_backend(&backend).start();
    for (user, path) in ["header", "range", "lines", "pointer", "bytes"].iter().enumerate() {
        let user = user.to_string();
        let mut browser = gateway.logged_in("42", &user);
        let answer = browser.request("GET", &format!("/e/{path}")).header("Accept-Encoding", "gzip").send().expect(200);
        let encoding = backend.last().header("accept-encoding").map(str::to_owned);
        let reads = ["lines", "pointer"].contains(path);
        assert_eq!(encoding.as_deref(), Some(if reads { "identity" } else { "gzip" }), "{path}");
        if *path == "pointer" {
            assert_eq!(answer.text(), json, "what is counted is passed on as it came");
        }
        let found = found(&gateway, EXPORTS);
        let of_user = found.iter().find(|finding| finding["user"] == user.as_str());
        let finding = of_user.unwrap_or_else(|| panic!("{path}: {found:?}"));
        assert_eq!((&evidence(finding)["records"], &finding["severity"]), (&json!(1001), &json!("medium")), "{path}");
        assert_eq!(evidence(finding)["last"], format!("/e/{path}"));
    }
    let mut others = gateway.logged_in("42", "99");
    others.get("/e/each/one").expect(200);
    others.get("/e/refused").expect(404);
    others.get("/e/unknown").expect(200);
    others.request("HEAD", "/e/header").send().expect(200);
    assert_eq!(found(&gateway, EXPORTS).len(), 5, "one record in all");
    assert_eq!(gateway.metric("monitor_dropped_total", ""), 1.0, "nobody knows what the last export had");
});

#[test]
fn no_part_of_an_export_is_asked_for_where_its_body_is_counted() {
    let backend = echo();
    let rows: Vec<Value> = (0..1001).map(|number| json!({"id": number})).collect();
    let json = json!(rows).to_string();
    // As a backend does that knows parts.
    backend.on_call("/e/all", move |seen| match seen.header("range") {
        Some(_) => vec![answer("206 Partial Content", &[("Content-Range", "bytes 1-9/10")], &json[1..])],
        None => vec![answer("200 OK", &[], &json)],
    });
    backend.on("/e/header", [answer("200 OK", &[("X-Row-Count", "1")], "")]);
    let routes = [("/e/all", "pointer:"), ("/e/header", "header:X-Row-Count")];
    let gateway = exporting(Store::Embedded, &routes).with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    let mut part =
        |path| alice.request("GET", path).header("Range", "bytes=1-").header("If-Range", "\"x\"").send().expect(200);
    part("/e/header");
    assert_eq!(backend.last().header("range"), Some("bytes=1-"), "nothing is read of it");
    part("/e/all");
    assert_eq!((backend.last().header("range"), backend.last().header("if-range")), (None, None));
    let found = found(&gateway, EXPORTS);
    assert_eq!((found.len(), &evidence(&found[0])["records"]), (1, &json!(1002)));
}

#[test]
fn an_export_that_is_an_event_as_well_is_counted() {
    let backend = echo();
    backend.on("/e/all", [answer("200 OK", &[], "{}\n".repeat(1001))]);
    let gateway = exporting(Store::Embedded, &[("/e/all", "lines")])
        .with_backend(&backend)
        .settings("[[events]]\nmatch = \"POST /e/all\"\naction = \"revoke-user\"")
        .start();
    gateway.logged_in("42", "7").post("/e/all").expect(200);
    let found = found(&gateway, EXPORTS);
    assert_eq!((found.len(), &evidence(&found[0])["records"]), (1, &json!(1001)));
}

#[test]
fn many_small_exports_of_an_hour_add_up_over_all_gateways_and_devices() {
    let (backend, store) = (echo(), Store::redis());
    backend.on("/e/some", [answer("200 OK", &[("X-Row-Count", "300")], "")]);
    let start = || exporting(store.clone(), &[("/e/some", "header:X-Row-Count")]).with_backend(&backend).start();
    let gateways = [start(), start()];
    for number in 0..3 {
        gateways[number % 2].logged_in("42", "7").get("/e/some").expect(200);
        gateways[number % 2].logged_in("43", "7").get("/e/some").expect(200);
    }
    assert_eq!(found(&gateways[0], EXPORTS), Vec::<Value>::new());
    gateways[1].logged_in("42", "7").get("/e/some").expect(200);
    let found = found(&gateways[0], EXPORTS);
    assert_eq!((found.len(), &found[0]["tenant"], &evidence(&found[0])["records"]), (1, &json!("42"), &json!(1200)));
}

#[test]
fn a_long_export_is_found_before_it_ends_and_is_held_back_by_nobody() {
    let (backend, gate) = (echo(), Gate::closed());
    let head = send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    let rows = "{\"a\":1}\n".repeat(600);
    let chunk = send(format!("{:x}\r\n{rows}\r\n", rows.len()));
    let steps = [head, chunk.clone(), chunk.clone(), Step::Await(gate.clone()), chunk, send("0\r\n\r\n")];
    backend.on("/e/all", steps);
    let gateway = exporting(Store::Embedded, &[("/e/all", "lines")]).with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    let reading = thread::spawn(move || alice.get("/e/all").expect(200).text());
    wait_until("a finding while it is under way", || {
        anomalies(&gateway).into_iter().find(|finding| finding["type"] == EXPORTS)
    });
    gate.open();
    assert_eq!(reading.join().expect("an answer").len(), 3 * rows.len(), "nothing of it is missing");
}

on_both_stores!(the_third_change_of_a_password_within_a_day_is_found_of_whomever_it_is, |store| {
    let backend = echo();
    backend.on_call("/api/password", |seen| {
        let wrong = seen.body.windows(5).any(|word| word == b"wrong");
        vec![answer(if wrong { "422 X" } else { "200 OK" }, &[], "{}")]
    });
    let gateway = watched(store, "observe")
        .with_backend(&backend)
        .settings(
            "[[events]]\nmatch = \"POST /api/password\"\ncounts_as = \"password_change\"\n\
             [[events]]\nmatch = \"POST /users/{user}/password\"\naction = \"revoke-user\"\ncounts_as = \"password_change\"",
        )
        .start();
    let mut alice = gateway.logged_in("42", "7");
    for password in ["one", "wrong", "two", "wrong"] {
        alice.post_json("/api/password", &json!({"new": password}));
    }
    assert_eq!(found(&gateway, PASSWORDS), Vec::<Value>::new(), "two of them failed");
    // Whoever looks after users changes many passwords, and nobody's often.
    let mut admin = gateway.logged_in("42", "1");
    for user in ["11", "12", "13", "14"] {
        admin.post(&format!("/users/{user}/password")).expect(200);
    }
    assert_eq!(found(&gateway, PASSWORDS), Vec::<Value>::new());
    alice.post_json("/api/password", &json!({"new": "three"})).expect(200);
    let of_alice = found(&gateway, PASSWORDS);
    assert_eq!((of_alice.len(), &of_alice[0]["user"], &of_alice[0]["severity"]), (1, &json!("7"), &json!("high")));
    assert_eq!(evidence(&of_alice[0])["changes"], 3);
    for _ in 0..2 {
        admin.post("/users/11/password").expect(200);
    }
    let all = found(&gateway, PASSWORDS);
    assert_eq!((all.len(), &all[0]["session_id"], &evidence(&all[0])["user"]), (2, &Value::Null, &json!("11")));
});

on_both_stores!(who_changes_a_password_again_and_again_logs_in_again_on_a_device_that_the_account_knows, |store| {
    let backend = echo();
    let gateway = watched(store, "enforce")
        .set("server.trusted_proxies", vec!["127.0.0.1"])
        .with_backend(&backend)
        .settings("[[events]]\nmatch = \"POST /api/password\"\ncounts_as = \"password_change\"")
        .start();
    let log_in = |browser: &mut Browser, name: &str, user: u32| {
        browser.post_json("/api/login", &json!({"username": name, "answer": identity(42, user)}))
    };
    let (mut owner, mut thief) = (from(&gateway, OWNER), from(&gateway, STRANGER));
    log_in(&mut owner, "alice@example.com", 7).expect(200);
    log_in(&mut thief, "alice@example.com", 7).expect(200);
    thread::sleep(Duration::from_millis(300));
    for password in ["one", "two", "three"] {
        thief.post_json("/api/password", &json!({"new": password})).expect(200);
    }
    let finding = found(&gateway, PASSWORDS).pop().expect("it is found");
    let all = json!(["lock", "reauth", "alert"].map(|action| json!({"action": action, "done": action != "alert"})));
    assert_eq!(finding["actions"], all, "nobody is named to be told");
    thief.get("/api/x").expect_refusal(401, "reauth_required");
    owner.get("/api/x").expect(200);
    // Whoever knows the new password and the account does not know the device is out; the owner, on theirs, is not.
    let mut elsewhere = from(&gateway, "203.0.113.9");
    log_in(&mut elsewhere, "ALICE@example.com ", 7).expect_refusal(429, "login_locked");
    log_in(&mut owner, "alice@example.com", 7).expect(200);
    log_in(&mut elsewhere, "bob@example.com", 8).expect(200);
    let locks = gateway.operator(TOKEN).get("/v1/locks").expect(200).json();
    assert_eq!(locks["items"].as_array().map(Vec::len), Some(1), "{locks}");
    assert_eq!(locks["items"][0]["by"], "account");
    let path = format!("/v1/locks/{}", locks["items"][0]["id"].as_str().expect("an id"));
    gateway.operator(TOKEN).request("DELETE", &path).send().expect(200);
    log_in(&mut elsewhere, "alice@example.com", 7).expect(200);
});

fn from(gateway: &Gateway, address: &str) -> Browser {
    gateway.browser().with_header("X-Forwarded-For", address)
}

/// The same cookie at another address.
fn stolen_by(gateway: &Gateway, owner: &Browser, address: &str) -> Browser {
    let mut thief = from(gateway, address);
    thief.set_cookie(SESSION_COOKIE, &owner.token());
    thief
}

on_both_stores!(the_cookie_of_a_session_that_its_user_ended_is_found_where_it_is_used_from_elsewhere, |store| {
    let backend = echo();
    let gateway =
        watched(store, "enforce").set("server.trusted_proxies", vec!["127.0.0.1"]).with_backend(&backend).start();
    let mut owner = from(&gateway, OWNER);
    owner.log_in_with(&identity(42, 7)).expect(200);
    let mut other_tab = stolen_by(&gateway, &owner, OWNER);
    owner.post("/api/logout").expect(200);
    thread::sleep(Duration::from_millis(400));
    for _ in 0..3 {
        other_tab.get("/api/x").expect_refusal(401, "session_revoked");
    }
    assert_eq!(found(&gateway, REVOKED_USE), Vec::<Value>::new(), "a tab that was left open");
    let mut owner = from(&gateway, OWNER);
    owner.log_in_with(&identity(42, 8)).expect(200);
    let mut thief = stolen_by(&gateway, &owner, STRANGER);
    thief.get("/api/x").expect(200);
    owner.post("/api/logout").expect(200);
    thread::sleep(Duration::from_millis(400));
    for _ in 0..3 {
        thief.get("/api/x").expect_refusal(401, "session_revoked");
    }
    let found = found(&gateway, REVOKED_USE);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["user"], &found[0]["tenant"], &found[0]["address"]),
        (&json!("8"), &json!("42"), &json!(STRANGER))
    );
    assert_eq!((&evidence(&found[0])["reason"], &evidence(&found[0])["used_from"]), (&json!("logout"), &json!(OWNER)));
    assert_eq!(found[0]["repeats"], 0, "the same cookie again is looked at once a minute");
});

on_both_stores!(whoever_goes_on_with_a_session_that_an_operator_ended_is_found, |store| {
    let backend = echo();
    let gateway = watched(store, "enforce")
        .set("server.trusted_proxies", vec!["127.0.0.1"])
        .settings("session.max_per_user = { count = 1, action = \"revoke-oldest\" }")
        .idle("2s")
        .with_backend(&backend)
        .start();
    // What made way for another one is nobody's wish.
    let mut other = from(&gateway, OWNER);
    other.log_in_with(&identity(42, 7)).expect(200);
    let mut owner = from(&gateway, OWNER);
    owner.log_in_with(&identity(42, 7)).expect(200);
    stolen_by(&gateway, &other, STRANGER).get("/api/x").expect_refusal(401, "session_revoked");
    let mut thief = stolen_by(&gateway, &owner, STRANGER);
    gateway.operator(TOKEN).post("/v1/tenants/42/users/7/revoke").expect(200);
    thief.get("/api/x").expect_refusal(401, "session_revoked");
    let ended = found(&gateway, REVOKED_USE);
    assert_eq!(
        (ended.len(), &ended[0]["user"], &evidence(&ended[0])["reason"]),
        (1, &json!("7"), &json!("user_revoked"))
    );
    // What time ends is nobody's wish.
    let mut idle = from(&gateway, OWNER);
    idle.log_in_with(&identity(42, 9)).expect(200);
    let mut elsewhere = stolen_by(&gateway, &idle, STRANGER);
    thread::sleep(Duration::from_millis(2500));
    elsewhere.get("/api/x").expect_refusal(401, "session_idle_timeout");
    assert_eq!(found(&gateway, REVOKED_USE).len(), 1);
});

/// What the backend is told about how bad it is what is open of a session.
fn risk(backend: &Echo, browser: &mut Browser) -> Option<String> {
    browser.get("/page").expect(200);
    backend.last().header("x-session-risk").map(str::to_owned)
}

fn judge(gateway: &Gateway, finding: &Value, verdict: &str) {
    let path = format!("/v1/anomalies/{}/verdict", finding["id"].as_str().expect("an id"));
    gateway.operator(TOKEN).post_json(&path, &json!({"verdict": verdict})).expect(200);
}

/// Has the session of a browser found by the rule on privileges.
fn reach(browser: &mut Browser) {
    for path in ["/api/admin/a", "/api/admin/b", "/api/admin/c"] {
        browser.get(path).expect(403);
    }
}

on_both_stores!(the_backend_is_told_of_what_is_open_of_a_session_until_somebody_judges_it, |store| {
    let backend = echo();
    backend.on("/e/many", [answer("200 OK", &[("X-Row-Count", "2000")], "")]);
    let gateway = exporting(store, &[("/e/many", "header:X-Row-Count")]).with_backend(&backend).start();
    let (mut alice, mut other_device) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "7"));
    assert_eq!(risk(&backend, &mut alice), None);
    alice.get("/e/many").expect(200);
    wait_until("a medium risk", || risk(&backend, &mut alice).filter(|risk| risk == "medium"));
    reach(&mut alice);
    wait_until("the worst that is open", || risk(&backend, &mut alice).filter(|risk| risk == "high"));
    assert_eq!(risk(&backend, &mut other_device), None, "it is a session's");
    assert_eq!(backend.last().header("x-user-id"), Some("7"));
    let found = anomalies(&gateway);
    let of = |kind: &str| found.iter().find(|finding| finding["type"] == kind).expect("it is found");
    judge(&gateway, of(PRIVILEGES), "expected");
    wait_until("what is left", || risk(&backend, &mut alice).filter(|risk| risk == "medium"));
    // What was judged is over: the same again is another finding.
    reach(&mut alice);
    wait_until("high again", || risk(&backend, &mut alice).filter(|risk| risk == "high"));
    let newest = anomalies(&gateway);
    let again = newest.iter().find(|finding| finding["type"] == PRIVILEGES).expect("it is found");
    assert_ne!(again["id"], of(PRIVILEGES)["id"]);
    judge(&gateway, again, "expected");
    judge(&gateway, of(EXPORTS), "malicious");
    wait_until("nothing that is open", || risk(&backend, &mut alice).is_none().then_some(()));
});

#[test]
fn what_is_found_at_one_gateway_backends_are_told_by_the_others_and_after_a_restart() {
    let (backend, store) = (echo(), Store::redis());
    let start = || watched(store.clone(), "enforce").with_backend(&backend).start();
    let gateways = [start(), start()];
    let mut alice = gateways[0].logged_in("42", "7");
    let mut at_other = alice.at(gateways[1].address());
    assert_eq!(risk(&backend, &mut at_other), None);
    reach(&mut alice);
    let found_at = std::time::Instant::now();
    wait_until("the other to know", || risk(&backend, &mut at_other).filter(|risk| risk == "high"));
    assert!(found_at.elapsed() < Duration::from_secs(8), "{:?}", found_at.elapsed());
    let third = start();
    let mut at_third = alice.at(third.address());
    wait_until("a new one to know", || risk(&backend, &mut at_third).filter(|risk| risk == "high"));
    judge(&gateways[1], &anomalies(&gateways[1])[0], "expected");
    for browser in [&mut alice, &mut at_other, &mut at_third] {
        wait_until("each to know that it was judged", || risk(&backend, browser).is_none().then_some(()));
    }
}

on_both_stores!(no_client_and_no_backend_says_how_bad_it_is_what_is_open, |store| {
    let backend = echo();
    backend.on("/boasts", [answer("200 OK", &[("X-Session-Risk", "low")], "")]);
    let gateway = watched(store, "enforce").with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    for name in ["X-Session-Risk", "x_session_risk", "X.Session-Risk"] {
        alice.request("GET", "/page").header(name, "none").send().expect(200);
        let seen = backend.last();
        let said = seen
            .headers
            .0
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().replace(['_', '.'], "-") == "x-session-risk");
        assert_eq!(said.count(), 0, "{name}");
    }
    assert_eq!(alice.get("/boasts").expect(200).header("x-session-risk"), None);
    reach(&mut alice);
    wait_until("a risk", || risk(&backend, &mut alice));
    alice.request("GET", "/page").header("X-Session-Risk", "none").send().expect(200);
    let seen = backend.last();
    let said: Vec<_> = seen.headers.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-session-risk")).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].1, "high");
});

#[test]
fn what_is_only_observed_no_backend_is_told() {
    let backend = echo();
    let gateway = watched(Store::Embedded, "observe").with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7");
    reach(&mut alice);
    assert_eq!(found(&gateway, PRIVILEGES).len(), 1);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(risk(&backend, &mut alice), None);
}

/// A migration in which clients' own claims still go through: this one does not.
#[test]
fn while_clients_claims_go_through_none_of_them_says_how_bad_it_is() {
    let backend = echo();
    let gateway = watched(Store::Embedded, "enforce").set("identity.mode", "observe").with_backend(&backend).start();
    let mut alice = gateway.logged_in("42", "7").with_header("X-Session-Risk", "none");
    assert_eq!(risk(&backend, &mut alice), None);
    alice.request("GET", "/page").header("X_Session_Risk", "none").send().expect(200);
    assert!(backend.last().headers.0.iter().all(|(name, _)| !name.to_ascii_lowercase().ends_with("risk")));
}

/// Two gateways on one Redis before a real app, whose rules also hold and end sessions.
fn two_before_flask(mode: &str) -> [Gateway; 2] {
    let store = Store::redis();
    let settings = "[monitor.exports]\naction = [\"alert\", \"terminate\"]\n\
                    [[monitor.exports.routes]]\nmatch = \"/e/*\"\ncount = \"lines\"\n\
                    [monitor.privileges]\naction = [\"alert\", \"reauth\"]\n\
                    [[events]]\nmatch = \"POST /api/password\"\ncounts_as = \"password_change\"\n";
    let start = || {
        watched(store.clone(), mode)
            .set("server.trusted_proxies", vec!["127.0.0.1"])
            .with_backend(acting_app())
            .settings(settings)
            .start()
    };
    [start(), start()]
}

/// Somebody who logged in at the first of them, at each.
fn at_both(gateways: &[Gateway; 2], name: &str) -> [Browser; 2] {
    let mut first = from(&gateways[0], OWNER);
    first.log_in_to_flask(name);
    let second = first.at(gateways[1].address());
    [first, second]
}

/// The one finding of a kind that comes up at a gateway, with what was done.
fn one(gateway: &Gateway, kind: &str) -> (Value, Vec<bool>) {
    let finding = wait_until(kind, || anomalies(gateway).into_iter().find(|finding| finding["type"] == kind));
    let taken = finding["actions"].as_array().expect("actions").iter().map(|taken| taken["done"] == true).collect();
    (finding, taken)
}

#[test]
fn who_reaches_for_privileges_at_two_gateways_before_flask_logs_in_again() {
    for mode in ["enforce", "observe"] {
        let gateways = two_before_flask(mode);
        let [mut here, mut there] = at_both(&gateways, "dave");
        here.get("/admin/users").expect(403);
        there.get("/admin/users").expect(403);
        there.get("/admin/keys").expect(403);
        assert_eq!(found(&gateways[0], PRIVILEGES), Vec::<Value>::new(), "two things");
        here.request("GET", "/api/risk").header("X-Customer-ID", "1").send().expect(200);
        let (finding, done) = one(&gateways[1], PRIVILEGES);
        assert_eq!((&finding["user"], &finding["tenant"]), (&json!("10"), &json!("42")));
        assert_eq!(evidence(&finding)["targets"], 3);
        if mode == "observe" {
            assert_eq!((&finding["observed"], done), (&json!(true), vec![false, false]));
            for browser in [&mut here, &mut there] {
                assert_eq!(browser.get("/api/risk").expect(200).json()["risk"], Value::Null);
            }
            continue;
        }
        assert_eq!(done, [false, true], "nobody is named who would be told");
        for browser in [&mut here, &mut there] {
            wait_until("the session is held", || (browser.get("/api/risk").status == 401).then_some(()));
            browser.get("/api/risk").expect_refusal(401, "reauth_required");
        }
        let old = here.token();
        here.log_in_to_flask("dave");
        assert_ne!(here.token(), old);
        let mut there = here.at(gateways[1].address());
        for browser in [&mut here, &mut there] {
            let told = browser.get("/api/risk").expect(200).json();
            assert_eq!((&told["user"], &told["risk"]), (&json!("10"), &Value::Null), "nothing was found in this one");
        }
        let released = gateways[0].wait_audit("session.released", |_| true);
        assert_eq!((&released["reason"], &released["session_id"]), (&json!("logged_in"), &finding["session_id"]));
    }
}

#[test]
fn who_takes_out_too_much_at_two_gateways_before_flask_is_ended_where_that_is_wanted() {
    for mode in ["enforce", "observe"] {
        let gateways = two_before_flask(mode);
        let [mut here, mut there] = at_both(&gateways, "carol");
        assert_eq!(here.get("/e/500.csv").expect(200).text().lines().count(), 500);
        assert_eq!(there.get("/e/500.csv").expect(200).text().lines().count(), 500);
        assert_eq!(found(&gateways[0], EXPORTS), Vec::<Value>::new(), "as much as there may be");
        here.get("/e/1.csv").expect(200);
        let (finding, done) = one(&gateways[1], EXPORTS);
        assert_eq!((&evidence(&finding)["records"], &finding["user"]), (&json!(1001), &json!("9")));
        let refused = mode == "enforce";
        assert_eq!(done, [false, refused], "{finding}");
        for browser in [&mut here, &mut there] {
            if refused {
                wait_until("the session is over", || (browser.get("/api/risk").status == 401).then_some(()));
            } else {
                browser.get("/api/risk").expect(200);
            }
        }
        if refused {
            gateways[0].wait_audit("session.ended", |event| event["reason"] == "security_anomaly");
        }
    }
}

#[test]
fn who_changes_a_password_thrice_at_two_gateways_before_flask_is_locked_out_elsewhere_and_logs_in_again() {
    for mode in ["enforce", "observe"] {
        let gateways = two_before_flask(mode);
        let [mut here, mut there] = at_both(&gateways, "bob");
        let change = |browser: &mut Browser, old: &str| browser.post_json("/api/password", &json!({"old": old}));
        change(&mut here, "demo").expect(200);
        change(&mut here, "wrong").expect(422);
        change(&mut there, "wrong").expect(422);
        change(&mut there, "demo").expect(200);
        assert_eq!(found(&gateways[1], PASSWORDS), Vec::<Value>::new());
        change(&mut there, "demo").expect(200);
        let (finding, done) = one(&gateways[0], PASSWORDS);
        assert_eq!((&evidence(&finding)["changes"], &finding["user"]), (&json!(3), &json!("8")));
        let fields = json!({"username": "bob", "password": "demo"});
        let elsewhere = |gateway: &Gateway| from(gateway, STRANGER).post_json("/api/login", &fields);
        if mode == "observe" {
            assert_eq!(done, [false; 3]);
            here.get("/api/risk").expect(200);
            elsewhere(&gateways[0]).expect(200);
            continue;
        }
        assert_eq!(done, [true, true, false], "{finding}");
        for (browser, gateway) in [&mut here, &mut there].into_iter().zip(&gateways) {
            wait_until("the session is held", || (browser.get("/api/risk").status == 401).then_some(()));
            browser.get("/api/risk").expect_refusal(401, "reauth_required");
            elsewhere(gateway).expect_refusal(429, "login_locked");
        }
        // Where bob logged in before, bob comes in, and the held session is replaced.
        let old = there.token();
        there.log_in_to_flask("bob");
        there.get("/api/risk").expect(200);
        here.get("/api/risk").expect(401);
        let mut with_old = from(&gateways[0], OWNER);
        with_old.set_cookie(SESSION_COOKIE, &old);
        with_old.get("/api/risk").expect(401);
    }
}

#[test]
fn who_uses_at_another_gateway_before_flask_what_its_user_ended_is_found() {
    for mode in ["enforce", "observe"] {
        let gateways = two_before_flask(mode);
        let [mut owner, _] = at_both(&gateways, "alice");
        let mut thief = stolen_by(&gateways[1], &owner, STRANGER);
        thief.get("/api/risk").expect(200);
        owner.post("/api/logout").expect(200);
        thread::sleep(Duration::from_millis(400));
        thief.get("/api/risk").expect_refusal(401, "session_revoked");
        let (finding, done) = one(&gateways[0], REVOKED_USE);
        assert_eq!((&finding["user"], &finding["observed"]), (&json!("7"), &json!(mode == "observe")));
        assert_eq!((&evidence(&finding)["used_from"], done), (&json!(OWNER), vec![false]));
    }
}
