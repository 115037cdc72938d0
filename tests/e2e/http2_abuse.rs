//! What a client can do with the frames of HTTP/2 to be a burden: its connection or its streams come to a clear end,
//! memory stays bounded, and others are served.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::http2::over_tls;
use crate::support::{Gateway, Step, curl, echo, http2, send, wait_until};

/// How much more memory a gateway may hold under attack, in KiB.
const MEMORY: u64 = 48 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal that enters no table: `0000` and the index of its name, then its value.
fn literal(name: u8, value: &str) -> Vec<u8> {
    [&[name, u8::try_from(value.len()).expect("a short value")], value.as_bytes()].concat()
}

/// The block of a request: method (2 is GET, 3 is POST), scheme, authority, path.
fn block(gateway: &Gateway, method: u8, path: &str) -> Vec<u8> {
    let host = format!("localhost:{}", gateway.address().port());
    [&[0x80 | method, 0x87], &literal(1, &host)[..], &literal(4, path)].concat()
}

/// The frames in there, whole ones: kind, flags, stream and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, &[u8])> {
    let mut all = Vec::new();
    while let Some(([a, b, c, kind, flags, stream @ ..], rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        all.push((*kind, *flags, u32::from_be_bytes(*stream), payload));
        bytes = rest;
    }
    all
}

fn code(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
}

/// Why the connection was ended, as its last word says; `None` without one.
fn farewell(bytes: &[u8]) -> Option<u32> {
    frames(bytes).iter().rev().find(|(kind, ..)| *kind == GO_AWAY).map(|(.., payload)| code(payload, 4))
}

/// Writes all of it, for as long as it is taken, and reads what comes to the end of the connection.
async fn pour(stream: TlsStream<TcpStream>, bytes: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut read = Vec::new();
    let write = async {
        // The end of the connection ends it, too.
        let _ = writer.write_all(&bytes).await;
        let _ = writer.flush().await;
    };
    let read_all = async {
        let _ = timeout(PATIENCE, reader.read_to_end(&mut read)).await.expect("the gateway ends the connection");
    };
    tokio::join!(write, read_all);
    read
}

/// Opens the connection and makes the attack; then memory is bounded, and somebody else is served.
fn attack(gateway: &Gateway, bytes: Vec<u8>) -> Vec<u8> {
    curl(gateway).with(&["--http2"]).get("/public/warm").expect(200);
    let before = gateway.memory();
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let answer = http2::shake_hands(gateway, async |stream| pour(stream, [opening, bytes].concat()).await);
    assert_unharmed(gateway, before);
    answer
}

#[track_caller]
fn assert_unharmed(gateway: &Gateway, before: u64) {
    let now = gateway.memory();
    assert!(now < before + MEMORY, "{before} KiB before, {now} now");
    curl(gateway).with(&["--http2"]).get("/public/user").expect(200);
}

/// Requests that nobody could read are in log and metrics all the same.
#[track_caller]
fn assert_refused(gateway: &Gateway, status: u16, code: &str, count: usize) {
    let labels = format!("route=\"refused\",status=\"{status}\"");
    assert_eq!(gateway.metric("requests_total", &labels), f64::from(u32::try_from(count).expect("few")));
    let (code, route) = (format!("\"code\":\"{code}\""), "\"route\":\"refused\"");
    let lines = || gateway.log().iter().filter(|line| line.contains(&code) && line.contains(route)).count();
    wait_until("a line for each", || (lines() == count).then_some(()));
}

#[test]
fn a_rapid_reset_of_thousands_of_streams_ends_the_connection() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let request = block(&gateway, 2, "/public/attack");
    let bytes = (0..20_000_u32).flat_map(|number| {
        let stream = 2 * number + 1;
        let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request);
        [headers, frame(RESET, 0, stream, &CANCEL.to_be_bytes())].concat()
    });
    let read = attack(&gateway, bytes.collect());
    assert_eq!(farewell(&read), Some(ENHANCE_YOUR_CALM));
    assert_refused(&gateway, 400, "bad_request", 1);
    let reached = backend.seen_at("/public/attack").len();
    assert!(reached < 200, "{reached} of the requests reached the backend");
}

