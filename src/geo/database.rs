//! One database: what it says of an address, in whichever of the layouts it has.
//!
//! - GeoLite2 and GeoIP2: `location.latitude`, `location.accuracy_radius`, `country.iso_code`, `city.names.en`, `traits`.
//! - DB-IP Lite: the same without a radius.
//! - ip-location-db: `latitude`, `country_code`, `city`, side by side.
//! - All: `autonomous_system_number`, `autonomous_system_organization`.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, path};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::monitor::{Country, Elsewhere, Spot, called};

/// Records that are looked at for whether it is the right kind of database.
const LOOKED_AT: usize = 1000;

/// A database in memory.
pub(super) struct Database(Reader<Vec<u8>>);

/// What kind of database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It knows where addresses are.
    City,
    /// It knows whose networks they are of.
    Asn,
}

impl Kind {
    /// Its word, which is its key's, too.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Asn => "asn",
        }
    }
}

/// Why a file is no database.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDatabase {
    #[error("is no database, or a broken one: {0}")]
    Broken(MaxMindDbError),
    #[error("has no coordinates in its records: it is no database of cities")]
    NoPlaces,
    #[error("has no `autonomous_system_number` in its records: it is no database of networks")]
    NoNumbers,
}

/// What a database says of one address.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) spot: Option<Spot>,
    pub(super) country: Option<Country>,
    pub(super) city: Option<Box<str>>,
    pub(super) asn: Option<u32>,
    pub(super) elsewhere: Option<Elsewhere>,
}

