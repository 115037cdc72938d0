//! What one node of a cluster says of it: who the masters are, which slots each has, who follows it, and since which
//! election.
//!
//! Pure. `CLUSTER SLOTS` says who has which slots and where clients reach them, `CLUSTER NODES` who replicates whom and the
//! elections, also of nodes that failed. Nothing of it is believed by itself (see `ballot`): a node may be old, cut off, or of
//! another cluster. What is in no shape that a node answers in is refused whole.

use std::collections::BTreeMap;

use redis::{Pipeline, Value};

use super::answers::exactly;
use super::fault::{Fault, text, unexpected};
use super::slot::{SLOTS, Slot};
use crate::clock::Monotonic;
use crate::store::address::Node;

/// More nodes are no sensible answer: as many are advised against (Cluster specification).
const MOST: usize = 1000;
/// The letters of a name.
const ID_LENGTH: usize = 40;

/// What a node calls itself, wherever it is.
pub(super) type NodeId = Box<str>;

/// Slots that follow each other, both ends included.
pub(super) type Range = (u16, u16);

/// A master and what is its.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// Where it is reached.
    pub(super) node: Node,
    /// The number of the election that made it the master of its slots.
    pub(super) election: u64,
    pub(super) slots: Vec<Range>,
    /// Who may come to be the master after it, and what it is called by the master, if it has an address.
    pub(super) heirs: BTreeMap<NodeId, Option<Node>>,
}

/// What one node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) by: NodeId,
    /// When it was asked.
    pub(super) asked: Monotonic,
    /// The number of the last election that it knows of.
    pub(super) election: u64,
    /// The masters that have slots.
    pub(super) shards: BTreeMap<NodeId, Shard>,
    /// All nodes that have an address.
    pub(super) nodes: BTreeMap<NodeId, Node>,
}

/// Asks for it.
pub(super) fn question() -> Pipeline {
    let mut pipeline = redis::pipe();
    for what in ["SLOTS", "NODES", "INFO"] {
        pipeline.cmd("CLUSTER").arg(what);
    }
    pipeline
}

