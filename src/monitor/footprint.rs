//! Where a user was: what a store keeps of it, some hundred bytes for a month, and how it grows.
//!
//! Of each of the last sessions where it is now and where it was before; and the places that the user has used, which are
//! [learned](super::journey) when nothing speaks against them.

use serde::{Deserialize, Serialize};

use super::{Country, Place, Spot};

/// The layout of the bytes.
const VERSION: u8 = 2;
/// Places that are remembered.
const MOST_HAUNTS: usize = 8;
/// Sessions whose ways are remembered.
const MOST_TRAILS: usize = 4;
/// Things that are remembered to have been noted.
const MOST_NOTED: usize = 8;
/// After so many seconds without a use the next one is news.
const NEWS: u32 = 43_200;
/// Pairs of places that are remembered.
const MOST_PAIRS: usize = 6;

/// What is kept of a user. Times are the store's, in seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    pub(super) haunts: Vec<Haunt>,
    /// The last used one last.
    pub(super) trails: Vec<Trail>,
    /// Between which the user logged in again, and when that was last of use; that one last.
    pub(super) pairs: Vec<(Spot, Spot, u32)>,
    /// The last time that the user was asked to.
    pub(super) asked: Option<Asked>,
    /// What was noted already, and when.
    pub(super) noted: Vec<(u32, u32)>,
}

/// A place that the user has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Haunt {
    pub(super) spot: Spot,
    pub(super) country: Option<Country>,
    pub(super) asn: Option<u32>,
    /// When last.
    pub(super) used: u32,
}

/// The way of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trail {
    /// Stands for the session.
    pub(super) session: u64,
    /// Where it is.
    pub(super) here: Visit,
    /// The last place before that says where the user was: none that was doubted, and no network that is elsewhere.
    pub(super) before: Option<Visit>,
    /// Where and when it was last used before it came here.
    pub(super) left: Option<(u32, u32)>,
}

/// A time at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Visit {
    pub(super) spot: Spot,
    /// Another that its network is also said to be at: which of the two is true nobody knows.
    pub(super) or: Option<Spot>,
    pub(super) country: Option<Country>,
    pub(super) asn: Option<u32>,
    /// What people call it.
    pub(super) name: String,
    /// Stands for the network.
    pub(super) network: u32,
    /// Whether no more is known than the country, in the middle of which it is said to be.
    pub(super) vague: bool,
    /// Whether that is no place of the user's: a data centre's, a carrier's.
    pub(super) elsewhere: bool,
    /// Whether nobody could have come here.
    pub(super) doubted: bool,
    /// When it was last used from there.
    pub(super) until: u32,
}

/// That a session was to be logged in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) session: u64,
    pub(super) from: Spot,
    pub(super) to: Spot,
}

