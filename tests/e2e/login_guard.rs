//! Guessing is stopped before it reaches the backend, and nobody else is (docs/behaviour.md, "Login guard").

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::{Echo, Seen};
use crate::support::gateway::Builder;
use crate::support::http::Response;
use crate::support::logins::identity;
use crate::support::{Browser, Gateway, Step, Store, answer, answer_json, django, echo, gateway, wait_until};

pub const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const KEY: &str = "kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s";
const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.1";

fn password_of(seen: &Seen) -> String {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    body["password"].as_str().unwrap_or_default().to_owned()
}

/// A backend that lets whoever knows the password in, whatever they are called.
pub fn backend() -> Echo {
    let backend = echo();
    backend.on_call("/api/login", |seen| match password_of(seen).as_str() {
        "demo" => vec![answer_json(&identity(42, 7))],
        "second factor" => vec![answer_json(&json!({"success": true, "mfa_required": true}))],
        "says no" => vec![answer_json(&json!({"success": false}))],
        status if status.parse::<u16>().is_ok() => vec![answer(&format!("{status} X"), &[], "")],
        _ => vec![answer("401 Unauthorized", &[], "{}")],
    });
    backend
}

pub fn guarded(store: Store, mode: &str) -> Builder {
    gateway(store)
        .set("monitor.mode", mode)
        .set("secrets.key", KEY)
        .set("admin.token", TOKEN)
        .set("server.trusted_proxies", vec!["127.0.0.1"])
}

pub fn from(gateway: &Gateway, address: &str) -> Browser {
    gateway.browser().with_header("X-Forwarded-For", address)
}

pub fn log_in(browser: &mut Browser, name: &str, password: &str) -> Response {
    browser.post_json("/api/login", &json!({"username": name, "password": password}))
}

pub fn guess(gateway: &Gateway, address: &str, name: &str) -> Response {
    log_in(&mut from(gateway, address), name, "wrong")
}

#[track_caller]
fn assert_locked(response: Response) -> u64 {
    let response = response.expect_refusal(429, "login_locked");
    response.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds")
}

fn operator(gateway: &Gateway, path: &str) -> Value {
    gateway.operator(TOKEN).get(path).expect(200).json()
}

