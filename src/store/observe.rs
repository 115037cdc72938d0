//! What a store tells telemetry: each call's outcome, and whether the store is up.
//!
//! The stores know no metrics; they are given an observer. It is called on hot paths and must never block.

use std::sync::Arc;
use std::time::Duration;

/// How a call to a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// Answered.
    Ok,
    /// Not answered in time.
    Timeout,
    /// Answered by an error (no permission, out of memory, read-only, loading).
    Refused,
    /// Answered in a shape that was never written.
    Garbled,
    /// The connection or the file was lost on the way.
    Lost,
    /// Not even tried: the store is known to be down, or its queue is full.
    Down,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Timeout, Self::Refused, Self::Garbled, Self::Lost, Self::Down];

    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Garbled => "garbled",
            Self::Lost => "lost",
            Self::Down => "down",
        }
    }
}

/// Who is told.
pub trait StoreObserver: Send + Sync + 'static {
    /// A call of that name ended so.
    fn command(&self, command: &'static str, outcome: CallOutcome);
    /// The store became usable, or stopped being so.
    fn state(&self, up: bool);
    /// What a session is was known here, or had to be asked.
    fn looked_up(&self, known: bool);
    /// Whether the cache may answer, and how many sessions are in it.
    fn cache(&self, leased: bool, entries: usize);
    /// The server of that name is used, or not any more.
    fn node(&self, _name: &str, _up: bool) {}
    /// The cache relies on a proof of that age, of the server of that name.
    fn lease(&self, _name: &str, _age: Duration) {}
    /// The store's clock is so many seconds before this machine's.
    fn clock_skew(&self, _seconds: f64) {}
    /// Another server is the master.
    fn master_changed(&self) {}
    /// One of several masters is used, or not any more; `None`: it is none now.
    fn master(&self, _name: &str, _up: Option<bool>) {}
    /// So many slots of a cluster are served by no master.
    fn slots_uncovered(&self, _count: usize) {}
    /// A master of a cluster sent a command elsewhere, or put it off.
    fn redirected(&self, _kind: &'static str) {}
    /// Something was ended that may be lost with the master.
    fn unreplicated(&self) {}
}

/// A shared observer.
pub type SharedObserver = Arc<dyn StoreObserver>;

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl StoreObserver for Unobserved {
    fn command(&self, _: &'static str, _: CallOutcome) {}
    fn state(&self, _: bool) {}
    fn looked_up(&self, _: bool) {}
    fn cache(&self, _: bool, _: usize) {}
}
