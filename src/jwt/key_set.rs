//! The keys of one issuer, and which of them a token's signature is to be checked with.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::Compact;
use super::fault::TokenFault;
use super::json;
use super::key::{Key, KeyFault};

/// The largest set that is read, in bytes.
pub const LARGEST_SET: usize = 64 << 10;
/// The most keys that it may list.
const MOST_KEYS: usize = 32;
/// So many keys are tried for a token that names none.
const MOST_TRIED: usize = 4;

/// The keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Whether what a token calls its key is looked at: not where the operator wrote down the one key.
    by_name: bool,
}

/// Why a text is no set of keys that can be used. Says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// It is too large.
    #[error("is larger than 64 KiB")]
    TooLarge,
    /// It is no JSON object with `keys`, or has a name twice.
    #[error("is no JSON Web Key Set: an object with a list `keys`")]
    Shape,
    /// It lists too many.
    #[error("lists more than 32 keys")]
    TooMany,
    /// Who could check signatures of some could make those of others.
    #[error("has shared secrets beside public keys; keep them apart")]
    Mixed,
    /// It has none for the issuer's algorithms.
    #[error("has no key for these `algorithms` that can be used")]
    NoneUsable,
}

impl KeySet {
    /// The one key that an operator wrote down, whatever tokens call it.
    #[must_use]
    pub fn of_one(key: Key) -> Self {
        Self { keys: vec![key], by_name: false }
    }

    /// Reads a set as it is published (RFC 7517 section 5), as far as it is for these algorithms. What is not, or cannot
    /// be used, is left out; so are keys that have one name between them, of which nobody can tell which is meant.
    ///
    /// # Errors
    /// When nothing is left, or the set as a whole cannot be trusted.
    pub fn from_jwks(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetFault> {
        if text.len() > LARGEST_SET {
            return Err(KeySetFault::TooLarge);
        }
        let set = json::object(text).map_err(|_| KeySetFault::Shape)?;
        let Some(Value::Array(listed)) = set.get("keys") else { return Err(KeySetFault::Shape) };
        if listed.len() > MOST_KEYS {
            return Err(KeySetFault::TooMany);
        }
        let (mut read, mut unclear) = (Vec::new(), Vec::new());
        for jwk in listed.iter().filter_map(Value::as_object) {
            match Key::from_jwk(jwk) {
                Ok(key) => read.push(key),
                // It is nobody's rival.
                Err(KeyFault::Use | KeyFault::Algorithm) => {}
                Err(_) => unclear.extend(jwk.get("kid").and_then(Value::as_str)),
            }
        }
        if read.iter().any(Key::is_secret) && !read.iter().all(Key::is_secret) {
            return Err(KeySetFault::Mixed);
        }
        let is_ours = |key: &Key| algorithms.iter().any(|algorithm| key.serves(*algorithm));
        let ours: Vec<Key> = read.into_iter().filter(is_ours).collect();
        let is_one =
            |kid: &str| ours.iter().filter(|other| other.kid() == Some(kid)).count() == 1 && !unclear.contains(&kid);
        let keys: Vec<Key> = ours.iter().filter(|key| key.kid().is_none_or(is_one)).cloned().collect();
        if keys.is_empty() { Err(KeySetFault::NoneUsable) } else { Ok(Self { keys, by_name: true }) }
    }

    /// Reads one key as JSON.
    ///
    /// # Errors
    /// When it is none for these algorithms.
    pub fn from_jwk(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        let jwk: Map<String, Value> = json::object(text).map_err(|_| KeyFault::Unreadable)?;
        let key = Key::from_jwk(&jwk)?;
        if algorithms.iter().any(|algorithm| key.serves(*algorithm)) {
            Ok(Self::of_one(key))
        } else {
            Err(KeyFault::Algorithm)
        }
    }

    /// Whether it has a key for this algorithm.
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.serves(algorithm))
    }

    /// Checks a token's signature, with the key that it names, or with the few there are where it names none.
    ///
    /// # Errors
    /// When its algorithm is none of these, no key is known by its name, or it is no key's signature.
    pub fn verify(&self, token: &Compact<'_>, algorithms: &[Algorithm]) -> Result<(), TokenFault> {
        let header = token.header();
        let algorithm = header.algorithm;
        if !algorithms.contains(&algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let is_good = |key: &&Key| key.verifies(algorithm, token.signing_input(), token.signature());
        let found = match header.kid.as_deref().filter(|_| self.by_name) {
            Some(kid) => {
                let named = self.keys.iter().find(|key| key.kid() == Some(kid)).ok_or(TokenFault::UnknownKey)?;
                if !named.serves(algorithm) {
                    return Err(TokenFault::Algorithm);
                }
                Some(named).filter(is_good)
            }
            None => {
                let tried = || self.keys.iter().filter(|key| key.serves(algorithm));
                match tried().count() {
                    0 => return Err(TokenFault::UnknownKey),
                    1..=MOST_TRIED => tried().find(is_good),
                    _ => return Err(TokenFault::TooManyKeys),
                }
            }
        };
        found.map(|_| ()).ok_or(TokenFault::Signature)
    }
}