#[test]
fn a_flood_of_continuation_frames_ends_the_connection() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let request = block(&gateway, 2, "/public/attack");
    let line = [&[0, 1, b'a'][..], &[100], &[b'v'; 100]].concat();
    for piece in [line.repeat(100), line.clone(), Vec::new()] {
        let mut bytes = frame(HEADERS, END_STREAM, 1, &request);
        let more = frame(CONTINUATION, 0, 1, &piece);
        bytes.extend(more.repeat(if piece.len() > 1000 { 2000 } else { 20_000 }));
        let read = attack(&gateway, bytes);
        let why = farewell(&read);
        assert!(matches!(why, Some(ENHANCE_YOUR_CALM | COMPRESSION_ERROR)), "{why:?} for {} bytes", piece.len());
    }
    assert!(backend.seen_at("/public/attack").is_empty());
}

#[test]
fn a_header_block_that_unpacks_to_megabytes_is_refused() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    // A line of 3,900 bytes enters the table, and is then named by one byte again and again.
    let bomb = |times: usize| {
        let line = [&[0x40, 1, b'a', 0x7f, 0xbd, 0x1d][..], &[b'v'; 3900], &vec![0xbe; times]].concat();
        let head = [block(&gateway, 2, "/public/attack"), line].concat();
        let streams = (0..20_u32).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head));
        streams.chain(frame(GO_AWAY, 0, 0, &[0; 8])).collect::<Vec<u8>>()
    };
    let read = attack(&gateway, bomb(12));
    assert_eq!(frames(&read).iter().filter(|(kind, ..)| *kind == HEADERS).count(), 20);
    assert_refused(&gateway, 431, "headers_too_large", 20);
    assert_eq!(farewell(&attack(&gateway, bomb(10_000))), Some(ENHANCE_YOUR_CALM));
    assert_refused(&gateway, 400, "bad_request", 1);
    assert!(backend.seen_at("/public/attack").is_empty());
}

#[test]
fn floods_of_settings_and_pings_whose_answers_nobody_reads_are_not_kept() {
    let backend = echo();
    let gateway = over_tls().set("server.write_timeout", "1s").with_backend(&backend).start();
    curl(&gateway).with(&["--http2"]).get("/public/warm").expect(200);
    for one in
        [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, b"flooding"), frame(SETTINGS, 0, 0, &[0, 1, 255, 255, 255, 255])]
    {
        let before = gateway.memory();
        http2::shake_hands(&gateway, async |mut stream| {
            stream.write_all(PREFACE).await.expect("it takes the preface");
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("it takes the settings");
            let flood = one.repeat(1000);
            let pour = async { while stream.write_all(&flood).await.is_ok() {} };
            // It goes on until the gateway takes no more, or ends the connection.
            let _ = timeout(Duration::from_millis(1500), pour).await;
            assert_unharmed(&gateway, before);
        });
    }
}

#[test]
fn a_hundred_streams_with_a_window_of_one_byte_are_given_up_in_little_memory() {
    let backend = echo();
    let big = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
    backend.on_head("/public/attack", [send(big), Step::Repeat(vec![b'x'; 1 << 20], 100)]);
    let gateway = over_tls().set("server.write_timeout", "1s").with_backend(&backend).start();
    curl(&gateway).with(&["--http2"]).get("/public/warm").expect(200);
    let before = gateway.memory();
    let request = block(&gateway, 2, "/public/attack");
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])].concat();
    bytes.extend((0..100_u32).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &request)));
    let read = http2::shake_hands(&gateway, async |mut stream| {
        stream.write_all(&bytes).await.expect("it takes the requests");
        let mut read = vec![0; 1 << 20];
        let mut filled = 0;
        let resets = |bytes: &[u8]| frames(bytes).iter().filter(|(kind, ..)| *kind == RESET).count();
        while resets(&read[..filled]) < 100 {
            let count = timeout(PATIENCE, stream.read(&mut read[filled..])).await.expect("in time").expect("open");
            assert!(count > 0, "the connection goes on");
            filled += count;
            assert!(gateway.memory() < before + MEMORY);
        }
        read.truncate(filled);
        assert_unharmed(&gateway, before);
        read
    });
    for (kind, _, _, payload) in frames(&read) {
        match kind {
            RESET => assert_eq!(code(payload, 0), CANCEL),
            DATA => assert_eq!(payload.len(), 1),
            _ => {}
        }
    }
    let given_up = gateway.log().iter().filter(|line| line.contains("\"/public/attack\"")).count();
    assert_eq!(given_up, 100, "each is accounted for");
}

