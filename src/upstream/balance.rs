//! Which peer a request goes to. Pure: what is known of the peers goes in, the order in which they are tried comes out.
//!
//! Every peer is in the order, also one that is out: when all are, trying is better than refusing. What decides first is
//! how a peer stands; what the operator chose decides among those that stand equal.

use std::cmp::Reverse;

use sha2::{Digest as _, Sha256};

/// How one of several peers is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way from this gateway; among equals in turn.
    LeastConnections,
    /// Always the same one for a key; requests without a key in turn. When a peer is lost only its keys move, each to
    /// the same other peer, and they come back with it (rendezvous hashing). All gateways agree.
    HashKey,
}

/// How a peer stands, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    In,
    /// It could not be connected just now.
    Resting,
    /// It failed its checks or too many requests.
    Out,
}

/// What the choice needs to know of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) standing: Standing,
    /// Requests under way.
    pub(super) load: usize,
    /// The peer's own number; see [`fingerprint`].
    pub(super) fingerprint: u64,
}

/// The positions of all peers, in the order in which they are to be tried. `turn` counts the requests.
pub(super) fn order(balance: Balance, peers: &[Candidate], turn: usize, key: Option<&str>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers.len()).collect();
    let standing = |position: &usize| peers.get(*position).map(|peer| peer.standing);
    order.sort_by_key(standing);
    if let (Balance::HashKey, Some(key)) = (balance, key) {
        let key = fingerprint(key);
        order.sort_by_cached_key(|position| {
            let peer = peers.get(*position);
            (standing(position), Reverse(peer.map(|peer| mix(peer.fingerprint ^ key))))
        });
        return order;
    }
    // In turn among those that stand equal: were the turn taken among all, the neighbour of one that is out would get
    // its share on top of its own.
    for equals in order.chunk_by_mut(|one, other| standing(one) == standing(other)) {
        let count = equals.len();
        equals.rotate_left(turn.checked_rem(count).unwrap_or(0));
    }
    if balance == Balance::LeastConnections {
        order.sort_by_key(|position| (standing(position), peers.get(*position).map(|peer| peer.load)));
    }
    order
}

/// A number for a text, the same in every process.
pub(super) fn fingerprint(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Spreads a number over all 64 bits (the finaliser of SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(standings: &[Standing]) -> Vec<Candidate> {
        let candidate = |(number, standing): (usize, &Standing)| Candidate {
            standing: *standing,
            load: 0,
            fingerprint: fingerprint(&format!("http://10.0.0.{number}:80")),
        };
        standings.iter().enumerate().map(candidate).collect()
    }

    fn first(balance: Balance, peers: &[Candidate], turn: usize, key: Option<&str>) -> usize {
        *order(balance, peers, turn, key).first().unwrap()
    }

    #[test]
    fn every_peer_is_in_every_order_once_and_the_worse_come_later() {
        let peers = peers(&[Standing::Out, Standing::In, Standing::Resting, Standing::In, Standing::Out]);
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::HashKey] {
            for turn in 0..10 {
                for key in [None, Some("acme")] {
                    let order = order(balance, &peers, turn, key);
                    let standings: Vec<_> = order.iter().map(|position| peers[*position].standing).collect();
                    assert!(standings.is_sorted(), "{balance:?} {order:?}");
                    let mut all = order.clone();
                    all.sort_unstable();
                    assert_eq!(all, [0, 1, 2, 3, 4], "{balance:?}");
                }
            }
        }
        assert!(order(Balance::RoundRobin, &[], 3, None).is_empty());
    }

    #[test]
    fn turns_are_shared_evenly_also_beside_a_peer_that_is_out() {
        let peers = peers(&[Standing::In, Standing::Out, Standing::In, Standing::In]);
        let mut counts = [0; 4];
        for turn in 0..300 {
            counts[first(Balance::RoundRobin, &peers, turn, None)] += 1;
        }
        assert_eq!(counts, [100, 0, 100, 100]);
    }

    #[test]
    fn the_least_loaded_comes_first_and_equals_take_turns() {
        let mut peers = peers(&[Standing::In; 3]);
        peers[0].load = 2;
        peers[1].load = 1;
        peers[2].load = 1;
        let firsts: Vec<_> = (0..6).map(|turn| first(Balance::LeastConnections, &peers, turn, None)).collect();
        assert!(!firsts.contains(&0), "{firsts:?}");
        assert!(firsts.contains(&1) && firsts.contains(&2), "{firsts:?}");
        peers[0].load = 0;
        assert_eq!(first(Balance::LeastConnections, &peers, 5, None), 0);
    }

    #[test]
    fn a_key_stays_with_its_peer_whoevers_turn_it_is_and_keys_are_spread() {
        let peers = peers(&[Standing::In; 4]);
        let mut counts = [0; 4];
        for tenant in 0..4000 {
            let key = tenant.to_string();
            let chosen = first(Balance::HashKey, &peers, tenant, Some(&key));
            assert_eq!(chosen, first(Balance::HashKey, &peers, tenant + 1, Some(&key)));
            counts[chosen] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_lost_peer_moves_its_own_keys_and_no_others() {
        let whole = peers(&[Standing::In; 4]);
        let mut without = whole.clone();
        without[2].standing = Standing::Out;
        let removed: Vec<_> = [0, 1, 3].map(|position| whole[position]).to_vec();
        let mut moved_to = [0; 4];
        for tenant in 0..1000 {
            let key = tenant.to_string();
            let before = first(Balance::HashKey, &whole, 0, Some(&key));
            let after = first(Balance::HashKey, &without, 0, Some(&key));
            let gone = [0, 1, 3][first(Balance::HashKey, &removed, 0, Some(&key))];
            assert_eq!(after, gone, "out and removed are the same to a key");
            if before == 2 { moved_to[after] += 1 } else { assert_eq!(before, after) }
        }
        assert_eq!(moved_to[2], 0);
        assert!([0, 1, 3].into_iter().all(|peer| moved_to[peer] > 40), "its share is spread: {moved_to:?}");
    }

    #[test]
    fn without_a_key_hashing_takes_turns() {
        let peers = peers(&[Standing::In; 3]);
        let firsts: Vec<_> = (0..3).map(|turn| first(Balance::HashKey, &peers, turn, None)).collect();
        assert_eq!(firsts, [0, 1, 2]);
    }

    #[test]
    fn a_fingerprint_never_changes_for_gateways_of_different_versions_must_agree() {
        assert_eq!(fingerprint("acme"), 0x822b_33ad_87c1_48a0_u64, "{:#x}", fingerprint("acme"));
    }
}
