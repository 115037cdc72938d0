//! The session store: one trait, its contract, and one suite that holds every implementation to it.
//!
//! # The contract
//!
//! - *Absent*, *ended* and *unavailable* are three answers. Whatever the store cannot answer within its time-out, or
//!   answers in a shape that was never written, is [`Unavailable`], never "no such session".
//! - A session exists once [`create`](SessionStore::create) answered [`Creation::Stored`], on every instance.
//! - What [`end`](SessionStore::end) or [`end_user`](SessionStore::end_user) acknowledged is over for every read that
//!   starts later. No touch, late or lost, brings it back.
//! - A user's or tenant's generation that is raised between `began` of a new session and its storing wins: the session
//!   is [`Creation::Superseded`], or dead from its start.
//! - Only the store's clock decides. Deadlines come from [`now`](SessionStore::now) and the times in its answers.

pub mod audit;
pub mod codec;
pub mod embedded;
pub mod observe;
pub mod redis;
pub mod touch_queue;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::session::{
    EndReason, Generations, IdleLimit, Principal, SessionId, SessionRecord, Standing, StoreTime, TenantId,
    TenantStatus, UserAgentHash, UserId,
};

/// How long after its absolute deadline the reason of a session's end is still known.
pub const REASON_KEPT: Duration = Duration::from_secs(3600);

/// The store cannot say. Never to be read as "no such session".
#[derive(Clone, Debug, thiserror::Error)]
#[error("the session store is unavailable: {cause}")]
pub struct Unavailable {
    /// For the log alone; holds no secret.
    pub cause: String,
}

impl Unavailable {
    /// An outage with its cause.
    pub fn because(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string() }
    }
}

/// What a store call answers.
pub type StoreResult<T> = Result<T, Unavailable>;

/// A session to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id, from a token that nobody else has.
    pub id: SessionId,
    /// Whose it is.
    pub principal: Principal,
    /// Whether the login asked to be remembered.
    pub remembered: bool,
    /// Idle time-out; `None` when off.
    pub idle: Option<IdleLimit>,
    /// Absolute lifetime, counted from the storing.
    pub absolute: Duration,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: UserAgentHash,
    /// The store's time before the login request was sent to the backend.
    pub began: StoreTime,
}

impl NewSession {
    /// The record of this session, made at `now` under `generations`.
    #[must_use]
    pub fn record(self, now: StoreTime, generations: Generations) -> SessionRecord {
        SessionRecord {
            principal: self.principal,
            created: now,
            deadline: now.after(self.absolute),
            idle: self.idle,
            remembered: self.remembered,
            generations,
            address: self.address,
            user_agent: self.user_agent,
        }
    }
}

/// What became of a session to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is stored; the cookie may go out.
    Stored(SessionRecord),
    /// The user or tenant was revoked after the login began: there is no session.
    Superseded,
    /// The tenant is suspended or deleted: there is no session.
    TenantRefused(TenantStatus),
}

/// What a store that answers can be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// For everything.
    Good,
    /// Its sessions can be used and ended, but it takes no new ones. Holds the cause, for the operator.
    TakesNoSessions(String),
}

/// One touch: the session's touch deadline is to be at least this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The session.
    pub id: SessionId,
    /// The new touch deadline; an earlier one than the recorded changes nothing.
    pub deadline: StoreTime,
}

/// Where sessions live. See the module's documentation for what every implementation guarantees.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// The store's time.
    async fn now(&self) -> StoreResult<StoreTime>;

    /// Makes a session, indexed by user and by tenant.
    async fn create(&self, new: NewSession) -> StoreResult<Creation>;

    /// What a session is. Does not touch it.
    async fn read(&self, id: SessionId) -> StoreResult<Standing>;

    /// Records uses. Answers for each, in order, whether the session still had a touch deadline to move: `false` means
    /// that it was ended or had timed out in between.
    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>>;

    /// Replaces the record and the touch deadline of a session that still has one by lower limits. `false` when it was
    /// ended or had timed out in between.
    async fn tighten(&self, id: SessionId, record: &SessionRecord, touch_deadline: StoreTime) -> StoreResult<bool>;

    /// Ends one session and writes down why. `record` says how long the reason is kept. Answers whether this call ended
    /// it (`false`: it was over already).
    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool>;

    /// Writes down why a session ended by time, for the first who noticed. Answers whether this call was the first.
    async fn note_end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool>;

    /// Ends all sessions of a user by raising the generation. Answers how many were live: exact, each session counted
    /// by one call only.
    async fn end_user(&self, tenant: &TenantId, user: &UserId, reason: EndReason) -> StoreResult<u64>;

    /// Whether the store answers and takes writes, for `/readyz`. One that is merely full is not unavailable.
    async fn check(&self) -> StoreResult<Condition>;
}

/// A shared store.
pub type SharedStore = Arc<dyn SessionStore>;
