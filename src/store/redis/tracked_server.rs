//! The one server, or the one that is the master, as its tracker knows it.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::answers::time;
use super::connection::Link;
use super::fault::Fault;
use super::fence::Warrant;
use super::lane::Lanes;
use super::scripts;
use super::tracker::Tracked;
use crate::clock::Monotonic;
use crate::session::StoreTime;
use crate::store::address::Node;
use crate::store::cache::{Held, Place, PlaceSet, Voucher};

/// The server of a link.
pub(super) struct TrackedServer {
    link: Arc<Link>,
    own: String,
}

impl TrackedServer {
    pub(super) fn new(link: Arc<Link>, instance: &str) -> Self {
        let own = link.keys().heartbeat(instance);
        Self { link, own }
    }
}

impl Tracked for TrackedServer {
    fn lanes(&self) -> Option<Arc<Lanes>> {
        self.link.lanes()
    }

    fn name(&self) -> String {
        let node = self.link.lanes().and_then(|lanes| lanes.node.as_ref().map(Node::to_string));
        node.unwrap_or_else(|| self.link.address().to_string())
    }

    fn doubt(&self) {
        self.link.doubt();
    }

    fn voucher(&self, lanes: &Arc<Lanes>) -> Option<Arc<dyn Voucher>> {
        self.link.fence()?;
        Some(Arc::new(OfLink { link: Arc::clone(&self.link), epoch: lanes.epoch }))
    }

    fn prefix(&self) -> String {
        self.own.clone()
    }

    fn key(&self, _number: usize) -> Result<String, Fault> {
        Ok(self.own.clone())
    }

    fn script(&self) -> &'static str {
        scripts::WRITE_BEAT
    }

    fn read(&self, answer: Value) -> Result<(StoreTime, Held), Fault> {
        let all = Held { places: PlaceSet::from_iter([Place::ONLY]), election: 0 };
        Ok((time(answer)?, all))
    }
}

/// The replicas of the master that these connections lead to. The Sentinels' word does not do for a cache.
struct OfLink {
    link: Arc<Link>,
    epoch: u64,
}

impl Voucher for OfLink {
    fn since(&self, _now: Monotonic, _within: Duration) -> Option<Monotonic> {
        let lanes = self.link.lanes().filter(|lanes| lanes.epoch == self.epoch)?;
        match self.link.fence()?.warrant(&lanes)? {
            Warrant::Replicas(since) => Some(since),
            Warrant::Electors(_) => None,
        }
    }
}
