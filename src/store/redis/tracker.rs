//! Keeps the cache coherent: hears on a connection of its own what changes on the server, and proves that it does.
//!
//! The server tells of every change under the tracked prefixes (`CLIENT TRACKING … BCAST`), in the order in which they
//! happen. Every [`BEAT`] a key of this instance's own is written there. When the answer and the news of that very
//! write have both come, all that changed before it was sent has been heard, and the cache's lease is renewed as of
//! then. A connection that breaks, hangs or tells that the server was emptied ends the cache's generation.
//!
//! Reads go over other connections. They are kept only if those lead to the same server: one that shows the beat that
//! was written a moment ago. One tracker follows one master.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::super::STALE_AT_MOST;
use super::super::cache::{Cache, Proof};
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::Link;
use super::fault::{Fault, text};
use super::hearing::hearing_lane;
use super::keys::{Changed, Keys};
use super::lane::{Lane, Lanes};
use super::scripts;
use super::settings::CacheSettings;
use crate::entropy::spread;

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

/// Follows the server for one cache.
pub(super) struct Tracker {
    link: Arc<Link>,
    cache: Arc<Cache>,
    /// Rung when another gateway has told something of calls.
    bell: Arc<Notify>,
    settings: CacheSettings,
    own: String,
    /// Counts the beats of this process.
    beat: u64,
    /// How often in a row it could not follow.
    failures: u32,
    /// What was last told to be wrong.
    trouble: Option<String>,
}

impl Tracker {
    pub(super) fn new(link: Arc<Link>, cache: Arc<Cache>, bell: Arc<Notify>, settings: CacheSettings) -> Self {
        let own = link.keys().heartbeat(&settings.instance);
        Self { link, cache, bell, settings, own, beat: 0, failures: 0, trouble: None }
    }

    /// Follows for as long as it is polled.
    pub(super) async fn run(mut self) {
        loop {
            let Err(fault) = self.follow().await;
            self.link.observer().cache(false, self.cache.len());
            sleep(self.pause_after(&fault)).await;
        }
    }

