//! `monitor.geo` and which networks say where somebody is.

use std::path::{Path, PathBuf};

use super::error::Problems;
use super::files::Files;
use super::parsers::{each, network};
use super::raw::{RawGeo, RawMonitor};
use super::reader::{OneOrMany, Spot};
use super::table::{Field, Setting};
use crate::monitor::{GeoFiles, LOW_ASNS, PlaceRules};

/// What the rules about places go by.
pub(super) fn places(raw: &RawMonitor, problems: &mut Problems) -> PlaceRules {
    PlaceRules {
        geo: raw.geo.get().and_then(|raw| geo(raw, problems)),
        ignore_networks: each(&raw.ignore_networks, problems, network),
        ignore_asns: numbers(&raw.ignore_asns, &[], problems),
        low_asns: numbers(&raw.low_asns, &LOW_ASNS, problems),
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

/// The databases; one of networks alone knows no place.
fn geo(raw: &RawGeo, problems: &mut Problems) -> Option<GeoFiles> {
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
