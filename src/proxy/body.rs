//! Answer bodies, and the accounting at their end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::UpstreamBody;

/// An error that ends an answer early: the client must not take it for a whole one.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What is done when the answer is over, however it ends. Gets the number of body bytes that were handed on, and
/// whether that was all of them.
pub(super) type AtEnd = Box<dyn FnOnce(u64, bool) + Send + Sync>;

enum Content {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

/// The body of an answer to a client.
pub(super) struct AnswerBody {
    content: Content,
    sent: u64,
    complete: bool,
    at_end: Option<AtEnd>,
}

impl AnswerBody {
    /// No body.
    #[must_use]
    pub(super) const fn empty() -> Self {
        Self { content: Content::Whole(None), sent: 0, complete: true, at_end: None }
    }

    /// A body that is all there.
    #[must_use]
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            complete: bytes.is_empty(),
            content: Content::Whole((!bytes.is_empty()).then_some(bytes)),
            sent: 0,
            at_end: None,
        }
    }

    /// A body that streams from the backend.
    #[must_use]
    pub(super) const fn streamed(body: UpstreamBody) -> Self {
        Self { complete: false, content: Content::Upstream(body), sent: 0, at_end: None }
    }

    /// Calls `at_end` when the answer is over: sent, or given up. Dropping the body is where a request is accounted,
    /// so that a cut one counts too.
    pub(super) fn on_end(mut self, at_end: AtEnd) -> Self {
        self.at_end = Some(at_end);
        self
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end(self.sent, self.complete);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Upstream(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent += data.len() as u64;
        }
        // An answer with a length is not asked for its end.
        if matches!(&frame, Poll::Ready(None)) || self.is_end_stream() {
            self.complete = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}
