//! What the people who run the gateway see: health, logs, metrics, audit, exit codes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::gateway::program;
use crate::support::{
    Gate, RedisServer, SWITCH, Step, Store, answer, echo, frame, gateway, poll, scratch, send, wait_until,
};

on_both_stores!(health_is_answered_on_both_ports_and_touches_nothing, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    for path in ["/healthz", "/readyz", "/startupz"] {
        gateway.browser().get(path).expect(200);
        gateway.admin_get(path).expect(200);
    }
    assert!(backend.seen().is_empty());
});

on_both_stores!(a_drain_lets_requests_in_flight_finish_and_ends_with_0, |store| {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "done")]);
    let mut gateway = gateway(store)
        .with_backend(&backend)
        .set("server.drain_delay", "1s")
        .set("server.drain_timeout", "10s")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    let mut other = browser.clone();
    let in_flight = std::thread::spawn(move || browser.get("/slow"));
    backend.wait_for("/slow");
    gateway.terminate();
    gateway.wait_unready();
    other.get("/x").expect(200);
    let address = gateway.address();
    wait_until("a closed door", || std::net::TcpStream::connect(address).err());
    assert!(gateway.process().ended().is_none(), "it waits for the request in flight");
    gate.open();
    assert_eq!(in_flight.join().expect("a whole answer").expect(200).text(), "done");
    let status = gateway.process().wait(Duration::from_secs(10)).expect("it ends");
    assert_eq!(status.code(), Some(0));
});

#[test]
fn while_it_drains_each_answer_is_the_last_of_its_connection_and_sockets_still_open() {
    let backend = echo();
    backend.on_head("/socket", [send(SWITCH), Step::Raw { echo: true }]);
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).set("server.drain_delay", "1m").start();
    let browser = gateway.logged_in("42", "7");
    let request = format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    let mut wire = gateway.wire();
    assert!(!wire.send(&request).receive().expect(200).headers.has("connection"));
    gateway.terminate();
    gateway.wait_unready();
    assert_eq!(wire.send(&request).receive().expect(200).header("connection"), Some("close"));
    assert!(wire.is_closed());
    gateway.open(&browser, "/socket").send(frame("hello")).expect(frame("hello"));
    gateway.process().kill();
}

#[test]
fn a_drain_ends_in_time_even_with_a_request_that_never_does() {
    let backend = echo();
    backend.on("/public/hang", [Step::Hang]);
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).set("server.drain_timeout", "1s").start();
    gateway.browser().request("GET", "/public/hang").send_and_hang_up();
    let mut wire = gateway.wire();
    wire.send(format!("GET /public/hang HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    backend.wait_for("/public/hang");
    gateway.terminate();
    assert!(gateway.process().wait(Duration::from_secs(5)).is_some());
}

on_both_stores!(each_request_is_one_log_line_that_never_holds_the_token, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).set("telemetry.level", "debug").start();
    let mut browser = gateway.logged_in("tenant-42", "user-7");
    browser.get("/orders/1?password=hunter2").expect(200);
    let seen = backend.last();
    let (request, session) = (seen.header("x-request-id").expect("an id"), seen.header("x-session-id").expect("an id"));
    let line = gateway.wait_log(&[request, "tenant-42"]);
    let text = line.to_string();
    for part in ["user-7", session, "200", "GET"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let token = browser.token();
    browser.post("/api/logout").expect(200);
    gateway.wait_log(&["/api/logout"]);
    let lines = gateway.log();
    let about = lines.iter().filter(|line| line.contains(request) && line.contains("tenant-42")).count();
    assert_eq!(about, 1, "one line a request");
    assert!(!lines.iter().any(|line| line.contains(&token)), "a token was logged");
    assert!(!gateway.audit().iter().any(|event| event.to_string().contains(&token)), "a token was audited");
});

