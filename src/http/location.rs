//! Where an app sends browsers that does not know where it is: its own address, or http where browsers come by https.
//!
//! Pure. What names another site is the app's own business and stays byte for byte.

use ::http::header::HeaderValue;

use super::{Origin, RequestHost, Scheme};

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

    /// What a `Location` is to be for a browser that asked for `asked`; `None`: what it is.
    #[must_use]
    pub fn rewritten(&self, location: &HeaderValue, asked: &RequestHost) -> Option<HeaderValue> {
        let text = location.to_str().ok()?.trim_matches([' ', '\t']);
        let (scheme, rest) = split_scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        // No user information: whatever has one is no address of ours.
        let host = RequestHost::parse(authority)?;
        let port = host.port().unwrap_or(scheme.default_port());
        let bare = host.host().trim_start_matches('[').trim_end_matches(']');
        let public = &self.public;
        let origin = if self.backends.iter().any(|(name, at)| **name == *bare && *at == port) {
            public.to_string()
        } else if scheme == Scheme::Http && public.scheme() == Scheme::Https {
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
        HeaderValue::try_from(format!("{origin}{path}")).ok()
    }
}

fn split_scheme(text: &str) -> Option<(Scheme, &str)> {
    [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
        let (found, rest) = text.split_once("://")?;
        found.eq_ignore_ascii_case(scheme.as_str()).then_some((scheme, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(public: &str, location: &str) -> Option<String> {
        let public = Origin::parse(public).expect("an origin");
        let backends = [("127.0.0.1".into(), 5059), ("App.internal".into(), 80), ("::1".into(), 8443)];
        let own = OwnLocations::new(public, backends);
        let asked = RequestHost::parse("tenant.example.com").expect("a host");
        let location = HeaderValue::from_str(location).expect("a value");
        own.rewritten(&location, &asked).map(|value| value.to_str().expect("text").to_owned())
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
            ("//127.0.0.1:5059/a", None),
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
}
