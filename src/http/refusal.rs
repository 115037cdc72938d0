//! Why a request is turned away before anybody looks at whose it is.

/// A request that is refused for its form. The texts explain it to the developer of the client; they hold nothing that
/// the client sent, so they can be shown and logged as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400 `bad_request`: malformed, or what RFC 9112 calls ambiguous.
    BadRequest(&'static str),
    /// 400 `bad_path`: a path that servers are known to read in different ways.
    BadPath(&'static str),
    /// 421 `host_not_allowed`: a well-formed Host that is not served here.
    HostNotAllowed,
    /// 405: TRACE, CONNECT, lower-case and unknown methods.
    MethodNotAllowed,
    /// 431 `headers_too_large`: over the limit in bytes or in number.
    HeadersTooLarge(&'static str),
    /// 417: an `Expect` other than `100-continue`.
    ExpectationFailed,
    /// 413 `body_too_large`.
    BodyTooLarge,
}
