//! What thieves do: with a stolen cookie, a stolen password, from near and far.

use super::people::Person;
use super::world::{TOWNS, Town, World};
use super::{Attack, Chance, DAY, FindingKind, How, LEARNING, Severity, Use};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// A thief's session.
fn session(chance: &mut Chance) -> u64 {
    chance.next() | 1 << 63
}

/// One thief visits a person, on a day of the month.
pub(super) fn visit(chance: &mut Chance, world: &World, person: &Person, uses: &mut Vec<Use>) -> Vec<Attack> {
    // While the owner works, somewhere that is known: what is done from a VPN or a carrier is in docs/monitoring.md.
    let is_at_work = |one: &&Use| {
        one.at > LEARNING * DAY
            && one.net.place.as_ref().is_some_and(|place| place.elsewhere.is_none() && place.city.is_some())
    };
    let moments: Vec<Use> = uses.iter().filter(is_at_work).cloned().collect();
    if moments.is_empty() {
        return Vec::new();
    }
    let owner = chance.of(&moments).clone();
    let far = |least: f64, most: f64| -> Vec<&'static Town> {
        let is_far = |town: &&Town| (least..most).contains(&person.town.distance(town));
        TOWNS.iter().filter(is_far).collect()
    };
    let attack = |name, kind, at_least| vec![Attack { name, kind, at_least }];
    let act = |uses: &mut Vec<Use>, at, session, how, net| uses.push(Use { at, session, how, net, attack: Some(0) });
    let log_in = How::LogIn { known_device: false, releases: None };
    match chance.below(5) {
        0 => {
            let net = world.residential(chance, &far(500.0, 20_100.0));
            act(uses, owner.at + chance.within(1, 9 * MINUTE), owner.session, How::Use, net);
            attack("a stolen cookie", FindingKind::Travel, Severity::High)
        }
        1 => {
            let net = world.residential(chance, &far(500.0, 20_100.0));
            act(uses, owner.at + chance.within(1, 20 * MINUTE), session(chance), log_in, net);
            attack("a stolen password", FindingKind::Travel, Severity::High)
        }
        2 => {
            // Nothing else within that hour.
            let is_last = |one: &&Use| !uses.iter().any(|other| (one.at + 1..=one.at + HOUR).contains(&other.at));
            let last: Vec<u64> = moments.iter().filter(is_last).map(|one| one.at).collect();
            let towns = far(830.0, 1000.0);
            if towns.is_empty() || last.is_empty() {
                return Vec::new();
            }
            let net = world.residential(chance, &towns);
            let at = *chance.of(&last) + chance.within(57 * MINUTE, HOUR);
            act(uses, at, session(chance), log_in, net);
            attack("a stolen password, an hour away", FindingKind::LocationChange, Severity::Medium)
        }
        3 => {
            let net = world.residential(chance, &[person.town]);
            for number in 0..4 {
                act(uses, owner.at + number * MINUTE, session(chance), log_in, net.clone());
            }
            attack("four sessions of a thief", FindingKind::Concurrent, Severity::Medium)
        }
        _ => {
            let abroad: Vec<&Town> =
                far(800.0, 20_100.0).into_iter().filter(|town| town.country != person.town.country).collect();
            let net = world.residential(chance, &abroad);
            act(uses, owner.at + chance.within(1, 15 * MINUTE), session(chance), log_in, net);
            attack("a session abroad", FindingKind::Locations, Severity::Low)
        }
    }
}
