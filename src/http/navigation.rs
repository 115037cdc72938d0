//! Browser navigations without a session: recognised, sent to the login page, and sent back afterwards to a path of
//! this origin only (an open redirect after a login is a phisher's best friend).

use ::http::header::HeaderValue;
use ::http::uri::PathAndQuery;

use super::{KnownName, NotedHeaders, Target};

static ACCEPT: KnownName = KnownName::new("accept");
static SEC_FETCH_MODE: KnownName = KnownName::new("sec-fetch-mode");
static UPGRADE_INSECURE_REQUESTS: KnownName = KnownName::new("upgrade-insecure-requests");
static X_REQUESTED_WITH: KnownName = KnownName::new("x-requested-with");

/// The longest path that is carried through a login; a longer one is left out. Tripled by escaping, it still fits
/// where headers have to fit.
const LONGEST_NEXT: usize = 2048;

/// Whether a person looks at the answer in a browser's window (docs/behaviour.md, "Errors"): `Sec-Fetch-Mode: navigate`,
/// or without that header what old browsers send, an `Accept` with XHTML or `Upgrade-Insecure-Requests: 1`; never with
/// `X-Requested-With`. `text/html` alone says nothing: Java's client accepts it, whatever it asks for.
#[must_use]
pub fn is_navigation(headers: &NotedHeaders) -> bool {
    if headers.has(&X_REQUESTED_WITH) {
        return false;
    }
    let mut modes = headers.lines(&SEC_FETCH_MODE);
    match (modes.next(), modes.next()) {
        (Some(mode), None) => mode.as_bytes() == b"navigate",
        (None, _) => {
            headers.lines(&ACCEPT).any(|line| accepts_xhtml(line.as_bytes()))
                || headers.lines(&UPGRADE_INSECURE_REQUESTS).any(|line| line.as_bytes() == b"1")
        }
        (Some(_), Some(_)) => false,
    }
}

