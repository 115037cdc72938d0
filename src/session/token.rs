//! The session token and the session id made from it (docs/behaviour.md, "Cookie and token").

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::entropy::{Entropy, EntropyError};

const TOKEN_BYTES: usize = 32;
const TOKEN_CHARACTERS: usize = 43;
const ID_BYTES: usize = 16;
const ID_CHARACTERS: usize = 22;
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bearer secret in the cookie: 32 random bytes as 43 characters of base64url. Stored nowhere and hashed at once;
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; TOKEN_CHARACTERS]);

impl SessionToken {
    /// How many characters each has.
    pub const LENGTH: usize = TOKEN_CHARACTERS;

    /// Makes a new token.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0_u8; TOKEN_BYTES];
        entropy.fill(&mut bytes)?;
        let mut text = [b'A'; TOKEN_CHARACTERS];
        let encoded = URL_SAFE_NO_PAD.encode(bytes);
        text.copy_from_slice(encoded.as_bytes());
        Ok(Self(text))
    }

    /// Reads a cookie's value. `None` for what cannot be a token of ours, which then costs no look-up.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text: [u8; TOKEN_CHARACTERS] = value.try_into().ok()?;
        all_base64url(&text).then_some(Self(text))
    }

    /// The non-secret handle: `base64url(SHA-256(token)[..16])`, the hash taken over the 43 characters.
    #[must_use]
    pub fn id(&self) -> SessionId {
        let digest = Sha256::digest(self.0);
        SessionId::from_bytes(&digest)
    }

    /// The cookie's value. The name is long so that each use is noticed in review.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionToken([redacted])")
    }
}

/// Key of a session in the store, its name in logs, headers and the admin API: 22 characters of base64url. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; ID_CHARACTERS]);

impl SessionId {
    /// From the first 16 bytes of a hash, or of what [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub fn from_bytes(hash: &[u8]) -> Self {
        // By hand, because each request with a session has one made: four characters of three bytes, and two of the last.
        let character = |bits: u32| BASE64URL[(bits & 63) as usize];
        let mut text = [b'A'; ID_CHARACTERS];
        let (places, last_two) = text.as_chunks_mut::<4>();
        for (to, [a, b, c]) in places.iter_mut().zip(hash.as_chunks::<3>().0) {
            let bits = u32::from_be_bytes([0, *a, *b, *c]);
            *to = [bits >> 18, bits >> 12, bits >> 6, bits].map(character);
        }
        if let ([first, second], Some(last)) = (last_two, hash.get(ID_BYTES - 1)) {
            (*first, *second) = (character(u32::from(*last) >> 2), character(u32::from(*last) << 4));
        }
        Self(text)
    }

    /// Reads an id that came from outside (an admin call, a key of the store).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: [u8; ID_CHARACTERS] = text.try_into().ok()?;
        all_base64url(&text).then_some(Self(text))
    }

    /// The 22 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 16 bytes that the 22 characters stand for.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ID_BYTES] {
        let mut bytes = [0; ID_BYTES];
        for (to, from) in bytes.chunks_mut(3).zip(self.0.chunks(4)) {
            let value = |byte: &u8| BASE64URL.iter().position(|known| known == byte).unwrap_or_default();
            let bits = from.iter().zip([18, 12, 6, 0]).fold(0, |bits, (byte, left)| bits | value(byte) << left);
            for (to, right) in to.iter_mut().zip([16, 8, 0]) {
                *to = u8::try_from(bits >> right & 255).unwrap_or_default();
            }
        }
        bytes
    }

    /// The same as bytes, all of them ASCII, for whoever needs no text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ID_CHARACTERS] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionId({})", self.as_str())
    }
}

/// Looks at all bytes, bad ones or not, because many at once are quicker than one after the other.
fn all_base64url(text: &[u8]) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_');
    text.iter().fold(true, |all, byte| all & is_base64url(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_token_is_43_characters_and_its_id_the_truncated_hash_of_them() {
        let token = SessionToken::parse(&[b'A'; 43]).expect("43 characters of base64url");
        // printf 'A%.0s' {1..43} | sha256sum, first 16 bytes, base64url
        let expected = URL_SAFE_NO_PAD.encode(&Sha256::digest([b'A'; 43])[..16]);
        assert_eq!(token.id().as_str(), expected);
        assert_eq!(token.id().as_str().len(), 22);
    }

    proptest! {
        #[test]
        fn an_id_is_the_first_16_bytes_in_base64url(hash in any::<[u8; 32]>()) {
            let id = SessionId::from_bytes(&hash);
            prop_assert_eq!(id.as_str(), URL_SAFE_NO_PAD.encode(&hash[..16]));
            prop_assert_eq!(id.as_str().as_bytes(), id.as_bytes());
            prop_assert_eq!(SessionId::parse(id.as_bytes()), Some(id));
            prop_assert_eq!(&id.to_bytes(), &hash[..16]);
            prop_assert_eq!(SessionId::from_bytes(&id.to_bytes()), id);
        }

        #[test]
        fn one_byte_of_another_alphabet_is_no_token(at in 0..TOKEN_CHARACTERS, byte in any::<u8>()) {
            let mut text = [b'A'; TOKEN_CHARACTERS];
            text[at] = byte;
            prop_assert_eq!(SessionToken::parse(&text).is_some(), BASE64URL.contains(&byte));
        }
    }

    #[test]
    fn tokens_differ_and_read_back() {
        let one = SessionToken::generate(&SystemEntropy).expect("the system has entropy");
        let two = SessionToken::generate(&SystemEntropy).expect("the system has entropy");
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(SessionToken::parse(one.expose_secret().as_bytes()), Some(one));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_looked_up() {
        for value in [&b""[..], b"short", &[b'A'; 42], &[b'A'; 44], &[b'='; 43], &[0xff; 43], &[b' '; 43]] {
            assert!(SessionToken::parse(value).is_none(), "{value:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let token = SessionToken::generate(&SystemEntropy).expect("the system has entropy");
        assert_eq!(format!("{token:?}"), "SessionToken([redacted])");
    }
}
