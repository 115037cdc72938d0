//! A master of a cluster, as its tracker knows it.
//!
//! With each beat it says itself which slots it has and is not about to give away. The cache goes by that, as far as it is
//! asked about them, too (`masters`): what is written of a slot that moves is written elsewhere before a majority knows of it.

use std::sync::Arc;

use redis::Value;

use super::fault::Fault;
use super::keys::{Keys, place_of};
use super::lane::Lanes;
use super::masters::{Master, Masters};
use super::own_word::own_word;
use super::scripts;
use super::slot::{SLOTS, Slot, tag_in};
use super::tracker::Tracked;
use crate::session::StoreTime;
use crate::store::cache::{Held, Voucher};

/// How far apart the slots are that are tried one after the other: a prime beyond all of them, so that each has its turn.
const STRIDE: usize = 1_000_003;

/// A master that is open.
pub(super) struct TrackedMaster {
    pub(super) masters: Arc<Masters>,
    pub(super) master: Arc<Master>,
    pub(super) keys: Keys,
    pub(super) instance: String,
}

impl Tracked for TrackedMaster {
    fn lanes(&self) -> Option<Arc<Lanes>> {
        Some(Arc::clone(&self.master.lanes))
    }

    fn name(&self) -> String {
        self.master.node.to_string()
    }

    fn doubt(&self) {
        self.masters.chart().doubt();
    }

    fn voucher(&self, _lanes: &Arc<Lanes>) -> Option<Arc<dyn Voucher>> {
        Some(self.master.clone())
    }

    fn prefix(&self) -> String {
        self.keys.heartbeats(&self.instance)
    }

    fn key(&self, number: usize) -> Result<String, Fault> {
        let all = || (0..SLOTS).filter_map(Slot::numbered);
        let its = self.masters.asked_of(&self.master, all());
        let slots: Vec<Slot> = all().filter(|slot| its.has(place_of(*slot))).collect();
        let place = number.wrapping_mul(STRIDE).checked_rem(slots.len()).unwrap_or_default();
        let slot = slots.get(place).copied().ok_or_else(|| Fault::Lost(String::from("it has no slots")))?;
        Ok(self.keys.heartbeat_in(&self.instance, &tag_in(slot)))
    }

    fn script(&self) -> &'static str {
        scripts::BEAT_OF_MASTER
    }

    fn read(&self, answer: Value) -> Result<(StoreTime, Held), Fault> {
        let (now, word) = own_word(answer)?;
        let places = self.masters.asked_of(&self.master, word.slots());
        Ok((now, Held { places, election: word.election }))
    }
}
