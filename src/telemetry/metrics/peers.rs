//! Whether the peers of upstreams are in.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabels {
    pub(super) upstream: String,
    pub(super) peer: String,
}

#[derive(Clone, Debug)]
pub(super) struct Peers {
    up: Family<PeerLabels, Gauge>,
    uses: Arc<Mutex<HashMap<PeerLabels, usize>>>,
}

impl Peers {
    /// Shown in this family.
    pub(super) fn shown_in(up: Family<PeerLabels, Gauge>) -> Self {
        Self { up, uses: Arc::default() }
    }

    /// One more handle of a peer.
    pub(super) fn of(&self, upstream: &str, peer: &str) -> PeerMetric {
        let labels = PeerLabels { upstream: upstream.to_owned(), peer: peer.to_owned() };
        *self.uses.lock().entry(labels.clone()).or_default() += 1;
        PeerMetric { peers: self.clone(), labels }
    }
}

/// Whether one peer of an upstream is in. A peer that a reload removed is exposed no longer: its handle was the last.
#[derive(Debug)]
pub struct PeerMetric {
    peers: Peers,
    labels: PeerLabels,
}

impl PeerMetric {
    /// It is in, or out.
    pub fn set(&self, up: bool) {
        self.peers.up.get_or_create(&self.labels).set(i64::from(up));
    }
}

impl Drop for PeerMetric {
    fn drop(&mut self) {
        let mut uses = self.peers.uses.lock();
        let Some(count) = uses.get_mut(&self.labels) else { return };
        *count -= 1;
        if *count == 0 {
            uses.remove(&self.labels);
            self.peers.up.remove(&self.labels);
        }
    }
}
