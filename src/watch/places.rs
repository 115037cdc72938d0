//! Where sessions are used from: seen at each request by a look into a table in memory, and judged beside the requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Watch;
use super::findings::of_user;
use super::sighting::{Arrival, Presence, Sighted};
use crate::monitor::{
    Action, Evidence, Finding, FindingKind, FindingRecord, Footprint, How, Leap, MonitorMode, MonitorRules, Noted,
    Place, PlaceRules, Seen, Severity, Sighting, Spot, Step, TENANT_KNOWS, Verdict, network_tag, session_tag,
};
use crate::session::{Principal, SessionId, StoreTime};
use crate::store::StoreResult;
use crate::store::places::{CellUse, FootprintChange};

/// Sightings that are judged together.
const TOGETHER: usize = 256;
/// How often what became of a user is read again because another gateway was quicker.
const TRIES: usize = 3;
/// A session that is younger may be one whose login is still on its way here.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

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
        if !rules.places.are_on() {
            return;
        }
        let session = session_tag(record.decided_by(id));
        let seen = Seen { session, network: network_tag(address), now, counts };
        self.0.whereabouts.see(seen, |noted| {
            let (is_first, before) = match noted {
                Noted::Unknown if now.since(record.created) < ON_ITS_WAY => return false,
                Noted::Unknown => (true, None),
                Noted::Again => (false, None),
                Noted::Moved { from, left } => (false, Some((from, left))),
            };
            let (record, is_proxy) = (record.clone(), is_proxy());
            self.note_sighting(Sighted { id, record, address, is_proxy, now, is_first, before, arrival: None })
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
        if !rules.places.are_on() {
            return;
        }
        let session = session_tag(record.decided_by(id));
        let seen = Seen { session, network: network_tag(address), now, counts };
        self.0.whereabouts.see(seen, |_| {
            let (record, is_proxy, arrival) = (record.clone(), is_proxy(), Some(arrival));
            self.note_sighting(Sighted { id, record, address, is_proxy, now, is_first: true, before: None, arrival })
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

    /// How a session came to be where it is. Of one that nothing is known of, and that is not new or elsewhere by now, it is
    /// assumed that it was where it was made.
    fn how(&self, rules: &MonitorRules, one: &Sighted, footprint: &mut Footprint) -> How {
        if let Some(Arrival { known_device, releases }) = one.arrival {
            return How::LogIn { known_device, releases: releases.map(session_tag) };
        }
        let session = one.session();
        if footprint.follows(session) {
            return How::Use;
        }
        let made_at = one.record.address;
        let is_there = made_at.is_none_or(|address| network_tag(address) == one.network());
        if one.is_new() && is_there {
            return How::LogIn { known_device: false, releases: None };
        }
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

    /// Somebody said what is to be thought of a way that was found: its two places are learned, or forgotten.
    pub(super) async fn learn_of_verdict(&self, record: &FindingRecord, verdict: Verdict) {
        let Some((tenant, user)) = record.whose() else { return };
        let spot = |name| record.evidence.values().get(name)?.as_str().and_then(Spot::of_degrees);
        let (Some(from), Some(to)) = (spot("from_at"), spot("to_at")) else { return };
        let user = self.0.services.keys.user(&Principal { tenant, user, role: None });
        let lesson = |footprint: &mut Footprint, now| match verdict {
            Verdict::Expected => footprint.allow(from, to, now),
            Verdict::Malicious => footprint.disallow(from, to),
        };
        self.teach(user, lesson).await;
    }

    /// A user logged in again for a held session, and not by a login that is judged itself. Waits for nothing.
    pub fn logged_in_again(&self, principal: &Principal, released: SessionId) {
        let Ok(place) = self.0.under_way.clone().try_acquire_owned() else {
            self.0.services.metrics.monitor_dropped();
            return;
        };
        let (watch, user) = (self.clone(), self.0.services.keys.user(principal));
        self.0.services.tasks.spawn(async move {
            let _place = place;
            watch.teach(user, |footprint, now| footprint.answered(session_tag(released), now)).await;
        });
    }

    /// Changes what is known of a user.
    async fn teach(&self, user: u64, lesson: impl Fn(&mut Footprint, StoreTime) + Send + Sync) {
        for _ in 0..TRIES {
            match self.try_to_teach(user, &lesson).await {
                Ok(true) => return,
                // Another gateway was quicker.
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "nothing is learned of a place");
                    break;
                }
            }
        }
        self.0.services.metrics.monitor_dropped();
    }

    async fn try_to_teach(
        &self,
        user: u64,
        lesson: &(impl Fn(&mut Footprint, StoreTime) + Send + Sync),
    ) -> StoreResult<bool> {
        let places = &self.0.services.places;
        let before = places.footprints(&[user]).await?.into_iter().next().flatten();
        let mut footprint = before.as_deref().and_then(Footprint::decode).unwrap_or_default();
        lesson(&mut footprint, self.0.services.store.now().await?);
        let after = footprint.encode();
        if before.as_ref() == Some(&after) {
            return Ok(true);
        }
        let kept = places.keep_footprints(vec![FootprintChange { user, before, after }]).await?;
        Ok(kept.first() == Some(&true))
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
    pub(super) again: String,
    pub(super) evidence: Evidence,
}

fn leap_finding(rules: &MonitorRules, one: &Sighted, place: &Place, leap: &Leap) -> Option<Finding> {
    let (kind, severity, actions) = leap.answer(&rules.places)?;
    let mut evidence = Evidence::default()
        .with("from_place", leap.from.as_str())
        .with("to_place", place.name())
        .with("km", leap.km)
        .with("seconds", leap.seconds)
        .with("kmh", leap.kmh())
        .with("from_at", leap.from_spot.degrees())
        .with("to_at", place.spot.degrees());
    if leap.back {
        evidence = evidence.with("in_use_at_once", true);
    }
    let how = match leap.excuse {
        Some(excuse) => {
            evidence = evidence.with("only_noted", excuse.as_str());
            ",noted"
        }
        None if leap.back => ",both",
        None => "",
    };
    // A way that is nobody's fault hides none to a third place.
    let again = format!(",{:08x}{how}", u32::from_be_bytes(place.spot.cell().bytes()));
    let about = About { kind, severity, actions: actions.to_vec(), again, evidence };
    Some(one.finding(rules.mode, about))
}
