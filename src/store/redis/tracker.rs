//! Keeps the cache coherent: hears on a connection of its own what changes on a server, and proves that it does.
//!
//! The server tells of every change under the tracked prefixes (`CLIENT TRACKING … BCAST`), in the order in which they
//! happen. Every [`BEAT`] a key of this instance's own is written there. When the answer and the news of that very
//! write have both come, all that changed before it was sent has been heard, and the lease of what the server has is renewed
//! as of then. A connection that breaks, hangs or tells that the server was emptied ends the term of the cache.
//!
//! Reads go over other connections. They are kept only if those lead to the same server: one that shows the beat that
//! was written a moment ago. One tracker follows one master; a cluster has as many as masters.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::super::STALE_AT_MOST;
use super::super::cache::{Cache, Heard, Held, Proof, Term, Voucher};
use super::super::observe::SharedObserver;
use super::answers::exactly;
use super::commands::eval;
use super::fault::{Fault, text};
use super::hearing::hearing_lane;
use super::keys::{Changed, Keys};
use super::lane::{Lane, Lanes};
use super::settings::CacheSettings;
use crate::entropy::spread;
use crate::session::StoreTime;

/// Between two proofs.
const BEAT: Duration = Duration::from_millis(250);
/// For an answer, and again for the news of its own write. A server that is slow for longer than the lease makes the
/// cache wait; one that is slow for so long loses it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether the store is connected, and two attempts to follow it.
const AGAIN: Duration = Duration::from_millis(100);
/// So many failures in a row, over some three seconds, do not pass by themselves: two servers behind one address, say.
const LASTING: u32 = 5;
/// Before the next attempt when the server refuses to be followed.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);
/// So many keys are tried for a beat, where slots are on their way.
const KEYS: usize = 8;

/// A server that tells of its changes.
pub(super) trait Tracked: Send + Sync + 'static {
    /// The connections to it that are used, while there are any.
    fn lanes(&self) -> Option<Arc<Lanes>>;

    /// What it is called.
    fn name(&self) -> String;

    /// What ails one connection to it may ail the others.
    fn doubt(&self);

    /// Who says that it decides, while these are the connections to it; `None`: no other could.
    fn voucher(&self, lanes: &Arc<Lanes>) -> Option<Arc<dyn Voucher>>;

    /// What the keys of its beats begin with.
    fn prefix(&self) -> String;

    /// A key for beats: another one for each number.
    fn key(&self, number: usize) -> Result<String, Fault>;

    /// The script that writes a beat.
    fn script(&self) -> &'static str;

    /// What it answers to that: the time there, and what it has.
    fn read(&self, answer: Value) -> Result<(StoreTime, Held), Fault>;
}

/// What the trackers of one cache have in common.
#[derive(Clone)]
pub(super) struct Hearing {
    pub(super) cache: Arc<Cache>,
    /// Rung when another gateway has told something of calls.
    pub(super) bell: Arc<Notify>,
    pub(super) settings: CacheSettings,
    keys: Keys,
    observer: SharedObserver,
    /// Counts the beats of all: no two connections show the same by chance.
    beats: Arc<AtomicU64>,
    /// What was last told to be wrong, by the server's name.
    troubles: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Hearing {
    pub(super) fn new(settings: CacheSettings, keys: Keys, observer: SharedObserver) -> Self {
        let cache = Arc::new(Cache::new(settings.entries, keys.places(), settings.clock.clone()));
        Self { cache, bell: Arc::default(), settings, keys, observer, beats: Arc::default(), troubles: Arc::default() }
    }

    /// Says what is wrong with a server, or that nothing is. Answers whether that is news.
    fn tell(&self, name: &str, trouble: Option<&str>) -> bool {
        let mut troubles = self.troubles.lock();
        let before = match trouble {
            Some(trouble) => troubles.insert(name.to_owned(), trouble.to_owned()),
            None => troubles.remove(name),
        };
        let is_news = before.as_deref() != trouble;
        if is_news {
            let all: Vec<String> = match troubles.values().next() {
                Some(only) if troubles.len() == 1 => vec![only.clone()],
                _ => troubles.iter().map(|(name, trouble)| format!("{name}: {trouble}")).collect(),
            };
            (self.settings.warn)((!all.is_empty()).then(|| all.join("; ")));
        }
        is_news
    }

    /// Tells of the cache as a whole.
    fn show(&self) {
        self.observer.cache(self.cache.has_lease(), self.cache.len());
    }
}

/// Follows one server for a cache.
pub(super) struct Tracker<T> {
    tracked: T,
    name: String,
    hearing: Hearing,
    /// The key of the beats.
    own: String,
    /// How many of those there were.
    keys: usize,
    /// The number of its last beat.
    beat: u64,
    /// How often in a row it could not follow.
    failures: u32,
}

impl<T: Tracked> Tracker<T> {
    pub(super) fn new(tracked: T, hearing: Hearing) -> Self {
        let name = tracked.name();
        Self { tracked, name, hearing, own: String::new(), keys: 0, beat: 0, failures: 0 }
    }

