//! WebSockets and other connections that leave HTTP (docs/behaviour.md, "Towards the backend", "Open streams"), byte by byte.

use std::time::{Duration, Instant};

use crate::on_both_stores;
use crate::support::websocket::{masked, server_frame};
use crate::support::{
    Browser, Gate, RedisServer, SWITCH, Step, Store, answer, echo, frame, gateway, let_pass, send, wait_until,
};

/// A session's tunnels and streams are cut within this (docs/behaviour.md, "Open streams").
const CUT: Duration = Duration::from_secs(1);

fn echoing() -> [Step; 2] {
    [send(SWITCH), Step::Raw { echo: true }]
}

on_both_stores!(a_websocket_carries_frames_both_ways_and_the_backend_knows_whose_it_is, |store| {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(store).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let (head, mut tab) =
        gateway.ask(&browser, "/ws", &[extensions, "Sec-WebSocket-Protocol: chat", "X-Customer-ID: 77"]);
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let seen = backend.last();
    assert_eq!(seen.identity(), (Some("42"), Some("7")));
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("connection"), Some("upgrade"));
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    assert_eq!(seen.header("sec-websocket-protocol"), Some("chat"));
    assert!(seen.header("sec-websocket-extensions").is_some_and(|value| value.contains("permessage-deflate")));
    assert_eq!(seen.header("cookie"), None, "the gateway's own cookie stays here");
    for text in ["hello", "", "again"] {
        tab.send(frame(text)).expect(frame(text));
    }
});

#[test]
fn a_foreign_page_gets_no_websocket_and_the_backend_hears_nothing_of_it() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .settings("[[routes]]\nmatch = \"/ws\"\nupgrade = [\"my-own\"]")
        .start();
    let browser = gateway.logged_in("42", "7");
    let before = backend.seen().len();
    for origin in ["Origin: https://evil.example", "Origin: null", "Origin:"] {
        for protocol in ["Upgrade: websocket", "Upgrade: WebSocket", "Upgrade: h2c, websocket"] {
            let mut wire = gateway.wire();
            wire.send(gateway.handshake(&browser, "/ws", &[origin, protocol]));
            wire.receive().expect_refusal(403, "csrf_failed");
        }
    }
    let other = ["Origin: https://evil.example", "Upgrade: my-own", "Sec-WebSocket-Key:"];
    gateway.wire().send(gateway.handshake(&browser, "/ws", &other)).receive().expect_refusal(403, "csrf_failed");
    assert_eq!(backend.seen().len(), before);
}

#[test]
fn a_websocket_needs_a_session_where_its_route_does() {
    let backend = echo();
    backend.on_head("/ws", echoing()).on_head("/public/ws", echoing());
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway
        .wire()
        .send(gateway.handshake(&gateway.browser(), "/ws", &[]))
        .receive()
        .expect_refusal(401, "session_required");
    assert!(backend.seen_at("/ws").is_empty());
    gateway.open(&gateway.browser(), "/public/ws").send(frame("hello")).expect(frame("hello"));
    backend.seen_at("/public/ws")[0].assert_anonymous();
}

#[test]
fn a_handshake_with_a_bad_key_is_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    for key in ["Sec-WebSocket-Key:", "Sec-WebSocket-Key: c2hvcnQ="] {
        gateway.wire().send(gateway.handshake(&browser, "/ws", &[key])).receive().expect_refusal(400, "bad_request");
    }
    assert!(backend.seen_at("/ws").is_empty());
}

#[test]
fn http_2_in_plain_text_is_never_offered_to_a_backend() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let lines =
        |protocol| [protocol, "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"];
    for protocol in ["Upgrade: h2c", "Upgrade: HTTP/2.0", "Upgrade: TLS/1.0, h2c"] {
        let mut wire = gateway.wire();
        wire.send(gateway.handshake(&browser, "/x", &lines(protocol))).receive().expect(200);
        let seen = backend.last();
        assert!(!seen.headers.has("upgrade") && !seen.headers.has("http2-settings"), "{seen:?}");
        wire.send(gateway.handshake(&browser, "/x", &lines(protocol))).receive().expect(200);
    }
}

