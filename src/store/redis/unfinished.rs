//! Sessions that must not live: their making failed after it had begun, so that nobody was told their token, and nobody can
//! tell whether they came to be.
//!
//! They are taken back by id as soon as the server can be asked: before a new connection is used, and before the same user
//! logs in again. What stands in the record's place until then, and for an hour after it, keeps a command that is still on
//! its way from storing one. Where too many wait the oldest are left to time out.

use std::collections::VecDeque;

use super::connection::Link;
use super::entry::UserHash;
use super::eval;
use super::fault::{Fault, number};
use super::index::{Index, Node};
use super::lane::{Lane, Lanes};
use super::scripts;
use crate::session::{Principal, SessionId, TenantId};
use crate::store::REASON_KEPT;
use parking_lot::Mutex;

/// So many may wait.
const MOST: usize = 16_384;
/// Taken back in one step.
const STEP: usize = 100;

/// What stands for a session that never came to be, where its record or its end would be.
pub(super) const NEVER: &str = "-";

/// The sessions that must not live.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<VecDeque<Unborn>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unborn {
    id: SessionId,
    tenant: TenantId,
    user: UserHash,
}

/// A session that is being made. Dropped before it is known to be, it must not live.
pub(super) struct Making<'a> {
    link: &'a Link,
    unborn: Option<Unborn>,
}

impl Making<'_> {
    /// It is known what became of it.
    pub(super) fn known(mut self) {
        self.unborn = None;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(unborn) = self.unborn.take() {
            self.link.unfinished().add(unborn);
            self.link.doubt();
        }
    }
}

impl Unfinished {
    /// A session is about to be made.
    pub(super) fn begin<'a>(link: &'a Link, id: SessionId, principal: &Principal) -> Making<'a> {
        Making { link, unborn: Some(Unborn::new(link, id, principal)) }
    }

    /// A session that nobody was told of must not live.
    pub(super) fn abandon(link: &Link, id: SessionId, principal: &Principal) {
        drop(Self::begin(link, id, principal));
    }

    fn add(&self, unborn: Unborn) {
        let mut waiting = self.0.lock();
        if waiting.len() >= MOST {
            tracing::warn!("more sessions that nobody has wait to be taken back than can be remembered");
            waiting.pop_front();
        }
        waiting.push_back(unborn);
    }

    /// Takes back all that wait.
    pub(super) async fn bury(&self, link: &Link, lanes: &Lanes) -> Result<(), Fault> {
        loop {
            let some: Vec<Unborn> = self.0.lock().iter().take(STEP).cloned().collect();
            if some.is_empty() {
                return Ok(());
            }
            self.take_back(link, &lanes.careful, lanes.epoch, &some).await?;
        }
    }

    /// Takes back those of one user, who is logging in again.
    pub(super) async fn bury_of(&self, link: &Link, lanes: &Lanes, principal: &Principal) -> Result<(), Fault> {
        let user = link.keys().user_hash(&principal.user);
        let theirs = |unborn: &&Unborn| unborn.user == user && unborn.tenant == principal.tenant;
        let some: Vec<Unborn> = self.0.lock().iter().filter(theirs).take(STEP).cloned().collect();
        if some.is_empty() {
            return Ok(());
        }
        self.take_back(link, &lanes.careful, lanes.epoch, &some).await
    }

    async fn take_back(&self, link: &Link, lane: &Lane, epoch: u64, some: &[Unborn]) -> Result<(), Fault> {
        let keys = link.keys();
        let mut pipeline = redis::pipe();
        for Unborn { id, .. } in some {
            let mut bury = eval(scripts::BURY, &[keys.record(id)]);
            bury.arg(NEVER).arg(u64::try_from(REASON_KEPT.as_millis()).unwrap_or(u64::MAX));
            pipeline.add_command(bury);
        }
        lane.ask(&pipeline).await?;
        let mut left: Vec<(&Unborn, Node)> = Vec::with_capacity(some.len());
        left.extend(some.iter().map(|unborn| (unborn, unborn.index(link, epoch).leaf(unborn.user))));
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
                    below.push((*unborn, unborn.index(link, epoch).below(node, unborn.user)?));
                }
            }
            left = below;
        }
        self.0.lock().retain(|unborn| !some.contains(unborn));
        Ok(())
    }
}

impl Unborn {
    fn index<'a>(&'a self, link: &'a Link, epoch: u64) -> Index<'a> {
        Index { keys: link.keys(), splits: link.splits(), tenant: &self.tenant, epoch }
    }

    fn new(link: &Link, id: SessionId, principal: &Principal) -> Self {
        Self { id, tenant: principal.tenant.clone(), user: link.keys().user_hash(&principal.user) }
    }
}
