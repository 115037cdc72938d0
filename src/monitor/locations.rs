//! `MULTIPLE_LOCATION_SESSIONS`: live sessions of a user in two countries and networks that are far from each other.

use super::{Action, Place, Severity};

/// `[monitor.locations]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations {
    /// What is further apart is found, in km.
    pub km: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is done.
    pub actions: Vec<Action>,
}

/// Two of these places, the furthest from each other, that are it; and by how many km. Networks that are nobody's place
/// are in no country.
#[must_use]
pub fn far_apart<'a>(rule: &Locations, places: &'a [Place]) -> Option<(&'a Place, &'a Place, u32)> {
    let says_where = |place: &&Place| place.elsewhere.is_none() && place.country.is_some();
    let places: Vec<&Place> = places.iter().filter(says_where).collect();
    let pairs = places.iter().enumerate().flat_map(|(at, one)| places[..at].iter().map(move |other| (*one, *other)));
    let differ =
        |(one, other): &(&Place, &Place)| one.country != other.country && (one.asn != other.asn || one.asn.is_none());
    let apart = pairs.filter(differ).map(|(one, other)| (one, other, one.spot.apart(other.spot)));
    apart.filter(|(_, _, km)| *km > rule.km).max_by_key(|(_, _, km)| *km)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{Country, Elsewhere, Spot};

    fn place(longitude: f64, country: &str, asn: u32) -> Place {
        Place {
            spot: Spot::at(50.0, longitude, Some(20.0)).expect("somewhere"),
            country: Country::parse(country),
            asn: Some(asn),
            city: None,
            elsewhere: None,
        }
    }

    #[test]
    fn sessions_in_two_countries_and_networks_far_apart_are_it() {
        let rule = Locations { km: 500, severity: Severity::Low, actions: vec![Action::Record] };
        let found = |places: &[Place]| far_apart(&rule, places).map(|(_, _, km)| km);
        let (home, near, far) = (place(10.0, "DE", 1), place(16.0, "CZ", 2), place(30.0, "UA", 3));
        assert_eq!(found(&[home.clone(), near.clone()]), None, "430 km less what is not sure");
        let apart = home.spot.apart(far.spot);
        assert_eq!(found(&[home.clone(), near.clone(), far.clone()]), Some(apart));
        for other in [
            Place { country: Country::parse("DE"), ..far.clone() },
            Place { asn: Some(1), ..far.clone() },
            Place { country: None, ..far.clone() },
            Place { elsewhere: Some(Elsewhere::Hosting), ..far.clone() },
        ] {
            assert_eq!(found(&[home.clone(), other.clone()]), None, "{other:?}");
        }
        let of_nobody = |place: Place| Place { asn: None, ..place };
        assert_eq!(found(&[of_nobody(home), of_nobody(far)]), Some(apart), "no network is known");
        assert_eq!(found(&[]), None);
    }
}
