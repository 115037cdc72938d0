//! `alerts`: whether they arrive, and which wait.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::api::{ApiOptions, operate};
use super::list::{ListOptions, list};
use super::options::ConfigOption;
use super::output::{BAD_CONFIGURATION, FAILED, complain, say};
use super::table::Column;
use crate::alerts::send_test;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{AdminRole, Config, locate, process_environment};

const COLUMNS: [Column; 8] = [
    ("ID", "id"),
    ("CHANNEL", "channel"),
    ("TO", "to"),
    ("FINDINGS", "findings"),
    ("SINCE", "since_at"),
    ("DUE", "due_at"),
    ("ATTEMPTS", "attempts"),
    ("LAST ERROR", "last_error"),
];

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Send one that nobody found to everybody who would be told of something
    Test(ConfigOption),
    /// List the alerts that wait to be sent
    List(ListAlerts),
}

/// Options of `alerts list`.
#[derive(Args, Debug)]
pub struct ListAlerts {
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Does it.
#[must_use]
pub fn alerts(command: &AlertsCommand) -> ExitCode {
    match command {
        AlertsCommand::Test(option) => test(option),
        AlertsCommand::List(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            list(client, "/v1/alerts", Vec::new(), options.list, &COLUMNS, "no alerts wait").await
        }),
    }
}

fn test(option: &ConfigOption) -> ExitCode {
    let config = match Config::load(&locate(option.config.clone(), process_environment), &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let Some(rules) = config.alerts else {
        complain("nobody is told of anything: the configuration has no [alerts]");
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(error);
            return ExitCode::from(FAILED);
        }
    };
    let clock: SharedClock = Arc::new(SystemClock);
    let sent = runtime.block_on(send_test(&rules, &clock));
    let mut failed = sent.is_empty();
    if failed {
        complain("nobody is told of anything: the configuration names no recipient and no webhook");
    }
    for (to, handed) in &sent {
        match handed {
            Ok(words) => say(format_args!("{to}: sent ({words})")),
            Err(why) => {
                failed = true;
                complain(format_args!("{to}: {why}"));
            }
        }
    }
    if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}
