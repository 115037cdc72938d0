//! A master, its replicas and the Sentinels that watch them, each behind two relays: one by which the servers reach it,
//! one by which the gateways do.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use session_gateway::secret::Secret;
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Beside, SentinelLogin, StoreAddress};
use tempfile::TempDir;

use crate::redis_server::{Process, RedisServer, free_port, server_program};
use crate::relay::Relay;

/// What the Sentinels call the master.
pub(crate) const NAME: &str = "sessions";

/// A server between its two relays.
pub(crate) struct Member {
    pub(crate) redis: RedisServer,
    /// What it is called by the others.
    pub(crate) inner: Relay,
    /// Where gateways reach it.
    pub(crate) outer: Relay,
    /// Where its own connections come from.
    pub(crate) source: IpAddr,
}

/// A Sentinel between its two relays.
pub(crate) struct Sentinel {
    pub(crate) inner: Relay,
    pub(crate) outer: Relay,
    port: u16,
    tls_port: Option<u16>,
    id: String,
    folder: TempDir,
    process: Option<Process>,
}

pub(crate) struct Topology {
    pub(crate) members: Vec<Member>,
    pub(crate) sentinels: Vec<Sentinel>,
    certificates: Option<TempDir>,
}

/// What is to be started.
pub(crate) struct Plan {
    pub(crate) replicas: usize,
    /// For every server.
    pub(crate) arguments: &'static [&'static str],
    /// Whether all speak TLS, with one another, too; as `localhost`.
    pub(crate) tls: bool,
    /// For how long a server may be silent (ms): a machine that does much else stops each of them for a while.
    pub(crate) down_after: u32,
    /// By how many seconds the replicas' clocks are off.
    pub(crate) skew_of_replicas: Option<i32>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { replicas: 2, arguments: &[], tls: false, down_after: 1500, skew_of_replicas: None }
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for other processes")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = instant();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Topology {
    pub(crate) async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        let certificates = plan.tls.then(certificates);
        let folder = certificates.as_ref().map(TempDir::path);
        let members: Vec<Member> = (0..=plan.replicas).map(|number| Member::new(number, &plan, folder)).collect();
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::new(plan.tls)).collect();
        let mut topology = Self { members, sentinels, certificates };
        let master = topology.members[0].inner.port().to_string();
        for (number, member) in topology.members.iter_mut().enumerate() {
            if number > 0 {
                member.redis.add(&["--replicaof", "127.0.0.1", &master]);
                plan.skew_of_replicas.inspect(|seconds| member.redis.skew_clock(*seconds));
            }
            member.redis.launch(&[]);
        }
        topology.replicas_are_online(plan.replicas).await;
        for number in 0..topology.sentinels.len() {
            topology.write_configuration(number, plan.down_after);
            topology.sentinels[number].run();
        }
        topology.sentinels_agree().await;
        topology
    }

    /// Each knows the others and the replicas already: to learn of them takes seconds.
    fn write_configuration(&self, number: usize, down_after: u32) {
        let own = &self.sentinels[number];
        let mut text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel myid {}\nsentinel announce-ip 127.0.0.1\nsentinel announce-port {}\n\
             sentinel monitor {NAME} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {NAME} {down_after}\nsentinel failover-timeout {NAME} 2000\n\
             sentinel parallel-syncs {NAME} 2\n",
            own.port,
            own.folder.path().display(),
            own.id,
            own.inner.port(),
            self.members[0].inner.port(),
        );
        if let (Some(folder), Some(port)) = (&self.certificates, own.tls_port) {
            let settings = tls_settings(folder.path(), port);
            text += &settings.iter().map(|[name, value]| format!("{name} {value}\n")).collect::<String>();
        }
        for replica in &self.members[1..] {
            text += &format!("sentinel known-replica {NAME} 127.0.0.1 {}\n", replica.inner.port());
        }
        for other in self.sentinels.iter().filter(|other| other.id != own.id) {
            text += &format!("sentinel known-sentinel {NAME} 127.0.0.1 {} {}\n", other.inner.port(), other.id);
        }
        std::fs::write(own.folder.path().join("sentinel.conf"), text).unwrap();
    }

    pub(crate) async fn replicas_are_online(&self, count: usize) {
        until("the replicas", || self.has_online(count)).await;
    }

    pub(crate) async fn sentinels_agree(&self) {
        until("the Sentinels", || self.is_agreed()).await;
    }

    /// Whether so many replicas follow the master, and the Sentinels know it.
    pub(crate) fn is_whole(&self, replicas: usize) -> bool {
        self.has_online(replicas) && self.is_agreed()
    }

    fn has_online(&self, count: usize) -> bool {
        self.members.iter().any(|member| {
            member
                .redis
                .try_cli(&["INFO", "replication"])
                .is_some_and(|info| info.contains("role:master") && info.matches("state=online").count() == count)
        })
    }

    fn is_agreed(&self) -> bool {
        self.sentinels.iter().all(|sentinel| {
            sentinel.try_cli(&["SENTINEL", "CKQUORUM", NAME]).is_some_and(|text| text.starts_with("OK"))
                && sentinel
                    .try_cli(&["SENTINEL", "REPLICAS", NAME])
                    .is_some_and(|text| !text.contains("s_down") && !text.contains("disconnected"))
        })
    }

    /// What a gateway is configured with.
    pub(crate) fn url(&self, login: &str) -> String {
        let seeds: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.inner.port())).collect();
        let scheme = if self.certificates.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://{login}{}/{NAME}/0", seeds.join(","))
    }

    /// Where gateways reach all.
    pub(crate) fn beside(&self) -> Beside {
        let servers = self.members.iter().map(|member| (&member.inner, &member.outer));
        let sentinels = self.sentinels.iter().map(|sentinel| (&sentinel.inner, &sentinel.outer));
        let reached = |relay: &Relay| match &self.certificates {
            Some(_) => format!("localhost:{}", relay.port()),
            None => address(relay),
        };
        let addresses = servers.chain(sentinels).map(|(inner, outer)| (address(inner), reached(outer))).collect();
        let authority = self.certificates.as_ref().map(|folder| std::fs::read(folder.path().join("ca.crt")).unwrap());
        let sentinel = authority.is_some().then(|| SentinelLogin { tls: Some(true), ..SentinelLogin::default() });
        Beside { addresses, authorities: authority, sentinel, ..Beside::default() }
    }

    /// The same by relays of its own, so that one gateway can be cut off: those of the servers, and of the Sentinels.
    pub(crate) fn apart(&self) -> (Beside, Vec<Relay>, Vec<Relay>) {
        let servers: Vec<Relay> = self.members.iter().map(|member| Relay::before(member.redis.port())).collect();
        let sentinels: Vec<Relay> = self.sentinels.iter().map(|sentinel| Relay::before(sentinel.port())).collect();
        let mut beside = self.beside();
        let called = self.members.iter().map(|member| &member.inner);
        let called = called.chain(self.sentinels.iter().map(|sentinel| &sentinel.inner));
        for (inner, own) in called.zip(servers.iter().chain(&sentinels)) {
            beside.addresses.insert(address(inner), address(own));
        }
        (beside, servers, sentinels)
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        self.settings_with(self.beside())
    }

    pub(crate) fn settings_with(&self, beside: Beside) -> RedisSettings {
        RedisSettings::new(StoreAddress::with(&Secret::new(self.url("")), beside).unwrap(), "sg:")
    }

    /// Which member a majority of Sentinels that can be asked names.
    pub(crate) fn master(&self) -> Option<usize> {
        let mut votes = vec![0; self.members.len()];
        for sentinel in &self.sentinels {
            let named = sentinel.try_cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
            let port = named.and_then(|text| text.lines().nth(1)?.parse::<u16>().ok());
            if let Some(at) = self.members.iter().position(|member| Some(member.inner.port()) == port) {
                votes[at] += 1;
            }
        }
        votes.iter().position(|votes| *votes * 2 > self.sentinels.len())
    }

    /// Waits for another master than that one, which takes writes.
    pub(crate) async fn another_master(&self, than: usize) -> usize {
        let mut found = than;
        until("another master", || {
            found = self.master().unwrap_or(than);
            found != than && self.members[found].redis.try_cli(&["ROLE"]).is_some_and(|role| role.starts_with("master"))
        })
        .await;
        found
    }
}

