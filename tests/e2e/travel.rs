//! A session that is used from where its user cannot be, and users with many sessions (docs/monitoring.md, "Places and
//! sessions"). Clients' addresses come by a trusted proxy, places from small databases.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::login_guard::{TOKEN, from, guarded, log_in};
use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::geo::{BERLIN, BERLIN_CAFE, LAGOS, PARIS, VPN, YOUNG, write_databases};
use crate::support::logins::identity;
use crate::support::mail::{MailServer, Spoken};
use crate::support::websocket::SWITCH;
use crate::support::{Browser, Gateway, Step, Store, answer, answer_json, echo, let_pass, send, wait_until};

const TRAVEL: &str = "IMPOSSIBLE_TRAVEL";
const CONCURRENT: &str = "EXCESSIVE_CONCURRENT_SESSIONS";
/// A session of which a gateway knows nothing is looked at from this age on.
const ON_ITS_WAY: Duration = Duration::from_secs(11);

/// A backend with users `user1`, `user2`…, who have a mail address each.
fn backend() -> Echo {
    let backend = echo();
    backend.on_call("/api/login", |seen| {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let name = body["username"].as_str().unwrap_or_default();
        let number = name.strip_prefix("user").and_then(|number| number.parse::<u64>().ok());
        match (number, body["password"].as_str()) {
            (Some(number), Some("demo")) => {
                let mut answer = identity(42, number);
                answer["user"]["email"] = json!(format!("{name}@users.example"));
                vec![answer_json(&answer)]
            }
            _ => vec![answer("401 Unauthorized", &[], "{}")],
        }
    });
    backend.on_head("/ws", [send(SWITCH), Step::Raw { echo: true }]);
    backend
}

fn located(store: Store, mode: &str, backend: &Echo) -> Builder {
    let builder = guarded(store, mode).with_backend(backend);
    write_databases(builder.directory(), YOUNG);
    builder.settings("monitor.geo = { city = \"City.mmdb\", asn = \"ASN.mmdb\" }")
}

/// Starts it, and waits until it knows places.
fn started(builder: Builder) -> Gateway {
    let gateway = builder.start();
    let known = || gateway.metric("geo_age_seconds", "city") > 0.0 && gateway.metric("geo_age_seconds", "asn") > 0.0;
    wait_until("the databases", || known().then_some(()));
    gateway
}

fn logged_in(gateway: &Gateway, address: &str, name: &str) -> Browser {
    let mut browser = from(gateway, address);
    log_in(&mut browser, name, "demo").expect(200);
    browser
}

/// What was found of this type, newest first.
fn findings(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let listed = gateway.operator(TOKEN).get(&format!("/v1/anomalies?type={kind}&limit=200")).expect(200).json();
    listed["items"].as_array().expect("items").clone()
}

fn wait_found(gateway: &Gateway, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_until(&format!("{kind}; there are {:#?}", findings(gateway, kind)), || {
        findings(gateway, kind).into_iter().find(|found| fits(found))
    })
}

fn is_one_way(found: &Value) -> bool {
    found["severity"] == "high" && found["evidence"]["in_use_at_once"].is_null()
}

fn is_both_ways(found: &Value) -> bool {
    found["evidence"]["in_use_at_once"] == true
}

/// Has all that was seen so far be judged: of another user something is found, and sightings are judged in order.
fn wait_judged(gateway: &Gateway, number: u64) {
    let other = logged_in(gateway, BERLIN, &format!("user{number}"));
    other.coming_from(LAGOS).get("/x").expect(200);
    wait_found(gateway, TRAVEL, |found| found["user"] == json!(number.to_string()));
}

/// An operator says that something is nobody's fault.
fn call_expected(gateway: &Gateway, found: &Value) {
    let path = format!("/v1/anomalies/{}/verdict", found["id"].as_str().expect("an id"));
    gateway.operator(TOKEN).post_json(&path, &json!({"verdict": "expected"})).expect(200);
}

