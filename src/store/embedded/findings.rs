//! What was found, kept in the file.

use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::super::StoreResult;
use super::super::alerts::kind_of;
use super::super::monitor::{FINDINGS_KEPT, FindingId, FindingStore, Kept, KeptFinding, MOST_FINDINGS, ToKeep};
use super::EmbeddedStore;
use super::alerts::put_in;
use super::schema::{FINDING_NOTES, FINDINGS, FINDINGS_AGAIN, Fault, SAME_FINDINGS, garbled};
use super::tables::Tables;
use crate::monitor::{FindingNote, FindingRecord};
use crate::session::StoreTime;

/// Findings, and what tells the same of them, that go by the way whenever one is kept.
const SWEPT: usize = 16;

#[async_trait]
impl FindingStore for EmbeddedStore {
    async fn keep(&self, finding: ToKeep<'_>) -> StoreResult<Kept> {
        let ToKeep { record, dedupe, repeat, postings } = finding;
        let (text, kind, dedupe, postings) = (record.encode(), kind_of(record), dedupe.to_owned(), postings.to_vec());
        let work = move |tables: &mut Tables<'_>, now| {
            let (id, is_new) = keep(tables, &text, &dedupe, repeat, now)?;
            if !is_new {
                return Ok(Kept::Again(id));
            }
            let fates = put_in(tables, &postings, id, &kind, now)?;
            Ok(Kept::New { id, fates })
        };
        self.write("finding_keep", work).await
    }

    async fn findings(&self, position: Option<FindingId>, limit: usize) -> StoreResult<Vec<KeptFinding>> {
        let before = position.map_or((u64::MAX, u64::MAX), place);
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let oldest = (millis(now.before(FINDINGS_KEPT)), 0);
            let findings = tables.transaction.open_table(FINDINGS)?;
            let mut found = Vec::new();
            for entry in findings.range(oldest..before.max(oldest))?.rev().take(limit) {
                let (id, text) = entry?;
                found.push((id.value(), text.value().to_owned()));
            }
            drop(findings);
            found.into_iter().map(|(id, text)| kept(tables, id, &text)).collect()
        };
        self.write("findings", work).await
    }

    async fn finding(&self, id: FindingId) -> StoreResult<Option<KeptFinding>> {
        let work = move |tables: &mut Tables<'_>, now: StoreTime| {
            let text = tables.transaction.open_table(FINDINGS)?.get(place(id))?.map(|text| text.value().to_owned());
            let text = text.filter(|_| id.millis >= millis(now.before(FINDINGS_KEPT)));
            text.map(|text| kept(tables, place(id), &text)).transpose()
        };
        self.write("findings", work).await
    }

    async fn judge(&self, id: FindingId, note: &FindingNote) -> StoreResult<bool> {
        let note = serde_json::to_string(note).unwrap_or_default();
        let work = move |tables: &mut Tables<'_>, _| {
            if tables.transaction.open_table(FINDINGS)?.get(place(id))?.is_none() {
                return Ok(false);
            }
            tables.transaction.open_table(FINDING_NOTES)?.insert(place(id), note.as_str())?;
            Ok(true)
        };
        self.write("finding_judge", work).await
    }
}

const fn place(id: FindingId) -> (u64, u64) {
    (id.millis, id.count)
}

const fn millis(time: StoreTime) -> u64 {
    time.as_micros() / 1000
}

fn kept(tables: &Tables<'_>, (millis, count): (u64, u64), text: &str) -> Result<KeptFinding, Fault> {
    let again = tables.transaction.open_table(FINDINGS_AGAIN)?.get((millis, count))?.map(|again| again.value());
    let notes = tables.transaction.open_table(FINDING_NOTES)?;
    let note = notes.get((millis, count))?.and_then(|note| serde_json::from_str(note.value()).ok());
    Ok(KeptFinding {
        id: FindingId { millis, count },
        record: FindingRecord::decode(text.as_bytes()),
        repeats: again.unwrap_or_default(),
        note,
    })
}

/// Keeps it, unless the same was kept a while ago; answers which it is, and whether that is new.
fn keep(
    tables: &Tables<'_>,
    text: &str,
    dedupe: &str,
    repeat: Duration,
    now: StoreTime,
) -> Result<(FindingId, bool), Fault> {
    let mut same = tables.transaction.open_table(SAME_FINDINGS)?;
    let first = same.get(dedupe)?.map(|first| first.value()).filter(|(_, _, until)| *until > now.as_micros());
    if let Some((millis, count, _)) = first {
        let mut again = tables.transaction.open_table(FINDINGS_AGAIN)?;
        let times = again.get((millis, count))?.map_or(0, |again| again.value());
        again.insert((millis, count), times.saturating_add(1))?;
        return Ok((FindingId { millis, count }, false));
    }
    let mut findings = tables.transaction.open_table(FINDINGS)?;
    let last = findings.last()?.map(|(last, _)| last.value());
    // Later than the last, whatever the clock says.
    let id = match last {
        Some((at, count)) if at >= millis(now) => (at, count.saturating_add(1)),
        _ => (millis(now), 0),
    };
    findings.insert(id, text)?;
    same.insert(dedupe, (id.0, id.1, now.after(repeat).as_micros()))?;
    // Of those that are next to it by name, which is anywhere: a few at each time keep it small.
    let mut over = Vec::new();
    for entry in same.range(dedupe..)?.take(SWEPT) {
        let (name, first) = entry?;
        if first.value().2 <= now.as_micros() {
            over.push(name.value().to_owned());
        }
    }
    for name in over {
        same.remove(name.as_str())?;
    }
    let too_many = usize::try_from(findings.len()?).map_err(garbled)?.saturating_sub(MOST_FINDINGS).min(SWEPT);
    let oldest = millis(now.before(FINDINGS_KEPT));
    for at in 0..SWEPT {
        let Some(first) = findings.first()?.map(|(first, _)| first.value()) else { break };
        if first.0 >= oldest && at >= too_many {
            break;
        }
        findings.remove(first)?;
        tables.transaction.open_table(FINDINGS_AGAIN)?.remove(first)?;
        tables.transaction.open_table(FINDING_NOTES)?.remove(first)?;
    }
    let (millis, count) = id;
    Ok((FindingId { millis, count }, true))
}
