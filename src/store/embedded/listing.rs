//! Listings: sessions and tenants for operators, from one snapshot a page.

use redb::ReadTransaction;

use super::super::listing::{Cursor, Page, SessionView, SessionsOf, TenantView};
use super::super::walk::STEP;
use super::lists::{IndexOf, Lists, Place};
use super::look::{Look as _, Snapshot};
use super::schema::Fault;
use crate::session::{SessionId, StoreTime, TenantId, TenantStatus};

/// Entries of indexes that are looked at for one page of sessions.
const LOOKED_AT: usize = 5_000;
/// Entries that are looked at for one page of tenants, beyond which no further tenant is begun.
const COUNTED: u64 = 100_000;

pub(super) fn sessions(
    transaction: &ReadTransaction,
    of: &SessionsOf,
    after: Option<Cursor>,
    limit: usize,
    now: StoreTime,
) -> Result<Page<SessionView, Cursor>, Fault> {
    let (snapshot, lists) = (Snapshot::of(transaction)?, Lists::of(transaction)?);
    let mut items = Vec::new();
    let mut place = match (of, after) {
        (SessionsOf::All, Some(after)) => after,
        (SessionsOf::All, None) => match lists.tenant_after(None)? {
            Some(tenant) => Cursor { tenant, order: 0, id: None },
            None => return Ok(Page { items, next: None }),
        },
        (SessionsOf::Tenant(tenant) | SessionsOf::User { tenant, .. }, after) => Cursor {
            tenant: tenant.clone(),
            order: after.as_ref().map_or(0, |after| after.order),
            id: after.and_then(|after| after.id),
        },
    };
    let mut looked_at = 0;
    while looked_at < LOOKED_AT {
        let index = match of {
            SessionsOf::User { tenant, user } => IndexOf::User(tenant.clone(), user.clone()),
            SessionsOf::All | SessionsOf::Tenant(_) => IndexOf::Tenant(place.tenant.clone()),
        };
        let id = place.id.as_ref().map_or("", SessionId::as_str);
        let entries = lists.entries(&index, &(place.order, id.to_owned()), STEP.min(limit))?;
        looked_at += entries.len().max(1);
        if entries.is_empty() {
            match (of, lists.tenant_after(Some(&place.tenant))?) {
                (SessionsOf::All, Some(tenant)) => place = Cursor { tenant, order: 0, id: None },
                _ => return Ok(Page { items, next: None }),
            }
            continue;
        }
        for (order, id) in entries {
            let Some(id) = SessionId::parse(id.as_bytes()) else { continue };
            place = Cursor { order, id: Some(id), ..place };
            if let Some(live) = live(&snapshot, id, now)? {
                items.push(live);
            }
            if items.len() >= limit {
                return Ok(Page { items, next: Some(place) });
            }
        }
    }
    Ok(Page { items, next: Some(place) })
}

/// A session, if it is not over. What cannot be read is not live for anybody.
fn live(snapshot: &Snapshot, id: SessionId, now: StoreTime) -> Result<Option<SessionView>, Fault> {
    match snapshot.session(id, now) {
        Ok(standing) => Ok(SessionView::of_standing(id, standing)),
        Err(Fault::Garbled(_) | Fault::Unreadable(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

pub(super) fn tenant(transaction: &ReadTransaction, tenant: TenantId, now: StoreTime) -> Result<TenantView, Fault> {
    view(&Snapshot::of(transaction)?, &Lists::of(transaction)?, tenant, now).map(|(view, _)| view)
}

pub(super) fn tenants(
    transaction: &ReadTransaction,
    mut after: Option<TenantId>,
    limit: usize,
    now: StoreTime,
) -> Result<Page<TenantView, TenantId>, Fault> {
    let (snapshot, lists) = (Snapshot::of(transaction)?, Lists::of(transaction)?);
    let (mut items, mut looked_at) = (Vec::new(), 0);
    while items.len() < limit && looked_at < COUNTED {
        let Some(tenant) = lists.tenant_after(after.as_ref())? else { return Ok(Page { items, next: None }) };
        after = Some(tenant.clone());
        let (view, entries) = view(&snapshot, &lists, tenant, now)?;
        looked_at += entries.max(1);
        // The last sessions of some are over, and not forgotten yet.
        if view.sessions > 0 || view.changed.is_some() || view.status != TenantStatus::Active {
            items.push(view);
        }
    }
    Ok(Page { items, next: after })
}

/// A tenant, and how many entries of its index were looked at for it.
fn view(snapshot: &Snapshot, lists: &Lists, tenant: TenantId, now: StoreTime) -> Result<(TenantView, u64), Fault> {
    let status = snapshot.tenant(&tenant)?.status;
    let changed = lists.note(&tenant)?;
    let index = IndexOf::Tenant(tenant.clone());
    let (mut sessions, mut looked_at, mut place) = (0, 0, Place::default());
    loop {
        let entries = lists.entries(&index, &place, STEP)?;
        let Some(last) = entries.last() else { break };
        place = last.clone();
        for (_, id) in &entries {
            if let Some(id) = SessionId::parse(id.as_bytes()) {
                sessions += u64::from(live(snapshot, id, now)?.is_some());
            }
            looked_at += 1;
        }
    }
    Ok((TenantView { tenant, status, changed, sessions }, looked_at))
}
