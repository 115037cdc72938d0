//! Logins, counted in the file: what is kept of each bucket is a [`Tally`], which also decides.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::super::StoreResult;
use super::super::monitor::{
    ACCOUNTS_KEPT, LockCursor, LoginGuard, MOST_ACCOUNTS_OF_A_USER, MOST_LOCKS, Reserved, Settlement, page_of_locks,
};
use super::EmbeddedStore;
use super::expiring::Expiring;
use super::schema::{Fault, LOGIN_ACCOUNT_EXPIRY, LOGIN_ACCOUNTS, LOGIN_BUCKETS, LOGIN_EXPIRY, LOGIN_LOCKS, garbled};
use super::tables::Tables;
use crate::monitor::{AccountId, Attempt, Lock, LockId, LockNote, Outcome, Standing, Tally};
use crate::session::StoreTime;

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
            let locked = full.filter_map(|(at, full)| Some((&attempt.buckets.get(*at)?.note, full.until)));
            note_locks(tables, locked, now)?;
            Ok(settlement)
        };
        self.write("login_settle", work).await
    }

    async fn remember_account(&self, user: &str, account: &AccountId) -> StoreResult<()> {
        let (user, account) = (user.to_owned(), account.to_string());
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let mut kept = Expiring::open(tables.transaction, LOGIN_ACCOUNTS, LOGIN_ACCOUNT_EXPIRY)?;
            kept.sweep(1, now)?;
            let mut accounts = accounts_of(&kept, &user, now)?;
            accounts.retain(|known| *known != account);
            accounts.insert(0, account);
            accounts.truncate(MOST_ACCOUNTS_OF_A_USER);
            kept.put(&user, &serde_json::to_vec(&accounts).map_err(garbled)?, now.after(ACCOUNTS_KEPT))
        };
        self.write("login_remember", work).await
    }

    async fn lock_user(&self, user: &str, lasts: Duration) -> StoreResult<usize> {
        let user = user.to_owned();
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let known =
                accounts_of(&Expiring::open(tables.transaction, LOGIN_ACCOUNTS, LOGIN_ACCOUNT_EXPIRY)?, &user, now)?;
            let accounts = known.iter().filter_map(|account| AccountId::parse(account));
            let mut locked = Vec::new();
            for note in accounts.map(|account| LockNote::of_account(&account, lasts)) {
                let until = Buckets::open(tables)?.lock(&note.key, now.after(lasts), now)?;
                locked.push((note, until));
            }
            note_locks(tables, locked.iter().map(|(note, until)| (note, *until)), now)?;
            Ok(locked.len())
        };
        self.write("login_lock", work).await
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
struct Buckets<'txn>(Expiring<'txn>);

impl<'txn> Buckets<'txn> {
    fn open(tables: &Tables<'txn>) -> Result<Self, Fault> {
        Expiring::open(tables.transaction, LOGIN_BUCKETS, LOGIN_EXPIRY).map(Self)
    }

    fn reserve(&mut self, attempt: &Attempt, now: StoreTime) -> Result<Reserved, Fault> {
        self.0.sweep(attempt.buckets.len(), now)?;
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

    /// Locks one, whatever was counted. Answers until when.
    fn lock(&mut self, key: &str, until: StoreTime, now: StoreTime) -> Result<StoreTime, Fault> {
        let (mut tally, before) = match self.0.get(key, now)? {
            Some((bytes, before)) => (serde_json::from_slice(&bytes).unwrap_or_default(), before),
            None => (Tally::default(), now),
        };
        let ends = tally.lock(until, now);
        self.0.put(key, &serde_json::to_vec(&tally).map_err(garbled)?, ends.max(before))?;
        Ok(ends)
    }

    fn unlock(&mut self, key: &str, now: StoreTime) -> Result<(), Fault> {
        let Some((bytes, until)) = self.0.get(key, now)? else { return Ok(()) };
        let mut tally: Tally = serde_json::from_slice(&bytes).unwrap_or_default();
        tally.unlock(now);
        self.0.put(key, &serde_json::to_vec(&tally).map_err(garbled)?, until)
    }

    fn tally(&self, key: &str, now: StoreTime) -> Result<Option<Tally>, Fault> {
        // What another version wrote counts for nothing, as after its time.
        Ok(self.0.get(key, now)?.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok()))
    }

    fn write(&mut self, key: &str, tally: &Tally, attempt: &Attempt) -> Result<(), Fault> {
        self.0.put(key, &serde_json::to_vec(tally).map_err(garbled)?, tally.expires(attempt))
    }
}

/// The accounts by which a user was seen to log in, the last first.
fn accounts_of(kept: &Expiring<'_>, user: &str, now: StoreTime) -> Result<Vec<String>, Fault> {
    Ok(kept.get(user, now)?.and_then(|(accounts, _)| serde_json::from_slice(&accounts).ok()).unwrap_or_default())
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
    locked: impl Iterator<Item = (&'a LockNote, StoreTime)>,
    now: StoreTime,
) -> Result<(), Fault> {
    let mut locked = locked.peekable();
    if locked.peek().is_none() {
        return Ok(());
    }
    let mut locks = tables.transaction.open_table(LOGIN_LOCKS)?;
    for (note, until) in locked {
        let text = serde_json::to_string(note).map_err(garbled)?;
        locks.insert(LockId::of(&note.key).as_str(), (text.as_str(), until.as_micros()))?;
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
