//! A real receiver of webhooks, which verifies each by the reference library of Standard Webhooks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::gateway::write_certificate;
use super::http::Wire;
use super::ports::{free_port, local};
use super::process::Process;
use super::wait::wait_until;
use super::{json_lines, scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What both sides know.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// A receiver.
pub struct Receiver {
    address: SocketAddr,
    tls: bool,
    folder: TempDir,
    _process: Process,
}

impl Receiver {
    /// One that listens, and believes what is signed alone.
    pub fn start(tls: bool) -> Self {
        Self::with(tls, Some(SECRET))
    }

    /// One that believes everything.
    pub fn credulous() -> Self {
        Self::with(false, None)
    }

    fn with(tls: bool, secret: Option<&str>) -> Self {
        let (folder, address) = (scratch(), local(free_port()));
        write_certificate(folder.path(), "hook", &["localhost"]);
        let mut command = Command::new(Path::new(ROOT).join(".venv/bin/python"));
        command.arg(Path::new(ROOT).join("tests/python/webhook_receiver.py"));
        command.arg(folder.path()).arg(address.port().to_string());
        if tls {
            command.arg("--tls").arg(folder.path().join("hook"));
        }
        if let Some(secret) = secret {
            command.args(["--secret", secret]);
        }
        let mut process = Process::spawn(&mut command);
        process.wait_ready("the receiver of webhooks", || Wire::try_connect(address).is_ok());
        Self { address, tls, folder, _process: process }
    }

    /// A table of `[[alerts.webhooks]]` that tells it in this format.
    pub fn table(&self, format: &str, more: &str) -> String {
        let port = self.address.port();
        let (url, ca) = if self.tls {
            let ca = self.folder.path().join("hook.crt");
            (format!("https://localhost:{port}"), format!("ca = \"{}\"\n", ca.display()))
        } else {
            (format!("http://127.0.0.1:{port}"), String::new())
        };
        format!("[[alerts.webhooks]]\nurl = \"{url}/hooks/{format}?key=hidden\"\nformat = \"{format}\"\n{ca}{more}\n")
    }

    /// The file of its certificate.
    pub fn certificate(&self) -> String {
        self.folder.path().join("hook.crt").display().to_string()
    }

    /// What it does from now on; see `webhook_receiver.py`.
    pub fn order(&self, orders: &Value) {
        let next = self.folder.path().join("orders.next");
        std::fs::write(&next, orders.to_string()).expect("a file");
        std::fs::rename(next, self.folder.path().join("orders.json")).expect("it takes its place");
    }

    /// What it was told so far.
    pub fn hooks(&self) -> Vec<Value> {
        json_lines(&self.folder.path().join("hooks.jsonl"))
    }

    /// Waits until it was told so often.
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        wait_until(&format!("{count} webhooks"), || Some(self.hooks()).filter(|hooks| hooks.len() >= count))
    }
}
