//! Revocations: one write ends the sessions, a walk in small steps counts them and tidies up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::Value;
use tokio::sync::Semaphore;

use super::super::journal::Entry;
use super::super::walk::{Outdated, STEP, Tally, counted};
use super::super::{Revoked, SessionStore as _, StoreResult, Unavailable, codec};
use super::answers::{exactly, record, scanned, tenant_standing, time, user_standing};
use super::connection::{CALL_TIMEOUT, Lane, Lanes, Link};
use super::fault::{Fault, number, text, unexpected};
use super::kept::Kept;
use super::keys::Keys;
use super::{RedisStore, eval, kept_until, order, scripts};
use crate::session::{
    EndReason, Exemption, Generation, Revocation, Scope, SessionId, SessionRecord, StoreTime, TenantChange, TenantId,
    TenantNote, TenantStanding, TenantStatus, UserId,
};

impl RedisStore {
    pub(super) async fn revoke_all(&self, revocation: &Revocation) -> StoreResult<Revoked> {
        let index = match &revocation.scope {
            Scope::User { tenant, user } | Scope::OtherSessions { tenant, user, .. } => {
                self.keys().user_index(tenant, user)
            }
            Scope::Tenant { tenant } => self.keys().tenant_index(tenant),
        };
        // Before the server is asked anything: should it be gone, this is carried out once it is back.
        let entry = |floor| entry_of(&revocation.scope, floor);
        let kept = Kept::write_many(self.link.journal(), entry, revocation.reason, &revocation.by).await;
        let journalled = kept.is_kept();
        let work = |lanes: Arc<Lanes>| async move {
            let lane = &lanes.careful;
            match &revocation.scope {
                Scope::User { tenant, user } => self.raise_user(lane, tenant, user, None).await,
                Scope::OtherSessions { tenant, user, keep } => self.raise_user(lane, tenant, user, Some(*keep)).await,
                Scope::Tenant { tenant } => {
                    let (raised, _) = self.raise_tenant(lane, tenant, None).await?;
                    Ok((Outdated::OfTenant(raised.generation), raised.encode()))
                }
            }
        };
        let raised = self.link.call("revoke", CALL_TIMEOUT, work).await;
        self.outdate(&match &revocation.scope {
            Scope::User { tenant, user } | Scope::OtherSessions { tenant, user, .. } => self.keys().user(tenant, user),
            Scope::Tenant { tenant } => self.keys().tenant(tenant),
        });
        let (outdated, standing) = match raised {
            Ok(raised) => raised,
            Err(unavailable) => return Err(kept.fail(unavailable)),
        };
        kept.complete(Some(&standing));
        Ok(self.walk(index, outdated, revocation.reason, journalled).await)
    }

    pub(super) async fn change_status(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked> {
        // A change that nobody could make now is not begun: it would come late, and against a later wish perhaps.
        self.now().await?;
        let entry = |floor| tenant_entry(tenant, floor, Some(change));
        let kept = Kept::write_many(self.link.journal(), entry, change.reason, &change.by).await;
        let journalled = kept.is_kept();
        let work = |lanes: Arc<Lanes>| async move {
            // Known first: a tenant that is shut out must be in the list by which operators find it.
            let mut know = redis::pipe();
            know.add_command(self.know(tenant, "+inf", StoreTime::from_micros(0)));
            lanes.careful.ask(&know).await?;
            self.raise_tenant(&lanes.careful, tenant, Some(change)).await
        };
        let raised = self.link.call("change_tenant", CALL_TIMEOUT, work).await;
        self.outdate(&self.keys().tenant(tenant));
        let (standing, changed) = match raised {
            Ok(raised) => raised,
            Err(unavailable) => return Err(kept.fail(unavailable)),
        };
        kept.complete(Some(&standing.encode()));
        // A restored tenant has no sessions: the status that it had ended them.
        if !changed || change.status == TenantStatus::Active {
            return Ok(Revoked { ended: 0, complete: true, journalled });
        }
        let outdated = Outdated::OfTenant(standing.generation);
        Ok(self.walk(self.keys().tenant_index(tenant), outdated, change.reason, journalled).await)
    }

    async fn raise_user(
        &self,
        lane: &Lane,
        tenant: &TenantId,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<(Outdated, String), Fault> {
        let exempt = match keep {
            Some(keep) => self.exemption(lane, tenant, user, keep).await?,
            None => None,
        };
        let mut raise = eval(scripts::RAISE_USER, &[self.keys().user(tenant, user)]);
        match exempt {
            Some(exempt) => raise.arg(exempt.session.as_str()).arg(exempt.generation.as_micros()),
            None => raise.arg("").arg(""),
        };
        let moment = order::revoke(lane, self.keys()).await?;
        raise.arg(moment.as_micros());
        let mut pipeline = redis::pipe();
        pipeline.add_command(raise);
        pipeline.cmd("GET").arg(self.keys().tenant(tenant));
        let [raised, tenant] = exactly(lane.ask(&pipeline).await?)?;
        // The tenant's is read after it: whatever it says, the user's older sessions are over.
        let tenant = tenant_standing(tenant)?.generation;
        let standing = user_standing(raised)?;
        self.has_come_to(lane, moment, standing.generation).await?;
        Ok((Outdated::OfUser { standing, tenant }, standing.encode()))
    }

    /// The generation of the session that is to stay, if it is the user's.
    async fn exemption(
        &self,
        lane: &Lane,
        tenant: &TenantId,
        user: &UserId,
        keep: SessionId,
    ) -> Result<Option<Exemption>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys().record(&keep));
        let [kept] = exactly(lane.ask(&pipeline).await?)?;
        let theirs = record(kept)?.filter(|kept| kept.principal.tenant == *tenant && kept.principal.user == *user);
        Ok(theirs.map(|kept| Exemption { session: keep, generation: kept.generations.user }))
    }

