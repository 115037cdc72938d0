//! What a browser says about why it asks.

use ::http::Method;
use ::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};

use super::{KnownName, NotedHeaders, Origin};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static PURPOSE: KnownName = KnownName::new("purpose");
static SEC_PURPOSE: KnownName = KnownName::new("sec-purpose");
static UPGRADE: KnownName = KnownName::new("upgrade");
static X_MOZ: KnownName = KnownName::new("x-moz");

/// Proof that a request is a CORS preflight (Fetch standard, "CORS-preflight request"). It carries no credentials and asks
/// for nothing but permission.
#[derive(Clone, Copy, Debug)]
pub struct Preflight(());

impl Preflight {
    /// `None` when it is none.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let asks = || headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        (*method == Method::OPTIONS && asks()).then_some(Self(()))
    }
}

/// The method that a preflight asks permission for. `None` where it cannot be one.
#[must_use]
pub fn wanted_method(headers: &HeaderMap) -> Option<Method> {
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// Whether the browser says that a page of another origin made it ask: of another site or of a sibling domain (Fetch
/// Metadata, `Sec-Fetch-Site: cross-site`, `same-site`).
#[must_use]
pub fn is_from_another_site(headers: &HeaderMap) -> bool {
    let foreign = |value: &HeaderValue| {
        [&b"cross-site"[..], b"same-site"].iter().any(|word| value.as_bytes().eq_ignore_ascii_case(word))
    };
    headers.get_all(&SEC_FETCH_SITE).iter().any(foreign)
}

/// Whether the browser says that a link on another site, in a mail or a chat, say, led here (`Sec-Fetch-Site: cross-site`):
/// with it come no cookies that are `SameSite=Strict`. Not if it names a page of `ours` as the one that it comes from.
#[must_use]
pub fn is_led_here(headers: &HeaderMap, ours: &Origin) -> bool {
    let elsewhere = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"cross-site");
    let from_us = |value: &HeaderValue| {
        let rest = value.to_str().ok().and_then(|page| page.strip_prefix(&ours.to_string()));
        rest.is_some_and(|path| path.is_empty() || path.starts_with('/'))
    };
    headers.get_all(&SEC_FETCH_SITE).iter().any(elsewhere) && !headers.get_all(REFERER).iter().any(from_us)
}

/// Whether nobody asked for the answer yet: the browser, or an extension, looks ahead at what a link leads to
/// (`Sec-Purpose: prefetch`, also for prerendering; `Purpose` and `X-Moz` of older ones).
#[must_use]
pub fn only_looks_ahead(headers: &NotedHeaders) -> bool {
    let words = |value: &HeaderValue| {
        let mut words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t' | b',' | b';' | b'"'));
        words.any(|word| word.eq_ignore_ascii_case(b"prefetch"))
    };
    [&SEC_PURPOSE, &PURPOSE, &X_MOZ].into_iter().any(|name| headers.lines(name).any(words))
}

/// Whether the request asks for a WebSocket (RFC 6455 §4.1).
#[must_use]
pub fn is_websocket_upgrade(headers: &NotedHeaders) -> bool {
    let protocols = headers.lines(&UPGRADE).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    protocols.map(<[u8]>::trim_ascii).any(|protocol| {
        protocol.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
            && matches!(protocol.get(9), None | Some(b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_preflight_is_options_with_origin_and_the_method_it_asks_for() {
        let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
        assert!(Preflight::of(&Method::OPTIONS, &headers(&preflight)).is_some());
        assert!(Preflight::of(&Method::GET, &headers(&preflight)).is_none());
        assert!(Preflight::of(&Method::OPTIONS, &headers(&preflight[..1])).is_none());
        assert!(Preflight::of(&Method::OPTIONS, &headers(&preflight[1..])).is_none());
    }

    #[test]
    fn a_websocket_is_asked_for_by_name() {
        for (value, expected) in [
            ("websocket", true),
            ("WebSocket", true),
            ("h2c, websocket/13", true),
            ("websockets", false),
            ("h2c", false),
        ] {
            assert_eq!(is_websocket_upgrade(&headers(&[("upgrade", value)]).into()), expected, "{value}");
        }
    }

    #[test]
    fn a_sibling_domain_is_another_site_too() {
        for (value, expected) in [("cross-site", true), ("Same-Site", true), ("none", false), ("same-origin", false)] {
            assert_eq!(is_from_another_site(&headers(&[("sec-fetch-site", value)])), expected, "{value}");
        }
        assert!(!is_from_another_site(&HeaderMap::new()));
    }

    #[test]
    fn a_link_on_another_site_leads_here_and_one_of_our_own_pages_does_not() {
        let ours = Origin::parse("https://app.test").expect("an origin");
        for (site, referer, expected) in [
            ("cross-site", "", true),
            ("Cross-Site", "https://mail.test/", true),
            ("cross-site", "https://app.test.evil.test/", true),
            ("cross-site", "https://app.test/dash", false),
            ("cross-site", "https://app.test", false),
            ("same-site", "", false),
            ("same-origin", "", false),
            ("none", "", false),
            ("", "", false),
        ] {
            let lines = [("sec-fetch-site", site), ("referer", referer)];
            let given: Vec<_> = lines.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            assert_eq!(is_led_here(&headers(&given), &ours), expected, "{site} {referer}");
        }
    }

    #[test]
    fn what_browsers_fetch_before_anyone_asked_is_known() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch", true),
            ("sec-purpose", "prefetch;prerender", true),
            ("sec-purpose", "prefetch;anonymous-client-ip", true),
            ("purpose", "prefetch", true),
            ("purpose", "Prefetch", true),
            ("x-moz", "prefetch", true),
            ("purpose", "preview", false),
            ("sec-purpose", "", false),
            ("sec-purpose", "prefetched", false),
            ("x-purpose", "prefetch", false),
        ] {
            assert_eq!(only_looks_ahead(&headers(&[(name, value)]).into()), expected, "{name}: {value}");
        }
    }
}
