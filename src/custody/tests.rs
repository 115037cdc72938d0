//! Tokens found, hidden, sealed and timed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::WallTime;
use crate::entropy::SystemEntropy;
use crate::http::JsonPointer;
use crate::jwt::unverified_claims;
use crate::secret::Secret;
use crate::session::{Principal, SessionToken, TenantId, UserId};

mod withheld;

const NOW: u64 = 1_700_000_000;
const SIGNATURE: &str = "c2lnbmF0dXJlLW9mLXRoZS1hcHAtd2hpY2gtaXMtc2VjcmV0";

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{SIGNATURE}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims))
}

fn rules() -> TokenRules {
    let pointers = |list: &[&str]| list.iter().map(|text| JsonPointer::parse(text).expect(text)).collect();
    TokenRules {
        token: pointers(&["/access_token", "/access"]),
        refresh_token: pointers(&["/refresh_token", "/refresh"]),
        left: Left::Placeholder,
        max_token: 7 << 10,
        refresh: None,
    }
}

fn token() -> AppToken {
    let answer = json!({"access": jwt(&json!({"sub": "7", "exp": NOW + 100})), "refresh": "an-opaque-refresh-token"});
    rules().take(&answer, at(NOW)).expect("a good one").expect("there is one")
}

fn whose(tenant: &str, user: &str) -> Principal {
    Principal {
        tenant: TenantId::parse(tenant).expect("a tenant"),
        user: UserId::parse(user).expect("a user"),
        role: None,
    }
}

fn cookie() -> SessionToken {
    SessionToken::generate(&SystemEntropy).expect("entropy")
}

fn keys(secret: &str, before: &[&str]) -> CustodyKeys {
    let before: Vec<Secret> = before.iter().map(|text| Secret::new(*text)).collect();
    CustodyKeys::new(&Secret::new(secret), &before)
}

#[test]
fn a_token_is_found_where_it_is_said_to_be_and_nothing_is_made_of_what_is_none() {
    let token = token();
    assert_eq!((&*token.place, token.refresh_place.as_deref()), ("/access", Some("/refresh")));
    assert_eq!(token.expires, Some(at(NOW + 100)));
    assert_eq!(rules().take(&json!({"token": "elsewhere-is-a-token"}), at(NOW)), Ok(None));
    assert_eq!(rules().take(&json!({"access": null, "access_token": ""}), at(NOW)), Ok(None));
    let opaque = rules().take(&json!({"access": "an-opaque-token-of-the-app"}), at(NOW)).expect("good").expect("one");
    assert_eq!((opaque.expires, opaque.refresh), (None, None));
}

