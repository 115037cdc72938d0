//! The app's own cookies are bound to the session that they were set in (docs/behaviour.md, "Sealed cookies").

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::{
    Browser, Gateway, RedisServer, SESSION_COOKIE, SWITCH, Store, answer, answer_json, echo, flask_login, gateway, send,
};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const NEXT_KEY: &str = "x9HsVbEd8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiK";

/// Seals the app's session and remember cookies.
fn sealed(builder: Builder) -> Builder {
    builder.set("secrets.key", KEY).set("identity.seal_cookies", vec!["session", "remember_token"])
}

/// The Flask-Login app, whose users log in by JSON.
fn by_json(store: Store) -> Gateway {
    sealed(gateway(store).with_backend(flask_login()))
        .set("logout.clear_cookies", vec!["session", "remember_token"])
        .settings("[[routes]]\nmatch = [\"/whoami\", \"/visit\"]\nauth = \"optional\"")
        .start()
}

/// The same, whose users log in by a form.
fn by_form(store: Store) -> Gateway {
    sealed(gateway(store).with_backend(flask_login()))
        .without("login")
        .set("logout.clear_cookies", vec!["session", "remember_token"])
        .settings(
            "[login]\npath = \"/login\"\ncapture = \"whoami\"\nfailure = [\"200\"]\nlogin_url = \"/login\"\n\
             whoami = { path = \"/me\", tenant = \"/org/id\", user = \"/id\" }\n\
             [[routes]]\nmatch = [\"/whoami\", \"/visit\"]\nauth = \"optional\"",
        )
        .start()
}

fn log_in(browser: &mut Browser, name: &str) {
    let fields = json!({"username": name, "password": "demo", "remember": true});
    browser.post_json("/api/login", &fields).expect(200);
    assert!(browser.has_session_cookie() && browser.cookie("session").is_some());
    assert!(browser.cookie("remember_token").is_some());
}

/// Whom the app believes in by its own cookies.
fn believed(browser: &mut Browser) -> String {
    browser.get("/whoami").expect(200).at("/user")
}

/// The app's cookies of one browser beside the gateway's of another.
fn with_app_cookies_of(thief: &Browser, victim: &Browser) -> Browser {
    let mut thief = thief.clone();
    for name in ["session", "remember_token"] {
        thief.set_cookie(name, victim.cookie(name).expect("the victim has it"));
    }
    thief
}

on_both_stores!(anothers_app_cookies_beside_ones_own_session_are_worth_nothing, |store| {
    let gateway = by_json(store);
    let (mut alice, mut bob) = (gateway.browser(), gateway.browser());
    log_in(&mut alice, "alice");
    log_in(&mut bob, "bob");
    assert_eq!((believed(&mut alice), believed(&mut bob)), ("7".into(), "19".into()));
    let mut thief = with_app_cookies_of(&bob, &alice);
    assert_eq!(believed(&mut thief), "", "the app hears of nobody");
    thief.get("/me").expect(401);
    let told = gateway.wait_audit("identity.spoofed", |event| event["reason"] == "app_cookie");
    assert_eq!((&told["tenant"], &told["user"], &told["details"]["cookies"]), (&json!("77"), &json!("19"), &json!(2)));
    assert!(gateway.metric("spoofed_cookies_total", "") >= 2.0);
    assert_eq!(believed(&mut alice), "7", "and alice has lost nothing");
});

on_both_stores!(what_an_ended_session_had_is_of_no_use_to_anyone, |store| {
    let gateway = by_json(store);
    let (mut alice, mut bob) = (gateway.browser(), gateway.browser());
    log_in(&mut alice, "alice");
    log_in(&mut bob, "bob");
    let copy = alice.clone();
    alice.post("/api/logout").expect(200);
    for name in ["session", "remember_token"] {
        assert!(alice.cookie(name).is_none(), "{name} is expired");
    }
    assert_eq!(believed(&mut with_app_cookies_of(&bob, &copy)), "", "beside another's session");
    assert_eq!(believed(&mut with_app_cookies_of(&gateway.browser(), &copy)), "", "alone");
    assert_eq!(believed(&mut copy.clone()), "", "beside the session that is over");
    let mut again = gateway.browser();
    log_in(&mut again, "alice");
    assert_eq!(believed(&mut with_app_cookies_of(&again, &copy)), "", "beside a later one of the same user");
});