/// An authority, and a server's certificate for `localhost`.
pub(crate) fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/make-certificates.sh");
    let output = Command::new("sh").arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// Beside the port without TLS, which is for `redis-cli` alone.
pub(crate) fn tls_settings(folder: &Path, port: u16) -> [[String; 2]; 6] {
    let file = |name: &str| folder.join(name).display().to_string();
    [
        ["tls-port", &port.to_string()],
        ["tls-cert-file", &file("server.crt")],
        ["tls-key-file", &file("server.key")],
        ["tls-ca-cert-file", &file("ca.crt")],
        ["tls-auth-clients", "no"],
        ["tls-replication", "yes"],
    ]
    .map(|setting| setting.map(str::to_owned))
}

fn address(relay: &Relay) -> String {
    format!("127.0.0.1:{}", relay.port())
}

impl Member {
    fn new(number: usize, plan: &Plan, certificates: Option<&Path>) -> Self {
        let source = IpAddr::from([127, 0, 0, u8::try_from(10 + number).unwrap()]);
        let mut redis = RedisServer::stopped(plan.arguments);
        let mut port = redis.port();
        if let Some(folder) = certificates {
            port = free_port();
            for [name, value] in tls_settings(folder, port) {
                redis.add(&[&format!("--{name}"), &value]);
            }
        }
        let (inner, outer) = (Relay::before(port), Relay::before(port));
        redis.add(&[
            "--replica-announce-ip",
            "127.0.0.1",
            "--replica-announce-port",
            &inner.port().to_string(),
            "--bind-source-addr",
            &source.to_string(),
            "--repl-diskless-sync-delay",
            "0",
            "--repl-timeout",
            "5",
        ]);
        Self { redis, inner, outer, source }
    }

    /// As the others call it.
    pub(crate) fn name(&self) -> String {
        address(&self.inner)
    }
}

impl Sentinel {
    fn new(tls: bool) -> Self {
        use session_gateway::entropy::{Entropy as _, SystemEntropy};
        let mut bytes = [0; 20];
        SystemEntropy.fill(&mut bytes).unwrap();
        let (port, tls_port) = (free_port(), tls.then(free_port));
        let reached = tls_port.unwrap_or(port);
        Self {
            inner: Relay::before(reached),
            outer: Relay::before(reached),
            port,
            tls_port,
            id: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            folder: tempfile::tempdir().unwrap(),
            process: None,
        }
    }

    pub(crate) fn run(&mut self) {
        let mut command = Command::new(server_program());
        command.arg(self.folder.path().join("sentinel.conf")).arg("--sentinel");
        self.process = Some(Process::spawn(&mut command));
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap()
    }

    /// What it answers as somebody without a password, if it does.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("timeout")
            .args(["2", "redis-cli", "-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}
