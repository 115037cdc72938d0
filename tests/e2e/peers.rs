//! Several processes of one backend.

use crate::support::echo::Echo;
use crate::support::{Gateway, Store, answer, echo, gateway, wait_until};

/// A gateway in front of two processes of one backend, and the two.
fn two(settings: &str) -> (Gateway, Echo, Echo) {
    let (one, other) = (echo(), echo());
    let urls = [&one, &other].map(|backend| format!("http://{}", backend.address()));
    let gateway = gateway(Store::Embedded)
        .with_backend(&one)
        .without("upstream.url")
        .set("upstream.urls", urls.to_vec())
        .settings(settings)
        .start();
    (gateway, one, other)
}

#[test]
fn a_tenants_requests_meet_in_one_process() {
    let (gateway, one, other) = two("upstream.balance = \"hash-tenant\"");
    let mut used = [false, false];
    for tenant in 0..12 {
        let mut browser = gateway.logged_in(&tenant.to_string(), "7");
        let path = format!("/of/{tenant}");
        for _ in 0..3 {
            browser.get(&path).expect(200);
        }
        let seen = [one.seen_at(&path).len(), other.seen_at(&path).len()];
        assert!(seen == [3, 0] || seen == [0, 3], "{seen:?}");
        used[usize::from(seen[0] == 0)] = true;
    }
    assert_eq!(used, [true, true], "tenants are spread");
}

#[test]
fn a_process_that_fails_its_checks_gets_no_requests_and_checks_are_no_users_requests() {
    let (gateway, one, other) = two("upstream.health_path = \"/up\"");
    for backend in [&one, &other] {
        let check = backend.wait_for("/up");
        assert_eq!(check.method, "GET");
        assert_eq!(check.header("host"), Some(gateway.address().to_string().as_str()));
        assert!(check.header("user-agent").is_some_and(|agent| agent.contains("health check")));
    }
    one.on("/up", [answer("503 Service Unavailable", &[], "")]);
    wait_until("one process that is out", || (gateway.metric("upstream_peer_up", "") == 1.0).then_some(()));
    gateway.wait_log(&["failed its checks", "503"]);
    for _ in 0..4 {
        gateway.browser().get("/public/x").expect(200);
    }
    assert_eq!((one.seen_at("/public/x").len(), other.seen_at("/public/x").len()), (0, 4));
    let (counted, checks) = (gateway.metric("requests_total", "public"), one.seen_at("/up").len());
    assert!(counted <= 4.0 && checks >= 2, "{counted} {checks}");
    one.on("/up", [answer("204 No Content", &[], "")]);
    wait_until("both in", || (gateway.metric("upstream_peer_up", "") == 2.0).then_some(()));
    // With all of them out, requests still go to one.
    for backend in [&one, &other] {
        backend.on("/up", [answer("500 Internal Server Error", &[], "")]);
    }
    wait_until("all out", || (gateway.metric("upstream_peer_up", "") == 0.0).then_some(()));
    gateway.browser().get("/public/y").expect(200);
}
