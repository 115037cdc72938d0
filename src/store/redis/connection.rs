//! The connection: made, watched, and made anew.
//!
//! A watchdog owns it. While it is down every call fails at once, and nothing queues up for the moment of its return.
//! It never decides anything about sessions, and never logs what could hold a password.

mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::super::observe::{CallOutcome, SharedObserver};
use super::super::{StoreResult, Unavailable};
use super::answers::{exactly, time};
use super::commands::eval;
use super::discover::Discovery;
use super::electors::Electors as _;
use super::fault::{Fault, text};
use super::fence::{Fence, Warrant};
use super::fitness;
use super::hearing::{CONNECT_TIMEOUT, hearing_lane};
use super::index::{Indexes, Splits};
use super::keys::Keys;
use super::lane::{Lane, Lanes};
use super::masters::{Masters, PROVEN_WITHIN};
use super::settings::{CacheSettings, RedisSettings};
use super::tracker::Hearing;
use super::troubles::Troubles;
use super::unfinished::Unfinished;
use super::{late, order, replay, scripts};
use crate::clock::Monotonic;
use crate::entropy::spread;
use crate::session::StoreTime;
use crate::store::address::{Node, Place};
use crate::store::journal::Journal;
use crate::store::{Claim, StoreAddress};

/// For one round trip.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_millis(500);
/// For one call of the store, which may take several round trips: an outage is answered within a second.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(800);
/// Between two looks at a connection that seems well.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// About a minute.
const BEATS_TO_A_RECONCILING: u32 = 64;
/// For a majority of Sentinels to answer at the start.
const NAMED_WITHIN: Duration = Duration::from_secs(1);
/// Between attempts to connect: first this, then doubling up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(1);

enum State {
    Up(Arc<Lanes>),
    Down(Arc<str>),
}

/// Which server to connect to.
struct Target {
    client: Arc<redis::Client>,
    /// What it is called, where Sentinels named it.
    node: Option<Node>,
}

/// The link to one server: always the same one, or the one that is the master; or to the masters of a cluster.
pub(super) struct Link {
    settings: RedisSettings,
    /// Where another server may come in its place.
    fence: Option<Fence<Discovery>>,
    /// Where several share the sessions.
    masters: Option<Arc<Masters>>,
    /// Where a cache hears of changes.
    hearing: Option<Hearing>,
    keys: Keys,
    splits: Splits,
    unfinished: Unfinished,
    observer: SharedObserver,
    state: ArcSwap<State>,
    /// Held while the state changes, so that each change is made and logged once.
    changing: Mutex<()>,
    /// Rung when the connection is found broken.
    broken: Arc<Notify>,
    epochs: AtomicU64,
    troubles: Troubles,
    warned: Mutex<Vec<String>>,
    /// Whether the store was ours once: who comes later is in nobody's way.
    claimed: AtomicBool,
    /// It was said that another app is there.
    told_of_another: AtomicBool,
}

impl Link {
    pub(super) fn new(settings: RedisSettings, observer: SharedObserver) -> Self {
        let keys = match settings.address.place() {
            Place::Server(_) | Place::Sentinels(_) => Keys::under(&settings.prefix),
            Place::Cluster(_) => Keys::of_cluster(&settings.prefix),
        };
        let hearing = |cache: &CacheSettings| Hearing::new(cache.clone(), keys.clone(), observer.clone());
        let hearing = settings.cache.as_ref().map(hearing);
        let (mut fence, mut masters, clock) = (None, None, settings.clock.clone());
        match settings.address.place() {
            Place::Server(_) => {}
            Place::Sentinels(sentinels) => {
                let discovery = Discovery::new(Arc::clone(sentinels), clock.clone(), observer.clone());
                fence = Some(Fence::new(Arc::new(discovery), clock, keys.probe()));
            }
            Place::Cluster(nodes) => {
                let cache = hearing.as_ref().map(|hearing| Arc::clone(&hearing.cache));
                masters = Some(Arc::new(Masters::new(Arc::clone(nodes), clock, observer.clone(), cache)));
            }
        }
        Self {
            keys,
            fence,
            masters,
            hearing,
            splits: Splits::default(),
            unfinished: Unfinished::default(),
            settings,
            observer,
            state: ArcSwap::from_pointee(State::Down(Arc::from("not connected yet"))),
            changing: Mutex::new(()),
            broken: Arc::new(Notify::new()),
            epochs: AtomicU64::new(0),
            troubles: Troubles::default(),
            warned: Mutex::default(),
            claimed: AtomicBool::new(false),
            told_of_another: AtomicBool::new(false),
        }
    }

