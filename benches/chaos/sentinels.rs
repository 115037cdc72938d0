//! A master, two replicas and three Sentinels, and what can go wrong with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::copies::Questions;
use crate::dice::Dice;
use crate::masters::{self, Ports};
use crate::model::{Model, SKEW};
use crate::relay::Relay;
use crate::stage::{Stage, next_of, store_of};
use crate::topology::{NAME, Plan, Sentinel, Topology};

const REPLICAS: usize = 2;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the master; it comes back with what is on its disk, as the master that it takes itself for.
    MasterKilled,
    /// The same, back before anybody elects another one.
    MasterRestarted,
    /// SIGSTOP until long after another is elected.
    MasterFrozen,
    /// SIGSTOP for less than an election takes.
    MasterHangs,
    ReplicaKilled,
    ReplicaFrozen,
    /// It comes back with another clock.
    ReplicaWithAnotherClock,
    /// `SENTINEL FAILOVER`.
    ByHand,
    /// One gateway and the master, cut off from all others.
    CutOffWithTheMaster,
    /// The same with one of the two replicas.
    CutOffWithAReplicaToo,
    /// The master reaches no replica; gateways and Sentinels reach it.
    NoReplication,
    /// The same, and then the master is killed: what is promoted is behind.
    KilledWithoutReplication,
    GatewayWithoutMaster,
    GatewayWithoutSentinels,
    SentinelKilled,
    /// Two of three.
    SentinelsKilled,
}

const ALL: [Fault; 16] = [
    Fault::MasterKilled,
    Fault::MasterRestarted,
    Fault::MasterFrozen,
    Fault::MasterHangs,
    Fault::ReplicaKilled,
    Fault::ReplicaFrozen,
    Fault::ReplicaWithAnotherClock,
    Fault::ByHand,
    Fault::CutOffWithTheMaster,
    Fault::CutOffWithAReplicaToo,
    Fault::NoReplication,
    Fault::KilledWithoutReplication,
    Fault::GatewayWithoutMaster,
    Fault::GatewayWithoutSentinels,
    Fault::SentinelKilled,
    Fault::SentinelsKilled,
];

/// After which another server is the master, nearly always.
const OF_AN_ELECTION: [Fault; 6] = [
    Fault::MasterKilled,
    Fault::MasterFrozen,
    Fault::ByHand,
    Fault::CutOffWithTheMaster,
    Fault::CutOffWithAReplicaToo,
    Fault::KilledWithoutReplication,
];

/// One gateway's own way to each server and Sentinel.
struct Ways {
    servers: Vec<Relay>,
    sentinels: Vec<Relay>,
}

pub struct Watched {
    topology: Topology,
    master: usize,
    ways: Vec<Ways>,
    /// Faults of this round that were not yet drawn: each comes before any comes again.
    deck: Vec<Fault>,
    frozen: Vec<usize>,
    killed: Vec<usize>,
    killed_sentinels: Vec<usize>,
    _questions: Questions,
}

impl Watched {
    pub async fn start(model: Arc<Model>) -> Self {
        let topology = Topology::with(Plan { replicas: REPLICAS, ..Plan::default() }).await;
        let ports = Ports {
            servers: topology.members.iter().map(|member| member.redis.port()).collect(),
            sentinels: topology.sentinels.iter().map(Sentinel::port).collect(),
            called: topology.members.iter().map(|member| member.inner.port()).collect(),
            name: NAME,
        };
        topology.sentinels.iter().for_each(hurry);
        let questions = masters::watch(ports, &model);
        Self {
            topology,
            master: 0,
            ways: Vec::new(),
            deck: Vec::new(),
            frozen: Vec::new(),
            killed: Vec::new(),
            killed_sentinels: Vec::new(),
            _questions: questions,
        }
    }

    fn kill(&mut self, member: usize) {
        // What a second fault at once concerns may be gone already.
        if !self.killed.contains(&member) {
            self.frozen.retain(|frozen| *frozen != member);
            self.topology.members[member].redis.kill();
            self.killed.push(member);
        }
    }

    fn freeze(&mut self, member: usize) {
        if !self.killed.contains(&member) {
            self.topology.members[member].redis.freeze();
            self.frozen.push(member);
        }
    }

    /// That gateway and these members, and nobody else, reach one another.
    fn cut_off(&self, gateway: usize, members: &[usize]) {
        let sources: Vec<_> = members.iter().map(|member| self.topology.members[*member].source).collect();
        for member in members {
            self.topology.members[*member].inner.cut_all_but(&sources);
        }
        for (number, ways) in self.ways.iter().enumerate() {
            for (member, way) in ways.servers.iter().enumerate() {
                if members.contains(&member) != (number == gateway) {
                    way.cut();
                }
            }
        }
        self.ways[gateway].sentinels.iter().for_each(Relay::cut);
    }

