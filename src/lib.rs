//! A session gateway in front of legacy web apps.

pub mod admin;
pub mod audit;
pub mod clock;
pub mod entropy;
pub mod health;
pub mod json_line;
pub mod policy;
mod queue;
pub mod secret;
pub mod session;
pub mod store;
pub mod telemetry;
