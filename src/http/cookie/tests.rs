use ::http::HeaderName;
use ::http::header::COOKIE;
use proptest::prelude::*;

use super::*;

const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn name() -> GatewayCookieName {
    GatewayCookieName::parse("__Host-session").expect("a name")
}

fn token(text: &str) -> SessionToken {
    SessionToken::parse(text.as_bytes()).expect("43 characters")
}

fn map(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
    lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line).expect("a header value"))).collect()
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// What was presented, and the Cookie lines that the backend gets.
fn take(cookies: &[&[u8]]) -> (Presented, Vec<Vec<u8>>) {
    let mut headers = NotedHeaders::from(map(&COOKIE, cookies));
    let presented = take_gateway_cookie(&mut headers, &name());
    (presented, lines(&headers, COOKIE))
}

#[test]
fn only_the_exact_bytes_are_the_session_and_no_imitation_is_forwarded() {
    for (row, cookie, presented, left) in [
        ("alone", format!("__Host-session={A}"), Presented::One(token(A)), ""),
        ("first", format!("__Host-session={A}; a=1; b=2"), Presented::One(token(A)), "a=1; b=2"),
        ("in the middle", format!("a=1; __Host-session={A}; b=2"), Presented::One(token(A)), "a=1; b=2"),
        ("last", format!("a=1; b=2; __Host-session={A}"), Presented::One(token(A)), "a=1; b=2"),
        ("without the space", format!("a=1;__Host-session={A};b=2"), Presented::One(token(A)), "a=1;b=2"),
        ("none", "a=1; b=2".to_owned(), Presented::None, "a=1; b=2"),
        ("the same value twice", format!("__Host-session={A}; __Host-session={A}"), Presented::One(token(A)), ""),
        ("two values", format!("__Host-session={A}; a=1; __Host-session={B}"), Presented::Conflicting, "a=1"),
        ("a token and a garbage value", format!("__Host-session={A}; __Host-session=x"), Presented::Conflicting, ""),
        ("a token and an empty value", format!("__Host-session=; __Host-session={A}"), Presented::Conflicting, ""),
        ("another case", format!("__host-session={A}; a=1"), Presented::None, "a=1"),
        (
            "another case beside the right one",
            format!("__HOST-SESSION={B}; __Host-session={A}"),
            Presented::One(token(A)),
            "",
        ),
        ("a quoted name", format!("\"__Host-session\"={A}; a=1"), Presented::None, "a=1"),
        ("nameless", format!("=__Host-session={A}; a=1"), Presented::None, "a=1"),
        ("nameless twice over", format!("==__Host-session={A}; a=1"), Presented::None, "a=1"),
        ("nameless with a space", format!("= __Host-session={A}; a=1"), Presented::None, "a=1"),
        ("without a value", "__Host-session; a=1".to_owned(), Presented::None, "a=1"),
        ("a space before =", format!("__Host-session ={A}; a=1"), Presented::None, "a=1"),
        ("a tab before =", format!("__Host-session\t={A}; a=1"), Presented::None, "a=1"),
        ("two spaces before the name", format!("a=1;  __Host-session={A}"), Presented::None, "a=1"),
        ("a tab before the name", format!("a=1;\t__Host-session={A}"), Presented::None, "a=1"),
        ("NBSP before the name, UTF-8", format!("a=1; \u{a0}__Host-session={A}"), Presented::None, "a=1"),
        ("NBSP after the name, UTF-8", format!("__Host-session\u{a0}={A}; a=1"), Presented::None, "a=1"),
        ("x85 after the name, UTF-8", format!("__Host-session\u{85}={A}; a=1"), Presented::None, "a=1"),
        ("an em space before the name", format!("\u{2003}__Host-session={A}; a=1"), Presented::None, "a=1"),
        ("after a comma", format!("a=1;, __Host-session={A}"), Presented::None, "a=1"),
        ("a quoted value", format!("__Host-session=\"{A}\"; a=1"), Presented::NotAToken, "a=1"),
        ("a value with an escape", format!("__Host-session=\\101{}", &A[4..]), Presented::NotAToken, ""),
        ("a percent-encoded value", format!("__Host-session=%41{}", &A[3..]), Presented::NotAToken, ""),
        ("a space before the value", format!("__Host-session= {A}"), Presented::NotAToken, ""),
        ("a space behind the value", format!("__Host-session={A} ; a=1"), Presented::NotAToken, "a=1"),
        ("an empty value", "__Host-session=; a=1".to_owned(), Presented::NotAToken, "a=1"),
        ("a value that is too long", format!("__Host-session={A}A"), Presented::NotAToken, ""),
        ("a second =", format!("__Host-session=={}", &A[1..]), Presented::NotAToken, ""),
        (
            "inside a quoted value: split like browsers do",
            format!("x=\"a; __Host-session={A}; y=b\""),
            Presented::One(token(A)),
            "x=\"a; y=b\"",
        ),
        (
            "$Version is an ordinary cookie",
            format!("$Version=1; __Host-session={A}; $Path=/"),
            Presented::One(token(A)),
            "$Version=1; $Path=/",
        ),
        (
            "a longer name",
            "__Host-session2=x; x__Host-session=y".to_owned(),
            Presented::None,
            "__Host-session2=x; x__Host-session=y",
        ),
        (
            "our name as a value",
            "a=__Host-session; b==__Host-session".to_owned(),
            Presented::None,
            "a=__Host-session; b==__Host-session",
        ),
    ] {
        let (got, lines) = take(&[cookie.as_bytes()]);
        assert_eq!(got, presented, "{row}");
        let expected: Vec<Vec<u8>> = if left.is_empty() { vec![] } else { vec![left.into()] };
        assert_eq!(lines, expected, "{row}");
    }
    for around in [b'\xa0', b'\x85', b'\xff'] {
        for cookie in [
            [&[around][..], b"__Host-session=", A.as_bytes()].concat(),
            [&b"__Host-session"[..], &[around], b"=", A.as_bytes()].concat(),
        ] {
            assert_eq!(take(&[&cookie]), (Presented::None, vec![]), "{}", cookie.escape_ascii());
        }
    }
}