    /// The Sentinels reach the master, and nobody else does.
    fn stop_replication(&self, master: usize) {
        self.topology.members[master].inner.cut_all_but(&[[127, 0, 0, 1].into()]);
    }
}

/// It looks at the servers each second instead of each ten, so that they find together sooner and more breaks in a run.
fn hurry(sentinel: &Sentinel) {
    let _ = sentinel.try_cli(&["SENTINEL", "DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"]);
}

impl Stage for Watched {
    type Fault = Fault;

    fn store_of_another_gateway(&mut self) -> String {
        let (beside, servers, sentinels) = self.topology.apart();
        self.ways.push(Ways { servers, sentinels });
        store_of(&self.topology.url(""), &beside.addresses)
    }

    fn next_fault(&mut self, dice: &mut Dice, elects: bool) -> Fault {
        next_of(&mut self.deck, if elects { &OF_AN_ELECTION } else { &ALL }, dice)
    }

    async fn break_it(&mut self, fault: Fault, gateway: usize, dice: &mut Dice) -> String {
        // Without a majority it is the last that there was.
        self.master = self.topology.master().unwrap_or(self.master);
        let master = self.master;
        let replica = (master + 1 + dice.below(REPLICAS)) % (REPLICAS + 1);
        match fault {
            Fault::MasterKilled | Fault::MasterRestarted => self.kill(master),
            Fault::MasterFrozen | Fault::MasterHangs => self.freeze(master),
            Fault::ReplicaKilled => self.kill(replica),
            Fault::ReplicaFrozen => self.freeze(replica),
            Fault::ReplicaWithAnotherClock => {
                self.kill(replica);
                let most = i32::try_from(SKEW.as_secs() / 2).expect("some seconds");
                let skew = i32::try_from(dice.below(5)).expect("below 5") - most;
                self.topology.members[replica].redis.skew_clock(skew);
                return format!("server {replica}, {skew} s, master {master}");
            }
            Fault::ByHand => {
                let sentinel = dice.below(self.topology.sentinels.len());
                let told = self.topology.sentinels[sentinel].try_cli(&["SENTINEL", "FAILOVER", NAME]);
                return format!("from master {master}: {}", told.unwrap_or_default());
            }
            Fault::CutOffWithTheMaster => self.cut_off(gateway, &[master]),
            Fault::CutOffWithAReplicaToo => {
                self.cut_off(gateway, &[master, replica]);
                return format!("gateway {gateway}, master {master}, server {replica}");
            }
            Fault::NoReplication => self.stop_replication(master),
            Fault::KilledWithoutReplication => {
                self.stop_replication(master);
                tokio::time::sleep(dice.millis(200, 2500)).await;
                self.kill(master);
            }
            Fault::GatewayWithoutMaster => self.ways[gateway].servers[master].cut(),
            Fault::GatewayWithoutSentinels => self.ways[gateway].sentinels.iter().for_each(Relay::cut),
            Fault::SentinelKilled | Fault::SentinelsKilled => {
                let first = dice.below(3);
                let count = if fault == Fault::SentinelKilled { 1 } else { 2 };
                for sentinel in (first..first + count).map(|number| number % 3) {
                    if !self.killed_sentinels.contains(&sentinel) {
                        self.topology.sentinels[sentinel].kill();
                        self.killed_sentinels.push(sentinel);
                    }
                }
            }
        }
        format!("gateway {gateway}, master {master}, server {replica}")
    }

    fn lasts(&self, fault: Fault, dice: &mut Dice) -> Duration {
        match fault {
            Fault::MasterRestarted => dice.millis(50, 700),
            Fault::MasterHangs => dice.millis(100, 1200),
            Fault::ReplicaWithAnotherClock => dice.millis(50, 500),
            Fault::ByHand => dice.millis(500, 1500),
            _ => dice.millis(2500, 6000),
        }
    }

    async fn mend(&mut self) {
        for member in self.frozen.drain(..) {
            self.topology.members[member].redis.thaw();
        }
        for member in self.killed.drain(..) {
            self.topology.members[member].redis.launch(&[]);
        }
        for sentinel in self.killed_sentinels.drain(..) {
            self.topology.sentinels[sentinel].run();
        }
        for member in &self.topology.members {
            member.inner.mend();
        }
        for ways in &self.ways {
            ways.servers.iter().chain(&ways.sentinels).for_each(Relay::mend);
        }
    }

    async fn whole(&mut self, limit: Duration, _: &mut Dice) -> bool {
        let begin = Instant::now();
        for sentinel in &self.topology.sentinels {
            hurry(sentinel);
        }
        while begin.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.topology.is_whole(REPLICAS) {
                return true;
            }
        }
        false
    }
}
