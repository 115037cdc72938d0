//! The fence: proof that what was written here outlives this server, which is also proof that it is still the master.
//!
//! Every [`BEAT`], and after each end and revocation, something is written on a connection of its own, and the server asked
//! to wait until its replicas have it. When all have it that may come to be the master, none of them was one when it was
//! sent: so this server was. Whoever waits for what was written before shares that.
//!
//! Where a replica does not answer, the word of a majority of those has to do who say who the master is, Sentinels or the
//! masters of a cluster, of whom none is older than the answers that rely on it: each look-up asks the server, and what it
//! ends may be lost with it. Not with `strict_failover`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::answers::{exactly, time};
use super::commands::eval;
use super::electors::Electors;
use super::fault::{Fault, number, text, unexpected};
use super::lane::Lanes;
use super::scripts;
use crate::clock::{Monotonic, SharedClock};
use crate::store::STALE_AT_MOST;
use crate::store::address::Node;

/// Between two proofs.
pub(super) const BEAT: Duration = Duration::from_millis(250);
/// How long the server waits for its replicas (ms).
const WAIT_MILLIS: u64 = 150;
/// How long the proof of an end is waited for: one round under way, and the next.
const PATIENCE: Duration = Duration::from_secs(1);
/// A replica that the electors do not name any more may still have been promoted by their last word of it.
const REMEMBERED: Duration = Duration::from_secs(10);
/// More replicas than that are no sensible answer.
const MOST: usize = 64;

/// Who vouches for a server, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warrant {
    /// All that may succeed it had what was written then.
    Replicas(Monotonic),
    /// A majority of the electors named it then.
    Electors(Monotonic),
}

impl Warrant {
    pub(super) const fn since(self) -> Monotonic {
        match self {
            Self::Replicas(since) | Self::Electors(since) => since,
        }
    }
}

struct Proof {
    epoch: u64,
    sent: Monotonic,
}

/// The replicas that may come to be the master.
#[derive(Default)]
struct Heirs {
    /// Whose they are.
    of: Option<Node>,
    /// Those that the master had, and when.
    seen: BTreeMap<Node, Monotonic>,
    /// Those, and those that the electors name.
    known: BTreeSet<Node>,
    /// How many more they name that have no address now.
    elsewhere: usize,
}

impl Heirs {
    fn count(&self) -> usize {
        self.known.len() + self.elsewhere
    }
}

/// The fence of one master.
pub(super) struct Fence<E> {
    pub(super) electors: Arc<E>,
    clock: SharedClock,
    /// The key that is written.
    key: String,
    proof: ArcSwapOption<Proof>,
    heirs: Mutex<Heirs>,
    waiting: Mutex<Vec<oneshot::Sender<bool>>>,
    ring: Notify,
    /// Who vouched when that was told last.
    told: Mutex<Option<Voucher>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Voucher {
    Replicas,
    Electors,
    Nobody,
}

impl<E: Electors> Fence<E> {
    pub(super) fn new(electors: Arc<E>, clock: SharedClock, key: String) -> Self {
        Self {
            electors,
            clock,
            key,
            proof: ArcSwapOption::empty(),
            heirs: Mutex::default(),
            waiting: Mutex::default(),
            ring: Notify::new(),
            told: Mutex::new(None),
        }
    }

    pub(super) fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Who vouches now for the server of these connections.
    pub(super) fn warrant(&self, lanes: &Lanes) -> Option<Warrant> {
        let proven = self.proven(lanes).map(Warrant::Replicas);
        proven.or_else(|| self.named(lanes).map(Warrant::Electors))
    }

    /// Since when anybody does.
    pub(super) fn vouched(&self, lanes: &Lanes) -> Option<Monotonic> {
        self.proven(lanes).max(self.named(lanes))
    }

    /// The same, where less than `within` before `now` will do: the replicas, who are asked more often, are looked at first.
    pub(super) fn vouched_within(&self, lanes: &Lanes, now: Monotonic, within: Duration) -> Option<Monotonic> {
        let is_recent = |since: &Monotonic| now.since(*since) < within;
        self.proven(lanes).filter(is_recent).or_else(|| self.named(lanes).filter(is_recent))
    }

    fn proven(&self, lanes: &Lanes) -> Option<Monotonic> {
        let proof = self.proof.load();
        let sent = proof.as_deref().filter(|proof| proof.epoch == lanes.epoch)?.sent;
        self.holds(sent).then_some(sent)
    }

    fn named(&self, lanes: &Lanes) -> Option<Monotonic> {
        if self.electors.is_strict() {
            return None;
        }
        let since = self.electors.since(lanes.node.as_ref()?)?;
        self.holds(since).then_some(since)
    }

    fn holds(&self, since: Monotonic) -> bool {
        self.clock.monotonic().since(since) < STALE_AT_MOST
    }

    /// Why nobody vouches for it.
    pub(super) fn doubt(&self) -> Fault {
        let missing = self.heirs.lock().count();
        let strict = if self.electors.is_strict() { ", and store.strict_failover asks for that" } else { "" };
        Fault::Unproven(format!(
            "whether it is still the master is not proven: not all of {missing} replicas answer{strict}"
        ))
    }

