//! What an operator is told of a finding, or of many.

use super::content::{Content, Item, shown};
use crate::monitor::{Evidence, FindingKind, FindingRecord, Severity};
use crate::session::{StoreTime, TenantId};
use crate::store::alerts::{AlertId, Gathered};
use crate::store::monitor::{FindingId, KeptFinding};

/// What is found by who tries whether alerts arrive.
const TEST: &str = "TEST_ALERT";

/// A finding that is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// Its name.
    pub(super) id: FindingId,
    /// What was found.
    pub(super) record: FindingRecord,
}

impl Told {
    /// `None`: it cannot be read; it may be another version's.
    pub(super) fn of(kept: KeptFinding) -> Option<Self> {
        kept.record.map(|record| Self { id: kept.id, record })
    }

    /// When it was found, for people.
    pub(super) fn at(&self) -> String {
        moment(self.id)
    }

    /// The same for programs.
    pub(super) fn found_at(&self) -> String {
        crate::clock::rfc3339(self.id.millis.saturating_mul(1000))
    }

    /// One that nobody found, to try whether alerts arrive.
    pub(super) fn test(now: StoreTime) -> Self {
        let record = FindingRecord {
            kind: TEST.to_owned(),
            severity: Severity::Low.as_str().to_owned(),
            observed: false,
            tenant: None,
            user: None,
            user_kind: None,
            session_id: None,
            account: None,
            address: None,
            evidence: Evidence::default(),
            actions: Vec::new(),
        };
        Self { id: FindingId { millis: now.as_micros() / 1000, count: 0 }, record }
    }
}

/// What an alert tells of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    /// One finding.
    One(Told),
    /// Many, of which some are named.
    Many(Gathered, Vec<Told>),
}

impl Subject {
    /// How bad it is: as bad as the worst.
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::One(told) => severity_of(&told.record.severity),
            Self::Many(gathered, _) => {
                { gathered.kinds.keys().map(|kind| severity_of(kind.split(' ').next().unwrap_or_default())).max() }
                    .unwrap_or(Severity::Low)
            }
        }
    }

    /// Whether nothing was done about any of it.
    pub(super) fn is_observed(&self) -> bool {
        match self {
            Self::One(told) => told.record.observed,
            Self::Many(gathered, _) => gathered.kinds.keys().all(|kind| kind.ends_with(" observed")),
        }
    }

    /// In a few words, as in `IMPOSSIBLE_TRAVEL` or `12 findings`.
    pub(super) fn what(&self) -> String {
        match self {
            Self::One(told) => shown(&told.record.kind),
            Self::Many(gathered, _) if gathered.count == 1 => String::from("1 finding"),
            Self::Many(gathered, _) => format!("{} findings", gathered.count),
        }
    }

    /// The subject of a mail.
    pub(super) fn title(&self) -> String {
        format!("{}: {}", prefix(self.severity()), self.what())
    }

    /// What an operator of this site is told.
    pub(super) fn content(&self, site: &str, alert: &AlertId) -> Content {
        let foot = format!("session-gateway in front of {site}, alert {alert}.");
        let (title, observed) = (self.title(), self.is_observed());
        match self {
            Self::One(told) => Content {
                title,
                observed,
                lead: sentence(&told.record).to_owned(),
                facts: facts(told),
                items: Vec::new(),
                commands: vec![
                    format!("session-gateway anomalies show {}", told.id),
                    format!("session-gateway anomalies verdict {} expected|malicious", told.id),
                ],
                foot,
            },
            Self::Many(gathered, told) => {
                let named = gathered.count.min(told.len() as u64);
                let lead = if named < gathered.count {
                    format!(
                        "{} were found. Here are the first {named}; all are in the list below's command.",
                        self.what()
                    )
                } else {
                    format!("{} were found.", self.what())
                };
                Content {
                    title,
                    observed,
                    lead,
                    facts: gathered.kinds.iter().map(|(kind, count)| (shown(kind), count.to_string())).collect(),
                    items: told.iter().map(item).collect(),
                    commands: vec![String::from("session-gateway anomalies list")],
                    foot,
                }
            }
        }
    }
}

const fn prefix(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "HIGH SECURITY ALERT",
        Severity::Medium => "Security Alert",
        Severity::Low => "Security Notice",
    }
}

/// A severity by its word; what another version wrote is worth a look.
pub(super) fn severity_of(word: &str) -> Severity {
    Severity::ALL.into_iter().find(|severity| severity.as_str() == word).unwrap_or(Severity::Medium)
}

fn moment(id: FindingId) -> String {
    let time = crate::clock::rfc3339(id.millis.saturating_mul(1000));
    // 2026-11-30T10:12:03.123Z
    format!("{} {} UTC", time.get(..10).unwrap_or_default(), time.get(11..19).unwrap_or_default())
}

