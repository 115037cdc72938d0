//! What the words of a cluster's nodes come to: the layout that a majority of its masters names.
//!
//! Pure. A node votes if it is a master with slots in what it votes for. Of what is named by one majority and then by
//! another the later election counts, and only if most of those who were known before go along: nobody makes up a cluster
//! alone, and the smaller part of one decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::topology::{NodeId, Shard, Word};
use crate::clock::Monotonic;
use crate::store::address::Node;

/// An older word is none: its node is asked each second.
const FRESH: Duration = Duration::from_secs(3);
/// An election that nobody is known to have won is over after twice the time that a node may be silent, which is 15 s
/// unless it is configured.
const ELECTION: Duration = Duration::from_secs(35);

/// Who has what, by a majority of the masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shards: BTreeMap<NodeId, Shard>,
    /// Since when no other master was elected: a majority of those who elect was asked then, or later, and knew of no
    /// election that it might still come from. `None` while they do.
    pub(super) since: Option<Monotonic>,
    /// The same, whatever they know of elections: of a master that nobody can follow it proves as much.
    pub(super) agreed: Option<Monotonic>,
    /// The last election that any of them knows of, and when it was heard of first.
    pub(super) election: (u64, Monotonic),
    pub(super) voters: usize,
    pub(super) votes: usize,
}

/// Why there is no layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoLayout {
    /// Too few masters answer for a majority.
    TooFew { heard: usize, of: usize },
    /// They say different things.
    Disagree,
    /// They say what was so before another election.
    Older,
    /// Most of those who were known before have no part in it.
    Strangers,
}

impl fmt::Display for NoLayout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { heard, of } => write!(formatter, "{heard} of {of} masters answer, which is no majority"),
            Self::Disagree => formatter.write_str("no majority of the masters says the same of who has which slots"),
            Self::Older => formatter.write_str("the masters say who had which slots before an election that was seen"),
            Self::Strangers => formatter.write_str("the masters are not of the cluster that was known before"),
        }
    }
}

impl Layout {
    /// Whether the same masters have the same slots, and are where they were.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let part = |layout: &Self| -> Vec<_> {
            let part =
                |(id, shard): (&NodeId, &Shard)| (id.clone(), shard.node.clone(), shard.election, shard.slots.clone());
            layout.shards.iter().map(part).collect()
        };
        part(self) == part(other)
    }
}

/// Who has what by these words. `before` is who had it.
pub(super) fn decide(
    words: &BTreeMap<NodeId, Word>,
    now: Monotonic,
    before: Option<&Layout>,
) -> Result<Layout, NoLayout> {
    let fresh: Vec<&Word> = words.values().filter(|word| now.since(word.asked) < FRESH).collect();
    let mut named: Vec<(&Word, Vec<&Word>)> = Vec::new();
    let (mut heard, mut of) = (0, 0);
    for word in &fresh {
        let votes = |other: &&&Word| word.shards.contains_key(&other.by);
        (heard, of) = (heard.max(fresh.iter().filter(votes).count()), of.max(word.shards.len()));
        if named.iter().any(|(other, _)| other.agrees_with(word)) {
            continue;
        }
        let ayes: Vec<&Word> = fresh.iter().filter(votes).filter(|other| other.agrees_with(word)).copied().collect();
        if ayes.len() * 2 > word.shards.len() {
            named.push((*word, ayes));
        }
    }
    let mut doubt = if heard * 2 <= of { NoLayout::TooFew { heard, of } } else { NoLayout::Disagree };
    if let Some(before) = before {
        named.retain(|(word, ayes)| follows(before, word, ayes).map_err(|why| doubt = why).is_ok());
    }
    match named.as_slice() {
        [(word, ayes)] => Ok(layout(word, ayes, now, before)),
        [] => Err(doubt),
        // Two clusters, or a node that was set up anew by itself.
        _ => Err(NoLayout::Disagree),
    }
}

/// Whether it may be what came after that.
fn follows(before: &Layout, word: &Word, ayes: &[&Word]) -> Result<(), NoLayout> {
    if word.last_won() < before.shards.values().map(|shard| shard.election).max().unwrap_or_default() {
        return Err(NoLayout::Older);
    }
    let goes_along =
        |(id, shard): &(&NodeId, &Shard)| ayes.iter().any(|aye| aye.by == **id || shard.heirs.contains_key(&aye.by));
    let most = before.shards.iter().filter(goes_along).count() * 2 > before.shards.len();
    if most { Ok(()) } else { Err(NoLayout::Strangers) }
}

