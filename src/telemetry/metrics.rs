//! Every metric (docs/behaviour.md, "Metrics"), and the only place that names them.
//!
//! The values of each label are few and the program's own: route patterns, statuses, error codes. Nothing that a client
//! or a user can choose becomes a label. A request costs a few atomic additions: [`RouteMetrics`] is resolved when the
//! routes are, not per request.

mod handles;
mod labels;
mod monitor;
mod nodes;
mod peers;
mod registration;
mod route;

use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use handles::{AuditMetrics, Counted};
use labels::{CodeLabel, CommandLabels, KindLabel, ObservedLabels, OutcomeLabel, ReasonLabel, ScopeLabel};
pub use labels::{LoginOutcome, RevocationScope, TokenRefresh};
use monitor::MonitorMetrics;
use nodes::{Nodes, Seconds};
pub use peers::PeerMetric;
use peers::Peers;
use registration::Registration;
use route::RequestLabels;
pub use route::RouteMetrics;

use super::certificates::Certificates;
use super::process;
use crate::session::EndReason;

const PREFIX: &str = "session_gateway";

/// Of what is one number alone, shown once it is known.
type NoLabels = [(&'static str, &'static str); 0];

/// Seconds; from a quick answer to the default `upstream.response_timeout`.
const REQUEST_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// Seconds; from a request that asks no store to a store that times out.
const ADDED_BUCKETS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

