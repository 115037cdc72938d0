//! What all that sends alerts shares: what it works with, the rules in force, and which queues cannot be worked off.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use super::plan;
use super::rules::AlertRules;
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::health::Readiness;
use crate::monitor::ContactKeys;
use crate::store::alerts::AlertOutbox;
use crate::store::contacts::ContactStore;
use crate::store::monitor::FindingStore;
use crate::telemetry::Metrics;

/// Contacts that are on their way to the store at once; more are not remembered.
const MOST_REMEMBERED: usize = 64;

/// What alerts work with.
pub struct AlertServices {
    /// Where they wait.
    pub outbox: Arc<dyn AlertOutbox>,
    /// What they tell of.
    pub findings: Arc<dyn FindingStore>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Who is told that a server does not take them.
    pub readiness: Arc<Readiness>,
    /// What goes on beside the requests; the drain waits for it.
    pub tasks: TaskTracker,
    /// How users are written to.
    pub contacts: Arc<dyn ContactStore>,
    /// What they are called by there, and sealed with.
    pub contact_keys: ContactKeys,
    /// The machine's clocks.
    pub clock: SharedClock,
    /// The machine's randomness.
    pub entropy: SharedEntropy,
}

/// What is shared.
pub(super) struct Office {
    pub(super) services: AlertServices,
    pub(super) rules: watch::Sender<Option<Arc<AlertRules>>>,
    /// Rises when something was put in.
    pub(super) put_in: watch::Sender<u64>,
    /// Contacts that are on their way to the store.
    pub(super) remembering: Arc<Semaphore>,
    /// Of each queue that cannot be worked off, why.
    failing: Mutex<BTreeMap<String, String>>,
}

impl Office {
    pub(super) fn new(services: AlertServices, rules: Option<Arc<AlertRules>>) -> Self {
        let (rules, put_in) = (watch::Sender::new(rules), watch::Sender::new(0));
        let remembering = Arc::new(Semaphore::new(MOST_REMEMBERED));
        Self { services, rules, put_in, remembering, failing: Mutex::default() }
    }

    /// Other queues are worked off from now on.
    pub(super) fn begin_anew(&self) {
        self.failing.lock().clear();
        self.services.readiness.warn("alerts", None);
    }

    /// Whether a queue can be worked off, and why not; a change is logged.
    pub(super) fn queue_state(&self, queue: &str, why: Option<String>) {
        let mut failing = self.failing.lock();
        match (why, failing.contains_key(queue)) {
            (Some(why), known) => {
                if !known {
                    tracing::warn!(queue, why, "alerts cannot be sent; they wait");
                }
                failing.insert(queue.to_owned(), why);
            }
            (None, true) => {
                tracing::info!(queue, "alerts are sent again");
                failing.remove(queue);
            }
            (None, false) => return,
        }
        let all: Vec<String> = failing.iter().map(|(queue, why)| format!("{queue}: {why}")).collect();
        let warning = (!all.is_empty()).then(|| format!("alerts cannot be sent, and wait: {}", all.join("; ")));
        self.services.readiness.warn("alerts", warning);
    }
}

/// A channel as a label: what another version wrote is `other`.
pub(super) fn channel(word: &str) -> &'static str {
    ["standard", "slack", "pagerduty", "ocsf", plan::MAIL, plan::USER]
        .into_iter()
        .find(|known| *known == word)
        .unwrap_or("other")
}