on_both_stores!(a_form_login_is_bound_as_a_json_login_is, |store| {
    let gateway = by_form(store);
    let log_in = |name: &str| {
        let mut browser = gateway.browser();
        browser.get("/login").expect(200);
        assert!(browser.get("/whoami").expect(200).json()["seen_the_form"] == json!(true), "before the login, too");
        browser.post_form("/login", &[("username", name), ("password", "demo"), ("remember", "y")]).expect(302);
        assert!(browser.has_session_cookie());
        browser
    };
    let (mut alice, bob) = (log_in("alice"), log_in("bob"));
    assert_eq!(believed(&mut alice), "7");
    assert_eq!(alice.get("/whoami").expect(200).json()["seen_the_form"], json!(true), "what was before goes on");
    alice.post("/visit").expect(200);
    assert_eq!(alice.post("/visit").expect(200).json()["visits"], json!(2));
    assert_eq!(believed(&mut with_app_cookies_of(&bob, &alice)), "");
    // A browser that comes back with the app's cookies and without the gateway's is nobody there: it can log in at once.
    let mut restarted = with_app_cookies_of(&gateway.browser(), &alice);
    restarted.post_form("/login", &[("username", "bob"), ("password", "demo")]).expect(302);
    assert_eq!(believed(&mut restarted), "19");
});

#[test]
fn a_cookie_from_before_the_roll_out_is_as_good_as_none() {
    let gateway = by_json(Store::Embedded);
    let mut naked = Browser::new(flask_login().address());
    naked.post_json("/api/login", &json!({"username": "alice", "password": "demo", "remember": true})).expect(200);
    let mut bob = gateway.browser();
    log_in(&mut bob, "bob");
    assert_eq!(believed(&mut with_app_cookies_of(&bob, &naked)), "");
    assert_eq!(believed(&mut with_app_cookies_of(&gateway.browser(), &naked)), "");
}

on_both_stores!(the_backend_gets_what_it_set_and_the_browser_never_sees_it, |store| {
    let backend = echo();
    let gateway = sealed(gateway(store).with_backend(&backend)).start();
    let line = "session=plain; Path=/; SameSite=Lax; Secure";
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", line), ("Set-Cookie", "theme=dark; Path=/")], "")]);
    let mut browser = gateway.logged_in("42", "7");
    let set = browser.get("/set").expect(200);
    let cookie = set.set_cookie("session").expect("it is set");
    assert!(!cookie.value.contains("plain"));
    for (attribute, value) in [("path", "/"), ("samesite", "Lax"), ("secure", ""), ("httponly", "")] {
        assert_eq!(cookie.attribute(attribute), Some(value));
    }
    assert_eq!(set.set_cookie("theme").expect("it is set").attribute("httponly"), None, "others are left alone");
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=plain; theme=dark"));
    let mut elsewhere = browser.clone();
    let sealed = browser.cookie("session").expect("kept").to_owned();
    elsewhere.set_cookie("remember_token", &sealed);
    elsewhere.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=plain; theme=dark"), "under another name it is nothing");
    for (imitation, value) in [
        ("Session", &*sealed),
        ("\"session\"", "stolen"),
        ("a=1 session", "stolen"),
        ("a=1,session", "stolen"),
        ("=session", "stolen"),
        ("session ", "stolen"),
        ("%73ession", "stolen"),
        ("\"\\163ession\"", "stolen"),
    ] {
        let mut other = browser.clone();
        other.set_cookie(imitation, value);
        other.get("/x").expect(200);
        assert_eq!(backend.last().header("cookie"), Some("session=plain; theme=dark"), "{imitation}");
    }
    let mut doubled = browser.request("GET", "/x").header("Cookie", "session=stolen").send().expect(200);
    assert_eq!(doubled.at("/method"), "GET");
    assert_eq!(backend.last().header("cookie"), Some("session=plain; theme=dark"), "on a line of its own");
    doubled = browser.request("GET", "/x").header("Cookie", &format!("session={sealed}")).send().expect(200);
    assert_eq!(doubled.at("/method"), "GET");
    assert_eq!(backend.last().header("cookie"), Some("session=plain; session=plain; theme=dark"), "both are its own");
});

