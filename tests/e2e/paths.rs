//! What a request may look like, and what path the backend gets (docs/behaviour.md, "Towards the backend").

use std::time::Duration;

use crate::support::{Store, echo, gateway, let_pass};

#[test]
fn the_backend_gets_the_normalised_path_and_the_query_byte_for_byte() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (sent, told) in [
        ("/public/a", "/public/a"),
        ("/p%75blic/%61%2D%2E%5F%7E", "/public/a-._~"),
        ("//public///a", "/public/a"),
        ("/public/a/", "/public/a/"),
        ("/public/a%20b%3F", "/public/a%20b%3F"),
        ("/public/%C3%A9", "/public/%C3%A9"),
        ("/public/a?x=%2e%2e/../&&;=", "/public/a?x=%2e%2e/../&&;="),
        ("/public/a?", "/public/a?"),
        ("/public/a;v=1", "/public/a;v=1"),
        ("/public/...", "/public/..."),
        ("/public/.hidden", "/public/.hidden"),
    ] {
        gateway.get_with_lines(sent, &[]).expect(200);
        assert_eq!(backend.last().target, told, "{sent}");
    }
}

#[test]
fn a_path_that_two_servers_could_read_differently_is_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for path in [
        "/public%2fadmin",
        "/public%2Fadmin",
        "/public%5cadmin",
        "/public\\admin",
        "/public/../admin",
        "/public/./admin",
        "/public/..",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/%2e%2e;/admin",
        "/public/.;/admin",
        "/public/%00",
        "/public/%0a",
        "/public/a%0d%0aX:1",
        "/public/%7f",
        "/public/%ff",
        "/public/%c0%af",
        "/public/%",
        "/public/%4",
        "/public/%zz",
    ] {
        gateway.get_with_lines(path, &[]).expect_refusal(400, "bad_path");
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn no_spelling_of_a_protected_path_gets_past_its_rule() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let host = gateway.address();
    for target in [
        "/%61dmin/secret".to_owned(),
        "//admin/secret".to_owned(),
        "/admin%2fsecret".to_owned(),
        "/public/../admin/secret".to_owned(),
        "/admin/secret%0a".to_owned(),
        format!("http://{host}/admin/secret"),
        "admin/secret".to_owned(),
        "foo:/admin/secret".to_owned(),
        "/admin/secret#/public/x".to_owned(),
        "http://evil.example/admin/secret".to_owned(),
    ] {
        let response = gateway.exchange(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(matches!(response.status, 400 | 401 | 421), "{target}: {}", response.status);
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn a_role_is_needed_for_every_spelling_of_an_admin_path() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut member = gateway.logged_in_as("42", "8", "member");
    let asked = backend.seen().len();
    for path in ["/api/admin/x", "/api/%61dmin/x", "//api//admin/x", "/api/admin/x/"] {
        member.get(path).expect_refusal(403, "forbidden_role");
    }
    assert_eq!(backend.seen().len(), asked);
    gateway.logged_in_as("42", "7", "admin").get("/api/admin/x").expect(200);
    gateway.browser().get("/api/admin/x").expect_refusal(401, "session_required");
}

#[test]
fn the_most_specific_route_wins_and_required_is_the_default() {
    let backend = echo();
    let routes = r#"
        [[routes]]
        match = ["/api/*"]
        auth = "public"
        [[routes]]
        match = ["/api/{thing}/secret"]
        auth = "required"
        [[routes]]
        match = ["/api/open/secret"]
        auth = "public"
        [[routes]]
        match = ["/api/items/{id}"]
        methods = ["GET"]
        auth = "public"
    "#;
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(routes).start();
    let mut stranger = gateway.browser();
    for (method, path, status) in [
        ("GET", "/api/anything/at/all", 200),
        ("GET", "/api/x/secret", 401),
        ("GET", "/api/x/secret/", 401),
        ("GET", "/api/open/secret", 200),
        ("GET", "/api/items/5", 200),
        ("HEAD", "/api/items/5", 200),
        ("POST", "/api/items/5", 401),
        ("DELETE", "/api/items/5", 401),
        ("GET", "/api", 401),
        ("GET", "/static", 401),
        ("GET", "/static/", 200),
        ("GET", "/static/deep/er", 200),
        ("GET", "/unheard-of", 401),
    ] {
        assert_eq!(stranger.request(method, path).send().status, status, "{method} {path}");
    }
}

#[test]
fn a_foreign_host_is_misdirected_except_for_health() {
    let backend = echo();
    let gateway =
        gateway(Store::Embedded).with_backend(&backend).set("server.hosts", vec!["127.0.0.1", "*.example.com"]).start();
    let ask = |host: &str, path: &str| gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["127.0.0.1", "127.0.0.1:81", "a.example.com", "A.EXAMPLE.COM:8443", "a.b.example.com"] {
        let status = ask(host, "/public/x").status;
        assert!(status == 200 || (host.starts_with("a.b") && status == 421), "{host}: {status}");
    }
    let asked = backend.seen().len();
    for host in ["evil.example", "example.com.evil.example", "xexample.com", "127.0.0.1.evil.example", "localhost"] {
        ask(host, "/public/x").expect_refusal(421, "host_not_allowed");
        ask(host, "/healthz").expect(200);
        ask(host, "/readyz").expect(200);
    }
    assert_eq!(backend.seen().len(), asked);
}

#[test]
fn no_host_two_hosts_and_a_bad_host_are_bad_requests() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for lines in [
        "",
        "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n",
        "Host: 127.0.0.1\r\nHost: evil.example\r\n",
        "Host: \r\n",
        "Host: 127.0.0.1 evil\r\n",
        "Host: a@127.0.0.1\r\n",
        "Host: 127.0.0.1/x\r\n",
    ] {
        let response = gateway.exchange(format!("GET /public/x HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"));
        assert!(matches!(response.status, 400 | 421), "{lines:?}: {}", response.status);
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn an_ambiguous_message_never_reaches_the_backend_as_two() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let host = format!("Host: {}", gateway.address());
    for lines in [
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: +3\r\n\r\nabc",
        "Content-Length: 3,4\r\n\r\nabcd",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\nabc",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X-A: 1\r\n folded\r\n\r\n",
        "X A: 1\r\n\r\n",
        "X-A\u{0}: 1\r\n\r\n",
        ": novalue\r\n\r\n",
        "no colon\r\n\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!(
            "POST /public/x HTTP/1.1\r\n{host}\r\n{lines}GET /public/smuggled HTTP/1.1\r\n{host}\r\n\r\n"
        ));
        // hyper drops a Content-Length beside chunked and reads one body; all else is refused.
        let status = wire.receive().status;
        assert!(
            status == 400 || status == 501 || (status == 200 && lines.starts_with("Transfer-Encoding: chunked\r\n")),
            "{lines:?}: {status}"
        );
    }
    for seen in backend.seen() {
        let framings = seen.headers.all("content-length").len() + seen.headers.all("transfer-encoding").len();
        assert!(framings <= 1, "{:?}", seen.headers);
    }
}

