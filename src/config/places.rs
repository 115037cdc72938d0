//! The rules about places and sessions: `monitor.geo`, which networks say where somebody is, and what is done.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Problems;
use super::files::Files;
use super::parsers::{each, network};
use super::raw::{RawConcurrent, RawGeo, RawLocationChange, RawLocations, RawMonitor, RawTravel};
use super::reader::{OneOrMany, Spot};
use super::rule::{DAY, MINUTE, actions, severity};
use super::table::{Field, Setting};
use super::value::{count_within, duration_within};
use crate::monitor::{Action, Concurrent, GeoFiles, LOW_ASNS, LocationChange, Locations, PlaceRules, Severity, Travel};

/// From as fast as a train to faster than anything that flies.
const SPEEDS: RangeInclusive<u64> = 100..=100_000;
/// From the next town to the other side of the earth.
const DISTANCES: RangeInclusive<u64> = 100..=20_000;
const MOST_SESSIONS: u64 = 1000;
/// What each of these rules can do.
const EACH: [Action; 3] = [Action::Record, Action::Alert, Action::Notify];

/// The rules, and what they go by.
pub(super) fn places(raw: &RawMonitor, problems: &mut Problems) -> PlaceRules {
    let (geo, travel, location_change) = (raw.geo.get(), raw.travel.get(), raw.location_change.get());
    let (locations, concurrent) = (raw.locations.get(), raw.concurrent.get());
    PlaceRules {
        geo: geo.and_then(|raw| geo_files(raw, problems)),
        ignore_networks: each(&raw.ignore_networks, problems, network),
        ignore_asns: numbers(&raw.ignore_asns, &[], problems),
        low_asns: numbers(&raw.low_asns, &LOW_ASNS, problems),
        travel: travel.map_or_else(|| Some(default_travel()), |raw| rule_travel(raw, problems)),
        location_change: location_change
            .map_or_else(|| Some(default_location_change()), |raw| rule_location_change(raw, problems)),
        locations: locations.map_or_else(|| Some(default_locations()), |raw| rule_locations(raw, problems)),
        concurrent: concurrent.map_or_else(|| Some(default_concurrent()), |raw| rule_concurrent(raw, problems)),
    }
}

/// Which files they name.
pub(super) fn files(raw: &RawMonitor, files: &mut Files) {
    for list in raw.geo.get().into_iter().flat_map(|raw| [&raw.city, &raw.asn]).filter_map(Field::get) {
        for Spot { place, value } in &list.0 {
            files.read_at(Setting { place: place.clone(), given: true }, Path::new(value));
        }
    }
}

/// A rule that was written down needs to know places.
pub(super) fn report_blind(raw: &RawMonitor, rules: &PlaceRules, problems: &mut Problems) {
    if rules.geo.is_some() {
        return;
    }
    let written = [
        raw.travel.get().filter(|_| rules.travel.is_some()).map(|_| raw.travel.place()),
        raw.location_change.get().filter(|_| rules.location_change.is_some()).map(|_| raw.location_change.place()),
        raw.locations.get().filter(|_| rules.locations.is_some()).map(|_| raw.locations.place()),
    ];
    for place in written.into_iter().flatten() {
        problems.warn(place, "finds nothing without `monitor.geo.city`, which says where addresses are");
    }
}

/// The databases; one of networks alone knows no place.
fn geo_files(raw: &RawGeo, problems: &mut Problems) -> Option<GeoFiles> {
    let city = raw.city.require(problems, "city = \"City.mmdb\"", |list| Ok(paths(list)))?;
    if city.is_empty() {
        problems.error(raw.city.place(), "is empty; write the path of a database, as in \"City.mmdb\"");
    }
    Some(GeoFiles { city, asn: raw.asn.get().map(paths).unwrap_or_default() })
}

fn paths(OneOrMany(list): &OneOrMany) -> Vec<PathBuf> {
    list.iter().map(|spot| PathBuf::from(&spot.value)).collect()
}

