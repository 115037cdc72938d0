//! An attacker's table: each row is a way in which some library or other was talked into a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::super::*;
use super::maker::{Maker, claims, judge, with};

const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A\n\
    iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==\n\
    -----END PUBLIC KEY-----\n";

/// What the curve's group order less `s` is: (r, n - s) verifies as (r, s) does.
fn negated(s: &[u8]) -> Vec<u8> {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut borrow = 0;
    let mut rest: Vec<u8> = N
        .iter()
        .zip(s)
        .rev()
        .map(|(n, s)| {
            let digit = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).expect("a byte")
        })
        .collect();
    rest.reverse();
    rest
}

#[test]
fn every_kind_of_key_accepts_its_own_tokens_and_no_others() {
    let makers = [Maker::hs(), Maker::es(), Maker::ed()];
    for (one, maker) in makers.iter().enumerate() {
        for (other, keys) in makers.iter().enumerate() {
            let algorithms = [keys.algorithm()];
            assert_eq!(judge(&maker.token(), &keys.keys(), &algorithms).is_ok(), one == other, "{one} {other}");
        }
    }
    assert_eq!(judge(&Maker::es().token(), &Maker::es().keys(), &[Algorithm::Es256]), Err(TokenFault::Signature));
}

#[test]
fn no_header_talks_the_gateway_into_a_token() {
    for maker in [Maker::hs(), Maker::es(), Maker::ed()] {
        let (keys, algorithms) = (maker.keys(), [maker.algorithm()]);
        let claims = claims().to_string();
        for (changes, fault) in [
            (json!({"alg": "none"}), TokenFault::Algorithm),
            (json!({"alg": "NONE"}), TokenFault::Algorithm),
            (json!({"alg": ""}), TokenFault::Algorithm),
            (json!({"alg": null}), TokenFault::Algorithm),
            (json!({"alg": "RS256"}), TokenFault::Algorithm),
            (json!({"alg": "HS384"}), TokenFault::Algorithm),
            (json!({"alg": "ES384"}), TokenFault::Algorithm),
            (json!({"kid": "../../dev/null"}), TokenFault::UnknownKey),
            (json!({"kid": "k' OR '1'='1"}), TokenFault::UnknownKey),
            (json!({"kid": ""}), TokenFault::UnknownKey),
            (json!({"kid": "k".repeat(257)}), TokenFault::Header),
            (json!({"jku": "https://attacker/jwks.json"}), TokenFault::Header),
            (json!({"x5u": "https://attacker/cert.pem"}), TokenFault::Header),
            (json!({"jwk": maker.jwk("k")}), TokenFault::Header),
            (json!({"crit": ["exp"]}), TokenFault::Header),
            (json!({"crit": []}), TokenFault::Header),
            (json!({"b64": false, "crit": ["b64"]}), TokenFault::Header),
            (json!({"b64": true}), TokenFault::Header),
            (json!({"zip": "DEF"}), TokenFault::Header),
            (json!({"typ": "secevent+jwt"}), TokenFault::Type),
        ] {
            let header = with(maker.header(), &changes).to_string();
            assert_eq!(judge(&maker.raw(&header, claims.as_bytes()), &keys, &algorithms), Err(fault), "{header}");
        }
        let twice = format!(r#"{{"alg":"none","alg":"{}"}}"#, maker.algorithm());
        let token = maker.raw(&twice, claims.as_bytes());
        assert_eq!(judge(&token, &keys, &algorithms), Err(TokenFault::DuplicateName));
    }
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let key = Key::from_pem(PEM.as_bytes()).expect("a key");
    assert!(key.serves(Algorithm::Es256) && !key.serves(Algorithm::Hs256));
    let keys = KeySet::of_one(key);
    let forger = Maker::Hs(PEM.as_bytes().to_vec());
    assert_eq!(judge(&forger.token(), &keys, &[Algorithm::Es256]), Err(TokenFault::Algorithm));
    // Not even if the operator allowed both, which the configuration refuses.
    let both = [Algorithm::Es256, Algorithm::Hs256];
    assert!(judge(&forger.token(), &keys, &both).is_err());
    // Nor under the name of a key.
    let maker = Maker::es();
    let forger = Maker::Hs(maker.jwk("k").to_string().into_bytes());
    assert_eq!(judge(&forger.token(), &maker.keys(), &both), Err(TokenFault::Algorithm));
}

#[test]
fn whatever_is_changed_in_a_token_it_is_no_other_one_that_counts() {
    for maker in [Maker::hs(), Maker::es(), Maker::ed()] {
        let (keys, algorithms, token) = (maker.keys(), [maker.algorithm()], maker.token());
        assert_eq!(judge(&token, &keys, &algorithms), Ok(()));
        for at in 0..token.len() {
            for to in ['A', 'B', '_', '=', '.', ' ', '+'] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, &to.to_string());
                assert!(changed == token || judge(&changed, &keys, &algorithms).is_err(), "{at} {to}");
            }
            assert!(judge(&token[..at], &keys, &algorithms).is_err());
        }
        let (input, signature) = token.rsplit_once('.').expect("parts");
        for wrong in
            ["", "AA", &signature[..signature.len() - 4], &format!("{signature}AAAA"), &format!("{signature}==")]
        {
            assert!(judge(&format!("{input}.{wrong}"), &keys, &algorithms).is_err(), "{wrong}");
        }
    }
}

