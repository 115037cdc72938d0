//! The real gateway binary: configured, started, watched and stopped.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use toml::{Table, Value as Toml};

use super::backend::Backend;
use super::browser::{Browser, SESSION_COOKIE};
use super::http::{Response, Wire, exchange};
use super::ports::{free_port, local};
use super::process::Process;
use super::store::Store;
use super::wait::wait_until;
use super::{json_lines, scratch};

/// The program under test: the one that cargo just built, or another build of it that the environment names.
pub fn binary() -> PathBuf {
    std::env::var_os("SESSION_GATEWAY_TEST_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_session-gateway").into(), PathBuf::from)
}

/// A gateway being described.
pub struct Builder {
    config: Table,
    address: SocketAddr,
    admin: SocketAddr,
    scratch: TempDir,
    /// Over http the cookie has one name in all tests; by itself it has the port, which is another one each time.
    plain_cookie: bool,
}

/// Describes a gateway on the given store, with everything else as in development.
pub fn gateway(store: Store) -> Builder {
    let (address, admin, scratch) = (local(free_port()), local(free_port()), scratch());
    let mut builder = Builder { config: Table::new(), address, admin, scratch, plain_cookie: true }
        .set("server.mode", "development")
        .set("server.listen", address.to_string())
        .set("server.public_url", format!("http://{address}"))
        .set("server.hosts", vec!["127.0.0.1", "localhost"])
        .set("server.drain_delay", "0s")
        .set("server.drain_timeout", "3s")
        .set("admin.listen", admin.to_string())
        .set("audit.file", "audit.jsonl")
        .set("telemetry.log", "json");
    builder = match store {
        Store::Embedded => builder.set("store.embedded", "sessions.redb"),
        // Several of them stand for one app, each at an address of its own.
        Store::Redis { url, prefix } => {
            builder.set("store.redis", url).set("store.prefix", prefix).set("store.shared_prefix", true)
        }
    };
    builder
}

/// Describes a gateway by a file of `deploy/`, at addresses of its own.
pub fn shipped(file: &str) -> Builder {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = std::fs::read_to_string(path).expect("a configuration that is shipped");
    let builder = gateway(Store::Embedded);
    let (address, admin) = (builder.address.to_string(), builder.admin.to_string());
    Builder { config: text.parse().expect("TOML"), ..builder }.set("server.listen", address).set("admin.listen", admin)
}

impl Builder {
    /// Its configuration so far.
    pub fn config(&self) -> &Table {
        &self.config
    }

    /// Stands in front of this backend, configured as suits it.
    pub fn with_backend(self, backend: &impl Backend) -> Self {
        self.set("upstream.url", backend.url()).settings(backend.settings())
    }

