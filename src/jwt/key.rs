//! Keys that signatures are checked with. A key is of one kind for good: nothing that a token says has it used as another.

use std::fmt;

use ring::hmac;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::algorithm::{Algorithm, Family};
use super::roca;

/// The bits that an RSA modulus may have (RFC 7518 section 3.3; the library takes no longer one).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The longest shared secret, in bytes.
const LONGEST_SECRET: usize = 4 << 10;

/// A key with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    kid: Option<Box<str>>,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// What a key is made of.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// A shared secret.
    Secret(Box<[u8]>),
    /// An RSA public key: modulus and exponent, without leading zeros.
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
    /// A point of P-256, uncompressed.
    P256(Box<[u8]>),
    /// A point of P-384, uncompressed.
    P384(Box<[u8]>),
    /// An Ed25519 public key.
    Ed25519([u8; 32]),
}

/// Why something is no key that can be used. Says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is none, or none of a known kind.
    #[error("is no key that can be read; write a public key as PEM or as JWK")]
    Unreadable,
    /// Its kind or its own `alg` is for other algorithms than the issuer's.
    #[error("is no key for these `algorithms`")]
    Algorithm,
    /// It is for encryption, say.
    #[error("is not for checking signatures (`use`, `key_ops`)")]
    Use,
    /// It could sign, and does not belong here.
    #[error("is a private key; write the public one here, and keep this one away")]
    Private,
    /// It can be guessed or computed.
    #[error(
        "is too weak: RSA keys need 2048 to 8192 bits and an odd exponent above 1, secrets as many bytes as their hash"
    )]
    Weak,
    /// Its private key can be computed (CVE-2017-15361).
    #[error("was made by a faulty chip, so that its private key can be computed (ROCA, CVE-2017-15361); make another")]
    Roca,
}

impl Key {
    pub(super) const fn of(material: Material) -> Self {
        Self { kid: None, algorithm: None, material }
    }

    /// The same, by this name and for this algorithm alone, where there is one.
    pub(super) fn called(self, kid: Option<&str>, algorithm: Option<Algorithm>) -> Self {
        Self { kid: kid.map(Box::from), algorithm, ..self }
    }

    /// A shared secret for these algorithms.
    ///
    /// # Errors
    /// When it is shorter than their hash.
    pub fn secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        let least = algorithms.iter().map(|algorithm| algorithm.shortest_secret()).max().unwrap_or(usize::MAX);
        if secret.len() < least || secret.len() > LONGEST_SECRET {
            return Err(KeyFault::Weak);
        }
        Ok(Self::of(Material::Secret(secret.into())))
    }

    /// An RSA public key of these numbers, in big-endian bytes.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !RSA_BITS.contains(&bits(n)) || !odd(n) || !odd(e) || e == [1] || bits(e) > 33 {
            return Err(KeyFault::Weak);
        }
        if roca::has_its_fingerprint(n) {
            return Err(KeyFault::Roca);
        }
        Ok(Self::of(Material::Rsa { n: n.into(), e: e.into() }))
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether it is a secret that whoever checks shares with whoever signs.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether signatures of this algorithm are this key's to check.
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        let fits = match &self.material {
            Material::Secret(secret) => algorithm.family() == Family::Hs && secret.len() >= algorithm.shortest_secret(),
            Material::Rsa { .. } => matches!(algorithm.family(), Family::Rs | Family::Ps),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm.family() == Family::EdDsa,
        };
        fits && self.algorithm.is_none_or(|own| own == algorithm || own.family() == Family::EdDsa)
    }

    /// Whether this is the key's signature over these bytes.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.serves(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => {
                let digest = match algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => return false,
                };
                // In constant time.
                hmac::verify(&hmac::Key::new(digest, secret), message, signature).is_ok()
            }
            Material::Rsa { n, e } => {
                let scheme = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(scheme, message, signature).is_ok()
            }
            Material::P256(point) => verifies_on(&ECDSA_P256_SHA256_FIXED, point, message, signature),
            Material::P384(point) => verifies_on(&ECDSA_P384_SHA384_FIXED, point, message, signature),
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        }
    }
}

fn verifies_on(curve: &'static EcdsaVerificationAlgorithm, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(curve, point).verify(message, signature).is_ok()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// How many bits a number without leading zeros has.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

impl fmt::Debug for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Secret(_) => "[redacted]",
            Self::Rsa { .. } => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_as_many_bytes_as_its_hash_and_is_never_shown() {
        for (length, algorithm, good) in [
            (31, Algorithm::Hs256, false),
            (32, Algorithm::Hs256, true),
            (47, Algorithm::Hs384, false),
            (48, Algorithm::Hs384, true),
            (63, Algorithm::Hs512, false),
            (64, Algorithm::Hs512, true),
            (4097, Algorithm::Hs256, false),
            // Nobody asks for a secret for these.
            (64, Algorithm::Rs256, true),
        ] {
            let key = Key::secret(&vec![7; length], &[algorithm]);
            assert_eq!(key.is_ok(), good, "{length} {algorithm}");
            if let Ok(key) = key {
                assert_eq!(key.serves(algorithm), algorithm != Algorithm::Rs256);
                assert!(!format!("{key:?}").contains('7'));
            }
        }
        assert!(Key::secret(&[7; 64], &[]).is_err());
    }

    #[test]
    fn an_rsa_key_is_long_enough_odd_and_has_an_exponent_that_does_something() {
        let n = |bits: usize, last: u8| {
            let mut n = vec![0; bits.div_ceil(8)];
            n[0] = 1 << ((bits - 1) % 8);
            *n.last_mut().expect("bytes") |= last;
            n
        };
        for (n, e, good) in [
            (n(2048, 1), &[1, 0, 1][..], true),
            (n(2047, 1), &[1, 0, 1], false),
            (n(8192, 1), &[3], true),
            (n(8193, 1), &[3], false),
            (n(2048, 2), &[1, 0, 1], false),
            (n(2048, 1), &[1], false),
            (n(2048, 1), &[0, 0], false),
            (n(2048, 1), &[4], false),
            (n(2048, 1), &[4, 0, 0, 0, 1], false),
            ([vec![0], n(2048, 1)].concat(), &[0, 1, 0, 1], true),
            (Vec::new(), &[3], false),
        ] {
            assert_eq!(Key::rsa(&n, e).is_ok(), good, "{} bytes, {e:?}", n.len());
        }
    }
}
