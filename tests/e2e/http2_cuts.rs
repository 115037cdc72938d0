//! Over TLS and HTTP/2: what is open for a session is cut with it, and who goes away is accounted for.

use std::time::{Duration, Instant};

use h2::{Reason, RecvStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::http2::{log_in, over_tls};
use crate::support::{Gate, SWITCH, Step, answer, curl, echo, http2, send, wait_until};

const CUT: Duration = Duration::from_secs(1);
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
const BIG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";

/// Opens a stream and waits for the answer's head.
async fn open(client: &mut http2::Client, path: &str, cookie: &str) -> RecvStream {
    let answer = client.send(client.request(path).header("cookie", cookie), true).0.await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.into_body()
}

/// Logs out on the same connection.
async fn log_out(client: &mut http2::Client, cookie: &str) -> Instant {
    let request = client.request("/api/logout").method("POST").header("cookie", cookie);
    assert_eq!(client.send(request, true).0.await.expect("an answer").status(), 200);
    Instant::now()
}

/// Reads on to the reset that ends the stream.
async fn reset_of(mut body: RecvStream) -> Option<Reason> {
    loop {
        match timeout(CUT, body.data()).await.expect("it is cut in time") {
            Some(Ok(piece)) => drop(body.flow_control().release_capacity(piece.len())),
            Some(Err(error)) => return error.is_reset().then(|| error.reason()).flatten(),
            None => panic!("it ends like a whole answer"),
        }
    }
}

#[test]
fn a_stream_is_reset_when_its_session_ends_and_the_others_of_the_connection_go_on() {
    let backend = echo();
    backend.on_head("/events", [send(EVENTS), Step::Hang]);
    let gateway = over_tls().with_backend(&backend).start();
    let (mine, other) = (log_in(&gateway), log_in(&gateway));
    http2::talk(&gateway, async |mut client, _end| {
        let mut kept = open(&mut client, "/events", &other).await;
        let mut cut = open(&mut client, "/events", &mine).await;
        for body in [&mut kept, &mut cut] {
            assert_eq!(body.data().await.expect("a piece").expect("whole"), "x");
        }
        let ended = log_out(&mut client, &mine).await;
        assert_eq!(reset_of(cut).await, Some(Reason::CANCEL));
        assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
        timeout(CUT, kept.data()).await.expect_err("another session's stream goes on");
        let request = client.request("/x").header("cookie", &other);
        assert_eq!(client.send(request, true).0.await.expect("an answer").status(), 200);
    });
    let line = gateway.wait_log(&["\"/events\"", "session_revoked"]);
    assert_eq!((&line["status"], &line["complete"]), (&200.into(), &false.into()), "{line}");
    assert_eq!(gateway.metric("streams_cut_total", "session_revoked"), 1.0);
}

#[test]
fn a_stream_whose_client_takes_nothing_is_reset_as_well() {
    let backend = echo();
    backend.on_head("/big", [send(BIG), Step::Repeat(vec![b'x'; 1 << 20], 100)]);
    let gateway = over_tls().with_backend(&backend).start();
    let (mine, other) = (log_in(&gateway), log_in(&gateway));
    // Room on the connection, and on each stream a little.
    let mut client = h2::client::Builder::new();
    client.initial_connection_window_size(1 << 20).initial_window_size(16 << 10);
    http2::talk_as(&gateway, &client, async |mut client, _end| {
        let mut blocked = open(&mut client, "/big", &mine).await;
        let mut read = 0;
        while read < 16 << 10 {
            read += blocked.data().await.expect("a piece").expect("whole").len();
        }
        timeout(Duration::from_millis(300), blocked.data()).await.expect_err("the window is closed");
        let ended = log_out(&mut client, &mine).await;
        assert_eq!(reset_of(blocked).await, Some(Reason::CANCEL));
        assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
        let request = client.request("/x").header("cookie", &other);
        assert_eq!(client.send(request, true).0.await.expect("an answer").status(), 200);
    });
    let line = gateway.wait_log(&["\"/big\"", "\"complete\":false"]);
    assert_eq!(line["code"], "session_revoked", "{line}");
}

#[test]
fn an_answer_that_is_not_taken_is_given_up_after_a_while_and_the_connection_goes_on() {
    let backend = echo();
    backend.on_head("/public/big", [send(BIG), Step::Repeat(vec![b'x'; 1 << 20], 100)]);
    let gateway = over_tls().with_backend(&backend).set("server.write_timeout", "1s").start();
    let mut client = h2::client::Builder::new();
    client.initial_connection_window_size(1 << 20).initial_window_size(16 << 10);
    http2::talk_as(&gateway, &client, async |mut client, _end| {
        let mut blocked = open(&mut client, "/public/big", "a=1").await;
        let mut read = 0;
        let reset = loop {
            match timeout(3 * CUT, blocked.data()).await.expect("an end").expect("no end like a whole answer's") {
                Ok(piece) => read += piece.len(),
                Err(error) => break error.reason(),
            }
        };
        assert_eq!((read, reset), (16 << 10, Some(Reason::CANCEL)));
        drop(open(&mut client, "/public/x", "a=1").await);
    });
    let line = gateway.wait_log(&["\"/public/big\"", "\"complete\":false"]);
    assert!(line["code"].is_null(), "{line}");
    assert_eq!(gateway.metric("streams_cut_total", ""), 0.0);
}

#[test]
fn an_upload_is_cut_and_its_client_told_why() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).set("upstream.request_body", "stream").start();
    let (mine, other) = (log_in(&gateway), log_in(&gateway));
    http2::talk(&gateway, async |mut client, _end| {
        let request = client.request("/upload").method("POST").header("cookie", &mine);
        let (answer, mut body) = client.send(request, false);
        body.send_data("part of it".into(), false).expect("it fits the window");
        // The connection is driven by this thread.
        while backend.seen_at("/upload").iter().all(|seen| seen.received == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let ended = log_out(&mut client, &mine).await;
        let mut answer = timeout(CUT, answer).await.expect("in time").expect("an answer");
        assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
        assert_eq!(answer.status(), 401);
        let told = answer.body_mut().data().await.expect("a body").expect("whole");
        assert!(String::from_utf8_lossy(&told).contains("session_revoked"));
        drop(open(&mut client, "/x", &other).await);
    });
    assert!(backend.seen_at("/upload").iter().all(|seen| !seen.complete), "a part is never taken for the whole");
}

