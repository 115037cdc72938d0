//! A session gateway in front of legacy web apps.

pub mod admin;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod health;
pub mod http;
pub mod json_line;
pub mod policy;
pub mod proxy;
mod queue;
pub mod secret;
pub mod session;
pub mod socket;
pub mod store;
pub mod telemetry;
pub mod upstream;
