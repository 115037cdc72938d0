//! One connection's bytes, and the few facts about them that decide what went wrong and what may be done about it:
//! has a byte of the answer come, is the request wholly written, when did it last move, who is being waited for.
//!
//! The facts are shared by three places that run in two tasks: the socket ([`WireStream`]) and the request's body
//! ([`Outgoing`]) in the connection's task, and the caller that waits for the answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::body::RequestBody;
use super::error::BodyError;
use crate::clock::micros;

/// The facts of the exchange that a connection carries now.
#[derive(Debug)]
pub(super) struct Wire {
    start: Instant,
    /// Microseconds from `start` to the last time the request moved.
    moved: AtomicU64,
    /// The body's next piece has been asked for and has not come.
    waiting_for_body: AtomicBool,
    /// At least one byte of an answer has been read.
    answered: AtomicBool,
    /// The whole body has been handed over.
    uploaded: AtomicBool,
    /// The body failed when an answer had begun: no more of it is sent, the answer goes on.
    abandoned: AtomicBool,
    /// The connection has left HTTP.
    switched: AtomicBool,
    fault: Mutex<Option<BodyError>>,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
            waiting_for_body: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            uploaded: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }

    /// Forgets the exchange before and starts anew.
    pub(super) fn begin(&self, body: &RequestBody) {
        self.waiting_for_body.store(false, Ordering::Release);
        self.answered.store(false, Ordering::Release);
        self.abandoned.store(false, Ordering::Release);
        self.uploaded.store(body.is_end_stream(), Ordering::Release);
        *self.fault.lock() = None;
        self.note_movement();
    }

    /// When the request last moved. While the body's next piece is awaited that is now: the wait is then not the
    /// backend's, and the body has a limit of its own.
    pub(super) fn last_movement(&self) -> Instant {
        if self.waiting_for_body.load(Ordering::Acquire) {
            return Instant::now();
        }
        self.start + Duration::from_micros(self.moved.load(Ordering::Acquire))
    }

    pub(super) fn answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    pub(super) fn uploaded(&self) -> bool {
        self.uploaded.load(Ordering::Acquire)
    }

    /// The connection has left HTTP: there is no answer left to wait for when a write fails.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Release);
    }

    /// Why the body failed, if it did.
    pub(super) fn take_fault(&self) -> Option<BodyError> {
        self.fault.lock().take()
    }

    fn note_movement(&self) {
        self.moved.store(micros(self.start.elapsed()), Ordering::Release);
    }

    fn note_fault(&self, fault: BodyError) {
        *self.fault.lock() = Some(fault);
        self.waiting_for_body.store(false, Ordering::Release);
        self.note_movement();
    }
}

/// A request's body on its wire.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) body: RequestBody,
    wire: Arc<Wire>,
}

/// The body failed; why stands in the [`Wire`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request body failed")]
pub(super) struct BodyFailed;

impl Outgoing {
    pub(super) fn new(body: RequestBody, wire: Arc<Wire>) -> Self {
        wire.begin(&body);
        Self { body, wire }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        if self.wire.abandoned.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            self.wire.waiting_for_body.store(true, Ordering::Release);
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) => {
                self.wire.note_movement();
                self.wire.waiting_for_body.store(false, Ordering::Release);
                if self.body.is_end_stream() {
                    self.wire.uploaded.store(true, Ordering::Release);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.wire.note_movement();
                self.wire.waiting_for_body.store(false, Ordering::Release);
                self.wire.uploaded.store(true, Ordering::Release);
                Poll::Ready(None)
            }
            Some(Err(fault)) => {
                self.wire.note_fault(fault);
                if self.wire.answered() {
                    // An error here would take the connection down and with it an answer that is on its way (a 413,
                    // after which a good client stops sending). The stream closes its writing half instead.
                    self.wire.abandoned.store(true, Ordering::Release);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(BodyFailed)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket to a peer.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Socket {
    /// The other end's address, where it has one.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// The socket under HTTP, noting what passes.
#[derive(Debug)]
pub(super) struct WireStream {
    socket: Socket,
    wire: Arc<Wire>,
    writable: bool,
}

impl WireStream {
    pub(super) fn new(socket: Socket, wire: Arc<Wire>) -> Self {
        Self { socket, wire, writable: true }
    }

    /// A failed write is not the end: a backend that refuses an upload answers, closes, and lets our bytes run into a
    /// reset, while its answer waits to be read. So writing stops for good, silently, and reading tells the end: after
    /// a reset it gives what had arrived, then the end or the error.
    fn note_written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match ready!(written) {
            Ok(count) => {
                self.wire.note_movement();
                Poll::Ready(Ok(count))
            }
            Err(error) if self.wire.switched.load(Ordering::Acquire) => Poll::Ready(Err(error)),
            Err(_) => {
                self.writable = false;
                Poll::Pending
            }
        }
    }
}

/// Runs a method of the socket that is there.
macro_rules! on_socket {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $stream.socket {
            Socket::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = target.filled().len();
        ready!(on_socket!(self, poll_read, context, target))?;
        if target.filled().len() > before {
            self.wire.answered.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Pending;
        }
        let written = on_socket!(self, poll_write, context, bytes);
        self.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Pending;
        }
        let written = on_socket!(self, poll_write_vectored, context, slices);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writable && self.wire.abandoned.load(Ordering::Acquire) {
            // The backend must learn that no more will come, or it would wait for the rest for ever. How closing went
            // does not matter: reading tells.
            let _ = ready!(on_socket!(self, poll_shutdown, context));
            self.writable = false;
        }
        on_socket!(self, poll_flush, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown, context)
    }
}
