//! Reads that may be kept, and touches that are told of: both announced before they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::{DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, UnitWeighter};

use super::places::{Heard, Origin, Place, Stamp};
use super::{Beside, Cache, Counts, Entry, OfTenant, Other, Over, counter_of};
use crate::clock::Monotonic;
use crate::session::{Ended, SessionId, SessionRecord, Standing, StoreTime, TenantId, TenantStanding, TokenStanding};

type Guard<'a> = PlaceholderGuard<
    'a,
    SessionId,
    Arc<Entry>,
    UnitWeighter,
    DefaultHashBuilder,
    DefaultLifecycle<SessionId, Arc<Entry>>,
>;

/// A read that may be kept. Announced before it is sent.
pub struct Reading<'a> {
    cache: &'a Cache,
    id: SessionId,
    guard: Option<Guard<'a>>,
    stamp: Stamp,
    began: Monotonic,
    counts: Option<Counts>,
    /// The counter of the user whom the session left.
    left: Option<u16>,
    /// The session's own.
    place: Place,
    origins: Vec<Origin>,
}

/// A read of a tenant's standing. Announced before it is sent.
#[derive(Clone, Copy)]
pub struct TenantReading {
    pub(super) stamp: Stamp,
    pub(super) began: Monotonic,
    pub(super) counter: u16,
    pub(super) count: u32,
    pub(super) place: Place,
}

/// The entry of a session that is about to be touched. A later one says more than the touch does.
pub struct Touching(Option<Arc<Entry>>);

impl Cache {
    /// Announces a read of a session that is there. `None` where changes there are not heard.
    #[must_use]
    pub fn begin(&self, id: SessionId, place: Place) -> Option<Reading<'_>> {
        let stamp = self.places.stamp();
        let leases = self.places.leases();
        let Heard { proof, .. } = leases.of(place, stamp)?;
        let began = self.clock.monotonic();
        // What is no answer makes room for one. Without a lease nobody knows; it may be one again.
        self.live.remove_if(&id, |entry| self.is_void(entry) || self.live_under(entry, proof, began).is_none());
        // Somebody else who reads it now will keep it.
        let guard = match self.live.get_value_or_guard(&id, Some(Duration::ZERO)) {
            GuardResult::Guard(guard) => Some(guard),
            GuardResult::Value(_) | GuardResult::Timeout => None,
        };
        Some(Reading { cache: self, id, guard, stamp, began, counts: None, left: None, place, origins: Vec::new() })
    }

    /// Announces a read of the tenant's standing under this key, which is there. `None` where changes there are not heard.
    #[must_use]
    pub fn begin_tenant(&self, key: &str, place: Place) -> Option<TenantReading> {
        let stamp = self.places.stamp();
        self.places.leases().of(place, stamp)?;
        let counter = counter_of(key.as_bytes());
        Some(TenantReading { stamp, began: self.clock.monotonic(), counter, count: self.count(counter), place })
    }

    /// Keeps a tenant's standing that was read, if who tells of it answered all; if it changed meanwhile it is no answer.
    pub fn keep_tenant(&self, tenant: &TenantId, read: TenantReading, standing: TenantStanding, origins: &[Origin]) {
        let leases = self.places.leases();
        if !origins.is_empty() && origins.iter().all(|origin| leases.vouch_for(*origin, read.stamp)) {
            self.tenants.insert(tenant.clone(), OfTenant { standing, read });
        }
    }

    /// Announces a touch, before it is sent.
    #[must_use]
    pub fn touching(&self, id: SessionId) -> Touching {
        Touching(self.live.peek(&id))
    }
}

impl Reading<'_> {
    /// The standings that a session of this record depends on, by their keys: its tenant's, its user's, and that of the user
    /// whom it left, who may be revoked late for what was in time. To be said before they, and the end of its line, are read.
    pub fn depends_on(&mut self, tenant: &str, user: &str, left: Option<&str>, record: &SessionRecord) {
        let (tenant, user) = (counter_of(tenant.as_bytes()), counter_of(user.as_bytes()));
        self.left = left.map(|left| counter_of(left.as_bytes()));
        let counts = Counts { sum: 0, tenant, user };
        self.counts = Some(Counts { sum: self.cache.sum(counts, Some(record), self.left), ..counts });
    }

    /// Where answers came from that the read goes by. All of them are to be said.
    pub fn came_from(&mut self, origins: &[Origin]) {
        for origin in origins {
            if !self.origins.contains(origin) {
                self.origins.push(*origin);
            }
        }
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

    /// Keeps what was read, unless it changed meanwhile, or anybody had a part in it who does not tell of changes there. What
    /// has a moment, or goes on from what has, depends on more than is heard of here, and is not kept.
    pub fn keep(self, standing: &Standing) {
        if !self.is_vouched_for() {
            return;
        }
        let Self { cache, id, guard, stamp, began: read, counts, left, place, origins } = self;
        let mut elsewhere = origins.iter().map(|origin| origin.place).filter(|other| *other != place);
        let tenant = elsewhere.next().unwrap_or(place);
        let also: Vec<Place> = elsewhere.filter(|other| *other != tenant).collect();
        let places = [place, tenant];
        let (live, hold) = match standing {
            Standing::Live(live) => (live, None),
            Standing::Held(held) => (&held.live, Some(held.hold.clone())),
            over @ (Standing::Absent | Standing::Ended(_)) => {
                // No guard: what is over, or was never made, never comes to be live.
                drop(guard);
                // What depends on more is rare, and asked for each time.
                if let Some(what) = Over::of(over).filter(|_| also.is_empty() && left.is_none()) {
                    cache.others.insert(id, Other { what, read, stamp, counts, places });
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
        let has_more = hold.is_some() || left.is_some() || !also.is_empty();
        let beside = has_more.then(|| Box::new(Beside { hold, left, places: also }));
        // Refused where the session was forgotten since the guard was taken: then it is used once.
        let _ = guard.insert(Arc::new(Entry { record, beside, touch_deadline, read, stamp, counts, places }));
    }

    /// Whether each answer is of who tells of changes there, and has since before the read began.
    fn is_vouched_for(&self) -> bool {
        let leases = self.cache.places.leases();
        let of_the_session = self.origins.iter().any(|origin| origin.place == self.place);
        of_the_session && self.origins.iter().all(|origin| leases.vouch_for(*origin, self.stamp))
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
