//! What RFC 9113 section 8 asks of a request's head, checked on the parsed model.
//!
//! In HTTP/2 the frames say where a request begins and ends, so [`RequestFraming`](super::RequestFraming) has nothing to
//! judge. What could be ambiguous is how the head reads once it is HTTP/1.1 again, towards the backend: two hosts, a
//! transfer coding, a second length. The HTTP/2 library resets most of that by itself; it is refused here all the same,
//! for forwarding relies on it. Repairs nothing, but for the one thing that the RFC asks for: cookies in several lines
//! are one cookie line.

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{Method, Uri};

use super::refusal::HeadLimit;
use super::{HeadLimits, Refusal, RequestHost, request_host};

/// Section 8.2.2: these are about a connection of HTTP/1.
const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// What a line has besides its name and value, were it HTTP/1.1: `: ` and CR LF.
const LINE_EXTRA: usize = 4;
/// The same for the request line, and the empty line at the end.
const FRAME_EXTRA: usize = 14;

/// Checks a request's head. It is measured as if it were HTTP/1.1, so that `limits` mean the same; cookies count as the
/// one line that they will be, because browsers send each in a line of its own.
///
/// # Errors
/// [`Refusal::BadRequest`] for what section 8 calls malformed, [`Refusal::HeadersTooLarge`].
pub fn check_http2_head(method: &Method, uri: &Uri, headers: &HeaderMap, limits: HeadLimits) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let start = method.as_str().len() + target + FRAME_EXTRA;
    let size = headers.iter().fold(start, |size, (name, value)| size + name.as_str().len() + value.len() + LINE_EXTRA);
    let cookies = headers.get_all(header::COOKIE).iter().count();
    if size > limits.bytes {
        return Err(Refusal::HeadersTooLarge(HeadLimit::Bytes));
    }
    if headers.len() - cookies.saturating_sub(1) > limits.count {
        return Err(Refusal::HeadersTooLarge(HeadLimit::Lines));
    }
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name)) {
        return Err(Refusal::BadRequest("A header about the connection has no place in HTTP/2."));
    }
    if headers.get_all(header::TE).iter().any(|value| value != "trailers") {
        return Err(Refusal::BadRequest("In HTTP/2, TE can only be `trailers`."));
    }
    // The library took the first, which is a number, for the body's length.
    let mut lengths =
        headers.get_all(header::CONTENT_LENGTH).iter().map(|value| value.to_str().ok()?.parse::<u64>().ok());
    let first = lengths.next();
    if lengths.any(|length| Some(length) != first) {
        return Err(Refusal::BadRequest("There are two Content-Lengths, and they differ."));
    }
    Ok(())
}

/// Finds the one host of an HTTP/2 request: `:authority`, or without it the Host header; where both are there, they must
/// be the same (section 8.3.1).
///
/// # Errors
/// [`Refusal::BadRequest`] for no, several, different or invalid ones.
pub fn http2_host(headers: &HeaderMap, uri: &Uri) -> Result<RequestHost, Refusal> {
    match uri.authority() {
        Some(authority) if !headers.contains_key(header::HOST) => RequestHost::parse(authority.as_str())
            .ok_or(Refusal::BadRequest("The :authority is not a host name or address with an optional port.")),
        _ => request_host(headers, uri),
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 300, count: 8 };

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"))
        };
        lines.iter().map(line).collect()
    }

    fn check(lines: &[(&'static str, &str)]) -> Result<(), Refusal> {
        check_http2_head(&Method::GET, &Uri::from_static("https://a.test/x"), &headers(lines), LIMITS)
    }

    #[test]
    fn what_belongs_to_a_connection_of_http_1_is_malformed() {
        for line in [
            ("connection", "close"),
            ("connection", "x-customer-id"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
        ] {
            assert!(matches!(check(&[line]), Err(Refusal::BadRequest(_))), "{line:?}");
        }
        assert!(matches!(check(&[("content-length", "1"), ("content-length", "2")]), Err(Refusal::BadRequest(_))));
        assert_eq!(check(&[("content-length", "1"), ("content-length", "01")]), Ok(()));
        assert_eq!(check(&[("te", "trailers"), ("content-length", "1"), ("accept", "*/*")]), Ok(()));
    }

    #[test]
    fn the_limits_of_a_head_hold_and_cookie_crumbs_are_one_line() {
        let too_large = |outcome| matches!(outcome, Err(Refusal::HeadersTooLarge(_)));
        assert_eq!(check(&[("x-a", "1"); 8]), Ok(()));
        assert!(too_large(check(&[("x-a", "1"); 9])));
        assert_eq!(check(&[("cookie", "a=1"); 20]), Ok(()));
        assert!(too_large(check(&[("cookie", "a=1"); 30])), "300 bytes are the limit all the same");
        let (fits, longer) = ("v".repeat(300 - 3 - 4 - 5 - 14), "v".repeat(300 - 3 - 4 - 5 - 13));
        assert_eq!(check(&[("x-a", &fits)]), Ok(()));
        assert!(too_large(check(&[("x-a", &longer)])));
    }

    #[test]
    fn the_authority_is_the_host_and_a_host_beside_it_must_be_the_same() {
        for (uri, hosts, expected) in [
            ("https://a.test/x", &[][..], Some("a.test")),
            ("https://a.test:8443/x", &[], Some("a.test:8443")),
            ("https://a.test/x", &["a.test"], Some("a.test")),
            ("https://a.test/x", &["A.test"], Some("A.test")),
            ("https://a.test/x", &["b.test"], None),
            ("https://a.test/x", &["a.test", "a.test"], None),
            ("https://u@a.test/x", &[], None),
            ("https://a..test/x", &[], None),
            ("/x", &["a.test"], Some("a.test")),
            ("/x", &[], None),
            ("/x", &["a.test", "b.test"], None),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            let headers: HeaderMap =
                hosts.iter().map(|host| (header::HOST, HeaderValue::from_str(host).expect("a value"))).collect();
            let host = http2_host(&headers, &uri).ok();
            assert_eq!(host.as_ref().map(RequestHost::as_str), expected, "{uri} {hosts:?}");
        }
    }
}
