//! Where an app sends browsers that does not know where it is: its own address, or http where browsers come by https.
//!
//! Pure. What names another site is the app's own business and stays byte for byte.

use std::borrow::Cow;
use std::fmt::Write as _;

use ::http::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LOCATION, REFRESH};

use super::{KnownName, Note, Origin, RequestHost, Scheme};

/// Where an answer may name a place.
static PLACES: [KnownName; 3] =
    [KnownName::new("location"), KnownName::new("content-location"), KnownName::new("refresh")];

/// The addresses by which a backend may call itself, and what browsers call it.
#[derive(Clone, Debug)]
pub struct OwnLocations {
    public: Origin,
    /// Host in lower case, without brackets, and port.
    backends: Vec<(Box<str>, u16)>,
}

impl OwnLocations {
    /// Of a site that browsers call `public`, and a backend with these hosts and ports.
    pub fn new(public: Origin, backends: impl IntoIterator<Item = (String, u16)>) -> Self {
        let backends = backends.into_iter().map(|(host, port)| (host.to_ascii_lowercase().into(), port)).collect();
        Self { public, backends }
    }

    /// Whether an answer with these names may name a place.
    pub fn may_be_in(names: Note) -> bool {
        PLACES.iter().any(|place| names.may_have(place))
    }

    /// Mends where an answer sends browsers to, at once (`Location`) or in a while (`Refresh`), and where it says that its
    /// content is (`Content-Location`), for a browser that asked for `asked`.
    pub fn mend(&self, headers: &mut HeaderMap, asked: &RequestHost) {
        for name in [LOCATION, CONTENT_LOCATION] {
            if let Some(mended) = headers.get(&name).and_then(|place| self.mended(place.as_bytes(), asked)) {
                headers.insert(name, mended);
            }
        }
        if let Some(mended) = headers.get(REFRESH).and_then(|refresh| self.refreshed(refresh.as_bytes(), asked)) {
            headers.insert(REFRESH, mended);
        }
    }

    /// What a place is to be; `None`: what it is.
    fn mended(&self, place: &[u8], asked: &RequestHost) -> Option<HeaderValue> {
        let text = escaped(place)?;
        match (self.rewritten(text.trim_matches([' ', '\t']), asked), text) {
            (Some(rewritten), _) => HeaderValue::try_from(rewritten).ok(),
            (None, Cow::Owned(escaped)) => HeaderValue::try_from(escaped).ok(),
            (None, Cow::Borrowed(_)) => None,
        }
    }

    /// The same for a place after a number of seconds: `5; url=https://…`, quoted perhaps.
    fn refreshed(&self, refresh: &[u8], asked: &RequestHost) -> Option<HeaderValue> {
        const QUOTES: [char; 2] = ['"', '\''];
        let text = escaped(refresh)?;
        let (_, after) = text.split_once([';', ','])?;
        let after = after.trim_start();
        let named = after.get(..3).filter(|name| name.eq_ignore_ascii_case("url"));
        let place = named.and_then(|_| after.get(3..)?.trim_start().strip_prefix('=')).unwrap_or(after).trim_start();
        let place = match place.strip_prefix(QUOTES) {
            Some(quoted) => quoted.split(QUOTES).next().unwrap_or_default(),
            None => place.trim_end(),
        };
        let seconds = text.split([';', ',']).next().unwrap_or_default();
        HeaderValue::try_from(format!("{seconds};url={}", self.rewritten(place, asked)?)).ok()
    }

    /// An address of the backend's own as one that browsers can follow.
    fn rewritten(&self, text: &str, asked: &RequestHost) -> Option<String> {
        let (scheme, rest) = split_scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        // No user information: whatever has one is no address of ours.
        let host = RequestHost::parse(authority)?;
        let bare = host.host().trim_start_matches('[').trim_end_matches(']');
        let port = host.port().or(scheme.map(Scheme::default_port));
        let may_be_at = |at: u16| match port {
            Some(port) => port == at,
            // The scheme is that of the page, which is not how the backend is reached.
            None => [Scheme::Http, Scheme::Https].iter().any(|scheme| scheme.default_port() == at),
        };
        let public = &self.public;
        let origin = if self.backends.iter().any(|(name, at)| **name == *bare && may_be_at(*at)) {
            public.to_string()
        } else if scheme == Some(Scheme::Http) && public.scheme() == Scheme::Https {
            // Of a port that was left out nobody knows which of the two was meant.
            let same_port = |ours: u16| host.port().is_none_or(|port| port == ours);
            if host.host() == public.host() && same_port(public.port()) {
                public.to_string()
            } else if host.host() == asked.host() && same_port(asked.port().unwrap_or(Scheme::Https.default_port())) {
                format!("https://{asked}")
            } else {
                return None;
            }
        } else {
            return None;
        };
        Some(format!("{origin}{path}"))
    }
}

/// The scheme of an absolute URL, and what follows the slashes; that of the page where the URL names none.
fn split_scheme(text: &str) -> Option<(Option<Scheme>, &str)> {
    if let Some(rest) = text.strip_prefix("//") {
        return Some((None, rest));
    }
    [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
        let (found, rest) = text.split_once("://")?;
        found.eq_ignore_ascii_case(scheme.as_str()).then_some((Some(scheme), rest))
    })
}

