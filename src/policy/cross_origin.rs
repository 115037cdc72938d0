//! Which calls another site may not make a browser send (docs/behaviour.md, "Cross-origin calls"; OWASP ASVS 3.5.1).
//!
//! What matters is whether a browser adds by itself what the call is believed for (an *ambient* credential, as a cookie
//! is), or whether the call makes or ends a session by itself. Pure: whose page caused it is judged by [`OriginPolicy`].

use ::http::Method;
use ::http::header::{HeaderMap, ORIGIN};

use crate::http::{OriginPolicy, RequestHost, is_from_another_site, is_safe};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To log in: whoever is logged in as somebody else's choice works for them.
    LogIn,
    /// To log out.
    LogOut,
    /// To log out everywhere.
    LogOutEverywhere,
    /// Another of the gateway's own endpoints.
    Endpoint,
    /// To leave HTTP for a WebSocket, which no other rule keeps a foreign page from reading.
    WebSocket,
    /// To leave HTTP for another protocol, of which nobody knows what it does.
    OtherProtocol,
    /// Something of the backend's.
    Backend,
}

/// What the rule needs to know of a call beside its headers.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What it is for.
    pub aim: Aim,
    /// Whether it carries a credential that browsers add by themselves.
    pub ambient: bool,
    /// Whether its route holds to the rule (`csrf = "on"`).
    pub checked: bool,
}

/// Whether the call is of a kind that another site may make a browser send, and did.
#[must_use]
pub fn is_forged(call: Call<'_>, origins: &OriginPolicy, headers: &HeaderMap, host: &RequestHost) -> bool {
    let Call { method, aim, ambient, checked } = call;
    let safe = is_safe(method);
    let foreign = || !origins.permits(headers, host);
    checked
        && match aim {
            // A logout by link is harmless unless another site made the link. A script there names itself, also in browsers
            // that say nothing else.
            Aim::LogOut if safe => is_from_another_site(headers) || headers.contains_key(ORIGIN) && foreign(),
            // A login by link (from a mail, from an identity provider) comes from elsewhere by its nature.
            Aim::LogIn if safe => false,
            Aim::LogIn | Aim::LogOut | Aim::LogOutEverywhere => foreign(),
            Aim::WebSocket => ambient && !origins.permits_websocket(headers, host),
            Aim::OtherProtocol => ambient && foreign(),
            Aim::Endpoint | Aim::Backend => ambient && !safe && foreign(),
        }
}

#[cfg(test)]
mod tests {
    use ::http::header::{HeaderName, HeaderValue, ORIGIN};

    use super::*;
    use crate::http::{AllowedHosts, Origin, TrustedOrigin};

    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

    /// Whether the call is let through that browsers make from our own page, a sibling's, a foreign one, and a call with
    /// neither header.
    fn passes(method: &Method, aim: Aim, ambient: bool, checked: bool) -> [bool; 4] {
        let ours = Origin::parse("https://app.test").expect("an origin");
        let hosts = AllowedHosts::parse(["app.test"]).expect("a host");
        let origins = OriginPolicy::new(ours, Vec::new(), hosts);
        let host = RequestHost::parse("app.test").expect("a host");
        [
            Some(("same-origin", "https://app.test")),
            Some(("same-site", "https://sibling.app.test")),
            Some(("cross-site", "https://evil.test")),
            None,
        ]
        .map(|sent| {
            let mut headers = HeaderMap::new();
            if let Some((site, origin)) = sent {
                headers.insert(SITE, HeaderValue::from_static(site));
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            !is_forged(Call { method, aim, ambient, checked }, &origins, &headers, &host)
        })
    }

    #[test]
    fn what_a_foreign_page_can_make_a_browser_send_is_refused_where_it_would_do_harm() {
        let (all, ours) = ([true; 4], [true, false, false, true]);
        for (row, method, aim, ambient, expected) in [
            ("a form with the cookie", Method::POST, Aim::Backend, true, ours),
            ("a form without it", Method::POST, Aim::Backend, false, all),
            ("a link with the cookie", Method::GET, Aim::Backend, true, all),
            ("a head", Method::HEAD, Aim::Backend, true, all),
            ("a method nobody knows", Method::from_bytes(b"PURGE").expect("a method"), Aim::Backend, true, ours),
            ("a login", Method::POST, Aim::LogIn, false, ours),
            ("a login with a cookie", Method::POST, Aim::LogIn, true, ours),
            ("a login by link", Method::GET, Aim::LogIn, false, all),
            ("a logout", Method::POST, Aim::LogOut, false, ours),
            ("a logout by link", Method::GET, Aim::LogOut, true, ours),
            ("a logout everywhere", Method::POST, Aim::LogOutEverywhere, true, ours),
            ("the status", Method::GET, Aim::Endpoint, true, all),
            ("a refresh", Method::POST, Aim::Endpoint, true, ours),
            ("a WebSocket with the cookie", Method::GET, Aim::WebSocket, true, [true, false, false, false]),
            ("a WebSocket without it", Method::GET, Aim::WebSocket, false, all),
            ("another protocol with the cookie", Method::GET, Aim::OtherProtocol, true, ours),
            ("another protocol without it", Method::GET, Aim::OtherProtocol, false, all),
        ] {
            assert_eq!(passes(&method, aim, ambient, true), expected, "{row}");
        }
    }

    #[test]
    fn a_route_that_does_not_hold_to_the_rule_lets_all_of_it_through() {
        for aim in [
            Aim::LogIn,
            Aim::LogOut,
            Aim::LogOutEverywhere,
            Aim::Endpoint,
            Aim::WebSocket,
            Aim::OtherProtocol,
            Aim::Backend,
        ] {
            assert_eq!(passes(&Method::POST, aim, true, false), [true; 4], "{aim:?}");
        }
    }
    #[test]
    fn a_logout_by_a_script_of_another_origin_is_refused_though_the_browser_says_no_more_than_that() {
        let ours = Origin::parse("https://app.test").expect("an origin");
        let friend = TrustedOrigin::parse("https://front.test").expect("an origin");
        let origins = OriginPolicy::new(ours, vec![friend], AllowedHosts::parse(["app.test"]).expect("a host"));
        let host = RequestHost::parse("app.test").expect("a host");
        let call = Call { method: &Method::GET, aim: Aim::LogOut, ambient: true, checked: true };
        for (origin, forged) in [
            (None, false),
            (Some("https://app.test"), false),
            (Some("https://front.test"), false),
            (Some("https://sibling.app.test"), true),
            (Some("https://evil.test"), true),
            (Some("null"), true),
        ] {
            let headers = origin.into_iter().map(|origin| (ORIGIN, HeaderValue::from_static(origin))).collect();
            assert_eq!(is_forged(call, &origins, &headers, &host), forged, "{origin:?}");
        }
    }
}
