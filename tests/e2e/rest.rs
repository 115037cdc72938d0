//! Connections that rest between requests give their memory back (docs/performance.md). Nobody may notice.

use std::thread::sleep;
use std::time::Duration;

use crate::support::echo::answer;
use crate::support::{Store, Wire, echo, gateway};

/// Longer than a connection takes to go to rest.
const REST: Duration = Duration::from_millis(1200);

const REQUEST: &str = "GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANY_HOST: &str = "server.hosts = [\"*\"]";

#[test]
fn a_connection_that_rested_takes_its_next_requests_whole_in_pieces_and_behind_each_other() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(ANY_HOST).start();
    let mut wire = Wire::connect(gateway.address());
    for _ in 0..2 {
        sleep(REST);
        wire.send(REQUEST).receive().expect(200);
        sleep(REST);
        let (start, end) = REQUEST.split_at(20);
        wire.send(start);
        sleep(REST);
        wire.send(end).receive().expect(200);
        sleep(REST);
        wire.send(REQUEST.repeat(3));
        for _ in 0..3 {
            wire.receive().expect(200);
        }
        sleep(REST);
        wire.send("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbo");
        sleep(REST);
        wire.send("dy").receive().expect(200);
        assert_eq!(backend.last().body, b"body");
    }
    sleep(REST);
    wire.send("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").receive().expect(400);
    assert!(wire.is_closed());
}

/// The last of an answer stands in the gateway's buffer while its client takes nothing: for some of these lengths all
/// that is left of it.
#[test]
fn what_a_client_has_not_taken_is_still_there_when_it_comes_back_to_it() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).settings(ANY_HOST).start();
    let lengths: Vec<usize> = (0..64).map(|step| (2 << 20) + step * (40 << 10)).collect();
    let mut wires = Vec::new();
    for length in &lengths {
        let path = format!("/public/{length}");
        backend.on(&path, [answer("200 OK", &[], vec![b'x'; *length])]);
        let mut wire = Wire::connect(gateway.address());
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        wires.push(wire);
    }
    sleep(REST * 2);
    for (mut wire, length) in wires.into_iter().zip(lengths) {
        assert_eq!(wire.receive().expect(200).body.len(), length);
    }
}
