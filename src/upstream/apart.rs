//! An exchange whose answer has begun before its request was sent: a task of its own writes the rest of the request,
//! however slowly the answer is taken.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::SizeHint;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;

use super::body::RequestBody;
use super::error::AnswerCut;
use super::lease::Lease;

/// What the task hands over. An end is said: a task that is gone without it, by a panic, must not look like one.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    Cut(AnswerCut),
    End,
}

/// The answer's end of such an exchange. Dropping it ends the task, and with it the connection.
#[derive(Debug)]
pub(super) struct Apart {
    pieces: mpsc::Receiver<Piece>,
    size: SizeHint,
    _task: AbortOnDropHandle<()>,
}

impl Apart {
    pub(super) fn start(lease: Lease, rest: RequestBody) -> Self {
        // One piece waits for its reader while the next is read.
        let (sender, pieces) = mpsc::channel(1);
        let size = lease.connection.size_hint();
        let task = tokio::spawn(run(lease, rest, PollSender::new(sender)));
        Self { pieces, size, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, AnswerCut>>> {
        let cut = match ready!(self.pieces.poll_recv(context)) {
            Some(Piece::End) => return Poll::Ready(None),
            Some(Piece::Data(piece)) => {
                if let Some(left) = self.size.exact() {
                    self.size = SizeHint::with_exact(left.saturating_sub(piece.len() as u64));
                }
                return Poll::Ready(Some(Ok(piece)));
            }
            Some(Piece::Cut(cut)) => cut,
            None => AnswerCut::Ended("who read it is gone".to_owned()),
        };
        Poll::Ready(Some(Err(cut)))
    }

    pub(super) const fn size_hint(&self) -> SizeHint {
        self.size
    }
}

async fn run(mut lease: Lease, mut rest: RequestBody, mut sender: PollSender<Piece>) {
    let exchange = std::future::poll_fn(|context| {
        loop {
            // Once an answer has begun, what goes wrong here is told by reading it.
            let _ = lease.connection.poll_upload(context, &mut rest);
            // The next piece is read when there is room for it. Nobody waits for it any more: the task is about to end.
            let Ok(()) = ready!(sender.poll_reserve(context)) else { return Poll::Ready(()) };
            let piece = match ready!(lease.connection.poll_data(context)) {
                Some(Ok(piece)) => Piece::Data(piece),
                Some(Err(cut)) => Piece::Cut(cut),
                None => Piece::End,
            };
            let is_last = !matches!(piece, Piece::Data(_));
            if sender.send_item(piece).is_err() || is_last {
                return Poll::Ready(());
            }
        }
    });
    exchange.await;
    lease.end();
}
