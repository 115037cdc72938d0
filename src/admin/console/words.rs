//! The words of the API, as people say them.

use crate::monitor::{Action, FindingKind};

/// What a finding is called, and what it means.
pub(super) fn finding(kind: &str) -> (&'static str, &'static str) {
    let Some(known) = FindingKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        return ("Written by another version", "This version does not know what it says.");
    };
    match known {
        FindingKind::FailedLogins => ("Too many failed logins", "Somebody tries passwords."),
        FindingKind::GuessedLogin => (
            "A login after many failures",
            "An account logged in after many failures from elsewhere: its owner, or who guessed the password.",
        ),
        FindingKind::Travel => ("Impossible travel", "Two places in too short a time for anybody to travel."),
        FindingKind::LocationChange => {
            ("A sudden change of place", "A place far from the last one, within a short time.")
        }
        FindingKind::Concurrent => ("Many sessions at once", "More live sessions of a user than are usual."),
        FindingKind::Locations => ("Sessions in two places", "Live sessions of a user in places far from each other."),
        FindingKind::Calls => ("Rapid calls", "More calls in a minute than a person makes."),
        FindingKind::Exports => ("A large export", "More records than are usual were taken out."),
        FindingKind::Privileges => ("Reaching for privileges", "Several things were tried that this user may not do."),
        FindingKind::Passwords => ("Repeated password changes", "A password was changed again and again."),
        FindingKind::RevokedUse => {
            ("Use of an ended session", "The cookie of a session that was ended on purpose came from elsewhere.")
        }
        FindingKind::Orphan => {
            ("Paid, and no tenant", "A user paid and has no organisation: making it may have failed.")
        }
    }
}

/// What was done about a finding, or would have been.
pub(super) fn action(word: &str, done: bool, observed: bool) -> String {
    let Some(known) = Action::ALL.into_iter().find(|known| known.as_str() == word) else {
        return word.to_owned();
    };
    let (was, would) = match known {
        Action::Record => ("recorded", "recorded"),
        Action::Alert => ("operators told", "told the operators"),
        Action::Notify => ("user told", "told the user"),
        Action::Throttle => ("calls refused for a while", "refused calls for a while"),
        Action::Lock => ("logins locked", "locked logins"),
        Action::Reauth => ("session held until a new login", "held the session until a new login"),
        Action::Terminate => ("session ended", "ended the session"),
    };
    match (done, observed) {
        (true, _) => was.to_owned(),
        (false, true) => format!("would have {would}"),
        (false, false) => format!("not carried out: {word}"),
    }
}

/// Why a gateway is not ready.
pub(super) fn unready(reason: &str) -> &str {
    match reason {
        "store_unreachable" => "The session store does not answer.",
        "store_not_asked_yet" => "The session store was not asked yet.",
        "configuration_not_loaded" => "The configuration is not loaded.",
        "draining" => "It was told to end, and takes no new requests.",
        other => other,
    }
}

/// So many of something.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_finding_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FindingKind::ALL.map(|kind| finding(kind.as_str()).0).into_iter().collect();
        assert_eq!(names.len(), FindingKind::ALL.len());
        assert!(!names.contains(finding("UNKNOWN").0));
    }

    #[test]
    fn what_was_only_observed_would_have_been_done() {
        for (word, done, observed, expected) in [
            ("lock", true, false, "logins locked"),
            ("lock", false, true, "would have locked logins"),
            ("lock", false, false, "not carried out: lock"),
            ("record", true, true, "recorded"),
            ("<new>", false, true, "<new>"),
        ] {
            assert_eq!(action(word, done, observed), expected);
        }
    }
}
