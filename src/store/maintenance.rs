//! What a store keeps of the maintenance mode: a text that all gateways on it read again and again. What it means is none
//! of the store's business.

use async_trait::async_trait;

use super::StoreResult;

/// Keeps what all gateways are to know of the maintenance mode.
#[async_trait]
pub trait MaintenanceStore: Send + Sync + 'static {
    /// What is kept; `None`: there is no maintenance.
    async fn maintenance(&self) -> StoreResult<Option<String>>;

    /// Keeps this from now on, or nothing.
    async fn set_maintenance(&self, text: Option<&str>) -> StoreResult<()>;
}