    /// Speaks TLS as these names, the first of which it is called by.
    pub fn over_tls(self, names: &[&str]) -> Self {
        write_certificate(self.directory(), "tls", names);
        let url = format!("https://{}:{}", names[0], self.address.port());
        self.set("server.public_url", url).settings("server.tls = { cert = \"tls.crt\", key = \"tls.key\" }")
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Has the cookie's name be the default one.
    pub fn with_the_default_cookie(mut self) -> Self {
        self.plain_cookie = false;
        self
    }

    /// The idle time-out.
    pub fn idle(self, limit: &str) -> Self {
        self.set("session.idle", limit)
    }

    /// The absolute lifetime.
    pub fn absolute(self, limit: &str) -> Self {
        self.set("session.absolute", limit)
    }

    /// Sets one key, named as in `section.key`.
    pub fn set(mut self, key: &str, value: impl Into<Toml>) -> Self {
        let (section, key) = key.split_once('.').expect("section.key");
        let section = self.config.entry(section).or_insert_with(|| Toml::Table(Table::new()));
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        self
    }

    /// Removes one key or, named alone, a whole section.
    pub fn without(mut self, key: &str) -> Self {
        match key.split_once('.') {
            None => drop(self.config.remove(key)),
            Some((section, key)) => {
                let section = self.config.get_mut(section).and_then(Toml::as_table_mut);
                section.map(|section| section.remove(key));
            }
        }
        self
    }

    /// Adds TOML: keys replace, lists of tables grow.
    pub fn settings(mut self, text: &str) -> Self {
        merge(&mut self.config, text.parse().unwrap_or_else(|error| panic!("{error} in {text}")));
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Gateway {
        let mut gateway = self.start_without_waiting();
        gateway.wait_ready();
        gateway
    }

    /// Starts it; it may not become ready.
    pub fn start_without_waiting(self) -> Gateway {
        let config = self.write();
        let process = serve(&config, &self.scratch);
        Gateway { address: self.address, admin: self.admin, process, config, scratch: self.scratch }
    }

    /// Starts it where the system gives no process more than so many open files, and waits until it is ready.
    pub fn start_with_descriptors(self, limit: u32) -> Gateway {
        let config = self.write();
        let program = program(&self.scratch);
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"ulimit -n {limit} && exec "$@""#), "sh"]).arg(program.get_program());
        command.arg("serve").arg("--config").arg(&config).current_dir(self.scratch.path());
        let process = Process::spawn(command.env_remove("SESSION_GATEWAY_CONFIG"));
        let mut gateway = Gateway { address: self.address, admin: self.admin, process, config, scratch: self.scratch };
        gateway.wait_ready();
        gateway
    }

    /// Starts it with a socket that was opened before, as a supervisor does, and waits until it is ready.
    pub fn start_on_socket(self) -> (Gateway, HeldSocket) {
        let config = self.write();
        let socket = HeldSocket(TcpListener::bind(self.address).expect("a free port"));
        let process = socket.serve(&config, &self.scratch);
        let (address, admin, scratch) = (self.address, self.admin, self.scratch);
        let mut gateway = Gateway { address, admin, process, config, scratch };
        gateway.wait_ready();
        (gateway, socket)
    }

    /// Runs `session-gateway check` on the configuration.
    pub fn check(self, more: &[&str]) -> Output {
        let config = self.write();
        let mut command = program(&self.scratch);
        command.arg("check").arg("--config").arg(config).args(more).output().expect("the program runs")
    }

    /// Runs the gateway, which must refuse to start, and returns what it said.
    pub fn refused(self) -> (ExitStatus, String) {
        let mut gateway = self.start_without_waiting();
        let status = gateway.process.wait(Duration::from_secs(10)).expect("it ends by itself");
        (status, gateway.process.lines_to_the_end().join("\n"))
    }

    /// A command of the program, in a directory of its own that holds `gateway.toml`.
    pub fn command(self) -> (Command, TempDir) {
        self.write();
        (program(&self.scratch), self.scratch)
    }

    fn write(&self) -> PathBuf {
        let path = self.scratch.path().join("gateway.toml");
        let mut config = self.config.clone();
        let url = config.get("server").and_then(|server| server.get("public_url")).and_then(Toml::as_str);
        if self.plain_cookie && url.is_some_and(|url| url.starts_with("http://")) {
            let cookie = config.entry("cookie").or_insert_with(|| Toml::Table(Table::new()));
            cookie.as_table_mut().expect("a section").entry("name").or_insert_with(|| SESSION_COOKIE.into());
        }
        std::fs::write(&path, config.to_string()).expect("the scratch directory takes a file");
        path
    }
}

/// Makes a self-signed certificate for these names: `name.crt` and `name.key`.
pub fn write_certificate(directory: &Path, name: &str, names: &[&str]) {
    write_certificate_of(directory, name, names, &|_| {});
}

/// The same, with what `change` makes of it.
pub fn write_certificate_of(
    directory: &Path,
    name: &str,
    names: &[&str],
    change: &dyn Fn(&mut rcgen::CertificateParams),
) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    for (ending, text) in [("crt", certificate.pem()), ("key", key.serialize_pem())] {
        let path = directory.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).expect("the scratch directory takes a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Toml::Table(old)), Toml::Table(new)) => merge(old, new),
            (Some(Toml::Array(old)), Toml::Array(new)) if new.iter().all(Toml::is_table) => old.extend(new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// The program, with no configuration from this process's own environment.
pub fn program(directory: &TempDir) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(directory.path()).env_remove("SESSION_GATEWAY_CONFIG");
    command
}

fn serve(config: &Path, directory: &TempDir) -> Process {
    let mut command = program(directory);
    command.arg("serve").arg("--config").arg(config);
    Process::spawn(&mut command)
}

/// A listening socket that is passed on to each gateway in turn (`LISTEN_FDS`), and outlives them.
pub struct HeldSocket(TcpListener);

impl HeldSocket {
    fn serve(&self, config: &Path, directory: &TempDir) -> Process {
        let socket: OwnedFd = self.0.try_clone().expect("a socket can be doubled").into();
        let program = program(directory);
        // The first passed socket is file descriptor 3, and the receiver's process id must be said.
        let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(program.get_program()).arg("serve").arg("--config").arg(config);
        command.current_dir(directory.path()).env_remove("SESSION_GATEWAY_CONFIG").stdin(Stdio::from(socket));
        Process::spawn_with_input(&mut command)
    }
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    admin: SocketAddr,
    process: Process,
    config: PathBuf,
    scratch: TempDir,
}

impl Gateway {
    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A fresh browser.
    pub fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// A raw connection.
    pub fn wire(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Sends exact bytes on a connection of their own and reads one answer.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> Response {
        exchange(self.address, bytes)
    }

    /// A request of these header lines (each without its end), after the request line and Host.
    pub fn get_with_lines(&self, target: &str, lines: &[&str]) -> Response {
        let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        lines.iter().for_each(|line| bytes.push_str(&format!("{line}\r\n")));
        bytes.push_str("\r\n");
        self.exchange(bytes.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect::<Vec<_>>())
    }

    /// Where operators come in.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// An operator with this token.
    pub fn operator(&self, token: &str) -> Browser {
        Browser::new(self.admin).with_header("Authorization", &format!("Bearer {token}"))
    }

    /// `GET` on the admin listener.
    pub fn admin_get(&self, path: &str) -> Response {
        Browser::new(self.admin).get(path)
    }

    /// A metric's value: the sum over its series whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.admin_get("/metrics").expect(200).text();
        let series = text.lines().filter_map(|line| line.strip_prefix("session_gateway_")?.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels));
        series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until `/readyz` says yes; on the admin listener, for the traffic port may want more than plain HTTP.
    pub fn wait_ready(&mut self) {
        let address = self.admin;
        self.process.wait_ready("the gateway", || ready(address) == Some(200));
    }

    /// Waits until `/readyz` says no, or nothing.
    pub fn wait_unready(&self) {
        wait_until("an unready gateway", || (ready(self.address) != Some(200)).then_some(()));
    }

    /// Every line it printed.
    pub fn log(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Waits for a log line with all of these texts and returns it, parsed.
    pub fn wait_log(&self, texts: &[&str]) -> Value {
        let line = wait_until(&format!("a log line with {texts:?}"), || {
            self.log().into_iter().find(|line| texts.iter().all(|text| line.contains(text)))
        });
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The audit events so far.
    pub fn audit(&self) -> Vec<Value> {
        json_lines(&self.scratch.path().join("audit.jsonl"))
    }

    /// Waits for an audit event of this type for which `fits` holds.
    pub fn wait_audit(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("an audit event {kind}; there are {:#?}", self.audit()), || {
            self.audit().into_iter().find(|event| event["type"] == kind && fits(event))
        })
    }

    /// A file in its working directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Runs another command of the program in its directory.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// The program with these arguments, to be run where the gateway runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.scratch);
        command.args(arguments);
        command
    }

    /// What it holds of the machine's memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        line.and_then(|number| number.parse().ok()).expect("its resident set")
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts to drain it.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it as `kill -9` does, and starts it again on the same files.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        self.restart();
    }

    /// Makes it read its configuration again, and waits until it has.
    pub fn reload(&self) {
        let before = self.metric("config_reloads_total", "");
        self.process.signal(Signal::HUP);
        wait_until("a reload", || (self.metric("config_reloads_total", "") > before).then_some(()));
    }

    /// Changes one key, and makes it read its configuration again.
    pub fn reload_with(&self, key: &str, value: impl Into<Toml>) {
        self.change(key, value);
        self.reload();
    }

    /// Starts another process on the same files and port, and ends the old one when the new one serves.
    pub fn hand_over(&mut self) {
        let mut new = serve(&self.config, &self.scratch);
        let serves = |lines: &[String]| lines.iter().any(|line| line.contains("\"serving\""));
        wait_until("the new process", || serves(&new.lines()).then_some(()));
        assert!(new.ended().is_none());
        let mut old = std::mem::replace(&mut self.process, new);
        old.signal(Signal::TERM);
        let status = old.wait(Duration::from_secs(10)).expect("the old process ends");
        assert_eq!(status.code(), Some(0));
    }

    /// Ends it and starts it again, on a socket that stays open meanwhile.
    pub fn restart_on(&mut self, socket: &HeldSocket) {
        self.terminate();
        let status = self.process.wait(Duration::from_secs(10)).expect("it ends");
        assert_eq!(status.code(), Some(0));
        self.process = socket.serve(&self.config, &self.scratch);
    }

    /// Changes one key, then ends it gently and starts it again on the same files.
    pub fn restart_with(&mut self, key: &str, value: impl Into<Toml>) {
        self.change(key, value);
        self.process.stop();
        self.restart();
    }

    /// Changes one key of its configuration file.
    pub fn change(&self, key: &str, value: impl Into<Toml>) {
        let text = std::fs::read_to_string(&self.config).expect("its configuration is there");
        let mut config: Table = text.parse().expect("it was written by a serialiser");
        let (section, key) = key.split_once('.').expect("section.key");
        let section = config.entry(section).or_insert_with(|| Toml::Table(Table::new()));
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        std::fs::write(&self.config, config.to_string()).expect("it can be written");
    }

    fn restart(&mut self) {
        self.process = serve(&self.config, &self.scratch);
        self.wait_ready();
    }
}

fn ready(address: SocketAddr) -> Option<u16> {
    let mut wire = Wire::try_connect(address).ok()?;
    wire.patience(Duration::from_secs(2));
    wire.try_send(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).ok()?;
    wire.try_receive("GET").ok().map(|response| response.status)
}
