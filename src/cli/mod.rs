//! The command line: what was asked, and which file does it.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 bad usage or bad configuration.

pub mod act;
pub mod alerts;
pub mod anomalies;
pub mod api;
pub mod audit;
pub mod check;
pub mod completions;
pub mod confirm;
pub mod keygen;
pub mod list;
pub mod locks;
pub mod maintenance;
pub mod manual;
mod options;
pub mod orphans;
mod output;
pub mod probe_login;
pub mod report;
pub mod revoke_all;
pub mod serve;
pub mod sessions;
mod table;
pub mod tenants;
pub mod tokens;
pub mod users;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use check::CheckOptions;
pub use options::ConfigOption;
pub use output::{BAD_CONFIGURATION, FAILED};

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
    /// Print a new strong secret, or a key for signed identities
    Keygen(keygen::KeygenOptions),
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
    /// Users who paid and have no tenant yet
    #[command(subcommand)]
    Orphans(orphans::OrphansCommand),
    /// Close the site for a while, and open it again
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// What the monitoring found
    #[command(subcommand)]
    Anomalies(anomalies::AnomaliesCommand),
    /// Whether alerts arrive, and which wait
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// What the monitoring counted, by day
    Report(report::ReportOptions),
    /// Logins that are locked after too many failures
    #[command(subcommand)]
    Locks(locks::LocksCommand),
    /// Deny access tokens of issuers
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// What happened, and whether the record of it is whole
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print what a shell needs to complete this command line
    Completions(completions::CompletionsOptions),
    /// Print the manual page, for `man -l -`
    Manual(manual::ManualOptions),
}

impl CommandLine {
    /// Does what was asked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            None => serve::serve(&self.config),
            Some(Command::Serve(config)) => serve::serve(&config),
            Some(Command::Check(options)) => check::check(&options, &serve::try_store),
            Some(Command::Keygen(options)) => keygen::keygen(&options, &crate::entropy::SystemEntropy),
            Some(Command::Sessions(command)) => sessions::sessions(&command),
            Some(Command::Users(command)) => users::users(&command),
            Some(Command::Tenants(command)) => tenants::tenants(&command),
            Some(Command::Orphans(command)) => orphans::orphans(&command),
            Some(Command::Maintenance(command)) => maintenance::maintenance(&command),
            Some(Command::Anomalies(command)) => anomalies::anomalies(&command),
            Some(Command::Alerts(command)) => alerts::alerts(&command),
            Some(Command::Report(options)) => report::report(&options),
            Some(Command::Locks(command)) => locks::locks(&command),
            Some(Command::Tokens(command)) => tokens::tokens(&command),
            Some(Command::Audit(command)) => match command {
                audit::AuditCommand::Verify(options) => audit::verify(&options, &serve::read_anchors),
                audit::AuditCommand::Query(options) => audit::events::query(&options),
                audit::AuditCommand::Tail(options) => audit::events::tail(&options),
                audit::AuditCommand::Export(options) => audit::events::export(&options),
            },
            Some(Command::ProbeLogin(options)) => probe_login::probe_login(&options),
            Some(Command::Completions(options)) => completions::completions(options, Self::command()),
            Some(Command::Manual(options)) => manual::manual(&options, Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_serves_by_default() {
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