on_both_stores!(the_fifth_failure_locks_an_account_from_there_and_nothing_else, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    let mut session = from(&gateway, STRANGER);
    log_in(&mut session, "bob", "demo").expect(200);
    for _ in 0..5 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    for password in ["wrong", "demo"] {
        let seconds = assert_locked(log_in(&mut from(&gateway, STRANGER), "bob", password));
        assert!((880..=900).contains(&seconds), "{seconds}");
    }
    assert_eq!(backend.seen_at("/api/login").len(), 6, "the backend hears no more of it");
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    log_in(&mut from(&gateway, STRANGER), "eve", "demo").expect(200);
    session.get("/x").expect(200);

    let found = gateway.wait_audit("anomaly.found", |event| event["reason"] == "SUSPICIOUS_FAILED_AUTH_ATTEMPTS");
    assert_eq!(
        (&found["details"]["mode"], &found["details"]["action"]),
        (&json!("enforce"), &json!("lock notify alert"))
    );
    assert_eq!(found["details"]["not_done"], json!("notify alert"), "nobody is named who is to be told");
    assert_eq!(
        (&found["actor"], &found["address"], &found["tenant"]),
        (&json!("gateway"), &json!(STRANGER), &Value::Null)
    );
    let locked = gateway.wait_audit("login.locked", |_| true);
    assert_eq!((&locked["reason"], &locked["outcome"]), (&json!("account+network"), &json!("denied")));
    assert_eq!(gateway.metric("findings_total", r#"{type="SUSPICIOUS_FAILED_AUTH_ATTEMPTS",severity="high"}"#), 1.0);
    assert_eq!(gateway.metric("monitor_actions_total", r#"{action="lock",mode="enforce"}"#), 1.0);
    assert_eq!(gateway.metric("logins_total", r#"{outcome="locked"}"#), 2.0);
    assert!(
        !gateway
            .log()
            .iter()
            .chain(&gateway.audit().iter().map(Value::to_string).collect::<Vec<_>>())
            .any(|line| line.contains("bob")),
        "names are nowhere"
    );

    let anomalies = operator(&gateway, "/v1/anomalies");
    let is_failures = |item: &&Value| item["type"] == "SUSPICIOUS_FAILED_AUTH_ATTEMPTS";
    let items = anomalies["items"].as_array().expect("items");
    let found = items.iter().find(is_failures).expect("it is kept");
    assert_eq!((&found["evidence"]["failures"], &found["evidence"]["by"]), (&json!(5), &json!("account+network")));
    assert_eq!((&found["session_id"], &found["observed"]), (&Value::Null, &json!(false)));
    assert_eq!(
        found["actions"],
        json!([
            {"action": "lock", "done": true},
            {"action": "notify", "done": false},
            {"action": "alert", "done": false},
        ])
    );
    let locks = operator(&gateway, "/v1/locks?account=%20BOB");
    assert_eq!(locks["items"].as_array().map(Vec::len), Some(1), "{locks}");
    assert_eq!((&locks["items"][0]["network"], &locks["items"][0]["account"]), (&json!(STRANGER), &found["account"]));
    assert_eq!(operator(&gateway, "/v1/locks?account=eve")["items"], json!([]));
});

on_both_stores!(an_account_that_nobody_has_is_locked_just_as_one_that_is_there, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    for name in ["bob", "nobody@nowhere"] {
        let answers: Vec<u16> = (0..7).map(|_| guess(&gateway, STRANGER, name).status).collect();
        assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429], "{name}");
    }
});

/// How many guesses of the same account, made at once at these gateways, reach the backend.
fn at_once(gateways: &[&Gateway], backend: &Echo, name: &str) -> (usize, Vec<Response>) {
    let before = backend.seen_at("/api/login").len();
    let answers = thread::scope(|scope| {
        let one = |number: usize| {
            let gateway = gateways[number % gateways.len()];
            scope.spawn(move || guess(gateway, STRANGER, name))
        };
        let all: Vec<_> = (0..30).map(one).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    (backend.seen_at("/api/login").len() - before, answers)
}

#[test]
fn of_guesses_at_three_gateways_at_once_exactly_five_reach_the_backend() {
    // keycloak#52646: concurrent failures on two nodes were lost.
    let (backend, store) = (backend(), Store::redis());
    let start = || guarded(store.clone(), "enforce").with_backend(&backend).start();
    let gateways = [start(), start(), start()];
    for round in 0..10 {
        let (reached, answers) = at_once(&gateways.each_ref(), &backend, &format!("bob{round}"));
        assert_eq!(reached, 5, "round {round}");
        for answer in answers.into_iter().filter(|answer| answer.status != 401) {
            assert_locked(answer);
        }
        // The rest of the rounds comes from the same network, which has a limit of its own.
        let locks = operator(&gateways[0], "/v1/locks");
        for lock in locks["items"].as_array().expect("items").iter().filter(|lock| lock["by"] == "network") {
            let path = format!("/v1/locks/{}", lock["id"].as_str().expect("an id"));
            gateways[0].operator(TOKEN).request("DELETE", &path).send().expect(200);
        }
    }
}

#[test]
fn guesses_at_once_at_an_embedded_store_are_no_more_either() {
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    assert_eq!(at_once(&[&gateway], &backend, "bob").0, 5);
}

on_both_stores!(valid_logins_at_once_all_succeed, |store| {
    // keycloak#48272: parallel logins with the right password were taken for an attack.
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    thread::scope(|scope| {
        let one = |_| scope.spawn(|| log_in(&mut from(&gateway, OWNER), "bob", "demo").status);
        let all: Vec<_> = (0..20).map(one).collect();
        for one in all {
            assert_eq!(one.join().expect("an answer"), 200);
        }
    });
    let found = operator(&gateway, "/v1/anomalies");
    // They are twenty sessions of one user, all the same.
    let mut kinds = found["items"].as_array().expect("a list").iter().map(|item| &item["type"]);
    assert!(kinds.all(|kind| kind == "EXCESSIVE_CONCURRENT_SESSIONS"), "{found}");
});

#[test]
fn what_hangs_at_the_backend_holds_others_up_for_two_seconds_and_is_no_lock() {
    let backend = echo();
    backend.on("/api/login", [Step::Pause(Duration::from_secs(4)), answer("401 Unauthorized", &[], "{}")]);
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    thread::scope(|scope| {
        let hanging: Vec<_> = (0..5).map(|_| scope.spawn(|| guess(&gateway, STRANGER, "bob").status)).collect();
        wait_until("five at the backend", || (backend.seen_at("/api/login").len() == 5).then_some(()));
        let refused = guess(&gateway, STRANGER, "bob").expect_refusal(429, "rate_limited");
        assert_eq!(refused.header("retry-after"), Some("1"));
        for one in hanging {
            assert_eq!(one.join().expect("an answer"), 401);
        }
    });
    assert_locked(guess(&gateway, STRANGER, "bob"));
}

on_both_stores!(an_owner_who_comes_in_after_a_strangers_guesses_hides_no_stranger_who_does, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    let found = |count: usize| -> Vec<Value> {
        wait_until(&format!("{count} findings"), || {
            let found = operator(&gateway, "/v1/anomalies?type=LOGIN_AFTER_FAILURES");
            found["items"].as_array().filter(|items| items.len() == count).cloned()
        })
    };
    let risk = |browser: &mut Browser| {
        browser.get("/x").expect(200);
        backend.last().header("x-session-risk").map(str::to_owned)
    };
    let mut owner = from(&gateway, OWNER);
    log_in(&mut owner, "bob", "demo").expect(200);
    for _ in 0..5 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    // The owner, whose device is known: that is to be known, and no more.
    log_in(&mut owner, "bob", "demo").expect(200);
    assert_eq!(found(1)[0]["severity"], "low");
    assert!(found(1)[0]["evidence"]["known_device"] == true);
    // The owner on another device, at the same place.
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    let id = found(2)[0]["id"].as_str().expect("an id").to_owned();
    let judged =
        gateway.operator(TOKEN).post_json(&format!("/v1/anomalies/{id}/verdict"), &json!({"verdict": "expected"}));
    judged.expect(200);
    // The stranger, who knows the password by now.
    let mut stranger = from(&gateway, "203.0.113.9");
    log_in(&mut stranger, "bob", "demo").expect(200);
    let newest = &found(3)[0];
    assert_eq!((&newest["severity"], &newest["address"]), (&json!("high"), &json!("203.0.113.9")));
    assert_eq!(wait_until("a risk", || risk(&mut stranger)), "high");
    assert_eq!(risk(&mut owner), None, "nobody's guesses make the owner a suspect");
});

on_both_stores!(the_owner_comes_in_on_a_known_device_while_strangers_have_the_account_locked, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    let mut owner = from(&gateway, OWNER);
    let login = log_in(&mut owner, "bob", "demo").expect(200);
    let device = login.set_cookie("device").expect("a device cookie");
    assert_eq!((device.attribute("path"), device.attribute("httponly")), (Some("/"), Some("")));
    assert_eq!(device.attribute("max-age"), Some("15552000"));
    owner.get("/x").expect(200);
    assert!(!backend.last().header("cookie").unwrap_or_default().contains("device"), "it is the gateway's alone");

    // From twenty addresses, none of which fails often.
    for host in 1..=20 {
        guess(&gateway, &format!("198.51.100.{host}"), "bob").expect(401);
    }
    assert_locked(guess(&gateway, "198.51.100.77", "bob"));
    assert_locked(log_in(&mut from(&gateway, OWNER), "bob", "demo"));
    log_in(&mut owner, "bob", "demo").expect(200);
    let found = gateway.wait_audit("anomaly.found", |event| event["reason"] == "LOGIN_AFTER_FAILURES");
    assert_eq!((&found["tenant"], &found["user"]), (&json!("42"), &json!("7")));
    assert!(
        found["session_id"].is_string()
            && found["details"]["evidence"].as_str().is_some_and(|text| text.contains("\"failures_elsewhere\":20")),
        "{found}"
    );
    assert_eq!(operator(&gateway, "/v1/anomalies?tenant=42&user=7")["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(operator(&gateway, "/v1/anomalies?tenant=43")["items"], json!([]));

    // It knows one account, has a budget of its own, and logs nobody in.
    let mut eve = owner.clone();
    for host in 1..=20 {
        guess(&gateway, &format!("198.51.100.{host}"), "eve").expect(401);
    }
    assert_locked(log_in(&mut eve, "eve", "demo"));
    for _ in 0..5 {
        log_in(&mut owner, "bob", "wrong").expect(401);
    }
    assert_locked(log_in(&mut owner, "bob", "demo"));
    let mut bare = gateway.browser();
    bare.set_cookie("device", &device.value);
    bare.get("/x").expect_refusal(401, "session_required");
});

#[test]
fn spellings_and_further_fields_buy_no_further_guesses() {
    // Authelia GHSA-m5mf-3963-4x26: `bob` and `BOB` had separate budgets.
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for name in ["bob", "BOB", " Bob ", "ｂｏｂ", "bOB"] {
        guess(&gateway, STRANGER, name).expect(401);
    }
    assert_locked(guess(&gateway, STRANGER, "boB"));
    for number in 0..5 {
        let body = json!({"username": "eve", "email": format!("{number}@x"), "password": "wrong"});
        from(&gateway, STRANGER).post_json("/api/login", &body).expect(401);
    }
    assert_locked(guess(&gateway, STRANGER, "eve"));
    let fields: Vec<String> = (0..20).map(|number| format!("username={number}")).collect();
    let many = from(&gateway, STRANGER).request("POST", "/api/login").body(fields.join("&")).send();
    many.expect_refusal(400, "bad_request");
}

#[test]
fn a_client_that_changes_its_address_within_its_network_is_one_client() {
    // zulip#21544: rotating within a /64 was unlimited.
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for host in 1..=5 {
        guess(&gateway, &format!("2001:db8::{host}"), "bob").expect(401);
    }
    assert_locked(guess(&gateway, "2001:db8::ffff:1", "bob"));
    log_in(&mut from(&gateway, "2001:db8:0:1::1"), "bob", "demo").expect(200);
}

#[test]
fn names_that_are_sprayed_from_one_network_lock_it_and_not_the_accounts() {
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for number in 0..20 {
        guess(&gateway, STRANGER, &format!("user{number}")).expect(401);
    }
    assert_locked(guess(&gateway, STRANGER, "another"));
    log_in(&mut from(&gateway, OWNER), "user3", "demo").expect(200);
    let locks = operator(&gateway, "/v1/locks");
    assert_eq!((&locks["items"][0]["by"], &locks["items"][0]["network"]), (&json!("network"), &json!(STRANGER)));
}

#[test]
fn a_proxys_own_address_locks_nobody_out() {
    // nextcloud/docker#2056: the proxy's address was throttled, and with it everyone.
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for number in 0..60 {
        log_in(&mut gateway.browser(), &format!("user{number}"), "wrong").expect(401);
    }
    log_in(&mut gateway.browser(), "bob", "demo").expect(200);
    gateway.wait_log(&["logins come from a trusted proxy's own address"]);
}

#[test]
fn a_network_that_nearly_all_log_in_from_locks_nobody_out() {
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for number in 0..50 {
        log_in(&mut from(&gateway, STRANGER), &format!("user{number}"), "demo").expect(200);
    }
    for number in 0..30 {
        guess(&gateway, STRANGER, &format!("user{number}")).expect(401);
    }
    log_in(&mut from(&gateway, STRANGER), "bob", "demo").expect(200);
    gateway.wait_log(&["over half of all accounts log in from one network"]);
}

#[test]
fn what_is_no_wrong_password_is_not_counted() {
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for answered in ["404", "405", "408", "413", "415", "429", "500", "503", "second factor"] {
        for _ in 0..6 {
            let response = log_in(&mut from(&gateway, STRANGER), answered, answered);
            assert_ne!(response.header("retry-after"), Some("900"), "{answered}");
        }
        assert_eq!(log_in(&mut from(&gateway, STRANGER), answered, "demo").status, 200, "{answered}");
    }
    for answered in ["400", "401", "403", "422", "says no"] {
        for _ in 0..5 {
            log_in(&mut from(&gateway, OWNER), answered, answered);
        }
        assert_locked(log_in(&mut from(&gateway, OWNER), answered, "demo"));
    }
}

#[test]
fn a_form_that_is_shown_again_is_a_failed_login() {
    let gateway = guarded(Store::Embedded, "enforce").with_backend(django()).start();
    let guess = |password: &str| {
        let mut browser = from(&gateway, STRANGER);
        browser.get("/accounts/login/").expect(200);
        let token = browser.cookie("csrftoken").expect("the form sets it").to_owned();
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("username", "alice"), ("password", password)];
        browser.post_form("/accounts/login/", &fields)
    };
    guess("demo").expect(302);
    for _ in 0..5 {
        guess("wrong").expect(200);
    }
    assert_locked(guess("demo"));
}

on_both_stores!(what_is_observed_is_told_and_refuses_nobody, |store| {
    let backend = backend();
    let gateway = guarded(store, "observe").with_backend(&backend).start();
    for _ in 0..12 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    log_in(&mut from(&gateway, STRANGER), "bob", "demo").expect(200);
    let found = gateway.wait_audit("anomaly.found", |_| true);
    assert_eq!((&found["details"]["mode"], &found["details"]["count"]), (&json!("observe"), &json!(1)));
    let anomalies = operator(&gateway, "/v1/anomalies");
    assert_eq!(anomalies["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        anomalies["items"][0]["actions"],
        json!([
            {"action": "lock", "done": false},
            {"action": "notify", "done": false},
            {"action": "alert", "done": false},
        ])
    );
    assert_eq!(operator(&gateway, "/v1/locks")["items"][0]["observed"], json!(true));
    gateway.reload_with("monitor.mode", "enforce");
    guess(&gateway, STRANGER, "bob").expect(401);
    for _ in 0..4 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    assert_locked(guess(&gateway, STRANGER, "bob"));
    gateway.reload_with("monitor.mode", "off");
    log_in(&mut from(&gateway, STRANGER), "bob", "demo").expect(200);
});

on_both_stores!(an_operator_lists_findings_and_locks_and_lets_people_in_again, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    let run = |arguments: &[&str]| {
        let output = gateway.run(&[arguments, &["--config", "gateway.toml"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(
        (run(&["anomalies", "list"]), run(&["locks", "list"])),
        ("nothing was found\n".into(), "no logins are locked\n".into())
    );
    for _ in 0..5 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    assert_locked(guess(&gateway, STRANGER, "bob"));
    gateway.wait_audit("anomaly.found", |_| true);
    let listed: Value =
        serde_json::from_str(&run(&["anomalies", "list", "--severity", "high", "--json"])).expect("JSON");
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        run(&["anomalies", "verdict", &id, "malicious", "--reason", "seen before"]),
        format!("finding {id} is malicious\n")
    );
    assert!(run(&["anomalies", "show", &id]).contains("malicious"));
    let judged = gateway.wait_audit("anomaly.verdict", |_| true);
    assert_eq!((&judged["actor"], &judged["details"]["verdict"]), (&json!("operator:admin"), &json!("malicious")));
    assert_eq!(gateway.metric("finding_verdicts_total", r#"{verdict="malicious"}"#), 1.0);
    assert_eq!(run(&["anomalies", "list", "--severity", "low"]), "nothing was found\n");

    let listed: Value = serde_json::from_str(&run(&["locks", "list", "--account", "Bob", "--json"])).expect("JSON");
    let lock = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(run(&["locks", "remove", &lock, "--reason", "it was me"]), format!("lock {lock} ended\n"));
    gateway.wait_audit("login.unlocked", |event| {
        event["actor"] == "operator:admin" && event["details"]["words"] == "it was me"
    });
    log_in(&mut from(&gateway, STRANGER), "bob", "demo").expect(200);
    let gone = gateway.run(&["locks", "remove", &lock, "--config", "gateway.toml"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no lock"), "{gone:?}");
});

#[test]
fn a_page_says_that_logins_are_locked() {
    let backend = backend();
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).start();
    for _ in 0..5 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    let mut browser = from(&gateway, STRANGER).with_header("Sec-Fetch-Mode", "navigate");
    let page = log_in(&mut browser, "bob", "demo").expect(429);
    assert!(
        page.text().contains("too many failed logins")
            && page.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    );
}

on_both_stores!(an_operator_gets_what_was_counted_as_a_table_for_programs_spreadsheets_and_as_a_page, |store| {
    let backend = backend();
    let gateway = guarded(store, "enforce").with_backend(&backend).start();
    log_in(&mut from(&gateway, OWNER), "eve", "demo").expect(200);
    for _ in 0..5 {
        guess(&gateway, STRANGER, "bob").expect(401);
    }
    gateway.wait_audit("anomaly.found", |event| event["reason"] == "SUSPICIOUS_FAILED_AUTH_ATTEMPTS");
    let report = |format: &str| {
        let output = gateway.run(&["report", "--format", format, "--config", "gateway.toml"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let json: Value = serde_json::from_str(&report("json")).expect("JSON");
    let today = &json["days"][6];
    assert_eq!((&today["findings"], &today["logins"]), (&json!(1), &json!(1)), "{json:#}");
    assert_eq!((&today["failures"], &today["locks"]), (&json!(5), &json!(1)), "{json:#}");
    assert_eq!(json["actions"][0]["action"], "lock", "{json:#}");
    let table = report("table");
    assert!(table.contains("SUSPICIOUS_FAILED_AUTH_ATTEMPTS  high      no        1\n"), "{table}");
    assert!(report("csv").contains(",finding,SUSPICIOUS_FAILED_AUTH_ATTEMPTS,high,no,1\n"));
    let page = report("html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && !page.contains("://"), "{page}");
    let output = gateway.run(&["report", "--since", "93d", "--config", "gateway.toml"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 92 days"), "{output:?}");
});
