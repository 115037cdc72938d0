//! How large a head may be.

/// How large a head may be. hyper's own limits on the same connection must not be lower: what this machine accepts, the
/// service has to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first byte of the request line to the last of the empty line; for trailers, all of them.
    pub bytes: usize,
    /// Header lines; trailer lines count by themselves.
    pub count: usize,
}
