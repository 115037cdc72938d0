//! The request's body: framing, limits, faults, spooling.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::network::Network;

fn limits(max_body: u64) -> BodyLimits {
    BodyLimits { max_body, ..NO_LIMITS }
}

/// The head and the rest of what a backend gets for `request`.
async fn as_received(request: Request<RequestBody>) -> (String, String) {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let mut call = backend.accept().await;
        let head = call.head().await.unwrap();
        let mut rest = Vec::new();
        while let Ok(Ok(byte)) = timeout(SECOND / 10, call.0.read_u8()).await {
            rest.push(byte);
        }
        call.say(OK).await;
        (head, String::from_utf8(rest).unwrap())
    };
    let (answer, received) = tokio::join!(upstream.send(request), script);
    answer.unwrap();
    received
}

/// The lines of a head that frame its body.
fn framing(head: &str) -> Vec<&str> {
    head.split("\r\n").filter(|line| line.starts_with("content-length") || line.starts_with("transfer")).collect()
}

#[tokio::test]
async fn the_framing_follows_from_the_body_and_never_from_the_headers() {
    let streaming = |length: Option<u64>| {
        let (sender, body) = length.map_or_else(Pieces::of_unknown_length, Pieces::of_length);
        tokio::spawn(async move { sender.send(piece("abc")).await });
        RequestBody::client(body, NO_LIMITS).unwrap()
    };
    let full = || RequestBody::Full(Bytes::from_static(b"abc"));
    for (name, method, body, lines, bytes) in [
        ("GET without", Method::GET, RequestBody::Empty, vec![], ""),
        ("DELETE without", Method::DELETE, RequestBody::Empty, vec![], ""),
        ("POST without", Method::POST, RequestBody::Empty, vec!["content-length: 0"], ""),
        ("PUT in memory", Method::PUT, full(), vec!["content-length: 3"], "abc"),
        ("GET in memory", Method::GET, full(), vec!["content-length: 3"], "abc"),
        ("POST with a length", Method::POST, streaming(Some(3)), vec!["content-length: 3"], "abc"),
        (
            "POST without a length",
            Method::POST,
            streaming(None),
            vec!["transfer-encoding: chunked"],
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "GET without a length",
            Method::GET,
            streaming(None),
            vec!["transfer-encoding: chunked"],
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let mut request = request(method, "/", body);
        // What a careless caller may have left.
        request.headers_mut().insert("content-length", "7".parse().unwrap());
        request.headers_mut().insert("transfer-encoding", "gzip".parse().unwrap());
        request.headers_mut().insert("connection", "keep-alive, upgrade".parse().unwrap());
        let (head, rest) = as_received(request).await;
        assert_eq!(framing(&head), lines, "{name}");
        assert_eq!(rest, bytes, "{name}");
        assert!(head.ends_with("connection: close"), "{name}: {head}");
    }
}

#[tokio::test]
async fn trailers_of_a_client_never_reach_the_backend() {
    let (sender, body) = Pieces::of_unknown_length();
    tokio::spawn(async move {
        for piece in [piece("abc"), trailer()] {
            sender.send(piece).await.unwrap();
        }
    });
    let mut request = request(Method::POST, "/", RequestBody::client(body, NO_LIMITS).unwrap());
    request.headers_mut().insert("trailer", "x-user-id".parse().unwrap());
    let (_, rest) = as_received(request).await;
    assert_eq!(rest, "3\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_anything_is_sent() {
    let (_sender, body) = Pieces::of_length(11);
    assert_eq!(RequestBody::client(body, limits(10)).unwrap_err(), BodyFault::TooLarge);
    let (_sender, body) = Pieces::of_length(10);
    assert!(RequestBody::client(body, limits(10)).is_ok());
}

#[tokio::test]
async fn a_fault_of_the_clients_body_is_the_clients_and_the_backend_never_gets_a_whole_request() {
    for (name, pieces, fault) in [
        ("too large", vec![piece("12345"), piece("678901")], BodyFault::TooLarge),
        ("broken off", vec![piece("12345"), Err("reset")], BodyFault::Broken),
    ] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move {
            for piece in pieces {
                sender.send(piece).await.unwrap();
            }
        });
        let body = RequestBody::client(body, limits(10)).unwrap();
        let script = async {
            let mut call = backend.accept().await;
            call.head().await;
            call.rest().await
        };
        let (answer, received) = tokio::join!(upstream.send(request(Method::POST, "/", body)), script);
        let error = answer.unwrap_err();
        assert!(matches!(error, UpstreamError::ClientBody(found) if found == fault), "{name}: {error}");
        assert!(!received.ends_with(b"0\r\n\r\n"), "{name}: the backend got a complete body");
    }
}

