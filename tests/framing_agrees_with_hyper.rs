//! The framing machine and hyper read the same bytes: for what the machine accepts they must see the same requests, and
//! for what it refuses a verdict must be ready whenever hyper calls the service. Were they ever out of step, a verdict
//! on one request would be taken for another.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use session_gateway::http::{HeadLimits, Phase, Refusal, RequestFraming};
use tokio::io::AsyncWriteExt as _;

/// What hyper's service saw: targets and, where the body could be read, its length.
type Seen = Vec<(String, Option<usize>)>;

/// Sends `bytes` to a hyper server and closes.
fn hyper_sees(bytes: &[u8]) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let seen = Arc::new(Mutex::new(Seen::new()));
    let service = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let target = request.uri().to_string();
                let place = {
                    let mut seen = seen.lock().expect("not poisoned");
                    seen.push((target, None));
                    seen.len() - 1
                };
                if let Ok(body) = request.into_body().collect().await {
                    seen.lock().expect("not poisoned")[place].1 = Some(body.to_bytes().len());
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        })
    };
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.expect("there is room");
        client.shutdown().await.expect("open");
        // A refusal by hyper itself ends the connection with an error; what was seen until then counts.
        let _ = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    seen.lock().expect("not poisoned").clone()
}

/// What the machine says of the bytes, and the bytes as hyper is to read them.
fn judged(bytes: &[u8]) -> (Vec<Result<(), Refusal>>, Phase, bool, Vec<u8>) {
    let mut framing = RequestFraming::new(HeadLimits { bytes: 4096, count: 20 });
    framing.feed(bytes);
    let verdicts = std::iter::from_fn(|| framing.take_verdict()).collect();
    let read = framing.take_repairs().apply(&[], bytes);
    (verdicts, framing.phase(), framing.broken_body(), read)
}

fn verdicts(bytes: &[u8]) -> (Vec<Result<(), Refusal>>, Phase, bool) {
    let (verdicts, phase, broken, _) = judged(bytes);
    (verdicts, phase, broken)
}

#[test]
fn what_hyper_would_have_let_pass_is_refused_at_the_request_where_it_stands() {
    for (row, bytes) in [
        (
            "both framings",
            "POST /1 HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        ),
        ("two codings", "POST /1 HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("bare LF", "GET /1 HTTP/1.1\nHost: a\n\n"),
        ("a bare LF that hides a header", "GET /1 HTTP/1.1\r\nX: a\nX-Customer-ID: 2\r\n\r\n"),
        ("a fragment", "GET /1#x HTTP/1.1\r\n\r\n"),
    ] {
        let bytes = format!("GET /0 HTTP/1.1\r\n\r\n{bytes}");
        let seen = hyper_sees(bytes.as_bytes());
        assert!(seen.len() >= 2 && seen[1].0.starts_with("/1"), "{row}: hyper lets it pass: {seen:?}");
        let (verdicts, phase, _) = verdicts(bytes.as_bytes());
        assert_eq!(verdicts.first(), Some(&Ok(())), "{row}");
        assert!(matches!(verdicts.get(1), Some(Err(Refusal::BadRequest(_)))), "{row}");
        assert_eq!((verdicts.len(), phase), (2, Phase::Refused), "{row}");
    }
}

fn requests() -> impl Strategy<Value = String> {
    let request_line = prop_oneof![
        12 => Just("GET /@ HTTP/1.1\r\n"),
        4 => Just("POST /@ HTTP/1.1\r\n"),
        1 => Just("\r\nGET /@ HTTP/1.1\r\n"),
        1 => Just("GET /@#x HTTP/1.1\r\n"),
        2 => Just("POST /@/{\"<\u{e4}>`\"}?|^<>\u{e4} HTTP/1.1\r\n"),
        1 => Just("GET /@ HTTP/1.1\n"),
    ];
    let headers = prop_oneof![
        6 => Just(""),
        2 => Just("Host: a\r\nX:\t b \r\n"),
        4 => Just("Content-Length: 24\r\n"),
        4 => Just("Transfer-Encoding: chunked\r\n"),
        1 => Just("Transfer-Encoding: CHUNKED\r\nContent-Length: 24\r\n"),
        2 => Just("Content-Length: 24\r\nContent-Length: 24\r\n"),
        2 => Just("Content-Length: 024, 24\r\n"),
        1 => Just("Content-Length: 24, 25\r\n"),
        1 => Just("X: a\nContent-Length: 24\r\n"),
        1 => Just("X : a\r\n"),
        1 => Just("X: a\r\n b\r\n"),
    ];
    // Each as long as a Content-Length above, and full of what could be read as something else.
    let body = prop_oneof![
        6 => Just(""),
        3 => Just("GET /smuggled HTTP/1.1\r\n"),
        3 => Just("5\r\nabcde\r\n0\r\nT: 1\r\n\r\n\r\n"),
        3 => Just("3;a=\"\r\n\"\r\n\r\n0\r\n\r\n123456"),
        3 => Just("a;x\r\n0\r\n\r\nGET /\r\n0\r\n\r\n"),
        1 => Just("5\nabcde\r\n0\r\n\r\n12345678"),
    ];
    proptest::collection::vec((request_line, headers, body), 1..5).prop_map(|parts| {
        let requests = parts.iter().enumerate().map(|(number, (line, headers, body))| {
            format!("{}{headers}\r\n{body}", line.replace('@', &number.to_string()))
        });
        requests.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_machine_and_hyper_are_never_out_of_step(stream in requests()) {
        let (verdicts, phase, broken, read) = judged(stream.as_bytes());
        let seen = hyper_sees(&read);
        let accepted = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        if phase == Phase::Refused {
            // hyper may go on behind a refusal, or stop before; the gateway closes there.
            prop_assert!(seen.len() >= accepted, "{} {seen:?} {verdicts:?}", stream.escape_debug());
            prop_assert!(broken || verdicts.last().is_some_and(Result::is_err));
        } else {
            prop_assert_eq!(seen.len(), accepted, "{} {:?}", stream.escape_debug(), seen);
            let whole = seen.iter().filter(|(_, body)| body.is_some()).count();
            prop_assert_eq!(whole + usize::from(phase == Phase::Body), accepted, "{}", stream.escape_debug());
        }
    }
}
