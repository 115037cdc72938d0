//! What is open for sessions, and ends with them, or when they are held: answers that stream, uploads, tunnels (docs/behaviour.md,
//! "Open streams").
//!
//! Each of them registers by session id. Whoever ends a session here says so at once; what other instances end, and
//! what idleness ends, is found by asking the store again and again. A store that cannot say cuts nothing of that. The
//! absolute limit is known when something is opened, and comes by this machine's clock, whether the store answers or not
//! (overdue.rs).
//!
//! An ordinary answer is no stream: what was opened a moment ago is left to come to its end, and cut only when it does
//! not.

mod holder;
mod overdue;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

pub use self::holder::{AskedAbout, Holder};
use crate::clock::{Monotonic, SharedClock};
use crate::session::{Barred, EndReason, InTenant, SessionId};

/// What is younger is left alone: its request was accepted just now, and most answers are over by then.
const YOUNG: Duration = Duration::from_millis(200);
/// How long after its absolute limit something is cut: so much earlier than it is the limit may be reckoned, since the
/// store's answer takes its time; and an answer that is all but out comes to its end.
const LEEWAY: Duration = Duration::from_millis(50);
/// So many locks, so that requests do not wait for each other at one.
const SHARDS: usize = 32;

/// What is open, by session. Most sessions have one thing open at a time.
type Open = HashMap<SessionId, SmallVec<[Arc<Kill>; 1]>, BuildHasherDefault<IdHasher>>;

/// The beginning of an id, spread out. Only live sessions are registered, and their ids are hashes of tokens that the
/// gateway made: nobody outside chooses what meets in one place, and the hash needs no key.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let beginning = bytes.first_chunk().copied().unwrap_or_default();
        self.0 = (self.0 ^ u64::from_le_bytes(beginning)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Everything that is open for a session. Outlives a configuration: it is shared by the gateways before and after.
pub struct OpenStreams {
    shards: [Mutex<Open>; SHARDS],
    /// Somebody wants the store to be asked now.
    ask: Notify,
    clock: SharedClock,
    /// Until then nobody looks what is overdue, unless rung for.
    next_look: AtomicU64,
    sooner: Notify,
}

impl OpenStreams {
    /// With nothing open.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            ask: Notify::new(),
            clock,
            next_look: AtomicU64::new(0),
            sooner: Notify::new(),
        }
    }

    /// Registers something that is open for a session, or for a token, which is over at that moment at the latest.
    pub fn register(self: &Arc<Self>, holder: Holder, cuts: Cuts, over_at: Monotonic) -> OpenStream {
        let id = holder.id;
        let times = Times::of(self.clock.monotonic(), over_at);
        let kill = Arc::new(Kill::of(holder, cuts, times));
        self.shard(id).lock().entry(id).or_default().push(kill.clone());
        self.ring_for(times.due);
        OpenStream { streams: self.clone(), kill }
    }

    /// Cuts what is open for a session that is over, or held. What was opened just now is found when the store is asked
    /// next.
    pub fn cut_for(&self, id: SessionId, why: impl Into<Barred>) {
        let why = why.into();
        let streams = self.cut(id, why, self.a_moment_ago());
        if streams > 0 {
            tracing::info!(session_id = id.as_str(), reason = why.as_str(), streams, "the session may not go on: cut");
        }
    }

    /// Cuts what is open for a session in a tenant that it has no longer, and nothing else of it.
    pub fn cut_in(&self, id: SessionId, tenant: &InTenant) {
        let is_there = |kill: &Kill| kill.holder.tenant.as_deref() == Some(tenant);
        let streams = self.cut_where(id, EndReason::TenantRevoked.into(), self.a_moment_ago(), is_there);
        if streams > 0 {
            let tenant = tenant.tenant.shown();
            tracing::info!(session_id = id.as_str(), tenant, streams, "the session lost a tenant: cut");
        }
    }

    /// Cuts all that has been open for a session since then at least; answers how much that was.
    fn cut(&self, id: SessionId, why: impl Into<Barred>, then: Monotonic) -> usize {
        self.cut_where(id, why.into(), then, |_| true)
    }

    fn cut_where(&self, id: SessionId, reason: Barred, then: Monotonic, is_meant: impl Fn(&Kill) -> bool) -> usize {
        let shard = self.shard(id).lock();
        let is_concerned = |kill: &&Arc<Kill>| kill.is_older(then) && kill.is_cut_by(reason) && is_meant(kill);
        let concerned = || shard.get(&id).into_iter().flatten().filter(is_concerned);
        // First all are told, then all are woken: who sees one cut sees them all cut.
        let cut = concerned().filter(|kill| kill.reason.set(reason).is_ok()).count();
        concerned().for_each(|kill| kill.waker.wake());
        if reason.is_by_time() {
            // What goes on all the same is asked about in another way from now on.
            let left = shard.get(&id).into_iter().flatten().filter(|kill| !kill.is_cut_by(reason));
            left.for_each(|kill| kill.outlives.store(true, Ordering::Relaxed));
        }
        cut
    }

    /// What is open since then is no ordinary answer.
    fn a_moment_ago(&self) -> Monotonic {
        self.clock.monotonic().before(YOUNG)
    }

    /// Has the store asked now about everything that is open.
    pub fn ask_now(&self) {
        self.ask.notify_one();
    }

    /// Ready when somebody wants the store to be asked.
    pub async fn wanted(&self) {
        self.ask.notified().await;
    }

    /// The sessions that the store is to be asked about: those for which something is open that is no ordinary answer.
    #[must_use]
    pub fn to_ask_about(&self) -> Vec<AskedAbout> {
        self.open_since(self.a_moment_ago())
    }

    /// The sessions for which something has been open since then at least.
    fn open_since(&self, then: Monotonic) -> Vec<AskedAbout> {
        let waiting = |kill: &Arc<Kill>| kill.is_older(then) && kill.reason.get().is_none();
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            found.extend(shard.values().filter_map(|kills| {
                let asked = AskedAbout::of(kills.iter().filter(|kill| waiting(kill)))?;
                let used_at = kills.iter().map(|kill| kill.used_at.swap(0, Ordering::Relaxed)).max().unwrap_or(0);
                let used_at = (used_at > 0).then(|| Monotonic::from_micros(used_at));
                Some(AskedAbout { used_at, ..asked })
            }));
        }
        found
    }

    fn shard(&self, id: SessionId) -> &Mutex<Open> {
        // The id is the text of a hash: any byte of it is as good as another.
        let [byte, ..] = id.as_bytes();
        &self.shards[usize::from(*byte) % SHARDS]
    }
}

