//! How a user is written to: the address that a login's answer named, sealed, under what stands for its account and for its
//! user.
//!
//! A store that is copied has no address in it, and nothing by which one could be found but with `secrets.key`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, hkdf, hmac};

use super::AccountId;
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::session::Principal;

/// Keeps these keys apart from whatever else is derived from the secret.
const PURPOSE: &[u8] = b"session-gateway contacts 1";
const NAMES: &[u8] = b"names";
const ADDRESSES: &[u8] = b"addresses";
const OF_ACCOUNT: u8 = 0;
const OF_USER: u8 = 1;

const BYTES: usize = 16;
const KEY: usize = 32;

/// What stands for somebody who may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactId([u8; BYTES]);

impl fmt::Display for ContactId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What contacts are called by, and sealed with.
pub struct ContactKeys {
    names: hmac::Key,
    addresses: Option<aead::LessSafeKey>,
}

impl ContactKeys {
    /// From `secrets.key`.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self::of(secret.expose_secret().as_bytes())
    }

    /// Keys for this run alone.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ephemeral(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut secret = [0; KEY];
        entropy.fill(&mut secret)?;
        Ok(Self::of(&secret))
    }

    fn of(secret: &[u8]) -> Self {
        let addresses = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &derived(secret, ADDRESSES));
        Self {
            names: hmac::Key::new(hmac::HMAC_SHA256, &derived(secret, NAMES)),
            // Keys of this length are taken.
            addresses: addresses.ok().map(aead::LessSafeKey::new),
        }
    }

    /// What stands for whoever logs in as this account.
    #[must_use]
    pub fn of_account(&self, account: &AccountId) -> ContactId {
        self.name(&[&[OF_ACCOUNT], account.bytes()])
    }

    /// What stands for a user.
    #[must_use]
    pub fn of_user(&self, principal: &Principal) -> ContactId {
        // No tenant has a comma in its name.
        self.name(&[&[OF_USER], principal.tenant.kept().as_bytes(), b",", principal.user.kept().as_bytes()])
    }

    fn name(&self, parts: &[&[u8]]) -> ContactId {
        let mut context = hmac::Context::with_key(&self.names);
        parts.iter().for_each(|part| context.update(part));
        ContactId(context.sign().as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Seals an address for this contact alone. `None` without randomness.
    #[must_use]
    pub fn seal(&self, id: &ContactId, address: &Secret, entropy: &dyn Entropy) -> Option<Vec<u8>> {
        let mut nonce = [0; aead::NONCE_LEN];
        entropy.fill(&mut nonce).ok()?;
        let mut text = address.expose_secret().as_bytes().to_vec();
        let nonced = aead::Nonce::assume_unique_for_key(nonce);
        self.addresses.as_ref()?.seal_in_place_append_tag(nonced, aead::Aad::from(id.0), &mut text).ok()?;
        Some([&nonce[..], &text].concat())
    }

    /// What was sealed for this contact. `None` for everything else.
    #[must_use]
    pub fn open(&self, id: &ContactId, sealed: &[u8]) -> Option<Secret> {
        let (nonce, text) = sealed.split_at_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let plain = self.addresses.as_ref()?.open_in_place(nonce, aead::Aad::from(id.0), &mut text).ok()?;
        std::str::from_utf8(plain).ok().map(Secret::new)
    }

    /// Reads what [`Display`](fmt::Display) writes of a contact.
    #[must_use]
    pub fn parse(text: &str) -> Option<ContactId> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(ContactId)
    }
}

impl fmt::Debug for ContactKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ContactKeys").finish_non_exhaustive()
    }
}

fn derived(secret: &[u8], purpose: &[u8]) -> [u8; KEY] {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(secret);
    let mut bytes = [0; KEY];
    // It asks for 32 bytes of 8,160 that there may be.
    let _ = key.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::monitor::MonitorKeys;
    use crate::session::{TenantId, UserId};

    #[test]
    fn an_address_opens_for_its_own_contact_and_with_its_own_key_alone() {
        let keys = ContactKeys::new(&Secret::new("a secret of the tests"));
        let account = MonitorKeys::new(&Secret::new("a secret of the tests")).account(None, "bob");
        let user = Principal {
            tenant: TenantId::parse("acme").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: None,
        };
        let (account, user) = (keys.of_account(&account), keys.of_user(&user));
        assert_ne!(account, user);
        let sealed = keys.seal(&account, &Secret::new("bob@example.com"), &SystemEntropy).expect("sealed");
        assert!(!sealed.windows(3).any(|part| part == b"bob"));
        assert_eq!(keys.open(&account, &sealed), Some(Secret::new("bob@example.com")));
        assert_eq!(keys.open(&user, &sealed), None);
        assert_eq!(ContactKeys::new(&Secret::new("another")).open(&account, &sealed), None);
        for cut in 0..sealed.len() {
            assert_eq!(keys.open(&account, &sealed[..cut]), None, "{cut}");
        }
        assert_eq!(ContactKeys::parse(&account.to_string()), Some(account));
        assert_eq!(ContactKeys::parse("bob"), None);
    }
}
