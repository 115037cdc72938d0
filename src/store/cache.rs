//! The coherent cache: what this instance knows of sessions without asking, and for how long it may believe it.
//!
//! It answers only while it holds a *lease*: a proof, never older than [`STALE_AT_MOST`], that every change until then
//! was heard. There is one for each server that tells of changes (`places`). Whatever brings the changes (a tracker of the
//! store) calls [`open`](Cache::open) when it begins to hear all of them, [`renew`](Cache::renew) when it has proof that it
//! heard all until then, and [`close`](Cache::close) when it may have missed one. What makes it safe, whatever the order in
//! which things happen:
//!
//! - A read that may be kept is announced *before* it is sent ([`begin`](Cache::begin)), and is not kept if a change of
//!   the session was heard meanwhile.
//! - Changes of a user's or tenant's standing raise a counter, and so do those of the first of a line of rotated
//!   sessions, whose end is that of the others. An entry carries what they showed before its read; where that differs it is
//!   no answer. Nor is a refusal, which a standing may have decided that comes right again.
//! - A tenant's standing, which is asked for sessions that may choose from several, is kept by itself, with its counter.
//! - An entry has the places where it was read, and one stamp, of before its read. It is an answer while those who tell of
//!   these places have done so without a break since before that stamp, and all of them have a lease.
//!
//! It knows no server, no network and no runtime. Time is the clock that it is given.

mod places;
mod reading;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

pub use self::places::{Heard, Held, Origin, Place, PlaceSet, Proof, Stamp, Term, Voucher};
pub use self::reading::{Reading, TenantReading, Touching};

use self::places::{Leased, Leases, Places};
use super::{Known, KnownTenant, KnownToken, STALE_AT_MOST};
use crate::clock::{Monotonic, SharedClock};
use crate::session::{
    EndReason, Ended, HeldSession, Hold, LiveSession, SessionId, SessionRecord, Standing, StoreTime, TenantId,
    TenantStanding, TokenStanding,
};

/// How old an entry becomes at most.
const OLDEST: Duration = Duration::from_secs(300);
/// Of so many sessions one more may be remembered that is none.
const LIVE_TO_OTHERS: usize = 8;
const FEWEST: usize = 16;
/// Counters of users and tenants, and as many of lines, shared by those whose keys meet in one: a change of any costs
/// the others a read.
const COUNTERS: usize = 1 << 16;

type Map<V> = quick_cache::sync::Cache<SessionId, V>;

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
    places: Places,
}

/// A session that is not over.
struct Entry {
    record: Arc<SessionRecord>,
    beside: Option<Box<Beside>>,
    /// The latest touch deadline (µs) that the store is known to have.
    touch_deadline: AtomicU64,
    read: Monotonic,
    stamp: Stamp,
    counts: Counts,
    /// The session's own and its tenant's.
    places: [Place; 2],
}

/// What few entries have.
struct Beside {
    hold: Option<Hold>,
    /// The counter of the user whom the session left.
    left: Option<u16>,
    /// Where else it was read.
    places: Vec<Place>,
}

impl Entry {
    fn places(&self) -> impl Iterator<Item = Place> {
        let also = self.beside.iter().flat_map(|beside| &beside.places).copied();
        each_of(self.places).chain(also)
    }

    fn left(&self) -> Option<u16> {
        self.beside.as_ref().and_then(|beside| beside.left)
    }
}

#[derive(Clone)]
struct Other {
    what: Over,
    read: Monotonic,
    stamp: Stamp,
    /// Where nothing decided but its own keys there are none.
    counts: Option<Counts>,
    /// The same two as of an entry.
    places: [Place; 2],
}

/// Most often, and always on a server that is alone, the two are one.
fn each_of([session, tenant]: [Place; 2]) -> impl Iterator<Item = Place> {
    std::iter::once(session).chain((tenant != session).then_some(tenant))
}

#[derive(Clone)]
enum Over {
    Absent,
    Ended { reason: EndReason, record: Option<Arc<SessionRecord>>, next: Option<SessionId> },
}

