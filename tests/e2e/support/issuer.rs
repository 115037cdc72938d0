//! An issuer of access tokens: with a key of its own, which it publishes where a test wants it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use session_gateway::jwt::Compact;

use super::echo::{Echo, answer_json};

/// What its tokens call it.
pub const NAME: &str = "https://issuer.test/";

/// An issuer that signs by ES256.
pub struct Issuer {
    key: EcdsaKeyPair,
    kid: String,
    random: SystemRandom,
}

impl Issuer {
    /// One with a new key of this name.
    pub fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).expect("a key");
        Self { key, kid: kid.to_owned(), random }
    }

    /// Its public key, as a point of the curve.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    /// The same as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": b64(x), "y": b64(y)})
    }

    /// Publishes the keys of some issuers at this backend.
    pub fn publish(at: &Echo, issuers: &[&Self]) {
        let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        at.on("/jwks.json", vec![answer_json(&json!({ "keys": keys }))]);
    }

    /// A token with these header parameters and claims beside, or instead of, the usual ones; null takes one out.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let usual = json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"});
        let said = json!({"iss": NAME, "aud": "api", "sub": "7", "org_id": "42", "iat": now, "exp": now + 600});
        let text = |mut usual: Value, changes: &Value| {
            let members = usual.as_object_mut().expect("an object");
            for (name, change) in changes.as_object().expect("an object") {
                members.insert(name.clone(), change.clone());
            }
            members.retain(|_, value| !value.is_null());
            URL_SAFE_NO_PAD.encode(usual.to_string())
        };
        self.signed(&format!("{}.{}", text(usual, header), text(said, claims)))
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({}), claims)
    }

    /// What is to be signed, with its signature.
    pub fn signed(&self, input: &str) -> String {
        let signature = self.key.sign(&self.random, input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What a token is called.
pub fn id_of(token: &str) -> String {
    Compact::parse(token).unwrap_or_else(|fault| panic!("{}", fault.as_str())).id().to_string()
}

/// The tables of `[bearer]` that believe an issuer whose keys are published at this backend.
pub fn believing(keys_at: &Echo) -> String {
    format!(
        "[[bearer.issuers]]\nissuer = \"{NAME}\"\naudience = [\"api\"]\nalgorithms = [\"ES256\"]\n\
         jwks = \"http://{}/jwks.json\"\ntenant = [\"/org_id\"]\nrole = [\"/role\"]\n",
        keys_at.address()
    )
}
