//! The site is closed for a while, on all gateways, and opened again (docs/behaviour.md, "Maintenance").

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::{Browser, Gateway, RedisServer, Store, echo, gateway, wait_until};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";

fn operator(gateway: &Gateway) -> Browser {
    gateway.operator(TOKEN)
}

fn set(gateway: &Gateway, body: &Value) -> Value {
    operator(gateway).request("PUT", "/v1/maintenance").json(body).send().expect(200).json()
}

on_both_stores!(in_maintenance_everything_but_health_is_503_and_sessions_live_on, |store| {
    let backend = echo();
    let described = gateway(store).with_backend(&backend).set("admin.token", TOKEN).set("errors.pages", "pages");
    let folder = described.directory().join("pages");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("maintenance.html"), "closed: {message} {code}").expect("a file");
    let gateway = described.start();
    let mut browser = gateway.logged_in("42", "7");
    let shown = set(&gateway, &json!({"on": true, "message": "Back at ten", "retry_after": "2h", "reason": "upgrade"}));
    assert_eq!(shown, json!({"on": true, "message": "Back at ten", "retry_after": "2h", "allow": []}));
    let before = backend.seen().len();
    for (method, path) in [
        ("GET", "/x"),
        ("GET", "/public/x"),
        ("POST", "/api/login"),
        ("POST", "/api/logout"),
        ("GET", "/api/session/status"),
    ] {
        let refused = browser.request(method, path).send().expect_refusal(503, "maintenance");
        assert_eq!(refused.header("retry-after"), Some("7200"), "{path}");
        assert_eq!(refused.at("/message"), "Back at ten");
        assert!(!refused.headers.has("set-cookie"), "nobody is logged out");
    }
    assert_eq!(browser.navigate("/x").expect(503).text(), "closed: Back at ten maintenance");
    assert_eq!(backend.seen().len(), before);
    for path in ["/healthz", "/readyz"] {
        browser.get(path).expect(200);
    }
    let told = || gateway.admin_get("/readyz").expect(200).text().contains("maintenance");
    wait_until("a word to operators", || told().then_some(()));
    assert_eq!(set(&gateway, &json!({"on": false}))["on"], false);
    browser.get("/x").expect(200);
    let called = gateway.wait_audit("admin.called", |event| {
        event["details"]["call"] == "set_maintenance" && event["reason"] == "upgrade" && event["outcome"] == "success"
    });
    assert_ne!(called["actor"], Value::Null);
});

on_both_stores!(who_is_allowed_works_on_and_nobody_can_say_to_be_one_of_them, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).set("admin.token", TOKEN).start();
    set(&gateway, &json!({"on": true, "allow": ["10.0.0.0/8", "127.0.0.1"]}));
    gateway.browser().get("/public/x").expect(200);
    set(&gateway, &json!({"on": true, "allow": ["10.0.0.0/8"]}));
    let claims = gateway.browser().with_header("X-Forwarded-For", "10.1.2.3").get("/public/x");
    claims.expect_refusal(503, "maintenance");
});

#[test]
fn it_holds_on_all_gateways_within_a_second_and_outlives_them() {
    let (backend, redis) = (echo(), RedisServer::start());
    let store = Store::on(&redis);
    let of = || gateway(store.clone()).with_backend(&backend).set("admin.token", TOKEN).start();
    let (here, mut there) = (of(), of());
    let arrives = |gateway: &Gateway, status: u16| {
        let began = Instant::now();
        wait_until("the news", || (gateway.browser().get("/public/x").status == status).then_some(()));
        began.elapsed()
    };
    for _ in 0..5 {
        set(&here, &json!({"on": true}));
        assert!(arrives(&there, 503) < Duration::from_secs(1));
        set(&here, &json!({"on": false}));
        assert!(arrives(&there, 200) < Duration::from_secs(1));
    }
    set(&here, &json!({"on": true}));
    there.crash_and_restart();
    arrives(&there, 503);
    assert_eq!(operator(&there).get("/v1/maintenance").expect(200).at("/on"), "true");
}

#[test]
fn the_command_closes_the_site_and_opens_it() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("admin.token", TOKEN).start();
    let run = |arguments: &[&str]| {
        let output = gateway.run(&[arguments, &["--config", "gateway.toml"]].concat());
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let on = ["maintenance", "on", "--message", "Back at ten", "--retry-after", "30m", "--allow", "10.0.0.0/8"];
    let (code, said) = run(&on);
    assert_eq!(code, Some(0), "{said}");
    gateway.browser().get("/public/x").expect_refusal(503, "maintenance");
    let (_, shown) = run(&["maintenance", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["allow"], json!(["10.0.0.0/8"]));
    let (code, said) = run(&["maintenance", "on", "--retry-after", "soon"]);
    assert!(code == Some(2) && said.contains("retry_after"), "{code:?}: {said}");
    assert_eq!(run(&["maintenance", "off"]).0, Some(0));
    gateway.browser().get("/public/x").expect(200);
}
