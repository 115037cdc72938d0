//! Which host a request is for, and whether it is one of ours.
//!
//! Exactly one valid Host, and an absolute-form target that agrees with it: 26 of 44 servers took the first or the last
//! of two, 25 believed a foreign absolute-form target. A wrong host poisons links, caches and redirects.

use std::fmt;
use std::net::Ipv6Addr;

use ::http::header::HOST;
use ::http::{HeaderMap, HeaderValue, Uri};

use super::Refusal;

/// The longest host with port that is looked at: a DNS name has at most 253 characters.
const LONGEST: usize = 261;

/// A valid `host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHost {
    /// As it was sent: `host[:port]`.
    sent: HeaderValue,
    /// How much of it is the host.
    host: usize,
    /// The host in lower case, where that is not how it was sent.
    lower: Option<Box<str>>,
    port: Option<u16>,
}

impl RequestHost {
    /// Reads a Host value: a name, an IPv4 address or an IPv6 address in brackets, with or without a port. `None` for
    /// user information, a path, white space, an empty label or port and everything else that has no place in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(&HeaderValue::from_str(text).ok()?)
    }

    fn of(value: &HeaderValue) -> Option<Self> {
        let text = Some(value.as_bytes()).filter(|text| text.len() <= LONGEST)?;
        let length = if text.starts_with(b"[") { address_length(text) } else { name_length(text) }?;
        let (host, rest) = text.split_at_checked(length)?;
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port_of(digits)?),
            _ => return None,
        };
        let has_upper = host.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase());
        let lower = if has_upper { Some(std::str::from_utf8(host).ok()?.to_ascii_lowercase().into()) } else { None };
        Some(Self { host: length, lower, port, sent: value.clone() })
    }

    /// `host[:port]` as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // What was parsed is visible ASCII.
        self.sent.to_str().unwrap_or_default()
    }

    /// As a header's value.
    #[must_use]
    pub const fn header_value(&self) -> &HeaderValue {
        &self.sent
    }

    /// The host in lower case, without its port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.lower {
            Some(lower) => lower,
            None => self.as_str().get(..self.host).unwrap_or_default(),
        }
    }

    /// [`host`](Self::host), to be compared with.
    fn host_bytes(&self) -> &[u8] {
        match &self.lower {
            Some(lower) => lower.as_bytes(),
            None => self.sent.as_bytes().get(..self.host).unwrap_or_default(),
        }
    }

    /// The port, where one was sent.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for RequestHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How much of a text is a name: letters, digits, `-` and `_` in labels, up to a colon or the end; one dot may stand at
/// its end. By bytes, because every request has one.
fn name_length(text: &[u8]) -> Option<usize> {
    let mut label = 0;
    for (at, byte) in text.iter().enumerate() {
        match HOST_BYTES.get(usize::from(*byte)) {
            Some(HostByte::OfLabel) => label += 1,
            Some(HostByte::Dot) if label > 0 => label = 0,
            Some(HostByte::Colon) if at > 0 => return Some(at),
            _ => return None,
        }
    }
    (!text.is_empty()).then_some(text.len())
}

/// What a byte is in a name.
#[derive(Clone, Copy)]
enum HostByte {
    OfLabel,
    Dot,
    Colon,
    Neither,
}

const HOST_BYTES: [HostByte; 256] = {
    let mut table = [HostByte::Neither; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => HostByte::OfLabel,
            b'.' => HostByte::Dot,
            b':' => HostByte::Colon,
            _ => HostByte::Neither,
        };
        byte += 1;
    }
    table
};

/// How much of a text is an IPv6 address in brackets.
fn address_length(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    std::str::from_utf8(text.get(1..end)?).ok()?.parse::<Ipv6Addr>().ok()?;
    Some(end + 1)
}

/// A port in decimal digits; none is 0.
fn port_of(digits: &[u8]) -> Option<u16> {
    let port = digits.iter().try_fold(0_u16, |port, digit| {
        let digit = Some(digit).filter(|digit| digit.is_ascii_digit())?;
        port.checked_mul(10)?.checked_add(u16::from(digit - b'0'))
    })?;
    (port != 0).then_some(port)
}