    /// Answers the standing, and whether that was changed.
    async fn raise_tenant(
        &self,
        lane: &Lane,
        tenant: &TenantId,
        change: Option<&TenantChange>,
    ) -> Result<(TenantStanding, bool), Fault> {
        let mut raise = eval(scripts::RAISE_TENANT, &[self.keys().tenant(tenant), self.keys().tenant_note(tenant)]);
        match change {
            Some(change) => raise.arg(change.status.as_str()).arg(TenantNote::without_time(change)),
            None => raise.arg("").arg(""),
        };
        let moment = order::revoke(lane, self.keys()).await?;
        raise.arg(moment.as_micros());
        let mut pipeline = redis::pipe();
        pipeline.add_command(raise);
        let [answer] = exactly(lane.ask(&pipeline).await?)?;
        let Value::Array(parts) = answer else { return Err(unexpected("a raised generation", &answer)) };
        let [raised, changed] = exactly(parts)?;
        let standing = tenant_standing(raised)?;
        self.has_come_to(lane, moment, standing.generation).await?;
        Ok((standing, number(&changed)? == 1))
    }

    /// A revocation that was to be at a moment got a generation that may be beyond it: no login from now on is before that.
    async fn has_come_to(&self, lane: &Lane, moment: StoreTime, generation: Generation) -> Result<(), Fault> {
        if generation.as_micros() <= moment.as_micros() {
            return Ok(());
        }
        order::reach(lane, self.keys(), StoreTime::from_micros(generation.as_micros())).await
    }

    async fn walk(&self, index: String, outdated: Outdated, reason: EndReason, journalled: bool) -> Revoked {
        let tally = Tally::default();
        let walk = Walk::new(self.keys().clone(), index, outdated, reason, tally.clone());
        counted(walk.run(Arc::clone(&self.link), Arc::clone(&self.walks)), tally, journalled).await
    }
}

fn entry_of(scope: &Scope, floor: StoreTime) -> Entry {
    let of_user = |tenant: &TenantId, user: &UserId, keep: Option<&SessionId>| Entry::User {
        tenant: tenant.to_string(),
        user: user.to_string(),
        floor: floor.as_micros(),
        standing: None,
        keep: keep.map(SessionId::to_string),
    };
    match scope {
        Scope::User { tenant, user } => of_user(tenant, user, None),
        Scope::OtherSessions { tenant, user, keep } => of_user(tenant, user, Some(keep)),
        Scope::Tenant { tenant } => tenant_entry(tenant, floor, None),
    }
}

fn tenant_entry(tenant: &TenantId, floor: StoreTime, change: Option<&TenantChange>) -> Entry {
    Entry::Tenant {
        tenant: tenant.to_string(),
        floor: floor.as_micros(),
        status: change.map_or(String::new(), |change| change.status.as_str().to_owned()),
        note: change.map_or(String::new(), TenantNote::without_time),
        standing: None,
    }
}

/// Ends what is outdated in an index, one by one.
pub(super) struct Walk {
    keys: Keys,
    index: String,
    outdated: Outdated,
    reason: EndReason,
    tally: Tally,
    /// Whether there is anything in the index that is not outdated.
    left: AtomicBool,
}

impl Walk {
    pub(super) const fn new(keys: Keys, index: String, outdated: Outdated, reason: EndReason, tally: Tally) -> Self {
        Self { keys, index, outdated, reason, tally, left: AtomicBool::new(false) }
    }

