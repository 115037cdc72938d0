//! Requests that two readers could frame differently. What reaches the backend is recorded byte for byte: exactly the
//! requests that are expected, each well-formed, or none. Then a second user's request gets its own answer: on the same
//! upstream connection where the first had no body, and never behind a body, which a backend could take for a request.

use std::time::Duration;

use crate::support::{Backend as _, Gateway, Recorder, Store, Wire, gateway, http2, recorder};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Nothing reaches the backend.
    Refused,
    /// Exactly one request reaches it, with this body.
    Forwarded(&'static str),
    /// It is two requests for everybody, and these request lines reach the backend.
    Lines(&'static [&'static str]),
}
use Fate::{Forwarded, Lines, Refused};

const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn smuggled_length() -> usize {
    SMUGGLED.len()
}

/// A `POST` with these header lines (each with its end) and what follows the head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /public/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{rest}")
}

/// A chunked `POST` with this body, and another request behind it.
fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", &format!("{body}{SMUGGLED}"))
}

/// A gateway that keeps upstream connections, so that one that got out of step would be used again.
fn before(backend: &Recorder) -> Gateway {
    streaming_as("content-length", backend)
}

fn streaming_as(request_body: &str, backend: &Recorder) -> Gateway {
    gateway(Store::Embedded)
        .set("upstream.keepalive", "60s")
        .set("upstream.request_body", request_body)
        .set("server.workers", 1)
        .with_backend(backend)
        .start()
}

/// Sends the bytes, then takes answers until there are no more.
fn send(gateway: &Gateway, bytes: &str) {
    let bytes: Vec<u8> = bytes.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let mut wire = gateway.wire();
    // A refusal may come, and the connection end, before all is sent.
    if wire.try_send(bytes).is_ok() {
        wire.patience(Duration::from_millis(150));
        while wire.try_receive("GET").is_ok() {}
    }
}

/// Fails unless the backend got what the attempt is worth, and the next user is served.
fn judge(what: &str, fate: Fate, backend: &Recorder, victim: impl FnOnce() -> String) {
    let got = backend.take();
    let lines: Vec<&str> = got.iter().map(|request| request.line.as_str()).collect();
    match fate {
        Refused => assert_eq!(lines, Vec::<&str>::new(), "{what}"),
        Forwarded(body) => {
            let bodies: Vec<_> = got.iter().map(|request| String::from_utf8_lossy(&request.body)).collect();
            assert_eq!(bodies, [body], "{what}: {lines:?}");
            assert!(lines[0].ends_with(" /public/x"), "{what}: {lines:?}");
        }
        Lines(expected) => assert_eq!(lines, expected, "{what}"),
    }
    assert!(got.iter().all(|request| !request.head.contains("evil")), "{what}: {got:?}");
    assert_eq!(backend.take_findings(), Vec::<String>::new(), "{what}");
    // A connection rests for a moment before it is used again.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(victim(), "GET /public/victim", "{what}: the next user's answer");
    let next = backend.take();
    assert_eq!(next.len(), 1, "{what}: {next:?}");
    if let Some(last) = got.last() {
        let was_its_last = last.head.lines().any(|line| line.eq_ignore_ascii_case("connection: close"));
        assert!(was_its_last || last.body.is_empty(), "{what}: what stands behind a body must be nobody's");
        let is_shared = next[0].connection == last.connection;
        assert_ne!(is_shared, was_its_last, "{what}: another upstream connection proves nothing without a body");
    }
}

/// Every attempt in turn over HTTP/1.1, in front of one backend.
#[track_caller]
fn hold(attempts: impl IntoIterator<Item = (String, Fate)>) {
    let backend = recorder();
    let gateway = before(&backend);
    for (bytes, fate) in attempts {
        send(&gateway, &bytes);
        judge(&format!("{bytes:?}"), fate, &backend, || {
            gateway.exchange("GET /public/victim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").text()
        });
    }
}

#[test]
fn the_recorder_finds_what_is_not_one_plain_request() {
    let backend = recorder();
    let address = backend.url().trim_start_matches("http://").parse().expect("an address");
    for bytes in [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Content-Length: 2\r\nContent-Length: 2\r\n", "hi"),
        post("Content-Length: +2\r\n", "hi"),
        post("Transfer-Encoding: chunked\r\n", "2;a=b\r\nhi\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\nX: 1\r\n\r\n"),
        post("Host: localhost\r\n", ""),
        post("X_Y: 1\r\n", ""),
        post("X: 1\nY: 2\r\n", ""),
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
    ] {
        Wire::connect(address).send(&bytes).rest();
        assert_eq!((backend.take().len(), backend.take_findings().len()), (0, 1), "{bytes:?}");
    }
    Wire::connect(address).send("GET / HTTP/1.1\r\nHost").finish().rest();
    assert_eq!(backend.take_findings().len(), 1);
}

