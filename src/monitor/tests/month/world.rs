//! Towns, and networks as databases know them: right about the town of most, and wrong about some.

use std::collections::HashMap;

use super::{Chance, Net};
use crate::monitor::{Country, Elsewhere, Place, PlaceRules, Spot};

/// A town: degrees north and east, its country.
pub(super) struct Town {
    pub(super) name: &'static str,
    pub(super) north: f64,
    pub(super) east: f64,
    pub(super) country: &'static str,
}

const fn town(name: &'static str, north: f64, east: f64, country: &'static str) -> Town {
    Town { name, north, east, country }
}

pub(super) const TOWNS: [Town; 52] = [
    town("Berlin", 52.52, 13.40, "DE"),
    town("Hamburg", 53.55, 9.99, "DE"),
    town("Munich", 48.14, 11.58, "DE"),
    town("Cologne", 50.94, 6.96, "DE"),
    town("Frankfurt", 50.11, 8.68, "DE"),
    town("Leipzig", 51.34, 12.37, "DE"),
    town("Paris", 48.86, 2.35, "FR"),
    town("Lyon", 45.76, 4.84, "FR"),
    town("Marseille", 43.30, 5.37, "FR"),
    town("Lille", 50.63, 3.06, "FR"),
    town("London", 51.51, -0.13, "GB"),
    town("Manchester", 53.48, -2.24, "GB"),
    town("Edinburgh", 55.95, -3.19, "GB"),
    town("Bristol", 51.45, -2.59, "GB"),
    town("Madrid", 40.42, -3.70, "ES"),
    town("Barcelona", 41.39, 2.17, "ES"),
    town("Seville", 37.39, -5.98, "ES"),
    town("Rome", 41.90, 12.50, "IT"),
    town("Milan", 45.46, 9.19, "IT"),
    town("Naples", 40.85, 14.27, "IT"),
    town("Warsaw", 52.23, 21.01, "PL"),
    town("Krakow", 50.06, 19.94, "PL"),
    town("Gdansk", 54.35, 18.65, "PL"),
    town("New York", 40.71, -74.01, "US"),
    town("Boston", 42.36, -71.06, "US"),
    town("Chicago", 41.88, -87.63, "US"),
    town("Houston", 29.76, -95.37, "US"),
    town("Los Angeles", 34.05, -118.24, "US"),
    town("San Francisco", 37.77, -122.42, "US"),
    town("Seattle", 47.61, -122.33, "US"),
    town("Miami", 25.76, -80.19, "US"),
    town("Sao Paulo", -23.55, -46.63, "BR"),
    town("Rio de Janeiro", -22.91, -43.17, "BR"),
    town("Recife", -8.05, -34.88, "BR"),
    town("Lagos", 6.52, 3.38, "NG"),
    town("Abuja", 9.06, 7.49, "NG"),
    town("Moscow", 55.76, 37.62, "RU"),
    town("Novosibirsk", 55.03, 82.92, "RU"),
    town("Mumbai", 19.08, 72.88, "IN"),
    town("Delhi", 28.61, 77.21, "IN"),
    town("Bangalore", 12.97, 77.59, "IN"),
    town("Hanoi", 21.03, 105.85, "VN"),
    town("Ho Chi Minh City", 10.82, 106.63, "VN"),
    town("Tokyo", 35.68, 139.69, "JP"),
    town("Osaka", 34.69, 135.50, "JP"),
    town("Sydney", -33.87, 151.21, "AU"),
    town("Melbourne", -37.81, 144.96, "AU"),
    town("Perth", -31.95, 115.86, "AU"),
    town("Toronto", 43.65, -79.38, "CA"),
    town("Vancouver", 49.28, -123.12, "CA"),
    town("Vienna", 48.21, 16.37, "AT"),
    town("Zurich", 47.38, 8.54, "CH"),
];

/// Numbers that the operator's list has: VPNs, one carrier of each country's two, satellites.
const LISTED_VPNS: [u32; 3] = [9009, 13_335, 212_238];
const SATELLITE: u32 = 14_593;

pub(super) fn low_asns() -> Vec<u32> {
    let mut listed = LISTED_VPNS.to_vec();
    listed.push(SATELLITE);
    listed.sort_unstable();
    listed
}

impl Town {
    /// The distance in km, as people travel it.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        let (a, b) = (self.north.to_radians(), other.north.to_radians());
        let east = (other.east - self.east).to_radians();
        let half = ((b - a) / 2.0).sin().powi(2) + a.cos() * b.cos() * (east / 2.0).sin().powi(2);
        2.0 * 6371.0 * half.sqrt().min(1.0).asin()
    }
}

/// The towns of a country.
pub(super) fn towns_of(country: &str) -> Vec<&'static Town> {
    TOWNS.iter().filter(|town| town.country == country).collect()
}

