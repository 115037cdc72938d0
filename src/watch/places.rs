//! Where sessions are used from: seen at each request by a look into a table in memory, and judged beside the requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Watch;
use super::findings::of_user;
use crate::monitor::{
    Action, Evidence, Finding, FindingKind, Footprint, How, Leap, MonitorMode, MonitorRules, Noted, Place, PlaceRules,
    Seen, Severity, Sighting, Step, TENANT_KNOWS, network_tag, session_tag,
};
use crate::session::{By, SessionId, SessionRecord, StoreTime};
use crate::store::StoreResult;
use crate::store::places::{CellUse, FootprintChange};
use crate::told::Origin;

/// Sightings that wait to be judged; more are seen again at the next use, and counted.
pub(super) const MOST_SIGHTINGS: usize = 4096;
/// Sightings that are judged together.
const TOGETHER: usize = 256;
/// How often what became of a user is read again because another gateway was quicker.
const TRIES: usize = 3;
/// A session that nothing is known of is new where it is no older than this.
const NEW: Duration = Duration::from_secs(900);
/// A session that is younger may be one whose login is still on its way here.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// A use of a live session.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    /// Which session.
    pub id: SessionId,
    /// Its record.
    pub record: &'a Arc<SessionRecord>,
    /// The client's address.
    pub address: IpAddr,
    /// The store's time.
    pub now: StoreTime,
    /// Whether it is a person's use, and not what a page does by itself.
    pub counts: bool,
}

/// A login that made a session.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Whether the account knows the device.
    pub known_device: bool,
    /// The session whose place it took.
    pub replaces: Option<SessionId>,
}

/// What is to be judged.
#[derive(Debug)]
pub struct Sighted {
    pub(super) id: SessionId,
    pub(super) record: Arc<SessionRecord>,
    address: IpAddr,
    /// Whether that is the address of a proxy of the operator's own.
    is_proxy: bool,
    now: StoreTime,
    /// The network before, and when the session was last used there.
    before: Option<(u32, StoreTime)>,
    /// `None`: it is a use.
    arrival: Option<Arrival>,
}

impl Sighted {
    fn session(&self) -> u64 {
        session_tag(self.record.decided_by(self.id))
    }

    fn network(&self) -> u32 {
        network_tag(self.address)
    }
}

/// A user's sightings while they are judged.
struct Judged<'a> {
    kept: Option<Vec<u8>>,
    footprint: Footprint,
    /// What each came to, with where it was.
    steps: Vec<(&'a Sighted, Place, Step)>,
    /// Places that are news to the tenant.
    news: Vec<CellUse>,
}

impl Watch {
    /// A live session is used. Costs a look into a table, unless that is new. `is_proxy` says of the address whether it is a
    /// trusted proxy's.
    pub fn seen(&self, rules: &MonitorRules, presence: Presence<'_>, is_proxy: impl FnOnce() -> bool) {
        let Presence { id, record, address, now, counts } = presence;
        if !rules.places.looks_at_uses() {
            return;
        }
        let session = session_tag(record.decided_by(id));
        let seen = Seen { session, network: network_tag(address), now, counts };
        self.0.whereabouts.see(seen, |noted| {
            let before = match noted {
                Noted::Unknown if now.since(record.created) < ON_ITS_WAY => return false,
                Noted::Unknown | Noted::Again => None,
                Noted::Moved { from, left } => Some((from, left)),
            };
            let sighted =
                Sighted { id, record: record.clone(), address, is_proxy: is_proxy(), now, before, arrival: None };
            self.note_sighting(sighted)
        });
    }

    /// A login made a session.
    pub fn logged_in(
        &self,
        rules: &MonitorRules,
        presence: Presence<'_>,
        arrival: Arrival,
        is_proxy: impl FnOnce() -> bool,
    ) {
        let Presence { id, record, address, now, counts } = presence;
        if !rules.places.looks_at_logins() {
            return;
        }
        let session = session_tag(record.decided_by(id));
        let seen = Seen { session, network: network_tag(address), now, counts };
        self.0.whereabouts.see(seen, |_| {
            let (record, is_proxy, arrival) = (record.clone(), is_proxy(), Some(arrival));
            self.note_sighting(Sighted { id, record, address, is_proxy, now, before: None, arrival })
        });
    }

    fn note_sighting(&self, sighted: Sighted) -> bool {
        let is_taken = self.0.sightings.try_send(sighted).is_ok();
        if !is_taken {
            self.0.services.metrics.monitor_dropped();
        }
        is_taken
    }

