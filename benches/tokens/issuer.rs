//! An issuer of access tokens of some 500 bytes, and who believes it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};
use session_gateway::bearer::{Bearer, BearerRules, IssuerRules, KeySource};
use session_gateway::clock::{Clock as _, SharedClock, SystemClock};
use session_gateway::http::{IdentityRules, JsonPointer};
use session_gateway::jwt::{Algorithm, Audience, Expectations, KeySet};
use session_gateway::login::IdentityPointers;
use session_gateway::telemetry::Metrics;

/// There is an RSA key of 2,048 bits among them; nothing here makes one.
const VECTORS: &str = include_str!("../../tests/vectors/wycheproof/json_web_signature_test.json");

/// The algorithms that it may sign by.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

enum Pair {
    Rs(Box<RsaKeyPair>, Value),
    Es(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub struct Issuer {
    pair: Pair,
    algorithm: Algorithm,
    random: SystemRandom,
    now: u64,
}

impl Issuer {
    pub fn new(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let pair = match algorithm {
            Algorithm::Rs256 => rsa(),
            Algorithm::Es256 => {
                let form = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(form, &random).expect("a key");
                Pair::Es(EcdsaKeyPair::from_pkcs8(form, key.as_ref(), &random).expect("a key"))
            }
            _ => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                Pair::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key"))
            }
        };
        Self { pair, algorithm, random, now: SystemClock.wall().as_micros() / 1_000_000 }
    }

    /// One of its tokens.
    pub fn token(&self, number: u64) -> String {
        let (now, text) = (self.now, |value: Value| URL_SAFE_NO_PAD.encode(value.to_string()));
        let claims = json!({
            "iss": "https://tenant.eu.auth0.com/", "aud": ["https://api.example.com"], "sub": "auth0|6565a0b3f1d2", "org_id": "42",
            "iat": now, "exp": now + 3600, "jti": number, "scope": "read:orders write:orders read:invoices", "azp": "mobile",
        });
        let header = json!({"alg": self.algorithm.as_str(), "typ": "JWT", "kid": "k1"});
        let input = format!("{}.{}", text(header), text(claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.sign(input.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rs(key, _) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).expect("a signature");
                signature
            }
            Pair::Es(key) => key.sign(&self.random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// What the library takes to check one of its tokens, and nothing else: given what is signed, and the signature.
    pub fn library(&self) -> impl Fn(&(String, Vec<u8>)) + use<> {
        let key = match &self.pair {
            Pair::Rs(key, _) => UnparsedPublicKey::new(
                &RSA_PKCS1_2048_8192_SHA256 as &dyn VerificationAlgorithm,
                key.public().as_ref().to_vec(),
            ),
            Pair::Es(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED as _, key.public_key().as_ref().to_vec()),
            Pair::Ed(key) => UnparsedPublicKey::new(&ED25519 as _, key.public_key().as_ref().to_vec()),
        };
        move |(input, signature)| key.verify(input.as_bytes(), signature).expect("its own")
    }

    /// What of a token the library is given.
    pub fn parts(&self, number: u64) -> (String, Vec<u8>) {
        let token = self.token(number);
        let (input, signature) = token.rsplit_once('.').expect("a token");
        (input.to_owned(), URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
    }

    fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rs(_, public) => public.clone(),
            Pair::Es(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
            }
            Pair::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.public_key().as_ref())})
            }
        }
    }

    /// Who believes it.
    pub fn bearer(&self) -> Arc<Bearer> {
        let pointers = |text: &str| vec![JsonPointer::parse(text).expect("a pointer")];
        let (leeway, max_lifetime) = (Duration::from_secs(30), Duration::from_secs(86_400));
        let jwk = self.jwk().to_string();
        let issuer = IssuerRules {
            issuer: "https://tenant.eu.auth0.com/".into(),
            algorithms: vec![self.algorithm],
            expectations: Expectations {
                audience: Audience::OneOf(vec!["https://api.example.com".into()]),
                types: vec!["jwt".into()],
                leeway,
                max_lifetime,
            },
            keys: KeySource::Fixed(KeySet::from_jwk(jwk.as_bytes(), &[self.algorithm]).expect("a key")),
            pointers: IdentityPointers {
                tenant: pointers("/org_id"),
                user: pointers("/sub"),
                role: Vec::new(),
                tenants: Vec::new(),
            },
        };
        let rules = BearerRules { issuers: vec![issuer], leeway, max_lifetime };
        let clock: SharedClock = Arc::new(SystemClock);
        Bearer::new(rules, IdentityRules::default(), &clock, &Metrics::new())
    }
}

/// The vectors' key.
fn rsa() -> Pair {
    let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
    let groups = vectors["testGroups"].as_array().expect("groups");
    let is_rsa = |key: &&Value| key["kty"] == "RSA" && key["qi"].is_string();
    let key = groups.iter().map(|group| &group["private"]).find(is_rsa).expect("an RSA key");
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect(name)).expect("base64url");
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: part("n"), e: part("e") },
        d: part("d"),
        p: part("p"),
        q: part("q"),
        dP: part("dp"),
        dQ: part("dq"),
        qInv: part("qi"),
    };
    let pair = RsaKeyPair::from_components(&components).expect("a key");
    Pair::Rs(Box::new(pair), json!({"kty": "RSA", "n": key["n"], "e": key["e"]}))
}
