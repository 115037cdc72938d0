//! A client's connection of HTTP/1: hyper where there is something to do, a bare socket between two requests, its deadlines
//! and its end. What a request means is the gateway's business.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::client_body::ClientBody;
use super::connection::{ConnectionState, Lull};
use super::failure::Unread;
use super::in_force::{Current, Stage, closing, ending};
use super::io::ClientIo;
use super::leftover::{Leftover, throw_away_bytes};
use super::limits::ListenerLimits;
use super::slots::Client;

/// hyper's smallest permitted read buffer.
const SMALLEST_BUFFER: usize = 8192;
/// So many headers hyper takes when it is not told how many, and has the room for them on its stack. Told any number, it
/// allocates that room for each request.
const HEADERS_WITHOUT_ALLOCATION: usize = 100;
/// How long a connection rests until its memory is given back. The requests of one page come sooner.
const QUIET: Duration = Duration::from_millis(200);

/// Makes a future where it is to stay. Made first and boxed then, all the room that it will ever need would be copied.
fn made_in_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What comes to a connection beside its requests.
enum Aside {
    /// The client has taken too long.
    Overdue,
    /// The process is to end.
    Ending,
    /// The client is gone.
    Gone,
    /// Nothing has been under way for a while.
    Quiet,
    /// An exchange has been for a while.
    Waiting,
}

fn aside<'a>(comes: impl Future<Output = ()> + Send + 'a, what: Aside) -> BoxFuture<'a, Aside> {
    Box::pin(async move {
        comes.await;
        what
    })
}

fn lull(state: &ConnectionState) -> BoxFuture<'_, Aside> {
    Box::pin(async move {
        match state.lull(QUIET).await {
            Lull::Quiet => Aside::Quiet,
            Lull::Waiting => Aside::Waiting,
        }
    })
}

/// Serves one connection to its end, or to the end of the tunnel that it became.
pub(super) async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Client { downstream, slot }: Client,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    let state = ConnectionState::http1(limits.head, slot);
    let mut io = ClientIo::new(stream, state.clone(), limits.timeouts.write);
    let begun = Arc::new(Notify::new());
    let mut service = service_fn({
        let (current, state, begun, stage) = (current.clone(), state.clone(), begun.clone(), stage.clone());
        let downstream = downstream.clone();
        move |request: Request<Incoming>| {
            begun.notify_one();
            let (verdict, guard) = state.begin_exchange();
            let (gateway, stage) = (current.load().gateway.clone(), stage.clone());
            let answered = (!request.body().is_end_stream()).then(CancellationToken::new);
            let leftover = answered.clone().map(|answered| Leftover::of(state.clone()).once(answered));
            let (parts, body) = request.into_parts();
            let received = gateway.receive(parts, ClientBody::http1(body, leftover), &downstream, verdict, guard);
            // Boxed: hyper keeps the room of this future for as long as there is the connection.
            made_in_place(|| async move {
                // hyper writes an answer's head before it reads again.
                let _answered = answered.map(CancellationToken::drop_guard);
                let mut answer = gateway.handle(received).await;
                if *stage.borrow() != Stage::Serving && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            })
        }
    });
    let mut stage_of_next = stage.clone();
    // None of them is polled but when it was itself what woke the task, which a request does twice or more.
    let mut asides = FuturesUnordered::new();
    asides.push(aside(state.overdue(&limits.timeouts), Aside::Overdue));
    asides.push(aside(ending(&mut stage, &begun), Aside::Ending));
    asides.push(aside(state.gone(), Aside::Gone));
    let mut is_last = false;
    // hyper is there while there is something to do. Between requests it would hold 16 KiB of empty buffers.
    let (result, connection) = 'all: loop {
        tokio::select! {
            biased;
            head = io.head() => if !head.unwrap_or(false) { return },
            // Dropping the connection closes it: there is nobody to talk to.
            Some(_) = asides.next() => return,
        }
        let connection = http1(&limits).serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = Box::pin(connection);
        asides.push(lull(&state));
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break 'all (result, Pin::into_inner(connection)),
                Some(came) = asides.next() => match came {
                    // With the connection goes what is in progress on it; a login or logout runs on by itself.
                    Aside::Overdue | Aside::Gone => return,
                    Aside::Ending => {
                        connection.as_mut().graceful_shutdown();
                        is_last = true;
                    }
                    Aside::Waiting => {
                        state.watch();
                        asides.push(lull(&state));
                    }
                    // hyper sees to the end itself.
                    Aside::Quiet if is_last => {}
                    Aside::Quiet => break,
                }
            }
        }
        let Some(parts) = Pin::into_inner(connection).into_parts() else { return };
        (io, service) = (parts.io.into_inner(), parts.service);
        // Bytes that belong to no request any more could be read as the next one.
        if !parts.read_buf.is_empty() || !io.is_drained() {
            return;
        }
    };
    // Taken in any case: it would keep the state alive that holds it.
    let tunnel = state.take_tunnel();
    match (result, tunnel) {
        (Ok(()), Some(tunnel)) => {
            return tunnel(Box::pin(async move { closing(&mut stage_of_next).await })).await;
        }
        (Ok(()), None) if !state.has_lost_its_framing() => return,
        (Ok(()), None) => {}
        (Err(error), _) => {
            current.load().gateway.connection_failed(downstream.peer.get(), &error);
            if Unread::by_hyper(&error).is_none() {
                return;
            }
        }
    }
    let Some(parts) = connection.into_parts() else { return };
    tokio::select! {
        () = throw_away_bytes(parts.io.into_inner().into_stream()) => {}
        () = closing(&mut stage_of_next) => {}
    }
}

fn http1(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits.head.bytes.max(SMALLEST_BUFFER))
        // A client that has said all it has to say may still be listening. When it is gone, our own look at the bytes
        // says so (`ClientIo`).
        .half_close(true);
    // The framing counts exactly; hyper must only not give up before it.
    if limits.head.count > HEADERS_WITHOUT_ALLOCATION {
        builder.max_headers(limits.head.count);
    }
    builder
}