    /// What was seen since the last time; waits until there is something. For one alone.
    pub async fn sightings(&self) -> Vec<Sighted> {
        let mut sighted = Vec::new();
        self.0.waiting_sightings.lock().await.recv_many(&mut sighted, TOGETHER).await;
        sighted
    }

    /// Judges what was seen.
    pub async fn judge(&self, rules: &MonitorRules, sighted: &[Sighted]) {
        let began = self.0.services.clock.monotonic();
        if self.0.services.geo.knows_places() {
            self.judge_places(rules, sighted).await;
        }
        self.judge_sessions(rules, sighted).await;
        self.0.services.metrics.monitor_took(self.0.services.clock.monotonic().since(began));
    }

    async fn judge_places(&self, rules: &MonitorRules, sighted: &[Sighted]) {
        let mut of_users: HashMap<u64, Vec<&Sighted>> = HashMap::new();
        for one in sighted {
            of_users.entry(self.0.services.keys.user(&one.record.principal)).or_default().push(one);
        }
        for _ in 0..TRIES {
            match self.try_to_judge(rules, &of_users).await {
                // Another gateway knew more of these.
                Ok(again) => of_users.retain(|user, _| again.contains(user)),
                Err(error) => {
                    tracing::debug!(%error, "places are not judged");
                    self.0.services.metrics.monitor_dropped();
                    return;
                }
            }
            if of_users.is_empty() {
                return;
            }
        }
        self.0.services.metrics.monitor_dropped();
    }

    /// Answers the users of whom another gateway kept something meanwhile.
    async fn try_to_judge(
        &self,
        rules: &MonitorRules,
        of_users: &HashMap<u64, Vec<&Sighted>>,
    ) -> StoreResult<Vec<u64>> {
        let places = &self.0.services.places;
        let users: Vec<u64> = of_users.keys().copied().collect();
        let kept = places.footprints(&users).await?;
        let mut judged = Vec::with_capacity(users.len());
        for (user, kept) in users.iter().zip(kept) {
            let sighted = of_users.get(user).map_or(&[][..], Vec::as_slice);
            judged.push((*user, self.judge_user(rules, *user, kept, sighted).await?));
        }
        let changed = judged.iter().filter(|(_, judged)| !judged.steps.is_empty());
        let change = |(user, judged): &(u64, Judged<'_>)| FootprintChange {
            user: *user,
            before: judged.kept.clone(),
            after: judged.footprint.encode(),
        };
        let is_kept = places.keep_footprints(changed.clone().map(change).collect()).await?;
        let mut again = Vec::new();
        let mut news = Vec::new();
        for ((user, judged), is_kept) in changed.zip(is_kept) {
            if is_kept {
                self.conclude(rules, judged);
                news.extend(judged.news.iter().copied());
            } else {
                again.push(*user);
            }
        }
        if !news.is_empty() {
            places.note_uses(news).await?;
        }
        Ok(again)
    }