#[test]
fn a_revoked_es256_token_is_the_same_with_its_signature_turned_over() {
    let maker = Maker::es();
    let token = maker.token();
    let (input, signature) = token.rsplit_once('.').expect("parts");
    let (r, s) =
        URL_SAFE_NO_PAD.decode(signature).map(|bytes| (bytes[..32].to_vec(), bytes[32..].to_vec())).expect("one");
    let other = format!("{input}.{}", URL_SAFE_NO_PAD.encode([r, negated(&s)].concat()));
    assert_ne!(other, token);
    assert_eq!(judge(&other, &maker.keys(), &[Algorithm::Es256]), Ok(()), "that is how ECDSA is");
    let id = |token: &str| Compact::parse(token).map(|token| token.id());
    assert_eq!(id(&other), id(&token), "and so both are denied by one name");
    // In DER, or with zeros before its numbers, it is none.
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &[1; 32], &[0x02, 0x20], &[1; 32]].concat();
    let der = format!("{input}.{}", URL_SAFE_NO_PAD.encode(der));
    assert_eq!(judge(&der, &maker.keys(), &[Algorithm::Es256]), Err(TokenFault::Signature));
}

#[test]
fn a_signature_of_nothing_but_zeros_is_none() {
    // CVE-2022-21449, "psychic signatures".
    let maker = Maker::es();
    let token = maker.token();
    let (input, _) = token.rsplit_once('.').expect("parts");
    for signature in [[0; 64], [0xff; 64]] {
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(judge(&token, &maker.keys(), &[Algorithm::Es256]), Err(TokenFault::Signature));
    }
}

#[test]
fn of_keys_without_a_name_a_few_are_tried_and_not_many() {
    let (maker, header) = (Maker::es(), json!({"alg": "ES256"}).to_string());
    let token = maker.raw(&header, claims().to_string().as_bytes());
    let set = |count: usize, extra: serde_json::Value| {
        let others = (1..count).map(|_| with(Maker::es().jwk("x"), &json!({"kid": null})));
        let keys: Vec<_> = others.chain([maker.jwk("k")]).chain(extra.as_array().expect("a list").clone()).collect();
        KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes(), &[Algorithm::Es256]).expect("a set")
    };
    assert_eq!(judge(&token, &set(4, json!([])), &[Algorithm::Es256]), Ok(()));
    assert_eq!(judge(&token, &set(5, json!([])), &[Algorithm::Es256]), Err(TokenFault::TooManyKeys));
    // Others than those of the family do not count.
    let others = json!([Maker::ed().jwk("a"), Maker::ed().jwk("b")]);
    assert_eq!(judge(&token, &set(4, others), &[Algorithm::Es256]), Ok(()));
    // A key that was written down as the one and only is that whatever a token calls it.
    let jwk = maker.jwk("other").to_string();
    let one = KeySet::from_jwk(jwk.as_bytes(), &[Algorithm::Es256]).expect("a key");
    assert_eq!(judge(&maker.token(), &one, &[Algorithm::Es256]), Ok(()));
}

#[test]
fn a_set_that_cannot_be_trusted_is_none_and_a_key_that_cannot_is_left_out() {
    let (es, other) = (Maker::es(), Maker::es());
    let read = |set: &str| KeySet::from_jwks(set.as_bytes(), &[Algorithm::Es256]);
    let of = |keys: serde_json::Value| read(&json!({"keys": keys}).to_string());
    let many: Vec<_> = (0..33).map(|number| es.jwk(&number.to_string())).collect();
    for (set, fault) in [
        (of(json!([])), KeySetFault::NoneUsable),
        (of(json!(many)), KeySetFault::TooMany),
        (of(json!([es.jwk("k"), other.jwk("k")])), KeySetFault::NoneUsable),
        (of(json!([es.jwk("k"), Maker::hs().jwk("h")])), KeySetFault::Mixed),
        (of(json!([Maker::ed().jwk("k")])), KeySetFault::NoneUsable),
        (of(json!([with(es.jwk("k"), &json!({"use": "enc"}))])), KeySetFault::NoneUsable),
        (of(json!(["k", 7, null, []])), KeySetFault::NoneUsable),
        (read("{}"), KeySetFault::Shape),
        (read(r#"{"keys":{}}"#), KeySetFault::Shape),
        (read(r#"{"keys":[],"keys":[]}"#), KeySetFault::Shape),
        (read("<html>"), KeySetFault::Shape),
        (read(&" ".repeat(LARGEST_SET + 1)), KeySetFault::TooLarge),
    ] {
        assert_eq!(set, Err(fault));
    }
    // One for encryption may have the same name, and a broken one hurts no other.
    let with_others = of(json!([es.jwk("k"), with(es.jwk("k"), &json!({"use": "enc"})), {"kty": "EC"}, "x"]));
    assert_eq!(judge(&es.token(), &with_others.expect("a set"), &[Algorithm::Es256]), Ok(()));
}

#[test]
fn a_key_in_pem_is_one_public_key() {
    assert!(Key::from_pem(PEM.as_bytes()).is_ok());
    let ed = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert!(Key::from_pem(ed.as_bytes()).expect("a key").serves(Algorithm::EdDsa));
    for (text, fault) in [
        (String::new(), KeyFault::Unreadable),
        (String::from("secret"), KeyFault::Unreadable),
        (PEM.replace("MFkw", "MFgw"), KeyFault::Unreadable),
        (PEM.replace("IwCg", "AAAA").replace("PUBLIC", "PRIVATE"), KeyFault::Private),
        (PEM.replace("PUBLIC KEY", "CERTIFICATE"), KeyFault::Unreadable),
        (PEM.replace("-----END", "-----"), KeyFault::Unreadable),
        (format!("{PEM}{PEM}"), KeyFault::Unreadable),
    ] {
        assert_eq!(Key::from_pem(text.as_bytes()), Err(fault), "{text}");
    }
}
