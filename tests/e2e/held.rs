//! What a client can hold, and for how long: places, connections to the backend, descriptors. It holds what is its share,
//! and nothing once it is gone; others are served meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt as _;

use crate::http2::over_tls;
use crate::on_both_stores;
use crate::support::echo::Echo;
use crate::support::gateway::Builder;
use crate::support::logins::identity;
use crate::support::{
    Browser, Gate, Gateway, Step, Store, Wire, answer, answer_json, curl, echo, gateway, http2, let_pass, send,
    wait_until,
};

/// A login that the backend never answers, and one that it does.
const HANGS: &str = "{}";

/// Answers each login but those that are to hang.
fn slow_to_log_in(gate: &std::sync::Arc<Gate>) -> Echo {
    let (backend, gate) = (echo(), gate.clone());
    backend.on_call("/api/login", move |seen| match seen.body.as_slice() {
        body if body == HANGS.as_bytes() => vec![Step::Await(gate.clone()), answer_json(&identity(42, 7))],
        _ => vec![answer_json(&identity(42, 8))],
    });
    backend
}

fn login(gateway: &Gateway, body: &str) -> String {
    let length = body.len();
    let address = gateway.address();
    format!(
        "POST /api/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn hanging(backend: &Echo) -> usize {
    backend.seen_at("/api/login").iter().filter(|seen| seen.body == HANGS.as_bytes()).count()
}

/// A connection from another address of this machine than all the others.
fn from_elsewhere(gateway: &Gateway) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
    socket.bind(&elsewhere.into()).expect("the loopback network is ours");
    socket.connect(&gateway.address().into()).expect("an open door");
    socket.into()
}

/// Logs in from another address, which is answered.
fn log_in_from_elsewhere(gateway: &Gateway) {
    use std::io::{Read as _, Write as _};
    let mut stream = from_elsewhere(gateway);
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    stream.write_all(login(gateway, "{\"a\":1}").as_bytes()).expect("it takes the request");
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200 OK");
}

