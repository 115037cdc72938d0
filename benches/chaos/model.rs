//! What is known of every session, of what was to end it, and of the masters: noted as it happens, judged by the oracle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

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
    pub server: usize,
    /// It had all that its predecessor had then.
    pub had_all_of: At,
}

/// What a request was answered, and what was known when it was: judged a while later, when it is known who was the master.
pub struct Pending {
    pub session: usize,
    pub gateway: usize,
    pub began: At,
    pub answered: At,
    /// The code of a refusal.
    pub refused: Option<String>,
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
}

#[derive(Default)]
pub struct Known {
    pub sessions: Vec<Session>,
    pub ends: Vec<End>,
    pub shuts: Vec<Shut>,
    pub promotions: Vec<Promotion>,
    pub pending: VecDeque<Pending>,
    /// By gateway: when requests began that its store answered.
    pub served: Vec<Vec<At>>,
    /// What was broken and mended, and who became the master.
    pub timeline: Vec<(At, String)>,
    pub lost: Vec<String>,
    pub violations: Vec<String>,
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

    /// Notes that a call begins that is to end something. Answers its number.
    pub fn end_begins(&self, scope: Scope, by: usize, what: &'static str) -> usize {
        let began = self.now();
        let mut known = self.known();
        known.ends.push(End { scope, by, what, began, answered: None, outcome: Outcome::Unknown });
        known.ends.len() - 1
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

impl Session {
    pub fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Session(number) => self.number == number,
            Scope::User(tenant, user) => (self.tenant, self.user) == (tenant, user),
            Scope::Tenant(tenant) => self.tenant == tenant,
        }
    }
}
