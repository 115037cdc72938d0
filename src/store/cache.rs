//! The coherent cache: what this instance knows of sessions without asking, and for how long it may believe it.
//!
//! It answers only while it holds a *lease*: a proof, never older than [`STALE_AT_MOST`], that every change until then
//! was heard. Whatever brings the changes (a tracker of the store) calls [`open`](Cache::open) when it begins to hear
//! all of them, [`renew`](Cache::renew) when it has proof that it heard all until then, and [`close`](Cache::close)
//! when it may have missed one. What makes it safe, whatever the order in which things happen:
//!
//! - A read that may be kept is announced *before* it is sent ([`begin`](Cache::begin)), and is not kept if a change of
//!   the session was heard meanwhile.
//! - Changes of a user's or tenant's standing raise a counter, and so do those of the first of a line of rotated
//!   sessions, whose end is that of the others. An entry carries the counters of before its read; where they differ it is
//!   no answer.
//! - A tenant's standing, which is asked for sessions that may choose from several, is kept by itself, with its counter.
//! - An entry is of one generation of the cache, which ends with each break in hearing.
//!
//! It knows no server, no network and no runtime. Time is the clock that it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use quick_cache::sync::{DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

use super::{Known, KnownTenant, KnownToken, STALE_AT_MOST};
use crate::clock::{Monotonic, SharedClock};
use crate::session::{
    EndReason, Ended, HeldSession, Hold, LiveSession, SessionId, SessionRecord, Standing, StoreTime, TenantId,
    TenantStanding, TokenStanding,
};

/// How old an entry becomes at most.
const OLDEST: Duration = Duration::from_secs(300);
/// By how much the clocks of two machines, which both keep time, may come apart during a lease, and more.
const DRIFT: Duration = Duration::from_millis(1);
/// Of so many sessions one more may be remembered that is none.
const LIVE_TO_OTHERS: usize = 8;
const FEWEST: usize = 16;
/// Counters of users and tenants, and as many of lines, shared by those whose keys meet in one: a change of any costs
/// the others a read.
const COUNTERS: usize = 1 << 16;

type Map<V> = quick_cache::sync::Cache<SessionId, V>;
type Guard<'a> = PlaceholderGuard<
    'a,
    SessionId,
    Arc<Entry>,
    UnitWeighter,
    DefaultHashBuilder,
    DefaultLifecycle<SessionId, Arc<Entry>>,
>;

/// The cache of one instance.
pub struct Cache {
    clock: SharedClock,
    /// What is not over: it may be used, or is held and may be used again.
    live: Map<Arc<Entry>>,
    /// What may not. Apart, so that nobody who makes up tokens displaces a session.
    others: Map<Other>,
    /// Of the tenants that somebody chose.
    tenants: quick_cache::sync::Cache<TenantId, OfTenant>,
    counters: Box<[AtomicU32]>,
    /// Raised by what is heard of a session, for those that go on from it.
    lines: Box<[AtomicU32]>,
    state: Mutex<State>,
    lease: ArcSwapOption<Lease>,
}

#[derive(Default)]
struct State {
    generation: u32,
    /// Where reads may come from.
    source: Option<u64>,
}

/// A proof that all changes were heard that were made before `sent`.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// When it was asked for.
    pub sent: Monotonic,
    /// When it was there.
    pub received: Monotonic,
    /// The store's time at some moment between the two.
    pub time: StoreTime,
}

struct Lease {
    generation: u32,
    /// Where reads come from whose changes are heard.
    source: Option<u64>,
    proof: Proof,
}

impl Proof {
    /// The store's time at `now` is between these two.
    fn bounds(&self, now: Monotonic) -> (StoreTime, StoreTime) {
        let earliest = self.time.after(now.since(self.received)).before(DRIFT);
        let latest = self.time.after(now.since(self.sent)).after(DRIFT);
        (earliest, latest)
    }
}

/// A session that is not over.
struct Entry {
    record: Arc<SessionRecord>,
    hold: Option<Arc<Hold>>,
    /// The latest touch deadline (µs) that the store is known to have.
    touch_deadline: AtomicU64,
    read: Monotonic,
    generation: u32,
    counts: Counts,
}

#[derive(Clone)]
struct Other {
    what: Over,
    read: Monotonic,
    generation: u32,
}

#[derive(Clone)]
enum Over {
    Absent,
    Ended { reason: EndReason, record: Option<Arc<SessionRecord>>, next: Option<SessionId> },
}

