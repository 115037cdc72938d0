//! Events that a client can cause at will, as anybody or with one session: counted by minute, not one line each (docs/behaviour.md, "Audit
//! events").
//!
//! The first of its kind in a minute is written at once, so that an operator sees it when it happens; those after it are
//! counted and become one line when the minute has passed. Each such line says in `details.count` how many events it
//! stands for: the counts add up to what happened. Who caused them is told apart by [`Network`]: one client has as many
//! addresses of IPv6 as it likes. The table is bounded; what does not fit is counted by type and reason
//! alone, with `address: null`, so an attacker with many addresses fills neither memory nor disk.

use std::collections::HashMap;

use super::event::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
use crate::clock::WallTime;
use crate::network::Network;
use crate::session::SessionId;

/// How many kinds of repeated event are told apart within a minute.
const MOST_KEYS: usize = 10_000;
const MINUTE: u64 = 60_000_000;

/// What makes two events the same but for their time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: AuditType,
    outcome: Outcome,
    source: Source,
    reason: Option<Reason>,
    /// Of an operator: the name of the token.
    operator: Option<ClientText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Session(SessionId),
    Network(Option<Network>),
    /// Too many sources to tell apart.
    Many,
}

#[derive(Debug)]
struct Repeats {
    /// What the line of the repeats says.
    event: AuditEvent,
    count: u64,
}

/// Whether an event can be caused at will, and must be counted rather than written each time.
#[must_use]
pub fn is_repeatable(event: &AuditEvent) -> bool {
    match event.kind {
        // The cookie of an ended session, or of one that is held, can be sent by anyone who kept it.
        AuditType::SessionRejected
        | AuditType::TokenRejected
        | AuditType::LoginFailed
        | AuditType::LoginLocked
        | AuditType::EventUnknown
        | AuditType::IdentitySpoofed => true,
        // Without a right token, or with one whose roles do not suffice; and what a guard kept a session from ending.
        AuditType::AdminCalled | AuditType::SessionEnded => event.outcome == Outcome::Denied,
        // Whoever has many addresses has as many findings made.
        AuditType::AnomalyFound => event.session_id.is_none(),
        AuditType::SessionCreated
        | AuditType::LoginOrphaned
        | AuditType::SessionHeld
        | AuditType::SessionReleased
        | AuditType::TokenRevoked
        | AuditType::TenantChanged
        | AuditType::ConfigReloaded
        | AuditType::LoginUnlocked
        | AuditType::AnomalyVerdict => false,
    }
}

/// The counts of the current minute. The minute lasts until the writer collects it: a disk that refuses for an hour makes
/// one long window and not sixty tables.
#[derive(Debug)]
pub struct Aggregator {
    opened: Option<WallTime>,
    counts: HashMap<Key, Repeats>,
    most_keys: usize,
}

impl Default for Aggregator {
    fn default() -> Self {
        Self::with_room_for(MOST_KEYS)
    }
}

impl Aggregator {
    fn with_room_for(most_keys: usize) -> Self {
        Self { opened: None, counts: HashMap::new(), most_keys }
    }

    /// Takes a repeatable event: gives it back with its count when it is to be written now, or counts it.
    pub fn admit(&mut self, mut event: AuditEvent, now: WallTime) -> Option<AuditEvent> {
        self.opened.get_or_insert(now);
        let key = Key::of(&event);
        if let Some(repeats) = self.counts.get_mut(&key) {
            repeats.count = repeats.count.saturating_add(1);
            return None;
        }
        if self.counts.len() >= self.most_keys {
            let key = Key { source: Source::Many, reason: named(key.reason), ..key };
            let repeats = self.counts.entry(key).or_insert_with_key(|key| Repeats::of(&event, key));
            repeats.count = repeats.count.saturating_add(1);
            return None;
        }
        self.counts.insert(key.clone(), Repeats::of(&event, &key));
        event.details = event.details.count("count", 1);
        Some(event)
    }

    /// The lines of the window when its minute has passed. A clock that was set back ends it too.
    pub fn take_due(&mut self, now: WallTime) -> Vec<AuditEvent> {
        let minute = |time: WallTime| time.as_micros() / MINUTE;
        match self.opened {
            Some(opened) if minute(opened) != minute(now) => self.take_all(now),
            _ => Vec::new(),
        }
    }

    /// The lines of the window as it is: for the end of the program.
    pub fn take_all(&mut self, now: WallTime) -> Vec<AuditEvent> {
        let Some(opened) = self.opened.take() else { return Vec::new() };
        let window = format!("{}/{}", opened.rfc3339(), now.rfc3339());
        let repeated = self.counts.drain().filter(|(_, repeats)| repeats.count > 0);
        repeated
            .map(|(key, Repeats { event, count })| {
                let details = Details::none().count("count", count).text("window", window.as_str());
                // Its address stands for all of the network's.
                let details = match key.source {
                    Source::Network(Some(network)) if network.first_address().is_ipv6() => {
                        details.text("network", network.to_string().as_str())
                    }
                    _ => details,
                };
                AuditEvent { time: now, details, ..event }
            })
            .collect()
    }
}

