//! What the Sentinels' words come to: a majority names the master, and of two the one of the later election counts.
//!
//! Pure. A Sentinel is one voter however many names it is reached by, and nobody makes up voters alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::word::{SentinelId, Word};
use crate::clock::Monotonic;
use crate::store::address::Node;

/// An older word is none: its Sentinel is asked each second.
const FRESH: Duration = Duration::from_secs(3);

/// The master that a majority named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) master: Node,
    pub(super) election: u64,
    /// Since when a majority has: each of it was asked then, or later.
    pub(super) since: Monotonic,
    /// When the last of all words was asked for.
    pub(super) heard: Monotonic,
    /// Who may come to be the master after it, by anybody's word.
    pub(super) heirs: BTreeSet<Node>,
    /// For how long it may be silent (ms), at the most.
    pub(super) down_after: u64,
    pub(super) voters: usize,
    pub(super) votes: usize,
}

/// Why there is no master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoMaster {
    /// Too few answer for a majority.
    TooFew { heard: usize, of: usize },
    /// They name different ones.
    Disagree { of: usize },
    /// They name one that was followed by another already.
    Older(Node),
}

impl fmt::Display for NoMaster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { heard, of } => write!(formatter, "{heard} of {of} Sentinels answer, which is no majority"),
            Self::Disagree { of } => write!(formatter, "no majority of {of} Sentinels names the same master"),
            Self::Older(node) => write!(formatter, "the Sentinels name {node}, which another master has followed"),
        }
    }
}

/// Who is the master, by the words of Sentinels of which so many were configured. `before` is who it was.
pub(super) fn decide(
    words: &BTreeMap<SentinelId, Word>,
    configured: usize,
    now: Monotonic,
    before: Option<&Named>,
) -> Result<Named, NoMaster> {
    let voters = electorate(words).len().max(configured);
    let mut votes: BTreeMap<&Node, Vec<&Word>> = BTreeMap::new();
    for word in words.values().filter(|word| now.since(word.asked) < FRESH) {
        votes.entry(&word.master).or_default().push(word);
    }
    let heard: usize = votes.values().map(Vec::len).sum();
    let is_majority = |count: usize| count * 2 > voters;
    let Some((master, ayes)) = votes.into_iter().find(|(_, ayes)| is_majority(ayes.len())) else {
        let (of, too_few) = (voters, !is_majority(heard));
        return Err(if too_few { NoMaster::TooFew { heard, of } } else { NoMaster::Disagree { of } });
    };
    let election = ayes.iter().map(|word| word.election).max().unwrap_or_default();
    // Sentinels that came back from older data, or were cut off. Those that were all set up anew agree.
    if let Some(before) = before
        && before.master != *master
        && election < before.election
        && ayes.len() < voters
    {
        return Err(NoMaster::Older(master.clone()));
    }
    let mut asked: Vec<Monotonic> = ayes.iter().map(|word| word.asked).collect();
    asked.sort_unstable_by(|one, other| other.cmp(one));
    let (Some(since), Some(heard)) = (asked.get(voters / 2), asked.first()) else {
        return Err(NoMaster::TooFew { heard, of: voters });
    };
    let heirs = words.values().filter(|word| word.master == *master).flat_map(|word| word.heirs.iter().cloned());
    Ok(Named {
        since: *since,
        heard: *heard,
        election,
        down_after: ayes.iter().map(|word| word.down_after).max().unwrap_or_default(),
        heirs: heirs.collect(),
        voters,
        votes: ayes.len(),
        master: master.clone(),
    })
}

