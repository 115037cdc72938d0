//! Which findings a list is of.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::problem::Problem;
use crate::monitor::{FindingKind, Severity, Verdict};
use crate::session::{UserId, UserKind};
use crate::store::monitor::KeptFinding;

/// What is asked for; `None`: all.
#[derive(Debug, Default)]
pub(super) struct FindingFilter {
    /// Of sessions of this tenant, as it is shown.
    pub(super) tenant: Option<String>,
    /// Of sessions of this user, of that kind alone, or of none.
    pub(super) user: Option<String>,
    /// Of sessions of users of this kind.
    pub(super) user_kind: Option<UserKind>,
    /// As bad as this.
    pub(super) severity: Option<&'static str>,
    /// Of this kind.
    pub(super) kind: Option<&'static str>,
    /// Of which this was said, or nothing.
    pub(super) verdict: Option<&'static str>,
    /// Whether nothing was done about it.
    pub(super) observed: Option<&'static str>,
}

impl FindingFilter {
    /// Whether it is asked for. Of what another version wrote nothing can be said that is asked for.
    pub(super) fn fits(&self, finding: &KeptFinding) -> bool {
        let said = finding.note.as_ref().map_or(NO_VERDICT, |note| note.verdict.as_str());
        let is = |wanted: Option<&str>, had: Option<&str>| wanted.is_none() || wanted == had;
        let record = finding.record.as_ref();
        let wanted_kind = self.user_kind.as_ref().map(UserKind::as_str);
        let is_of_kind = (self.user.is_none() && wanted_kind.is_none())
            || record.is_some_and(|record| record.user_kind.as_deref() == wanted_kind);
        is_of_kind
            && is(self.verdict, Some(said))
            && is(self.tenant.as_deref(), record.and_then(|record| record.tenant.as_deref()))
            && is(self.user.as_deref(), record.and_then(|record| record.user.as_deref()))
            && is(self.severity, record.map(|record| &*record.severity))
            && is(self.kind, record.map(|record| &*record.kind))
            && is(self.observed, record.map(|record| if record.observed { "true" } else { "false" }))
    }
}

/// That nothing was said yet.
const NO_VERDICT: &str = "none";

/// Reads a user.
pub(super) fn user(text: &str) -> Result<String, Problem> {
    let user = UserId::parse(text).map_err(|error| Problem::bad_request(format!("user: {error}")))?;
    Ok(user.as_str().to_owned())
}

/// Reads a severity, in capitals too, as mails write it.
pub(super) fn severity(text: &str) -> Result<&'static str, Problem> {
    choose("severity", &Severity::ALL.map(Severity::as_str), &text.to_ascii_lowercase())
}

/// Reads a kind.
pub(super) fn kind(text: &str) -> Result<&'static str, Problem> {
    choose("type", &FindingKind::ALL.map(FindingKind::as_str), text)
}

/// Reads a verdict, or that there is none.
pub(super) fn verdict(text: &str) -> Result<&'static str, Problem> {
    choose("verdict", &verdict_words(), text)
}

/// Reads whether nothing was done.
pub(super) fn observed(text: &str) -> Result<&'static str, Problem> {
    choose("observed", &["true", "false"], text)
}

fn verdict_words() -> Vec<&'static str> {
    std::iter::once(NO_VERDICT).chain(Verdict::ALL.map(Verdict::as_str)).collect()
}

fn choose(name: &str, known: &[&'static str], text: &str) -> Result<&'static str, Problem> {
    known
        .iter()
        .copied()
        .find(|known| *known == text)
        .ok_or_else(|| Problem::bad_request(format!("{name}: is not known; choose one of {}", known.join(", "))))
}

/// Every severity, for the document.
pub(super) fn severities() -> Object {
    words(&Severity::ALL.map(Severity::as_str))
}

/// Every kind, for the document.
pub(super) fn kinds() -> Object {
    words(&FindingKind::ALL.map(FindingKind::as_str))
}

/// Every verdict, for the document.
pub(super) fn verdicts() -> Object {
    words(&verdict_words())
}

fn words(known: &[&'static str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(known.iter().copied())).build()
}
