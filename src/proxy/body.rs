//! Answer bodies, and the accounting at their end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::account::Account;
use super::client_body::BoxError;
use super::connection::Tunnelling;
use super::cut::Cuttable;
use super::services::Gateway;
use crate::sessions::OpenStream;
use crate::upstream::UpstreamBody;

/// What goes on after an answer that ends HTTP, once it is known for whom and in which account.
pub(super) type Continuation = Box<dyn FnOnce(Arc<Gateway>, Box<Account>) -> Tunnelling + Send>;

/// Where the bytes come from.
enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// The body of an answer to a client. Behind one pointer, for an answer changes hands a dozen times before it is sent.
pub(super) struct AnswerBody(Box<Answer>);

struct Answer {
    /// Ends early with the session for which it was made.
    content: Cuttable<Source>,
    sent: u64,
    complete: bool,
    /// What goes on after it, for a 101.
    then: Option<Continuation>,
    account: Option<Box<Account>>,
}

impl AnswerBody {
    /// No body.
    #[must_use]
    pub(super) fn empty() -> Self {
        Self::of(Source::Whole(None), true)
    }

    /// A body that is all there.
    #[must_use]
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let empty = bytes.is_empty();
        Self::of(Source::Whole((!empty).then_some(bytes)), empty)
    }

    /// A body that streams from the backend.
    #[must_use]
    pub(super) fn streamed(body: UpstreamBody) -> Self {
        Self::of(Source::Upstream(body), false)
    }

    /// The end of HTTP: no body, and a tunnel after it.
    #[must_use]
    pub(super) fn followed_by(then: Continuation) -> Self {
        let mut this = Self::empty();
        this.0.then = Some(then);
        this
    }

    fn of(source: Source, complete: bool) -> Self {
        let content = Cuttable::new(source, None);
        Self(Box::new(Answer { content, sent: 0, complete, then: None, account: None }))
    }

    /// A backend's answer to a session's request, which ends with the session. One with a length goes on when that is idle.
    pub(super) fn of_session(body: UpstreamBody, open: Option<OpenStream>) -> Self {
        let is_finite = body.size_hint().exact().is_some();
        let open = if is_finite { open.map(OpenStream::outlasting_idleness) } else { open };
        Self::streamed(body).cut_by(open)
    }

    /// Breaks off when the session ends that `open` stands for.
    #[must_use]
    pub(super) fn cut_by(mut self, open: Option<OpenStream>) -> Self {
        self.0.content.cut_by(open);
        self
    }

    /// What ends it early.
    pub(super) const fn open(&self) -> Option<&OpenStream> {
        self.0.content.open()
    }

    /// What goes on after it.
    pub(super) fn take_continuation(&mut self) -> Option<Continuation> {
        self.0.then.take()
    }

    /// Closes the account when the answer is over: sent, or given up. Dropping the body is where a request is
    /// accounted, so that a cut one counts too.
    pub(super) fn accounted_in(mut self, account: Box<Account>) -> Self {
        self.0.account = Some(account);
        self
    }

    /// Waits for the end of the session for which it was made.
    pub(super) fn session_over(&self) -> impl Future<Output = ()> + Send + use<> {
        let kill = self.open().map(OpenStream::kill);
        std::future::poll_fn(move |context| match &kill {
            Some(kill) => kill.poll(context).map(|_| ()),
            None => Poll::Pending,
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(account) = &mut self.account else { return };
        account.sent(self.sent);
        if self.complete {
            account.complete();
        } else if let Some(reason) = self.content.open().and_then(OpenStream::reason) {
            account.cut(reason);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let answer = &mut *self.0;
        let frame = Pin::new(&mut answer.content).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => answer.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(_))) => return frame,
            Poll::Ready(None) | Poll::Pending => {}
        }
        // An answer with a length is not asked for its end.
        if matches!(&frame, Poll::Ready(None)) || answer.content.is_end_stream() {
            answer.complete = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.content.size_hint()
    }
}