    /// Tells of what does not pass by itself, once. The link tells of a server that is gone.
    fn pause_after(&mut self, fault: &Fault) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if fault.breaks_connection() && self.failures < LASTING {
            tracing::debug!(%fault, "the session cache starts anew");
            // What ails this connection may ail the others.
            self.link.doubt();
            return spread(AGAIN * self.failures * self.failures);
        }
        if self.link.lanes().is_none() {
            return spread(AGAIN);
        }
        let trouble = format!("the session cache is off, each request asks the store: {fault}");
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(store = %self.link.address(), "{trouble}");
            (self.settings.warn)(Some(trouble.clone()));
            self.trouble = Some(trouble);
        }
        spread(REFUSED_AGAIN)
    }

    fn no_trouble(&mut self) {
        self.failures = 0;
        if self.trouble.take().is_some() {
            tracing::info!(store = %self.link.address(), "the session cache is on");
            (self.settings.warn)(None);
        }
    }

    /// Follows until something is wrong.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Fault> {
        let mut lanes = self.connected().await;
        let ear = Arc::new(Ear {
            cache: Arc::clone(&self.cache),
            bell: Arc::clone(&self.bell),
            keys: self.link.keys().clone(),
            own: self.own.clone(),
            generation: OnceLock::new(),
            own_heard: AtomicBool::new(false),
            news: Notify::new(),
            gone: Notify::new(),
        });
        let hearing = Arc::clone(&ear);
        let lane = hearing_lane(&lanes.client, PATIENCE, move |push| hearing.hear(push)).await?;
        let mut track = redis::pipe();
        let command = track.cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in self.link.keys().tracked().iter().chain([&self.own]) {
            command.arg("PREFIX").arg(prefix);
        }
        lane.ask(&track).await?;
        let generation = ear.begin();
        let _over = Over { cache: &self.cache.clone(), generation };
        let mut proof = self.prove(&lane, &ear).await?;
        self.is_of_this_server(&lanes).await?;
        self.cache.bind(generation, lanes.epoch);
        loop {
            if !self.cache.renew(generation, proof) {
                return Err(Fault::Lost(String::from("news may have been missed")));
            }
            self.no_trouble();
            self.link.observer().cache(true, self.cache.len());
            let age = self.settings.clock.monotonic().since(proof.sent);
            self.link.observer().lease(&self.link.name(&lanes), age);
            tokio::select! {
                () = sleep(BEAT) => {}
                () = ear.gone.notified() => return Err(Fault::Lost(String::from("the tracker's is gone"))),
            }
            proof = self.prove(&lane, &ear).await?;
            if let Some(now) = self.link.lanes().filter(|now| now.epoch != lanes.epoch) {
                if now.node != lanes.node {
                    return Err(Fault::Lost(String::from("another server is the master")));
                }
                lanes = now;
                // Written since they were made: another server cannot have it from before it was one.
                proof = self.prove(&lane, &ear).await?;
                self.is_of_this_server(&lanes).await?;
                self.cache.bind(generation, lanes.epoch);
            }
        }
    }

    async fn connected(&self) -> Arc<Lanes> {
        loop {
            match self.link.lanes() {
                Some(lanes) => return lanes,
                None => sleep(spread(AGAIN)).await,
            }
        }
    }

    /// Proves that all that changed until now was heard.
    async fn prove(&mut self, lane: &Lane, ear: &Ear) -> Result<Proof, Fault> {
        let (cache, observer) = (Arc::clone(&self.cache), Arc::clone(self.link.observer()));
        let proving = self.write_beat(lane, ear);
        tokio::pin!(proving);
        if let Ok(proof) = timeout(STALE_AT_MOST, &mut proving).await {
            return proof;
        }
        observer.cache(false, cache.len());
        proving.await
    }

    async fn write_beat(&mut self, lane: &Lane, ear: &Ear) -> Result<Proof, Fault> {
        self.beat += 1;
        let mut write = redis::pipe();
        let mut beat = eval(scripts::WRITE_BEAT, std::slice::from_ref(&self.own));
        beat.arg(self.beat);
        write.add_command(beat);
        // There is no news of the beat before it any more: that was waited for.
        ear.own_heard.store(false, Ordering::Release);
        let sent = self.settings.clock.monotonic();
        let [answer] = exactly(lane.ask(&write).await?)?;
        let received = self.settings.clock.monotonic();
        let time = time(answer)?;
        timeout(PATIENCE, ear.own()).await.map_err(|_| {
            Fault::garbled("the server, or a proxy before it, does not tell of changes (CLIENT TRACKING)")
        })?;
        Ok(Proof { sent, received, time })
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

/// The standing under this key of a user or tenant changed.
pub(super) fn outdate(cache: &Cache, keys: &Keys, key: &[u8]) {
    cache.outdate(key);
    // Who may choose from several tenants depends on what the user is in all of them.
    if let Some(user) = keys.user_of(key) {
        cache.outdate(user);
    }
}

/// Ends the generation, however following ends.
struct Over<'a> {
    cache: &'a Cache,
    generation: u32,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.cache.close(self.generation);
    }
}

/// Hears what the server says on one connection, in order.
struct Ear {
    cache: Arc<Cache>,
    bell: Arc<Notify>,
    keys: Keys,
    /// The key of the beats.
    own: String,
    generation: OnceLock<u32>,
    own_heard: AtomicBool,
    news: Notify,
    gone: Notify,
}

impl Ear {
    /// From now on it hears all changes. Answers the cache's generation.
    fn begin(&self) -> u32 {
        *self.generation.get_or_init(|| self.cache.open())
    }

    fn hear(&self, push: PushInfo) {
        match (push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => keys.iter().for_each(|key| self.changed(key)),
            // Everything: the server was emptied.
            (PushKind::Invalidate, _) | (PushKind::Disconnection, _) => {
                if let Some(generation) = self.generation.get() {
                    self.cache.close(*generation);
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
            None if *key == self.own.as_bytes() => {
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
