//! What is ended by an operator is over everywhere: open connections, races with logins, crashes, older data
//! (docs/behaviour.md, "Store", "Open streams").

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::websocket::{SWITCH, Tab};
use crate::support::{
    Browser, Gateway, RedisServer, Step, Store, Wire, answer_json, echo, gateway, let_pass, send, wait_until,
};

const TOKEN: &str = "an operator's token of more than 32 bytes";
/// What is open is cut within this time, on every gateway (docs/behaviour.md, "Open streams").
const CUT: Duration = Duration::from_secs(1);
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";

fn revoke(gateway: &Gateway, what: &str) -> Value {
    gateway.operator(TOKEN).post(what).expect(200).json()
}

/// Something that is open for a session.
enum Open {
    Tab(Tab),
    Stream(Wire),
}

impl Open {
    fn websocket(gateway: &Gateway, browser: &Browser) -> Self {
        Self::Tab(gateway.open(browser, "/ws"))
    }

    fn stream(gateway: &Gateway, browser: &Browser) -> Self {
        let mut wire = gateway.wire();
        let (address, token) = (gateway.address(), browser.token());
        wire.send(format!("GET /events HTTP/1.1\r\nHost: {address}\r\nCookie: session-gateway={token}\r\n\r\n"));
        wire.try_receive_head().expect("a head").expect(200);
        assert_eq!(wire.chunk().expect("an event"), Some(b"x".to_vec()));
        Self::Stream(wire)
    }

    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Tab(tab) => &mut tab.0,
            Self::Stream(wire) => wire,
        }
    }

    #[track_caller]
    fn expect_cut_by(&mut self, latest: Instant) {
        let left = latest.saturating_duration_since(Instant::now());
        self.wire().patience(left.max(Duration::from_millis(1)));
        match self {
            Self::Tab(tab) => drop(tab.expect_close(4401)),
            Self::Stream(wire) => assert!(wire.rest().is_empty()),
        }
    }
}

#[test]
fn five_hundred_open_connections_of_a_revoked_tenant_are_cut_on_two_gateways_within_a_second() {
    let backend = echo();
    backend.on_head("/ws", [send(SWITCH), Step::Raw { echo: false }]);
    backend.on_head("/events", [send(EVENTS), Step::Hang]);
    let store = Store::redis();
    let gateways = [(); 2].map(|()| operated(store.clone()).with_backend(&backend).start());
    let open_for = |tenant: &str, users: usize| {
        let browsers = (0..users).map(|user| gateways[user % 2].logged_in(tenant, &user.to_string()));
        let open = browsers.flat_map(|browser| {
            let each = |gateway| {
                (0..5)
                    .flat_map(|_| [Open::websocket(gateway, &browser), Open::stream(gateway, &browser)])
                    .collect::<Vec<_>>()
            };
            gateways.each_ref().map(each).into_iter().flatten().collect::<Vec<_>>()
        });
        open.collect::<Vec<_>>()
    };
    let (mut theirs, mut others) = (open_for("acme", 25), open_for("other", 1));
    assert_eq!((theirs.len(), others.len()), (500, 20));
    let begin = Instant::now();
    let answer = revoke(&gateways[0], "/v1/tenants/acme/revoke");
    assert_eq!((&answer["invalidated_sessions"], answer.get("pending")), (&25.into(), None));
    for open in &mut theirs {
        open.expect_cut_by(begin + CUT + Duration::from_millis(200));
    }
    println!("500 connections were cut within {:?} of the call", begin.elapsed());
    // Longer than any that was cut lived on.
    let_pass((begin + CUT).saturating_duration_since(Instant::now()));
    for open in &mut others {
        open.wire().patience(Duration::from_millis(20));
        assert!(!open.wire().is_closed(), "another tenant's connection was cut");
    }
}

/// A login of a race: when its request was sent, its number, and the browser that it left behind.
struct Login {
    sent: Instant,
    number: u64,
    browser: Browser,
}

