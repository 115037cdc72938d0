//! The masters of a cluster, as they are now: who is asked about which slot.
//!
//! A master that is not open, or that nobody vouches for, is not there: what touches its slots is unavailable, the others
//! go on. It opens none by itself (see `opening`) and never asks about sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::ballot::Layout;
use super::chart::Chart;
use super::fault::Fault;
use super::fence::Fence;
use super::keys::place_of;
use super::lane::Lanes;
use super::replayed::{Replayed, slots};
use super::slot::{SLOTS, Slot};
use super::topology::{NodeId, Range};
use crate::clock::{Monotonic, SharedClock};
use crate::session::StoreTime;
use crate::store::address::{ClusterNodes, Node};
use crate::store::cache::{Cache, PlaceSet, Voucher};
use crate::store::observe::SharedObserver;

/// No answer of a master is passed on whose last proof was sent longer ago. A proof is tried every quarter of a second; what
/// is answered may be used until it is 0.9 s old.
pub(super) const PROVEN_WITHIN: Duration = Duration::from_millis(600);

/// A master that is open: it may hold sessions, has what the journal has, and was proven.
pub(super) struct Master {
    pub(super) node: Node,
    pub(super) lanes: Arc<Lanes>,
    /// Since when it has had its data is written there, in a slot of its own.
    pub(super) birth_key: String,
    pub(super) fence: Fence<Chart>,
    /// What its clock showed, and when it was asked.
    told: Mutex<(Monotonic, StoreTime)>,
    /// What it has of the journal.
    replayed: Mutex<Replayed>,
    /// Rung when there is something of which it has not.
    gained: Notify,
    /// Why it is given up.
    doubt: Mutex<Option<Fault>>,
    doubted: Notify,
}

/// Why nobody is asked about a slot.
pub(super) enum Nobody {
    /// Its master has just got it, and will be once it has what the journal has of it.
    Yet,
    /// Its master, if it has one, may not be.
    For(Fault),
}

impl Master {
    pub(super) fn new(
        node: Node,
        lanes: Lanes,
        birth_key: String,
        fence: Fence<Chart>,
        told: (Monotonic, StoreTime),
    ) -> Self {
        Self {
            node,
            lanes: Arc::new(lanes),
            birth_key,
            fence,
            told: Mutex::new(told),
            replayed: Mutex::default(),
            gained: Notify::new(),
            doubt: Mutex::default(),
            doubted: Notify::new(),
        }
    }

    /// By the layout it has these slots.
    pub(super) fn owns(&self, ranges: &[Range]) {
        if self.replayed.lock().owns(slots(ranges)) {
            self.gained.notify_one();
        }
    }

    /// Another master says that it has this one.
    fn gains(&self, slot: Slot) {
        if self.replayed.lock().gains(slot) {
            self.gained.notify_one();
        }
    }

    /// Waits until it got slots of which it may not have what the journal has.
    pub(super) async fn gained(&self) {
        self.gained.notified().await;
    }

    /// Those of which it is to get that now.
    pub(super) fn begin_replay(&self) -> BTreeSet<Slot> {
        self.replayed.lock().begin()
    }

    /// It has got it.
    pub(super) fn end_replay(&self) {
        self.replayed.lock().end();
    }

    /// Its clock showed this when it was asked then.
    pub(super) fn tells(&self, asked: Monotonic, now: StoreTime) {
        *self.told.lock() = (asked, now);
    }

    /// Waits until somebody gives it up, and says why.
    pub(super) async fn given_up(&self) -> Fault {
        self.doubted.notified().await;
        self.doubt.lock().clone().unwrap_or(Fault::Timeout)
    }

    /// Since when it is known to be the one that decides.
    pub(super) fn vouched(&self) -> Result<Monotonic, Fault> {
        let since = self.fence.vouched(&self.lanes);
        since.filter(|since| self.fence.now().since(*since) < PROVEN_WITHIN).ok_or_else(|| self.fence.doubt())
    }

    fn give_up(&self, fault: &Fault) {
        self.doubt.lock().get_or_insert_with(|| fault.clone());
        self.doubted.notify_one();
    }