on_both_stores!(it_goes_out_sealed_on_whatever_answer_sets_it, |store| {
    let backend = echo();
    let gateway = sealed(gateway(store).with_backend(&backend))
        .settings("[[events]]\nmatch = \"POST /password\"\naction = \"revoke-other-sessions\"")
        .start();
    let line = [("Set-Cookie", "session=plain")];
    for (path, status) in [
        ("/x", "200 OK"),
        ("/public/x", "200 OK"),
        ("/optional/x", "200 OK"),
        ("/not-modified", "304 Not Modified"),
        ("/forbidden", "403 Forbidden"),
        ("/broken", "500 Oops"),
        ("/moved", "302 Found"),
        ("/password", "200 OK"),
        ("/password", "400 Bad"),
        ("/api/logout", "200 OK"),
        ("/api/login", "401 No"),
    ] {
        let step = if status.starts_with("304") {
            send(format!("HTTP/1.1 {status}\r\nSet-Cookie: session=plain\r\n\r\n"))
        } else {
            answer(status, &line, "{}")
        };
        backend.on(path, [step]);
        let method = if ["/password", "/api/logout", "/api/login"].contains(&path) { "POST" } else { "GET" };
        for mut browser in [gateway.browser(), logged_in(&gateway, &backend)] {
            let response = browser.request(method, path).send();
            if response.status == 401 && path != "/api/login" {
                continue;
            }
            let set = response.headers.all("set-cookie").into_iter().filter(|line| line.starts_with("session="));
            let set: Vec<&str> = set.collect();
            assert!(set.len() == 1 && !set[0].contains("plain"), "{path} {status}: {set:?}");
        }
    }
    let browser = logged_in(&gateway, &backend);
    backend.on_head("/socket", [send(SWITCH.replace("\r\n\r\n", "\r\nSet-Cookie: session=plain\r\n\r\n"))]);
    let (response, _tab) = gateway.ask(&browser, "/socket", &[]);
    let cookie = response.set_cookie("session").unwrap_or_else(|| panic!("{response:?}"));
    assert!(response.status == 101 && cookie.value != "plain");
});

/// Logs in while the login path is scripted.
fn logged_in(gateway: &Gateway, backend: &Echo) -> Browser {
    let answered = identity("42", "7").to_string();
    backend.on_call("/api/login", move |seen| {
        if seen.body.is_empty() {
            return vec![answer("401 No", &[("Set-Cookie", "session=plain")], "{}")];
        }
        vec![answer("200 OK", &[("Content-Type", "application/json")], &answered)]
    });
    let mut browser = gateway.browser();
    browser.post_json("/api/login", &json!({})).expect(200);
    browser
}

on_both_stores!(a_login_and_a_switch_of_tenants_take_along_what_the_app_had_set_before, |store| {
    let backend = echo();
    let gateway = sealed(gateway(store).with_backend(&backend))
        .settings("[[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]")
        .start();
    backend.on("/public/set", [answer("200 OK", &[("Set-Cookie", "session=before; Path=/deep")], "")]);
    let mut browser = gateway.browser();
    browser.get("/public/set").expect(200);
    let before = browser.cookie("session").expect("kept").to_owned();
    let login = browser.log_in_with(&identity(42, 7)).expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=before"), "it opens before a login");
    let cookie = login.set_cookie("session").expect("sealed anew");
    assert_ne!(cookie.value, before);
    assert_eq!((cookie.attribute("path"), cookie.attribute("httponly")), (Some("/"), Some("")));
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=before"));
    let mut late = browser.clone();
    late.set_cookie("session", &before);
    late.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), None, "what was set for nobody is not the session's");

    let orders = [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77"), ("Set-Cookie", "remember_token=r")];
    backend.on("/switch", [answer("200 OK", &orders, "{}")]);
    let old = browser.clone();
    browser.post("/switch").expect(200);
    browser.get("/x").expect(200);
    let seen = backend.last();
    assert_eq!(seen.identity(), (Some("77"), Some("7")));
    assert_eq!(seen.header("cookie"), Some("remember_token=r; session=before"));
    browser.set_cookie("session", old.cookie("session").expect("kept"));
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("remember_token=r"), "the old session's is not the new one's");

    // What the answer sets by itself is not set twice.
    backend.on("/api/login", [answer("200 OK", &[("Set-Cookie", "session=after")], identity(42, 7).to_string())]);
    let mut again = gateway.browser();
    again.get("/public/set").expect(200);
    again.post_json("/api/login", &json!({})).expect(200);
    again.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=after"));
});

#[test]
fn a_session_that_is_over_opens_nothing_on_a_public_route_either() {
    let backend = echo();
    let gateway = sealed(gateway(Store::Embedded).with_backend(&backend)).start();
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", "session=mine")], "")]);
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/set").expect(200);
    browser.get("/public/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=mine"), "while it lives");
    backend.last().assert_anonymous();
    let mut copy = browser.clone();
    browser.post("/api/logout").expect(200);
    copy.get("/public/x").expect(200);
    assert_eq!(backend.last().header("cookie"), None);
}

