//! What is learned of a way that was found: by its user, who logs in again, and by what an operator says of it.

use std::time::Duration;

use super::rules;
use crate::monitor::{Country, Excuse, Footprint, How, Leap, Place, Sighting, Spot, Step};
use crate::session::StoreTime;

/// In ms.
const BEGINNING: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400;
const SESSION: u64 = 7;
const LOG_IN: How = How::LogIn { known_device: false, releases: None };

fn berlin() -> Place {
    place(52.52, 13.40, "DE", 3320)
}

fn lagos() -> Place {
    place(6.52, 3.38, "NG", 37_148)
}

fn place(latitude: f64, longitude: f64, country: &str, asn: u32) -> Place {
    Place {
        spot: Spot::at(latitude, longitude, Some(20.0)).expect("somewhere"),
        country: Country::parse(country),
        asn: Some(asn),
        city: Some(country.into()),
        elsewhere: None,
    }
}

/// A session is used so many seconds after the beginning.
fn at(footprint: &mut Footprint, seconds: u64, session: u64, how: How, place: &Place) -> Step {
    let now = StoreTime::from_millis(BEGINNING).after(Duration::from_secs(seconds));
    let network = place.asn.unwrap_or_default();
    let sighting = Sighting { session, place, network, now, left: None, how };
    footprint.begin(&sighting);
    let mut step = footprint.look(&rules(), &sighting);
    footprint.settle(&sighting, &mut step);
    step
}

fn leap(step: Step) -> Leap {
    let Step::Leap(leap) = step else { panic!("{step:?}") };
    leap
}

/// In Berlin, then in Lagos, then in Berlin, within two minutes.
fn in_both() -> Footprint {
    let mut footprint = Footprint::default();
    at(&mut footprint, 0, SESSION, LOG_IN, &berlin());
    let away = leap(at(&mut footprint, 60, SESSION, How::Use, &lagos()));
    assert!(!away.back && away.excuse.is_none());
    assert!(leap(at(&mut footprint, 120, SESSION, How::Use, &berlin())).back);
    footprint
}

#[test]
fn two_places_between_which_the_user_logged_in_again_are_learned() {
    for (released, excuse) in [(Some(SESSION), Some(Excuse::Pair)), (Some(SESSION + 1), None), (None, None)] {
        let mut footprint = in_both();
        let how = How::LogIn { known_device: false, releases: released };
        at(&mut footprint, 180, 8, how, &berlin());
        let away = leap(at(&mut footprint, 240, 8, How::Use, &lagos()));
        assert_eq!((away.back, away.excuse), (false, excuse), "{released:?}");
        match (excuse, at(&mut footprint, 300, 8, How::Use, &berlin())) {
            (Some(_), step) => assert_eq!(step, Step::Returns, "nobody is asked again"),
            (None, step) => assert!(leap(step).back, "as before"),
        }
    }
}

#[test]
fn what_an_operator_expects_is_only_noted_from_then_on_until_they_think_otherwise() {
    let mut footprint = Footprint::default();
    at(&mut footprint, 0, SESSION, LOG_IN, &berlin());
    leap(at(&mut footprint, 60, SESSION, How::Use, &lagos()));
    footprint.allow(berlin().spot, lagos().spot, StoreTime::from_millis(BEGINNING));
    assert_eq!(at(&mut footprint, 120, SESSION, How::Use, &berlin()), Step::Returns, "and asks nobody to log in again");
    assert_eq!(at(&mut footprint, 180, SESSION, How::Use, &lagos()), Step::Returns);
    at(&mut footprint, 240, 8, LOG_IN, &berlin());
    assert_eq!(leap(at(&mut footprint, 300, 8, How::Use, &lagos())).excuse, Some(Excuse::Pair));
    footprint.disallow(lagos().spot, berlin().spot);
    at(&mut footprint, 360, 9, LOG_IN, &berlin());
    assert_eq!(leap(at(&mut footprint, 420, 9, How::Use, &lagos())).excuse, None);
}

#[test]
fn what_an_operator_calls_an_attack_is_not_learned_by_the_next_login() {
    let mut footprint = in_both();
    footprint.disallow(berlin().spot, lagos().spot);
    at(&mut footprint, 180, 8, How::LogIn { known_device: false, releases: Some(SESSION) }, &berlin());
    assert_eq!(leap(at(&mut footprint, 240, 8, How::Use, &lagos())).excuse, None);
}

#[test]
fn two_places_that_were_learned_are_forgotten_sixty_days_after_they_were_last_of_use() {
    let mut footprint = in_both();
    at(&mut footprint, 180, 8, How::LogIn { known_device: false, releases: Some(SESSION) }, &berlin());
    // Each within sixty days of the one before, and the last not.
    for (days, session, excuse) in
        [(50, 9, Some(Excuse::Pair)), (100, 10, Some(Excuse::Pair)), (157, 11, Some(Excuse::Pair)), (218, 12, None)]
    {
        at(&mut footprint, days * DAY, session, LOG_IN, &berlin());
        let away = leap(at(&mut footprint, days * DAY + 60, session, How::Use, &lagos()));
        assert_eq!(away.excuse, excuse, "after {days} days");
    }
}