/// Providers of a country: three for homes, two carriers.
struct Providers {
    homes: [u32; 3],
    carriers: [u32; 2],
    /// Whether anybody knows of the second carrier that it is one.
    second_is_known: bool,
}

pub(super) struct World {
    rules: PlaceRules,
    providers: HashMap<&'static str, Providers>,
}

impl World {
    pub(super) fn made_by(chance: &mut Chance, rules: &PlaceRules) -> Self {
        let mut providers = HashMap::new();
        for (at, town) in TOWNS.iter().enumerate() {
            let first = 70_000 + 10 * u32::try_from(at).expect("few");
            let made = Providers {
                homes: [first, first + 1, first + 2],
                carriers: [first + 3, first + 4],
                second_is_known: chance.mille(900),
            };
            providers.entry(town.country).or_insert(made);
        }
        Self { rules: rules.clone(), providers }
    }

    fn net(&self, chance: &mut Chance, place: Place) -> Net {
        let tag = u32::try_from(chance.next() >> 32).expect("half").max(1);
        Net { tag, place: self.rules.counted(place) }
    }

    /// A place in a town, as sure as databases are of homes there.
    fn place(chance: &mut Chance, town: &Town, asn: u32, radius: u64) -> Place {
        // A quarter of a degree at most, as suburbs are.
        let mut off = || f64::from(i32::try_from(chance.below(500)).expect("small") - 250) / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let radius = radius as f64;
        Place {
            spot: Spot::at(town.north + off(), town.east + off(), Some(radius)).expect("somewhere"),
            country: Country::parse(town.country),
            asn: Some(asn),
            city: Some(town.name.into()),
            elsewhere: None,
        }
    }

    /// Where a database has a home in that town: of 1,000 it has 25 in another town of the country, one anywhere, and of 50 it
    /// knows the country alone.
    pub(super) fn home_net(&self, chance: &mut Chance, town: &'static Town) -> Net {
        let asn = *chance.of(&self.providers[town.country].homes);
        self.net_of(chance, town, asn)
    }

    /// Another network of the same home: another address by the same provider.
    pub(super) fn same_home(&self, chance: &mut Chance, town: &'static Town, home: &Net) -> Net {
        let asn = home.place.as_ref().and_then(|place| place.asn);
        self.net_of(chance, town, asn.unwrap_or(self.providers[town.country].homes[0]))
    }

    fn net_of(&self, chance: &mut Chance, town: &'static Town, asn: u32) -> Net {
        let said = match chance.below(1000) {
            0..25 => *chance.of(&towns_of(town.country)),
            25..26 => chance.of(&TOWNS),
            _ => town,
        };
        let radius = *chance.of(&[5, 10, 20, 20, 50, 50, 100, 200]);
        let mut place = Self::place(chance, said, asn, radius);
        if chance.mille(50) {
            let middle = towns_of(said.country)[0];
            place = Self::place(chance, middle, asn, 500);
            place.city = None;
        }
        self.net(chance, place)
    }

    /// A network of a company in a town.
    pub(super) fn office_net(&self, chance: &mut Chance, town: &Town) -> Net {
        let asn = 200_000 + u32::try_from(chance.below(50_000)).expect("small");
        let place = Self::place(chance, town, asn, 10);
        self.net(chance, place)
    }

    /// A carrier's exit for somebody in that town: in any of its country.
    pub(super) fn carrier_net(&self, chance: &mut Chance, town: &Town, carrier: usize) -> Net {
        let providers = &self.providers[town.country];
        let exit = *chance.of(&towns_of(town.country));
        let mut place = Self::place(chance, exit, providers.carriers[carrier % 2], 100);
        if carrier == 0 || providers.second_is_known {
            place.elsewhere = Some(Elsewhere::Mobile);
        } else if chance.mille(700) {
            // Of most of such addresses databases say the country.
            place.city = None;
        }
        self.net(chance, place)
    }

    /// An exit of a VPN that anybody can have; of 1,000 customers 50 have one that nobody knows for what it is.
    pub(super) fn vpn_net(&self, chance: &mut Chance, is_known: bool) -> Net {
        let town = chance.of(&TOWNS);
        let asn = if is_known { *chance.of(&LISTED_VPNS) } else { 300_000 };
        let place = Self::place(chance, town, asn, 20);
        self.net(chance, place)
    }

    /// A home in one of these towns that a thief comes from, known for where it is.
    pub(super) fn residential(&self, chance: &mut Chance, towns: &[&'static Town]) -> Net {
        let town = *chance.of(towns);
        let asn = *chance.of(&self.providers[town.country].homes);
        let place = Self::place(chance, town, asn, 50);
        self.net(chance, place)
    }

    /// An aeroplane's: a satellite's station.
    pub(super) fn sky_net(&self, chance: &mut Chance) -> Net {
        let town = chance.of(&TOWNS);
        let place = Self::place(chance, town, SATELLITE, 50);
        self.net(chance, place)
    }
}
