//! HTTP/2 answers that their client does not take.
//!
//! Over HTTP/1 such a client blocks the connection's writes, which `io` bounds. Over HTTP/2 it can close the window of
//! one stream and keep the connection alive, and a worker of the backend waits behind that stream. So the answer is
//! given up after a while: what it holds is let go, and the stream ends with an error should the client ask on. The
//! connection and its other streams go on.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::body::BodyError;

/// The answers of a connection that are under way.
pub(super) struct AnswersUnderWay<B> {
    answers: Mutex<Vec<Weak<Mutex<Answer<B>>>>>,
}

struct Answer<B> {
    /// `None` once it was given up.
    body: Option<B>,
    /// Since when it is the client's turn; `None` while the next piece is the backend's to send.
    untaken_since: Option<Instant>,
}

impl<B> AnswersUnderWay<B> {
    pub(super) const fn new() -> Self {
        Self { answers: Mutex::new(Vec::new()) }
    }

    /// Watches an answer from now on.
    pub(super) fn watch(&self, body: B) -> WatchedBody<B> {
        let answer = Arc::new(Mutex::new(Answer { body: Some(body), untaken_since: Some(Instant::now()) }));
        let mut answers = self.answers.lock();
        // Never longer than there are streams, and what comes and goes.
        answers.retain(|answer| answer.strong_count() > 0);
        answers.push(Arc::downgrade(&answer));
        WatchedBody(answer)
    }

    /// Gives up, for as long as it is polled, what is not taken for as long as `allowed`.
    pub(super) async fn give_up_untaken(&self, allowed: Duration) {
        loop {
            tokio::time::sleep(allowed / 4).await;
            let answers: Vec<_> = self.answers.lock().iter().filter_map(Weak::upgrade).collect();
            for answer in answers {
                let mut answer = answer.lock();
                let given_up = answer.untaken_since.is_some_and(|since| since.elapsed() >= allowed);
                let body = if given_up { answer.body.take() } else { None };
                // Its end may do anything, so it is not held within the lock.
                drop(answer);
                drop(body);
            }
        }
    }
}

/// An answer's body that is watched.
pub(super) struct WatchedBody<B>(Arc<Mutex<Answer<B>>>);

impl<B: Body<Error = BodyError> + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BodyError>>> {
        let mut answer = self.0.lock();
        let Some(body) = &mut answer.body else {
            return Poll::Ready(Some(Err("the client took nothing of its answer".into())));
        };
        let frame = Pin::new(body).poll_frame(context);
        answer.untaken_since = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    use super::*;

    /// A body of the pieces that are sent to it.
    struct Pieces(mpsc::UnboundedReceiver<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
        }
    }

    const ALLOWED: Duration = Duration::from_secs(60);

    async fn let_pass(under_way: &AnswersUnderWay<Pieces>, time: Duration) {
        let _ = tokio::time::timeout(time, under_way.give_up_untaken(ALLOWED)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_let_go_and_ends_with_an_error() {
        let under_way = AnswersUnderWay::new();
        let (send, receive) = mpsc::unbounded_channel();
        let mut body = under_way.watch(Pieces(receive));
        send.send("one").expect("it listens");
        assert!(body.frame().await.expect("a piece").is_ok());
        let_pass(&under_way, ALLOWED / 2).await;
        assert!(!send.is_closed());
        let_pass(&under_way, ALLOWED).await;
        assert!(send.is_closed(), "the backend's side is free");
        assert!(body.frame().await.expect("an end").is_err(), "the client must not take it for a whole answer");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_next_piece_is_the_backends_to_send_is_left_alone() {
        let under_way = AnswersUnderWay::new();
        let (send, receive) = mpsc::unbounded_channel();
        let mut body = under_way.watch(Pieces(receive));
        let reader = tokio::spawn(async move {
            let mut read = 0;
            while let Some(Ok(_)) = body.frame().await {
                read += 1;
            }
            read
        });
        for _ in 0..3 {
            let_pass(&under_way, ALLOWED * 5).await;
            send.send("piece").expect("it listens");
        }
        let_pass(&under_way, ALLOWED / 2).await;
        drop(send);
        assert_eq!(reader.await.expect("it ends"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_over_are_forgotten() {
        let under_way = AnswersUnderWay::new();
        for _ in 0..1000 {
            let (_, receive) = mpsc::unbounded_channel();
            drop(under_way.watch(Pieces(receive)));
        }
        assert!(under_way.answers.lock().len() <= 1);
    }
}
