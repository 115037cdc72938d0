//! What a backend may send back, and what becomes of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let mut call = backend.accept().await;
        let head = call.answer("HTTP/1.1 201 Created\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(head, "GET /a?b=c HTTP/1.1\r\nhost: app.example.com\r\nconnection: close");
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/a?b=c")), script);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(text(answer).await, "ok");
}

#[tokio::test]
async fn an_absolute_target_goes_out_in_origin_form() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async { backend.accept().await.answer(OK).await };
    let (answer, head) = tokio::join!(upstream.send(get("http://other.example.com/a?b")), script);
    answer.unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn interim_answers_are_dropped() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-User-ID: 1\r\n\r\n").await;
        call.say(OK).await;
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("x-user-id"));
    assert_eq!(text(answer).await, "ok");
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_length_they_state() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    for (method, answer, status, length) in [
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 200, Some("1000")),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", 304, Some("1000")),
    ] {
        let script = async { backend.accept().await.answer(answer).await };
        let (answer, _) = tokio::join!(upstream.send(request(method, "/", RequestBody::Empty)), script);
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().get("content-length").map(|value| value.to_str().unwrap()), length);
        assert!(answer.body().is_end_stream(), "{status} has no body");
        assert_eq!(text(answer).await, "");
    }
}

#[tokio::test]
async fn trailers_of_an_answer_are_dropped() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-ID\r\n\r\n";
        let mut call = backend.accept().await;
        call.answer(answer).await;
        call.say("2\r\nok\r\n0\r\nX-User-ID: 1\r\n\r\n").await;
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    let whole = answer.unwrap().into_body().collect().await.unwrap();
    assert!(whole.trailers().is_none());
    assert_eq!(whole.to_bytes(), "ok");
}

#[tokio::test]
async fn what_is_no_answer_is_the_backends_fault() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000));
    let endless = format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(201));
    for (name, answer, kind) in [
        ("nothing", "", "broken"),
        ("half a status line", "HTTP/1.", "broken"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", "broken"),
        ("garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed"),
        ("HTTP/0.9", "<html>hello</html>", "broken"),
        ("a status that is no number", "HTTP/1.1 abc OK\r\n\r\n", "malformed"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "malformed"),
        ("a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", "malformed"),
        (
            "a coding we cannot undo",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "malformed",
        ),
        ("a switch nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "malformed"),
        ("a first line that is folded", "HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 0\r\n\r\n", "malformed"),
        ("a chunk that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf", "malformed"),
        ("an end before a byte of the body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "broken"),
        ("a head without end", &endless, "malformed"),
        ("a head that is too long", &long, "malformed"),
        ("too many lines", &many, "malformed"),
    ] {
        let backend = Backend::start().await;
        let upstream = upstream(vec![backend.address()]);
        let script = async {
            let mut call = backend.accept().await;
            call.head().await;
            // The gateway may hang up before it has all.
            let _ = call.0.write_all(answer.as_bytes()).await;
        };
        let (answer, ()) = tokio::join!(upstream.send(post("/", "order")), script);
        let error = answer.map(|answer| answer.status()).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_head_just_within_the_bounds_passes() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let lines = format!("X-Many: {}\r\n", "x".repeat(250)).repeat(199);
    let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    let script = async { backend.accept().await.answer(&head).await };
    let (answer, _) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_never_a_shorter_body() {
    for (name, answer) in [
        ("with a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf"),
        ("with a chunk that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"),
    ] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let script = async { backend.accept().await.answer(answer).await };
        let (answer, _) = tokio::join!(upstream.send(get("/")), script);
        let cut = answer.unwrap().into_body().collect().await.expect_err(name);
        let expected = if name.ends_with("none") { "cannot be understood" } else { "broke off" };
        assert!(cut.to_string().starts_with(&format!("the backend's answer {expected}")), "{cut}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async { backend.accept().await.answer("HTTP/1.0 200 OK\r\n\r\nuntil the end").await };
    let (answer, _) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "until the end");
}

#[tokio::test]
async fn a_length_beside_chunked_does_not_pass() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        backend.accept().await.answer(answer).await
    };
    let (answer, _) = tokio::join!(upstream.send(get("/")), script);
    let answer = answer.unwrap();
    assert!(!answer.headers().contains_key("content-length"));
    assert_eq!(text(answer).await, "ok");
}

#[tokio::test]
async fn an_early_answer_is_delivered_although_the_upload_breaks() {
    for keeps_reading in [false, true] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let body = RequestBody::client(Endless(Arc::default()), NO_LIMITS).unwrap();
        let script = async {
            let mut call = backend.accept().await;
            call.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo ").await;
            if keeps_reading {
                call.body(1 << 20).await;
            }
            call.say("much").await;
            keeps_reading.then_some(call)
        };
        let (answer, call) = tokio::join!(upstream.send(request(Method::POST, "/", body)), script);
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(text(answer).await, "too much");
        // The connection is out of step, so it is closed: the endless upload ends, and the next request has its own.
        if let Some(mut call) = call {
            call.rest().await;
        }
        let (answer, _) = tokio::join!(upstream.send(get("/next")), async { backend.accept().await.answer(OK).await });
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_answer_that_has_arrived_is_read_to_its_end_although_our_bytes_run_into_a_reset() {
    const LENGTH: usize = 100_000;
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let body = RequestBody::client(Endless(Arc::default()), NO_LIMITS).unwrap();
    let script = async {
        let mut call = backend.accept().await;
        call.answer(&format!("HTTP/1.1 413 Too Large\r\nContent-Length: {LENGTH}\r\n\r\n{}", "x".repeat(LENGTH))).await;
        // Closed with the upload unread: the kernel answers our bytes with a reset.
        drop(call);
    };
    let (answer, ()) = tokio::join!(upstream.send(request(Method::POST, "/", body)), script);
    let answer = answer.unwrap();
    tokio::time::sleep(SECOND / 20).await;
    assert_eq!(text(answer).await.len(), LENGTH);
}

#[tokio::test]
async fn a_body_that_is_not_read_holds_the_backend_back() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let sent = AtomicU64::new(0);
    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
        let piece = vec![b'x'; 64 * 1024];
        while let Ok(Ok(())) = timeout(SECOND / 5, call.0.write_all(&piece)).await {
            sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 16 << 20, "{sent} bytes were taken though nobody read them");
    drop(answer);
}

#[tokio::test]
async fn an_answer_that_broke_off_does_not_say_that_it_is_over() {
    for head in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let script = async {
            let mut call = backend.accept().await;
            call.answer(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhal")).await;
        };
        let (answer, ()) = tokio::join!(upstream.send(get("/")), script);
        let mut body = answer.unwrap().into_body();
        while let Some(Ok(_)) = body.frame().await {}
        assert!(!body.is_end_stream(), "{head}");
    }
}
