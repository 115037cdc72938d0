//! A cluster of three masters with a replica each, and what can go wrong with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Plan, SHARDS};
use crate::dice::Dice;
use crate::model::{Model, SKEW};
use crate::places::{Places, slot_of_tenant};
use crate::redis_server::RedisServer;
use crate::relay::Relay;
use crate::shards::Shards;
use crate::stage::{Stage, next_of, store_of};
use crate::troubles::Of;

/// Slots that go at once.
const SLOTS_AT_ONCE: usize = 4;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a master; it comes back with what is on its disk.
    MasterKilled,
    /// The same, back before anybody elects another one.
    MasterRestarted,
    /// SIGSTOP until long after another is elected.
    MasterFrozen,
    /// SIGSTOP for less than an election takes.
    MasterHangs,
    /// Two of three: those that are left are no majority.
    MastersKilled,
    ReplicaKilled,
    ReplicaFrozen,
    /// It comes back with another clock.
    ReplicaWithAnotherClock,
    /// `CLUSTER FAILOVER`.
    ByHand,
    /// `CLUSTER FAILOVER FORCE`.
    ByForce,
    /// One gateway and a master, cut off from all others.
    CutOffWithTheMaster,
    /// The same with its replica: nobody can be elected.
    CutOffWithItsReplicaToo,
    /// The same with the replica of another master.
    CutOffWithAnothersReplica,
    /// A master does not reach its replica; gateways and the other nodes reach it.
    NoReplication,
    /// The same, and then the master is killed: what is promoted is behind.
    KilledWithoutReplication,
    GatewayWithoutMaster,
    /// It reaches none of them.
    GatewayWithoutNodes,
    /// Some that are in use go from one master to another.
    SlotsMoved,
    /// And the master to which they went is killed at once.
    SlotsMovedAndKilled,
}

const ALL: [Fault; 19] = [
    Fault::MasterKilled,
    Fault::MasterRestarted,
    Fault::MasterFrozen,
    Fault::MasterHangs,
    Fault::MastersKilled,
    Fault::ReplicaKilled,
    Fault::ReplicaFrozen,
    Fault::ReplicaWithAnotherClock,
    Fault::ByHand,
    Fault::ByForce,
    Fault::CutOffWithTheMaster,
    Fault::CutOffWithItsReplicaToo,
    Fault::CutOffWithAnothersReplica,
    Fault::NoReplication,
    Fault::KilledWithoutReplication,
    Fault::GatewayWithoutMaster,
    Fault::GatewayWithoutNodes,
    Fault::SlotsMoved,
    Fault::SlotsMovedAndKilled,
];

/// After which another server is the master, nearly always.
const OF_AN_ELECTION: [Fault; 8] = [
    Fault::MasterKilled,
    Fault::MasterFrozen,
    Fault::ByHand,
    Fault::ByForce,
    Fault::CutOffWithTheMaster,
    Fault::CutOffWithAnothersReplica,
    Fault::KilledWithoutReplication,
    Fault::SlotsMovedAndKilled,
];

/// A slot that is on its way from one part to another.
#[derive(Clone, Copy)]
struct OnItsWay {
    slot: u16,
    from: usize,
    to: usize,
}

pub struct Sharded {
    cluster: Cluster,
    model: Arc<Model>,
    shards: Shards,
    /// Each gateway's own way to each node.
    ways: Vec<Vec<Relay>>,
    /// Faults of this round that were not yet drawn: each comes before any comes again.
    deck: Vec<Fault>,
    frozen: Vec<usize>,
    killed: Vec<usize>,
    is_parted: bool,
    on_their_way: Vec<OnItsWay>,
}

impl Sharded {
    pub async fn start(model: Arc<Model>) -> Self {
        let arguments = &["--cluster-require-full-coverage", "no"];
        let cluster = Cluster::with(Plan { arguments, behind_relays: true, ..Plan::default() }).await;
        model.known().places = Places::of(SHARDS);
        let ports: Vec<u16> = cluster.nodes.iter().map(RedisServer::port).collect();
        let shards = Shards::watch(&ports, &model);
        Self {
            cluster,
            model,
            shards,
            ways: Vec::new(),
            deck: Vec::new(),
            frozen: Vec::new(),
            killed: Vec::new(),
            is_parted: false,
            on_their_way: Vec::new(),
        }
    }

    fn kill(&mut self, node: usize) {
        // What a second fault at once concerns may be gone already.
        if !self.killed.contains(&node) {
            self.frozen.retain(|frozen| *frozen != node);
            self.cluster.nodes[node].kill();
            self.killed.push(node);
        }
    }

    fn freeze(&mut self, node: usize) {
        if !self.killed.contains(&node) {
            self.cluster.nodes[node].freeze();
            self.frozen.push(node);
        }
    }

