//! The monitoring at work: what is noticed by the rules of [`monitor`](crate::monitor) is counted in the store, kept, told
//! and acted on.
//!
//! Nothing of it ever costs a request: a store that is slow or full, or a queue that is, makes it see less, which is
//! counted.

mod act;
mod act_queue;
mod activities;
mod acts;
mod call_book;
mod calls;
mod findings;
mod guard;
mod lately;
mod live_sessions;
mod orphans;
mod places;
mod reported;
mod risks;
mod sighting;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use act_queue::ActQueue;
pub use activities::KEPT_EVERY;
pub use acts::Who;
use call_book::CallBook;
pub use calls::TooMany;
pub use guard::{Admission, CameOut, Guarded, Tried};
use lately::Lately;
pub use reported::OF_A_BATCH;
use reported::{Asked, Reported};
pub use sighting::{Arrival, Presence, Sighted};

use crate::alerts::Alerts;
use crate::clock::SharedClock;
use crate::entropy::{EntropyError, SharedEntropy};
use crate::geo::Geo;
use crate::monitor::{
    AccountId, Crowd, FindingNote, FindingRecord, MonitorKeys, MonitorRules, NewKeys, Risks, Whereabouts,
};
use crate::reports::Reports;
use crate::sessions::Sessions;
use crate::store::activities::ActivityStore;
use crate::store::acts::{ActStore, CallExchange};
use crate::store::monitor::{FindingId, FindingStore, LoginGuard};
use crate::store::places::PlaceStore;
use crate::store::{SharedStore, StoreResult};
use crate::telemetry::Metrics;
use crate::told::{Origin, Teller, Told};

/// Logins that wait for others of their account or network at once; any more are told at once to come again.
const MOST_WAITING: usize = 512;
/// Findings that are on their way to the store at once; more are dropped, and counted.
const MOST_UNDER_WAY: usize = 64;

/// What the monitoring works with.
pub struct WatchServices {
    /// Counts logins.
    pub guard: Arc<dyn LoginGuard>,
    /// Keeps what was found.
    pub findings: Arc<dyn FindingStore>,
    /// Where addresses are.
    pub geo: Arc<Geo>,
    /// Counts for reports.
    pub reports: Arc<Reports>,
    /// Keeps what front ends report.
    pub activities: Arc<dyn ActivityStore>,
    /// Who is told of it.
    pub alerts: Alerts,
    /// Keeps where users were.
    pub places: Arc<dyn PlaceStore>,
    /// The sessions.
    pub store: SharedStore,
    /// Has gateways tell each other of calls.
    pub calls: Arc<dyn CallExchange>,
    /// Counts acts.
    pub acts: Arc<dyn ActStore>,
    /// What accounts, devices and users are called by.
    pub keys: MonitorKeys,
    /// Where sessions are held and ended.
    pub sessions: Sessions,
    /// Who hears of it.
    pub teller: Teller,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The machine's clocks.
    pub clock: SharedClock,
    /// The machine's randomness.
    pub entropy: SharedEntropy,
    /// What goes on beside the requests; the drain waits for it.
    pub tasks: TaskTracker,
}

/// The monitoring. A copy is the same.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    services: WatchServices,
    /// What this gateway calls itself among others.
    gateway: String,
    calls: CallBook,
    /// What waits to be counted.
    acts: ActQueue,
    /// What front ends report.
    reported: Reported,
    asked: Asked,
    /// Ended sessions that were used, and looked at.
    looked_at: Mutex<Lately>,
    /// The rules in force; `None`: nothing is looked at.
    rules: ArcSwapOption<MonitorRules>,
    /// What is open of sessions; `None`: nothing.
    risks: ArcSwapOption<Risks>,
    /// Whether that may have changed.
    risks_changed: Notify,
    /// Where sessions are used from.
    whereabouts: Whereabouts,
    /// What of that is to be judged.
    sightings: mpsc::Sender<Sighted>,
    waiting_sightings: AsyncMutex<mpsc::Receiver<Sighted>>,
    crowd: Mutex<Crowd>,
    new_keys: Mutex<NewKeys>,
    waiting: Semaphore,
    under_way: Arc<Semaphore>,
    /// Whether it was said that a proxy's own address comes as a client's.
    told_of_proxy: AtomicBool,
    /// Whether it was said that nearly all come from one network.
    told_of_crowd: AtomicBool,
}

