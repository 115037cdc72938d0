//! How users are written to, kept in the file.

use async_trait::async_trait;
use redb::{ReadableTable as _, TableError};

use super::super::StoreResult;
use super::super::contacts::{CONTACTS_KEPT, Contact, ContactStore};
use super::EmbeddedStore;
use super::schema::CONTACTS;
use super::tables::Tables;
use crate::session::StoreTime;

/// Contacts that are looked at whenever one is written, whether they are over.
const SWEPT: usize = 16;

#[async_trait]
impl ContactStore for EmbeddedStore {
    async fn remember(&self, contacts: &[Contact]) -> StoreResult<()> {
        let contacts = contacts.to_vec();
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let mut kept = tables.transaction.open_table(CONTACTS)?;
            let until = now.after(CONTACTS_KEPT).as_micros();
            for Contact { id, sealed } in &contacts {
                kept.insert(id.as_str(), (sealed.as_slice(), until))?;
                // Of those that are next to it by name, which is anywhere: a few at each time keep it small.
                let mut over = Vec::new();
                for entry in kept.range(id.as_str()..)?.take(SWEPT) {
                    let (name, contact) = entry?;
                    if contact.value().1 <= now.as_micros() {
                        over.push(name.value().to_owned());
                    }
                }
                for name in over {
                    kept.remove(name.as_str())?;
                }
            }
            Ok(())
        };
        self.write("contact_remember", work).await
    }

    async fn contact(&self, id: &str) -> StoreResult<Option<Vec<u8>>> {
        let (outcome, sealed) = self.look(|transaction, now| {
            let kept = match transaction.open_table(CONTACTS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                opened => opened?.get(id)?,
            };
            let kept = kept.filter(|kept| kept.value().1 > now.as_micros());
            Ok(kept.map(|kept| kept.value().0.to_vec()))
        });
        self.shared.observer.command("contact", outcome);
        sealed
    }
}
