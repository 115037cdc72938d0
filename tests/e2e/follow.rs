//! The app's own logins, switches and log-outs, followed by the cookie that it sets (docs/behaviour.md, "Following").

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::{Echo, Seen};
use crate::support::gateway::Builder;
use crate::support::{
    Browser, Gate, Gateway, RedisServer, SESSION_COOKIE, Step, Store, answer, answer_json, echo, flask_session,
    gateway, passwordless, wait_until,
};

const FOLLOWED: &str = r#"
    [login]
    path = "/login"
    capture = "whoami"
    whoami = { path = "/api/me", tenant = "/org/id", user = "/id" }
    follow = ["session"]
    without_tenant = "session"
    [[routes]]
    match = ["/api/health", "/magic/{name}", "/signup", "/public/*"]
    auth = "public"
"#;
const TOKEN: &str = "an operator's token of more than 32 bytes";
/// How often what races is tried.
const TIMES: usize = 50;

fn followed(store: Store) -> Builder {
    gateway(store).with_backend(passwordless()).settings(FOLLOWED)
}

/// The tenant and user that the app is told, and whom its own session names.
#[track_caller]
fn told(browser: &mut Browser) -> (Value, Value, Value) {
    let mut told = browser.get("/api/data").expect(200).json();
    (told["tenant"].take(), told["user"].take(), told["app"].take())
}

fn alice() -> (Value, Value, Value) {
    (json!("42"), json!("7"), json!("alice"))
}

fn bob() -> (Value, Value, Value) {
    (json!("77"), json!("1"), json!("bob"))
}

fn by_link(gateway: &Gateway, name: &str) -> Browser {
    let mut browser = gateway.browser();
    let link = browser.navigate(&format!("/magic/{name}")).expect(302);
    assert!(browser.has_session_cookie(), "{link:?}");
    assert_eq!(link.header("cache-control"), Some("no-store"));
    browser
}

on_both_stores!(a_magic_link_that_is_followed_makes_a_session, |store| {
    let gateway = followed(store).start();
    let mut browser = by_link(&gateway, "alice");
    assert_eq!(told(&mut browser), alice());
    let made = gateway.wait_audit("session.created", |_| true);
    assert_eq!(
        (&made["tenant"], &made["user"], &made["details"]["followed"]),
        (&json!("42"), &json!("7"), &json!(true))
    );
    // A sign-up is one, too, and so is one by somebody without a tenant.
    let mut signed_up = gateway.browser();
    signed_up.post_form("/signup", &[("name", "dave")]).expect(200);
    assert_eq!(told(&mut signed_up), (Value::Null, json!("9"), json!("dave")));
});

on_both_stores!(a_magic_link_that_is_followed_replaces_the_session, |store| {
    let gateway = followed(store).start();
    let mut browser = by_link(&gateway, "alice");
    let mut left_behind = browser.clone();
    browser.navigate("/magic/bob").expect(302);
    assert_eq!(told(&mut browser), bob(), "the app says bob, and so does the header");
    left_behind.get("/api/data").expect_refusal(401, "session_revoked");
    gateway.wait_audit("session.ended", |event| event["reason"] == "replaced" && event["user"] == "7");
    // A switch of the app's is followed as well, on a route that needs the session.
    browser.post("/switch/alice").expect(200);
    assert_eq!(told(&mut browser), alice());
});

on_both_stores!(a_magic_link_that_is_a_login_replaces_the_session_of_whom_the_app_knew_before, |store| {
    let gateway = followed(store).set("login.path", vec!["GET /magic/{name}"]).start();
    let mut browser = by_link(&gateway, "alice");
    let mut left_behind = browser.clone();
    browser.navigate("/magic/bob").expect(302);
    assert_eq!(told(&mut browser), bob());
    left_behind.get("/api/data").expect_refusal(401, "session_revoked");
    // Without following, the link would have to be opened twice, and is good for once.
    browser.navigate("/magic/nobody").expect(404);
    assert_eq!(told(&mut browser), bob());
});

on_both_stores!(a_switch_that_is_an_event_is_followed_as_well, |store| {
    let event = "[[events]]\nmatch = \"POST /switch/{_}\"\nheader = [\"logout\"]\n";
    let gateway = followed(store).settings(event).start();
    let mut browser = by_link(&gateway, "alice");
    browser.post("/switch/bob").expect(200);
    assert_eq!(told(&mut browser), bob());
});