    /// What an operator should know of a master that the electors alone vouch for.
    pub(super) fn warning(&self, lanes: &Lanes) -> Option<String> {
        let Some(Warrant::Electors(_)) = self.warrant(lanes) else { return None };
        let count = self.heirs.lock().count();
        let whom = if count == 0 {
            String::from("no replica is known")
        } else {
            format!("not all of {count} replicas answer")
        };
        Some(format!(
            "{whom}: each request asks the store, and what is ended may be lost with the master (docs/redis.md, \"Sentinel\")"
        ))
    }

    /// Those that may follow the master, as they were known when it last proved itself.
    pub(super) fn heirs(&self) -> BTreeSet<Node> {
        self.heirs.lock().known.clone()
    }

    /// Whether what was written until now is where it outlives the master.
    pub(super) async fn has_all(&self) -> bool {
        let (tell, told) = oneshot::channel();
        self.waiting.lock().push(tell);
        self.ring.notify_one();
        matches!(timeout(PATIENCE, told).await, Ok(Ok(true)))
    }

    /// Nobody can tell.
    pub(super) fn give_up(&self) {
        self.waiting.lock().clear();
    }

    /// Until the next proof is due, or somebody waits for one.
    pub(super) async fn due(&self) {
        let _ = timeout(BEAT, self.ring.notified()).await;
    }

    /// Asks for the proof once.
    pub(super) async fn round(&self, lanes: &Lanes) -> Result<(), Fault> {
        let (Some(node), Some(lane)) = (&lanes.node, &lanes.fence) else { return Ok(()) };
        // What they wait for was written before this is sent.
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let expected = self.expected(node)?;
        let sent = self.clock.monotonic();
        let mut pipeline = redis::pipe();
        // Also by a full server, or the wait would be for nothing.
        let mut write = eval(scripts::WRITE_BEAT, std::slice::from_ref(&self.key));
        write.arg(1);
        pipeline.add_command(write).cmd("ROLE");
        pipeline.cmd("WAIT").arg(expected.max(1)).arg(WAIT_MILLIS);
        let [written, role, acknowledged] = exactly(lane.ask(&pipeline).await?)?;
        time(written)?;
        let expected = self.join(role, sent)?;
        let acknowledged = number(&acknowledged)?;
        let all = expected > 0 && usize::try_from(acknowledged).is_ok_and(|count| count >= expected);
        if all {
            self.proof.store(Some(Arc::new(Proof { epoch: lanes.epoch, sent })));
        }
        self.electors.is_urgent(!all);
        for waits in waiting {
            // Whoever hung up needs no answer.
            let _ = waits.send(all);
        }
        Ok(())
    }

    /// How many replicas must have what is written, as far as the electors say.
    fn expected(&self, node: &Node) -> Result<usize, Fault> {
        let said = self.electors.say(node).ok_or_else(|| self.electors.another(node))?;
        let now = self.clock.monotonic();
        let mut heirs = self.heirs.lock();
        if heirs.of.as_ref() != Some(node) {
            *heirs = Heirs { of: Some(node.clone()), ..Heirs::default() };
        }
        heirs.seen.retain(|_, seen| now.since(*seen) < REMEMBERED);
        heirs.known = said.heirs.iter().chain(heirs.seen.keys()).cloned().collect();
        heirs.elsewhere = said.elsewhere;
        Ok(heirs.count())
    }

    /// The same with those that the master itself has.
    fn join(&self, role: Value, now: Monotonic) -> Result<usize, Fault> {
        let Value::Array(parts) = role else { return Err(unexpected("a role", &role)) };
        let mut parts = parts.into_iter();
        let what = text(parts.next().unwrap_or(Value::Nil))?;
        if what.as_deref() != Some(b"master") {
            return Err(Fault::Refused { code: String::from("READONLY"), text: String::new() });
        }
        let replicas = match parts.nth(1) {
            Some(Value::Array(replicas)) if replicas.len() <= MOST => replicas,
            _ => return Err(Fault::garbled("a master does not say which replicas it has")),
        };
        let mut heirs = self.heirs.lock();
        for replica in replicas {
            let Value::Array(parts) = replica else { return Err(unexpected("a replica", &replica)) };
            let [host, port, _] = exactly(parts)?;
            let word = |value| Ok::<_, Fault>(String::from_utf8(text(value)?.unwrap_or_default()).unwrap_or_default());
            let node = Node::of(&word(host)?, &word(port)?);
            let node = node.ok_or_else(|| Fault::garbled("a replica without an address"))?;
            heirs.seen.insert(node.clone(), now);
            heirs.known.insert(node);
        }
        Ok(heirs.count())
    }

    /// Says it once when somebody else vouches, or nobody.
    pub(super) fn tell(&self, lanes: &Lanes) {
        let now = match self.warrant(lanes) {
            Some(Warrant::Replicas(_)) => Voucher::Replicas,
            Some(Warrant::Electors(_)) => Voucher::Electors,
            None => Voucher::Nobody,
        };
        if self.told.lock().replace(now) == Some(now) {
            return;
        }
        let master = lanes.node.as_ref().map(tracing::field::display);
        match now {
            Voucher::Replicas => tracing::info!(master, "all replicas vouch for the master"),
            Voucher::Electors => tracing::warn!(
                master,
                "not all replicas answer: the {} alone vouch for the master, and each request asks the store",
                E::WHO
            ),
            Voucher::Nobody => tracing::warn!(master, "nobody vouches for the master: requests get 503"),
        }
    }
}