const OK: &str = "ok";

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
    store_nodes: Nodes,
    store_topology_changes: Counter,
    store_clock_skew: Seconds,
    revocations_unreplicated: Counter,
    cache_hits: Counter,
    cache_misses: Counter,
    /// Shown once it is known.
    ended_sessions: Family<NoLabels, Gauge>,
    cache_entries: Gauge,
    cache_lease: Gauge,
    spoofed_headers: Counter,
    spoofed_cookies: Counter,
    logins: Family<OutcomeLabel, Counter>,
    token_refreshes: Family<OutcomeLabel, Counter>,
    monitor: MonitorMetrics,
    tenant_verifications: Family<OutcomeLabel, Counter>,
    tenant_verification_attempts: Histogram,
    orphans: Gauge,
    upstream_errors: Family<KindLabel, Counter>,
    upstream_peers: Peers,
    connections: Gauge,
    exchanges_detached: Gauge,
    connections_refused: Counter,
    connections_failed: Family<KindLabel, Counter>,
    identity_observed: Family<ObservedLabels, Counter>,
    config_reloads: Family<OutcomeLabel, Counter>,
    maintenance: Gauge,
    traces_sent: Family<OutcomeLabel, Counter>,
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
            store_nodes: Nodes::shown_in(&mut metrics),
            store_topology_changes: metrics.add(
                "store_topology_changes",
                "Times that another server came to be the store's master",
                Counter::default(),
            ),
            store_clock_skew: metrics.add(
                "store_clock_skew_seconds",
                "The store's clock less this machine's",
                Seconds::default(),
            ),
            revocations_unreplicated: metrics.add(
                "revocations_unreplicated",
                "Ends and revocations that not all replicas of the store had when they were answered",
                Counter::default(),
            ),
            cache_hits: metrics.add("cache_hits", "Session look-ups answered by the cache", Counter::default()),
            cache_misses: metrics.add("cache_misses", "Session look-ups that asked the store", Counter::default()),
            ended_sessions: metrics.add(
                "ended_sessions",
                "Ended sessions and denied tokens that the store keeps",
                Family::default(),
            ),
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
            spoofed_cookies: metrics.add(
                "spoofed_cookies",
                "Sealed cookies of the app that were dropped: of another session, of none, or altered",
                Counter::default(),
            ),
            logins: metrics.add("logins", "Logins, by outcome", Family::default()),
            token_refreshes: metrics.add(
                "token_refreshes",
                "Refreshes of tokens that sessions have, by outcome",
                Family::default(),
            ),
            monitor: MonitorMetrics::of(&mut metrics),
            tenant_verifications: metrics.add(
                "tenant_verifications",
                "Times that the backend was asked whether a user's tenant exists, by what it came to",
                Family::default(),
            ),
            tenant_verification_attempts: metrics.add(
                "tenant_verification_attempts",
                "How often the backend had to be asked until it said yes or no, or was given up",
                Histogram::new([1.0, 2.0, 3.0, 5.0, 10.0]),
            ),
            orphans: metrics.add("orphans", "Users who paid and have no tenant yet", Gauge::default()),
            upstream_errors: metrics.add(
                "upstream_errors",
                "Failed exchanges with backends, by kind",
                Family::default(),
            ),
            upstream_peers: Peers::shown_in(metrics.add(
                "upstream_peer_up",
                "Whether a backend's process is in, by its checks and its answers: 1 or 0",
                Family::default(),
            )),
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
            traces_sent: metrics.add(
                "trace_batches",
                "Batches of spans for the collector of traces, by outcome",
                Family::default(),
            ),
            config_reloads: metrics.add(
                "config_reloads",
                "Reloads of the configuration, by outcome",
                Family::default(),
            ),
            maintenance: metrics.add("maintenance", "Whether the maintenance mode is on: 1 or 0", Gauge::default()),
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
        for code in
            ["session_required", "session_expired", "session_idle_timeout", "session_revoked", "reauth_required"]
        {
            drop(self.sessions_rejected.get_or_create(&CodeLabel { code }));
        }
        for code in ["session_expired", "session_idle_timeout", "session_revoked", "reauth_required"] {
            drop(self.streams_cut.get_or_create(&CodeLabel { code }));
        }
        for scope in RevocationScope::ALL {
            drop(self.revocations.get_or_create(&ScopeLabel { scope: scope.as_str() }));
        }
        for outcome in LoginOutcome::ALL {
            drop(self.logins.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }));
        }
        for outcome in TokenRefresh::ALL {
            drop(self.token_refreshes.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }));
        }
        self.monitor.begin_at_zero();
        for outcome in ["yes", "no", "paid", "unclear"] {
            drop(self.tenant_verifications.get_or_create(&OutcomeLabel { outcome }));
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
        let (request_seconds, added_seconds) = (self.request_seconds.clone(), self.added_seconds.clone());
        RouteMetrics::new(pattern, self.requests.clone(), request_seconds, added_seconds)
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

    /// A server of the store is used, or not any more.
    pub fn store_node(&self, node: &str, up: bool) {
        self.store_nodes.seen(node, up);
    }

    /// One of the store's masters is used, or not any more; `None`: it is no master now.
    pub fn store_master(&self, node: &str, up: Option<bool>) {
        self.store_nodes.one_of(node, up);
    }

    /// So many slots of a cluster are served by no master.
    pub fn store_slots_uncovered(&self, count: usize) {
        self.store_nodes.uncovered(count);
    }

    /// A master of a cluster sent a command elsewhere (`moved`, `ask`), or put it off (`tryagain`).
    pub fn store_redirected(&self, kind: &'static str) {
        self.store_nodes.redirected(kind);
    }

    /// The cache relies on a proof of that age, of this server of the store.
    pub fn cache_lease_age(&self, node: &str, age: Duration) {
        self.store_nodes.leased(node, age);
    }

    /// Another server came to be the store's master.
    pub fn store_topology_changed(&self) {
        self.store_topology_changes.inc();
    }

    /// By how much the store's clock is before this machine's.
    pub fn store_clock_skew(&self, seconds: f64) {
        self.store_clock_skew.set(seconds);
    }

    /// Something was ended that not all replicas of the store have.
    pub fn revocation_unreplicated(&self) {
        self.revocations_unreplicated.inc();
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

    /// How many ended sessions and denied tokens the store keeps, where it says so.
    pub fn ended_sessions(&self, count: Option<u64>) {
        match count {
            None => self.ended_sessions.clear(),
            Some(count) => {
                let gauge = self.ended_sessions.get_or_create(&[]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// So many protected headers of a client were removed or replaced.
    pub fn spoofed_headers(&self, count: u64) {
        self.spoofed_headers.inc_by(count);
    }

    /// So many of the app's own cookies did not open under their request's session.
    pub fn spoofed_cookies(&self, count: u64) {
        self.spoofed_cookies.inc_by(count);
    }

    /// A login went this way.
    pub fn login(&self, outcome: LoginOutcome) {
        self.logins.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// The token of a session was to be refreshed.
    pub fn token_refreshed(&self, outcome: TokenRefresh) {
        self.token_refreshes.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// The monitoring found something of this type.
    pub fn finding(&self, kind: &'static str, severity: &'static str) {
        self.monitor.finding(kind, severity);
    }

    /// Somebody said what is to be thought of a finding.
    pub fn finding_verdict(&self, verdict: &'static str) {
        self.monitor.verdict(verdict);
    }

    /// This is done about a finding, or would be.
    pub fn monitor_action(&self, action: &'static str, mode: &'static str) {
        self.monitor.action(action, mode);
    }

    /// How old the databases of places are that are in force, in seconds.
    pub fn geo_ages(&self, ages: &[(&'static str, u64)]) {
        self.monitor.geo_ages(ages);
    }

    /// The monitoring asked the store, beside requests, which took so long.
    pub fn monitor_took(&self, time: Duration) {
        self.monitor.took(time.as_secs_f64());
    }

    /// A session was held, by a `finding` or an `operator`.
    pub fn session_held(&self, by: &'static str) {
        self.monitor.held(by);
    }

    /// A session is held no longer, by a `login` of its user or an `operator`.
    pub fn session_released(&self, by: &'static str) {
        self.monitor.released(by);
    }

    /// The monitoring did not see, or keep, something.
    pub fn monitor_dropped(&self) {
        self.monitor_dropped_many(1);
    }

    /// The same, so many times.
    pub fn monitor_dropped_many(&self, count: u64) {
        self.monitor.dropped(count);
    }

    /// So many locks on logins are in force.
    pub fn login_locks(&self, count: u64) {
        self.monitor.locks(count);
    }

    /// This became of an alert; both are the program's own words.
    pub fn alert(&self, channel: &'static str, outcome: &'static str) {
        self.monitor.alert(channel, outcome, 1);
    }

    /// So many alerts were given up that could not be sent for too long.
    pub fn alerts_given_up(&self, count: u64) {
        self.monitor.alert("any", "expired", count);
    }

    /// So many alerts wait.
    pub fn alerts_waiting(&self, count: u64) {
        self.monitor.alerts_waiting(count);
    }

    /// An alert was handed over, so long after it could have been.
    pub fn alert_delay(&self, delay: Duration) {
        self.monitor.alert_delay(delay.as_secs_f64());
    }

    /// The backend was asked whether a user's tenant exists; `outcome` is one of the program's own words.
    pub fn tenant_verified(&self, outcome: &'static str, attempts: u32) {
        self.tenant_verifications.get_or_create(&OutcomeLabel { outcome }).inc();
        self.tenant_verification_attempts.observe(f64::from(attempts));
    }

    /// So many users paid and have no tenant yet.
    pub fn orphans(&self, count: u64) {
        self.orphans.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An exchange with a backend failed; `kind` is one of the program's own words.
    pub fn upstream_error(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// The metric of one peer of an upstream; exposed for as long as one of its handles lives.
    #[must_use]
    pub fn upstream_peer(&self, upstream: &str, peer: &str) -> PeerMetric {
        self.upstream_peers.of(upstream, peer)
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

    /// A batch of spans reached the collector, or did not.
    pub fn traces_sent(&self, success: bool) {
        let outcome = if success { "success" } else { "failure" };
        self.traces_sent.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// The configuration was read again, or could not be.
    pub fn config_reload(&self, success: bool) {
        let outcome = if success { "success" } else { "failure" };
        self.config_reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Whether the maintenance mode is on.
    pub fn maintenance(&self, on: bool) {
        self.maintenance.set(i64::from(on));
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
        self.store_nodes.refresh();
        // Writing to memory cannot fail; what an error would leave out is missed at the next scrape at the latest.
        let _ = text::encode_registry(&mut out, &self.registry);
        process::write(&mut out);
        let _ = text::encode_eof(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
