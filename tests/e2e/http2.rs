//! HTTP/2 over TLS: the same rules as over HTTP/1.1, and the bounds of its own.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::{Gate, Gateway, Step, Store, answer, curl, echo, flask, gateway, http2, send, wait_until};

pub(crate) fn over_tls() -> Builder {
    gateway(Store::Embedded).over_tls(&["localhost"])
}

/// Logs in at the echo backend over HTTP/2 and returns the cookie's pair.
pub(crate) fn log_in(gateway: &Gateway) -> String {
    let body = json!({"answer": identity("42", "7")}).to_string();
    let call = curl(gateway).with(&["--http2", "--data", &body]).header("Content-Type", "application/json");
    let (protocol, login) = call.send("/api/login");
    assert_eq!(protocol, "HTTP/2");
    let login = login.expect(200);
    login.header("set-cookie").expect("a session").split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_session_works_and_no_value_of_the_clients_reaches_the_backend() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let cookie = log_in(&gateway);
    for name in ["X-Customer-ID", "x_customer_id", "X.Customer.ID", "X-Session-ID", "X-Forwarded-For"] {
        let (protocol, response) = curl(&gateway)
            .with(&["--http2"])
            .header("Cookie", &cookie)
            .header(name, "claimed-by-client")
            .send("/api/x?a=%41");
        assert_eq!(protocol, "HTTP/2");
        response.expect(200);
        let seen = backend.last();
        assert_eq!((seen.identity(), seen.target.as_str()), ((Some("42"), Some("7")), "/api/x?a=%41"), "{name}");
        assert_eq!(seen.headers.all("host"), [format!("localhost:{}", gateway.address().port())]);
        assert_eq!(seen.headers.all("x-forwarded-proto"), ["https"]);
        assert!(!String::from_utf8_lossy(&seen.raw).contains("claimed-by-client"), "{name}");
    }
    curl(&gateway).with(&["--http2"]).get("/api/x").expect_refusal(401, "session_required");
    curl(&gateway).with(&["--http2"]).header("Cookie", &cookie).with(&["--request", "POST"]).get("/api/logout");
    curl(&gateway).with(&["--http2"]).header("Cookie", &cookie).get("/api/x").expect_refusal(401, "session_revoked");
}

#[test]
fn curl_keeps_the_session_of_a_real_app_in_its_jar_over_either_protocol() {
    let gateway = over_tls().with_backend(flask()).start();
    let jar = gateway.file("jar");
    let jar = jar.to_str().expect("a path");
    for (option, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
        let call = || curl(&gateway).with(&[option, "--cookie", jar, "--cookie-jar", jar]);
        let login = json!({"username": "alice", "password": "demo"}).to_string();
        let login = call().header("Content-Type", "application/json").with(&["--data", &login]).send("/api/login");
        assert_eq!(login.0, protocol);
        assert_eq!(login.1.expect(200).at("/user/customer_id"), "42");
        let told = call().header("X-Customer-ID", "77").get("/api/invoices").expect(200);
        assert_eq!(told.at("/believed/customer_id"), "42", "{protocol}");
        let kept = std::fs::read_to_string(jar).expect("a jar");
        assert!(kept.contains("#HttpOnly_localhost") && kept.contains("__Host-session"), "{kept}");
        let stolen = gateway.file("stolen");
        std::fs::write(&stolen, kept).expect("a copy");
        call().with(&["--data", ""]).get("/api/logout").expect(200);
        call().get("/api/invoices").expect_refusal(401, "session_required");
        let thief = curl(&gateway).with(&[option, "--cookie", stolen.to_str().expect("a path")]);
        thief.get("/api/invoices").expect_refusal(401, "session_revoked");
    }
}

#[test]
fn cookies_in_several_lines_are_one_and_the_gateways_own_is_not_among_them() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let cookie = log_in(&gateway);
    let call = curl(&gateway).with(&["--http2"]).header("Cookie", "a=1").header("Cookie", &cookie);
    call.header("Cookie", "b=2; c=3").get("/api/x").expect(200);
    assert_eq!(backend.last().headers.all("cookie"), ["a=1; b=2; c=3"]);
    let other = format!("__Host-session={}", "A".repeat(43));
    let call = curl(&gateway).with(&["--http2"]).header("Cookie", &cookie).header("Cookie", &other);
    call.get("/api/x").expect(401);
}

#[test]
fn bodies_pass_both_ways_and_their_bounds_hold() {
    let backend = echo();
    let gateway = over_tls().set("server.max_body", "1MiB").with_backend(&backend).start();
    let body = "x".repeat(700_000);
    let file = gateway.file("body");
    std::fs::write(&file, &body).expect("a file");
    let data = format!("@{}", file.display());
    let response = curl(&gateway).with(&["--http2", "--data-binary", &data]).get("/public/x").expect(200);
    assert_eq!(response.at("/body").len(), body.len());
    assert_eq!(backend.last().headers.all("content-length"), [body.len().to_string()]);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_has_come() {
    let backend = echo();
    let gateway = over_tls().set("server.max_body", "1MiB").with_backend(&backend).start();
    let (status, headers) = http2::talk(&gateway, async |mut client, _end| {
        let request = client.request("/public/x").method("POST").header("content-length", 2 << 20);
        let (answer, mut body) = client.send(request, false);
        body.send_data("x".repeat(1000).into(), false).expect("it fits the window");
        let (head, _) = answer.await.expect("an answer").into_parts();
        (head.status, head.headers)
    });
    assert_eq!((status.as_u16(), headers.contains_key("connection")), (413, false), "{headers:?}");
    assert!(backend.seen().is_empty());
}

#[test]
fn a_host_beside_the_authority_must_be_the_same() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let ours = format!("localhost:{}", gateway.address().port());
    for (hosts, expected) in [
        (vec![ours.as_str()], 200),
        (vec!["evil.test"], 400),
        (vec![ours.as_str(), ours.as_str()], 400),
        (vec![ours.as_str(), "evil.test"], 400),
    ] {
        let status = http2::talk(&gateway, async |mut client, _end| {
            let request = hosts.iter().fold(client.request("/public/x"), |request, host| request.header("host", *host));
            client.send(request, true).0.await.expect("an answer").status()
        });
        assert_eq!(status.as_u16(), expected, "{hosts:?}");
    }
    assert_eq!(backend.seen().len(), 1);
    assert_eq!(backend.last().headers.all("host"), [ours]);
}

