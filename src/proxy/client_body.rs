//! A request's body on its way from the client, of either version of HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::leftover::Leftover;

/// Why a body ended early: who reads it must not take it for a whole one.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client's body. When it is dropped before its end, what is left is thrown away as it comes.
pub(super) struct ClientBody {
    /// `None`: there is nothing more to come.
    source: Option<Source>,
    /// `None`: nobody has to see to the rest.
    leftover: Option<Leftover>,
    /// How many bytes were taken; `None`: there are none.
    received: Option<Arc<AtomicU64>>,
}

/// Who reads it.
enum Source {
    /// hyper.
    Http1(Incoming),
    /// We, stream by stream.
    Http2(StreamBody),
}

impl ClientBody {
    /// A body that hyper reads.
    pub(super) fn http1(body: Incoming, leftover: Option<Leftover>) -> Self {
        Self::of(Source::Http1(body), leftover)
    }

    /// The body of one stream.
    pub(super) fn http2(body: StreamBody, leftover: Option<Leftover>) -> Self {
        Self::of(Source::Http2(body), leftover)
    }

    fn of(source: Source, leftover: Option<Leftover>) -> Self {
        let received = (!source.is_end_stream()).then(Arc::default);
        Self { source: Some(source), leftover, received }
    }

    /// What counts the bytes that are taken of it.
    pub(super) fn received(&self) -> Option<Arc<AtomicU64>> {
        self.received.clone()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let (Some(source), Some(leftover)) = (self.source.take(), self.leftover.take()) else { return };
        if !source.is_end_stream() {
            leftover.throw_away(source);
        }
    }
}

/// The body of one stream. What is handed on is acknowledged, so that the client may send as much again.
pub(super) struct StreamBody {
    stream: RecvStream,
    /// What is still to come, where the client said so; the library resets a stream that does not keep its word.
    left: Option<u64>,
}

impl StreamBody {
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = if stream.is_end_stream() { Some(0) } else { length() };
        Self { stream, left }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match ready!(self.stream.poll_data(context)) {
            Some(Ok(piece)) => {
                self.stream.flow_control().release_capacity(piece.len())?;
                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => {
                let trailers = ready!(self.stream.poll_trailers(context));
                Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).map_err(Into::into).transpose())
            }
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(source).poll_frame(context));
        match (&frame, &this.received) {
            (Some(Ok(frame)), Some(received)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                received.fetch_add(length as u64, Ordering::Relaxed);
            }
            (Some(Ok(_)), None) => {}
            // It came to its end, or broke.
            (None | Some(Err(_)), _) => this.source = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Http2(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
