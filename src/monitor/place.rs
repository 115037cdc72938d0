//! Where an address is: a spot on earth with how sure that is, and what kind of network it is of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The mean radius of the earth, in km.
const EARTH: f64 = 6371.0;
/// What every database is wrong by, beside what it says itself, in km.
const TOLERANCE: u32 = 50;
/// The accuracy radius where a database has none, in km: what those that have one say of most cities.
const USUAL_RADIUS: u16 = 50;
/// What is known less well than this is a region, in km.
const PRECISE: u16 = 200;
/// No place is less sure than this: half way round the earth, in km.
const WIDEST: f64 = 20_000.0;
/// A name is kept up to so many bytes.
const LONGEST_NAME: usize = 48;

/// A spot on earth, as sure as it is known. Kept with every place of a user: eight bytes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// In hundredths of a degree, to the north.
    latitude: i16,
    /// In hundredths of a degree, to the east.
    longitude: i16,
    /// How far it may be from there, in km.
    radius: u16,
}

impl Spot {
    /// A spot at these degrees, known up to a radius in km. `None` where that is nowhere; 0/0, in the middle of the sea, is
    /// what databases say that do not know.
    #[must_use]
    pub fn at(latitude: f64, longitude: f64, radius: Option<f64>) -> Option<Self> {
        let somewhere = latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && (latitude != 0.0 || longitude != 0.0);
        let radius = radius.filter(|radius| radius.is_finite() && *radius >= 0.0).map(|radius| radius.min(WIDEST));
        somewhere.then(|| Self {
            latitude: hundredths(latitude),
            longitude: hundredths(longitude),
            radius: radius.map_or(USUAL_RADIUS, whole),
        })
    }

    /// How far two spots are from each other at least, in km: less both radii, and what every database is wrong by.
    #[must_use]
    pub fn apart(self, other: Self) -> u32 {
        let sure = u32::from(self.radius) + u32::from(other.radius) + TOLERANCE;
        u32::from(whole(self.distance(other))).saturating_sub(sure)
    }

    /// In degrees, as people write them.
    #[must_use]
    pub fn degrees(self) -> String {
        let degrees = |hundredths: i16| f64::from(hundredths) / 100.0;
        format!("{:.2},{:.2}", degrees(self.latitude), degrees(self.longitude))
    }

    /// Reads that again. How far it may be from there is not in it.
    #[must_use]
    pub fn of_degrees(text: &str) -> Option<Self> {
        let (latitude, longitude) = text.split_once(',')?;
        Self::at(latitude.parse().ok()?, longitude.parse().ok()?, None)
    }

    /// Whether it is known well enough to be somebody's place.
    #[must_use]
    pub const fn is_precise(self) -> bool {
        self.radius <= PRECISE
    }

    /// The great circle between two spots (haversine), in km.
    fn distance(self, other: Self) -> f64 {
        let radians = |hundredths: i16| (f64::from(hundredths) / 100.0).to_radians();
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let (north, east) = (to - from, radians(other.longitude) - radians(self.longitude));
        let half_chord = (north / 2.0).sin().powi(2) + from.cos() * to.cos() * (east / 2.0).sin().powi(2);
        2.0 * EARTH * half_chord.sqrt().clamp(0.0, 1.0).asin()
    }

    /// The cell of a grid that it is in, half a degree wide, and the eight around it.
    #[must_use]
    pub fn cells(self) -> [Cell; 9] {
        let (row, column) = (self.latitude.div_euclid(CELL), self.longitude.div_euclid(CELL));
        let mut cells = [Cell { row, column }; 9];
        let around = (-1..=1).flat_map(|down| (-1..=1).map(move |right| (down, right)));
        for (cell, (down, right)) in cells.iter_mut().zip(around) {
            // Beyond 180 degrees one comes from the other side.
            *cell = Cell { row: row + down, column: (column + right + COLUMNS / 2).rem_euclid(COLUMNS) - COLUMNS / 2 };
        }
        cells
    }

    /// The cell that it is in.
    #[must_use]
    pub fn cell(self) -> Cell {
        Cell { row: self.latitude.div_euclid(CELL), column: self.longitude.div_euclid(CELL) }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ±{} km", self.degrees(), self.radius)
    }
}

/// How wide a cell is, in hundredths of a degree.
const CELL: i16 = 50;
/// How many of them are around the earth.
const COLUMNS: i16 = 720;

/// A cell of a grid over the earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    row: i16,
    column: i16,
}

impl Cell {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.row.to_be_bytes(), self.column.to_be_bytes());
        [a, b, c, d]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "within 18,000 either way, as was looked at")]
fn hundredths(degrees: f64) -> i16 {
    (degrees * 100.0).round() as i16
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 20,016, half way round the earth"
)]
fn whole(kilometres: f64) -> u16 {
    kilometres.round() as u16
}

/// A country, by its two letters (ISO 3166-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads one.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// Why a network says little of where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elsewhere {
    /// It is a data centre's: of a server, a proxy or a VPN.
    Hosting,
    /// It hides who uses it: a VPN, a proxy, Tor.
    Anonymous,
    /// It is a satellite's, which comes down at a station somewhere.
    Satellite,
    /// It is a mobile carrier's, whose customers come out of any of its exits.
    Mobile,
    /// The operator says so.
    Listed,
}