on_both_stores!(whom_the_app_knew_before_has_not_logged_in_again_where_the_session_is_held, |store| {
    let gateway = followed(store).set("admin.token", TOKEN).settings("logout.clear_cookies = [\"session\"]").start();
    let hold = |gateway: &Gateway, user: &str| {
        let mut operator = gateway.operator(TOKEN);
        let listed = operator.get("/v1/sessions").expect(200).json();
        let items = listed["items"].as_array().expect("a list");
        let id = items.iter().find(|one| one["user"] == user).expect("it is listed")["id"].as_str().expect("an id");
        operator.post(&format!("/v1/sessions/{id}/hold")).expect(200);
    };
    let mut browser = by_link(&gateway, "alice");
    hold(&gateway, "7");
    // The app sets its cookie anew for whom it knows by it, stolen or not.
    let mut thief = browser.clone();
    thief.navigate("/magic/alice").expect(302);
    thief.get("/api/data").expect_refusal(401, "reauth_required");
    // On the way to the login page it loses its own; then somebody has logged in.
    browser.navigate("/api/data").expect(302);
    browser.navigate("/magic/alice").expect(302);
    assert_eq!(told(&mut browser), alice());
    thief.get("/api/data").expect_refusal(401, "session_revoked");
    gateway.wait_audit("session.released", |event| event["reason"] == "logged_in");
    // So has somebody else than the app knew.
    hold(&gateway, "7");
    browser.navigate("/magic/bob").expect(302);
    assert_eq!(told(&mut browser), bob());
});

on_both_stores!(a_sealed_cookie_is_bound_to_the_session_that_it_was_followed_to, |store| {
    let gateway = followed(store)
        .set("secrets.key", "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE")
        .set("identity.seal_cookies", vec!["session"])
        .start();
    let mut alices = by_link(&gateway, "alice");
    assert_eq!(told(&mut alices), alice());
    let stolen = alices.cookie("session").expect("the app's own").to_owned();
    alices.get("/news").expect(200);
    assert_eq!(told(&mut alices), alice(), "a cookie set anew for the same user stays bound");
    alices.navigate("/magic/bob").expect(302);
    assert_eq!(told(&mut alices), bob());
    // What was alice's is of no use beside bob's session.
    alices.set_cookie("session", &stolen);
    let told = alices.get("/api/data").expect(200).json();
    assert_eq!((&told["user"], &told["app"]), (&json!("1"), &Value::Null));
    let mut out = by_link(&gateway, "alice");
    out.get("/signout").expect(200);
    assert!(!out.has_session_cookie());
});

on_both_stores!(a_sign_out_of_the_apps_own_that_is_followed_ends_the_session, |store| {
    let gateway = followed(store).settings("logout.clear_cookies = [\"session\", \"remember\"]").start();
    let mut browser = by_link(&gateway, "alice");
    let mut left_behind = browser.clone();
    let bye = browser.get("/signout").expect(200);
    assert_eq!(bye.at("/bye"), "true", "the answer that says so is whole");
    assert!(!browser.has_session_cookie());
    assert!(bye.set_cookie("remember").is_some_and(|cookie| cookie.expires_it()));
    left_behind.get("/api/data").expect_refusal(401, "session_revoked");
    gateway.wait_audit("session.ended", |event| event["reason"] == "logout");
});

on_both_stores!(a_cookie_set_anew_for_the_same_user_changes_nothing, |store| {
    let gateway = followed(store).start();
    let mut browser = by_link(&gateway, "alice");
    let token = browser.token();
    for _ in 0..5 {
        let news = browser.get("/news").expect(200);
        assert!(news.set_cookie("session").is_some() && news.set_cookie(SESSION_COOKIE).is_none());
    }
    assert_eq!((browser.token(), told(&mut browser)), (token, alice()));
    assert_eq!(gateway.audit().iter().filter(|event| event["type"] == "session.created").count(), 1);
});

