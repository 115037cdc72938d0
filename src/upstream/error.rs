//! What can go wrong on the way to a backend, told apart by whose fault it is.

use std::io;
use std::time::Duration;

use super::http1::Malformed;

/// The client's request body was at fault. Never to be answered as if the backend had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More than was allowed.
    #[error("the request body is larger than allowed")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the client stopped sending its request body")]
    Stalled,
    /// It ended early or was malformed.
    #[error("the request body broke off or was malformed")]
    Broken,
}

/// Why a request body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client's fault.
    #[error(transparent)]
    Client(#[from] BodyFault),
    /// Ours: too many other bodies wait.
    #[error("there is no room for another request body")]
    NoRoom,
    /// Ours: the file that held the body could not be written or read.
    #[error("the spooled request body could not be written or read: {0}")]
    Spool(#[from] io::Error),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No peer could be connected; nothing was sent.
    #[error("no peer could be reached: {cause}")]
    Unreachable {
        /// What the last peer tried said. For the log alone.
        cause: String,
    },
    /// The request was sent, or was being sent, and then nothing moved for this long.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The limit that was reached.
        after: Duration,
    },
    /// The backend closed the connection. It may have processed the request.
    #[error("the backend's answer broke off: {cause}")]
    Broken {
        /// For the log alone.
        cause: String,
    },
    /// What the backend sent is no answer, or one that can be read in two ways. It may have processed the request.
    #[error("the backend's answer cannot be understood: {cause}")]
    Malformed {
        /// For the log alone.
        cause: String,
    },
    /// The client's fault.
    #[error(transparent)]
    ClientBody(BodyFault),
    /// Ours: the file that held the request's body could not be read.
    #[error("the spooled request body could not be read: {cause}")]
    Spool {
        /// For the log alone.
        cause: String,
    },
}

impl UpstreamError {
    /// A short word for the metric `upstream_errors_total{kind}`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::Malformed { .. } => "malformed",
            Self::ClientBody(_) => "client_body",
            Self::Spool { .. } => "spool",
        }
    }
}

/// The answer's body broke off. Whoever passes it on must abort, never end cleanly: a part must not look like the
/// whole.
#[derive(Debug, thiserror::Error)]
pub enum AnswerCut {
    /// The connection ended.
    #[error("the backend's answer broke off: {0}")]
    Ended(String),
    /// It is not in the coding that its head names.
    #[error("the backend's answer cannot be understood: {0}")]
    Malformed(#[from] Malformed),
}

impl From<AnswerCut> for UpstreamError {
    fn from(cut: AnswerCut) -> Self {
        match cut {
            AnswerCut::Ended(cause) => Self::Broken { cause },
            AnswerCut::Malformed(malformed) => malformed.into(),
        }
    }
}

impl From<Malformed> for UpstreamError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed { cause: malformed.to_string() }
    }
}

impl From<BodyError> for UpstreamError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Client(fault) => Self::ClientBody(fault),
            error @ (BodyError::NoRoom | BodyError::Spool(_)) => Self::Spool { cause: error.to_string() },
        }
    }
}