    /// To its end on one connection. Answers whether anything is left that is not outdated.
    pub(super) async fn run_on(self, lane: &Lane) -> Result<bool, Fault> {
        let mut cursor = Vec::from(*b"0");
        loop {
            cursor = self.step(lane, &cursor).await?;
            if cursor == b"0" {
                return Ok(self.left.load(Ordering::Relaxed));
            }
        }
    }

    async fn run(self, link: Arc<Link>, turns: Arc<Semaphore>) -> StoreResult<()> {
        let _turn = turns.acquire().await.map_err(Unavailable::because)?;
        let mut cursor = Vec::from(*b"0");
        loop {
            let (walk, from) = (&self, &cursor);
            let step = |lanes: Arc<Lanes>| async move { walk.step(&lanes.bulk, from).await };
            cursor = link.call("revoke_walk", CALL_TIMEOUT, step).await?;
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// A scan, for it misses no entry that stays, however many others come and go meanwhile.
    async fn step(&self, lane: &Lane, cursor: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut scan = redis::pipe();
        scan.cmd("ZSCAN").arg(&self.index).arg(cursor).arg("COUNT").arg(STEP);
        let [page] = exactly(lane.ask(&scan).await?)?;
        let (next, ids) = scanned(page)?;
        for ids in ids.chunks(STEP) {
            self.end_outdated(lane, ids).await?;
        }
        Ok(next)
    }

    /// Plain commands, each of which the server runs by itself: no step keeps it from others.
    async fn end_outdated(&self, lane: &Lane, ids: &[SessionId]) -> Result<(), Fault> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for id in ids {
            pipeline.cmd("GET").arg(keys.record(id));
        }
        let mut answers = lane.ask(&pipeline).await?.into_iter();
        let now = time(answers.next().unwrap_or(Value::Nil))?;
        let mut outdated = Vec::with_capacity(ids.len());
        for (id, kept) in ids.iter().zip(answers) {
            // One that cannot be read is not live for anybody, and is left to expire.
            let Some(Ok(record)) = text(kept)?.map(|bytes| codec::decode(&bytes)) else { continue };
            if self.outdated.covers(*id, &record) {
                outdated.push((*id, record));
            } else if now < record.deadline {
                self.left.store(true, Ordering::Relaxed);
            }
        }
        if outdated.is_empty() {
            return Ok(());
        }
        let mut unlink = redis::pipe();
        for (id, _) in &outdated {
            unlink.cmd("UNLINK").arg(keys.touch(id));
        }
        let mut ended = Vec::with_capacity(outdated.len());
        for ((id, record), unlinked) in outdated.iter().zip(lane.ask(&unlink).await?) {
            if number(&unlinked)? == 1 && now < record.deadline {
                ended.push((id, record));
            }
        }
        self.write_down(lane, &ended, &outdated).await
    }

    /// Writes down why, and takes the entries out of the indexes. Counts those that nobody wrote down before: an old
    /// copy of a touch key may have come back with a restored server.
    async fn write_down(
        &self,
        lane: &Lane,
        ended: &[(&SessionId, &SessionRecord)],
        outdated: &[(SessionId, SessionRecord)],
    ) -> Result<(), Fault> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        for (id, record) in ended {
            let reason = pipeline.cmd("SET").arg(keys.ended(id)).arg(self.reason.as_str());
            reason.arg("NX").arg("PXAT").arg(kept_until(record));
        }
        let mut users: BTreeMap<(&TenantId, &UserId), Vec<&str>> = BTreeMap::new();
        for (id, SessionRecord { principal, .. }) in outdated {
            users.entry((&principal.tenant, &principal.user)).or_default().push(id.as_str());
        }
        for ((tenant, user), ids) in &users {
            pipeline.cmd("ZREM").arg(keys.user_index(tenant, user)).arg(ids);
            pipeline.cmd("ZREM").arg(keys.tenant_index(tenant)).arg(ids);
        }
        let answers = lane.ask_each(&mut pipeline).await?;
        let mut refused = redis::pipe();
        let mut counted = 0;
        for ((id, record), answer) in ended.iter().zip(answers) {
            match answer {
                Value::Nil => {}
                Value::Okay => counted += 1,
                // A full server refuses a plain write.
                _ => {
                    let mut note = eval(scripts::NOTE_END, &[keys.record(id), keys.ended(id)]);
                    note.arg(self.reason.as_str()).arg(kept_until(record));
                    refused.add_command(note);
                }
            }
        }
        self.tally.add(counted);
        if !refused.is_empty() {
            for answer in lane.ask(&refused).await? {
                self.tally.add(u64::from(number(&answer)? == 1));
            }
        }
        Ok(())
    }
}