/// Finds the one host of a request.
///
/// # Errors
/// [`Refusal::BadRequest`] for no, several or an invalid Host, and for an absolute-form target that names another.
pub fn request_host(headers: &HeaderMap, uri: &Uri) -> Result<RequestHost, Refusal> {
    let mut lines = headers.get_all(HOST).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Refusal::BadRequest("There is not exactly one Host header."));
    };
    let host = RequestHost::of(line)
        .ok_or(Refusal::BadRequest("The Host header is not a host name or address with an optional port."))?;
    agree(&host, uri)?;
    Ok(host)
}

/// The host of a request of HTTP/1.0, which knew no Host: where there is none, it is `public`.
///
/// # Errors
/// As [`request_host`].
pub fn http1_0_host(headers: &HeaderMap, uri: &Uri, public: Option<RequestHost>) -> Result<RequestHost, Refusal> {
    let host = public.filter(|_| !headers.contains_key(HOST));
    let Some(host) = host else { return request_host(headers, uri) };
    agree(&host, uri)?;
    Ok(host)
}

fn agree(host: &RequestHost, uri: &Uri) -> Result<(), Refusal> {
    if let Some(authority) = uri.authority()
        && !authority.as_str().as_bytes().eq_ignore_ascii_case(host.sent.as_bytes())
    {
        return Err(Refusal::BadRequest("The request target names another host than the Host header."));
    }
    Ok(())
}

/// One entry of `server.hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// The part behind the asterisk, with its dot.
    Below(Box<str>),
    Exact(Box<str>),
}

/// A text that is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a host name or address without port, \"*.\" and a name, or \"*\"")]
pub struct HostPatternError;

/// The hosts that are served here; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<HostPattern>);

