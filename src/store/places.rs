//! What a store does for the rules about places: it keeps where users were, and who of a tenant uses a place.
//!
//! # The contract of [`PlaceStore`]
//!
//! - What is kept of a user is what one gateway last kept; of two that go by the same, one is told that it came too late.
//! - It is kept for [`FOOTPRINT_KEPT`] from then on.
//! - Of those who use a cell the last [`MOST_USERS`] are known, each with the last time, for
//!   [`TENANT_KNOWS`](crate::monitor::TENANT_KNOWS).

use std::time::Duration;

use async_trait::async_trait;

use super::StoreResult;
use crate::session::StoreTime;

/// For how long a user who is not seen is known.
pub const FOOTPRINT_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Users of a cell that are known: more than it takes for a place to be a tenant's.
pub const MOST_USERS: usize = 16;

/// What is to be kept of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FootprintChange {
    /// Stands for the user.
    pub user: u64,
    /// What it goes by; `None`: nothing was kept.
    pub before: Option<Vec<u8>>,
    /// What is kept from now on.
    pub after: Vec<u8>,
}

/// A use of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellUse {
    /// Stands for the cell of a tenant.
    pub cell: u64,
    /// Stands for the user.
    pub user: u64,
    /// When.
    pub at: StoreTime,
}

/// Keeps where users were.
#[async_trait]
pub trait PlaceStore: Send + Sync + 'static {
    /// What is kept of users, in their order.
    async fn footprints(&self, users: &[u64]) -> StoreResult<Vec<Option<Vec<u8>>>>;

    /// Keeps what became of users. Answers for each, in order, whether it is kept; else it goes by what is there no more.
    async fn keep_footprints(&self, changes: Vec<FootprintChange>) -> StoreResult<Vec<bool>>;

    /// Notes who uses cells.
    async fn note_uses(&self, uses: Vec<CellUse>) -> StoreResult<()>;

    /// Who used any of these cells since then; who used several is there several times.
    async fn users_of(&self, cells: &[u64], since: StoreTime) -> StoreResult<Vec<u64>>;
}
