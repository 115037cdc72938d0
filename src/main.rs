//! Command line in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use session_gateway::cli::CommandLine;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
