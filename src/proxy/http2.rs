//! A client's connection of HTTP/2: its bounds, its silence and its end. Each of its streams is `http2_stream`'s.
//!
//! What a request means is the gateway's business, as over HTTP/1; the frames are the library's. hyper's server uses the
//! same library, and is not used here because it asks an answer's body for nothing while its client takes nothing: such
//! a stream could not be reset when its session ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{ConnectionState, MOST_UNDER_WAY};
use super::exchange::Downstream;
use super::failure::Unread;
use super::http2_refusals::{HandedOut, RefusalWatch};
use super::http2_stream::Stream;
use super::in_force::{Current, Stage, ending};
use super::io::ClientIo;
use super::limits::ListenerLimits;
use super::slots::Client;

/// Streams that a client may open and reset before they are looked at, or have reset for its own errors, before
/// the connection is closed (CVE-2023-44487, CVE-2025-8671).
const MOST_RESETS: usize = 50;
/// Bytes of a request's body that may come before they are read; of one, and of all of a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of an answer that wait for its client.
const SEND_BUFFER: usize = 64 << 10;
/// How often a client with requests under way is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long after its last answer a client may take to take its leave, and how often that is looked at.
const FAREWELL: Duration = Duration::from_secs(10);
const FAREWELL_LOOK: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Client { downstream, slot }: Client,
    current: Current,
    limits: Arc<ListenerLimits>,
    mut stage: watch::Receiver<Stage>,
) {
    let state = ConnectionState::http2(slot);
    let handed_out = HandedOut::default();
    let io = RefusalWatch::new(ClientIo::new(stream, state.clone(), limits.timeouts.write), handed_out.clone(), {
        let (current, peer) = (current.clone(), downstream.peer.get());
        move |refused| current.load().gateway.refused_unread(peer, refused)
    });
    let begun = Notify::new();
    let mut overdue = pin!(state.overdue(&limits.timeouts));
    let mut ending = pin!(ending(&mut stage, &begun));
    let greeting = tokio::select! {
        biased;
        greeted = bounds(&limits).handshake::<_, Bytes>(io) => greeted,
        () = &mut overdue => return,
        () = &mut ending => return,
    };
    let mut connection = match greeting {
        Ok(connection) => connection,
        Err(error) => return failed(&current, &downstream, &error),
    };
    let mut alive = pin!(silence(connection.ping_pong(), &state, limits.timeouts.header));
    // How long a client may say nothing once it was told to go.
    let mut farewell = None;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = connection.accept() => accepted,
            () = &mut overdue, if farewell.is_none() => {
                farewell = say_good_bye(&mut connection, Duration::ZERO);
                continue;
            }
            () = &mut ending, if farewell.is_none() => {
                farewell = say_good_bye(&mut connection, FAREWELL);
                continue;
            }
            () = tokio::time::sleep(FAREWELL_LOOK), if farewell.is_some() => {
                if farewell.is_some_and(|patience| state.is_idle_for(patience)) {
                    return;
                }
                continue;
            }
            // It is gone without a word; what was in progress for it ends with the connection.
            () = &mut alive => return,
        };
        match accepted {
            Some(Ok((request, respond))) => {
                begun.notify_one();
                let (verdict, guard) = state.begin_exchange();
                let gateway = current.load().gateway.clone();
                let _under_way = handed_out.begin(respond.stream_id().as_u32());
                let stream = Stream { respond, patience: limits.timeouts.write, _under_way };
                tokio::spawn(stream.serve(gateway, request, downstream.clone(), verdict, guard));
            }
            Some(Err(error)) => return failed(&current, &downstream, &error),
            None => return,
        }
    }
}

fn bounds(limits: &ListenerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MOST_UNDER_WAY)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(Some(MOST_RESETS))
        // The pipeline measures exactly and answers; the library must only not give up before it. It counts 32 bytes
        // a line on top, and the pseudo-headers, and bounds CONTINUATION frames by this.
        .max_header_list_size(u32::try_from(limits.head.bytes + 64 * limits.head.count + 1024).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Streams that the client opens before it has read the good-bye are still served.
fn say_good_bye<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T, Bytes>,
    patience: Duration,
) -> Option<Duration> {
    connection.graceful_shutdown();
    Some(patience)
}

/// Ready when a client for which something is in progress does not answer a ping.
async fn silence(pings: Option<PingPong>, state: &ConnectionState, allowed: Duration) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    let mut next = Instant::now() + PING_EVERY;
    loop {
        sleep_until(next).await;
        next = Instant::now() + PING_EVERY;
        if state.is_idle_for(Duration::ZERO) {
            continue;
        }
        // An error is the connection's own end, which is noticed elsewhere.
        if pings.send_ping(Ping::opaque()).is_ok()
            && timeout(allowed, std::future::poll_fn(|context| pings.poll_pong(context))).await.is_err()
        {
            return;
        }
    }
}

/// Tells of a connection that ended with an error. One that the library ends broke the protocol or abused it, and what
/// it asked for is counted as refused.
fn failed(current: &Current, downstream: &Downstream, error: &h2::Error) {
    if error.is_library() {
        current.load().gateway.refused_unread(downstream.peer.get(), Unread::Malformed);
    }
    tracing::debug!(client = %downstream.peer.get(), %error, "a connection ended early");
}
