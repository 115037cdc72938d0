use std::sync::Arc;
use std::time::Duration;

use ::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use proptest::prelude::*;

use super::*;
use crate::entropy::SystemEntropy;
use crate::http::{CookieAttributes, CookieName, GatewayCookieName, NotedHeaders, SameSite};
use crate::secret::Secret;
use crate::session::{SessionId, SessionToken};

const KEY: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
const OTHER_KEY: &str = "x9HsVbEd8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiK";

fn session() -> SessionId {
    SessionToken::generate(&SystemEntropy).expect("entropy").id()
}

fn keys(current: &str, previous: &[&str]) -> Arc<SealingKeys> {
    let previous: Vec<Secret> = previous.iter().map(|key| Secret::new(*key)).collect();
    Arc::new(SealingKeys::new(&Secret::new(current), &previous))
}

fn cookies_with(keys: Arc<SealingKeys>) -> SealedCookies {
    SealedCookies::new(vec![CookieName::new("session"), CookieName::new("remember_token")], keys)
}

fn cookies() -> SealedCookies {
    cookies_with(keys(KEY, &[]))
}

fn answer(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (SET_COOKIE, HeaderValue::from_str(line).expect("a line"))).collect()
}

fn set(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().expect("text").to_owned()).collect()
}

/// `name=value` as a browser would send it, of a cookie that was set for that binding.
fn pair(cookies: &SealedCookies, binding: Binding, name: &str, value: &str) -> String {
    let mut headers = answer(&[&format!("{name}={value}; Path=/")]);
    cookies.seal(&mut headers, binding, &SystemEntropy).expect("seals");
    set(&headers)[0].split(';').next().expect("a pair").to_owned()
}

/// What a request's cookies come to: the line that the backend gets, and how many were refused.
fn opened(cookies: &SealedCookies, binding: Option<Binding>, line: &str) -> (String, u64) {
    let line = HeaderValue::from_bytes(line.as_bytes()).expect("a line");
    let mut headers = NotedHeaders::from(HeaderMap::from_iter([(COOKIE, line)]));
    let refused = cookies.open(&mut headers, binding).refused;
    let left = headers.get(COOKIE).map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    (left.unwrap_or_default(), refused)
}

#[test]
fn a_cookie_opens_under_the_session_it_was_set_in_and_nowhere_else() {
    let cookies = cookies();
    let [own, other] = [session(), session()].map(Binding::Session);
    for (set_in, value) in [(own, "abc"), (own, ""), (own, "\"a b\""), (Binding::NoSession, "abc")] {
        let sealed = pair(&cookies, set_in, "session", value);
        assert!(value.is_empty() || !sealed.contains(value));
        let line = format!("theme=dark; {sealed}; lang=de");
        for binding in [own, other, Binding::NoSession] {
            let expected = if binding == set_in {
                (format!("theme=dark; session={value}; lang=de"), 0)
            } else {
                // What was set without a session is dropped as well, and nobody's.
                (String::from("theme=dark; lang=de"), u64::from(set_in != Binding::NoSession))
            };
            assert_eq!(opened(&cookies, Some(binding), &line), expected, "{set_in:?} {binding:?}");
        }
        assert_eq!(opened(&cookies, None, &line), ("theme=dark; lang=de".into(), 0), "nobody can say");
    }
}

#[test]
fn a_cookie_is_worth_nothing_under_another_name() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let sealed = pair(&cookies, own, "remember_token", "7|abc");
    let moved = sealed.replace("remember_token=", "session=");
    assert_eq!(opened(&cookies, Some(own), &moved), (String::new(), 1));
    assert_eq!(opened(&cookies, Some(own), &sealed), ("remember_token=7|abc".into(), 0));
}

#[test]
fn two_values_are_never_sealed_alike() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let once = pair(&cookies, own, "session", "abc");
    assert_ne!(once, pair(&cookies, own, "session", "abc"));
}

#[test]
fn nothing_that_was_cut_or_changed_opens() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let sealed = pair(&cookies, own, "session", "user=7");
    let value = sealed.strip_prefix("session=").expect("its name");
    for end in 0..value.len() {
        assert_eq!(opened(&cookies, Some(own), &format!("session={}", &value[..end])), (String::new(), 1), "{end}");
    }
    for at in 0..value.len() {
        for other in ["A", "B", "-", "_", "=", "%41", "\"", " "] {
            let changed = format!("{}{other}{}", &value[..at], &value[at + 1..]);
            if changed != value {
                let (left, _) = opened(&cookies, Some(own), &format!("session={changed}"));
                assert_eq!(left, "", "{at} {other:?}");
            }
        }
    }
    for odd in [format!("{value}A"), format!("\"{value}\""), format!("{value}="), format!("A{value}"), "abc".into()] {
        assert_eq!(opened(&cookies, Some(own), &format!("session={odd}")), (String::new(), 1), "{odd}");
    }
}

