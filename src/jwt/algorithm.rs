//! Signature algorithms (RFC 7518 section 3, RFC 8037, RFC 9864), and the families that must not be mixed.

use std::fmt;

/// What can be asked of a key at all. An issuer's algorithms are of one family, so that no key is ever used in the manner
/// of another (RFC 8725 sections 2.1 and 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// HMAC with a shared secret.
    Hs,
    /// RSA, PKCS #1 version 1.5.
    Rs,
    /// RSA, PSS.
    Ps,
    /// ECDSA.
    Es,
    /// Ed25519.
    EdDsa,
}

/// A signature algorithm. There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are called by their names in the register of RFC 7518")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Ed25519,
}

impl Algorithm {
    /// Every algorithm. ES512 and ES256K are not among them: the library has neither curve.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// The name in a header's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Reads a name, in exactly that spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hs,
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rs,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Ps,
            Self::Es256 | Self::Es384 => Family::Es,
            Self::EdDsa | Self::Ed25519 => Family::EdDsa,
        }
    }

    /// How long a shared secret must be at least, in bytes: as the hash (RFC 7518 section 3.2). 0 where there is none.
    #[must_use]
    pub const fn shortest_secret(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 0,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_its_one_spelling_and_none_is_none() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        for name in ["none", "None", "NONE", "", "hs256", "HS256 ", "ES512", "ES256K", "RSA1_5", "dir", "eddsa"] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }
}
