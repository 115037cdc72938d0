//! Answer bodies, and the accounting at their end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::account::Account;
use super::client_body::BoxError;
use super::connection::Tunnelling;
use super::counting::Counting;
use super::cut::Cuttable;
use super::services::Gateway;
use crate::custody::Search;
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
    /// Keeps tokens back.
    search: Option<Box<Search>>,
    sent: u64,
    complete: bool,
    /// What counts the records in it, where it is an export.
    counting: Option<Box<Counting>>,
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
        let (search, counting) = (None, None);
        Self(Box::new(Answer { content, search, sent: 0, complete, counting, then: None, account: None }))
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

    /// Keeps back what this finds.
    pub(super) fn searched_by(&mut self, search: Search) {
        if !self.0.content.is_end_stream() {
            self.0.search = Some(Box::new(search));
        }
    }

    /// Has the records in it counted.
    #[must_use]
    pub(super) fn counted_by(mut self, counting: Counting) -> Self {
        self.0.counting = Some(Box::new(counting));
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

impl Answer {
    fn held(&self) -> u64 {
        self.search.as_ref().map_or(0, |search| search.held() as u64)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream() && self.held() == 0
    }

    /// The next piece, without what is to be kept back.
    fn poll_searched(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(search) = &mut self.search else { return Pin::new(&mut self.content).poll_frame(context) };
        loop {
            let (piece, is_last) = match ready!(Pin::new(&mut self.content).poll_frame(context)) {
                // Trailers are dropped.
                Some(Ok(frame)) => (frame.into_data().unwrap_or_default(), self.content.is_end_stream()),
                None if search.held() > 0 => (Bytes::new(), true),
                end @ (None | Some(Err(_))) => return Poll::Ready(end),
            };
            let passed = match search.pass(piece, is_last) {
                Ok(passed) => passed,
                Err(why) => {
                    if let Some(account) = &mut self.account {
                        account.broken_off();
                    }
                    return Poll::Ready(Some(Err(why.into())));
                }
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(account) = &mut self.account else { return };
        if self.search.as_ref().is_some_and(|search| search.found()) {
            account.withheld();
        }
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
        let frame = answer.poll_searched(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                answer.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let (Some(counting), Some(data)) = (&mut answer.counting, frame.data_ref()) {
                    counting.take(data);
                }
            }
            Poll::Ready(Some(Err(_))) => return frame,
            Poll::Ready(None) | Poll::Pending => {}
        }
        // An answer with a length is not asked for its end.
        if matches!(&frame, Poll::Ready(None)) || answer.is_end_stream() {
            answer.complete = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, held) = (self.0.content.size_hint(), self.0.held());
        let mut hint = SizeHint::new();
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(left.lower() + held);
        hint
    }
}
