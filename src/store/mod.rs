//! The session store: one trait, its contract, and one suite that holds every implementation to it.
//!
//! # The contract
//!
//! - *Absent*, *ended* and *unavailable* are three answers. Whatever the store cannot answer within its time-out, or
//!   answers in a shape that was never written, is [`Unavailable`], never "no such session".
//! - A session exists once [`create`](SessionStore::create) answered [`Creation::Stored`], on every instance. One whose
//!   making failed, or was broken off, does not live: should it have come to be all the same, the store takes it back.
//! - A session that was rotated has several tokens, and one end: what ends it by any of them, or ends those whom the old
//!   token was of while that has its moment, ends it by all.
//! - What [`end`](SessionStore::end), [`revoke`](SessionStore::revoke) or [`change_tenant`](SessionStore::change_tenant)
//!   acknowledged is over for every read that starts later. No touch, late or lost, brings it back.
//! - A user's or tenant's generation that is raised between `began` of a new session and its storing wins: the session
//!   is [`Creation::Superseded`], or dead from its start.
//! - A token of an issuer is nowhere stored. What [`deny`](SessionStore::deny) acknowledged is refused by every read that
//!   starts later, for as long as the token could be used, and so is what is older than a revocation of its user or tenant.
//!   A server that was emptied is no server of which nothing is denied: it is [`Unavailable`] until the journal was applied.
//! - A session that may choose from several tenants ends with none of them. Whoever lets it into one asks for the
//!   tenant's [standing](SessionStore::tenant_standing), under the same lease as for a session.
//! - A session that is *held* ([`hold`](SessionStore::hold)) is a fourth answer: it lives, is listed, counted, ended and times out
//!   as ever, and no read that starts after the acknowledgement calls it live before it was released.
//! - Only the store's clock decides. Deadlines come from [`now`](SessionStore::now) and the times in its answers. What
//!   came before what, a login or a revocation, does not: a clock can be set back, so that the store keeps an order of its
//!   own, of which [`begin`](SessionStore::begin) and every generation are moments.

pub mod activities;
pub mod acts;
mod address;
pub mod alerts;
pub mod audit;
pub mod cache;
mod claim;
pub mod codec;
pub mod contacts;
pub mod embedded;
mod finding_id;
pub mod journal;
mod listing;
pub mod maintenance;
pub mod membership;
pub mod monitor;
pub mod observe;
pub mod places;
pub mod redis;
pub mod reports;
pub mod touch_queue;
mod walk;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::address::{AddressError, Beside, SentinelLogin, StoreAddress};
pub use self::claim::Claim;
pub use self::listing::{Cursor, Page, SessionView, SessionsOf, TenantView};

use crate::clock::Monotonic;
use crate::session::{
    By, Candidate, Choices, EndReason, Ended, Generations, HeldSession, Hold, HoldWord, IdleLimit, LiveSession,
    Principal, Revocation, SessionId, SessionLimit, SessionRecord, Standing, StoreTime, TenantChange, TenantId,
    TenantStanding, TenantStatus, TokenDenial, TokenStanding, UserAgent,
};

/// For how long the reason of a session's end is known beyond the time at which the session would have been over.
pub const REASON_KEPT: Duration = Duration::from_secs(3600);

/// How long at most an instance may go on believing what it knows of a session (docs/behaviour.md, "Store": what any
/// instance ends, none accepts after a second; a tenth of it is kept in hand).
pub const STALE_AT_MOST: Duration = Duration::from_millis(900);

/// The store cannot say. Never to be read as "no such session".
#[derive(Clone, Debug, thiserror::Error)]
#[error("the session store is unavailable: {cause}")]
pub struct Unavailable {
    /// For the log alone; holds no secret.
    pub cause: String,
    /// Whether the store itself carries out what was asked for, and tells of it, once it can.
    pub comes_late: bool,
    /// Whether the store answered, and what it keeps of this one session cannot be read: it may be another version's. No
    /// waiting helps; such a session can be [ended by its id](SessionStore::end_unreadable).
    pub unreadable: bool,
}

