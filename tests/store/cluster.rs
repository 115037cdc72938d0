//! A cluster of masters with a replica each, from configurations that are written before: to find each other takes seconds.

use std::net::IpAddr;

use session_gateway::secret::Secret;
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Beside, StoreAddress};

use crate::redis_server::{RedisServer, free_port};
use crate::relay::Relay;
use crate::topology::{instant, until};

/// How many masters.
const SHARDS: usize = 3;
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

/// The masters of the start are the first nodes, each one's replica as many places behind it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
    buses: Vec<u16>,
    /// By which the nodes reach each one's two ports, where they are to be cut off from each other.
    relays: Vec<[Relay; 2]>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(1000, &[]).await
    }

    /// With this `cluster-node-timeout` (ms), and these settings for every node.
    pub(crate) async fn with(node_timeout: u32, arguments: &[&str]) -> Self {
        Self::launch(node_timeout, arguments, false).await
    }

    /// With relays between the nodes.
    pub(crate) async fn behind_relays() -> Self {
        Self::launch(1000, &[], true).await
    }

    async fn launch(node_timeout: u32, arguments: &[&str], behind_relays: bool) -> Self {
        let buses: Vec<u16> = (0..2 * SHARDS).map(|_| free_port()).collect();
        let mut nodes = Vec::new();
        for bus in &buses {
            let mut node = RedisServer::stopped(arguments);
            node.add(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
            node.add(&["--cluster-port", &bus.to_string(), "--cluster-node-timeout", &node_timeout.to_string()]);
            node.add(&["--repl-diskless-sync-delay", "0"]);
            nodes.push(node);
        }
        let mut relays = Vec::new();
        if behind_relays {
            for (number, (node, bus)) in nodes.iter_mut().zip(&buses).enumerate() {
                let pair = [node.port(), *bus].map(Relay::before);
                let [port, bus] = [0, 1].map(|at: usize| pair[at].port().to_string());
                node.add(&["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", &port]);
                node.add(&["--cluster-announce-bus-port", &bus, "--bind-source-addr", &source(number).to_string()]);
                relays.push(pair);
            }
        }
        let mut cluster = Self { nodes, buses, relays };
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
        for (number, node) in self.nodes.iter().enumerate() {
            let (shard, is_master) = (number % SHARDS, number < SHARDS);
            let [port, bus] = match self.relays.get(number) {
                Some(pair) => [pair[0].port(), pair[1].port()],
                None => [node.port(), self.buses[number]],
            };
            let id = name_of(number);
            let myself = if number == own { "myself," } else { "" };
            let role = if is_master { String::from("master -") } else { format!("slave {}", name_of(shard)) };
            let [first, last] = slots(shard);
            let slots = if is_master { format!(" {first}-{last}") } else { String::new() };
            text += &format!("{id} 127.0.0.1:{port}@{bus} {myself}{role} 0 0 {} connected{slots}\n", shard + 1);
        }
        text + &format!("vars currentEpoch {SHARDS} lastVoteEpoch 0\n")
    }

    /// Waits until each node that runs takes what it is asked, and each master has its replica. A master takes nothing in the
    /// two seconds after its start.
    pub(crate) async fn is_whole(&self) {
        until("the cluster", || {
            self.nodes.iter().all(|node| {
                let info = node.try_cli(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            }) && self.masters().len() == SHARDS
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

    /// What a gateway is configured with: half of the nodes.
    pub(crate) fn url(&self, login: &str) -> String {
        let seeds: Vec<String> = (0..self.nodes.len()).step_by(2).map(|number| self.address(number)).collect();
        format!("redis+cluster://{login}{}", seeds.join(","))
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        self.settings_with(Beside::default())
    }

    pub(crate) fn settings_with(&self, beside: Beside) -> RedisSettings {
        RedisSettings::new(StoreAddress::with(&Secret::new(self.url("")), beside).unwrap(), "sg:")
    }

    /// What a node is called.
    fn address(&self, number: usize) -> String {
        let port = self.relays.get(number).map_or(self.nodes[number].port(), |pair| pair[0].port());
        format!("127.0.0.1:{port}")
    }

    /// How one gateway reaches all nodes, so that it can be cut off from each.
    pub(crate) fn apart(&self) -> (Beside, Vec<Relay>) {
        let relays: Vec<Relay> = self.nodes.iter().map(|node| Relay::before(node.port())).collect();
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
        let owns = |number: &usize| {
            let known = self.nodes[*number].try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
            let own = known.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
            own.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            })
        };
        (0..self.nodes.len()).find(owns).unwrap()
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
        assert_eq!(nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &name_of(from)]), "OK");
        assert_eq!(nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &name_of(to)]), "OK");
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
        let (slot, id) = (slot.to_string(), name_of(to));
        let others = self.masters().into_iter().filter(|number| *number != to);
        for number in std::iter::once(to).chain(others) {
            assert_eq!(self.nodes[number].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
    }

    /// Moves a slot with its keys.
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        self.open(slot, from, to);
        while self.carry(slot, from, to, 100) > 0 {}
        self.assign(slot, to);
    }
}

/// What a node calls itself.
fn name_of(number: usize) -> String {
    format!("{:040x}", number + 1)
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
