//! The databases of a configuration, read from their files.

use std::net::IpAddr;
use std::path::Path;

use super::database::{Database, Kind, Said};
use crate::monitor::{GeoFiles, Place};
use crate::settled;

/// No database is larger: it is kept in memory.
const LARGEST: u64 = 1 << 29;
/// A database that is older is told of: their makers write a new one every week or month.
const OLD: u64 = 45 * DAY;
const DAY: u64 = 86_400;

/// Each file, with its kind.
pub(super) fn all(files: &GeoFiles) -> impl Iterator<Item = (Kind, &Path)> {
    let kinds = [(Kind::City, &files.city), (Kind::Asn, &files.asn)];
    kinds.into_iter().flat_map(|(kind, files)| files.iter().map(move |file| (kind, file.as_path())))
}

/// What was read.
#[derive(Default)]
pub(super) struct Loaded {
    city: Vec<Database>,
    asn: Vec<Database>,
}

impl Loaded {
    /// Adds a database.
    pub(super) fn add(&mut self, kind: Kind, database: Database) {
        match kind {
            Kind::City => self.city.push(database),
            Kind::Asn => self.asn.push(database),
        }
    }

    pub(super) const fn knows_places(&self) -> bool {
        !self.city.is_empty()
    }

    /// When the oldest of each kind was built.
    pub(super) fn built(&self) -> impl Iterator<Item = (Kind, u64)> {
        let oldest = |kind, of: &[Database]| Some((kind, of.iter().map(Database::built).min()?));
        [oldest(Kind::City, &self.city), oldest(Kind::Asn, &self.asn)].into_iter().flatten()
    }

    pub(super) fn locate(&self, address: IpAddr) -> Option<Place> {
        let first = |databases: &[Database]| databases.iter().find_map(|database| database.look_up(address));
        let Said { spot, country, city, asn, elsewhere } = first(&self.city)?;
        let network = first(&self.asn).unwrap_or_default();
        Some(Place { spot: spot?, country, city, asn: network.asn.or(asn), elsewhere: elsewhere.or(network.elsewhere) })
    }
}

/// Reads a database from its file, or says what is wrong with it.
pub(super) fn load(kind: Kind, file: &Path) -> Result<Database, String> {
    let said = |what: &dyn std::fmt::Display| format!("monitor.geo.{}: {}: {what}", kind.as_str(), file.display());
    let settled = settled::read(file, LARGEST).map_err(|error| said(&error))?;
    Database::read(settled.bytes, kind).map_err(|error| said(&error))
}

/// That a database is old, where it is.
pub(super) fn age_warning(kind: Kind, built: u64, now: u64) -> Option<String> {
    let age = now.saturating_sub(built);
    let said = || {
        let days = age / DAY;
        format!(
            "monitor.geo.{}: the database is {days} days old; addresses have moved since then: get a new one",
            kind.as_str()
        )
    };
    (age > OLD).then(said)
}

/// What an operator should know of the databases of a configuration at this time (seconds since the Unix epoch). It reads them,
/// and blocks.
#[must_use]
pub fn examine(files: &GeoFiles, now: u64) -> Vec<String> {
    let (mut loaded, mut warnings) = (Loaded::default(), Vec::new());
    for (kind, file) in all(files) {
        match load(kind, file) {
            Ok(database) => loaded.add(kind, database),
            Err(why) => warnings.push(why),
        }
    }
    warnings.extend(loaded.built().filter_map(|(kind, built)| age_warning(kind, built, now)));
    warnings
}
