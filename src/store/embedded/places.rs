//! Where users were, kept in the file.

use async_trait::async_trait;
use redb::{Key, ReadOnlyTable, ReadTransaction, ReadableTable as _, TableDefinition, TableError, Value};

use super::super::StoreResult;
use super::super::places::{CellUse, FOOTPRINT_KEPT, FootprintChange, MOST_USERS, PlaceStore};
use super::EmbeddedStore;
use super::schema::{CELL_USERS, FOOTPRINT_EXPIRY, FOOTPRINTS, Fault};
use super::tables::Tables;
use crate::monitor::TENANT_KNOWS;
use crate::session::StoreTime;

/// Users and uses that go by the way, whenever one is written.
const SWEPT: usize = 16;

#[async_trait]
impl PlaceStore for EmbeddedStore {
    async fn footprints(&self, users: &[u64]) -> StoreResult<Vec<Option<Vec<u8>>>> {
        let users = users.to_vec();
        let look = move |transaction: &ReadTransaction, now: StoreTime| {
            let Some(kept) = table(transaction, FOOTPRINTS)? else { return Ok(vec![None; users.len()]) };
            let read = |user: &u64| -> Result<Option<Vec<u8>>, Fault> {
                let there = kept.get(*user)?.map(|there| (there.value().0.to_vec(), there.value().1));
                Ok(there.filter(|(_, until)| *until > now.as_micros()).map(|(bytes, _)| bytes))
            };
            users.iter().map(read).collect()
        };
        self.look_long("footprints", look).await
    }

    async fn keep_footprints(&self, changes: Vec<FootprintChange>) -> StoreResult<Vec<bool>> {
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            forget(tables, now)?;
            changes.iter().map(|change| keep(tables, change, now)).collect()
        };
        self.write("footprints_keep", work).await
    }

    async fn note_uses(&self, uses: Vec<CellUse>) -> StoreResult<()> {
        let work =
            move |tables: &mut Tables<'_>, now: StoreTime| uses.iter().try_for_each(|one| note_use(tables, one, now));
        self.write("place_uses", work).await
    }

    async fn users_of(&self, cells: &[u64], since: StoreTime) -> StoreResult<Vec<u64>> {
        let cells = cells.to_vec();
        let look = move |transaction: &ReadTransaction, _| {
            let Some(uses) = table(transaction, CELL_USERS)? else { return Ok(Vec::new()) };
            let mut users = Vec::new();
            for cell in cells {
                for entry in uses.range((cell, 0)..=(cell, u64::MAX))? {
                    let (key, at) = entry?;
                    if at.value() >= since.as_micros() {
                        users.push(key.value().1);
                    }
                }
            }
            Ok(users)
        };
        self.look_long("place_users", look).await
    }
}

/// A table, if anything was ever kept in it.
fn table<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'static, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, Fault> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn keep(tables: &Tables<'_>, change: &FootprintChange, now: StoreTime) -> Result<bool, Fault> {
    let FootprintChange { user, before, after } = change;
    let (mut kept, mut expiry) =
        (tables.transaction.open_table(FOOTPRINTS)?, tables.transaction.open_table(FOOTPRINT_EXPIRY)?);
    let there = kept.get(*user)?.map(|there| (there.value().0.to_vec(), there.value().1));
    let is_there = there.as_ref().filter(|(_, until)| *until > now.as_micros()).map(|(bytes, _)| bytes);
    if is_there != before.as_ref() {
        return Ok(false);
    }
    if let Some((_, until)) = there {
        expiry.remove((until, *user))?;
    }
    let until = now.after(FOOTPRINT_KEPT).as_micros();
    kept.insert(*user, (after.as_slice(), until))?;
    expiry.insert((until, *user), ())?;
    Ok(true)
}

fn forget(tables: &Tables<'_>, now: StoreTime) -> Result<(), Fault> {
    let mut expiry = tables.transaction.open_table(FOOTPRINT_EXPIRY)?;
    let mut over = Vec::new();
    for entry in expiry.range(..(now.as_micros(), 0))?.take(SWEPT) {
        let (key, ()) = entry.map(|(key, _)| (key.value(), ()))?;
        over.push(key);
    }
    let mut kept = tables.transaction.open_table(FOOTPRINTS)?;
    for (until, user) in over {
        expiry.remove((until, user))?;
        kept.remove(user)?;
    }
    Ok(())
}

fn note_use(tables: &Tables<'_>, one: &CellUse, now: StoreTime) -> Result<(), Fault> {
    let mut uses = tables.transaction.open_table(CELL_USERS)?;
    let key = (one.cell, one.user);
    let before = uses.get(key)?.map_or(0, |at| at.value());
    uses.insert(key, before.max(one.at.as_micros()))?;
    let mut of_cell = Vec::new();
    for entry in uses.range((one.cell, 0)..=(one.cell, u64::MAX))? {
        let (key, at) = entry?;
        of_cell.push((at.value(), key.value()));
    }
    of_cell.sort_unstable();
    let too_many = of_cell.len().saturating_sub(MOST_USERS);
    for (_, key) in of_cell.into_iter().take(too_many) {
        uses.remove(key)?;
    }
    // Of those that are next to it by name, which is anywhere: a few at each time keep it small.
    let oldest = now.before(TENANT_KNOWS).as_micros();
    let mut over = Vec::new();
    for entry in uses.range((one.cell, one.user)..)?.take(SWEPT) {
        let (key, at) = entry?;
        if at.value() < oldest {
            over.push(key.value());
        }
    }
    for key in over {
        uses.remove(key)?;
    }
    Ok(())
}