#[test]
fn a_websocket_over_tls_is_closed_with_4401() {
    let backend = echo();
    backend.on_head("/ws", [send(SWITCH), Step::Raw { echo: true }]);
    let gateway = over_tls().with_backend(&backend).start();
    let cookie = log_in(&gateway);
    let host = format!("localhost:{}", gateway.address().port());
    http2::shake_hands_for("http/1.1", &gateway, async |mut stream| {
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nCookie: {cookie}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it takes the handshake");
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(stream.read_u8().await.expect("a head"));
        }
        assert!(read.starts_with(b"HTTP/1.1 101 "), "{}", read.escape_ascii());
        tokio::time::sleep(Duration::from_millis(300)).await;
        let call = curl(&gateway).with(&["--http2", "--request", "POST"]).header("Cookie", &cookie);
        call.get("/api/logout").expect(200);
        let mut rest = Vec::new();
        // The end comes with or without TLS's own good-bye.
        let _end = timeout(CUT, stream.read_to_end(&mut rest)).await.expect("in time");
        assert_eq!(rest, [&[0x88, 17][..], &4401_u16.to_be_bytes(), b"session_revoked"].concat());
    });
    let line = gateway.wait_log(&["\"/ws\"", "session_revoked"]);
    assert_eq!((&line["status"], &line["complete"]), (&101.into(), &false.into()), "{line}");
    assert_eq!(gateway.metric("streams_cut_total", "session_revoked"), 1.0);
}

#[test]
fn a_client_that_leaves_before_its_answer_is_logged_and_counted_in_either_protocol() {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/public/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "late")]);
    let gateway = over_tls().with_backend(&backend).start();
    let asked = |count: usize| {
        let arrived = || (backend.seen_at("/public/slow").len() == count).then_some(());
        wait_until("a request at the backend", arrived);
    };
    http2::talk(&gateway, async |mut client, _end| {
        let (answer, _) = client.send(client.request("/public/slow"), true);
        // The connection is driven by this thread.
        tokio::time::sleep(Duration::from_millis(50)).await;
        asked(1);
        drop(answer);
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(open(&mut client, "/public/x", "a=1").await);
    });
    let line = gateway.wait_log(&["\"/public/slow\"", "client_closed_request"]);
    assert_eq!((&line["status"], &line["complete"]), (&499.into(), &false.into()), "{line}");
    assert_eq!(gateway.metric("requests_total", "status=\"499\""), 1.0);
    http2::shake_hands_for("http/1.1", &gateway, async |mut stream| {
        let host = gateway.address().port();
        let request = format!("GET /public/slow HTTP/1.1\r\nHost: localhost:{host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it takes the request");
        asked(2);
    });
    let lines = || gateway.log().iter().filter(|line| line.contains("client_closed_request")).count();
    wait_until("a line for each of the two", || (lines() == 2).then_some(()));
    gate.open();
}
