//! How requests and answers pass: in step, in full, as they come, and never twice.

use std::time::{Duration, Instant};

use crate::on_both_stores;
use crate::support::{Backend as _, Gate, Gateway, Step, Store, answer, echo, flask, gateway, send, wait_until};

const MIB: usize = 1 << 20;

fn post_head(gateway: &Gateway, path: &str, framing: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n", gateway.address())
}

#[test]
fn an_answer_streams_as_it_comes() {
    let backend = echo();
    let gate = Gate::closed();
    let first =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    backend.on("/public/events", [send(first), Step::Await(gate.clone()), send("6\r\nsecond\r\n0\r\n\r\n")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut wire = gateway.wire();
    wire.send(format!("GET /public/events HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    wire.try_receive_head().expect("the head comes while the backend still waits");
    assert_eq!(wire.chunk().expect("a chunk"), Some(b"first".to_vec()));
    gate.open();
    assert_eq!(wire.chunk().expect("a chunk"), Some(b"second".to_vec()));
    assert_eq!(wire.chunk().expect("the end"), None);
}

#[test]
fn a_sized_upload_streams_as_it_comes_where_the_backend_does_not_mind() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.request_body", "stream").start();
    let mut wire = gateway.wire();
    wire.send(post_head(&gateway, "/public/up", "Content-Length: 10")).send("12345");
    wait_until("the first half", || backend.seen_at("/public/up").pop().filter(|seen| seen.received == 5));
    wire.send("67890");
    assert_eq!(wire.receive().expect(200).at("/body"), "1234567890");
}

#[test]
fn a_backend_may_answer_before_it_has_read_the_body() {
    let backend = echo();
    let refusal = answer("403 Not Here", &[("Connection", "close")], "full");
    backend.on_head("/public/up", [refusal, Step::Pause(Duration::from_millis(200)), Step::ReadBody, Step::Close]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.request_body", "stream").start();
    let mut wire = gateway.wire();
    wire.send(post_head(&gateway, "/public/up", "Content-Length: 10")).send("12345");
    assert_eq!(wire.receive().expect(403).text(), "full");
}

#[test]
fn slow_uploads_hold_no_synchronous_worker() {
    let gateway = gateway(Store::Embedded).with_backend(flask()).start();
    // Many more than the workers.
    let mut slow: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = gateway.wire();
            wire.send(post_head(&gateway, "/api/login", "Content-Type: application/json\r\nContent-Length: 39"))
                .send("{");
            wire
        })
        .collect();
    let mut quick = gateway.wire();
    quick.patience(Duration::from_secs(5));
    let head = post_head(&gateway, "/api/login", "Content-Type: application/json\r\nContent-Length: 39");
    quick.send(head).send(r#"{"username":"alice","password":"demo"} "#).receive().expect(200);
    let one = &mut slow[7];
    one.send(r#""username":"alice","password":"demo"} "#).receive().expect(200);
}

#[test]
fn an_upload_for_which_there_is_no_room_is_refused() {
    let backend = echo();
    let mut spool = toml::Table::new();
    spool.insert("above".into(), "0B".into());
    spool.insert("total".into(), "1MiB".into());
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.spool", spool).start();
    let upload = || {
        let mut wire = gateway.wire();
        wire.send(post_head(&gateway, "/public/up", &format!("Content-Length: {MIB}"))).send(vec![b'x'; MIB - 1]);
        wire
    };
    let (mut first, mut second) = (upload(), upload());
    // Whichever came later finds none.
    let refused = wait_until("a refusal", || {
        [&mut first, &mut second].into_iter().find_map(|wire| {
            wire.patience(Duration::from_millis(20));
            wire.try_receive("POST").ok()
        })
    });
    assert_eq!(refused.at("/error_code"), "overloaded");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
}

#[test]
fn a_chunked_upload_is_spooled_and_sent_with_its_length() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for size in [0, 1, 1000, 256 * 1024, 2 * MIB] {
        let mut wire = gateway.wire();
        wire.send(post_head(&gateway, "/public/up", "Transfer-Encoding: chunked"));
        let chunk = vec![b'x'; 10_000];
        let mut left = size;
        while left > 0 {
            let part = left.min(chunk.len());
            wire.send(format!("{part:x}\r\n")).send(&chunk[..part]).send("\r\n");
            left -= part;
        }
        wire.send("0\r\nX-Customer-ID: 77\r\n\r\n");
        assert_eq!(wire.receive().expect(200).at("/body_bytes"), size.to_string());
        let seen = backend.last();
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert!(!seen.headers.has("transfer-encoding") && seen.trailers.0.is_empty());
        seen.assert_anonymous();
    }
}

#[test]
fn a_chunked_upload_passes_through_where_the_backend_can_read_it() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.request_body", "stream").start();
    let mut wire = gateway.wire();
    wire.send(post_head(&gateway, "/public/up", "Transfer-Encoding: chunked")).send("5\r\nfirst\r\n");
    wait_until("the first chunk", || backend.seen_at("/public/up").pop().filter(|seen| seen.received == 5));
    wire.send("0\r\nX-Customer-ID: 77\r\n\r\n").receive().expect(200);
    assert_eq!(backend.last().header("transfer-encoding"), Some("chunked"));
    assert!(backend.last().trailers.0.is_empty(), "trailers are dropped");
}

#[test]
fn flask_reads_a_chunked_body_that_it_could_not_read_by_itself() {
    let gateway = gateway(Store::Embedded).with_backend(flask()).start();
    let body = r#"{"username":"alice","password":"demo"}"#;
    let mut wire = gateway.wire();
    let framing = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
    wire.send(post_head(&gateway, "/api/login", framing)).send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    assert_eq!(wire.receive().expect(200).at("/user/user_id"), "7");
}

#[test]
fn ranges_and_validators_pass_both_ways() {
    let backend = echo();
    let headers = [("Content-Range", "bytes 0-1/10"), ("ETag", "\"e\""), ("Accept-Ranges", "bytes")];
    backend.on("/public/file", [answer("206 Partial Content", &headers, "ab")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let response = gateway.get_with_lines("/public/file", &["Range: bytes=0-1", "If-Range: \"e\""]).expect(206);
    assert_eq!((response.header("content-range"), response.text()), (Some("bytes 0-1/10"), "ab".into()));
    assert_eq!(backend.last().header("range"), Some("bytes=0-1"));
    assert_eq!(backend.last().header("if-range"), Some("\"e\""));
}

#[test]
fn a_compressed_answer_passes_byte_for_byte() {
    let backend = echo();
    let bytes: Vec<u8> = (0..=255).collect();
    backend.on("/public/z", [answer("200 OK", &[("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")], &bytes)]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let response = gateway.get_with_lines("/public/z", &["Accept-Encoding: gzip"]).expect(200);
    assert_eq!((response.header("content-encoding"), &response.body), (Some("gzip"), &bytes));
    assert_eq!(backend.last().header("accept-encoding"), Some("gzip"));
}

#[test]
fn head_tells_the_length_that_get_would_have() {
    let backend = echo();
    backend.on("/public/file", [send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let response = gateway.browser().request("HEAD", "/public/file").send().expect(200);
    assert_eq!(response.header("content-length"), Some("12345"));
}

#[test]
fn hop_by_hop_headers_of_an_answer_stay_behind() {
    let backend = echo();
    let headers = [
        ("Connection", "X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "timeout=9"),
        ("Proxy-Authenticate", "Basic"),
        ("Upgrade", "h2c"),
        ("X-Kept", "1"),
    ];
    backend.on("/public/x", [answer("200 OK", &headers, "ok")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let response = gateway.get_with_lines("/public/x", &[]).expect(200);
    for gone in ["x-private", "keep-alive", "upgrade"] {
        assert!(!response.headers.has(gone), "{gone}");
    }
    assert_eq!(response.header("x-kept"), Some("1"));
}

#[test]
fn a_cut_answer_is_never_passed_on_as_a_whole_one() {
    let backend = echo();
    backend.on("/public/sized", [send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Step::Close]);
    backend.on(
        "/public/chunked",
        [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Step::Close],
    );
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for path in ["/public/sized", "/public/chunked"] {
        let answer = gateway.browser().request("GET", path).try_send();
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 502), "{path}");
    }
}

on_both_stores!(requests_on_one_connection_stay_in_step, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let token = gateway.logged_in("42", "7").token();
    let mut wire = gateway.wire();
    for turn in 0..50 {
        let cookie = if turn % 3 == 0 { String::new() } else { format!("Cookie: session-gateway={token}\r\n") };
        let body = "b".repeat(turn * 37);
        let host = gateway.address();
        let length = body.len();
        wire.send(format!(
            "POST /turn/{turn} HTTP/1.1\r\nHost: {host}\r\n{cookie}Content-Length: {length}\r\n\r\n{body}"
        ));
        let response = wire.receive();
        if cookie.is_empty() {
            response.expect_refusal(401, "session_required");
        } else {
            assert_eq!(response.expect(200).at("/target"), format!("/turn/{turn}"));
        }
    }
    // Two at once: answered in order.
    let ask = |n| format!("GET /public/{n} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    wire.send(format!("{}{}", ask(1), ask(2)));
    assert_eq!((wire.receive().at("/target"), wire.receive().at("/target")), ("/public/1".into(), "/public/2".into()));
});

#[test]
fn a_backend_connection_is_used_once_unless_told_otherwise() {
    let backend = echo();
    let once = gateway(Store::Embedded).with_backend(&backend).start();
    (0..4).for_each(|_| drop(once.get_with_lines("/public/x", &[]).expect(200)));
    assert_eq!(backend.connections(), 4);
    drop(once);
    let backend = echo();
    let kept = gateway(Store::Embedded).with_backend(&backend).set("upstream.keepalive", "30s").start();
    (0..40).for_each(|_| drop(kept.get_with_lines("/public/x", &[]).expect(200)));
    assert!(backend.connections() < 40, "{}", backend.connections());
}

#[test]
fn a_request_on_a_stale_connection_is_sent_again_only_if_it_surely_was_not_processed() {
    let backend = echo();
    // Answers once, then closes without a word, as gunicorn does with an idle connection.
    backend.on("/public/last", [answer("200 OK", &[], "ok"), Step::Pause(Duration::from_millis(20)), Step::Close]);
    backend.on("/public/order", [Step::Close]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.keepalive", "30s").start();
    for _ in 0..20 {
        gateway.get_with_lines("/public/last", &[]).expect(200);
    }
    let order = gateway.browser().request("POST", "/public/order").body("one").send();
    order.expect_refusal(502, "upstream_unreachable");
    assert!(backend.seen_at("/public/order").len() <= 1, "never a second order");
}

#[test]
fn peers_are_asked_in_turn() {
    let (one, two) = (echo(), echo());
    let gateway = gateway(Store::Embedded)
        .with_backend(&one)
        .without("upstream.url")
        .set("upstream.urls", vec![one.url(), two.url()])
        .start();
    (0..10).for_each(|_| drop(gateway.get_with_lines("/public/x", &[]).expect(200)));
    assert_eq!((one.seen().len(), two.seen().len()), (5, 5));
    drop(two);
    for _ in 0..10 {
        gateway.get_with_lines("/public/x", &[]).expect(200);
    }
    assert_eq!(one.seen().len(), 15, "a peer that takes no connection has processed nothing, so the other is asked");
}

#[test]
fn a_route_can_have_another_upstream() {
    let (pages, api) = (echo(), echo());
    let more = format!(
        "[upstreams.api]\nurl = \"{}\"\n[[routes]]\nmatch = [\"/api/v2/*\"]\nauth = \"public\"\nupstream = \"api\"",
        api.url()
    );
    let gateway = gateway(Store::Embedded).with_backend(&pages).settings(&more).start();
    gateway.get_with_lines("/api/v2/x", &[]).expect(200);
    gateway.get_with_lines("/public/x", &[]).expect(200);
    assert_eq!((api.seen().len(), pages.seen().len()), (1, 1));
}

#[test]
fn a_client_that_leaves_lets_the_backend_go() {
    let backend = echo();
    let head = send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    backend.on(
        "/public/endless",
        [head, Step::Repeat(b"400\r\n".iter().chain(&[b'x'; 1024]).chain(b"\r\n").copied().collect(), 1 << 30)],
    );
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut wire = gateway.wire();
    wire.send(format!("GET /public/endless HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    wire.try_receive_head().expect("a head");
    drop(wire);
    // The exchange is over, and a request cut by its client is accounted for as well.
    gateway.wait_log(&["/public/endless"]);
    gateway.process().stop();
}

#[test]
fn large_bodies_pass_both_ways_in_little_memory() {
    let backend = echo();
    let size = 128 * MIB;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    backend.on("/public/down", [send(head), Step::Repeat(vec![b'x'; MIB], 128)]);
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_body", "1GiB").start();
    // The most that it had in memory, in kB; the program's own pages are much of it.
    let peak = |gateway: &mut Gateway| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process().id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        line.and_then(|size| size.parse::<u64>().ok()).expect("its peak")
    };
    let at_rest = peak(&mut gateway);
    let down = gateway.get_with_lines("/public/down", &[]).expect(200);
    assert_eq!(down.body.len(), size);
    drop(down);
    let mut wire = gateway.wire();
    wire.send(post_head(&gateway, "/public/up", &format!("Content-Length: {size}")));
    let block = vec![b'y'; MIB];
    for _ in 0..128 {
        wire.send(&block);
    }
    assert_eq!(wire.receive().expect(200).at("/body_bytes"), size.to_string());
    let mut wire = gateway.wire();
    wire.send(post_head(&gateway, "/public/up", "Transfer-Encoding: chunked"));
    for _ in 0..128 {
        wire.send(format!("{MIB:x}\r\n")).send(&block).send("\r\n");
    }
    assert_eq!(wire.send("0\r\n\r\n").receive().expect(200).at("/body_bytes"), size.to_string());
    let with_them = peak(&mut gateway);
    assert!(with_them < at_rest + 24 * 1024, "{at_rest} kB at rest, {with_them} kB with them");
}

#[test]
fn a_slow_answer_is_not_a_late_one() {
    let backend = echo();
    let slow =
        [send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"), Step::Pause(Duration::from_millis(1500)), send("cd")];
    backend.on("/public/slow", slow);
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.response_timeout", "1s").start();
    let begin = Instant::now();
    assert_eq!(gateway.get_with_lines("/public/slow", &[]).expect(200).text(), "abcd");
    assert!(begin.elapsed() > Duration::from_secs(1));
}
