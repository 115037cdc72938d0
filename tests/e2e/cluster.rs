//! Gateways on a Redis Cluster. What becomes of sessions when masters go and slots move is in tests/store/sharding.rs.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::redis::command;
use crate::support::{Store, echo, gateway, scratch, wait_until};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The first and the last slot of each master.
const SLOTS: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];

/// Three masters.
struct Cluster {
    _masters: Vec<(Process, TempDir)>,
    at: Vec<SocketAddr>,
}

impl Cluster {
    fn start() -> Self {
        let at: Vec<SocketAddr> = SLOTS.iter().map(|_| local(free_port())).collect();
        let buses: Vec<u16> = SLOTS.iter().map(|_| free_port()).collect();
        let mut masters = Vec::new();
        for own in 0..SLOTS.len() {
            let line = |(number, slots): (usize, &&str)| {
                let (id, at, bus, epoch) = (format!("{:040x}", number + 1), at[number], buses[number], number + 1);
                let own = if number == own { "myself," } else { "" };
                format!("{id} {at}@{bus} {own}master - 0 0 {epoch} connected {slots}\n")
            };
            let nodes: String = SLOTS.iter().enumerate().map(line).collect();
            let folder = scratch();
            let text = nodes + "vars currentEpoch 3 lastVoteEpoch 0\n";
            std::fs::write(folder.path().join("nodes.conf"), text).expect("written");
            let process = Process::spawn(
                Command::new("redis-server")
                    .args(["--bind", "127.0.0.1", "--port", &at[own].port().to_string(), "--save", ""])
                    .args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--appendonly", "yes"])
                    .args(["--cluster-port", &buses[own].to_string()])
                    .arg("--dir")
                    .arg(folder.path()),
            );
            masters.push((process, folder));
        }
        for node in &at {
            wait_until("the cluster", || {
                command(*node, &["CLUSTER", "INFO"]).ok()?.contains("cluster_state:ok").then_some(())
            });
        }
        Self { _masters: masters, at }
    }

    /// How often a session was asked about, at all masters.
    fn reads(&self) -> u64 {
        let calls = |node: &SocketAddr| -> u64 {
            let info = command(*node, &["INFO", "commandstats"]).expect("an answer");
            let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_pexpiretime:calls="));
            line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
        };
        self.at.iter().map(calls).sum()
    }

    fn store(&self) -> Store {
        Store::Redis { url: format!("redis+cluster://{},{}", self.at[0], self.at[1]), prefix: String::from("sg:") }
    }
}

#[test]
fn who_logs_in_at_one_gateway_is_known_at_the_other_until_they_leave_or_are_put_out() {
    let backend = echo();
    let cluster = Cluster::start();
    let start = || gateway(cluster.store()).with_backend(&backend).set("admin.token", TOKEN).start();
    let (one, other) = (start(), start());
    for user in 0..12 {
        let (tenant, user) = (format!("t{user}"), format!("u{user}"));
        let mut leaves = one.logged_in(&tenant, &user);
        let mut is_put_out = one.logged_in(&tenant, &user);
        assert_eq!(leaves.get("/x").status, 200, "{tenant}");
        leaves.post("/api/logout").expect(200);
        assert_eq!(leaves.get("/x").status, 401, "{tenant}");
        is_put_out.get("/x").expect(200);
        let path = format!("/v1/tenants/{tenant}/users/{user}/revoke");
        let revoked = other.operator(TOKEN).request("POST", &path).json(&json!({})).send().expect(200).json();
        assert_eq!(revoked["invalidated_sessions"], json!(1), "{revoked}");
        let ended = Instant::now();
        wait_until("a refusal", || {
            let begin = Instant::now();
            let is_refused = is_put_out.get("/x").status == 401;
            assert!(is_refused || begin - ended < Duration::from_secs(1), "{tenant}: accepted a second after");
            is_refused.then_some(())
        });
        one.logged_in(&tenant, &user).get("/x").expect(200);
    }
    let told = one.admin_get("/readyz").expect(200).text();
    assert!(!told.contains("not served"), "{told}");
}

#[test]
fn a_steady_request_asks_no_master_of_a_cluster() {
    let backend = echo();
    let cluster = Cluster::start();
    let gateway = gateway(cluster.store()).with_backend(&backend).start();
    let mut browsers: Vec<_> = (0..12).map(|user| gateway.logged_in(&format!("t{user}"), "7")).collect();
    for browser in &mut browsers {
        wait_until("an answer of the cache", || {
            let hits = gateway.metric("cache_hits_total", "");
            browser.get("/x").expect(200);
            (gateway.metric("cache_hits_total", "") > hits).then_some(())
        });
    }
    let asked = || (cluster.reads(), gateway.metric("store_commands_total", "command=\"read\""));
    let (before, hits) = (asked(), gateway.metric("cache_hits_total", ""));
    assert!(before.1 > 0.0, "the first requests did");
    for _ in 0..20 {
        for browser in &mut browsers {
            browser.get("/x").expect(200);
        }
    }
    let (after, known) = (asked(), gateway.metric("cache_hits_total", "") - hits);
    // A machine that does much else may be late with a proof.
    assert!(after.0 - before.0 <= 2 && after.1 - before.1 <= 2.0, "{before:?} {after:?}");
    assert!(known >= 238.0, "{known} of 240 were known");
}
