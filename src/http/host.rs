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
        let text = value.to_str().ok().filter(|text| text.len() <= LONGEST)?;
        let (host, port) = if text.starts_with('[') {
            let end = text.find(']')? + 1;
            let (host, rest) = text.split_at_checked(end)?;
            host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (host, port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if !host.starts_with('[') && !is_name(host) {
            return None;
        }
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
        };
        let lower = host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase().into());
        Some(Self { host: host.len(), lower, port, sent: value.clone() })
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

/// Letters, digits, `-` and `_` in labels; one dot may stand at the end.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
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
    if let Some(authority) = uri.authority()
        && !authority.as_str().eq_ignore_ascii_case(host.as_str())
    {
        return Err(Refusal::BadRequest("The request target names another host than the Host header."));
    }
    Ok(host)
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

/// The hosts that are served here.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        self.0.iter().any(|pattern| match pattern {
            HostPattern::Any => true,
            HostPattern::Below(suffix) => host.host().len() > suffix.len() && host.host().ends_with(&**suffix),
            HostPattern::Exact(name) => host.host() == &**name,
        })
    }

    /// [`allows`](Self::allows) as a verdict.
    ///
    /// # Errors
    /// [`Refusal::HostNotAllowed`].
    pub fn check(&self, host: &RequestHost) -> Result<(), Refusal> {
        if self.allows(host) { Ok(()) } else { Err(Refusal::HostNotAllowed) }
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
        assert_eq!(none.check(&RequestHost::parse("a").expect("a name")), Err(Refusal::HostNotAllowed));
    }
}
