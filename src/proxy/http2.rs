//! A client's connection of HTTP/2: its bounds, its silence and its end.
//!
//! What a request means is the gateway's business, as over HTTP/1; the frames are the library's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};

use super::exchange::Downstream;
use super::io::{ClientIo, ConnectionState};
use super::listener::{Current, ListenerLimits, Stage, ending};
use super::untaken::AnswersUnderWay;

/// Requests that a client may have under way on a connection. Browsers stay below it.
const MOST_STREAMS: u32 = 100;
/// Streams that a client may open and reset before they are looked at, or have reset for its own errors, before
/// the connection is closed (CVE-2023-44487, CVE-2025-8671).
const MOST_RESETS: usize = 50;
/// Bytes of a request's body that may come before they are read; of one, and of all of a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of an answer that wait for its client.
const SEND_BUFFER: usize = 64 << 10;
/// How often a silent client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long after its last answer a client may take to take its leave, and how often that is looked at.
const FAREWELL: Duration = Duration::from_secs(10);
const FAREWELL_LOOK: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    downstream: Downstream,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    let state = ConnectionState::http2();
    let answers = Arc::new(AnswersUnderWay::new());
    let io = TokioIo::new(ClientIo::new(stream, state.clone(), limits.timeouts.write));
    let begun = Arc::new(Notify::new());
    let service = service_fn({
        let (current, state, answers, begun) = (current.clone(), state.clone(), answers.clone(), begun.clone());
        move |request| {
            begun.notify_one();
            let (verdict, guard) = state.begin_exchange();
            let (gateway, answers) = (current.load().gateway.clone(), answers.clone());
            async move {
                let answer = gateway.handle(request, downstream, verdict, guard).await;
                Ok::<_, Infallible>(answer.map(|body| answers.watch(body)))
            }
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_RESETS)
        // The pipeline measures exactly and answers; the library must only not give up before it. It counts 32 bytes
        // a line on top, and the pseudo-headers, and bounds CONTINUATION frames by this.
        .max_header_list_size(u32::try_from(limits.head.bytes + 64 * limits.head.count + 1024).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // A client that is gone without a word does not answer a ping; what was in progress for it ends.
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(limits.timeouts.header)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        biased;
        result = connection.as_mut() => Ok(result),
        // It was silent for long enough.
        () = state.overdue(&limits.timeouts) => Err(Duration::ZERO),
        () = ending(&mut stage, &begun) => Err(FAREWELL),
        // Goes on for as long as the others do.
        () = answers.give_up_untaken(limits.timeouts.write) => Err(Duration::ZERO),
    };
    let result = match finished {
        Ok(result) => result,
        Err(patience) => {
            // Streams that the client opened before it read the good-bye are still served.
            connection.as_mut().graceful_shutdown();
            loop {
                match tokio::time::timeout(FAREWELL_LOOK, connection.as_mut()).await {
                    Ok(result) => break result,
                    Err(_) if state.is_idle_for(patience) => return,
                    Err(_) => {}
                }
            }
        }
    };
    if let Err(error) = result {
        current.load().gateway.connection_failed(downstream.peer, &error);
    }
}
