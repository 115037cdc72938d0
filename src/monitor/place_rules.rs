//! The rules about places and sessions, and what they go by (`[monitor.geo]`, `ignore_networks`, `ignore_asns`, `low_asns`).

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Concurrent, Elsewhere, LocationChange, Locations, Place, Travel};

/// The files of the databases that know places; of each kind several where one has IPv4 alone and another IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoFiles {
    /// Where addresses are.
    pub city: Vec<PathBuf>,
    /// Whose networks they are of.
    pub asn: Vec<PathBuf>,
}

/// The rules about places and sessions, and what they go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceRules {
    /// `None`: nothing knows places.
    pub geo: Option<GeoFiles>,
    /// Networks that say nothing of where somebody is.
    pub ignore_networks: Vec<IpNet>,
    /// The same, by their numbers; in order.
    pub ignore_asns: Vec<u32>,
    /// Networks that say little of it; in order.
    pub low_asns: Vec<u32>,
    /// `None`: off.
    pub travel: Option<Travel>,
    /// `None`: off.
    pub location_change: Option<LocationChange>,
    /// `None`: off.
    pub locations: Option<Locations>,
    /// `None`: off.
    pub concurrent: Option<Concurrent>,
}

impl PlaceRules {
    /// Whether it matters from where sessions are used.
    #[must_use]
    pub const fn are_on(&self) -> bool {
        self.travel.is_some() || self.location_change.is_some() || self.counts_sessions()
    }

    /// Whether it matters which sessions a user has.
    #[must_use]
    pub const fn counts_sessions(&self) -> bool {
        self.concurrent.is_some() || self.locations.is_some()
    }

    /// Whether an address can say where somebody is: not one of a network that has no place.
    #[must_use]
    pub fn has_place(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !is_local(address) && !self.ignore_networks.iter().any(|network| network.contains(&address))
    }

    /// The place as it counts; `None` where it does not.
    #[must_use]
    pub fn counted(&self, mut place: Place) -> Option<Place> {
        let is_in = |list: &[u32]| place.asn.is_some_and(|asn| list.binary_search(&asn).is_ok());
        if is_in(&self.ignore_asns) {
            return None;
        }
        if place.elsewhere.is_none() && is_in(&self.low_asns) {
            place.elsewhere = Some(Elsewhere::Listed);
        }
        Some(place)
    }
}

/// Whether an address is of a network that is everywhere: private, a carrier's own (RFC 6598), a link's, this machine.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || is_unique_local(address) || is_of_link(address)
        }
    }
}

const fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

const fn is_of_link(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Spot;

    #[test]
    fn addresses_that_are_everywhere_have_no_place() {
        let rules =
            PlaceRules { ignore_networks: vec!["203.0.113.0/24".parse().expect("a network")], ..PlaceRules::default() };
        for (address, has_place) in [
            ("192.0.2.1", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("203.0.113.9", false),
            ("::ffff:203.0.113.9", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", true),
            ("fd00::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("::1", false),
            ("::", false),
        ] {
            assert_eq!(rules.has_place(address.parse().expect("an address")), has_place, "{address}");
        }
    }

    #[test]
    fn a_network_counts_as_its_number_says() {
        let rules = PlaceRules { ignore_asns: vec![7, 9], low_asns: vec![8, 10], ..PlaceRules::default() };
        let place = |asn, elsewhere| Place {
            spot: Spot::at(1.0, 1.0, None).expect("somewhere"),
            country: None,
            asn,
            city: None,
            elsewhere,
        };
        let counted = |asn, elsewhere| rules.counted(place(asn, elsewhere)).map(|place| place.elsewhere);
        assert_eq!(counted(Some(9), None), None);
        assert_eq!(counted(Some(10), None), Some(Some(Elsewhere::Listed)));
        assert_eq!(counted(Some(10), Some(Elsewhere::Mobile)), Some(Some(Elsewhere::Mobile)));
        assert_eq!(counted(Some(11), None), Some(None));
        assert_eq!(counted(None, None), Some(None));
    }
}