#[test]
fn while_the_store_cannot_say_the_apps_cookies_go_neither_in_nor_out_of_a_public_route() {
    let (backend, mut redis) = (echo(), RedisServer::start());
    let gateway = sealed(gateway(Store::on(&redis)).with_backend(&backend)).set("store.cache_entries", "off").start();
    let mut browser = gateway.logged_in("42", "7");
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", "session=mine")], "")]);
    browser.get("/set").expect(200);
    redis.kill();
    backend.on("/public/set", [answer("200 OK", &[("Set-Cookie", "session=nobodys"), ("Set-Cookie", "a=1")], "")]);
    let response = browser.get("/public/set").expect(200);
    assert_eq!(backend.last().header("cookie"), None);
    assert_eq!(response.headers.all("set-cookie"), ["a=1"], "what the browser has stays as good as it was");
    assert!(!gateway.audit().iter().any(|event| event["type"] == "identity.spoofed"), "and nobody is blamed");
}

#[test]
fn a_cookie_that_no_browser_would_keep_is_a_bad_answer_and_makes_no_session() {
    let backend = echo();
    let gateway = sealed(gateway(Store::Embedded).with_backend(&backend)).start();
    let mut browser = gateway.logged_in("42", "7");
    let long = format!("session={}", "x".repeat(4000));
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", &*long)], "secret")]);
    browser.get("/set").expect_refusal(502, "bad_answer");
    gateway.wait_log(&["the cookie session is", "browsers keep 4096"]);
    backend.on("/api/login", [answer("200 OK", &[("Set-Cookie", &*long)], identity(42, 7).to_string())]);
    let created = || gateway.audit().iter().filter(|event| event["type"] == "session.created").count();
    let before = created();
    let mut other = gateway.browser();
    other.post_json("/api/login", &json!({})).expect_refusal(502, "bad_answer");
    assert!(!other.has_session_cookie());
    assert_eq!(created(), before);
    backend.on("/api/logout", [answer("200 OK", &[("Set-Cookie", &*long)], "")]);
    browser.post("/api/logout").expect(200);
    assert!(!browser.has_session_cookie(), "nobody is kept from leaving, and what was too long is not set");
    assert!(browser.cookie("session").is_none());
}

#[test]
fn a_key_is_changed_without_logging_anybody_out() {
    let backend = echo();
    let mut gateway = sealed(gateway(Store::Embedded).with_backend(&backend)).start();
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", "session=mine")], "")]);
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/set").expect(200);
    std::fs::write(gateway.file("old.key"), KEY).expect("writes");
    gateway.change("secrets.previous_files", vec!["old.key"]);
    gateway.restart_with("secrets.key", NEXT_KEY);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=mine"));
    browser.get("/set").expect(200);
    gateway.restart_with("secrets.previous_files", Vec::<String>::new());
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=mine"), "it was sealed with the new one since");
}

#[test]
fn a_name_that_is_sealed_from_now_on_is_sealed_after_a_reload() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("secrets.key", KEY).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.set_cookie("session", "plain");
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("session=plain"));
    gateway.reload_with("identity.seal_cookies", vec!["session"]);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), None);
}

#[test]
fn production_wants_a_key_and_development_makes_one() {
    let builder = |mode: &str| {
        let builder = gateway(Store::Embedded).with_backend(&echo()).set("identity.seal_cookies", vec!["session"]);
        builder.set("server.mode", mode).set("server.public_url", "https://app.example.com")
    };
    let (status, said) = builder("production").refused();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("identity.seal_cookies") && said.contains("session-gateway keygen"), "{said}");
    let (_, said) = builder("production").set("secrets.key", "change-me").refused();
    assert!(said.contains("secrets.key") && said.contains("session-gateway keygen"), "{said}");
    let warned = builder("development").check(&[]);
    let said = String::from_utf8_lossy(&warned.stderr);
    assert!(warned.status.success() && said.contains("forgets when it stops"), "{said}");
    let cleared = builder("production").set("secrets.key", KEY).set("logout.clear_cookies", vec!["session", "other"]);
    let said = cleared.check(&["--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let warnings = said["warnings"].to_string();
    assert!(warnings.contains("clear_cookies[1]") && !warnings.contains("clear_cookies[0]"), "{warnings}");
}

#[test]
fn nobody_is_named_by_a_session_cookie_of_the_gateway_in_the_list() {
    let builder = gateway(Store::Embedded).with_backend(&echo()).set("secrets.key", KEY);
    let (status, said) = builder.set("identity.seal_cookies", vec![SESSION_COOKIE]).refused();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("is the gateway's own cookie"), "{said}");
}

