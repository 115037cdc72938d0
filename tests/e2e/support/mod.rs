//! The harness: real gateways, backends, stores and clients, each started in a line and stopped by itself.

pub mod backend;
pub mod browser;
pub mod chromium;
pub mod curl;
pub mod echo;
pub mod front;
pub mod gateway;
pub mod geo;
pub mod http;
pub mod http2;
pub mod issuer;
pub mod logins;
pub mod mail;
pub mod ports;
pub mod process;
pub mod python;
pub mod recorder;
pub mod redis;
pub mod relay;
pub mod store;
pub mod wait;
pub mod webhook;
pub mod websocket;

pub use backend::Backend;
pub use browser::{Browser, SESSION_COOKIE};
pub use curl::curl;
pub use echo::{Gate, Step, answer, answer_json, echo, send};
pub use gateway::{Gateway, gateway};
pub use http::{Wire, exchange};
pub use issuer::Issuer;
pub use python::{
    App, accounts, django, django_admin, django_site, flask, flask_login, flask_session, membership, passwordless,
};
pub use recorder::{Recorder, recorder};
pub use redis::RedisServer;
pub use store::Store;
pub use wait::{let_pass, poll, wait_until};
pub use websocket::{SWITCH, Tab, frame};

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

/// The lines of a file that another process writes. The last may be half written.
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    whole.lines().map(parse).collect()
}

/// A directory that goes when its owner does.
pub fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("e2e-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target directory is writable")
}