    /// The latest that its clock can show now.
    pub(super) fn latest(&self) -> StoreTime {
        let (asked, told) = *self.told.lock();
        told.after(self.fence.now().since(asked))
    }
}

impl Voucher for Master {
    fn since(&self, now: Monotonic, within: Duration) -> Option<Monotonic> {
        self.fence.vouched_within(&self.lanes, now, within)
    }
}

/// Who is asked about which slot.
#[derive(Default)]
struct Table {
    open: BTreeMap<NodeId, Arc<Master>>,
    by_slot: Vec<Option<Arc<Master>>>,
}

impl Table {
    /// As the layout says. Each master hears which slots it has.
    fn of(layout: Option<&Layout>, open: BTreeMap<NodeId, Arc<Master>>) -> Self {
        let mut by_slot = vec![None; usize::from(SLOTS)];
        for (id, shard) in layout.iter().flat_map(|layout| &layout.shards) {
            let Some(master) = open.get(id).filter(|master| master.node == shard.node) else { continue };
            master.owns(&shard.slots);
            for (first, last) in &shard.slots {
                let range = by_slot.get_mut(usize::from(*first)..=usize::from(*last));
                range.into_iter().flatten().for_each(|place| *place = Some(Arc::clone(master)));
            }
        }
        Self { open, by_slot }
    }
}

fn has(ranges: &[Range], slot: Slot) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot.number()))
}

/// The masters as they are now.
pub(super) struct Masters {
    clock: SharedClock,
    observer: SharedObserver,
    /// Learns which slots change hands.
    cache: Option<Arc<Cache>>,
    chart: Arc<Chart>,
    epochs: AtomicU64,
    table: ArcSwap<Table>,
    /// Held while the table changes.
    changing: Mutex<()>,
    /// Counts those that were opened.
    opened: watch::Sender<u64>,
    /// When one was given up last.
    lost: Mutex<Option<Monotonic>>,
    /// Why one cannot be opened.
    closed: Mutex<BTreeMap<NodeId, Fault>>,
    warned: Mutex<BTreeMap<Node, Vec<String>>>,
}

