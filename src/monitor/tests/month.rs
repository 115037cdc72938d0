//! A month of 10,000 users, made by a seed: how often nobody's fault is taken for a theft, and how many thefts are found.
//!
//! ```sh
//! cargo test --lib a_month_of_ten_thousand_users -- --ignored --nocapture
//! ```
//!
//! What people do is in `month/people.rs`, what networks databases know in `month/world.rs`, and what thieves do in
//! `month/thieves.rs`; here it is seen as gateways see it.

mod people;
mod thieves;
mod world;

use std::collections::{BTreeMap, HashMap};

use super::chance::Chance;
use super::rules;
use crate::monitor::{
    Cell, FindingKind, Footprint, How, Place, PlaceRules, Severity, Sighting, Spot, Step, TENANT_KNOWS, far_apart,
};
use crate::session::StoreTime;

/// 2026-11-02, a Monday, in seconds.
const BEGINNING: u64 = 1_793_577_600;
const DAY: u64 = 86_400;
/// Two weeks in which the gateways come to know the users, and the month.
const DAYS: u64 = LEARNING + 30;
const LEARNING: u64 = 14;
/// After so long an operator has said that an alarm was nobody's fault.
const JUDGED_AFTER: u64 = 8 * 3600;
/// As `alerts.repeat`: within it the same is told once.
const REPEAT: u64 = 4 * 3600;
/// A session that was not used for so long is over.
const IDLE: u64 = 1800;

/// A network, as a database has it.
#[derive(Clone, Debug)]
struct Net {
    tag: u32,
    place: Option<Place>,
}

/// A use of a session.
#[derive(Clone, Debug)]
struct Use {
    /// Since the beginning, in seconds.
    at: u64,
    session: u64,
    how: How,
    net: Net,
    /// Which attack it is of.
    attack: Option<usize>,
}

/// An attack, and what it is to be found as.
#[derive(Clone, Debug)]
struct Attack {
    name: &'static str,
    kind: FindingKind,
    at_least: Severity,
}

/// What was found of a user.
struct Found {
    at: u64,
    kind: FindingKind,
    severity: Severity,
    attack: Option<usize>,
}

/// What users of a tenant use.
#[derive(Default)]
struct Tenant(HashMap<Cell, HashMap<u64, u64>>);

impl Tenant {
    fn users_near(&self, place: &Place, now: u64) -> usize {
        let near = place.spot.cells();
        let users = near.iter().filter_map(|cell| self.0.get(cell)).flatten();
        let known: Vec<u64> =
            users.filter(|(_, used)| now - **used <= TENANT_KNOWS.as_secs()).map(|(user, _)| *user).collect();
        known.into_iter().collect::<std::collections::HashSet<_>>().len()
    }

    fn note(&mut self, place: &Place, user: u64, now: u64) {
        self.0.entry(place.spot.cell()).or_default().insert(user, now);
    }
}

/// A session that was made.
struct Made {
    session: u64,
    place: Option<Place>,
    used: u64,
}

/// What is known of a user, and was found.
#[derive(Default)]
struct Watched {
    footprint: Footprint,
    sessions: Vec<Made>,
    found: Vec<Found>,
    /// Ways that an operator will call expected, and when.
    to_allow: Vec<(u64, Spot, Spot)>,
}

impl Watched {
    /// What the rules make of the next use.
    fn see(&mut self, rules: &PlaceRules, user: u64, one: &Use, tenant: &mut Tenant) {
        self.sessions.retain(|made| one.at - made.used < IDLE || made.session == one.session);
        if matches!(one.how, How::LogIn { .. }) {
            self.sessions.push(Made { session: one.session, place: one.net.place.clone(), used: one.at });
            self.count(rules, one);
        }
        if let Some(made) = self.sessions.iter_mut().find(|made| made.session == one.session) {
            made.used = one.at;
        }
        let Some(place) = &one.net.place else { return };
        let now = StoreTime::from_micros((BEGINNING + one.at) * 1_000_000);
        for (from, to) in self.to_allow.extract_if(.., |(at, ..)| *at <= one.at).map(|(_, from, to)| (from, to)) {
            self.footprint.allow(from, to, now);
        }
        let Use { session, how, net, .. } = one;
        let sighting = Sighting { session: *session, place, network: net.tag, now, left: None, how: *how };
        self.footprint.begin(&sighting);
        let mut step = self.footprint.look(rules, &sighting);
        if let Step::Leap(leap) = &mut step
            && leap.asks_tenant()
        {
            leap.excuse_by_tenant(tenant.users_near(place, one.at));
        }
        if self.footprint.settle(&sighting, &mut step) {
            tenant.note(place, user, one.at);
        }
        if let Step::Leap(leap) = &step
            && let Some((kind, severity, _)) = leap.answer(rules)
        {
            if severity > Severity::Low && one.attack.is_none() {
                self.to_allow.push((one.at + JUDGED_AFTER, leap.from_spot, place.spot));
            }
            self.find(one, kind, severity);
        }
    }

