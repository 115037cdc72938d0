//! What a store does for the rules about what is done with sessions: gateways tell each other of calls, acts are counted for
//! all of them together, and it is remembered from where sessions were used that somebody ended.
//!
//! # The contract of [`CallExchange`]
//!
//! - What one gateway told the others hear from it for [`TOLD_FOR`], and nothing longer than that and a moment.
//! - Nobody hears itself.
//! - A gateway is one of [`ToldCalls::others`] from its first exchange on, and until it has said nothing for [`TOLD_FOR`].
//!
//! # The contract of [`ActStore`]
//!
//! - An act counts once, at however many gateways it and others come at once; what fires does so at one of them.
//! - What counted longer ago than its window counts no more.
//! - What is remembered of an ended session is forgotten when it was said to be; of those that are ended many at once, with the
//!   reason of the end. It is not remembered of those that a journal ends late.
//!
//! What is counted wrongly, or not at all, costs nobody a request.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreResult;
use crate::monitor::{Act, CallCount, EndNote};
use crate::session::{SessionId, StoreTime};

/// How long what a gateway told is told to others.
pub const TOLD_FOR: Duration = Duration::from_secs(15);
/// Users of whom a gateway tells at once.
pub const MOST_TOLD: usize = 4096;

/// What the other gateways told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldCalls {
    /// The store's time.
    pub now: StoreTime,
    /// How many others there are.
    pub others: u32,
    /// What each of them counted; of a user as many times as there are gateways who told of them.
    pub counts: Vec<CallCount>,
}

/// Has gateways tell each other of calls.
#[async_trait]
pub trait CallExchange: Send + Sync + 'static {
    /// Tells the others what was counted at this gateway, in place of what it told before, and answers what they told. With
    /// `rings` they are to look soon.
    async fn exchange_calls(&self, gateway: &str, counts: &[CallCount], rings: bool) -> StoreResult<ToldCalls>;

    /// Waits until there may be something to look for: another gateway rang, or nobody would hear if it did and a second
    /// went by.
    async fn call_news(&self);
}

/// Counts acts, and remembers from where ended sessions were used.
#[async_trait]
pub trait ActStore: Send + Sync + 'static {
    /// Counts acts, one after the other. Answers of each how many, or how much, it makes where it fires; then what counted
    /// with it counts no more.
    async fn count_acts(&self, acts: &[Act]) -> StoreResult<Vec<Option<u64>>>;

    /// Whether of sessions that are ended many at once, of a user or a tenant, it is remembered from now on who they were and
    /// where their logins came from.
    fn remember_ends(&self, remembers: bool);

    /// Remembers something of ended sessions, each until then.
    async fn keep_end_notes(&self, notes: &[(SessionId, EndNote, StoreTime)]) -> StoreResult<()>;

    /// What is remembered of ended sessions, in their order.
    async fn end_notes(&self, sessions: &[SessionId]) -> StoreResult<Vec<Option<EndNote>>>;
}