fn layout(word: &Word, ayes: &[&Word], now: Monotonic, before: Option<&Layout>) -> Layout {
    let voters = word.shards.len();
    let last = ayes.iter().map(|aye| aye.election).max().unwrap_or_default();
    let election = before.map(|before| before.election).filter(|known| known.0 == last).unwrap_or((last, now));
    // Its winner may not have been heard of yet.
    let is_over = last == word.last_won() || now.since(election.1) >= ELECTION;
    // When the last of a majority was asked.
    let majority = |with: &dyn Fn(&&&Word) -> bool| {
        let mut asked: Vec<Monotonic> = ayes.iter().filter(with).map(|aye| aye.asked).collect();
        asked.sort_unstable_by(|one, other| other.cmp(one));
        asked.get(voters / 2).copied()
    };
    let (since, agreed) = (majority(&|aye| is_over && aye.election == last), majority(&|_| true));
    let mut shards = word.shards.clone();
    for (id, shard) in &mut shards {
        let said = ayes.iter().filter_map(|aye| aye.shards.get(id));
        // By most of them; a node itself may not know by which address others reach it.
        let mut places = BTreeMap::new();
        for said in said {
            shard.heirs.extend(said.heirs.clone());
            *places.entry(&said.node).or_insert(0_usize) += 1;
        }
        if let Some((node, _)) = places.into_iter().max_by_key(|(_, count)| *count) {
            shard.node = node.clone();
        }
    }
    Layout { since, agreed, election, voters, votes: ayes.len(), shards }
}

