//! The answer on its way back: its body streamed, its connection returned.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::apart::Apart;
use super::body::RequestBody;
use super::connection::Connection;
use super::error::UpstreamError;
use super::peer::Load;
use super::pool::Pool;

/// The answer's body broke off. Whoever passes it on must abort, never end cleanly: a part must not look like the
/// whole.
#[derive(Debug, thiserror::Error)]
#[error("the backend's answer broke off: {cause}")]
pub struct AnswerCut {
    /// For the log alone.
    pub cause: String,
}

/// An answer's body: data alone, trailers are dropped. When it has come to its end in step with the request, the
/// connection may carry another; dropped before that, it is closed.
#[derive(Debug)]
pub struct UpstreamBody(Source);

#[derive(Debug)]
enum Source {
    /// All there; its connection has gone already.
    Whole(Bytes),
    /// Read by whoever asks for it.
    Here(Lease),
    /// Read by the task that writes the rest of the request.
    Apart(Apart),
    /// It broke off: there is no more, and what there was is not all.
    Cut,
}

/// A connection that is in use.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    /// Where it goes afterwards; `None` when it is to be closed.
    pub(super) home: Option<Arc<Pool>>,
    /// Counts the request at its peer until the answer is over.
    pub(super) load: Load,
}

impl Lease {
    /// The answer is complete.
    pub(super) fn end(self) {
        // What is out of step, like one whose answer came before the whole request was sent, is closed.
        if let Some(home) = self.home.filter(|_| self.connection.is_reusable()) {
            home.put(self.connection);
        }
    }
}

impl UpstreamBody {
    const NONE: Self = Self(Source::Whole(Bytes::new()));

    fn end(&mut self) {
        if let Source::Here(lease) = std::mem::replace(&mut self.0, Self::NONE.0) {
            lease.end();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        let piece = match &mut self.0 {
            Source::Whole(bytes) if bytes.is_empty() => None,
            Source::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Source::Here(lease) => ready!(lease.connection.poll_data(context)),
            Source::Apart(apart) => ready!(apart.poll_data(context)),
            Source::Cut => Some(Err(AnswerCut { cause: "it had broken off before".to_owned() })),
        };
        match piece {
            Some(Ok(piece)) => {
                if let Source::Here(lease) = &self.0
                    && lease.connection.is_answer_over()
                {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(cut)) => {
                self.0 = Source::Cut;
                Poll::Ready(Some(Err(cut)))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Here(lease) => lease.connection.size_hint(),
            Source::Apart(apart) => apart.size_hint(),
            Source::Cut => SizeHint::default(),
        }
    }
}

/// Takes over an answer whose head is there, and what of its request has not been sent.
pub(super) fn receive(
    head: Response<()>,
    mut lease: Lease,
    rest: RequestBody,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Broken { cause: "it switched protocols without being asked".to_owned() });
    }
    let body = if let Some(whole) = lease.connection.take_whole() {
        lease.end();
        Source::Whole(whole)
    } else if lease.connection.is_uploaded() {
        Source::Here(lease)
    } else {
        // The rest of the upload must not wait for a client that is slow to take the answer.
        Source::Apart(Apart::start(lease, rest))
    };
    Ok(head.map(|()| UpstreamBody(body)))
}
