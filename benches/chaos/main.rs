//! Whether sessions keep their promises (docs/redis.md, docs/revocation.md) while everything beneath the gateways fails.
//!
//!     cargo bench --locked --bench chaos                              # ten minutes
//!     cargo bench --locked --bench chaos -- --seconds 30 --seed 7
//!     cargo bench --locked --bench chaos -- --failovers 200           # until so many masters were followed by another
//!     cargo bench --locked --bench chaos -- --cluster                 # on a cluster instead of behind Sentinels
//!     cargo bench --locked --profile dev --bench chaos                # with the build of the tests
//!
//! Gateways run as processes of their own on a store that the bench starts: a master, two replicas and three Sentinels, or a
//! cluster of three masters with a replica each.
//! Clients log in, ask and log out at any gateway; operators end sessions, users and tenants; meanwhile processes are killed
//! and frozen, and networks cut. A model of every session says of each answer whether it may be. What may not is printed
//! with its history and the seed, and the bench fails.
//!
//! The seed decides who does what and what breaks; the machine decides when, so that a run is not repeated to the answer.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking, prints its tables, and measures real time"
)]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is seen from outside this binary")]

#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/backend.rs"]
mod backend;
#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/client.rs"]
mod client;
#[allow(dead_code, unused_imports, reason = "shared with the tests of the stores")]
#[path = "../../tests/store/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "../../tests/store/redis_server.rs"]
mod redis_server;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "../../tests/store/relay.rs"]
mod relay;
#[allow(dead_code, unused_imports, reason = "shared with the store")]
#[path = "../../src/store/redis/slot.rs"]
mod slot;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "../../tests/store/topology.rs"]
mod topology;

mod calls;
mod copies;
mod dice;
mod faults;
mod load;
mod masters;
mod model;
mod oracle;
mod places;
mod report;
mod sentinels;
mod sharded;
mod shards;
mod stage;
mod troubles;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::dice::Dice;
use crate::load::Load;
use crate::model::Model;
use crate::sentinels::Watched;
use crate::sharded::Sharded;
use crate::stage::Stage;

/// Faults of all kinds, beside a model of every session.
#[derive(Parser)]
pub struct Arguments {
    /// On a cluster of three masters with a replica each, instead of a master that Sentinels watch.
    #[arg(long)]
    cluster: bool,
    /// For how long things break.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Goes on until so many masters were followed by another, however long that takes.
    #[arg(long)]
    failovers: Option<usize>,
    /// Decides who does what, and what breaks; printed when it is not given.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 3)]
    gateways: usize,
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// What cargo adds to every benchmark's command line.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(Dice::any_seed);
    println!("seed {seed}");
    gateway::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let well = runtime.block_on(run(&arguments, seed));
    drop(runtime);
    std::process::exit(i32::from(!well));
}

async fn run(arguments: &Arguments, seed: u64) -> bool {
    let model = Arc::new(Model::new());
    // By which the logs of the gateways are read.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (minutes, seconds) = (now.as_secs() / 60, now.as_secs_f64() % 60.0);
    println!("   0.000 is {:02}:{:02}:{seconds:06.3} UTC", minutes / 60 % 24, minutes % 60);
    if arguments.cluster {
        play(Sharded::start(model.clone()).await, &model, arguments, seed).await
    } else {
        play(Watched::start(model.clone()).await, &model, arguments, seed).await
    }
}

async fn play(mut stage: impl Stage, model: &Arc<Model>, arguments: &Arguments, seed: u64) -> bool {
    let mut dice = Dice::of(seed);
    let gateways = calls::start_gateways(arguments.gateways, &mut stage).await;
    let load = Load::start(arguments.clients, &gateways, model, &mut dice);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let until = Duration::from_secs(arguments.seconds);
    let gateways = faults::rage(&mut stage, gateways, model, &mut dice, until, arguments.failovers).await;
    load.stop().await;
    report::print(model, &gateways, seed)
}
