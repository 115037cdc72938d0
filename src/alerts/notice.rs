//! What a user is told: what happened to their account, in words for anybody, and nothing to click.

use super::content::{Content, shown};
use super::letter::Told;
use crate::monitor::FindingKind;
use crate::store::alerts::AlertId;

/// What a user of this site is told of a finding.
pub(super) fn notice(told: &Told, site: &str, alert: &AlertId) -> Content {
    let (short, what) = sentences(told);
    let mut facts = vec![(String::from("When"), told.at())];
    facts.extend(told.record.address.as_ref().map(|address| (String::from("From"), shown(address))));
    for (name, title) in [("from_place", "Place before"), ("to_place", "Place"), ("place", "Place")] {
        let place = told.record.evidence.values().get(name).and_then(serde_json::Value::as_str);
        facts.extend(place.map(|place| (title.to_owned(), shown(place))));
    }
    Content {
        title: format!("Your account at {site}: {short}"),
        observed: false,
        lead: format!(
            "{what} ({site})\n\nIf it was you, you need not do anything. If not, change your password: open the site as you always \
             do. This mail has no link on purpose, and nobody will ask you for your password."
        ),
        facts,
        items: Vec::new(),
        commands: Vec::new(),
        foot: format!("Sent by the monitoring of {site}, notice {alert}."),
    }
}

/// What happened, for the subject and in a sentence.
fn sentences(told: &Told) -> (&'static str, &'static str) {
    let record = &told.record;
    match FindingKind::ALL.into_iter().find(|kind| kind.as_str() == record.kind) {
        Some(FindingKind::FailedLogins) => (
            "somebody tried to sign in",
            "Somebody tried to sign in to your account several times, and did not get in.",
        ),
        Some(FindingKind::GuessedLogin) => (
            "somebody signed in",
            "Somebody signed in to your account, after several attempts from elsewhere had failed.",
        ),
        Some(FindingKind::Travel | FindingKind::LocationChange | FindingKind::Locations) => {
            ("somebody signed in", "Somebody signed in to your account, or used it, from an unusual place.")
        }
        Some(FindingKind::Concurrent) => (
            "somebody signed in",
            "Somebody signed in to your account, which is in use in more places at once than is usual.",
        ),
        Some(FindingKind::Passwords) => {
            ("its password was changed", "The password of your account was changed several times.")
        }
        // Users are told of none of the last, which is no use of their account.
        Some(
            FindingKind::Calls
            | FindingKind::Exports
            | FindingKind::Privileges
            | FindingKind::RevokedUse
            | FindingKind::Orphan,
        )
        | None => ("unusual activity", "Your account was used in an unusual way."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{Evidence, FindingRecord};
    use crate::store::monitor::FindingId;

    #[test]
    fn a_user_learns_what_happened_where_and_nothing_of_the_inside() {
        for kind in FindingKind::ALL {
            let record = FindingRecord {
                kind: kind.as_str().into(),
                severity: "high".into(),
                observed: false,
                tenant: Some("acme".into()),
                user: Some("7".into()),
                user_kind: None,
                session_id: None,
                account: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
                address: Some("192.0.2.1".into()),
                evidence: Evidence::default().with("failures", 5).with("to_place", "Oslo\r\nhttp://evil.test"),
                actions: Vec::new(),
            };
            let told = Told { id: FindingId { millis: 1_700_000_000_000, count: 0 }, record };
            let alert = AlertId::parse("1700000000000-0_1").expect("an id");
            let content = notice(&told, "app.test", &alert);
            let (text, html) = (content.text(), content.html());
            assert!(text.contains("app.test") && text.contains("192.0.2.1") && text.contains("2023-11-14"), "{text}");
            assert!(!text.contains("acme") && !text.contains("AAAA") && !text.contains(kind.as_str()), "{text}");
            assert!(!html.contains("<a ") && !html.contains("href") && !html.contains("\r"), "{html}");
        }
    }
}
