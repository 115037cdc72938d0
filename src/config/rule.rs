//! What the tables of all rules of `[monitor]` have.

use std::time::Duration;

use super::error::Problems;
use super::reader::OneOrMany;
use super::table::Field;
use super::value::{Parsed, choice, count_within, duration_within, quoted};
use crate::monitor::{Action, Rule, Severity};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

const SEVERITIES: [(&str, Severity); 3] =
    [("low", Severity::Low), ("medium", Severity::Medium), ("high", Severity::High)];

/// What each rule can do.
pub(super) const EACH: [Action; 2] = [Action::Record, Action::Alert];

/// The keys that the tables of all rules have.
pub(super) struct RuleFields<'a> {
    pub(super) count: &'a Field<u64>,
    /// How much `count` may be at most.
    pub(super) most: u64,
    pub(super) window: &'a Field<String>,
    pub(super) severity: &'a Field<String>,
    pub(super) action: &'a Field<OneOrMany>,
}

impl RuleFields<'_> {
    /// The rule; what is not written is as usual. It can do no more than what [each](EACH) can, and this.
    pub(super) fn rule(&self, usual: &Rule, more: &[Action], problems: &mut Problems) -> Rule {
        let possible = [&EACH, more].concat();
        Rule {
            count: self.count.parse_or(usual.count, problems, count_within(1..=self.most)),
            window: self.window.parse_or(usual.window, problems, duration_within(MINUTE..=DAY)),
            severity: severity(self.severity, usual.severity, problems),
            actions: actions(self.action, &usual.actions, &possible, problems),
        }
    }
}

/// How bad it is.
pub(super) fn severity(field: &Field<String>, usual: Severity, problems: &mut Problems) -> Severity {
    field.parse_or(usual, problems, |text| choice(&SEVERITIES)(&text.to_ascii_lowercase()))
}

/// What is done: of these. What this rule cannot do is refused, so that nobody relies on it.
pub(super) fn actions(
    field: &Field<OneOrMany>,
    usual: &[Action],
    possible: &[Action],
    problems: &mut Problems,
) -> Vec<Action> {
    let Some(OneOrMany(list)) = field.get() else { return usual.to_vec() };
    if list.is_empty() {
        problems
            .error(field.place(), "is empty; write \"record\" where nothing is to be done but to keep what was found");
    }
    let mut actions = Vec::new();
    for spot in list {
        match action(&spot.value, possible) {
            Ok(action) if actions.contains(&action) => {}
            Ok(action) => actions.push(action),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    actions
}

fn action(text: &str, possible: &[Action]) -> Parsed<Action> {
    if let Some(action) = possible.iter().copied().find(|action| action.as_str() == text) {
        return Ok(action);
    }
    let known = Action::ALL.iter().any(|action| action.as_str() == text);
    let why = if known { "is no action of this rule" } else { "is not known" };
    let choices: Vec<String> = possible.iter().map(|action| quoted(action.as_str())).collect();
    Err(format!("{} {why}; choose one of {}", quoted(text), choices.join(", ")))
}
