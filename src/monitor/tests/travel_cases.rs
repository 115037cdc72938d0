//! Ways that people go, and thieves, against the rules; and against the rule that teams write by hand.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::rules;
use crate::monitor::{Country, Elsewhere, Footprint, How, Leap, Place, PlaceRules, Sighting, Spot, Step, network_tag};
use crate::session::StoreTime;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    ignore_networks: Vec<IpNet>,
    ignore_asns: Vec<u32>,
    low_asns: Vec<u32>,
    from: BTreeMap<String, From>,
    benign: Vec<Case>,
    theft: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    address: IpAddr,
    at: Option<(f64, f64)>,
    radius: Option<f64>,
    country: Option<String>,
    asn: Option<u32>,
    elsewhere: Option<String>,
    /// Whether a database knows no more than the country.
    #[serde(default)]
    country_alone: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    steps: Vec<String>,
    /// How many of the tenant's users use a place.
    #[serde(default)]
    tenant_uses: BTreeMap<String, usize>,
    /// Of a benign case: that it raises alarms, until it is learned.
    #[serde(default)]
    alarms_are_meant: bool,
    /// Of a theft: that it is only noted, as is written down in docs/monitoring.md.
    #[serde(default)]
    found_low: bool,
}

/// A step of a case.
struct Use {
    at: u64,
    session: u64,
    how: How,
    from: String,
    address: IpAddr,
    expected: String,
}

fn tag(name: &str) -> u64 {
    name.bytes().fold(7, |tag, byte| tag * 257 + u64::from(byte))
}

fn seconds(text: &str) -> u64 {
    let (number, unit) = text.strip_prefix('+').expect("a time").split_at(text.len() - 2);
    let of = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => panic!("{text}"),
    };
    number.parse::<u64>().expect("a number") * of
}

fn uses(table: &Table, case: &Case) -> Vec<Use> {
    let mut now = 0;
    let read = |step: &String| {
        let (act, expected) = step.split_once(" => ").unwrap_or((step, ""));
        let words: Vec<&str> = act.split(' ').collect();
        let [after, session, how, from] = words[..] else { panic!("{step}") };
        now += seconds(after);
        let (how, releases) = how.split_once('/').map_or((how, None), |(how, old)| (how, Some(tag(old))));
        let how = match how {
            "use" => How::Use,
            _ => How::LogIn { known_device: how == "known", releases },
        };
        let (from, address) = from.split_once('@').map_or((from, None), |(from, address)| (from, Some(address)));
        let usual = table.from.get(from).unwrap_or_else(|| panic!("{step}")).address;
        let address = address.map_or(usual, |address| address.parse().expect("an address"));
        Use { at: now, session: tag(session), how, from: from.to_owned(), address, expected: expected.to_owned() }
    };
    case.steps.iter().map(read).collect()
}

fn place(table: &Table, rules: &PlaceRules, from: &str, address: IpAddr) -> Option<Place> {
    let From { at, radius, country, asn, elsewhere, country_alone, .. } = &table.from[from];
    let (latitude, longitude) = (*at).filter(|_| rules.has_place(address))?;
    let elsewhere = elsewhere.as_deref().map(|word| {
        let kinds = [Elsewhere::Hosting, Elsewhere::Anonymous, Elsewhere::Satellite, Elsewhere::Mobile];
        kinds.into_iter().find(|kind| kind.as_str() == word).expect("a kind")
    });
    let spot = Spot::at(latitude, longitude, *radius)?;
    let country = country.as_deref().and_then(Country::parse);
    rules.counted(Place { spot, country, asn: *asn, city: (!country_alone).then(|| from.into()), elsewhere })
}

fn said(rules: &PlaceRules, step: &Step) -> String {
    let Step::Leap(leap) = step else { return String::new() };
    let Some((kind, severity, actions)) = leap.answer(rules) else { return String::new() };
    let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
    format!("{} {} {}", kind.as_str(), severity.as_str(), actions.join(" "))
}

/// What is found at each step of a case.
fn found(table: &Table, rules: &PlaceRules, case: &Case, uses: &[Use]) -> Vec<String> {
    let mut footprint = Footprint::default();
    let mut found = Vec::new();
    for one in uses {
        let Some(place) = place(table, rules, &one.from, one.address) else {
            found.push(String::new());
            continue;
        };
        let sighting = Sighting {
            session: one.session,
            place: &place,
            network: network_tag(one.address),
            now: StoreTime::from_millis(1_700_000_000_000).after(Duration::from_secs(one.at)),
            left: None,
            how: one.how,
        };
        footprint.begin(&sighting);
        let mut step = footprint.look(rules, &sighting);
        if let Step::Leap(leap) = &mut step
            && leap.asks_tenant()
        {
            leap.excuse_by_tenant(case.tenant_uses.get(&one.from).copied().unwrap_or_default());
        }
        footprint.settle(&sighting, &mut step);
        // What is kept is all that is known at the next step.
        footprint = Footprint::decode(&footprint.encode()).expect("it reads back");
        found.push(said(rules, &step));
    }
    found
}

