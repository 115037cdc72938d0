//! Sealing and opening of one value.
//!
//! A sealed value is base64url of: a version byte, the key's id, a salt, a nonce, the ciphertext and its tag. Each value
//! has an AES key of its own, derived from the secret and the salt (HKDF-SHA-256): with one key for all of them random
//! nonces would last for 2^32 values, which an app that sets its cookie with every answer reaches within a day.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, hkdf};
use smallvec::SmallVec;

use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::session::SessionId;

/// The form of what is sealed; another one is another cookie.
const VERSION: u8 = 1;
/// Keeps these keys apart from whatever else is derived from the secret.
const PURPOSE: &[u8] = b"session-gateway sealed cookies 1";
const KEY_ID_OF: &[u8] = b"id";

const KEY_ID: usize = 4;
const SALT: usize = 12;
const HEAD: usize = 1 + KEY_ID + SALT + aead::NONCE_LEN;
const TAG: usize = 16;
/// What sealing adds, before base64.
const ADDED: usize = HEAD + TAG;

/// To which session a cookie is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// To this one.
    Session(SessionId),
    /// To none: it was set for somebody without a session.
    NoSession,
}

impl Binding {
    /// What a value is authenticated with. The first byte says how long the id is, so that no two are the same.
    fn associated_data(self, name: &[u8]) -> SmallVec<[u8; 96]> {
        let mut data = SmallVec::new();
        match self {
            Self::NoSession => data.push(0),
            Self::Session(id) => {
                data.push(1);
                data.extend_from_slice(id.as_bytes());
            }
        }
        data.extend_from_slice(name);
        data
    }
}

/// The key that seals, and those that only open.
#[derive(Debug)]
pub struct SealingKeys(Vec<Key>);

#[derive(Debug)]
struct Key {
    /// Tells which key a value was sealed with, and nothing of it.
    id: [u8; KEY_ID],
    derived: hkdf::Prk,
}

impl SealingKeys {
    /// From `secrets.key`, which seals, and `secrets.previous_files`.
    #[must_use]
    pub fn new(current: &Secret, previous: &[Secret]) -> Self {
        let secrets = std::iter::once(current).chain(previous);
        Self(secrets.map(|secret| Key::of(secret.expose_secret().as_bytes())).collect())
    }

    /// Keys for this run alone.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ephemeral(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut secret = [0; 32];
        entropy.fill(&mut secret)?;
        Ok(Self(vec![Key::of(&secret)]))
    }

    /// How long a value of this length is once it is sealed.
    pub(super) const fn sealed_length(value: usize) -> usize {
        ((value + ADDED) * 4).div_ceil(3)
    }

    /// Seals a cookie's value. `None` only when the cipher refuses, which it does for no cookie.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(super) fn seal(
        &self,
        binding: Binding,
        name: &[u8],
        value: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Option<String>, EntropyError> {
        let mut random = [0; SALT + aead::NONCE_LEN];
        entropy.fill(&mut random)?;
        let Some(key) = self.0.first() else { return Ok(None) };
        Ok(key.seal(binding, name, value, &random))
    }

    /// What was sealed as a cookie of this name for this binding. `None` for everything else.
    pub(super) fn open(&self, binding: Binding, name: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() < Self::sealed_length(0) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (head, body) = bytes.split_at_checked(HEAD)?;
        let (version, rest) = head.split_first()?;
        let (id, random) = rest.split_at_checked(KEY_ID)?;
        if *version != VERSION {
            return None;
        }
        let data = binding.associated_data(name);
        // Two keys may have one id.
        self.0.iter().filter(|key| key.id == id).find_map(|key| key.open(random, &data, body.to_vec()))
    }
}

impl Key {
    fn of(secret: &[u8]) -> Self {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(secret);
        let mut id = [0; KEY_ID];
        // It asks for four bytes of 8,160 that there may be.
        let _ = derived.expand(&[KEY_ID_OF], Length(KEY_ID)).and_then(|okm| okm.fill(&mut id));
        Self { id, derived }
    }

    /// The AES key of one value. The salt is longer than what the id is derived from, so that they never meet.
    fn of_value(&self, salt: &[u8]) -> Option<aead::LessSafeKey> {
        let info = [salt];
        let derived = self.derived.expand(&info, &aead::AES_256_GCM).ok()?;
        Some(aead::LessSafeKey::new(aead::UnboundKey::from(derived)))
    }

    fn seal(&self, binding: Binding, name: &[u8], value: &[u8], random: &[u8]) -> Option<String> {
        let (salt, nonce) = random.split_at_checked(SALT)?;
        let mut bytes = Vec::with_capacity(value.len() + ADDED);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(random);
        bytes.extend_from_slice(value);
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let data = aead::Aad::from(binding.associated_data(name));
        let tag = self.of_value(salt)?.seal_in_place_separate_tag(nonce, data, bytes.get_mut(HEAD..)?).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn open(&self, random: &[u8], data: &[u8], mut body: Vec<u8>) -> Option<Vec<u8>> {
        let (salt, nonce) = random.split_at_checked(SALT)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.of_value(salt)?.open_in_place(nonce, aead::Aad::from(data), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

/// A number of bytes, as `ring` wants it.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
