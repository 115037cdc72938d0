//! Listings: sessions and tenants for operators, in steps that never block the server.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;

use super::super::listing::{Cursor, Page, SessionView, SessionsOf, TenantView};
use super::super::walk::STEP;
use super::answers::{
    end, entries, exactly, note, record, tenant_standing, tenants, time, touch_deadline, user_standing,
};
use super::connection::{Lane, Lanes};
use super::fault::Fault;
use super::{RedisStore, eval, scripts};
use crate::session::{
    Observation, Principal, SessionId, SessionRecord, Standing, TenantId, TenantStanding, TenantStatus, UserStanding,
    judge,
};

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
                items.extend(live.next_if(|view| view.id == id));
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

    async fn entries_after(
        &self,
        lane: &Lane,
        of: &SessionsOf,
        place: &Cursor,
        most: usize,
    ) -> Result<Vec<(u64, SessionId)>, Fault> {
        let index = match of {
            SessionsOf::User { tenant, user } => self.keys().user_index(tenant, user),
            SessionsOf::All | SessionsOf::Tenant(_) => self.keys().tenant_index(&place.tenant),
        };
        let mut page = eval(scripts::PAGE, &[index]);
        page.arg(place.order).arg(place.id.as_ref().map_or("", SessionId::as_str)).arg(most);
        let mut pipeline = redis::pipe();
        pipeline.add_command(page);
        let [page] = exactly(lane.ask(&pipeline).await?)?;
        entries(page)
    }

    async fn tenants_after(&self, lane: &Lane, after: Option<&TenantId>, most: usize) -> Result<Vec<TenantId>, Fault> {
        let from = after.map_or(String::from("-"), |after| format!("({after}"));
        let mut pipeline = redis::pipe();
        let range = pipeline.cmd("ZRANGE").arg(self.keys().names_of_tenants()).arg(from).arg("+");
        range.arg("BYLEX").arg("LIMIT").arg(0).arg(most);
        let [names] = exactly(lane.ask(&pipeline).await?)?;
        tenants(names)
    }

    /// Those of some sessions that are live, in the same order. What cannot be read is not live for anybody.
    async fn live_among(&self, lane: &Lane, ids: &[SessionId]) -> Result<Vec<SessionView>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for id in ids {
            pipeline.cmd("GET").arg(self.keys().record(id));
            pipeline.cmd("PEXPIRETIME").arg(self.keys().touch(id));
            pipeline.cmd("GET").arg(self.keys().ended(id));
        }
        let mut answers = lane.ask_each(&mut pipeline).await?.into_iter();
        let mut answer = || answers.next().unwrap_or(Value::Nil);
        let now = time(answer())?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let (kept, touch, ended) = (record(answer()), touch_deadline(&answer()), end(answer()));
            if let (Ok(Some(record)), Ok(touch_deadline), Ok(ended)) = (kept, touch, ended) {
                found.push((*id, record, touch_deadline, ended));
            }
        }
        let standings = self.standings(lane, found.iter().map(|(_, record, ..)| record)).await?;
        let mut live = Vec::with_capacity(found.len());
        for (id, record, touch_deadline, ended) in found {
            let Some(Some((tenant, user))) = standings.get(&record.principal).copied() else { continue };
            let record = Some(record);
            if let Standing::Live(session) = judge(Observation { id, record, touch_deadline, ended, tenant, user, now })
            {
                live.push(SessionView::of(id, session));
            }
        }
        Ok(live)
    }

    /// What is known of the tenants and users of some records; `None` where it cannot be read.
    async fn standings(
        &self,
        lane: &Lane,
        records: impl Iterator<Item = &SessionRecord>,
    ) -> Result<HashMap<Arc<Principal>, Option<(TenantStanding, UserStanding)>>, Fault> {
        let mut standings: HashMap<_, _> = records.map(|record| (record.principal.clone(), None)).collect();
        if standings.is_empty() {
            return Ok(standings);
        }
        let mut pipeline = redis::pipe();
        for principal in standings.keys() {
            self.add_current(&mut pipeline, principal);
        }
        let mut answers = lane.ask_each(&mut pipeline).await?.into_iter();
        for standing in standings.values_mut() {
            let mut answer = || answers.next().unwrap_or(Value::Nil);
            *standing = tenant_standing(answer()).ok().zip(user_standing(answer()).ok());
        }
        Ok(standings)
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