    async fn judge_user<'a>(
        &self,
        rules: &MonitorRules,
        user: u64,
        kept: Option<Vec<u8>>,
        sighted: &[&'a Sighted],
    ) -> StoreResult<Judged<'a>> {
        let footprint = kept.as_deref().and_then(Footprint::decode).unwrap_or_default();
        let mut judged = Judged { kept, footprint, steps: Vec::new(), news: Vec::new() };
        for one in sighted {
            let Some(place) = self.place(&rules.places, one.address, one.is_proxy) else { continue };
            let how = self.how(rules, one, &mut judged.footprint);
            let sighting = Sighting {
                session: one.session(),
                place: &place,
                network: one.network(),
                now: one.now,
                left: one.before.map(|(_, left)| left),
                how,
            };
            judged.footprint.begin(&sighting);
            let mut step = judged.footprint.look(&rules.places, &sighting);
            if let Step::Leap(leap) = &mut step
                && leap.asks_tenant()
            {
                leap.excuse_by_tenant(self.users_near(one, &place).await?);
            }
            if judged.footprint.settle(&sighting, &mut step) {
                let cell = self.0.services.keys.cell(&one.record.principal.tenant, place.spot.cell());
                judged.news.push(CellUse { cell, user, at: one.now });
            }
            judged.steps.push((*one, place, step));
        }
        Ok(judged)
    }

    /// How a session came to be where it is. Of one that nothing is known of, and that is not new, it is assumed that it was
    /// where it was made.
    fn how(&self, rules: &MonitorRules, one: &Sighted, footprint: &mut Footprint) -> How {
        let tag = |id: SessionId| session_tag(id);
        if let Some(Arrival { known_device, replaces }) = one.arrival {
            return How::LogIn { known_device, replaces: replaces.map(tag) };
        }
        let session = one.session();
        if footprint.follows(session) {
            return How::Use;
        }
        if one.is_new() {
            return How::LogIn { known_device: false, replaces: None };
        }
        let made_at = one.record.address;
        if let Some((address, place)) =
            made_at.and_then(|address| Some((address, self.place(&rules.places, address, false)?)))
        {
            footprint.assume(session, &place, network_tag(address), one.record.created);
        }
        How::Use
    }

    /// Where an address is, as it counts.
    fn place(&self, rules: &PlaceRules, address: IpAddr, is_proxy: bool) -> Option<Place> {
        if is_proxy || !rules.has_place(address) {
            return None;
        }
        rules.counted(self.0.services.geo.locate(address)?)
    }

    /// The same, of an address of which no more is known.
    pub(super) fn place_of(&self, rules: &MonitorRules, address: IpAddr) -> Option<Place> {
        self.place(&rules.places, address, false)
    }

    /// How many of the tenant's users use a place.
    async fn users_near(&self, one: &Sighted, place: &Place) -> StoreResult<usize> {
        let services = &self.0.services;
        let tenant = &one.record.principal.tenant;
        let cells = place.spot.cells().map(|cell| services.keys.cell(tenant, cell));
        let mut users = services.places.users_of(&cells, one.now.before(TENANT_KNOWS)).await?;
        users.sort_unstable();
        users.dedup();
        Ok(users.len())
    }

    /// What was judged is kept: it is told, and what is nothing new from now on is known.
    fn conclude(&self, rules: &MonitorRules, judged: &Judged<'_>) {
        for (one, place, step) in &judged.steps {
            if let Some((from, _)) = one.before.filter(|_| step.joins()) {
                self.0.whereabouts.join(one.session(), from, one.network());
            }
            if let Step::Leap(leap) = step
                && let Some(finding) = leap_finding(rules, one, place, leap)
            {
                self.found(finding, one.origin());
            }
        }
    }
}

impl Sighted {
    /// Whether it is a session that was just made.
    pub(super) fn is_new(&self) -> bool {
        self.now.since(self.record.created) < NEW
    }

    /// Whether it says that a session came to be.
    pub(super) fn came_to_be(&self) -> bool {
        self.arrival.is_some() || (self.before.is_none() && self.is_new())
    }

    /// Where the finding comes from.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(By::User).from_address(self.address)
    }

    /// A finding about it.
    pub(super) fn finding(&self, mode: MonitorMode, about: About) -> Finding {
        let About { kind, severity, actions, again, evidence } = about;
        let principal = self.record.principal.clone();
        Finding {
            kind,
            severity,
            mode,
            actions,
            // What is only noted hides nothing that is more.
            subject: format!("{}{again}", of_user(&principal)),
            session: Some((self.id, principal)),
            account: None,
            address: Some(self.address),
            evidence,
        }
    }
}

/// What is found.
pub(super) struct About {
    pub(super) kind: FindingKind,
    pub(super) severity: Severity,
    pub(super) actions: Vec<Action>,
    /// What tells it from others of its kind about the user.
    pub(super) again: &'static str,
    pub(super) evidence: Evidence,
}

fn leap_finding(rules: &MonitorRules, one: &Sighted, place: &Place, leap: &Leap) -> Option<Finding> {
    let (kind, severity, actions) = leap.answer(&rules.places)?;
    let mut evidence = Evidence::default()
        .with("from", leap.from.as_str())
        .with("to", place.name())
        .with("km", leap.km)
        .with("seconds", leap.seconds)
        .with("kmh", leap.kmh())
        .with("from_at", leap.from_spot.degrees())
        .with("to_at", place.spot.degrees());
    if leap.back {
        evidence = evidence.with("in_use_at_once", true);
    }
    let again = match leap.excuse {
        Some(excuse) => {
            evidence = evidence.with("only_noted", excuse.as_str());
            ",noted"
        }
        None if leap.back => ",both",
        None => "",
    };
    let about = About { kind, severity, actions: actions.to_vec(), again, evidence };
    Some(one.finding(rules.mode, about))
}

/// A queue of sightings.
pub(super) fn queue() -> (mpsc::Sender<Sighted>, mpsc::Receiver<Sighted>) {
    mpsc::channel(MOST_SIGHTINGS)
}
