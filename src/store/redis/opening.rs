//! The masters of a cluster opened, proven and watched, each by itself.
//!
//! Before one is open it has what the journal has of its slots, so that a replica that was promoted revives nothing, and has
//! proven that it is the master. Slots that it gets later are the same: it is asked about them once it has what the journal
//! has of them. It decides nothing about sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::answers::{exactly, time};
use super::chart::Chart;
use super::commands::eval;
use super::fault::{Fault, text};
use super::fence::Fence;
use super::hearing::{CONNECT_TIMEOUT, hearing_lane};
use super::keys::Keys;
use super::lane::{Lane, Lanes};
use super::masters::{Master, Masters};
use super::route::{Kind, Route};
use super::slot::{Slot, tag_in};
use super::topology::{NodeId, Range};
use super::tracked_master::TrackedMaster;
use super::tracker::{Hearing, Tracker};
use super::{fitness, late, replay, scripts};
use crate::clock::SharedClock;
use crate::entropy::spread;
use crate::store::address::Node;
use crate::store::journal::Journal;

/// For one round trip.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two looks at a master that seems well.
const LOOK: Duration = Duration::from_secs(1);
/// Between attempts to open one: first this, then doubling up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// How often it is looked whether the other masters vouch for one whose replicas do not, and what is between.
const LOOKS: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(30);

/// How long it is kept since when a master has had its data, once nobody looks any more: at each opening it may be in another
/// slot.
const BIRTH_KEPT: Duration = Duration::from_secs(3600);

/// Opens masters.
pub(super) struct Opening {
    pub(super) masters: Arc<Masters>,
    pub(super) keys: Keys,
    pub(super) clock: SharedClock,
    pub(super) journal: Option<Arc<Journal>>,
    /// Held by one that gets what came late, until it is open: of two at once each would miss the other.
    pub(super) turn: Mutex<()>,
    /// Where a cache is to hear of changes.
    pub(super) hearing: Option<Hearing>,
}