impl fmt::Debug for OpenStreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenStreams").finish_non_exhaustive()
    }
}

/// Which ends of its session end a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Every one.
    Always,
    /// All but idleness: an answer with a length that began in time is whole, however long it takes.
    ButIdleness,
    /// Those on purpose, and holds: on a route that only observes, an end by time refuses nobody either.
    OnPurpose,
}

impl Cuts {
    /// Whether that end is one of them.
    #[must_use]
    pub const fn includes(self, reason: Barred) -> bool {
        match self {
            Self::Always => true,
            Self::ButIdleness => !matches!(reason, Barred::Ended(EndReason::IdleTimeout)),
            Self::OnPurpose => !reason.is_by_time(),
        }
    }
}

/// The signal to one open stream. One task waits for it at a time.
#[derive(Debug)]
pub struct Kill {
    times: Mutex<Times>,
    holder: Holder,
    cuts: Mutex<Cuts>,
    /// Time ended its session, and not this.
    outlives: AtomicBool,
    /// In microseconds; 0: not since somebody asked.
    used_at: AtomicU64,
    reason: OnceLock<Barred>,
    waker: AtomicWaker,
}

/// When something was opened, and when it is to be cut.
#[derive(Clone, Copy, Debug)]
struct Times {
    since: Monotonic,
    /// The session's absolute limit.
    over_at: Monotonic,
    due: Monotonic,
}

impl Times {
    fn of(since: Monotonic, over_at: Monotonic) -> Self {
        // What begins after it is the answer to a request that was accepted in time.
        let due = if since > over_at { since.after(YOUNG) } else { over_at.after(LEEWAY) };
        Self { since, over_at, due }
    }
}

impl Kill {
    const fn of(holder: Holder, cuts: Cuts, times: Times) -> Self {
        Self {
            times: Mutex::new(times),
            holder,
            cuts: Mutex::new(cuts),
            outlives: AtomicBool::new(false),
            used_at: AtomicU64::new(0),
            reason: OnceLock::new(),
            waker: AtomicWaker::new(),
        }
    }

    fn has_outlived(&self) -> bool {
        self.outlives.load(Ordering::Relaxed)
    }

    /// Whether that end of its session ends it.
    fn is_cut_by(&self, reason: Barred) -> bool {
        self.cuts.lock().includes(reason)
    }

    fn is_older(&self, then: Monotonic) -> bool {
        self.times.lock().since <= then
    }

    /// Ready when the session is over, or held.
    pub fn poll(&self, context: &Context<'_>) -> Poll<Barred> {
        if let Some(reason) = self.reason.get() {
            return Poll::Ready(*reason);
        }
        self.waker.register(context.waker());
        // It may have come in between.
        self.reason.get().map_or(Poll::Pending, |reason| Poll::Ready(*reason))
    }
}

