//! Command line in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use session_gateway::cli::CommandLine;

/// A request allocates 15 times, one with a session 27 times. Costs less CPU than glibc's and more memory:
/// benches/README.md says how much of each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
