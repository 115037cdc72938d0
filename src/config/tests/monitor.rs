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
