//! A tenant's index: sorted sets ("nodes") of at most some 128 entries each, which the server keeps in a compact form.
//!
//! A node that is full is split into sixteen, by the next four bits of the users' hashes, in one step; in its place stands
//! a mark, which is never taken away. So all entries of one user are in one node, whatever the size of the tenant: the
//! first on the way down that is not split. A gateway remembers which are, and learns of others by being told to go on.

use std::collections::HashSet;

use parking_lot::Mutex;
use redis::{Cmd, Value};

use super::commands::eval;
use super::entry::{Entry, SPLIT, UserHash};
use super::fault::{Fault, number, text, unexpected};
use super::keys::Keys;
use super::lane::Lane;
use super::scripts;
use crate::session::{SessionId, SessionRecord, TenantId};

/// Entries of a node that is to be split.
const FULL: i64 = 128;
/// Splits on the way to a node. Sixteen to the sixth nodes are enough for any tenant.
const DEEPEST: usize = 6;
/// Nodes that are remembered to be split.
const MOST: usize = 100_000;
/// Entries looked at in one step.
const STEP: usize = 200;

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// The tenants' nodes that are split, as far as this gateway was told.
#[derive(Default)]
pub(super) struct Splits(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The connection on which it was told: another may lead to a server that knows of none.
    epoch: u64,
    nodes: HashSet<String>,
}

impl Splits {
    /// The node of a user, as far as is known.
    fn leaf(&self, keys: &Keys, tenant: &TenantId, user: UserHash, epoch: u64) -> Node {
        let known = self.0.lock();
        let mut node = Node::root(keys, tenant);
        if known.epoch == epoch {
            while node.depth < DEEPEST && known.nodes.contains(&node.key) {
                node = node.child(digit(user, node.depth));
            }
        }
        node
    }

    fn learn(&self, node: &Node, epoch: u64) {
        let mut known = self.0.lock();
        if known.epoch != epoch || known.nodes.len() >= MOST {
            *known = Known { epoch, nodes: HashSet::new() };
        }
        known.nodes.insert(node.key.clone());
    }
}

/// One of a tenant's sorted sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) key: String,
    depth: usize,
}

impl Node {
    pub(super) fn root(keys: &Keys, tenant: &TenantId) -> Self {
        Self { key: keys.index(tenant), depth: 0 }
    }

    fn child(&self, digit: usize) -> Self {
        let mut key = self.key.clone();
        key.push(DIGITS[digit % DIGITS.len()]);
        Self { key, depth: self.depth + 1 }
    }

    fn children(&self) -> impl DoubleEndedIterator<Item = Self> + '_ {
        (0..DIGITS.len()).map(|digit| self.child(digit))
    }

    /// Whether entries with a hash of at least this may be in it, or below.
    fn reaches(&self, hash: u64) -> bool {
        let last = self.key.chars().rev().take(self.depth).collect::<Vec<_>>().into_iter().rev();
        let path = last.fold(0_u64, |path, digit| path << 4 | u64::from(digit.to_digit(16).unwrap_or_default()));
        let bits = 4 * self.depth;
        bits == 0 || path >= hash >> (64 - bits)
    }
}

/// The digit of a user's hash that says into which child its entries go.
fn digit(user: UserHash, depth: usize) -> usize {
    let byte = usize::from(user.get(depth / 2).copied().unwrap_or_default());
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// The indexes of tenants, reached by one connection.
#[derive(Clone, Copy)]
pub(super) struct Indexes<'a> {
    pub(super) keys: &'a Keys,
    pub(super) splits: &'a Splits,
    pub(super) epoch: u64,
}

impl<'a> Indexes<'a> {
    /// One tenant's.
    pub(super) const fn of(self, tenant: &'a TenantId) -> Index<'a> {
        let Self { keys, splits, epoch } = self;
        Index { keys, splits, tenant, epoch }
    }
}

/// The index of one tenant, reached by one connection.
pub(super) struct Index<'a> {
    pub(super) keys: &'a Keys,
    pub(super) splits: &'a Splits,
    pub(super) tenant: &'a TenantId,
    pub(super) epoch: u64,
}

impl Index<'_> {
    /// The node of a user, as far as is known.
    pub(super) fn leaf(&self, user: UserHash) -> Node {
        self.splits.leaf(self.keys, self.tenant, user, self.epoch)
    }

    /// The node where to go on, if this one turned out to be split.
    pub(super) fn below(&self, node: &Node, user: UserHash) -> Result<Node, Fault> {
        self.splits.learn(node, self.epoch);
        if node.depth >= DEEPEST {
            return Err(Fault::garbled("an index is deeper than any that was written"));
        }
        Ok(node.child(digit(user, node.depth)))
    }

    /// Splits a node that has become full. It may stay as it is: one user's entries cannot be parted.
    pub(super) async fn relieve(&self, lane: &Lane, node: &Node, entries: i64) {
        // Again and again, because it is counted now and then; not each time, because it may be of no use.
        if entries < FULL || entries % FULL >= FULL / 2 || node.depth >= DEEPEST {
            return;
        }
        let keys: Vec<String> = [node.key.clone()].into_iter().chain(node.children().map(|child| child.key)).collect();
        let mut split = eval(scripts::SPLIT, &keys);
        split.arg(node.depth);
        let mut pipeline = redis::pipe();
        pipeline.add_command(split);
        match lane.ask(&pipeline).await {
            Ok(_) => {}
            // The next one that finds it full tries again.
            Err(fault) => tracing::debug!(%fault, "an index could not be split"),
        }
    }

    /// The command that takes an entry out of the node where it is believed to be; it answers 0 where it is not.
    pub(super) fn take_out(&self, entry: &Entry) -> Cmd {
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.leaf(entry.user).key).arg(&entry.encode()[..]);
        remove
    }

    /// Takes an entry out wherever it is. For when it was not where it was believed to be.
    pub(super) async fn take_out_below(&self, lane: &Lane, entry: &Entry) -> Result<(), Fault> {
        let node = self.find(lane, entry.user).await?;
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZREM").arg(&node.key).arg(&entry.encode()[..]);
        lane.ask(&pipeline).await.map(drop)
    }

    /// The node of a user, as the server has it.
    pub(super) async fn find(&self, lane: &Lane, user: UserHash) -> Result<Node, Fault> {
        let mut node = self.leaf(user);
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("ZSCORE").arg(&node.key).arg(SPLIT);
            if lane.ask(&pipeline).await? == [Value::Nil] {
                return Ok(node);
            }
            node = self.below(&node, user)?;
        }
    }
}

