//! `Cookie` lines: ours is out under every spelling, and the others are byte for byte what they were.

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use session_gateway::http::{GatewayCookieName, NotedHeaders, Presented, drop_gateway_set_cookie, take_gateway_cookie};

const NAME: &str = "__Host-session";

fn contains_name(piece: &[u8]) -> bool {
    piece.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME.as_bytes()))
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii_start).filter(|piece| !piece.is_empty())
}

/// How the laxest reader that is known finds a cookie's name.
fn lax_name(piece: &[u8]) -> &[u8] {
    let is_noise = |byte: &u8| byte.is_ascii_whitespace() || !byte.is_ascii() || matches!(byte, b'"' | b'=' | b',');
    let start = piece.iter().position(|byte| !is_noise(byte)).unwrap_or(piece.len());
    let name = piece[start..].split(|byte| *byte == b'=').next().unwrap_or_default();
    let end = name.iter().rposition(|byte| !is_noise(byte)).map_or(0, |last| last + 1);
    &name[..end]
}

pub fn check(data: &[u8]) {
    let name = GatewayCookieName::parse(NAME).expect("a name");
    let values: Vec<HeaderValue> =
        data.split(|byte| *byte == b'\n').take(100).filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let map: HeaderMap = values.iter().map(|value| (COOKIE, value.clone())).collect();
    let mut headers = NotedHeaders::from(map);
    let presented = take_gateway_cookie(&mut headers, &name);

    let sent: Vec<&[u8]> = values.iter().flat_map(|value| pieces(value.as_bytes())).collect();
    let left: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    let kept: Vec<&[u8]> = left.iter().flat_map(|value| pieces(value.as_bytes())).collect();
    assert!(left.len() <= 1, "backends join several lines with a comma");
    for piece in &kept {
        assert!(!lax_name(piece).eq_ignore_ascii_case(NAME.as_bytes()), "{} is ours", piece.escape_ascii());
    }
    // In their order, none added, none changed, and none lost that does not even hold our name.
    let mut rest = sent.iter();
    for piece in &kept {
        assert!(rest.any(|other| other == piece), "{} is new or has moved", piece.escape_ascii());
    }
    let foreign: Vec<_> = sent.iter().filter(|piece| !contains_name(piece)).collect();
    let kept_foreign: Vec<_> = kept.iter().filter(|piece| !contains_name(piece)).collect();
    assert_eq!(kept_foreign, foreign, "a cookie of somebody else's was lost");
    if values.len() == 1 && !sent.iter().any(|piece| contains_name(piece)) {
        assert_eq!(left, values, "a line without ours is left alone");
    }

    // The session is exact bytes: one value under exactly that name.
    let exact: Vec<&[u8]> = values
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|piece| piece.strip_prefix(b" ").unwrap_or(piece).strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))
        .collect();
    match (exact.split_first(), &presented) {
        (None, Presented::None) => {}
        (Some((first, others)), Presented::Conflicting) => assert!(others.iter().any(|other| other != first)),
        (Some((first, others)), Presented::One(_) | Presented::NotAToken) => {
            assert!(others.iter().all(|other| other == first));
            assert_eq!(matches!(presented, Presented::One(_)), first.len() == 43 && is_base64url(first));
        }
        (_, wrong) => panic!("{wrong:?} of {exact:?}"),
    }
    assert_eq!(take_gateway_cookie(&mut headers, &name), Presented::None, "taking again finds nothing");
    assert_eq!(headers.get_all(COOKIE).iter().cloned().collect::<Vec<_>>(), left);

    let mut answer: HeaderMap = values.iter().map(|value| (SET_COOKIE, value.clone())).collect();
    let dropped = drop_gateway_set_cookie(&mut answer, &name);
    let passed: Vec<HeaderValue> = answer.get_all(SET_COOKIE).iter().cloned().collect();
    assert_eq!(passed.len() + dropped, values.len());
    for line in &passed {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(!lax_name(pair).eq_ignore_ascii_case(NAME.as_bytes()), "the backend sets our cookie: {line:?}");
    }
}

fn is_base64url(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
