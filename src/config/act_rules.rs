//! The rules of `[monitor]` about what is done with sessions.

use super::error::Problems;
use super::raw::{RawCalls, RawExports, RawMonitor, RawPasswords, RawPrivileges, RawRevokedUse};
use super::rule::{DAY, EACH, MINUTE, RuleFields, actions, severity};
use crate::monitor::{Action, Exports, Passwords, Privileges, RapidCalls, RevokedUse, Rule, Severity};

/// Calls are numbers.
const MOST_CALLS: u64 = 1_000_000;
/// So are records.
const MOST_RECORDS: u64 = 1_000_000_000;
/// The store keeps each different thing, for as long as its window.
const MOST_DIFFERENT: u64 = 100;

/// What can be done about what is found in a session that lives.
const OF_SESSIONS: [Action; 2] = [Action::Reauth, Action::Terminate];

/// The rules; `None` for those that are off.
pub(super) struct ActRules {
    pub(super) calls: Option<RapidCalls>,
    pub(super) exports: Option<Exports>,
    pub(super) privileges: Option<Privileges>,
    pub(super) passwords: Option<Passwords>,
    pub(super) revoked_use: Option<RevokedUse>,
}

/// `locks`: whether logins are refused that are locked.
pub(super) fn act_rules(raw: &RawMonitor, locks: bool, problems: &mut Problems) -> ActRules {
    let RawMonitor {
        calls: for_calls, exports: of_exports, privileges: of_privileges, passwords: of_passwords, ..
    } = raw;
    ActRules {
        calls: for_calls.get().map_or_else(|| Some(default_calls()), |raw| calls(raw, problems)),
        exports: of_exports.get().map_or_else(|| Some(default_exports()), |raw| exports(raw, problems)),
        privileges: of_privileges.get().map_or_else(|| Some(default_privileges()), |raw| privileges(raw, problems)),
        passwords: of_passwords
            .get()
            .map_or_else(|| Some(default_passwords(locks)), |raw| passwords(raw, locks, problems)),
        revoked_use: raw
            .revoked_use
            .get()
            .map_or_else(|| Some(default_revoked_use()), |raw| revoked_use(raw, problems)),
    }
}

fn calls(raw: &RawCalls, problems: &mut Problems) -> Option<RapidCalls> {
    let RawCalls { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_CALLS, window, severity, action };
    let rule = fields.rule(&default_calls().rule, &[Action::Throttle, Action::Reauth, Action::Terminate], problems);
    if rule.window != MINUTE {
        problems.error(window.place(), "is no calendar minute, by which calls are counted; write \"1m\", or remove it");
    }
    raw.enabled.get().copied().unwrap_or(true).then_some(RapidCalls { rule })
}

fn exports(raw: &RawExports, problems: &mut Problems) -> Option<Exports> {
    let RawExports { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_RECORDS, window, severity, action };
    let rule = fields.rule(&default_exports().rule, &OF_SESSIONS, problems);
    raw.enabled.get().copied().unwrap_or(true).then_some(Exports { rule })
}

fn privileges(raw: &RawPrivileges, problems: &mut Problems) -> Option<Privileges> {
    let RawPrivileges { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_DIFFERENT, window, severity, action };
    let rule = fields.rule(&default_privileges().rule, &OF_SESSIONS, problems);
    raw.enabled.get().copied().unwrap_or(true).then_some(Privileges { rule })
}

fn passwords(raw: &RawPasswords, locks: bool, problems: &mut Problems) -> Option<Passwords> {
    let RawPasswords { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_DIFFERENT, window, severity, action };
    let possible = [&[Action::Lock][..], &OF_SESSIONS].concat();
    let rule = fields.rule(&default_passwords(locks).rule, &possible, problems);
    if rule.does(Action::Lock) && !locks {
        let message = "has \"lock\", which is seen to by `monitor.failed_logins`: have its `action` be \"lock\", too, or remove it";
        problems.error(action.place(), message);
    }
    raw.enabled.get().copied().unwrap_or(true).then_some(Passwords { rule })
}

fn revoked_use(raw: &RawRevokedUse, problems: &mut Problems) -> Option<RevokedUse> {
    let usual = default_revoked_use();
    let severity = severity(&raw.severity, usual.severity, problems);
    let actions = actions(&raw.action, &usual.actions, &EACH, problems);
    raw.enabled.get().copied().unwrap_or(true).then_some(RevokedUse { severity, actions })
}

fn default_calls() -> RapidCalls {
    RapidCalls {
        rule: Rule { count: 100, window: MINUTE, severity: Severity::Medium, actions: vec![Action::Throttle] },
    }
}

fn default_exports() -> Exports {
    Exports {
        rule: Rule { count: 1000, window: 60 * MINUTE, severity: Severity::Medium, actions: vec![Action::Alert] },
    }
}

fn default_privileges() -> Privileges {
    Privileges { rule: Rule { count: 3, window: 5 * MINUTE, severity: Severity::High, actions: vec![Action::Alert] } }
}

fn default_passwords(locks: bool) -> Passwords {
    let mut actions = vec![Action::Lock, Action::Reauth, Action::Alert];
    actions.retain(|action| locks || *action != Action::Lock);
    Passwords { rule: Rule { count: 3, window: DAY, severity: Severity::High, actions } }
}

fn default_revoked_use() -> RevokedUse {
    RevokedUse { severity: Severity::Medium, actions: vec![Action::Alert] }
}
