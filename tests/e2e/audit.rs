//! The audit log as a chain: whole through crashes, rotations and hand-overs, and found out when it is not; and the
//! events of several gateways together.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{Gateway, RedisServer, Store, echo, gateway, wait_until};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

/// What `audit verify` says: its exit code, and the result.
fn verify(gateway: &Gateway) -> (Option<i32>, Value) {
    let output = gateway.run(&["audit", "verify", "--config", "gateway.toml", "--json"]);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report)
}

#[track_caller]
fn assert_fine(gateway: &Gateway) -> Value {
    let (code, report) = verify(gateway);
    assert_eq!((code, &report["findings"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    report
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ends it gently, so that the store knows where its chain stands.
fn stop(gateway: &mut Gateway) {
    gateway.process().stop();
}

on_both_stores!(what_a_gateway_wrote_verifies_and_what_was_changed_is_named, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).set("secrets.key", KEY).start();
    for user in 0..20 {
        gateway.logged_in("42", &user.to_string());
    }
    stop(&mut gateway);
    let report = assert_fine(&gateway);
    assert_eq!(report["lines"], 20);
    assert_eq!(report["chains"][0]["anchored"], 20, "the store was told where it ends");
    let path = gateway.file("audit.jsonl");
    let written = std::fs::read_to_string(&path).expect("it is there");
    let lines: Vec<&str> = written.split_inclusive('\n').collect();
    let without = |gone: usize| [&lines[..gone], &lines[gone + 1..]].concat().concat();
    let swapped = [&lines[..9], &[lines[10], lines[9]], &lines[11..]].concat().concat();
    for (tampered, place, says) in [
        (written.replace("\"user\":\"9\"", "\"user\":\"8\""), "audit.jsonl:10: ", "changed"),
        (without(9), "audit.jsonl:10: ", "line 10 of the chain is missing"),
        (swapped, "audit.jsonl:10: ", "removed, or moved"),
        (without(19), "audit.jsonl: ", "the end was cut off: the store knows line 20"),
        (written.replace("\"seq\":10,", "\"seq\":10 ,"), "audit.jsonl:10: ", "not a line"),
    ] {
        std::fs::write(&path, tampered).expect("writes");
        let output = gateway.run(&["audit", "verify", "--config", "gateway.toml"]);
        let said = text(&output);
        let finding = said.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {said}"));
        assert!(finding.contains(says), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
    std::fs::write(&path, &written).expect("writes");
    gateway.change("secrets.key", "another-key-that-is-long-enough-1234567890");
    let (code, report) = verify(&gateway);
    assert_eq!(code, Some(1));
    assert!(report["findings"][0]["what"].as_str().is_some_and(|what| what.contains("no line fits the key")));
});

on_both_stores!(a_gateway_killed_in_a_flood_leaves_a_chain_that_goes_on_and_verifies, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).start();
    for round in 0..3 {
        let browsers: Vec<_> = (0..4).map(|_| gateway.browser()).collect();
        std::thread::scope(|scope| {
            for (at, mut browser) in browsers.into_iter().enumerate() {
                // Until the gateway is gone.
                scope.spawn(move || {
                    let answer = json!({"answer": identity("42", format!("{round}-{at}"))});
                    let mut log_in = || browser.request("POST", "/api/login").json(&answer).try_send();
                    let _ = (0..10_000).take_while(|_| log_in().is_ok()).count();
                });
            }
            let lines = |gateway: &Gateway| std::fs::read(gateway.file("audit.jsonl")).unwrap_or_default().len();
            let before = lines(&gateway);
            wait_until("a flood", || (lines(&gateway) > before + 10_000).then_some(()));
            gateway.process().kill();
        });
        gateway.crash_and_restart();
        gateway.wait_ready();
    }
    stop(&mut gateway);
    let report = assert_fine(&gateway);
    assert_eq!(report["chains"].as_array().map(Vec::len), Some(1), "one chain: {report:#}");
    assert!(report["lines"].as_u64() > Some(60));
});

#[test]
fn every_login_and_logout_that_was_answered_is_in_the_log_however_often_the_gateway_is_killed() {
    let backend = echo();
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let answered = Mutex::new((Vec::new(), Vec::new()));
    for round in 0..20_u64 {
        let browsers: Vec<_> = (0..4).map(|_| gateway.browser()).collect();
        std::thread::scope(|scope| {
            for (at, mut browser) in browsers.into_iter().enumerate() {
                let answered = &answered;
                // Until the gateway is gone.
                scope.spawn(move || {
                    for number in 0.. {
                        let user = format!("{round}-{at}-{number}");
                        let answer = json!({"answer": identity("42", user.as_str())});
                        let login = browser.request("POST", "/api/login").json(&answer).try_send();
                        if !login.is_ok_and(|answer| answer.status == 200) {
                            break;
                        }
                        answered.lock().expect("no panic").0.push(user.clone());
                        let logout = browser.request("POST", "/api/logout").try_send();
                        if !logout.is_ok_and(|answer| answer.status == 200) {
                            break;
                        }
                        answered.lock().expect("no panic").1.push(user);
                    }
                });
            }
            let count = || answered.lock().expect("no panic").0.len();
            let before = count();
            wait_until("some logins", || (count() >= before + 6).then_some(()));
            std::thread::sleep(Duration::from_millis(round));
            gateway.process().kill();
        });
        gateway.crash_and_restart();
    }
    let (logins, logouts) = answered.into_inner().expect("no panic");
    assert!(logins.len() > 100, "{}", logins.len());
    let lines = gateway.audit();
    let told = |kind: &str| -> HashSet<String> {
        let of_kind = lines.iter().filter(|line| line["type"] == kind);
        of_kind.filter_map(|line| line["user"].as_str().map(ToOwned::to_owned)).collect()
    };
    for (kind, answered) in [("session.created", logins), ("session.ended", logouts)] {
        let told = told(kind);
        let lost: Vec<_> = answered.iter().filter(|user| !told.contains(*user)).collect();
        assert!(lost.is_empty(), "{} of {} answered have no {kind}: {lost:?}", lost.len(), answered.len());
    }
    stop(&mut gateway);
    assert_fine(&gateway);
}

#[test]
fn a_user_who_spoofs_costs_one_line_a_minute_and_nothing_in_the_store() {
    let server = RedisServer::start();
    let backend = echo();
    let gateway = gateway(Store::on(&server)).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let commands = || -> u64 {
        let info = server.command(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.trim().strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.parse().ok()).expect("a count")
    };
    let mut spoof = || browser.request("GET", "/x").header("X-Customer-ID", "43").send().expect(200);
    spoof();
    gateway.wait_audit("identity.spoofed", |event| event["details"]["count"] == 1);
    std::thread::sleep(Duration::from_millis(500));
    let before = (commands(), Instant::now());
    for _ in 0..500 {
        spoof();
    }
    let took = before.1.elapsed();
    let asked = commands() - before.0;
    // Leases and health are proved meanwhile, whoever asks what.
    assert!(u128::from(asked) < 20 + took.as_millis() / 20, "{asked} commands in {took:?}");
    let lines = gateway.audit();
    let spoofed = lines.iter().filter(|line| line["type"] == "identity.spoofed").count();
    assert!(spoofed <= 3, "{spoofed} lines, and a minute may have passed");
    assert_eq!(gateway.metric("spoofed_headers_total", ""), 501.0);
}

#[test]
fn a_line_that_a_crash_cut_is_reported_and_does_not_stop_the_chain() {
    let backend = echo();
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.logged_in("42", "7");
    gateway.wait_audit("session.created", |_| true);
    gateway.process().kill();
    let path = gateway.file("audit.jsonl");
    let mut written = std::fs::read(&path).expect("it is there");
    written.extend_from_slice(b"{\"time\":\"2026-11-24T17:0");
    std::fs::write(&path, written).expect("writes");
    gateway.crash_and_restart();
    gateway.wait_ready();
    gateway.logged_in("42", "8");
    stop(&mut gateway);
    let report = assert_fine(&gateway);
    assert_eq!(report["lines"], 2);
    assert!(report["notes"].to_string().contains("a line was cut after 24 bytes"), "{report:#}");
}

on_both_stores!(a_chain_goes_on_over_rotations_compressed_ones_too, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).start();
    for (tenant, rotated) in [("1", "audit.jsonl.2"), ("2", "audit.jsonl.1")] {
        gateway.logged_in(tenant, "7");
        gateway.wait_audit("session.created", |event| event["tenant"] == tenant);
        std::fs::rename(gateway.file("audit.jsonl"), gateway.file(rotated)).expect("it can be moved");
        wait_until("a new file", || gateway.file("audit.jsonl").exists().then_some(()));
    }
    gateway.logged_in("3", "7");
    gateway.wait_audit("session.created", |event| event["tenant"] == "3");
    stop(&mut gateway);
    let packed = std::process::Command::new("gzip").arg(gateway.file("audit.jsonl.2")).status();
    assert!(packed.expect("gzip is everywhere").success());
    let report = assert_fine(&gateway);
    assert_eq!((&report["lines"], &report["files"], &report["chains"][0]["last"]), (&3.into(), &3.into(), &3.into()));
    std::fs::remove_file(gateway.file("audit.jsonl.1")).expect("it is there");
    let (code, report) = verify(&gateway);
    assert_eq!(code, Some(1), "a file is missing in the middle");
    assert!(report["findings"][0]["what"].as_str().is_some_and(|what| what.contains("line 2 of the chain is missing")));
});