impl Unavailable {
    /// An outage with its cause.
    pub fn because(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string(), comes_late: false, unreadable: false }
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
    /// The tenants that it may choose from beside the principal's.
    pub candidates: Vec<Candidate>,
    /// Whether the login asked to be remembered.
    pub remembered: bool,
    /// Idle time-out; `None` when off.
    pub idle: Option<IdleLimit>,
    /// Absolute lifetime, counted from the storing.
    pub absolute: Duration,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: UserAgent,
    /// When the login [began](SessionStore::begin), before its request was sent to the backend.
    pub began: StoreTime,
    /// How many sessions the user may have; `None` when any number.
    pub limit: Option<SessionLimit>,
    /// A session that the caller ends as soon as this one is made: it does not count.
    pub replaces: Option<SessionId>,
    /// The app's token, sealed: kept beside the record, before the session is live.
    pub sealed_token: Option<Vec<u8>>,
}

impl NewSession {
    /// The record of this session, made at `now` under `generations`, and under those of each candidate `elsewhere`.
    #[must_use]
    pub fn record(self, now: StoreTime, generations: Generations, elsewhere: &[Generations]) -> SessionRecord {
        let candidates = self.candidates.into_iter().zip(elsewhere);
        let choices = candidates.map(|(candidate, now)| candidate.settled(*now, self.began)).collect();
        SessionRecord {
            principal: Arc::new(self.principal),
            created: now,
            deadline: now.after(self.absolute),
            idle: self.idle,
            remembered: self.remembered,
            generations,
            address: self.address,
            user_agent: self.user_agent,
            line: None,
            choices: Choices::of(choices),
        }
    }
}

/// What became of a session to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is stored; the cookie may go out.
    Stored {
        /// Its record.
        record: SessionRecord,
        /// The sessions that this call ended, because the user had too many; among them this one itself, should later
        /// logins have displaced it already.
        displaced: Vec<(SessionId, Arc<SessionRecord>)>,
    },
    /// The user has as many sessions as they may have: there is no further one.
    LimitReached,
    /// The user or tenant was revoked after the login began, or the session to rotate is over: there is no session.
    Superseded,
    /// The tenant is suspended or deleted: there is no session.
    TenantRefused(TenantStatus),
}

/// What the ending of many sessions came to. From the moment it is answered none of them is live anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How many were live. Each session is counted by one call only.
    pub ended: u64,
    /// Whether that is all of them. `false`: counting takes longer than 5 s and goes on, or was interrupted.
    pub complete: bool,
    /// Whether it is safe from a server that comes back with older data. `false`: the journal could not be written.
    pub journalled: bool,
    /// Whether it [outlives](SessionStore::is_replicated) the server that took it.
    pub replicated: bool,
}

/// What a store that answers can be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// For everything.
    Good,
    /// For everything that concerns sessions; something beside them is refused. Holds what, for the operator.
    GoodBut(String),
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

/// What came of a word about whether a session is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is so from now on.
    News,
    /// It was so already; what is held stays held for the reason that it was first held for.
    Nothing,
    /// The session is over.
    Over,
}

/// What a session is, as it is known without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub standing: Standing,
    /// When the proof of that was asked for: until then all changes were heard.
    pub asked: Monotonic,
    /// The store's time then, or a little later.
    pub told: StoreTime,
}

/// What a token is worth, as it is known without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownToken {
    /// What it is worth.
    pub standing: TokenStanding,
    /// When the proof of that was asked for: until then all changes were heard.
    pub asked: Monotonic,
}

/// What a tenant's standing is, as it is known without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTenant {
    /// Its standing.
    pub standing: TenantStanding,
    /// When the proof of that was asked for: until then all changes were heard.
    pub asked: Monotonic,
}