#[tokio::test]
async fn a_client_that_fails_after_an_early_answer_does_not_take_the_answer_with_it() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let (sender, body) = Pieces::of_length(1000);
    let body = RequestBody::client(body, NO_LIMITS).unwrap();
    let (see, seen) = tokio::sync::oneshot::channel();
    let script = async {
        let mut call = backend.accept().await;
        call.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo ").await;
        seen.await.unwrap();
        sender.send(Err("the client stopped sending")).await.unwrap();
        // The backend learns that no more of the body will come, and ends its answer.
        assert_eq!(call.rest().await, b"");
        call.say("much").await;
    };
    let client = async {
        let answer = upstream.send(request(Method::POST, "/", body)).await.unwrap();
        see.send(()).unwrap();
        assert_eq!(text(answer).await, "too much");
    };
    tokio::join!(client, script);
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_the_client_back() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let taken = Arc::new(AtomicU64::new(0));
    let body = RequestBody::client(Endless(Arc::clone(&taken)), NO_LIMITS).unwrap();
    let script = async {
        let _call = backend.accept().await;
        tokio::time::sleep(SECOND / 2).await;
    };
    tokio::select! {
        answer = upstream.send(request(Method::POST, "/", body)) => panic!("{answer:?}"),
        () = script => {}
    }
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < 16 << 20, "{taken} bytes were taken though nobody read them");
}

fn client(number: u8) -> Network {
    std::net::IpAddr::from([192, 0, 2, number]).into()
}

fn spool_above(above: usize) -> Spool {
    Spool::new(SpoolSettings { dir: std::env::temp_dir(), above, total: 1 << 30 })
}

async fn spooled(length: usize, above: usize) -> RequestBody {
    let (sender, body) = Pieces::of_unknown_length();
    tokio::spawn(async move {
        let whole: Bytes = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for piece in whole.chunks(1000) {
            sender.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await.unwrap();
        }
        let _ = sender.send(trailer()).await;
    });
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(SpoolSettings { dir: dir.path().to_owned(), above, total: 1 << 30 });
    let body = spool.take(body, NO_LIMITS, client(1)).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    body
}

#[tokio::test]
async fn a_spooled_body_is_whole_has_its_length_and_goes_to_a_file_only_above_the_limit() {
    for (length, above, in_file) in [
        (0, 1000, false),
        (999, 1000, false),
        (1000, 1000, false),
        (1001, 1000, true),
        (200_000, 1000, true),
        (10, 0, true),
    ] {
        let body = spooled(length, above).await;
        assert_eq!(matches!(body, RequestBody::Spooled(_)), in_file, "{length} above {above}");
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        let whole = body.collect().await.unwrap();
        assert!(whole.trailers().is_none());
        let whole = whole.to_bytes();
        assert_eq!(whole.len(), length);
        assert!(whole.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251), "{length} above {above}");
    }
}

#[tokio::test]
async fn a_spooled_body_reaches_the_backend_with_its_length() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let request = request(Method::POST, "/", spooled(300_000, 1000).await);
    let script = async {
        let mut call = backend.accept().await;
        let head = call.head().await.unwrap();
        assert_eq!(framing(&head), ["content-length: 300000"]);
        let body = call.body(300_000).await;
        call.say(OK).await;
        body
    };
    let (answer, body) = tokio::join!(upstream.send(request), script);
    answer.unwrap();
    assert!(body.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
}

