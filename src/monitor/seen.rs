//! Where sessions are used from, as far as a gateway knows without asking: what tells a new use of note from all others,
//! at each request, in some nanoseconds.
//!
//! A table of fixed size: 32 bytes a session, in which stand its last four networks. Networks between which nothing is
//! to be found are one *zone*; what stays in its zone is nothing new. Of more sessions than there is room for those go
//! that were used longest ago: their next use is looked at as if it were the first. Two networks that are wrongly taken for one
//! (a chance of some 2⁻³²) are not looked at.

use std::cmp::Ordering;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::network::Network;
use crate::session::{SessionId, StoreTime};

/// Sessions that are known: four MiB of them.
const MOST_SESSIONS: usize = 1 << 17;
/// So many locks, so that requests do not wait for each other at one.
const SHARDS: usize = 64;
/// A session is in one of two buckets of so many.
const BUCKET: usize = 8;
const BUCKETS: usize = MOST_SESSIONS / SHARDS / BUCKET;
/// Networks of a session that are known.
const NETWORKS: usize = 4;
/// How often a session in use is looked at although nothing is new, so that all gateways know where it is, in seconds.
const AGAIN_AFTER: u32 = 300;
/// Looks at a session that may follow each other at once; of more one every so many seconds.
const MOST_LOOKS: u8 = 8;
const LOOK_EVERY: u32 = 8;

/// Stands for a session, whatever token it goes on under: give it the first of them.
#[must_use]
pub fn session_tag(first: SessionId) -> u64 {
    mixed(first.as_bytes())
}

/// Stands for the network of an address.
#[must_use]
pub fn network_tag(address: IpAddr) -> u32 {
    let tag = match Network::from(address).first_address() {
        IpAddr::V4(address) => mixed(&address.octets()),
        IpAddr::V6(address) => mixed(&address.octets()),
    };
    // 0 is none.
    upper(tag).max(1)
}

