//! The answer on its way back: its framing made unambiguous, its body streamed, its connection returned.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
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
pub struct UpstreamBody {
    body: Incoming,
    lease: Option<Lease>,
}

/// A connection that is in use.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// Where it goes afterwards; `None` when it is to be closed.
    pub(super) home: Option<Arc<Pool>>,
    /// Counts the request at its peer until the answer is over.
    pub(super) load: Load,
}

impl Lease {
    /// The answer is complete.
    fn end(self) {
        // An answer that came before the whole request was sent leaves the connection in no known state.
        if let Some(home) = self.home.filter(|_| self.connection.wire.uploaded()) {
            home.put(self.connection);
        }
    }
}

impl UpstreamBody {
    fn new(body: Incoming, lease: Lease) -> Self {
        let mut this = Self { body, lease: Some(lease) };
        this.end_if_complete();
        this
    }

    fn end_if_complete(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let body = &mut self.body;
        match &mut self.lease {
            Some(lease) => lease.connection.poll_for(context, |context| Pin::new(&mut *body).poll_frame(context)),
            None => Pin::new(body).poll_frame(context),
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
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
        loop {
            match ready!(self.poll_body(context)) {
                Some(Ok(frame)) if frame.is_data() => {
                    self.end_if_complete();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_trailers)) => {}
                Some(Err(error)) => {
                    self.lease = None;
                    return Poll::Ready(Some(Err(AnswerCut { cause: describe(&error) })));
                }
                None => {
                    self.end();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An error with its causes, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Takes over an answer's head, or says why it is none.
pub(super) fn receive(response: Response<Incoming>, mut lease: Lease) -> Result<Response<UpstreamBody>, &'static str> {
    let (mut head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switched protocols without being asked");
    }
    settle_framing(&mut head.headers)?;
    if head.version != Version::HTTP_11 {
        // hyper speaks 1.0 to such a peer from then on, and there a body without a length is silently none.
        lease.home = None;
    }
    Ok(Response::from_parts(head, UpstreamBody::new(body, lease)))
}

/// Leaves at most one statement of the body's length, the one by which it was read (RFC 9112, 6.3): what is passed on
/// must not be read differently further on.
fn settle_framing(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("its transfer coding is not just chunked");
        }
        headers.remove(CONTENT_LENGTH);
        return Ok(());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next().cloned() else { return Ok(()) };
    if lengths.any(|other| *other != first) || !first.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err("its length is ambiguous");
    }
    headers.insert(CONTENT_LENGTH, first);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn an_answer_states_its_length_once_and_as_it_was_read() {
        for (name, lines, expected) in [
            ("nothing", vec![], Ok(None)),
            ("one length", vec![("content-length", "5")], Ok(Some("5"))),
            ("the same twice", vec![("content-length", "5"), ("content-length", "5")], Ok(Some("5"))),
            ("two lengths", vec![("content-length", "5"), ("content-length", "6")], Err(())),
            ("a list", vec![("content-length", "5, 5")], Err(())),
            ("a sign", vec![("content-length", "+5")], Err(())),
            ("chunked", vec![("transfer-encoding", "Chunked")], Ok(None)),
            ("both", vec![("transfer-encoding", "chunked"), ("content-length", "5")], Ok(None)),
            ("a coding we cannot undo", vec![("transfer-encoding", "gzip, chunked")], Err(())),
            ("two codings", vec![("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], Err(())),
        ] {
            let mut map = headers(&lines);
            let settled = settle_framing(&mut map).map_err(|_| ()).map(|()| {
                assert!(map.get_all(CONTENT_LENGTH).iter().count() <= 1, "{name}");
                map.get(CONTENT_LENGTH).map(|value| value.to_str().unwrap())
            });
            assert_eq!(settled, expected, "{name}");
        }
    }
}
