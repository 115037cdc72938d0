//! The client's side of a connection, with its deadlines, in front of hyper.
//!
//! hyper has one read time-out for everything and hides what RFC 9112 calls ambiguous. So the bytes pass
//! [`RequestFraming`] first, which knows where a head begins and ends, and the wait for a head, the head itself, and
//! the wait for the next one each have a deadline of their own. Bodies are bounded where they are read.
//!
//! hyper gets a head when it is whole and was accepted. In place of a refused one it gets [`STAND_IN`], a request that
//! stands for it, so that every refusal is answered, counted and logged by the one pipeline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::{HeadLimits, Phase, Refusal, RequestFraming};

/// What hyper is given in place of a head that was refused. The verdict goes with it, so it is answered with an error
/// and the connection is closed.
const STAND_IN: &[u8] = b"REFUSED /refused HTTP/1.1\r\nhost: refused\r\n\r\n";

/// How long each wait on a client's connection may last.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// From the first byte of a head (on a new connection: from its start) to its end.
    pub header: Duration,
    /// From the end of an answer to the first byte of the next head.
    pub keepalive: Duration,
    /// Without the client taking a byte of an answer.
    pub write: Duration,
}

/// What the connection's IO and its exchanges share.
#[derive(Clone)]
pub(super) struct ConnectionState(Arc<Mutex<Shared>>);

struct Shared {
    /// `None` for HTTP/2, whose frames say by themselves where a request begins and ends.
    framing: Option<RequestFraming>,
    /// Exchanges that began.
    started: u64,
    /// Exchanges that have not ended.
    in_progress: u32,
    /// When the present wait for a head, or within one, began.
    waiting_since: Instant,
}

impl ConnectionState {
    /// Of a connection that speaks HTTP/1.
    pub(super) fn http1(limits: HeadLimits) -> Self {
        Self::new(Some(RequestFraming::new(limits)))
    }

    /// Of a connection that speaks HTTP/2: the bytes pass unseen, and a head is checked once it is parsed.
    pub(super) fn http2() -> Self {
        Self::new(None)
    }

    fn new(framing: Option<RequestFraming>) -> Self {
        Self(Arc::new(Mutex::new(Shared { framing, started: 0, in_progress: 0, waiting_since: Instant::now() })))
    }

    /// Begins an exchange: the framing's verdict on its head, and a guard to hold until its answer has been sent. A
    /// head that the framing has no verdict on was read differently by hyper, which is the ambiguity it is there for.
    pub(super) fn begin_exchange(&self) -> (Result<(), Refusal>, ExchangeGuard) {
        let mut shared = self.0.lock();
        shared.started += 1;
        shared.in_progress += 1;
        let disagreement = Refusal::BadRequest("the request's framing is ambiguous");
        let verdict =
            shared.framing.as_mut().map_or(Ok(()), |framing| framing.take_verdict().unwrap_or(Err(disagreement)));
        (verdict, ExchangeGuard(self.clone()))
    }

    /// When the connection must have moved on by, as things stand; `None` while an exchange is in progress, whose
    /// waits are bounded where they happen.
    fn deadline(&self, timeouts: &ConnectionTimeouts) -> Option<Instant> {
        let shared = self.0.lock();
        let phase = shared.framing.as_ref().map_or(Phase::Idle, RequestFraming::phase);
        let allowed = match (shared.in_progress, phase) {
            (0, Phase::Idle) if shared.started > 0 => timeouts.keepalive,
            (0, Phase::Idle | Phase::Head | Phase::Refused) => timeouts.header,
            (0, Phase::Body) | (1.., _) => return None,
        };
        Some(shared.waiting_since + allowed)
    }

    /// Whether no exchange has been in progress for as long.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        let shared = self.0.lock();
        shared.in_progress == 0 && shared.waiting_since.elapsed() >= time
    }

    /// Ready when the client has taken too long to send a head, or the next one.
    ///
    /// It looks at the clock when a deadline may have passed, rather than at each request: a busy connection costs
    /// nothing.
    pub(super) async fn overdue(&self, timeouts: &ConnectionTimeouts) {
        let often = timeouts.header.min(timeouts.keepalive);
        loop {
            let deadline = self.deadline(timeouts);
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            let look_again = Instant::now() + often;
            tokio::time::sleep_until(deadline.unwrap_or(look_again).min(look_again)).await;
        }
    }
}

/// Held while an exchange of a connection is in progress.
pub(super) struct ExchangeGuard(ConnectionState);

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        let mut shared = self.0.0.lock();
        shared.in_progress = shared.in_progress.saturating_sub(1);
        if shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
    }
}

/// What became of bytes that were just read.
enum Delivery {
    /// hyper gets them.
    Done,
    /// It gets something else, or nothing yet.
    ReadOn,
}

/// A client's byte stream, watched.
pub(super) struct ClientIo<S> {
    stream: S,
    state: ConnectionState,
    write_timeout: Duration,
    /// The beginning of a head whose end has not come.
    withheld: Vec<u8>,
    /// What hyper is to read next, before the stream.
    ready: Bytes,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> ClientIo<S> {
    pub(super) fn new(stream: S, state: ConnectionState, write_timeout: Duration) -> Self {
        Self { stream, state, write_timeout, withheld: Vec::new(), ready: Bytes::new(), write_deadline: None }
    }

    /// Judges what was just read into `buffer` behind its first `before` bytes, and decides what hyper sees of it.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<Delivery> {
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Ok(Delivery::Done);
        }
        let mut shared = self.state.0.lock();
        let shared = &mut *shared;
        let Some(framing) = &mut shared.framing else { return Ok(Delivery::Done) };
        let was_idle = framing.phase() == Phase::Idle;
        // Earlier requests in the same bytes would have to be cut off first. They are not: hyper then reads on as far
        // as it can, and the verdicts keep their order.
        let alone = !framing.has_verdict() && framing.phase() != Phase::Body;
        framing.feed(read);
        if framing.broken_body() {
            // An end in the middle of a body: hyper reads no further, and can still answer.
            buffer.set_filled(before);
            return Ok(Delivery::Done);
        }
        let (phase, judged, refuses_next) = (framing.phase(), framing.has_verdict(), framing.refuses_next());
        if was_idle && phase == Phase::Head && shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
        match phase {
            Phase::Refused if alone && refuses_next => {
                self.withheld = Vec::new();
                self.ready = Bytes::from_static(STAND_IN);
            }
            // What follows a refused head is nobody's.
            Phase::Refused if alone && !judged => self.withheld = Vec::new(),
            Phase::Head if alone && !judged => self.withheld.extend_from_slice(read),
            _ if self.withheld.is_empty() => return Ok(Delivery::Done),
            _ => {
                self.withheld.extend_from_slice(read);
                self.ready = Bytes::from(std::mem::take(&mut self.withheld));
            }
        }
        buffer.set_filled(before);
        Ok(Delivery::ReadOn)
    }

    /// Ready once the client has taken nothing for too long.
    fn poll_write_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let allowed = self.write_timeout;
        self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed))).as_mut().poll(context)
    }

    fn after_write<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_deadline = None;
            return polled;
        }
        ready!(self.poll_write_deadline(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let fits = self.ready.len().min(buffer.remaining());
                let piece = self.ready.split_to(fits);
                buffer.put_slice(&piece);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(context, buffer) {
                Poll::Ready(Ok(())) => match self.judge(buffer, before)? {
                    Delivery::Done => return Poll::Ready(Ok(())),
                    Delivery::ReadOn => {}
                },
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.after_write(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.after_write(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