on_both_stores!(
    a_session_that_is_used_on_two_continents_at_once_is_held_and_cut_and_logging_in_again_teaches_it,
    |store| {
        let backend = backend();
        let gateway = started(located(store, "enforce", &backend));
        let mut owner = logged_in(&gateway, BERLIN, "user7");
        owner.get("/x").expect(200);
        let mut tab = gateway.open(&owner, "/ws");
        let mut thief = owner.coming_from(LAGOS);
        thief.get("/x").expect(200);
        // A way in one direction may be a journey: it alerts, and the session goes on.
        let found = wait_found(&gateway, TRAVEL, is_one_way);
        assert_eq!(
            (&found["user"], &found["address"], &found["observed"]),
            (&json!("7"), &json!(LAGOS), &json!(false))
        );
        assert_eq!(found["actions"], json!([{"action": "alert", "done": false}]), "nobody is named who is to be told");
        let evidence = &found["evidence"];
        assert_eq!((&evidence["from_place"], &evidence["to_place"]), (&json!("Berlin, DE"), &json!("Lagos, NG")));
        assert!(evidence["km"].as_u64().is_some_and(|km| (5000..5300).contains(&km)), "{evidence}");
        assert!(evidence["seconds"] == 60 && evidence["kmh"].as_u64().is_some_and(|kmh| kmh > 100_000), "{evidence}");
        thief.get("/x").expect(200);

        // Back within ten minutes, it is in use in both.
        owner.get("/x").expect(200);
        let held = gateway.wait_audit("session.held", |_| true);
        assert_eq!((&held["reason"], &held["actor"], &held["user"]), (&json!(TRAVEL), &json!("gateway"), &json!("7")));
        let found = wait_found(&gateway, TRAVEL, is_both_ways);
        assert_eq!(found["actions"], json!([{"action": "reauth", "done": true}]));
        assert_eq!(tab.expect_close(4401), "reauth_required");
        let asked = backend.seen().len();
        for browser in [&mut owner, &mut thief] {
            browser.get("/x").expect_refusal(401, "reauth_required");
        }
        assert_eq!(backend.seen().len(), asked, "the backend hears nothing of it");

        // Logging in again replaces it, and whoever has the old cookie has nothing.
        log_in(&mut owner, "user7", "demo").expect(200);
        owner.get("/x").expect(200);
        thief.get("/x").expect(401);
        gateway.wait_audit("session.released", |event| event["user"] == "7");

        // The user has said by it that both places are theirs.
        let mut phone = owner.coming_from(LAGOS);
        phone.get("/x").expect(200);
        let noted = wait_found(&gateway, TRAVEL, |found| found["severity"] == "low");
        assert_eq!(noted["evidence"]["only_noted"], "logged_in_again");
        assert_eq!(noted["actions"], json!([{"action": "record", "done": true}]));
        owner.get("/x").expect(200);
        wait_judged(&gateway, 8);
        phone.get("/x").expect(200);
        owner.get("/x").expect(200);
        assert_eq!(findings(&gateway, TRAVEL).iter().filter(|found| found["user"] == "7").count(), 3);
        assert_eq!(
            gateway.metric("findings_total", r#"{type="IMPOSSIBLE_TRAVEL",severity="high"}"#),
            3.0,
            "user 8's too"
        );
        assert_eq!(gateway.metric("monitor_actions_total", r#"{action="reauth",mode="enforce"}"#), 1.0);
    }
);

on_both_stores!(a_session_that_moves_once_alerts_and_goes_on, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend));
    let owner = logged_in(&gateway, BERLIN, "user7");
    let mut moved = owner.coming_from(LAGOS);
    moved.get("/x").expect(200);
    wait_found(&gateway, TRAVEL, is_one_way);
    for _ in 0..20 {
        moved.get("/x").expect(200);
    }
    wait_judged(&gateway, 8);
    assert_eq!(findings(&gateway, TRAVEL).iter().filter(|found| found["user"] == "7").count(), 1);
    assert!(!gateway.audit().iter().any(|event| event["type"] == "session.held"));
});

on_both_stores!(a_way_that_an_operator_expects_hides_none_to_a_third_place, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend));
    let owner = logged_in(&gateway, BERLIN, "user7");
    owner.coming_from(LAGOS).get("/x").expect(200);
    let found = wait_found(&gateway, TRAVEL, is_one_way);
    call_expected(&gateway, &found);
    owner.coming_from(PARIS).get("/x").expect(200);
    let found = wait_found(&gateway, TRAVEL, |found| found["address"] == PARIS);
    assert_eq!((&found["severity"], &found["repeats"]), (&json!("high"), &json!(0)), "{found}");
});