#[test]
fn an_event_stream_that_logs_somebody_in_goes_on_for_the_new_session() {
    let gateway = followed(Store::Embedded).start();
    let mut browser = by_link(&gateway, "alice");
    let stream = browser.get("/stream/bob").expect(200);
    assert_eq!(stream.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    assert_eq!(told(&mut browser), bob());
}

/// A backend whose answers to `/public/enter` set the cookie `session` to what the query says, and whose whoami knows
/// `alice`, `bob` and nobody else.
fn scripted() -> Echo {
    let backend = echo();
    let enter = |seen: &Seen| {
        let value = seen.target.split_once('?').map_or("", |(_, query)| query).to_owned();
        vec![answer("200 OK", &[("Set-Cookie", &format!("session={value}; Path=/"))], "in")]
    };
    backend.on_call("/public/enter", enter).on_call("/enter", enter);
    backend.on_call("/api/me", |seen| {
        let cookie = seen.header("cookie").unwrap_or_default().to_owned();
        let whose = |name: &str| cookie.contains(&format!("session={name}"));
        match () {
            () if whose("alice") => vec![answer_json(&json!({"id": 7, "org": {"id": 42}}))],
            () if whose("bob") => vec![answer_json(&json!({"id": 1, "org": {"id": 77}}))],
            () if whose("broken") => vec![answer("500 Internal Server Error", &[], "")],
            () if whose("html") => vec![answer("200 OK", &[("Content-Type", "text/html")], "<title>hello</title>")],
            () if whose("gone") => vec![Step::Close],
            () => vec![answer("401 Unauthorized", &[], "")],
        }
    });
    backend
}

#[test]
fn an_unclear_answer_changes_nothing_and_is_warned_of() {
    let backend = scripted();
    let gateway = gateway(Store::Embedded).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    let mut browser = gateway.browser();
    browser.get("/public/enter?alice").expect(200);
    let token = browser.token();
    for unclear in ["broken", "html", "gone"] {
        browser.get(&format!("/public/enter?{unclear}")).expect(200);
        assert_eq!(browser.token(), token, "{unclear}");
        browser.get("/x").expect(200);
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")), "{unclear}");
    }
    gateway.wait_log(&["whose the app's new cookie is cannot be told"]);
    browser.get("/public/enter?nobody").expect(200);
    assert!(!browser.has_session_cookie(), "nobody is an answer");
}

#[test]
fn a_value_is_asked_about_once() {
    let backend = scripted();
    let gateway = gateway(Store::Embedded).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    let mut browser = gateway.browser();
    browser.get("/public/enter?alice").expect(200);
    let asked = || backend.seen_at("/api/me").len();
    assert_eq!(asked(), 1);
    browser.get("/public/enter?alice").expect(200);
    assert_eq!(asked(), 1, "it is no new value");
    browser.set_cookie("session", "other");
    for _ in 0..3 {
        browser.clone().get("/public/enter?alice-2").expect(200);
    }
    assert_eq!(asked(), 2, "the same new value beside the same session");
    // Whoever comes without the cookie that an answer did not bring is asked about again.
    gateway.browser().get("/public/enter?alice").expect(200);
    assert_eq!(asked(), 3);
}

on_both_stores!(whoever_logs_in_under_the_id_that_the_app_had_before_is_followed, |store| {
    const APP: &str = r#"
        [login]
        path = "/login"
        capture = "whoami"
        whoami = { path = "/me", tenant = "/org/id", user = "/id" }
        follow = ["session"]
        [[routes]]
        match = ["/magic/{name}", "/start"]
        auth = "public"
    "#;
    let gateway = gateway(store).with_backend(flask_session()).settings(APP).start();
    let told = |browser: &mut Browser| {
        let told = browser.get("/orders").expect(200).json();
        (told["tenant"].clone(), told["user"].clone(), told["own"].clone())
    };
    let (alice, bob) = ((json!("42"), json!("7"), json!("7")), (json!("77"), json!("19"), json!("19")));
    let mut browser = gateway.browser();
    browser.navigate("/start").expect(200);
    let id = browser.cookie("session").expect("the app's, of nobody yet").to_owned();
    browser.navigate("/magic/alice").expect(200);
    assert_eq!(told(&mut browser), alice);
    let mut left_behind = browser.clone();
    browser.navigate("/magic/bob").expect(200);
    assert_eq!(told(&mut browser), bob, "a page");
    left_behind.get("/orders").expect_refusal(401, "session_revoked");
    browser.get("/magic/alice?then=redirect").expect(302);
    assert_eq!(told(&mut browser), alice, "a redirect");
    browser.post("/switch/bob").expect(200);
    assert_eq!(told(&mut browser), bob, "a call that changes something");
    assert_eq!(browser.cookie("session"), Some(&*id), "the app never gave it another id");
});

#[test]
fn an_app_that_sets_its_cookie_with_each_answer_is_not_asked_about_what_scripts_read() {
    let backend = scripted();
    let gateway = gateway(Store::Embedded).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    let mut browser = gateway.browser();
    browser.get("/public/enter?alice").expect(200);
    let asked = || backend.seen_at("/api/me").len();
    for (times, sent) in [(1, "a script's calls"), (2, "a page"), (3, "a call that changes something")] {
        match times {
            1 => (0..5).for_each(|_| _ = browser.get("/enter?alice").expect(200)),
            2 => _ = browser.navigate("/enter?alice").expect(200),
            _ => _ = browser.post("/enter?alice").expect(200),
        }
        assert_eq!(asked(), times, "{sent}");
    }
}

#[test]
fn what_the_store_does_not_take_is_not_passed_on() {
    let (backend, mut redis) = (scripted(), RedisServer::start());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    let mut browser = gateway.browser();
    redis.kill();
    let refused = browser.get("/public/enter?alice").expect_refusal(503, "store_unavailable");
    assert!(refused.headers.all("set-cookie").is_empty(), "nor the app's cookie");
    // Of nobody nothing is to be stored.
    browser.get("/public/enter?nobody").expect(200);
}

on_both_stores!(a_tenant_that_is_shut_out_is_not_entered_by_a_link, |store| {
    let token = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
    let gateway = followed(store).set("admin.token", token).start();
    let mut browser = by_link(&gateway, "alice");
    gateway.operator(token).request("PUT", "/v1/tenants/77").json(&json!({"status": "suspended"})).send().expect(200);
    let refused = browser.get("/magic/bob").expect_refusal(403, "tenant_suspended");
    assert!(refused.headers.all("set-cookie").is_empty());
    assert_eq!(told(&mut browser), alice(), "nothing changed");
});

// Answers that log in as alice and as bob come at the same time to one browser, in any order: whichever it keeps, both its
// cookies are the same user's.
on_both_stores!(two_logins_at_once_never_leave_a_browser_with_one_users_cookie_of_each, |store| {
    let gateway = followed(store).start();
    for time in 0..TIMES {
        let browser = by_link(&gateway, "alice");
        let barrier = Barrier::new(2);
        let [first, second] = std::thread::scope(|scope| {
            ["alice", "bob"]
                .map(|name| {
                    let (mut browser, barrier) = (browser.clone(), &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        browser.post(&format!("/switch/{name}"));
                        browser
                    })
                })
                .map(|thread| thread.join().expect("no panic"))
        });
        // The browser has the cookies of the one or the other answer, or those of before.
        for mut kept in [first, second] {
            let answer = kept.get("/api/data");
            if answer.status == 200 {
                let told = answer.json();
                let expected = if told["app"] == "bob" { "1" } else { "7" };
                assert_eq!(told["user"], expected, "{time}: {told}");
            } else {
                answer.expect_refusal(401, "session_revoked");
            }
        }
    }
});