/// Numbers of autonomous systems, in order.
fn numbers(field: &Field<Vec<Spot<u64>>>, usual: &[u32], problems: &mut Problems) -> Vec<u32> {
    let mut numbers = match field.get() {
        None => usual.to_vec(),
        Some(list) => {
            let read = |spot: &Spot<u64>| {
                let number = u32::try_from(spot.value).ok().filter(|number| *number != 0);
                if number.is_none() {
                    problems.error(&spot.place, "is no number of an autonomous system; choose from 1 to 4294967295");
                }
                number
            };
            list.iter().filter_map(read).collect()
        }
    };
    numbers.sort_unstable();
    numbers
}

/// What is done that is written down takes the place of both usual lists; a way in one direction asks nobody to log in again.
fn rule_travel(raw: &RawTravel, problems: &mut Problems) -> Option<Travel> {
    let usual = default_travel();
    let possible = [&EACH[..], &[Action::Reauth, Action::Terminate]].concat();
    let (one_way, back) = match raw.action.is_given() {
        false => (usual.actions, usual.actions_if_back),
        true => {
            let all = actions(&raw.action, &usual.actions, &possible, problems);
            let mut one_way = all.clone();
            one_way.retain(|action| EACH.contains(action));
            if one_way.is_empty() {
                one_way.push(Action::Record);
            }
            (one_way, all)
        }
    };
    let travel = Travel {
        kmh: raw.kmh.parse_or(usual.kmh, problems, count_within(SPEEDS)),
        back_within: seconds(&raw.window, usual.back_within, problems),
        severity: severity(&raw.severity, usual.severity, problems),
        actions: one_way,
        actions_if_back: back,
    };
    is_on(&raw.enabled).then_some(travel)
}

fn rule_location_change(raw: &RawLocationChange, problems: &mut Problems) -> Option<LocationChange> {
    let usual = default_location_change();
    let rule = LocationChange {
        km: raw.km.parse_or(usual.km, problems, count_within(DISTANCES)),
        within: seconds(&raw.within, usual.within, problems),
        severity: severity(&raw.severity, usual.severity, problems),
        actions: actions(&raw.action, &usual.actions, &EACH, problems),
    };
    is_on(&raw.enabled).then_some(rule)
}

fn rule_locations(raw: &RawLocations, problems: &mut Problems) -> Option<Locations> {
    let usual = default_locations();
    let rule = Locations {
        km: raw.km.parse_or(usual.km, problems, count_within(DISTANCES)),
        severity: severity(&raw.severity, usual.severity, problems),
        actions: actions(&raw.action, &usual.actions, &EACH, problems),
    };
    is_on(&raw.enabled).then_some(rule)
}

fn rule_concurrent(raw: &RawConcurrent, problems: &mut Problems) -> Option<Concurrent> {
    let usual = default_concurrent();
    let rule = Concurrent {
        count: raw.count.parse_or(usual.count, problems, count_within(1..=MOST_SESSIONS)),
        severity: severity(&raw.severity, usual.severity, problems),
        actions: actions(&raw.action, &usual.actions, &EACH, problems),
    };
    is_on(&raw.enabled).then_some(rule)
}

fn is_on(field: &Field<bool>) -> bool {
    field.get().copied().unwrap_or(true)
}

/// Whole seconds, for times are kept as such.
fn seconds(field: &Field<String>, usual: u32, problems: &mut Problems) -> u32 {
    let usual = Duration::from_secs(usual.into());
    let duration = field.parse_or(usual, problems, duration_within(MINUTE..=DAY));
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn default_travel() -> Travel {
    Travel {
        kmh: 1000,
        back_within: 600,
        severity: Severity::High,
        actions: vec![Action::Alert],
        actions_if_back: vec![Action::Reauth],
    }
}

fn default_location_change() -> LocationChange {
    LocationChange { km: 500, within: 3600, severity: Severity::Medium, actions: vec![Action::Alert] }
}

fn default_locations() -> Locations {
    Locations { km: 500, severity: Severity::Low, actions: vec![Action::Record] }
}

fn default_concurrent() -> Concurrent {
    Concurrent { count: 3, severity: Severity::Medium, actions: vec![Action::Notify] }
}
