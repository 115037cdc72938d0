//! Counts for reports, and what front ends report, kept in the file.

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable as _, Table};

use super::super::StoreResult;
use super::super::activities::{ACTIVITIES_KEPT_SECONDS, Activity, ActivityStore, KeptActivity, MOST_ACTIVITIES};
use super::super::monitor::FindingId;
use super::super::reports::{COUNTS_KEPT_DAYS, MOST_USERS_A_DAY, ReportStore};
use super::EmbeddedStore;
use super::schema::{ACTIVITIES, Fault, REPORT_COUNTS};
use super::tables::Tables;
use super::there::there;
use crate::monitor::{CountOf, Counted, Counts, Day, DayCounts};
use crate::session::{StoreTime, TenantId};

/// What goes by the way whenever something is kept.
const SWEPT: usize = 64;
/// Sorts after the field of every user.
const AFTER_ALL_USERS: &str = "u!";

#[async_trait]
impl ReportStore for EmbeddedStore {
    async fn add_counts(&self, counts: &[DayCounts]) -> StoreResult<()> {
        let counts = counts.to_vec();
        self.write("report_add", move |tables, now| add(tables, &counts, now)).await
    }

    async fn counts(&self, of: &CountOf, first: Day, last: Day) -> StoreResult<Vec<(Day, Counts)>> {
        let of = name(of);
        let look = move |transaction: &ReadTransaction, _: StoreTime| {
            let kept = there(transaction, REPORT_COUNTS)?;
            let mut days = Vec::new();
            for day in first.until(last) {
                let mut counts = Vec::new();
                let entries = kept.as_ref().map(|kept| kept.range((day.number(), of.as_str(), "")..)).transpose()?;
                for entry in entries.into_iter().flatten() {
                    let (key, count) = entry?;
                    let (of_day, whose, field) = key.value();
                    if of_day != day.number() || whose != of {
                        break;
                    }
                    counts.extend(Counted::decode(field).map(|counted| (counted, count.value())));
                }
                days.push((day, counts));
            }
            Ok(days)
        };
        self.look_long("report", look).await
    }
}

/// What stands for whom something is counted of. No tenant's is that of all.
fn name(of: &CountOf) -> String {
    match of {
        CountOf::All => String::new(),
        CountOf::Tenant(tenant) => format!("{}.", tenant.kept()),
    }
}

fn add(tables: &Tables<'_>, counts: &[DayCounts], now: StoreTime) -> Result<(), Fault> {
    let mut kept = tables.transaction.open_table(REPORT_COUNTS)?;
    for DayCounts { of, day, counts } in counts {
        let (of, day) = (name(of), day.number());
        let users = (day, of.as_str(), "u ")..(day, of.as_str(), AFTER_ALL_USERS);
        let mut users = kept.range(users)?.take(MOST_USERS_A_DAY).count();
        for (counted, times) in counts {
            let field = counted.encode();
            let before = kept.get((day, of.as_str(), field.as_str()))?.map(|count| count.value());
            if counted.is_of_a_user() && before.is_none() {
                if users >= MOST_USERS_A_DAY {
                    continue;
                }
                users += 1;
            }
            let count = before.unwrap_or_default().saturating_add(*times);
            kept.insert((day, of.as_str(), field.as_str()), count)?;
        }
    }
    let oldest = u32::try_from(now.as_micros() / 86_400_000_000).unwrap_or(u32::MAX).saturating_sub(COUNTS_KEPT_DAYS);
    for _ in 0..SWEPT {
        let over = kept.first()?.is_some_and(|(key, _)| key.value().0 < oldest);
        if !over {
            break;
        }
        kept.pop_first()?;
    }
    Ok(())
}

#[async_trait]
impl ActivityStore for EmbeddedStore {
    async fn keep_activities(&self, tenant: &TenantId, activities: &[Activity]) -> StoreResult<()> {
        let (tenant, activities) = (tenant.kept().to_owned(), activities.to_vec());
        self.write("activities_keep", move |tables, now| keep(tables, &tenant, &activities, now)).await
    }