    pub(super) const fn observer(&self) -> &SharedObserver {
        &self.observer
    }

    /// Where a cache hears of changes.
    pub(super) const fn hearing(&self) -> Option<&Hearing> {
        self.hearing.as_ref()
    }

    /// Has the watchdog look at the connections now.
    pub(super) fn doubt(&self) {
        self.broken.notify_one();
    }

    pub(super) fn now(&self) -> Monotonic {
        self.settings.clock.monotonic()
    }

    pub(super) const fn address(&self) -> &StoreAddress {
        &self.settings.address
    }

    /// The connections, while there are any.
    pub(super) fn lanes(&self) -> Option<Arc<Lanes>> {
        match &**self.state.load() {
            State::Up(lanes) => Some(Arc::clone(lanes)),
            State::Down(_) => None,
        }
    }

    /// Where another server may come in place of this one.
    pub(super) const fn fence(&self) -> Option<&Fence<Discovery>> {
        self.fence.as_ref()
    }

    /// Who vouches for the server of these connections; `None` where no other could be in its place.
    pub(super) fn warrant(&self, lanes: &Lanes) -> Result<Option<Warrant>, Fault> {
        let Some(fence) = &self.fence else { return Ok(None) };
        fence.warrant(lanes).map_or_else(|| Err(fence.doubt()), |warrant| Ok(Some(warrant)))
    }

    /// Since when what was answered to a question of then is known to hold.
    pub(super) fn proven(&self, asked: Monotonic) -> StoreResult<Monotonic> {
        if self.masters.is_some() {
            // Each master that answered was proven so long before it was asked, at the most.
            return Ok(asked.before(PROVEN_WITHIN));
        }
        if self.fence.is_none() {
            return Ok(asked);
        }
        let lanes = self.lanes().filter(|lanes| lanes.since <= asked);
        let lanes = lanes.ok_or_else(|| Unavailable::because("another server was asked than is the master now"))?;
        Ok(self.warrant(&lanes)?.map_or(asked, |warrant| asked.min(warrant.since())))
    }

    /// What the server is called.
    pub(super) fn name(&self, lanes: &Lanes) -> String {
        lanes.node.as_ref().map_or_else(|| self.settings.address.to_string(), Node::to_string)
    }

    /// What an operator should know of how it is known which server decides.
    pub(super) fn warning(&self, lanes: &Lanes) -> Option<String> {
        let fence = self.fence.as_ref()?;
        fence.warning(lanes).or_else(|| {
            let names: Vec<String> = fence.electors.silent().keys().map(Node::to_string).collect();
            (!names.is_empty()).then(|| format!("Sentinels do not answer: {}", names.join(", ")))
        })
    }

    /// What was warned of when the connection was made.
    pub(super) fn warnings(&self) -> Vec<String> {
        let of_masters = self.masters.as_ref().map(|masters| masters.warnings());
        of_masters.unwrap_or_else(|| self.warned.lock().clone())
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The tenants' indexes, as these connections reach them.
    pub(super) const fn indexes(&self, lanes: &Lanes) -> Indexes<'_> {
        Indexes { keys: &self.keys, splits: &self.splits, epoch: lanes.epoch }
    }

    /// The sessions that are being made, and those that must not live.
    pub(super) const fn unfinished(&self) -> &Unfinished {
        &self.unfinished
    }

