//! Tokens of issuers: the server keeps nothing of them but their denials, where the ends of sessions are kept.

use std::sync::Arc;

use super::super::StoreResult;
use super::super::journal::Entry;
use super::answers::{end, exactly, tenant_standing, time, user_standing};
use super::connection::CALL_TIMEOUT;
use super::fault::Fault;
use super::kept::Kept;
use super::lane::Lanes;
use super::store::RedisStore;
use super::times::kept_after;
use crate::session::{
    By, DeniedUntil, End, SessionId, SessionRecord, StoreTime, TokenDenial, TokenObservation, TokenStanding,
    judge_token,
};

impl RedisStore {
    /// What a verified token is worth that says this of itself.
    pub(super) async fn read_token_on(
        &self,
        lanes: &Lanes,
        id: SessionId,
        record: &Arc<SessionRecord>,
    ) -> Result<TokenStanding, Fault> {
        let (tenant, user) = (&record.principal.tenant, &record.principal.user);
        let (tenant, user) = (self.keys().tenant(tenant), self.keys().user(tenant, user));
        let mut reading =
            self.cache.as_ref().and_then(|cache| cache.begin(id, self.keys().place(&self.keys().ended(&id))));
        if let Some(reading) = &mut reading {
            reading.depends_on(&tenant, &user, None, record);
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("GET").arg(tenant).cmd("GET").arg(user);
        pipeline.cmd("GET").arg(self.keys().ended(&id));
        // A server that was emptied has no denials, which is not to say that nothing was denied.
        let (answers, origins) = lanes.ask_same_data_whom(&lanes.quick, self.keys(), pipeline).await?;
        let [now, tenant, user, denied] = exactly(answers)?;
        let standing = judge_token(TokenObservation {
            id,
            record: Arc::clone(record),
            denied: end(denied)?,
            tenant: tenant_standing(tenant)?,
            user: user_standing(user)?,
            now: time(now)?,
        });
        if let Some(mut reading) = reading {
            reading.came_from(&origins);
            reading.keep_token(&standing);
        }
        Ok(standing)
    }

    /// Denies a token; the journal has it first.
    pub(super) async fn deny_token(&self, denial: &TokenDenial, by: &By) -> StoreResult<bool> {
        let TokenDenial { id, owner, until, reason } = denial;
        let entry = |moment: StoreTime| Entry::Token {
            id: id.to_string(),
            reason: End::now(*reason).encode(),
            deadline: moment.as_micros(),
            applied: false,
            owner: owner.as_ref().map(|owner| (owner.tenant.kept().to_owned(), owner.user.kept().to_owned())),
        };
        let kept = match until {
            DeniedUntil::At(moment) => Kept::write(self.link.journal(), entry(*moment), *reason, by).await,
            DeniedUntil::For(_) => {
                Kept::write_many(self.link.journal(), |now| entry(until.moment(now)), *reason, by).await
            }
        };
        let work = |lanes: Arc<Lanes>| async move {
            let until = match until {
                DeniedUntil::At(moment) => *moment,
                DeniedUntil::For(_) => {
                    let mut pipeline = redis::pipe();
                    // Where it will be kept.
                    pipeline.cmd("TIME").cmd("EXISTS").arg(self.keys().ended(id));
                    let [now, _] = exactly(lanes.careful.ask(&pipeline).await?)?;
                    until.moment(time(now)?)
                }
            };
            self.end_line(&lanes, id, reason.as_str(), kept_after(until.as_millis_rounded_up())).await
        };
        let denied = self.link.call("deny", CALL_TIMEOUT, work).await;
        // Whatever was answered: it may have been done.
        self.forget(*id);
        match denied {
            Ok(denied) => {
                kept.complete(None);
                Ok(denied)
            }
            Err(unavailable) => Err(kept.fail(unavailable)),
        }
    }
}