/// Something open for a session, registered for as long as this is held.
pub struct OpenStream {
    streams: Arc<OpenStreams>,
    kill: Arc<Kill>,
}

impl OpenStream {
    /// Registers something else that is open for the same session.
    pub fn another(&self) -> Self {
        let (over_at, cuts) = (self.kill.times.lock().over_at, *self.kill.cuts.lock());
        self.streams.register(self.kill.holder.clone(), cuts, over_at)
    }

    /// Its moment begins now, as if it had been registered just now; also if it was cut.
    pub fn begun_anew(self) -> Self {
        if self.reason().is_some() {
            return self.another();
        }
        let mut times = self.kill.times.lock();
        *times = Times::of(self.streams.clock.monotonic(), times.over_at);
        drop(times);
        self
    }

    /// The same, which idleness does not end.
    pub fn outlasting_idleness(self) -> Self {
        let mut cuts = self.kill.cuts.lock();
        if *cuts == Cuts::Always {
            *cuts = Cuts::ButIdleness;
        }
        drop(cuts);
        self
    }

    /// The session is used by this now: it is told when the store is asked next.
    pub fn is_used(&self) {
        self.kill.used_at.store(self.streams.clock.monotonic().as_micros(), Ordering::Relaxed);
    }

    /// The session.
    pub fn id(&self) -> SessionId {
        self.kill.holder.id
    }

    /// The signal.
    pub fn kill(&self) -> Arc<Kill> {
        self.kill.clone()
    }

    /// Why the session may not go on, if that is known.
    pub fn reason(&self) -> Option<Barred> {
        self.kill.reason.get().copied()
    }

    /// Ready when the session is over, or held.
    pub fn poll(&self, context: &Context<'_>) -> Poll<Barred> {
        self.kill.poll(context)
    }

