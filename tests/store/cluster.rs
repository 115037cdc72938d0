//! A cluster of masters with a replica each, from configurations that are written before: to find each other takes seconds.

use std::net::IpAddr;

use session_gateway::secret::Secret;
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Beside, StoreAddress};
use tempfile::TempDir;

use crate::redis_server::{RedisServer, free_port, server_program};
use crate::relay::Relay;
use crate::topology::{certificates, instant, tls_settings, until};

/// How many masters.
pub(crate) const SHARDS: usize = 3;
/// The spare master, where there is one.
pub(crate) const SPARE: usize = 2 * SHARDS;
/// How many slots there are.
const SLOTS: u16 = 16_384;

/// How a replica is made the master.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failover {
    /// Once it has all that the master took.
    Orderly,
    /// Without asking the master.
    Force,
    /// Without asking anybody.
    Takeover,
}

/// What is to be started.
pub(crate) struct Plan {
    /// For how long a node may be silent (ms).
    pub(crate) node_timeout: u32,
    /// For every node.
    pub(crate) arguments: &'static [&'static str],
    /// Whether the nodes reach each other by relays, so that they can be cut off.
    pub(crate) behind_relays: bool,
    /// Whether there is a master more, which has no slots.
    pub(crate) has_spare: bool,
    /// Whether all speak TLS, with one another, too; as `localhost`.
    pub(crate) tls: bool,
    /// Which server it is.
    pub(crate) program: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            node_timeout: 1000,
            arguments: &[],
            behind_relays: false,
            has_spare: false,
            tls: false,
            program: server_program(),
        }
    }
}

