//! What a store does for the monitoring: it counts logins, for all gateways together, and keeps what was found.
//!
//! # The contract of [`LoginGuard`]
//!
//! - Of the logins that are reserved at once, at however many gateways, no more are let through than the bucket's limit less
//!   the failures that count.
//! - A lock ends when it was said to. What comes meanwhile neither counts nor moves its end.
//! - A success empties the buckets that say so, and no other.
//! - Of the accounts by which a user logs in [the last few](MOST_ACCOUNTS_OF_A_USER) are known, for
//!   [`ACCOUNTS_KEPT`] after the last login by each.
//! - A login that was reserved and never settled counts for [`Attempt::RESERVED_FOR`], and then no more.
//!
//! What is counted wrongly costs a login at most. So a store that fails, or has no room, is no reason to refuse one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreResult;
use super::alerts::{Fate, Posting};
pub use super::finding_id::{FindingId, Malformed};
use crate::monitor::{AccountId, Attempt, FindingNote, FindingRecord, Full, Lock, LockId, Outcome, Risk};
use crate::session::{StoreTime, TenantId, UserId};

/// Whether a login may go on to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It may, and is counted as under way. So many buckets of accounts were new.
    Yes {
        /// Buckets of accounts of which nothing was kept.
        new: u32,
    },
    /// Not while so many others are under way.
    Busy,
    /// Not until then: this bucket of it is locked.
    Locked {
        /// Which of the attempt's buckets; of several the one that is locked longest.
        bucket: usize,
        /// When the lock ends.
        until: StoreTime,
        /// The store's time.
        now: StoreTime,
    },
}

/// What the end of a login came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The buckets that it filled, which are locked from now on.
    pub full: Vec<(usize, Full)>,
    /// Of a success: how often its account failed from elsewhere within the window.
    pub elsewhere: u32,
    /// Buckets of accounts of which nothing was kept.
    pub new: u32,
}

/// Counts logins.
#[async_trait]
pub trait LoginGuard: Send + Sync + 'static {
    /// Asks whether a login may go on, and counts it as under way if so.
    async fn reserve(&self, attempt: &Attempt) -> StoreResult<Reserved>;

    /// Says how a login came out, whether it was reserved or not.
    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> StoreResult<Settlement>;

    /// Remembers that a user logs in by this account.
    async fn remember_account(&self, user: &str, account: &AccountId) -> StoreResult<()>;

    /// Locks the accounts by which a user was seen to log in, on devices that they do not know, for so long; or longer, where
    /// they are locked already. Answers how many there are.
    async fn lock_user(&self, user: &str, lasts: Duration) -> StoreResult<usize>;

    /// The locks in force, the one that ends first before the others; those behind `after` alone.
    async fn locks(&self, after: Option<&LockCursor>, limit: usize) -> StoreResult<Vec<Lock>>;

    /// How many are in force.
    async fn count_locks(&self) -> StoreResult<u64>;

    /// Ends a lock. Answers what it was, where there was one.
    async fn unlock(&self, id: &LockId) -> StoreResult<Option<Lock>>;
}

/// By so many accounts a user may be seen to log in: by a name and by a mail address, say.
pub const MOST_ACCOUNTS_OF_A_USER: usize = 4;
/// For how long it is known by which account a user logs in.
pub const ACCOUNTS_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// The most locks that are listed: of more, those that end first are not.
pub const MOST_LOCKS: usize = 10_000;

/// A place in the list of locks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockCursor {
    /// When the lock ends, in ms.
    pub until: u64,
    /// Its name.
    pub id: LockId,
}

impl LockCursor {
    /// That of a lock.
    #[must_use]
    pub fn of(lock: &Lock) -> Self {
        Self { until: lock.until.as_millis_rounded_up(), id: lock.id() }
    }
}

impl fmt::Display for LockCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.until, self.id)
    }
}

impl FromStr for LockCursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (until, id) = text.split_once('_').ok_or(Malformed)?;
        Ok(Self { until: until.parse().map_err(|_| Malformed)?, id: LockId::parse(id).ok_or(Malformed)? })
    }
}

