//! What a store does for alerts: an outbox, from which one gateway or another sends what was put in.
//!
//! # The contract of [`AlertOutbox`]
//!
//! - What is to be told of a finding is put in together with it ([`FindingStore::keep`](super::monitor::FindingStore::keep)):
//!   with both, or with neither.
//! - What was taken is its taker's for [`LEASE`], and nobody else's. A taker that is gone by then never says what became of
//!   it: another takes it, and sends it once more under the same [`AlertId`].
//! - What is gathered is due once its period is over, as one alert. Nothing is added to it from then on.
//! - No more than [`MOST_ALERTS`] wait in a queue; further ones are dropped, which is said to whoever puts them in. A queue
//!   that is full leaves the others their room.
//! - Nothing waits for longer than [`ALERTS_KEPT`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::StoreResult;
use super::finding_id::FindingId;
use crate::monitor::FindingRecord;
use crate::session::StoreTime;

/// For how long what was taken is its taker's.
pub const LEASE: Duration = Duration::from_secs(30);
/// How many wait in a queue at most.
pub const MOST_ALERTS: usize = 10_000;
/// For how long one waits at most.
pub const ALERTS_KEPT: Duration = Duration::from_secs(3 * 86_400);
/// How many of those that were gathered are named; the rest is counted.
pub const MOST_LISTED: usize = 50;

/// Where an alert goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Whose turn it waits for: the mail server's (for operators, or for users), or that of one webhook.
    pub queue: String,
    /// In which form it goes there, in a word.
    pub channel: String,
    /// To whom: a mail address, or what stands for a user.
    pub to: String,
}

impl Target {
    /// What stands for it in names: 22 characters.
    #[must_use]
    pub fn short(&self) -> String {
        use base64::Engine as _;
        let mut digest = Sha256::new();
        for part in [&self.queue, &self.channel, &self.to] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let digest: [u8; 32] = digest.finalize().into();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..16])
    }

    /// As it is kept.
    pub(super) fn encode(&self) -> String {
        // Texts: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what was kept.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// How many may go to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted together.
    pub name: String,
    /// So many.
    pub most: u32,
    /// Within this time, from the first on.
    pub within: Duration,
    /// Further ones are gathered for this period; `None`: they are not told.
    pub beyond: Option<Duration>,
}

/// Something to be told of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Where it goes.
    pub target: Target,
    /// Gathered with others for this period; `None`: it goes at once.
    pub gathered: Option<Duration>,
    /// How many go there.
    pub limit: Option<Limit>,
}

/// What became of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits to be sent.
    Put,
    /// It is told with others, later.
    Gathered,
    /// It is not told: there were too many.
    Limited,
    /// It is not told: there is no room.
    Dropped,
}

/// What tells one alert from all others, for good: when it began to wait, in ms, and which of that moment's it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(String);

impl AlertId {
    /// Of a posting by its finding, which goes at once.
    pub(crate) fn at_once(finding: FindingId, number: usize) -> Self {
        Self(format!("{finding}_{number}"))
    }

