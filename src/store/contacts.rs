//! What a store keeps of how users are written to: sealed, and forgotten in time.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreResult;

/// For how long an address is kept after the last login that named it.
pub const CONTACTS_KEPT: Duration = Duration::from_secs(180 * 86_400);

/// How somebody is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// What stands for them.
    pub id: String,
    /// Their address, which the store cannot read.
    pub sealed: Vec<u8>,
}

/// Keeps how users are written to.
#[async_trait]
pub trait ContactStore: Send + Sync + 'static {
    /// Keeps these for [`CONTACTS_KEPT`], in place of what was kept of them.
    async fn remember(&self, contacts: &[Contact]) -> StoreResult<()>;

    /// What is kept of one.
    async fn contact(&self, id: &str) -> StoreResult<Option<Vec<u8>>>;
}
