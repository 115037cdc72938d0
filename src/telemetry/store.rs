//! What the store's calls tell: metrics, and whether the gateway is ready.

use std::sync::Arc;
use std::time::Duration;

use super::Metrics;
use crate::health::Readiness;
use crate::store::observe::{CallOutcome, StoreObserver};

/// Counts a store's calls, and passes on at once whether it is up.
#[derive(Clone, Debug)]
pub struct StoreTelemetry {
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
    /// Who wants to know whether the store is up.
    pub readiness: Arc<Readiness>,
}

impl StoreObserver for StoreTelemetry {
    fn command(&self, command: &'static str, outcome: CallOutcome) {
        self.metrics.store_command(command, outcome.as_str());
    }

    fn state(&self, up: bool) {
        self.metrics.store_state(up);
        self.readiness.store_seen(up);
    }

    fn looked_up(&self, known: bool) {
        if known {
            self.metrics.cache_hit();
        } else {
            self.metrics.cache_miss();
        }
    }

    fn cache(&self, leased: bool, entries: usize) {
        self.metrics.cache_state(leased, entries);
    }

    fn node(&self, name: &str, up: bool) {
        self.metrics.store_node(name, up);
    }

    fn master(&self, name: &str, up: Option<bool>) {
        self.metrics.store_master(name, up);
    }

    fn slots_uncovered(&self, count: usize) {
        self.metrics.store_slots_uncovered(count);
    }

    fn redirected(&self, kind: &'static str) {
        self.metrics.store_redirected(kind);
    }

    fn lease(&self, name: &str, age: Duration) {
        self.metrics.cache_lease_age(name, age);
    }

    fn clock_skew(&self, seconds: f64) {
        self.metrics.store_clock_skew(seconds);
    }

    fn master_changed(&self) {
        self.metrics.store_topology_changed();
    }

    fn unreplicated(&self) {
        self.metrics.revocation_unreplicated();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answered_call_is_no_error() {
        for outcome in CallOutcome::ALL {
            let metrics = Arc::new(Metrics::new());
            let readiness = Arc::new(Readiness::new());
            let telemetry = StoreTelemetry { metrics: Arc::clone(&metrics), readiness };
            telemetry.command("read", outcome);
            let errors = u8::from(outcome != CallOutcome::Ok);
            let text = metrics.encode();
            assert!(text.contains(&format!("session_gateway_store_errors_total {errors}\n")), "{outcome:?}");
            let name = outcome.as_str();
            let line = format!("session_gateway_store_commands_total{{command=\"read\",outcome=\"{name}\"}} 1\n");
            assert!(text.contains(&line), "{outcome:?}");
        }
    }

    #[test]
    fn a_store_that_goes_away_makes_the_gateway_unready_at_once() {
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::new()));
        let telemetry = StoreTelemetry { metrics: Arc::clone(&metrics), readiness: Arc::clone(&readiness) };
        readiness.configuration_loaded();
        telemetry.state(true);
        assert!(readiness.ready().is_ok() && metrics.encode().contains("session_gateway_store_up 1\n"));
        telemetry.state(false);
        assert!(readiness.ready().is_err() && metrics.encode().contains("session_gateway_store_up 0\n"));
    }
}
