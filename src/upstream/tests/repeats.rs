//! What is sent again, and what never is: an order must not arrive twice.

use std::collections::HashSet;

use super::*;

/// Leaves an idle connection in the pool and hands back the backend's end of it.
async fn idle_connection(backend: &Backend, upstream: &Upstream) -> Call {
    exchanged(upstream, backend, OK).await
}

#[tokio::test]
async fn an_order_does_not_go_out_on_a_connection_that_was_closed_just_before() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let call = idle_connection(&backend, &upstream).await;
        // Closed in the moment before the request: the runtime has not heard of it yet.
        drop(call);
        let script = async {
            let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            backend.accept().await.answer(close).await
        };
        let (answer, _) = tokio::join!(upstream.send(request(method, "/", RequestBody::Empty)), script);
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_written_is_never_sent_twice() {
    let empty = |method| request(method, "/", RequestBody::Empty);
    let get_with_body = request(Method::GET, "/", RequestBody::Full(Bytes::from_static(b"order")));
    for request in [post("/", "order"), empty(Method::POST), empty(Method::PUT), empty(Method::DELETE), get_with_body] {
        let name = format!("{} {:?}", request.method(), request.body());
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let idle = idle_connection(&backend, &upstream).await;
        let goes_on_the_idle_one = request.body().is_end_stream();
        let script = async {
            let mut call = if goes_on_the_idle_one { idle } else { backend.accept().await };
            call.head().await.unwrap();
            drop(call);
            assert!(backend.is_left_alone().await, "{name} came a second time");
        };
        let (answer, ()) = tokio::join!(upstream.send(request), script);
        assert_eq!(answer.unwrap_err().kind(), "broken", "{name}");
    }
}

#[tokio::test]
async fn a_safe_request_is_sent_once_more_when_a_used_connection_ends_without_a_byte() {
    for method in [Method::GET, Method::OPTIONS] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let mut call = idle_connection(&backend, &upstream).await;
        let script = async {
            let first = call.head().await.unwrap();
            drop(call);
            let again = backend.accept().await.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(first, again);
        };
        let (answer, ()) = tokio::join!(upstream.send(request(method, "/", RequestBody::Empty)), script);
        assert_eq!(answer.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn a_repetition_has_a_fresh_connection_and_not_another_idle_one() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let (done, is_done) = tokio::sync::oneshot::channel();
    let script = async {
        let (mut first, mut second) = (backend.accept().await, backend.accept().await);
        first.answer(OK).await;
        is_done.await.unwrap();
        second.answer(OK).await;
        (first, second)
    };
    let a = async {
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        done.send(()).unwrap();
    };
    let b = async { assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok") };
    let ((), (), (mut first, mut second)) = tokio::join!(biased; a, b, script);
    let script = async {
        second.head().await.unwrap();
        drop(second);
        tokio::select! {
            mut call = backend.accept() => { call.answer(OK).await; }
            head = first.head() => panic!("used the other idle one: {head:?}"),
        }
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_safe_request_is_not_sent_a_third_time() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let mut call = idle_connection(&backend, &upstream).await;
    let script = async {
        call.head().await.unwrap();
        drop(call);
        backend.accept().await.head().await.unwrap();
        assert!(backend.is_left_alone().await);
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(answer.unwrap_err().kind(), "broken");
}

#[tokio::test(start_paused = true)]
async fn a_safe_request_is_not_repeated_after_a_byte_of_an_answer_or_on_a_fresh_connection() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let mut call = idle_connection(&backend, &upstream).await;
    let script = async {
        call.answer("H").await;
        drop(call);
        assert!(backend.is_left_alone().await);
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(answer.unwrap_err().kind(), "broken");

    let script = async {
        backend.accept().await.head().await.unwrap();
        assert!(backend.is_left_alone().await);
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(answer.unwrap_err().kind(), "broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_race_with_a_closing_backend_and_none_arrives_twice() {
    const ORDERS: usize = 500;
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        loop {
            let mut call = backend.accept().await;
            let arrived = arrived.clone();
            tokio::spawn(async move {
                // Answers two orders and closes at once, as a server does whose keep-alive ran out.
                for _ in 0..2 {
                    let Some(head) = call.head().await else { return };
                    arrived.send(head.split("\r\n").next().unwrap().to_owned()).unwrap();
                    call.say(OK).await;
                }
            });
        }
    });
    let mut answered = 0;
    for order in 0..ORDERS {
        match upstream.send(post(&format!("/order/{order}"), "")).await {
            Ok(answer) => {
                assert_eq!(text(answer).await, "ok");
                answered += 1;
            }
            Err(error) => assert_eq!(error.kind(), "broken", "{error}"),
        }
    }
    server.abort();
    let mut seen = HashSet::new();
    while let Ok(order) = arrivals.try_recv() {
        assert!(seen.insert(order.clone()), "{order} arrived twice");
    }
    assert!(answered > ORDERS / 2, "{answered} of {ORDERS} were answered");
    assert!(seen.len() >= answered);
}

#[tokio::test]
async fn an_order_that_goes_to_another_connection_goes_whole() {
    let folder = tempfile::tempdir().unwrap();
    for turns in 0..12 {
        let path = folder.path().join(format!("{turns}.sock"));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let keepalive = kept(10 * SECOND);
        let upstream =
            upstream_of(UpstreamSettings { keepalive, ..settings(vec![PeerAddress::Unix(path)]) }, &clock().1);
        let script = async {
            let mut idle = listener.accept().await.unwrap().0;
            let mut buffer = [0; 1000];
            let _ = idle.read(&mut buffer).await.unwrap();
            idle.write_all(OK.as_bytes()).await.unwrap();
            idle
        };
        let (answer, idle) = tokio::join!(upstream.send(get("/first")), script);
        assert_eq!(text(answer.unwrap()).await, "ok");
        // Closed at some moment before the request is written.
        let script = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            drop(idle);
            let mut call = listener.accept().await.unwrap().0;
            let mut received = String::new();
            while !received.contains("\r\n\r\norder") && !received.contains("content-length: 0") {
                let mut buffer = [0; 1000];
                let count = call.read(&mut buffer).await.unwrap();
                received.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            call.write_all(OK.as_bytes()).await.unwrap();
            received
        };
        let ask = async { upstream.send(post("/", "order")).await };
        tokio::select! {
            biased;
            (answer, received) = async { tokio::join!(ask, script) } => {
                assert!(received.ends_with("\r\n\r\norder"), "after {turns} turns: {received:?} {answer:?}");
            }
            () = tokio::time::sleep(SECOND) => {}
        }
    }
}
