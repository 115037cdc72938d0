//! What was broken when, and whether a 503 has its reason in it. Of a store of several parts only who needs the part that is
//! away may notice.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{At, Known};
use crate::places::{Parts, slot_of_tenant};

/// A part that has another master serves everybody so soon: a second, and what we see later than it was.
const SERVED_WITHIN: Duration = Duration::from_millis(1500);
/// The same of one whose master comes back, of a gateway that was away, and of masters that had no majority: they are tried
/// again once in a second, and not before the last attempt has failed.
const BACK_WITHIN: Duration = Duration::from_secs(3);
/// An election is seen so much later than it was, at the most.
const SEEN_LATE: Duration = Duration::from_millis(500);
/// It is noticed so late that a part is away; until then new sessions are meant for it.
const NOTICED_WITHIN: Duration = Duration::from_millis(1500);
/// A pause between two sights of the same trouble.
const SEEN_AGAIN: Duration = Duration::from_millis(200);

/// What is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The master of a part.
    Part(usize),
    /// Its replica: while somebody is elected nobody vouches for the master.
    Replica(usize),
    /// A gateway, or its ways to the store.
    Gateway(usize),
    /// A gateway's way to a part.
    Way(usize, usize),
    All,
}

struct Trouble {
    of: Of,
    from: At,
    until: At,
}

#[derive(Default)]
pub struct Troubles {
    all: Vec<Trouble>,
}

impl Troubles {
    /// Until it is over.
    pub fn begins(&mut self, of: Of, from: At) {
        self.all.push(Trouble { of, from, until: At::MAX });
    }

    /// Of one that was not seen well since then.
    pub fn was_seen(&mut self, of: Of, from: At, until: At) {
        let again = |other: &&mut Trouble| other.of == of && other.until != At::MAX && other.until + SEEN_AGAIN >= from;
        match self.all.iter_mut().rev().take(20).find(again) {
            Some(known) => known.until = known.until.max(until),
            None => self.all.push(Trouble { of, from, until }),
        }
    }

    pub fn is_over(&mut self, of: Of, until: At) {
        let those = self.all.iter_mut().filter(|trouble| trouble.of == of && trouble.until == At::MAX);
        those.for_each(|trouble| trouble.until = until);
    }

    pub fn are_over(&mut self, until: At) {
        self.all.iter_mut().filter(|trouble| trouble.until == At::MAX).for_each(|trouble| trouble.until = until);
    }
}

/// A request that got 503.
#[derive(Clone, Copy)]
pub struct Unserved {
    pub gateway: usize,
    pub began: At,
    pub answered: At,
}

impl Known {
    /// What was away between these times, or so short before that it may still have been.
    fn troubles(&self, from: At, to: At) -> impl Iterator<Item = &Trouble> {
        self.troubles.all.iter().filter(move |trouble| {
            let lasts = if self.is_followed(trouble) { SERVED_WITHIN } else { BACK_WITHIN };
            trouble.from <= to && trouble.until.saturating_add(lasts) >= from
        })
    }

    /// Whether another master was elected.
    fn is_followed(&self, trouble: &Trouble) -> bool {
        let Of::Part(part) = trouble.of else { return false };
        let during = |at: At| at >= trouble.from && at <= trouble.until.saturating_add(SEEN_LATE);
        self.promotions.iter().any(|promotion| promotion.part == part && during(promotion.at))
    }

    /// Whether a gateway was cut off from the store then, or not long back.
    pub fn is_cut_off(&self, gateway: usize, at: At) -> bool {
        self.troubles(at, at).any(|trouble| trouble.of == Of::Gateway(gateway))
    }

    /// Whether a session may have got 503 then.
    pub fn may_be_away(&self, session: usize, asked: Unserved) -> bool {
        let session = &self.sessions[session];
        let having = |slot: u16| self.places.having(slot, asked.began, asked.answered);
        self.are_away(having(session.slot).and(having(slot_of_tenant(session.tenant))), asked)
    }

    /// Whether a login of that tenant may have.
    pub fn may_not_log_in(&self, tenant: usize, asked: Unserved) -> bool {
        let noticed = |from: At| from + NOTICED_WITHIN < asked.began;
        let unnoticed = self.troubles(asked.began, asked.answered).any(|trouble| !noticed(trouble.from));
        unnoticed || self.are_away(self.places.having(slot_of_tenant(tenant), asked.began, asked.answered), asked)
    }

    fn are_away(&self, parts: Parts, asked: Unserved) -> bool {
        let elected = || {
            let since = asked.began.saturating_sub(BACK_WITHIN);
            self.promotions.iter().any(|other| other.at >= since && other.at <= asked.answered + BACK_WITHIN)
        };
        // Where its replica cannot, a majority of the masters has to vouch for one.
        let has_no_majority = || {
            let those = self.troubles(asked.began, asked.answered).filter_map(|trouble| match trouble.of {
                Of::Part(part) => Some(part),
                _ => None,
            });
            2 * those.collect::<BTreeSet<_>>().len() > self.places.count()
        };
        self.troubles(asked.began, asked.answered).any(|trouble| match trouble.of {
            Of::Part(part) => parts.has(part),
            Of::Replica(part) => parts.has(part) && (elected() || has_no_majority()),
            Of::Gateway(gateway) => gateway == asked.gateway,
            Of::Way(gateway, part) => gateway == asked.gateway && parts.has(part),
            Of::All => true,
        })
    }
}