// A late answer that sets the app's cookie anew comes after the log-out.
on_both_stores!(a_late_answer_brings_nobody_back_who_has_logged_out, |store| {
    let backend = scripted();
    let gateway = gateway(store).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    for time in 0..TIMES {
        let gate = Gate::closed();
        let path = format!("/late/{time}");
        let set = [("Set-Cookie", "session=alice-late; Path=/")];
        backend.on(&path, [Step::Await(gate.clone()), answer("200 OK", &set, "late")]);
        let mut browser = gateway.browser();
        browser.get("/public/enter?alice").expect(200);
        let mut waiting = browser.clone();
        let late = std::thread::spawn({
            let path = path.clone();
            move || {
                let answer = waiting.get(&path);
                (answer, waiting)
            }
        });
        backend.wait_for(&path);
        browser.post("/api/logout").expect(200);
        gate.open();
        let (answer, _) = late.join().expect("no panic");
        assert!(answer.set_cookie(SESSION_COOKIE).is_none(), "{time}: {answer:?}");
    }
    let made = gateway.audit().iter().filter(|event| event["type"] == "session.created").count();
    assert_eq!(made, TIMES, "each log-in, and nothing else");
});

#[test]
fn a_client_that_hangs_up_leaves_no_half_of_a_switch() {
    let backend = scripted();
    let gateway = gateway(Store::Embedded).with_backend(&backend).without("routes").settings(FOLLOWED).start();
    for _ in 0..TIMES {
        let mut browser = gateway.browser();
        browser.get("/public/enter?alice").expect(200);
        browser.clone().request("GET", "/enter?bob").send_and_hang_up();
    }
    // Whichever of them went through: an end that says replaced goes with a session that was made.
    let mut browser = gateway.browser();
    browser.get("/public/enter?bob").expect(200);
    let of = |kind: &str, reason: &str| {
        gateway
            .audit()
            .iter()
            .filter(|event| event["type"] == kind && (reason.is_empty() || event["reason"] == reason))
            .count()
    };
    wait_until("as many made as replaced", || {
        (of("session.created", "") == TIMES + 1 + of("session.ended", "replaced")).then_some(())
    });
}