#[test]
fn a_gateway_started_before_the_old_one_ended_has_a_chain_of_its_own_in_the_file() {
    let backend = echo();
    let mut gateway = gateway(Store::redis()).with_backend(&backend).set("server.reuse_port", true).start();
    gateway.logged_in("42", "1");
    gateway.hand_over();
    gateway.logged_in("42", "2");
    stop(&mut gateway);
    let report = assert_fine(&gateway);
    assert_eq!((&report["lines"], report["chains"].as_array().map(Vec::len)), (&2.into(), Some(2)));
}

on_both_stores!(a_file_cut_while_the_gateway_was_down_is_noticed_at_its_start, |store| {
    let backend = echo();
    let mut gateway = gateway(store).with_backend(&backend).start();
    for user in ["1", "2", "3"] {
        gateway.logged_in("42", user);
    }
    stop(&mut gateway);
    let path = gateway.file("audit.jsonl");
    let written = std::fs::read_to_string(&path).expect("it is there");
    let kept: Vec<&str> = written.split_inclusive('\n').take(2).collect();
    std::fs::write(&path, kept.concat()).expect("writes");
    gateway.crash_and_restart();
    gateway.wait_ready();
    gateway.wait_log(&["audit file is older than what the store knows"]);
    gateway.logged_in("42", "4");
    gateway.wait_audit("session.created", |event| event["user"] == "4");
    stop(&mut gateway);
    let (code, report) = verify(&gateway);
    assert_eq!(code, Some(1), "what follows does not hide it");
    assert!(report["findings"].to_string().contains("the end was cut off: the store knows line 3"), "{report:#}");
});

