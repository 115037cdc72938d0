//! One answer, one request: what a backend writes beside its answers is never another request's.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;

use super::tls::Authority;
use super::*;

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The head of the next request; `None` when the connection ends first.
async fn head(stream: &mut Box<dyn Stream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn say(stream: &mut Box<dyn Stream>, text: &str) {
    // The gateway may have hung up.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}

/// Answers `/first` with this. Whatever comes next on the connection has it write something else before the answer,
/// which is the path that was asked for.
async fn serve(mut stream: Box<dyn Stream>, first: &str, beside: &str) {
    let mut owes = false;
    while let Some(head) = head(&mut stream).await {
        let path = head.split(' ').nth(1).unwrap();
        if path == "/first" {
            say(&mut stream, first).await;
            owes = true;
            continue;
        }
        if std::mem::take(&mut owes) {
            say(&mut stream, beside).await;
        }
        say(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())).await;
    }
}

/// A way to a backend.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tcp,
    Tls,
    Unix,
}

/// An upstream that keeps connections to a backend that does this on each.
async fn to<F>(way: Way, authority: &Authority, serve: impl Fn(Box<dyn Stream>) -> F + Send + 'static) -> Upstream
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let path = folder.path().join("backend.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let peers = vec![match way {
        Way::Tcp => backend.address(),
        Way::Unix => PeerAddress::Unix(path),
        Way::Tls => {
            let port = backend.0.local_addr().unwrap().port();
            PeerAddress::Tls { host: String::from("localhost"), port }
        }
    }];
    let tls = authority.server("localhost");
    tokio::spawn(async move {
        let _folder = folder;
        loop {
            let stream: Box<dyn Stream> = match way {
                Way::Tcp => Box::new(backend.accept().await.0),
                Way::Unix => Box::new(unix.accept().await.unwrap().0),
                Way::Tls => Box::new(tls.accept(backend.accept().await.0).await.unwrap()),
            };
            tokio::spawn(serve(stream));
        }
    });
    let trust = Some(authority.trust());
    let settings = UpstreamSettings { trust, keepalive: kept(10 * SECOND), ..settings(peers) };
    upstream_of(settings, &clock().1)
}

const GET: Method = Method::GET;

