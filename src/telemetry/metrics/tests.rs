use std::time::Duration;

use super::*;

fn used() -> Metrics {
    let metrics = Metrics::new();
    metrics.route("/api/*").finished(200, Duration::from_millis(3), Some(Duration::from_micros(30)));
    metrics.store_command("read", "ok");
    metrics.upstream_error("timeout");
    // Kept for ever: what a dropped handle does has a test of its own.
    let peer = Box::leak(Box::new(metrics.upstream_peer("default", "http://127.0.0.1:5059")));
    peer.set(true);
    metrics.identity_observed("/api/*", "match");
    metrics.store_node("redis-1:6379", true);
    metrics.store_redirected("moved");
    metrics.cache_lease_age("redis-1:6379", Duration::from_millis(3));
    metrics.finding("LOGIN_AFTER_FAILURES", "high");
    metrics.monitor_action("lock", "observe");
    metrics.alert("mail", "sent");
    metrics.certificates("tls", vec![("a.test", 1)]);
    metrics.ended_sessions(Some(7));
    metrics
}

/// The names of the samples, histograms' once.
fn exposed(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().expect("a name"))
        .map(|name| {
            let histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            histogram.unwrap_or(name).to_owned()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_names_are_the_promised_ones_and_more() {
    let expected = [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
        "session_gateway_added_seconds",
        "session_gateway_alert_delay_seconds",
        "session_gateway_alerts_total",
        "session_gateway_alerts_waiting",
        "session_gateway_audit_answers_unwritten_total",
        "session_gateway_audit_events_dropped_total",
        "session_gateway_audit_events_unshared_total",
        "session_gateway_audit_write_errors_total",
        "session_gateway_build_info",
        "session_gateway_cache_entries",
        "session_gateway_cache_hits_total",
        "session_gateway_cache_lease",
        "session_gateway_cache_lease_age_seconds",
        "session_gateway_cache_misses_total",
        "session_gateway_certificate_expiry_seconds",
        "session_gateway_config_reloads_total",
        "session_gateway_connections",
        "session_gateway_connections_refused_total",
        "session_gateway_ended_sessions",
        "session_gateway_exchanges_detached",
        "session_gateway_finding_verdicts_total",
        "session_gateway_findings_total",
        "session_gateway_identity_observed_total",
        "session_gateway_log_lines_dropped_total",
        "session_gateway_login_locks",
        "session_gateway_logins_total",
        "session_gateway_maintenance",
        "session_gateway_monitor_actions_total",
        "session_gateway_monitor_dropped_total",
        "session_gateway_monitor_seconds",
        "session_gateway_orphans",
        "session_gateway_request_seconds",
        "session_gateway_requests_total",
        "session_gateway_revocations_total",
        "session_gateway_revocations_unreplicated_total",
        "session_gateway_sessions_created_total",
        "session_gateway_sessions_ended_total",
        "session_gateway_sessions_held_total",
        "session_gateway_sessions_rejected_total",
        "session_gateway_sessions_released_total",
        "session_gateway_spoofed_cookies_total",
        "session_gateway_spoofed_headers_total",
        "session_gateway_store_clock_skew_seconds",
        "session_gateway_store_commands_total",
        "session_gateway_store_errors_total",
        "session_gateway_store_node_up",
        "session_gateway_store_redirects_total",
        "session_gateway_store_slots_uncovered",
        "session_gateway_store_topology_changes_total",
        "session_gateway_store_up",
        "session_gateway_streams_cut_total",
        "session_gateway_tenant_verification_attempts",
        "session_gateway_tenant_verifications_total",
        "session_gateway_token_refreshes_total",
        "session_gateway_upstream_errors_total",
        "session_gateway_upstream_peer_up",
    ];
    assert_eq!(exposed(&used().encode()), expected);
}

#[test]
fn the_labels_are_the_promised_ones() {
    let metrics = used();
    metrics.sessions_ended(EndReason::Logout, 2);
    metrics.session_rejected("session_revoked");
    metrics.revocation(RevocationScope::User);
    metrics.login(LoginOutcome::Success);
    metrics.config_reload(false);
    metrics.store_state(true);
    metrics.certificates("tls", vec![("a.test", 60), ("a.test", 50), ("gone.test", 1)]);
    metrics.certificates("admin.tls", vec![("a.test", 70)]);
    metrics.certificates("tls", vec![("a.test", 59), ("a.test", -49)]);
    let text = metrics.encode();
    for line in [
        "session_gateway_requests_total{route=\"/api/*\",status=\"200\"} 1",
        "session_gateway_sessions_ended_total{reason=\"logout\"} 2",
        "session_gateway_sessions_ended_total{reason=\"expired\"} 0",
        "session_gateway_sessions_rejected_total{code=\"session_revoked\"} 1",
        "session_gateway_revocations_total{scope=\"user\"} 1",
        "session_gateway_store_commands_total{command=\"read\",outcome=\"ok\"} 1",
        "session_gateway_store_errors_total 0",
        "session_gateway_store_up 1",
        "session_gateway_logins_total{outcome=\"success\"} 1",
        "session_gateway_upstream_errors_total{kind=\"timeout\"} 1",
        "session_gateway_upstream_peer_up{upstream=\"default\",peer=\"http://127.0.0.1:5059\"} 1",
        "session_gateway_config_reloads_total{outcome=\"failure\"} 1",
        "session_gateway_certificate_expiry_seconds{name=\"a.test\"} -49",
        "session_gateway_request_seconds_bucket{le=\"0.005\"} 1",
        "session_gateway_added_seconds_bucket{le=\"0.00005\"} 1",
        "session_gateway_added_seconds_count 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && !text.contains("gone.test"));
}

#[test]
fn a_route_counts_each_status_apart_also_one_out_of_the_ordinary() {
    let metrics = Metrics::new();
    let route = metrics.route("/a \"b\"");
    for status in [100, 200, 200, 599, 999, 0] {
        route.finished(status, Duration::ZERO, None);
    }
    metrics.route("/a \"b\"").finished(200, Duration::ZERO, None);
    let text = metrics.encode();
    for (status, count) in [(100, 1), (200, 3), (599, 1), (999, 1), (0, 1)] {
        let line = format!("session_gateway_requests_total{{route=\"/a \\\"b\\\"\",status=\"{status}\"}} {count}\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_store_command_without_an_answer_is_an_error_too() {
    let metrics = Metrics::new();
    metrics.store_command("read", "ok");
    metrics.store_command("read", "timeout");
    assert!(metrics.encode().contains("session_gateway_store_errors_total 1\n"));
}

#[test]
fn a_peer_is_exposed_until_nobody_holds_it() {
    let metrics = Metrics::new();
    let before_the_reload = metrics.upstream_peer("api", "http://a");
    before_the_reload.set(false);
    let after_it = metrics.upstream_peer("api", "http://a");
    after_it.set(true);
    drop(before_the_reload);
    assert!(metrics.encode().contains("upstream_peer_up{upstream=\"api\",peer=\"http://a\"} 1\n"));
    drop(after_it);
    assert!(!metrics.encode().contains("upstream_peer_up{"));
}

#[test]
fn a_connection_is_counted_until_it_is_dropped() {
    let metrics = Metrics::new();
    let one = metrics.connection_opened();
    let two = metrics.connection_opened();
    drop(one);
    assert!(metrics.encode().contains("session_gateway_connections 1\n"));
    drop(two);
    assert!(metrics.encode().contains("session_gateway_connections 0\n"));
}
