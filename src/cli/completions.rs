//! `completions`: what a shell needs to complete the command line, on standard output.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::write_out;

/// Options of `completions`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsOptions {
    /// For which shell
    pub shell: Shell,
}

/// Prints the shell's script for this command line.
#[must_use]
pub fn completions(options: CompletionsOptions, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    write_out(&script);
    ExitCode::SUCCESS
}
