//! How long after its end a session, or an access token, is still accepted, on several gateways that share one Redis.
//!
//!     cargo bench --locked --bench revocation                        # all of it, two and four gateways
//!     cargo bench --locked --bench revocation -- --cache off         # without the cache
//!     cargo bench --locked --bench revocation -- --stalled           # the news of changes do not come through
//!     cargo bench --locked --bench revocation -- memory              # bytes a cached session
//!
//! Starts release builds as processes of their own, and a `redis-server`. The load and the backend are in this process,
//! and so is who revokes a tenant. Prints a table, and fails when a count is wrong or an end is late.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking, prints its table, and measures real time"
)]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is seen from outside this binary")]

#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/backend.rs"]
mod backend;
#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the other benchmarks")]
#[path = "../endurance/gateway.rs"]
mod gateway;
mod memory;
mod ping;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../../tests/e2e/support/ports.rs"]
mod ports;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../../tests/e2e/support/relay.rs"]
mod relay;
mod scopes;
mod seed;
mod tokens;

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Revocations on several gateways.
#[derive(Parser)]
pub struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many gateways; two, then four, when it is not given.
    #[arg(long)]
    gateways: Option<usize>,
    /// Tries for a session and for a user, and for tokens.
    #[arg(long, default_value_t = 1000)]
    tries: usize,
    /// Tries for a tenant.
    #[arg(long, default_value_t = 20)]
    tenants: usize,
    /// Sessions of a tenant.
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
    /// Whether the gateways keep sessions in memory.
    #[arg(long, value_enum, default_value_t = Cache::On)]
    cache: Cache,
    /// Whether the connection for news of changes hangs while something is ended.
    #[arg(long)]
    stalled: bool,
    /// What cargo adds to every benchmark's command line.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cache {
    On,
    Off,
}

#[derive(Subcommand)]
enum Part {
    /// Bytes a cached session.
    Memory,
}

fn main() {
    let arguments = Arguments::parse();
    if matches!(arguments.part, Some(Part::Memory)) {
        memory::run();
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("| gateways | ended | tries | last accepted after the call began, p50 | p99 | max | after its answer, p99 | max | worst PING | before |");
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for gateways in arguments.gateways.map_or_else(|| vec![2, 4], |count| vec![count]) {
            scopes::run(&arguments, gateways).await;
        }
    });
}

/// A duration as the table shows it.
pub fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
