//! The files of `deploy/compose/sentinel`: their servers and Sentinels run as the compose file says, under addresses of the
//! loopback network in place of names, and their gateway serves across a failover. No container engine takes part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::deployment::{
    agrees_with_what_it_names, compose, prepared, read, refused_at, run_service, text, until_replicated,
};
use crate::support::gateway::shipped;
use crate::support::ports::free_port;
use crate::support::process::Process;
use crate::support::wait::poll;
use crate::support::{Backend as _, flask, wait_until};

const SERVERS: [&str; 3] = ["redis-1", "redis-2", "redis-3"];
const SENTINELS: [&str; 3] = ["sentinel-1", "sentinel-2", "sentinel-3"];

/// Where the services of the compose file run here: each on an address of its own.
struct Here {
    folder: TempDir,
    server_port: u16,
    sentinel_port: u16,
}

impl Here {
    fn prepare() -> Self {
        let folder = prepared("compose/sentinel/prepare", &["redis-users", "sentinel-users"]);
        let here = Self { folder, server_port: free_port(), sentinel_port: free_port() };
        for name in SERVERS.into_iter().chain(SENTINELS) {
            std::fs::create_dir_all(here.data_of(name)).expect("a folder");
            for (file, from) in
                [("start", "sentinel/start"), ("redis.conf", "redis.conf"), ("sentinel.conf", "sentinel/sentinel.conf")]
            {
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
        let at = |names: [&str; 3]| names.iter().position(|other| *other == name).and_then(|at| u8::try_from(at).ok());
        match (at(SERVERS), at(SENTINELS)) {
            (Some(at), _) => ([127, 0, 91, 1 + at], self.server_port).into(),
            (None, at) => ([127, 0, 92, 1 + at.expect("a service")], self.sentinel_port).into(),
        }
    }

    /// What is said to a container of that name, with the paths, names and ports that it has here.
    fn here(&self, name: &str, text: &str) -> String {
        let bind = format!("\nbind {}", self.address(name).ip());
        let port = format!("\nport {}", self.server_port);
        let named = SERVERS
            .into_iter()
            .chain(SENTINELS)
            .fold(text.to_owned(), |text, other| text.replace(other, &self.address(other).ip().to_string()));
        named
            .replace("dir /data\n# What was ended", &format!("dir /data{bind}{port}\n# What was ended"))
            .replace("port 26379\ndir", &format!("port 26379{bind}\ndir"))
            .replace("26379", &self.sentinel_port.to_string())
            .replace("6379", &self.server_port.to_string())
            .replace("/run/secrets", &self.folder.path().join("secrets").display().to_string())
            .replace("/etc/redis", &self.folder_of(name))
            .replace("dir /data", &format!("dir {}", self.data_of(name).display()))
            .replace("kept=/data", &format!("kept={}", self.data_of(name).display()))
    }

    /// By the compose file's own command.
    fn run(&self, name: &str) -> Process {
        let service = &compose("compose/sentinel/compose.yaml")["services"][name];
        // The folder's name is that of the service.
        let here = |word: &str| match word {
            word if word == name => self.address(name).ip().to_string(),
            word => word.replace("/etc/redis", &self.folder_of(name)),
        };
        run_service(service, self.address(name), here)
    }
}

#[test]
fn the_gateway_of_the_compose_file_with_sentinels_outlives_its_redis() {
    let here = Here::prepare();
    let mut servers = SERVERS.map(|name| here.run(name));
    let sentinels = SENTINELS.map(|name| here.run(name));
    let kept = |name: &str, file: &str| std::fs::read_to_string(here.data_of(name).join(file)).expect("kept");
    // They look each ten seconds.
    let known = poll(Duration::from_secs(30), || {
        let whole = |name| {
            let text = kept(name, "sentinel.conf");
            ["known-replica", "known-sentinel"].iter().all(|what| text.matches(what).count() == 2)
        };
        SENTINELS.into_iter().all(whole).then_some(())
    });
    assert!(known.is_some(), "{}", kept("sentinel-1", "sentinel.conf"));

    let builder = shipped("compose/sentinel/gateway.toml");
    let url = SENTINELS.iter().fold(text(builder.config(), "store", "redis").to_owned(), |url, name| {
        url.replace(&format!("{name}:26379"), &here.address(name).to_string())
    });
    let secret = |name: &str| here.folder.path().join("secrets").join(name).display().to_string();
    let mut login = builder.config()["store"]["sentinel"].as_table().expect("a login").clone();
    login.insert("password_file".into(), secret("sentinel-password").into());
    let gateway = builder
        .set("store.redis", url)
        .set("store.password_file", secret("redis-password"))
        .set("store.sentinel", login)
        .set("upstream.url", flask().url())
        .set("server.hosts", vec!["127.0.0.1"])
        .start();
    let content = || {
        let answer = gateway.admin_get("/readyz");
        (answer.status == 200 && answer.text().contains("\"warnings\":[]")).then_some(())
    };
    wait_until("all replicas and Sentinels", content);
    let (mut alice, mut bob) = (gateway.browser(), gateway.browser());
    alice.log_in_to_flask("alice");
    bob.log_in_to_flask("bob");
    let mut thief = bob.clone();
    bob.post("/api/logout").expect(200);
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");
    until_replicated(&gateway);

    servers[0].kill();
    let served = poll(Duration::from_secs(30), || {
        assert_ne!(thief.get("/api/invoices").status, 200, "what is over stays so");
        (alice.get("/api/invoices").status == 200).then_some(())
    });
    let heard = || sentinels.iter().flat_map(Process::lines).collect::<Vec<_>>().join("\n");
    let refused =
        || SERVERS.into_iter().chain(SENTINELS).map(|name| refused_at(here.address(name))).collect::<String>();
    let told = || gateway.admin_get("/readyz").text();
    assert!(served.is_some(), "alice is not served: {}\n{}\n{}", told(), heard(), refused());
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");

    // The old master comes back, and follows the new one; also after its next start.
    servers[0] = here.run("redis-1");
    assert!(poll(Duration::from_secs(60), content).is_some(), "{}", gateway.admin_get("/readyz").text());
    let follows = |name: &&str| kept(name, "kept.conf").lines().any(|line| line.starts_with("replicaof "));
    wait_until("its configuration", || follows(&"redis-1").then_some(()));
    let masters = SERVERS.iter().filter(|name| !follows(name));
    let masters: Vec<String> = masters.map(|name| here.address(name).ip().to_string()).collect();
    assert_eq!(masters.len(), 1);
    for name in SENTINELS {
        let known = kept(name, "sentinel.conf");
        assert!(known.contains(&format!("sentinel monitor sessions {} ", masters[0])), "{known}");
        assert!(known.contains(&format!("sentinel announce-ip \"{}\"", here.address(name).ip())), "{known}");
    }
    assert_eq!(refused(), "", "somebody lacks a right");
}

#[test]
fn the_compose_file_with_sentinels_agrees_with_what_it_names() {
    agrees_with_what_it_names("compose/sentinel");
    let (documented, rights) = (read("../docs/redis.md").replace("\\|", "|"), read("compose/sentinel/prepare"));
    for these in rights.split('\'').filter(|part| part.contains("+sentinel|myid")) {
        assert!(documented.contains(these), "docs/redis.md has other rights than {these}");
    }
    assert!(rights.contains("+wait +role") && documented.contains("`+wait +role`"));
}
