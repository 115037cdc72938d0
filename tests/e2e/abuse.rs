//! What a client can do over HTTP/1.1 to be a burden: it is answered or let go, memory stays bounded, and others are
//! served.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::http::find;
use crate::support::{Gateway, Store, Wire, echo, gateway, wait_until};

/// How much more memory a gateway may hold under attack, in KiB.
const MEMORY: u64 = 32 << 10;

fn get(gateway: &Gateway, target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", gateway.address())
}

/// A request from another address of this machine than all the others.
fn ask_from_elsewhere(gateway: &Gateway) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
    socket.bind(&elsewhere.into()).expect("the loopback network is ours");
    socket.connect(&gateway.address().into()).expect("an open door");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    stream.write_all(get(gateway, "/public/x", "Connection: close\r\n").as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_flood_of_connections_from_one_address_takes_no_more_than_its_share() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_connections_per_address", 50).start();
    let before = gateway.memory();
    let flood: Vec<Wire> = (0..500).filter_map(|_| Wire::try_connect(gateway.address()).ok()).collect();
    let refused = || (gateway.metric("connections_refused_total", "") >= 440.0).then_some(());
    wait_until("refusals", refused);
    assert!(gateway.metric("connections", "") <= 51.0);
    assert_eq!(ask_from_elsewhere(&gateway), "HTTP/1.1 200 OK");
    assert!(gateway.memory() < before + MEMORY);
    drop(flood);
}

#[test]
fn connections_on_which_nothing_is_said_are_let_go() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.header_timeout", "500ms").start();
    let half: Vec<Wire> = ["", "G", "GET /public/x HTTP/1.1\r\nHost: a\r\nX: "]
        .iter()
        .flat_map(|said| (0..60).map(move |_| said))
        .map(|said| {
            let mut wire = gateway.wire();
            wire.send(said);
            wire
        })
        .collect();
    gateway.get_with_lines("/public/x", &[]).expect(200);
    wait_until("the end of them all", || (gateway.metric("connections", "") == 0.0).then_some(()));
    assert_eq!(backend.seen().len(), 1);
    drop(half);
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order_in_little_memory() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let (many, before) = (10_000, gateway.memory());
    let one = get(&gateway, "/healthz", "");
    let last = get(&gateway, "/public/last", "Connection: close\r\n");
    let mut stream = TcpStream::connect(gateway.address()).expect("an open door");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut writer = stream.try_clone().expect("a socket");
    let sending = std::thread::spawn(move || {
        writer.write_all((one.repeat(many) + &last).as_bytes()).expect("it takes them");
    });
    assert_eq!(ask_from_elsewhere(&gateway), "HTTP/1.1 200 OK");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("answers to the end");
    sending.join().expect("everything was sent");
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), many + 1);
    assert!(text.ends_with('}') && find(&answers, b"/public/last").is_some(), "the last is the last");
    assert_eq!(backend.seen_at("/public/last").len(), 1);
    assert!(gateway.memory() < before + MEMORY);
}

#[test]
fn after_a_refusal_the_next_request_is_a_request_of_its_own_or_there_is_none() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let next = get(&gateway, "/public/next", "");
    for (target, more, status) in [
        ("/private", "", 401),
        ("/public/%2f", "", 400),
        ("/public/x", "Expect: something\r\n", 417),
        ("/private", "Accept: application/xhtml+xml\r\n", 302),
    ] {
        for together in [false, true] {
            let mut wire = gateway.wire();
            let refused = get(&gateway, target, more);
            wire.send(if together { refused + &next } else { refused }).receive().expect(status);
            if !together {
                wire.send(&next);
            }
            assert_eq!(wire.receive().expect(200).at("/target"), "/public/next", "{target} {more}");
        }
    }
    let asked = backend.seen().len();
    // Whose framing cannot be trusted has had its last word.
    for bad in [
        get(&gateway, "/public/x", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        get(&gateway, "/public/x", "A : b\r\n"),
        get(&gateway, "/public/x", &format!("A: {}\r\n", "v".repeat(40_000))),
        String::from("GET /public/x HTTP/1.1\r\n\r\n"),
    ] {
        let mut wire = gateway.wire();
        wire.try_send(format!("{bad}{next}")).expect("it takes the bytes");
        assert!(matches!(wire.receive().status, 400 | 431), "{bad:.60}");
        assert!(wire.rest().is_empty(), "{bad:.60}");
    }
    assert_eq!(backend.seen().len(), asked);
}

#[test]
fn a_flood_of_cookies_is_a_request_up_to_the_limit_and_431_beyond() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let cookies = |count: usize| (0..count).map(|n| format!("c{n:04}={n:08}; ")).collect::<String>();
    let own = format!("{}={}", crate::support::SESSION_COOKIE, browser.token());
    gateway.get_with_lines("/x", &[&format!("Cookie: {}{own}", cookies(1500))]).expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
    assert_eq!(backend.last().header("cookie").map(|line| line.matches('=').count()), Some(1500));
    let refused = gateway.get_with_lines("/x", &[&format!("Cookie: {}{own}", cookies(3000))]);
    refused.expect_refusal(431, "headers_too_large");
    let lines: Vec<String> = (0..200).map(|n| format!("Cookie: a{n}=1")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    gateway.get_with_lines("/x", &lines).expect_refusal(431, "headers_too_large");
}

#[test]
fn a_huge_url_is_refused_before_it_is_kept() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let long = "a".repeat(20_000);
    gateway.get_with_lines(&format!("/public/{long}?{long:.8000}"), &[]).expect(200);
    let before = gateway.memory();
    let attacks: Vec<_> = (0..8)
        .map(|_| {
            let address = gateway.address();
            std::thread::spawn(move || {
                let mut wire = Wire::connect(address);
                let block = "a".repeat(1 << 20);
                let mut sent = wire.try_send("GET /public/").is_ok();
                for _ in 0..16 {
                    sent = sent && wire.try_send(&block).is_ok();
                }
                // It may have been told already, and its last bytes refused.
                assert!(wire.try_receive("GET").map_or(true, |answer| answer.status == 431));
            })
        })
        .collect();
    attacks.into_iter().for_each(|attack| attack.join().expect("an end"));
    assert!(gateway.memory() < before + MEMORY);
    gateway.get_with_lines("/public/x", &[]).expect(200);
    wait_until("a count", || (gateway.metric("requests_total", "status=\"431\"") >= 8.0).then_some(()));
    assert_eq!(backend.seen().len(), 2);
}
