//! `[monitor]`: what is noticed, and what is done about it.

use std::time::Duration;

use super::act_rules::{self, ActRules};
use super::error::{Place, Problems};
use super::mode::Mode;
use super::places;
use super::raw::{RawFailedLogins, RawGuessedLogin, RawMonitor};
use super::rule::{DAY, MINUTE, RuleFields, SECOND};
use super::secrets::SecretsConfig;
use super::table::Field;
use super::value::{choice, count_within, duration_within, or_off};
use crate::monitor::{Action, FailedLogins, GuessedLogin, LockBy, MonitorMode, MonitorRules, Rule, Severity};

/// Browsers keep no cookie longer.
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 86_400);
/// A store keeps each failure that counts.
const MOST_FAILURES: u64 = 1000;

const MODES: [(&str, Option<MonitorMode>); 3] =
    [("off", None), ("observe", Some(MonitorMode::Observe)), ("enforce", Some(MonitorMode::Enforce))];
pub(super) const SEVERITIES: [(&str, Severity); 3] =
    [("low", Severity::Low), ("medium", Severity::Medium), ("high", Severity::High)];
const LOCK_BY: [(&str, LockBy); 2] = [("account+network", LockBy::AccountAndNetwork), ("account", LockBy::Account)];

/// `None`: off.
pub(super) fn monitor(raw: &RawMonitor, problems: &mut Problems) -> Option<MonitorRules> {
    let mode = raw.mode.require(problems, "mode = \"observe\"", choice(&MODES)).flatten();
    let device_cookie =
        raw.device_cookie.parse_or(Some(DAY * 180), problems, or_off(duration_within(DAY..=LONGEST_COOKIE)));
    let failed_logins =
        raw.failed_logins.get().map_or_else(|| Some(default_failed_logins()), |raw| failed_logins(raw, problems));
    let guessed_login =
        raw.guessed_login.get().map_or_else(|| Some(default_guessed_login()), |raw| guessed_login(raw, problems));
    if failed_logins.is_none() && guessed_login.is_some() && raw.guessed_login.get().is_some() {
        let message = "needs `monitor.failed_logins`, which counts the failures, and which is not `enabled`; enable it, or set \
                       `enabled = false` here, too";
        problems.error(raw.guessed_login.place(), message);
    }
    let guessed_login = guessed_login.filter(|_| failed_logins.is_some());
    if let (Some(failed), Some(guessed), Some(raw)) = (&failed_logins, &guessed_login, raw.guessed_login.get())
        && guessed.rule.window > failed.rule.window
    {
        let message =
            "is longer than `monitor.failed_logins.window`, for which failures are kept; raise that one, or lower this";
        problems.error(raw.window.place(), message);
    }
    let places = places::places(raw, problems);
    let locks = failed_logins.as_ref().is_some_and(|failed| failed.rule.does(Action::Lock));
    let acts = act_rules::act_rules(raw, locks, problems);
    let ActRules { calls, exports, privileges, passwords, revoked_use } = acts;
    mode.map(|mode| MonitorRules {
        mode,
        device_cookie,
        failed_logins,
        guessed_login,
        calls,
        exports,
        privileges,
        passwords,
        revoked_use,
        places,
    })
}

/// What the keys of accounts and devices are derived from.
pub(super) fn report_secret(place: &Place, secrets: &SecretsConfig, mode: Mode, problems: &mut Problems) {
    if secrets.key.is_some() {
        return;
    }
    match mode {
        Mode::Production => problems.error(
            place,
            "needs `secrets.key` or `secrets.key_file`: what is counted is known by an HMAC, the same at all gateways; make a \
             key with `session-gateway keygen`",
        ),
        Mode::Development => problems.warn(
            place,
            "stands without `secrets.key`: what was counted, and which devices are known, is forgotten with each start, and not \
             shared with other gateways",
        ),
    }
}

fn failed_logins(raw: &RawFailedLogins, problems: &mut Problems) -> Option<FailedLogins> {
    let usual = default_failed_logins();
    let count = |field: &Field<u64>, usual: u32, problems: &mut Problems| {
        field.parse_or(usual, problems, count_within(1..=MOST_FAILURES))
    };
    let RawFailedLogins { count: times, window, severity, action, .. } = raw;
    let fields = RuleFields { count: times, most: MOST_FAILURES, window, severity, action };
    let rule = fields.rule(&usual.rule, &[Action::Notify, Action::Lock], problems);
    let failed = FailedLogins {
        rule,
        account_count: count(&raw.account_count, usual.account_count, problems),
        network_count: count(&raw.network_count, usual.network_count, problems),
        network_accounts: count(&raw.network_accounts, usual.network_accounts, problems),
        lock: raw.lock.parse_or(usual.lock, problems, duration_within(SECOND..=DAY)),
        by: raw.by.parse_or(usual.by, problems, choice(&LOCK_BY)),
    };
    if failed.by == LockBy::Account {
        let message =
            "\"account\" lets anybody lock anybody out, by failing in their name; \"account+network\" does not";
        problems.warn(raw.by.place(), message);
    }
    raw.enabled.get().copied().unwrap_or(true).then_some(failed)
}

fn guessed_login(raw: &RawGuessedLogin, problems: &mut Problems) -> Option<GuessedLogin> {
    let usual = default_guessed_login().rule;
    let RawGuessedLogin { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_FAILURES, window, severity, action };
    let rule = fields.rule(&usual, &[Action::Notify], problems);
    raw.enabled.get().copied().unwrap_or(true).then_some(GuessedLogin { rule })
}

fn default_failed_logins() -> FailedLogins {
    FailedLogins {
        rule: Rule {
            count: 5,
            window: MINUTE * 15,
            severity: Severity::High,
            actions: vec![Action::Lock, Action::Notify, Action::Alert],
        },
        account_count: 20,
        network_count: 50,
        network_accounts: 20,
        lock: MINUTE * 15,
        by: LockBy::AccountAndNetwork,
    }
}

fn default_guessed_login() -> GuessedLogin {
    GuessedLogin {
        rule: Rule { count: 5, window: MINUTE * 15, severity: Severity::High, actions: vec![Action::Alert] },
    }
}
