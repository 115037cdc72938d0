//! The gateway and its Redis, as processes of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

/// File descriptors that ten thousand connections take on either side, and some.
const FILES: u64 = 20_000;

/// Lets this process and its children hold that many connections.
pub fn raise_file_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    assert!(hard.is_none_or(|hard| hard >= FILES), "the hard limit of open files is below {FILES}");
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: hard }).expect("not above the hard limit");
}

/// A port that nobody listens on, below those that connections are given. Never the same twice.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 90).expect("below 90") * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process that ends with its handle.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the process is there");
    }

    pub async fn ended_well(mut self) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.0.try_wait().expect("a child") {
                assert!(status.success(), "the gateway ended with {status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway does not end");
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
        line.split_whitespace().nth(1).and_then(|size| size.parse::<usize>().ok()).expect("a number") * 1024
    }

    /// CPU time, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis of our own, without persistence.
pub async fn start_redis(port: u16) -> Process {
    let port_text = port.to_string();
    let process = Process::start(
        Command::new("redis-server")
            .args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null()),
    );
    wait_for("redis-server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    process
}

pub async fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One configuration and the processes that serve it, one after the other.
pub struct Gateway {
    pub address: SocketAddr,
    directory: TempDir,
    process: Process,
    starts: usize,
}

impl Gateway {
    /// Starts it. In `settings`, `{dir}` and `{port}` stand for its folder and port.
    pub async fn start(settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let dir = directory.path().to_str().expect("a readable path");
        write_certificate(directory.path());
        let text = settings.replace("{dir}", dir).replace("{port}", &port.to_string());
        std::fs::write(directory.path().join("gateway.toml"), text).expect("it can be written");
        let process = serve(directory.path(), &directory.path().join("0.log"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let begin = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(directory.path().join("0.log")).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_secs(20), "the gateway does not come: {}", said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { address, directory, process, starts: 1 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Changes a text of the configuration, and has it read again.
    pub fn reload(&self, from: &str, to: &str) {
        let path = self.path("gateway.toml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.contains(from), "{from} is not in the configuration");
        std::fs::write(path, text.replace(from, to)).expect("it can be written");
        self.process.signal(Signal::HUP);
    }

    /// How many reloads the audit log tells of.
    pub fn reloads(&self) -> usize {
        let audit = std::fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        audit.lines().filter(|line| line.contains("config.reloaded") && line.contains("success")).count()
    }

    /// Starts another process beside it, and ends the old one when the new one serves.
    pub async fn restart(&mut self) {
        let log = self.path(&format!("{}.log", self.starts));
        self.starts += 1;
        let new = serve(self.directory.path(), &log);
        wait_for("the new gateway", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\"serving\"")))
            .await;
        let old = std::mem::replace(&mut self.process, new);
        old.signal(Signal::TERM);
        old.ended_well().await;
    }

    /// What all its processes said.
    pub fn log(&self) -> String {
        let logs = (0..self.starts).map(|start| self.path(&format!("{start}.log")));
        logs.map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect()
    }

    /// Ends it as `kill -9` does, and starts another after that time.
    pub async fn crash(&mut self, after: Duration) {
        self.process.signal(Signal::KILL);
        tokio::time::sleep(after).await;
        let log = self.path(&format!("{}.log", self.starts));
        self.starts += 1;
        self.process = serve(self.directory.path(), &log);
    }
}

fn serve(directory: &Path, log: &Path) -> Process {
    let log = std::fs::File::create(log).expect("a log");
    Process::start(
        Command::new(env!("CARGO_BIN_EXE_session-gateway"))
            .arg("serve")
            .arg("--config")
            .arg(directory.join("gateway.toml"))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log),
    )
}

fn write_certificate(directory: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(directory.join("tls.crt"), made.cert.pem()).expect("it can be written");
    std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).expect("it can be written");
}
