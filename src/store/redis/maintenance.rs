//! The maintenance mode's part of Redis: one key, for all gateways under the prefix.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::StoreResult;
use super::super::maintenance::MaintenanceStore;
use super::answers::exactly;
use super::connection::CALL_TIMEOUT;
use super::fault::text;
use super::lane::Lanes;
use super::store::RedisStore;

#[async_trait]
impl MaintenanceStore for RedisStore {
    async fn maintenance(&self) -> StoreResult<Option<String>> {
        let work = |lanes: Arc<Lanes>| async move {
            let mut pipeline = redis::pipe();
            pipeline.cmd("GET").arg(self.keys().maintenance());
            let [kept] = exactly(lanes.quick.ask(&pipeline).await?)?;
            let kept = text(kept)?;
            Ok(kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        self.link.call("maintenance", CALL_TIMEOUT, work).await
    }

    async fn set_maintenance(&self, text: Option<&str>) -> StoreResult<()> {
        let mut pipeline = redis::pipe();
        match text {
            Some(text) => pipeline.cmd("SET").arg(self.keys().maintenance()).arg(text),
            None => pipeline.cmd("UNLINK").arg(self.keys().maintenance()),
        };
        let work = |lanes: Arc<Lanes>| async move {
            let [_] = exactly(lanes.careful.ask(&pipeline).await?)?;
            Ok(())
        };
        self.link.call("set_maintenance", CALL_TIMEOUT, work).await
    }
}