/// FNV-1a, with its bits mixed: what stands for what is no secret.
fn mixed(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

fn upper(tag: u64) -> u32 {
    u32::try_from(tag >> 32).unwrap_or_default()
}

fn seconds(time: StoreTime) -> u32 {
    u32::try_from(time.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

/// What of a use is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nothing of the session was known here.
    Unknown,
    /// It is in another zone than before.
    Moved {
        /// Stands for the network before.
        from: u32,
        /// When it was last used there.
        left: StoreTime,
    },
    /// It is where it was, and still in use.
    Again,
}

/// A use of a session.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Stands for the session.
    pub session: u64,
    /// Stands for the network.
    pub network: u32,
    /// When.
    pub now: StoreTime,
    /// Whether it is a person's use, and not what a page does by itself.
    pub counts: bool,
}

/// What is known of a session: all zeros where of none.
#[derive(Clone, Copy, Default)]
struct Slot {
    session: u32,
    /// When it was last used, in seconds.
    last: u32,
    /// When it was last looked at.
    looked: u32,
    networks: [u32; NETWORKS],
    /// Which of them it is in.
    here: u8,
    /// Two bits for the zone of each.
    zones: u8,
    /// Looks that may follow at once.
    looks: u8,
}

impl Slot {
    fn new(session: u32, network: u32, now: u32) -> Self {
        Self { session, last: now, looked: now, networks: [network, 0, 0, 0], here: 0, zones: 0, looks: MOST_LOOKS - 1 }
    }

    fn network(&self) -> u32 {
        self.networks.get(usize::from(self.here)).copied().unwrap_or_default()
    }

    fn find(&self, network: u32) -> Option<u8> {
        (0_u8..).zip(self.networks).find(|(_, known)| *known == network).map(|(at, _)| at)
    }

    const fn zone(&self, at: u8) -> u8 {
        self.zones >> (2 * at) & 3
    }

    const fn put_in_zone(&mut self, at: u8, zone: u8) {
        self.zones = self.zones & !(3 << (2 * at)) | zone << (2 * at);
    }

    /// Whether another look may follow now.
    fn may_look(&mut self, now: u32) -> bool {
        let earned = now.saturating_sub(self.looked) / LOOK_EVERY;
        let looks = u32::from(self.looks).saturating_add(earned).min(u32::from(MOST_LOOKS));
        self.looks = u8::try_from(looks).unwrap_or(MOST_LOOKS);
        self.looks > 0
    }

    fn look(&mut self, now: u32) {
        self.looks = self.looks.saturating_sub(1);
        self.looked = now;
    }

    /// Goes to a network, which is a zone of its own where it is a new one.
    fn go(&mut self, network: u32) {
        if let Some(at) = self.find(network) {
            self.here = at;
            return;
        }
        let next = |at: u8| (at + 1) % 4;
        let at = self.find(0).unwrap_or_else(|| next(self.here));
        let is_taken = |zone: &u8| (0..4).any(|other| other != at && self.zone(other) == *zone);
        // Of four networks the other three are in three zones at most.
        let zone = (0..4).find(|zone| !is_taken(zone)).unwrap_or_default();
        if let Some(known) = self.networks.get_mut(usize::from(at)) {
            *known = network;
        }
        self.put_in_zone(at, zone);
        self.here = at;
    }

    /// Makes the zones of two networks one.
    fn join(&mut self, one: u32, other: u32) {
        let (Some(one), Some(other)) = (self.find(one), self.find(other)) else { return };
        let (stays, goes) = (self.zone(one), self.zone(other));
        for at in 0..4 {
            if self.zone(at) == goes {
                self.put_in_zone(at, stays);
            }
        }
    }
}

/// Where sessions are used from.
pub struct Whereabouts(Box<[Mutex<Vec<Slot>>]>);

impl Default for Whereabouts {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Whereabouts {
    /// Sees a use of a session. What is to be looked at is told `note`, which says whether it is; else it comes again.
    pub fn see(&self, seen: Seen, note: impl FnOnce(Noted) -> bool) {
        let Seen { session, network, now, counts } = seen;
        let now = seconds(now);
        let mut shard = self.shard(session).lock();
        let Some(slot) = slot_of(&mut shard, session) else {
            if note(Noted::Unknown) {
                *room_for(&mut shard, session) = Slot::new(key(session), network, now);
            }
            return;
        };
        if slot.network() == network {
            if counts {
                slot.last = slot.last.max(now);
                if now.saturating_sub(slot.looked) >= AGAIN_AFTER && note(Noted::Again) {
                    slot.looked = now;
                }
            }
            return;
        }
        match slot.find(network) {
            Some(at) if slot.zone(at) == slot.zone(slot.here) => slot.here = at,
            _ => {
                let from = slot.network();
                let left = StoreTime::from_micros(u64::from(slot.last) * 1_000_000);
                if !slot.may_look(now) || !note(Noted::Moved { from, left }) {
                    return;
                }
                slot.look(now);
                slot.go(network);
            }
        }
        slot.last = slot.last.max(now);
    }

    /// Of a session two networks are one from now on: nothing is to be found between them.
    pub fn join(&self, session: u64, one: u32, other: u32) {
        let mut shard = self.shard(session).lock();
        if let Some(slot) = slot_of(&mut shard, session) {
            slot.join(one, other);
        }
    }

    fn shard(&self, session: u64) -> &Mutex<Vec<Slot>> {
        let number = usize::from(session.to_be_bytes()[7]) % SHARDS;
        // There is one for each number.
        self.0.get(number).unwrap_or(&self.0[0])
    }
}

/// What stands for it within its bucket; 0 is none.
fn key(session: u64) -> u32 {
    upper(session).max(1)
}

/// The two buckets that a session may be in.
fn buckets(session: u64) -> [usize; 2] {
    let [.., a, b, c, d, _] = session.to_be_bytes();
    [[a, b], [c, d]].map(|bytes| usize::from(u16::from_be_bytes(bytes)) % BUCKETS)
}

fn in_bucket(bucket: usize) -> std::ops::Range<usize> {
    bucket * BUCKET..(bucket + 1) * BUCKET
}

fn slot_of(shard: &mut [Slot], session: u64) -> Option<&mut Slot> {
    let key = key(session);
    let is_it = |at: &usize| shard.get(*at).is_some_and(|slot| slot.session == key);
    let at = buckets(session).into_iter().flat_map(in_bucket).find(is_it)?;
    shard.get_mut(at)
}

/// A slot in the emptier of its buckets; where both are full, the one that was used longest ago.
fn room_for(shard: &mut Vec<Slot>, session: u64) -> &mut Slot {
    if shard.is_empty() {
        shard.resize(BUCKETS * BUCKET, Slot::default());
    }
    let slots = |bucket: usize| shard.get(in_bucket(bucket)).unwrap_or_default();
    let free = |bucket: &usize| slots(*bucket).iter().filter(|slot| slot.session == 0).count();
    let oldest = |bucket: &usize| slots(*bucket).iter().map(|slot| slot.last).min();
    let [one, other] = buckets(session);
    let bucket = match free(&one).cmp(&free(&other)) {
        Ordering::Greater => one,
        Ordering::Less => other,
        Ordering::Equal if oldest(&one) <= oldest(&other) => one,
        Ordering::Equal => other,
    };
    let used = |at: &usize| shard.get(*at).map_or(u32::MAX, |slot| slot.last);
    let at = in_bucket(bucket).min_by_key(used).unwrap_or_default();
    &mut shard[at]
}

impl std::fmt::Debug for Whereabouts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Whereabouts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000;

    fn at(seconds: u64) -> StoreTime {
        StoreTime::from_micros((START + seconds) * 1_000_000)
    }

    fn see(table: &Whereabouts, session: u64, network: u32, seconds: u64) -> Option<Noted> {
        let mut noted = None;
        table.see(Seen { session, network, now: at(seconds), counts: true }, |what| {
            noted = Some(what);
            true
        });
        noted
    }

    const fn moved(from: u32, left: u64) -> Option<Noted> {
        Some(Noted::Moved { from, left: StoreTime::from_micros((START + left) * 1_000_000) })
    }

    #[test]
    fn only_what_is_new_is_noted() {
        let table = Whereabouts::default();
        assert_eq!(see(&table, 7, 1, 0), Some(Noted::Unknown));
        for second in 1..300 {
            assert_eq!(see(&table, 7, 1, second), None);
        }
        assert_eq!(see(&table, 7, 1, 300), Some(Noted::Again), "so that all gateways know where it is");
        assert_eq!(see(&table, 7, 2, 305), moved(1, 300));
        assert_eq!(see(&table, 7, 2, 306), None);
        assert_eq!(see(&table, 7, 1, 310), moved(2, 306), "back, and who knows from where");
        table.join(7, 1, 2);
        for second in 311..330 {
            assert_eq!(see(&table, 7, 1 + u32::from(second % 2 == 0), second), None, "they are one");
        }
        assert_eq!(see(&table, 7, 3, 331), moved(1, 329));
        assert_eq!(see(&table, 8, 1, 331), Some(Noted::Unknown), "of another session nothing is known");
    }

    #[test]
    fn what_is_not_taken_is_noted_again() {
        let table = Whereabouts::default();
        let mut times = 0;
        for taken in [false, false, true, true] {
            table.see(Seen { session: 7, network: 1, now: at(0), counts: true }, |_| {
                times += 1;
                taken
            });
        }
        assert_eq!(times, 3);
        table.see(Seen { session: 7, network: 2, now: at(1), counts: true }, |_| false);
        assert_eq!(see(&table, 7, 2, 2), moved(1, 0), "it was not there yet");
    }

    #[test]
    fn what_a_page_does_by_itself_is_no_use_but_is_seen_elsewhere() {
        let table = Whereabouts::default();
        see(&table, 7, 1, 0);
        let mut noted = Vec::new();
        for (network, seconds) in [(1, 100), (1, 900), (2, 1000)] {
            table.see(Seen { session: 7, network, now: at(seconds), counts: false }, |what| {
                noted.push(what);
                true
            });
        }
        assert_eq!(noted, [moved(1, 0).expect("moved")]);
    }

    #[test]
    fn a_session_of_many_networks_is_looked_at_seldom() {
        let table = Whereabouts::default();
        see(&table, 7, 1000, 0);
        let looks = (0..600).filter(|number| see(&table, 7, 1 + number, u64::from(*number / 10)).is_some()).count();
        // Sixty seconds of another network each tenth of one.
        assert!((7..=8 + 60 / 8).contains(&looks), "{looks}");
    }

    #[test]
    fn a_hundred_thousand_sessions_fit_and_of_more_those_go_that_were_used_longest_ago() {
        assert_eq!(size_of::<Slot>(), 32);
        assert_eq!(SHARDS * BUCKETS * BUCKET * size_of::<Slot>(), 4 << 20);
        let table = Whereabouts::default();
        let session = |number: u64| mixed(&number.to_be_bytes());
        for number in 0..100_000 {
            see(&table, session(number), 1, number / 1000);
        }
        let lost = (0..100_000).filter(|number| see(&table, session(*number), 1, 100).is_some()).count();
        assert!(lost <= 20, "{lost}");
        for number in 100_000..400_000 {
            see(&table, session(number), 1, 101 + number / 1000);
        }
        let (old, new) = (0..50_000, 350_000..400_000);
        let kept = |range: std::ops::Range<u64>| {
            let is_known = |number: &u64| {
                let mut known = true;
                let seen = Seen { session: session(*number), network: 1, now: at(502), counts: true };
                table.see(seen, |noted| {
                    known = noted != Noted::Unknown;
                    false
                });
                known
            };
            range.filter(is_known).count()
        };
        assert_eq!(kept(old), 0);
        assert!(kept(new) > 45_000);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let tag = |address: &str| network_tag(address.parse().expect("an address"));
        assert_eq!(tag("192.0.2.1"), tag("::ffff:192.0.2.1"));
        assert_ne!(tag("192.0.2.1"), tag("192.0.2.2"));
        assert_eq!(tag("2001:db8::1"), tag("2001:db8::ffff:1"));
        assert_ne!(tag("2001:db8::1"), tag("2001:db8:0:1::1"));
    }

    proptest! {
        /// Told by a list of all networks and their zones, without the limits.
        #[test]
        fn it_notes_what_leaves_a_zone(steps in prop::collection::vec((1..5_u32, any::<bool>()), 1..40)) {
            let table = Whereabouts::default();
            let (mut zones, mut here) = ([0, 1, 2, 3], 0_usize);
            let network_at = |at: usize| (1..).nth(at).expect("a network");
            for (number, (network, joins)) in steps.into_iter().enumerate() {
                let seconds = number as u64 * 100;
                let at = network as usize - 1;
                let noted = see(&table, 7, network, seconds);
                let expected = match number {
                    0 => true,
                    _ => zones[at] != zones[here] || (at == here && noted == Some(Noted::Again)),
                };
                prop_assert_eq!(noted.is_some(), expected, "{:?}", noted);
                if joins && number > 0 {
                    table.join(7, network_at(here), network);
                    let (stays, goes) = (zones[here], zones[at]);
                    zones.iter_mut().filter(|zone| **zone == goes).for_each(|zone| *zone = stays);
                }
                here = at;
            }
        }
    }
}