#[test]
fn logins_that_were_reset_hold_their_places_until_they_end() {
    let gate = Gate::closed();
    let backend = slow_to_log_in(&gate);
    let gateway = over_tls()
        .with_backend(&backend)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .set("server.max_connections_per_address", 40)
        .start();
    http2::talk(&gateway, async |mut client, _end| {
        for round in 0..4 {
            let post = |client: &mut http2::Client, n: u32| {
                let request = client.request("/api/login").method("POST").header("content-type", "application/json");
                // In the second half they come from many addresses of one network.
                let from = if round < 2 { "2001:db8:0:1::1".to_owned() } else { format!("2001:db8:0:1::{n:x}") };
                let (answer, mut body) = client.send(request.header("x-forwarded-for", from), false);
                body.send_data(HANGS.into(), true).expect("an open stream");
                answer
            };
            let answers: Vec<_> = (1..=95).map(|n| post(&mut client, n)).collect();
            // The connection is driven by this thread.
            let begin = Instant::now();
            while hanging(&backend) < 40 || begin.elapsed() < Duration::from_millis(300) {
                assert!(begin.elapsed() < Duration::from_secs(20), "{} at the backend", hanging(&backend));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            drop(answers);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let request = client.request("/api/login").method("POST").header("x-forwarded-for", "2001:db8:0:1::7");
        let (refused, _) = client.send(request, true);
        let refused = refused.await.expect("an answer");
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"]),
            (503, &"1".parse().expect("a value"))
        );
        // Another client's login is answered, by the same proxy.
        let request = client.request("/api/login").method("POST").header("x-forwarded-for", "192.0.2.2");
        let (answered, mut body) = client.send(request, false);
        body.send_data("{\"a\":1}".into(), true).expect("an open stream");
        assert_eq!(answered.await.expect("an answer").status().as_u16(), 200);
    });
    assert_eq!(hanging(&backend), 40);
    assert_eq!(gateway.metric("exchanges_detached", ""), 40.0);
    wait_until("the connection's end", || (gateway.metric("connections", "") <= 1.0).then_some(()));
    gate.open();
    wait_until("their end", || (gateway.metric("exchanges_detached", "") == 0.0).then_some(()));
    wait_until("their sessions", || (gateway.metric("sessions_created_total", "") == 41.0).then_some(()));
}

#[test]
fn a_connection_carries_no_more_exchanges_than_streams_whoever_waits_for_them() {
    let gate = Gate::closed();
    let backend = slow_to_log_in(&gate);
    let gateway = over_tls().with_backend(&backend).start();
    http2::talk(&gateway, async |mut client, _end| {
        for _ in 0..3 {
            let mut answers = Vec::new();
            for _ in 0..90 {
                let (answer, mut body) = client.send(client.request("/api/login").method("POST"), false);
                body.send_data(HANGS.into(), true).expect("an open stream");
                answers.push(answer);
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let (refused, _) = client.send(client.request("/public/x"), true);
        assert_eq!(refused.await.expect("an answer").status().as_u16(), 503);
        let running = hanging(&backend);
        assert!((90..=100).contains(&running), "{running}");
    });
    assert!(gateway.log().iter().any(|line| line.contains("\"overloaded\"")));
    log_in_over_http2(&gateway);
    gate.open();
}

fn log_in_over_http2(gateway: &Gateway) {
    let call = curl(gateway).with(&["--http2", "--data", "{\"a\":1}"]).header("Content-Type", "application/json");
    call.get("/api/login").expect(200);
}

#[test]
fn a_client_that_posts_logins_and_hangs_up_holds_no_more_than_its_share() {
    let gate = Gate::closed();
    let backend = slow_to_log_in(&gate);
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_connections_per_address", 5).start();
    for _ in 0..30 {
        let Ok(mut wire) = Wire::try_connect(gateway.address()) else { continue };
        let _refused = wire.try_send(login(&gateway, HANGS));
        let_pass(Duration::from_millis(20));
    }
    // Long after the clients are known to be gone.
    let_pass(Duration::from_millis(2500));
    let _refused = Wire::try_connect(gateway.address()).map(|mut wire| wire.try_send(login(&gateway, HANGS)));
    let_pass(Duration::from_millis(100));
    assert_eq!(hanging(&backend), 5);
    assert_eq!(gateway.metric("exchanges_detached", ""), 5.0);
    log_in_from_elsewhere(&gateway);
    gate.open();
    wait_until("their end", || (gateway.metric("exchanges_detached", "") == 0.0).then_some(()));
    wait_until("a place", || (gateway.metric("connections", "") == 0.0).then_some(()));
    gateway.browser().post_json("/api/login", &json!({"a": 1})).expect(200);
}

#[test]
fn whenever_logins_are_reset_every_place_is_given_back() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).set("server.max_connections_per_address", 20).start();
    for round in 0..50_u64 {
        // What the round before left may have places still.
        wait_until("room", || (gateway.metric("connections", "") <= 1.0).then_some(()));
        http2::talk(&gateway, async |mut client, _end| {
            let mut answers = Vec::new();
            for n in 0..10_u64 {
                let (answer, mut body) = client.send(client.request("/api/login").method("POST"), false);
                body.send_data(HANGS.into(), true).expect("an open stream");
                answers.push(answer);
                if (n + round) % 3 == 0 {
                    tokio::time::sleep(Duration::from_micros(130 * round)).await;
                    drop(answers.remove(0));
                }
            }
            tokio::time::sleep(Duration::from_micros(200 * round)).await;
        });
    }
    wait_until("the end of all", || (gateway.metric("exchanges_detached", "") == 0.0).then_some(()));
    wait_until("no connection", || (gateway.metric("connections", "") == 0.0).then_some(()));
    http2::talk(&gateway, async |mut client, _end| {
        let answers: Vec<_> =
            (0..20).map(|_| client.send(client.request("/api/login").method("POST"), true).0).collect();
        for answer in answers {
            assert_eq!(answer.await.expect("an answer").status().as_u16(), 200);
        }
    });
}

/// A backend that waits at this path until the gateway leaves, which completes what it saw.
fn waiting() -> Echo {
    let backend = echo();
    backend.on_head("/public/wait", [Step::Raw { echo: false }]);
    backend
}

#[track_caller]
fn assert_left(gateway: &Gateway, backend: &Echo, count: usize) {
    let left = || backend.seen_at("/public/wait").iter().filter(|seen| seen.complete).count();
    wait_until("the gateway to leave the backend", || (left() == count).then_some(()));
    let logged = || gateway.log().iter().filter(|line| line.contains("client_closed_request")).count();
    wait_until("a log line", || (logged() == count).then_some(()));
    wait_until("a place", || (gateway.metric("connections", "") == 0.0).then_some(()));
}

fn asks(gateway: &Gateway, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address())
}

