//! How users are written to: a key each.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::StoreResult;
use super::super::contacts::{CONTACTS_KEPT, Contact, ContactStore};
use super::alerts::millis;
use super::answers::exactly;
use super::connection::CALL_TIMEOUT;
use super::fault::text;
use super::lane::Lanes;
use super::store::RedisStore;

#[async_trait]
impl ContactStore for RedisStore {
    async fn remember(&self, contacts: &[Contact]) -> StoreResult<()> {
        if contacts.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for Contact { id, sealed } in contacts {
            pipeline.cmd("SET").arg(self.keys().contact(id)).arg(&sealed[..]).arg("PX").arg(millis(CONTACTS_KEPT));
        }
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask(&pipeline).await.map(drop) };
        self.link.call("contact_remember", CALL_TIMEOUT, work).await
    }

    async fn contact(&self, id: &str) -> StoreResult<Option<Vec<u8>>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys().contact(id));
        let work = |lanes: Arc<Lanes>| async move {
            let [sealed] = exactly(lanes.quick.ask(&pipeline).await?)?;
            text(sealed)
        };
        self.link.call("contact", CALL_TIMEOUT, work).await
    }
}
