//! Every metric (docs/behaviour.md, "Metrics"), and the only place that names them.
//!
//! The values of each label are few and the program's own: route patterns, statuses, error codes. Nothing that a client
//! or a user can choose becomes a label. A request costs a few atomic additions: [`RouteMetrics`] is resolved when the
//! routes are, not per request.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::certificates::Certificates;
use crate::session::EndReason;

const PREFIX: &str = "session_gateway";

/// Seconds; from a quick answer to the default `upstream.response_timeout`.
const REQUEST_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// Seconds; from a request that asks no store to a store that times out.
const ADDED_BUCKETS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

const LOWEST_STATUS: u16 = 100;
const STATUSES: usize = 500;
const OK: &str = "ok";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabel {
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    command: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObservedLabels {
    route: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    upstream: String,
    peer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationScope {
    /// One session.
    Session,
    /// All sessions of a user.
    User,
    /// All sessions of a tenant.
    Tenant,
}

impl RevocationScope {
    const ALL: [Self; 3] = [Self::Session, Self::User, Self::Tenant];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Tenant => "tenant",
        }
    }
}

/// How a login went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// It made a session.
    Success,
    /// The backend refused it.
    Failure,
    /// The backend accepted it, but something is still due, a second factor say.
    Incomplete,
    /// The backend accepted it, and its answer names nobody where the configuration looks.
    Unnamed,
    /// The backend accepted it, and the gateway did not: a suspended tenant, a bad identity, a revocation meanwhile.
    Denied,
    /// The backend or the store could not be asked, or did not answer properly.
    Error,
}

