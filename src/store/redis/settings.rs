//! What a Redis store is made of: its server, its prefix, its journal and its cache.

use std::fmt;
use std::sync::Arc;

use crate::clock::{SharedClock, SystemClock};
use crate::entropy::{Entropy, EntropyError};
use crate::store::address::StoreAddress;
use crate::store::claim::Claim;
use crate::store::journal::Journal;

/// What a Redis store is made of.
#[derive(Clone)]
pub struct RedisSettings {
    pub(super) address: StoreAddress,
    pub(super) prefix: String,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) cache: Option<CacheSettings>,
    pub(super) claim: Option<Claim>,
    pub(super) clock: SharedClock,
}

/// What a cache needs.
#[derive(Clone)]
pub(super) struct CacheSettings {
    pub(super) entries: usize,
    pub(super) clock: SharedClock,
    /// Another one for each instance.
    pub(super) instance: String,
    pub(super) warn: SharedWarn,
}

/// Is told of what keeps the cache from working, or that nothing does (`None`).
pub type SharedWarn = Arc<dyn Fn(Option<String>) + Send + Sync>;

impl RedisSettings {
    /// For this server, and for keys of this prefix.
    #[must_use]
    pub fn new(address: StoreAddress, prefix: &str) -> Self {
        let clock = Arc::new(SystemClock);
        Self { address, prefix: prefix.to_owned(), journal: None, cache: None, claim: None, clock }
    }

    /// Keeps what is ended in a journal, and applies it to a server that may have lost it.
    #[must_use]
    pub fn with_journal(self, journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// Uses no server on which sessions of another app are.
    #[must_use]
    pub fn with_claim(self, claim: Claim) -> Self {
        Self { claim: Some(claim), ..self }
    }

    /// Keeps what is known of so many sessions at most, for as long as the server tells of changes.
    ///
    /// # Errors
    /// When the operating system has no randomness for the instance's name.
    pub fn with_cache(
        self,
        entries: usize,
        clock: SharedClock,
        entropy: &dyn Entropy,
        warn: SharedWarn,
    ) -> Result<Self, EntropyError> {
        let mut bytes = [0_u8; 8];
        entropy.fill(&mut bytes)?;
        let instance = format!("{:016x}", u64::from_be_bytes(bytes));
        Ok(Self { cache: Some(CacheSettings { entries, clock, instance, warn }), ..self })
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix, .. } = self;
        formatter.debug_struct("RedisSettings").field("address", address).field("prefix", prefix).finish()
    }
}