#[test]
fn without_a_configured_key_one_is_kept_beside_the_file_for_its_owner_alone() {
    let backend = echo();
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.wait_log(&["secrets.key is not set"]);
    let key = gateway.file("audit.jsonl.key");
    assert_eq!(std::fs::metadata(&key).expect("it is there").permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&key).expect("it is there");
    gateway.logged_in("42", "1");
    gateway.crash_and_restart();
    gateway.wait_ready();
    assert_eq!(std::fs::read(&key).expect("it is there"), before);
    stop(&mut gateway);
    assert_fine(&gateway);
}

#[test]
fn while_an_embedded_gateway_runs_its_file_verifies_but_for_the_end() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.logged_in("42", "1");
    gateway.wait_audit("session.created", |_| true);
    let report = assert_fine(&gateway);
    assert!(report["notes"].to_string().contains("the end could not be compared"), "{report:#}");
}

/// All events of the stream, a line each.
fn stream(server: &RedisServer, store: &Store) -> String {
    let Store::Redis { prefix, .. } = store else { panic!("a Redis") };
    let script = "local all = {} for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do \
                  all[#all + 1] = entry[2][2] end return table.concat(all, '\\n')";
    server.command(&["EVAL", script, "1", &format!("{prefix}as:{{audit}}")])
}

#[test]
fn events_of_all_gateways_come_together_within_a_second() {
    let (server, backend) = (RedisServer::start(), echo());
    let store = Store::on(&server);
    let one = gateway(store.clone()).with_backend(&backend).start();
    let two = gateway(store.clone()).with_backend(&backend).start();
    for (gateway, tenant) in [(&one, "one"), (&two, "two")] {
        gateway.logged_in(tenant, "7");
        let done = Instant::now();
        wait_until("the event in the stream", || {
            stream(&server, &store).contains(&format!("\"tenant\":\"{tenant}\"")).then_some(())
        });
        assert!(done.elapsed() < Duration::from_secs(1), "{:?}", done.elapsed());
    }
}

#[test]
fn the_stream_catches_up_after_an_outage_with_nothing_missing_or_twice() {
    let (mut server, backend) = (RedisServer::start(), echo());
    let store = Store::on(&server);
    let gateway = gateway(store.clone()).with_backend(&backend).start();
    gateway.logged_in("before", "7");
    let failed = |gateway: &Gateway| {
        gateway.browser().request("POST", "/api/login").body("{}").send();
    };
    server.kill();
    gateway.wait_unready();
    gateway.reload();
    failed(&gateway);
    gateway.wait_audit("config.reloaded", |_| true);
    server.start_again();
    wait_until("the events of the outage", || stream(&server, &store).contains("config.reloaded").then_some(()));
    let all = stream(&server, &store);
    for event in gateway.audit() {
        let mac = event["mac"].as_str().expect("a hash");
        wait_until("each event", || stream(&server, &store).contains(mac).then_some(()));
        assert_eq!(stream(&server, &store).matches(mac).count(), 1, "{all}");
    }
    assert!(gateway.admin_get("/metrics").text().contains("audit_events_unshared_total 0"));
}

#[test]
fn a_full_redis_costs_the_stream_and_nothing_else() {
    let (server, backend) = (RedisServer::start(), echo());
    let store = Store::on(&server);
    let mut gateway = gateway(store.clone()).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    wait_until("the login in the stream", || stream(&server, &store).contains("session.created").then_some(()));
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    browser.post("/api/logout").expect(200);
    gateway.wait_audit("session.ended", |_| true);
    gateway.wait_log(&["the store takes no audit events"]);
    assert!(!stream(&server, &store).contains("session.ended"));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("the logout in the stream", || stream(&server, &store).contains("session.ended").then_some(()));
    stop(&mut gateway);
    assert_fine(&gateway);
}
