//! What the monitoring found and did.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::registration::Registration;

/// Seconds; from a quick answer of the store to one that comes too late for anything but monitoring.
const BUCKETS: [f64; 10] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    r#type: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabel {
    database: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    channel: &'static str,
    outcome: &'static str,
}

/// From a moment, over what people wait for, to an outage (s).
const DELAY_BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0, 3600.0];

/// Its metrics.
#[derive(Debug)]
pub(super) struct MonitorMetrics {
    findings: Family<FindingLabels, Counter>,
    verdicts: Family<VerdictLabel, Counter>,
    actions: Family<ActionLabels, Counter>,
    held: Family<ByLabel, Counter>,
    released: Family<ByLabel, Counter>,
    locks: Gauge,
    seconds: Histogram,
    dropped: Counter,
    geo_age: Family<DatabaseLabel, Gauge>,
    alerts: Family<AlertLabels, Counter>,
    alerts_waiting: Gauge,
    alert_delay: Histogram,
}

impl MonitorMetrics {
    pub(super) fn of(metrics: &mut Registration) -> Self {
        Self {
            findings: metrics.add("findings", "What the monitoring found, by type and severity", Family::default()),
            verdicts: metrics.add("finding_verdicts", "What was said of findings", Family::default()),
            actions: metrics.add(
                "monitor_actions",
                "What was done about findings (mode enforce), or would have been (observe)",
                Family::default(),
            ),
            held: metrics.add(
                "sessions_held",
                "Sessions that were held, by whom: finding or operator",
                Family::default(),
            ),
            released: metrics.add(
                "sessions_released",
                "Sessions that are held no longer, by whom: login (of their user) or operator",
                Family::default(),
            ),
            locks: metrics.add("login_locks", "Locks on logins that are in force", Gauge::default()),
            seconds: metrics.add(
                "monitor_seconds",
                "Time that the monitoring took beside requests, each time that it asked the store",
                Histogram::new(BUCKETS),
            ),
            dropped: metrics.add(
                "monitor_dropped",
                "Logins and calls that were not counted and findings that were not kept",
                Counter::default(),
            ),
            geo_age: metrics.add(
                "geo_age_seconds",
                "How old the databases of places are that are in force",
                Family::default(),
            ),
            alerts: metrics.add("alerts", "What became of alerts, by channel and outcome", Family::default()),
            alerts_waiting: metrics.add("alerts_waiting", "Alerts that wait to be sent", Gauge::default()),
            alert_delay: metrics.add(
                "alert_delay_seconds",
                "Time from when an alert could have been sent until it was handed over",
                Histogram::new(DELAY_BUCKETS),
            ),
        }
    }

    pub(super) fn begin_at_zero(&self) {
        for by in ["finding", "operator"] {
            drop(self.held.get_or_create(&ByLabel { by }));
        }
        for by in ["login", "operator"] {
            drop(self.released.get_or_create(&ByLabel { by }));
        }
        for verdict in ["expected", "malicious"] {
            drop(self.verdicts.get_or_create(&VerdictLabel { verdict }));
        }
    }

    pub(super) fn finding(&self, kind: &'static str, severity: &'static str) {
        self.findings.get_or_create(&FindingLabels { r#type: kind, severity }).inc();
    }

    pub(super) fn verdict(&self, verdict: &'static str) {
        self.verdicts.get_or_create(&VerdictLabel { verdict }).inc();
    }

    pub(super) fn action(&self, action: &'static str, mode: &'static str) {
        self.actions.get_or_create(&ActionLabels { action, mode }).inc();
    }

    pub(super) fn held(&self, by: &'static str) {
        self.held.get_or_create(&ByLabel { by }).inc();
    }

    pub(super) fn released(&self, by: &'static str) {
        self.released.get_or_create(&ByLabel { by }).inc();
    }

    pub(super) fn locks(&self, count: u64) {
        self.locks.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    pub(super) fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// Of those in force alone.
    pub(super) fn geo_ages(&self, ages: &[(&'static str, u64)]) {
        for database in ["city", "asn"] {
            let label = DatabaseLabel { database };
            match ages.iter().find(|(name, _)| *name == database) {
                Some((_, age)) => {
                    self.geo_age.get_or_create(&label).set(i64::try_from(*age).unwrap_or(i64::MAX));
                }
                None => _ = self.geo_age.remove(&label),
            }
        }
    }

    pub(super) fn alert(&self, channel: &'static str, outcome: &'static str, count: u64) {
        self.alerts.get_or_create(&AlertLabels { channel, outcome }).inc_by(count);
    }

    pub(super) fn alerts_waiting(&self, count: u64) {
        self.alerts_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn alert_delay(&self, seconds: f64) {
        self.alert_delay.observe(seconds);
    }
}
