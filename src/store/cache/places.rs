//! Where what is cached was read, and who tells of changes there.
//!
//! A *place* is what changes hands as one: a slot of a cluster; a server that is alone is a single place. A *term* is the
//! hearing of one server from a beginning on, until something may have been missed. Which term tells of a place is said with
//! a *stamp*, by one count for all, and so is when a read began. What was read is an answer while the stamps of its places are
//! no later than its own, so that nothing was missed there and nobody else had them since before it was asked for; and while
//! each of these terms has a *lease*.
//!
//! Pure: it knows no server, and no time but what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::clock::Monotonic;
use crate::session::StoreTime;

/// By how much the clocks of two machines, which both keep time, may come apart during a lease, and more.
pub(super) const DRIFT: Duration = Duration::from_millis(1);

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u16);

impl Place {
    /// Where all is that is on a server which is alone.
    pub const ONLY: Self = Self(0);

    /// The one of this number, from 0 on.
    #[must_use]
    pub const fn numbered(number: u16) -> Self {
        Self(number)
    }
}

/// Some places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceSet(Vec<u64>);

impl PlaceSet {
    /// Puts one in.
    pub fn insert(&mut self, Place(number): Place) {
        let at = usize::from(number / 64);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(word) = self.0.get_mut(at) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether one is in it.
    #[must_use]
    pub fn has(&self, Place(number): Place) -> bool {
        self.0.get(usize::from(number / 64)).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl FromIterator<Place> for PlaceSet {
    fn from_iter<T: IntoIterator<Item = Place>>(places: T) -> Self {
        let mut set = Self::default();
        places.into_iter().for_each(|place| set.insert(place));
        set
    }
}

/// When a read began, by the count of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u32);

/// The hearing of one server without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(u32);

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

impl Proof {
    /// The store's time at `now` is between these two.
    pub(super) fn bounds(&self, now: Monotonic) -> (StoreTime, StoreTime) {
        let earliest = self.time.after(now.since(self.received)).before(DRIFT);
        let latest = self.time.after(now.since(self.sent)).after(DRIFT);
        (earliest, latest)
    }
}

/// Knows since when a server is proven to be the one that decides.
pub trait Voucher: Send + Sync {
    /// Since when, if that is less than `within` before `now`.
    fn since(&self, now: Monotonic, within: Duration) -> Option<Monotonic>;
}

/// What is in a server's hands by its own word, at the moment of a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What it has, and is not about to give away.
    pub places: PlaceSet,
    /// Which of its elections gave it that: a later one may have brought back what others had meanwhile.
    pub election: u64,
}

/// What is known of a server whose changes are heard.
#[derive(Clone)]
pub struct Heard {
    /// Where reads come from that are of this server.
    pub source: u64,
    /// That all changes were heard.
    pub proof: Proof,
    /// Who says that it decides; `None`: no other could.
    pub voucher: Option<Arc<dyn Voucher>>,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What was asked about is there.
    pub place: Place,
    /// Who answered.
    pub source: u64,
}

#[derive(Clone)]
struct Lease {
    term: Term,
    heard: Heard,
}

/// A lease that holds.
pub(super) struct Leased<'a> {
    pub(super) proof: &'a Proof,
    /// All changes until then were heard, of the one that decided.
    pub(super) since: Monotonic,
}

/// Who tells of what.
pub(super) struct Places {
    /// Of each place the term and, since when it is so, the stamp: one number, so that they are read at once. The term 0 is
    /// nobody's.
    words: Box<[AtomicU64]>,
    /// The last stamp. It is raised once what it is of is in its place: who has it has that.
    stamp: AtomicU32,
    leases: ArcSwap<Vec<Lease>>,
    terms: Mutex<BTreeMap<Term, Known>>,
}

/// What was in the hands of a term's server, and the last stamp then.
type Known = Option<(Held, Stamp)>;

const NOBODY: Term = Term(0);

fn word(Term(term): Term, Stamp(since): Stamp) -> u64 {
    u64::from(term) << 32 | u64::from(since)
}

fn parts(word: u64) -> (Term, Stamp) {
    let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    (Term(half(word >> 32)), Stamp(half(word)))
}

impl Places {
    /// So many, which nobody tells of.
    pub(super) fn new(count: u16) -> Self {
        Self {
            words: (0..count.max(1)).map(|_| AtomicU64::new(0)).collect(),
            stamp: AtomicU32::new(0),
            leases: ArcSwap::default(),
            terms: Mutex::default(),
        }
    }

    /// Of a read that begins now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Acquire))
    }

    /// The next stamp, which nobody has yet. `None`: there is none any more, which at ten a second is so after 13 years.
    fn next(&self) -> Option<Stamp> {
        self.stamp().0.checked_add(1).map(Stamp)
    }

    fn publish(&self, Stamp(stamp): Stamp) {
        self.stamp.store(stamp, Ordering::Release);
    }