on_both_stores!(what_is_only_observed_holds_nothing, |store| {
    let backend = backend();
    let gateway = started(located(store, "observe", &backend));
    let mut owner = logged_in(&gateway, BERLIN, "user7");
    let mut thief = owner.coming_from(LAGOS);
    thief.get("/x").expect(200);
    wait_found(&gateway, TRAVEL, is_one_way);
    owner.get("/x").expect(200);
    let found = wait_found(&gateway, TRAVEL, is_both_ways);
    assert_eq!((&found["observed"], &found["actions"]), (&json!(true), &json!([{"action": "reauth", "done": false}])));
    owner.get("/x").expect(200);
    thief.get("/x").expect(200);
    assert!(!gateway.audit().iter().any(|event| event["type"] == "session.held"));
});

on_both_stores!(what_is_far_in_a_short_time_and_not_impossible_is_a_change_of_location, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend).settings("monitor.travel.kmh = 100000"));
    let owner = logged_in(&gateway, BERLIN, "user7");
    owner.coming_from(PARIS).get("/x").expect(200);
    let found = wait_found(&gateway, "SUSPICIOUS_LOCATION_CHANGE", |_| true);
    assert_eq!((&found["severity"], &found["actions"][0]["action"]), (&json!("medium"), &json!("alert")));
    assert!(found["evidence"]["km"].as_u64().is_some_and(|km| (750..850).contains(&km)), "{found}");
    // Back and forth, it asks nobody to log in again.
    owner.coming_from(BERLIN).get("/x").expect(200);
    owner.coming_from(PARIS).get("/x").expect(200);
    assert_eq!(findings(&gateway, TRAVEL), Vec::<Value>::new());
    assert!(!gateway.audit().iter().any(|event| event["type"] == "session.held"));
});

on_both_stores!(live_sessions_in_two_countries_are_noted, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend));
    let kind = "MULTIPLE_LOCATION_SESSIONS";
    let mut elsewhere = Vec::new();
    for address in [BERLIN, BERLIN_CAFE, VPN] {
        elsewhere.push(logged_in(&gateway, address, "user7"));
    }
    wait_judged(&gateway, 8);
    assert_eq!(findings(&gateway, kind), Vec::<Value>::new(), "a VPN is in no country");
    elsewhere[1].post("/api/logout").expect(200);
    elsewhere.push(logged_in(&gateway, PARIS, "user7"));
    let found = wait_found(&gateway, kind, |_| true);
    assert_eq!((&found["severity"], &found["user"]), (&json!("low"), &json!("7")));
    assert_eq!(found["actions"], json!([{"action": "record", "done": true}]));
    let places = [&found["evidence"]["place"], &found["evidence"]["other_place"]];
    assert!(places.contains(&&json!("Berlin, DE")) && places.contains(&&json!("Paris, FR")), "{found}");
});

#[test]
fn more_live_sessions_than_people_have_are_told_their_user_over_two_gateways() {
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    let store = Store::redis();
    let gateways = [(); 2].map(|()| {
        let builder = guarded(store.clone(), "enforce").with_backend(&backend).settings(&server.alerts());
        builder.settings("alerts.user_email = \"/user/email\"").start()
    });
    let mut browsers = Vec::new();
    for number in 0..3 {
        browsers.push(logged_in(&gateways[number % 2], BERLIN, "user7"));
    }
    // One that ended counts no more, nor does one that was replaced.
    browsers[0].post("/api/logout").expect(200);
    browsers.push(logged_in(&gateways[1], BERLIN, "user7"));
    log_in(&mut browsers[1], "user7", "demo").expect(200);
    let_pass(Duration::from_millis(500));
    assert_eq!(findings(&gateways[0], CONCURRENT), Vec::<Value>::new());
    logged_in(&gateways[0], BERLIN, "user7");
    let found = wait_found(&gateways[1], CONCURRENT, |_| true);
    assert_eq!((&found["evidence"]["sessions"], &found["evidence"]["usual"]), (&json!(4), &json!(3)));
    assert_eq!((&found["severity"], &found["user"]), (&json!("medium"), &json!("7")));
    assert_eq!(found["actions"], json!([{"action": "notify", "done": true}]));
    let mails = server.wait_for(1);
    assert_eq!((mails.len(), mails[0].to()), (1, "user7@users.example"));
    browsers[1].get("/x").expect(200);
}