#[test]
fn what_some_reader_could_take_for_a_sealed_cookie_is_dropped() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    for imitation in [
        "Session=x",
        "SESSION=x",
        "\"session\"=x",
        "'session'=x",
        "session =x",
        "session\t=x",
        " session=x",
        "=session=x",
        "= session=x",
        "session",
        "\u{a0}session=x",
        "session\u{a0}=x",
        "a=1,session=x",
        "a=1, session=x",
        "a=1 session=x",
        "a=1\tsession=x",
        "a=1\u{a0}session=x",
        "\"\\163ession\"=x",
        "\\163ession=x",
        "\\s\\e\\s\\s\\i\\o\\n=x",
        "%73ession=x",
        "%53ESSION=x",
        "a=1 \"\\163ession\"=x",
        "remember.token=x",
        "remember token=x",
        " Remember[token=x",
    ] {
        let line = format!("b=2; {imitation}; c=3");
        assert_eq!(opened(&cookies, Some(own), &line), ("b=2; c=3".into(), 1), "{imitation:?}");
    }
    let quoted = "x=\"a; session=x; y=b\"";
    assert_eq!(opened(&cookies, Some(own), quoted), ("x=\"a; y=b\"".into(), 1), "quotes mean nothing");
    let others = "session_id=1; xsession=2; a=session; b=\"session=\";c=%73ession; d=a b; e=Jürgen; f=\\163ession";
    assert_eq!(opened(&cookies, Some(own), others), (others.into(), 0), "and nothing else is");
}

#[test]
fn of_several_of_a_name_those_that_open_pass_in_their_order() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let [one, two] = ["one", "two"].map(|value| pair(&cookies, own, "session", value));
    let foreign = pair(&cookies, Binding::Session(session()), "session", "three");
    let line = format!("{one}; {foreign}; {two}; session=plain");
    assert_eq!(opened(&cookies, Some(own), &line), ("session=one; session=two".into(), 2));
    let many = vec![one; 100].join("; ");
    let (left, refused) = opened(&cookies, Some(own), &many);
    assert_eq!((left.matches("session=one").count(), refused), (32, 68), "and no request has the gateway try them all");
}

#[test]
fn a_former_key_opens_and_the_present_one_seals() {
    let own = Binding::Session(session());
    let old = cookies_with(keys(KEY, &[]));
    let sealed = pair(&old, own, "session", "abc");
    let new = cookies_with(keys(OTHER_KEY, &[KEY]));
    assert_eq!(opened(&new, Some(own), &sealed), ("session=abc".into(), 0));
    let anew = pair(&new, own, "session", "abc");
    assert_eq!(opened(&old, Some(own), &anew), (String::new(), 1));
    assert_eq!(opened(&cookies_with(keys(OTHER_KEY, &[])), Some(own), &sealed), (String::new(), 1));
    let one_run = Arc::new(SealingKeys::ephemeral(&SystemEntropy).expect("entropy"));
    assert_eq!(opened(&cookies_with(one_run), Some(own), &sealed), (String::new(), 1));
}

#[test]
fn attributes_stay_and_no_script_reads_it() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    for (line, attributes) in [
        ("session=a", "; HttpOnly"),
        (" session = a ; Path=/x; SameSite=None; Secure", "; Path=/x; SameSite=None; Secure; HttpOnly"),
        ("session=a; httponly; Path=/", "; httponly; Path=/"),
        ("session=a;HttpOnly=1", ";HttpOnly=1"),
        ("session=a; X-HttpOnly; Max-Age=5", "; X-HttpOnly; Max-Age=5; HttpOnly"),
        (
            "session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
            "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly",
        ),
    ] {
        let mut headers = answer(&["a=1; Path=/", line, "Session=b", "=session=c", "session"]);
        cookies.seal(&mut headers, own, &SystemEntropy).expect("seals");
        let lines = set(&headers);
        assert_eq!(
            (&*lines[0], &*lines[2], &*lines[3], &*lines[4]),
            ("a=1; Path=/", "Session=b", "=session=c", "session")
        );
        let (pair, rest) = lines[1].split_at(lines[1].find(';').expect("attributes"));
        assert_eq!(rest, attributes, "{line}");
        assert!(opened(&cookies, Some(own), pair).0.starts_with("session="), "{line}");
    }
}

