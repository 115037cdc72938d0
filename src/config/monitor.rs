//! `[monitor]`: what is noticed, and what is done about it.

use std::time::Duration;

use super::error::{Place, Problems};
use super::mode::Mode;
use super::places;
use super::raw::{RawCalls, RawFailedLogins, RawGuessedLogin, RawMonitor};
use super::reader::OneOrMany;
use super::secrets::SecretsConfig;
use super::table::Field;
use super::value::{Parsed, choice, count_within, duration_within, or_off, quoted};
use crate::monitor::{
    Action, FailedLogins, GuessedLogin, LockBy, MonitorMode, MonitorRules, RapidCalls, Rule, Severity,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Browsers keep no cookie longer.
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 86_400);
/// A store keeps each failure that counts.
const MOST_FAILURES: u64 = 1000;
/// Calls are numbers.
const MOST_CALLS: u64 = 1_000_000;

const MODES: [(&str, Option<MonitorMode>); 3] =
    [("off", None), ("observe", Some(MonitorMode::Observe)), ("enforce", Some(MonitorMode::Enforce))];
const SEVERITIES: [(&str, Severity); 3] =
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
    let calls = raw.calls.get().map_or_else(|| Some(default_calls()), |raw| calls(raw, problems));
    mode.map(|mode| MonitorRules { mode, device_cookie, failed_logins, guessed_login, calls, places })
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
    let rule = fields.rule(&usual.rule, &[Action::Lock], problems);
    let failed = FailedLogins {
        rule,
        account_count: count(&raw.account_count, usual.account_count, problems),
        network_count: count(&raw.network_count, usual.network_count, problems),
        network_accounts: count(&raw.network_accounts, usual.network_accounts, problems),
        lock: raw.lock.parse_or(usual.lock, problems, duration_within(MINUTE..=DAY)),
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
    let rule = fields.rule(&usual, &[], problems);
    raw.enabled.get().copied().unwrap_or(true).then_some(GuessedLogin { rule })
}

fn calls(raw: &RawCalls, problems: &mut Problems) -> Option<RapidCalls> {
    let RawCalls { count, window, severity, action, .. } = raw;
    let fields = RuleFields { count, most: MOST_CALLS, window, severity, action };
    let rule = fields.rule(&default_calls().rule, &[Action::Throttle], problems);
    if rule.window != MINUTE {
        problems.error(window.place(), "is no calendar minute, by which calls are counted; write \"1m\", or remove it");
    }
    raw.enabled.get().copied().unwrap_or(true).then_some(RapidCalls { rule })
}

/// What each rule can do.
const EACH: [Action; 2] = [Action::Record, Action::Alert];

/// The keys that the tables of all rules have.
struct RuleFields<'a> {
    count: &'a Field<u64>,
    /// How much `count` may be at most.
    most: u64,
    window: &'a Field<String>,
    severity: &'a Field<String>,
    action: &'a Field<OneOrMany>,
}

impl RuleFields<'_> {
    /// The rule; what is not written is as usual. It can do no more than what [each](EACH) can, and this.
    fn rule(&self, usual: &Rule, more: &[Action], problems: &mut Problems) -> Rule {
        let possible = [&EACH, more].concat();
        Rule {
            count: self.count.parse_or(usual.count, problems, count_within(1..=self.most)),
            window: self.window.parse_or(usual.window, problems, duration_within(MINUTE..=DAY)),
            severity: self.severity.parse_or(usual.severity, problems, choice(&SEVERITIES)),
            actions: actions(self.action, &usual.actions, &possible, problems),
        }
    }
}

/// What is done: of these. What this rule cannot do is refused, so that nobody relies on it.
fn actions(field: &Field<OneOrMany>, usual: &[Action], possible: &[Action], problems: &mut Problems) -> Vec<Action> {
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

fn default_failed_logins() -> FailedLogins {
    FailedLogins {
        rule: Rule {
            count: 5,
            window: MINUTE * 15,
            severity: Severity::High,
            actions: vec![Action::Lock, Action::Alert],
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

fn default_calls() -> RapidCalls {
    RapidCalls {
        rule: Rule { count: 100, window: MINUTE, severity: Severity::Medium, actions: vec![Action::Throttle] },
    }
}
