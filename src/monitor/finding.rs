//! What was found: of which kind, how bad, about whom, on what evidence, and what was done about it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccountId, Action, MonitorMode, Severity};
use crate::session::{Principal, SessionId, TenantId, UserId, UserKind};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// Too many logins failed.
    FailedLogins,
    /// A login succeeded after many failures from elsewhere.
    GuessedLogin,
    /// Two places in too short a time for anybody to travel.
    Travel,
    /// A place far from the last one, within a short time.
    LocationChange,
    /// More live sessions of a user than are usual.
    Concurrent,
    /// Live sessions of a user in places far from each other.
    Locations,
    /// More calls in a minute than a person makes.
    Calls,
    /// More records than are usual were taken out.
    Exports,
    /// Several things were tried that this user may not do.
    Privileges,
    /// A password was changed again and again.
    Passwords,
    /// The cookie of a session that was ended on purpose came from elsewhere.
    RevokedUse,
    /// A user paid, and has no tenant.
    Orphan,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::FailedLogins,
        Self::GuessedLogin,
        Self::Travel,
        Self::LocationChange,
        Self::Concurrent,
        Self::Locations,
        Self::Calls,
        Self::Exports,
        Self::Privileges,
        Self::Passwords,
        Self::RevokedUse,
        Self::Orphan,
    ];

    /// Its name, wherever people and programs read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailedLogins => "SUSPICIOUS_FAILED_AUTH_ATTEMPTS",
            Self::GuessedLogin => "LOGIN_AFTER_FAILURES",
            Self::Travel => "IMPOSSIBLE_TRAVEL",
            Self::LocationChange => "SUSPICIOUS_LOCATION_CHANGE",
            Self::Concurrent => "EXCESSIVE_CONCURRENT_SESSIONS",
            Self::Locations => "MULTIPLE_LOCATION_SESSIONS",
            Self::Calls => "SUSPICIOUS_RAPID_API_CALLS",
            Self::Exports => "SUSPICIOUS_DATA_EXPORT_VOLUME",
            Self::Privileges => "SUSPICIOUS_PRIVILEGE_ESCALATION_ATTEMPTS",
            Self::Passwords => "SUSPICIOUS_PASSWORD_CHANGES",
            Self::RevokedUse => "REVOKED_SESSION_USE",
            Self::Orphan => "PAID_WITHOUT_TENANT",
        }
    }
}

/// What somebody who looked at it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is wrong.
    Expected,
    /// It was an attack.
    Malicious,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Expected, Self::Malicious];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Malicious => "malicious",
        }
    }
}

/// What a finding rests on: a few named values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(Map<String, Value>);

impl Evidence {
    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// All of it.
    #[must_use]
    pub const fn values(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl fmt::Display for Evidence {
    /// As JSON.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(&self.0).unwrap_or_default())
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Of which kind.
    pub kind: FindingKind,
    /// How bad.
    pub severity: Severity,
    /// Whether anything was done about it.
    pub mode: MonitorMode,
    /// What is done about it.
    pub actions: Vec<Action>,
    /// What the same finding would be about again: told once in a while.
    pub subject: String,
    /// The session that it is about, and whose that is; a login has none.
    pub session: Option<(SessionId, std::sync::Arc<Principal>)>,
    /// The account that was tried.
    pub account: Option<AccountId>,
    /// From where.
    pub address: Option<IpAddr>,
    /// What it rests on.
    pub evidence: Evidence,
}

impl Finding {
    /// What tells it from others within a while.
    #[must_use]
    pub fn dedupe(&self) -> String {
        format!("{}:{}:{}", self.kind.as_str(), self.mode.as_str(), self.subject)
    }

    /// As it is kept, with what was done about it.
    #[must_use]
    pub fn record(&self, taken: Vec<Taken>) -> FindingRecord {
        let whose = self.session.as_ref().map(|(_, principal)| principal);
        FindingRecord {
            kind: self.kind.as_str().to_owned(),
            severity: self.severity.as_str().to_owned(),
            observed: self.mode == MonitorMode::Observe,
            tenant: whose.map(|principal| principal.tenant.shown().to_owned()),
            user: whose.map(|principal| principal.user.as_str().to_owned()),
            user_kind: whose.and_then(|principal| principal.user.kind().map(str::to_owned)),
            session_id: self.session.as_ref().map(|(id, _)| id.as_str().to_owned()),
            account: self.account.as_ref().map(ToString::to_string),
            address: self.address.map(|address| address.to_string()),
            evidence: self.evidence.clone(),
            actions: taken,
        }
    }
}

/// What was done, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The action's word.
    pub action: String,
    /// Whether it was carried out.
    pub done: bool,
}

impl Taken {
    /// That this was carried out, or not.
    #[must_use]
    pub fn of(action: Action, done: bool) -> Self {
        Self { action: action.as_str().to_owned(), done }
    }
}

/// A finding as it is kept: words, so that those of another version can be read, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// What was found.
    #[serde(rename = "type")]
    pub kind: String,
    /// How bad it is.
    pub severity: String,
    /// Whether it was only observed.
    pub observed: bool,
    /// The tenant of its session; a comma stands for none. Absent where there is no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The user of its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The kind of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_kind: Option<String>,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What stands for the account that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it rests on.
    pub evidence: Evidence,
    /// What was done.
    pub actions: Vec<Taken>,
}

impl FindingRecord {
    /// Whose session it is about, if it is about one.
    #[must_use]
    pub fn whose(&self) -> Option<(TenantId, UserId)> {
        let tenant = TenantId::parse_shown(self.tenant.as_deref()?).ok()?;
        let kind = self.user_kind.as_deref().map(UserKind::parse).transpose().ok()?;
        let user = UserId::parse(self.user.as_deref()?).ok()?;
        Some((tenant, user.of_kind(kind.as_ref())))
    }

    /// As it is kept.
    #[must_use]
    pub fn encode(&self) -> String {
        // Texts and numbers: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what was kept.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// What somebody said of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingNote {
    /// What they say.
    pub verdict: Verdict,
    /// Who.
    pub by: String,
    /// When, in µs.
    pub at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_kept_as_words_and_reads_back_and_what_was_only_observed_says_so() {
        let finding = |mode| Finding {
            kind: FindingKind::FailedLogins,
            severity: Severity::High,
            mode,
            actions: vec![Action::Record, Action::Lock],
            subject: String::from("an:x"),
            session: None,
            account: None,
            address: Some([192, 0, 2, 1].into()),
            evidence: Evidence::default().with("failures", 5),
        };
        let taken = vec![Taken::of(Action::Record, true), Taken::of(Action::Lock, false)];
        let done = finding(MonitorMode::Enforce).record(taken.clone());
        assert_eq!(FindingRecord::decode(done.encode().as_bytes()), Some(done.clone()));
        assert!(done.actions == taken && !done.observed);
        let observed = finding(MonitorMode::Observe);
        let record = observed.record(taken);
        assert!(record.observed && observed.dedupe() != finding(MonitorMode::Enforce).dedupe());
        assert_eq!(observed.evidence.to_string(), "{\"failures\":5}");
    }
}