#[test]
fn the_other_cookies_are_byte_identical() {
    let odd = "a=\"x, y\\\"\"; b; =c; d=\u{e4}; e==; f=1 ;g=2;;  h=3;";
    assert_eq!(take(&[odd.as_bytes()]), (Presented::None, vec![odd.as_bytes().to_vec()]));
    let mixed = format!("__Host-session={A}; {odd}");
    assert_eq!(take(&[mixed.as_bytes()]), (Presented::One(token(A)), vec![odd.as_bytes().to_vec()]));
    assert_eq!(take(&[b"a=\xff\x80; __Host-session=x"]).1, [b"a=\xff\x80"]);
}

#[test]
fn several_cookie_lines_are_one_list() {
    let a = format!("a=1; __Host-session={A}");
    let only_a = format!("__Host-session={A}");
    let b = format!("__Host-session={B}; b=2");
    for (row, cookies, presented, left) in [
        ("two values in two lines", &[&a[..], &b[..]][..], Presented::Conflicting, "a=1; b=2"),
        ("crumbs, as in HTTP/2", &["a=1", &only_a, "b=2"], Presented::One(token(A)), "a=1; b=2"),
        ("the same value in two lines", &[&only_a, &only_a], Presented::One(token(A)), ""),
        ("none of ours", &["a=1", "b=2; c=3"], Presented::None, "a=1; b=2; c=3"),
        ("empty lines", &["", "a=1", " ; "], Presented::None, "a=1; "),
    ] {
        let cookies: Vec<&[u8]> = cookies.iter().map(|line| line.as_bytes()).collect();
        let (got, lines) = take(&cookies);
        assert_eq!(got, presented, "{row}");
        assert!(lines.len() <= 1, "{row}");
        let line = String::from_utf8(lines.concat()).expect("text");
        assert_eq!(line.trim_end_matches([' ', ';']), left.trim_end_matches([' ', ';']), "{row}");
    }
}

#[test]
fn utf8_control_bytes_empty_5_kb_and_200_cookies_do_not_crash_and_are_no_token() {
    let five_kb = format!("__Host-session={}", "x".repeat(5000));
    let many = vec!["__Host-session=x"; 200].join("; ");
    for cookie in ["__Host-session=", "__Host-session=\u{e4}", "__Host-session=a\tb", &five_kb, &many] {
        assert_eq!(take(&[cookie.as_bytes()]), (Presented::NotAToken, vec![]), "{cookie}");
    }
    let strangers = vec!["a=1"; 200].join("; ");
    assert_eq!(take(&[strangers.as_bytes()]), (Presented::None, vec![strangers.clone().into_bytes()]));
}

