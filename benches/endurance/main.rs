//! The gateway through restarts, beside slow clients, and with many idle connections.
//!
//!     cargo bench --locked --bench endurance                      # all of it
//!     cargo bench --locked --bench endurance -- restarts --requests 100000
//!
//! Starts the release build as a process of its own, with `redis-server` where two processes share a store. The load and
//! the backend are in this process. Each part prints a table, and the run fails when what is promised does not hold.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking, prints its table, and measures real time"
)]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is seen from outside this binary")]

mod backend;
mod client;
#[allow(dead_code, reason = "shared with the other benchmarks")]
mod gateway;
mod idle;
mod restarts;
mod slow;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// The gateway under endurance.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// What cargo adds to every benchmark's command line.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Requests on kept connections while the gateway is reloaded and restarted: none may fail.
    Restarts(RestartArguments),
    /// Slow clients on many addresses beside a normal user.
    Slow(SlowArguments),
    /// Memory of idle connections.
    Idle,
}

#[derive(Args)]
pub struct RestartArguments {
    /// Requests over each transport.
    #[arg(long, default_value_t = 1_000_000)]
    pub requests: u64,
    /// Reloads of the configuration, spread over the requests.
    #[arg(long, default_value_t = 20)]
    pub reloads: u64,
    /// Restarts, spread over the requests.
    #[arg(long, default_value_t = 10)]
    pub restarts: u64,
}

#[derive(Args)]
pub struct SlowArguments {
    /// Slow connections that are open at any time.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

impl RestartArguments {
    const DEFAULT: Self = Self { requests: 1_000_000, reloads: 20, restarts: 10 };
}

impl SlowArguments {
    const DEFAULT: Self = Self { connections: 10_000, seconds: 30 };

    const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() {
    let arguments = Arguments::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    gateway::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match arguments.part {
            Some(Part::Restarts(arguments)) => restarts::run(&arguments).await,
            Some(Part::Slow(arguments)) => slow::run(&arguments).await,
            Some(Part::Idle) => idle::run().await,
            None => {
                restarts::run(&RestartArguments::DEFAULT).await;
                slow::run(&SlowArguments::DEFAULT).await;
                idle::run().await;
            }
        }
    });
}
