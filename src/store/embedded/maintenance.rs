//! The maintenance mode's part of the embedded store. There is one gateway, which it outlives.

use async_trait::async_trait;
use redb::{ReadTransaction, TableError};

use super::super::StoreResult;
use super::super::maintenance::MaintenanceStore;
use super::EmbeddedStore;
use super::schema::{Fault, NOTICES};

const MAINTENANCE: &str = "maintenance";

#[async_trait]
impl MaintenanceStore for EmbeddedStore {
    async fn maintenance(&self) -> StoreResult<Option<String>> {
        let (outcome, kept) = self.look(|transaction, _| kept(transaction));
        self.shared.observer.command("maintenance", outcome);
        kept
    }

    async fn set_maintenance(&self, text: Option<&str>) -> StoreResult<()> {
        let text = text.map(str::to_owned);
        self.write("set_maintenance", move |tables, _| {
            match &text {
                Some(text) => drop(tables.notices.insert(MAINTENANCE, text.as_str())?),
                None => drop(tables.notices.remove(MAINTENANCE)?),
            }
            Ok(())
        })
        .await
    }
}

fn kept(transaction: &ReadTransaction) -> Result<Option<String>, Fault> {
    let notices = match transaction.open_table(NOTICES) {
        Ok(notices) => notices,
        // A file of an earlier version, in which nothing was kept yet.
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(notices.get(MAINTENANCE)?.map(|kept| kept.value().to_owned()))
}