/// Who may vote: who answered, and who is named by two of those; where one alone answered, whom it names.
fn electorate(words: &BTreeMap<SentinelId, Word>) -> BTreeSet<&SentinelId> {
    let mut named: BTreeMap<&SentinelId, usize> = BTreeMap::new();
    for id in words.values().flat_map(|word| word.others.keys()) {
        *named.entry(id).or_default() += 1;
    }
    let enough = words.len().min(2);
    let named = named.into_iter().filter(|(_, by)| *by >= enough).map(|(id, _)| id);
    words.keys().chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_micros(100_000_000);

    fn node(port: u16) -> Node {
        Node::new("10.0.0.1", port).expect("a node")
    }

    fn ids(names: &[&str]) -> BTreeMap<SentinelId, Node> {
        names.iter().map(|name| ((*name).into(), node(26379))).collect()
    }

    /// By that one, that so many milliseconds ago, in that election, it was this.
    fn says(by: &str, ago: u64, election: u64, port: u16) -> Word {
        let others = ids(&["a", "b", "c"].into_iter().filter(|name| *name != by).collect::<Vec<_>>());
        let asked = NOW.before(Duration::from_millis(ago));
        let heirs = [6379, 6380, 6381].map(node).into_iter().filter(|heir| *heir != node(port)).collect();
        Word { by: by.into(), asked, master: node(port), election, down_after: 500, others, heirs }
    }

    fn decided(words: &[Word], configured: usize, before: Option<&Named>) -> Result<Named, NoMaster> {
        let words = words.iter().map(|word| (word.by.clone(), word.clone())).collect();
        decide(&words, configured, NOW, before)
    }

    #[test]
    fn a_majority_names_the_master_as_of_when_the_last_of_it_was_asked() {
        let named = decided(&[says("a", 100, 4, 6379), says("b", 300, 5, 6379), says("c", 200, 4, 6379)], 3, None);
        let named = named.expect("all agree");
        assert_eq!((named.master, named.election, named.votes, named.voters), (node(6379), 5, 3, 3));
        assert_eq!(NOW.since(named.since), Duration::from_millis(200), "two of three have said so since then");
        assert_eq!(NOW.since(named.heard), Duration::from_millis(100));
        assert_eq!(named.heirs, [6380, 6381].map(node).into());
    }

    #[test]
    fn one_that_lies_is_outvoted_whatever_election_it_claims_and_whomever_it_makes_up() {
        let mut liar = says("c", 0, 999, 6666);
        liar.others = (0..60).map(|number| (format!("made{number}").into(), node(26379))).collect();
        let named = decided(&[says("a", 9, 4, 6379), says("b", 9, 4, 6379), liar.clone()], 3, None).expect("two agree");
        assert_eq!((named.master, named.voters), (node(6379), 3));
        // Nor is it believed where it alone answers, or says that there is nobody else.
        liar.others = BTreeMap::new();
        assert_eq!(decided(&[liar.clone()], 3, None), Err(NoMaster::TooFew { heard: 1, of: 3 }));
        assert_eq!(decided(&[liar, says("a", 9, 4, 6379)], 3, None), Err(NoMaster::Disagree { of: 3 }));
    }

    #[test]
    fn the_smaller_part_of_those_that_are_known_decides_nothing() {
        let others = ids(&["a", "b", "c", "d", "e"]);
        let word = |by: &str| Word { others: others.clone(), ..says(by, 9, 4, 6379) };
        assert_eq!(decided(&[word("a"), word("b")], 2, None), Err(NoMaster::TooFew { heard: 2, of: 5 }));
        assert_eq!(decided(&[word("a"), word("b"), word("c")], 2, None).expect("three of five").votes, 3);
        assert_eq!(decided(&[], 3, None), Err(NoMaster::TooFew { heard: 0, of: 3 }));
    }

    #[test]
    fn what_was_said_long_ago_is_no_vote_but_its_heirs_stay_heirs() {
        let mut gone = says("c", 60_000, 4, 6379);
        gone.heirs.insert(node(6399));
        let named = decided(&[says("a", 9, 4, 6379), says("b", 9, 4, 6379), gone], 3, None).expect("two agree");
        assert_eq!((named.votes, named.heirs.contains(&node(6399))), (2, true));
        let old = [says("a", 9, 4, 6379), says("b", 3_000, 4, 6379), says("c", 60_000, 4, 6379)];
        assert_eq!(decided(&old, 3, None), Err(NoMaster::TooFew { heard: 1, of: 3 }));
    }

    #[test]
    fn in_the_midst_of_a_failover_the_majority_decides_and_nobody_goes_back() {
        let old = [says("a", 9, 5, 6380), says("b", 9, 4, 6379), says("c", 9, 4, 6379)];
        assert_eq!(decided(&old, 3, None).expect("two").master, node(6379));
        let new = [says("a", 9, 5, 6380), says("b", 9, 5, 6380), says("c", 9, 4, 6379)];
        let named = decided(&new, 3, None).expect("two");
        assert_eq!((&named.master, named.election), (&node(6380), 5));
        let back = decided(&old, 3, Some(&named));
        assert_eq!(back, Err(NoMaster::Older(node(6379))));
        // Unless they were all set up anew.
        let anew = [says("a", 9, 0, 6379), says("b", 9, 0, 6379), says("c", 9, 0, 6379)];
        assert_eq!(decided(&anew, 3, Some(&named)).expect("all").master, node(6379));
        assert!(decided(&anew[..2], 3, Some(&named)).is_err());
    }

    /// Whatever three of five say, of two words at most one is a majority; who is outvoted or silent never decides.
    #[test]
    fn no_two_masters_are_ever_named_by_the_same_words() {
        let names = ["a", "b", "c", "d", "e"];
        // Each says one of two masters, or nothing.
        for case in 0..3_u32.pow(5) {
            let said = |at: usize| case / 3_u32.pow(u32::try_from(at).expect("small")) % 3;
            let words: Vec<Word> = names
                .iter()
                .enumerate()
                .filter(|(at, _)| said(*at) > 0)
                .map(|(at, name)| Word {
                    others: ids(&names.iter().copied().filter(|other| other != name).collect::<Vec<_>>()),
                    ..says(name, 9, 4, if said(at) == 1 { 6379 } else { 6380 })
                })
                .collect();
            let count = |port| words.iter().filter(|word| word.master == node(port)).count();
            let expected = [6379, 6380].into_iter().find(|port| count(*port) >= 3);
            let found = decided(&words, 5, None).ok().map(|named| named.master);
            assert_eq!(found, expected.map(node), "case {case}");
        }
    }
}