/// What the counters of a user and its tenant showed; to the user's that of its line is added, where it has one. Flat, so
/// that an entry with it takes 56 bytes.
#[derive(Clone, Copy)]
struct Counts {
    of_tenant: u32,
    of_user: u32,
    tenant: u16,
    user: u16,
}

/// A tenant's standing.
#[derive(Clone, Copy)]
struct OfTenant {
    standing: TenantStanding,
    read: TenantReading,
}

/// A read of a tenant's standing. Announced before it is sent.
#[derive(Clone, Copy)]
pub struct TenantReading {
    generation: u32,
    began: Monotonic,
    counter: u16,
    count: u32,
}

/// A read that may be kept. Announced before it is sent.
pub struct Reading<'a> {
    cache: &'a Cache,
    id: SessionId,
    guard: Option<Guard<'a>>,
    generation: u32,
    began: Monotonic,
    counts: Option<Counts>,
}

/// The entry of a session that is about to be touched. A later one says more than the touch does.
pub struct Touching(Option<Arc<Entry>>);

impl Cache {
    /// A cache for so many sessions.
    #[must_use]
    pub fn new(entries: usize, clock: SharedClock) -> Self {
        let live = map(entries.max(FEWEST));
        // Grown step by step it would leave as much behind again.
        live.reserve(entries);
        Self {
            clock,
            live,
            others: map((entries / LIVE_TO_OTHERS).max(FEWEST)),
            tenants: quick_cache::sync::Cache::new((entries / LIVE_TO_OTHERS).max(FEWEST)),
            counters: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            lines: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            state: Mutex::default(),
            lease: ArcSwapOption::empty(),
        }
    }

    /// From now on all changes are heard. Answers the new generation; there is no lease yet, and nothing to keep.
    pub fn open(&self) -> u32 {
        let mut state = self.state.lock();
        self.end_generation(&mut state);
        state.generation
    }

