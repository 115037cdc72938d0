//! `maintenance`: the site is closed for a while, and opened again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::api::{ApiOptions, operate};
use super::output::{say, say_json};
use super::table::{Column, show_item};
use crate::config::AdminRole;

const PATH: &str = "/v1/maintenance";
const MEMBERS: [Column; 4] =
    [("on", "on"), ("message", "message"), ("retry after", "retry_after"), ("allowed", "allow")];

/// What to do with the maintenance mode.
#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Answer every request with 503, on all gateways; sessions live on
    On(MaintenanceOn),
    /// Serve again
    Off(MaintenanceOff),
    /// Show whether it is on
    Show(MaintenanceOff),
}

/// Options of `maintenance on`.
#[derive(Args, Debug)]
pub struct MaintenanceOn {
    /// What people are told: one line
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// When clients are to come again, as in 30m or 2h [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub retry_after: Option<String>,
    /// A network or an address that is served all the same; may be repeated
    #[arg(long, value_name = "NETWORK")]
    pub allow: Vec<String>,
    /// Why, and where the API is.
    #[command(flatten)]
    pub common: MaintenanceOff,
}

/// Options of all of them.
#[derive(Args, Debug)]
pub struct MaintenanceOff {
    /// Why, for the audit log: one line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Does it.
#[must_use]
pub fn maintenance(command: &MaintenanceCommand) -> ExitCode {
    match command {
        MaintenanceCommand::On(options) => {
            let MaintenanceOn { message, retry_after, allow, common } = options;
            let mut body = json!({ "on": true, "allow": allow });
            for (name, value) in [("message", message), ("retry_after", retry_after)] {
                if let (Some(value), Some(members)) = (value, body.as_object_mut()) {
                    members.insert(name.to_owned(), json!(value));
                }
            }
            set(common, body, "the maintenance mode is on, at all gateways within a second")
        }
        MaintenanceCommand::Off(options) => set(options, json!({ "on": false }), "the maintenance mode is off"),
        MaintenanceCommand::Show(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            show_item(&MEMBERS, &client.get(PATH, &[]).await?, options.json);
            Ok(())
        }),
    }
}

fn set(options: &MaintenanceOff, mut body: Value, done: &str) -> ExitCode {
    if let (Some(reason), Some(members)) = (&options.reason, body.as_object_mut()) {
        members.insert(String::from("reason"), json!(reason));
    }
    operate(&options.api, &[AdminRole::Operate], async |client| {
        let answer = client.call(Method::PUT, PATH, Some(&body)).await?;
        if options.json {
            say_json(&answer);
        } else {
            say(done);
        }
        Ok(())
    })
}