impl AllowedHosts {
    /// Reads patterns: `app.example.com`, `*.example.com` (below it at any depth, not itself), `*`.
    ///
    /// # Errors
    /// With the first text that is none of these.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, HostPatternError> {
        patterns.into_iter().map(HostPattern::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request for `host` is served, on whatever port. A name with a trailing dot is another name, as it is
    /// to browsers (other cookies, another origin), so only `*` allows it.
    #[must_use]
    pub fn allows(&self, host: &RequestHost) -> bool {
        let host = host.host_bytes();
        self.0.iter().any(|pattern| match pattern {
            HostPattern::Any => true,
            HostPattern::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
            HostPattern::Exact(name) => host == name.as_bytes(),
        })
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, HostPatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let host = RequestHost::parse(name)
            .filter(|host| host.port().is_none() && !(below && name.starts_with('[')))
            .ok_or(HostPatternError)?;
        Ok(if below { Self::Below(format!(".{}", host.host()).into()) } else { Self::Exact(host.host().into()) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(hosts: &[&[u8]]) -> HeaderMap {
        hosts.iter().map(|host| (HOST, HeaderValue::from_bytes(host).expect("a header value"))).collect()
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port_and_nothing_else() {
        for (text, host, port) in [
            ("app.example.com", "app.example.com", None),
            ("APP.Example.com:8443", "app.example.com", Some(8443)),
            ("localhost", "localhost", None),
            ("my_service-1", "my_service-1", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8::1]:8080", "[2001:db8::1]", Some(8080)),
            ("app.example.com.", "app.example.com.", None),
        ] {
            let parsed = RequestHost::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((parsed.host(), parsed.port(), parsed.as_str()), (host, port, text));
        }
        for text in [
            "",
            ":",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:-1",
            "a:+1",
            "a:80:80",
            "a:8o",
            "user@a",
            "user:pw@a",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            " a",
            "a,b",
            "a\\b",
            "a..b",
            ".",
            "..",
            ".a",
            "a%2eb",
            "a'b",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "[]",
            "[127.0.0.1]",
            "http://a",
        ] {
            assert_eq!(RequestHost::parse(text), None, "{text:?}");
        }
        assert_eq!(RequestHost::parse(&"a".repeat(262)), None);
    }

    #[test]
    fn exactly_one_host_is_asked_for_and_an_absolute_target_must_name_the_same() {
        for (row, hosts, uri, expected) in [
            ("one", &[&b"a.example"[..]][..], "/", true),
            ("missing", &[], "/", false),
            ("missing with absolute-form", &[], "http://a.example/", false),
            ("two", &[b"a.example", b"b.example"], "/", false),
            ("two equal ones", &[b"a.example", b"a.example"], "/", false),
            ("a list", &[b"a.example, b.example"], "/", false),
            ("empty", &[b""], "/", false),
            ("non-ASCII", &[b"\xe4.example"], "/", false),
            ("absolute-form, same", &[b"a.example:80"], "http://A.example:80/x", true),
            ("absolute-form, foreign", &[b"a.example"], "http://b.example/x", false),
            ("absolute-form, other port", &[b"a.example"], "http://a.example:81/x", false),
            ("absolute-form with user information", &[b"a.example"], "http://u@a.example/x", false),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(request_host(&headers(hosts), &uri).is_ok(), expected, "{row}");
        }
    }

    #[test]
    fn a_pattern_allows_what_it_says_and_no_more() {
        for (pattern, host, allowed) in [
            ("app.example.com", "app.example.com", true),
            ("App.Example.com", "aPP.example.COM:8080", true),
            ("app.example.com", "xapp.example.com", false),
            ("app.example.com", "app.example.com.evil.test", false),
            ("app.example.com", "app.example.com.", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com:1", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", ".example.com", false),
            ("*", "anything.test", true),
            ("[::1]", "[::1]:9", true),
            ("127.0.0.1", "127.0.0.1:5000", true),
        ] {
            let patterns = AllowedHosts::parse([pattern]).expect(pattern);
            let allows = RequestHost::parse(host).is_some_and(|host| patterns.allows(&host));
            assert_eq!(allows, allowed, "{pattern} {host}");
        }
        for pattern in ["", "a:80", "*.", "**", "a.*", "*a.example", "*.[::1]", "https://a", "*.*.a"] {
            assert_eq!(AllowedHosts::parse([pattern]), Err(HostPatternError), "{pattern:?}");
        }
        let none = AllowedHosts::parse([]).expect("no pattern at all");
        assert!(!none.allows(&RequestHost::parse("a").expect("a name")));
    }

    #[test]
    fn a_request_of_http_1_0_without_a_host_is_for_the_public_one() {
        let public = RequestHost::parse("app.example.com:8443");
        for (uri, hosts, expected) in [
            ("/a", &[][..], Some("app.example.com:8443")),
            ("/a", &[&b"b.test"[..]], Some("b.test")),
            ("/a", &[b"b.test", b"b.test"], None),
            ("http://app.example.com:8443/a", &[], Some("app.example.com:8443")),
            ("http://evil.test/a", &[], None),
        ] {
            let uri: Uri = uri.parse().expect("a target");
            let host = http1_0_host(&headers(hosts), &uri, public.clone()).ok();
            assert_eq!(host.as_ref().map(RequestHost::as_str), expected, "{uri} {hosts:?}");
        }
    }

    /// What [`RequestHost::parse`] reads, read piece by piece as the grammar has it.
    fn by_the_grammar(text: &str) -> Option<(String, Option<u16>)> {
        let colon = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(colon);
        let is_label = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.strip_suffix('.').unwrap_or(host).split('.').all(is_label),
        };
        let port = match rest.strip_prefix(':') {
            None => rest.is_empty().then_some(None)?,
            Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
        };
        valid.then(|| (host.to_ascii_lowercase(), port))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_host_is_read_as_the_grammar_has_it(text in r"[aB0.:_\-]{0,6}|[a-zA-Z0-9.-]{0,12}(:0{0,7}[0-9]{0,5})?|\[[0-9a-fA-F:.]{0,9}\]?(:[0-9]{0,2})?|[ -~]{0,5}") {
            let read = RequestHost::parse(&text).map(|host| (host.host().to_owned(), host.port()));
            prop_assert_eq!(read, by_the_grammar(&text));
        }
    }
}