#[test]
fn the_backends_cookies_of_our_name_are_dropped_and_its_others_pass_one_line_each() {
    for (line, dropped) in [
        ("__Host-session=x; Path=/", true),
        ("__host-SESSION=x", true),
        ("__Host-session=x; Domain=example.com", true),
        ("=__Host-session=x", true),
        (" = __Host-session=x", true),
        ("__Host-session", true),
        ("__Host-session =x", true),
        ("\t__Host-session=x", true),
        ("\u{a0}__Host-session=x", true),
        ("session=x; Path=/; HttpOnly", false),
        ("a=__Host-session=x", false),
        ("__Host-session2=x", false),
        ("a=1; __Host-session=x", false),
        ("", false),
    ] {
        let mut headers =
            map(&SET_COOKIE, &[b"first=1; Path=/", line.as_bytes(), b"last=\xff; Expires=Thu, 01 Jan 2099"]);
        assert_eq!(drop_gateway_set_cookie(&mut headers, &name()), usize::from(dropped), "{line:?}");
        let left = lines(&headers, SET_COOKIE);
        assert_eq!(left.len(), if dropped { 2 } else { 3 }, "{line:?}");
        assert_eq!(left.first().map(Vec::as_slice), Some(&b"first=1; Path=/"[..]));
        assert_eq!(left.last().map(Vec::as_slice), Some(&b"last=\xff; Expires=Thu, 01 Jan 2099"[..]));
    }
}

#[test]
fn the_cookie_is_set_and_expired_with_the_same_attributes() {
    let production = CookieAttributes { name: name(), same_site: SameSite::Lax, secure: true, partitioned: false };
    let development = CookieAttributes {
        name: GatewayCookieName::parse("session-gateway").expect("a name"),
        same_site: SameSite::Strict,
        secure: false,
        partitioned: false,
    };
    let framed = CookieAttributes { same_site: SameSite::None, partitioned: true, ..production.clone() };
    let day = Duration::from_secs(86_400);
    for (line, expected) in [
        (
            session_set_cookie(&production, &token(A), None),
            format!("__Host-session={A}; HttpOnly; SameSite=Lax; Secure; Path=/"),
        ),
        (
            session_set_cookie(&production, &token(A), Some(day)),
            format!("__Host-session={A}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400"),
        ),
        (
            session_set_cookie(&development, &token(B), None),
            format!("session-gateway={B}; HttpOnly; SameSite=Strict; Path=/"),
        ),
        (
            session_set_cookie(&framed, &token(A), None),
            format!("__Host-session={A}; HttpOnly; SameSite=None; Partitioned; Secure; Path=/"),
        ),
        (
            expire_set_cookie(&framed),
            "__Host-session=; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan \
             1970 00:00:00 GMT"
                .to_owned(),
        ),
        (
            expire_set_cookie(&production),
            "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
                .to_owned(),
        ),
    ] {
        assert_eq!(line.to_str().expect("visible ASCII"), expected);
    }
    let unpartitioned = CookieAttributes { partitioned: false, ..framed.clone() };
    let over = "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    for (ours, expected) in [
        (&production, vec![format!("a=; Secure; {over}")]),
        (&development, vec![format!("a=; {over}")]),
        (&unpartitioned, vec![format!("a=; SameSite=None; Secure; {over}")]),
        (
            &framed,
            vec![
                format!("a=; SameSite=None; Partitioned; Secure; {over}"),
                format!("a=; SameSite=None; Secure; {over}"),
            ],
        ),
    ] {
        let lines: Vec<HeaderValue> = expire_backend_cookie("a", ours).collect();
        let lines: Vec<_> = lines.iter().map(|line| line.to_str().expect("visible ASCII")).collect();
        assert_eq!(lines, expected, "{ours:?}");
    }
    assert!(!format!("{:?}", session_set_cookie(&production, &token(A), None)).contains(A));
}

#[test]
fn a_line_that_expires_a_backends_cookie_is_taken_wherever_the_cookie_was_set() {
    let lines = |same_site, secure, partitioned| -> Vec<String> {
        let own = CookieAttributes { name: name(), same_site, secure, partitioned };
        let lines = expire_backend_cookie("session", &own);
        lines.map(|line| line.to_str().expect("visible ASCII").to_owned()).collect()
    };
    let over = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(lines(SameSite::Lax, false, false), [format!("session=; Path=/; {over}")]);
    assert_eq!(lines(SameSite::Strict, true, false), [format!("session=; Secure; Path=/; {over}")]);
    assert_eq!(lines(SameSite::None, true, false), [format!("session=; SameSite=None; Secure; Path=/; {over}")]);
    assert_eq!(
        lines(SameSite::None, true, true),
        [
            format!("session=; SameSite=None; Partitioned; Secure; Path=/; {over}"),
            format!("session=; SameSite=None; Secure; Path=/; {over}"),
        ]
    );
}

