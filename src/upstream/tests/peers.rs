//! Which peer a request goes to, and what it is to be connected to one.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::telemetry::Metrics;

/// A peer that accepts and answers, for ever, with its own name.
async fn named(name: &'static str) -> (PeerAddress, tokio::task::JoinHandle<()>) {
    let backend = Backend::start().await;
    let address = backend.address();
    let task = tokio::spawn(async move {
        loop {
            let mut call = backend.accept().await;
            call.answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
        }
    });
    (address, task)
}

/// An address at which nobody listens.
async fn nobody() -> PeerAddress {
    Backend::start().await.address()
}

async fn ask(upstream: &Upstream) -> String {
    text(upstream.send(post("/", "order")).await.unwrap()).await
}

#[tokio::test]
async fn peers_take_turns() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let upstream = upstream(vec![a.0, b.0, c.0]);
    let mut answers = String::new();
    for _ in 0..6 {
        answers += &ask(&upstream).await;
    }
    assert_eq!(answers, "abcabc");
}

#[tokio::test]
async fn a_peer_that_cannot_be_connected_is_passed_over_and_then_tried_last_for_a_second() {
    let (b, _task) = named("b").await;
    let down = Backend::start().await;
    let address = down.address();
    drop(down);
    let (time, clock) = clock();
    let upstream = upstream_of(settings(vec![address.clone(), b]), &clock);
    assert_eq!(ask(&upstream).await, "b", "nothing was sent, so the next one may have it");
    // It is back, but it rests for a second.
    let PeerAddress::Tcp { port, .. } = address else { unreachable!() };
    let back = Backend(TcpListener::bind(("127.0.0.1", port)).await.unwrap());
    let task = tokio::spawn(async move {
        loop {
            back.accept().await.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
        }
    });
    for _ in 0..4 {
        assert_eq!(ask(&upstream).await, "b");
    }
    time.advance(SECOND);
    let mut answers = [ask(&upstream).await, ask(&upstream).await];
    answers.sort();
    assert_eq!(answers, ["a", "b"], "after a second it has its turn again");
    task.abort();
}

#[tokio::test]
async fn when_no_peer_can_be_connected_the_request_is_unreachable_each_time() {
    let upstream = upstream(vec![nobody().await, nobody().await]);
    for _ in 0..3 {
        let error = upstream.send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), "unreachable", "{error}");
        assert!(error.to_string().contains("http://127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn an_upstream_without_peers_is_unreachable() {
    assert_eq!(upstream(Vec::new()).send(get("/")).await.unwrap_err().kind(), "unreachable");
}

#[tokio::test]
async fn a_name_is_looked_up_and_each_of_its_addresses_is_tried() {
    // localhost is ::1 too on most machines, where nobody listens on this port.
    let (address, _task) = named("a").await;
    let PeerAddress::Tcp { port, .. } = address else { unreachable!() };
    let upstream = upstream(vec![PeerAddress::Tcp { host: "localhost".to_owned(), port }]);
    assert_eq!(ask(&upstream).await, "a");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let upstream = upstream(vec![PeerAddress::Tcp { host: "no-such-host.invalid".to_owned(), port: 80 }]);
    assert_eq!(upstream.send(get("/")).await.unwrap_err().kind(), "unreachable");
}

#[tokio::test]
async fn a_unix_socket_is_a_peer_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let upstream = upstream(vec![PeerAddress::Unix(path.clone())]);
    assert_eq!(upstream.send(get("/")).await.unwrap_err().kind(), "unreachable");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let script = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 64];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"GET /a HTTP/1.1\r\n"));
        stream.write_all(OK.as_bytes()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/a")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
}

#[tokio::test]
async fn requests_of_one_key_meet_at_one_peer_and_move_when_it_is_gone() {
    let (a, b) = (named("a").await, named("b").await);
    let upstream = upstream_of(UpstreamSettings { balance: Balance::HashKey, ..settings(vec![a.0, b.0]) }, &clock().1);
    let ask = async |key| text(upstream.send_for(Some(key), get("/")).await.unwrap()).await;
    let home = ask("acme").await;
    for _ in 0..3 {
        assert_eq!(ask("acme").await, home);
    }
    let task = if home == "a" { a.1 } else { b.1 };
    task.abort();
    let _ = task.await;
    assert_ne!(ask("acme").await, home, "nothing was sent, so another may have it");
}