on_both_stores!(what_the_app_sets_while_its_session_ends_is_of_no_use_to_anyone, |store| {
    let backend = echo();
    let gateway = sealed(gateway(store).with_backend(&backend))
        .settings("[[events]]\nmatch = \"POST /password\"\naction = \"revoke-user\"")
        .start();
    // As Flask does with a permanent session: with each answer, a refused logout's included.
    let line = [("Set-Cookie", "session=alices; Path=/; Max-Age=2678400; SameSite=Lax")];
    backend.on("/set", [answer("200 OK", &line, "{}")]);
    for (method, path, status) in [
        ("POST", "/api/logout", "200 OK"),
        ("POST", "/api/logout", "400 Bad"),
        ("PUT", "/api/logout", "405 No"),
        ("POST", "/password", "200 OK"),
    ] {
        let mut browser = gateway.logged_in("42", "7");
        browser.get("/set").expect(200);
        assert!(browser.cookie("session").is_some());
        backend.on(path, [answer(status, &line, "{}")]);
        let last = browser.request(method, path).send();
        let set = last.set_cookie("session").unwrap_or_else(|| panic!("{path}: {last:?}"));
        assert_eq!(
            (&*set.value, set.attribute("max-age"), set.attribute("path")),
            ("", Some("0"), Some("/")),
            "{path}"
        );
        assert!(browser.cookie("session").is_none(), "{method} {path} {status}: nothing is left");
    }
});

on_both_stores!(who_logs_in_takes_over_no_cookie_that_was_sealed_for_somebody_else, |store| {
    let backend = echo();
    let gateway = sealed(gateway(store).with_backend(&backend)).start();
    backend.on("/set", [answer("200 OK", &[("Set-Cookie", "remember_token=alices; Path=/")], "")]);
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/set").expect(200);
    browser.log_in_with(&identity(42, 7)).expect(200);
    browser.get("/x").expect(200);
    assert_eq!(backend.last().header("cookie"), Some("remember_token=alices"), "she logged in once more");
    for (tenant, user) in [(42, 19), (77, 7)] {
        let mut browser = gateway.logged_in("42", "7");
        browser.get("/set").expect(200);
        let login = browser.log_in_with(&identity(tenant, user)).expect(200);
        let lines = login.headers.all("Set-Cookie");
        for path in ["/", "/api", "/api/", "/api/login"] {
            let gone = format!("remember_token=; Path={path}; Max-Age=0");
            assert!(lines.iter().any(|line| line.starts_with(&gone)), "{path} {lines:?}");
        }
        browser.get("/x").expect(200);
        assert_eq!(backend.last().header("cookie"), None, "{tenant} {user}");
    }
});

on_both_stores!(what_the_app_had_set_for_a_path_of_its_own_is_not_left_beside_what_is_sealed_anew, |store| {
    let backend = echo();
    backend.on("/app/start", [answer("200 OK", &[("Set-Cookie", "session=basket; Path=/app")], "{}")]);
    backend.on("/app/login", [answer_json(&identity("42", "7"))]);
    let gateway = sealed(gateway(store).with_backend(&backend))
        .set("login.path", "/app/login")
        .settings("[[routes]]\nmatch = [\"/app/start\"]\nauth = \"optional\"")
        .start();
    let spoofed = || gateway.audit().iter().any(|event| event["type"] == "identity.spoofed");
    let mut browser = gateway.browser();
    browser.get("/app/start").expect(200);
    let before = browser.cookie("session").expect("it was set").to_owned();
    browser.post_json("/app/login", &json!({})).expect(200);
    let at_root = browser.cookie("session").expect("it was sealed anew").to_owned();
    assert_ne!(before, at_root);
    // A browser sends the one for the closer path first: it is nobody's, and no attack.
    let both = format!("Cookie: {SESSION_COOKIE}={}; session={before}; session={at_root}", browser.token());
    gateway.get_with_lines("/app/x", &[&both]).expect(200);
    assert_eq!((backend.last().header("cookie"), spoofed()), (Some("session=basket"), false));

    // What was sealed for the session before is somebody's, and taken away from wherever it can have been.
    let again = browser.post_json("/app/login", &json!({})).expect(200);
    let lines = again.headers.all("Set-Cookie");
    let of_session: Vec<&str> = lines.into_iter().filter(|line| line.starts_with("session=")).collect();
    let (anew, expired) = of_session.split_last().expect("a line");
    assert!(anew.contains("Path=/") && !anew.contains("Max-Age=0"), "{anew}");
    for (line, path) in expired.iter().zip(["/app", "/app/", "/app/login"]) {
        assert!(line.starts_with(&format!("session=; Path={path}; Max-Age=0")), "{line}");
    }
    assert_eq!(expired.len(), 3, "{expired:?}");
    browser.get("/app/x").expect(200);
    assert_eq!((backend.last().header("cookie"), spoofed()), (Some("session=basket"), false));
});
