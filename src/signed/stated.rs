//! What is signed.

use crate::session::SessionId;

/// What the identity headers of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated<'a> {
    /// In the tenant header; `None` where it is not there.
    pub tenant: Option<&'a str>,
    /// In the user header.
    pub user: &'a str,
    /// In the role header.
    pub role: Option<&'a str>,
    /// In the session header: a session, or an issuer's token.
    pub session: SessionId,
}

/// An identity that cannot be signed; the request must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity cannot be signed")]
pub struct Unsigned;