#[test]
fn of_logins_at_once_at_two_gateways_the_fourth_is_found_once_and_the_third_never_fifty_times() {
    let backend = backend();
    let store = Store::redis();
    let gateways = [(); 2].map(|()| guarded(store.clone(), "enforce").with_backend(&backend).start());
    for round in 0..50_u64 {
        let (three, four) = (1000 + round, 2000 + round);
        thread::scope(|scope| {
            for number in 0..7_usize {
                let user = if number < 3 { three } else { four };
                let gateway = &gateways[number % 2];
                scope.spawn(move || logged_in(gateway, BERLIN, &format!("user{user}")));
            }
        });
        wait_found(&gateways[0], CONCURRENT, |found| found["user"] == json!(four.to_string()));
    }
    let found = findings(&gateways[0], CONCURRENT);
    let users: Vec<u64> = found.iter().filter_map(|found| found["user"].as_str()?.parse().ok()).collect();
    assert_eq!(users.len(), 50, "{users:?}");
    assert!(users.iter().all(|user| (2000..2050).contains(user)), "{users:?}");
}

#[test]
fn two_gateways_that_judge_the_same_user_find_each_way_once_and_hold_once_fifty_times() {
    const ROUNDS: u64 = 50;
    let backend = backend();
    let store = Store::redis();
    let gateways = [(); 2].map(|()| started(located(store.clone(), "enforce", &backend)));
    let owners: Vec<Browser> =
        (1..=ROUNDS).map(|user| logged_in(&gateways[0], BERLIN, &format!("user{user}"))).collect();
    let_pass(ON_ITS_WAY);
    let both = |browser: &Browser| {
        thread::scope(|scope| {
            for gateway in &gateways {
                let mut here = browser.at(gateway.address());
                scope.spawn(move || here.get("/x"));
            }
        });
    };
    for (user, owner) in (1..=ROUNDS).zip(&owners) {
        let of_user = |found: &Value| found["user"] == json!(user.to_string());
        both(&owner.coming_from(LAGOS));
        wait_found(&gateways[0], TRAVEL, |found| of_user(found) && is_one_way(found));
        both(owner);
        wait_found(&gateways[0], TRAVEL, |found| of_user(found) && is_both_ways(found));
        let refused = wait_until("the hold", || {
            let answer = owner.at(gateways[1].address()).get("/x");
            (answer.status == 401).then_some(answer)
        });
        refused.expect_refusal(401, "reauth_required");
    }
    let found = findings(&gateways[0], TRAVEL);
    assert_eq!(found.len() as u64, 2 * ROUNDS, "{found:#?}");
    assert!(found.iter().all(|found| found["repeats"] == 0), "{found:#?}");
    let held = |gateway: &Gateway| gateway.audit().iter().filter(|event| event["type"] == "session.held").count();
    let all = || held(&gateways[0]) + held(&gateways[1]);
    wait_until("the last line", || (all() >= owners.len()).then_some(()));
    assert_eq!(all(), owners.len());
}

on_both_stores!(a_new_login_from_afar_is_only_noted_on_a_known_device, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend));
    let mut owner = logged_in(&gateway, BERLIN, "user7");
    owner.get("/x").expect(200);
    owner.post("/api/logout").expect(200);
    let mut away = owner.coming_from(LAGOS);
    log_in(&mut away, "user7", "demo").expect(200);
    let noted = wait_found(&gateway, TRAVEL, |_| true);
    assert_eq!((&noted["severity"], &noted["evidence"]["only_noted"]), (&json!("low"), &json!("known_device")));
    logged_in(&gateway, BERLIN, "user8");
    logged_in(&gateway, LAGOS, "user8");
    wait_found(&gateway, TRAVEL, |found| found["user"] == "8" && is_one_way(found));
});

on_both_stores!(a_way_that_an_operator_expects_alerts_no_more, |store| {
    let backend = backend();
    let gateway = started(located(store, "enforce", &backend));
    let owner = logged_in(&gateway, BERLIN, "user7");
    owner.coming_from(LAGOS).get("/x").expect(200);
    let found = wait_found(&gateway, TRAVEL, is_one_way);
    call_expected(&gateway, &found);
    // Neither is the session held that is back, nor does the next one alert.
    owner.coming_from(BERLIN).get("/x").expect(200);
    let other = logged_in(&gateway, BERLIN, "user7");
    other.coming_from(LAGOS).get("/x").expect(200);
    let noted = wait_found(&gateway, TRAVEL, |found| found["severity"] == "low");
    assert_eq!(noted["evidence"]["only_noted"], "logged_in_again");
    wait_judged(&gateway, 8);
    assert!(!findings(&gateway, TRAVEL).iter().any(is_both_ways));
    other.coming_from(BERLIN).get("/x").expect(200);
});

