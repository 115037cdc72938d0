//! A key that signs assertions: ES256, on P-256 (RFC 7518 section 3.4), which every library knows by the same name.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::{self, SectionKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::stated::Unsigned;

/// Characters in a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// A private key with what is made of it once.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    kid: Box<str>,
    x: Box<str>,
    y: Box<str>,
    /// The head of each assertion, encoded, with its dot.
    head: Box<str>,
}

/// Why a text is no key that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyFault {
    /// It is no private key in PEM.
    #[error("is no private key in PEM")]
    Unreadable,
    /// A private key of an older form.
    #[error("is a key in the form `EC PRIVATE KEY`; turn it into PKCS #8 with `openssl pkcs8 -topk8 -nocrypt`")]
    Sec1,
    /// It is there, and cannot sign.
    #[error("is a public key, which signs nothing")]
    Public,
    /// It is a private key for something else.
    #[error("is no key on the curve P-256")]
    Curve,
    /// There is more than one.
    #[error("holds more than one key; write each into a file of its own")]
    Several,
}

impl SigningKey {
    /// Reads the one private key of a PEM file.
    ///
    /// # Errors
    /// When there is none, or another than one of P-256.
    pub fn from_pem(text: &[u8]) -> Result<Self, SigningKeyFault> {
        let mut rest = text;
        let mut found = None;
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(|_| SigningKeyFault::Unreadable)? {
            let key = match kind {
                SectionKind::PrivateKey => Self::from_pkcs8(&der)?,
                SectionKind::EcPrivateKey => return Err(SigningKeyFault::Sec1),
                SectionKind::PublicKey => return Err(SigningKeyFault::Public),
                SectionKind::RsaPrivateKey => return Err(SigningKeyFault::Curve),
                _ => return Err(SigningKeyFault::Unreadable),
            };
            if found.replace(key).is_some() {
                return Err(SigningKeyFault::Several);
            }
        }
        found.ok_or(SigningKeyFault::Unreadable)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyFault> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|_| SigningKeyFault::Curve)?;
        // Uncompressed: 4, x, y.
        let Some((x, y)) = pair.public_key().as_ref().get(1..).and_then(|point| point.split_at_checked(32)) else {
            return Err(SigningKeyFault::Curve);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let kid = thumbprint(&x, &y);
        let head = json!({ "alg": "ES256", "kid": kid, "typ": "JWT" }).to_string();
        let head = format!("{}.", URL_SAFE_NO_PAD.encode(head)).into();
        Ok(Self { pair, random, kid: kid.into(), x: x.into(), y: y.into(), head })
    }

    /// Its name: the thumbprint of its public half (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half, as a JWK.
    #[must_use]
    pub fn public(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "use": "sig", "alg": "ES256", "kid": self.kid,
        })
    }

    /// A token of these claims (RFC 7515 section 7.1).
    pub(super) fn token(&self, claims: &[u8]) -> Result<String, Unsigned> {
        let mut token = String::with_capacity(self.head.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| Unsigned)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The thumbprint of a public key: what it consists of, in the order of the names, without blanks.
fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// Two keys are one when their public halves are.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Makes a new key, as PEM.
///
/// # Errors
/// When the operating system has no randomness.
pub fn new_signing_key() -> Result<String, Unsigned> {
    let der =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| Unsigned)?;
    let text = BASE64_STANDARD.encode(der.as_ref());
    let mut key = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(PEM_LINE).unwrap_or((rest, ""));
        key.push_str(line);
        key.push('\n');
        rest = after;
    }
    key.push_str("-----END PRIVATE KEY-----\n");
    Ok(key)
}
