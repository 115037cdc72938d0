//! Listings: sessions and tenants for operators, in steps that never block the server.

use super::super::listing::{Cursor, Page, SessionView, SessionsOf, TenantView};
use super::super::walk::STEP;
use super::answers::{exactly, note, tenant_standing, tenants};
use super::entry::Entry;
use super::fault::Fault;
use super::index::{Found, Index, Node, Nodes, Splits};
use super::lane::{Lane, Lanes};
use super::read::{around, ask_around, observe, observed};
use super::store::RedisStore;
use crate::session::{SessionId, TenantId, TenantStatus};

/// Entries of indexes that are looked at for one page of sessions. Most are live, unless many timed out or a
/// revocation was interrupted.
const LOOKED_AT: usize = 5_000;
/// Entries that are looked at for one page of tenants, beyond which no further tenant is begun.
const COUNTED: u64 = 100_000;

impl RedisStore {
    pub(super) async fn sessions_on(
        &self,
        lanes: &Lanes,
        of: &SessionsOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SessionView, Cursor>, Fault> {
        let lane = &lanes.bulk;
        let mut items = Vec::new();
        let Some(mut place) = self.first_place(lane, of, after).await? else { return Ok(Page { items, next: None }) };
        let mut looked_at = 0;
        while looked_at < LOOKED_AT {
            let entries = self.entries_after(lane, of, &place, STEP.min(limit)).await?;
            looked_at += entries.len().max(1);
            if entries.is_empty() {
                match (of, self.tenants_after(lane, Some(&place.tenant), 1).await?.pop()) {
                    (SessionsOf::All, Some(tenant)) => place = Cursor { tenant, order: 0, id: None },
                    _ => return Ok(Page { items, next: None }),
                }
                continue;
            }
            let ids: Vec<SessionId> = entries.iter().map(|(_, id)| *id).collect();
            let mut live = self.live_among(lane, &ids).await?.into_iter().peekable();
            for (order, id) in entries {
                place = Cursor { order, id: Some(id), ..place };
                let theirs = |view: &SessionView| match of {
                    SessionsOf::User { user, .. } => view.record.principal.user == *user,
                    SessionsOf::All | SessionsOf::Tenant(_) => true,
                };
                items.extend(live.next_if(|view| view.id == id).filter(theirs));
                if items.len() >= limit {
                    return Ok(Page { items, next: Some(place) });
                }
            }
        }
        Ok(Page { items, next: Some(place) })
    }

    async fn first_place(&self, lane: &Lane, of: &SessionsOf, after: Option<&Cursor>) -> Result<Option<Cursor>, Fault> {
        let at_start = |tenant: TenantId| Cursor { tenant, order: 0, id: None };
        Ok(match (of, after.cloned()) {
            (SessionsOf::All, Some(after)) => Some(after),
            (SessionsOf::All, None) => self.tenants_after(lane, None, 1).await?.pop().map(at_start),
            (SessionsOf::Tenant(tenant) | SessionsOf::User { tenant, .. }, Some(after)) => {
                Some(Cursor { tenant: tenant.clone(), ..after })
            }
            (SessionsOf::Tenant(tenant) | SessionsOf::User { tenant, .. }, None) => Some(at_start(tenant.clone())),
        })
    }

    /// The first entries after a place, in the order of the users' hashes.
    async fn entries_after(
        &self,
        lane: &Lane,
        of: &SessionsOf,
        place: &Cursor,
        most: usize,
    ) -> Result<Vec<(u64, SessionId)>, Fault> {
        let keys = self.keys();
        let user = match of {
            SessionsOf::User { user, .. } => Some(keys.user_hash(user)),
            SessionsOf::All | SessionsOf::Tenant(_) => None,
        };
        let (tenant, splits) = (&place.tenant, &Splits::default());
        let node = match user {
            Some(user) => Index { keys, splits, tenant, epoch: 0 }.find(lane, user).await?,
            None => Node::root(keys, tenant),
        };
        let mut nodes = Nodes::below(node, place.order);
        let mut found = Vec::new();
        while let Some(Found { entries, ends_node, .. }) = nodes.step(lane).await? {
            let of_user = entries.iter().filter(|entry| user.is_none_or(|user| entry.user == user));
            let after = place.id.as_ref().map(|id| (place.order, *id));
            found.extend(of_user.map(Entry::place).filter(|place| after.is_none_or(|after| *place > after)));
            if ends_node && found.len() >= most {
                break;
            }
            // Of a node with very many entries only the first are wanted.
            if found.len() > 4 * most.max(STEP) {
                found.sort_unstable();
                found.truncate(most);
            }
        }
        found.sort_unstable();
        // A scan may show one twice.
        found.dedup();
        found.truncate(most);
        Ok(found)
    }

    async fn tenants_after(&self, lane: &Lane, after: Option<&TenantId>, most: usize) -> Result<Vec<TenantId>, Fault> {
        let from = after.map_or(String::from("-"), |after| format!("({}", after.kept()));
        let mut pipeline = redis::pipe();
        let range = pipeline.cmd("ZRANGE").arg(self.keys().names_of_tenants()).arg(from).arg("+");
        range.arg("BYLEX").arg("LIMIT").arg(0).arg(most);
        let [names] = exactly(lane.ask(&pipeline).await?)?;
        tenants(names)
    }

    /// Those of some sessions that are not over, in the same order. What cannot be read is not live for anybody.
    async fn live_among(&self, lane: &Lane, ids: &[SessionId]) -> Result<Vec<SessionView>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        ids.iter().for_each(|id| observe(&mut pipeline, self.keys(), id));
        let (clocks, answers) = lane.ask_timed(&mut pipeline).await?;
        let each = answers.len() / ids.len().max(1);
        let mut answers = answers.into_iter();
        let mut found = Vec::with_capacity(ids.len());
        let mut pipeline = redis::pipe();
        for (place, id) in ids.iter().enumerate() {
            let now = clocks.at(place * each)?;
            if let Ok(seen) = observed(&mut answers)
                && let Some(record) = seen.record.clone()
            {
                ask_around(&mut pipeline, self.keys(), id, &record);
                found.push((*id, record, seen, now));
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = lane.ask_each(&mut pipeline).await?.into_iter();
        let mut live = Vec::with_capacity(found.len());
        for (id, record, seen, now) in found {
            let Ok(around) = around(&mut answers, &id, &record) else { continue };
            live.extend(SessionView::of_standing(id, seen.judged(id, around, now)));
        }
        Ok(live)
    }

    pub(super) async fn tenants_on(
        &self,
        lanes: &Lanes,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Page<TenantView, TenantId>, Fault> {
        let names = self.tenants_after(&lanes.bulk, after, limit).await?;
        let mut next = names.last().filter(|_| names.len() >= limit).cloned();
        let (mut items, mut looked_at) = (Vec::new(), 0);
        for tenant in &names {
            let (view, entries) = self.view(&lanes.bulk, tenant).await?;
            looked_at += entries;
            // The last sessions of some have expired, and nobody has logged in since.
            if view.sessions > 0 || view.changed.is_some() || view.status != TenantStatus::Active {
                items.push(view);
            }
            if looked_at >= COUNTED {
                next = Some(tenant.clone());
                break;
            }
        }
        Ok(Page { items, next })
    }

    pub(super) async fn tenant_on(&self, lanes: &Lanes, tenant: &TenantId) -> Result<TenantView, Fault> {
        self.view(&lanes.bulk, tenant).await.map(|(view, _)| view)
    }

    /// A tenant, and how many entries of its index were looked at for it.
    async fn view(&self, lane: &Lane, tenant: &TenantId) -> Result<(TenantView, u64), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys().tenant(tenant));
        pipeline.cmd("GET").arg(self.keys().tenant_note(tenant));
        let [standing, changed] = exactly(lane.ask(&pipeline).await?)?;
        let (status, changed) = (tenant_standing(standing)?.status, note(changed)?);
        let of = SessionsOf::Tenant(tenant.clone());
        let mut place = Cursor { tenant: tenant.clone(), order: 0, id: None };
        let (mut sessions, mut looked_at) = (0, 0);
        loop {
            let entries = self.entries_after(lane, &of, &place, STEP).await?;
            let Some((order, id)) = entries.last().copied() else { break };
            place = Cursor { order, id: Some(id), ..place };
            let ids: Vec<SessionId> = entries.iter().map(|(_, id)| *id).collect();
            sessions += u64::try_from(self.live_among(lane, &ids).await?.len()).unwrap_or(u64::MAX);
            looked_at += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        }
        Ok((TenantView { tenant: tenant.clone(), status, changed, sessions }, looked_at))
    }
}
