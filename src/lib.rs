//! A session gateway in front of legacy web apps.

pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod http;
pub mod policy;
pub mod secret;
pub mod session;
pub mod store;
