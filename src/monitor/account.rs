//! The account that a login names, and what stands for it wherever it is kept.
//!
//! `bob`, `BOB` and `ｂｏｂ` are one account to most apps, and one budget here. What people type there can be anything, a
//! password in the wrong field too: nothing is kept but an HMAC.

use std::fmt;
use std::hash::Hasher as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use icu_normalizer::ComposingNormalizerBorrowed;
use ring::{hkdf, hmac};
use siphasher::sip::SipHasher13;

use super::Cell;
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::session::{Principal, TenantId};

/// Keeps these keys apart from whatever else is derived from the secret.
const PURPOSE: &[u8] = b"session-gateway monitor 1";
const OF_ACCOUNTS: &[u8] = b"accounts";
const OF_DEVICES: &[u8] = b"devices";
const OF_USERS: &[u8] = b"users";

const BYTES: usize = 16;

/// What stands for an account: an HMAC of its name, and of the kind of its login.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; BYTES]);

impl AccountId {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// What it stands as among many, in eight bytes.
    #[must_use]
    pub fn short(&self) -> u64 {
        self.0.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A name as it counts: compatible forms are one (NFKC), white space around it goes, case does not matter. `None` where
/// nothing is left.
#[must_use]
pub fn normalised(name: &str) -> Option<String> {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let name = nfkc.normalize(name);
    // Up and down again folds more than down alone: `ß` and `SS`, the final sigma.
    let folded = nfkc.normalize(name.trim()).to_uppercase().to_lowercase();
    let folded = nfkc.normalize(folded.trim());
    (!folded.is_empty()).then(|| folded.into_owned())
}

/// The keys of accounts, devices and users.
pub struct MonitorKeys {
    accounts: hmac::Key,
    devices: hmac::Key,
    users: SipHasher13,
}

impl MonitorKeys {
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
        let mut secret = [0; 32];
        entropy.fill(&mut secret)?;
        Ok(Self::of(&secret))
    }

    fn of(secret: &[u8]) -> Self {
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, &derived::<32>(secret, purpose));
        let users = SipHasher13::new_with_key(&derived(secret, OF_USERS));
        Self { accounts: key(OF_ACCOUNTS), devices: key(OF_DEVICES), users }
    }

    /// What stands for an account of this [`normalised`] name at a login of this kind.
    #[must_use]
    pub fn account(&self, kind: Option<&str>, name: &str) -> AccountId {
        let mut context = hmac::Context::with_key(&self.accounts);
        // A kind has no NUL in it, and is not empty.
        context.update(kind.unwrap_or_default().as_bytes());
        context.update(&[0]);
        context.update(name.as_bytes());
        AccountId(context.sign().as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// What stands for a user of a tenant, the same at all gateways. Nobody without the key finds another who shares it.
    ///
    /// Quick, for each call has one; it names nobody, but counts.
    #[must_use]
    pub fn user(&self, principal: &Principal) -> u64 {
        let mut hasher = self.users;
        hasher.write(principal.tenant.kept().as_bytes());
        // No tenant has it in its name.
        hasher.write_u8(b',');
        hasher.write(principal.user.kept().as_bytes());
        hasher.finish()
    }

    /// What stands for a cell of the earth in a tenant, likewise.
    #[must_use]
    pub fn cell(&self, tenant: &TenantId, cell: Cell) -> u64 {
        let mut hasher = self.users;
        hasher.write(tenant.kept().as_bytes());
        // No user's name begins with it.
        hasher.write(b",\0");
        hasher.write(&cell.bytes());
        hasher.finish()
    }

    /// The key that device cookies are signed with.
    pub(super) const fn devices(&self) -> &hmac::Key {
        &self.devices
    }
}

impl fmt::Debug for MonitorKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MonitorKeys").finish_non_exhaustive()
    }
}

/// That many bytes for this purpose.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derived<const N: usize>(secret: &[u8], purpose: &[u8]) -> [u8; N] {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(secret);
    let mut bytes = [0; N];
    // It asks for few of the 8,160 bytes that there may be.
    let _ = key.expand(&[purpose], Length(N)).and_then(|okm| okm.fill(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::{Role, TenantId, UserId};

    #[test]
    fn spellings_that_an_app_takes_for_one_account_are_one() {
        for (one, other) in [
            ("bob", "BOB"),
            ("bob", " bob\t"),
            ("bob", "ｂｏｂ"),
            ("bob@example.com", "Bob@Example.COM"),
            ("straße", "STRASSE"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("Zoë", "Zoe\u{308}"),
            ("ﬁona", "FIONA"),
        ] {
            assert_eq!(normalised(one), normalised(other), "{one} {other}");
        }
        assert_ne!(normalised("bob"), normalised("rob"));
        for nothing in ["", "  ", "\u{a0}"] {
            assert_eq!(normalised(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn what_stands_for_an_account_is_the_same_at_every_gateway_and_tells_nothing_of_it() {
        let keys = MonitorKeys::new(&Secret::new("a secret of the tests"));
        let id = keys.account(None, "bob");
        assert_eq!(id, MonitorKeys::new(&Secret::new("a secret of the tests")).account(None, "bob"));
        assert_ne!(id, MonitorKeys::new(&Secret::new("another")).account(None, "bob"));
        assert_ne!(id, keys.account(Some("admin"), "bob"));
        assert_eq!(AccountId::parse(&id.to_string()), Some(id));
        assert_eq!(AccountId::parse("bob"), None);
    }

    #[test]
    fn users_are_told_apart_by_tenant_and_name_the_same_way_at_every_gateway() {
        let keys = |secret| MonitorKeys::new(&Secret::new(secret));
        let principal = |tenant, user| Principal {
            tenant: TenantId::parse(tenant).expect("a tenant"),
            user: UserId::parse(user).expect("a user"),
            role: None,
        };
        let hash = keys("k").user(&principal("1", "23"));
        assert_eq!(hash, keys("k").user(&principal("1", "23")));
        assert_ne!(hash, keys("another").user(&principal("1", "23")));
        assert_ne!(hash, keys("k").user(&principal("12", "3")));
        let of_role = Principal { role: Role::parse("admin").ok(), ..principal("1", "23") };
        assert_eq!(hash, keys("k").user(&of_role), "whatever their role");
    }

    proptest! {
        #[test]
        fn what_was_normalised_stays_so(name: String) {
            if let Some(once) = normalised(&name) {
                prop_assert_eq!(normalised(&once), Some(once));
            }
        }
    }
}