#[test]
fn a_token_of_no_use_is_refused_and_the_reason_holds_none_of_it() {
    for (row, token) in [
        ("over", jwt(&json!({"exp": NOW}))),
        ("long over", jwt(&json!({"exp": 1}))),
        ("an exp that is no time", jwt(&json!({"exp": "tomorrow"}))),
        ("a refresh token", jwt(&json!({"exp": NOW + 9, "token_type": "refresh"}))),
        ("too long", jwt(&json!({"exp": NOW + 9, "x": "x".repeat(7 << 10)}))),
        ("too short", "abc".to_owned()),
        ("a line break", "0123456789abcdef\r\nX-Evil: 1".to_owned()),
        ("a blank", "0123456789abcdef 1".to_owned()),
        (
            "a claim twice",
            format!("{}.{}.{SIGNATURE}", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(r#"{"sub":1,"sub":2}"#)),
        ),
    ] {
        let why = rules().take(&json!({"access": token}), at(NOW)).expect_err(row);
        assert!(!why.contains(&token), "{row}: {why}");
    }
}

#[test]
fn a_placeholder_says_the_same_and_verifies_nowhere() {
    let token = token();
    let shown = StandIns::of(&token, Left::Placeholder).access().expect("a placeholder");
    let real = token.access.expose_secret();
    assert_eq!(unverified_claims(&shown), unverified_claims(real));
    assert_eq!(shown.rsplit_once('.').map(|(input, _)| input), real.rsplit_once('.').map(|(input, _)| input));
    let signature = shown.rsplit('.').next().expect("a signature");
    assert!(!shown.contains(SIGNATURE) && URL_SAFE_NO_PAD.decode(signature).is_ok(), "{shown}");
    assert!(is_stand_in(format!("Bearer {shown}").as_bytes()) && !is_stand_in(real.as_bytes()));
}

#[test]
fn no_answer_has_a_token_left_whatever_it_is_hidden_in() {
    let token = token();
    let (access, refresh) = (token.access.expose_secret(), token.refresh.clone().expect("one"));
    let refresh = refresh.expose_secret();
    let escaped = access.replace('.', "\\u002e").replace(SIGNATURE, &SIGNATURE.replace('c', "\\u0063"));
    for (row, body) in [
        ("plain", json!({"access": access, "refresh": refresh, "n": 1.50}).to_string()),
        ("twice", json!({"access": access, "data": {"token": access, "list": [refresh, {"x": access}]}}).to_string()),
        ("within a text", json!({"access": access, "hint": format!("curl -H 'Bearer {access}'")}).to_string()),
        ("the signature alone", json!({"access": access, "sig": SIGNATURE}).to_string()),
        ("in a name", json!({"access": access, (access): 1}).to_string()),
        ("spelt otherwise", format!("{{\"access\": \"{escaped}\", \"refresh\": \"{refresh}\", \"nan\": NaN}}")),
    ] {
        for left in [Left::Placeholder, Left::Nothing] {
            let document = crate::login::read_json(body.as_bytes()).expect("JSON");
            let cleaned =
                StandIns::of(&token, left).cleaned(Bytes::from(body.clone()), &document, crate::login::read_json);
            let (Cleaned::Changed(text) | Cleaned::Rewritten(text)) = cleaned else { panic!("{row}: it is as it was") };
            let said = crate::login::read_json(&text).expect("JSON").to_string();
            for secret in [SIGNATURE, refresh] {
                assert!(!said.contains(secret) && !String::from_utf8_lossy(&text).contains(secret), "{row}: {said}");
            }
            let there = said.contains("\"access\"");
            assert_eq!(there, left == Left::Placeholder, "{row}: {said}");
        }
    }
    let body = Bytes::from(json!({"access": access}).to_string());
    let kept = StandIns::of(&token, Left::Token).cleaned(body.clone(), &json!({}), crate::login::read_json);
    assert_eq!(kept, Cleaned::AsItWas(body));
}

#[test]
fn what_is_not_the_token_stays_byte_for_byte() {
    let token = token();
    let body =
        format!("{{ \"access\" :\"{}\",  \"amount\": 1.500, \"x\": \"\\u00e9\" }}", token.access.expose_secret());
    let document: Value = serde_json::from_str(&body).expect("JSON");
    let stand_ins = StandIns::of(&token, Left::Placeholder);
    let Cleaned::Changed(text) = stand_ins.cleaned(body.clone().into(), &document, crate::login::read_json) else {
        panic!("it is rewritten")
    };
    let expected = body.replace(token.access.expose_secret(), &stand_ins.access().expect("one"));
    assert_eq!(text, expected);
}

#[test]
fn headers_that_repeat_a_token_lose_it() {
    let token = token();
    let access = token.access.expose_secret();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("set-cookie", format!("access={access}; Path=/")),
        ("set-cookie", "other=1".to_owned()),
        ("x-token", access.to_owned()),
        ("set-cookie", format!("half={SIGNATURE}")),
    ] {
        headers.append(name, HeaderValue::from_str(&value).expect("a value"));
    }
    let mut replaced = headers.clone();
    StandIns::of(&token, Left::Placeholder).clean_headers(&mut replaced);
    assert_eq!(replaced.get_all("set-cookie").iter().count(), 3);
    assert!(replaced.contains_key("x-token") && !format!("{replaced:?}").contains(SIGNATURE));
    StandIns::of(&token, Left::Nothing).clean_headers(&mut headers);
    assert_eq!(headers.get_all("set-cookie").iter().count(), 1);
    assert!(!headers.contains_key("x-token"));
}

#[test]
fn another_answer_in_the_logins_shape_has_what_stands_for_the_token_where_that_was() {
    let deep = AppToken { place: "/data/token".into(), ..token() };
    let answer = StandIns::of(&deep, Left::Placeholder).answer();
    let shown = answer.pointer("/data/token").and_then(Value::as_str).expect("one");
    assert!(is_stand_in(shown.as_bytes()) && answer.pointer("/refresh").is_some(), "{answer}");
    assert_eq!(StandIns::of(&deep, Left::Nothing).answer(), json!({}));
}

#[test]
fn a_token_is_refreshed_near_its_end_and_never_in_its_first_half() {
    for (life, before, due) in
        [(100, 10, 80), (100, 30, 70), (100, 60, 50), (10, 60, 5), (86_400, 60, 69_120), (1000, 1, 800)]
    {
        let token = AppToken { taken: at(NOW), expires: Some(at(NOW + life)), ..token() };
        assert_eq!(token.due(Duration::from_secs(before)), Some(at(NOW + due)), "{life} {before}");
    }
    assert_eq!(AppToken { refresh: None, ..token() }.due(Duration::from_secs(1)), None);
    assert_eq!(AppToken { expires: None, ..token() }.due(Duration::from_secs(1)), None);
}

#[test]
fn a_sealed_token_opens_for_its_own_cookie_user_and_secret_alone() {
    let (mine, theirs, token) = (cookie(), cookie(), token());
    let (alice, keys) = (whose("42", "7"), keys("the secret of this gateway, which is long", &[]));
    let sealed = keys.seal(&mine, &alice, &token, false, &SystemEntropy).expect("sealed");
    assert_eq!(keys.open(&mine, &alice, &sealed), Some(token.clone()));
    assert_eq!(keys.open(&theirs, &alice, &sealed), None, "another cookie");
    assert_eq!(keys.open(&mine, &whose("77", "7"), &sealed), None, "another tenant");
    assert_eq!(keys.open(&mine, &whose("42", "8"), &sealed), None, "another user");
    let other = self::keys("another secret of a gateway, also long", &[]);
    assert_eq!(other.open(&mine, &alice, &sealed), None, "another secret");
    let newer = self::keys("another secret of a gateway, also long", &["the secret of this gateway, which is long"]);
    assert_eq!(newer.open(&mine, &alice, &sealed), Some(token.clone()), "a secret of before");
    for secret in [token.access.expose_secret(), SIGNATURE, "an-opaque-refresh-token", mine.expose_secret()] {
        assert!(memchr::memmem::find(&sealed, secret.as_bytes()).is_none(), "it is in the open");
    }
    assert_ne!(keys.seal(&mine, &alice, &token, false, &SystemEntropy).expect("sealed"), sealed, "no two are the same");
}

#[test]
fn which_token_a_session_left_with_its_browser_is_known_without_opening_it() {
    let (mine, alice, keys, token) = (cookie(), whose("42", "7"), keys("the secret of this gateway", &[]), token());
    let sealed = keys.seal(&mine, &alice, &token, true, &SystemEntropy).expect("sealed");
    let id = token.id().expect("an id");
    assert_eq!(CustodyKeys::denies(&sealed), Some((id, at(NOW + 100))));
    assert_eq!(keys.open(&mine, &alice, &sealed), Some(token.clone()));
    let plain = keys.seal(&mine, &alice, &token, false, &SystemEntropy).expect("sealed");
    assert_eq!(CustodyKeys::denies(&plain), None);
    // What stands in the open is authenticated.
    let mut forged = sealed;
    forged[7] ^= 1;
    assert_eq!(keys.open(&mine, &alice, &forged), None);
}

proptest! {
    #[test]
    fn whatever_comes_back_from_a_store_opens_or_does_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let keys = keys("the secret of this gateway", &[]);
        prop_assert_eq!(keys.open(&cookie(), &whose("42", "7"), &bytes), None);
        let _ = CustodyKeys::denies(&bytes);
    }

    #[test]
    fn one_byte_changed_is_another_token_or_none(change in 1..=255_u8, at in any::<prop::sample::Index>()) {
        let (mine, alice, keys) = (cookie(), whose("42", "7"), keys("the secret of this gateway", &[]));
        let mut sealed = keys.seal(&mine, &alice, &token(), true, &SystemEntropy).expect("sealed");
        let at = at.index(sealed.len());
        sealed[at] ^= change;
        prop_assert_eq!(keys.open(&mine, &alice, &sealed), None);
    }
}