    /// From now on all changes of one server are heard. Nothing is its yet.
    pub(super) fn open(&self) -> Term {
        let mut terms = self.terms.lock();
        let Some(stamp) = self.next() else { return NOBODY };
        self.publish(stamp);
        let term = Term(stamp.0);
        terms.insert(term, None);
        term
    }

    /// A change may have been missed: the term is over, if it is not already. Nothing is an answer any more that it told of.
    pub(super) fn close(&self, term: Term) {
        let mut terms = self.terms.lock();
        terms.remove(&term);
        let mut leases = Vec::clone(&self.leases.load());
        leases.retain(|lease| lease.term != term);
        self.leases.store(Arc::new(leases));
    }

    /// Others may have these places from now on.
    pub(super) fn lost(&self, places: impl Iterator<Item = Place>) {
        let _terms = self.terms.lock();
        let Some(stamp) = self.next() else { return self.close_all() };
        let mut changed = false;
        for Place(number) in places {
            changed |= self.give(usize::from(number), NOBODY, stamp);
        }
        if changed {
            self.publish(stamp);
        }
    }

    /// Takes a proof that all changes were heard, and what the server had then; what it did not have before, and what may
    /// have been elsewhere meanwhile, is its from now on. `None`: the term is over; else whether it begins.
    pub(super) fn renew(&self, term: Term, heard: Heard, held: &Held) -> Option<bool> {
        let mut terms = self.terms.lock();
        let known = terms.get_mut(&term)?;
        let begins = known.is_none();
        let stamp = self.next()?;
        let mut changed = false;
        if known.as_ref().is_none_or(|(before, since)| before != held || *since != self.stamp()) {
            let elected = known.as_ref().is_none_or(|(before, _)| before.election != held.election);
            for (place, word) in self.words.iter().enumerate() {
                let (owner, _) = parts(word.load(Ordering::Acquire));
                let has = u16::try_from(place).is_ok_and(|number| held.places.has(Place(number)));
                if has && (owner != term || elected) {
                    changed |= self.give(place, term, stamp);
                } else if !has && owner == term {
                    changed |= self.give(place, NOBODY, stamp);
                }
            }
            if changed {
                self.publish(stamp);
            }
            *known = Some((held.clone(), self.stamp()));
        }
        let mut leases = Vec::clone(&self.leases.load());
        match leases.iter_mut().find(|lease| lease.term == term) {
            Some(lease) => lease.heard = heard,
            None => leases.push(Lease { term, heard }),
        }
        self.leases.store(Arc::new(leases));
        Some(begins)
    }

    /// Says whether that is news.
    fn give(&self, place: usize, term: Term, stamp: Stamp) -> bool {
        let Some(at) = self.words.get(place) else { return false };
        if term == NOBODY && parts(at.load(Ordering::Acquire)).0 == NOBODY {
            return false;
        }
        at.store(word(term, stamp), Ordering::Release);
        true
    }

    /// Called with the terms held.
    fn close_all(&self) {
        self.leases.store(Arc::default());
    }

    fn at(&self, Place(number): Place) -> (Term, Stamp) {
        // What there is not is nobody's.
        self.words
            .get(usize::from(number))
            .map_or((NOBODY, Stamp(u32::MAX)), |word| parts(word.load(Ordering::Acquire)))
    }

    /// Whether what was read there with this stamp is no answer any more, whatever is proven later.
    pub(super) fn is_void(&self, place: Place, stamp: Stamp) -> bool {
        self.at(place).1 > stamp
    }

    pub(super) fn leases(&self) -> Leases<'_> {
        Leases { places: self, all: self.leases.load() }
    }
}

/// The leases as they are now.
pub(super) struct Leases<'a> {
    places: &'a Places,
    all: Guard<Arc<Vec<Lease>>>,
}

impl Leases<'_> {
    /// What is known of the server that tells of a place, and has since before that stamp.
    pub(super) fn of(&self, place: Place, stamp: Stamp) -> Option<&Heard> {
        let (term, since) = self.places.at(place);
        let lease = self.all.iter().find(|lease| lease.term == term).filter(|_| since <= stamp)?;
        Some(&lease.heard)
    }

    /// The lease of a place for what was read there with that stamp, if what it proves is less than `within` ago.
    pub(super) fn leased(&self, place: Place, stamp: Stamp, now: Monotonic, within: Duration) -> Option<Leased<'_>> {
        let Heard { proof, voucher, .. } = self.of(place, stamp)?;
        let since = match voucher {
            None => proof.sent,
            Some(voucher) => voucher.since(now, within)?.min(proof.sent),
        };
        (now.since(since) < within).then_some(Leased { proof, since })
    }

    /// Whether that is an answer of the server that tells of it, and has since before that stamp.
    pub(super) fn vouch_for(&self, origin: Origin, stamp: Stamp) -> bool {
        self.of(origin.place, stamp).is_some_and(|heard| heard.source == origin.source)
    }

    /// Whether there is any that is less than `within` old.
    pub(super) fn any(&self, now: Monotonic, within: Duration) -> bool {
        self.all.iter().any(|lease| now.since(lease.heard.proof.sent) < within)
    }
}

#[cfg(test)]
mod tests;
