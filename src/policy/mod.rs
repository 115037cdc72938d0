//! Policy: which route a request takes, whether it may go on, and what the backend is told.
//!
//! Pure: takes the route table, the session's standing and the request's facts; returns a permit or a denial.
//! Knows no socket, no store, no clock.

mod pattern;
mod route;

pub use pattern::{PathPattern, PatternError, PatternTree};
pub use route::{Auth, Authorization, IdentityMode, MethodSet, Overlap, Route, RouteTable};
