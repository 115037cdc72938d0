use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Uri};
use serde_json::{Value, json};

use super::*;
use crate::clock::{ManualClock, SharedClock, WallTime};
use crate::jwt::{Algorithm, Compact, KeySet};
use crate::secret::Secret;
use crate::session::SessionId;

const NOW: u64 = 1_700_000_000;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(WallTime::from_micros(NOW * 1_000_000)))
}

fn key() -> Arc<SigningKey> {
    let pem = new_signing_key().expect("randomness");
    Arc::new(SigningKey::from_pem(pem.as_bytes()).expect("a key"))
}

fn signer(form: SignedForm, clock: &Arc<ManualClock>, before: Option<&Signer>) -> Signer {
    let clock: SharedClock = clock.clone();
    let rules = SignedIdentity { form, lifetime: Duration::from_secs(120) };
    Signer::new(&rules, "https://a.test", &clock, before)
}

fn stated<'a>(tenant: Option<&'a str>, role: Option<&'a str>) -> Stated<'a> {
    let session = SessionId::parse(b"AAAAAAAAAAAAAAAAAAAAAA").expect("22 characters");
    Stated { tenant, user: "auth0|7", role, session }
}

fn signed(signer: &Signer, stated: &Stated<'_>) -> (String, String) {
    let upstream = Arc::from("billing");
    let target: Uri = "/orders/4711?page=2&x=%2C".parse().expect("a target");
    let (name, proof) = signer.sign(stated, &Method::POST, &target, &upstream).expect("signed");
    (name.as_str().to_owned(), proof.value().to_str().expect("text").to_owned())
}

#[test]
fn an_assertion_says_what_the_headers_say_and_is_checked_with_what_is_published() {
    let (key, clock) = (key(), clock());
    let signer = signer(SignedForm::Jwt(vec![key.clone()]), &clock, None);
    let (name, token) = signed(&signer, &stated(Some("42"), Some("admin")));
    assert_eq!(name, "x-session-assertion");
    let published = signer.published().expect("keys");
    assert_eq!(published.fresh, Duration::from_secs(60));
    let keys = KeySet::from_jwks(published.document.as_bytes(), &[Algorithm::Es256]).expect("a set");
    let compact = Compact::parse(&token).expect("a token");
    assert_eq!(keys.verify(&compact, &[Algorithm::Es256]), Ok(()));
    let claims = Value::Object(compact.claims().expect("claims"));
    assert_eq!(
        claims,
        json!({
            "iss": "https://a.test", "aud": "billing", "sub": "auth0|7", "tenant": "42", "role": "admin",
            "sid": "AAAAAAAAAAAAAAAAAAAAAA", "iat": NOW, "exp": NOW + 120,
        })
    );
    let (_, token) = signed(&signer, &stated(None, None));
    let claims = Compact::parse(&token).expect("a token").claims().expect("claims");
    assert!(!claims.contains_key("tenant") && !claims.contains_key("role"), "{claims:?}");
}

#[test]
fn a_key_is_named_by_its_thumbprint() {
    let key = key();
    let public = key.public();
    let members = json!({ "crv": "P-256", "kty": "EC", "x": public["x"], "y": public["y"] }).to_string();
    let thumbprint = <sha2::Sha256 as sha2::Digest>::digest(members);
    let thumbprint = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, thumbprint);
    assert_eq!((key.kid(), &public["kid"]), (&*thumbprint, &json!(thumbprint)));
    assert!(public.get("d").is_none());
    assert!(!format!("{key:?}").contains(public["x"].as_str().expect("a text")));
}

/// Computed with Python: `hmac.new(secret, text, hashlib.sha256).hexdigest()`.
#[test]
fn a_request_is_signed_over_all_that_makes_it_another() {
    let secret = RequestSecret::new(Secret::new("3q2+7wABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    assert_eq!(format!("{secret:?}"), "[redacted]");
    let (clock, form) = (clock(), SignedForm::Hmac(secret));
    let signer = signer(form, &clock, None);
    assert!(signer.published().is_none());
    for (tenant, role, expected) in [
        (Some("42"), Some("admin"), "10d082a92e2e83f2ab13478e3fe3c563e90c7507a6cfb3b02192c01af40651ed"),
        (None, None, "785989f562ffe96ad884650cfd11cd3d1c3b1309a6b3970fdf13f15e657a12d4"),
    ] {
        let (name, value) = signed(&signer, &stated(tenant, role));
        assert_eq!((&*name, value), ("x-session-signature", format!("t={NOW},v1={expected}")));
    }
}

#[test]
fn a_reload_keeps_what_is_published_and_the_old_key_signs_a_moment_more() {
    let (old, new, clock) = (key(), key(), clock());
    let before = signer(SignedForm::Jwt(vec![old.clone()]), &clock, None);
    let after = signer(SignedForm::Jwt(vec![new.clone()]), &clock, Some(&before));
    let kid = |signer: &Signer| {
        let (_, token) = signed(signer, &stated(None, None));
        Compact::parse(&token).expect("a token").header().kid.as_deref().map(str::to_owned)
    };
    let published = |signer: &Signer| signer.published().expect("keys").document;
    assert_eq!(kid(&after).as_deref(), Some(old.kid()));
    assert!(published(&after).contains(old.kid()) && published(&after).contains(new.kid()));
    clock.advance(Duration::from_secs(120));
    assert_eq!(kid(&after).as_deref(), Some(new.kid()));
    clock.advance(Duration::from_secs(180));
    assert!(!published(&after).contains(old.kid()));
}

#[test]
fn what_is_no_key_that_signs_is_called_what_it_is() {
    let good = new_signing_key().expect("randomness");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    for (text, fault) in [
        (String::new(), SigningKeyFault::Unreadable),
        (String::from("a secret of more than thirty-two bytes"), SigningKeyFault::Unreadable),
        (p384.serialize_pem(), SigningKeyFault::Curve),
        (p384.public_key_pem(), SigningKeyFault::Public),
        (format!("{good}{good}"), SigningKeyFault::Several),
        (good.replace("PRIVATE KEY", "EC PRIVATE KEY"), SigningKeyFault::Sec1),
        (good.replace("PRIVATE KEY", "CERTIFICATE"), SigningKeyFault::Unreadable),
    ] {
        assert_eq!(SigningKey::from_pem(text.as_bytes()).expect_err("none"), fault, "{text}");
    }
    assert!(good.lines().all(|line| line.len() <= 64));
}