impl Key {
    fn of(event: &AuditEvent) -> Self {
        let source =
            event.session_id.map_or_else(|| Source::Network(event.address.map(Network::from)), Source::Session);
        let operator = match &event.actor {
            Actor::Operator(name) => Some(name.clone()),
            Actor::User | Actor::Gateway => None,
        };
        Self { kind: event.kind, outcome: event.outcome, source, reason: event.reason.clone(), operator }
    }
}

impl Repeats {
    /// No repeats yet of what `key` says of `event`: what may differ from one repeat to the next is left out.
    fn of(event: &AuditEvent, key: &Key) -> Self {
        let mut repeated = AuditEvent::new(event.time, event.kind, event.outcome, Actor::User);
        repeated.actor = event.actor.clone();
        repeated.reason.clone_from(&key.reason);
        match key.source {
            Source::Session(id) => {
                repeated.session_id = Some(id);
                repeated.tenant.clone_from(&event.tenant);
                repeated.user.clone_from(&event.user);
            }
            Source::Network(network) => repeated.address = network.map(Network::first_address),
            Source::Many => {}
        }
        Self { event: repeated, count: 0 }
    }
}

/// The reason, if it is one of the gateway's own: these are few.
fn named(reason: Option<Reason>) -> Option<Reason> {
    reason.filter(|reason| matches!(reason, Reason::Named(_)))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::json_line::JsonLine;

    /// The start of a minute.
    const START: u64 = 28_333_333 * MINUTE;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_micros(START + seconds * 1_000_000)
    }

    fn failed_login(address: [u8; 4]) -> AuditEvent {
        AuditEvent::new(at(0), AuditType::LoginFailed, Outcome::Failure, Actor::User).because("http_401").by_request(
            IpAddr::from(address),
            Some(b"curl"),
            "r",
        )
    }

    fn rejected(id: u8, address: [u8; 4]) -> AuditEvent {
        let id = SessionId::parse(&[id; 22]).expect("an id");
        AuditEvent::new(at(0), AuditType::SessionRejected, Outcome::Denied, Actor::User).of_session(id).by_request(
            IpAddr::from(address),
            None,
            "r",
        )
    }

    fn line(event: &AuditEvent) -> serde_json::Value {
        let mut out = Vec::new();
        let mut line = JsonLine::open(&mut out);
        event.write_fields(&mut line);
        line.close();
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_are_one_line_when_the_minute_has_passed() {
        let mut aggregator = Aggregator::default();
        let first = aggregator.admit(failed_login([192, 0, 2, 1]), at(1)).expect("the first");
        assert_eq!(line(&first)["details"]["count"], 1);
        for second in 2..60 {
            assert_eq!(aggregator.admit(failed_login([192, 0, 2, 1]), at(second)), None);
        }
        assert_eq!(aggregator.take_due(at(59)), []);
        let due = aggregator.take_due(at(60));
        let [repeats] = due.as_slice() else { panic!("one line, not {due:?}") };
        let repeats = line(repeats);
        assert_eq!(repeats["type"], "login.failed");
        assert_eq!(repeats["reason"], "http_401");
        assert_eq!(repeats["address"], "192.0.2.1");
        assert_eq!(repeats["user_agent"], serde_json::Value::Null);
        assert_eq!(repeats["details"]["count"], 58);
        assert_eq!(repeats["details"]["window"], format!("{}/{}", at(1).rfc3339(), at(60).rfc3339()));
        assert_eq!(aggregator.take_due(at(120)), [], "nothing is said twice");
    }

    #[test]
    fn addresses_reasons_and_sessions_are_told_apart() {
        let mut aggregator = Aggregator::default();
        assert!(aggregator.admit(failed_login([192, 0, 2, 1]), at(1)).is_some());
        assert!(aggregator.admit(failed_login([192, 0, 2, 2]), at(1)).is_some());
        assert!(aggregator.admit(failed_login([192, 0, 2, 1]).because("timeout"), at(1)).is_some());
        assert!(aggregator.admit(rejected(b'a', [192, 0, 2, 1]), at(1)).is_some());
        assert!(aggregator.admit(rejected(b'b', [192, 0, 2, 1]), at(1)).is_some());
        let elsewhere = aggregator.admit(rejected(b'a', [192, 0, 2, 9]), at(1));
        assert_eq!(elsewhere, None, "one ended session is one source, wherever its cookie went");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_source() {
        let mut aggregator = Aggregator::default();
        let from = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, host, host]);
        let failed = |address| AuditEvent { address: Some(address), ..failed_login([0; 4]) };
        let first = aggregator.admit(failed(from(1, 7)), at(1)).expect("the first");
        assert_eq!(line(&first)["address"], "2001:db8:0:1::7:7", "of one event its own address is told");
        for host in 0..2000 {
            assert_eq!(aggregator.admit(failed(from(1, host)), at(2)), None);
        }
        assert!(aggregator.admit(failed(from(2, 7)), at(2)).is_some(), "another network");
        let due = aggregator.take_due(at(60));
        let [repeats] = due.as_slice() else { panic!("one line, not {due:?}") };
        let repeats = line(repeats);
        assert_eq!((&repeats["address"], &repeats["details"]["count"]), (&"2001:db8:0:1::".into(), &2000.into()));
        assert_eq!(repeats["details"]["network"], "2001:db8:0:1::/64");
    }

    #[test]
    fn more_sources_than_fit_are_counted_together() {
        let mut aggregator = Aggregator::with_room_for(2);
        let written = (0..100_u8).filter_map(|n| aggregator.admit(failed_login([192, 0, 2, n]), at(1))).count();
        assert_eq!(written, 2);
        let due = aggregator.take_due(at(60));
        let [repeats] = due.as_slice() else { panic!("one line, not {due:?}") };
        let repeats = line(repeats);
        assert_eq!(repeats["address"], serde_json::Value::Null);
        assert_eq!(repeats["details"]["count"], 98);
    }

    #[test]
    fn a_writer_that_does_not_come_leaves_one_long_window_and_no_more() {
        let mut aggregator = Aggregator::with_room_for(2);
        for second in 0..3600 {
            let address = [192, 0, 2, u8::try_from(second % 250).expect("small")];
            aggregator.admit(failed_login(address), at(second));
        }
        assert!(aggregator.counts.len() <= 3);
        let counts: Vec<u64> = aggregator
            .take_due(at(3600))
            .iter()
            .map(|event| line(event)["details"]["count"].as_u64().expect("a count"))
            .collect();
        assert_eq!(counts.iter().sum::<u64>() + 2, 3600, "two were written at once");
    }

    #[test]
    fn a_clock_set_back_ends_the_minute_and_the_end_of_the_program_too() {
        let mut aggregator = Aggregator::default();
        for _ in 0..3 {
            aggregator.admit(failed_login([192, 0, 2, 1]), at(65));
        }
        assert_eq!(aggregator.take_due(at(5)).len(), 1);
        for _ in 0..3 {
            aggregator.admit(failed_login([192, 0, 2, 1]), at(5));
        }
        assert_eq!(aggregator.take_all(at(6)).len(), 1);
    }

    #[test]
    fn what_changes_a_session_is_a_line_each() {
        for kind in AuditType::ALL {
            let event = AuditEvent::new(at(0), kind, Outcome::Success, Actor::User);
            let expected = matches!(
                kind,
                AuditType::SessionRejected
                    | AuditType::TokenRejected
                    | AuditType::LoginFailed
                    | AuditType::LoginLocked
                    | AuditType::AnomalyFound
                    | AuditType::IdentitySpoofed
                    | AuditType::EventUnknown
            );
            assert_eq!(is_repeatable(&event), expected, "{}", kind.as_str());
        }
        for kind in [AuditType::AdminCalled, AuditType::SessionEnded] {
            for (outcome, expected) in [(Outcome::Denied, true), (Outcome::Begun, false), (Outcome::Failure, false)] {
                let event = AuditEvent::new(at(0), kind, outcome, Actor::Operator("ops".into()));
                assert_eq!(is_repeatable(&event), expected, "{outcome:?}");
            }
        }
    }

    #[test]
    fn what_a_session_claims_of_itself_is_counted_by_session_and_what_an_operator_may_not_by_operator() {
        let mut aggregator = Aggregator::default();
        let spoofed = |id: u8| AuditEvent { kind: AuditType::IdentitySpoofed, ..rejected(id, [192, 0, 2, 1]) };
        assert!(aggregator.admit(spoofed(b'a'), at(1)).is_some());
        assert!(aggregator.admit(spoofed(b'b'), at(1)).is_some());
        for _ in 0..1000 {
            assert_eq!(aggregator.admit(spoofed(b'a'), at(2)), None);
        }
        let denied =
            |name: &str| AuditEvent::new(at(1), AuditType::AdminCalled, Outcome::Denied, Actor::Operator(name.into()));
        assert!(aggregator.admit(denied("one"), at(1)).is_some() && aggregator.admit(denied("two"), at(1)).is_some());
        assert_eq!(aggregator.admit(denied("one"), at(2)), None);
        let counts: Vec<serde_json::Value> = aggregator.take_due(at(60)).iter().map(line).collect();
        let of = |kind: &str| counts.iter().find(|line| line["type"] == kind).expect("its line").clone();
        assert_eq!(counts.len(), 2);
        assert_eq!(of("identity.spoofed")["details"]["count"], 1000);
        assert_eq!(of("identity.spoofed")["session_id"], "a".repeat(22));
        assert_eq!(of("admin.called")["actor"], "operator:one");
    }
}