#[test]
fn what_is_set_is_read_back_as_what_it_is() {
    let attributes = CookieAttributes { name: name(), same_site: SameSite::None, secure: true, partitioned: false };
    let line = session_set_cookie(&attributes, &token(A), Some(Duration::from_secs(60)));
    let read = Cookie::parse(line.to_str().expect("ASCII")).expect("a cookie");
    assert_eq!((read.name(), read.value(), read.path(), read.domain()), ("__Host-session", A, Some("/"), None));
    assert_eq!((read.http_only(), read.secure()), (Some(true), Some(true)));
    assert_eq!(read.same_site(), Some(cookie::SameSite::None));
    assert_eq!(read.max_age().map(cookie::time::Duration::whole_seconds), Some(60));
}

#[test]
fn a_name_that_parsers_disagree_about_cannot_be_configured() {
    for text in ["", "a b", "a=b", "a;b", "\"a\"", "a,b", "\u{e4}", "a\r\nX: 1", &"a".repeat(65)] {
        assert_eq!(GatewayCookieName::parse(text), Err(CookieNameError), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_byte_of_the_token_is_left_and_taking_again_finds_nothing(
        lines in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    Just(format!("__Host-session={A}")), Just(format!("__HOST-session={A}")),
                    Just(format!("=__Host-session={A}")), Just(format!("\u{a0}__Host-session ={A}")),
                    "[a-z]=[a-z\"]{0,3}", "[ \"\t=]{0,3}", Just("x=\"".to_owned()),
                ],
                0..6,
            ),
            0..4,
        ),
        separator in prop_oneof![Just(";"), Just("; "), Just(";  ")],
    ) {
        let lines: Vec<String> = lines.iter().map(|pieces| pieces.join(separator)).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let (_, left) = take(&lines);
        prop_assert!(left.iter().all(|line| !line.windows(A.len()).any(|window| window == A.as_bytes())));
        let left: Vec<&[u8]> = left.iter().map(Vec::as_slice).collect();
        let (again, same) = take(&left);
        prop_assert_eq!(again, Presented::None);
        prop_assert_eq!(same, left);
    }

    #[test]
    fn another_reader_finds_ours_no_more_and_each_of_the_others(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just(format!("__Host-session={A}")), Just(format!("__HOST-SESSION = {A}")),
                "[a-z]{1,3}=[a-z0-9.%]{0,4}", Just("\"__Host-session\"=x".to_owned()), Just(String::new()),
            ],
            0..8,
        ),
    ) {
        // The `cookie` crate.
        let read = |line: &str| -> Vec<(String, String)> {
            let cookies = Cookie::split_parse(line).flatten();
            cookies.map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned())).collect()
        };
        let is_ours = |name: &str| name.to_ascii_lowercase().contains("session");
        let line = pieces.join("; ");
        let (_, left) = take(&[line.as_bytes()]);
        let left: Vec<_> = left.iter().flat_map(|line| read(std::str::from_utf8(line).expect("ASCII"))).collect();
        let others: Vec<_> = read(&line).into_iter().filter(|(name, _)| !is_ours(name)).collect();
        prop_assert_eq!(left, others);
    }

    #[test]
    fn no_bytes_make_it_panic(cookie in proptest::collection::vec(0x20_u8..=0xff, 0..60)) {
        let cookie: Vec<u8> = cookie.into_iter().filter(|byte| *byte != 0x7f).collect();
        take(&[&cookie, b"__Host-session=", &cookie]);
    }
}

#[test]
fn a_cookie_of_a_request_was_set_for_a_path_that_its_own_begins_with() {
    for (path, paths) in [
        ("/", ""),
        ("/login", "/login"),
        ("/app/login", "/app /app/ /app/login"),
        ("/app/login/", "/app /app/ /app/login /app/login/"),
        ("/a;b/c", ""),
        ("/a/b/c/d/e/f/g/h/i/j", ""),
    ] {
        assert_eq!(cookie_paths(path).collect::<Vec<_>>().join(" "), paths, "{path}");
    }
}