on_both_stores!(networks_that_are_ignored_are_nowhere_and_others_are_only_noted, |store| {
    let backend = backend();
    let builder = located(store, "enforce", &backend).set("monitor.ignore_networks", vec!["198.51.100.10/32"]);
    let gateway = started(builder);
    let mut owner = logged_in(&gateway, BERLIN, "user7");
    // The office's traffic comes out in Lagos; after it one is as far from Paris as before.
    owner.coming_from(LAGOS).get("/x").expect(200);
    owner.get("/x").expect(200);
    owner.coming_from(VPN).get("/x").expect(200);
    let noted = wait_found(&gateway, TRAVEL, |_| true);
    assert_eq!((&noted["severity"], &noted["evidence"]["only_noted"]), (&json!("low"), &json!("network")));
    owner.coming_from(PARIS).get("/x").expect(200);
    let found = wait_found(&gateway, TRAVEL, is_one_way);
    assert_eq!(found["evidence"]["from_place"], "Berlin, DE", "neither the office nor the VPN was learned");
    assert_eq!(findings(&gateway, TRAVEL).len(), 2);
});

/// There, and not back.
const AWAY: &[&str] = &[BERLIN, LAGOS];
const THERE_AND_BACK: &[&str] = &[BERLIN, LAGOS, BERLIN, "2001:db8::1", LAGOS];

/// Asks from all over; says how long it took.
fn use_it(gateway: &Gateway, name: &str, addresses: &[&str]) -> Duration {
    let began = Instant::now();
    let owner = logged_in(gateway, BERLIN, name);
    for address in addresses {
        owner.coming_from(address).get("/x").expect(200);
    }
    began.elapsed()
}

#[test]
fn without_databases_or_with_broken_or_old_ones_everybody_stays_in() {
    // authentik#18887: a database that was not there logged users out.
    let backend = backend();
    let warned = |gateway: &Gateway, text: &str| {
        wait_until(text, || gateway.admin_get("/readyz").expect(200).text().contains(text).then_some(()));
    };
    let located = || located(Store::Embedded, "enforce", &backend);
    let is_of = |user: &'static str| move |found: &Value| found["user"] == user;

    let missing = located();
    std::fs::remove_file(missing.directory().join("City.mmdb")).expect("a file");
    let gateway = missing.start();
    warned(&gateway, "City.mmdb");
    assert!(use_it(&gateway, "user1", THERE_AND_BACK) < Duration::from_secs(3));
    // When it comes it is taken over, and works.
    write_databases(gateway.directory(), YOUNG);
    wait_until("the database", || (gateway.metric("geo_age_seconds", "city") > 0.0).then_some(()));
    use_it(&gateway, "user2", AWAY);
    wait_found(&gateway, TRAVEL, is_of("2"));
    // One that is broken by then leaves the one before in force.
    std::fs::write(gateway.file("City.mmdb"), "not a database").expect("a file");
    warned(&gateway, "City.mmdb");
    use_it(&gateway, "user3", AWAY);
    wait_found(&gateway, TRAVEL, is_of("3"));
    assert_eq!(findings(&gateway, TRAVEL).iter().filter(|found| is_of("1")(found)).count(), 0);
    drop(gateway);

    let broken = located();
    std::fs::write(broken.directory().join("City.mmdb"), [0xff; 4096]).expect("a file");
    std::fs::write(broken.directory().join("ASN.mmdb"), "").expect("a file");
    let gateway = broken.start();
    warned(&gateway, "City.mmdb");
    use_it(&gateway, "user1", THERE_AND_BACK);
    assert_eq!(findings(&gateway, TRAVEL), Vec::<Value>::new());
    drop(gateway);

    let old = located();
    write_databases(old.directory(), Duration::from_secs(400 * 86_400));
    let gateway = started(old);
    warned(&gateway, "days old");
    use_it(&gateway, "user1", AWAY);
    wait_found(&gateway, TRAVEL, is_of("1"));
}