/// The masters of the start are the first nodes, each one's replica as many places behind it. The spare one is the last.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
    /// Where clients reach each, and the other nodes if it is behind no relay.
    ports: Vec<u16>,
    buses: Vec<u16>,
    /// By which the nodes reach each one's two ports, where they are to be cut off from each other.
    pub(crate) relays: Vec<[Relay; 2]>,
    certificates: Option<TempDir>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        let certificates = plan.tls.then(certificates);
        let count = 2 * SHARDS + usize::from(plan.has_spare);
        let buses: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let (mut nodes, mut ports) = (Vec::new(), Vec::new());
        for bus in &buses {
            let mut node = RedisServer::stopped_of(&plan.program, plan.arguments);
            node.add(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
            node.add(&["--cluster-port", &bus.to_string(), "--cluster-node-timeout", &plan.node_timeout.to_string()]);
            node.add(&["--repl-diskless-sync-delay", "0"]);
            let mut port = node.port();
            if let Some(folder) = &certificates {
                port = free_port();
                for [name, value] in tls_settings(folder.path(), port) {
                    node.add(&[&format!("--{name}"), &value]);
                }
                node.add(&["--tls-cluster", "yes"]);
            }
            ports.push(port);
            nodes.push(node);
        }
        let mut relays = Vec::new();
        if plan.behind_relays {
            for (number, node) in nodes.iter_mut().enumerate() {
                let pair = [ports[number], buses[number]].map(Relay::before);
                let [port, bus] = [0, 1].map(|at: usize| pair[at].port().to_string());
                node.add(&["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", &port]);
                node.add(&["--cluster-announce-bus-port", &bus, "--bind-source-addr", &source(number).to_string()]);
                node.add(&["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &port]);
                relays.push(pair);
            }
        }
        let mut cluster = Self { nodes, ports, buses, relays, certificates };
        for number in 0..cluster.nodes.len() {
            let file = cluster.nodes[number].folder().join("nodes.conf");
            std::fs::write(file, cluster.configuration(number)).unwrap();
            cluster.nodes[number].launch(&[]);
        }
        cluster.is_whole().await;
        cluster
    }

    /// What a node knows at the start.
    fn configuration(&self, own: usize) -> String {
        let mut text = String::new();
        for number in 0..self.nodes.len() {
            let shard = number % SHARDS;
            let [port, bus] = match self.relays.get(number) {
                Some(pair) => [pair[0].port(), pair[1].port()],
                None => [self.ports[number], self.buses[number]],
            };
            let id = self.name_of(number);
            let myself = if number == own { "myself," } else { "" };
            let [first, last] = slots(shard);
            let (role, epoch, slots) = match number / SHARDS {
                0 => (String::from("master -"), shard + 1, format!(" {first}-{last}")),
                1 => (format!("slave {}", self.name_of(shard)), shard + 1, String::new()),
                _ => (String::from("master -"), 0, String::new()),
            };
            text += &format!("{id} 127.0.0.1:{port}@{bus} {myself}{role} 0 0 {epoch} connected{slots}\n");
        }
        text + &format!("vars currentEpoch {SHARDS} lastVoteEpoch 0\n")
    }

    /// Waits until each node that runs takes what it is asked, and each master has its replica. A master takes nothing in the
    /// two seconds after its start.
    pub(crate) async fn is_whole(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        until("the cluster", || {
            self.nodes.iter().all(|node| {
                let info = node.try_cli(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains(&known)
            }) && self.masters().len() == self.nodes.len() - SHARDS
                && self
                    .nodes
                    .iter()
                    .filter(|node| {
                        node.try_cli(&["INFO", "replication"]).is_some_and(|info| info.contains("state=online"))
                    })
                    .count()
                    == SHARDS
        })
        .await;
    }

    /// The nodes that call themselves masters.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let is_master =
            |number: &usize| self.nodes[*number].try_cli(&["ROLE"]).is_some_and(|role| role.starts_with("master"));
        (0..self.nodes.len()).filter(is_master).collect()
    }

    /// What a node calls itself: as none of another cluster does, which might get to its port after it.
    pub(crate) fn name_of(&self, number: usize) -> String {
        format!("{:020x}{number:020x}", self.ports[0])
    }

    /// What a gateway is configured with: half of the nodes, and never the spare one.
    pub(crate) fn url(&self, login: &str) -> String {
        let seeds: Vec<String> = (0..2 * SHARDS).step_by(2).map(|number| self.address(number)).collect();
        let scheme = if self.certificates.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{login}{}", seeds.join(","))
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        self.settings_with(self.beside())
    }

    /// With TLS: that each is called as its certificate says.
    pub(crate) fn beside(&self) -> Beside {
        let Some(folder) = &self.certificates else { return Beside::default() };
        let called = (0..self.nodes.len()).map(|number| self.address(number));
        let addresses = called.map(|name| (name.clone(), name.replace("127.0.0.1", "localhost"))).collect();
        let authorities = Some(std::fs::read(folder.path().join("ca.crt")).unwrap());
        Beside { addresses, authorities, ..Beside::default() }
    }

    pub(crate) fn settings_with(&self, beside: Beside) -> RedisSettings {
        RedisSettings::new(StoreAddress::with(&Secret::new(self.url("")), beside).unwrap(), "sg:")
    }

    /// What a node is called.
    pub(crate) fn address(&self, number: usize) -> String {
        let port = self.relays.get(number).map_or(self.ports[number], |pair| pair[0].port());
        format!("127.0.0.1:{port}")
    }

    /// How one gateway reaches all nodes, so that it can be cut off from each.
    pub(crate) fn apart(&self) -> (Beside, Vec<Relay>) {
        let relays: Vec<Relay> = self.ports.iter().copied().map(Relay::before).collect();
        let reached = relays.iter().map(|relay| format!("127.0.0.1:{}", relay.port())).enumerate();
        let addresses = reached.map(|(number, reached)| (self.address(number), reached)).collect();
        (Beside { addresses, ..Beside::default() }, relays)
    }

    /// Cuts some nodes off from the others.
    pub(crate) fn part(&self, some: &[usize]) {
        for (number, pair) in self.relays.iter().enumerate() {
            let with_it = (0..self.nodes.len()).filter(|other| some.contains(other) == some.contains(&number));
            let sources: Vec<IpAddr> = with_it.map(source).collect();
            pair.iter().for_each(|relay| relay.cut_all_but(&sources));
        }
    }

    /// The other node of its two does not reach a node for what it has to replicate. That each is there they hear.
    pub(crate) fn cut_replication(&self, of: usize) {
        let others = (0..self.nodes.len()).filter(|number| *number != Self::partner(of)).map(source);
        let others: Vec<IpAddr> = others.collect();
        self.relays.get(of).iter().for_each(|[commands, _]| commands.cut_all_but(&others));
    }

    /// All reach each other again.
    pub(crate) fn mend(&self) {
        self.relays.iter().flatten().for_each(Relay::mend);
    }

    /// The slot of a key, as a server reckons it.
    pub(crate) fn slot(&self, key: &str) -> u16 {
        self.nodes.iter().find_map(|node| node.try_cli(&["CLUSTER", "KEYSLOT", key])).unwrap().parse().unwrap()
    }

    /// The master that has a slot, by the word of the node itself.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        (0..self.nodes.len()).find(|number| self.has(*number, slot)).unwrap()
    }

    /// Whether a node says that it has a slot.
    pub(crate) fn has(&self, number: usize, slot: u16) -> bool {
        let known = self.nodes[number].try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
        let own = known.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
        own.split(' ').skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    }

    /// The other node of the two that had the same slots at the start.
    pub(crate) const fn partner(number: usize) -> usize {
        (number + SHARDS) % (2 * SHARDS)
    }

    /// Has a replica come to be the master, and waits until it is.
    pub(crate) async fn fail_over(&self, to: usize, how: Failover) {
        let how: &[&str] = match how {
            Failover::Orderly => &["CLUSTER", "FAILOVER"],
            Failover::Force => &["CLUSTER", "FAILOVER", "FORCE"],
            Failover::Takeover => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        assert_eq!(self.nodes[to].cli(how), "OK");
        self.becomes_master(to).await;
    }

    /// Waits until a node is a master that takes writes.
    pub(crate) async fn becomes_master(&self, number: usize) {
        until("another master", || {
            self.nodes[number].try_cli(&["ROLE"]).is_some_and(|role| role.starts_with("master"))
                && self.nodes[number]
                    .try_cli(&["CLUSTER", "INFO"])
                    .is_some_and(|info| info.contains("cluster_state:ok"))
        })
        .await;
    }

    /// Begins to move a slot as tools for Redis 7 do: both sides know, no key has gone yet.
    pub(crate) fn open(&self, slot: u16, from: usize, to: usize) {
        let (slot, nodes) = (slot.to_string(), &self.nodes);
        assert_eq!(nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.name_of(from)]), "OK");
        assert_eq!(nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.name_of(to)]), "OK");
    }

    /// Moves so many keys of a slot that is open, and answers how many there were.
    pub(crate) fn carry(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let listed = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &count.to_string()]);
        let keys: Vec<&str> = listed.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let port = self.nodes[to].port().to_string();
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(&keys);
            let moved = self.nodes[from].cli(&migrate);
            assert!(moved == "OK" || moved == "NOKEY", "{moved}");
        }
        keys.len()
    }

    /// Says whose a slot is from now on: to the new owner first, then to all.
    pub(crate) fn assign(&self, slot: u16, to: usize) {
        let (slot, id) = (slot.to_string(), self.name_of(to));
        let others = self.masters().into_iter().filter(|number| *number != to);
        for number in std::iter::once(to).chain(others) {
            assert_eq!(self.nodes[number].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
    }

    /// Gives a slot away without its keys, and waits until all nodes know.
    pub(crate) async fn give(&self, slot: u16, to: usize) {
        let (text, from) = (slot.to_string(), self.owner(slot));
        for word in [["IMPORTING", &self.name_of(from)], ["NODE", &self.name_of(to)]] {
            let setslot = ["CLUSTER", "SETSLOT", &text].into_iter().chain(word).collect::<Vec<_>>();
            assert_eq!(self.nodes[to].cli(&setslot), "OK");
        }
        let is_empty = || self.nodes[from].cli(&["CLUSTER", "COUNTKEYSINSLOT", &text]) == "0";
        until("the slot to be given", || is_empty() && self.has(to, slot)).await;
    }

    /// Has a slot begin to move with all its keys at once, as Valkey 9 does it.
    pub(crate) fn migrate(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.name_of(to));
        let order = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot, &slot, "NODE", &id];
        assert_eq!(self.nodes[from].cli(&order), "OK");
    }

    /// Moves a slot with its keys.
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        self.open(slot, from, to);
        while self.carry(slot, from, to, 100) > 0 {}
        self.assign(slot, to);
    }
}