#[test]
fn streams_on_which_no_body_comes_are_bounded_in_number_and_time() {
    let backend = echo();
    let gateway = over_tls().set("server.body_timeout", "1s").with_backend(&backend).start();
    let request = [&block(&gateway, 3, "/public/attack")[..], &[0, 14], b"content-length", &[3], b"100"].concat();
    let streams: Vec<u8> = (0..150_u32).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &request)).collect();
    // It says good-bye, so that the connection ends with its streams.
    let read = attack(&gateway, [streams, frame(GO_AWAY, 0, 0, &[0; 8])].concat());
    let refused = frames(&read).iter().filter(|(kind, _, _, p)| *kind == RESET && code(p, 0) == REFUSED_STREAM).count();
    assert_eq!(refused, 50, "a hundred at a time");
    assert_refused(&gateway, 503, "too_many_streams", 50);
    assert!(backend.seen_at("/public/attack").iter().all(|seen| !seen.complete));
    let late = gateway.log().iter().filter(|line| line.contains("/public/attack") && line.contains("408")).count();
    assert_eq!(late, 100);
}

#[test]
fn a_malformed_head_ends_its_stream_or_its_connection_and_is_logged_and_counted() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let good = block(&gateway, 2, "/public/good");
    let rows: [(&str, &[u8], bool); 4] = [
        ("an upper-case name", &[0, 1, b'A', 1, b'1'], true),
        ("a pseudo-header that nobody knows", &[0, 2, b':', b'x', 1, b'1'], true),
        ("a header of the connection", b"\0\x0aconnection\x05close", false),
        ("a pseudo-header behind another header", &[0, 1, b'a', 1, b'1', 0x84], false),
    ];
    for (row, line, ends_the_connection) in rows {
        let heads = [[&good, line].concat(), good.clone()];
        let streams: Vec<u8> =
            (0..).zip(heads).flat_map(|(n, head)| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head)).collect();
        let read = attack(&gateway, [streams, frame(GO_AWAY, 0, 0, &[0; 8])].concat());
        let ended = farewell(&read) == Some(PROTOCOL_ERROR);
        let reset = frames(&read).iter().any(|(kind, _, stream, _)| (*kind, *stream) == (RESET, 1));
        assert_eq!((ended, reset), (ends_the_connection, !ends_the_connection), "{row}");
    }
    assert_refused(&gateway, 400, "bad_request", rows.len());
    assert_eq!(backend.seen_at("/public/good").len(), 2, "the next request on a connection that goes on");
}

#[test]
fn half_a_preface_is_not_waited_for() {
    let backend = echo();
    let gateway = over_tls().set("server.header_timeout", "500ms").with_backend(&backend).start();
    for half in [&PREFACE[..5], &PREFACE[..20], b"GET / HTTP/1.1\r\n\r\n"] {
        http2::shake_hands(&gateway, async |stream| pour(stream, half.to_vec()).await);
    }
    curl(&gateway).with(&["--http2"]).get("/public/user").expect(200);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_path_that_the_library_takes_for_no_uri_is_reset_and_counted_and_no_other_stream_ends_with_it() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let ask = |stream, path: &str| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&gateway, 2, path));
    // In the order of their numbers, as the protocol has it.
    let paths = ["/public/a?q=\"", "/public/a?q=<b>", "/public/<", "/public/`"];
    let asked = paths
        .iter()
        .zip([1, 5, 9, 13])
        .flat_map(|(path, stream)| [ask(stream, path), ask(stream + 2, "/public/fine")].concat());
    let sent: Vec<u8> = asked.chain(frame(GO_AWAY, 0, 0, &[0; 8])).collect();
    let read = attack(&gateway, sent);
    for stream in [1, 5, 9, 13] {
        let resets = frames(&read).into_iter().filter(|(kind, _, on, _)| (*kind, *on) == (RESET, stream));
        assert_eq!(resets.map(|(.., payload)| code(payload, 0)).collect::<Vec<_>>(), [PROTOCOL_ERROR], "{stream}");
    }
    assert_eq!(backend.seen_at("/public/fine").len(), 4);
    assert_refused(&gateway, 400, "bad_request", 4);
}