    /// Of those that are gathered for a target until then.
    pub(super) fn gathered(ends: u64, name: &str) -> Self {
        Self(format!("{ends}-d_{name}"))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let id = Self(text.to_owned());
        ((1..=80).contains(&text.len()) && text.bytes().all(plain) && id.millis().is_some()).then_some(id)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was put in, or is due; in ms.
    fn millis(&self) -> Option<u64> {
        self.0.split_once('-')?.0.parse().ok()
    }

    /// Since when it could have been sent.
    #[must_use]
    pub fn since(&self) -> StoreTime {
        StoreTime::from_millis(self.millis().unwrap_or_default())
    }

    /// The finding that it tells of, if it tells of one alone.
    #[must_use]
    pub fn finding(&self) -> Option<FindingId> {
        self.0.rsplit_once('_')?.0.parse().ok()
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What those that are gathered together are called by.
pub(super) fn gathered_name(target: &Target, period: Duration) -> String {
    format!("{}_{}", period.as_secs(), target.short())
}

/// What was gathered: one alert of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// How many findings.
    pub count: u64,
    /// How many of which severity and type, by [`kind_of`].
    pub kinds: BTreeMap<String, u64>,
    /// The first of them.
    pub ids: Vec<String>,
}

impl Gathered {
    /// One more.
    pub(super) fn add(&mut self, id: FindingId, kind: String) {
        self.count += 1;
        *self.kinds.entry(kind).or_default() += 1;
        if self.ids.len() < MOST_LISTED {
            self.ids.push(id.to_string());
        }
    }

    /// Reads what was kept.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// What those that are alike are counted by: `high IMPOSSIBLE_TRAVEL`, and `observed` where nothing was done.
#[must_use]
pub fn kind_of(record: &FindingRecord) -> String {
    let observed = if record.observed { " observed" } else { "" };
    format!("{} {}{observed}", record.severity, record.kind)
}

/// What was tried so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How often.
    pub count: u32,
    /// Why it failed the last time.
    pub error: String,
}

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: AlertId,
    /// Where it goes.
    pub target: Target,
    /// When it is tried next.
    pub due: StoreTime,
    /// What was tried so far.
    pub attempts: Attempts,
    /// What was gathered; `None`: it tells of one finding.
    pub gathered: Option<Gathered>,
}

/// One that is this caller's until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It.
    pub waiting: Waiting,
    /// When the lease ends, in ms of the store's time: who has it, is known by that.
    pub(super) lease: u64,
}

/// What a queue has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The store's time.
    pub now: StoreTime,
    /// One that is due.
    pub taken: Option<Taken>,
    /// When the next one is due, if any waits that nobody has.
    pub due: Option<StoreTime>,
}

/// Keeps alerts until they are sent.
#[async_trait]
pub trait AlertOutbox: Send + Sync + 'static {
    /// Takes the one of a queue that has been due for longest.
    async fn take(&self, queue: &str) -> StoreResult<Next>;

    /// It is sent, or never will be. Answers whether it was the caller's still.
    async fn done(&self, taken: &Taken) -> StoreResult<bool>;

    /// It is to be tried again after a pause. Answers whether it was the caller's still.
    async fn postpone(&self, taken: &Taken, pause: Duration, attempts: &Attempts) -> StoreResult<bool>;

    /// Those that wait, by their ids; those behind `after` alone.
    async fn waiting(&self, after: Option<&AlertId>, limit: usize) -> StoreResult<Vec<Waiting>>;

    /// How many wait.
    async fn count_waiting(&self) -> StoreResult<u64>;

    /// Takes out what waited for too long. Answers how many.
    async fn forget_old(&self) -> StoreResult<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_says_since_when_it_waits_and_what_it_tells_of() {
        let finding = FindingId { millis: 1_700_000_000_000, count: 2 };
        let id = AlertId::at_once(finding, 0);
        assert_eq!((id.as_str(), id.finding()), ("1700000000000-2_0", Some(finding)));
        assert_eq!(id.since(), StoreTime::from_millis(1_700_000_000_000));
        let target = Target { queue: "mail".into(), channel: "mail".into(), to: "ops@example.com".into() };
        let digest = AlertId::gathered(1_700_003_600_000, &gathered_name(&target, Duration::from_secs(3600)));
        assert_eq!((digest.finding(), digest.since()), (None, StoreTime::from_millis(1_700_003_600_000)));
        for id in [id, digest] {
            assert_eq!(AlertId::parse(id.as_str()), Some(id));
        }
        for garbage in ["", "1", "x-1", "1-0_0\n", "1-0_0 ", "1-0.0", &format!("1-{}", "0".repeat(90))] {
            assert_eq!(AlertId::parse(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn no_two_targets_share_a_name() {
        let target = |queue: &str, to: &str| Target { queue: queue.into(), channel: "mail".into(), to: to.into() };
        assert_ne!(target("a", "bc").short(), target("ab", "c").short());
        assert_eq!(target("a", "b").short().len(), 22);
    }
}