    /// Reads from this source may be kept from now on: they are of the server whose changes are heard. Those of
    /// sources before are of it, too.
    pub fn bind(&self, generation: u32, source: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.source = Some(source);
        }
    }

    /// A change may have been missed. Does nothing if the generation is over already.
    pub fn close(&self, generation: u32) {
        let mut state = self.state.lock();
        if state.generation == generation {
            self.end_generation(&mut state);
        }
    }

    fn end_generation(&self, state: &mut State) {
        state.generation = state.generation.wrapping_add(1);
        state.source = None;
        self.lease.store(None);
        // What is put in after this is of the generation that is over, and no answer.
        self.live.clear();
        self.others.clear();
        self.tenants.clear();
    }

    /// Takes a proof that all changes were heard; answers whether the generation still goes on.
    pub fn renew(&self, generation: u32, proof: Proof) -> bool {
        let state = self.state.lock();
        let goes_on = state.generation == generation;
        if goes_on {
            self.lease.store(Some(Arc::new(Lease { generation, source: state.source, proof })));
        }
        goes_on
    }

    /// A session changed, here or as was heard.
    pub fn forget(&self, id: SessionId) {
        // Before the entries that may depend on it can be looked at again.
        if let Some(counter) = self.lines.get(usize::from(counter_of(id.as_bytes()))) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.live.remove(&id);
        self.others.remove(&id);
    }

    /// The standing under this key of a user or tenant changed, here or as was heard.
    pub fn outdate(&self, standing: &[u8]) {
        if let Some(counter) = self.counters.get(usize::from(counter_of(standing))) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What a session is, as of `within` ago at most, where changes are heard of that source (`None`: of any). `None` where
    /// only the store can say.
    #[must_use]
    pub fn known(&self, id: SessionId, within: Duration, source: Option<u64>) -> Option<Known> {
        let lease = self.lease.load();
        let lease = lease.as_deref().filter(|lease| source.is_none() || lease.source == source)?;
        let now = self.clock.monotonic();
        if now.since(lease.proof.sent) >= within.min(STALE_AT_MOST) {
            return None;
        }
        let standing = match self.live.get(&id) {
            Some(entry) => self.answer(&entry, lease, now)?,
            None => self.over(id, lease, now)?,
        };
        Some(Known { standing, asked: lease.proof.sent, told: lease.proof.time })
    }

    /// The same of a token: what it is worth that says this of itself.
    #[must_use]
    pub fn known_token(
        &self,
        id: SessionId,
        record: &SessionRecord,
        within: Duration,
        source: Option<u64>,
    ) -> Option<KnownToken> {
        let Known { standing, asked, .. } = self.known(id, within, source)?;
        let standing = match standing {
            Standing::Live(live) if live.record.is_of_same_token(record) => TokenStanding::Live(live),
            Standing::Ended(Ended { reason, record: None, .. }) => TokenStanding::Revoked(reason),
            Standing::Live(_) | Standing::Held(_) | Standing::Ended(_) | Standing::Absent => return None,
        };
        Some(KnownToken { standing, asked })
    }

    /// What a tenant's standing is, as of `within` ago at most, where changes are heard of that source (`None`: of any).
    /// `None` where only the store can say.
    #[must_use]
    pub fn known_tenant(&self, tenant: &TenantId, within: Duration, source: Option<u64>) -> Option<KnownTenant> {
        let lease = self.lease.load();
        let lease = lease.as_deref().filter(|lease| source.is_none() || lease.source == source)?;
        let Lease { generation, proof, .. } = lease;
        let now = self.clock.monotonic();
        if now.since(proof.sent) >= within.min(STALE_AT_MOST) {
            return None;
        }
        let OfTenant { standing, read } = self.tenants.get(tenant)?;
        let is_current =
            read.generation == *generation && now.since(read.began) < OLDEST && self.count(read.counter) == read.count;
        is_current.then_some(KnownTenant { standing, asked: proof.sent })
    }

    /// Announces a read, from this source, of the tenant's standing under this key. `None` where changes there are not
    /// heard.
    #[must_use]
    pub fn begin_tenant(&self, key: &str, source: u64) -> Option<TenantReading> {
        let generation = {
            let state = self.state.lock();
            state.source.filter(|open| *open == source)?;
            state.generation
        };
        let counter = counter_of(key.as_bytes());
        Some(TenantReading { generation, began: self.clock.monotonic(), counter, count: self.count(counter) })
    }

    /// Keeps a tenant's standing that was read; if that changed meanwhile it is no answer.
    pub fn keep_tenant(&self, tenant: &TenantId, read: TenantReading, standing: TenantStanding) {
        self.tenants.insert(tenant.clone(), OfTenant { standing, read });
    }

    fn over(&self, id: SessionId, lease: &Lease, now: Monotonic) -> Option<Standing> {
        let other = self.others.get(&id)?;
        let is_current = other.generation == lease.generation && now.since(other.read) < OLDEST;
        is_current.then_some(match other.what {
            Over::Absent => Standing::Absent,
            Over::Ended { reason, record, next } => Standing::Ended(Ended { reason, record, noted: true, next }),
        })
    }

    /// What an entry says under a lease; `None` where it must be read again. Never a refusal: what is over by what is
    /// known here may have been touched elsewhere.
    fn answer(&self, entry: &Entry, lease: &Lease, now: Monotonic) -> Option<Standing> {
        let record = &entry.record;
        let touch_deadline = StoreTime::from_micros(entry.touch_deadline.load(Ordering::Acquire));
        let (earliest, latest) = lease.proof.bounds(now);
        // The plan of its touch has so much in hand. Without an idle limit only deadlines are compared.
        let is_precise = record.idle.is_none_or(|idle| latest.since(earliest) <= idle.margin());
        let is_current = entry.generation == lease.generation
            && now.since(entry.read) < OLDEST
            && self.count(entry.counts.tenant) == entry.counts.of_tenant
            && self.count_of_user(entry.counts.user, record) == entry.counts.of_user;
        let is_live = latest < record.deadline && latest < touch_deadline;
        if !(is_current && is_live && is_precise) {
            return None;
        }
        let live = LiveSession { record: Arc::clone(record), touch_deadline, now: earliest };
        Some(match &entry.hold {
            None => Standing::Live(live),
            Some(hold) => Standing::Held(HeldSession { live, hold: Hold::clone(hold) }),
        })
    }

    /// Announces a read from this source. `None` where changes there are not heard.
    #[must_use]
    pub fn begin(&self, id: SessionId, source: u64) -> Option<Reading<'_>> {
        let generation = {
            let state = self.state.lock();
            state.source.filter(|open| *open == source)?;
            state.generation
        };
        let began = self.clock.monotonic();
        // What is no answer makes room for one. Without a lease nobody knows; it may be one again.
        if let Some(lease) = self.lease.load().as_deref() {
            self.live.remove_if(&id, |entry| self.answer(entry, lease, began).is_none());
        }
        // Somebody else who reads it now will keep it.
        let guard = match self.live.get_value_or_guard(&id, Some(Duration::ZERO)) {
            GuardResult::Guard(guard) => Some(guard),
            GuardResult::Value(_) | GuardResult::Timeout => None,
        };
        Some(Reading { cache: self, id, guard, generation, began, counts: None })
    }

    /// Announces a touch, before it is sent.
    #[must_use]
    pub fn touching(&self, id: SessionId) -> Touching {
        Touching(self.live.peek(&id))
    }

    /// Whether it may answer now.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        let lease = self.lease.load();
        lease.as_deref().is_some_and(|lease| self.clock.monotonic().since(lease.proof.sent) < STALE_AT_MOST)
    }

    /// How many sessions are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len() + self.others.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count(&self, counter: u16) -> u32 {
        // There is one for each number of 16 bits.
        self.counters.get(usize::from(counter)).map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    /// The user's counter and that of the session's line: both only rise, and so does their sum.
    fn count_of_user(&self, counter: u16, record: &SessionRecord) -> u32 {
        let of_line = record.line.as_ref().and_then(|line| {
            let counter = self.lines.get(usize::from(counter_of(line.first.as_bytes())))?;
            Some(counter.load(Ordering::Acquire))
        });
        self.count(counter).wrapping_add(of_line.unwrap_or_default())
    }
}

