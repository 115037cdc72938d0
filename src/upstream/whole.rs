//! An answer that is read whole, because it is to be understood and not passed on as it comes.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::answer::UpstreamBody;
use super::error::{AnswerCut, UpstreamError};

/// Why an answer cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// What it is does not allow it.
    #[error("{0}")]
    Content(&'static str),
    /// It broke off.
    #[error(transparent)]
    Broken(UpstreamError),
}

/// The whole of an answer, as it was written, and at most `max` bytes of it. It has to be there `within` this time: its
/// sender may stall after any byte.
///
/// # Errors
/// See [`Unreadable`].
pub async fn read_whole(
    headers: &HeaderMap,
    body: UpstreamBody,
    max: usize,
    within: Duration,
) -> Result<Bytes, Unreadable> {
    let encoded =
        headers.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Unreadable::Content("it is compressed although `Accept-Encoding: identity` was sent"));
    }
    let whole = timeout(within, Limited::new(body, max).collect()).await;
    match whole.map_err(|_| Unreadable::Broken(UpstreamError::Timeout { after: within }))? {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::Content("it is larger than the limit")),
        Err(error) => Err(Unreadable::Broken(match error.downcast::<AnswerCut>() {
            Ok(cut) => (*cut).into(),
            Err(error) => UpstreamError::Broken { cause: error.to_string() },
        })),
    }
}