#[test]
fn a_request_id_is_made_here_and_is_new_each_time() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut ids: Vec<_> = (0..5)
        .map(|_| {
            gateway.get_with_lines("/public/x", &[]).expect(200);
            backend.last().header("x-request-id").expect("an id").to_owned()
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn metrics_count_what_happened() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.logged_in("42", "7").get("/x").expect(200);
    gateway.browser().get("/x").expect(401);
    let mut spoofer = gateway.logged_in("42", "8");
    spoofer.request("GET", "/x").header("X-Customer-ID", "77").send().expect(200);
    wait_until("the counts", || (gateway.metric("requests_total", "") >= 5.0).then_some(()));
    assert_eq!(gateway.metric("sessions_created_total", ""), 2.0);
    assert_eq!(gateway.metric("logins_total", ""), 2.0);
    assert_eq!(gateway.metric("sessions_rejected_total", "session_required"), 1.0);
    assert_eq!(gateway.metric("spoofed_headers_total", ""), 1.0);
    assert!(gateway.metric("request_seconds_count", "") >= 5.0);
    assert!(gateway.metric("added_seconds_count", "") >= 1.0);
    let text = gateway.admin_get("/metrics").text();
    for name in ["store_up", "connections", "store_commands_total"] {
        assert!(text.contains(&format!("session_gateway_{name}")), "{name} in {text}");
    }
}

on_both_stores!(how_many_ends_are_kept_is_a_metric, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browsers = [1, 2, 3].map(|user| gateway.logged_in("42", &user.to_string()));
    browsers.iter_mut().take(2).for_each(|browser| drop(browser.post("/api/logout").expect(200)));
    // Counted every ten seconds.
    let counted = poll(Duration::from_secs(30), || (gateway.metric("ended_sessions", "") == 2.0).then_some(()));
    assert!(counted.is_some(), "{}", gateway.admin_get("/metrics").text());
});

#[test]
fn a_store_that_refuses_our_commands_is_not_ready_and_a_check_names_the_rights_that_are_missing() {
    let backend = echo();
    let redis = RedisServer::start();
    let rights = "+time +get +getdel +set +exists +unlink +pexpireat +pexpiretime +zadd +zrem +zrange +zscan +zcard +zscore \
                  +hget +hset +hlen +hdel +hgetall +xadd +xrange +xrevrange +eval +client|tracking +info";
    let allow = |but: &[&str]| {
        let rights = rights.split_whitespace().filter(|right| !but.contains(right));
        let base = ["ACL", "SETUSER", "gw", "reset", "on", ">pw", "~*"];
        redis.command(&base.into_iter().chain(rights).collect::<Vec<_>>());
    };
    allow(&[]);
    redis.command(&["CONFIG", "SET", "appendonly", "no"]);
    let url = redis.url().replace("redis://", "redis://gw:pw@");
    let start = || gateway(Store::on(&redis)).with_backend(&backend).set("store.redis", url.as_str());
    let checked = start().check(&["--connect"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("a session was made, read, used and ended"), "{said} {checked:?}");
    let warned = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(warned.contains("no append-only file"), "{warned}");
    assert!(redis.keys().iter().all(|key| !key.contains("t:{")), "it ended: {:?}", redis.keys());

    let mut gateway = start().start();
    allow(&["+zadd", "+pexpireat"]);
    gateway.wait_unready();
    assert_eq!(gateway.metric("store_up", ""), 0.0);
    let why = gateway.admin_get("/readyz").expect(503).text();
    assert!(why.contains("+pexpireat +zadd"), "{why}");
    let checked = start().check(&["--connect"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("the Redis user lacks rights: +pexpireat +zadd"), "{said}");

    // One that starts has no connection yet, and what a script lacks the server does not name.
    let starts = start().start_without_waiting();
    starts.wait_log(&["the session store is unavailable", "lacks rights: +pexpireat +zadd"]);
    redis.command(&["ACL", "SETUSER", "gw", "resetkeys", "~other:*"]);
    let said = String::from_utf8_lossy(&start().check(&["--connect"]).stderr).into_owned();
    assert!(said.contains("lacks rights: ~") && said.contains("* (docs/redis.md"), "{said}");

    allow(&["+xadd"]);
    gateway.wait_ready();
    let metrics = gateway.admin_get("/metrics").text();
    assert!(!metrics.contains("\nsession_gateway_ended_sessions{"), "nobody may count them, which is not to say none");
    wait_until("the word that only the audit log misses it", || {
        gateway.admin_get("/readyz").expect(200).text().contains("lacks rights: +xadd").then_some(())
    });
}

#[test]
fn a_login_that_fails_for_the_backend_or_the_store_is_counted_as_an_error() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let counted = |outcome: &str| gateway.metric("logins_total", outcome);
    let log_in = |wish: Value| gateway.browser().post_json("/api/login", &wish).status;
    assert_eq!(log_in(json!({"status": 401})), 401);
    assert_eq!(log_in(json!({"answer": {"mfa_required": true}})), 200);
    assert_eq!(counted("error"), 0.0);
    assert_eq!(log_in(json!({"status": 500})), 500);
    wait_until("the backend's error", || (counted("error") == 1.0).then_some(()));
    backend.on("/api/login", [Step::Close]);
    assert_eq!(log_in(json!({})), 502);
    wait_until("the backend's silence", || (counted("error") == 2.0).then_some(()));
    redis.kill();
    assert_eq!(log_in(json!({})), 503);
    wait_until("the store's outage", || (counted("error") == 3.0).then_some(()));
    assert_eq!((counted("failure"), counted("incomplete"), counted("success")), (1.0, 1.0, 0.0));
}

#[test]
fn metrics_are_not_on_the_traffic_port_and_unknown_paths_make_no_new_series() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.browser().get("/metrics").expect(401);
    let series =
        || gateway.admin_get("/metrics").text().lines().filter(|line| line.contains("requests_total{")).count();
    let before = series();
    for n in 0..50 {
        gateway.get_with_lines(&format!("/unheard-of/{n}"), &[]).expect(401);
    }
    assert!(series() <= before + 2, "a client must not grow the metrics");
}

