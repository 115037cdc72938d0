//! Why a request is turned away before anybody looks at whose it is.

/// A limit of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadLimit {
    /// Its bytes, all together.
    Bytes,
    /// Its header lines.
    Lines,
}

impl HeadLimit {
    /// What the client's developer is told.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Bytes => "The request line and headers are longer than this server allows.",
            Self::Lines => "The request has more header lines than this server allows.",
        }
    }

    /// The key that the operator raises to let it pass.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Bytes => "server.max_header",
            Self::Lines => "server.max_headers",
        }
    }
}

/// A request that is refused for its form. The texts explain it to the developer of the client; they hold nothing that
/// the client sent, so they can be shown and logged as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400 `bad_request`: malformed, or what RFC 9112 calls ambiguous.
    BadRequest(&'static str),
    /// 400 `bad_path`: a path that servers are known to read in different ways.
    BadPath(&'static str),
    /// 405: TRACE, CONNECT, lower-case and unknown methods.
    MethodNotAllowed,
    /// 431 `headers_too_large`: over this limit.
    HeadersTooLarge(HeadLimit),
    /// 417: an `Expect` other than `100-continue`.
    ExpectationFailed,
    /// 413 `body_too_large`.
    BodyTooLarge,
}
