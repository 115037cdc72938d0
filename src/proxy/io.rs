//! The client's side of a connection, with its deadlines, in front of hyper.
//!
//! hyper has one read time-out for everything and hides what RFC 9112 calls ambiguous. So the bytes pass
//! [`RequestFraming`] first, which knows where a head begins and ends, and the wait for a head, the head itself, and
//! the wait for the next one each have a deadline of their own. Bodies are bounded where they are read.
//!
//! hyper gets a head when it is whole and was accepted. In place of a refused one it gets [`STAND_IN`], a request that
//! stands for it, so that every refusal is answered, counted and logged by the one pipeline.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::tunnel::Tunnelling;
use crate::http::{HeadLimits, Phase, Refusal, RequestFraming};
use crate::sessions::Kill;

/// What hyper is given in place of a head that was refused. The verdict goes with it, so it is answered with an error
/// and the connection is closed.
const STAND_IN: &[u8] = b"REFUSED /refused HTTP/1.1\r\nhost: refused\r\n\r\n";

/// What is read at a time until a head is there. Most fit.
const FIRST_PIECE: usize = 2048;
/// An answer up to this size, head and body, is gathered and written at once.
const SMALL_ANSWER: usize = 2048;

/// The most bytes that a client can send after a request for another protocol, before it knows the answer. What is more
/// stays in the socket.
const MOST_EARLY_BYTES: usize = 16 * 1024;

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
    /// The connection is no longer HTTP: bytes pass as they come.
    switched: bool,
    /// Whoever waits for the answer to a request for another protocol.
    reader: Option<Waker>,
    /// What goes on when HTTP has ended.
    tunnel: Option<Tunnelling>,
    /// The end of the session for which an answer is being written.
    kill: Option<Arc<Kill>>,
    /// The client has not taken all of what was written.
    writing: bool,
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
        Self(Arc::new(Mutex::new(Shared {
            framing,
            started: 0,
            in_progress: 0,
            waiting_since: Instant::now(),
            switched: false,
            reader: None,
            tunnel: None,
            kill: None,
            writing: false,
        })))
    }

    /// Begins an exchange: the framing's verdict on its head, and a guard to hold until its answer has been sent. A
    /// head that the framing has no verdict on was read differently by hyper, which is the ambiguity it is there for.
    pub(super) fn begin_exchange(&self) -> (Result<(), Refusal>, ExchangeGuard) {
        let mut shared = self.0.lock();
        shared.started += 1;
        shared.in_progress += 1;
        let disagreement = Refusal::BadRequest("the request's framing is ambiguous");
        let framing = shared.framing.as_mut();
        let (verdict, may_switch) = framing.map_or((Ok(()), false), |framing| {
            let verdict = framing.take_verdict().unwrap_or(Err(disagreement));
            // The head that the framing stopped after is the last that it accepted.
            (verdict, framing.phase() == Phase::Held && !framing.has_verdict())
        });
        (verdict, ExchangeGuard { connection: self.clone(), may_switch })
    }

    /// When the connection must have moved on by, as things stand; `None` while an exchange is in progress, whose
    /// waits are bounded where they happen.
    fn deadline(&self, timeouts: &ConnectionTimeouts) -> Option<Instant> {
        let shared = self.0.lock();
        let allowed = match (shared.in_progress, shared.phase()) {
            (0, Phase::Idle) if shared.started > 0 => timeouts.keepalive,
            (0, Phase::Idle | Phase::Head | Phase::Refused) => timeouts.header,
            (0, Phase::Body | Phase::Held) | (1.., _) => return None,
        };
        Some(shared.waiting_since + allowed)
    }

    /// Leaves HTTP when the answer, a 101, has been written: what `tunnel` says goes on.
    pub(super) fn switch(&self, tunnel: Tunnelling) {
        let mut shared = self.0.lock();
        shared.switched = true;
        shared.tunnel = Some(tunnel);
        shared.wake_reader();
    }

    /// What goes on after HTTP, if anything does.
    pub(super) fn take_tunnel(&self) -> Option<Tunnelling> {
        self.0.lock().tunnel.take()
    }

    /// Ready when it is known whether the connection stays HTTP.
    fn poll_switched(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut shared = self.0.lock();
        if shared.switched || shared.phase() != Phase::Held {
            return Poll::Ready(shared.switched);
        }
        shared.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when the session has ended for which an answer is being written.
    fn poll_killed(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.0.lock().kill {
            Some(kill) => kill.poll(context).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Whether no exchange has been in progress for as long.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        let shared = self.0.lock();
        shared.in_progress == 0 && shared.waiting_since.elapsed() >= time
    }

    /// Ready when nothing has been under way, neither read nor written, for as long.
    pub(super) async fn quiet(&self, time: Duration) {
        loop {
            let due = self.quiet_since().unwrap_or_else(Instant::now) + time;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn quiet_since(&self) -> Option<Instant> {
        let shared = self.0.lock();
        let framing = shared.framing.as_ref()?;
        let between = shared.in_progress == 0 && framing.phase() == Phase::Idle && !framing.has_verdict();
        (between && !shared.writing).then_some(shared.waiting_since)
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

impl Shared {
    fn phase(&self) -> Phase {
        self.framing.as_ref().map_or(Phase::Idle, RequestFraming::phase)
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Held while an exchange of a connection is in progress.
pub(super) struct ExchangeGuard {
    connection: ConnectionState,
    may_switch: bool,
}

impl ExchangeGuard {
    /// Whether nothing was read beyond the request, so that the connection can leave HTTP after it.
    pub(super) const fn may_switch(&self) -> bool {
        self.may_switch
    }

    /// The connection of the exchange.
    pub(super) fn connection(&self) -> ConnectionState {
        self.connection.clone()
    }

    /// Cuts the answer when this says so, even while the client takes nothing of it. Over HTTP/2 the connection carries
    /// others too, and there the stream is cut alone.
    pub(super) fn cut_by(&self, kill: Arc<Kill>) {
        let mut shared = self.connection.0.lock();
        if shared.framing.is_some() {
            shared.kill = Some(kill);
        }
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        let mut shared = self.connection.0.lock();
        shared.kill = None;
        if self.may_switch && !shared.switched {
            if let Some(framing) = &mut shared.framing {
                framing.resume();
            }
            shared.wake_reader();
        }
        shared.in_progress = shared.in_progress.saturating_sub(1);
        if shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
    }
}

/// What became of bytes that were just read.
enum Delivery {
    /// hyper gets so many of them.
    Pass(usize),
    /// It gets something else, or nothing yet.
    ReadOn,
}

/// What the bytes are that come next.
enum Reading {
    /// Requests.
    Http,
    /// Nobody knows yet: the answer to a request for another protocol is due. What came since that request.
    Held(Vec<u8>),
    /// Another protocol.
    Switched,
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
    reading: Reading,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> ClientIo<S> {
    pub(super) fn new(stream: S, state: ConnectionState, write_timeout: Duration) -> Self {
        Self {
            stream,
            state,
            write_timeout,
            withheld: Vec::new(),
            ready: Bytes::new(),
            reading: Reading::Http,
            write_deadline: None,
        }
    }

    /// Judges what was just read, and decides what hyper sees of it.
    fn judge(&mut self, read: &[u8]) -> io::Result<Delivery> {
        if read.is_empty() {
            return Ok(Delivery::Pass(0));
        }
        let mut shared = self.state.0.lock();
        let shared = &mut *shared;
        let Some(framing) = &mut shared.framing else { return Ok(Delivery::Pass(read.len())) };
        let was_idle = framing.phase() == Phase::Idle;
        // Earlier requests in the same bytes would have to be cut off first. They are not: hyper then reads on as far
        // as it can, and the verdicts keep their order.
        let alone = !framing.has_verdict() && framing.phase() != Phase::Body;
        let rest = framing.feed(read);
        let taken = read.get(..read.len() - rest.len()).unwrap_or_default();
        if framing.broken_body() {
            // An end in the middle of a body: hyper reads no further, and can still answer.
            return Ok(Delivery::Pass(0));
        }
        let (phase, judged, refuses_next) = (framing.phase(), framing.has_verdict(), framing.refuses_next());
        if was_idle && phase == Phase::Head && shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
        if phase == Phase::Held {
            self.reading = Reading::Held(rest.to_vec());
        }
        match phase {
            Phase::Refused if alone && refuses_next => {
                self.withheld = Vec::new();
                self.ready = Bytes::from_static(STAND_IN);
            }
            // What follows a refused head is nobody's.
            Phase::Refused if alone && !judged => self.withheld = Vec::new(),
            Phase::Head if alone && !judged => self.withheld.extend_from_slice(read),
            _ if self.withheld.is_empty() => return Ok(Delivery::Pass(taken.len())),
            _ => {
                self.withheld.extend_from_slice(taken);
                self.ready = Bytes::from(std::mem::take(&mut self.withheld));
            }
        }
        Ok(Delivery::ReadOn)
    }

    /// What came while nobody knew what it was: requests, after all.
    fn resume(&mut self) -> io::Result<()> {
        let Reading::Held(early) = std::mem::replace(&mut self.reading, Reading::Http) else { return Ok(()) };
        if let Delivery::Pass(count) = self.judge(&early)? {
            self.ready = Bytes::from(early).slice(..count);
        }
        Ok(())
    }

    /// What came while nobody knew what it was: another protocol.
    fn switch(&mut self) {
        if let Reading::Held(early) = std::mem::replace(&mut self.reading, Reading::Switched) {
            self.ready = Bytes::from(early);
        }
    }

    /// Ready once the client has taken nothing for too long.
    fn poll_write_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let allowed = self.write_timeout;
        self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed))).as_mut().poll(context)
    }

    fn after_write<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.write_deadline.take().is_some() {
                self.state.0.lock().writing = false;
            }
            return polled;
        }
        self.state.0.lock().writing = true;
        if self.state.poll_killed(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the session ended")));
        }
        ready!(self.poll_write_deadline(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Waits for a head to be there, in place of hyper, which would hold buffers meanwhile. `false`: the stream is over.
    pub(super) async fn head(&mut self) -> io::Result<bool> {
        poll_fn(|context| {
            let mut piece = [0; FIRST_PIECE];
            let mut buffer = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *self).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            // What is ready may be more than the piece.
            self.ready = if self.ready.is_empty() {
                Bytes::copy_from_slice(read)
            } else {
                Bytes::from([read, &self.ready].concat())
            };
            Poll::Ready(Ok(!self.ready.is_empty()))
        })
        .await
    }

    /// Whether nothing was read that nobody has looked at.
    pub(super) fn is_drained(&self) -> bool {
        self.ready.is_empty() && self.withheld.is_empty() && matches!(self.reading, Reading::Http)
    }

    /// Reads on while the answer to a request for another protocol is due, so that a client that goes away is noticed.
    /// Ready with the end of the stream alone.
    fn poll_early(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Reading::Held(early) = &mut self.reading else { return Poll::Pending };
        while early.len() < MOST_EARLY_BYTES {
            let mut piece = [0_u8; 1024];
            let mut buffer = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            early.extend_from_slice(buffer.filled());
        }
        // The state holds the waker.
        Poll::Pending
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
            match self.reading {
                Reading::Http => {}
                Reading::Held(_) => {
                    match self.state.poll_switched(context) {
                        Poll::Ready(true) => self.switch(),
                        Poll::Ready(false) => self.resume()?,
                        Poll::Pending => return self.poll_early(context),
                    }
                    continue;
                }
                Reading::Switched => return Pin::new(&mut self.stream).poll_read(context, buffer),
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            match self.judge(buffer.filled().get(before..).unwrap_or_default())? {
                Delivery::Pass(count) => {
                    buffer.set_filled(before + count);
                    return Poll::Ready(Ok(()));
                }
                Delivery::ReadOn => buffer.set_filled(before),
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
        // A small answer goes out by a plain write, which costs the kernel less than one of several pieces.
        let polled = if slices.iter().map(|slice| slice.len()).sum::<usize>() <= SMALL_ANSWER {
            let mut room = [0; SMALL_ANSWER];
            let mut left = &mut room[..];
            for slice in slices {
                left.put_slice(slice);
            }
            let length = SMALL_ANSWER - left.len();
            Pin::new(&mut self.stream).poll_write(context, room.get(..length).unwrap_or_default())
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(context, slices)
        };
        self.after_write(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