#[tokio::test]
async fn a_request_under_way_counts_until_its_answer_is_over() {
    let (busy, other) = (Backend::start().await, named("other").await);
    let upstream = upstream_of(
        UpstreamSettings { balance: Balance::LeastConnections, ..settings(vec![busy.address(), other.0]) },
        &clock().1,
    );
    let under_way = upstream.send(get("/stream"));
    let script = async {
        let mut call = busy.accept().await;
        call.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
        call
    };
    let (answer, mut call) = tokio::join!(under_way, script);
    for _ in 0..4 {
        assert_eq!(ask(&upstream).await, "other");
    }
    call.say("k").await;
    assert_eq!(text(answer.unwrap()).await, "ok");
    let both = async { tokio::join!(ask(&upstream), ask(&upstream)) };
    let serve = async {
        busy.accept().await.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbusy").await;
    };
    let ((one, two), ()) = tokio::join!(both, serve);
    assert_eq!([one.as_str(), two.as_str()].iter().filter(|name| **name == "busy").count(), 1);
}

/// A backend that takes each request and closes without an answer.
async fn breaking() -> (PeerAddress, Arc<AtomicUsize>) {
    let backend = Backend::start().await;
    let (address, calls) = (backend.address(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&calls);
    tokio::spawn(async move {
        loop {
            backend.accept().await.head().await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, calls)
}

const THRICE: Ejection = Ejection { failures: 3, rest: Duration::from_millis(300) };

#[tokio::test]
async fn a_peer_that_breaks_off_too_often_in_a_row_is_tried_last_and_comes_back_after_its_rest() {
    let ((bad, calls), (good, _task)) = (breaking().await, named("good").await);
    let metrics = Metrics::new();
    let settings = UpstreamSettings { eject: Some(THRICE), ..settings(vec![bad.clone(), good]) };
    let upstream = Upstream::new(settings, &clock().1, &metrics);
    let gauge = |value: u8| {
        let line = format!("session_gateway_upstream_peer_up{{upstream=\"default\",peer=\"{bad}\"}} {value}\n");
        metrics.encode().contains(&line)
    };
    for _ in 0..12 {
        let _broken_every_other_time = upstream.send(get("/")).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(gauge(0));
    tokio::time::sleep(2 * THRICE.rest).await;
    assert!(gauge(1));
    let _ = (upstream.send(get("/")).await, upstream.send(get("/")).await);
    assert_eq!(calls.load(Ordering::SeqCst), 4, "it has its turn again");
}

#[tokio::test]
async fn the_last_peer_that_is_in_is_never_taken_out() {
    let ((one, first), (two, second)) = (breaking().await, breaking().await);
    let metrics = Metrics::new();
    let settings = UpstreamSettings { eject: Some(THRICE), ..settings(vec![one, two]) };
    let upstream = Upstream::new(settings, &clock().1, &metrics);
    for _ in 0..20 {
        assert_eq!(upstream.send(get("/")).await.unwrap_err().kind(), "broken");
    }
    assert_eq!(first.load(Ordering::SeqCst) + second.load(Ordering::SeqCst), 20, "each request went to one of them");
    assert!(metrics.encode().contains("upstream_peer_up{") && metrics.encode().matches("} 0\n").count() > 0);
    let ups =
        metrics.encode().lines().filter(|line| line.contains("upstream_peer_up{") && line.ends_with(" 1")).count();
    assert_eq!(ups, 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_fails_its_checks_is_tried_last_until_one_is_good() {
    let status = Arc::new(AtomicUsize::new(503));
    let backend = Backend::start().await;
    let address = backend.address();
    let (answer, heads) = (Arc::clone(&status), Arc::new(std::sync::Mutex::new(Vec::new())));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let mut call = backend.accept().await;
            let status = answer.load(Ordering::SeqCst);
            let head = call.answer(&format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\nchecked")).await;
            seen.lock().unwrap().push(head);
        }
    });
    let (good, _task) = named("good").await;
    let health = Some(HealthCheck { path: "/up?x=1".parse().unwrap(), host: "app.example.com".parse().unwrap() });
    // Only the first is reached by an answer that is not "good".
    let upstream = upstream_of(UpstreamSettings { health, ..settings(vec![address, good]) }, &clock().1);
    tokio::time::sleep(5 * SECOND).await;
    for _ in 0..4 {
        assert_eq!(ask(&upstream).await, "good");
    }
    status.store(302, Ordering::SeqCst);
    tokio::time::sleep(3 * SECOND).await;
    let mut answers = [ask(&upstream).await, ask(&upstream).await];
    answers.sort();
    assert_eq!(answers, ["checked", "good"]);
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /up?x=1 http/1.1\r\n") && head.contains("host: app.example.com\r\n"), "{head}");
    drop(upstream);
    let checks = heads.lock().unwrap().len();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(heads.lock().unwrap().len(), checks, "checks end with their upstream");
}
