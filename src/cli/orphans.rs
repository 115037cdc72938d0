//! `orphans`: who paid and has no tenant yet.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::api::{ApiOptions, operate};
use super::list::{ListOptions, list};
use super::table::Column;
use crate::config::AdminRole;

const COLUMNS: [Column; 6] = [
    ("USER", "user"),
    ("KIND", "kind"),
    ("SINCE", "since_at"),
    ("LAST", "last_at"),
    ("ATTEMPTS", "attempts"),
    ("LAST ERROR", "last_error"),
];

/// What to do with them.
#[derive(Debug, Subcommand)]
pub enum OrphansCommand {
    /// List those who paid and have no tenant yet, who waits longest first
    List(ListOrphans),
}

/// Options of `orphans list`.
#[derive(Args, Debug)]
pub struct ListOrphans {
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Does it.
#[must_use]
pub fn orphans(command: &OrphansCommand) -> ExitCode {
    let OrphansCommand::List(options) = command;
    operate(&options.api, &[AdminRole::Read], async |client| {
        let none = "nobody who paid is without a tenant";
        list(client, "/v1/orphans", Vec::new(), options.list, &COLUMNS, none).await
    })
}