#[test]
fn header_names_that_old_servers_read_as_others_do_not_reach_them() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for line in [
        "X-Customer-ID\u{a0}: 1",
        "X-Customer-ID\u{b}: 1",
        "X-Cu\u{df}tomer: 1",
        "X-Customer-ID : 1",
        "\tX-Customer-ID: 1",
    ] {
        let response = gateway.get_with_lines("/public/x", &[line]);
        assert!(matches!(response.status, 400 | 200), "{line:?}");
        if response.status == 200 {
            backend.last().assert_anonymous();
        }
    }
}

#[test]
fn too_many_or_too_long_headers_are_431_and_counted() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_header", "8KiB").start();
    let many: Vec<_> = (0..120).map(|n| format!("X-{n}: v")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(gateway.get_with_lines("/public/x", &many).status, 431);
    assert_eq!(gateway.get_with_lines("/public/x", &[&format!("X: {}", "v".repeat(20_000))]).status, 431);
    assert!(backend.seen().is_empty());
    assert!(gateway.metric("requests_total", "431") >= 2.0);
}

#[test]
fn as_many_headers_pass_as_are_configured_and_not_one_more() {
    let backend = echo();
    let lines: Vec<_> = (0..200).map(|n| format!("X-{n}: v")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    // Fewer than the library takes by itself, as many, and more.
    for most in [50_u8, 100, 150] {
        let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_headers", most).start();
        // Host is one of them.
        let most = usize::from(most);
        assert_eq!(gateway.get_with_lines("/public/x", &lines[..most - 1]).status, 200, "{most}");
        assert_eq!(gateway.get_with_lines("/public/x", &lines[..most]).status, 431, "{most}");
    }
}

#[test]
fn a_client_that_never_finishes_its_headers_is_let_go() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.header_timeout", "1s").start();
    let mut slow = gateway.wire();
    slow.send("GET /public/x HTTP/1.1\r\nHo");
    slow.patience(Duration::from_secs(5));
    let answer = slow.try_receive("GET");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408 || answer.status == 400));
    // The idle wait between requests is another limit: this one is left alone.
    let mut idle = gateway.wire();
    let request = format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    idle.send(&request).receive().expect(200);
    let_pass(Duration::from_millis(1500));
    idle.send(&request).receive().expect(200);
}