impl Reading<'_> {
    /// The standings that a session of this record depends on, by their keys. To be said before they, and the end of its
    /// line, are read.
    pub fn depends_on(&mut self, tenant: &str, user: &str, record: &SessionRecord) {
        let (tenant, user) = (counter_of(tenant.as_bytes()), counter_of(user.as_bytes()));
        let (of_tenant, of_user) = (self.cache.count(tenant), self.cache.count_of_user(user, record));
        self.counts = Some(Counts { of_tenant, of_user, tenant, user });
    }

    /// Keeps what was read of a token, unless that changed meanwhile. A token that is refused for what ended it stays so; the
    /// status of a tenant does not.
    pub fn keep_token(self, standing: &TokenStanding) {
        match standing {
            TokenStanding::Live(live) => self.keep(&Standing::Live(live.clone())),
            TokenStanding::Revoked(reason) => {
                let ended = Ended { reason: *reason, record: None, noted: true, next: None };
                self.keep(&Standing::Ended(ended));
            }
            TokenStanding::TenantRefused(_) => {}
        }
    }

    /// Keeps what was read, unless it changed meanwhile. What has a moment, or goes on from what has, depends on more than
    /// is heard of here, and is not kept.
    pub fn keep(self, standing: &Standing) {
        let Self { cache, id, guard, generation, began: read, counts } = self;
        let (live, hold) = match standing {
            Standing::Live(live) => (live, None),
            Standing::Held(held) => (&held.live, Some(Arc::new(held.hold.clone()))),
            over @ (Standing::Absent | Standing::Ended(_)) => {
                // No guard: what is over, or was never made, never comes to be live.
                drop(guard);
                if let Some(what) = Over::of(over) {
                    cache.others.insert(id, Other { what, read, generation });
                }
                return;
            }
        };
        let (Some(guard), Some(counts)) = (guard, counts) else { return };
        if live.record.line.as_ref().is_some_and(|line| live.now <= line.until) {
            return;
        }
        let touch_deadline = AtomicU64::new(live.touch_deadline.as_micros());
        let record = Arc::clone(&live.record);
        // Refused where the session was forgotten since the guard was taken: then it is used once.
        let _ = guard.insert(Arc::new(Entry { record, hold, touch_deadline, read, generation, counts }));
    }
}

impl Over {
    /// What may be remembered of a session that is over, or was never made.
    fn of(standing: &Standing) -> Option<Self> {
        match standing {
            Standing::Live(_) | Standing::Held(_) => None,
            Standing::Absent => Some(Self::Absent),
            Standing::Ended(ended) if ended.noted => {
                Some(Self::Ended { reason: ended.reason, record: ended.record.clone(), next: ended.next })
            }
            // Whoever notices it first writes it down.
            Standing::Ended(_) => None,
        }
    }
}

impl Touching {
    /// The store has a touch deadline that is at least this.
    pub fn moved_to(&self, deadline: StoreTime) {
        if let Some(entry) = &self.0 {
            entry.touch_deadline.fetch_max(deadline.as_micros(), Ordering::AcqRel);
        }
    }
}

fn map<V: Clone>(entries: usize) -> Map<V> {
    let capacity = u64::try_from(entries).unwrap_or(u64::MAX);
    let options =
        OptionsBuilder::new().estimated_items_capacity(entries).weight_capacity(capacity).ghost_allocation(0.1).build();
    match options {
        Ok(options) => {
            Map::with_options(options, UnitWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        // Fails only without a capacity.
        Err(_) => Map::new(entries),
    }
}

/// FNV-1a, folded. Whose counter is whose is no secret: to meet in one costs a read, no more.
fn counter_of(key: &[u8]) -> u16 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
mod tests;
