//! What a request presents to say whose it is. A credential is not a session, and a session has no credential: it is
//! found by one.

use super::SessionId;

/// What was presented, without any secret of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A session's token in the gateway's cookie, by the id that it hashes to.
    Session(SessionId),
    /// Something that names nothing which was ever made here: no token, or several that differ.
    Unusable,
    /// An issuer's token in `Authorization`, of which nothing is known yet.
    Bearer,
}

impl Credential {
    /// Whether browsers add it by themselves to what any page makes them send, as they do with cookies.
    #[must_use]
    pub const fn is_ambient(self) -> bool {
        match self {
            Self::None | Self::Bearer => false,
            Self::Session(_) | Self::Unusable => true,
        }
    }
}