    /// That gateway and these nodes, and nobody else, reach one another.
    fn cut_off(&mut self, gateway: usize, nodes: &[usize]) {
        self.is_parted = true;
        self.cluster.part(nodes);
        for (number, ways) in self.ways.iter().enumerate() {
            for (node, way) in ways.iter().enumerate() {
                if nodes.contains(&node) != (number == gateway) {
                    way.cut();
                }
            }
        }
        self.model.trouble(Of::Gateway(gateway));
    }

    /// All but its replica reach a master.
    fn stop_replication(&mut self, part: usize) {
        self.is_parted = true;
        self.cluster.cut_replication(self.shards.master(part));
    }

    /// Slots that are in use go to another master.
    async fn move_slots(&mut self, from: usize, to: usize, dice: &mut Dice) -> String {
        if self.is_parted || !self.killed.is_empty() || !self.frozen.is_empty() {
            return String::from("none: nobody moves slots while nodes are away");
        }
        let slots = self.slots_in_use(from, dice);
        for slot in &slots {
            self.on_their_way.push(OnItsWay { slot: *slot, from, to });
            let now = self.model.now();
            self.model.known().places.goes(*slot, to, now);
            self.carry_on(dice).await;
        }
        let left = if self.on_their_way.is_empty() { "" } else { ", not all of them yet" };
        format!("{slots:?} from {from} to {to}{left}")
    }

    fn slots_in_use(&self, part: usize, dice: &mut Dice) -> Vec<u16> {
        let now = self.model.now();
        let known = self.model.known();
        let of_sessions = known.sessions.iter().rev().filter(|session| session.over.is_none()).take(60);
        let mut slots: Vec<u16> = of_sessions.map(|session| session.slot).collect();
        slots.extend((0..crate::load::TENANTS).map(slot_of_tenant));
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| known.places.having(*slot, now, now).has(part));
        let (mut chosen, count) = (Vec::new(), 1 + dice.below(SLOTS_AT_ONCE));
        while chosen.len() < count && !slots.is_empty() {
            chosen.push(slots.swap_remove(dice.below(slots.len())));
        }
        chosen
    }

    /// Brings slots where they are to go, as far as that can be done now.
    async fn carry_on(&mut self, dice: &mut Dice) {
        for slot in std::mem::take(&mut self.on_their_way) {
            if self.brings(slot, dice).await {
                let now = self.model.now();
                self.model.known().places.has_come(slot.slot, now);
            } else {
                self.on_their_way.push(slot);
            }
        }
    }

    async fn brings(&self, OnItsWay { slot, from, to }: OnItsWay, dice: &mut Dice) -> bool {
        let (from, to) = (self.shards.master(from), self.shards.master(to));
        let number = slot.to_string();
        let name_of = |node: usize| self.cluster.name_of(node);
        let cli = |node: usize, words: &[&str]| self.cluster.nodes[node].try_cli(words);
        let says_ok = |node: usize, words: &[&str]| cli(node, words).as_deref() == Some("OK");
        if !says_ok(to, &["CLUSTER", "SETSLOT", &number, "IMPORTING", &name_of(from)])
            || !says_ok(from, &["CLUSTER", "SETSLOT", &number, "MIGRATING", &name_of(to)])
        {
            return false;
        }
        let port = self.cluster.nodes[to].port().to_string();
        loop {
            tokio::time::sleep(dice.millis(0, 30)).await;
            let Some(keys) = cli(from, &["CLUSTER", "GETKEYSINSLOT", &number, "3"]) else { return false };
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "REPLACE", "KEYS"];
            let migrated = cli(from, &[&migrate[..], &keys].concat());
            if !matches!(migrated.as_deref(), Some("OK" | "NOKEY")) {
                return false;
            }
        }
        let others = (0..SHARDS).map(|part| self.shards.master(part)).filter(|node| ![from, to].contains(node));
        let assign = |node: usize| says_ok(node, &["CLUSTER", "SETSLOT", &number, "NODE", &name_of(to)]);
        // The others hear of it in time.
        let is_given = assign(to) && assign(from);
        for node in others {
            assign(node);
        }
        is_given
    }
}

impl Stage for Sharded {
    type Fault = Fault;

    fn store_of_another_gateway(&mut self) -> String {
        let (beside, ways) = self.cluster.apart();
        self.ways.push(ways);
        store_of(&self.cluster.url(""), &beside.addresses)
    }

    fn next_fault(&mut self, dice: &mut Dice, elects: bool) -> Fault {
        next_of(&mut self.deck, if elects { &OF_AN_ELECTION } else { &ALL }, dice)
    }