/// What the counters of a user, its tenant and, where it has them, its line and the user whom it left showed together: each
/// only rises, and so does the sum. Flat, so that an entry takes 48 bytes.
#[derive(Clone, Copy)]
struct Counts {
    sum: u32,
    tenant: u16,
    user: u16,
}

/// A tenant's standing.
#[derive(Clone, Copy)]
struct OfTenant {
    standing: TenantStanding,
    read: TenantReading,
}

/// Since when something is asked for, and the leases there were then. They are looked at before what is kept, so that a
/// change which was heard before the proof is not overlooked.
struct Look<'a> {
    leases: Leases<'a>,
    now: Monotonic,
    within: Duration,
}

impl Look<'_> {
    fn leased(&self, place: Place, stamp: Stamp) -> Option<Leased<'_>> {
        self.leases.leased(place, stamp, self.now, self.within)
    }
}

impl Cache {
    /// A cache for so many sessions, which are in so many places.
    #[must_use]
    pub fn new(entries: usize, places: u16, clock: SharedClock) -> Self {
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
            places: Places::new(places),
        }
    }

    /// From now on all changes of one server are heard. There is no lease yet, and nothing to keep.
    pub fn open(&self) -> Term {
        self.places.open()
    }

    /// A change may have been missed. Does nothing if the term is over already.
    pub fn close(&self, term: Term) {
        self.places.close(term);
    }

    /// Others may have these places from now on: what was read there is no answer any more.
    pub fn lost(&self, places: impl Iterator<Item = Place>) {
        self.places.lost(places);
    }

    /// Takes a proof that all changes of a server were heard, and what was in its hands then. Reads from its source may be
    /// kept from now on. Answers whether the term still goes on.
    pub fn renew(&self, term: Term, heard: Heard, held: &Held) -> bool {
        let Some(begins) = self.places.renew(term, heard, held) else { return false };
        if begins {
            // Much is no answer any more. What a slot or two take with them makes room when it is asked for.
            let is_void = |place, stamp| self.places.is_void(place, stamp);
            self.live.retain(|_, entry| !self.is_void(entry));
            self.others.retain(|_, other| !each_of(other.places).any(|place| is_void(place, other.stamp)));
            self.tenants.retain(|_, kept| !is_void(kept.read.place, kept.read.stamp));
        }
        true
    }

    /// Whether it is no answer any more, whatever is proven later.
    fn is_void(&self, entry: &Entry) -> bool {
        entry.places().any(|place| self.places.is_void(place, entry.stamp))
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

    fn look(&self, within: Duration) -> Look<'_> {
        let leases = self.places.leases();
        Look { leases, now: self.clock.monotonic(), within: within.min(STALE_AT_MOST) }
    }

    /// What a session is, as of `within` ago at most. `None` where only the store can say.
    #[must_use]
    pub fn known(&self, id: SessionId, within: Duration) -> Option<Known> {
        let look = self.look(within);
        match self.live.get(&id) {
            Some(entry) => self.answer(&entry, &look),
            None => self.over(id, &look),
        }
    }

    /// The same of a token: what it is worth that says this of itself.
    #[must_use]
    pub fn known_token(&self, id: SessionId, record: &SessionRecord, within: Duration) -> Option<KnownToken> {
        let Known { standing, asked, .. } = self.known(id, within)?;
        let standing = match standing {
            Standing::Live(live) if live.record.is_of_same_token(record) => TokenStanding::Live(live),
            Standing::Ended(Ended { reason, record: None, .. }) => TokenStanding::Revoked(reason),
            Standing::Live(_) | Standing::Held(_) | Standing::Ended(_) | Standing::Absent => return None,
        };
        Some(KnownToken { standing, asked })
    }

    /// What a tenant's standing is, as of `within` ago at most. `None` where only the store can say.
    #[must_use]
    pub fn known_tenant(&self, tenant: &TenantId, within: Duration) -> Option<KnownTenant> {
        let look = self.look(within);
        let OfTenant { standing, read } = self.tenants.get(tenant)?;
        let Leased { since, .. } = look.leased(read.place, read.stamp)?;
        let is_current = look.now.since(read.began) < OLDEST && self.count(read.counter) == read.count;
        is_current.then_some(KnownTenant { standing, asked: since })
    }

    fn over(&self, id: SessionId, look: &Look<'_>) -> Option<Known> {
        let other = self.others.get(&id).filter(|other| look.now.since(other.read) < OLDEST)?;
        let Leased { proof, since } = look.leased(other.places[0], other.stamp)?;
        let mut asked = since;
        for place in each_of(other.places).skip(1) {
            asked = asked.min(look.leased(place, other.stamp)?.since);
        }
        if other.counts.is_some_and(|counts| self.sum(counts, other.what.record(), None) != counts.sum) {
            return None;
        }
        let standing = match other.what {
            Over::Absent => Standing::Absent,
            Over::Ended { reason, record, next } => Standing::Ended(Ended { reason, record, noted: true, next }),
        };
        Some(Known { standing, asked, told: proof.time })
    }

    /// What an entry says under the leases of all its places; `None` where it must be read again. Never a refusal: what is
    /// over by what is known here may have been touched elsewhere.
    fn answer(&self, entry: &Entry, look: &Look<'_>) -> Option<Known> {
        // By the clock of the session's own server.
        let Leased { proof, since } = look.leased(entry.places[0], entry.stamp)?;
        let mut asked = since;
        for place in entry.places().skip(1) {
            asked = asked.min(look.leased(place, entry.stamp)?.since);
        }
        let live = self.live_under(entry, proof, look.now)?;
        let standing = match entry.beside.as_ref().and_then(|beside| beside.hold.clone()) {
            None => Standing::Live(live),
            Some(hold) => Standing::Held(HeldSession { live, hold }),
        };
        Some(Known { standing, asked, told: proof.time })
    }

    /// What is certain of an entry by the time that this proof shows; `None` where it must be read again.
    fn live_under(&self, entry: &Entry, proof: &Proof, now: Monotonic) -> Option<LiveSession> {
        let record = &entry.record;
        let touch_deadline = StoreTime::from_micros(entry.touch_deadline.load(Ordering::Acquire));
        let (earliest, latest) = proof.bounds(now);
        // The plan of its touch has so much in hand. Without an idle limit only deadlines are compared.
        let is_precise = record.idle.is_none_or(|idle| latest.since(earliest) <= idle.margin());
        let sum = self.sum(entry.counts, Some(record), entry.left());
        let is_current = now.since(entry.read) < OLDEST && sum == entry.counts.sum;
        let is_live = latest < record.deadline && latest < touch_deadline;
        (is_current && is_live && is_precise).then(|| LiveSession {
            record: Arc::clone(record),
            touch_deadline,
            now: earliest,
        })
    }

    /// Whether it may answer now: of anything, and of what is there.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.places.leases().any(self.clock.monotonic(), STALE_AT_MOST)
    }

    /// Whether changes there are heard now.
    #[must_use]
    pub fn hears_of(&self, place: Place) -> bool {
        self.look(STALE_AT_MOST).leased(place, self.places.stamp()).is_some()
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

    /// Of the tenant's, the user's and, where it has them, the line's and that of the user whom it left.
    fn sum(&self, of: Counts, record: Option<&SessionRecord>, left: Option<u16>) -> u32 {
        let line = record.and_then(|record| record.line.as_ref());
        let of_line = line.and_then(|line| {
            let counter = self.lines.get(usize::from(counter_of(line.first.as_bytes())))?;
            Some(counter.load(Ordering::Acquire))
        });
        let also = [of_line, left.map(|left| self.count(left))];
        let sum = self.count(of.tenant).wrapping_add(self.count(of.user));
        also.into_iter().flatten().fold(sum, u32::wrapping_add)
    }
}

impl Over {
    fn record(&self) -> Option<&SessionRecord> {
        match self {
            Self::Absent => None,
            Self::Ended { record, .. } => record.as_deref(),
        }
    }

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
