//! The PROXY protocol in front of HTTP: who is believed, what the backend is told, what is closed.

use crate::support::gateway::Builder;
use crate::support::{Gateway, Store, echo, gateway, let_pass};

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for a client at 203.0.113.9.
fn v2(command: u8) -> Vec<u8> {
    let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb];
    [V2_SIGNATURE, &[0x20 | command, 0x11, 0, 12], &addresses].concat()
}

fn mode(mode: &str, trusted: &str) -> Builder {
    gateway(Store::Embedded).set("server.proxy_protocol", mode).set("server.trusted_proxies", vec![trusted])
}

fn request(gateway: &Gateway, more: &str) -> String {
    format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n{more}\r\n", gateway.address())
}

#[test]
fn the_address_in_the_header_is_the_clients_for_every_request_of_the_connection() {
    let backend = echo();
    for which in ["optional", "required"] {
        let gateway = mode(which, "127.0.0.0/8").with_backend(&backend).start();
        for header in [b"PROXY TCP4 203.0.113.9 10.0.0.1 54321 443\r\n".to_vec(), v2(1)] {
            let mut wire = gateway.wire();
            wire.send(&header);
            for _ in 0..2 {
                // The client is no trusted proxy, so what it says of forwarding is not believed.
                wire.send(request(&gateway, "X-Forwarded-For: 1.1.1.1\r\n")).receive().expect(200);
                assert_eq!(backend.last().headers.all("x-forwarded-for"), ["203.0.113.9"], "{which}");
            }
        }
        let header = "PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n";
        gateway.exchange(format!("{header}{}", request(&gateway, ""))).expect(200);
        assert_eq!(backend.last().headers.all("x-forwarded-for"), ["2001:db8::9"], "{which}");
        let line = gateway.wait_log(&["/public/x", "2001:db8::9"]);
        assert_eq!(line["status"], 200);
    }
}

#[test]
fn a_proxy_named_in_the_header_is_walked_past_when_it_is_trusted() {
    let backend = echo();
    let gateway = mode("required", "127.0.0.0/8").with_backend(&backend).start();
    let header = "PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n";
    gateway.exchange(format!("{header}{}", request(&gateway, "X-Forwarded-For: 203.0.113.9\r\n"))).expect(200);
    assert_eq!(backend.last().headers.all("x-forwarded-for"), ["203.0.113.9"]);
}

#[test]
fn a_health_check_of_the_proxys_own_goes_by_its_own_address() {
    let backend = echo();
    let gateway = mode("required", "127.0.0.0/8").with_backend(&backend).start();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0), [V2_SIGNATURE, &[0x20, 0, 0, 0]].concat()] {
        gateway.exchange([&header, request(&gateway, "").as_bytes()].concat()).expect(200);
        assert_eq!(backend.last().headers.all("x-forwarded-for"), ["127.0.0.1"]);
        let probe = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
        gateway.exchange([&header, probe.as_bytes()].concat()).expect(200);
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_together_with_its_request() {
    let backend = echo();
    let gateway = mode("required", "127.0.0.0/8").with_backend(&backend).start();
    for header in [b"PROXY TCP4 203.0.113.9 10.0.0.1 54321 443\r\n".to_vec(), v2(1)] {
        let mut wire = gateway.wire();
        for byte in &header {
            wire.send([*byte]);
            let_pass(std::time::Duration::from_millis(1));
        }
        wire.send(request(&gateway, "")).receive().expect(200);
        assert_eq!(backend.last().headers.all("x-forwarded-for"), ["203.0.113.9"]);
    }
}

#[test]
fn without_a_header_an_optional_connection_is_its_own_and_a_required_one_is_closed() {
    let backend = echo();
    let optional = mode("optional", "127.0.0.0/8").with_backend(&backend).start();
    optional.exchange(request(&optional, "")).expect(200);
    // Its first letter could have begun a header.
    let post = format!("POST /public/x HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n\r\nx", optional.address());
    optional.exchange(post).expect(200);
    assert_eq!(backend.last().headers.all("x-forwarded-for"), ["127.0.0.1"]);

    let required = mode("required", "127.0.0.0/8").with_backend(&backend).start();
    let mut wire = required.wire();
    wire.send(request(&required, ""));
    assert!(wire.is_closed());
    assert!(required.metric("connections_failed_total", "proxy_header") >= 1.0);
}

#[test]
fn garbage_and_silence_are_closed() {
    let backend = echo();
    let gateway = mode("optional", "127.0.0.0/8").set("server.header_timeout", "300ms").with_backend(&backend).start();
    for garbage in [
        b"PROXY TCP4 evil 10.0.0.1 1 2\r\n".to_vec(),
        [b"PROXY ".to_vec(), vec![b'x'; 500]].concat(),
        [V2_SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        [V2_SIGNATURE, &[0x31, 0x11, 0, 12], &[0; 12]].concat(),
        // Silence in the middle.
        b"PROXY TCP4".to_vec(),
        V2_SIGNATURE.to_vec(),
    ] {
        let mut wire = gateway.wire();
        wire.send(&garbage);
        assert!(wire.is_closed(), "{garbage:?}");
    }
    assert!(gateway.wire().is_closed(), "a connection that says nothing at all");
    assert!(backend.seen().is_empty());
}

#[test]
fn a_strangers_header_is_a_malformed_request_and_a_required_one_leaves_no_other_way_in() {
    let backend = echo();
    for (which, header) in [
        ("off", b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec()),
        ("optional", b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec()),
        ("optional", v2(1)),
    ] {
        let gateway = mode(which, "10.0.0.0/8").with_backend(&backend).start();
        gateway.exchange([&header, request(&gateway, "").as_bytes()].concat()).expect_refusal(400, "bad_request");
        gateway.exchange(request(&gateway, "")).expect(200);
        assert_eq!(backend.last().headers.all("x-forwarded-for"), ["127.0.0.1"]);
    }
    let seen = backend.seen().len();
    let required = mode("required", "10.0.0.0/8").with_backend(&backend).start();
    for bytes in [v2(1), request(&required, "").into_bytes()] {
        let mut wire = required.wire();
        let _closed_already = wire.try_send(bytes);
        assert!(wire.is_closed());
    }
    assert_eq!(backend.seen().len(), seen);
}

#[test]
fn connections_are_counted_for_the_client_that_the_header_names() {
    let backend = echo();
    let gateway =
        mode("required", "127.0.0.0/8").set("server.max_connections_per_address", 1).with_backend(&backend).start();
    let open = |client: &str| {
        let mut wire = gateway.wire();
        wire.send(format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n"));
        wire
    };
    let mut first = open("203.0.113.9");
    first.send(request(&gateway, "")).receive().expect(200);
    assert!(open("203.0.113.9").is_closed(), "a second one of the same client");
    open("203.0.113.10").send(request(&gateway, "")).receive().expect(200);
    assert_eq!(gateway.metric("connections_refused_total", ""), 1.0);
    first.send(request(&gateway, "")).receive().expect(200);
}