    /// Waits until the session may not go on.
    pub async fn ended(&self) -> Barred {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut shard = self.streams.shard(self.id()).lock();
        if let Entry::Occupied(mut open) = shard.entry(self.id()) {
            open.get_mut().retain(|kill| !Arc::ptr_eq(kill, &self.kill));
            if open.get().is_empty() {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;
    use crate::clock::{Clock as _, ManualClock, WallTime};
    use crate::session::{Generation, SessionToken, TenantId};

    /// With a clock that stands still.
    pub(super) fn streams() -> (Arc<OpenStreams>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        clock.advance(Duration::from_secs(1));
        (Arc::new(OpenStreams::new(clock.clone())), clock)
    }

    const NEVER: Monotonic = Monotonic::from_micros(u64::MAX);

    pub(super) fn id(first: char) -> SessionId {
        let token = format!("{first}{}", "A".repeat(42));
        SessionToken::parse(token.as_bytes()).expect("a token").id()
    }

    pub(super) fn held(first: char) -> Holder {
        Holder::of_somebody(id(first))
    }

    fn asked(first: char) -> AskedAbout {
        AskedAbout { holder: held(first), tenants: Vec::new(), outlived: false, used_at: None }
    }

    #[tokio::test]
    async fn only_what_is_open_for_the_session_is_cut() {
        let (streams, clock) = streams();
        let mine = [streams.register(held('a'), Cuts::Always, NEVER), streams.register(held('a'), Cuts::Always, NEVER)];
        let other = streams.register(held('b'), Cuts::Always, NEVER);
        assert_eq!(streams.cut(id('a'), EndReason::Logout, clock.monotonic()), 2);
        assert_eq!(streams.cut(id('a'), EndReason::Revoked, clock.monotonic()), 0, "once is enough");
        for open in &mine {
            assert_eq!(open.ended().await, EndReason::Logout.into());
        }
        assert_eq!(other.reason(), None);
    }

    #[test]
    fn what_is_open_in_a_tenant_is_cut_with_that_and_the_rest_of_the_session_goes_on() {
        let (streams, clock) = streams();
        let [bolt, core] = ["bolt", "core"].map(|name| {
            let tenant = TenantId::parse(name).expect("visible ASCII");
            Arc::new(InTenant { tenant, generation: Generation::NONE })
        });
        let opened = |tenant: &Arc<InTenant>| {
            let holder = Holder { tenant: Some(tenant.clone()), ..held('a') };
            streams.register(holder, Cuts::Always, NEVER)
        };
        let (in_bolt, in_core) = (opened(&bolt), opened(&core));
        let upload = in_bolt.another();
        clock.advance(Duration::from_secs(1));
        let asked = streams.to_ask_about().pop().expect("open");
        assert_eq!(asked.tenants, [bolt.clone(), core]);
        streams.cut_in(id('a'), &bolt);
        let gone = Some(EndReason::TenantRevoked.into());
        assert_eq!((in_bolt.reason(), upload.reason(), in_core.reason()), (gone, gone, None));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (streams, clock) = streams();
        let open = streams.register(held('a'), Cuts::Always, NEVER);
        let waiting = tokio::spawn(async move { open.ended().await });
        tokio::task::yield_now().await;
        streams.cut(id('a'), EndReason::Expired, clock.monotonic());
        assert_eq!(waiting.await.expect("it ends"), EndReason::Expired.into());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (streams, clock) = streams();
        let open = streams.register(held('a'), Cuts::Always, NEVER);
        let another = open.another();
        let now = clock.monotonic();
        assert_eq!(streams.open_since(now), [asked('a')]);
        drop(open);
        assert_eq!(streams.open_since(now), [asked('a')], "one is left");
        drop(another);
        assert!(streams.open_since(now).is_empty());
        assert!(streams.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn the_last_use_by_anything_open_is_told_once() {
        let (streams, clock) = streams();
        let [first, second] = [(); 2].map(|()| streams.register(held('a'), Cuts::Always, NEVER));
        first.is_used();
        clock.advance(Duration::from_secs(1));
        second.is_used();
        let last = clock.monotonic();
        clock.advance(Duration::from_secs(1));
        let used_at = || streams.to_ask_about().pop().expect("it is open").used_at;
        assert_eq!((used_at(), used_at()), (Some(last), None));
    }

    #[test]
    fn ids_are_spread_whatever_they_begin_with() {
        let hash = |id: SessionId| BuildHasherDefault::<IdHasher>::default().hash_one(id);
        let ids =
            (0..4096_u32).map(|number| SessionToken::parse(format!("{number:043}").as_bytes()).expect("a token").id());
        // As of one shard: all begin alike.
        let ids = ids.map(|id| SessionId::parse(format!("a{}", &id.as_str()[1..]).as_bytes()).expect("an id"));
        let mut places = [0; 256];
        for id in ids {
            places[(hash(id) & 255) as usize] += 1;
        }
        assert!(places.iter().all(|count| (1..=48).contains(count)), "{places:?}");
    }

    #[test]
    fn nobody_is_asked_about_what_is_young_or_cut_already() {
        let (streams, clock) = streams();
        let before = clock.monotonic();
        clock.advance(Duration::from_millis(1));
        let _open = streams.register(held('a'), Cuts::Always, NEVER);
        assert!(streams.open_since(before).is_empty());
        streams.cut(id('a'), EndReason::Logout, clock.monotonic());
        assert!(streams.open_since(clock.monotonic()).is_empty());
    }

    #[test]
    fn what_was_opened_a_moment_ago_is_left_alone() {
        let (streams, clock) = streams();
        let before = clock.monotonic();
        clock.advance(Duration::from_millis(1));
        let open = streams.register(held('a'), Cuts::Always, NEVER);
        assert_eq!(streams.cut(id('a'), EndReason::Logout, before), 0);
        assert_eq!(open.reason(), None);
        assert_eq!(streams.cut(id('a'), EndReason::Logout, clock.monotonic()), 1);
    }

    #[test]
    fn an_observed_stream_survives_the_ends_that_time_makes() {
        let (streams, clock) = streams();
        let open = streams.register(held('a'), Cuts::OnPurpose, NEVER);
        assert_eq!(streams.cut(id('a'), EndReason::IdleTimeout, clock.monotonic()), 0);
        assert_eq!(streams.cut(id('a'), EndReason::Expired, clock.monotonic()), 0);
        assert_eq!(open.reason(), None);
        assert_eq!(streams.cut(id('a'), EndReason::TenantRevoked, clock.monotonic()), 1);
    }

    #[test]
    fn what_idleness_does_not_end_is_asked_about_in_another_way_from_then_on() {
        let (streams, clock) = streams();
        let download = streams.register(held('a'), Cuts::Always, NEVER).outlasting_idleness();
        let events = streams.register(held('a'), Cuts::Always, NEVER);
        clock.advance(Duration::from_secs(1));
        assert_eq!(streams.to_ask_about(), [asked('a')]);
        assert_eq!(streams.cut(id('a'), EndReason::IdleTimeout, clock.monotonic()), 1);
        assert_eq!((events.reason(), download.reason()), (Some(EndReason::IdleTimeout.into()), None));
        assert_eq!(streams.to_ask_about(), [AskedAbout { outlived: true, ..asked('a') }]);
    }
}
