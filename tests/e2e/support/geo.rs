//! Small databases of places, written anew for each test.

use std::path::Path;
use std::time::{Duration, SystemTime};

use mmdb_writer::{Value, Writer};

use super::Browser;

/// A home in Berlin.
pub const BERLIN: &str = "192.0.2.10";
/// Of another provider, next door.
pub const BERLIN_CAFE: &str = "192.0.2.20";
/// 878 km from Berlin.
pub const PARIS: &str = "192.0.2.30";
/// On another continent.
pub const LAGOS: &str = "198.51.100.10";
/// As far away, behind a network that hides who uses it.
pub const VPN: &str = "198.51.100.20";

struct Known {
    network: &'static str,
    city: &'static str,
    country: &'static str,
    at: (f64, f64),
    asn: u32,
    provider: &'static str,
}

const KNOWN: [Known; 5] = [
    Known { network: "192.0.2.10/32", city: "Berlin", country: "DE", at: (52.52, 13.4), asn: 64_496, provider: "Home" },
    Known { network: "192.0.2.20/32", city: "Berlin", country: "DE", at: (52.5, 13.4), asn: 64_497, provider: "Cafe" },
    Known { network: "192.0.2.30/32", city: "Paris", country: "FR", at: (48.86, 2.35), asn: 64_498, provider: "Loin" },
    Known { network: "198.51.100.10/32", city: "Lagos", country: "NG", at: (6.52, 3.38), asn: 64_499, provider: "Far" },
    Known {
        network: "198.51.100.20/32",
        city: "Lima",
        country: "PE",
        at: (-12., -77.),
        asn: 64_500,
        provider: "X Hosting",
    },
];

/// How old a database is that is not old.
pub const YOUNG: Duration = Duration::from_secs(10 * 86_400);

/// Writes `City.mmdb` and `ASN.mmdb` into a folder, built so long ago.
pub fn write_databases(folder: &Path, age: Duration) {
    let place = |known: &Known| {
        let (latitude, longitude) = known.at;
        Value::map([
            ("city", Value::map([("names", Value::map([("en", Value::from(known.city))]))])),
            ("country", Value::map([("iso_code", Value::from(known.country))])),
            (
                "location",
                Value::map([
                    ("accuracy_radius", Value::from(20_u16)),
                    ("latitude", Value::from(latitude)),
                    ("longitude", Value::from(longitude)),
                ]),
            ),
        ])
    };
    let network = |known: &Known| {
        Value::map([
            ("autonomous_system_number", Value::from(known.asn)),
            ("autonomous_system_organization", Value::from(known.provider)),
        ])
    };
    write(&folder.join("City.mmdb"), age, place);
    write(&folder.join("ASN.mmdb"), age, network);
}

fn write(file: &Path, age: Duration, value: impl Fn(&Known) -> Value) {
    let mut writer = Writer::builder("Test").build_epoch(SystemTime::now() - age).build();
    for known in &KNOWN {
        let network: ipnet::IpNet = known.network.parse().expect("a network");
        writer.insert_value(network, value(known)).expect("a record");
    }
    // As the manual says: nobody reads half of one.
    let new = file.with_extension("new");
    std::fs::write(&new, writer.to_bytes().expect("a database")).expect("a folder");
    std::fs::rename(&new, file).expect("the same folder");
}

impl Browser {
    /// The same jar, as it comes from this address by a trusted proxy.
    pub fn coming_from(&self, address: &str) -> Self {
        self.clone().without_header("X-Forwarded-For").with_header("X-Forwarded-For", address)
    }
}