impl Footprint {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // Numbers and texts into memory: it cannot fail.
        let _ = rmp_serde::encode::write(&mut bytes, self);
        bytes
    }

    /// Reads what was kept. What another version wrote counts for nothing.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        (*version == VERSION).then(|| rmp_serde::from_slice(rest).ok()).flatten()
    }

    pub(super) fn trail(&self, session: u64) -> Option<&Trail> {
        self.trails.iter().find(|trail| trail.session == session)
    }

    /// Whether the user has been at a place since then, or in the same country by the same provider.
    pub(super) fn has_been(&self, place: &Place, since: u32) -> bool {
        let is_it = |haunt: &Haunt| {
            let same_provider = haunt.asn.is_some() && haunt.asn == place.asn && haunt.country == place.country;
            haunt.used >= since && (same_provider || haunt.spot.apart(place.spot) == 0)
        };
        self.haunts.iter().any(is_it)
    }

    /// Whether the user logged in again between two places, and that was of use since then.
    pub(super) fn has_paired(&self, one: Spot, other: Spot, since: u32) -> bool {
        self.pairs.iter().any(|(from, to, used)| *used >= since && is_pair((*from, *to), one, other))
    }

    /// A known place was used again; one that is not known may come to be. Answers whether that is news: it was not known, or
    /// not used for half a day.
    pub(super) fn use_haunt(&mut self, place: &Place, now: u32, learns: bool) -> bool {
        let near = |haunt: &&mut Haunt| haunt.spot.apart(place.spot) == 0;
        let here = self.haunts.iter_mut().filter(near).max_by_key(|haunt| haunt.asn == place.asn);
        // Another provider at the same place is known beside the one before.
        if let Some(haunt) = here.filter(|haunt| !learns || haunt.asn == place.asn) {
            let before = haunt.used;
            haunt.used = before.max(now);
            return now.saturating_sub(before) >= NEWS;
        }
        if learns {
            if self.haunts.len() >= MOST_HAUNTS
                && let Some((oldest, _)) = self.haunts.iter().enumerate().min_by_key(|(_, haunt)| haunt.used)
            {
                self.haunts.remove(oldest);
            }
            let Place { spot, country, asn, .. } = *place;
            self.haunts.push(Haunt { spot, country, asn, used: now });
        }
        learns
    }

    /// The way of a session goes on; it is the last used one now.
    pub(super) fn go_on(&mut self, trail: Trail) {
        self.trails.retain(|other| other.session != trail.session);
        while self.trails.len() >= MOST_TRAILS {
            self.trails.remove(0);
        }
        self.trails.push(trail);
    }

    /// Whether something is to be noted: it was not, since then.
    pub(super) fn note(&mut self, what: u32, since: u32, now: u32) -> bool {
        self.noted.retain(|(_, at)| *at >= since);
        if self.noted.iter().any(|(noted, _)| *noted == what) {
            return false;
        }
        while self.noted.len() >= MOST_NOTED {
            self.noted.remove(0);
        }
        self.noted.push((what, now));
        true
    }

    /// The user logged in again between these, or it is of use that they did.
    pub(super) fn pair(&mut self, one: Spot, other: Spot, now: u32) {
        if let Some(at) = self.pairs.iter().position(|(from, to, _)| is_pair((*from, *to), one, other)) {
            // Where it was learned: it does not wander.
            let (from, to, used) = self.pairs.remove(at);
            self.pairs.push((from, to, used.max(now)));
            return;
        }
        while self.pairs.len() >= MOST_PAIRS {
            self.pairs.remove(0);
        }
        self.pairs.push((one, other, now));
    }

    /// They did not.
    pub(super) fn unpair(&mut self, one: Spot, other: Spot) {
        self.pairs.retain(|(from, to, _)| !is_pair((*from, *to), one, other));
    }
}

/// Whether a pair is of these places, in whichever order.
fn is_pair((from, to): (Spot, Spot), one: Spot, other: Spot) -> bool {
    let is_near = |one: Spot, other: Spot| one.apart(other) == 0;
    (is_near(from, one) && is_near(to, other)) || (is_near(from, other) && is_near(to, one))
}

impl Visit {
    pub(super) fn at(place: &Place, network: u32, now: u32) -> Self {
        Self {
            spot: place.spot,
            or: None,
            country: place.country,
            asn: place.asn,
            name: place.name(),
            network,
            vague: place.city.is_none(),
            elsewhere: place.elsewhere.is_some(),
            doubted: false,
            until: now,
        }
    }

    /// How far a place is from here at least, in km.
    pub(super) fn apart(&self, spot: Spot) -> u32 {
        let other = self.or.map_or(u32::MAX, |or| or.apart(spot));
        self.spot.apart(spot).min(other)
    }

