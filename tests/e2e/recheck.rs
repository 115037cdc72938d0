//! Asking again whether users in session still have their tenant (docs/tenants.md), before a real Django app that says yes, no,
//! nothing, and a no that is none.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::tenants::{account, asked, before_the_app, log_in, name_of};
use crate::on_both_stores;
use crate::support::{Browser, Gateway, RedisServer, Store, answer_json, echo, gateway, let_pass};

/// The shortest interval that there is.
const EVERY: Duration = Duration::from_secs(30);
/// For longer nobody in use is left unasked: the first question is due within an interval, the second within 1.1 more.
const TWO_QUESTIONS: Duration = Duration::from_secs(65);

/// Uses sessions until it is enough.
#[track_caller]
fn use_until(what: &str, limit: Duration, mut step: impl FnMut() -> bool) {
    let began = Instant::now();
    while !step() {
        assert!(began.elapsed() < limit, "waited {limit:?} in vain for {what}");
        let_pass(Duration::from_millis(200));
    }
}

on_both_stores!(a_clear_no_ends_the_users_sessions_and_nothing_else_does, |store| {
    let gateway = before_the_app(store).set("tenants.recheck", "30s").set("upstream.response_timeout", "1s").start();
    let rows = [
        ("yes", json!("42"), "", true),
        ("500 with a no", Value::Null, "error", true),
        ("500 with a yes", json!("42"), "error", true),
        ("too slow", Value::Null, "slow", true),
        ("a page", json!("42"), "page", true),
        ("404", json!("42"), "gone", true),
        ("200 with a no", Value::Null, "", false),
        ("another tenant", json!("77"), "", false),
    ];
    let mut sessions: Vec<(String, Browser, bool, &str)> = Vec::new();
    for (row, _, _, stays) in &rows {
        let name = name_of(&gateway, &row.replace(' ', "-"));
        account(&name, &json!("42"), true, "");
        sessions.push((name.clone(), log_in(&gateway, &name), *stays, row));
    }
    // Another session of who is to go, of which nobody makes use, and one of a user without a tenant.
    let unused = log_in(&gateway, &sessions[6].0);
    let waiting = name_of(&gateway, "waiting");
    account(&waiting, &Value::Null, true, "broken");
    let mut onboarding = log_in(&gateway, &waiting);
    for ((name, ..), (_, organisation, mode, _)) in sessions.iter().zip(&rows) {
        account(name, organisation, true, mode);
    }
    let began: Vec<u64> = sessions.iter().map(|(name, ..)| asked(name)).collect();
    use_until("each to be asked about", TWO_QUESTIONS, || {
        for (_, browser, ..) in &mut sessions {
            browser.get("/orders");
        }
        onboarding.post_json("/api/tenants/", &json!({"name": "acme"})).expect(500);
        sessions.iter().zip(&began).all(|((name, browser, stays, _), before)| {
            let over = || browser.clone().get("/orders").status == 401;
            asked(name) > *before && (*stays || over())
        })
    });
    for (name, browser, stays, row) in &mut sessions {
        let answer = browser.get("/orders");
        if *stays {
            assert_eq!(answer.status, 200, "{row}");
            continue;
        }
        answer.expect_refusal(401, "session_revoked");
        let told = gateway.wait_audit("session.ended", |event| event["user"] == json!(name));
        assert_eq!((&told["reason"], &told["actor"]), (&json!("user_revoked"), &json!("gateway")), "{row}");
        assert_eq!(told["tenant"], json!("42"), "{row}");
        let ended = if *row == "200 with a no" { 2 } else { 1 };
        assert_eq!(told["details"]["invalidated_sessions"], json!(ended), "{row}");
    }
    unused.clone().get("/orders").expect_refusal(401, "session_revoked");
    onboarding.get("/onboarding/state").expect(200);
    // By its login, and by the success just now.
    assert_eq!(asked(&waiting), 2, "who has no tenant is left alone");
    // Nobody is shut out: the next login is told what is so by then.
    let name = &sessions[6].0;
    account(name, &json!("42"), true, "");
    log_in(&gateway, name).get("/orders").expect(200);
});

/// A gateway before the app that asks about tenants alone.
fn about_tenants(redis: &RedisServer) -> Gateway {
    before_the_app(Store::on(redis))
        .set("store.prefix", "both:")
        .set("tenants.verify", "/api/tenants/verify/{tenant}")
        .without("tenants.onboarding")
        .set("tenants.recheck", "30s")
        .set("tenants.attempts", 3)
        .set("tenants.backoff", "1s")
        .start()
}

fn log_in_to(gateway: &Gateway, user: &str, tenant: &str) -> Browser {
    let mut browser = gateway.browser();
    browser.post_json("/api/login", &json!({"username": user, "customer_id": tenant})).expect(200);
    assert!(browser.has_session_cookie());
    browser
}

