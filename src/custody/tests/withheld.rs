//! What else an app answers, and what of it a browser gets.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::{NOW, SIGNATURE, at, jwt, rules, token};
use crate::login::read_json;

/// Of another token of the app's.
const OTHER: &str = "R2l2ZSBtZSBhIHNpZ25hdHVyZSBvZiBhbm90aGVyIG9uZQ";

fn withheld() -> Arc<Withheld> {
    Arc::new(Withheld::of(&token(), &rules()).expect("something is kept back"))
}

fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

/// Another token with these claims.
fn another(claims: &serde_json::Value) -> String {
    jwt(claims).replace(SIGNATURE, OTHER)
}

/// What comes out of these pieces, with the head of an answer of this type and of their length.
fn through(kind: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, NotWithheld> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    through_with(&head(&[("content-type", kind)]), Some(length as u64), pieces)
}

fn through_with(head: &HeaderMap, length: Option<u64>, pieces: &[&[u8]]) -> Result<Vec<u8>, NotWithheld> {
    let Some(mut search) = withheld().search(head, length, read_json) else { return Ok(pieces.concat()) };
    let mut out = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let is_last = number + 1 == pieces.len();
        out.extend_from_slice(&search.pass(bytes::Bytes::copy_from_slice(piece), is_last)?);
        assert!(!is_last || search.held() == 0);
    }
    Ok(out)
}

#[test]
fn a_token_that_an_answer_repeats_is_overwritten_in_its_place() {
    let token = token();
    let access = token.access.expose_secret();
    for kind in ["application/json", "text/html; charset=utf-8", "text/event-stream", "application/xml", "TEXT/CSV", ""]
    {
        let text = format!("<p>{access}</p> an-opaque-refresh-token \"{SIGNATURE}\"");
        let out = through(kind, &[text.as_bytes()]).expect("it goes out");
        let said = String::from_utf8(out).expect("text");
        assert_eq!(said.len(), text.len());
        assert!(!said.contains(SIGNATURE) && !said.contains("an-opaque-refresh"), "{kind}: {said}");
        assert!(
            said.starts_with(&format!("<p>{}.placeholder_of_t", access.rsplit_once('.').expect("parts").0)),
            "{said}"
        );
        assert!(is_stand_in(said.as_bytes()));
    }
    for kind in ["image/png", "application/octet-stream", "application/pdf"] {
        assert_eq!(through(kind, &[access.as_bytes()]), Ok(access.as_bytes().to_vec()), "{kind} is no text");
    }
}

#[test]
fn what_holds_no_token_is_passed_on_at_once_and_untouched() {
    let head = head(&[("content-type", "text/event-stream")]);
    let mut search = withheld().search(&head, None, read_json).expect("it is text");
    let piece = bytes::Bytes::from_static(b"data: nothing of it\n\n");
    let out = search.pass(piece.clone(), false).expect("it goes out");
    assert_eq!((out.as_ptr(), out.len(), search.held()), (piece.as_ptr(), piece.len(), 0), "not even copied");
    assert!(!search.found());
    // Of what a token may begin with no more is kept back than that.
    let begun = format!("data: {}", &SIGNATURE[..5]);
    let out = search.pass(begun.clone().into(), false).expect("it goes out");
    assert_eq!((out.as_ref(), search.held()), (&b"data: "[..], 5));
    let out = search.pass("\n\n".into(), false).expect("it goes out");
    assert_eq!(out, format!("{}\n\n", &SIGNATURE[..5]));
}

#[test]
fn another_token_of_the_apps_is_overwritten_where_a_logins_answer_has_its() {
    let own = json!({"sub": "7", "exp": NOW + 100});
    for (row, answer, goes) in [
        ("another one", json!({"access": another(&json!({"sub": "7", "exp": NOW + 900}))}), false),
        ("another user's", json!({"access": another(&json!({"sub": "8", "exp": NOW + 900}))}), false),
        ("with more claims", json!({"access": another(&json!({"sub": "7", "exp": NOW, "org": 1}))}), false),
        ("a refresh token", json!({"refresh": another(&json!({"sub": "7", "exp": NOW, "type": "refresh"}))}), false),
        ("elsewhere", json!({"invitation": another(&own)}), true),
        ("of another make", json!({"access": another(&json!({"room": "7", "exp": NOW + 900}))}), true),
        ("no token", json!({"access": "granted", "refresh": 7}), true),
        ("an opaque one", json!({"access": "another-opaque-access-token"}), true),
    ] {
        let text = answer.to_string();
        for kind in ["application/json", "application/problem+json; charset=utf-8"] {
            let (one, two) = text.as_bytes().split_at(text.len() / 2);
            for pieces in [&[text.as_bytes()][..], &[one, two]] {
                let said = String::from_utf8(through(kind, pieces).expect("it goes out")).expect("text");
                assert_eq!(said == text, goes, "{row}: {said}");
                assert_eq!(said.len(), text.len());
                assert!(goes || !said.contains(OTHER), "{row}");
            }
        }
        assert_eq!(through("text/plain", &[text.as_bytes()]), Ok(text.clone().into_bytes()), "{row}: it is no JSON");
        let unknown = head(&[("content-type", "application/json")]);
        assert_eq!(
            through_with(&unknown, None, &[text.as_bytes()]),
            Ok(text.into_bytes()),
            "{row}: it may go on and on"
        );
    }
    let long = json!({"access": another(&own), "x": "x".repeat(70_000)}).to_string();
    assert_eq!(through("application/json", &[long.as_bytes()]), Ok(long.clone().into_bytes()));
}

