//! The outbox of alerts, kept in the file. Who has taken one is known in memory alone: no other process has the file open,
//! and what was taken by one that is gone is nobody's.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableError};

use super::super::StoreResult;
use super::super::alerts::{
    ALERTS_KEPT, AlertId, AlertOutbox, Attempts, Fate, Gathered, LEASE, Limit, MOST_ALERTS, Next, Posting, Taken,
    Target, Waiting, gathered_name,
};
use super::super::monitor::FindingId;
use super::EmbeddedStore;
use super::schema::{ALERT_ATTEMPTS, ALERT_COUNTS, ALERT_QUEUES, ALERTS, ALERTS_GATHERED, Fault, garbled};
use super::tables::Tables;
use crate::session::StoreTime;

/// Limits that are over and go by the way whenever something is put in.
const SWEPT: usize = 16;

#[async_trait]
impl AlertOutbox for EmbeddedStore {
    async fn take(&self, queue: &str) -> StoreResult<Next> {
        // Held meanwhile, so that nobody else takes the same.
        let mut leases = self.leases.lock();
        let (outcome, next) = self.look(|transaction, now| {
            leases.retain(|_, until| *until > millis(now));
            let Some((due, found)) = first_due(transaction, queue, now, &leases)? else {
                return Ok(Next { now, taken: None, due: None });
            };
            let Some(waiting) = found else { return Ok(Next { now, taken: None, due: Some(due) }) };
            let lease = millis(now.after(LEASE));
            leases.insert(waiting.id.as_str().to_owned(), lease);
            Ok(Next { now, taken: Some(Taken { waiting, lease }), due: Some(due) })
        });
        self.shared.observer.command("alert_take", outcome);
        next
    }

    async fn done(&self, taken: &Taken) -> StoreResult<bool> {
        if !self.leases.is_held(taken.waiting.id.as_str(), taken.lease) {
            return Ok(false);
        }
        let id = taken.waiting.id.clone();
        let was_there = self.write("alert_done", move |tables, _| take_out(tables, id.as_str())).await?;
        self.leases.end(taken.waiting.id.as_str(), taken.lease);
        Ok(was_there)
    }

    async fn postpone(&self, taken: &Taken, pause: Duration, attempts: &Attempts) -> StoreResult<bool> {
        if !self.leases.is_held(taken.waiting.id.as_str(), taken.lease) {
            return Ok(false);
        }
        let (id, queue) = (taken.waiting.id.clone(), taken.waiting.target.queue.clone());
        let attempts = serde_json::to_string(attempts).unwrap_or_default();
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let due = millis(now.after(pause));
            let mut alerts = tables.transaction.open_table(ALERTS)?;
            let kept = alerts.get(id.as_str())?.map(|kept| (kept.value().0.to_owned(), kept.value().1));
            let Some((text, before)) = kept else { return Ok(false) };
            alerts.insert(id.as_str(), (text.as_str(), due))?;
            let mut queues = tables.transaction.open_table(ALERT_QUEUES)?;
            queues.remove((queue.as_str(), before, id.as_str()))?;
            queues.insert((queue.as_str(), due, id.as_str()), ())?;
            tables.transaction.open_table(ALERT_ATTEMPTS)?.insert(id.as_str(), attempts.as_str())?;
            Ok(true)
        };
        let was_there = self.write("alert_postpone", work).await?;
        self.leases.end(taken.waiting.id.as_str(), taken.lease);
        Ok(was_there)
    }

    async fn waiting(&self, after: Option<&AlertId>, limit: usize) -> StoreResult<Vec<Waiting>> {
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        let work = move |transaction: &ReadTransaction, _| {
            let alerts = match transaction.open_table(ALERTS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                opened => opened?,
            };
            let mut found = Vec::new();
            for entry in alerts.range(after.as_str()..)? {
                let (id, _) = entry?;
                if id.value() == after {
                    continue;
                }
                found.extend(read(transaction, id.value())?);
                if found.len() == limit {
                    break;
                }
            }
            Ok(found)
        };
        self.look_long("alerts", work).await
    }

    async fn count_waiting(&self) -> StoreResult<u64> {
        let (outcome, count) = self.look(|transaction, _| match transaction.open_table(ALERTS) {
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            opened => Ok(opened?.len()?),
        });
        self.shared.observer.command("alert_count", outcome);
        count
    }

    async fn forget_old(&self) -> StoreResult<u64> {
        let work = |tables: &mut Tables<'_>, now: StoreTime| {
            let oldest = now.before(ALERTS_KEPT);
            let mut old = Vec::new();
            for entry in tables.transaction.open_table(ALERTS)?.iter()? {
                let (id, _) = entry?;
                if AlertId::parse(id.value()).is_none_or(|id| id.since() < oldest) {
                    old.push(id.value().to_owned());
                }
            }
            for id in &old {
                take_out(tables, id)?;
            }
            Ok(old.len() as u64)
        };
        self.write("alert_forget", work).await
    }
}

/// The first of a queue that nobody has: when it is due, and it itself if it is.
fn first_due(
    transaction: &ReadTransaction,
    queue: &str,
    now: StoreTime,
    leases: &HashMap<String, u64>,
) -> Result<Option<(StoreTime, Option<Waiting>)>, Fault> {
    let queues = match transaction.open_table(ALERT_QUEUES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        opened => opened?,
    };
    for entry in queues.range((queue, 0, "")..(queue, u64::MAX, ""))? {
        let (key, ()) = entry.map(|(key, _)| (key, ()))?;
        let (_, due, id) = key.value();
        if leases.contains_key(id) {
            continue;
        }
        let found = if due <= millis(now) { read(transaction, id)? } else { None };
        return Ok(Some((StoreTime::from_millis(due), found)));
    }
    Ok(None)
}

