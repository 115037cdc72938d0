//! The client's side of a connection, with its deadlines, in front of hyper.
//!
//! hyper has one read time-out for everything and hides what RFC 9112 calls ambiguous. So the bytes pass
//! `RequestFraming` first, which knows where a head begins and ends, and the wait for a head, the head itself, and
//! the wait for the next one each have a deadline of their own. Bodies are bounded where they are read.
//!
//! hyper gets a head when it is whole and was accepted, in the spelling that the framing says. In place of a refused one it gets [`STAND_IN`], a request that
//! stands for it, so that every refusal is answered, counted and logged by the one pipeline.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection::{ConnectionState, Left};
use crate::http::{Phase, glimpse};

/// What hyper is given in place of a head that was refused, with what is still seen of that. The verdict goes with it, so
/// it is answered with an error and the connection is closed.
const STAND_IN: &[u8] = b"REFUSED /refused HTTP/1.1\r\nhost: refused\r\n";

/// What is read at a time until a head is there. Most fit.
const FIRST_PIECE: usize = 2048;
/// An answer up to this size, head and body, is gathered and written at once.
const SMALL_ANSWER: usize = 2048;

/// The most bytes that a client can send after a request for another protocol, before it knows the answer. What is more
/// stays in the socket.
const MOST_EARLY_BYTES: usize = 16 * 1024;

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
    /// The end of the client's side was seen.
    ended: bool,
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
            ended: false,
        }
    }

    /// What is watched.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Judges what was just read, and decides what hyper sees of it.
    fn judge(&mut self, read: &[u8]) -> io::Result<Delivery> {
        if read.is_empty() {
            return Ok(Delivery::Pass(0));
        }
        let mut shared = self.state.lock();
        let shared = &mut *shared;
        let Some(framing) = &mut shared.framing else { return Ok(Delivery::Pass(read.len())) };
        let was_idle = framing.phase() == Phase::Idle;
        // Before a head that is refused, earlier requests in the same bytes would have to be cut off. They are not: hyper
        // then reads on as far as it can, and the verdicts keep their order.
        let alone = !framing.has_verdict() && framing.phase() != Phase::Body;
        let rest = framing.feed(read);
        let taken = read.get(..read.len() - rest.len()).unwrap_or_default();
        let (repairs, unfinished) = (framing.take_repairs(), framing.unfinished());
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
                let head = [&std::mem::take(&mut self.withheld)[..], read].concat();
                self.ready = Bytes::from([STAND_IN, &glimpse(&head), b"\r\n"].concat());
            }
            // What follows a refused head is nobody's.
            Phase::Refused if alone && !judged => self.withheld = Vec::new(),
            Phase::Head if alone && !judged && repairs.is_empty() => self.withheld.extend_from_slice(read),
            _ if self.withheld.is_empty() && repairs.is_empty() && unfinished == 0 => {
                return Ok(Delivery::Pass(taken.len()));
            }
            // A head goes on when it is whole, and in the spelling in which it is to be read.
            _ => {
                let mut whole = repairs.apply(&self.withheld, taken);
                self.withheld = whole.split_off(whole.len().saturating_sub(unfinished));
                self.ready = Bytes::from(whole);
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

    /// A client that has ended its side and takes its answer is there.
    fn note_taken(&self, written: &Poll<io::Result<usize>>) {
        if self.ended && matches!(written, Poll::Ready(Ok(1..))) {
            self.state.lock().took = true;
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
                self.state.lock().writing = false;
            }
            return polled;
        }
        self.state.lock().writing = true;
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

    /// Looks whether the client is there while its answer is due. What it sends meanwhile is kept for hyper, which asks
    /// for nothing until the answer is out; from then on its end is looked for no more.
    fn watch(&mut self, context: &mut Context<'_>) {
        if !self.state.is_watched()
            || self.ended
            || !self.ready.is_empty()
            || !self.withheld.is_empty()
            || !self.state.awaits_answer()
        {
            return;
        }
        let read = match &self.reading {
            Reading::Held(_) => self.poll_early(context).map_ok(|()| 0),
            Reading::Switched => return,
            Reading::Http => {
                let mut piece = [0; FIRST_PIECE];
                let mut buffer = ReadBuf::new(&mut piece);
                let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
                read.map_ok(|()| {
                    let read = buffer.filled();
                    // What is broken in it, hyper hears when it reads on.
                    if let Ok(Delivery::Pass(count)) = self.judge(read) {
                        self.ready = Bytes::copy_from_slice(read.get(..count).unwrap_or_default());
                    }
                    read.len()
                })
            }
        };
        self.ended = match read {
            Poll::Pending | Poll::Ready(Ok(1..)) => return,
            Poll::Ready(_) => true,
        };
        match (read, &self.reading) {
            // It waits for more than this answer.
            (Poll::Ready(Ok(_)), Reading::Held(early)) if !early.is_empty() => {}
            (Poll::Ready(Ok(_)), _) => self.state.leave(Left::Ended),
            _ => self.state.leave(Left::Reset),
        }
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_taken(&polled);
        self.after_write(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes by here whenever it is polled, and reads nothing while an answer is due.
        self.watch(context);
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
        self.note_taken(&polled);
        self.after_write(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
