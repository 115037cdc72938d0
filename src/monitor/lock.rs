//! A lock: whom it holds for, and until when.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::AccountId;
use crate::session::StoreTime;

/// For what kind of logins a lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockedBy {
    /// Those of an account, wherever they come from.
    #[serde(rename = "account")]
    Account,
    /// Those of an account from a network.
    #[serde(rename = "account+network")]
    AccountAndNetwork,
    /// Those of an account on a device that it knows.
    #[serde(rename = "account+device")]
    AccountAndDevice,
    /// Those from a network, of whatever account.
    #[serde(rename = "network")]
    Network,
}

impl LockedBy {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::AccountAndNetwork => "account+network",
            Self::AccountAndDevice => "account+device",
            Self::Network => "network",
        }
    }
}

/// A lock's name: it is the same whenever the same is locked again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockId(Box<str>);

impl LockId {
    /// Of a bucket's key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let hash = Sha256::digest(key.as_bytes());
        Self(URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default()).into())
    }

    /// Reads one. `None` for what cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 16).map(|_| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is written down of a lock, beside its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockNote {
    /// The bucket's key.
    pub key: String,
    /// For what kind of logins it holds.
    pub by: LockedBy,
    /// Of which account.
    pub account: Option<String>,
    /// From which network.
    pub network: Option<String>,
    /// How long it holds in all, in seconds.
    pub lasts: u64,
    /// Whether it holds nobody up.
    pub observed: bool,
}

impl LockNote {
    /// Of an account on devices that it does not know, for so long.
    #[must_use]
    pub fn of_account(account: &AccountId, lasts: Duration) -> Self {
        let (key, account) = (account_key(account), Some(account.to_string()));
        Self { key, by: LockedBy::Account, account, network: None, lasts: lasts.as_secs(), observed: false }
    }
}

/// Under which name an account is counted on devices that it does not know.
#[must_use]
pub(super) fn account_key(account: &AccountId) -> String {
    format!("a:{account}")
}

/// A lock in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it is.
    pub note: LockNote,
    /// When it ends.
    pub until: StoreTime,
}

impl Lock {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> LockId {
        LockId::of(&self.note.key)
    }

    /// When it began.
    #[must_use]
    pub fn since(&self) -> StoreTime {
        self.until.before(Duration::from_secs(self.note.lasts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locks_name_is_its_buckets_and_reads_back() {
        let id = LockId::of("n:192.0.2.1");
        assert_eq!(LockId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(id, LockId::of("n:192.0.2.2"));
        for garbage in ["", "short", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA!"] {
            assert_eq!(LockId::parse(garbage), None, "{garbage}");
        }
    }
}
