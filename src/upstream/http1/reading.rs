//! What reading an answer comes to.

use std::borrow::Cow;

use bytes::Bytes;

/// What reading on comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A piece of it.
    Data(Bytes),
    /// More input is needed.
    More,
    /// It is over.
    End,
}

/// It is no answer, or one that can be read in two ways. The text is for the log; of the answer itself it has names of
/// headers at most, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    pub(super) const fn new(what: &'static str) -> Self {
        Self(Cow::Borrowed(what))
    }

    pub(super) const fn of(what: String) -> Self {
        Self(Cow::Owned(what))
    }
}
