//! What is given out to those who count: the audit log, and whoever is one of what a gauge counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// What the audit log counts.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    pub(super) dropped: Counter,
    pub(super) write_errors: Counter,
    pub(super) unshared: Counter,
    pub(super) unwritten: Counter,
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
    pub(super) fn one_more(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