/// The answers to that, of a node that was reached there.
pub(super) fn word(asked: Monotonic, at: &Node, answers: Vec<Value>) -> Result<Word, Fault> {
    let [slots, nodes, info] = exactly(answers)?;
    let lines = lines(&read(nodes)?)?;
    let mut own = lines.iter().filter(|(_, line)| line.is_answering);
    let (Some((by, _)), None) = (own.next(), own.next()) else {
        return Err(Fault::garbled("a node of the cluster does not say which one it is"));
    };
    let by = by.clone();
    let (mut shards, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    for (id, line) in &lines {
        nodes.extend(line.called.clone().map(|node| (id.clone(), node)));
    }
    nodes.insert(by.clone(), at.clone());
    for (range, id, node) in owners(slots, at)? {
        let line = lines.get(&id).filter(|line| line.master.is_none());
        let line = line.ok_or_else(|| Fault::garbled("a node of the cluster says two things of one master"))?;
        nodes.insert(id.clone(), node.clone());
        let new = || Shard { node, election: line.election, slots: Vec::new(), heirs: BTreeMap::new() };
        shards.entry(id).or_insert_with(new).slots.push(range);
    }
    if shards.is_empty() {
        return Err(Fault::Unfit(String::from("no node of the cluster has any slots")));
    }
    for (id, line) in lines {
        if let Some(shard) = line.master.and_then(|master| shards.get_mut(&master)) {
            shard.heirs.insert(id, line.called);
        }
    }
    Ok(Word { by, asked, election: last_election(&read(info)?)?, shards, nodes })
}

/// A line of `CLUSTER NODES`.
struct Line {
    is_answering: bool,
    /// What others call it; nothing while it has no address.
    called: Option<Node>,
    /// Whom it follows; `None`: it is a master.
    master: Option<NodeId>,
    election: u64,
}

fn lines(text: &str) -> Result<BTreeMap<NodeId, Line>, Fault> {
    let mut lines = BTreeMap::new();
    for text in text.lines().filter(|line| !line.is_empty()) {
        let mut fields = text.split(' ');
        let mut field = || fields.next().ok_or_else(|| Fault::garbled("a node of the cluster is described in part"));
        let (id, place, flags, master) = (id(field()?)?, field()?, field()?, field()?);
        let (_ping, _pong, election) = (field()?, field()?, number(field()?)?);
        let has = |name: &str| flags.split(',').any(|flag| flag == name);
        // Not known yet, by a name that it will not keep.
        if has("handshake") {
            continue;
        }
        let master = match (has("master"), has("slave"), master) {
            (true, false, "-") => None,
            (false, true, "-") => continue,
            (false, true, master) => Some(self::id(master)?),
            _ => return Err(Fault::garbled("a node of the cluster is neither a master nor a replica")),
        };
        // `ip:port@bus`, and a name for it after a comma.
        let place = place.split(',').next().and_then(|place| place.split('@').next()).unwrap_or_default();
        let place = place.rsplit_once(':').and_then(|(host, port)| Node::of(host, port));
        let line = Line { is_answering: has("myself"), called: place, master, election };
        if lines.len() == MOST || lines.insert(id, line).is_some() {
            return Err(Fault::garbled("a node of the cluster names more nodes than there can be"));
        }
    }
    Ok(lines)
}

/// Who has which slots, and where that one is.
fn owners(slots: Value, at: &Node) -> Result<Vec<(Range, NodeId, Node)>, Fault> {
    let Value::Array(entries) = slots else { return Err(unexpected("a list of slots", &slots)) };
    if entries.len() > usize::from(SLOTS) {
        return Err(Fault::garbled("more slots than there are"));
    }
    let mut owners = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Array(parts) = entry else { return Err(unexpected("slots with their owner", &entry)) };
        // Replicas follow the master: `CLUSTER NODES` has those that failed, too.
        let mut parts = parts.into_iter();
        let (Some(first), Some(last), Some(Value::Array(owner))) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::garbled("slots without an owner"));
        };
        let (first, last) = (slot(&first)?, slot(&last)?);
        if first > last {
            return Err(Fault::garbled("slots that end before they begin"));
        }
        // More may follow the name.
        let mut owner = owner.into_iter();
        let (Some(host), Some(port), Some(name)) = (owner.next(), owner.next(), owner.next()) else {
            return Err(Fault::garbled("a master without a name"));
        };
        let host = string(host)?;
        let host = if host.is_empty() { at.host() } else { host.as_str() };
        let port = if let Value::Int(port) = port { u16::try_from(port).ok() } else { None };
        let node = port.and_then(|port| Node::new(host, port));
        let node = node.ok_or_else(|| Fault::garbled("a master without an address"))?;
        owners.push(((first, last), id(&string(name)?)?, node));
    }
    owners.sort_unstable_by_key(|(range, ..)| *range);
    let overlap = owners.windows(2).any(|pair| matches!(pair, [((_, last), ..), ((first, _), ..)] if first <= last));
    if overlap { Err(Fault::garbled("a slot with two owners")) } else { Ok(owners) }
}

fn slot(value: &Value) -> Result<u16, Fault> {
    let number = if let Value::Int(number) = value { u16::try_from(*number).ok() } else { None };
    number.and_then(Slot::numbered).map(Slot::number).ok_or_else(|| Fault::garbled("a slot that there is not"))
}

fn last_election(info: &str) -> Result<u64, Fault> {
    let field = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    number(field.unwrap_or_default().trim_end())
}

fn number(text: &str) -> Result<u64, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Fault::garbled("a node of the cluster does not say which election it knows of"))
}

fn id(text: &str) -> Result<NodeId, Fault> {
    let fits = text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text.into()) } else { Err(Fault::garbled("a node of the cluster has no name")) }
}

/// A text, which is one of its own kind in the newer protocol.
fn read(value: Value) -> Result<String, Fault> {
    match value {
        Value::VerbatimString { text, .. } => Ok(text),
        other => string(other),
    }
}

fn string(value: Value) -> Result<String, Fault> {
    String::from_utf8(text(value)?.unwrap_or_default())
        .map_err(|_| Fault::garbled("a node of the cluster says what is no text"))
}

impl Word {
    /// Whether both say the same of who has what, and since when.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let same = |(one, other): ((&NodeId, &Shard), (&NodeId, &Shard))| {
            (one.0, one.1.election, &one.1.slots) == (other.0, other.1.election, &other.1.slots)
        };
        self.shards.len() == other.shards.len() && self.shards.iter().zip(&other.shards).all(same)
    }

    /// The number of the election that made the last of its masters.
    pub(super) fn last_won(&self) -> u64 {
        self.shards.values().map(|shard| shard.election).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
