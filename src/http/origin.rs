//! Whether another site caused a request (docs/behaviour.md, "Cross-origin calls"; OWASP ASVS 3.5.1).
//!
//! The cookie's SameSite is not enough: a sibling domain is the same site, and `same_site = "none"` is allowed. Asked
//! only for what another site must not cause: unsafe methods with a session cookie, logins and logouts. A request with
//! neither header passes: browsers send at least one with every unsafe cross-origin request, and what sends none
//! (scripts, old in-house clients) has no other site's page in it.

use std::fmt;

use ::http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

use super::{AllowedHosts, RequestHost};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The text before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that needs no mention.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Reads `https://host[:port]`: no path, not even a slash, no user information. `None` for everything else,
    /// `null` included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return None;
        };
        let host = RequestHost::parse(rest)?;
        Some(Self { scheme, host: host.host().into(), port: host.port().unwrap_or(scheme.default_port()) })
    }

    /// Its scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port, as browsers write them in a Host header. There is always one, for it was parsed as one.
    #[must_use]
    pub fn authority(&self) -> Option<RequestHost> {
        let whole = self.to_string();
        whole.split_once("://").and_then(|(_, authority)| RequestHost::parse(authority))
    }

    /// Its port, the default one included.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

/// An origin of any scheme: pages of apps and of browser extensions have one of their own (`capacitor://localhost`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedOrigin {
    scheme: Box<str>,
    host: Box<str>,
    /// `None`: the scheme's default, where it has one that is not known here.
    port: Option<u16>,
}

impl TrustedOrigin {
    /// Reads `scheme://host[:port]` (RFC 6454 §6.2): no path, not even a slash, no user information. `None` for
    /// everything else, `null` included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let mut bytes = scheme.bytes();
        let is_scheme = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !is_scheme {
            return None;
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), RequestHost::parse(rest)?);
        let default = [Scheme::Http, Scheme::Https].into_iter().find(|known| known.as_str() == scheme);
        let port = host.port().or(default.map(Scheme::default_port));
        Some(Self { scheme: scheme.into(), host: host.host().into(), port })
    }
}

/// Whose pages may make unsafe calls.
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    public_origin: Origin,
    trusted: Vec<TrustedOrigin>,
    hosts: AllowedHosts,
}

impl OriginPolicy {
    /// From `server.public_url`, `server.trusted_origins` and `server.hosts`.
    #[must_use]
    pub const fn new(public_origin: Origin, trusted: Vec<TrustedOrigin>, hosts: AllowedHosts) -> Self {
        Self { public_origin, trusted, hosts }
    }

    /// Whether the request was caused by a page that may cause it.
    #[must_use]
    pub fn permits(&self, headers: &HeaderMap, host: &RequestHost) -> bool {
        // Several lines: nobody knows which of them the browser wrote.
        let (Ok(site), Ok(origin)) = (at_most_one(headers, &SEC_FETCH_SITE), at_most_one(headers, &ORIGIN)) else {
            return false;
        };
        if site.is_some_and(|site| matches!(site.as_bytes(), b"same-origin" | b"none")) {
            return true;
        }
        let Some(origin) = origin else {
            return site.is_none();
        };
        self.trusts(origin) || (site.is_none() && self.is_one_of_ours(origin, host))
    }

    /// Whether the page that asks for a WebSocket may have one with a session: its Origin must be there, once, and ours
    /// or trusted. Browsers always send one.
    #[must_use]
    pub fn permits_websocket(&self, headers: &HeaderMap, host: &RequestHost) -> bool {
        let Ok(Some(origin)) = at_most_one(headers, &ORIGIN) else { return false };
        self.trusts(origin) || self.is_one_of_ours(origin, host)
    }

    /// Whether the origin is one of `server.trusted_origins`.
    #[must_use]
    pub fn trusts(&self, origin: &HeaderValue) -> bool {
        !self.trusted.is_empty()
            && origin.to_str().ok().and_then(TrustedOrigin::parse).is_some_and(|origin| self.trusted.contains(&origin))
    }

    fn is_one_of_ours(&self, origin: &HeaderValue, host: &RequestHost) -> bool {
        origin.to_str().ok().and_then(Origin::parse).is_some_and(|origin| self.is_ours(&origin, host))
    }

    /// Whether `origin` is the public one, or that of the request's own allowed Host. A Host without a port means the
    /// default port of the public URL's scheme: so a page of `http://` is not ours where the public URL is `https://`.
    #[must_use]
    pub fn is_ours(&self, origin: &Origin, host: &RequestHost) -> bool {
        let port = host.port().unwrap_or(self.public_origin.scheme.default_port());
        *origin == self.public_origin
            || (origin.host() == host.host() && origin.port == port && self.hosts.allows(host))
    }
}

struct Several;

