//! Revocations: one write ends the sessions, a walk in small steps counts them and tidies up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;
use tokio::sync::Semaphore;

use super::super::journal::Entry;
use super::super::walk::{Outdated, Tally, counted};
use super::super::{Revoked, StoreResult, Unavailable};
use super::answers::{end, exactly, record, tenant_standing, user_standing};
use super::commands::{eval, know};
use super::connection::{CALL_TIMEOUT, Link};
use super::fault::{Fault, number, unexpected};
use super::kept::Kept;
use super::lane::{Lane, Lanes};
use super::store::RedisStore;
use super::walk::{Walk, Whose};
use super::{order, scripts};
use crate::session::{
    EndReason, Exemption, Keep, Revocation, Scope, SessionId, StoreTime, TenantChange, TenantId, TenantNote,
    TenantStanding, TenantStatus, UserId,
};

impl RedisStore {
    pub(super) async fn revoke_all(&self, revocation: &Revocation) -> StoreResult<Revoked> {
        let whose = match &revocation.scope {
            Scope::User { tenant, user } | Scope::OtherSessions { tenant, user, .. } => {
                Whose { tenant: tenant.clone(), user: Some(user.clone()) }
            }
            Scope::Tenant { tenant } => Whose { tenant: tenant.clone(), user: None },
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
        Ok(self.walk(whose, outdated, revocation.reason, journalled).await)
    }

    pub(super) async fn change_status(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked> {
        // A change that nobody could make now is not begun: it would come late, and against a later wish perhaps.
        let there = |lanes: Arc<Lanes>| async move {
            let mut pipeline = redis::pipe();
            pipeline.cmd("EXISTS").arg(self.keys().tenant(tenant));
            lanes.careful.ask(&pipeline).await.map(drop)
        };
        self.link.call("now", CALL_TIMEOUT, there).await?;
        let entry = |floor| tenant_entry(tenant, floor, Some(change));
        let kept = Kept::write_many(self.link.journal(), entry, change.reason, &change.by).await;
        let journalled = kept.is_kept();
        let work = |lanes: Arc<Lanes>| async move {
            // Known first: a tenant that is shut out must be in the list by which operators find it.
            let mut first = redis::pipe();
            first.add_command(know(self.keys(), tenant, "+inf", StoreTime::from_micros(0)));
            lanes.careful.ask(&first).await?;
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
            return Ok(Revoked { ended: 0, complete: true, journalled, replicated: true });
        }
        let outdated = Outdated::OfTenant(standing.generation);
        let whose = Whose { tenant: tenant.clone(), user: None };
        Ok(self.walk(whose, outdated, change.reason, journalled).await)
    }

    async fn raise_user(
        &self,
        lane: &Lane,
        tenant: &TenantId,
        user: &UserId,
        keep: Option<Keep>,
    ) -> Result<(Outdated, String), Fault> {
        let exempt = match keep {
            Some(Keep::Session(keep)) => self.exemption(lane, tenant, user, keep).await?,
            Some(Keep::Token(exempt)) => Some(exempt),
            None => None,
        };
        let mut raise = eval(scripts::RAISE_USER, &[self.keys().user(tenant, user)]);
        match exempt {
            Some(exempt) => raise.arg(exempt.session.as_str()).arg(exempt.generation.as_micros()),
            None => raise.arg("").arg(""),
        };
        let moment = order::revoke(lane, self.keys()).await?;
        raise.arg(moment.at.as_micros());
        let mut pipeline = redis::pipe();
        pipeline.add_command(raise);
        pipeline.cmd("GET").arg(self.keys().tenant(tenant));
        let [raised, tenant] = exactly(lane.ask(&pipeline).await?)?;
        // The tenant's is read after it: whatever it says, the user's older sessions are over.
        let tenant = tenant_standing(tenant)?.generation;
        let standing = user_standing(raised)?;
        order::has_come_to(lane, self.keys(), &moment, standing.generation).await?;
        Ok((Outdated::OfUser { standing, tenant }, standing.encode()))
    }

    /// The generation of the session that is to stay, if it is the user's. Of one that has just been replaced it is the
    /// one that goes on.
    async fn exemption(
        &self,
        lane: &Lane,
        tenant: &TenantId,
        user: &UserId,
        mut keep: SessionId,
    ) -> Result<Option<Exemption>, Fault> {
        let mut follows = true;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("GET").arg(self.keys().record(&keep)).cmd("GET").arg(self.keys().ended(&keep));
            let [kept, ended] = exactly(lane.ask(&pipeline).await?)?;
            if let Some(on) = end(ended)?.and_then(|end| end.goes_on).filter(|_| follows) {
                (keep, follows) = (on.next, false);
                continue;
            }
            let theirs = record(kept)?.filter(|kept| kept.principal.user == *user);
            let under = theirs.and_then(|kept| kept.generations_in(tenant));
            return Ok(under.map(|under| Exemption { session: keep, generation: under.user }));
        }
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
        raise.arg(moment.at.as_micros());
        let mut pipeline = redis::pipe();
        pipeline.add_command(raise);
        let [answer] = exactly(lane.ask(&pipeline).await?)?;
        let Value::Array(parts) = answer else { return Err(unexpected("a raised generation", &answer)) };
        let [raised, changed] = exactly(parts)?;
        let standing = tenant_standing(raised)?;
        order::has_come_to(lane, self.keys(), &moment, standing.generation).await?;
        Ok((standing, number(&changed)? == 1))
    }

    async fn walk(&self, whose: Whose, outdated: Outdated, reason: EndReason, journalled: bool) -> Revoked {
        let tally = Tally::default();
        let walk = Walk::new(self.keys().clone(), whose, outdated, reason, tally.clone())
            .remembering(self.remembers_ends.load(Ordering::Relaxed));
        counted(run(walk, Arc::clone(&self.link), Arc::clone(&self.walks)), tally, journalled).await
    }
}

fn entry_of(scope: &Scope, floor: StoreTime) -> Entry {
    let of_user = |tenant: &TenantId, user: &UserId, keep: Option<SessionId>| Entry::User {
        tenant: tenant.kept().to_owned(),
        user: user.kept().to_owned(),
        floor: floor.as_micros(),
        standing: None,
        keep: keep.map(|keep| keep.to_string()),
    };
    match scope {
        Scope::User { tenant, user } => of_user(tenant, user, None),
        Scope::OtherSessions { tenant, user, keep } => of_user(tenant, user, Some(keep.id())),
        Scope::Tenant { tenant } => tenant_entry(tenant, floor, None),
    }
}

fn tenant_entry(tenant: &TenantId, floor: StoreTime, change: Option<&TenantChange>) -> Entry {
    Entry::Tenant {
        tenant: tenant.kept().to_owned(),
        floor: floor.as_micros(),
        status: change.map_or(String::new(), |change| change.status.as_str().to_owned()),
        note: change.map_or(String::new(), TenantNote::without_time),
        standing: None,
    }
}

/// A walk in steps, each a call of its own.
async fn run(walk: Walk, link: Arc<Link>, turns: Arc<Semaphore>) -> StoreResult<()> {
    let _turn = turns.acquire().await.map_err(Unavailable::because)?;
    let walk = &walk;
    let begin = |lanes: Arc<Lanes>| async move { walk.nodes(&lanes.bulk).await };
    let mut nodes = link.call("revoke_walk", CALL_TIMEOUT, begin).await?;
    loop {
        let at = &mut nodes;
        let step = |lanes: Arc<Lanes>| async move { walk.step(&lanes.bulk, at).await };
        if !link.call("revoke_walk", CALL_TIMEOUT, step).await? {
            return Ok(());
        }
    }
}