/// Answers after which somebody could go on with the answer, and somebody else begin with the next.
const ARGUABLE: [(Method, &str, &str); 22] = [
    (Method::HEAD, "200 with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    (Method::HEAD, "200 with none", "HTTP/1.1 200 OK\r\n\r\n"),
    (Method::HEAD, "200 of nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (Method::HEAD, "200 in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (GET, "204", "HTTP/1.1 204 No Content\r\n\r\n"),
    (GET, "204 of nothing", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    (GET, "205 of nothing", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    (GET, "304", "HTTP/1.1 304 Not Modified\r\n\r\n"),
    (GET, "304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    (GET, "103, 204", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    (GET, "103, 200", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (GET, "100, 100, 200", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (Method::HEAD, "103, 200", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (GET, "one length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    (GET, "a length with zeros before it", "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nok"),
    (GET, "length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (GET, "HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    (GET, "a folded line", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok"),
    (GET, "a blank before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    (GET, "lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    (GET, "trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n"),
    (GET, "a chunk's size with blanks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0  \r\n\r\n"),
];

#[tokio::test]
async fn what_comes_after_an_answer_whose_end_can_be_argued_about_is_nobodys_answer() {
    let authority = Authority::new();
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        for (method, name, first) in ARGUABLE {
            let upstream = to(way, &authority, move |stream| serve(stream, first, POISON)).await;
            let answer = upstream.send(request(method, "/first", RequestBody::Empty)).await;
            let _ = answer.unwrap().into_body().collect().await.unwrap();
            let victim = timeout(5 * SECOND, async { text(upstream.send(get("/victim")).await.unwrap()).await }).await;
            assert_eq!(victim.expect(name), "/victim", "{name} over {way:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_whose_end_is_certain_leaves_its_connection_to_the_next() {
    let authority = Authority::new();
    for way in [Way::Tcp, Way::Tls, Way::Unix] {
        for first in [OK, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"] {
            let (told, mut connections) = mpsc::unbounded_channel();
            let upstream = to(way, &authority, move |stream| {
                told.send(()).unwrap();
                serve(stream, first, "")
            })
            .await;
            for path in ["/first", "/one", "/two"] {
                text(upstream.send(get(path)).await.unwrap()).await;
            }
            connections.recv().await.unwrap();
            assert!(connections.try_recv().is_err(), "one connection over {way:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_the_backend_left_unread_is_no_request_of_anyone() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async {
        let mut call = backend.accept().await;
        let head = call.answer(OK).await;
        assert!(head.ends_with("connection: close"), "what it would take for a request comes after the last: {head}");
        backend.accept().await.answer(OK).await;
    };
    let ask = async {
        text(upstream.send(post("/", "GET /smuggled HTTP/1.1\r\nX-User-ID: 1\r\n\r\n")).await.unwrap()).await;
        text(upstream.send(get("/next")).await.unwrap()).await
    };
    let (next, ()) = tokio::join!(ask, script);
    assert_eq!(next, "ok");
}

#[tokio::test]
async fn whoever_decides_by_an_answer_has_a_connection_without_a_past_or_a_future() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async {
        let mut idle = backend.accept().await;
        idle.answer(OK).await;
        let mut own = backend.accept().await;
        let head = own.answer(OK).await;
        assert!(head.ends_with("connection: close"), "{head}");
        assert_eq!(own.rest().await, b"");
        idle.answer(OK).await;
    };
    let ask = async {
        text(upstream.send(get("/")).await.unwrap()).await;
        text(upstream.send_alone(None, get("/whoami")).await.unwrap()).await;
        text(upstream.send(get("/")).await.unwrap()).await;
    };
    tokio::join!(ask, script);
}

/// Whether the next request finds an idle connection, or says that its own will be the last.
async fn is_kept(upstream: &Upstream, backend: &Backend) -> bool {
    let script = async {
        let mut call = backend.accept().await;
        let head = call.answer(OK).await;
        (!head.contains("connection: close"), call)
    };
    let (answer, (is_kept, _call)) = tokio::join!(upstream.send(get("/")), script);
    assert_eq!(text(answer.unwrap()).await, "ok");
    is_kept
}

#[tokio::test]
async fn a_backend_that_wrote_more_than_its_answers_has_no_connection_used_again() {
    for (name, answer, beside) in [
        ("with the answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokx", ""),
        ("later", OK, "x"),
        ("an answer that nobody asked for", OK, POISON),
    ] {
        let backend = Backend::start().await;
        let upstream = upstream_with_keepalive(&backend);
        let mut call = exchanged(&upstream, &backend, answer).await;
        call.say(beside).await;
        // The one that is asked next may find out.
        let _ = is_kept(&upstream, &backend).await;
        assert!(!is_kept(&upstream, &backend).await, "{name}");
    }
}

#[tokio::test]
async fn a_backend_that_says_why_it_closes_an_idle_connection_wrote_nothing_amiss() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let mut call = exchanged(&upstream, &backend, OK).await;
    call.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").await;
    drop(call);
    assert!(is_kept(&upstream, &backend).await);
}

#[tokio::test]
async fn what_is_no_answer_on_a_connection_that_was_used_speaks_against_its_backend() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async {
        let mut call = backend.accept().await;
        call.answer(OK).await;
        call.answer("the rest of an answer\r\n\r\n").await;
    };
    let ask = async {
        text(upstream.send(get("/")).await.unwrap()).await;
        upstream.send(get("/")).await.unwrap_err()
    };
    let (error, ()) = tokio::join!(ask, script);
    assert_eq!(error.kind(), "malformed");
    assert!(!is_kept(&upstream, &backend).await);
}

#[tokio::test]
async fn a_connection_is_used_again_only_when_it_has_been_quiet_for_a_moment() {
    let backend = Backend::start().await;
    let (time, clock) = clock();
    let keepalive = Some(Keepalive::of(10 * SECOND));
    let upstream = upstream_of(UpstreamSettings { keepalive, ..settings(vec![backend.address()]) }, &clock);
    let mut call = exchanged(&upstream, &backend, OK).await;
    // At once there would be no time for what may still come.
    assert!(is_kept(&upstream, &backend).await, "another one");
    time.advance(Duration::from_millis(5));
    let (answer, _) = tokio::join!(upstream.send(get("/")), call.answer(OK));
    assert_eq!(text(answer.unwrap()).await, "ok");
}
