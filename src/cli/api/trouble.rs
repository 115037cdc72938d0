//! Why a command did not do what was asked.

/// Why. The text is for people, and says what to do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Trouble {
    /// Bad usage or bad configuration.
    Usage(String),
    /// It failed while running, and the same again may succeed: the gateway or its store is away.
    Unavailable(String),
    /// The token's roles do not allow it.
    Forbidden(String),
    /// It failed while running.
    Failed(String),
    /// Who read its output has gone, as `head` does: there is nobody to tell.
    NoReader,
}
