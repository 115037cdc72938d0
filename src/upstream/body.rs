//! A request's body on its way to the backend: empty, in memory, streaming from the client, or spooled in a file.
//!
//! Trailers never pass. A client's body is counted and watched while it streams; its faults are the client's and
//! are never mistaken for the backend's.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::error::{BodyError, BodyFault};
use super::room::Place;

/// The largest piece in which a spooled body is read from its file.
pub(super) const PIECE: usize = 64 * 1024;

/// What a client's body is held to.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The most bytes it may have.
    pub max_body: u64,
    /// The longest wait for its next piece. Counted only while a piece is wanted: a slow backend is not the client's
    /// fault.
    pub body_timeout: Duration,
}

/// A request's body.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// In memory.
    Full(Bytes),
    /// Streams from the client: with a length if the client named one, else chunked.
    Client(LimitedBody),
    /// Waits in a file, with its length known.
    Spooled(Box<SpooledBody>),
}

impl RequestBody {
    /// A body that streams from the client within `limits`.
    ///
    /// # Errors
    /// [`BodyFault::TooLarge`] when its length is known and beyond the limit already.
    pub fn client<B>(body: B, limits: BodyLimits) -> Result<Self, BodyFault>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        LimitedBody::new(body, limits).map(Self::Client)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Client(body) => body
                .poll_piece(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(BodyError::Client))),
            Self::Spooled(body) => body
                .poll_piece(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(BodyError::Spool))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(body) => body.is_over(),
            Self::Spooled(body) => body.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(body) => body.body.size_hint(),
            Self::Spooled(body) => SizeHint::with_exact(body.left),
        }
    }
}

/// A body that streams from the client, counted and watched.
pub struct LimitedBody {
    body: UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>,
    limits: BodyLimits,
    seen: u64,
    waiting: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    pub(super) fn new<B>(body: B, limits: BodyLimits) -> Result<Self, BodyFault>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if body.size_hint().lower() > limits.max_body {
            return Err(BodyFault::TooLarge);
        }
        let body = body.map_err(Into::into).boxed_unsync();
        Ok(Self { body, limits, seen: 0, waiting: false, patience: None })
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece; nothing but data, and never more in all than allowed.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.poll_patience(context));
                return Poll::Ready(Some(Err(BodyFault::Stalled)));
            };
            self.waiting = false;
            let Some(frame) = frame else { return Poll::Ready(None) };
            let Ok(frame) = frame else { return Poll::Ready(Some(Err(BodyFault::Broken))) };
            // A frame that is not data is a trailer; a backend may read those as headers, so they end here.
            let Ok(piece) = frame.into_data() else { continue };
            self.seen = self.seen.saturating_add(piece.len() as u64);
            let fits = self.seen <= self.limits.max_body;
            return Poll::Ready(Some(if fits { Ok(piece) } else { Err(BodyFault::TooLarge) }));
        }
    }

    /// Ready when the client has let us wait too long. One timer serves the whole body.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limits.body_timeout;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            patience.as_mut().reset(Instant::now() + limit);
        }
        patience.as_mut().poll(context)
    }
}

impl fmt::Debug for LimitedBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LimitedBody").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// A body that waits in a file without a name.
#[derive(Debug)]
pub struct SpooledBody {
    file: File,
    left: u64,
    piece: BytesMut,
    /// What the file takes of the room for files, until it is gone.
    _place: Place,
}

impl SpooledBody {
    /// `file` stands at the body's first byte and holds all of it.
    pub(super) fn new(file: File, place: Place) -> Self {
        Self { file, left: place.length(), piece: BytesMut::new(), _place: place }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        self.piece.resize(size, 0);
        let mut target = ReadBuf::new(&mut self.piece);
        if let Err(error) = ready!(Pin::new(&mut self.file).poll_read(context, &mut target)) {
            return Poll::Ready(Some(Err(error)));
        }
        let read = target.filled().len();
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left -= read as u64;
        Poll::Ready(Some(Ok(self.piece.split_to(read).freeze())))
    }
}