    async fn activities(
        &self,
        tenant: &TenantId,
        position: Option<FindingId>,
        limit: usize,
    ) -> StoreResult<Vec<KeptActivity>> {
        let tenant = tenant.kept().to_owned();
        let before = position.map_or((u64::MAX, u64::MAX), |position| (position.millis, position.count));
        let look = move |transaction: &ReadTransaction, now: StoreTime| {
            let first = (oldest(now), 0);
            let Some(kept) = there(transaction, ACTIVITIES)?.filter(|_| before > first) else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for entry in kept.range((tenant.as_str(), first.0, 0)..(tenant.as_str(), before.0, before.1))?.rev() {
                if found.len() == limit {
                    break;
                }
                let (key, text) = entry?;
                let (_, millis, count) = key.value();
                let activity = serde_json::from_str(text.value()).ok();
                found.push(KeptActivity { id: FindingId { millis, count }, activity });
            }
            Ok(found)
        };
        self.look_long("activities", look).await
    }
}

/// What is older (ms) is kept no longer.
const fn oldest(now: StoreTime) -> u64 {
    (now.as_micros() / 1000).saturating_sub(ACTIVITIES_KEPT_SECONDS * 1000)
}

fn keep(tables: &Tables<'_>, tenant: &str, activities: &[Activity], now: StoreTime) -> Result<(), Fault> {
    let mut kept = tables.transaction.open_table(ACTIVITIES)?;
    let all = (tenant, 0, 0)..=(tenant, u64::MAX, u64::MAX);
    let last = kept.range(all.clone())?.next_back().transpose()?;
    let last = last.map(|(key, _)| {
        let (_, at, count) = key.value();
        (at, count)
    });
    let millis = now.as_micros() / 1000;
    // Later than the last, whatever the clock says.
    let (at, mut count) = match last {
        Some((at, count)) if at >= millis => (at, count.saturating_add(1)),
        _ => (millis, 0),
    };
    for activity in activities {
        let text = serde_json::to_string(activity).unwrap_or_default();
        kept.insert((tenant, at, count), text.as_str())?;
        count = count.saturating_add(1);
    }
    let mut over = Vec::new();
    let many = kept.range(all.clone())?.count().saturating_sub(MOST_ACTIVITIES);
    for entry in kept.range(all)? {
        let (_, millis, count) = entry?.0.value();
        if over.len() >= many && millis >= oldest(now) {
            break;
        }
        over.push((millis, count));
    }
    for (millis, count) in over {
        kept.remove((tenant, millis, count))?;
    }
    sweep_next(&mut kept, tenant, oldest(now))
}

/// Forgets some of what is older (ms) than that of whoever comes after a tenant: of who writes nothing more, nobody else
/// would. Who writes has the next swept, until that one has nothing and another is the next.
pub(super) fn sweep_next(
    kept: &mut Table<'_, (&'static str, u64, u64), &'static str>,
    tenant: &str,
    oldest: u64,
) -> Result<(), Fault> {
    let next = match kept.range((tenant, u64::MAX, u64::MAX)..)?.next().transpose()? {
        Some((key, _)) => Some(key.value().0.to_owned()),
        None => kept.first()?.map(|(key, _)| key.value().0.to_owned()),
    };
    let Some(next) = next else { return Ok(()) };
    let mut over = Vec::new();
    for entry in kept.range((next.as_str(), 0, 0)..(next.as_str(), oldest, 0))?.take(SWEPT) {
        let (_, millis, count) = entry?.0.value();
        over.push((millis, count));
    }
    for (millis, count) in over {
        kept.remove((next.as_str(), millis, count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Builder, ReadableTableMetadata as _};

    use super::*;

    #[test]
    fn what_is_old_goes_when_another_tenant_writes_and_what_is_not_stays() {
        let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("memory");
        let transaction = database.begin_write().expect("memory");
        let mut kept = transaction.open_table(ACTIVITIES).expect("memory");
        for number in 0..200 {
            kept.insert(("b", number, 0), "old").expect("memory");
        }
        kept.insert(("c", 5, 0), "old").expect("memory");
        kept.insert(("c", 1000, 0), "new").expect("memory");
        let mut counts = Vec::new();
        for writer in ["a", "a", "z", "z", "c", "b", "b"] {
            sweep_next(&mut kept, writer, 1000).expect("memory");
            counts.push(kept.len().expect("memory"));
        }
        // The first comes after the last, who may be the same.
        assert_eq!(counts, [138, 74, 10, 2, 1, 1, 1]);
    }
}
