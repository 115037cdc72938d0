//! Makes tokens, good ones and others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::super::*;

pub(super) const NOW: u64 = 1_700_000_000;

/// An issuer with its private key.
pub(super) enum Maker {
    Hs(Vec<u8>),
    Es(EcdsaKeyPair, SystemRandom),
    Ed(Ed25519KeyPair),
}

impl Maker {
    pub(super) fn hs() -> Self {
        Self::Hs((0..64).collect())
    }

    pub(super) fn es() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).expect("a key");
        Self::Es(key, random)
    }

    pub(super) fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key"))
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs(_) => Algorithm::Hs256,
            Self::Es(..) => Algorithm::Es256,
            Self::Ed(_) => Algorithm::EdDsa,
        }
    }

    /// Its public key, or the secret that it shares.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Hs(secret) => json!({"kty": "oct", "kid": kid, "k": b64(secret)}),
            Self::Es(key, _) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(x), "y": b64(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.public_key().as_ref())}),
        }
    }

    pub(super) fn keys(&self) -> KeySet {
        let set = json!({"keys": [self.jwk("k")]}).to_string();
        KeySet::from_jwks(set.as_bytes(), &[self.algorithm()]).expect("a set")
    }

    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
            Self::Es(key, random) => key.sign(random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these very texts.
    pub(super) fn raw(&self, header: &str, claims: &[u8]) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.algorithm().as_str(), "kid": "k", "typ": "JWT"})
    }

    /// A good one.
    pub(super) fn token(&self) -> String {
        self.raw(&self.header().to_string(), claims().to_string().as_bytes())
    }
}

pub(super) fn claims() -> Value {
    json!({"iss": "https://issuer/", "aud": "api", "sub": "7", "org_id": "42", "iat": NOW, "exp": NOW + 600})
}

/// `value` with some members replaced; null removes one.
pub(super) fn with(mut value: Value, changes: &Value) -> Value {
    let members = value.as_object_mut().expect("an object");
    for (name, change) in changes.as_object().expect("an object") {
        if change.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), change.clone());
        }
    }
    value
}

/// The whole judgement of one issuer, as the gateway strings it together.
pub(super) fn judge(token: &str, keys: &KeySet, algorithms: &[Algorithm]) -> Result<(), TokenFault> {
    let token = Compact::parse(token)?;
    let claims = token.claims()?;
    if issuer(&claims)? != "https://issuer/" {
        return Err(TokenFault::Issuer);
    }
    keys.verify(&token, algorithms)?;
    let expectations = Expectations {
        audience: Audience::OneOf(vec!["api".into()]),
        types: vec!["at+jwt".into(), "jwt".into()],
        leeway: std::time::Duration::from_secs(30),
        max_lifetime: std::time::Duration::from_secs(86_400),
    };
    let now = crate::clock::WallTime::from_micros((NOW + 60) * 1_000_000);
    expectations.check(token.header(), &claims)?.check(now)
}