fn read(transaction: &ReadTransaction, id: &str) -> Result<Option<Waiting>, Fault> {
    let Some(kept) = transaction.open_table(ALERTS)?.get(id)? else { return Ok(None) };
    let (target, due) = kept.value();
    let target = Target::decode(target.as_bytes()).ok_or_else(|| garbled("an alert to nobody"))?;
    let id = AlertId::parse(id).ok_or_else(|| garbled("an alert without an id"))?;
    let text = |table| match transaction.open_table::<&str, &str>(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        opened => Ok::<_, Fault>(opened?.get(id.as_str())?.map(|text| text.value().to_owned())),
    };
    let attempts = text(ALERT_ATTEMPTS)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let gathered = text(ALERTS_GATHERED)?.and_then(|text| Gathered::decode(text.as_bytes()));
    Ok(Some(Waiting { id, target, due: StoreTime::from_millis(due), attempts, gathered }))
}

/// Takes one out, with all that is kept of it. Answers whether it was there.
fn take_out(tables: &Tables<'_>, id: &str) -> Result<bool, Fault> {
    let mut alerts = tables.transaction.open_table(ALERTS)?;
    let kept = alerts.remove(id)?.map(|kept| (Target::decode(kept.value().0.as_bytes()), kept.value().1));
    let Some((target, due)) = kept else { return Ok(false) };
    if let Some(target) = target {
        tables.transaction.open_table(ALERT_QUEUES)?.remove((target.queue.as_str(), due, id))?;
    }
    tables.transaction.open_table(ALERT_ATTEMPTS)?.remove(id)?;
    tables.transaction.open_table(ALERTS_GATHERED)?.remove(id)?;
    Ok(true)
}

/// Puts in what is to be told of a new finding.
pub(super) fn put_in(
    tables: &Tables<'_>,
    postings: &[Posting],
    finding: FindingId,
    kind: &str,
    now: StoreTime,
) -> Result<Vec<Fate>, Fault> {
    let mut fates = Vec::with_capacity(postings.len());
    for (number, posting) in postings.iter().enumerate() {
        let beyond = match &posting.limit {
            Some(limit) if is_over(tables, limit, now)? => Some(limit.beyond),
            _ => None,
        };
        let fate = match (beyond, posting.gathered) {
            (Some(None), _) => Fate::Limited,
            (Some(Some(period)), _) | (None, Some(period)) => gather(tables, posting, period, (finding, kind), now)?,
            (None, None) if put(tables, &AlertId::at_once(finding, number), &posting.target, millis(now))? => Fate::Put,
            (None, None) => Fate::Dropped,
        };
        fates.push(fate);
    }
    Ok(fates)
}

/// Counts one more; whether those are too many.
fn is_over(tables: &Tables<'_>, limit: &Limit, now: StoreTime) -> Result<bool, Fault> {
    let mut counts = tables.transaction.open_table(ALERT_COUNTS)?;
    let mut over = Vec::new();
    for entry in counts.range(limit.name.as_str()..)?.take(SWEPT) {
        let (name, count) = entry?;
        if count.value().1 <= millis(now) {
            over.push(name.value().to_owned());
        }
    }
    for name in over {
        counts.remove(name.as_str())?;
    }
    let kept = counts.get(limit.name.as_str())?.map(|count| count.value());
    let (count, until) = kept.unwrap_or((0, millis(now.after(limit.within))));
    counts.insert(limit.name.as_str(), (count.saturating_add(1), until))?;
    Ok(count >= limit.most)
}

fn gather(
    tables: &Tables<'_>,
    posting: &Posting,
    period: Duration,
    (finding, kind): (FindingId, &str),
    now: StoreTime,
) -> Result<Fate, Fault> {
    let length = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
    let ends = (millis(now) / length + 1).saturating_mul(length);
    let id = AlertId::gathered(ends, &gathered_name(&posting.target, period));
    let kept = {
        let table = tables.transaction.open_table(ALERTS_GATHERED)?;
        table.get(id.as_str())?.and_then(|text| Gathered::decode(text.value().as_bytes()))
    };
    let mut gathered = match kept {
        Some(gathered) => gathered,
        None if put(tables, &id, &posting.target, ends)? => Gathered::default(),
        None => return Ok(Fate::Dropped),
    };
    gathered.add(finding, kind.to_owned());
    let text = serde_json::to_string(&gathered).map_err(garbled)?;
    tables.transaction.open_table(ALERTS_GATHERED)?.insert(id.as_str(), text.as_str())?;
    Ok(Fate::Gathered)
}

/// Puts one in. Answers whether there was room in its queue.
fn put(tables: &Tables<'_>, id: &AlertId, target: &Target, due: u64) -> Result<bool, Fault> {
    let mut alerts = tables.transaction.open_table(ALERTS)?;
    let mut queues = tables.transaction.open_table(ALERT_QUEUES)?;
    let queue = target.queue.as_str();
    // Counted only where all together are as many: it takes as long as there are many.
    if alerts.len()? >= MOST_ALERTS as u64
        && queues.range((queue, 0, "")..(queue, u64::MAX, ""))?.take(MOST_ALERTS).count() >= MOST_ALERTS
    {
        return Ok(false);
    }
    alerts.insert(id.as_str(), (target.encode().as_str(), due))?;
    queues.insert((queue, due, id.as_str()), ())?;
    Ok(true)
}

const fn millis(time: StoreTime) -> u64 {
    time.as_micros() / 1000
}