    pub(super) const fn journal(&self) -> Option<&Arc<Journal>> {
        self.settings.journal.as_ref()
    }

    /// Runs one call of the store within `limit`: counts it, and draws the conclusions from its failure.
    pub(super) async fn call<T, F>(
        &self,
        command: &'static str,
        limit: Duration,
        work: impl FnOnce(Arc<Lanes>) -> F + Send,
    ) -> StoreResult<T>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let state = self.state.load_full();
        let lanes = match &*state {
            State::Up(lanes) => Arc::clone(lanes),
            State::Down(cause) => {
                self.observer.command(command, CallOutcome::Down);
                return Err(Unavailable::because(cause));
            }
        };
        let epoch = lanes.epoch;
        let fault = match self.warrant(&lanes) {
            Err(unproven) => unproven,
            Ok(_) => match timeout(limit, work(Arc::clone(&lanes))).await {
                // What an old master says that others have left is no answer.
                Ok(Ok(answer)) => match self.warrant(&lanes) {
                    Ok(_) => {
                        self.observer.command(command, CallOutcome::Ok);
                        self.troubles.over(command);
                        return Ok(answer);
                    }
                    Err(unproven) => unproven,
                },
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Slow,
            },
        };
        self.observer.command(command, fault.outcome());
        if fault.breaks_connection() {
            self.lost(epoch, &fault);
        } else {
            self.troubles.noticed(command, epoch, &fault);
        }
        Err(fault.into())
    }

    /// Keeps the link up for as long as it is polled.
    pub(super) async fn watch(&self) {
        let (mut backoff, mut beats) = (FIRST_BACKOFF, 0_u32);
        let mut openings = self.masters.as_ref().map(|masters| masters.openings());
        // One may have been opened since the first connections were made.
        openings.iter_mut().for_each(watch::Receiver::mark_changed);
        loop {
            if let Some(lanes) = self.lanes() {
                tokio::select! {
                    _ = timeout(HEARTBEAT, self.broken.notified()) => {}
                    () = Self::another(&mut openings) => {
                        // Its failure is told.
                        let _ = self.connect().await;
                        continue;
                    }
                }
                if !self.is_current(lanes.epoch) {
                    continue;
                }
                match timeout(ROUND_TRIP_TIMEOUT, self.beat(&lanes)).await {
                    Ok(Ok(())) => {
                        self.troubles.over("heartbeat");
                        backoff = FIRST_BACKOFF;
                        self.carry_out(&lanes).await;
                        beats = beats.wrapping_add(1);
                        if beats % BEATS_TO_A_RECONCILING == 0 {
                            self.reconcile(&lanes).await;
                            self.concluded("claim", &lanes, self.claim(&lanes.bulk).await);
                        }
                    }
                    Ok(Err(fault)) if fault.is_out_of_memory() => {
                        self.troubles.noticed("heartbeat", lanes.epoch, &fault);
                    }
                    Ok(Err(fault)) => self.lost(lanes.epoch, &fault),
                    Err(_) => self.lost(lanes.epoch, &Fault::Timeout),
                }
            } else {
                let mut masters = self.fence.as_ref().map(|fence| fence.electors.masters());
                if self.connect().await.is_ok() {
                    continue;
                }
                let changed = async {
                    match &mut masters {
                        Some(masters) => masters.changed().await.is_ok(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = sleep(spread(backoff)) => backoff = (backoff * 2).min(LAST_BACKOFF),
                    _ = changed => backoff = FIRST_BACKOFF,
                }
            }
        }
    }

    /// One attempt to connect.
    pub(super) async fn connect(&self) -> Result<(), Fault> {
        match self.attempt().await {
            Ok(lanes) => {
                let _changing = self.changing.lock();
                if self.masters.is_none() || self.lanes().is_none() {
                    let node = lanes.node.as_ref().map(tracing::field::display);
                    tracing::info!(store = %self.settings.address, node, "the session store is connected");
                }
                self.tell_of_node(&lanes, true);
                self.state.store(Arc::new(State::Up(Arc::new(lanes))));
                self.observer.state(true);
                Ok(())
            }
            Err(fault) => {
                let _changing = self.changing.lock();
                self.down(&fault);
                Err(fault)
            }
        }
    }

    async fn attempt(&self) -> Result<Lanes, Fault> {
        if let Some(masters) = &self.masters {
            return self.attempt_on(masters).await;
        }
        let target = self.target().await?;
        let attempt = timeout(CONNECT_TIMEOUT + ROUND_TRIP_TIMEOUT, self.establish(target)).await;
        let mut lanes = attempt.unwrap_or(Err(Fault::Timeout))?;
        // Takes as long as it takes: until then nothing of this server may be believed. (For what may come late, see `carry_out`.)
        if self.journal().is_some_and(|journal| journal.has_failed()) {
            self.vouched(&lanes).await?;
        }
        self.replay(&lanes).await?;
        lanes.since = self.vouched(&lanes).await?;
        Ok(lanes)
    }

    /// Has the server prove itself, where another may be the master. Answers since when it is asked as such.
    async fn vouched(&self, lanes: &Lanes) -> Result<Monotonic, Fault> {
        let Some(fence) = &self.fence else { return Ok(lanes.since) };
        fence.round(lanes).await?;
        self.warrant(lanes).map(|_| fence.now())
    }

    async fn target(&self) -> Result<Target, Fault> {
        let discovery = match (self.settings.address.place(), &self.fence) {
            (Place::Server(client), _) => return Ok(Target { client: Arc::clone(client), node: None }),
            (Place::Sentinels(_), Some(fence)) => &fence.electors,
            (Place::Sentinels(_) | Place::Cluster(_), _) => return Err(Fault::Deposed(None)),
        };
        discovery.is_urgent(true);
        let mut masters = discovery.masters();
        let named = timeout(NAMED_WITHIN, masters.wait_for(Option::is_some)).await;
        let node = named.ok().and_then(Result::ok).and_then(|node| node.clone());
        let node = node.ok_or_else(|| Fault::Lost(discovery.doubt()))?;
        let client = discovery.sentinels().server(&node).map_err(|error| Fault::Unfit(error.to_string()))?;
        Ok(Target { client: Arc::new(client), node: Some(node) })
    }

    /// Has the master prove itself for as long as it is polled, and leaves one that others have left.
    pub(super) async fn prove(&self) {
        let Some(fence) = &self.fence else { return };
        let mut masters = fence.electors.masters();
        loop {
            let Some(lanes) = self.lanes() else {
                fence.give_up();
                fence.due().await;
                continue;
            };
            let round = tokio::select! {
                round = fence.round(&lanes) => round,
                _ = masters.changed() => match masters.borrow_and_update().clone() {
                    Some(other) if lanes.node.as_ref() != Some(&other) => Err(Fault::Deposed(Some(other.to_string()))),
                    _ => Ok(()),
                },
            };
            match round {
                Ok(()) => self.troubles.over("fence"),
                Err(fault) if fault.breaks_connection() => {
                    self.lost(lanes.epoch, &fault);
                    continue;
                }
                Err(fault) => self.troubles.noticed("fence", lanes.epoch, &fault),
            }
            fence.tell(&lanes);
            tokio::select! {
                () = fence.due() => {}
                _ = masters.changed() => {}
            }
        }
    }

    /// Applies the journal, where the server may not have all of it, and takes back what must not live.
    async fn replay(&self, lanes: &Lanes) -> Result<(), Fault> {
        self.unfinished.bury(self.indexes(lanes), lanes).await?;
        let Some(journal) = self.journal() else { return Ok(()) };
        replay::replay(&lanes.careful, &self.keys, journal, lanes.server().as_deref()).await
    }

    /// Forgets who was shut out here and let in elsewhere, long ago.
    async fn reconcile(&self, lanes: &Lanes) {
        let Some(journal) = self.journal() else { return };
        self.concluded("reconcile", lanes, replay::reconcile(&lanes.bulk, &self.keys, journal).await);
    }

    /// Carries out what failed since, although the connection held. Not where nobody vouches for the server: what others have
    /// made on the master since would be taken for what was made before.
    async fn carry_out(&self, lanes: &Lanes) {
        let Ok(_) = self.warrant(lanes) else { return };
        self.concluded("bury", lanes, self.unfinished.bury(self.indexes(lanes), lanes).await);
        let Some(journal) = self.journal().filter(|journal| journal.has_failed()) else { return };
        self.concluded("late", lanes, late::carry_out(&lanes.bulk, &self.keys, journal).await);
    }

    /// Draws the conclusions from what was done beside the calls.
    fn concluded(&self, what: &'static str, lanes: &Lanes, done: Result<(), Fault>) {
        match done {
            Ok(()) => self.troubles.over(what),
            Err(fault) if fault.breaks_connection() => self.lost(lanes.epoch, &fault),
            Err(fault) => self.troubles.noticed(what, lanes.epoch, &fault),
        }
    }

    /// Whether it is still the server that it was, with the data that it had, and may still be used.
    async fn beat(&self, lanes: &Lanes) -> Result<(), Fault> {
        if let Some(masters) = &self.masters {
            return self.beat_on(masters, lanes).await;
        }
        let mut read = redis::pipe();
        read.cmd("GET").arg(self.keys.birth());
        let looks = async { tokio::try_join!(fitness::examine(&lanes.bulk), lanes.bulk.ask(&read)) };
        let (probed, looked) = tokio::join!(self.probe(lanes), looks);
        let (examined, birth) = match &probed {
            Err(fault) if !fault.is_out_of_memory() => return probed,
            _ => looked?,
        };
        let [birth] = exactly(birth)?;
        lanes.is_same_data(birth)?;
        if examined.identity != lanes.identity {
            return Err(Fault::OtherData);
        }
        self.warn_of(examined.warnings);
        probed
    }

    /// Asks for a write and a read: a replica, or an old master that froze, answers reads all the same.
    pub(super) async fn probe(&self, lanes: &Lanes) -> Result<(), Fault> {
        let mut write = redis::pipe();
        write.cmd("SET").arg(self.keys.probe()).arg("1").arg("PX").arg(10_000);
        let mut read = redis::pipe();
        read.cmd("TIME");
        for order in self.keys.orders() {
            read.cmd("GET").arg(order);
        }
        let asked = self.journal().map(|journal| (journal, journal.moment()));
        let (written, read) = tokio::join!(lanes.careful.ask(&write), lanes.quick.ask(&read));
        let mut read = read?.into_iter();
        let now = time(read.next().unwrap_or(Value::Nil))?;
        let mut last = now;
        for moment in read {
            last = order::read(moment)?.map_or(last, |moment| moment.max(last));
        }
        let here = StoreTime::from_micros(self.settings.clock.wall().as_micros());
        self.observer.clock_skew(now.since(here).as_secs_f64() - here.since(now).as_secs_f64());
        if let Some((journal, asked)) = asked {
            // A revocation that is written down now is after all that were before, also on a clock that was set back.
            journal.saw(asked, last);
        }
        written.map(drop)
    }

    async fn establish(&self, Target { client, node }: Target) -> Result<Lanes, Fault> {
        let (quick, careful, bulk) = tokio::try_join!(self.lane(&client), self.lane(&client), self.lane(&client))?;
        let fence = if self.fence.is_some() { Some(self.lane(&client).await?) } else { None };
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let examined = fitness::examine(&careful).await?;
        let birth = match self.move_in(&careful).await {
            Ok(birth) => birth,
            Err(fault) => return Err(fitness::explained(&careful, self.keys.probe(), &self.keys, fault).await),
        };
        let (identity, since) = (examined.identity, self.settings.clock.monotonic());
        let lanes = Lanes { epoch, quick, careful, bulk, fence, client, node, since, identity, birth };
        match self.probe(&lanes).await {
            Err(fault) if !fault.is_out_of_memory() => {
                return Err(fitness::explained(&lanes.careful, self.keys.probe(), &self.keys, fault).await);
            }
            _ => {}
        }
        self.warn_of(examined.warnings);
        Ok(lanes)
    }

    /// Says which app has the server, and asks since when that has had its data.
    async fn move_in(&self, lane: &Lane) -> Result<Vec<u8>, Fault> {
        self.claim(lane).await?;
        let mut birth = redis::pipe();
        birth.add_command(eval(scripts::BIRTH, &[self.keys.birth()]));
        let [birth] = exactly(lane.ask(&birth).await?)?;
        text(birth)?.ok_or_else(|| Fault::garbled("the data has no beginning"))
    }

    /// Refuses a server on which sessions of another app are, and says which app has them from now on.
    async fn claim(&self, lane: &Lane) -> Result<(), Fault> {
        let Some(claim) = &self.settings.claim else { return Ok(()) };
        let shared = claim.shared || self.claimed.load(Ordering::Relaxed);
        let mut script = eval(scripts::CLAIM, &[self.keys.apps()]);
        let lifetime = u64::try_from(claim.lifetime.as_millis()).unwrap_or(u64::MAX);
        script.arg(&claim.app).arg(lifetime).arg(u8::from(shared));
        let mut pipeline = redis::pipe();
        pipeline.add_command(script);
        let [other] = exactly(lane.ask(&pipeline).await?)?;
        let other = text(other)?.unwrap_or_default();
        let place = format!("the prefix \"{}\"", self.settings.prefix);
        match other.strip_prefix(b"+") {
            None if other.is_empty() => {}
            None => return Err(Fault::Unfit(Claim::refused(&place, &String::from_utf8_lossy(&other)))),
            Some(beside) if !self.told_of_another.swap(true, Ordering::Relaxed) => {
                claim.tell_of(&place, &String::from_utf8_lossy(beside));
            }
            Some(_) => {}
        }
        self.claimed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Once for each.
    fn warn_of(&self, found: Vec<String>) {
        let mut warned = self.warned.lock();
        if *warned != found {
            for warning in &found {
                tracing::warn!(store = %self.settings.address, "{warning}");
            }
            *warned = found;
        }
    }

    async fn lane(&self, client: &redis::Client) -> Result<Lane, Fault> {
        let broken = Arc::clone(&self.broken);
        let hear = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                broken.notify_one();
            }
        };
        hearing_lane(client, ROUND_TRIP_TIMEOUT, hear).await
    }

    /// The connection of that epoch is of no more use. A later one is left alone.
    fn lost(&self, epoch: u64, fault: &Fault) {
        let _changing = self.changing.lock();
        if self.is_current(epoch) {
            self.down(fault);
            self.broken.notify_one();
        }
    }

    fn is_current(&self, epoch: u64) -> bool {
        matches!(&**self.state.load(), State::Up(lanes) if lanes.epoch == epoch)
    }

    /// Whether the one server is used. Those of a cluster are told of one by one.
    fn tell_of_node(&self, lanes: &Lanes, up: bool) {
        if self.masters.is_none() {
            self.observer.node(&self.name(lanes), up);
        }
    }

    /// Called with `changing` held.
    fn down(&self, fault: &Fault) {
        let cause = fault.to_string();
        let known = match &**self.state.load() {
            State::Down(known) => **known == *cause,
            State::Up(lanes) => {
                self.tell_of_node(lanes, false);
                self.observer.state(false);
                false
            }
        };
        if !known {
            tracing::warn!(store = %self.settings.address, %cause, "the session store is unavailable");
            self.state.store(Arc::new(State::Down(Arc::from(cause))));
        }
    }
}