impl Watch {
    /// A monitoring that has seen nothing yet.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn new(services: WatchServices) -> Result<Self, EntropyError> {
        let new_keys = Mutex::new(NewKeys::beginning_at(services.clock.monotonic()));
        let mut name = [0; 8];
        services.entropy.fill(&mut name)?;
        let (sightings, waiting_sightings) = sighting::queue();
        Ok(Self(Arc::new(Inner {
            services,
            gateway: format!("{:016x}", u64::from_be_bytes(name)),
            calls: CallBook::default(),
            acts: ActQueue::default(),
            reported: Reported::default(),
            asked: Asked::default(),
            looked_at: Mutex::default(),
            rules: ArcSwapOption::empty(),
            risks: ArcSwapOption::empty(),
            risks_changed: Notify::new(),
            whereabouts: Whereabouts::default(),
            sightings,
            waiting_sightings: AsyncMutex::new(waiting_sightings),
            crowd: Mutex::default(),
            new_keys,
            waiting: Semaphore::new(MOST_WAITING),
            under_way: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
            told_of_proxy: AtomicBool::new(false),
            told_of_crowd: AtomicBool::new(false),
        })))
    }

    /// The rules that are in force from now on.
    pub fn go_by(&self, rules: Option<&MonitorRules>) {
        self.0.services.acts.remember_ends(rules.is_some_and(|rules| rules.revoked_use.is_some()));
        self.0.rules.store(rules.cloned().map(Arc::new));
    }

    /// What stands for an account of this [normalised](crate::monitor::normalised) name at a login of this kind.
    #[must_use]
    pub fn account(&self, kind: Option<&str>, name: &str) -> AccountId {
        self.0.services.keys.account(kind, name)
    }

    /// Where logins are counted.
    #[must_use]
    pub fn guard(&self) -> &dyn LoginGuard {
        &*self.0.services.guard
    }

    /// What was found.
    #[must_use]
    pub fn kept(&self) -> &dyn FindingStore {
        &*self.0.services.findings
    }

    /// Where addresses are.
    #[must_use]
    pub fn geo(&self) -> &Arc<Geo> {
        &self.0.services.geo
    }

    /// Who is told of it.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.0.services.alerts
    }

    /// Notes what somebody says of a finding, and tells of it. Answers whether there is such a finding.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn note_verdict(&self, origin: &Origin, id: FindingId, note: &FindingNote) -> StoreResult<bool> {
        let Some(found) = self.kept().finding(id).await? else { return Ok(false) };
        if !self.kept().judge(id, note).await? {
            return Ok(false);
        }
        self.risks_changed();
        if let Some(record) = &found.record {
            self.learn_of_verdict(record, note.verdict).await;
        }
        let tenant = found.record.as_ref().and_then(FindingRecord::whose).map(|(tenant, _)| tenant);
        let kind = found.record.map_or_else(|| "UNKNOWN".into(), |record| record.kind.into());
        self.tell(origin, &Told::FindingJudged { id: id.to_string(), verdict: note.verdict, kind, tenant });
        Ok(true)
    }

    /// What is counted for reports.
    #[must_use]
    pub fn reports(&self) -> &Reports {
        &self.0.services.reports
    }

    /// Tells what an operator did.
    pub fn tell(&self, origin: &Origin, told: &Told) {
        self.0.services.teller.tell(origin, told);
    }

    /// Shows how many locks are in force. What the store cannot say is left as it was.
    pub async fn count_locks(&self) {
        if let Ok(count) = self.guard().count_locks().await {
            self.0.services.metrics.login_locks(count);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").finish_non_exhaustive()
    }
}