/// Where sessions live. See the module's documentation for what every implementation guarantees.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// The store's time.
    async fn now(&self) -> StoreResult<StoreTime>;

    /// A moment for a login to begin at: in the order of revocations, which is the store's time unless its clock was set
    /// back. Every generation that is raised later is newer than it, none that was raised before is.
    async fn begin(&self) -> StoreResult<StoreTime>;

    /// Makes a session, indexed by user and by tenant.
    async fn create(&self, new: NewSession) -> StoreResult<Creation>;

    /// Goes on with a live session under another token, and as another's perhaps, until its absolute deadline. The old
    /// token is good for `grace` more, which is for what is in flight; from now on the new one alone counts and is listed.
    async fn rotate(
        &self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
    ) -> StoreResult<Creation>;

    /// Whether a session of this id could be stored now, as far as is known without asking.
    fn would_take(&self, _id: SessionId) -> bool {
        true
    }

    /// What a session is, if that is known here without asking and was so no longer than `within` ago, nor longer than
    /// [`STALE_AT_MOST`]. What this instance ended it no longer calls live. `None`: [`read`](Self::read) it.
    ///
    /// Called for each request: never blocks. The time of a live session that it answers is the store's or a little
    /// earlier, by less than its idle limit keeps in hand; the deadlines were compared with one that is no earlier.
    fn known(&self, _id: SessionId, _within: Duration) -> Option<Known> {
        None
    }

    /// What a session is, asked of the store itself. Does not touch it.
    async fn read(&self, id: SessionId) -> StoreResult<Standing>;

    /// Records uses. Answers for each, in order, whether the session still had a touch deadline to move: `false` means
    /// that it was ended or had timed out in between.
    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>>;

    /// Replaces the record and the touch deadline of a session that still has one by lower limits. `false` when it was
    /// ended or had timed out in between.
    async fn tighten(&self, id: SessionId, record: &SessionRecord, touch_deadline: StoreTime) -> StoreResult<bool>;

    /// Sees to it that a session does not live whose token nobody was told. At once, or as soon as the store can.
    fn abandon(&self, id: SessionId, principal: &Principal);

    /// Ends one session, by any of its tokens, and writes down why: all that is left of it. `by` is told should it come
    /// late. Answers whether this call ended it (`false`: it was over already).
    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason, by: &By) -> StoreResult<bool>;

    /// Holds a session with all its tokens, or lets it go on. `by` is told should it come late. Answers whether this call
    /// changed that.
    async fn hold(&self, id: SessionId, record: &SessionRecord, word: &HoldWord, by: &By) -> StoreResult<Said>;

    /// Ends one session of which nothing can be read, whatever it is. Answers whether there was one.
    async fn end_unreadable(&self, id: SessionId, reason: EndReason, by: &By) -> StoreResult<bool>;

    /// Writes down why a session ended by time, for the first who noticed. Answers whether this call was the first.
    async fn note_end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool>;

    /// Why a session is over that time has ended, given its record: what ended it on purpose, before or since, goes before
    /// that, also when nothing of it is kept any more. For what was begun in time and goes on without its session.
    async fn read_outlived(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<EndReason>;

    /// As [`known`](Self::known), of a token that was verified and says this of itself.
    fn known_token(&self, _id: SessionId, _record: &SessionRecord, _within: Duration) -> Option<KnownToken> {
        None
    }

    /// What a verified token is worth that says this of itself, asked of the store itself. Whoever asks compares its own
    /// end with the time.
    async fn read_token(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<TokenStanding>;

    /// The app's token that is kept for a session, sealed. `None`: there is none, or the session is over. Whether it lives is
    /// not looked at: that is what [`read`](Self::read) says.
    async fn sealed_token(&self, id: SessionId) -> StoreResult<Option<Vec<u8>>>;

    /// Keeps another in its place, if one is still kept: with the session it is gone, and comes to be by nothing. Answers
    /// whether it is kept.
    async fn replace_sealed_token(&self, id: SessionId, sealed: &[u8]) -> StoreResult<bool>;

    /// Takes the turn to refresh a session's token, or goes on holding it, for that long. `false`: it is another's.
    async fn take_turn(&self, id: SessionId, holder: &str, lasts: Duration) -> StoreResult<bool>;

    /// Gives the turn back, if it is this holder's.
    async fn end_turn(&self, id: SessionId, holder: &str) -> StoreResult<()>;

    /// How many ended sessions and denied tokens it keeps, about. For the metrics: it may take its time. `None`: it may not be
    /// asked.
    async fn count_ended(&self) -> StoreResult<Option<u64>>;

    /// Denies a token, for as long as it could be used. Answers whether this call did (`false`: it was denied already).
    async fn deny(&self, denial: &TokenDenial, by: &By) -> StoreResult<bool>;

    /// Ends all sessions of a user or tenant, whatever their number, by raising a generation; then counts them. Not
    /// `Ok`: nothing can be said of them.
    async fn revoke(&self, revocation: &Revocation) -> StoreResult<Revoked>;

    /// Changes a tenant's status. All its sessions end, unless it was and stays active; making it active revives none.
    async fn change_tenant(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked>;

    /// As [`known`](Self::known), of a tenant's standing.
    fn known_tenant(&self, _tenant: &TenantId, _within: Duration) -> Option<KnownTenant> {
        None
    }

    /// A tenant's standing alone, asked of the store itself: cheap enough for a request.
    async fn tenant_standing(&self, tenant: &TenantId) -> StoreResult<TenantStanding>;

    /// What is known of a tenant; one that nobody ever used is active and has no sessions.
    async fn tenant(&self, tenant: &TenantId) -> StoreResult<TenantView>;

    /// The known tenants, in the order of their ids: those with sessions, and those whose status was ever changed.
    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> StoreResult<Page<TenantView, TenantId>>;

    /// Live sessions, tenant by tenant. One that lives through a whole listing is on exactly one page, whatever comes
    /// and goes meanwhile. A page may hold fewer than `limit` without being the last.
    async fn sessions(
        &self,
        of: &SessionsOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> StoreResult<Page<SessionView, Cursor>>;

    /// Since when what the store answered is known to hold that was asked at `asked`: never later. A store that may be taken
    /// over by another server can say that alone of answers that it gave just now.
    ///
    /// # Errors
    /// When it cannot say of any: another server may decide by now.
    fn proven(&self, asked: Monotonic) -> StoreResult<Monotonic> {
        Ok(asked)
    }

    /// Whether all that was ended until now, and not asked for before `since`, outlives the server that took it: `false` where
    /// that may be lost before another takes over. This instance then has it there again, from its journal.
    async fn is_replicated(&self, _since: Monotonic) -> bool {
        true
    }

    /// Whether the store answers and takes writes, for `/readyz`. One that is merely full is not unavailable.
    async fn check(&self) -> StoreResult<Condition>;
}

/// Tokens of one session that are followed to the one that is good now.
const LONGEST_LINE: usize = 16;

/// A session that is not over, and the hold that is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// Its id now.
    pub id: SessionId,
    /// What it is but for the hold.
    pub live: LiveSession,
    /// The hold, if there is one.
    pub hold: Option<Hold>,
}

/// The session that one of its tokens leads to, be that replaced already, if it is not over.
///
/// # Errors
/// When the store cannot say.
pub async fn gone_on(store: &dyn SessionStore, id: SessionId) -> StoreResult<Option<Going>> {
    let mut id = id;
    for _ in 0..LONGEST_LINE {
        match store.read(id).await? {
            Standing::Live(live) => return Ok(Some(Going { id, live, hold: None })),
            Standing::Held(HeldSession { live, hold }) => return Ok(Some(Going { id, live, hold: Some(hold) })),
            Standing::Ended(Ended { next: Some(next), .. }) => id = next,
            Standing::Ended(_) | Standing::Absent => break,
        }
    }
    Ok(None)
}

/// A shared store.
pub type SharedStore = Arc<dyn SessionStore>;
