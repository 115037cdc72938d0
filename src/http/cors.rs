//! What pages of other origins may read of the gateway's answers (Fetch standard, "CORS protocol").
//!
//! Pure. An origin is named in an answer only where the configuration lists it, never because it was asked for; and never
//! `*`, which browsers believe of nothing that needs a cookie.

use std::time::Duration;

use ::http::Method;
use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use super::{TrustedOrigin, check_method};

/// What a page may read of an answer's headers beside those that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-ID, Retry-After, X-Session-Expires-In, X-Session-Idle-Expires-In, X-Session-Invalidated",
);
const TRUE: HeaderValue = HeaderValue::from_static("true");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
/// What decides about the answer to a preflight.
const BY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
/// The longest list of headers that a page is allowed to send, in bytes.
const LONGEST_LIST: usize = 2048;

/// Whose pages may read what, and who says so.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    /// Whose pages may read the gateway's answers; empty: nobody's.
    pub origins: Vec<TrustedOrigin>,
    /// Whether that holds for the backends' answers, too, whatever they say of it themselves.
    pub replaces: bool,
    /// How long a browser need not ask again.
    pub max_age: Duration,
}

impl CorsPolicy {
    /// The request's origin as it was sent, if its pages may read. Of several lines nobody knows which the browser wrote.
    #[must_use]
    pub fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let mut lines = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (lines.next(), lines.next()) else { return None };
        let parsed = TrustedOrigin::parse(origin.to_str().ok()?)?;
        self.origins.contains(&parsed).then(|| origin.clone())
    }

    /// Lets the pages of `reader` read an answer, and nobody else's. `own`: it is the gateway's, and not a backend's.
    pub fn write(&self, headers: &mut HeaderMap, reader: Option<&HeaderValue>, own: bool) {
        if self.origins.is_empty() || !(own || self.replaces) {
            return;
        }
        if !own {
            let said: Vec<HeaderName> = headers.keys().filter(|name| is_of_cors(name)).cloned().collect();
            for name in said {
                headers.remove(name);
            }
        }
        if !varies_by_origin(headers) {
            headers.append(VARY, BY_ORIGIN);
        }
        if let Some(reader) = reader {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// What the answer to a preflight of `reader`'s page says beside that, where `methods` are taken (`None`: the one that
    /// is asked for, if it is one of the usual or of the `further` ones).
    #[must_use]
    pub fn preflight(
        &self,
        asked: &HeaderMap,
        reader: Option<&HeaderValue>,
        methods: Option<&'static str>,
        further: &[Method],
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(VARY, BY_PREFLIGHT);
        if reader.is_none() {
            return headers;
        }
        let method = asked.get(ACCESS_CONTROL_REQUEST_METHOD);
        let known = |name: &&HeaderValue| {
            Method::from_bytes(name.as_bytes()).is_ok_and(|method| check_method(&method, further).is_ok())
        };
        let allowed = methods.map(HeaderValue::from_static).or_else(|| method.filter(known).cloned());
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allowed);
        }
        let mut lists = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        if let (Some(list), None) = (lists.next(), lists.next())
            && is_list_of_names(list.as_bytes())
        {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, list.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        headers
    }
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    let names = headers.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.map(<[u8]>::trim_ascii).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
}

fn is_of_cors(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

fn is_list_of_names(list: &[u8]) -> bool {
    let names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    list.len() <= LONGEST_LIST && names.into_iter().all(|name| HeaderName::from_bytes(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(replaces: bool) -> CorsPolicy {
        let origins = ["https://front.example", "capacitor://localhost"];
        let origins = origins.map(|origin| TrustedOrigin::parse(origin).expect("an origin")).to_vec();
        CorsPolicy { origins, replaces, max_age: Duration::from_secs(600) }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("text"));
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn only_a_listed_origin_that_is_there_once_is_a_reader() {
        for (origins, reads) in [
            (&["https://front.example"][..], true),
            (&["https://front.example:443"], true),
            (&["capacitor://localhost"], true),
            (&[], false),
            (&["null"], false),
            (&["*"], false),
            (&["http://front.example"], false),
            (&["https://front.example.evil.test"], false),
            (&["https://evil.test"], false),
            (&["https://front.example/"], false),
            (&["https://front.example", "https://front.example"], false),
        ] {
            let lines: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            assert_eq!(policy(false).reader(&headers(&lines)).is_some(), reads, "{origins:?}");
        }
        let nobody = CorsPolicy { origins: Vec::new(), ..policy(false) };
        assert_eq!(nobody.reader(&headers(&[("origin", "https://front.example")])), None);
    }

    #[test]
    fn a_reader_is_named_and_what_the_backend_says_stays_unless_it_is_replaced() {
        let reader = HeaderValue::from_static("https://front.example");
        let said = [("access-control-allow-origin", "*"), ("access-control-x", "1"), ("x-own", "1")];
        let own = ["access-control-allow-credentials: true", "access-control-allow-origin: https://front.example"];
        for (replaces, is_own, reader, named) in [
            (false, true, Some(&reader), true),
            (true, true, Some(&reader), true),
            (true, false, Some(&reader), true),
            (true, false, None, false),
        ] {
            let mut answer = headers(if is_own { &[] } else { &said });
            policy(replaces).write(&mut answer, reader, is_own);
            let shown = shown(&answer);
            assert_eq!(own.iter().all(|line| shown.contains(&(*line).to_owned())), named, "{shown:?}");
            assert!(shown.contains(&"vary: Origin".to_owned()), "{shown:?}");
            assert!(!shown.iter().any(|line| line.contains(": *") || line.contains("control-x")), "{shown:?}");
        }
        let mut left = headers(&said);
        policy(false).write(&mut left, Some(&reader), false);
        assert_eq!(left, headers(&said));
    }

    #[test]
    fn a_preflight_is_told_what_it_asked_for_where_it_may_have_it() {
        let reader = HeaderValue::from_static("https://front.example");
        let ask = |method, list| {
            let asked = headers(&[("access-control-request-method", method), ("access-control-request-headers", list)]);
            shown(&policy(true).preflight(&asked, Some(&reader), None, &[]))
        };
        let asked = ask("PUT", "content-type, x-own");
        for line in ["methods: PUT", "headers: content-type, x-own", "max-age: 600"] {
            assert!(asked.iter().any(|shown| shown.ends_with(line)), "{line}: {asked:?}");
        }
        assert!(!ask("TRACE", "x").iter().any(|line| line.contains("allow-methods")));
        for list in ["x y", "\"x\"", "x,,y", "x: y", "*, x/y"] {
            assert!(!ask("PUT", list).iter().any(|line| line.contains("allow-headers")), "{list:?}");
        }
        let nobody = policy(true).preflight(&headers(&[("access-control-request-method", "PUT")]), None, None, &[]);
        assert_eq!(nobody.keys().collect::<Vec<_>>(), [VARY]);
    }
}
