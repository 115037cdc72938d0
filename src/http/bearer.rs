//! A token in `Authorization` (RFC 6750 section 2.1).

use ::http::HeaderMap;
use ::http::header::AUTHORIZATION;

const SCHEME: &[u8] = b"bearer";

/// What stands behind `Bearer`, whatever it is; `None` where there is no such header.
#[must_use]
pub fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let is_it = scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_none_or(|next| *next == b' ');
    is_it.then(|| rest.trim_ascii_start())
}

/// Whether some reader could find a bearer token in `Authorization`: many split it at whatever is blank, or at commas.
#[must_use]
pub fn may_hold_bearer_token(headers: &HeaderMap) -> bool {
    let names_it = |value: &[u8]| value.windows(SCHEME.len()).any(|part| part.eq_ignore_ascii_case(SCHEME));
    headers.get_all(AUTHORIZATION).iter().any(|value| names_it(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_stands_behind_its_scheme_however_that_is_written() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER  abc", Some("abc")),
            ("Bearer", Some("")),
            ("Bearer ", Some("")),
            ("Bearer a b", Some("a b")),
            ("Bearerabc", None),
            ("Basic Bearer", None),
            ("Token abc", None),
            ("", None),
        ] {
            let headers: HeaderMap = [(AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(bearer_token(&headers), token.map(str::as_bytes), "{value}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_may_stand_wherever_the_scheme_does() {
        for (value, may) in [
            ("Bearer abc", true),
            ("Bearer\tabc", true),
            ("Basic x, bEARER abc", true),
            ("Bearerabc", true),
            ("Basic eDp5", false),
            ("Token abc", false),
        ] {
            let headers: HeaderMap = [(AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(may_hold_bearer_token(&headers), may, "{value}");
        }
    }
}