#[test]
fn only_a_request_without_a_body_leaves_its_upstream_connection_to_the_next() {
    hold([
        (post("Content-Length: 2\r\n", "hi"), Forwarded("hi")),
        (post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"), Forwarded("hi")),
        (post("Transfer-Encoding: Chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"), Forwarded("hi")),
        (post("", ""), Forwarded("")),
    ]);
}

#[test]
fn a_length_beside_a_transfer_coding_is_refused() {
    let length = smuggled_length() + 5;
    let body = format!("0\r\n\r\n{SMUGGLED}");
    hold([
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &body), Refused),
        (post(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &body), Refused),
        (post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
        (post("Content-Length:\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
        (post("Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
        (post("Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", &body), Refused),
    ]);
}

#[test]
fn a_transfer_coding_that_is_not_exactly_chunked_is_refused() {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let lines = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: , chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding: chunked\u{a0}",
        "Transfer-Encoding\n: chunked",
        "X: 1\nTransfer-Encoding: chunked",
        "X: 1\rTransfer-Encoding: chunked",
        "X: 1\r\r\nTransfer-Encoding: chunked",
    ];
    hold(lines.map(|line| (post(&format!("{line}\r\n"), &body), Refused)));
}

#[test]
fn a_length_that_is_not_one_plain_number_is_refused() {
    let lines = [
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0, 5",
        "Content-Length: 0,",
        "Content-Length: ,0",
        "Content-Length: +0",
        "Content-Length: -0",
        "Content-Length: -1",
        "Content-Length: 0 0",
        "Content-Length: 0x0",
        "Content-Length: 0.0",
        "Content-Length: 0e0",
        "Content-Length: 0;",
        "Content-Length: \"0\"",
        "Content-Length:",
        "Content-Length: \u{b2}",
        "Content-Length: 0\u{b}",
        "Content-Length: \0",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length : 0",
        "Content-Length:\r\n 0",
        "X: 1\nContent-Length: 0",
    ];
    hold(lines.map(|line| (post(&format!("{line}\r\n"), SMUGGLED), Refused)));
}

#[test]
fn one_length_is_one_however_it_is_said_and_the_backend_is_told_it_plainly() {
    let both = Lines(&["POST /public/x", "GET /public/smuggled"]);
    let lines = ["02", "2, 2", "2 ,\t2", "2, 02", "0000000000000000000000000000000002"];
    let lines = lines.into_iter().map(|value| format!("Content-Length: {value}\r\n"));
    let twice = ["Content-Length: 2\r\nContent-Length: 2\r\n", "content-length: 2\r\nX: 1\r\nContent-Length: 2, 2\r\n"];
    let lines = lines.chain(twice.map(String::from));
    hold(
        lines.flat_map(|line| {
            [(post(&line, "hi"), Forwarded("hi")), (format!("{}{SMUGGLED}", post(&line, "hi")), both)]
        }),
    );
    let none = ["Content-Length: 0\r\nContent-Length: 0\r\n", "Content-Length: 00\r\n", "Content-Length: 0, 0\r\n"];
    hold(none.map(|line| (post(line, SMUGGLED), both)));
    hold([
        // Behind another request, and split by the next one's own length.
        (
            format!(
                "{}{}",
                post("Content-Length: 2\r\n", "hi"),
                post("Content-Length: 02\r\nContent-Length: 2\r\n", "hi")
            ),
            Lines(&["POST /public/x", "POST /public/x"]),
        ),
    ]);
}

#[test]
fn a_name_that_only_resembles_a_framing_header_frames_nothing_and_is_not_passed_on() {
    let length = smuggled_length();
    hold([
        (post("Content_Length: 5\r\nContent-Length: 2\r\n", "hi"), Forwarded("hi")),
        (post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), Forwarded("0\r\n\r\n")),
        (post("Transfer.Encoding: chunked\r\nContent-Length: 2\r\n", "hi"), Forwarded("hi")),
        (post("Connection: Content-Length\r\nContent-Length: 2\r\n", "hi"), Forwarded("hi")),
        (post(&format!("Content-Length: {length}\r\n"), SMUGGLED), Forwarded(SMUGGLED)),
    ]);
}

/// Chunked bodies that readers disagree about.
const BAD_CHUNKS: [&str; 28] = [
    "0x2\r\nhi\r\n0\r\n\r\n",
    "+2\r\nhi\r\n0\r\n\r\n",
    "-2\r\nhi\r\n0\r\n\r\n",
    " 2\r\nhi\r\n0\r\n\r\n",
    "2 \r\nhi\r\n0\r\n\r\n",
    "2\t\r\nhi\r\n0\r\n\r\n",
    "2_\r\nhi\r\n0\r\n\r\n",
    "g\r\nhi\r\n0\r\n\r\n",
    "\r\nhi\r\n0\r\n\r\n",
    ";a=b\r\nhi\r\n0\r\n\r\n",
    "2\nhi\r\n0\r\n\r\n",
    "2\rhi\r\n0\r\n\r\n",
    "2\r\r\nhi\r\n0\r\n\r\n",
    "2;a\nhi\r\n0\r\n\r\n",
    "2;a\r\n\nhi\r\n0\r\n\r\n",
    "2;\0\r\nhi\r\n0\r\n\r\n",
    "2\r\nhi\n0\r\n\r\n",
    "2\r\nhi0\r\n\r\n",
    "2\r\nhi!\r\n0\r\n\r\n",
    "2\r\nhi\r\n\r\n0\r\n\r\n",
    "2\r\nhi\r\n0\n\r\n",
    "2\r\nhi\r\n0\r\n\n",
    "ffffffffffffffff\r\nhi\r\n0\r\n\r\n",
    "10000000000000002\r\nhi\r\n0\r\n\r\n",
    "fffffffffffffffffffffffe\r\nhi\r\n0\r\n\r\n",
    "2\r\nhi\r\n0\r\nno colon\r\n\r\n",
    "2\r\nhi\r\n0\r\n X: folded\r\n\r\n",
    "2\r\nhi\r\n0\r\nX: 1\nY: 2\r\n\r\n",
];

#[test]
fn a_chunked_body_that_readers_disagree_about_is_refused() {
    hold(BAD_CHUNKS.map(|body| (chunked(body), Refused)));
}

#[test]
fn a_streamed_body_that_readers_disagree_about_never_becomes_a_whole_request() {
    let backend = recorder();
    let gateway = streaming_as("stream", &backend);
    for body in BAD_CHUNKS {
        send(&gateway, &chunked(body));
        let got = backend.take();
        assert!(got.is_empty(), "{body:?}: {got:?}");
        // The head went out before the body was known to be bad, so the backend may have seen half a request: an end
        // of the connection where more was announced.
        let findings = backend.take_findings();
        assert!(findings.iter().all(|finding| finding.starts_with("half a request")), "{body:?}: {findings:?}");
        let victim = "GET /public/victim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert_eq!(gateway.exchange(victim).text(), "GET /public/victim", "{body:?}");
        assert_eq!(backend.take().len(), 1, "{body:?}");
    }
    send(&gateway, &post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\nX-Customer-ID: evil\r\n\r\n"));
    assert_eq!(backend.take().iter().map(|request| request.body.as_slice()).collect::<Vec<_>>(), [b"hi"]);
    assert_eq!(backend.take_findings(), Vec::<String>::new());
}

#[test]
fn trailers_and_chunk_extensions_end_at_the_gateway() {
    let both = Lines(&["POST /public/x", "GET /public/smuggled"]);
    hold([
        (chunked("2\r\nhi\r\n0\r\nX-Customer-ID: evil\r\n\r\n"), both),
        (chunked("2\r\nhi\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n"), both),
        (chunked("2\r\nhi\r\n000\r\n\r\n"), both),
        (chunked("2;a=b\r\nhi\r\n0;c\r\n\r\n"), both),
        (chunked("2;a=\"b;c\"\r\nhi\r\n0\r\n\r\n"), both),
        (chunked("0002\r\nhi\r\n0\r\n\r\n"), both),
    ]);
}

#[test]
fn a_head_that_readers_disagree_about_is_refused() {
    let heads = [
        "GET /public/x HTTP/1.1\nHost: localhost\n\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX: 1\n\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX: 1\rY: 2\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n folded\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n \r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX : 1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\n: 1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        "GET /public/x HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /public/x HTTP/1.1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET  /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /public/x  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET\t/public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /public/x /public/y HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /public/x\r\n\r\n",
        "GET /public/x HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "GET /public/x HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "GET /public/x#y HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET http://evil.example/public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /public/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /public/x HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    // Whatever stands behind it on the connection has no meaning any more.
    hold(heads.map(|head| (format!("{head}{SMUGGLED}"), Refused)));
}

#[test]
fn a_request_that_everybody_frames_alike_passes_once() {
    let target = "http://localhost/public/x";
    hold([
        ("GET /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".into(), Forwarded("hi")),
        ("DELETE /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".into(), Forwarded("hi")),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"), Forwarded("")),
        ("GET /public/x HTTP/1.0\r\nHost: localhost\r\n\r\n".into(), Forwarded("")),
        (post("Expect: 100-continue\r\nContent-Length: 2\r\n", "hi"), Forwarded("hi")),
        ("\r\nGET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), Forwarded("")),
        (
            format!("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}"),
            Lines(&["GET /public/x", "GET /public/smuggled"]),
        ),
        (
            format!("{}{SMUGGLED}", post("Content-Length: 2\r\n", "hi")),
            Lines(&["POST /public/x", "GET /public/smuggled"]),
        ),
        (format!("GET /public/x HTTP/1.0\r\nHost: localhost\r\n\r\n{SMUGGLED}"), Forwarded("")),
        (format!("GET /public/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n{SMUGGLED}"), Forwarded("")),
    ]);
}

#[test]
fn what_follows_a_refusal_on_a_connection_is_not_read() {
    hold([
        (format!("GET /public/%2f HTTP/1.1\r\nHost: localhost\r\nContent-Length : 0\r\n\r\n{SMUGGLED}"), Refused),
        (format!("{}{SMUGGLED}", post("Content-Length: 99999999999\r\n", "")), Refused),
        (
            format!(
                "POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
                smuggled_length()
            ),
            Refused,
        ),
    ]);
}

#[test]
fn what_follows_a_refusal_of_what_is_asked_is_a_request_of_its_own() {
    let next = Lines(&["GET /public/smuggled"]);
    let methods = ["get", "TRACE", "FOO", "CONNECT"];
    hold(methods.map(|method| (format!("{method} /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}"), next)));
    hold([
        (format!("{}{SMUGGLED}", post("Expect: else\r\nContent-Length: 0\r\n", "")), next),
        // Its body is no request, read or not.
        (post(&format!("Expect: else\r\nContent-Length: {}\r\n", smuggled_length()), SMUGGLED), Refused),
        (post("Expect: else\r\nTransfer-Encoding: chunked\r\n", &format!("50\r\n{SMUGGLED}")), Refused),
    ]);
}

#[test]
fn bytes_behind_a_request_for_another_protocol_are_none_until_the_backend_declines() {
    let upgrade = |lines: &str| format!("GET /public/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{SMUGGLED}");
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    // This backend answers 200: it stays HTTP, and the held bytes are the client's next request, judged as any.
    let both = Lines(&["GET /public/x", "GET /public/smuggled"]);
    hold([
        (upgrade(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}")), both),
        (upgrade("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), both),
        (upgrade("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), both),
        (upgrade("Upgrade: websocket\r\n"), both),
    ]);
}

/// A request over HTTP/2: fields instead of, or beside, the usual ones; data; trailers.
type Stream = (&'static [(&'static str, &'static str)], Option<&'static str>, &'static [(&'static str, &'static str)]);

#[test]
fn over_http_2_nothing_becomes_another_request_either() {
    let attempts: [(Stream, Fate); 37] = [
        ((&[], None, &[]), Forwarded("")),
        ((&[], Some("hi"), &[]), Forwarded("hi")),
        ((&[("content-length", "2")], Some("hi"), &[]), Forwarded("hi")),
        ((&[], Some(SMUGGLED), &[]), Forwarded(SMUGGLED)),
        ((&[], Some("hi"), &[("x-customer-id", "evil")]), Forwarded("hi")),
        ((&[("te", "trailers")], Some("hi"), &[]), Forwarded("hi")),
        // A length that the data does not have.
        ((&[("content-length", "1")], Some("hi"), &[]), Refused),
        ((&[("content-length", "3")], Some("hi"), &[]), Refused),
        ((&[("content-length", "0")], Some(SMUGGLED), &[]), Refused),
        ((&[("content-length", "2")], None, &[]), Refused),
        ((&[("content-length", "2"), ("content-length", "2")], Some("hi"), &[]), Forwarded("hi")),
        ((&[("content-length", "2"), ("content-length", "3")], Some("hi"), &[]), Refused),
        ((&[("content-length", "2, 2")], Some("hi"), &[]), Refused),
        ((&[("content-length", "+2")], Some("hi"), &[]), Refused),
        ((&[("content-length", "")], Some("hi"), &[]), Refused),
        // Fields of a connection (RFC 9113 section 8.2.2).
        ((&[("transfer-encoding", "chunked")], Some("0\r\n\r\n"), &[]), Refused),
        ((&[("transfer-encoding", "chunked"), ("content-length", "5")], Some("0\r\n\r\n"), &[]), Refused),
        ((&[("connection", "keep-alive")], None, &[]), Refused),
        ((&[("connection", "x-customer-id")], None, &[]), Refused),
        ((&[("proxy-connection", "keep-alive")], None, &[]), Refused),
        ((&[("upgrade", "websocket")], None, &[]), Refused),
        ((&[("te", "gzip")], None, &[]), Refused),
        // Line ends where there are no lines.
        ((&[("x-other", "1\r\nTransfer-Encoding: chunked")], Some("0\r\n\r\n"), &[]), Refused),
        ((&[("x-other", "1\nX: 2")], None, &[]), Refused),
        ((&[("x-other", "1\rX: 2")], None, &[]), Refused),
        ((&[("x-other", "1\0")], None, &[]), Refused),
        ((&[("x\r\ny", "1")], None, &[]), Refused),
        ((&[("x: 1\r\ny", "1")], None, &[]), Refused),
        ((&[("x y", "1")], None, &[]), Refused),
        ((&[("X-Other", "1")], None, &[]), Refused),
        ((&[("", "1")], None, &[]), Refused),
        // Pseudo-fields.
        ((&[(":path", "/public/x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /public/smuggled")], None, &[]), Refused),
        ((&[(":path", "/public/x /y")], None, &[]), Refused),
        ((&[(":path", "")], None, &[]), Refused),
        ((&[(":method", "GET /public/smuggled HTTP/1.1\r\nX:")], None, &[]), Refused),
        ((&[(":authority", "localhost\r\nX: 1")], None, &[]), Refused),
        ((&[("x-other", "1"), (":path", "/public/late")], None, &[]), Refused),
    ];
    let backend = recorder();
    let gateway = gateway(Store::Embedded)
        .over_tls(&["localhost"])
        .set("upstream.keepalive", "60s")
        .set("server.workers", 1)
        .with_backend(&backend)
        .start();
    for (stream, fate) in attempts {
        http2::send_frames(&gateway, &frames(&gateway, stream));
        judge(&format!("{stream:?}"), fate, &backend, || {
            http2::talk(&gateway, async |mut client, _end| {
                let answer = client.send(client.request("/public/victim"), true).0.await.expect("an answer");
                let mut body = answer.into_body();
                let mut text = String::new();
                while let Some(part) = body.data().await {
                    text.push_str(&String::from_utf8_lossy(&part.expect("a whole answer")));
                }
                text
            })
        });
    }
}

fn frames(gateway: &Gateway, (given, data, trailers): Stream) -> Vec<u8> {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let authority = format!("localhost:{}", gateway.address().port());
    let usual = [(":method", "POST"), (":scheme", "https"), (":authority", &authority), (":path", "/public/x")];
    // A given pseudo-field replaces the usual one; where it stands behind a field is its own fault.
    let replaced = |name: &str| given.first().is_some_and(|(first, _)| *first == name);
    let mut fields: Vec<(&str, &str)> = usual.into_iter().filter(|(name, _)| !replaced(name)).collect();
    fields.extend(given);
    let end = |last: bool| if last { END_STREAM } else { 0 };
    let mut bytes = http2::frame(1, END_HEADERS | end(data.is_none()), 1, &http2::literals(&fields));
    if let Some(data) = data {
        bytes.extend(http2::frame(0, end(trailers.is_empty()), 1, data.as_bytes()));
    }
    if !trailers.is_empty() {
        bytes.extend(http2::frame(1, END_HEADERS | END_STREAM, 1, &http2::literals(trailers)));
    }
    bytes
}
