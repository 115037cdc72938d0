//! Sessions that must not live: their making failed after it had begun, so that nobody was told their token, and nobody can
//! tell whether they came to be.
//!
//! They are taken back by id as soon as the server can be asked: before a new connection is used, and before the same user
//! logs in again. What stands in the record's place until then, and for an hour after it, keeps a command that is still on
//! its way from storing one. Where too many wait the oldest are left to time out.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::answers::NEVER;
use super::commands::eval;
use super::entry::UserHash;
use super::fault::{Fault, number};
use super::index::{Indexes, Node};
use super::keys::Keys;
use super::lane::{Lane, Lanes};
use super::scripts;
use crate::session::{Principal, SessionId, TenantId};
use crate::store::REASON_KEPT;

/// So many may wait.
const MOST: usize = 16_384;
/// Taken back in one step.
const STEP: usize = 100;

/// The sessions that must not live.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<VecDeque<Unborn>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unborn {
    id: SessionId,
    tenant: TenantId,
    user: UserHash,
}

impl Unfinished {
    /// One that nobody was told of must not live.
    pub(super) fn add(&self, unborn: Unborn) {
        let mut waiting = self.0.lock();
        if waiting.len() >= MOST {
            tracing::warn!("more sessions that nobody has wait to be taken back than can be remembered");
            waiting.pop_front();
        }
        waiting.push_back(unborn);
    }

    /// Takes back all that wait, but for what is of a master that cannot be asked.
    pub(super) async fn bury(&self, indexes: Indexes<'_>, lanes: &Lanes) -> Result<(), Fault> {
        let waiting: Vec<Unborn> = self.0.lock().iter().cloned().collect();
        for some in waiting.chunks(STEP) {
            self.take_back_what_can_be(indexes, &lanes.careful, some).await?;
        }
        Ok(())
    }

    /// Takes back those of one user, who is logging in again.
    pub(super) async fn bury_of(
        &self,
        indexes: Indexes<'_>,
        lanes: &Lanes,
        principal: &Principal,
    ) -> Result<(), Fault> {
        let user = indexes.keys.user_hash(&principal.user);
        let theirs = |unborn: &&Unborn| unborn.user == user && unborn.tenant == principal.tenant;
        let some: Vec<Unborn> = self.0.lock().iter().filter(theirs).take(STEP).cloned().collect();
        if some.is_empty() {
            return Ok(());
        }
        self.take_back_what_can_be(indexes, &lanes.careful, &some).await
    }

    async fn take_back_what_can_be(&self, indexes: Indexes<'_>, lane: &Lane, some: &[Unborn]) -> Result<(), Fault> {
        match self.take_back(indexes, lane, some).await {
            Err(Fault::Shard(_)) => {}
            other => return other,
        }
        for unborn in some {
            match self.take_back(indexes, lane, std::slice::from_ref(unborn)).await {
                // It waits for its master.
                Ok(()) | Err(Fault::Shard(_)) => {}
                other => return other,
            }
        }
        Ok(())
    }

    async fn take_back(&self, indexes: Indexes<'_>, lane: &Lane, some: &[Unborn]) -> Result<(), Fault> {
        let keys = indexes.keys;
        let mut pipeline = redis::pipe();
        for Unborn { id, .. } in some {
            let mut bury = eval(scripts::BURY, &[keys.record(id)]);
            bury.arg(NEVER).arg(u64::try_from(REASON_KEPT.as_millis()).unwrap_or(u64::MAX));
            pipeline.add_command(bury);
        }
        lane.ask(&pipeline).await?;
        let mut left: Vec<(&Unborn, Node)> = Vec::with_capacity(some.len());
        left.extend(some.iter().map(|unborn| (unborn, indexes.of(&unborn.tenant).leaf(unborn.user))));
        while !left.is_empty() {
            let mut pipeline = redis::pipe();
            for (Unborn { id, user, .. }, node) in &left {
                let mut take = eval(scripts::TAKE_AWAY, std::slice::from_ref(&node.key));
                take.arg(&user[..]).arg(&id.to_bytes()[..]);
                pipeline.add_command(take);
            }
            let answers = lane.ask(&pipeline).await?;
            let mut below = Vec::new();
            for ((unborn, node), answer) in left.iter().zip(answers) {
                if number(&answer)? < 0 {
                    below.push((*unborn, indexes.of(&unborn.tenant).below(node, unborn.user)?));
                }
            }
            left = below;
        }
        self.0.lock().retain(|unborn| !some.contains(unborn));
        Ok(())
    }
}

impl Unborn {
    pub(super) fn new(keys: &Keys, id: SessionId, principal: &Principal) -> Self {
        Self { id, tenant: principal.tenant.clone(), user: keys.user_hash(&principal.user) }
    }
}
