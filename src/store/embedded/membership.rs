//! Who paid and has no tenant yet, kept in the file.

use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table};

use super::super::membership::{
    Attempts, MOST_ORPHANS, MembershipStore, ORPHANS_KEPT, Orphan, OrphanCursor, OrphanNoted, Subject, key_of,
};
use super::super::{Page, StoreResult};
use super::EmbeddedStore;
use super::schema::{Fault, ORPHANS, ORPHANS_ASKED, ORPHANS_WAITING, garbled};
use super::tables::Tables;
use crate::session::{StoreTime, UserId};

/// What goes by the way whenever somebody is noted.
const SWEPT: usize = 16;

#[async_trait]
impl MembershipStore for EmbeddedStore {
    async fn note_orphan(&self, user: &UserId, attempts: &Attempts) -> StoreResult<OrphanNoted> {
        let (user, attempts) = (user.clone(), attempts.clone());
        let work = move |tables: &mut Tables<'_>, now| Orphans::open(tables)?.note(&user, &attempts, false, now);
        Ok(self.write("orphan_note", work).await?.unwrap_or(OrphanNoted::Known))
    }

    async fn note_attempts(&self, user: &UserId, attempts: &Attempts) -> StoreResult<bool> {
        let (user, attempts) = (user.clone(), attempts.clone());
        let work = move |tables: &mut Tables<'_>, now| Orphans::open(tables)?.note(&user, &attempts, true, now);
        Ok(self.write("orphan_note", work).await?.is_some())
    }

    async fn forget_orphan(&self, user: &UserId) -> StoreResult<bool> {
        let key = key_of(user);
        self.write("orphan_forget", move |tables, _| Orphans::open(tables)?.forget(&key)).await
    }

    async fn orphans(&self, after: Option<&OrphanCursor>, limit: usize) -> StoreResult<Page<Orphan, OrphanCursor>> {
        let after = after.cloned();
        self.write("orphans", move |tables, now| Orphans::open(tables)?.page(after, limit, now)).await
    }

    async fn count_orphans(&self) -> StoreResult<u64> {
        let count = |tables: &mut Tables<'_>, now| Orphans::open(tables)?.count(now);
        self.write("orphans", count).await
    }

    async fn claim(&self, subject: &Subject, lasts: Duration) -> StoreResult<bool> {
        Ok(self.claims.take(subject, lasts, self.shared.clock.now()))
    }
}

/// Those that are kept, in one transaction.
struct Orphans<'txn> {
    /// Who they are, since when they wait and when they were asked about last (ms), how often, and what went wrong.
    kept: Table<'txn, &'static str, (&'static str, u64, u64, u64, &'static str)>,
    /// By since when they wait (ms).
    waiting: Table<'txn, (u64, &'static str), ()>,
    /// By when they were asked about last (ms).
    asked: Table<'txn, (u64, &'static str), ()>,
}

impl<'txn> Orphans<'txn> {
    fn open(tables: &Tables<'txn>) -> Result<Self, Fault> {
        let transaction = tables.transaction;
        Ok(Self {
            kept: transaction.open_table(ORPHANS)?,
            waiting: transaction.open_table(ORPHANS_WAITING)?,
            asked: transaction.open_table(ORPHANS_ASKED)?,
        })
    }

    /// `None` for who is to be known and is not.
    fn note(
        &mut self,
        user: &UserId,
        attempts: &Attempts,
        known: bool,
        now: StoreTime,
    ) -> Result<Option<OrphanNoted>, Fault> {
        self.sweep(now)?;
        let (key, now) = (key_of(user), millis(now));
        let before = self.get(&key)?;
        if known && before.is_none() {
            return Ok(None);
        }
        let noted = if before.is_some() { OrphanNoted::Known } else { OrphanNoted::New };
        let (since, count, error) = match before {
            Some(before) => (millis(before.since), before.attempts, before.error),
            None => (now, 0, None),
        };
        self.forget(&key)?;
        let error = attempts.error.clone().or(error).unwrap_or_default();
        let count = count.saturating_add(u64::from(attempts.count));
        self.kept.insert(key.as_str(), (user.kept(), since, now, count, error.as_str()))?;
        self.waiting.insert((since, key.as_str()), ())?;
        self.asked.insert((now, key.as_str()), ())?;
        let over = usize::try_from(self.kept.len()?).map_err(garbled)?.saturating_sub(MOST_ORPHANS).min(SWEPT);
        for key in self.asked_longest_ago(u64::MAX, over)? {
            self.forget(&key)?;
        }
        Ok(Some(noted))
    }

    fn get(&self, key: &str) -> Result<Option<Orphan>, Fault> {
        let Some(kept) = self.kept.get(key)? else { return Ok(None) };
        let (user, since, last, attempts, error) = kept.value();
        let user = UserId::parse_kept(user).map_err(garbled)?;
        let (since, last) = (StoreTime::from_millis(since), StoreTime::from_millis(last));
        let error = (!error.is_empty()).then(|| error.to_owned());
        Ok(Some(Orphan { user, since, last, attempts, error }))
    }

    fn forget(&mut self, key: &str) -> Result<bool, Fault> {
        let Some((since, last)) = self.kept.remove(key)?.map(|kept| (kept.value().1, kept.value().2)) else {
            return Ok(false);
        };
        self.waiting.remove((since, key))?;
        self.asked.remove((last, key))?;
        Ok(true)
    }

    fn sweep(&mut self, now: StoreTime) -> Result<(), Fault> {
        for key in self.asked_longest_ago(oldest(now), SWEPT)? {
            self.forget(&key)?;
        }
        Ok(())
    }

    /// Those asked about no later than `until` (ms), at most so many.
    fn asked_longest_ago(&self, until: u64, most: usize) -> Result<Vec<String>, Fault> {
        let mut keys = Vec::new();
        for entry in self.asked.range(..(until.saturating_add(1), ""))?.take(most) {
            keys.push(entry?.0.value().1.to_owned());
        }
        Ok(keys)
    }

    fn page(
        &self,
        after: Option<OrphanCursor>,
        limit: usize,
        now: StoreTime,
    ) -> Result<Page<Orphan, OrphanCursor>, Fault> {
        let after = after.unwrap_or(OrphanCursor { since: 0, key: String::new() });
        let behind = (Bound::Excluded((after.since, after.key.as_str())), Bound::Unbounded);
        let (mut items, mut last, mut looked_at) = (Vec::new(), None, 0);
        for entry in self.waiting.range::<(u64, &str)>(behind)?.take(limit) {
            let entry = entry?.0;
            let (since, key) = entry.value();
            items.extend(self.get(key)?.filter(|orphan| millis(orphan.last) > oldest(now)));
            last = Some(OrphanCursor { since, key: key.to_owned() });
            looked_at += 1;
        }
        Ok(Page { items, next: last.filter(|_| looked_at == limit) })
    }

    fn count(&self, now: StoreTime) -> Result<u64, Fault> {
        let kept = self.asked.range((oldest(now).saturating_add(1), "")..)?;
        Ok(kept.count() as u64)
    }
}

/// Whoever was asked about no later than that (ms) is kept no longer.
fn oldest(now: StoreTime) -> u64 {
    millis(now.before(ORPHANS_KEPT))
}

const fn millis(time: StoreTime) -> u64 {
    time.as_micros() / 1000
}