#[test]
fn an_idle_client_is_told_to_go_and_a_silent_one_is_cut_off() {
    let backend = echo();
    let gateway = over_tls()
        .set("server.client_keepalive", "1s")
        .set("server.header_timeout", "300ms")
        .with_backend(&backend)
        .start();
    http2::talk(&gateway, async |mut client, end| {
        let request = client.request("/public/x");
        assert_eq!(client.send(request, true).0.await.expect("an answer").status(), 200);
        // Which of the two ends closes first is a race.
        let _ended = tokio::time::timeout(Duration::from_secs(10), end).await.expect("in time");
    });
    for (says, is_told) in [(&b""[..], false), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", true)] {
        let read = http2::shake_hands(&gateway, async |mut stream| {
            stream.write_all(says).await.expect("it takes the bytes");
            let mut read = Vec::new();
            // The end comes with or without TLS's own good-bye.
            let end = stream.read_to_end(&mut read);
            let _ended = tokio::time::timeout(Duration::from_secs(10), end).await.expect("in time");
            read
        });
        const GOAWAY: u8 = 7;
        assert_eq!(frames(&read).contains(&GOAWAY), is_told, "{read:?}");
    }
}

/// The types of the frames in there.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some(([_, high, low, kind, ..], rest)) = bytes.split_first_chunk::<9>() {
        types.push(*kind);
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
    types
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_next_request_is_served() {
    let backend = echo();
    let gateway = over_tls().set("server.max_header", "8KiB").with_backend(&backend).start();
    let curl2 = || curl(&gateway).with(&["--http2"]);
    curl2().header("X-Large", &"v".repeat(9000)).get("/public/x").expect_refusal(431, "headers_too_large");
    // The library itself refuses a head that is far too large, or ends the connection over its many frames.
    if let Ok((_, answer)) = curl2().header("X-Large", &"v".repeat(60_000)).try_send("/public/x") {
        answer.expect(431);
    }
    let many: Vec<String> = (0..120).map(|number| format!("X-{number}: 1")).collect();
    let many = many.iter().fold(curl2(), |call, line| call.with(&["--header", line]));
    many.get("/public/x").expect_refusal(431, "headers_too_large");
    assert!(backend.seen().is_empty());
    curl2().header("X-Large", &"v".repeat(6000)).get("/public/x").expect(200);
}

#[test]
fn answers_to_head_have_no_body_whoever_makes_them() {
    let backend = echo();
    backend.on("/public/head", [send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Step::Close]);
    let gateway = over_tls().with_backend(&backend).start();
    for (path, status) in [("/api/x", 401), ("/healthz", 200), ("/public/%2f", 400), ("/public/head", 200)] {
        let (protocol, response) = curl(&gateway).with(&["--http2", "--head"]).send(path);
        assert_eq!((protocol.as_str(), response.body.len()), ("HTTP/2", 0), "{path}");
        response.expect(status);
    }
}

#[test]
fn many_requests_share_a_connection_and_each_gets_its_own_answer() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let port = gateway.address().port();
    let certificate = gateway.file("tls.crt");
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--http2", "--parallel", "--parallel-max", "300", "--max-time", "60"])
        .args(["--write-out", "%{http_version} %{response_code}\\n", "--cacert"])
        .arg(&certificate)
        .args(["--output", "#1.json", "--resolve", &format!("localhost:{port}:127.0.0.1")])
        .arg(format!("https://localhost:{port}/public/[1-300]"))
        .current_dir(gateway.directory())
        .output()
        .expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.matches("2 200\n").count(), 300, "{said} {}", String::from_utf8_lossy(&output.stderr));
    for number in 1..=300 {
        let text = std::fs::read_to_string(gateway.file(&format!("{number}.json"))).expect("an answer");
        assert!(text.contains(&format!("/public/{number}\"")), "{number}: {text}");
    }
}

#[test]
fn a_drain_says_good_bye_and_lets_requests_in_flight_finish() {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/public/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "done")]);
    let mut gateway = over_tls().set("server.drain_timeout", "10s").with_backend(&backend).start();
    let call = curl(&gateway).with(&["--http2"]);
    let in_flight = std::thread::spawn(move || call.get("/public/slow"));
    backend.wait_for("/public/slow");
    gateway.terminate();
    let address = gateway.address();
    wait_until("a closed door", || std::net::TcpStream::connect(address).err());
    gate.open();
    assert_eq!(in_flight.join().expect("a whole answer").expect(200).text(), "done");
    assert_eq!(gateway.process().wait(Duration::from_secs(8)).expect("it ends").code(), Some(0));
}

#[test]
fn without_tls_there_is_no_http_2() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut wire = gateway.wire();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let response = wire.receive();
    assert!((400..=505).contains(&response.status), "{response:?}");
    assert!(backend.seen().is_empty());
}