fn at_most_one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Several> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next();
    if lines.next().is_some() { Err(Several) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(public: &str) -> OriginPolicy {
        OriginPolicy::new(
            Origin::parse(public).expect("an origin"),
            ["https://partner.test:8443", "capacitor://localhost", "chrome-extension://abcdefghijklmnop"]
                .map(|origin| TrustedOrigin::parse(origin).expect("an origin"))
                .to_vec(),
            AllowedHosts::parse(["app.example.com", "*.apps.example.com"]).expect("patterns"),
        )
    }

    fn permits(public: &str, site: &[&str], origin: &[&str], host: &str) -> bool {
        let mut headers = HeaderMap::new();
        for value in site {
            headers.append(SEC_FETCH_SITE, HeaderValue::from_str(value).expect(value));
        }
        for value in origin {
            headers.append(ORIGIN, HeaderValue::from_str(value).expect(value));
        }
        policy(public).permits(&headers, &RequestHost::parse(host).expect(host))
    }

    #[test]
    fn only_our_own_and_trusted_pages_may_cause_unsafe_calls() {
        let ours = "https://app.example.com";
        for (row, site, origin, host, expected) in [
            ("same origin", &["same-origin"][..], &[ours][..], "app.example.com", true),
            ("typed into the address bar", &["none"], &[], "app.example.com", true),
            ("same site, a sibling", &["same-site"], &["https://evil.example.com"], "app.example.com", false),
            ("same site, even from our own origin", &["same-site"], &[ours], "app.example.com", false),
            ("cross site", &["cross-site"], &["https://evil.test"], "app.example.com", false),
            ("cross site without Origin", &["cross-site"], &[], "app.example.com", false),
            (
                "cross site from a trusted origin",
                &["cross-site"],
                &["https://partner.test:8443"],
                "app.example.com",
                true,
            ),
            ("an unknown word", &["Same-Origin"], &[], "app.example.com", false),
            ("an empty word", &[""], &[], "app.example.com", false),
            ("two words", &["same-origin", "none"], &[], "app.example.com", false),
            ("neither header", &[], &[], "app.example.com", true),
            ("our origin", &[], &[ours], "app.example.com", true),
            ("our origin, default port written out", &[], &["https://app.example.com:443"], "app.example.com", true),
            ("our origin through another allowed Host", &[], &[ours], "x.apps.example.com", true),
            ("the Host's own origin", &[], &["https://x.apps.example.com"], "x.apps.example.com", true),
            (
                "the Host's own origin with its port",
                &[],
                &["https://x.apps.example.com:8443"],
                "X.apps.example.com:8443",
                true,
            ),
            ("another port of the Host", &[], &["https://x.apps.example.com:8443"], "x.apps.example.com", false),
            ("the Host's origin in plain text", &[], &["http://x.apps.example.com"], "x.apps.example.com", false),
            ("the Host's origin, Host not allowed", &[], &["https://evil.test"], "evil.test", false),
            ("another of our hosts", &[], &["https://y.apps.example.com"], "x.apps.example.com", false),
            ("null", &[], &["null"], "app.example.com", false),
            ("null with cross-site", &["cross-site"], &["null"], "app.example.com", false),
            ("a foreign origin", &[], &["https://evil.test"], "app.example.com", false),
            (
                "a foreign origin that begins like ours",
                &[],
                &["https://app.example.com.evil.test"],
                "app.example.com",
                false,
            ),
            ("user information", &[], &["https://app.example.com@evil.test"], "app.example.com", false),
            ("a trusted origin", &[], &["https://partner.test:8443"], "app.example.com", true),
            ("a trusted origin on another port", &[], &["https://partner.test"], "app.example.com", false),
            ("an app's own scheme", &[], &["capacitor://localhost"], "app.example.com", true),
            ("an app's page, cross site", &["cross-site"], &["Capacitor://localhost"], "app.example.com", true),
            ("a trusted extension", &[], &["chrome-extension://abcdefghijklmnop"], "app.example.com", true),
            ("another extension", &[], &["chrome-extension://ponmlkjihgfedcba"], "app.example.com", false),
            ("a trusted host under another scheme", &[], &["http://localhost"], "app.example.com", false),
            ("two origins", &[], &[ours, ours], "app.example.com", false),
            ("two origins beside same-origin", &["same-origin"], &[ours, "null"], "app.example.com", false),
            ("an origin with a path", &[], &["https://app.example.com/"], "app.example.com", false),
            ("an empty origin", &[], &[""], "app.example.com", false),
        ] {
            assert_eq!(permits(ours, site, origin, host), expected, "{row}");
        }
        let local = "http://localhost:8080";
        assert!(permits(local, &[], &[local], "localhost:8080"));
        assert!(permits(local, &[], &["http://app.example.com"], "app.example.com"));
        assert!(!permits(local, &[], &["http://localhost:3000"], "localhost:8080"));
    }

    #[test]
    fn a_websocket_needs_an_origin_of_ours() {
        let policy = policy("https://app.example.com");
        let host = RequestHost::parse("app.example.com").expect("a host");
        for (origins, expected) in [
            (&["https://app.example.com"][..], true),
            (&[], false),
            (&["null"], false),
            (&["https://evil.example"], false),
            (&["https://app.example.com", "https://evil.example"], false),
        ] {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(policy.permits_websocket(&headers, &host), expected, "{origins:?}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("https://App.Example.com", "https://app.example.com"),
            ("HTTP://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(Origin::parse(text).expect(text).to_string(), shown);
        }
        for text in [
            "",
            "null",
            "a",
            "//a",
            "https:a",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a?",
            "https://u@a",
            "file://",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
    }
}