#[test]
fn an_answer_with_a_token_in_another_spelling_is_not_passed_on() {
    let text = json!({"access": another(&json!({"sub": "7", "exp": NOW}))}).to_string();
    let signature = text.replace("R2l2", "\\u00522l2");
    assert_eq!(through("application/json", &[signature.as_bytes()]), Err(NotWithheld));
    // Where that is the rest of it, there is nothing left of it.
    let header = text.replace("eyJ", "\\u0065yJ");
    let said = through("application/json", &[header.as_bytes()]).expect("it goes out");
    assert_eq!(
        String::from_utf8(said).expect("text"),
        header.replace(OTHER, "placeholder_of_the_session_gateway__this_signa")
    );
}

#[test]
fn headers_that_repeat_a_token_or_hand_out_another_have_what_stands_for_it() {
    let token = token();
    let (access, other) = (token.access.expose_secret(), another(&json!({"sub": "7", "exp": NOW + 900})));
    let foreign = another(&json!({"room": 7}));
    let mut headers = head(&[
        ("set-cookie", &format!("access={access}; Path=/")),
        ("set-cookie", &format!("own={other}; Path=/")),
        ("x-token", access),
        ("authorization", &format!("Bearer {other}")),
        ("location", &format!("/in?a={other}&b={foreign}")),
        ("x-room", &foreign),
        ("etag", "\"0123456789abcdef0123456789abcdef0123456789abcdef\""),
    ]);
    let before = headers.clone();
    assert!(withheld().clean_headers(&mut headers));
    let said = format!("{headers:?}");
    assert!(!said.contains(SIGNATURE), "{said}");
    for (name, is_same) in
        [("x-token", false), ("authorization", false), ("location", false), ("x-room", true), ("etag", true)]
    {
        assert_eq!(headers.get(name) == before.get(name), is_same, "{name}: {said}");
        assert_eq!(headers.get(name).map(HeaderValue::len), before.get(name).map(HeaderValue::len), "{name}");
    }
    let location = headers.get("location").and_then(|value| value.to_str().ok()).expect("text");
    assert!(location.ends_with(&foreign) && !location.contains(&other), "{location}");
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().map(|line| line.to_str().expect("text")).collect();
    assert!(
        is_stand_in(cookies[0].as_bytes()) && cookies[1].contains(&other),
        "a cookie is the app's own: {cookies:?}"
    );
    let again = headers.clone();
    assert!(!withheld().clean_headers(&mut headers));
    assert_eq!(headers, again);
}

#[test]
fn nothing_is_kept_back_of_what_its_browser_has_and_nothing_found_in_what_is_compressed() {
    assert!(Withheld::of(&token(), &TokenRules { left: Left::Token, ..rules() }).is_none());
    assert!(Withheld::of(&token(), &TokenRules { left: Left::Nothing, ..rules() }).is_some());
    for (coding, is_searched) in [("gzip", false), ("br", false), ("identity", true)] {
        let head = head(&[("content-type", "text/html"), ("content-encoding", coding)]);
        assert_eq!(withheld().search(&head, None, read_json).is_some(), is_searched, "{coding}");
    }
    // Of an opaque token nobody knows how others are made.
    let opaque = rules().take(&json!({"access": "an-opaque-token-of-the-app"}), at(NOW)).expect("good").expect("one");
    let withheld = Arc::new(Withheld::of(&opaque, &rules()).expect("something"));
    let mut search = withheld.search(&head(&[("content-type", "text/html")]), None, read_json).expect("text");
    assert_eq!(search.pass("<an-opaque-token-of-the-app>".into(), true), Ok("<placeholder_of_the_session>".into()));
}

proptest! {
    #[test]
    fn however_an_answer_is_cut_into_pieces_no_token_is_left_in_it(
        before in "[a-zA-Z0-9 _-]{0,60}", between in "[a-zA-Z0-9 _-]{0,60}", cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        // With what looks like the begin of one.
        let text = format!("{before}{}{SIGNATURE}{between}an-opaque-an-opaque-refresh-token{}", &SIGNATURE[..7], &SIGNATURE[..20]);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let said = through_with(&head(&[("content-type", "text/plain")]), None, &pieces).expect("it goes out");
        let expected = through_with(&head(&[("content-type", "text/plain")]), None, &[text.as_bytes()]).expect("it goes out");
        prop_assert_eq!(&said, &expected);
        let said = String::from_utf8(said).expect("text");
        prop_assert_eq!(said.len(), text.len());
        prop_assert!(!said.contains(SIGNATURE) && !said.contains("an-opaque-refresh-token"), "{}", said);
    }
}