on_both_stores!(audit_events_are_whole_lines_with_who_what_and_why, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7").with_header("User-Agent", "e2e/1");
    browser.post("/api/logout").expect(200);
    let ended = gateway.wait_audit("session.ended", |_| true);
    for (key, value) in
        [("tenant", "42"), ("user", "7"), ("reason", "logout"), ("address", "127.0.0.1"), ("user_agent", "e2e/1")]
    {
        assert_eq!(ended[key], value, "{ended}");
    }
    let created = gateway.wait_audit("session.created", |_| true);
    assert_eq!(created["session_id"], ended["session_id"]);
    for event in [&created, &ended] {
        for key in ["time", "outcome", "request_id"] {
            assert!(event[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {event}");
        }
    }
});

#[test]
fn the_audit_file_survives_a_rotation() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.logged_in("before", "7");
    gateway.wait_audit("session.created", |event| event["tenant"] == "before");
    std::fs::rename(gateway.file("audit.jsonl"), gateway.file("audit.jsonl.1")).expect("it can be moved");
    wait_until("an event in a new file", || {
        gateway.logged_in("after", "7");
        gateway.audit().into_iter().find(|event| event["tenant"] == "after")
    });
}

#[test]
fn a_second_gateway_on_the_same_embedded_file_says_so() {
    let backend = echo();
    let first = gateway(Store::Embedded).with_backend(&backend).start();
    let file = first.file("sessions.redb").display().to_string();
    let (status, said) = gateway(Store::Embedded).with_backend(&backend).set("store.embedded", file).refused();
    assert!(matches!(status.code(), Some(1 | 2)), "{status}");
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn check_says_fine_with_0() {
    let backend = echo();
    let output = gateway(Store::Embedded).with_backend(&backend).check(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn check_connect_asks_the_store() {
    let backend = echo();
    let mut redis = RedisServer::start();
    let store = Store::on(&redis);
    let output = gateway(store.clone()).with_backend(&backend).check(&["--connect"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    redis.kill();
    assert_eq!(gateway(store).with_backend(&backend).check(&["--connect"]).status.code(), Some(1));
}

#[test]
fn all_configuration_errors_are_told_at_once_each_with_its_place() {
    let directory = scratch();
    let text = [
        "[server]",
        "mode = \"development\"",
        "listen = \"nonsense\"",
        "public_url = \"http://localhost:8080\"",
        "[upstream]",
        "url = \"gopher://x\"",
        "[store]",
        "embedded = \"s.redb\"",
        "[session]",
        "idel = \"30m\"",
        "absolute = \"soon\"",
        "[login]",
        "path = \"/api/login\"",
        "tenant = [\"no-slash\"]",
        "",
    ]
    .join("\n");
    let file = directory.path().join("bad.toml");
    std::fs::write(&file, text).expect("it can be written");
    for command in ["check", "serve"] {
        let output = program(&directory).args([command, "--config"]).arg(&file).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for (line, key) in [
            (3, "server.listen"),
            (6, "upstream.url"),
            (10, "session.idel"),
            (11, "session.absolute"),
            (14, "login.tenant"),
        ] {
            assert!(said.contains(&format!("bad.toml:{line}: {key}")), "line {line}, {key}: {said}");
        }
        assert!(said.contains("did you mean") && said.contains("idle"), "{said}");
    }
}

#[test]
fn a_missing_file_a_bad_flag_and_an_unset_variable_are_exit_code_2() {
    let directory = scratch();
    let run = |arguments: &[&str]| program(&directory).args(arguments).output().expect("it runs");
    assert_eq!(run(&["serve", "--config", "nowhere.toml"]).status.code(), Some(2));
    assert_eq!(run(&["serve", "--nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    let backend = echo();
    let output = gateway(Store::Embedded).with_backend(&backend).set("upstream.url", "${E2E_NOT_SET}").check(&[]);
    assert_eq!(output.status.code(), Some(2));
    // Not by its name: somebody may have written the secret itself there.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("upstream.url: names an environment variable that is not set"), "{said}");
}

#[test]
fn keygen_prints_a_new_key_each_time() {
    let directory = scratch();
    let key = || {
        let output = program(&directory).arg("keygen").output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let (one, two) = (key(), key());
    assert!(one.len() >= 32 && one != two, "{one}");
}

#[test]
fn production_refuses_http_and_says_how_to_mend_it() {
    let backend = echo();
    let output = gateway(Store::Embedded).with_backend(&backend).set("server.mode", "production").check(&[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("server.public_url") && said.contains("https"), "{said}");
}

#[test]
fn in_production_the_cookie_has_the_host_prefix_and_is_secure() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.mode", "production")
        .set("server.public_url", "https://app.example.com")
        .set("server.hosts", vec!["app.example.com", "127.0.0.1"])
        .start();
    let mut browser = gateway.browser();
    let login = browser.log_in_with(&crate::support::logins::identity(42, 7)).expect(200);
    let cookie = login.set_cookie("__Host-session").expect("a session cookie");
    assert_eq!((cookie.attribute("secure"), cookie.attribute("path")), (Some(""), Some("/")));
    assert_eq!(cookie.attribute("domain"), None);
    browser.get("/x").expect(200);
    let token = browser.cookie("__Host-session").expect("kept").to_owned();
    for name in ["__host-session", "__HOST-Session"] {
        gateway.get_with_lines("/x", &[&format!("Cookie: {name}={token}")]).expect(401);
    }
}

#[test]
fn the_configuration_files_that_are_shipped_are_fine() {
    let directory = scratch();
    for file in ["minimal.toml", "gateway.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file);
        let output = program(&directory).args(["check", "--config"]).arg(&path).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_configuration_is_found_by_the_environment_and_serve_is_the_default() {
    let backend = echo();
    let running = gateway(Store::Embedded).with_backend(&backend).start();
    let text = std::fs::read_to_string(running.config()).expect("it is there");
    drop(running);
    let directory = scratch();
    let file = directory.path().join("elsewhere.toml");
    std::fs::write(&file, &text).expect("it can be written");
    let mut command = program(&directory);
    let mut process = crate::support::process::Process::spawn(command.env("SESSION_GATEWAY_CONFIG", &file));
    let config: toml::Table = text.parse().expect("TOML");
    let address = config["server"]["listen"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    process.wait_ready("the gateway", || crate::support::Wire::try_connect(address).is_ok());
}

#[test]
fn development_says_that_it_is_development() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    wait_until("the word", || gateway.log().into_iter().find(|line| line.contains("development")));
    for line in gateway.log() {
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn operators_are_reminded_of_routes_that_enforce_nothing_until_they_do() {
    let backend = echo();
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).set("identity.mode", "observe").start();
    wait_until("the warning", || gateway.admin_get("/readyz").text().contains("identity headers reach").then_some(()));
    assert_eq!(gateway.browser().get("/readyz").expect(200).text(), "ok\n", "reasons are for the admin port only");
    gateway.restart_with("identity.mode", "enforce");
    assert!(gateway.admin_get("/readyz").text().contains("\"warnings\":[]"));
}

#[test]
fn a_line_of_a_request_names_its_host_agent_protocol_and_trace_and_the_bytes_both_ways() {
    let backend = echo();
    backend.on("/public/x", [answer("200 OK", &[], "answer")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut browser = gateway.browser();
    let request = browser.request("POST", "/public/x").body(vec![b'x'; 70_000]);
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    request.header("User-Agent", "probe/1").header("Traceparent", &parent).send().expect(200);
    let line = gateway.wait_log(&["\"access\"", "\"/public/x\""]);
    for (key, value) in [
        ("host", json!(gateway.address().to_string())),
        ("user_agent", json!("probe/1")),
        ("protocol", json!("HTTP/1.1")),
        ("trace_id", json!(trace)),
        ("bytes_received", json!(70_000)),
        ("bytes_sent", json!(6)),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    // What the guide shows is what is written.
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let sample = guide.lines().find(|line| line.starts_with('{') && line.contains("\"access\"")).expect("a sample");
    let sample: Value = serde_json::from_str(sample).expect("JSON");
    let keys = |line: &Value| line.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&sample), keys(&line));
    assert_eq!(backend.last().header("traceparent"), Some(parent.as_str()));
    // What names no host of ours, and no trace, names none in the log either.
    gateway.get_with_lines("/public/y", &["Traceparent: x\u{e9}", "User-Agent: \u{e9}"]).expect(200);
    let line = gateway.wait_log(&["\"access\"", "\"/public/y\""]);
    assert_eq!((&line["trace_id"], &line["user_agent"]), (&Value::Null, &Value::Null));
}
