//! A cluster of masters with a replica each, from configurations that are written before: to find each other takes seconds.

use session_gateway::secret::Secret;
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Beside, StoreAddress};

use crate::redis_server::{RedisServer, free_port};
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
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(1000, &[]).await
    }

    /// With this `cluster-node-timeout` (ms), and these settings for every node.
    pub(crate) async fn with(node_timeout: u32, arguments: &[&str]) -> Self {
        let buses: Vec<u16> = (0..2 * SHARDS).map(|_| free_port()).collect();
        let mut nodes = Vec::new();
        for bus in &buses {
            let mut node = RedisServer::stopped(arguments);
            node.add(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
            node.add(&["--cluster-port", &bus.to_string(), "--cluster-node-timeout", &node_timeout.to_string()]);
            node.add(&["--repl-diskless-sync-delay", "0"]);
            nodes.push(node);
        }
        let mut cluster = Self { nodes, buses };
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
            let (id, port, bus) = (name_of(number), node.port(), self.buses[number]);
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
        let seeds: Vec<String> = self.nodes.iter().step_by(2).map(address).collect();
        format!("redis+cluster://{login}{}", seeds.join(","))
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        self.settings_with(Beside::default())
    }

    pub(crate) fn settings_with(&self, beside: Beside) -> RedisSettings {
        RedisSettings::new(StoreAddress::with(&Secret::new(self.url("")), beside).unwrap(), "sg:")
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

fn address(node: &RedisServer) -> String {
    format!("127.0.0.1:{}", node.port())
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
