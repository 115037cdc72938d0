//! One request over HTTP/2 and its answer.
//!
//! A client can close the window of one stream and keep the connection alive, while a worker of the backend waits
//! behind that stream. So each wait for the client is bounded, and ends at once with the session for which the answer
//! was made: the stream is reset, what it holds is let go, and the connection and its other streams go on.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::body::AnswerBody;
use super::client_body::{ClientBody, StreamBody};
use super::connection::ExchangeGuard;
use super::cut::SessionOver;
use super::exchange::Downstream;
use super::http2_refusals::UnderWay;
use super::leftover::Leftover;
use super::services::Gateway;
use crate::http::Refusal;

/// A stream that asks for something.
pub(super) struct Stream {
    pub(super) respond: SendResponse<Bytes>,
    /// How long the client may take nothing of its answer.
    pub(super) patience: Duration,
    /// It is over when this is dropped.
    pub(super) _under_way: UnderWay,
}

impl Stream {
    /// Answers its request.
    pub(super) async fn serve(
        mut self,
        gateway: Arc<Gateway>,
        request: Request<RecvStream>,
        downstream: Downstream,
        verdict: Result<(), Refusal>,
        guard: ExchangeGuard,
    ) {
        let (parts, body) = request.into_parts();
        let leftover = (!body.is_end_stream()).then(|| Leftover::of(guard.connection()));
        let body = ClientBody::http2(StreamBody::new(body, &parts.headers), leftover);
        let answer = tokio::select! {
            biased;
            // The client does not want it any more.
            _ = poll_fn(|context| self.respond.poll_reset(context)) => return,
            answer = async {
                let received = gateway.receive(parts, body, &downstream, verdict, guard);
                gateway.clone().handle(received).await
            } => answer,
        };
        let (mut head, body) = answer.into_parts();
        complete_head(&mut head.headers, &body, &gateway);
        let whole = body.is_end_stream();
        match self.respond.send_response(Response::from_parts(head, ()), whole) {
            Ok(_) if whole => {}
            Ok(stream) => send_body(stream, body, self.patience).await,
            Err(error) => {
                tracing::debug!(%error, "an answer could not be sent");
                self.respond.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    }
}

/// What hyper adds over HTTP/1.
fn complete_head(headers: &mut HeaderMap, body: &AnswerBody, gateway: &Gateway) {
    if !headers.contains_key(DATE) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(gateway.clock().wall().as_micros());
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
            headers.insert(DATE, date);
        }
    }
    if !body.is_end_stream()
        && !headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Sends an answer as its client takes it. Whatever else ends it resets the stream: the client must not take a part for
/// the whole.
async fn send_body(mut stream: SendStream<Bytes>, mut body: AnswerBody, patience: Duration) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
            frame = body.frame() => frame,
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(%error, "an answer broke off");
                let cut = error.is::<SessionOver>();
                return stream.send_reset(if cut { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
            }
            None => return drop(stream.send_data(Bytes::new(), true)),
        };
        let taken = match frame.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                tokio::select! {
                    biased;
                    taken = send_piece(&mut stream, data, last, patience) => taken.map(|()| last),
                    () = body.session_over() => Err(Untaken),
                }
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => stream.send_trailers(trailers).map(|()| true).map_err(|_| Untaken),
                Err(_) => Ok(false),
            },
        };
        match taken {
            Ok(false) => {}
            Ok(true) => return,
            Err(Untaken) => return stream.send_reset(Reason::CANCEL),
        }
    }
}

/// The client took nothing for too long, is gone, or has no session any more.
struct Untaken;

/// Sends a piece as the client makes room for it.
async fn send_piece(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
    patience: Duration,
) -> Result<(), Untaken> {
    if data.is_empty() {
        return stream.send_data(data, last).map_err(|_| Untaken);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        while stream.capacity() == 0 {
            let room = tokio::time::timeout(patience, poll_fn(|context| stream.poll_capacity(context))).await;
            let Ok(Some(Ok(_))) = room else { return Err(Untaken) };
        }
        let piece = data.split_to(stream.capacity().min(data.len()));
        stream.send_data(piece, last && data.is_empty()).map_err(|_| Untaken)?;
    }
    Ok(())
}