#[test]
fn a_tenant_is_asked_about_once_by_all_gateways_and_ends_after_as_many_noes_in_a_row() {
    let redis = RedisServer::start();
    let gateways = [(); 2].map(|()| about_tenants(&redis));
    let (gone, back) = (name_of(&gateways[0], "gone"), name_of(&gateways[0], "back"));
    for tenant in [&gone, &back] {
        account(tenant, &json!(tenant), true, "");
    }
    // Three users of each, at both gateways.
    let mut sessions = Vec::new();
    for tenant in [&gone, &back] {
        for number in 0..3 {
            let user = name_of(&gateways[0], &format!("user{number}"));
            account(&user, &json!(tenant), true, "");
            sessions.push((tenant.clone(), log_in_to(&gateways[number % 2], &user, tenant)));
        }
    }
    let began = [asked(&gone), asked(&back)];
    assert_eq!(began, [3, 3], "at each login");
    let since = Instant::now();
    let use_all = |sessions: &mut Vec<(String, Browser)>, of: &str| {
        let mut live = 0;
        for (tenant, browser) in sessions.iter_mut().filter(|(tenant, _)| tenant == of) {
            for gateway in &gateways {
                let answer = browser.at(gateway.address()).get("/orders");
                live += usize::from(answer.status == 200);
                assert!(answer.status == 200 || *tenant == gone, "{answer:?}");
            }
        }
        live
    };
    use_until("both to be asked about", TWO_QUESTIONS, || {
        use_all(&mut sessions, &gone);
        use_all(&mut sessions, &back);
        asked(&gone) > began[0] && asked(&back) > began[1]
    });
    // However many users and gateways: as many questions as there were intervals.
    let most = 1 + since.elapsed().as_secs() / EVERY.as_secs();
    assert!(asked(&gone) - began[0] <= most && asked(&back) - began[1] <= most, "{most}");

    // One says no for good, the other but once.
    let before = [asked(&gone), asked(&back)];
    account(&gone, &Value::Null, true, "");
    account(&back, &json!(back), true, "once");
    use_until("the tenant's sessions to end", TWO_QUESTIONS, || {
        use_all(&mut sessions, &back);
        use_all(&mut sessions, &gone) == 0 && asked(&back) >= before[1] + 2
    });
    assert_eq!(asked(&gone), before[0] + 3, "as many noes as there are attempts");
    assert_eq!(use_all(&mut sessions, &back), 6, "a no and then a yes is none");
    let told = gateways.iter().flat_map(Gateway::audit).filter(|event| event["type"] == "session.ended");
    let told: Vec<Value> = told.collect();
    let [told] = &told[..] else { panic!("{told:#?}") };
    assert_eq!((&told["tenant"], &told["reason"]), (&json!(gone), &json!("org_deleted")));
    assert_eq!((&told["actor"], &told["details"]["invalidated_sessions"]), (&json!("gateway"), &json!(3)));
    // The tenant is not shut out.
    account(&gone, &json!(gone), true, "");
    let user = name_of(&gateways[0], "user0");
    log_in_to(&gateways[1], &user, &gone).get("/orders").expect(200);
}

#[test]
fn about_a_tenant_it_is_asked_in_nobodys_name_and_about_a_user_in_theirs() {
    let backend = echo();
    backend.on("/verify/42", [answer_json(&json!({"exists": true}))]);
    backend.on("/verify/42/7", [answer_json(&json!({"exists": true}))]);
    let start = |verify: &str| {
        let tenants = format!("[tenants]\nverify = \"{verify}\"\nrecheck = \"30s\"\n");
        gateway(Store::Embedded).with_backend(&backend).settings(&tenants).start()
    };
    let gateways = [start("/verify/{tenant}"), start("/verify/{tenant}/{user_id}")];
    let mut sessions = gateways.each_ref().map(|gateway| gateway.logged_in("42", "7"));
    for browser in &mut sessions {
        browser.set_cookie("sessionid", "of-the-app");
    }
    let before = backend.seen_at("/verify/42").len();
    assert_eq!(before, 1, "at the login");
    use_until("both to be asked about", TWO_QUESTIONS, || {
        for browser in &mut sessions {
            browser.get("/orders").expect(200);
        }
        backend.seen_at("/verify/42").len() > 1 && backend.seen_at("/verify/42/7").len() > 1
    });
    let (of_tenant, of_user) = (&backend.seen_at("/verify/42")[1], &backend.seen_at("/verify/42/7")[1]);
    assert_eq!((of_tenant.headers.get("cookie"), of_user.headers.get("cookie")), (None, Some("sessionid=of-the-app")));
    for seen in [of_tenant, of_user] {
        assert_eq!((seen.identity(), seen.headers.get("authorization")), ((None, None), None));
    }
}