#[test]
fn what_no_browser_would_keep_is_an_error() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let longest = (0..LONGEST_COOKIE)
        .rev()
        .find(|length| "session".len() + SealingKeys::sealed_length(*length) <= LONGEST_COOKIE);
    let longest = longest.expect("there is one");
    for (length, fits) in [(longest, true), (longest + 1, false), (5000, false)] {
        let mut headers = answer(&["a=1", &format!("session={}", "x".repeat(length))]);
        let before = headers.clone();
        let sealed = cookies.seal(&mut headers, own, &SystemEntropy);
        assert_eq!(sealed.is_ok(), fits, "{length}");
        match sealed {
            Ok(()) => {
                let pair = set(&headers)[1].split(';').next().expect("a pair").len();
                assert_eq!(pair, "session=".len() + SealingKeys::sealed_length(length));
            }
            Err(NotSealed::TooLong { .. }) => assert_eq!(headers, before, "and nothing of it is changed"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_session_takes_over_what_came_sealed_and_is_not_set_anew() {
    let cookies = cookies();
    let id = session();
    let [old, new] = [session(), id].map(Binding::Session);
    let sealed = format!("{}; {}", pair(&cookies, old, "session", "a"), pair(&cookies, old, "remember_token", "b"));
    let line = HeaderValue::from_str(&sealed).expect("a line");
    let mut request = NotedHeaders::from(HeaderMap::from_iter([(COOKIE, line)]));
    let came = cookies.open(&mut request, Some(old));
    let attributes = CookieAttributes {
        name: GatewayCookieName::parse("__Host-session").expect("a name"),
        same_site: SameSite::Lax,
        secure: true,
        partitioned: false,
    };
    let day = Some(Duration::from_secs(86_400));
    let mut headers = answer(&["session=c; Path=/app"]);
    let to = Successor { id, attributes: &attributes, max_age: day };
    cookies.seal_anew(&mut headers, &came, to, &SystemEntropy).expect("seals");
    let lines = set(&headers);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let pairs: Vec<&str> = lines.iter().map(|line| line.split(';').next().expect("a pair")).collect();
    assert_eq!(opened(&cookies, Some(new), &pairs.join("; ")), ("session=c; remember_token=b".into(), 0));
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=86400"] {
        assert!(lines[1].contains(attribute), "{attribute} in {}", lines[1]);
    }
}

#[test]
fn what_is_set_for_a_session_that_is_over_becomes_what_takes_it_away() {
    let mut headers = answer(&[
        "session=v; Path=/app; Domain=app.test; Max-Age=60; EXPIRES=Fri, 01 Jan 2100 00:00:00 GMT; SameSite=Lax; HttpOnly",
        "theme=dark; Max-Age=60",
        "remember_token=v",
        "session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/",
    ]);
    cookies().expire(&mut headers);
    let gone = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        set(&headers),
        [
            format!("session=; Path=/app; Domain=app.test; SameSite=Lax; HttpOnly; {gone}"),
            String::from("theme=dark; Max-Age=60"),
            format!("remember_token=; {gone}"),
            format!("session=; Path=/; {gone}"),
        ]
    );
}

#[test]
fn nothing_shows_a_value() {
    let (cookies, own) = (cookies(), Binding::Session(session()));
    let line = HeaderValue::from_str(&pair(&cookies, own, "session", "topsecret")).expect("a line");
    let mut request = NotedHeaders::from(HeaderMap::from_iter([(COOKIE, line)]));
    let came = cookies.open(&mut request, Some(own));
    assert!(!format!("{came:?} {request:?} {cookies:?}").contains("topsecret"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_none_that_were_not_sealed_come_through(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let Ok(line) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        let cookies = cookies();
        let mut request = NotedHeaders::from(HeaderMap::from_iter([(COOKIE, line)]));
        cookies.open(&mut request, Some(Binding::NoSession));
        prop_assert!(!cookies.are_in_request(&request), "{:?}", request);
    }

    #[test]
    fn near_names_neither_panic_nor_come_through(line in "[ ;,=\"'%\\\\sesionSESION\\t]{0,40}") {
        let cookies = cookies();
        let mut request = NotedHeaders::from(HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&line).expect("a line"))]));
        cookies.open(&mut request, Some(Binding::NoSession));
        prop_assert!(!cookies.are_in_request(&request), "{:?}", request);
    }
}
