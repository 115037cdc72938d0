//! What was found, kept in the file.

use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};

use super::super::StoreResult;
use super::super::alerts::kind_of;
use super::super::monitor::{
    FINDINGS_KEPT, FindingId, FindingStore, FindingsOf, Kept, KeptFinding, MOST_FINDINGS, MOST_FINDINGS_OF_A_TENANT,
    MOST_OPEN, OfTenant, ToKeep,
};
use super::EmbeddedStore;
use super::alerts::put_in;
use super::reports::sweep_next;
use super::schema::{
    FINDING_NOTES, FINDINGS, FINDINGS_AGAIN, FINDINGS_OF_TENANTS, Fault, OPEN_RISKS, SAME_FINDINGS, garbled,
};
use super::tables::Tables;
use super::there::there;
use crate::monitor::{FindingNote, FindingRecord, OPEN_FOR, Risk, Severity};
use crate::session::{SessionId, StoreTime, TenantId, UserId};

/// Findings, and what tells the same of them, that go by the way whenever one is kept.
const SWEPT: usize = 16;

#[async_trait]
impl FindingStore for EmbeddedStore {
    async fn keep(&self, finding: ToKeep<'_>) -> StoreResult<Kept> {
        let ToKeep { record, dedupe, repeat, risk, postings, .. } = finding;
        let (text, kind, dedupe, postings) = (record.encode(), kind_of(record), dedupe.to_owned(), postings.to_vec());
        let whose = record.whose();
        let work = move |tables: &mut Tables<'_>, now| {
            let (id, is_new) = keep(tables, &text, &dedupe, repeat, now)?;
            if let Some(risk) = risk {
                open(tables, id, risk, now)?;
            }
            if !is_new {
                return Ok(Kept::Again(id));
            }
            if let Some((tenant, user)) = &whose {
                note_tenant(tables, tenant, user, id, now)?;
            }
            let fates = put_in(tables, &postings, id, &kind, now)?;
            Ok(Kept::New { id, fates })
        };
        self.write("finding_keep", work).await
    }

    async fn findings(&self, position: Option<FindingId>, limit: usize) -> StoreResult<Vec<KeptFinding>> {
        let before = position.map_or((u64::MAX, u64::MAX), place);
        let look = move |transaction: &ReadTransaction, now: StoreTime| {
            let oldest = (millis(now.before(FINDINGS_KEPT)), 0);
            let Some(findings) = there(transaction, FINDINGS)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for entry in findings.range(oldest..before.max(oldest))?.rev().take(limit) {
                let (id, text) = entry?;
                found.push((id.value(), text.value().to_owned()));
            }
            found.into_iter().map(|(id, text)| kept(transaction, id, &text)).collect()
        };
        self.look_long("findings", look).await
    }

    async fn findings_of(&self, of: &FindingsOf, position: Option<FindingId>, limit: usize) -> StoreResult<OfTenant> {
        let (of, before) = (of.clone(), position.map_or((u64::MAX, u64::MAX), place));
        let look = move |transaction: &ReadTransaction, now| page_of_tenant(transaction, &of, before, limit, now);
        self.look_long("findings_of", look).await
    }

    async fn finding(&self, id: FindingId) -> StoreResult<Option<KeptFinding>> {
        let look = move |transaction: &ReadTransaction, now: StoreTime| {
            let Some(findings) = there(transaction, FINDINGS)? else { return Ok(None) };
            let text = findings.get(place(id))?.map(|text| text.value().to_owned());
            let text = text.filter(|_| id.millis >= millis(now.before(FINDINGS_KEPT)));
            text.map(|text| kept(transaction, place(id), &text)).transpose()
        };
        self.look_long("findings", look).await
    }

    async fn open_risks(&self) -> StoreResult<Vec<Risk>> {
        let (outcome, risks) = self.look(|transaction, now| {
            let Some(open) = there(transaction, OPEN_RISKS)? else { return Ok(Vec::new()) };
            let mut risks = Vec::new();
            for entry in open.iter()? {
                let (key, open) = entry?;
                let (session, (severity, until)) = (key.value().2, open.value());
                let (session, severity) = (SessionId::parse(session.as_bytes()), Severity::parse(severity));
                if let (Some(session), Some(severity), true) = (session, severity, until > now.as_micros()) {
                    risks.push(Risk { session, severity });
                }
            }
            Ok(risks)
        });
        self.shared.observer.command("finding_risks", outcome);
        risks
    }

    async fn judge(&self, id: FindingId, note: &FindingNote) -> StoreResult<bool> {
        let note = serde_json::to_string(note).unwrap_or_default();
        let work = move |tables: &mut Tables<'_>, _| {
            if tables.transaction.open_table(FINDINGS)?.get(place(id))?.is_none() {
                return Ok(false);
            }
            tables.transaction.open_table(FINDING_NOTES)?.insert(place(id), note.as_str())?;
            let (millis, count) = place(id);
            let of_it = (millis, count, "")..(millis, count.saturating_add(1), "");
            tables.transaction.open_table(OPEN_RISKS)?.retain_in(of_it, |_, _| false)?;
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

fn kept(transaction: &ReadTransaction, (millis, count): (u64, u64), text: &str) -> Result<KeptFinding, Fault> {
    let again = match there(transaction, FINDINGS_AGAIN)? {
        Some(again) => again.get((millis, count))?.map(|again| again.value()),
        None => None,
    };
    let note = match there(transaction, FINDING_NOTES)? {
        Some(notes) => notes.get((millis, count))?.and_then(|note| serde_json::from_str(note.value()).ok()),
        None => None,
    };
    Ok(KeptFinding {
        id: FindingId { millis, count },
        record: FindingRecord::decode(text.as_bytes()),
        repeats: again.unwrap_or_default(),
        note,
    })
}

/// Has a finding open in a session.
fn open(tables: &Tables<'_>, id: FindingId, risk: Risk, now: StoreTime) -> Result<(), Fault> {
    let (millis, count) = place(id);
    let mut risks = tables.transaction.open_table(OPEN_RISKS)?;
    let until = now.after(OPEN_FOR).as_micros();
    risks.insert((millis, count, risk.session.as_str()), (risk.severity.as_str(), until))?;
    // Those found first are over first.
    for _ in 0..SWEPT {
        let is_too_many = risks.len()? > MOST_OPEN as u64;
        let first = risks.first()?.map(|(key, open)| {
            let (millis, count, session) = key.value();
            ((millis, count, session.to_owned()), open.value().1)
        });
        match first {
            Some(((millis, count, session), until)) if is_too_many || until <= now.as_micros() => {
                risks.remove((millis, count, session.as_str()))?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Names that are looked at for one page of a tenant's.
const LOOKED_AT: usize = 1000;

/// Notes that a finding is a tenant's.
fn note_tenant(
    tables: &Tables<'_>,
    tenant: &TenantId,
    user: &UserId,
    id: FindingId,
    now: StoreTime,
) -> Result<(), Fault> {
    let mut of_tenants = tables.transaction.open_table(FINDINGS_OF_TENANTS)?;
    of_tenants.insert((tenant.kept(), id.millis, id.count), user.kept())?;
    let all = (tenant.kept(), 0, 0)..=(tenant.kept(), u64::MAX, u64::MAX);
    let oldest = millis(now.before(FINDINGS_KEPT));
    let mut over = Vec::new();
    for entry in of_tenants.range(all.clone())?.take(SWEPT) {
        let (_, millis, count) = entry?.0.value();
        if millis < oldest {
            over.push((millis, count));
        }
    }
    // Counted at times alone: it takes as long as there are many.
    if id.count.is_multiple_of(16) && id.millis.is_multiple_of(16) {
        let many = of_tenants.range(all.clone())?.count().saturating_sub(MOST_FINDINGS_OF_A_TENANT);
        for entry in of_tenants.range(all)?.take(many) {
            let (_, millis, count) = entry?.0.value();
            over.push((millis, count));
        }
    }
    for (millis, count) in over {
        of_tenants.remove((tenant.kept(), millis, count))?;
    }
    sweep_next(&mut of_tenants, tenant.kept(), oldest)
}

fn page_of_tenant(
    transaction: &ReadTransaction,
    of: &FindingsOf,
    before: (u64, u64),
    limit: usize,
    now: StoreTime,
) -> Result<OfTenant, Fault> {
    let nothing = || OfTenant { findings: Vec::new(), next: None };
    let Some(of_tenants) = there(transaction, FINDINGS_OF_TENANTS)? else { return Ok(nothing()) };
    let Some(texts) = there(transaction, FINDINGS)? else { return Ok(nothing()) };
    let (tenant, oldest) = (of.tenant.kept(), millis(now.before(FINDINGS_KEPT)));
    let (mut wanted, mut next, mut looked_at) = (Vec::new(), None, 0);
    if before < (oldest, 0) {
        return Ok(nothing());
    }
    let mut places = of_tenants.range((tenant, oldest, 0)..(tenant, before.0, before.1))?.rev();
    for entry in places.by_ref() {
        let (key, user) = entry?;
        let (_, millis, count) = key.value();
        (next, looked_at) = (Some(FindingId { millis, count }), looked_at + 1);
        if of.user.as_ref().is_none_or(|wanted| wanted.kept() == user.value()) {
            wanted.push((millis, count));
        }
        if wanted.len() == limit || looked_at == LOOKED_AT {
            break;
        }
    }
    let next = next.filter(|_| places.next().is_some());
    let mut findings = Vec::with_capacity(wanted.len());
    for place in wanted {
        if let Some(text) = texts.get(place)? {
            findings.push(kept(transaction, place, text.value())?);
        }
    }
    Ok(OfTenant { findings, next })
}

/// Keeps it, unless the same was kept a while ago and nobody judged it yet; answers which it is, and whether that is new.
fn keep(
    tables: &Tables<'_>,
    text: &str,
    dedupe: &str,
    repeat: Duration,
    now: StoreTime,
) -> Result<(FindingId, bool), Fault> {
    let mut same = tables.transaction.open_table(SAME_FINDINGS)?;
    let first = same.get(dedupe)?.map(|first| first.value()).filter(|(_, _, until)| *until > now.as_micros());
    let is_judged = |(millis, count, _)| {
        Ok::<_, Fault>(tables.transaction.open_table(FINDING_NOTES)?.get((millis, count))?.is_some())
    };
    if let Some((millis, count, until)) = first
        && !is_judged((millis, count, until))?
    {
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
