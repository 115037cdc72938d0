//! RFC 8725, "JSON Web Token Best Current Practices": section 3, row by row.

use serde_json::json;

use super::super::*;
use super::maker::{Maker, claims, judge, with};

fn judged(maker: &Maker, changes: &serde_json::Value) -> Result<(), TokenFault> {
    let claims = with(claims(), changes).to_string();
    let token = maker.raw(&maker.header().to_string(), claims.as_bytes());
    judge(&token, &maker.keys(), &[maker.algorithm()])
}

#[test]
fn section_3_1_perform_algorithm_verification() {
    let maker = Maker::es();
    // The configuration's list alone counts, also where key and token agree on another.
    assert_eq!(judge(&maker.token(), &maker.keys(), &[Algorithm::Es384]), Err(TokenFault::Algorithm));
    assert_eq!(judge(&maker.token(), &maker.keys(), &[]), Err(TokenFault::Algorithm));
}

#[test]
fn section_3_2_use_appropriate_algorithms() {
    for name in ["none", "RSA1_5", "HS1", "RS1", "dir", "A128KW"] {
        assert_eq!(Algorithm::parse(name), None, "{name}");
    }
}

#[test]
fn section_3_3_validate_all_cryptographic_operations() {
    let (maker, other) = (Maker::ed(), Maker::ed());
    assert_eq!(judge(&other.token(), &maker.keys(), &[Algorithm::EdDsa]), Err(TokenFault::Signature));
    // A token within a token has no claims of its own.
    let nested = maker.raw(&with(maker.header(), &json!({"cty": "JWT"})).to_string(), other.token().as_bytes());
    assert_eq!(judge(&nested, &maker.keys(), &[Algorithm::EdDsa]), Err(TokenFault::Json));
}

#[test]
fn section_3_4_validate_cryptographic_inputs() {
    let maker = Maker::es();
    let off_the_curve = with(maker.jwk("k"), &json!({"y": Maker::es().jwk("k")["x"]}));
    let set = json!({"keys": [off_the_curve]}).to_string();
    let refused = KeySet::from_jwks(set.as_bytes(), &[Algorithm::Es256])
        .map_err(|_| TokenFault::UnknownKey)
        .and_then(|keys| judge(&maker.token(), &keys, &[Algorithm::Es256]));
    assert_eq!(refused, Err(TokenFault::Signature));
}

#[test]
fn section_3_5_ensure_cryptographic_keys_have_sufficient_entropy() {
    assert_eq!(Key::secret(b"secret", &[Algorithm::Hs256]), Err(KeyFault::Weak));
    assert_eq!(Key::secret(&[1; 32], &[Algorithm::Hs256, Algorithm::Hs512]), Err(KeyFault::Weak));
}

#[test]
fn section_3_6_avoid_compression_of_encryption_inputs() {
    let maker = Maker::hs();
    let token = maker.raw(&with(maker.header(), &json!({"zip": "DEF"})).to_string(), b"{}");
    assert_eq!(judge(&token, &maker.keys(), &[Algorithm::Hs256]), Err(TokenFault::Header));
}

#[test]
fn section_3_7_use_utf_8() {
    let maker = Maker::hs();
    let utf16: Vec<u8> = claims().to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [&utf16[..], b"{\"sub\":\"\xe9\"}", b"\xef\xbb\xbf{}"] {
        let token = maker.raw(&maker.header().to_string(), bytes);
        assert_eq!(judge(&token, &maker.keys(), &[Algorithm::Hs256]), Err(TokenFault::Json), "{bytes:?}");
    }
}

#[test]
fn section_3_8_validate_issuer_and_subject() {
    let maker = Maker::es();
    for issuer in
        [json!("https://issuer"), json!("https://ISSUER/"), json!(["https://issuer/"]), json!(null), json!("")]
    {
        assert_eq!(judged(&maker, &json!({"iss": issuer})), Err(TokenFault::Issuer), "{issuer}");
    }
}

#[test]
fn section_3_9_use_and_validate_audience() {
    let maker = Maker::es();
    for audience in [json!("other"), json!([]), json!(null), json!("ap"), json!("api*")] {
        assert_eq!(judged(&maker, &json!({"aud": audience})), Err(TokenFault::Audience), "{audience}");
    }
    assert_eq!(judged(&maker, &json!({"aud": ["x", "api"]})), Ok(()));
}

#[test]
fn section_3_10_do_not_trust_received_claims() {
    let maker = Maker::es();
    for (name, value) in
        [("jku", json!("https://attacker/")), ("x5u", json!("http://169.254.169.254/")), ("jwk", json!({}))]
    {
        let header = with(maker.header(), &json!({ name: value })).to_string();
        let token = maker.raw(&header, claims().to_string().as_bytes());
        assert_eq!(judge(&token, &maker.keys(), &[Algorithm::Es256]), Err(TokenFault::Header), "{name}");
    }
}

#[test]
fn section_3_11_use_explicit_typing() {
    let maker = Maker::es();
    for (typ, verdict) in [
        ("at+jwt", Ok(())),
        ("application/at+JWT", Ok(())),
        ("JWT", Ok(())),
        ("logout+jwt", Err(TokenFault::Type)),
        ("dpop+jwt", Err(TokenFault::Type)),
        ("", Err(TokenFault::Type)),
    ] {
        let header = with(maker.header(), &json!({ "typ": typ })).to_string();
        let token = maker.raw(&header, claims().to_string().as_bytes());
        assert_eq!(judge(&token, &maker.keys(), &[Algorithm::Es256]), verdict, "{typ}");
    }
}

#[test]
fn section_3_12_use_mutually_exclusive_validation_rules_for_different_kinds_of_jwts() {
    let maker = Maker::es();
    for (name, value) in [("type", "refresh"), ("token_type", "refresh"), ("typ", "Refresh")] {
        assert_eq!(judged(&maker, &json!({ name: value })), Err(TokenFault::Refresh), "{name}");
    }
    assert_eq!(judged(&maker, &json!({"type": "access", "token_type": "access"})), Ok(()));
}