impl Database {
    /// Reads one of that kind.
    pub(super) fn read(bytes: Vec<u8>, kind: Kind) -> Result<Self, NoDatabase> {
        let database = Self(Reader::from_source(bytes).map_err(NoDatabase::Broken)?);
        let mut first = None;
        let networks = database.0.networks(maxminddb::WithinOptions::default()).map_err(NoDatabase::Broken)?;
        for network in networks.take(LOOKED_AT) {
            match network {
                Ok(record) if kind.is_in(&said_in(&record)) => return Ok(database),
                Ok(_) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(match (first, kind) {
            (Some(error), _) => NoDatabase::Broken(error),
            (None, Kind::City) => NoDatabase::NoPlaces,
            (None, Kind::Asn) => NoDatabase::NoNumbers,
        })
    }

    /// When it was built, in seconds since the Unix epoch.
    pub(super) fn built(&self) -> u64 {
        self.0.metadata().build_epoch
    }

    /// What it says of an address. What cannot be read says nothing.
    pub(super) fn look_up(&self, address: IpAddr) -> Option<Said> {
        // An error is a broken record, or an address of the other kind.
        let record = self.0.lookup(address).ok().filter(LookupResult::has_data)?;
        Some(said_in(&record))
    }
}

impl Kind {
    fn is_in(self, said: &Said) -> bool {
        match self {
            Self::City => said.spot.is_some(),
            Self::Asn => said.asn.is_some(),
        }
    }
}

type Record<'a> = LookupResult<'a, Vec<u8>>;

/// What is there of that type; nothing where it cannot be read.
fn at<'a, T: Deserialize<'a>>(record: &Record<'a>, path: &[PathElement<'_>]) -> Option<T> {
    record.decode_path(path).ok().flatten()
}

/// A number of whichever type: databases have short and long ones, whole and broken ones.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_f32<E>(self, number: f32) -> Result<Number, E> {
                Ok(Number(number.into()))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Number, E> {
                u32::try_from(number).map(|number| Number(number.into())).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Number, E> {
                i32::try_from(number).map(|number| Number(number.into())).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

fn said_in(record: &Record<'_>) -> Said {
    let number = |path: &[PathElement<'_>]| at::<Number>(record, path).map(|Number(number)| number);
    let degrees = |name: &str| number(&path!["location", name]).or_else(|| number(&path![name]));
    let radius = number(&path!["location", "accuracy_radius"]);
    let spot = degrees("latitude").zip(degrees("longitude"));
    let country = at::<&str>(record, &path!["country", "iso_code"]).or_else(|| at(record, &path!["country_code"]));
    let city = at::<&str>(record, &path!["city", "names", "en"]).or_else(|| at(record, &path!["city"]));
    let network = at::<u32>(record, &path!["autonomous_system_number"])
        .or_else(|| at(record, &path!["traits", "autonomous_system_number"]));
    let organisation = at::<&str>(record, &path!["autonomous_system_organization"])
        .or_else(|| at(record, &path!["traits", "autonomous_system_organization"]));
    Said {
        spot: spot.and_then(|(latitude, longitude)| Spot::at(latitude, longitude, radius)),
        country: country.and_then(Country::parse),
        city: city.filter(|city| !city.is_empty()).map(Into::into),
        asn: network.filter(|number| *number != 0),
        elsewhere: by_traits(record).or_else(|| organisation.and_then(called)),
    }
}

/// What the traits say of the network, where there are any.
fn by_traits(record: &Record<'_>) -> Option<Elsewhere> {
    let is = |name: &str| at::<bool>(record, &path!["traits", name]) == Some(true);
    let word = |name: &str| at::<&str>(record, &path!["traits", name]).unwrap_or_default();
    const ANONYMOUS: [&str; 6] = [
        "is_anonymous",
        "is_anonymous_vpn",
        "is_anonymous_proxy",
        "is_public_proxy",
        "is_residential_proxy",
        "is_tor_exit_node",
    ];
    let (user, connection) = (word("user_type"), word("connection_type"));
    if ANONYMOUS.into_iter().any(is) {
        Some(Elsewhere::Anonymous)
    } else if is("is_hosting_provider") || matches!(user, "hosting" | "content_delivery_network") {
        Some(Elsewhere::Hosting)
    } else if is("is_satellite_provider") || connection == "Satellite" {
        Some(Elsewhere::Satellite)
    } else if user == "cellular" || connection == "Cellular" {
        Some(Elsewhere::Mobile)
    } else {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use mmdb_writer::{Value, Writer};
    use proptest::prelude::*;

    use super::*;

    /// A small database with these records.
    pub(in super::super) fn written(records: &[(&str, Value)]) -> Vec<u8> {
        let mut writer = Writer::builder("Test")
            .build_epoch(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))
            .build();
        for (network, value) in records {
            let network: ipnet::IpNet = network.parse().expect("a network");
            writer.insert_value(network, value.clone()).expect("a record");
        }
        writer.to_bytes().expect("a database")
    }

    fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::map(fields)
    }

    pub(in super::super) fn geolite2(latitude: f64, longitude: f64, radius: u16, country: &str, city: &str) -> Value {
        map([
            ("city", map([("names", map([("de", Value::from("Stadt")), ("en", Value::from(city))]))])),
            ("country", map([("iso_code", Value::from(country))])),
            (
                "location",
                map([
                    ("accuracy_radius", Value::from(radius)),
                    ("latitude", Value::from(latitude)),
                    ("longitude", Value::from(longitude)),
                    ("time_zone", Value::from("Europe/Berlin")),
                ]),
            ),
        ])
    }

    pub(in super::super) fn asn(number: u32, organisation: &str) -> Value {
        map([
            ("autonomous_system_number", Value::from(number)),
            ("autonomous_system_organization", Value::from(organisation)),
        ])
    }

    fn looked_up(bytes: Vec<u8>, kind: Kind, address: &str) -> Option<Said> {
        let database = Database::read(bytes, kind).expect("a database");
        database.look_up(address.parse().expect("an address"))
    }

    #[test]
    fn each_of_the_three_layouts_says_where_an_address_is() {
        let radius = |radius| Spot::at(52.52, 13.4, radius);
        let of_db_ip = map([
            ("city", map([("names", map([("en", Value::from("Berlin"))]))])),
            ("country", map([("iso_code", Value::from("DE"))])),
            ("location", map([("latitude", Value::from(52.52_f64)), ("longitude", Value::from(13.4_f64))])),
        ]);
        let flat = map([
            ("city", Value::from("Berlin")),
            ("country_code", Value::from("DE")),
            ("latitude", Value::from(52.52_f32)),
            ("longitude", Value::from(13.4_f32)),
        ]);
        for (layout, record, spot) in [
            ("GeoLite2", geolite2(52.52, 13.4, 20, "DE", "Berlin"), radius(Some(20.0))),
            ("DB-IP Lite", of_db_ip, radius(None)),
            ("ip-location-db", flat, radius(None)),
        ] {
            for (network, address) in [("192.0.2.0/24", "192.0.2.7"), ("2001:db8::/32", "2001:db8::1")] {
                let found = looked_up(written(&[(network, record.clone())]), Kind::City, address).expect("a record");
                assert_eq!(found.spot, spot, "{layout}");
                assert_eq!(found.country, Country::parse("DE"), "{layout}");
                assert_eq!(found.city.as_deref(), Some("Berlin"), "{layout}");
            }
        }
    }

    #[test]
    fn networks_have_numbers_and_kinds() {
        let traits = |fields: &[(&str, Value)]| {
            let traits = Value::map(fields.iter().map(|(name, value)| (*name, value.clone())));
            map([("autonomous_system_number", Value::from(64_512_u32)), ("traits", traits)])
        };
        for (record, kind) in [
            (asn(64_512, "Example Net"), None),
            (asn(64_512, "Example Mobile"), Some(Elsewhere::Mobile)),
            (traits(&[("is_anonymous_vpn", Value::from(true))]), Some(Elsewhere::Anonymous)),
            (traits(&[("is_anonymous_vpn", Value::from(false))]), None),
            (traits(&[("user_type", Value::from("hosting"))]), Some(Elsewhere::Hosting)),
            (traits(&[("is_satellite_provider", Value::from(true))]), Some(Elsewhere::Satellite)),
            (traits(&[("connection_type", Value::from("Cellular"))]), Some(Elsewhere::Mobile)),
        ] {
            let found = looked_up(written(&[("192.0.2.0/24", record)]), Kind::Asn, "192.0.2.7").expect("a record");
            assert_eq!((found.asn, found.elsewhere), (Some(64_512), kind));
        }
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        let bytes = written(&[("192.0.2.0/24", geolite2(52.52, 13.4, 20, "DE", "Berlin"))]);
        assert_eq!(looked_up(bytes.clone(), Kind::City, "198.51.100.1"), None);
        assert_eq!(looked_up(bytes, Kind::City, "2001:db8::1"), None, "an address of the other kind");
        let odd = map([
            ("city", map([("names", Value::from("none"))])),
            ("latitude", Value::from("north")),
            ("longitude", Value::from(1_u16)),
            ("autonomous_system_number", Value::from(7_u32)),
        ]);
        let found = looked_up(written(&[("192.0.2.0/24", odd)]), Kind::Asn, "192.0.2.1").expect("a record");
        assert_eq!(found, Said { asn: Some(7), ..Said::default() });
    }

    #[test]
    fn a_database_of_the_other_kind_is_refused() {
        let city = written(&[("192.0.2.0/24", geolite2(52.52, 13.4, 20, "DE", "Berlin"))]);
        let networks = written(&[("192.0.2.0/24", asn(64_512, "Example"))]);
        assert!(matches!(Database::read(city, Kind::Asn), Err(NoDatabase::NoNumbers)));
        assert!(matches!(Database::read(networks, Kind::City), Err(NoDatabase::NoPlaces)));
        assert!(matches!(Database::read(Vec::new(), Kind::City), Err(NoDatabase::Broken(_))));
    }

    fn both_kinds_of_addresses() -> [IpAddr; 3] {
        ["192.0.2.7", "198.51.100.9", "2001:db8::1"].map(|address| address.parse().expect("an address"))
    }

    /// Whatever it is, it is looked into.
    fn is_survived(bytes: &[u8]) {
        for kind in [Kind::City, Kind::Asn] {
            if let Ok(database) = Database::read(bytes.to_vec(), kind) {
                both_kinds_of_addresses().into_iter().for_each(|address| drop(database.look_up(address)));
            }
        }
    }

    fn mixed() -> Vec<u8> {
        written(&[
            ("192.0.2.0/24", geolite2(52.52, 13.4, 20, "DE", "Berlin")),
            ("198.51.100.0/24", asn(64_512, "Example Mobile")),
            ("2001:db8::/32", geolite2(-33.9, 151.2, 5, "AU", "Sydney")),
        ])
    }

    #[test]
    fn a_database_that_ends_anywhere_is_survived() {
        let whole = mixed();
        for length in 0..whole.len() {
            is_survived(&whole[..length]);
            is_survived(&whole[length..]);
        }
    }

    #[test]
    fn pointers_that_lead_to_themselves_or_nowhere_and_counts_that_nothing_follows_are_survived() {
        let whole = mixed();
        let data =
            whole.windows(16).position(|bytes| bytes == [0; 16]).expect("what parts the tree from the data") + 16;
        let metadata = whole.windows(14).rposition(|bytes| bytes == b"\xab\xcd\xefMaxMind.com").expect("its head");
        let plants: [&[u8]; 9] = [
            // A pointer to itself, to the end, far beyond.
            &[0x20, 0x00],
            &[0x38, 0xff, 0xff, 0xff, 0xff],
            &[0x37, 0xff, 0xff, 0xff],
            // Maps, lists, texts and bytes of sixteen million.
            &[0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x04, 0xff, 0xff, 0xff],
            &[0x5f, 0xff, 0xff, 0xff],
            &[0x9f, 0xff, 0xff, 0xff],
            // A map whose keys are maps, a number of sixty bytes.
            &[0xe1, 0xe1, 0xe1, 0xe1],
            &[0xdd, 0x1f],
        ];
        for plant in plants {
            for at in data..metadata {
                let mut broken = whole.clone();
                for (to, from) in broken[at..metadata].iter_mut().zip(plant) {
                    *to = *from;
                }
                is_survived(&broken);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_stands_in_a_database_it_makes_a_place_or_none(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
        ) {
            let mut bytes = mixed();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            is_survived(&bytes);
        }

        #[test]
        fn what_is_no_database_at_all_is_none(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            is_survived(&bytes);
            is_survived(&[&bytes[..], b"\xab\xcd\xefMaxMind.com", &bytes[..]].concat());
        }
    }
}