/// Whom to ask beside those who are configured: the masters that half of those name who answered.
pub(super) fn named(words: &BTreeMap<NodeId, Word>) -> BTreeSet<Node> {
    let mut named = BTreeMap::new();
    for shard in words.values().flat_map(|word| word.shards.values()) {
        *named.entry(&shard.node).or_insert(0_usize) += 1;
    }
    named.into_iter().filter(|(_, by)| by * 2 >= words.len()).map(|(node, _)| node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_micros(100_000_000);
    const THIRDS: [(u16, u16); 3] = [(0, 5_000), (5_001, 10_000), (10_001, 16_383)];

    fn id(name: char) -> NodeId {
        String::from_iter([name; 40]).into()
    }

    fn node(name: char) -> Node {
        Node::new("10.0.0.1", 7000 + u16::try_from(u32::from(name) - 96).expect("a letter")).expect("a node")
    }

    /// By that one, a moment ago: these have the thirds, elected then, with the one replica each that `x`, `y` and `z` are.
    fn says(by: char, election: u64, masters: [(char, u64); 3]) -> Word {
        let shards = masters.iter().zip(THIRDS).zip(['x', 'y', 'z']).map(|(((name, election), range), heir)| {
            let heir = if *name == heir { 'a' } else { heir };
            let heirs = [(id(heir), Some(node(heir)))].into();
            (id(*name), Shard { node: node(*name), election: *election, slots: vec![range], heirs })
        });
        let asked = NOW.before(Duration::from_millis(100));
        Word { by: id(by), asked, election, shards: shards.collect(), nodes: BTreeMap::new() }
    }

    const OLD: [(char, u64); 3] = [('a', 1), ('b', 2), ('c', 3)];
    const NEW: [(char, u64); 3] = [('x', 4), ('b', 2), ('c', 3)];

    fn decided(words: &[Word], before: Option<&Layout>) -> Result<Layout, NoLayout> {
        decide(&words.iter().map(|word| (word.by.clone(), word.clone())).collect(), NOW, before)
    }

    fn old() -> Layout {
        decided(&['a', 'b', 'c'].map(|by| says(by, 3, OLD)), None).expect("all agree")
    }

    #[test]
    fn a_majority_names_the_masters_as_of_when_the_last_of_it_was_asked() {
        let mut words = ['a', 'b', 'c'].map(|by| says(by, 3, OLD));
        words[1].asked = NOW.before(Duration::from_millis(300));
        words[2].asked = NOW.before(Duration::from_millis(200));
        words[1].shards.get_mut(&id('a')).expect("it is there").heirs.insert(id('w'), None);
        let layout = decided(&words, None).expect("all agree");
        assert_eq!((layout.voters, layout.votes), (3, 3));
        assert_eq!(
            layout.since,
            Some(NOW.before(Duration::from_millis(200))),
            "two of three were asked then, or later"
        );
        assert_eq!(layout.shards[&id('a')].heirs.len(), 2, "whoever may follow by anybody's word");
        assert_eq!(decided(&words[..2], None).expect("two").since, Some(NOW.before(Duration::from_millis(300))));
    }

    #[test]
    fn the_smaller_part_decides_nothing_nor_do_replicas() {
        assert_eq!(decided(&[says('a', 3, OLD)], None), Err(NoLayout::TooFew { heard: 1, of: 3 }));
        let replicas = ['x', 'y', 'z'].map(|by| says(by, 3, OLD));
        assert_eq!(decided(&replicas, None), Err(NoLayout::TooFew { heard: 0, of: 3 }));
        let torn = [says('a', 3, OLD), says('b', 4, NEW)];
        assert_eq!(decided(&torn, None), Err(NoLayout::Disagree));
    }

    #[test]
    fn a_failover_counts_once_the_majority_knows_and_nobody_goes_back() {
        let words = [says('a', 3, OLD), says('b', 4, NEW), says('c', 4, NEW)];
        let new = decided(&words, Some(&old())).expect("two of three");
        assert!(new.shards.contains_key(&id('x')) && new.since.is_some());
        assert_eq!(decided(&[says('a', 3, OLD), says('b', 3, OLD)], Some(&new)), Err(NoLayout::Older));
    }

    #[test]
    fn while_an_election_may_have_a_winner_the_masters_word_proves_nothing() {
        let mut words = ['a', 'b', 'c'].map(|by| says(by, 3, OLD));
        words[1].election = 4;
        let layout = decided(&words, Some(&old())).expect("they agree");
        assert_eq!((layout.since, layout.election), (None, (4, NOW)));
        assert!(layout.agreed.is_some(), "of a master without replicas it does");
        words[2].election = 4;
        assert_eq!(decided(&words, Some(&layout)).expect("they agree").since, None);
        // Nobody won it.
        let long_ago = Layout { election: (4, NOW.before(ELECTION)), ..layout };
        assert!(decided(&words, Some(&long_ago)).expect("they agree").since.is_some());
    }

    #[test]
    fn a_node_that_was_set_up_alone_is_no_cluster() {
        let alone = || {
            let mut word = says('q', 99, OLD);
            let own = Shard { slots: vec![(0, 16_383)], election: 99, ..word.shards[&id('a')].clone() };
            word.shards = [(id('q'), own)].into();
            word
        };
        let words = [says('a', 3, OLD), says('b', 3, OLD), alone()];
        assert_eq!(decided(&words, None), Err(NoLayout::Disagree), "which of both is not known yet");
        assert_eq!(decided(&[alone()], Some(&old())), Err(NoLayout::Strangers));
        assert_eq!(decided(&words, Some(&old())).expect("the known ones").voters, 3);
    }

    #[test]
    fn who_was_cut_off_while_most_masters_changed_finds_them_again() {
        let masters = [('x', 4), ('y', 5), ('c', 3)];
        let words = ['x', 'y', 'c'].map(|by| says(by, 5, masters));
        assert!(decided(&words, Some(&old())).expect("all were known").shards.contains_key(&id('y')));
    }

    #[test]
    fn a_slot_that_moves_is_where_the_majority_says() {
        let moved = |by: char| {
            let mut word = says(by, 4, OLD);
            word.shards.get_mut(&id('a')).expect("it is there").slots = vec![(0, 4_999)];
            let taker = word.shards.get_mut(&id('b')).expect("it is there");
            (taker.slots, taker.election) = (vec![(5_000, 10_000)], 4);
            word
        };
        let words = [says('c', 3, OLD), moved('a'), moved('b')];
        let layout = decided(&words, Some(&old())).expect("two of three");
        assert_eq!(layout.shards[&id('b')].slots, [(5_000, 10_000)]);
    }

    #[test]
    fn those_who_are_asked_are_named_by_half_of_those_who_answered() {
        let words = |words: &[Word]| words.iter().map(|word| (word.by.clone(), word.clone())).collect();
        let all = ['a', 'b', 'c'].map(node).into();
        assert_eq!(named(&words(&[says('a', 3, OLD)])), all);
        let mut liar = says('c', 9, [('k', 7), ('l', 8), ('m', 9)]);
        liar.by = id('c');
        assert_eq!(named(&words(&[says('a', 3, OLD), says('b', 3, OLD), liar])), all);
    }
}