/// The first and the last slot of a master, at the start.
fn slots(shard: usize) -> [u16; 2] {
    let first = |shard: usize| u16::try_from(usize::from(SLOTS) * shard / SHARDS).unwrap();
    [first(shard), first(shard + 1) - 1]
}

/// Where a node's own connections come from.
fn source(number: usize) -> IpAddr {
    IpAddr::from([127, 0, 0, u8::try_from(20 + number).unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_of_the_tests_fails_over_and_moves_its_slots() {
    let begin = instant();
    let mut cluster = Cluster::start().await;
    println!("up after {:?}", begin.elapsed());
    let slot = cluster.slot("a{x}");
    let from = cluster.owner(slot);
    for key in ["a{x}", "b{x}"] {
        assert_eq!(cluster.nodes[from].cli(&["SET", key, "1"]), "OK");
    }
    let to = (from + 1) % SHARDS;
    cluster.move_slot(slot, to);
    assert_eq!((cluster.owner(slot), cluster.nodes[to].cli(&["GET", "b{x}"])), (to, "1".to_owned()));
    for (to, how) in [(3, Failover::Orderly), (4, Failover::Force), (5, Failover::Takeover)] {
        let begin = instant();
        cluster.fail_over(to, how).await;
        println!("{how:?} {:?}", begin.elapsed());
        until("the old master", || cluster.masters().len() == SHARDS).await;
    }
    cluster.nodes[5].freeze();
    cluster.becomes_master(2).await;
    cluster.nodes[5].thaw();
    let begin = instant();
    cluster.nodes[3].kill();
    cluster.becomes_master(0).await;
    println!("elected after {:?}", begin.elapsed());
    cluster.nodes[3].launch(&[]);
    cluster.is_whole().await;
}