    /// How many sessions there are, and where.
    fn count(&mut self, rules: &PlaceRules, one: &Use) {
        if let Some(rule) = rules.concurrent.as_ref().filter(|rule| self.sessions.len() > rule.count as usize) {
            self.find(one, FindingKind::Concurrent, rule.severity);
        }
        let places: Vec<Place> = self.sessions.iter().filter_map(|made| made.place.clone()).collect();
        if let Some(rule) = rules.locations.as_ref().filter(|rule| far_apart(rule, &places).is_some()) {
            self.find(one, FindingKind::Locations, rule.severity);
        }
    }

    fn find(&mut self, one: &Use, kind: FindingKind, severity: Severity) {
        self.found.push(Found { at: one.at, kind, severity, attack: one.attack });
    }

    /// What is told of nobody's fault: the same once in a while, as if there had been no thief.
    fn told(&self) -> impl Iterator<Item = &Found> {
        let mut last: HashMap<(&str, Severity), u64> = HashMap::new();
        self.found.iter().filter(|found| found.attack.is_none()).filter(move |found| {
            let key = (found.kind.as_str(), found.severity);
            let is_new = last.get(&key).is_none_or(|before| found.at - before >= REPEAT);
            if is_new {
                last.insert(key, found.at);
            }
            is_new
        })
    }
}

#[derive(Default)]
struct Totals {
    users: u64,
    user_days: u64,
    uses: u64,
    alarms: BTreeMap<&'static str, u64>,
    noted: BTreeMap<&'static str, u64>,
    planted: BTreeMap<&'static str, u64>,
    caught: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn take(&mut self, attacks: &[Attack], watched: &Watched) {
        for found in watched.told().filter(|found| found.at >= LEARNING * DAY) {
            let counts = if found.severity > Severity::Low { &mut self.alarms } else { &mut self.noted };
            *counts.entry(found.kind.as_str()).or_default() += 1;
        }
        for (number, attack) in attacks.iter().enumerate() {
            *self.planted.entry(attack.name).or_default() += 1;
            let is_it = |found: &&Found| {
                found.attack == Some(number) && found.kind == attack.kind && found.severity >= attack.at_least
            };
            *self.caught.entry(attack.name).or_default() += u64::from(watched.found.iter().any(|found| is_it(&found)));
        }
    }
}

/// A month of so many users; thieves visit one in so many, or nobody.
fn month(seed: u64, users: u64, visited: Option<u64>) -> Totals {
    let rules = PlaceRules { low_asns: world::low_asns(), ..rules() };
    let mut chance = Chance(seed);
    let world = world::World::made_by(&mut chance, &rules);
    let mut totals = Totals::default();
    while totals.users < users {
        let company = people::Company::made_by(&mut chance, &world);
        let (mut tenant, mut uses, mut attacks) = (Tenant::default(), Vec::new(), Vec::new());
        for number in 0..company.size.min(users - totals.users) {
            let mut person = people::Person::made_by(&mut chance, &world, &company);
            let (mut theirs, days) = person.month(&mut chance, &world, &company);
            totals.user_days += days;
            totals.users += 1;
            attacks.push(match visited {
                Some(of) if chance.below(of) == 0 => thieves::visit(&mut chance, &world, &person, &mut theirs),
                _ => Vec::new(),
            });
            uses.extend(theirs.into_iter().map(|one| (number, one)));
        }
        // What one uses the others are helped by from then on.
        uses.sort_by_key(|(user, one)| (one.at, *user));
        let mut watched: Vec<Watched> = attacks.iter().map(|_| Watched::default()).collect();
        totals.uses += uses.len() as u64;
        for (user, one) in &uses {
            watched[usize::try_from(*user).expect("small")].see(&rules, *user, one, &mut tenant);
        }
        attacks.iter().zip(&watched).for_each(|(attacks, watched)| totals.take(attacks, watched));
    }
    totals
}

fn show(totals: &Totals) {
    let Totals { users, user_days, uses, .. } = totals;
    println!("{users} users, {user_days} user-days, {uses} uses");
    for (what, counts) in [("false alarms", &totals.alarms), ("noted, low", &totals.noted)] {
        for (kind, count) in counts {
            println!("{what}: {kind} {count}, {:.2} in 10,000 user-days", per_10_000(*count, *user_days));
        }
    }
    for (name, planted) in &totals.planted {
        let caught = totals.caught[name];
        println!("found: {name} {caught} of {planted}, {:.1} %", per_10_000(caught, *planted) / 100.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn per_10_000(count: u64, of: u64) -> f64 {
    count as f64 * 10_000.0 / of as f64
}

fn assert_holds(totals: &Totals) {
    let alarms: u64 = totals.alarms.values().sum();
    assert!(alarms * 10_000 <= totals.user_days, "{alarms} false alarms in {} user-days", totals.user_days);
}

fn assert_holds_of_thieves(totals: &Totals) {
    for (name, planted) in &totals.planted {
        let caught = totals.caught[name];
        assert!(caught * 100 >= planted * 95, "{name}: {caught} of {planted}");
    }
}

#[test]
fn a_month_of_ten_thousand_users() {
    let quiet = month(20_261_102, 10_000, None);
    show(&quiet);
    let visited = month(20_261_103, 2_000, Some(1));
    show(&visited);
    assert_holds(&quiet);
    assert_holds_of_thieves(&visited);
}