#[test]
fn no_session_whose_login_began_before_a_tenants_revocation_works_after_its_acknowledgement() {
    let backend = echo();
    // When the backend was asked: by then a login has begun. That its client has sent it says nothing yet.
    let asked = Arc::new(Mutex::new(HashMap::new()));
    backend.on_call("/api/login", {
        let asked = asked.clone();
        // The password's check takes a moment, in which the tenant may be revoked.
        move |seen| {
            let wish: Value = serde_json::from_slice(&seen.body).expect("JSON");
            let number = wish["answer"]["number"].as_u64().expect("a number");
            asked.lock().unwrap().insert(number, Instant::now());
            vec![Step::Pause(Duration::from_millis(number % 7 * 5)), answer_json(&wish["answer"])]
        }
    });
    let numbers = AtomicU64::new(0);
    let store = Store::redis();
    let gateways = [(); 3].map(|()| operated(store.clone()).with_backend(&backend).start());
    let mut counted = 0;
    for round in 0..6 {
        let (stop, logins) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let (called, acknowledged) = thread::scope(|scope| {
            for worker in 0..6_usize {
                let (gateways, logins, stop, numbers) = (&gateways, &logins, &stop, &numbers);
                scope.spawn(move || {
                    for n in worker.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let mut browser = gateways[n % 3].browser();
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        let mut answer = identity("acme", format!("u{worker}"));
                        answer["number"] = number.into();
                        let sent = Instant::now();
                        browser.log_in_with(&answer);
                        logins.lock().unwrap().push(Login { sent, number, browser });
                    }
                });
            }
            let wait_for =
                |count| wait_until("further logins", || (logins.lock().unwrap().len() >= count).then_some(()));
            wait_for(30);
            let called = Instant::now();
            let answer = revoke(&gateways[round % 3], "/v1/tenants/acme/revoke");
            let acknowledged = Instant::now();
            assert_eq!(answer.get("pending"), None);
            counted += answer["invalidated_sessions"].as_u64().unwrap();
            let so_far = logins.lock().unwrap().len();
            wait_for(so_far + 30);
            stop.store(true, Ordering::Relaxed);
            (called, acknowledged)
        });
        let logins = logins.into_inner().unwrap();
        let asked = asked.lock().unwrap();
        let began_before = |login: &Login| asked.get(&login.number).is_some_and(|asked| *asked < called);
        let (before, others): (Vec<_>, Vec<_>) = logins.into_iter().partition(began_before);
        let after: Vec<_> = others.into_iter().filter(|login| login.sent >= acknowledged).collect();
        assert!(before.len() > 10 && after.len() > 10, "{} and {}", before.len(), after.len());
        for (n, login) in before.into_iter().enumerate().filter(|(_, login)| login.browser.has_session_cookie()) {
            login.browser.at(gateways[n % 3].address()).get("/x").expect_refusal(401, "session_revoked");
        }
        for (n, login) in after.into_iter().enumerate() {
            login.browser.at(gateways[n % 3].address()).get("/x").expect(200);
        }
    }
    // Exact, also while sessions come: each was counted once or lives, but for those that never were.
    let live = gateways[0].operator(TOKEN).get("/v1/tenants/acme").expect(200).json()["sessions"].as_u64().unwrap();
    let made: f64 = gateways.iter().map(|gateway| gateway.metric("sessions_created_total", "")).sum();
    assert!((made - (counted + live) as f64).abs() < f64::EPSILON, "{made} made, {counted} counted, {live} live");
}