#[test]
fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.client_keepalive", "1s").start();
    let mut idle = gateway.wire();
    idle.send(format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address())).receive().expect(200);
    idle.patience(Duration::from_secs(5));
    assert!(idle.is_closed());
}

#[test]
fn connections_of_one_address_are_bounded() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_connections_per_address", 5).start();
    let request = format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    // The one that asked whether it is ready counts as well, until the gateway has seen its end.
    crate::support::wait_until("no connection", || (gateway.metric("connections", "") == 0.0).then_some(()));
    let mut held: Vec<_> = (0..5).map(|_| gateway.wire()).collect();
    held.iter_mut().for_each(|wire| drop(wire.send(&request).receive().expect(200)));
    let mut sixth = gateway.wire();
    let refused = sixth.try_send(&request).and_then(|()| sixth.try_receive("GET"));
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status == 503));
    drop(held);
    crate::support::wait_until("room for another", || {
        let mut wire = gateway.wire();
        wire.try_send(&request).ok()?;
        wire.try_receive("GET").ok().filter(|response| response.status == 200)
    });
}

#[test]
fn a_preflight_passes_to_the_backend_without_identity_and_calls_no_endpoint() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut ask = |path: &str| {
        let request = browser.request("OPTIONS", path).header("Origin", "https://a.example");
        let request = request.header("Access-Control-Request-Method", "POST").header("Sec-Fetch-Site", "cross-site");
        let answer = request.send();
        assert!(!answer.headers.has("set-cookie") && !answer.headers.has("clear-site-data"), "{path}");
        answer
    };
    // What the gateway answers by itself, it also says by itself who may ask for.
    let before = backend.seen().len();
    for path in ["/api/auth/revoke-all-tokens", "/api/session/status"] {
        assert!(!ask(path).expect(204).headers.has("access-control-allow-origin"), "{path}");
    }
    assert_eq!(backend.seen().len(), before);
    for path in ["/x", "/api/login", "/api/logout"] {
        ask(path).expect(200);
        assert_eq!(backend.last().path(), path);
        backend.last().assert_anonymous();
    }
    browser.get("/x").expect(200);
}

