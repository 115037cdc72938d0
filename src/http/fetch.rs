//! What a browser says about why it asks.

use ::http::Method;
use ::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN};

use super::{KnownName, NotedHeaders};

static UPGRADE: KnownName = KnownName::new("upgrade");

/// Whether the request is a CORS preflight (Fetch standard, "CORS-preflight request"). It carries no credentials and
/// asks for nothing but permission.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the browser says that another site made it ask (Fetch Metadata, `Sec-Fetch-Site: cross-site`).
#[must_use]
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get_all("sec-fetch-site").iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"cross-site"))
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
        assert!(is_preflight(&Method::OPTIONS, &headers(&preflight)));
        assert!(!is_preflight(&Method::GET, &headers(&preflight)));
        assert!(!is_preflight(&Method::OPTIONS, &headers(&preflight[..1])));
        assert!(!is_preflight(&Method::OPTIONS, &headers(&preflight[1..])));
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
    fn only_cross_site_is_cross_site() {
        for (value, expected) in [("cross-site", true), ("same-site", false), ("none", false), ("same-origin", false)] {
            assert_eq!(is_cross_site(&headers(&[("sec-fetch-site", value)])), expected, "{value}");
        }
        assert!(!is_cross_site(&HeaderMap::new()));
    }
}