#[test]
fn a_revocation_that_a_kill_interrupts_revives_nothing_and_the_audit_verifies() {
    let backend = echo();
    let server = RedisServer::start();
    let mut gateway = operated(Store::on(&server)).with_backend(&backend).start();
    for round in 0..8 {
        let browsers: Vec<_> = (0..20).map(|user| gateway.logged_in("acme", &user.to_string())).collect();
        let mut neighbour = gateway.logged_in("other", "1");
        let operators = gateway.admin_address();
        let acknowledged = thread::scope(|scope| {
            let call = scope.spawn(move || {
                // It may be gone already.
                let Ok(mut wire) = Wire::try_connect(operators) else { return false };
                let head = format!("Host: {operators}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n");
                let sent = wire.try_send(format!("POST /v1/tenants/acme/revoke HTTP/1.1\r\n{head}"));
                sent.is_ok() && wire.try_receive("POST").is_ok_and(|answer| answer.status == 200)
            });
            let_pass(Duration::from_micros(700 * round));
            gateway.process().kill();
            call.join().unwrap()
        });
        gateway.crash_and_restart();
        let statuses: Vec<_> = browsers.into_iter().map(|mut browser| browser.get("/x").status).collect();
        let dead = statuses.iter().filter(|status| **status == 401).count();
        assert!(dead == 20 || dead == 0 && !acknowledged, "acknowledged: {acknowledged}, dead: {dead}");
        neighbour.get("/x").expect(200);
    }
    let verified = gateway.run(&["audit", "verify", "--config", "gateway.toml"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_redis_that_comes_back_with_older_data_revives_neither_a_session_nor_a_user_nor_a_tenant() {
    let backend = echo();
    let mut server = RedisServer::start();
    let mut gateway = operated(Store::on(&server)).with_backend(&backend).start();
    let [mut session, mut user, mut tenant, mut deleted, mut other] =
        [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1"), ("d", "1")]
            .map(|(tenant, user)| gateway.logged_in(tenant, user));
    let older = server.remember();
    let mut operator = gateway.operator(TOKEN);
    let id = operator.get("/v1/sessions?tenant=a&user=1").expect(200).at("/items/0/id");
    operator.request("DELETE", &format!("/v1/sessions/{id}")).send().expect(200);
    revoke(&gateway, "/v1/tenants/a/users/2/revoke");
    revoke(&gateway, "/v1/tenants/b/revoke");
    let deleted_too = json!({"status": "deleted", "reason": "left us"});
    operator.request("PUT", "/v1/tenants/c").json(&deleted_too).send().expect(200);
    let mut since = gateway.logged_in("b", "1");
    server.kill();
    server.start_again_with(&older);
    gateway.wait_ready();
    for browser in [&mut session, &mut user, &mut tenant, &mut deleted] {
        browser.get("/x").expect_refusal(401, "session_revoked");
    }
    other.get("/x").expect(200);
    gateway.browser().log_in_with(&identity("c", "1")).expect_refusal(403, "tenant_suspended");
    // What was made since is not in the older data. It is gone, and nothing keeps its user from a new one.
    assert_eq!(since.get("/x").status, 401);
    gateway.logged_in("b", "1");
    let verified = gateway.run(&["audit", "verify", "--config", "gateway.toml"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_call_that_failed_has_its_effect_late_and_is_told_unless_a_later_word_counts() {
    let backend = echo();
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all"]);
    let url = |login: &str| server.url().replace("redis://", &format!("redis://{login}"));
    let store = |login| Store::Redis { url: url(login), prefix: String::from("late:") };
    let limited = operated(store("limited:secret@")).with_backend(&backend).start();
    let other = operated(store("")).with_backend(&backend).start();
    let [mut acme, mut bolt] = ["acme", "bolt"].map(|tenant| other.logged_in(tenant, "1"));
    let suspended = json!({"status": "suspended", "reason": "unpaid"});
    // It answers, and takes neither of these: the connection holds.
    server.command(&["ACL", "SETUSER", "limited", "-eval", "-unlink"]);
    for tenant in ["acme", "bolt"] {
        let path = format!("/v1/tenants/{tenant}");
        limited.operator(TOKEN).request("PUT", &path).json(&suspended).send().expect(503);
    }
    // Beyond what a gateway may be wrong about the server's time.
    let_pass(Duration::from_millis(600));
    other.operator(TOKEN).request("PUT", "/v1/tenants/acme").json(&json!({"status": "active"})).send().expect(200);
    acme.get("/x").expect(200);
    bolt.get("/x").expect(200);
    server.command(&["ACL", "SETUSER", "limited", "+eval", "+unlink"]);
    let is_late = |event: &Value| event["details"]["late"] == true;
    let changed = limited.wait_audit("tenant.changed", is_late);
    assert_eq!((&changed["tenant"], &changed["actor"]), (&json!("bolt"), &json!("operator:admin")));
    assert_eq!((&changed["details"]["status"], &changed["details"]["words"]), (&json!("suspended"), &json!("unpaid")));
    assert!(changed["details"]["asked_at"].as_str().is_some_and(|asked| asked < changed["time"].as_str().unwrap()));
    for tenant in ["acme", "bolt"] {
        let ended = limited.wait_audit("session.ended", |event| is_late(event) && event["tenant"] == tenant);
        assert_eq!((&ended["reason"], &ended["actor"]), (&json!("tenant_revoked"), &json!("operator:admin")));
        assert_eq!(ended["details"]["invalidated_sessions"], 1);
    }
    assert_eq!(limited.wait_log(&["had their effect late"])["level"], "WARN");
    // What was to end has ended; the status is what was said last.
    for browser in [&mut acme, &mut bolt] {
        browser.get("/x").expect_refusal(401, "session_revoked");
    }
    other.logged_in("acme", "1").get("/x").expect(200);
    other.browser().log_in_with(&identity("bolt", "1")).expect_refusal(403, "tenant_suspended");
    let told = limited.audit().into_iter().filter(|event| event["type"] == "tenant.changed" && is_late(event)).count();
    assert_eq!(told, 1);
    let verified = limited.run(&["audit", "verify", "--config", "gateway.toml"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn sessions_users_and_tenants_end_on_a_full_redis() {
    let backend = echo();
    let server = RedisServer::start();
    let gateway = operated(Store::on(&server)).with_backend(&backend).start();
    let [mut session, mut user, mut tenant, mut other] =
        [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")].map(|(tenant, user)| gateway.logged_in(tenant, user));
    let mut operator = gateway.operator(TOKEN);
    let id = operator.get("/v1/sessions?tenant=a&user=1").expect(200).at("/items/0/id");
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    operator.request("DELETE", &format!("/v1/sessions/{id}")).send().expect(200);
    for what in ["/v1/tenants/a/users/2/revoke", "/v1/tenants/b/revoke"] {
        assert_eq!(revoke(&gateway, what)["invalidated_sessions"], 1, "{what}");
    }
    for browser in [&mut session, &mut user, &mut tenant] {
        browser.get("/x").expect_refusal(401, "session_revoked");
    }
    other.get("/x").expect(200);
}

fn operated(store: Store) -> Builder {
    gateway(store).set("admin.token", TOKEN)
}