impl LoginOutcome {
    const ALL: [Self; 6] = [Self::Success, Self::Failure, Self::Incomplete, Self::Unnamed, Self::Denied, Self::Error];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Incomplete => "incomplete",
            Self::Unnamed => "unnamed",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// All metrics of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    added_seconds: Histogram,
    sessions_created: Counter,
    sessions_ended: Family<ReasonLabel, Counter>,
    sessions_rejected: Family<CodeLabel, Counter>,
    streams_cut: Family<CodeLabel, Counter>,
    revocations: Family<ScopeLabel, Counter>,
    store_commands: Family<CommandLabels, Counter>,
    store_errors: Counter,
    store_up: Gauge,
    cache_hits: Counter,
    cache_misses: Counter,
    cache_entries: Gauge,
    cache_lease: Gauge,
    spoofed_headers: Counter,
    logins: Family<OutcomeLabel, Counter>,
    upstream_errors: Family<KindLabel, Counter>,
    upstream_peers: Peers,
    connections: Gauge,
    exchanges_detached: Gauge,
    connections_refused: Counter,
    connections_failed: Family<KindLabel, Counter>,
    identity_observed: Family<ObservedLabels, Counter>,
    config_reloads: Family<OutcomeLabel, Counter>,
    certificates: Certificates,
    audit: AuditMetrics,
    log_lines_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero. Label values that are known beforehand are there from the start, so that the first
    /// increase is seen as one.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Registration(Registry::with_prefix(PREFIX));
        let all = Self {
            requests: metrics.add("requests", "Requests answered, by route pattern and status", Family::default()),
            request_seconds: metrics.add(
                "request_seconds",
                "Time from a request's arrival to the end of its answer",
                Histogram::new(REQUEST_BUCKETS),
            ),
            added_seconds: metrics.add(
                "added_seconds",
                "The gateway's own share of a request's time",
                Histogram::new(ADDED_BUCKETS),
            ),
            sessions_created: metrics.add("sessions_created", "Sessions made", Counter::default()),
            sessions_ended: metrics.add("sessions_ended", "Sessions ended, by reason", Family::default()),
            sessions_rejected: metrics.add(
                "sessions_rejected",
                "Requests refused for their session, by error code",
                Family::default(),
            ),
            streams_cut: metrics.add(
                "streams_cut",
                "Answers and tunnels that were cut because their session ended, by error code",
                Family::default(),
            ),
            revocations: metrics.add("revocations", "Revocations, by what was ended", Family::default()),
            store_commands: metrics.add("store_commands", "Store commands, by outcome", Family::default()),
            store_errors: metrics.add("store_errors", "Store commands that were not answered", Counter::default()),
            store_up: metrics.add("store_up", "Whether the store answers: 1 or 0", Gauge::default()),
            cache_hits: metrics.add("cache_hits", "Session look-ups answered by the cache", Counter::default()),
            cache_misses: metrics.add("cache_misses", "Session look-ups that asked the store", Counter::default()),
            cache_entries: metrics.add("cache_entries", "Sessions in the cache", Gauge::default()),
            cache_lease: metrics.add(
                "cache_lease",
                "Whether the cache may answer: 1, or 0 when each look-up asks the store",
                Gauge::default(),
            ),
            spoofed_headers: metrics.add(
                "spoofed_headers",
                "Protected headers of clients that were removed or replaced",
                Counter::default(),
            ),
            logins: metrics.add("logins", "Logins, by outcome", Family::default()),
            upstream_errors: metrics.add(
                "upstream_errors",
                "Failed exchanges with backends, by kind",
                Family::default(),
            ),
            upstream_peers: Peers {
                up: metrics.add(
                    "upstream_peer_up",
                    "Whether a backend's process is in, by its checks and its answers: 1 or 0",
                    Family::default(),
                ),
                uses: Arc::default(),
            },
            connections: metrics.add("connections", "Open client connections", Gauge::default()),
            exchanges_detached: metrics.add(
                "exchanges_detached",
                "Logins, logouts and events under way, which run to their end whoever waits for it",
                Gauge::default(),
            ),
            connections_refused: metrics.add(
                "connections_refused",
                "Client connections beyond the configured limits",
                Counter::default(),
            ),
            connections_failed: metrics.add(
                "connections_failed",
                "Client connections that ended before a request could be read, by what failed",
                Family::default(),
            ),
            identity_observed: metrics.add(
                "identity_observed",
                "Requests on routes in mode observe, by what the client claimed beside its session",
                Family::default(),
            ),
            config_reloads: metrics.add(
                "config_reloads",
                "Reloads of the configuration, by outcome",
                Family::default(),
            ),
            certificates: Certificates::of(metrics.add(
                "certificate_expiry_seconds",
                "Seconds until a certificate in force expires, by the host that it is for; negative when it has",
                Family::default(),
            )),
            audit: AuditMetrics {
                dropped: metrics.add("audit_events_dropped", "Audit events that were lost", Counter::default()),
                write_errors: metrics.add("audit_write_errors", "Failed writes of the audit log", Counter::default()),
                unshared: metrics.add(
                    "audit_events_unshared",
                    "Audit events that are in the file and did not get to the shared store",
                    Counter::default(),
                ),
                unwritten: metrics.add(
                    "audit_answers_unwritten",
                    "Answers that went out before their audit line was in the file",
                    Counter::default(),
                ),
            },
            log_lines_dropped: metrics.add("log_lines_dropped", "Log lines that were lost", Counter::default()),
            registry: metrics.0,
        };
        all.begin_at_zero();
        all
    }

    fn begin_at_zero(&self) {
        for reason in EndReason::ALL {
            drop(self.sessions_ended.get_or_create(&ReasonLabel { reason: reason.as_str() }));
        }
        for code in ["session_required", "session_expired", "session_idle_timeout", "session_revoked"] {
            drop(self.sessions_rejected.get_or_create(&CodeLabel { code }));
        }
        for code in ["session_expired", "session_idle_timeout", "session_revoked"] {
            drop(self.streams_cut.get_or_create(&CodeLabel { code }));
        }
        for scope in RevocationScope::ALL {
            drop(self.revocations.get_or_create(&ScopeLabel { scope: scope.as_str() }));
        }
        for outcome in LoginOutcome::ALL {
            drop(self.logins.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }));
        }
        for outcome in ["success", "failure"] {
            drop(self.config_reloads.get_or_create(&OutcomeLabel { outcome }));
        }
    }

    /// The seconds that each certificate of a listener has left.
    pub fn certificates(&self, listener: &'static str, left: Vec<(&str, i64)>) {
        self.certificates.show(listener, left);
    }

    /// The metrics of a route, by the text of its pattern. To be resolved once, with the routes.
    #[must_use]
    pub fn route(&self, pattern: &str) -> RouteMetrics {
        RouteMetrics {
            route: pattern.to_owned(),
            requests: self.requests.clone(),
            by_status: Arc::new(std::array::from_fn(|_| OnceLock::new())),
            request_seconds: self.request_seconds.clone(),
            added_seconds: self.added_seconds.clone(),
        }
    }

    /// A session was made.
    pub fn session_created(&self) {
        self.sessions_created.inc();
    }

    /// `count` sessions ended.
    pub fn sessions_ended(&self, reason: EndReason, count: u64) {
        self.sessions_ended.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc_by(count);
    }

    /// A request was refused for its session, with this error code.
    pub fn session_rejected(&self, code: &'static str) {
        self.sessions_rejected.get_or_create(&CodeLabel { code }).inc();
    }

    /// An answer or a tunnel was cut because its session ended, for which this is the error code.
    pub fn stream_cut(&self, code: &'static str) {
        self.streams_cut.get_or_create(&CodeLabel { code }).inc();
    }

    /// Sessions were ended on purpose.
    pub fn revocation(&self, scope: RevocationScope) {
        self.revocations.get_or_create(&ScopeLabel { scope: scope.as_str() }).inc();
    }

    /// A store command was answered (`outcome` is `ok`) or not (any other word of the store's).
    pub fn store_command(&self, command: &'static str, outcome: &'static str) {
        self.store_commands.get_or_create(&CommandLabels { command, outcome }).inc();
        if outcome != OK {
            self.store_errors.inc();
        }
    }

    /// Whether the store answers.
    pub fn store_state(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    /// A session look-up was answered by the cache.
    pub fn cache_hit(&self) {
        self.cache_hits.inc();
    }

    /// A session look-up asked the store.
    pub fn cache_miss(&self) {
        self.cache_misses.inc();
    }

    /// Whether the cache may answer, and how many sessions are in it.
    pub fn cache_state(&self, leased: bool, entries: usize) {
        self.cache_lease.set(i64::from(leased));
        self.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// So many protected headers of a client were removed or replaced.
    pub fn spoofed_headers(&self, count: u64) {
        self.spoofed_headers.inc_by(count);
    }

    /// A login went this way.
    pub fn login(&self, outcome: LoginOutcome) {
        self.logins.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// An exchange with a backend failed; `kind` is one of the program's own words.
    pub fn upstream_error(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// The metric of one peer of an upstream; exposed for as long as one of its handles lives.
    #[must_use]
    pub fn upstream_peer(&self, upstream: &str, peer: &str) -> PeerMetric {
        let labels = PeerLabels { upstream: upstream.to_owned(), peer: peer.to_owned() };
        *self.upstream_peers.uses.lock().entry(labels.clone()).or_default() += 1;
        PeerMetric { peers: self.upstream_peers.clone(), labels }
    }

    /// A client connection was opened; it is counted until the answer is dropped.
    #[must_use]
    pub fn connection_opened(&self) -> Counted {
        Counted::one_more(&self.connections)
    }

    /// An exchange began that runs to its end; it is counted until the answer is dropped.
    #[must_use]
    pub fn exchange_detached(&self) -> Counted {
        Counted::one_more(&self.exchanges_detached)
    }

    /// A client connection was refused, for there were too many.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// A client connection ended before a request could be read; `kind` is one of the program's own words.
    pub fn connection_failed(&self, kind: &'static str) {
        self.connections_failed.get_or_create(&KindLabel { kind }).inc();
    }

    /// A request on a route in mode `observe` came with this combination of claim and session.
    pub fn identity_observed(&self, route: &str, outcome: &'static str) {
        self.identity_observed.get_or_create(&ObservedLabels { route: route.to_owned(), outcome }).inc();
    }

    /// The configuration was read again, or could not be.
    pub fn config_reload(&self, success: bool) {
        let outcome = if success { "success" } else { "failure" };
        self.config_reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// What the audit log counts.
    #[must_use]
    pub fn audit(&self) -> AuditMetrics {
        self.audit.clone()
    }

    /// Log lines that were lost.
    pub(super) fn log_lines_dropped(&self) -> Counter {
        self.log_lines_dropped.clone()
    }

    /// All metrics as text, in OpenMetrics 1.0; see [`super::Exposition`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to memory cannot fail; what an error would leave out is missed at the next scrape at the latest.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

struct Registration(Registry);

impl Registration {
    /// Registers a metric and keeps a handle. A counter is exposed with `_total` behind its name.
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

/// What the audit log counts.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    dropped: Counter,
    write_errors: Counter,
    unshared: Counter,
    unwritten: Counter,
}

impl AuditMetrics {
    /// Events were lost.
    pub fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// Events that are in the file did not get to the store.
    pub fn unshared(&self, count: u64) {
        self.unshared.inc_by(count);
    }

    /// An answer did not wait any longer for its line.
    pub fn unwritten(&self) {
        self.unwritten.inc();
    }

    /// A write failed.
    pub fn write_error(&self) {
        self.write_errors.inc();
    }
}

/// One of what a gauge counts, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn one_more(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug)]
struct Peers {
    up: Family<PeerLabels, Gauge>,
    uses: Arc<Mutex<HashMap<PeerLabels, usize>>>,
}

/// Whether one peer of an upstream is in. A peer that a reload removed is exposed no longer: its handle was the last.
#[derive(Debug)]
pub struct PeerMetric {
    peers: Peers,
    labels: PeerLabels,
}

impl PeerMetric {
    /// It is in, or out.
    pub fn set(&self, up: bool) {
        self.peers.up.get_or_create(&self.labels).set(i64::from(up));
    }
}

impl Drop for PeerMetric {
    fn drop(&mut self) {
        let mut uses = self.peers.uses.lock();
        let Some(count) = uses.get_mut(&self.labels) else { return };
        *count -= 1;
        if *count == 0 {
            uses.remove(&self.labels);
            self.peers.up.remove(&self.labels);
        }
    }
}

/// The metrics of one route, resolved beforehand.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    route: String,
    requests: Family<RequestLabels, Counter>,
    by_status: Arc<[OnceLock<Counter>; STATUSES]>,
    request_seconds: Histogram,
    added_seconds: Histogram,
}

impl RouteMetrics {
    /// A request was answered with `status`, `total` after it arrived; `added` is the gateway's own share of that, where
    /// it is known.
    pub fn finished(&self, status: u16, total: Duration, added: Option<Duration>) {
        let counter =
            usize::from(status).checked_sub(usize::from(LOWEST_STATUS)).and_then(|index| self.by_status.get(index));
        match counter {
            Some(counter) => drop(counter.get_or_init(|| self.of_status(status)).inc()),
            None => drop(self.of_status(status).inc()),
        }
        self.request_seconds.observe(total.as_secs_f64());
        if let Some(added) = added {
            self.added_seconds.observe(added.as_secs_f64());
        }
    }

    fn of_status(&self, status: u16) -> Counter {
        self.requests.get_or_create_owned(&RequestLabels { route: self.route.clone(), status })
    }
}

#[cfg(test)]
mod tests {
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
        metrics.certificates("tls", vec![("a.test", 1)]);
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
            "session_gateway_added_seconds",
            "session_gateway_audit_answers_unwritten_total",
            "session_gateway_audit_events_dropped_total",
            "session_gateway_audit_events_unshared_total",
            "session_gateway_audit_write_errors_total",
            "session_gateway_cache_entries",
            "session_gateway_cache_hits_total",
            "session_gateway_cache_lease",
            "session_gateway_cache_misses_total",
            "session_gateway_certificate_expiry_seconds",
            "session_gateway_config_reloads_total",
            "session_gateway_connections",
            "session_gateway_connections_refused_total",
            "session_gateway_exchanges_detached",
            "session_gateway_identity_observed_total",
            "session_gateway_log_lines_dropped_total",
            "session_gateway_logins_total",
            "session_gateway_request_seconds",
            "session_gateway_requests_total",
            "session_gateway_revocations_total",
            "session_gateway_sessions_created_total",
            "session_gateway_sessions_ended_total",
            "session_gateway_sessions_rejected_total",
            "session_gateway_spoofed_headers_total",
            "session_gateway_store_commands_total",
            "session_gateway_store_errors_total",
            "session_gateway_store_up",
            "session_gateway_streams_cut_total",
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
            let line =
                format!("session_gateway_requests_total{{route=\"/a \\\"b\\\"\",status=\"{status}\"}} {count}\n");
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
}