    /// Follows for as long as it is polled.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let Err(fault) = self.follow().await;
            self.hearing.show();
            sleep(self.pause_after(&fault)).await;
        }
    }

    /// Tells of what does not pass by itself, once. The link tells of a server that is gone.
    fn pause_after(&mut self, fault: &Fault) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if fault.breaks_connection() && self.failures < LASTING {
            tracing::debug!(store = %self.name, %fault, "the session cache starts anew");
            self.tracked.doubt();
            return spread(AGAIN * self.failures * self.failures);
        }
        if self.tracked.lanes().is_none() {
            return spread(AGAIN);
        }
        let trouble = format!("the session cache is off, each request asks the store: {fault}");
        if self.hearing.tell(&self.name, Some(&trouble)) {
            tracing::warn!(store = %self.name, "{trouble}");
        }
        spread(REFUSED_AGAIN)
    }

    fn no_trouble(&mut self) {
        self.failures = 0;
        if self.hearing.tell(&self.name, None) {
            tracing::info!(store = %self.name, "the session cache is on");
        }
    }

    /// Follows until something is wrong.
    async fn follow(&mut self) -> Result<Infallible, Fault> {
        let mut lanes = self.connected().await;
        let ear = Arc::new(Ear {
            cache: Arc::clone(&self.hearing.cache),
            bell: Arc::clone(&self.hearing.bell),
            keys: self.hearing.keys.clone(),
            own: Mutex::default(),
            term: OnceLock::new(),
            own_heard: AtomicBool::new(false),
            news: Notify::new(),
            gone: Notify::new(),
        });
        let hearing = Arc::clone(&ear);
        let lane = hearing_lane(&lanes.client, PATIENCE, move |push| hearing.hear(push)).await?;
        let mut track = redis::pipe();
        let command = track.cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in self.hearing.keys.tracked().iter().chain([&self.tracked.prefix()]) {
            command.arg("PREFIX").arg(prefix);
        }
        lane.ask(&track).await?;
        let term = ear.begin();
        let cache = Arc::clone(&self.hearing.cache);
        let _over = Over { cache: &cache, term };
        let (mut proof, mut held) = self.prove_with(&lane, &ear, &lanes).await?;
        loop {
            let heard = Heard { source: lanes.epoch, proof, voucher: self.tracked.voucher(&lanes) };
            if !cache.renew(term, heard, &held) {
                return Err(Fault::Lost(String::from("news may have been missed")));
            }
            self.no_trouble();
            self.hearing.show();
            let age = self.hearing.settings.clock.monotonic().since(proof.sent);
            self.hearing.observer.lease(&self.tracked.name(), age);
            tokio::select! {
                () = sleep(BEAT) => {}
                () = ear.gone.notified() => return Err(Fault::Lost(String::from("the tracker's is gone"))),
            }
            (proof, held) = self.prove(&lane, &ear).await?;
            if let Some(now) = self.tracked.lanes().filter(|now| now.epoch != lanes.epoch) {
                if now.node != lanes.node {
                    return Err(Fault::Lost(String::from("another server is the master")));
                }
                lanes = now;
                // Written since they were made: another server cannot have it from before it was one.
                (proof, held) = self.prove_with(&lane, &ear, &lanes).await?;
            }
        }
    }

    async fn connected(&self) -> Arc<Lanes> {
        loop {
            match self.tracked.lanes() {
                Some(lanes) => return lanes,
                None => sleep(spread(AGAIN)).await,
            }
        }
    }

    /// The same, and that these connections lead to the same server.
    async fn prove_with(&mut self, lane: &Lane, ear: &Ear, lanes: &Lanes) -> Result<(Proof, Held), Fault> {
        for _ in 0..KEYS {
            let proven = self.prove(lane, ear).await?;
            match self.is_of_this_server(lanes).await {
                Ok(()) => return Ok(proven),
                Err(fault) if fault.is_of_a_slot_elsewhere() => self.own.clear(),
                Err(fault) => return Err(fault),
            }
        }
        Err(all_on_their_way())
    }

    /// Proves that all that changed until now was heard, and answers what the server has now.
    async fn prove(&mut self, lane: &Lane, ear: &Ear) -> Result<(Proof, Held), Fault> {
        let hearing = self.hearing.clone();
        let proving = self.write_beat(lane, ear);
        tokio::pin!(proving);
        if let Ok(proof) = timeout(STALE_AT_MOST, &mut proving).await {
            return proof;
        }
        hearing.show();
        proving.await
    }

    /// Writes a beat where it stays: whatever happens to a key with its slot is news of it as well.
    async fn write_beat(&mut self, lane: &Lane, ear: &Ear) -> Result<(Proof, Held), Fault> {
        for _ in 0..KEYS {
            if self.own.is_empty() {
                self.keys += 1;
                self.own = self.tracked.key(self.keys)?;
            }
            match self.write_own(lane, ear).await {
                Ok((proof, held)) if held.places.has(self.hearing.keys.place(&self.own)) => return Ok((proof, held)),
                Ok(_) => self.own.clear(),
                Err(fault) if fault.is_of_a_slot_elsewhere() => self.own.clear(),
                Err(fault) => return Err(fault),
            }
        }
        Err(all_on_their_way())
    }

    async fn write_own(&mut self, lane: &Lane, ear: &Ear) -> Result<(Proof, Held), Fault> {
        self.beat = self.hearing.beats.fetch_add(1, Ordering::Relaxed) + 1;
        let mut write = redis::pipe();
        let mut beat = eval(self.tracked.script(), std::slice::from_ref(&self.own));
        beat.arg(self.beat);
        write.add_command(beat);
        // There is no news of the beat before it any more: that was waited for.
        ear.listen_for(&self.own);
        let sent = self.hearing.settings.clock.monotonic();
        let [answer] = exactly(lane.ask(&write).await?)?;
        let received = self.hearing.settings.clock.monotonic();
        let (time, held) = self.tracked.read(answer)?;
        timeout(PATIENCE, ear.own()).await.map_err(|_| {
            Fault::garbled("the server, or a proxy before it, does not tell of changes (CLIENT TRACKING)")
        })?;
        Ok((Proof { sent, received, time }, held))
    }

    /// Whether these connections lead to the server that the last beat was written to.
    async fn is_of_this_server(&self, lanes: &Lanes) -> Result<(), Fault> {
        let mut read = redis::pipe();
        read.cmd("GET").arg(&self.own);
        for lane in [&lanes.quick, &lanes.careful] {
            let [shown] = exactly(lane.ask(&read).await?)?;
            if text(shown)? != Some(self.beat.to_string().into_bytes()) {
                return Err(Fault::Lost(String::from("the tracker and the store are two servers")));
            }
        }
        Ok(())
    }
}