/// What a kind of finding means.
pub(super) fn sentence(record: &FindingRecord) -> &'static str {
    if record.kind == TEST {
        return "Somebody tried whether alerts arrive (`session-gateway alerts test`). Nothing was found.";
    }
    let kind = FindingKind::ALL.into_iter().find(|kind| kind.as_str() == record.kind);
    match kind {
        Some(FindingKind::FailedLogins) => "Too many logins failed: somebody may be guessing passwords.",
        Some(FindingKind::GuessedLogin) => {
            "A login succeeded after many failures from elsewhere: it may be the owner, or the one who guessed."
        }
        Some(FindingKind::Travel) => "A user was in two places in too short a time for anybody to travel.",
        Some(FindingKind::LocationChange) => "A user came from a place far from the last one, within a short time.",
        Some(FindingKind::Concurrent) => "A user has more live sessions than are usual.",
        Some(FindingKind::Locations) => "A user has live sessions in places far from each other.",
        Some(FindingKind::Calls) => "A user made more calls in a minute than a person does.",
        Some(FindingKind::Exports) => "A user took out more records than are usual.",
        Some(FindingKind::Privileges) => "A user tried several things that they may not do.",
        Some(FindingKind::Passwords) => "A password was changed again and again.",
        Some(FindingKind::RevokedUse) => "The cookie of a session that was ended on purpose came from elsewhere.",
        Some(FindingKind::Orphan) => "A user paid and has no tenant: making their organisation may have failed.",
        None => "Something was found that this version does not know.",
    }
}

/// All that is known of a finding.
pub(super) fn facts(told: &Told) -> Vec<(String, String)> {
    let record = &told.record;
    let mut facts = vec![
        (String::from("What"), shown(&record.kind)),
        (String::from("Severity"), shown(&record.severity)),
        (String::from("When"), told.at()),
    ];
    let nobody = TenantId::none().shown().to_owned();
    let tenant = record.tenant.as_ref().filter(|tenant| **tenant != nobody);
    for (name, value) in [
        ("Tenant", tenant),
        ("User", record.user.as_ref()),
        ("Kind of user", record.user_kind.as_ref()),
        ("Session", record.session_id.as_ref()),
        ("Account", record.account.as_ref()),
        ("Address", record.address.as_ref()),
    ] {
        facts.extend(value.map(|value| (name.to_owned(), shown(value))));
    }
    for (name, value) in record.evidence.values() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        facts.push((shown(&name.replace('_', " ")), shown(&value)));
    }
    let actions = |done: bool| {
        let actions = record.actions.iter().filter(|taken| taken.done == done && taken.action != "record");
        actions.map(|taken| shown(&taken.action)).collect::<Vec<_>>().join(", ")
    };
    let (done, left) = (actions(true), actions(false));
    facts.push((String::from("Done"), if done.is_empty() { String::from("nothing") } else { done }));
    if !left.is_empty() {
        let name = if record.observed { "Would have been done" } else { "Not done" };
        facts.push((name.to_owned(), left));
    }
    facts
}

/// Whom a finding is about, in a few words.
pub(super) fn whom(record: &FindingRecord) -> String {
    let nobody = TenantId::none().shown().to_owned();
    let parts = [
        ("tenant", record.tenant.as_ref().filter(|tenant| **tenant != nobody)),
        ("user", record.user.as_ref()),
        ("account", record.account.as_ref().filter(|_| record.user.is_none())),
        ("from", record.address.as_ref()),
    ];
    let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", shown(value?))));
    parts.collect::<Vec<_>>().join(", ")
}

fn item(told: &Told) -> Item {
    let Told { id, record } = told;
    let observed = if record.observed { " (only observed)" } else { "" };
    Item {
        at: told.at(),
        what: format!("{} {}{observed}", shown(&record.severity), shown(&record.kind)),
        whom: whom(record),
        id: id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(severity: &str, observed: bool) -> Told {
        let taken = |action: &str, done| crate::monitor::Taken { action: action.into(), done };
        Told {
            id: FindingId { millis: 1_700_000_000_000, count: 0 },
            record: FindingRecord {
                kind: "IMPOSSIBLE_TRAVEL".into(),
                severity: severity.into(),
                observed,
                tenant: Some("acme".into()),
                user: Some("7".into()),
                user_kind: None,
                session_id: None,
                account: None,
                address: Some("192.0.2.1".into()),
                evidence: Evidence::default().with("from_place", "Z\u{fc}rich\r\nX: y"),
                actions: vec![taken("alert", true), taken("lock", !observed)],
            },
        }
    }

    #[test]
    fn the_subject_says_how_bad_it_is_and_what() {
        for (severity, title) in [
            ("high", "HIGH SECURITY ALERT: IMPOSSIBLE_TRAVEL"),
            ("medium", "Security Alert: IMPOSSIBLE_TRAVEL"),
            ("low", "Security Notice: IMPOSSIBLE_TRAVEL"),
        ] {
            assert_eq!(Subject::One(told(severity, false)).title(), title);
        }
        let mut gathered = Gathered { count: 3, ..Gathered::default() };
        gathered.kinds.insert("low X".into(), 2);
        gathered.kinds.insert("medium Y observed".into(), 1);
        let subject = Subject::Many(gathered, vec![told("low", false)]);
        assert_eq!((subject.title().as_str(), subject.is_observed()), ("Security Alert: 3 findings", false));
    }

    #[test]
    fn an_alert_says_who_when_from_where_on_what_evidence_and_what_was_done() {
        let alert = AlertId::parse("1700000000000-0_0").expect("an id");
        let text = Subject::One(told("high", false)).content("app.test", &alert).text();
        for part in [
            "2023-11-14 22:13:20 UTC",
            "Tenant:",
            "acme",
            "192.0.2.1",
            "Zürich\\r\\nX: y",
            "Done:       alert, lock",
            "session-gateway anomalies show 1700000000000-0",
            "app.test",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = Subject::One(told("high", true)).content("app.test", &alert).text();
        assert!(text.contains("Only observed") && text.contains("Would have been done: lock"), "{text}");
    }
}