    /// Whether nothing can be said of the way from here to a place of the same country: they are of one provider, whose
    /// customers a database may have anywhere in it; or of one of the two no more is known than the country.
    pub(super) fn cannot_be_told_from(&self, place: &Place) -> bool {
        let same_provider = self.asn.is_some() && self.asn == place.asn;
        let no_more_known = self.country.is_some() && (self.vague || place.city.is_none());
        self.country == place.country && (same_provider || no_more_known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spot(latitude: f64) -> Spot {
        Spot::at(latitude, 10.0, Some(20.0)).expect("somewhere")
    }

    fn place(latitude: f64) -> Place {
        Place {
            spot: spot(latitude),
            country: Country::parse("DE"),
            asn: Some(64_512),
            city: Some("Frankfurt am Main".into()),
            elsewhere: None,
        }
    }

    fn visit(latitude: f64, until: u32) -> Visit {
        Visit::at(&place(latitude), 0xdead_beef, until)
    }

    fn trail(session: u64, until: u32) -> Trail {
        Trail { session, here: visit(50.0, until), before: Some(visit(40.0, until - 1)), left: Some((u32::MAX, until)) }
    }

    fn full() -> Footprint {
        let mut footprint = Footprint::default();
        for number in 0..20 {
            let now = 1_700_000_000 + number;
            footprint.use_haunt(&place(f64::from(number) * 4.0 - 40.0), now, true);
            footprint.go_on(trail(u64::from(number) << 56, now));
            footprint.pair(spot(f64::from(number) * 4.0 - 40.0), spot(80.0), now);
            assert!(footprint.note(number, 0, now) && !footprint.note(number, 0, now));
        }
        footprint.asked = Some(Asked { session: u64::MAX, from: spot(1.0), to: spot(2.0) });
        footprint
    }

    #[test]
    fn of_too_many_places_sessions_and_pairs_the_oldest_go() {
        let footprint = full();
        assert_eq!(footprint.haunts.iter().map(|haunt| haunt.used - 1_700_000_000).min(), Some(12));
        assert_eq!((footprint.haunts.len(), footprint.trails.len(), footprint.pairs.len()), (8, 4, 6));
        assert_eq!(footprint.noted.len(), 8);
        assert_eq!(footprint.trails.last().map(|trail| trail.session), Some(19 << 56));
        assert!(footprint.has_paired(spot(80.0), spot(36.0), 0) && !footprint.has_paired(spot(80.0), spot(-40.0), 0));
    }

    #[test]
    fn it_takes_few_bytes_and_reads_back() {
        let mut usual = Footprint::default();
        usual.use_haunt(&place(50.0), 1_700_000_000, true);
        usual.use_haunt(&place(40.0), 1_700_000_000, true);
        usual.go_on(Trail { before: None, left: None, ..trail(7, 1_700_000_000) });
        for (footprint, most) in [(usual, 120), (full(), 900)] {
            let bytes = footprint.encode();
            assert!(bytes.len() <= most, "{}", bytes.len());
            assert_eq!(Footprint::decode(&bytes), Some(footprint));
        }
        assert_eq!(Footprint::decode(b""), None);
        assert_eq!(Footprint::decode(&[VERSION + 1, 0x94]), None);
    }

    #[test]
    fn a_place_that_is_used_again_is_one_place() {
        let mut footprint = Footprint::default();
        assert!(!footprint.use_haunt(&place(50.0), 5, false) && footprint.haunts.is_empty(), "it is not learned");
        assert!(footprint.use_haunt(&place(50.0), 5, true), "it is now");
        assert!(!footprint.use_haunt(&place(50.2), 9, false), "which is no news");
        assert_eq!(
            footprint.haunts.iter().map(|haunt| (haunt.spot, haunt.used)).collect::<Vec<_>>(),
            [(spot(50.0), 9)]
        );
        let near = Place { asn: None, ..place(50.1) };
        assert!(footprint.has_been(&near, 9) && !footprint.has_been(&near, 10));
        assert!(footprint.has_been(&place(40.0), 9), "by the same provider");
        assert!(!footprint.has_been(&Place { asn: Some(1), ..place(40.0) }, 9));
        assert!(!footprint.has_been(&Place { country: Country::parse("AT"), ..place(40.0) }, 9));
        assert!(footprint.use_haunt(&place(50.0), 9 + NEWS, false), "after half a day it is");
    }

    proptest! {
        #[test]
        fn whatever_is_kept_is_read_or_is_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Footprint::decode(&bytes));
            drop(Footprint::decode(&[&[VERSION], &bytes[..]].concat()));
        }
    }
}