#[tokio::test]
async fn spooling_keeps_to_the_limit_in_memory_and_in_the_file() {
    for above in [0, 3, 100] {
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move { while sender.send(piece("1234")).await.is_ok() {} });
        let error = spool_above(above).take(body, limits(10), client(1)).await.unwrap_err();
        assert!(matches!(error, BodyError::Client(BodyFault::TooLarge)), "{error}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_our_fault_and_not_the_clients() {
    let (sender, body) = Pieces::of_unknown_length();
    tokio::spawn(async move { sender.send(piece("1234")).await });
    let spool = Spool::new(SpoolSettings { dir: "/nowhere/at/all".into(), above: 0, total: 1 << 30 });
    let misgiving = spool.settings().misgiving().expect("it is said beforehand");
    assert!(misgiving.contains("takes no file"), "{misgiving}");
    let error = spool.take(body, NO_LIMITS, client(1)).await.unwrap_err();
    assert!(matches!(error, BodyError::Spool(_)), "{error}");
}

#[test]
fn a_spool_in_memory_is_said_beforehand_and_one_on_a_disk_is_fine() {
    let of = |dir: &str| SpoolSettings { dir: dir.into(), above: 0, total: 1 << 30 }.misgiving();
    assert!(of("/dev/shm").is_some_and(|misgiving| misgiving.contains("tmpfs")));
    assert_eq!(of(env!("CARGO_MANIFEST_DIR")), None);
}

/// How long it takes to take in `count` pieces of one byte.
async fn time_for_bytes(count: usize, above: usize) -> Duration {
    let (sender, body) = Pieces::of_unknown_length();
    tokio::spawn(async move {
        for _ in 0..count {
            sender.send(piece("1")).await.unwrap();
        }
    });
    let began = tokio::time::Instant::now();
    let body = spool_above(above).take(body, NO_LIMITS, client(1)).await.unwrap();
    assert_eq!(body.size_hint().exact(), Some(count as u64));
    began.elapsed()
}

#[tokio::test]
async fn a_body_in_tiny_pieces_costs_its_file_no_write_each() {
    let (in_memory, in_file) = (time_for_bytes(100_000, 1 << 20).await, time_for_bytes(100_000, 0).await);
    assert!(in_file < 4 * in_memory, "{in_file:?} in a file, {in_memory:?} in memory");
}

#[tokio::test(start_paused = true)]
async fn spooling_gives_up_on_a_client_that_stalls() {
    let (_sender, body) = Pieces::of_unknown_length();
    let began = tokio::time::Instant::now();
    let limits = BodyLimits { body_timeout: 30 * SECOND, ..NO_LIMITS };
    let error = spool_above(0).take(body, limits, client(1)).await.unwrap_err();
    assert!(matches!(error, BodyError::Client(BodyFault::Stalled)), "{error}");
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn spooling_gives_up_on_a_client_that_crawls() {
    let (sender, body) = Pieces::of_unknown_length();
    let crawling = tokio::spawn(async move {
        while sender.send(piece("1")).await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    });
    let began = tokio::time::Instant::now();
    let limits = BodyLimits { body_timeout: 30 * SECOND, ..NO_LIMITS };
    let error = spool_above(1000).take(body, limits, client(1)).await.unwrap_err();
    assert!(matches!(error, BodyError::Client(BodyFault::Stalled)), "{error}");
    assert!((60..65).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    crawling.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_came_fast_cannot_drip_on_for_hours() {
    let (sender, body) = Pieces::of_unknown_length();
    let dripping = tokio::spawn(async move {
        for _ in 0..150 {
            sender.send(Ok(Frame::data(vec![0; 100_000].into()))).await.unwrap();
        }
        while sender.send(piece("1")).await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    });
    let began = tokio::time::Instant::now();
    let limits = BodyLimits { body_timeout: 30 * SECOND, ..NO_LIMITS };
    let error = spool_above(1000).take(body, limits, client(1)).await.unwrap_err();
    assert!(matches!(error, BodyError::Client(BodyFault::Stalled)), "{error}");
    assert!((90..100).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    dripping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_within_the_limit_is_forgiven_to_a_body_that_goes_on() {
    let (sender, body) = Pieces::of_unknown_length();
    tokio::spawn(async move {
        for _ in 0..20 {
            for _ in 0..30 {
                sender.send(Ok(Frame::data(vec![0; 4000].into()))).await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
            tokio::time::sleep(25 * SECOND).await;
        }
    });
    let limits = BodyLimits { body_timeout: 30 * SECOND, ..NO_LIMITS };
    let body = spool_above(1000).take(body, limits, client(1)).await.unwrap();
    assert_eq!(body.size_hint().exact(), Some(20 * 30 * 4000));
}

#[tokio::test(start_paused = true)]
async fn when_the_files_are_full_the_slowest_upload_goes_and_a_quick_one_is_taken() {
    const TOTAL: u64 = 10_000_000;
    let spool = Spool::new(SpoolSettings { dir: std::env::temp_dir(), above: 0, total: TOTAL });
    let limits = BodyLimits { max_body: TOTAL, ..NO_LIMITS };
    let (dripping, body) = Pieces::of_unknown_length();
    tokio::spawn(async move {
        dripping.send(Ok(Frame::data(vec![0; 6_000_000].into()))).await.unwrap();
        while dripping.send(Ok(Frame::data(vec![0; 2000].into()))).await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    });
    let slow = spool.take(body, limits, client(1));
    let quick = async {
        tokio::time::sleep(40 * SECOND).await;
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move { sender.send(Ok(Frame::data(vec![0; 8_000_000].into()))).await });
        spool.take(body, limits, client(2)).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(matches!(slow.unwrap_err(), BodyError::NoRoom));
    assert_eq!(quick.unwrap().size_hint().exact(), Some(8_000_000));
}

#[tokio::test]
async fn what_waits_in_files_is_bounded_and_gives_its_room_back() {
    const TOTAL: usize = 100_000;
    let spool = Spool::new(SpoolSettings { dir: std::env::temp_dir(), above: 0, total: TOTAL as u64 });
    let upload = |length: usize| {
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move { sender.send(Ok(Frame::data(vec![0; length].into()))).await });
        spool.take(body, NO_LIMITS, client(1))
    };
    let first = upload(TOTAL / 2).await.unwrap();
    assert!(matches!(upload(TOTAL).await.unwrap_err(), BodyError::NoRoom));
    drop(first);
    upload(TOTAL / 2).await.unwrap();
}

#[tokio::test]
async fn while_the_memory_is_taken_small_bodies_are_taken_in_and_larger_ones_refused() {
    let memory = BodyMemory::default();
    let upload = |length: usize| {
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move {
            for _ in 0..2 {
                sender.send(Ok(Frame::data(vec![0; length / 2].into()))).await.unwrap();
            }
        });
        memory.take(body, NO_LIMITS)
    };
    let all = upload(64 << 20).await.unwrap();
    assert_eq!(upload(16 << 10).await.unwrap().len(), 16 << 10);
    assert!(matches!(upload(32 << 10).await.unwrap_err(), BodyError::NoRoom));
    drop(all);
    assert_eq!(upload(32 << 10).await.unwrap().len(), 32 << 10);
}

#[tokio::test]
async fn a_chunk_ends_where_it_ends_wherever_the_socket_stops_taking_it() {
    let folder = tempfile::tempdir().unwrap();
    // Around where a Unix socket of Linux is full, so that a chunk's own end is what does not fit.
    for length in 219_100..219_200 {
        let path = folder.path().join(format!("{length}.sock"));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let upstream = upstream(vec![PeerAddress::Unix(path)]);
        let (sender, body) = Pieces::of_unknown_length();
        tokio::spawn(async move {
            sender.send(Ok(Frame::data(Bytes::from(vec![b'x'; length])))).await.unwrap();
            sender.send(piece("abc")).await.unwrap();
        });
        let script = async {
            let mut call = listener.accept().await.unwrap().0;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
            while !received.ends_with(b"0\r\n\r\n") && received.len() < length + 1000 {
                let count = call.read(&mut buffer).await.unwrap();
                received.extend_from_slice(&buffer[..count]);
            }
            call.write_all(OK.as_bytes()).await.unwrap();
            received
        };
        let request = request(Method::POST, "/", RequestBody::client(body, NO_LIMITS).unwrap());
        let both = timeout(5 * SECOND, async { tokio::join!(upstream.send(request), script) });
        let (answer, received) = both.await.unwrap_or_else(|_| panic!("a chunk of {length}: no end comes"));
        assert_eq!(answer.unwrap().status(), 200);
        let end = received.rsplit(|byte| *byte == b'x').next().unwrap();
        assert_eq!(std::str::from_utf8(end).unwrap(), "\r\n3\r\nabc\r\n0\r\n\r\n", "a chunk of {length}");
    }
}