/// The entry of a session.
pub(super) fn entry_of(keys: &Keys, id: SessionId, record: &SessionRecord) -> Entry {
    Entry { user: keys.user_hash(&record.principal.user), created: record.created, id }
}

/// A walk through nodes, in the order of the users' hashes, in steps that never block the server. It misses no entry that
/// stays, also where a node is split meanwhile.
pub(super) struct Nodes {
    /// What is left, the next one last.
    left: Vec<Node>,
    /// Only entries of users whose hash is at least this are wanted.
    from: u64,
    /// How far the scan of the next one came.
    cursor: Vec<u8>,
    /// Which server said so.
    server: u64,
    /// The nodes that are done, and were not split.
    leaves: Vec<String>,
}

/// What one step found.
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) entries: Vec<Entry>,
    /// Whether the node is done, with all below it: what comes is of a later one.
    pub(super) ends_node: bool,
}

impl Nodes {
    pub(super) fn below(node: Node, from: u64) -> Self {
        Self { left: vec![node], from, cursor: vec![b'0'], server: 0, leaves: Vec::new() }
    }

    /// The nodes that had the entries.
    pub(super) fn into_leaves(self) -> Vec<String> {
        self.leaves
    }

    /// Some entries, perhaps none; `None` at the end.
    pub(super) async fn step(&mut self, lane: &Lane) -> Result<Option<Found>, Fault> {
        while self.left.last().is_some_and(|node| !node.reaches(self.from)) {
            self.left.pop();
        }
        let Some(node) = self.left.last().cloned() else { return Ok(None) };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZSCAN").arg(&node.key).arg(&self.cursor).arg("COUNT").arg(STEP);
        // Asked after it: what was moved away meanwhile is below.
        pipeline.cmd("ZSCORE").arg(&node.key).arg(SPLIT);
        let (server, answers) = lane.ask_whom(&pipeline).await?;
        if self.server != server && self.cursor != b"0" {
            // Another one makes something else of how far that is: from the beginning.
            self.cursor = vec![b'0'];
            return Ok(Some(Found { node, entries: Vec::new(), ends_node: false }));
        }
        self.server = server;
        let [page, is_split] = super::answers::exactly(answers)?;
        let (cursor, entries) = scanned(page)?;
        let mut ends_node = cursor == b"0";
        if ends_node {
            self.left.pop();
            if is_split != Value::Nil && node.depth < DEEPEST {
                self.left.extend(node.children().rev());
                ends_node = false;
            } else {
                self.leaves.push(node.key.clone());
            }
        }
        self.cursor = cursor;
        let entries = entries.into_iter().filter(|entry| entry.place().0 >= self.from).collect();
        Ok(Some(Found { node, entries, ends_node }))
    }
}

/// The answer of `ZSCAN`: the next cursor, and entries with their scores. What is no entry is not ours, or the mark.
fn scanned(value: Value) -> Result<(Vec<u8>, Vec<Entry>), Fault> {
    let Value::Array(parts) = value else { return Err(unexpected("a page of an index", &value)) };
    let [cursor, entries] = super::answers::exactly(parts)?;
    let cursor = text(cursor)?.ok_or_else(|| Fault::garbled("a page of an index has no cursor"))?;
    let Value::Array(members) = entries else { return Err(unexpected("entries of an index", &entries)) };
    let mut entries = Vec::with_capacity(members.len() / 2);
    for member in members.into_iter().step_by(2) {
        entries.extend(text(member)?.as_deref().and_then(Entry::decode));
    }
    Ok((cursor, entries))
}

/// Whether a script answers that its node is split.
pub(super) fn is_split(answer: &[Value]) -> bool {
    matches!(answer.first().map(number), Some(Ok(-1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_way_down_and_a_node_knows_what_is_below_it() {
        let keys = Keys::under("sg:");
        let tenant = TenantId::parse("acme").expect("visible ASCII");
        let splits = Splits::default();
        let index = Index { keys: &keys, splits: &splits, tenant: &tenant, epoch: 1 };
        let user: UserHash = 0x3fa0_0000_0000_0001_u64.to_be_bytes();
        let root = index.leaf(user);
        let child = index.below(&root, user).expect("not deep");
        let below = index.below(&child, user).expect("not deep");
        assert!(child.key.ends_with(":3") && below.key.ends_with(":3f"), "{child:?} {below:?}");
        assert_eq!(index.leaf(user), below);
        // Another connection may lead to another server.
        let other = Index { epoch: 2, ..index };
        assert_eq!(other.leaf(user), root);
        for (hash, reached) in [(0, true), (0x3fff_ffff_ffff_ffff, true), (0x4000_0000_0000_0000, false)] {
            assert_eq!(below.reaches(hash), reached, "{hash:x}");
            assert!(root.reaches(hash));
        }
        assert!(root.children().next().is_some_and(|first| !first.reaches(0x1000_0000_0000_0000)));
    }
}