/// A place with its bytes that are no ASCII as browsers escape them, whatever they are: in one way, so that none guesses at
/// an encoding. `None` for what has control characters.
fn escaped(place: &[u8]) -> Option<Cow<'_, str>> {
    if place.is_ascii() {
        return std::str::from_utf8(place).ok().map(Cow::Borrowed);
    }
    let mut escaped = String::with_capacity(3 * place.len());
    for byte in place {
        if byte.is_ascii() {
            escaped.push(char::from(*byte));
        } else {
            // Into a string nothing fails.
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    Some(Cow::Owned(escaped))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderName;

    use super::*;

    fn mended(public: &str, name: HeaderName, value: &[u8]) -> Option<String> {
        let public = Origin::parse(public).expect("an origin");
        let backends = [("127.0.0.1".into(), 5059), ("App.internal".into(), 80), ("::1".into(), 8443)];
        let own = OwnLocations::new(public, backends);
        let asked = RequestHost::parse("tenant.example.com").expect("a host");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_bytes(value).expect("a value"));
        own.mend(&mut headers, &asked);
        let mended = &headers[name];
        (mended.as_bytes() != value).then(|| mended.to_str().expect("text").to_owned())
    }

    fn rewritten(public: &str, location: &str) -> Option<String> {
        let [said, beside] = [LOCATION, CONTENT_LOCATION].map(|name| mended(public, name, location.as_bytes()));
        assert_eq!(said, beside);
        said
    }

    #[test]
    fn an_address_that_only_the_app_knows_becomes_the_one_that_browsers_know() {
        let public = "https://app.example.com";
        for (location, expected) in [
            ("http://127.0.0.1:5059/a?b=c#d", Some("https://app.example.com/a?b=c#d")),
            ("http://127.0.0.1:5059", Some("https://app.example.com")),
            ("HTTP://127.0.0.1:5059?x", Some("https://app.example.com?x")),
            ("http://app.internal/a", Some("https://app.example.com/a")),
            ("https://[::1]:8443/a", Some("https://app.example.com/a")),
            ("http://app.example.com/a", Some("https://app.example.com/a")),
            ("http://APP.example.com/a", Some("https://app.example.com/a")),
            ("http://app.example.com:443/a", Some("https://app.example.com/a")),
            ("http://tenant.example.com/a", Some("https://tenant.example.com/a")),
            ("http://app.example.com:8080/a", None),
            ("http://127.0.0.1:5060/a", None),
            ("http://127.0.0.1/a", None),
            ("https://app.internal/a", None),
            ("https://app.example.com/a", None),
            ("http://other.example.com/a", None),
            ("http://app.example.com.evil.test/a", None),
            ("http://app.example.com@evil.test/a", None),
            ("http://evil.test/http://127.0.0.1:5059/", None),
            ("//127.0.0.1:5059/a", Some("https://app.example.com/a")),
            ("//app.internal", Some("https://app.example.com")),
            ("//app.internal:8080/a", None),
            ("//127.0.0.1/a", None),
            ("//[::1]:8443?x", Some("https://app.example.com?x")),
            ("//app.example.com/a", None),
            ("//evil.test//127.0.0.1:5059/", None),
            ("///127.0.0.1:5059/", None),
            ("/a", None),
            ("a", None),
            ("", None),
            ("ftp://127.0.0.1:5059/", None),
            ("http://127.0.0.1:5059\\@evil.test/", None),
        ] {
            assert_eq!(rewritten(public, location).as_deref(), expected, "{location}");
        }
        assert_eq!(rewritten("https://a.test:8443", "http://a.test:8443/x").as_deref(), Some("https://a.test:8443/x"));
        assert_eq!(rewritten("http://a.test", "http://a.test/x"), None);
        assert_eq!(rewritten("http://a.test", "http://127.0.0.1:5059/x").as_deref(), Some("http://a.test/x"));
    }

    #[test]
    fn what_is_no_ascii_is_escaped_as_browsers_do_it_and_an_address_behind_it_is_seen() {
        let public = "https://app.example.com";
        for (location, expected) in [
            ("/caf\u{e9}?q=\u{fc}".as_bytes(), Some("/caf%C3%A9?q=%C3%BC")),
            (b"/caf\xe9", Some("/caf%E9")),
            ("http://127.0.0.1:5059/\u{e9}".as_bytes(), Some("https://app.example.com/%C3%A9")),
            ("https://m\u{fc}ller.test/".as_bytes(), Some("https://m%C3%BCller.test/")),
            (b"/plain%C3%A9?\"", None),
        ] {
            assert_eq!(mended(public, LOCATION, location).as_deref(), expected, "{}", location.escape_ascii());
        }
    }

    #[test]
    fn where_a_page_goes_in_a_while_is_mended_too() {
        let public = "https://app.example.com";
        for (refresh, expected) in [
            ("5; url=http://127.0.0.1:5059/a?b", Some("5;url=https://app.example.com/a?b")),
            ("0;URL = '//127.0.0.1:5059/a' ", Some("0;url=https://app.example.com/a")),
            ("0, \"http://app.example.com/a\"", Some("0;url=https://app.example.com/a")),
            ("5; http://app.internal", Some("5;url=https://app.example.com")),
            ("5; url=/a", None),
            ("5; url=http://other.test/http://127.0.0.1:5059/", None),
            ("5", None),
            ("", None),
            (";", None),
            ("5;url", None),
        ] {
            assert_eq!(mended(public, REFRESH, refresh.as_bytes()).as_deref(), expected, "{refresh}");
        }
    }
}
