//! A gateway behind Sentinels: what its operators are told. What becomes of sessions when the master changes is in
//! tests/store/sentinel.rs.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::redis::command;
use crate::support::{RedisServer, Store, echo, gateway, scratch, wait_until};

/// A master, a replica and the one Sentinel that watches them.
struct Watched {
    master: RedisServer,
    replica: Option<Process>,
    replica_at: SocketAddr,
    folder: TempDir,
    _sentinel: Process,
    sentinel_at: SocketAddr,
}

impl Watched {
    fn start() -> Self {
        let (master, folder) = (RedisServer::start(), scratch());
        let (replica_at, sentinel_at) = (local(free_port()), local(free_port()));
        let replica = Some(replicate(&master, replica_at, &folder));
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor m 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds m 700\nsentinel known-replica m 127.0.0.1 {}\n",
            sentinel_at.port(),
            folder.path().display(),
            master.address().port(),
            replica_at.port(),
        );
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, text).expect("written");
        let sentinel = Process::spawn(Command::new("redis-server").arg(file).arg("--sentinel"));
        let watched = Self { master, replica, replica_at, folder, _sentinel: sentinel, sentinel_at };
        watched.is_whole();
        watched
    }

    fn is_whole(&self) {
        wait_until("the replica", || {
            self.master.command(&["INFO", "replication"]).contains("state=online").then_some(())
        });
        wait_until("the Sentinel", || {
            let master = command(self.sentinel_at, &["SENTINEL", "CKQUORUM", "m"]).ok()?;
            master.starts_with("+OK").then_some(())
        });
    }

    fn store(&self) -> Store {
        Store::Redis { url: format!("redis+sentinel://{}/m/0", self.sentinel_at), prefix: String::from("sg:") }
    }
}

fn replicate(master: &RedisServer, at: SocketAddr, folder: &TempDir) -> Process {
    Process::spawn(
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &at.port().to_string(), "--save", "", "--appendonly", "yes"])
            .args(["--replicaof", "127.0.0.1", &master.address().port().to_string(), "--repl-diskless-sync-delay", "0"])
            .arg("--dir")
            .arg(folder.path()),
    )
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn operators_are_told_what_may_be_lost_with_the_master_and_by_which_server_they_are_served() {
    let backend = echo();
    let mut watched = Watched::start();
    let gateway = gateway(watched.store()).with_backend(&backend).set("admin.token", TOKEN).start();
    let revoke = |user: &str| {
        gateway.logged_in("42", user);
        let path = format!("/v1/tenants/42/users/{user}/revoke");
        gateway.operator(TOKEN).request("POST", &path).json(&json!({})).send().expect(200).json()
    };
    // On a busy machine a replica may take longer than a revocation waits for it; that is said, and counted.
    let mut late = 0.0;
    while revoke("7") != json!({ "invalidated_sessions": 1 }) {
        late += 1.0;
        assert!(late < 20.0, "all replicas are there");
    }
    let unreplicated = || gateway.metric("revocations_unreplicated_total", "") - late;
    let up = |node: SocketAddr| gateway.metric("store_node_up", &format!("node=\"{node}\""));
    assert!(up(watched.master.address()) > 0.5);
    wait_until("a lease", || (gateway.metric("cache_lease", "") > 0.5).then_some(()));
    let age = gateway.metric("cache_lease_age_seconds", "");
    assert!(age > 0.0 && age < 1.0, "{age}");
    assert!(unreplicated().abs() < 0.5);

    watched.replica.take();
    let mut browser = gateway.logged_in("42", "8");
    assert_eq!(revoke("9"), json!({ "invalidated_sessions": 1, "replicated": false }));
    let everywhere = browser.post("/api/auth/revoke-all-tokens").expect(200).json();
    assert_eq!(everywhere["replicated"], json!(false));
    let told = || gateway.admin_get("/readyz").expect(200).text();
    wait_until("a warning", || told().contains("not all of 1 replicas answer").then_some(()));
    assert!(unreplicated() > 1.5);

    // The replica comes back, and takes over.
    watched.replica = Some(replicate(&watched.master, watched.replica_at, &watched.folder));
    watched.is_whole();
    let mut browser = gateway.logged_in("42", "10");
    wait_until("all replicas", || revoke("11").get("replicated").is_none().then_some(()));
    watched.master.kill();
    wait_until("the new master", || (browser.get("/x").status == 200).then_some(()));
    assert!(up(watched.replica_at) > 0.5 && up(watched.master.address()) < 0.5);
    assert!((gateway.metric("store_topology_changes_total", "") - 1.0).abs() < 0.5);
}

#[test]
fn check_connect_says_what_a_failover_would_find() {
    let backend = echo();
    let watched = Watched::start();
    let look = |strict: bool| {
        let more: &[&str] = if strict { &["--connect", "--strict"] } else { &["--connect"] };
        let output = gateway(watched.store()).with_backend(&backend).check(more);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, seen, warned) = look(false);
    let master = watched.master.address();
    let found = format!(
        "the master is {master} by 1 of 1 Sentinels; 1 replica may follow it, once it has been silent for 700ms"
    );
    assert!(code == Some(0) && seen.contains(&found), "{seen} {warned}");
    assert!(warned.contains("there are 1 Sentinels: with fewer than three none may fail"), "{warned}");
    // What the replica would be as the master.
    let set = |words: &[&str]| assert_eq!(command(watched.replica_at, words).expect("an answer"), "+OK\r\n");
    set(&["ACL", "SETUSER", "default", "-wait", "-getdel"]);
    set(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let (code, _, warned) = look(true);
    let refused =
        format!("the replica {} could not be used: the server's maxmemory-policy is allkeys-lru", watched.replica_at);
    assert!(code == Some(1) && warned.contains(&refused), "{warned}");
    set(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let (_, _, warned) = look(false);
    assert!(
        warned.contains(&format!("on {} the Redis user lacks rights: +getdel +wait", watched.replica_at)),
        "{warned}"
    );
}
