//! Whose time runs when, on a clock that moves only when nothing else can happen.

use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_backend_that_says_nothing_times_out() {
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let backend = Backend::start().await;
        let upstream = upstream(vec![backend.address()]);
        let began = Instant::now();
        let script = async {
            let mut call = backend.accept().await;
            call.answer(begun).await;
            call.rest().await
        };
        let (answer, _) = tokio::join!(upstream.send(get("/")), script);
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), "timeout", "{error}");
        assert_eq!(began.elapsed().as_secs(), 60, "after {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn interim_answers_do_not_buy_time() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let began = Instant::now();
    let script = async {
        let mut call = backend.accept().await;
        call.head().await;
        while call.0.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            sleep(SECOND).await;
        }
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(answer.unwrap_err().kind(), "timeout");
    assert!((60..=61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_upload_is_not_cut() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let (sender, body) = Pieces::of_length(30);
    let body = RequestBody::client(body, BodyLimits { body_timeout: 90 * SECOND, ..NO_LIMITS }).unwrap();
    let client = async move {
        for _ in 0..10 {
            // Longer than the backend's time: it is the client that is waited for.
            sleep(80 * SECOND).await;
            sender.send(piece("abc")).await.unwrap();
        }
    };
    let script = async {
        let mut call = backend.accept().await;
        call.head().await.unwrap();
        call.body(30).await;
        sleep(59 * SECOND).await;
        call.say(OK).await;
    };
    let (answer, (), ()) = tokio::join!(upstream.send(request(Method::POST, "/", body)), client, script);
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_reads_slowly_but_steadily_is_not_cut() {
    // A step is more than the kernel holds for both sides: the upload is not complete before the last but one.
    const STEP: usize = 8 << 20;
    let backend = taking_little_at_a_time();
    let upstream = upstream(vec![backend.address()]);
    let body = RequestBody::Full(vec![b'x'; 6 * STEP].into());
    let script = async {
        let mut call = backend.accept().await;
        call.head().await.unwrap();
        for _ in 0..6 {
            sleep(40 * SECOND).await;
            call.body(STEP).await;
        }
        call.say(OK).await;
    };
    let (answer, ()) = tokio::join!(upstream.send(request(Method::PUT, "/", body)), script);
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_backends_time_begins_when_the_upload_is_complete() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let (sender, body) = Pieces::of_length(3);
    let body = RequestBody::client(body, NO_LIMITS).unwrap();
    let began = Instant::now();
    let client = async move {
        sleep(100 * SECOND).await;
        sender.send(piece("abc")).await.unwrap();
    };
    let script = async { backend.accept().await.rest().await };
    let (answer, (), _) = tokio::join!(upstream.send(request(Method::POST, "/", body)), client, script);
    assert_eq!(answer.unwrap_err().kind(), "timeout");
    assert_eq!(began.elapsed().as_secs(), 160);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_at_fault_and_not_the_backend() {
    for body_timeout in [30 * SECOND, 300 * SECOND] {
        let backend = Backend::start().await;
        let upstream = upstream(vec![backend.address()]);
        let (sender, body) = Pieces::of_length(10);
        let body = RequestBody::client(body, BodyLimits { body_timeout, ..NO_LIMITS }).unwrap();
        let began = Instant::now();
        let client = async {
            sleep(20 * SECOND).await;
            sender.send(piece("abc")).await.unwrap();
        };
        let script = async { backend.accept().await.rest().await };
        let (answer, (), _) = tokio::join!(upstream.send(request(Method::POST, "/", body)), client, script);
        let error = answer.unwrap_err();
        assert!(matches!(error, UpstreamError::ClientBody(BodyFault::Stalled)), "{error}");
        assert_eq!(began.elapsed().as_secs(), 20 + body_timeout.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stops_reading_times_out_and_the_client_is_not_blamed() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let limits = BodyLimits { body_timeout: SECOND, ..NO_LIMITS };
    let body = RequestBody::client(Endless(Arc::default()), limits).unwrap();
    let script = async {
        let call = backend.accept().await;
        sleep(100 * SECOND).await;
        drop(call);
    };
    let (answer, ()) = tokio::join!(upstream.send(request(Method::POST, "/", body)), script);
    assert_eq!(answer.unwrap_err().kind(), "timeout");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_may_take_for_ever() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..48 {
            sleep(3600 * SECOND).await;
            call.say("3\r\n:\n\n\r\n").await;
        }
        call.say("0\r\n\r\n").await;
    };
    let client = async { text(upstream.send(get("/events")).await.unwrap()).await };
    let (body, ()) = tokio::join!(client, script);
    assert_eq!(body.len(), 48 * 3);
}

#[tokio::test(start_paused = true)]
async fn events_pass_at_once_and_are_not_gathered() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let (seen, mut is_seen) = mpsc::channel::<()>(1);
    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..3 {
            call.say("3\r\n:\n\n\r\n").await;
            is_seen.recv().await.unwrap();
        }
        call.say("0\r\n\r\n").await;
    };
    let client = async {
        let mut body = upstream.send(get("/events")).await.unwrap().into_body();
        while let Some(frame) = body.frame().await {
            assert_eq!(frame.unwrap().into_data().unwrap(), ":\n\n");
            seen.send(()).await.unwrap();
        }
    };
    tokio::join!(client, script);
}

/// A backend for which the kernel holds no more than some 64 KiB.
fn taking_little_at_a_time() -> Backend {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Backend(socket.listen(16).unwrap())
}

/// A listener whose queue is full: whoever connects hears nothing.
async fn deaf() -> (PeerAddress, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = timeout(SECOND, TcpStream::connect(address)).await {
        filling.push(stream);
    }
    (PeerAddress::Tcp { host: address.ip().to_string(), port: address.port() }, (listener, filling))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_accept_in_time_is_passed_over() {
    let (deaf, _queue) = deaf().await;
    let began = Instant::now();
    let alone = upstream(vec![deaf.clone()]);
    assert_eq!(alone.send(get("/")).await.unwrap_err().kind(), "unreachable");
    assert_eq!(began.elapsed().as_secs(), 2);

    let backend = Backend::start().await;
    let began = Instant::now();
    let both = upstream(vec![deaf, backend.address()]);
    for _ in 0..3 {
        let script = async { backend.accept().await.answer(OK).await };
        let (answer, _) = tokio::join!(both.send(post("/", "order")), script);
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
    assert_eq!(began.elapsed().as_secs(), 2, "tried once, then last");
}