/// Of the locks in force, in their order, those behind a cursor.
pub(super) fn page_of_locks(mut locks: Vec<Lock>, after: Option<&LockCursor>, limit: usize) -> Vec<Lock> {
    locks.sort_by_cached_key(LockCursor::of);
    locks.retain(|lock| after.is_none_or(|after| LockCursor::of(lock) > *after));
    locks.truncate(limit);
    locks
}

/// A finding as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFinding {
    /// Its name.
    pub id: FindingId,
    /// What was found. `None`: it cannot be read; it may be another version's.
    pub record: Option<FindingRecord>,
    /// How often it was found again, and not told.
    pub repeats: u64,
    /// What somebody said of it.
    pub note: Option<FindingNote>,
}

impl KeptFinding {
    /// When it was found.
    #[must_use]
    pub const fn found(&self) -> StoreTime {
        StoreTime::from_millis(self.id.millis)
    }
}

/// What became of a finding that was to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    New {
        /// Its name.
        id: FindingId,
        /// What became of what was to be told of it, one by one.
        fates: Vec<Fate>,
    },
    /// The same was found a while ago and is not judged yet: it counts there, and is not told again.
    Again(FindingId),
}

/// A finding that is to be kept.
#[derive(Clone, Debug)]
pub struct ToKeep<'a> {
    /// What was found.
    pub record: &'a FindingRecord,
    /// What tells the same.
    pub dedupe: &'a str,
    /// For how long the same counts on the first, until somebody judges that.
    pub repeat: Duration,
    /// What it is for its session: open until somebody judges it, or for [a day](crate::monitor::OPEN_FOR) after it was last found.
    pub risk: Option<Risk>,
    /// Whom it is told, if it is new.
    pub postings: &'a [Posting],
    /// Whether that was tried before, and may have been done in part.
    pub has_failed: bool,
}

/// Whose findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingsOf {
    /// Of sessions of this tenant.
    pub tenant: TenantId,
    /// And of this user; `None`: of all.
    pub user: Option<UserId>,
}

/// A page of a tenant's findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfTenant {
    /// The newest first. May be fewer than were asked for, even none, without being the last page.
    pub findings: Vec<KeptFinding>,
    /// Where the next page begins; `None`: there is none. No finding's name.
    pub next: Option<FindingId>,
}

/// About how many findings of a tenant are found as its own: of more, the oldest are not.
pub const MOST_FINDINGS_OF_A_TENANT: usize = 10_000;
/// For how long findings are kept.
pub const FINDINGS_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// About how many findings are kept: of more, the oldest go.
pub const MOST_FINDINGS: usize = 100_000;

/// Of so many sessions it is known what is open.
pub const MOST_OPEN: usize = 4096;

/// Keeps what was found.
#[async_trait]
pub trait FindingStore: Send + Sync + 'static {
    /// Keeps a finding, unless the same one was found a while ago. Of a new one is told whom it is to be, by the
    /// [outbox](super::alerts::AlertOutbox): with it, or not at all.
    async fn keep(&self, finding: ToKeep<'_>) -> StoreResult<Kept>;

    /// Findings, the newest first; those before `position` alone. None is older than [`FINDINGS_KEPT`].
    async fn findings(&self, position: Option<FindingId>, limit: usize) -> StoreResult<Vec<KeptFinding>>;

    /// Findings of sessions of a tenant, or of a user there, the newest first; those behind `position` alone.
    async fn findings_of(&self, of: &FindingsOf, position: Option<FindingId>, limit: usize) -> StoreResult<OfTenant>;

    /// One of them.
    async fn finding(&self, id: FindingId) -> StoreResult<Option<KeptFinding>>;

    /// What is open of sessions, by findings of whatever gateway: about [so many](MOST_OPEN); of more, those that are over
    /// first are not known. One for each finding.
    async fn open_risks(&self) -> StoreResult<Vec<Risk>>;

    /// Notes what somebody says of it; the last one counts. From then on nothing is open by it. Answers whether there is such
    /// a finding.
    async fn judge(&self, id: FindingId, note: &FindingNote) -> StoreResult<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        let cursor = LockCursor { until: 7, id: LockId::of("n:192.0.2.1") };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for garbage in ["", "_", "7", "7_short", "x_AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(garbage.parse::<LockCursor>(), Err(Malformed), "{garbage}");
        }
    }
}
