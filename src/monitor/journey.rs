//! How a user came from one place to another: what a new use of a session says, given where the user was.
//!
//! Not looked at, and never learned: the same network; another of the same provider in the same country, where a database may
//! have it anywhere; what is in the same country and no more is known. What is not far is nothing. Only noted, and never learned: data centres, VPNs, satellites and carriers, which are
//! nobody's place; places that the user, or others of the tenant, use anyway; a known device at a login; two places between which the user
//! logged in again. A VPN in between says nothing of what comes after: that is held against the place before it.

use std::time::Duration;

use super::footprint::{Asked, Footprint, Trail, Visit};
use super::{Action, FindingKind, Place, PlaceRules, Severity, Spot, location_change, travel};
use crate::session::StoreTime;

/// For how long the places of a tenant's users count.
pub const TENANT_KNOWS: Duration = Duration::from_secs(KNOWN as u64);
/// What is nearer is no way to speak of, in km.
const FAR: u32 = 100;
/// No way takes less, in seconds.
const SHORTEST: u32 = 60;
/// What so many users of a tenant use is no strange place.
pub const ENOUGH_USERS: usize = 10;
/// For how long a place is known after its last use, in seconds.
const KNOWN: u32 = 14 * 86_400;
/// For how long a pair of them is, which somebody vouched for: with a fortnight the month's false alarms were a fourth more.
const PAIR_KNOWN: u32 = 60 * 86_400;

/// A use of a session from somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Stands for the session.
    pub session: u64,
    /// Where.
    pub place: &'a Place,
    /// Stands for the network.
    pub network: u32,
    /// When, by the store's clock.
    pub now: StoreTime,
    /// When the session was last used before that, as far as is known.
    pub left: Option<StoreTime>,
    /// How it came to be there.
    pub how: How,
}

/// How a session came to be somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was made there.
    LogIn {
        /// Whether the account knows the device.
        known_device: bool,
        /// The held session that its user logged in again for.
        releases: Option<u64>,
    },
    /// It was used.
    Use,
}

/// Why a way that nobody could go is only noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// One of the two networks is nobody's place.
    Network,
    /// The user has used the place.
    Known,
    /// Others of the tenant have.
    Tenant,
    /// The login came from a device that the account knows.
    Device,
    /// The user logged in again between the two, and went that way since.
    Pair,
}

impl Excuse {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Known => "known_place",
            Self::Tenant => "place_of_tenant",
            Self::Device => "known_device",
            Self::Pair => "logged_in_again",
        }
    }
}

/// A way that is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leap {
    /// By which rule.
    pub rule: LeapRule,
    /// What the place before is called.
    pub from: String,
    /// Where that is.
    pub from_spot: Spot,
    /// How far it is at least, in km.
    pub km: u32,
    /// In how many seconds.
    pub seconds: u32,
    /// Whether the session is back where it was before: it is in use in both places.
    pub back: bool,
    /// Why it is only noted.
    pub excuse: Option<Excuse>,
    /// Whether it was noted a while ago, so that nothing is said of it.
    pub was_noted: bool,
}

/// By which rule a way is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeapRule {
    /// Nobody travels so fast.
    Travel,
    /// It is far, in a short time.
    LocationChange,
}

impl Leap {
    /// How fast that is.
    #[must_use]
    pub fn kmh(&self) -> u64 {
        u64::from(self.km) * 3600 / u64::from(self.seconds.max(1))
    }

    /// Whether it matters that others of the tenant use the place.
    #[must_use]
    pub const fn asks_tenant(&self) -> bool {
        self.excuse.is_none() && !self.back
    }

    /// So many users of the tenant use the place.
    pub fn excuse_by_tenant(&mut self, users: usize) {
        if users >= ENOUGH_USERS {
            self.excuse = Some(Excuse::Tenant);
        }
    }

    /// What it is found as, how bad that is, and what is done. What is only noted is noted alone.
    #[must_use]
    pub fn answer<'a>(&self, rules: &'a PlaceRules) -> Option<(FindingKind, Severity, &'a [Action])> {
        if self.was_noted {
            return None;
        }
        let (kind, severity, actions) = match self.rule {
            LeapRule::Travel => {
                let rule = rules.travel.as_ref()?;
                let actions = if self.back { &rule.actions_if_back } else { &rule.actions };
                (FindingKind::Travel, rule.severity, actions.as_slice())
            }
            LeapRule::LocationChange => {
                let rule = rules.location_change.as_ref()?;
                (FindingKind::LocationChange, rule.severity, rule.actions.as_slice())
            }
        };
        Some(if self.excuse.is_some() { (kind, Severity::Low, &[Action::Record]) } else { (kind, severity, actions) })
    }
}

/// What a use comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing was known of the user.
    First,
    /// It is the same network.
    Stays,
    /// It is in the same country, and of the same provider, or no more is known.
    Untold,
    /// It is where the session was before, and nothing spoke against the place in between: a VPN that is on and off.
    Returns,
    /// It is near.
    Near,
    /// It is far, and there was time enough.
    Journey,
    /// Nobody could go that way.
    Leap(Leap),
}

