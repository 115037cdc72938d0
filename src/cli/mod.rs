//! The command line: what was asked, and which file does it.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 bad usage or bad configuration.

pub mod api;
pub mod audit;
pub mod check;
pub mod completions;
pub mod confirm;
pub mod keygen;
pub mod list;
pub mod manual;
pub mod probe_login;
pub mod revoke_all;
pub mod serve;
pub mod sessions;
mod table;
pub mod tenants;
pub mod users;

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::json_line;

/// Failed while running.
pub const FAILED: u8 = 1;
/// Bad usage or bad configuration.
pub const BAD_CONFIGURATION: u8 = 2;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "session-gateway", version, about, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// What to do; to serve when nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `serve`, when no command is named.
    #[command(flatten)]
    pub config: ConfigOption,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default)
    Serve(ConfigOption),
    /// Check a configuration and show what it means
    Check(CheckOptions),
    /// Print a new strong secret
    Keygen,
    /// Send one login to the backend and show what the gateway would conclude
    ProbeLogin(probe_login::ProbeOptions),
    /// List, show and end live sessions
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// List and end all sessions of a user
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// List tenants, end their sessions, shut them out and let them in
    #[command(subcommand)]
    Tenants(tenants::TenantsCommand),
    /// What happened, and whether the record of it is whole
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print what a shell needs to complete this command line
    Completions(completions::CompletionsOptions),
    /// Print the manual page, for `man -l -`
    Manual(manual::ManualOptions),
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigOption {
    /// The configuration file [default: $SESSION_GATEWAY_CONFIG, else config/gateway.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Options of `check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckOptions {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigOption,
    /// Also try what it names: ports, folders, the upstreams with their TLS, the store by a session that is made and ended
    #[arg(long)]
    pub connect: bool,
    /// Fail on warnings, too
    #[arg(long)]
    pub strict: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

impl CommandLine {
    /// Does what was asked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            None => serve::serve(&self.config),
            Some(Command::Serve(config)) => serve::serve(&config),
            Some(Command::Check(options)) => check::check(&options, &serve::try_store),
            Some(Command::Keygen) => keygen::keygen(&crate::entropy::SystemEntropy),
            Some(Command::Sessions(command)) => sessions::sessions(&command),
            Some(Command::Users(command)) => users::users(&command),
            Some(Command::Tenants(command)) => tenants::tenants(&command),
            Some(Command::Audit(command)) => match command {
                audit::AuditCommand::Verify(options) => audit::verify(&options, &serve::read_anchors),
                audit::AuditCommand::Query(options) => audit::events::query(&options),
                audit::AuditCommand::Tail(options) => audit::events::tail(&options),
                audit::AuditCommand::Export(options) => audit::events::export(&options),
            },
            Some(Command::ProbeLogin(options)) => probe_login::probe_login(&options),
            Some(Command::Completions(options)) => completions::completions(options),
            Some(Command::Manual(options)) => manual::manual(&options),
        }
    }
}

/// Writes a line to standard output. A reader that has gone away is no failure.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes a document to standard output, in ASCII but for letters: what a session holds is its client's choice, and
/// must not reach the terminal as an order. JSON reads the same.
fn say_json(document: &serde_json::Value) {
    say(escaped(&document.to_string()));
}

fn escaped(json: &str) -> String {
    let mut text = Vec::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() || c.is_alphanumeric() {
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            json_line::escape(&mut text, c);
        }
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Writes bytes to standard output as they are. A reader that has gone away is no failure.
fn write_out(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

/// Writes a line to standard error.
fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chose_gives_no_orders_to_the_terminal_of_who_reads_json() {
        let value = serde_json::json!({ "agent": "\u{9b}31mü\u{202e}\u{1b}[2J\u{1f600}" });
        let text = escaped(&value.to_string());
        assert_eq!(text, "{\"agent\":\"\\u009b31mü\\u202e\\u001b[2J\\ud83d\\ude00\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn the_command_line_is_well_formed_and_serves_by_default() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
        let parsed = CommandLine::try_parse_from(["session-gateway", "--config", "x.toml"]).expect("valid");
        assert!(parsed.command.is_none());
        assert_eq!(parsed.config.config, Some(PathBuf::from("x.toml")));
        let parsed = CommandLine::try_parse_from(["session-gateway", "check", "--connect"]).expect("valid");
        assert!(matches!(parsed.command, Some(Command::Check(CheckOptions { connect: true, .. }))));
        for bad in [&["session-gateway", "serv"][..], &["session-gateway", "keygen", "--config", "x"]] {
            assert_eq!(CommandLine::try_parse_from(bad).expect_err("bad usage").exit_code(), 2);
        }
    }

    #[test]
    fn an_id_that_begins_with_a_hyphen_is_an_id() {
        let id = "-hQq_3yX0cVQkqf5iJ-vzA";
        for arguments in [
            &["sessions", "show", id, "--json"][..],
            &["sessions", "show", "--json", id],
            &["sessions", "revoke", id, "--reason", "stolen", "--json"],
            &["users", "revoke", "acme", "7", "--except", id, "--yes"],
        ] {
            let parsed = CommandLine::try_parse_from(["session-gateway"].iter().chain(arguments));
            let command = format!("{:?}", parsed.expect("valid").command);
            assert!(
                command.contains(id) && (command.contains("json: true") || command.contains("yes: true")),
                "{command}"
            );
        }
    }
}
