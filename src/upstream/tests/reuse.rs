//! Idle connections: when there are any, which is taken, and when they end.

use super::*;

/// How many tasks are alive. Connections have none while somebody waits for their answers, or nobody does.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Lets every task that can run, run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn with_keepalive_off_each_request_has_its_own_connection_and_says_so() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    for _ in 0..2 {
        let script = async {
            let mut call = backend.accept().await;
            // This backend would keep the connection; a sync worker must not be held by it.
            let head = call.answer(OK).await;
            assert!(head.contains("connection: close"), "{head}");
            call
        };
        let (answer, mut call) = tokio::join!(upstream.send(get("/")), script);
        assert_eq!(text(answer.unwrap()).await, "ok");
        assert_eq!(call.rest().await, b"", "closed as soon as the answer is complete");
    }
    settle().await;
    assert_eq!(tasks(), 0, "no task is left behind");
}

#[tokio::test]
async fn with_keepalive_a_connection_is_used_again_and_the_last_one_first() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let (done, is_done) = tokio::sync::oneshot::channel();
    let script = async {
        let (mut first, mut second) = (backend.accept().await, backend.accept().await);
        let head = first.answer(OK).await;
        assert!(!head.contains("connection"), "{head}");
        is_done.await.unwrap();
        second.answer(OK).await;
        (first, second)
    };
    let a = async {
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        done.send(()).unwrap();
    };
    let b = async { assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok") };
    let ((), (), (_first, mut second)) = tokio::join!(biased; a, b, script);
    for _ in 0..3 {
        let (answer, _) = tokio::join!(upstream.send(get("/again")), second.answer(OK));
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_is_never_handed_out() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    for _ in 0..3 {
        let script = async { backend.accept().await.answer(OK).await };
        let (answer, _) = tokio::join!(upstream.send(post("/", "")), script);
        assert_eq!(text(answer.unwrap()).await, "ok");
        settle().await;
    }
}

#[tokio::test]
async fn an_answer_that_says_close_ends_its_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        for _ in 0..2 {
            let mut call = exchanged(&upstream, &backend, answer).await;
            assert_eq!(call.rest().await, b"");
        }
    }
}

#[tokio::test]
async fn a_connection_on_which_more_came_than_was_asked_for_is_not_used_again() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async {
        let mut call = backend.accept().await;
        call.answer(&format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")).await;
        call
    };
    let (answer, _call) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
    let (answer, _) = tokio::join!(upstream.send(get("/")), async { backend.accept().await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await, "ok", "and not what the backend slipped in");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_time_even_if_nobody_asks() {
    let backend = Backend::start().await;
    let (time, clock) = clock();
    let settings = UpstreamSettings { keepalive: kept(SECOND), ..settings(vec![backend.address()]) };
    let upstream = upstream_of(settings, &clock);
    let mut call = exchanged(&upstream, &backend, OK).await;
    settle().await;
    assert_eq!(tasks(), 1, "the one that will end it");
    time.advance(SECOND);
    let began = tokio::time::Instant::now();
    assert_eq!(call.rest().await, b"");
    assert_eq!(began.elapsed().as_secs(), 1);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test]
async fn an_idle_connection_past_its_time_is_not_handed_out() {
    let backend = Backend::start().await;
    let (time, clock) = clock();
    let settings = UpstreamSettings { keepalive: kept(10 * SECOND), ..settings(vec![backend.address()]) };
    let upstream = upstream_of(settings, &clock);
    let mut calls = Vec::new();
    for _ in 0..2 {
        let call = exchanged(&upstream, &backend, OK).await;
        calls.push(call);
        time.advance(10 * SECOND);
    }
}

#[tokio::test]
async fn idle_connections_are_few_and_the_oldest_makes_room() {
    const MAX: usize = MAX_IDLE;
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let mut answers = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..MAX + 3 {
        let script = async {
            let mut call = backend.accept().await;
            call.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
            call
        };
        let (answer, call) = tokio::join!(upstream.send(get("/")), script);
        answers.push(answer.unwrap());
        calls.push(call);
    }
    for (answer, call) in answers.into_iter().zip(&mut calls) {
        let (text, ()) = tokio::join!(text(answer), call.say("k"));
        assert_eq!(text, "ok");
    }
    for call in &mut calls[..3] {
        assert_eq!(call.rest().await, b"");
    }
}

#[tokio::test]
async fn dropping_the_future_or_the_body_or_the_upstream_closes_the_connection() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);

    let mut call = tokio::select! {
        answer = upstream.send(get("/")) => panic!("{answer:?}"),
        call = async { let mut call = backend.accept().await; call.head().await; call } => call,
    };
    assert_eq!(call.rest().await, b"", "the caller went away before the answer");

    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun").await;
        call
    };
    let (answer, mut call) = tokio::join!(upstream.send(get("/")), script);
    drop(answer);
    assert_eq!(call.rest().await, b"", "the caller went away before the answer's end");

    let script = async {
        let mut call = backend.accept().await;
        call.answer(OK).await;
        call
    };
    let (answer, mut call) = tokio::join!(upstream.send(get("/")), script);
    text(answer.unwrap()).await;
    drop(upstream);
    assert_eq!(call.rest().await, b"", "the pool went away");
}

#[tokio::test]
async fn a_dropped_request_drops_the_clients_body_too() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let (sender, body) = Pieces::of_length(10);
    let body = RequestBody::client(body, NO_LIMITS).unwrap();
    tokio::select! {
        answer = upstream.send(request(Method::POST, "/", body)) => panic!("{answer:?}"),
        _ = async { backend.accept().await.head().await } => {}
    }
    timeout(5 * SECOND, sender.closed()).await.unwrap();
}

#[test]
fn an_upstream_and_its_answers_can_go_to_any_task() {
    fn any_task<T: Send + 'static>(value: T) -> T {
        value
    }
    let upstream = Arc::new(upstream(Vec::new()));
    drop(any_task(async move { upstream.send(get("/")).await }));
    drop(any_task(async move {
        Spool::new(SpoolSettings { dir: "/".into(), above: 0, total: 0 })
            .take(Pieces::of_length(1).1, NO_LIMITS, std::net::IpAddr::from([127, 0, 0, 1]).into())
            .await
            .is_ok()
    }));
}

#[tokio::test]
async fn what_comes_unasked_just_before_a_request_is_written_is_not_its_answer() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let mut idle = exchanged(&upstream, &backend, OK).await;
    // The request has its connection, and gives way.
    let script = async {
        idle.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray").await;
        backend.accept().await.answer(OK).await;
    };
    let ask = async { text(upstream.send(get("/second")).await.unwrap()).await };
    let answer = timeout(5 * SECOND, async {
        tokio::select! {
            biased;
            answer = ask => answer,
            () = async { script.await; std::future::pending().await } => unreachable!(),
        }
    });
    assert_eq!(answer.await.unwrap(), "ok");
}
