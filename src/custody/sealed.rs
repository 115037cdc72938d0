//! A session's token as the store has it: sealed with a key that takes both the operator's secret and the browser's cookie.
//!
//! The store has neither. Who copies it, with or without the configuration, has nothing; who has a cookie, has a session,
//! and the token only through the gateway. Bytes: a version, the key's id, whether and which token is denied with the
//! session, a nonce, the ciphertext and its tag.

use ring::{aead, hkdf};

use super::token::AppToken;
use crate::clock::WallTime;
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::session::{Principal, SessionId, SessionToken};

/// The form of what is sealed; another one does not open.
const VERSION: u8 = 1;
/// Keeps these keys apart from whatever else is derived from the secret.
const PURPOSE: &[u8] = b"session-gateway app token 1";
const KEY_ID_PURPOSE: &[u8] = b"session-gateway app token key id 1";
const KEY_ID: usize = 4;
const DENIES: usize = 22 + 8;
const TAG: usize = 16;

/// Bytes that a store keeps for a session and cannot read.
pub type Sealed = Vec<u8>;

/// The key that seals, and those that only open.
#[derive(Debug)]
pub struct CustodyKeys(Vec<Key>);

#[derive(Debug)]
struct Key {
    /// Tells which key a token was sealed with, and nothing of it.
    id: [u8; KEY_ID],
    secret: Secret,
}

/// Why a token could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// There is no randomness.
    #[error(transparent)]
    NoRandomness(#[from] EntropyError),
    /// The cipher refused, which it does for no token.
    #[error("the cipher refused")]
    Refused,
}

impl CustodyKeys {
    /// From `secrets.key`, which seals, and `secrets.previous_files`.
    #[must_use]
    pub fn new(current: &Secret, previous: &[Secret]) -> Self {
        Self(std::iter::once(current).chain(previous).map(Key::of).collect())
    }

    /// Seals a token for the session of a cookie. With `denies` whoever ends the session can deny the token, too, although
    /// they cannot read it: its id and its end stand in the open.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(
        &self,
        cookie: &SessionToken,
        whose: &Principal,
        token: &AppToken,
        denies: bool,
        entropy: &dyn Entropy,
    ) -> Result<Sealed, NotSealed> {
        let mut nonce = [0; aead::NONCE_LEN];
        entropy.fill(&mut nonce)?;
        self.seal_with(cookie, whose, token, denies, nonce).ok_or(NotSealed::Refused)
    }

    fn seal_with(
        &self,
        cookie: &SessionToken,
        whose: &Principal,
        token: &AppToken,
        denies: bool,
        nonce: [u8; aead::NONCE_LEN],
    ) -> Option<Sealed> {
        let key = self.0.first()?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&key.id);
        match token.id().filter(|_| denies) {
            None => bytes.push(0),
            Some(id) => {
                bytes.push(1);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&token.expires.map_or(u64::MAX, WallTime::as_micros).to_be_bytes());
            }
        }
        let data = associated_data(&bytes, cookie, whose);
        bytes.extend_from_slice(&nonce);
        let begin = bytes.len();
        bytes.extend_from_slice(&token.encode()?);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let text = bytes.get_mut(begin..)?;
        let tag = key.of_session(cookie)?.seal_in_place_separate_tag(nonce, aead::Aad::from(data), text).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(bytes)
    }

    /// What was sealed for the session of this cookie and this user. `None` for everything else.
    #[must_use]
    pub fn open(&self, cookie: &SessionToken, whose: &Principal, sealed: &[u8]) -> Option<AppToken> {
        let (head, rest) = split(sealed)?;
        let data = associated_data(head, cookie, whose);
        let (nonce, text) = rest.split_at_checked(aead::NONCE_LEN)?;
        if text.len() < TAG {
            return None;
        }
        let id = head.get(1..=KEY_ID)?;
        // Two keys may have one id.
        self.0.iter().filter(|key| key.id == id).find_map(|key| {
            let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let plain = key.of_session(cookie)?.open_in_place(nonce, aead::Aad::from(&data[..]), &mut text).ok()?;
            AppToken::decode(plain)
        })
    }

    /// Which token is denied with the session, and when it would be over.
    #[must_use]
    pub fn denies(sealed: &[u8]) -> Option<(SessionId, WallTime)> {
        let (head, _) = split(sealed)?;
        let (id, until) = head.get(1 + KEY_ID + 1..)?.split_at_checked(22)?;
        let until = u64::from_be_bytes(until.try_into().ok()?);
        Some((SessionId::parse(id)?, WallTime::from_micros(until)))
    }
}

/// What stands in the open, and the rest.
fn split(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let flag = 1 + KEY_ID;
    let length = match (sealed.first()?, sealed.get(flag)?) {
        (&VERSION, 0) => flag + 1,
        (&VERSION, 1) => flag + 1 + DENIES,
        _ => return None,
    };
    sealed.split_at_checked(length)
}

/// What a token is authenticated with: all that stands in the open, the session and whose it is. Lengths stand before what
/// may have any, so that no two are the same.
fn associated_data(head: &[u8], cookie: &SessionToken, whose: &Principal) -> Vec<u8> {
    let mut data = Vec::with_capacity(160);
    let mut push = |part: &[u8]| {
        data.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        data.extend_from_slice(part);
    };
    push(head);
    push(cookie.id().as_bytes());
    push(whose.tenant.kept().as_bytes());
    push(whose.user.kept().as_bytes());
    data
}

impl Key {
    fn of(secret: &Secret) -> Self {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, KEY_ID_PURPOSE).extract(secret.expose_secret().as_bytes());
        let mut id = [0; KEY_ID];
        // It asks for four bytes of 8,160 that there may be.
        let _ = derived.expand(&[], Length(KEY_ID)).and_then(|okm| okm.fill(&mut id));
        Self { id, secret: secret.clone() }
    }

    /// The AES key of a session.
    fn of_session(&self, cookie: &SessionToken) -> Option<aead::LessSafeKey> {
        let input = [self.secret.expose_secret().as_bytes(), cookie.expose_secret().as_bytes()].concat();
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, cookie.id().as_bytes()).extract(&input);
        let derived = derived.expand(&[PURPOSE], &aead::AES_256_GCM).ok()?;
        Some(aead::LessSafeKey::new(aead::UnboundKey::from(derived)))
    }
}

/// A number of bytes, as `ring` wants it.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
