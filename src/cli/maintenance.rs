//! `maintenance`: the site is closed for a while, and opened again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::act::{ActOptions, AskOptions};
use super::api::operate;
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
    Off(ActOptions),
    /// Show whether it is on
    Show(AskOptions),
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
    /// Why, and where.
    #[command(flatten)]
    pub act: ActOptions,
}

/// Does it.
#[must_use]
pub fn maintenance(command: &MaintenanceCommand) -> ExitCode {
    match command {
        MaintenanceCommand::On(options) => {
            let MaintenanceOn { message, retry_after, allow, act } = options;
            let mut body = json!({ "on": true, "allow": allow });
            for (name, value) in [("message", message), ("retry_after", retry_after)] {
                if let (Some(value), Some(members)) = (value, body.as_object_mut()) {
                    members.insert(name.to_owned(), json!(value));
                }
            }
            set(act, &body, "the maintenance mode is on, at all gateways within a second")
        }
        MaintenanceCommand::Off(options) => set(options, &json!({ "on": false }), "the maintenance mode is off"),
        MaintenanceCommand::Show(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            show_item(&MEMBERS, &client.get(PATH, &[]).await?, options.json);
            Ok(())
        }),
    }
}

fn set(act: &ActOptions, body: &Value, done: &str) -> ExitCode {
    operate(act.api(), &[AdminRole::Operate], async |client| {
        let answer = client.call(Method::PUT, PATH, Some(&act.body(body.clone()))).await?;
        act.tell(&answer, done);
        Ok(())
    })
}