impl Masters {
    pub(super) fn new(
        nodes: Arc<ClusterNodes>,
        clock: SharedClock,
        observer: SharedObserver,
        cache: Option<Arc<Cache>>,
    ) -> Self {
        let chart = Arc::new(Chart::new(nodes, clock.clone(), observer.clone()));
        Self {
            clock,
            observer,
            cache,
            chart,
            epochs: AtomicU64::new(0),
            table: ArcSwap::from_pointee(Table::of(None, BTreeMap::new())),
            changing: Mutex::new(()),
            opened: watch::Sender::new(0),
            lost: Mutex::default(),
            closed: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    pub(super) const fn chart(&self) -> &Arc<Chart> {
        &self.chart
    }

    pub(super) fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Of connections that are made from now on.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// Hears of each master that is opened.
    pub(super) fn openings(&self) -> watch::Receiver<u64> {
        self.opened.subscribe()
    }

    /// Who has a slot, if that one may be asked now.
    pub(super) fn of(&self, slot: Slot) -> Result<Arc<Master>, Nobody> {
        let table = self.table.load();
        let master = table.by_slot.get(usize::from(slot.number())).and_then(Option::as_ref);
        let master = master.ok_or_else(|| Nobody::For(self.nobody(slot)))?;
        master.vouched().map_err(|fault| Nobody::For(Fault::Shard(format!("{}: {fault}", master.node))))?;
        if master.replayed.lock().has(slot) { Ok(Arc::clone(master)) } else { Err(Nobody::Yet) }
    }

    /// Why nobody can be asked about a slot.
    fn nobody(&self, slot: Slot) -> Fault {
        let Some(layout) = self.chart.layout() else { return Fault::Shard(self.chart.why()) };
        let shard = layout.shards.iter().find(|(_, shard)| has(&shard.slots, slot));
        Fault::Shard(match shard {
            None => format!("no master of the cluster has the slot {}", slot.number()),
            Some((id, shard)) => {
                let closed = self.closed.lock();
                let why = closed.get(id).map_or_else(|| String::from("not connected yet"), Fault::to_string);
                format!("a master of the cluster is unavailable: {}: {why}", shard.node)
            }
        })
    }

    /// The one that is called this, if it may be asked now. If not, it is looked for.
    pub(super) fn at(&self, node: &Node) -> Option<Arc<Master>> {
        let table = self.table.load();
        let found = table.open.values().find(|master| master.node == *node && master.vouched().is_ok()).cloned();
        if found.is_none() {
            self.chart.doubt();
        }
        found
    }

    /// What a master calls another one in a redirection: without a host it is its own.
    #[expect(clippy::unused_self, reason = "who is called what is known here")]
    pub(super) fn named(&self, by: &Master, text: &str) -> Option<Node> {
        match text.strip_prefix(':') {
            Some(port) => Node::of(by.node.host(), port),
            None => text.rsplit_once(':').and_then(|(host, port)| Node::of(host, port)),
        }
    }

    /// Its owner says that another has the slot.
    pub(super) fn moved(&self, slot: Slot, node: &Node) {
        self.chart.doubt();
        let Some(master) = self.at(node) else { return };
        master.gains(slot);
        let _changing = self.changing.lock();
        let table = self.table.load();
        let (open, mut by_slot) = (table.open.clone(), table.by_slot.clone());
        if let Some(place) = by_slot.get_mut(usize::from(slot.number())) {
            *place = Some(master);
        }
        self.store(Table { open, by_slot });
    }

    /// Has others asked from now on, and the cache know which slots have others. In this order: what is read by the table of
    /// before is no answer afterwards. Called with `changing` held.
    fn store(&self, table: Table) {
        let before = self.table.swap(Arc::new(table));
        let Some(cache) = &self.cache else { return };
        let now = self.table.load();
        let epoch = |master: &Option<Arc<Master>>| master.as_ref().map(|master| master.lanes.epoch);
        let slots = before.by_slot.iter().zip(&now.by_slot).zip(0_u16..);
        let others = slots.filter(|((before, now), _)| epoch(before) != epoch(now));
        cache.lost(others.filter_map(|(_, slot)| Slot::numbered(slot)).map(place_of));
    }

    /// The slots that one is asked about, of these: not before it has what the journal has of them.
    pub(super) fn asked_of(&self, master: &Master, slots: impl Iterator<Item = Slot>) -> PlaceSet {
        let table = self.table.load();
        let owner = |slot: &Slot| table.by_slot.get(usize::from(slot.number())).and_then(Option::as_ref);
        let is_its = |slot: &Slot| owner(slot).is_some_and(|owner| owner.lanes.epoch == master.lanes.epoch);
        let replayed = master.replayed.lock().all();
        slots.filter(|slot| is_its(slot) && replayed.contains(slot)).map(place_of).collect()
    }

    /// Something failed at it: it is looked at anew before it is asked again.
    pub(super) fn lost(&self, master: &Master, fault: &Fault) {
        master.give_up(fault);
        self.take_out(master);
    }

    /// All that are open.
    pub(super) fn all(&self) -> Vec<Arc<Master>> {
        self.table.load().open.values().cloned().collect()
    }

    /// The same, if they have all slots.
    pub(super) fn whole(&self) -> Result<Vec<Arc<Master>>, Fault> {
        let table = self.table.load();
        match table.by_slot.iter().zip(0_u16..).find(|(master, _)| master.is_none()) {
            None => Ok(table.open.values().cloned().collect()),
            Some((_, slot)) => Err(Slot::numbered(slot).map_or(Fault::Timeout, |slot| self.nobody(slot))),
        }
    }

    /// How many slots nobody has who may be asked.
    pub(super) fn uncovered(&self) -> usize {
        let masters = self.all();
        let covers = |node: &Node| masters.iter().any(|master| master.node == *node && master.vouched().is_ok());
        let layout = self.chart.layout();
        let covered = layout.iter().flat_map(|layout| layout.shards.values()).filter(|shard| covers(&shard.node));
        let count: usize =
            covered.flat_map(|shard| &shard.slots).map(|(first, last)| usize::from(last - first) + 1).sum();
        usize::from(SLOTS) - count
    }

    /// Whether what was written until now, and not asked for before `since`, is where it outlives the masters that took it.
    pub(super) async fn outlive(&self, since: Monotonic) -> bool {
        let Ok(masters) = self.whole() else { return false };
        let rounds = masters.iter().map(|master| master.fence.has_all());
        let all = join_all(rounds).await.into_iter().all(|has_all| has_all);
        all && self.lost.lock().is_none_or(|lost| lost < since)
    }

    /// What their clocks show now, at the latest.
    pub(super) fn clocks(&self) -> Vec<StoreTime> {
        self.all().iter().map(|master| master.latest()).collect()
    }

    /// What an operator should know of them.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warned = self.warned.lock();
        warned.iter().flat_map(|(node, texts)| texts.iter().map(move |text| format!("{node}: {text}"))).collect()
    }

    /// A client of any of them.
    pub(super) fn any_client(&self) -> Result<Arc<redis::Client>, Fault> {
        self.all().first().map(|master| Arc::clone(&master.lanes.client)).ok_or_else(|| self.why_none())
    }

    /// Why none is open.
    pub(super) fn why_none(&self) -> Fault {
        if self.chart.layout().is_none() {
            return Fault::Lost(self.chart.why());
        }
        let closed = self.closed.lock();
        let unfit = closed.values().find(|fault| matches!(fault, Fault::Unfit(_)));
        unfit.or_else(|| closed.values().next()).cloned().unwrap_or(Fault::Timeout)
    }

    /// One is open from now on.
    pub(super) fn open(&self, id: &NodeId, master: &Arc<Master>) {
        self.no_longer_closed(id);
        self.draw(|all| drop(all.insert(id.clone(), Arc::clone(master))));
        self.observer.master(&master.node.to_string(), Some(true));
        self.opened.send_modify(|count| *count += 1);
        tracing::info!(node = %master.node, "a master of the cluster is connected");
    }

    /// One is not, for that reason, which is told once.
    pub(super) fn closed(&self, id: &NodeId, node: &Node, fault: &Fault) {
        // Held until the chart knows, or one that opens meanwhile says first that none is lacking.
        let mut closed = self.closed.lock();
        let known = closed.insert(id.clone(), fault.clone());
        self.chart.lacks_one(true);
        drop(closed);
        if known.as_ref() != Some(fault) {
            tracing::warn!(%node, cause = %fault, "a master of the cluster is unavailable");
        }
    }

    fn no_longer_closed(&self, id: &NodeId) {
        let mut closed = self.closed.lock();
        closed.remove(id);
        if closed.is_empty() {
            self.chart.lacks_one(false);
        }
    }

    /// One is none any more.
    pub(super) fn forget(&self, id: &NodeId, node: &Node) {
        self.no_longer_closed(id);
        self.warned.lock().remove(node);
        self.observer.master(&node.to_string(), None);
    }

    /// A command was sent elsewhere, or put off.
    pub(super) fn redirected(&self, kind: &'static str) {
        self.observer.redirected(kind);
    }

    /// What is to be known of one, which is told once.
    pub(super) fn warn_of(&self, node: &Node, found: Vec<String>) {
        let mut warned = self.warned.lock();
        if warned.get(node) != Some(&found) {
            for warning in &found {
                tracing::warn!(%node, "{warning}");
            }
            warned.insert(node.clone(), found);
        }
    }

    /// Others have other slots.
    pub(super) fn redraw(&self) {
        self.draw(|_| {});
    }

    /// Draws the table anew, with others open.
    fn draw(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Arc<Master>>)) {
        let _changing = self.changing.lock();
        let mut open = self.table.load().open.clone();
        change(&mut open);
        let layout = self.chart.layout();
        self.store(Table::of(layout.as_deref(), open));
        self.observer.slots_uncovered(self.uncovered());
    }

    /// One is not open any more.
    pub(super) fn take_out(&self, master: &Master) {
        let mut was_in = false;
        self.draw(|all| {
            all.retain(|_, other| {
                let is_it = other.lanes.epoch == master.lanes.epoch;
                was_in |= is_it;
                !is_it
            });
        });
        if was_in {
            *self.lost.lock() = Some(self.now());
            self.observer.master(&master.node.to_string(), Some(false));
        }
    }
}
