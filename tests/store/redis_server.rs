//! A `redis-server` of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use session_gateway::secret::Secret;
use session_gateway::store::StoreAddress;
use session_gateway::store::redis::RedisSettings;
use tempfile::TempDir;

#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, reason = "shared with the end-to-end tests")]
#[path = "../e2e/support/ports.rs"]
pub(crate) mod ports;
#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, reason = "shared with the end-to-end tests")]
#[path = "../e2e/support/process.rs"]
mod process;
#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, reason = "shared with the end-to-end tests")]
#[path = "../e2e/support/wait.rs"]
mod wait;

pub(crate) use self::ports::free_port;
pub(crate) use self::process::Process;

/// The server that the tests run on: `SESSION_GATEWAY_TEST_REDIS_SERVER`, where another is to be tried than the one of
/// this machine.
pub(crate) fn server_program() -> String {
    std::env::var("SESSION_GATEWAY_TEST_REDIS_SERVER").unwrap_or_else(|_| String::from("redis-server"))
}

/// A server that is stopped with the test.
pub(crate) struct RedisServer {
    program: String,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    /// By how many seconds its clock is off.
    skew: Option<i32>,
    process: Option<Process>,
}

impl RedisServer {
    /// A server with these further settings.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut server = Self::stopped(arguments);
        server.run().await;
        server
    }

    /// A server that does not run yet.
    pub(crate) fn stopped(arguments: &[&str]) -> Self {
        Self::stopped_of(&server_program(), arguments)
    }

    /// The same, of another program than the tests'.
    pub(crate) fn stopped_of(program: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program: program.to_owned(), folder, port: free_port(), arguments, skew: None, process: None }
    }

    pub(crate) async fn run(&mut self) {
        self.run_until_answering(&[]).await;
    }

    async fn run_until_answering(&mut self, more: &[&str]) {
        self.launch(more);
        for _ in 0..500 {
            if std::os::unix::net::UnixStream::connect(self.socket()).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server did not start");
    }

    pub(crate) fn launch(&mut self, more: &[&str]) {
        let _ = std::fs::remove_file(self.socket());
        let mut command = Command::new(&self.program);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--daemonize",
                "no",
                "--enable-debug-command",
                "local",
            ])
            .args(&self.arguments)
            .args(more);
        if let Some(skew) = self.skew {
            let library = self.folder.path().join("skewed-clock.so");
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/skewed-clock.c");
            let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            command.env("LD_PRELOAD", library).env("TEST_CLOCK_SKEW", skew.to_string());
        }
        self.process = Some(Process::spawn(&mut command));
    }

    /// Has its clock be off by so many seconds from its next start on.
    pub(crate) const fn skew_clock(&mut self, seconds: i32) {
        self.skew = Some(seconds);
    }

    /// Adds settings before it runs.
    pub(crate) fn add(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn tcp(&self) -> RedisSettings {
        settings(&format!("redis://127.0.0.1:{}/0", self.port))
    }

    pub(crate) fn unix(&self) -> RedisSettings {
        settings(&format!("redis+unix:{}", self.socket().display()))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it from answering while its connections stay open.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().unwrap().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.as_ref().unwrap().signal(Signal::CONT);
    }

    /// What `redis-cli` prints, if the server answers it within two seconds.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Option<String> {
        let output =
            Command::new("timeout").args(["2", "redis-cli", "-s"]).arg(self.socket()).args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Runs `redis-cli` as the default user, which has no password.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        assert!(output.status.success() && !text.starts_with("ERR"), "{arguments:?}: {text}");
        text
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(StoreAddress::parse(&Secret::new(url), None, None).unwrap(), "sg:")
}