impl<T> Drop for Tracker<T> {
    fn drop(&mut self) {
        self.hearing.tell(&self.name, None);
        self.hearing.show();
    }
}

fn all_on_their_way() -> Fault {
    Fault::Lost(String::from("none of the slots that were tried is the server's to keep"))
}

/// The standing under this key of a user or tenant changed.
pub(super) fn outdate(cache: &Cache, keys: &Keys, key: &[u8]) {
    cache.outdate(key);
    // Who may choose from several tenants depends on what the user is in all of them.
    if let Some(user) = keys.user_of(key) {
        cache.outdate(user);
    }
}

/// Ends the term, however following ends.
struct Over<'a> {
    cache: &'a Cache,
    term: Term,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.cache.close(self.term);
    }
}

/// Hears what the server says on one connection, in order.
struct Ear {
    cache: Arc<Cache>,
    bell: Arc<Notify>,
    keys: Keys,
    /// The key of the beats.
    own: Mutex<String>,
    term: OnceLock<Term>,
    own_heard: AtomicBool,
    news: Notify,
    gone: Notify,
}

impl Ear {
    /// From now on it hears all changes.
    fn begin(&self) -> Term {
        *self.term.get_or_init(|| self.cache.open())
    }

    /// A beat is about to be written there.
    fn listen_for(&self, own: &str) {
        let mut key = self.own.lock();
        if *key != own {
            own.clone_into(&mut key);
        }
        self.own_heard.store(false, Ordering::Release);
    }

    fn hear(&self, push: PushInfo) {
        match (push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => keys.iter().for_each(|key| self.changed(key)),
            // Everything: the server was emptied.
            (PushKind::Invalidate, _) | (PushKind::Disconnection, _) => {
                if let Some(term) = self.term.get() {
                    self.cache.close(*term);
                }
                self.gone.notify_one();
            }
            _ => {}
        }
    }

    fn changed(&self, key: &Value) {
        let Value::BulkString(key) = key else { return };
        match self.keys.changed(key) {
            Some(Changed::Session(id)) => self.cache.forget(id),
            Some(Changed::Standing) => outdate(&self.cache, &self.keys, key),
            Some(Changed::Bell) => self.bell.notify_one(),
            None if *key == self.own.lock().as_bytes() => {
                self.own_heard.store(true, Ordering::Release);
                self.news.notify_one();
            }
            None => {}
        }
    }

    /// Waits for the news of its own write.
    async fn own(&self) {
        while !self.own_heard.load(Ordering::Acquire) {
            self.news.notified().await;
        }
    }
}
