//! The app's own tokens that sessions have, as far as this gateway has opened them: remembered under the session's id.
//!
//! That an entry is of a session's id is proof enough for a request: it has presented the cookie that hashes to it, and its
//! session was looked up before anybody asks here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, watch};

use super::rarely::Rarely;
use crate::clock::{Monotonic, WallTime};
use crate::custody::{AppToken, CustodyKeys, TokenRules, Withheld};
use crate::entropy::{Entropy, EntropyError};
use crate::session::{SessionId, SessionToken};

/// Bytes of opened tokens that are remembered.
const MOST_REMEMBERED: u64 = 96 << 20;
const USUAL_TOKENS: usize = 100_000;
/// What an entry takes beside its token, about.
const ENTRY: u64 = 200;
/// So many are refreshed at a time.
const MOST_REFRESHED: usize = 64;

/// The tokens of sessions, on one gateway.
pub(super) struct AppTokens {
    pub(super) keys: Arc<CustodyKeys>,
    pub(super) opened: Cache<SessionId, Arc<Opened>, ByLength>,
    /// The sessions whose token is being refreshed here, and who waits for it.
    pub(super) under_way: Mutex<HashMap<SessionId, watch::Receiver<Option<Refreshing>>>>,
    /// Whose token is being changed here.
    pub(super) in_turn: Mutex<HashSet<SessionId>>,
    pub(super) at_a_time: Semaphore,
    /// What this process is called where turns are taken, and how many it took.
    process: Box<str>,
    turns: AtomicU64,
    /// When it was said last that a token is too long, and that an answer had one.
    pub(super) too_long: Rarely,
    pub(super) withheld: Rarely,
}

/// A session's token, ready to be sent.
pub(super) struct Opened {
    /// `None`: the session has none.
    value: Option<HeaderValue>,
    /// What the browser is not to see of it; `None`: it has it.
    withheld: Option<Arc<Withheld>>,
    /// From when on it is to be refreshed.
    due: Option<WallTime>,
    expires: Option<WallTime>,
    /// When it is tried again (µs) while it is good, after it could not be refreshed or was being refreshed elsewhere.
    again: AtomicU64,
    /// The same when it is over: then it is waited for who refreshes it elsewhere.
    again_when_over: AtomicU64,
}

/// A token that goes to the app with a request.
pub(super) struct Sent {
    /// Of `Authorization`.
    pub(super) value: HeaderValue,
    /// What the answer is not to show of it.
    pub(super) withheld: Option<Arc<Withheld>>,
}

/// What became of refreshing a token.
#[derive(Clone)]
pub(super) enum Refreshing {
    /// There is another.
    Done(Arc<Opened>),
    /// It is being done elsewhere, and the old one is good.
    Elsewhere,
    /// The app refused: the session is over.
    Refused,
    /// The session is over, for another reason.
    Gone,
    /// It could not be had.
    Unavailable,
}

#[derive(Clone)]
pub(super) struct ByLength;

impl Weighter<SessionId, Arc<Opened>> for ByLength {
    fn weight(&self, _: &SessionId, opened: &Arc<Opened>) -> u64 {
        let withheld = opened.withheld.as_ref().map_or(0, |withheld| withheld.weight());
        ENTRY + (opened.value.as_ref().map_or(0, HeaderValue::len) + withheld) as u64
    }
}

impl Opened {
    fn of(token: Option<&AppToken>, rules: Option<&TokenRules>) -> Self {
        // How long before its end it is refreshed; `None`: it is not.
        let before = rules.and_then(|rules| rules.refresh.as_ref()).map(|refresh| refresh.before);
        let value = token.and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.access.expose_secret())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            value,
            withheld: token.zip(rules).and_then(|(token, rules)| Withheld::of(token, rules)).map(Arc::new),
            due: token.and_then(|token| token.due(before?)),
            expires: token.and_then(|token| token.expires),
            again: AtomicU64::new(0),
            again_when_over: AtomicU64::new(0),
        }
    }

    /// What is sent; `None`: the session has none.
    pub(super) fn sent(&self) -> Option<Sent> {
        let value = self.value.clone()?;
        Some(Sent { value, withheld: self.withheld.clone() })
    }

    pub(super) fn is_due(&self, now: WallTime) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    pub(super) fn is_over(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whether it may be tried again now.
    pub(super) fn may_be_tried(&self, is_over: bool, now: Monotonic) -> bool {
        let again = if is_over { &self.again_when_over } else { &self.again };
        now.as_micros() >= again.load(Ordering::Relaxed)
    }

    /// While it is good it is not tried before then.
    pub(super) fn rest_until(&self, when: Monotonic) {
        self.again.store(when.as_micros(), Ordering::Relaxed);
    }

    /// Nor, when it is over, before then.
    pub(super) fn rest_when_over_until(&self, when: Monotonic) {
        self.again_when_over.store(when.as_micros(), Ordering::Relaxed);
    }
}

impl AppTokens {
    pub(super) fn new(keys: Arc<CustodyKeys>, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self {
            keys,
            opened: Cache::with_weighter(USUAL_TOKENS, MOST_REMEMBERED, ByLength),
            under_way: Mutex::default(),
            in_turn: Mutex::default(),
            at_a_time: Semaphore::new(MOST_REFRESHED),
            process: SessionToken::generate(entropy)?.id().as_str().into(),
            turns: AtomicU64::new(0),
            too_long: Rarely::default(),
            withheld: Rarely::default(),
        })
    }

    /// A name for a turn that nobody else has.
    pub(super) fn next_holder(&self) -> String {
        format!("{}-{}", self.process, self.turns.fetch_add(1, Ordering::Relaxed))
    }

    /// Remembers the token of a session, or that it has none.
    pub(super) fn remember(&self, id: SessionId, token: Option<&AppToken>, rules: Option<&TokenRules>) -> Arc<Opened> {
        let opened = Arc::new(Opened::of(token, rules));
        self.opened.insert(id, opened.clone());
        opened
    }

    pub(super) fn forget(&self, id: SessionId) {
        self.opened.remove(&id);
    }
}
