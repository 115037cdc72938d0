//! Which peer a request goes to, and what it is to be connected to one.

use super::*;

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
    let upstream = Upstream::new(settings(vec![address.clone(), b]), clock);
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
