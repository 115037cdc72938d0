//! What operators read while the gateway runs: the log, the access log, and metrics.
//!
//! Nothing here may slow or stop traffic: counters are atomics, and lines go through a bounded queue whose overflow is
//! counted. Nothing here may hold a token, a cookie, a password, a query or a body.

pub mod access;
mod certificates;
pub mod exposition;
pub mod log;
pub mod metrics;
mod process;
pub mod store;
mod traces;

pub use access::AccessLine;
pub use exposition::Exposition;
pub use log::{Log, LogFormat, LogLevel, LogSettings};
pub use metrics::{Metrics, RouteMetrics, TokenRefresh};
pub use store::StoreTelemetry;
pub use traces::{Given, Place, Share, Traces};
