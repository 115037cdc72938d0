//! Answer bodies, and the accounting at their end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::account::Account;
use super::cut::SessionOver;
use super::tunnel::Tunnel;
use crate::sessions::OpenStream;
use crate::upstream::UpstreamBody;

/// An error that ends an answer early: the client must not take it for a whole one.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

enum Content {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl Content {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }
}

/// The body of an answer to a client. Behind one pointer, for an answer changes hands a dozen times before it is sent.
pub(super) struct AnswerBody(Box<Answer>);

struct Answer {
    content: Content,
    sent: u64,
    complete: bool,
    /// What ends it early: the session for which it was made.
    open: Option<OpenStream>,
    /// What goes on after it, for a 101.
    tunnel: Option<Box<Tunnel>>,
    account: Option<Box<Account>>,
}

impl AnswerBody {
    /// No body.
    #[must_use]
    pub(super) fn empty() -> Self {
        Self::of(Content::Whole(None), true)
    }

    /// A body that is all there.
    #[must_use]
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let empty = bytes.is_empty();
        Self::of(Content::Whole((!empty).then_some(bytes)), empty)
    }

    /// A body that streams from the backend.
    #[must_use]
    pub(super) fn streamed(body: UpstreamBody) -> Self {
        Self::of(Content::Upstream(body), false)
    }

    /// The end of HTTP: no body, and a tunnel after it.
    #[must_use]
    pub(super) fn tunnel(tunnel: Tunnel) -> Self {
        let mut this = Self::empty();
        this.0.tunnel = Some(Box::new(tunnel));
        this
    }

    fn of(content: Content, complete: bool) -> Self {
        Self(Box::new(Answer { content, sent: 0, complete, open: None, tunnel: None, account: None }))
    }

    /// Breaks off when the session ends that `open` stands for.
    #[must_use]
    pub(super) fn cut_by(mut self, open: Option<OpenStream>) -> Self {
        self.0.open = open;
        self
    }

    /// What ends it early.
    pub(super) const fn open(&self) -> Option<&OpenStream> {
        self.0.open.as_ref()
    }

    /// What goes on after it.
    pub(super) fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.0.tunnel.take().map(|tunnel| *tunnel)
    }

    /// Closes the account when the answer is over: sent, or given up. Dropping the body is where a request is
    /// accounted, so that a cut one counts too.
    pub(super) fn accounted_in(mut self, account: Box<Account>) -> Self {
        self.0.account = Some(account);
        self
    }

    /// Waits for the end of the session for which it was made.
    pub(super) fn session_over(&self) -> impl Future<Output = ()> + Send + use<> {
        let kill = self.0.open.as_ref().map(OpenStream::kill);
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
        } else if let Some(reason) = self.open.as_ref().and_then(OpenStream::reason) {
            account.cut(reason);
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
        let answer = &mut *self.0;
        if let Some(open) = &answer.open
            && open.poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(SessionOver.into())));
        }
        let frame = match &mut answer.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Upstream(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            answer.sent += data.len() as u64;
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
        match &self.0.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}
