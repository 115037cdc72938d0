//! One key as JSON (RFC 7517, 7518 section 6, RFC 8037).

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::{LONGEST_KID, bytes};
use super::key::{Key, KeyFault, Material};

/// The member that makes a key of any kind but `oct` a private one.
const PRIVATE: &str = "d";

impl Key {
    /// Reads a key that may check signatures. What it says of itself counts: `use`, `key_ops`, `alg`, `crv`.
    ///
    /// # Errors
    /// When it is none, is for something else, or is too weak.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(KeyFault::Use);
        }
        match jwk.get("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
            Some(_) => return Err(KeyFault::Use),
        }
        let algorithm = match text(jwk, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::parse(name).ok_or(KeyFault::Algorithm)?),
        };
        let kid = text(jwk, "kid")?;
        if kid.is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Err(KeyFault::Unreadable);
        }
        let kind = text(jwk, "kty")?;
        if kind != Some("oct") && jwk.contains_key(PRIVATE) {
            return Err(KeyFault::Private);
        }
        let key = match (kind, text(jwk, "crv")?) {
            (Some("oct"), _) => secret(jwk, algorithm)?,
            (Some("RSA"), _) => Self::rsa(&number(jwk, "n")?, &number(jwk, "e")?)?,
            (Some("EC"), Some("P-256")) => Self::of(Material::P256(point(jwk, 32)?)),
            (Some("EC"), Some("P-384")) => Self::of(Material::P384(point(jwk, 48)?)),
            (Some("OKP"), Some("Ed25519")) => {
                let key = number(jwk, "x")?.try_into().map_err(|_| KeyFault::Unreadable)?;
                Self::of(Material::Ed25519(key))
            }
            (Some("EC" | "OKP"), Some(_)) => return Err(KeyFault::Algorithm),
            _ => return Err(KeyFault::Unreadable),
        };
        let key = key.called(kid, algorithm);
        if algorithm.is_some_and(|algorithm| !key.serves(algorithm)) {
            return Err(KeyFault::Algorithm);
        }
        Ok(key)
    }
}

/// A shared secret: as long as the hash that it is for, of those that it could be for where it does not say.
fn secret(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Key, KeyFault> {
    Key::secret(&number(jwk, "k")?, &[algorithm.unwrap_or(Algorithm::Hs256)])
}

/// The point of an elliptic curve whose coordinates have so many bytes each. Whether it is on the curve the library looks
/// at with each signature.
fn point(jwk: &Map<String, Value>, bytes: usize) -> Result<Box<[u8]>, KeyFault> {
    let (x, y) = (number(jwk, "x")?, number(jwk, "y")?);
    if x.len() != bytes || y.len() != bytes {
        return Err(KeyFault::Unreadable);
    }
    Ok([&[4][..], &x, &y].concat().into())
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, KeyFault> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::Unreadable),
    }
}

fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, KeyFault> {
    let text = text(jwk, name)?.ok_or(KeyFault::Unreadable)?;
    bytes(text).map_err(|_| KeyFault::Unreadable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn read(jwk: &Value) -> Result<Key, KeyFault> {
        Key::from_jwk(jwk.as_object().expect("an object"))
    }

    #[test]
    fn a_key_serves_what_it_says_and_nothing_else() {
        let ec = |extra: Value| {
            let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y});
            jwk.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            read(&jwk)
        };
        for (extra, fault) in [
            (json!({}), None),
            (json!({"use": "sig", "key_ops": ["verify"], "alg": "ES256", "kid": "k", "x5c": ["…"]}), None),
            (json!({"use": "enc"}), Some(KeyFault::Use)),
            (json!({"use": ["sig"]}), Some(KeyFault::Unreadable)),
            (json!({"key_ops": ["sign"]}), Some(KeyFault::Use)),
            (json!({"key_ops": []}), Some(KeyFault::Use)),
            (json!({"key_ops": "verify"}), Some(KeyFault::Use)),
            (json!({"alg": "ES384"}), Some(KeyFault::Algorithm)),
            (json!({"alg": "HS256"}), Some(KeyFault::Algorithm)),
            (json!({"alg": "ES512"}), Some(KeyFault::Algorithm)),
            (json!({"alg": "none"}), Some(KeyFault::Algorithm)),
            (json!({"crv": "P-384"}), Some(KeyFault::Unreadable)),
            (json!({"crv": "secp256k1"}), Some(KeyFault::Algorithm)),
            (json!({"kty": "RSA"}), Some(KeyFault::Unreadable)),
            (json!({"kty": "ec"}), Some(KeyFault::Unreadable)),
            (json!({"d": X}), Some(KeyFault::Private)),
            (json!({"x": format!("{X}=")}), Some(KeyFault::Unreadable)),
            (json!({"x": "AA"}), Some(KeyFault::Unreadable)),
            (json!({"kid": 7}), Some(KeyFault::Unreadable)),
            (json!({"kid": "k".repeat(257)}), Some(KeyFault::Unreadable)),
        ] {
            assert_eq!(ec(extra.clone()).err(), fault, "{extra}");
        }
        let key = ec(json!({})).expect("a key");
        for algorithm in Algorithm::ALL {
            assert_eq!(key.serves(algorithm), algorithm == Algorithm::Es256, "{algorithm}");
        }
    }

    #[test]
    fn an_ed25519_key_answers_to_both_names_of_its_algorithm() {
        let key = read(&json!({"kty": "OKP", "crv": "Ed25519", "x": X, "alg": "EdDSA"})).expect("a key");
        assert!(key.serves(Algorithm::EdDsa) && key.serves(Algorithm::Ed25519) && !key.serves(Algorithm::Es256));
        assert_eq!(read(&json!({"kty": "OKP", "crv": "X25519", "x": X})), Err(KeyFault::Algorithm));
    }
}