fn accepts_xhtml(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

/// Reads a `next=` value, already decoded once. `Some` is a normalised path with query on this origin; `None` is
/// everything that a browser, or a second decoding, could take elsewhere.
#[must_use]
pub fn safe_next(raw: &str) -> Option<String> {
    if raw.len() > LONGEST_NEXT || !raw.starts_with('/') || raw.starts_with("//") {
        return None;
    }
    // Refuses backslashes and controls in any encoding, encoded slashes and dot segments.
    let target = Target::parse(raw).ok()?;
    Some(target.as_str().to_owned())
}

/// The `Location` for a navigation to `target` that has to log in first: `login_url` with `next=`, its own query kept,
/// its fragment last. No `next` for the login page itself, which would lead in a circle.
#[must_use]
pub fn login_redirect(login_url: &str, target: &PathAndQuery) -> HeaderValue {
    let (before_fragment, fragment) = match login_url.find('#') {
        Some(at) => login_url.split_at(at),
        None => (login_url, ""),
    };
    // Two slashes begin the name of another host.
    let leads_away = target.as_str().starts_with("//");
    let location = if leads_away || is_login_page(before_fragment, target) || target.as_str().len() > LONGEST_NEXT {
        login_url.to_owned()
    } else {
        let separator = match before_fragment.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        let next: String = form_urlencoded::byte_serialize(target.as_str().as_bytes()).collect();
        format!("{before_fragment}{separator}next={next}{fragment}")
    };
    // A login URL is checked when it is configured.
    HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"))
}

fn is_login_page(login_url: &str, target: &PathAndQuery) -> bool {
    let without_query = login_url.split('?').next().unwrap_or_default();
    let path = match without_query.split_once("://") {
        None => without_query,
        Some((_, rest)) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"),
    };
    path.trim_end_matches('/') == target.path().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use ::http::header::{HeaderMap, HeaderName};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_person_looks_at_is_a_navigation() {
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        let navigate = ("sec-fetch-mode", "navigate");
        let java = ("accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2");
        for (row, lines, expected) in [
            ("a link", &[navigate, html][..], true),
            ("an old browser", &[html], true),
            ("upper case", &[("accept", "*/*, Application/XHTML+xml ;q=1")], true),
            ("another old browser", &[("accept", "*/*"), ("upgrade-insecure-requests", "1")], true),
            ("no upgrade asked for", &[("accept", "*/*"), ("upgrade-insecure-requests", "0")], false),
            ("fetch() that asks for html", &[("sec-fetch-mode", "cors"), html], false),
            ("fetch() of an old page", &[("sec-fetch-mode", "cors"), ("upgrade-insecure-requests", "1")], false),
            ("an image", &[("sec-fetch-mode", "no-cors"), ("accept", "image/*")], false),
            ("XMLHttpRequest", &[html, ("x-requested-with", "XMLHttpRequest")], false),
            ("a navigation with X-Requested-With", &[navigate, ("x-requested-with", "")], false),
            ("two modes", &[navigate, ("sec-fetch-mode", "cors")], false),
            ("Java's client", &[java], false),
            ("curl", &[("accept", "*/*")], false),
            ("json", &[("accept", "application/json")], false),
            ("html alone", &[("accept", "text/html")], false),
            ("something like it", &[("accept", "application/xhtml+xml-sandboxed")], false),
            ("nothing", &[], false),
        ] {
            let headers: HeaderMap = lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_navigation(&headers.into()), expected, "{row}");
        }
    }

    #[test]
    fn next_stays_on_this_origin_or_is_dropped() {
        let long = format!("/{}", "a".repeat(2048));
        for raw in [
            "//e",
            "///e",
            "/\\e",
            "\\\\e",
            "\\/e",
            "/%09/e",
            "/\t/e",
            "https:e",
            "https:/e",
            "https://e",
            "http:e",
            "e",
            "",
            " /a",
            "/a b",
            "javascript:alert(1)",
            "data:text/html,x",
            "user@e",
            "//user:pw@e",
            "/a\r\nSet-Cookie: x",
            "/a%0d%0aSet-Cookie: x",
            "/a%0d%0a",
            "/%5ce",
            "/%2fe",
            "/%2f%2fe",
            "/../e",
            "/..//e",
            "/.//e",
            "/%2e%2e//e",
            "/a#b",
            "?a",
            "#a",
            "/\0",
            "/%",
            &long,
        ] {
            assert_eq!(safe_next(raw), None, "{raw:?}");
        }
        for (raw, next) in [
            ("/", "/"),
            ("/a/b?c=d&e=%2f", "/a/b?c=d&e=%2f"),
            ("/\u{e4}?\u{a0}", "/%C3%A4?%C2%A0"),
            ("/a//b", "/a/b"),
            ("/%61?u=https://e", "/a?u=https://e"),
            ("/user@e", "/user@e"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(safe_next(raw).as_deref(), Some(next), "{raw:?}");
        }
    }

    #[test]
    fn the_login_page_learns_where_to_return_to() {
        let long = format!("/a?{}", "b".repeat(2048));
        for (login_url, target, location) in [
            ("/login", "/dash?a=1&b=+", "/login?next=%2Fdash%3Fa%3D1%26b%3D%2B"),
            ("/login", "//x/%61", "/login?next=%2Fx%2Fa"),
            ("/login?tenant=a", "/", "/login?tenant=a&next=%2F"),
            ("/login?", "/", "/login?next=%2F"),
            ("/#login", "/a", "/?next=%2Fa#login"),
            ("https://sso.test/in", "/a", "https://sso.test/in?next=%2Fa"),
            ("https://sso.test", "/a", "https://sso.test?next=%2Fa"),
            ("/login", "/login?next=%2Fa", "/login"),
            ("/login/", "/login", "/login/"),
            ("/login?x=1", "/login/", "/login?x=1"),
            ("/login", "/login2", "/login?next=%2Flogin2"),
            ("/login", &long, "/login"),
        ] {
            let target = Target::parse(target).expect(target);
            assert_eq!(login_redirect(login_url, target.path_and_query()), location, "{login_url} {target:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_out_as_next_comes_back_as_the_same_path(raw in "/[a-z0-9./?&=%+-]{0,20}") {
            if let Ok(target) = Target::parse(&raw) {
                let location = login_redirect("/sign-in?x=1", target.path_and_query());
                let query = location.to_str().expect("visible").split_once('?').expect("a query").1.to_owned();
                let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next").expect("next").1;
                prop_assert_eq!(safe_next(&next), Some(target.as_str().to_owned()));
            }
        }
    }

    #[test]
    fn no_target_of_another_host_comes_next() {
        let target = PathAndQuery::from_static("//evil.test/%2F");
        assert_eq!(login_redirect("/login", &target), "/login");
    }
}