/// The rule that teams write: coordinates as they are, the time between two uses of a user, 1000 km/h, or 500 km in an hour.
fn literal(table: &Table, uses: &[Use]) -> usize {
    let mut last: Option<(&Use, (f64, f64))> = None;
    let mut alarms = 0;
    for one in uses {
        let Some((latitude, longitude)) = table.from[&one.from].at else { continue };
        if let Some((before, (north, east))) = last {
            let hours = (Duration::from_secs(one.at - before.at).as_secs_f64() / 3600.0).max(1e-6);
            let kilometres = distance((north, east), (latitude, longitude));
            alarms += usize::from(kilometres / hours > 1000.0 || (kilometres > 500.0 && hours <= 1.0));
        }
        last = Some((one, (latitude, longitude)));
    }
    alarms
}

fn distance(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (a, b) = (from.0.to_radians(), to.0.to_radians());
    let half = ((b - a) / 2.0).sin().powi(2) + a.cos() * b.cos() * ((to.1 - from.1).to_radians() / 2.0).sin().powi(2);
    2.0 * 6371.0 * half.sqrt().asin()
}

fn is_alarm(found: &str) -> bool {
    !found.is_empty() && !found.contains(" low ")
}

#[test]
fn of_the_ways_in_the_table_only_thefts_raise_alarms() {
    let table: Table = toml::from_str(include_str!("travel_cases.toml")).expect("the table");
    let rules = PlaceRules {
        ignore_networks: table.ignore_networks.clone(),
        ignore_asns: table.ignore_asns.clone(),
        low_asns: table.low_asns.clone(),
        ..rules()
    };
    let (mut wrong, mut literally, mut literally_missed) = (Vec::new(), 0, 0);
    let cases = table.benign.iter().map(|case| (case, false)).chain(table.theft.iter().map(|case| (case, true)));
    let mut names = HashMap::new();
    for (case, is_theft) in cases {
        assert_eq!(names.insert(&case.what, ()), None, "{} is there twice", case.what);
        let uses = uses(&table, case);
        let found = found(&table, &rules, case, &uses);
        for ((step, one), found) in case.steps.iter().zip(&uses).zip(&found) {
            if *found != one.expected {
                wrong.push(format!("{}: {step}: {found:?}", case.what));
            }
        }
        let alarms = found.iter().filter(|found| is_alarm(found)).count();
        let literal = literal(&table, &uses);
        let is_right = match (is_theft, case.alarms_are_meant, case.found_low) {
            (false, false, _) => {
                literally += usize::from(literal > 0);
                alarms == 0
            }
            (false, true, _) | (true, _, false) => {
                literally_missed += usize::from(literal == 0 && is_theft);
                alarms > 0
            }
            (true, _, true) => alarms == 0 && found.iter().any(|found| !found.is_empty()),
        };
        if !is_right {
            wrong.push(format!("{}: {alarms} alarms", case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (benign, thefts) = (table.benign.len(), table.theft.len());
    println!("{benign} benign, {thefts} thefts; literally {literally} false alarms, {literally_missed} thefts missed");
    assert!(benign >= 48 && benign + thefts >= 70);
    // What the rule that teams write would cost.
    assert!(literally >= 27, "{literally}");
}

/// Whatever somebody does, a session in two places far apart at once is found.
#[test]
fn a_leap_is_answered_by_its_own_rule() {
    let rules = rules();
    let leap = |rule, back, excuse| Leap {
        rule,
        from: String::new(),
        from_spot: Spot::at(1.0, 1.0, None).expect("somewhere"),
        km: 600,
        seconds: 60,
        back,
        excuse,
        was_noted: false,
    };
    use crate::monitor::{Action, Excuse, FindingKind, LeapRule, Severity};
    for (leap, expected) in [
        (leap(LeapRule::Travel, false, None), (FindingKind::Travel, Severity::High, &[Action::Alert])),
        (leap(LeapRule::Travel, true, None), (FindingKind::Travel, Severity::High, &[Action::Reauth])),
        (leap(LeapRule::Travel, false, Some(Excuse::Pair)), (FindingKind::Travel, Severity::Low, &[Action::Record])),
        (
            leap(LeapRule::LocationChange, false, None),
            (FindingKind::LocationChange, Severity::Medium, &[Action::Alert]),
        ),
    ] {
        let (kind, severity, actions) = leap.answer(&rules).expect("a rule");
        assert_eq!((kind, severity, actions), (expected.0, expected.1, &expected.2[..]));
    }
    let off = PlaceRules { travel: None, location_change: None, ..rules };
    assert_eq!(leap(LeapRule::Travel, false, None).answer(&off), None);
}