#[test]
fn a_200_in_place_of_the_101_is_an_ordinary_answer_and_the_connection_stays_http() {
    let backend = echo();
    backend.on("/ws", [answer("200 OK", &[], "no sockets here")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let mut wire = gateway.wire();
    for _ in 0..3 {
        let answer = wire.send(gateway.handshake(&browser, "/ws", &[])).receive().expect(200);
        assert_eq!(answer.text(), "no sockets here");
        assert!(!answer.headers.has("upgrade"));
    }
    for (status, line) in [(404, "404 Not Found"), (426, "426 Upgrade Required"), (500, "500 Oops")] {
        backend.on("/ws", [answer(line, &[], "")]);
        wire.send(gateway.handshake(&browser, "/ws", &[])).receive().expect(status);
    }
}

#[test]
fn what_follows_a_refused_switch_is_the_next_request_and_was_shown_to_nobody() {
    let backend = echo();
    backend.on("/ws", [answer("200 OK", &[], "no sockets here")]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let smuggled = format!("GET /second HTTP/1.1\r\nHost: {}\r\nX-Customer-ID: 77\r\n\r\n", gateway.address());
    let mut wire = gateway.wire();
    wire.send(gateway.handshake(&browser, "/ws", &[]) + &smuggled);
    assert_eq!(wire.receive().expect(200).text(), "no sockets here");
    wire.receive().expect_refusal(401, "session_required");
    assert!(backend.seen_at("/second").is_empty());
    // A request before it in the same bytes does not change that.
    let first = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    let mut wire = gateway.wire();
    wire.send(first + &gateway.handshake(&browser, "/ws", &[]) + &smuggled);
    wire.receive().expect(200);
    assert_eq!(wire.receive().expect(200).text(), "no sockets here");
    wire.receive().expect_refusal(401, "session_required");
    assert!(backend.seen_at("/second").is_empty());
}

#[test]
fn early_frames_wait_for_the_101() {
    let backend = echo();
    let gate = Gate::closed();
    backend.on_head("/ws", [Step::Await(gate.clone()), send(SWITCH), Step::Raw { echo: true }]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let mut wire = gateway.wire();
    let mut early = gateway.handshake(&browser, "/ws", &[]).into_bytes();
    early.extend(frame("early"));
    wire.send(early);
    backend.wait_for("/ws");
    wire.send(frame("earlier than the answer"));
    let_pass(Duration::from_millis(100));
    gate.open();
    assert_eq!(wire.try_receive_head().expect("a head").status, 101);
    let expected = [frame("early"), frame("earlier than the answer")].concat();
    assert_eq!(wire.exactly(expected.len()).expect("both frames"), expected);
}

#[test]
fn a_101_that_is_not_the_answer_to_the_question_never_reaches_the_client() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let right = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for lines in [
        String::from("Upgrade: websocket\r\nConnection: Upgrade\r\n"),
        format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{right}"),
        format!("Upgrade: websocket\r\n{right}"),
        format!("Connection: Upgrade\r\n{right}"),
        String::from("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n"),
    ] {
        backend.on_head("/ws", [send(format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n")), Step::Hang]);
        let mut wire = gateway.wire();
        wire.send(gateway.handshake(&browser, "/ws", &[])).receive().expect_refusal(502, "bad_answer");
    }
}

on_both_stores!(a_logout_in_another_tab_closes_the_websocket_with_4401_and_nobody_elses, |store| {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut mine = [gateway.open(&browser, "/ws"), gateway.open(&browser, "/ws")];
    let mut others =
        [gateway.open(&gateway.logged_in("42", "7"), "/ws"), gateway.open(&gateway.logged_in("77", "9"), "/ws")];
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    for tab in &mut mine {
        assert_eq!(tab.expect_close(4401), "session_revoked");
    }
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
    let_pass(CUT);
    for tab in &mut others {
        tab.send(frame("still here")).expect(frame("still here"));
    }
    wait_until("the end of the backend's side", || {
        let open = backend.seen_at("/ws").iter().filter(|seen| !seen.complete).count();
        (open == 2).then_some(())
    });
});

on_both_stores!(logging_out_everywhere_closes_the_websockets_of_all_the_users_sessions, |store| {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut tabs = [gateway.open(&browser, "/ws"), gateway.open(&gateway.logged_in("42", "7"), "/ws")];
    let mut other = gateway.open(&gateway.logged_in("42", "8"), "/ws");
    browser.post("/api/auth/revoke-all-tokens").expect(200);
    let ended = Instant::now();
    for tab in &mut tabs {
        assert_eq!(tab.expect_close(4401), "session_revoked");
    }
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
    other.send(frame("still here")).expect(frame("still here"));
});

#[test]
fn what_another_gateway_ends_is_cut_here_within_a_second() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let store = Store::redis();
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).start());
    let mut browser = here.logged_in("42", "7");
    let mut tab = there.open(&browser.at(there.address()), "/ws");
    let mut other = there.open(&here.logged_in("42", "8").at(there.address()), "/ws");
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    tab.expect_close(4401);
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
    other.send(frame("still here")).expect(frame("still here"));
}

#[test]
fn the_close_frame_stands_between_two_frames_of_the_server() {
    let backend = echo();
    let gate = Gate::closed();
    let whole = server_frame("a frame in two pieces");
    let (first, second) = whole.split_at(7);
    backend
        .on_head("/ws", [send(SWITCH), send(first), Step::Await(gate.clone()), send(second), send(&whole), Step::Hang]);
    backend.on_head("/stuck", [send(SWITCH), send(first), Step::Hang]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let (mut tab, mut stuck) = (gateway.open(&browser, "/ws"), gateway.open(&browser, "/stuck"));
    tab.expect(first);
    stuck.expect(first);
    let out = std::thread::spawn(move || browser.post("/api/logout"));
    gateway.wait_log(&["the session may not go on: cut"]);
    gate.open();
    tab.expect(second).expect_close(4401);
    assert!(stuck.0.rest().is_empty(), "a frame that does not end is cut, and nothing is written into it");
    out.join().expect("an answer").expect(200);
}

on_both_stores!(frames_of_the_client_keep_its_session_alive_and_those_of_the_server_do_not, |store| {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let chatter: Vec<Step> =
        (0..40).flat_map(|_| [send(server_frame("news")), Step::Pause(Duration::from_millis(100))]).collect();
    backend.on_head("/news", [vec![send(SWITCH)], chatter, vec![Step::Hang]].concat());
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let (active, passive) = (gateway.logged_in("42", "7"), gateway.logged_in("42", "8"));
    let (mut talking, mut listening) = (gateway.open(&active, "/ws"), gateway.open(&passive, "/news"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        let ping = masked(0x89, b"");
        talking.send(&ping).expect(&ping);
        let_pass(Duration::from_millis(200));
    }
    active.clone().get("/x").expect(200);
    let rest = listening.0.rest();
    let close = [&[0x88, 22][..], &4401_u16.to_be_bytes(), b"session_idle_timeout"].concat();
    assert!(rest.ends_with(&close), "{:?}", &rest[rest.len().saturating_sub(30)..]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    passive.clone().get("/x").expect_refusal(401, "session_idle_timeout");
    // A pong is the browser's own doing, and no use.
    let pong = masked(0x8a, b"");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) && talking.0.try_send(&pong).is_ok() {
        let_pass(Duration::from_millis(200));
    }
    active.clone().get("/x").expect_refusal(401, "session_idle_timeout");
});

on_both_stores!(a_websocket_ends_with_the_absolute_lifetime_however_busy_it_is, |store| {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(store).with_backend(&backend).absolute("2s").start();
    let begin = Instant::now();
    let mut tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    while begin.elapsed() < Duration::from_millis(1500) {
        tab.send(frame("busy")).expect(frame("busy"));
    }
    assert_eq!(tab.expect_close(4401), "session_expired");
    let lived = begin.elapsed();
    assert!(lived > Duration::from_millis(1900) && lived < Duration::from_millis(3500), "{lived:?}");
});

#[test]
fn an_idle_tunnel_is_kept_for_as_long_as_configured() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.tunnel_idle", "1s").start();
    let mut tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    for _ in 0..4 {
        let_pass(Duration::from_millis(500));
        tab.send(frame("now and then")).expect(frame("now and then"));
    }
    let begin = Instant::now();
    tab.expect_close(1001);
    assert!(begin.elapsed() > Duration::from_millis(700), "{:?}", begin.elapsed());
}

#[test]
fn the_waits_of_http_do_not_end_a_tunnel() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.header_timeout", "500ms")
        .set("server.client_keepalive", "1s")
        .set("server.body_timeout", "500ms")
        .set("server.write_timeout", "500ms")
        .set("upstream.response_timeout", "500ms")
        .start();
    let mut tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    let_pass(Duration::from_millis(2500));
    tab.send(frame("still here")).expect(frame("still here"));
}

#[test]
fn a_store_that_cannot_say_cuts_nothing() {
    let redis = RedisServer::start();
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::on(&redis)).with_backend(&backend).start();
    let mut tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    redis.freeze();
    let_pass(Duration::from_secs(3));
    tab.send(frame("still here")).expect(frame("still here"));
    redis.thaw();
    let_pass(Duration::from_millis(500));
    tab.send(frame("and after")).expect(frame("and after"));
}

/// Lets requests for `/own` switch to another protocol than WebSocket.
const OWN_ROUTE: &str = "[[routes]]\nmatch = \"/own\"\nupgrade = [\"my-own\"]";

fn other_protocol(browser: &Browser, gateway: &crate::support::Gateway, path: &str) -> crate::support::Tab {
    let (head, tab) =
        gateway.ask(browser, path, &["Upgrade: my-own/1", "Sec-WebSocket-Key:", "Sec-WebSocket-Version:"]);
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(head.header("upgrade"), Some("my-own/1"));
    tab
}

const OWN_SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: my-own/1\r\nConnection: upgrade\r\n\r\n";

#[test]
fn a_switch_to_a_protocol_that_its_route_does_not_name_is_an_ordinary_request() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(OWN_ROUTE).start();
    let browser = gateway.logged_in("42", "7");
    for (path, protocol) in [("/x", "my-own/1"), ("/own", "foo"), ("/own", "my-owner"), ("/x", "foo, bar")] {
        let lines = [&*format!("Upgrade: {protocol}"), "Sec-WebSocket-Key:", "Sec-WebSocket-Version:"];
        let answer = gateway.wire().send(gateway.handshake(&browser, path, &lines)).receive().expect(200);
        assert!(!answer.headers.has("upgrade"));
        assert!(!backend.last().headers.has("upgrade"), "{protocol}: {:?}", backend.last());
    }
    let settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA";
    gateway.get_with_lines("/public/x", &[settings]).expect(200);
    assert!(!backend.last().headers.has("http2-settings"), "named by `Connection` or not");
}

#[test]
fn another_protocol_that_its_route_names_passes_as_well_and_is_cut_without_a_frame() {
    let backend = echo();
    backend.on_head("/own", [send(OWN_SWITCH), Step::Raw { echo: true }]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(OWN_ROUTE).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut tab = other_protocol(&browser, &gateway, "/own");
    let megabyte: Vec<u8> = (0..1_u32 << 20).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
    for piece in megabyte.chunks(32 << 10) {
        tab.send(piece).expect(piece);
    }
    browser.post("/api/logout").expect(200);
    assert!(tab.0.rest().is_empty());
}

#[test]
fn one_half_of_a_tunnel_can_end_before_the_other() {
    let backend = echo();
    backend.on_head("/own", [send(OWN_SWITCH), Step::Raw { echo: false }, send("the whole answer"), Step::Close]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(OWN_ROUTE).start();
    let mut tab = other_protocol(&gateway.logged_in("42", "7"), &gateway, "/own");
    tab.send("the whole question").0.finish();
    assert_eq!(tab.0.rest(), b"the whole answer");
    assert_eq!(backend.last().body, b"the whole question");
}

#[test]
fn a_client_that_goes_away_takes_the_backends_side_with_it() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    drop(tab);
    wait_until("the end of the backend's side", || backend.last().complete.then_some(()));
    let line = gateway.wait_log(&["/ws", "101"]);
    assert_eq!(line["status"], 101, "a tunnel is accounted when it is over: {line}");
    wait_until("a free slot", || (gateway.metric("connections", "") <= 1.0).then_some(()));
}

#[test]
fn a_tunnel_takes_a_slot_of_its_listener() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_connections_per_address", 3).start();
    let browser = gateway.logged_in("42", "7");
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(wait_until("a slot", || {
            let mut wire = gateway.wire();
            wire.try_send(gateway.handshake(&browser, "/ws", &[])).ok()?;
            let head = wire.try_receive_head().ok()?;
            (head.status == 101).then_some(wire)
        }));
    }
    assert!(gateway.wire().is_closed(), "all slots are taken");
    drop(tabs);
    wait_until("a slot", || {
        let mut wire = gateway.wire();
        wire.try_send(gateway.handshake(&browser, "/ws", &[])).ok()?;
        wire.try_receive_head().ok()
    });
}

#[test]
fn a_drain_tells_websockets_that_the_gateway_goes_away() {
    let backend = echo();
    backend.on_head("/ws", echoing());
    let mut gateway = gateway(Store::Embedded).with_backend(&backend).set("server.drain_timeout", "20s").start();
    let mut tab = gateway.open(&gateway.logged_in("42", "7"), "/ws");
    gateway.terminate();
    tab.expect_close(1001);
    let status = gateway.process().wait(Duration::from_secs(5)).expect("it does not wait for its timeout");
    assert_eq!(status.code(), Some(0));
}
