use proptest::prelude::*;

use super::*;

/// 2026-11-21.
const NOW: u64 = 1_795_219_200;

fn headers(name: &::http::HeaderName, lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).expect(line))).collect()
}

/// What a browser with `cookies` sends to `path` after a login at `/api/login` on `app.example.com` answered with
/// `set_cookies`.
fn sent(cookies: &[&str], set_cookies: &[&str], path: &str) -> String {
    let mut jar = BrowserJar::of_request(&headers(&COOKIE, cookies), "app.example.com");
    jar.receive(&headers(&SET_COOKIE, set_cookies), "/api/login", NOW);
    let line = jar.cookie_header(path);
    line.map(|line| String::from_utf8(line.as_bytes().to_vec()).expect("text")).unwrap_or_default()
}

#[test]
fn the_backend_is_asked_with_the_cookies_that_a_browser_would_send() {
    for (row, cookies, set_cookies, expected) in [
        ("nothing", &[][..], &[][..], ""),
        ("a new session", &[], &["sessionid=abc; Path=/; HttpOnly; SameSite=Lax"], "sessionid=abc"),
        ("kept and new", &["csrftoken=x; lang=de"], &["sessionid=abc; Path=/"], "csrftoken=x; lang=de; sessionid=abc"),
        ("replaced", &["sessionid=old; lang=de"], &["sessionid=new; Path=/"], "lang=de; sessionid=new"),
        ("replaced twice", &["s=1"], &["s=2; Path=/", "s=3; Path=/"], "s=3"),
        ("deleted by Max-Age", &["s=1; a=2"], &["s=; Max-Age=0; Path=/"], "a=2"),
        ("deleted by a negative Max-Age", &["s=1"], &["s=x; Max-Age=-1"], ""),
        ("deleted by Expires", &["s=1"], &["s=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"], ""),
        ("Expires in the future", &[], &["s=1; Path=/; expires=Fri, 01-Jan-2100 00:00:00 GMT"], "s=1"),
        ("Max-Age wins", &[], &["s=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "s=1"),
        ("a Max-Age that is no number", &[], &["s=1; Path=/; Max-Age=soon"], "s=1"),
        ("an Expires that is no date", &[], &["s=1; Path=/; Expires=soon"], "s=1"),
        ("our domain", &[], &["s=1; Path=/; Domain=app.example.com"], "s=1"),
        ("the parent domain", &[], &["s=1; Path=/; Domain=.Example.com"], "s=1"),
        ("a domain below", &[], &["s=1; Path=/; Domain=x.app.example.com"], ""),
        ("a foreign domain", &[], &["s=1; Path=/; Domain=evil.test"], ""),
        ("a domain that ours only ends with", &[], &["s=1; Path=/; Domain=ample.com"], ""),
        ("an empty domain", &[], &["s=1; Path=/; Domain="], "s=1"),
        ("the path of the question", &[], &["s=1; Path=/api/me"], "s=1"),
        ("a path above", &[], &["s=1; Path=/api"], "s=1"),
        ("a path above with a slash", &[], &["s=1; Path=/api/"], "s=1"),
        ("no path: the login's folder", &[], &["s=1"], "s=1"),
        ("a path beside", &[], &["s=1; Path=/admin"], ""),
        ("a path that ours only begins with", &[], &["s=1; Path=/api/m"], ""),
        ("a path that is none", &[], &["s=1; Path=api"], "s=1"),
        ("longest path first", &[], &["a=1; Path=/", "b=2; Path=/api/me", "c=3; Path=/api"], "b=2; c=3; a=1"),
        ("one name, two paths", &[], &["s=1; Path=/", "s=2; Path=/api"], "s=2; s=1"),
        ("the last attribute counts", &[], &["s=1; Path=/admin; Path=/"], "s=1"),
        ("values as they are", &[], &["s=\"a b\"==; Path=/"], "s=\"a b\"=="),
        ("a cookie without a name", &[], &["justvalue; Path=/"], "justvalue"),
        ("an empty line", &[], &["", "; Path=/", "=; Path=/"], ""),
        ("several Cookie lines", &["a=1", "b=2;; c=3"], &[], "a=1; b=2; c=3"),
    ] {
        assert_eq!(sent(cookies, set_cookies, "/api/me?x=/"), expected, "{row}");
    }
    assert_eq!(sent(&[], &["s=1"], "/me"), "", "the default path is the login's folder");
}

#[test]
fn the_dates_that_frameworks_write_are_understood() {
    for (date, over) in [
        // Django, Flask, Rails, Express, PHP and Spring of today.
        ("Thu, 01 Jan 1970 00:00:00 GMT", true),
        ("Fri, 01 Jan 2100 00:00:00 GMT", false),
        // Werkzeug before 2.1, PHP before 7, Tomcat.
        ("Thu, 01-Jan-1970 00:00:00 GMT", true),
        ("Fri, 01-Jan-2100 00:00:00 GMT", false),
        // RFC 850 and asctime.
        ("Wednesday, 09-Jun-21 10:18:14 GMT", true),
        ("Wed Jun  9 10:18:14 2021", true),
        // What is no date leaves the cookie until the browser ends.
        ("0", false),
        ("", false),
        ("soon", false),
    ] {
        let expected = if over { "" } else { "s=1" };
        assert_eq!(sent(&[], &[&format!("s=1; Path=/; Expires={date}")], "/"), expected, "{date}");
    }
}

#[test]
fn an_address_is_covered_by_itself_only() {
    for (host, domain, sends) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "0.0.1", false),
        ("127.0.0.1", ".0.0.1", false),
        ("[::1]", "[::1]", true),
        ("localhost", "localhost", true),
    ] {
        let mut jar = BrowserJar::of_request(&HeaderMap::new(), host);
        jar.receive(&headers(&SET_COOKIE, &[&format!("s=1; Domain={domain}")]), "/", NOW);
        assert_eq!(jar.cookie_header("/").is_some(), sends, "{host} {domain}");
    }
}

#[test]
fn debug_shows_no_cookie() {
    let jar = BrowserJar::of_request(&headers(&COOKIE, &["s=verysecret"]), "a");
    assert!(!format!("{jar:?} {:?}", jar.cookie_header("/")).contains("verysecret"));
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in "[ -~]{0,60}", date in "[0-9A-Za-z:, -]{0,30}") {
        let _ = sent(&[&line], &[&line, &format!("s=1; Expires={date}")], "/");
    }
}
