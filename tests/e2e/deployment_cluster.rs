//! The files of `deploy/compose/cluster`: their nodes run as the compose file says, under addresses of the loopback network, and
//! their gateway serves across a failover. No container engine takes part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::deployment::{
    agrees_with_what_it_names, compose, list, prepared, read, refused_at, run_service, text, until_replicated,
};
use crate::support::gateway::shipped;
use crate::support::ports::free_port;
use crate::support::process::Process;
use crate::support::wait::poll;
use crate::support::{Backend as _, Browser, flask, wait_until};

const NODES: [&str; 6] = ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];
/// What they have in common in the compose file, and here.
const NETWORK: [&str; 2] = ["172.31.91.1", "127.0.93.1"];

/// Where the nodes of the compose file run here: each on an address of its own.
struct Here {
    folder: TempDir,
    port: u16,
}

impl Here {
    fn prepare() -> Self {
        let folder = prepared("compose/cluster/prepare", &["redis-users"]);
        let here = Self { folder, port: free_port() };
        for name in NODES {
            std::fs::create_dir_all(here.data_of(name)).expect("a folder");
            for (file, from) in [
                ("start", "cluster/start"),
                ("nodes.conf", "cluster/nodes.conf"),
                ("cluster.conf", "cluster/cluster.conf"),
                ("redis.conf", "redis.conf"),
            ] {
                let text = here.here(name, &read(&format!("compose/{from}")));
                std::fs::write(Path::new(&here.folder_of(name)).join(file), text).expect("a file");
            }
        }
        here
    }

    fn folder_of(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn data_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).join("data")
    }

    fn address(&self, name: &str) -> SocketAddr {
        let at = compose("compose/cluster/compose.yaml")["services"][name]["networks"]["behind"]["ipv4_address"]
            .as_str()
            .expect("an address")
            .replace(NETWORK[0], NETWORK[1]);
        format!("{at}:{}", self.port).parse().expect("an address")
    }

    /// What is said to a container of that name, with the paths, addresses and ports that it has here.
    fn here(&self, name: &str, text: &str) -> String {
        let (at, port) = (self.address(name).ip(), self.port);
        // A container has one address, for what it sends as well.
        let own = format!("\nbind {at}\nbind-source-addr {at}\nport {port}\n# What was ended");
        text.replace("\n# What was ended", &own)
            .replace(NETWORK[0], NETWORK[1])
            .replace("6379@16379", &format!("{}@{}", self.port, self.port + 10_000))
            .replace("/run/secrets", &self.folder.path().join("secrets").display().to_string())
            .replace("/etc/redis", &self.folder_of(name))
            .replace("dir /data", &format!("dir {}", self.data_of(name).display()))
            .replace("kept=/data", &format!("kept={}", self.data_of(name).display()))
    }

    /// By the compose file's own command.
    fn run(&self, name: &str) -> Process {
        let service = &compose("compose/cluster/compose.yaml")["services"][name];
        run_service(service, self.address(name), |word| word.replace("/etc/redis", &self.folder_of(name)))
    }
}

#[test]
fn the_gateway_of_the_compose_file_on_a_cluster_outlives_one_of_its_masters() {
    let here = Here::prepare();
    let mut nodes = NODES.map(|name| here.run(name));
    let builder = shipped("compose/cluster/gateway.toml");
    let url = NODES.iter().fold(text(builder.config(), "store", "redis").to_owned(), |url, name| {
        url.replace(&format!("{name}:6379"), &here.address(name).to_string())
    });
    let gateway = builder
        .set("store.redis", url)
        .set("store.password_file", here.folder.path().join("secrets/redis-password").display().to_string())
        .set("upstream.url", flask().url())
        .set("server.hosts", vec!["127.0.0.1"])
        .start();
    let content = || {
        let answer = gateway.admin_get("/readyz");
        (answer.status == 200 && answer.text().contains("\"warnings\":[]")).then_some(())
    };
    let told = || gateway.admin_get("/readyz").text();
    let refused = || NODES.map(|name| refused_at(here.address(name))).concat();
    assert!(poll(Duration::from_secs(30), content).is_some(), "{} {}", told(), refused());
    // Wherever their sessions are.
    let mut signed_in: Vec<Browser> = (0..8)
        .map(|_| {
            let mut alice = gateway.browser();
            alice.log_in_to_flask("alice");
            alice
        })
        .collect();
    let mut bob = gateway.browser();
    bob.log_in_to_flask("bob");
    let mut thief = bob.clone();
    bob.post("/api/logout").expect(200);
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");
    until_replicated(&gateway);

    nodes[0].kill();
    wait_until("the loss to be noticed", || told().contains("not served").then_some(()));
    let served = poll(Duration::from_secs(30), || {
        assert_ne!(thief.get("/api/invoices").status, 200, "what is over stays so");
        signed_in.iter_mut().all(|alice| alice.get("/api/invoices").status == 200).then_some(())
    });
    assert!(served.is_some(), "no other master: {} {}", told(), refused());
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");

    // It comes back, and follows.
    nodes[0] = here.run(NODES[0]);
    assert!(poll(Duration::from_secs(60), content).is_some(), "{}", told());
    let kept = std::fs::read_to_string(here.data_of(NODES[0]).join("nodes.conf")).expect("kept");
    assert!(kept.lines().any(|line| line.contains("myself,slave")), "{kept}");
    assert_eq!(refused(), "", "somebody lacks a right");
}

#[test]
fn the_compose_file_on_a_cluster_agrees_with_what_it_names() {
    agrees_with_what_it_names("compose/cluster");
    let file = compose("compose/cluster/compose.yaml");
    let known = read("compose/cluster/nodes.conf");
    for name in NODES {
        let node = &file["services"][name];
        assert_eq!(list(&node["command"]), ["sh", "/etc/redis/start", name]);
        let at = node["networks"]["behind"]["ipv4_address"].as_str().expect("an address");
        assert_eq!(known.matches(&format!(" {at}:6379@16379,{name} ")).count(), 1, "{known}");
    }
    let (documented, rights) = (read("../docs/redis.md").replace("\\|", "|"), read("compose/cluster/prepare"));
    let rights = rights.split(['/', '\'']).find(|part| part.starts_with("+scan +wait")).expect("the rights");
    let rights = rights.trim_start_matches("+scan ");
    assert!(documented.contains(&format!("`{rights}`")), "docs/redis.md has other rights than {rights}");
}
