//! The answer on its way back: its body streamed, its connection returned.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::apart::Apart;
use super::body::RequestBody;
use super::error::{AnswerCut, UpstreamError};
use super::lease::Lease;

/// An answer's body: data alone, trailers are dropped. When it has come to its end in step with the request, the
/// connection may carry another; dropped before that, it is closed.
#[derive(Debug)]
pub struct UpstreamBody {
    /// What has been read of it already.
    ahead: Bytes,
    rest: Rest,
}

/// What is still to come.
#[derive(Debug)]
enum Rest {
    /// Nothing; its connection has gone already.
    None,
    /// Read by whoever asks for it.
    Here(Lease),
    /// Read by the task that writes the rest of the request.
    Apart(Apart),
    /// It broke off: there is no more, and what there was is not all.
    Cut,
}

impl UpstreamBody {
    fn end(&mut self) {
        if let Rest::Here(lease) = std::mem::replace(&mut self.rest, Rest::None) {
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
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        let piece = match &mut self.rest {
            Rest::None => None,
            Rest::Here(lease) => ready!(lease.connection.poll_data(context)),
            Rest::Apart(apart) => ready!(apart.poll_data(context)),
            Rest::Cut => Some(Err(AnswerCut::Ended("it had broken off before".to_owned()))),
        };
        match piece {
            Some(Ok(piece)) => {
                if let Rest::Here(lease) = &self.rest
                    && lease.connection.is_answer_over()
                {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(cut)) => {
                self.rest = Rest::Cut;
                Poll::Ready(Some(Err(cut)))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && matches!(self.rest, Rest::None)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.len() as u64;
        let rest = match &self.rest {
            Rest::None => SizeHint::with_exact(0),
            Rest::Here(lease) => lease.connection.size_hint(),
            Rest::Apart(apart) => apart.size_hint(),
            Rest::Cut => SizeHint::default(),
        };
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead.saturating_add(rest)))
    }
}

/// Takes over an answer whose head is there, and what of its request has not been sent. What has come with the head is
/// looked into before the head is passed on: an answer that cannot be read is none, as long as nobody was told of it.
pub(super) async fn receive(
    head: Response<()>,
    mut lease: Lease,
    rest: &mut RequestBody,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Malformed { cause: "it switched protocols without being asked".to_owned() });
    }
    let ahead = match lease.connection.take_whole() {
        Some(whole) => whole,
        None => first_piece(&mut lease).await?,
    };
    let rest = if lease.connection.is_answer_over() {
        lease.end();
        Rest::None
    } else if lease.connection.is_uploaded() {
        Rest::Here(lease)
    } else {
        // The rest of the upload must not wait for a client that is slow to take the answer.
        Rest::Apart(Apart::start(lease, std::mem::take(rest)))
    };
    Ok(head.map(|()| UpstreamBody { ahead, rest }))
}

/// The body's first piece, or nothing if it has not come yet.
async fn first_piece(lease: &mut Lease) -> Result<Bytes, UpstreamError> {
    let polled = poll_fn(|context| Poll::Ready(lease.connection.poll_data(context))).await;
    match polled {
        Poll::Ready(Some(Ok(piece))) => Ok(piece),
        Poll::Ready(Some(Err(cut))) => Err(cut.into()),
        Poll::Ready(None) | Poll::Pending => Ok(Bytes::new()),
    }
}