#[test]
fn a_client_that_is_gone_holds_no_place_and_no_connection_to_the_backend() {
    let backend = waiting();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for (count, reset) in [(1, false), (2, true)] {
        let stream = TcpStream::connect(gateway.address()).expect("an open door");
        std::io::Write::write_all(&mut &stream, asks(&gateway, "/public/wait").as_bytes()).expect("it is taken");
        wait_until("the request", || (backend.seen_at("/public/wait").len() == count).then_some(()));
        if reset {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        drop(stream);
        assert_left(&gateway, &backend, count);
    }
    // After a request that was answered, too, and when it took long to say good-bye.
    let mut wire = gateway.wire();
    wire.send(asks(&gateway, "/public/x")).receive().expect(200);
    wire.send(asks(&gateway, "/public/wait"));
    let_pass(Duration::from_millis(1000));
    drop(wire);
    assert_left(&gateway, &backend, 3);
    assert_eq!(gateway.metric("requests_total", "status=\"499\""), 3.0);
}

#[test]
fn a_client_that_is_gone_is_noticed_over_tls_and_http2_too() {
    let backend = waiting();
    let gateway = over_tls().with_backend(&backend).start();
    http2::shake_hands_for("http/1.1", &gateway, async |mut stream| {
        let host = gateway.address().port();
        let request = format!("GET /public/wait HTTP/1.1\r\nHost: localhost:{host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it takes the request");
        stream.flush().await.expect("it goes out");
        backend.wait_for("/public/wait");
        stream.shutdown().await.expect("a good-bye");
    });
    assert_left(&gateway, &backend, 1);
    for (count, resets) in [(2, true), (3, false)] {
        http2::talk(&gateway, async |mut client, end| {
            let (answer, _) = client.send(client.request("/public/wait"), true);
            while backend.seen_at("/public/wait").len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if resets {
                drop(answer);
                tokio::time::sleep(Duration::from_millis(50)).await;
            } else {
                // The connection goes, and the answer is still awaited.
                end.abort();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert_left(&gateway, &backend, count);
    }
}

#[test]
fn a_client_that_has_said_all_it_has_to_say_gets_its_answers() {
    let backend = echo();
    let soon = Duration::from_millis(600);
    backend.on("/public/soon", [Step::Pause(soon), answer("200 OK", &[], "soon")]);
    backend.on("/public/late", [Step::Pause(3 * soon), answer("200 OK", &[], "late")]);
    let piece = || [Step::Pause(soon), send("piece")];
    let pieces = [vec![send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")], [(); 4].map(|()| piece()).concat()];
    backend.on("/public/pieces", pieces.concat());
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    // `nc -N`: soon enough, or as long as it takes what comes.
    for (path, body) in [("/public/soon", "soon"), ("/public/pieces", "piecepiecepiecepiece")] {
        let mut wire = gateway.wire();
        wire.send(asks(&gateway, path)).finish();
        assert_eq!(wire.receive().expect(200).text(), body);
    }
    // What came behind the request is a request, also when it comes while the answer is awaited, and its end is no end.
    for wait in [Duration::ZERO, 2 * soon] {
        let mut wire = gateway.wire();
        wire.send(asks(&gateway, "/public/late"));
        let_pass(wait);
        wire.send(asks(&gateway, "/public/x")).finish();
        assert_eq!(wire.receive().expect(200).text(), "late");
        assert!(wire.receive().expect(200).text().contains("/public/x"));
    }
    assert!(!gateway.log().iter().any(|line| line.contains("client_closed_request")));
}

#[test]
fn an_upstream_that_is_the_gateway_itself_is_recognised_at_the_first_return() {
    let public = "[[routes]]\nmatch = [\"/*\"]\nauth = \"public\"";
    let address =
        |builder: &Builder| format!("http://{}", builder.config()["server"]["listen"].as_str().expect("an address"));
    let one = gateway(Store::Embedded).settings(public);
    let own = address(&one);
    let one = one.set("upstream.url", own).start();
    one.browser().get("/x").expect_refusal(508, "upstream_loop");
    assert_eq!(one.metric("requests_total", ""), 2.0);
    assert_eq!(one.metric("upstream_errors_total", "loop"), 1.0);
    one.wait_log(&["came back to the gateway", "\"default\"", "ERROR"]);
    // By way of another gateway it is the second hop; of another of the same store, the first.
    for (store, hops) in [(None, 3.0), (Some(Store::redis()), 2.0)] {
        let builder = || gateway(store.clone().unwrap_or(Store::Embedded)).settings(public);
        let (there, back) = (builder(), builder());
        let same = "https://same.example";
        let (to, fro) = (address(&there), address(&back));
        let hosts = vec!["*"];
        let there = there.set("upstream.url", fro).set("server.public_url", same).set("server.hosts", hosts.clone());
        let back = back.set("upstream.url", to).set("server.public_url", same).set("server.hosts", hosts);
        let (there, back) = (there.start(), back.start());
        there.browser().get("/x").expect_refusal(508, "upstream_loop");
        assert_eq!(there.metric("requests_total", "") + back.metric("requests_total", ""), hops);
    }
}

#[test]
fn what_a_client_says_of_where_it_was_refuses_and_reaches_nobody() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mark = |browser: &mut Browser, value: &str| {
        browser.request("GET", "/public/x").header("X-Gateway-Via", value).send().expect(200);
        backend.last().header("x-gateway-via").expect("the gateway's mark").to_owned()
    };
    let mut browser = gateway.browser();
    let own = mark(&mut browser, "nonsense, from a client");
    assert_eq!(own.len(), 22);
    assert!(mark(&mut browser, &"AAAAAAAAAAAAAAAAAAAAAA,".repeat(50)).ends_with(&own));
    let answered = browser.get("/public/x").expect(200);
    assert!(!answered.headers.has("x-gateway-via"));
}

on_both_stores!(with_few_descriptors_clients_take_their_share_and_operators_and_backends_have_theirs, |store| {
    let gate = Gate::closed();
    let backend = echo();
    backend.on("/public/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "late")]);
    let gateway = gateway(store).with_backend(&backend).start_with_descriptors(64);
    let line = gateway.wait_log(&["\"serving\""]);
    let most = line["max_connections"].as_u64().expect("a number");
    assert!((4..32).contains(&most), "{line}");
    let mut flood: Vec<Wire> = Vec::new();
    for _ in 0..200 {
        let Ok(mut wire) = Wire::try_connect(gateway.address()) else { continue };
        if wire.try_send(asks(&gateway, "/public/slow")).is_ok() {
            flood.push(wire);
        }
    }
    wait_until("all places to be taken", || (gateway.metric("connections", "") == most as f64).then_some(()));
    for _ in 0..20 {
        gateway.admin_get("/readyz").expect(200);
    }
    wait_until("all of them at the backend", || (backend.seen_at("/public/slow").len() as u64 == most).then_some(()));
    gate.open();
    let answered = flood.iter_mut().filter_map(|wire| wire.try_receive("GET").ok());
    assert_eq!(answered.filter(|answer| answer.status == 200).count() as u64, most);
    drop(flood);
    wait_until("places", || (gateway.metric("connections", "") == 0.0).then_some(()));
    gateway.logged_in("42", "7").get("/x").expect(200);
    assert!(!gateway.log().iter().any(|line| line.contains("could not be accepted")), "no want of descriptors");
});

#[test]
fn more_connections_than_the_system_has_room_for_are_an_error_of_the_configuration() {
    let backend = echo();
    let many = || gateway(Store::Embedded).with_backend(&backend).set("server.max_connections", 1_000_000);
    let checked = many().check(&[]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    let (status, refused) = many().refused();
    assert_eq!(status.code(), Some(2), "{refused}");
    for said in [said, refused] {
        assert!(said.contains("server.max_connections") && said.contains("LimitNOFILE"), "{said}");
    }
    let mut running = gateway(Store::Embedded).with_backend(&backend).start();
    running.reload_with("server.max_connections", 1_000_000);
    assert_eq!(running.metric("config_reloads_total", "failure"), 1.0);
    running.browser().get("/public/x").expect(200);
    // The soft limit is low for the sake of other programs, and raised.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.process().id())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let mut numbers = line.split_whitespace().filter(|word| word.parse::<u64>().is_ok());
    assert_eq!(numbers.next(), numbers.next(), "{line}");
}