impl Opening {
    /// Keeps open all that there are, for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        let mut layouts = self.chart().layouts();
        let mut kept: BTreeMap<(NodeId, Node), AbortOnDropHandle<()>> = BTreeMap::new();
        loop {
            let layout = layouts.borrow_and_update().clone();
            let shards = layout.iter().flat_map(|layout| &layout.shards);
            let wanted: Vec<_> = shards.map(|(id, shard)| (id.clone(), shard.node.clone())).collect();
            for (name, task) in kept.extract_if(.., |name, _| !wanted.contains(name)) {
                task.abort();
                // It may say something until it is gone.
                let _gone = task.await;
                self.masters.forget(&name.0, &name.1);
            }
            for name in wanted {
                let (this, (id, node)) = (Arc::clone(&self), name.clone());
                let keep = async move { this.keep(&id, &node).await };
                kept.entry(name).or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(keep)));
            }
            self.masters.redraw();
            if layouts.changed().await.is_err() {
                return;
            }
        }
    }

    fn chart(&self) -> &Arc<Chart> {
        self.masters.chart()
    }

    /// Keeps one open.
    async fn keep(&self, id: &NodeId, node: &Node) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let fault = match self.open(id, node).await {
                Ok((master, turn)) => {
                    backoff = FIRST_BACKOFF;
                    let _open = Open { masters: &self.masters, master: Arc::clone(&master) };
                    self.masters.open(id, &master);
                    drop(turn);
                    let attending = self.attend(&master);
                    tokio::select! {
                        fault = attending => fault,
                        never = self.track(&master) => match never {},
                    }
                }
                Err(fault) => fault,
            };
            self.masters.closed(id, node, &fault);
            sleep(spread(backoff)).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    async fn open(&self, id: &NodeId, node: &Node) -> Result<(Arc<Master>, Option<MutexGuard<'_, ()>>), Fault> {
        let attempt = timeout(CONNECT_TIMEOUT + ROUND_TRIP_TIMEOUT, self.establish(id, node)).await;
        let master = Arc::new(attempt.unwrap_or(Err(Fault::Timeout))?);
        self.prove(&master).await?;
        master.owns(&self.ranges_of(id)?);
        // Takes as long as it takes: until then nothing of this server may be believed.
        let turn = tokio::select! {
            turn = self.replay(&master, master.begin_replay()) => turn?,
            // What came late goes the way of all commands: nobody is asked who is not proven.
            fault = self.keep_proving(&master) => return Err(fault),
        };
        master.end_replay();
        if self.journal.is_some() {
            self.prove(&master).await?;
        }
        Ok((master, turn))
    }

    /// Has a master have what the journal has of these slots. Answers a turn where others are to wait until it is asked about
    /// them.
    async fn replay(&self, master: &Arc<Master>, slots: BTreeSet<Slot>) -> Result<Option<MutexGuard<'_, ()>>, Fault> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let late = replay::replay_to(&master.lanes.careful, &self.keys, journal, |slot| slots.contains(&slot)).await?;
        if late.is_empty() {
            return Ok(None);
        }
        let turn = self.turn.lock().await;
        // To all that were opened until now. One that is only late with its proof gets it, too; one that is away, when it is
        // opened, before which nobody can read what depends on it.
        let all = Route::lane_opening(Arc::clone(&self.masters), Kind::Careful, Arc::clone(master), slots);
        let mut owed = late::redo_all(&all, &self.keys, journal, late).await?;
        for _ in 0..LOOKS {
            if owed.is_empty() {
                break;
            }
            sleep(BETWEEN).await;
            owed = late::redo_all(&all, &self.keys, journal, owed).await?;
        }
        Ok(Some(turn))
    }

    /// Has it have that of the slots that it gets while it is open, until that fails.
    async fn replay_gained(&self, master: &Arc<Master>) -> Fault {
        loop {
            master.gained().await;
            loop {
                let slots = master.begin_replay();
                if slots.is_empty() {
                    break;
                }
                match self.replay(master, slots).await {
                    Ok(_turn) => master.end_replay(),
                    // It does not know yet that they are its.
                    Err(fault) if fault.is_of_a_slot_elsewhere() => sleep(BETWEEN).await,
                    Err(fault) => return fault,
                }
            }
        }
    }

    /// Connects to one that may be used.
    async fn establish(&self, id: &NodeId, node: &Node) -> Result<Master, Fault> {
        let epoch = self.masters.next_epoch();
        let tag = self.tag_of(id, epoch)?;
        let probe = self.keys.probe_in(&tag);
        let client = self.chart().nodes().server(node).map_err(|error| Fault::Unfit(error.to_string()))?;
        let lane = || self.lane(&client);
        let (quick, careful, bulk, fence) = tokio::try_join!(lane(), lane(), lane(), lane())?;
        let examined = fitness::examine(&careful).await?;
        let birth_key = self.keys.birth_in(&tag);
        let mut ask = redis::pipe();
        let mut birth = eval(scripts::BIRTH, std::slice::from_ref(&birth_key));
        birth.arg(BIRTH_KEPT.as_millis().to_string());
        ask.add_command(birth).cmd("TIME");
        let asked = self.clock.monotonic();
        let [birth, now] = match careful.ask(&ask).await {
            Ok(answers) => exactly(answers)?,
            Err(fault) => return Err(fitness::explained(&careful, probe, &self.keys, fault).await),
        };
        self.masters.warn_of(node, examined.warnings);
        let lanes = Lanes {
            epoch,
            quick,
            careful,
            bulk,
            fence: Some(fence),
            client: Arc::new(client),
            node: Some(node.clone()),
            since: self.clock.monotonic(),
            identity: examined.identity,
            birth: text(birth)?.ok_or_else(|| Fault::garbled("the data has no beginning"))?,
        };
        let fence = Fence::new(Arc::clone(self.chart()), self.clock.clone(), probe);
        Ok(Master::new(node.clone(), lanes, birth_key, fence, (asked, time(now)?)))
    }

    /// Has it prove that it is the master.
    async fn prove(&self, master: &Master) -> Result<(), Fault> {
        master.fence.round(&master.lanes).await?;
        for _ in 0..LOOKS {
            if master.vouched().is_ok() {
                break;
            }
            sleep(BETWEEN).await;
        }
        master.vouched().map(drop)
    }

    fn ranges_of(&self, id: &NodeId) -> Result<Vec<Range>, Fault> {
        let layout = self.chart().layout().ok_or_else(|| Fault::Lost(self.chart().why()))?;
        Ok(layout.shards.get(id).map(|shard| shard.slots.clone()).unwrap_or_default())
    }

    /// What is written to it, is in a slot that it has: in another one each time, as one may be on its way elsewhere.
    fn tag_of(&self, id: &NodeId, epoch: u64) -> Result<String, Fault> {
        let slots: Vec<u16> = self.ranges_of(id)?.iter().flat_map(|(first, last)| *first..=*last).collect();
        let place = usize::try_from(epoch).unwrap_or_default().checked_rem(slots.len()).unwrap_or_default();
        let slot = slots.get(place).copied().and_then(Slot::numbered);
        slot.map(tag_in).ok_or_else(|| Fault::Lost(String::from("it has no slots")))
    }

    async fn lane(&self, client: &redis::Client) -> Result<Lane, Fault> {
        let chart = Arc::clone(self.chart());
        let hear = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                chart.doubt();
            }
        };
        hearing_lane(client, ROUND_TRIP_TIMEOUT, hear).await
    }

    /// Has it prove itself again and again, until that fails.
    async fn keep_proving(&self, master: &Master) -> Fault {
        loop {
            master.fence.due().await;
            if let Err(fault) = master.fence.round(&master.lanes).await {
                return fault;
            }
            master.fence.tell(&master.lanes);
        }
    }

    /// Has the cache hear of its changes, for as long as it is polled.
    async fn track(&self, master: &Arc<Master>) -> Infallible {
        let Some(hearing) = &self.hearing else { return std::future::pending().await };
        let tracked = TrackedMaster {
            masters: Arc::clone(&self.masters),
            master: Arc::clone(master),
            keys: self.keys.clone(),
            instance: hearing.settings.instance.clone(),
        };
        Tracker::new(tracked, hearing.clone()).run().await
    }

    /// Has it prove itself, and looks at it, until something is wrong.
    async fn attend(&self, master: &Arc<Master>) -> Fault {
        let looking = async {
            loop {
                sleep(LOOK).await;
                match timeout(ROUND_TRIP_TIMEOUT, self.look(master)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(fault)) => return fault,
                    Err(_) => return Fault::Timeout,
                }
            }
        };
        tokio::select! {
            fault = self.keep_proving(master) => fault,
            fault = looking => fault,
            fault = self.replay_gained(master) => fault,
            fault = master.given_up() => fault,
        }
    }

    /// Whether it is still the server that it was, with the data that it had, and may still be used.
    async fn look(&self, master: &Master) -> Result<(), Fault> {
        let lanes = &master.lanes;
        let mut read = redis::pipe();
        read.cmd("TIME");
        read.cmd("GET").arg(&master.birth_key);
        let kept = master.latest().after(BIRTH_KEPT);
        read.cmd("PEXPIREAT").arg(&master.birth_key).arg(kept.as_millis_rounded_up()).arg("GT");
        let asked = self.clock.monotonic();
        let (examined, answers) = tokio::try_join!(fitness::examine(&lanes.bulk), lanes.bulk.ask(&read))?;
        let [now, birth, _kept] = exactly(answers)?;
        lanes.is_same_data(birth)?;
        if examined.identity != lanes.identity {
            return Err(Fault::OtherData);
        }
        master.tells(asked, time(now)?);
        self.masters.warn_of(&master.node, examined.warnings);
        Ok(())
    }
}

/// A master that is open until this is gone, however it is given up.
struct Open<'a> {
    masters: &'a Masters,
    master: Arc<Master>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.master.fence.give_up();
        self.masters.take_out(&self.master);
    }
}
