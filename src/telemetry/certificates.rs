//! How long the certificates in force are valid: one gauge a host, over all listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NameLabel {
    name: String,
}

/// Which listener has which certificates. The names are an operator's, as many as there are certificates.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    left: Family<NameLabel, Gauge>,
    shown: Arc<Mutex<BTreeMap<&'static str, BTreeMap<String, i64>>>>,
}

impl Certificates {
    pub(super) fn of(left: Family<NameLabel, Gauge>) -> Self {
        Self { left, shown: Arc::default() }
    }

    /// The certificates of a listener, with the seconds that each has left. Of two for one host the one that ends first
    /// is shown.
    pub(super) fn show(&self, listener: &'static str, left: Vec<(&str, i64)>) {
        let mut shown = self.shown.lock();
        let before: BTreeSet<String> = shown.values().flat_map(BTreeMap::keys).cloned().collect();
        let mut own = BTreeMap::new();
        for (name, left) in left {
            own.entry(name.to_owned()).and_modify(|least: &mut i64| *least = left.min(*least)).or_insert(left);
        }
        shown.insert(listener, own);
        let mut least: BTreeMap<&String, i64> = BTreeMap::new();
        for (name, left) in shown.values().flatten() {
            least.entry(name).and_modify(|least| *least = (*left).min(*least)).or_insert(*left);
        }
        for name in before.into_iter().filter(|name| !least.contains_key(name)) {
            self.left.remove(&NameLabel { name });
        }
        for (name, left) in least {
            self.left.get_or_create(&NameLabel { name: name.clone() }).set(left);
        }
    }
}
