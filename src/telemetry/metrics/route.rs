//! The metrics of one route: what a request costs to count is a few atomic additions.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

const LOWEST_STATUS: u16 = 100;
const STATUSES: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) route: String,
    pub(super) status: u16,
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
    pub(super) fn new(
        route: &str,
        requests: Family<RequestLabels, Counter>,
        request_seconds: Histogram,
        added_seconds: Histogram,
    ) -> Self {
        let by_status = Arc::new(std::array::from_fn(|_| OnceLock::new()));
        Self { route: route.to_owned(), requests, by_status, request_seconds, added_seconds }
    }

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