    async fn break_it(&mut self, fault: Fault, gateway: usize, dice: &mut Dice) -> String {
        let part = dice.below(SHARDS);
        let other = (part + 1 + dice.below(SHARDS - 1)) % SHARDS;
        let (master, replica) = (self.shards.master(part), self.shards.replica(part));
        let trouble = |of| self.model.trouble(of);
        match fault {
            Fault::MasterKilled
            | Fault::MasterRestarted
            | Fault::MasterFrozen
            | Fault::MasterHangs
            | Fault::ByHand
            | Fault::ByForce
            | Fault::CutOffWithTheMaster
            | Fault::CutOffWithItsReplicaToo
            | Fault::CutOffWithAnothersReplica => trouble(Of::Part(part)),
            Fault::MastersKilled => trouble(Of::All),
            Fault::ReplicaKilled
            | Fault::ReplicaFrozen
            | Fault::ReplicaWithAnotherClock
            | Fault::NoReplication
            | Fault::KilledWithoutReplication => trouble(Of::Replica(part)),
            Fault::GatewayWithoutMaster => trouble(Of::Way(gateway, part)),
            Fault::GatewayWithoutNodes => trouble(Of::Gateway(gateway)),
            Fault::SlotsMoved | Fault::SlotsMovedAndKilled => {}
        }
        match fault {
            Fault::MasterKilled | Fault::MasterRestarted => self.kill(master),
            Fault::MasterFrozen | Fault::MasterHangs => self.freeze(master),
            Fault::MastersKilled => [master, self.shards.master(other)].into_iter().for_each(|node| self.kill(node)),
            Fault::ReplicaKilled => self.kill(replica),
            Fault::ReplicaFrozen => self.freeze(replica),
            Fault::ReplicaWithAnotherClock => {
                self.kill(replica);
                let most = i32::try_from(SKEW.as_secs() / 2).expect("some seconds");
                let skew = i32::try_from(dice.below(5)).expect("below 5") - most;
                self.cluster.nodes[replica].skew_clock(skew);
                return format!("server {replica}, {skew} s, master {master}");
            }
            Fault::ByHand | Fault::ByForce => {
                let how: &[&str] = if fault == Fault::ByHand { &[] } else { &["FORCE"] };
                let told = self.cluster.nodes[replica].try_cli(&[&["CLUSTER", "FAILOVER"], how].concat());
                return format!("from master {master}: {}", told.unwrap_or_default());
            }
            Fault::CutOffWithTheMaster => self.cut_off(gateway, &[master]),
            Fault::CutOffWithItsReplicaToo => self.cut_off(gateway, &[master, replica]),
            Fault::CutOffWithAnothersReplica => {
                let replica = self.shards.replica(other);
                self.cut_off(gateway, &[master, replica]);
                self.model.trouble(Of::Replica(other));
                return format!("gateway {gateway}, master {master}, server {replica}");
            }
            Fault::NoReplication => self.stop_replication(part),
            Fault::KilledWithoutReplication => {
                self.stop_replication(part);
                tokio::time::sleep(dice.millis(200, 2500)).await;
                self.model.trouble(Of::Part(part));
                self.kill(master);
            }
            Fault::GatewayWithoutMaster => self.ways[gateway][master].cut(),
            Fault::GatewayWithoutNodes => self.ways[gateway].iter().for_each(Relay::cut),
            Fault::SlotsMoved => return self.move_slots(part, other, dice).await,
            Fault::SlotsMovedAndKilled => {
                let moved = self.move_slots(part, other, dice).await;
                self.model.trouble(Of::Part(other));
                let target = self.shards.master(other);
                self.kill(target);
                return format!("{moved}; killed server {target}");
            }
        }
        format!("gateway {gateway}, master {master}, server {replica}")
    }

    fn lasts(&self, fault: Fault, dice: &mut Dice) -> Duration {
        match fault {
            Fault::MasterRestarted | Fault::ReplicaWithAnotherClock => dice.millis(50, 500),
            Fault::MasterHangs => dice.millis(100, 900),
            Fault::ByHand | Fault::ByForce => dice.millis(500, 1500),
            Fault::SlotsMoved => dice.millis(0, 1000),
            _ => dice.millis(2500, 6000),
        }
    }

    async fn mend(&mut self) {
        for node in self.frozen.drain(..) {
            self.cluster.nodes[node].thaw();
        }
        for node in self.killed.drain(..) {
            self.cluster.nodes[node].launch(&[]);
        }
        self.is_parted = false;
        self.cluster.mend();
        self.ways.iter().flatten().for_each(Relay::mend);
    }

    async fn whole(&mut self, limit: Duration, dice: &mut Dice) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if !self.on_their_way.is_empty() {
                self.carry_on(dice).await;
            } else if self.shards.are_whole() {
                return true;
            }
        }
        false
    }
}
