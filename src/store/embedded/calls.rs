//! What gateways tell each other of calls.

use async_trait::async_trait;

use super::super::StoreResult;
use super::super::acts::{CallExchange, ToldCalls};
use super::EmbeddedStore;
use crate::monitor::CallCount;

#[async_trait]
impl CallExchange for EmbeddedStore {
    async fn exchange_calls(&self, gateway: &str, counts: &[CallCount], rings: bool) -> StoreResult<ToldCalls> {
        Ok(self.calls.exchange(gateway, counts, rings, self.shared.clock.now()))
    }

    async fn call_news(&self) {
        self.calls.news().await;
    }
}