impl Step {
    /// Whether a use from there says nothing new in this session from now on: the two are one to it.
    #[must_use]
    pub const fn joins(&self) -> bool {
        match self {
            Self::First | Self::Stays | Self::Untold | Self::Returns | Self::Near => true,
            Self::Journey => false,
            Self::Leap(leap) => leap.excuse.is_some(),
        }
    }
}

fn seconds(time: StoreTime) -> u32 {
    u32::try_from(time.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

impl Footprint {
    /// A session is used: to be said before it is [looked at](Self::look). What its user logged in again for is learned.
    pub fn begin(&mut self, sighting: &Sighting<'_>) {
        if let How::LogIn { releases: Some(released), .. } = sighting.how {
            self.answered(released, sighting.now);
        }
        if let (Some(left), Some(trail)) =
            (sighting.left, self.trails.iter_mut().find(|trail| trail.session == sighting.session))
        {
            trail.here.until = trail.here.until.max(seconds(left));
        }
    }

    /// The user logged in again for a session that was held: if it was for a way, its two places are learned.
    pub fn answered(&mut self, session: u64, now: StoreTime) {
        if let Some(asked) = self.asked.take_if(|asked| asked.session == session) {
            self.pair(asked.from, asked.to, seconds(now));
        }
    }

    /// Somebody says that a way is nobody's fault: its two places are learned.
    pub fn allow(&mut self, from: Spot, to: Spot, now: StoreTime) {
        self.pair(from, to, seconds(now));
        for trail in &mut self.trails {
            trail.here.doubted &= trail.here.spot.apart(to) > 0;
        }
    }

    /// Somebody says that it is: they are forgotten, and so is that the user was asked to log in again.
    pub fn disallow(&mut self, from: Spot, to: Spot) {
        self.unpair(from, to);
        self.asked = None;
    }

    /// Whether the way of a session is known.
    #[must_use]
    pub fn follows(&self, session: u64) -> bool {
        self.trail(session).is_some()
    }

    /// Notes where a session was made whose way is not known.
    pub fn assume(&mut self, session: u64, place: &Place, network: u32, made: StoreTime) {
        let here = Visit::at(place, network, seconds(made));
        self.go_on(Trail { session, here, before: None, left: None });
    }

    /// What a use comes to.
    #[must_use]
    pub fn look(&self, rules: &PlaceRules, sighting: &Sighting<'_>) -> Step {
        let Sighting { place, network, now, .. } = *sighting;
        let trail = self.trail(sighting.session);
        if trail.is_some_and(|trail| trail.here.network == network) {
            return Step::Stays;
        }
        let returns =
            |trail: &&Trail| !trail.here.doubted && trail.before.as_ref().is_some_and(|it| is_one(it, place, network));
        if trail.is_some_and(|trail| returns(&trail)) {
            return Step::Returns;
        }
        let Some(from) = self.held_against(trail, place) else { return Step::First };
        let from = match trail {
            Some(_) => from,
            // Of several devices any may be near.
            None => self.trusted().find(|visit| is_one(visit, place, network)).unwrap_or(from),
        };
        if from.network == network {
            return Step::Near;
        }
        if from.cannot_be_told_from(place) {
            return Step::Untold;
        }
        let km = from.apart(place.spot);
        if km < FAR {
            return Step::Near;
        }
        let seconds = seconds(now).saturating_sub(from.until).max(SHORTEST);
        let back = trail.is_some_and(|trail| is_back(trail, rules, sighting));
        let rule = if rules.travel.as_ref().is_some_and(|rule| travel::is_it(rule, km, seconds)) {
            LeapRule::Travel
        } else if rules.location_change.as_ref().is_some_and(|rule| location_change::is_it(rule, km, seconds)) {
            LeapRule::LocationChange
        } else {
            return Step::Journey;
        };
        let back = back && rule == LeapRule::Travel;
        let excuse = if back { None } else { self.excuse(from, sighting) };
        Step::Leap(Leap {
            rule,
            from: from.name.clone(),
            from_spot: from.spot,
            km,
            seconds,
            back,
            excuse,
            was_noted: false,
        })
    }

    /// The place that a new one is held against: where the session was; or where any of the user's was last.
    fn held_against<'a>(&'a self, trail: Option<&'a Trail>, place: &Place) -> Option<&'a Visit> {
        match trail {
            Some(trail) if trail.here.elsewhere && place.elsewhere.is_none() => {
                Some(trail.before.as_ref().unwrap_or(&trail.here))
            }
            Some(trail) => Some(&trail.here),
            None => {
                let last = self.trusted().max_by_key(|visit| (!visit.elsewhere, visit.until));
                last.or_else(|| self.trails.last().map(|trail| &trail.here))
            }
        }
    }

    /// Where the user's sessions were, but for what was doubted.
    fn trusted(&self) -> impl Iterator<Item = &Visit> {
        let visits = self.trails.iter().flat_map(|trail| std::iter::once(&trail.here).chain(&trail.before));
        visits.filter(|visit| !visit.doubted)
    }

    fn excuse(&self, from: &Visit, sighting: &Sighting<'_>) -> Option<Excuse> {
        let Sighting { place, now, how, .. } = *sighting;
        if from.elsewhere || place.elsewhere.is_some() {
            Some(Excuse::Network)
        } else if self.has_been(place, seconds(now).saturating_sub(KNOWN)) {
            Some(Excuse::Known)
        } else if self.has_paired(from.spot, place.spot, seconds(now).saturating_sub(PAIR_KNOWN)) {
            Some(Excuse::Pair)
        } else if matches!(how, How::LogIn { known_device: true, .. }) {
            Some(Excuse::Device)
        } else {
            None
        }
    }

    /// What was only noted is noted once in two weeks: a phone changes between WLAN and carrier all day.
    fn note_once(&mut self, sighting: &Sighting<'_>, leap: &mut Leap) {
        let Some(excuse) = leap.excuse else { return };
        let Place { spot, asn, elsewhere, .. } = sighting.place;
        let away = self.trail(sighting.session).filter(|trail| elsewhere.is_none() && trail.here.elsewhere);
        let (spot, asn) = away.map_or((*spot, *asn), |trail| (trail.here.spot, trail.here.asn));
        // Of a network that is nobody's place its provider counts, wherever it comes out.
        let what = match (excuse, asn) {
            (Excuse::Network, Some(asn)) => asn,
            _ => u32::from_be_bytes(spot.cell().bytes()) ^ excuse as u32,
        };
        let now = seconds(sighting.now);
        leap.was_noted = !self.note(what, now.saturating_sub(KNOWN), now);
    }

    /// Notes what a use came to. Answers whether it is news that the user uses the place as their own, which is what others of
    /// the tenant are helped by.
    pub fn settle(&mut self, sighting: &Sighting<'_>, step: &mut Step) -> bool {
        if let Step::Leap(leap) = step {
            self.note_once(sighting, leap);
            if leap.excuse == Some(Excuse::Pair) {
                self.pair(leap.from_spot, sighting.place.spot, seconds(sighting.now));
            }
        }
        let Sighting { session, place, network, .. } = *sighting;
        let now = seconds(sighting.now);
        let old = self.trail(session).cloned();
        let was_doubted = old.as_ref().is_some_and(|trail| trail.here.doubted);
        let mut visit = Visit::at(place, network, now);
        let is_own = place.elsewhere.is_none() && place.city.is_some() && place.spot.is_precise();
        // Whoever goes on from where nobody could have come is doubted there, too, but where the user is known.
        let still_doubted = was_doubted && !self.has_been(place, now.saturating_sub(KNOWN));
        let (doubted, learns) = match step {
            Step::First => (false, true),
            Step::Stays | Step::Untold | Step::Returns => (still_doubted, false),
            Step::Near | Step::Journey => (still_doubted, !still_doubted),
            Step::Leap(leap) => (leap.excuse.is_none() && !leap.back, false),
        };
        visit.doubted = doubted;
        let trail = match old {
            None => Trail { session, here: visit, before: None, left: None },
            Some(mut trail) if matches!(step, Step::Stays) => {
                trail.here.until = now;
                trail.here.doubted = doubted;
                trail
            }
            Some(mut trail) if matches!(step, Step::Untold) => {
                (trail.here.network, trail.here.until) = (network, now);
                trail.here.or = (trail.here.spot.apart(place.spot) > 0).then_some(place.spot);
                trail
            }
            Some(trail) => {
                let left = Some((trail.here.network, trail.here.until));
                let says_where = !trail.here.doubted && !trail.here.elsewhere;
                let before = if says_where { Some(trail.here) } else { trail.before };
                Trail { session, here: visit, before, left }
            }
        };
        if let (Step::Leap(Leap { back: true, .. }), Some(before)) = (step, self.trail(session)) {
            self.asked = Some(Asked { session, from: before.here.spot, to: place.spot });
        }
        self.go_on(trail);
        is_own && !doubted && self.use_haunt(place, now, learns)
    }
}

/// Whether a place is where a visit is, whatever the network.
fn is_one(visit: &Visit, place: &Place, network: u32) -> bool {
    visit.network == network || visit.cannot_be_told_from(place) || visit.apart(place.spot) < FAR
}

/// Whether a session that came from where nobody could have come from is back.
fn is_back(trail: &Trail, rules: &PlaceRules, sighting: &Sighting<'_>) -> bool {
    let Sighting { place, network, now, .. } = *sighting;
    let (Some((left, until)), Some(rule)) = (trail.left, &rules.travel) else { return false };
    let in_time = seconds(now).saturating_sub(until) <= rule.back_within;
    let is_before = trail.before.as_ref().is_some_and(|before| is_one(before, place, network));
    trail.here.doubted && in_time && (left == network || is_before)
}
