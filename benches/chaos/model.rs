//! What is known of every session, of what was to end it, and of the masters: noted as it happens, judged by the oracle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::places::{Parts, Places, slot_of_tenant};
use crate::troubles::{Of, Troubles, Unserved};

/// Since the start of the run.
pub type At = Duration;

/// `session.idle` of the gateways, and the granularity that goes with it: a thirtieth. A session in use is looked at in the
/// store once in half of that at the least, so with a shorter one hardly anything would be answered from the caches.
pub const IDLE: Duration = Duration::from_secs(150);
pub const GRANULARITY: Duration = Duration::from_secs(5);
/// How far the clocks of two servers may be apart.
pub const SKEW: Duration = Duration::from_secs(4);

pub struct Session {
    pub number: usize,
    pub tenant: usize,
    pub user: usize,
    pub cookie: String,
    pub id: String,
    /// The slot of its record.
    pub slot: u16,
    pub began: At,
    pub answered: At,
    /// When requests were accepted, by when each began: those that surely used it.
    pub uses: Vec<At>,
    /// When the last request was answered that may have used it.
    pub used_at_most: At,
    pub in_flight: usize,
    /// When it was refused first as one that is over: when the request began, and when it was answered.
    pub over: Option<(At, At)>,
    /// It is not used until it must have timed out.
    pub sleeps: bool,
    /// What happened to it, for who reads of a violation.
    pub history: Vec<(At, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Session(usize),
    User(usize, usize),
    Tenant(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not answered yet, or in no way that says what became of it.
    Unknown,
    Done {
        replicated: bool,
    },
}

/// A call that is to end what it says.
pub struct End {
    pub scope: Scope,
    /// Whether nobody is let in any more, either.
    pub shuts: bool,
    pub by: usize,
    pub what: &'static str,
    pub began: At,
    pub answered: Option<At>,
    pub outcome: Outcome,
}

/// A change of a tenant's status.
pub struct Shut {
    pub tenant: usize,
    pub shut: bool,
    pub began: At,
    pub answered: Option<At>,
    pub outcome: Outcome,
}

/// Another server came to be the master.
#[derive(Clone, Copy)]
pub struct Promotion {
    /// When a majority said so.
    pub at: At,
    /// Of which part of the store.
    pub part: usize,
    pub server: usize,
    /// It had all that its predecessor had then.
    pub had_all_of: At,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Came {
    Accepted,
    /// With that code.
    Refused(String),
    /// 503.
    Unavailable,
}

/// The store answered a gateway.
#[derive(Clone, Copy)]
pub struct Served {
    pub began: At,
    pub answered: At,
    /// Those of its parts that did.
    pub parts: Parts,
}

/// What a request was answered, and what was known when it was: judged a while later, when it is known who was the master.
pub struct Pending {
    pub session: usize,
    pub gateway: usize,
    pub began: At,
    pub answered: At,
    pub came: Came,
    pub over: Option<(At, At)>,
    /// For how long it had not been used, where no other request was under way.
    pub unused: Duration,
}

#[derive(Default)]
pub struct Counts {
    pub calls: BTreeMap<(&'static str, u16), usize>,
    pub faults: BTreeMap<String, usize>,
    /// Accepted after an end that no failover had to carry, until it was applied again.
    pub excused: usize,
    /// Made after a failover, and ended by what that had lost, when its gateway was back.
    pub ended_again: usize,
    /// The latest that one was accepted after an acknowledged, replicated end: when the request began.
    pub latest_yes: Duration,
    /// 503 to sessions and logins that needed a part of the store which was away, or whose gateway was.
    pub cut_off: usize,
    /// 503 to others from a gateway that the machine did not let answer in time.
    pub starved: usize,
    /// Ends that all replicas had, of which one was lost on the way of its slot to a master that failed.
    pub lost_on_their_way: usize,
}

#[derive(Default)]
pub struct Known {
    pub sessions: Vec<Session>,
    pub ends: Vec<End>,
    pub shuts: Vec<Shut>,
    pub promotions: Vec<Promotion>,
    pub pending: VecDeque<Pending>,
    /// Logins that got 503, by tenant.
    pub refused_logins: VecDeque<(usize, Unserved)>,
    /// By gateway: requests that its store answered.
    pub served: Vec<Vec<Served>>,
    pub places: Places,
    pub troubles: Troubles,
    /// What was broken and mended, and who became the master.
    pub timeline: Vec<(At, String)>,
    pub lost: Vec<String>,
    pub violations: Vec<String>,
    /// 503 to who needed nothing that was away.
    pub unserved: Vec<String>,
    /// The sessions of these.
    pub suspects: BTreeSet<usize>,
    pub counts: Counts,
}

pub struct Model {
    begin: Instant,
    known: Mutex<Known>,
}

impl Model {
    pub fn new() -> Self {
        Self { begin: Instant::now(), known: Mutex::default() }
    }

    pub fn now(&self) -> At {
        self.begin.elapsed()
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    pub fn tell(&self, what: String) {
        let now = self.now();
        println!("{:8.3} {what}", now.as_secs_f64());
        self.known().timeline.push((now, what));
    }

    /// Another server is the master.
    pub fn promoted(&self, promotion: Promotion) {
        let Promotion { at, part, server, had_all_of } = promotion;
        let behind = at.saturating_sub(had_all_of);
        let mut known = self.known();
        known.promotions.push(promotion);
        known.troubles.is_over(Of::Part(part), at);
        drop(known);
        self.tell(format!("server {server} is the master; it had all of {behind:?} ago"));
    }

    /// Something is broken.
    pub fn trouble(&self, of: Of) {
        let now = self.now();
        self.known().troubles.begins(of, now);
    }

    /// Notes that a call begins that is to end something. Answers its number.
    pub fn end_begins(&self, scope: Scope, by: usize, what: &'static str) -> usize {
        let began = self.now();
        let mut known = self.known();
        known.ends.push(End { scope, shuts: false, by, what, began, answered: None, outcome: Outcome::Unknown });
        known.ends.len() - 1
    }

    /// The same of one that shuts its tenant out.
    pub fn shutting_out_begins(&self, tenant: usize, by: usize) -> usize {
        let end = self.end_begins(Scope::Tenant(tenant), by, "a suspension of the tenant");
        self.known().ends[end].shuts = true;
        end
    }

    pub fn end_is_over(&self, end: usize, outcome: Outcome) {
        let now = self.now();
        let end = &mut self.known().ends[end];
        (end.answered, end.outcome) = (Some(now), outcome);
    }

    pub fn shut_begins(&self, tenant: usize, shut: bool) -> usize {
        let began = self.now();
        let mut known = self.known();
        known.shuts.push(Shut { tenant, shut, began, answered: None, outcome: Outcome::Unknown });
        known.shuts.len() - 1
    }

    pub fn shut_is_over(&self, shut: usize, outcome: Outcome) {
        let now = self.now();
        let shut = &mut self.known().shuts[shut];
        (shut.answered, shut.outcome) = (Some(now), outcome);
    }
}

impl Known {
    /// Where what an end writes is.
    pub fn slot_of(&self, scope: Scope) -> u16 {
        match scope {
            Scope::Session(number) => self.sessions[number].slot,
            Scope::User(tenant, _) | Scope::Tenant(tenant) => slot_of_tenant(tenant),
        }
    }
}

impl Promotion {
    /// Whether it is of who had that slot then.
    pub fn concerns(&self, slot: u16, places: &Places) -> bool {
        places.having(slot, self.at.saturating_sub(Duration::from_secs(1)), self.at).has(self.part)
    }

    /// Whether what was written into a slot then may not have been where it was promoted.
    pub fn lacks(&self, slot: u16, written: At, places: &Places) -> bool {
        self.had_all_of < written.max(places.came(slot, self.part, self.at)) && self.concerns(slot, places)
    }
}

impl Session {
    pub fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Session(number) => self.number == number,
            Scope::User(tenant, user) => (self.tenant, self.user) == (tenant, user),
            Scope::Tenant(tenant) => self.tenant == tenant,
        }
    }
}
