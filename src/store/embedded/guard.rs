//! Logins, counted in the file: what is kept of each bucket is a [`Tally`], which also decides.

use std::collections::HashMap;

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table};

use super::super::StoreResult;
use super::super::monitor::{LockCursor, LoginGuard, MOST_LOCKS, Reserved, Settlement, page_of_locks};
use super::EmbeddedStore;
use super::schema::{Fault, LOGIN_BUCKETS, LOGIN_EXPIRY, LOGIN_LOCKS, garbled};
use super::tables::Tables;
use crate::monitor::{Attempt, Bucket, Lock, LockId, LockNote, Outcome, Standing, Tally};
use crate::session::StoreTime;

/// Buckets that are forgotten by the way, whenever one is written.
const SWEPT: usize = 16;

#[async_trait]
impl LoginGuard for EmbeddedStore {
    async fn reserve(&self, attempt: &Attempt) -> StoreResult<Reserved> {
        let attempt = attempt.clone();
        self.write("login_reserve", move |tables, now| Buckets::open(tables)?.reserve(&attempt, now)).await
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> StoreResult<Settlement> {
        let attempt = attempt.clone();
        let work = move |tables: &mut Tables<'_>, now| {
            let settlement = Buckets::open(tables)?.settle(&attempt, outcome, now)?;
            let full = settlement.full.iter().filter(|_| attempt.lists_locks);
            let locked = full.filter_map(|(at, full)| Some((attempt.buckets.get(*at)?, full.until)));
            note_locks(tables, locked, now)?;
            Ok(settlement)
        };
        self.write("login_settle", work).await
    }

    async fn locks(&self, after: Option<&LockCursor>, limit: usize) -> StoreResult<Vec<Lock>> {
        let locks = self.write("login_locks", |tables, now| all_locks(tables, now)).await?;
        Ok(page_of_locks(locks, after, limit))
    }

    async fn count_locks(&self) -> StoreResult<u64> {
        self.write("login_locks", |tables, now| Ok(all_locks(tables, now)?.len() as u64)).await
    }

    async fn unlock(&self, id: &LockId) -> StoreResult<Option<Lock>> {
        let id = id.clone();
        let work = move |tables: &mut Tables<'_>, now| {
            let Some(lock) = all_locks(tables, now)?.into_iter().find(|lock| lock.id() == id) else { return Ok(None) };
            tables.transaction.open_table(LOGIN_LOCKS)?.remove(id.as_str())?;
            Buckets::open(tables)?.unlock(&lock.note.key, now)?;
            Ok(Some(lock))
        };
        self.write("login_unlock", work).await
    }
}

/// The buckets in one transaction.
struct Buckets<'txn> {
    /// A bucket to its tally and until when (µs) that says anything.
    kept: Table<'txn, &'static str, (&'static [u8], u64)>,
    expiry: Table<'txn, (u64, &'static str), ()>,
}

impl<'txn> Buckets<'txn> {
    fn open(tables: &Tables<'txn>) -> Result<Self, Fault> {
        let transaction = tables.transaction;
        Ok(Self { kept: transaction.open_table(LOGIN_BUCKETS)?, expiry: transaction.open_table(LOGIN_EXPIRY)? })
    }

    fn reserve(&mut self, attempt: &Attempt, now: StoreTime) -> Result<Reserved, Fault> {
        self.sweep(now)?;
        let mut tallies = Vec::with_capacity(attempt.buckets.len());
        let (mut busy, mut new) = (false, 0);
        let mut locked: Option<(usize, StoreTime)> = None;
        for (at, bucket) in attempt.buckets.iter().enumerate() {
            let tally = self.tally(&bucket.key, now)?;
            let is_new = tally.is_none();
            let is_counted = !is_new || attempt.remembers(bucket);
            new += u32::from(is_new && is_counted && bucket.is_of_account());
            let tally = tally.unwrap_or_default();
            match tally.standing(bucket, attempt, now) {
                Standing::Free => {}
                Standing::Busy => busy = true,
                Standing::Locked(until) => {
                    if locked.is_none_or(|(_, before)| until > before) {
                        locked = Some((at, until));
                    }
                }
            }
            tallies.push(Some(tally).filter(|_| is_counted));
        }
        if let Some((bucket, until)) = locked {
            return Ok(Reserved::Locked { bucket, until, now });
        }
        if busy {
            return Ok(Reserved::Busy);
        }
        for (bucket, tally) in attempt.buckets.iter().zip(tallies) {
            let Some(mut tally) = tally else { continue };
            tally.reserve(attempt, now);
            self.write(&bucket.key, &tally, attempt)?;
        }
        Ok(Reserved::Yes { new })
    }