impl Elsewhere {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosting => "hosting",
            Self::Anonymous => "anonymous",
            Self::Satellite => "satellite",
            Self::Mobile => "mobile",
            Self::Listed => "listed",
        }
    }
}

/// Where an address is, as a database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub spot: Spot,
    /// In which country.
    pub country: Option<Country>,
    /// The autonomous system of its network.
    pub asn: Option<u32>,
    /// What people call it.
    pub city: Option<Box<str>>,
    /// Why that says little of where somebody is.
    pub elsewhere: Option<Elsewhere>,
}

impl Place {
    /// For people: the city and the country, as far as they are known.
    #[must_use]
    pub fn name(&self) -> String {
        let country = self.country.map(|country| country.to_string());
        let parts = [self.city.as_deref(), country.as_deref()];
        let mut name = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if name.is_empty() {
            name = self.spot.to_string();
        }
        while name.len() > LONGEST_NAME {
            name.pop();
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spot(latitude: f64, longitude: f64, radius: f64) -> Spot {
        Spot::at(latitude, longitude, Some(radius)).expect("somewhere")
    }

    #[test]
    fn spots_are_as_far_apart_as_great_circles_are_long_less_what_is_not_sure() {
        let (berlin, munich) = ((52.52, 13.405), (48.137, 11.575));
        let (sydney, auckland, quito) = ((-33.868, 151.209), (-36.848, 174.763), (-0.18, -78.467));
        for ((from, to), kilometres) in [
            ((berlin, munich), 504),
            ((berlin, sydney), 16_092),
            ((sydney, auckland), 2156),
            ((auckland, quito), 11_480),
            ((berlin, berlin), 0),
        ] {
            let distance = spot(from.0, from.1, 0.0).distance(spot(to.0, to.1, 0.0));
            assert!((distance - f64::from(kilometres)).abs() < f64::from(kilometres) * 0.005 + 1.0, "{distance}");
            let apart = spot(from.0, from.1, 20.0).apart(spot(to.0, to.1, 100.0));
            assert!(apart.abs_diff(u32::from(whole(distance)).saturating_sub(170)) <= 1, "{apart}");
        }
        assert_eq!(spot(10.0, 179.9, 0.0).apart(spot(10.0, -179.9, 0.0)), 0, "over the date line");
        assert_eq!(Spot::at(1.0, 1.0, None), Some(spot(1.0, 1.0, 50.0)));
    }

    #[test]
    fn what_is_nowhere_is_no_spot() {
        for (latitude, longitude) in
            [(0.0, 0.0), (90.1, 0.0), (0.0, -180.1), (f64::NAN, 1.0), (1.0, f64::INFINITY), (-f64::INFINITY, 1.0)]
        {
            assert_eq!(Spot::at(latitude, longitude, None), None, "{latitude} {longitude}");
        }
        for radius in [f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(Spot::at(1.0, 1.0, Some(radius)), Spot::at(1.0, 1.0, None), "{radius}");
        }
    }

    #[test]
    fn cells_are_half_a_degree_wide_and_meet_at_the_date_line() {
        let of = |latitude, longitude| spot(latitude, longitude, 0.0);
        assert_eq!(of(52.5, 13.4).cell(), of(52.9, 13.1).cell());
        assert_ne!(of(52.5, 13.4).cell(), of(52.49, 13.4).cell());
        assert!(of(52.5, 13.4).cells().contains(&of(52.49, 13.6).cell()));
        assert!(of(0.1, 179.9).cells().contains(&of(-0.1, -179.9).cell()));
        assert!(!of(52.5, 13.4).cells().contains(&of(51.9, 13.4).cell()));
    }

    #[test]
    fn a_place_is_called_by_its_city_and_country() {
        let place = |city: Option<&str>, country: Option<&str>| Place {
            spot: spot(52.52, 13.4, 20.0),
            country: country.and_then(Country::parse),
            asn: None,
            city: city.map(Into::into),
            elsewhere: None,
        };
        assert_eq!(place(Some("Berlin"), Some("de")).name(), "Berlin, DE");
        assert_eq!(place(None, Some("DE")).name(), "DE");
        assert_eq!(place(None, Some("Germany")).name(), "52.52,13.40 ±20 km");
        assert!(place(Some(&"ü".repeat(100)), None).name().len() <= LONGEST_NAME);
    }

    proptest! {
        #[test]
        fn no_two_spots_are_further_apart_than_half_way_round(
            a in -90.0..90.0_f64, b in -180.0..180.0_f64, c in -90.0..90.0_f64, d in -180.0..180.0_f64
        ) {
            prop_assume!(Spot::at(a, b, None).is_some() && Spot::at(c, d, None).is_some());
            let (from, to) = (spot(a, b, 0.0), spot(c, d, 0.0));
            prop_assert!(from.apart(to) <= 20_016 && from.apart(to) == to.apart(from));
            prop_assert!(from.apart(from) == 0 && from.cells().contains(&from.cell()));
        }
    }
}