#[test]
fn a_broken_chunked_body_is_a_bad_request_whenever_it_breaks() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let head = format!("POST /public/x HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", gateway.address());
    for body in ["zz\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n", "3\r\nabcX\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nX A: b\r\n\r\n"]
    {
        for pause in [false, true] {
            let mut wire = gateway.wire();
            if pause {
                wire.send(&head);
                let_pass(Duration::from_millis(50));
                wire.send(body);
            } else {
                wire.send(format!("{head}{body}"));
            }
            wire.receive().expect_refusal(400, "bad_request");
            assert!(wire.is_closed(), "{body:?}");
        }
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn of_pipelined_requests_the_good_one_is_answered_and_the_ambiguous_one_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let host = gateway.address();
    let good = format!("GET /public/good HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let bad =
        format!("GET /public/bad HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for together in [true, false] {
        let mut wire = gateway.wire();
        if together {
            wire.send(format!("{good}{bad}0\r\n\r\n{good}"));
        } else {
            wire.send(&good).send(&bad[..30]);
            let_pass(Duration::from_millis(20));
            wire.send(format!("{}0\r\n\r\n{good}", &bad[30..]));
        }
        wire.receive().expect(200);
        assert_eq!(wire.receive().status, 400);
        assert!(wire.is_closed(), "nothing after an ambiguous head is answered");
    }
    assert!(backend.seen_at("/public/bad").is_empty());
    assert_eq!(backend.seen_at("/public/good").len(), 2);
}

/// Public and lenient beside shut and lenient, and beside what is strict.
const LENIENT: &str = r#"
    [[routes]]
    match = ["/files/*", "/files/{name}", "/files/private/open"]
    auth = "public"
    path = "lenient"
    [[routes]]
    match = ["/files/private/*", "/files/private"]
    path = "lenient"
    [[routes]]
    match = "/files/staff/*"
    path = "lenient"
    roles = ["staff"]
    [[routes]]
    match = "/files/strict/*"
    auth = "public"
    [[routes]]
    match = "/files/of/{tenant}/*"
    path = "lenient"
    [[events]]
    match = "POST /files/private/{_}/end"
    action = "revoke-user"
"#;

#[test]
fn on_a_lenient_route_object_keys_reach_the_backend_as_they_came() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(LENIENT).start();
    for path in [
        "/files/a%2Fb",
        "/files/a%2fb%2Fc?x=%2F//",
        "/files/@scope%2Fpackage/-/x.tgz",
        "/files/a%5Cb",
        "/files//a",
        "/files/a//b//",
        "/files/%E9t%E9",
        "/files/a%2F",
        "/files/%e2%82%ac%2F1",
    ] {
        gateway.get_with_lines(path, &[]).expect(200);
        assert_eq!(backend.last().target, path);
    }
    // Whatever else there is has its one normal form.
    gateway.get_with_lines("/files/%61%2F%7eb%20", &[]).expect(200);
    assert_eq!(backend.last().target, "/files/a%2F~b%20");
    // Elsewhere nothing has changed.
    gateway.get_with_lines("//public///a", &[]).expect(200);
    assert_eq!(backend.last().target, "/public/a");
    gateway.get_with_lines("/public/a%2Fb", &[]).expect_refusal(400, "bad_path");
}

#[test]
fn whichever_way_a_lenient_path_is_read_nobody_gets_where_they_may_not() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(LENIENT).start();
    let (anonymous, mut member) = (gateway.browser(), gateway.logged_in("42", "7"));
    let before = backend.seen().len();
    // One of the readings is shut: its route holds.
    for path in [
        "/files/private%2Fx",
        "/files%2Fprivate/x",
        "/files/private%5Cx",
        "/files//private/x",
        "/files/private//x",
        "//files/private/x",
        "/files/private//open",
        "/files/private/x%2F%2Fy",
        "/files/%70rivate%2Fx",
        "/files/private%2F",
        "/files/%2Fprivate%2Fx",
    ] {
        let refused = anonymous.clone().get(path);
        assert!(matches!(refused.status, 400 | 401), "{path}: {}", refused.status);
    }
    for path in ["/files/staff%2Fx", "/files//staff/x", "/files/staff%5Cx"] {
        let refused = member.get(path);
        assert!(matches!(refused.status, 400 | 403), "{path}: {}", refused.status);
    }
    // One of the readings is strict, an endpoint or an event, or no reading is harmless.
    for (method, path) in [
        ("GET", "/files/strict%2Fx"),
        ("GET", "/files%2Fa"),
        ("GET", "/api%2Fsession%2Fstatus"),
        ("POST", "/api%2Flogin"),
        ("POST", "/api%2Flogout"),
        ("POST", "/files/private%2Fx%2Fend"),
        ("GET", "/files/of/42/a%2Fb"),
        ("GET", "/files/of/77%2F42/a"),
        ("GET", "/files/a%2F..%2F..%2Fadmin"),
        ("GET", "/files/..%2Fadmin"),
        ("GET", "/files/%2e%2e%2Fadmin"),
        ("GET", "/files/..;a%2Fadmin"),
        ("GET", "/files//../admin"),
        ("GET", "/files/a%5C..%5Cadmin"),
        ("GET", "/files/%c0%ae%c0%ae%2Fadmin"),
        ("GET", "/files/a%2Fb%00"),
        ("GET", "/files/a%2Fb%0d%0a"),
        ("GET", "/files/%E9%85"),
    ] {
        let refused = member.request(method, path).send();
        assert_eq!(refused.status, 400, "{method} {path}: {}", refused.text());
    }
    assert_eq!(backend.seen().len(), before);
    // What may be had is had, with the identity that the shut reading asks for.
    member.get("/files/private%2Fx").expect(200);
    assert_eq!(
        (backend.last().target.as_str(), backend.last().identity()),
        ("/files/private%2Fx", (Some("42"), Some("7")))
    );
}
