//! The fence: proof that what was written here outlives this server, which is also proof that it is still the master.
//!
//! Every [`BEAT`], and after each end and revocation, something is written on a connection of its own, and the server asked
//! to wait until its replicas have it. When all have it that may come to be the master, none of them was one when it was
//! sent: so this server was. Whoever waits for what was written before shares that.
//!
//! Where a replica does not answer, the word of a majority of Sentinels has to do, of whom none is older than the answers
//! that rely on it: each look-up asks the server, and what it ends may be lost with it. Not with `strict_failover`.

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
use super::discover::Discovery;
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
/// A replica that the Sentinels do not name any more may still have been promoted by their last word of it.
const REMEMBERED: Duration = Duration::from_secs(10);
/// More replicas than that are no sensible answer.
const MOST: usize = 64;

/// Who vouches for a server, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warrant {
    /// All that may succeed it had what was written then.
    Replicas(Monotonic),
    /// A majority of Sentinels named it then.
    Sentinels(Monotonic),
}

impl Warrant {
    pub(super) const fn since(self) -> Monotonic {
        match self {
            Self::Replicas(since) | Self::Sentinels(since) => since,
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
    /// Those, and those that the Sentinels name.
    known: BTreeSet<Node>,
}

/// The fence of one master.
pub(super) struct Fence {
    pub(super) discovery: Arc<Discovery>,
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
    Sentinels,
    Nobody,
}

impl Fence {
    pub(super) fn new(discovery: Arc<Discovery>, clock: SharedClock, key: String) -> Self {
        Self {
            discovery,
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
        let now = self.clock.monotonic();
        let holds = |since: Monotonic| now.since(since) < STALE_AT_MOST;
        let proof = self.proof.load();
        if let Some(proof) = proof.as_deref().filter(|proof| proof.epoch == lanes.epoch && holds(proof.sent)) {
            return Some(Warrant::Replicas(proof.sent));
        }
        if self.discovery.sentinels().is_strict() {
            return None;
        }
        let named = self.discovery.named()?;
        (lanes.node.as_ref() == Some(&named.master) && holds(named.since)).then_some(Warrant::Sentinels(named.since))
    }

    /// Why nobody vouches for it.
    pub(super) fn doubt(&self) -> Fault {
        let missing = self.heirs.lock().known.len();
        let strict =
            if self.discovery.sentinels().is_strict() { ", and store.strict_failover asks for that" } else { "" };
        Fault::Unproven(format!(
            "whether it is still the master is not proven: not all of {missing} replicas answer{strict}"
        ))
    }

    /// What an operator should know of a master that the Sentinels alone vouch for.
    pub(super) fn warning(&self, lanes: &Lanes) -> Option<String> {
        if let Some(Warrant::Sentinels(_)) = self.warrant(lanes) {
            let count = self.heirs.lock().known.len();
            let whom = if count == 0 {
                String::from("no replica is known")
            } else {
                format!("not all of {count} replicas answer")
            };
            return Some(format!(
                "{whom}: each request asks the store, and what is ended may be lost with the master (docs/redis.md, \"Sentinel\")"
            ));
        }
        let silent = self.discovery.silent();
        let names: Vec<String> = silent.keys().map(Node::to_string).collect();
        (!names.is_empty()).then(|| format!("Sentinels do not answer: {}", names.join(", ")))
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
        self.discovery.is_urgent(!all);
        for waits in waiting {
            // Whoever hung up needs no answer.
            let _ = waits.send(all);
        }
        Ok(())
    }

    /// How many replicas must have what is written, as far as the Sentinels say.
    fn expected(&self, node: &Node) -> Result<usize, Fault> {
        let named = self.discovery.named().filter(|named| named.master == *node);
        let named =
            named.ok_or_else(|| Fault::Deposed(self.discovery.named().map(|named| named.master.to_string())))?;
        let now = self.clock.monotonic();
        let mut heirs = self.heirs.lock();
        if heirs.of.as_ref() != Some(node) {
            *heirs = Heirs { of: Some(node.clone()), ..Heirs::default() };
        }
        heirs.seen.retain(|_, seen| now.since(*seen) < REMEMBERED);
        heirs.known = named.heirs.iter().chain(heirs.seen.keys()).cloned().collect();
        Ok(heirs.known.len())
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
        Ok(heirs.known.len())
    }

    /// Says it once when somebody else vouches, or nobody.
    pub(super) fn tell(&self, lanes: &Lanes) {
        let now = match self.warrant(lanes) {
            Some(Warrant::Replicas(_)) => Voucher::Replicas,
            Some(Warrant::Sentinels(_)) => Voucher::Sentinels,
            None => Voucher::Nobody,
        };
        if self.told.lock().replace(now) == Some(now) {
            return;
        }
        let master = lanes.node.as_ref().map(tracing::field::display);
        match now {
            Voucher::Replicas => tracing::info!(master, "all replicas vouch for the master"),
            Voucher::Sentinels => tracing::warn!(
                master,
                "not all replicas answer: the Sentinels alone vouch for the master, and each request asks the store"
            ),
            Voucher::Nobody => tracing::warn!(master, "nobody vouches for the master: requests get 503"),
        }
    }
}
