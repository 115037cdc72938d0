//! `[monitor]`: what its values mean.

use super::{BASE, valid};
use crate::config::Config;
use crate::monitor::{Action, MonitorRules, Severity};

fn with(added: &str) -> Config {
    valid(&format!("{BASE}secrets.key = \"kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s\"\n[monitor]\n{added}\n"))
}

fn rules(added: &str) -> MonitorRules {
    with(added).monitor.expect("monitoring")
}

fn is_call(config: &Config, path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    !config.watched.api.find(&segments, path.ends_with('/')).is_empty()
}

#[test]
fn calls_are_counted_at_the_api_unless_that_is_off() {
    let config = with("mode = \"enforce\"");
    assert_eq!(config.monitor.as_ref().and_then(|rules| rules.calls.as_ref()).map(|calls| calls.rule.count), Some(100));
    assert!(config.monitor.as_ref().is_some_and(MonitorRules::throttles));
    assert!(is_call(&config, "/api/x/y") && !is_call(&config, "/apis"));
    assert!(!rules("mode = \"observe\"").throttles());
    let elsewhere =
        with("mode = \"enforce\"\napi = [\"/v1/*\", \"/graphql\"]\ncalls = { window = \"1m\", action = \"record\" }");
    assert!(is_call(&elsewhere, "/graphql") && is_call(&elsewhere, "/v1/x") && !is_call(&elsewhere, "/api/x"));
    assert!(elsewhere.monitor.as_ref().is_some_and(|rules| !rules.throttles()), "it only records");
    for off in ["mode = \"off\"", "mode = \"enforce\"\ncalls = { enabled = false }"] {
        assert!(!is_call(&with(off), "/api/x"), "{off}");
    }
    let calls = rules("mode = \"enforce\"\ncalls = { severity = \"high\", action = [\"throttle\", \"record\"] }").calls;
    let rule = calls.expect("calls").rule;
    assert_eq!((rule.severity, rule.actions), (Severity::High, vec![Action::Throttle, Action::Record]));
}

#[test]
fn a_way_in_one_direction_asks_nobody_to_log_in_again_whatever_is_written() {
    let travel = |added: &str| rules(&format!("mode = \"enforce\"\n{added}")).places.travel;
    let actions = |added: &str| travel(added).map(|rule| (rule.actions, rule.actions_if_back)).expect("travel");
    assert_eq!(actions(""), (vec![Action::Alert], vec![Action::Reauth]));
    assert_eq!(actions("travel = { kmh = 900 }"), (vec![Action::Alert], vec![Action::Reauth]));
    let written = "travel = { action = [\"notify\", \"reauth\", \"terminate\"] }";
    assert_eq!(actions(written), (vec![Action::Notify], vec![Action::Notify, Action::Reauth, Action::Terminate]));
    assert_eq!(actions("travel = { action = \"reauth\" }"), (vec![Action::Record], vec![Action::Reauth]));
    assert_eq!(actions("travel = { action = \"alert\" }"), (vec![Action::Alert], vec![Action::Alert]));
    assert_eq!(travel("travel = { enabled = false }"), None);
}

#[test]
fn of_too_many_sessions_the_user_is_told() {
    let places = rules("mode = \"enforce\"").places;
    let rule = places.concurrent.expect("a rule");
    assert_eq!((rule.count, rule.severity, rule.actions), (3, Severity::Medium, vec![Action::Notify]));
    let rule = places.location_change.expect("a rule");
    assert_eq!((rule.km, rule.within, rule.severity, rule.actions), (500, 3600, Severity::Medium, vec![Action::Alert]));
    let rule = places.locations.expect("a rule");
    assert_eq!((rule.km, rule.severity, rule.actions), (500, Severity::Low, vec![Action::Record]));
}

#[test]
fn a_rule_that_is_written_down_and_knows_no_places_is_warned_of() {
    let warned = |added: &str| with(&format!("mode = \"observe\"\n{added}")).warnings.join("\n");
    assert!(warned("travel = { kmh = 900 }").contains("monitor.travel: finds nothing without `monitor.geo.city`"));
    for silent in ["", "concurrent = { count = 5 }", "travel = { enabled = false }"] {
        assert!(!warned(silent).contains("finds nothing"), "{silent}");
    }
}

#[test]
fn the_apps_own_pages_have_their_endpoints_where_something_is_monitored() {
    use crate::config::Front;
    let paths = |added: &str| {
        let front = with(added).front;
        front.map(|front| front.endpoints().map(|(_, pattern)| pattern.to_string()).collect::<Vec<_>>())
    };
    let usual = paths("mode = \"observe\"").expect("there are some");
    assert_eq!(usual.len(), Front::ALL.len());
    assert_eq!(usual[..3], ["/api/sessions", "/api/sessions/anomalies", "/api/sessions/terminate"]);
    let elsewhere = paths("mode = \"enforce\"\npath = \"/gateway/me\"\nadmin_roles = [\"boss\"]");
    assert_eq!(elsewhere.map(|paths| paths[1].clone()).as_deref(), Some("/gateway/me/anomalies"));
    for off in ["mode = \"off\"", "mode = \"observe\"\npath = \"off\""] {
        assert_eq!(paths(off), None, "{off}");
    }
    let without_effect = with("mode = \"observe\"\npath = \"off\"\nadmin_roles = [\"boss\"]").warnings;
    assert!(without_effect.iter().any(|warning| warning.contains("monitor.admin_roles: has no effect")));
}

#[test]
fn an_app_may_log_in_where_its_sessions_are_listed_and_a_route_there_is_told_that_it_has_no_effect() {
    let key = "secrets.key = \"kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s\"\nmonitor.mode = \"observe\"";
    valid(&format!("{BASE}{key}\nlogin.path = \"POST /api/sessions\"\n"));
    let config = valid(&format!("{BASE}{key}\n[[routes]]\nmatch = \"/api/sessions/terminate\"\n"));
    let told = "\"/api/sessions/terminate\" is `monitor.path`, which the gateway answers itself; it has no effect here";
    assert!(config.warnings.iter().any(|warning| warning.contains(told)), "{:?}", config.warnings);
}