    fn settle(&mut self, attempt: &Attempt, outcome: Outcome, now: StoreTime) -> Result<Settlement, Fault> {
        let mut settlement = Settlement::default();
        if let (Outcome::Succeeded, Some(key)) = (outcome, &attempt.account_key) {
            settlement.elsewhere = self.tally(key, now)?.map_or(0, |tally| tally.elsewhere(attempt, now));
        }
        for (at, bucket) in attempt.buckets.iter().enumerate() {
            let tally = self.tally(&bucket.key, now)?;
            let is_new = tally.is_none();
            if is_new && !attempt.remembers(bucket) {
                continue;
            }
            let mut tally = tally.unwrap_or_default();
            match outcome {
                Outcome::Failed => {
                    settlement.new += u32::from(is_new && bucket.is_of_account());
                    settlement.full.extend(tally.fail(bucket, attempt, now).map(|full| (at, full)));
                }
                Outcome::Succeeded if bucket.is_cleared_by_success() => {
                    tally.release(attempt);
                    tally.clear();
                }
                Outcome::Succeeded | Outcome::Neither => tally.release(attempt),
            }
            if !is_new || outcome == Outcome::Failed {
                self.write(&bucket.key, &tally, attempt)?;
            }
        }
        Ok(settlement)
    }

    fn unlock(&mut self, key: &str, now: StoreTime) -> Result<(), Fault> {
        let Some(mut tally) = self.tally(key, now)? else { return Ok(()) };
        tally.unlock(now);
        let until = self.kept.get(key)?.map(|kept| kept.value().1).unwrap_or_default();
        let bytes = serde_json::to_vec(&tally).map_err(garbled)?;
        self.kept.insert(key, (bytes.as_slice(), until))?;
        Ok(())
    }

    fn tally(&self, key: &str, now: StoreTime) -> Result<Option<Tally>, Fault> {
        let Some(kept) = self.kept.get(key)? else { return Ok(None) };
        let (bytes, until) = kept.value();
        if until <= now.as_micros() {
            return Ok(None);
        }
        // What another version wrote counts for nothing, as after its time.
        Ok(serde_json::from_slice(bytes).ok())
    }

    fn write(&mut self, key: &str, tally: &Tally, attempt: &Attempt) -> Result<(), Fault> {
        let until = tally.expires(attempt).as_micros();
        let bytes = serde_json::to_vec(tally).map_err(garbled)?;
        let before = self.kept.insert(key, (bytes.as_slice(), until))?.map(|kept| kept.value().1);
        if let Some(before) = before {
            self.expiry.remove((before, key))?;
        }
        self.expiry.insert((until, key), ())?;
        Ok(())
    }

    fn sweep(&mut self, now: StoreTime) -> Result<(), Fault> {
        let mut due = Vec::new();
        for entry in self.expiry.range(..(now.as_micros(), ""))?.take(SWEPT) {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            let (at, key) = key.value();
            due.push((at, key.to_owned()));
        }
        for (at, key) in &due {
            self.expiry.remove((*at, key.as_str()))?;
            self.kept.remove(key.as_str())?;
        }
        Ok(())
    }
}

/// The locks in force.
fn all_locks(tables: &Tables<'_>, now: StoreTime) -> Result<Vec<Lock>, Fault> {
    let locks = tables.transaction.open_table(LOGIN_LOCKS)?;
    let mut found = Vec::new();
    for entry in locks.iter()? {
        let (_, kept) = entry?;
        let (note, until) = kept.value();
        let until = StoreTime::from_micros(until);
        if let (true, Ok(note)) = (until > now, serde_json::from_str(note)) {
            found.push(Lock { note, until });
        }
    }
    Ok(found)
}

/// Writes locks down, for lists; those that are over go.
fn note_locks<'a>(
    tables: &Tables<'_>,
    locked: impl Iterator<Item = (&'a Bucket, StoreTime)>,
    now: StoreTime,
) -> Result<(), Fault> {
    let mut locked = locked.peekable();
    if locked.peek().is_none() {
        return Ok(());
    }
    let mut locks = tables.transaction.open_table(LOGIN_LOCKS)?;
    for (bucket, until) in locked {
        let note: &LockNote = &bucket.note;
        let note = serde_json::to_string(note).map_err(garbled)?;
        locks.insert(LockId::of(&bucket.key).as_str(), (note.as_str(), until.as_micros()))?;
    }
    locks.retain(|_, (_, until)| until > now.as_micros())?;
    let over = usize::try_from(locks.len()?).unwrap_or(usize::MAX).saturating_sub(MOST_LOCKS);
    if over > 0 {
        let mut ends = HashMap::new();
        for entry in locks.iter()? {
            let (id, kept) = entry?;
            ends.insert(id.value().to_owned(), kept.value().1);
        }
        let mut ends: Vec<(String, u64)> = ends.into_iter().collect();
        ends.sort_by_key(|(_, until)| *until);
        for (id, _) in ends.into_iter().take(over) {
            locks.remove(id.as_str())?;
        }
    }
    Ok(())
}
