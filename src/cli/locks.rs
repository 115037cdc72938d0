//! `locks`: logins that are refused unasked after too many failures, listed, and let through again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::act::ActOptions;
use super::api::{ApiOptions, operate, path_segment, target};
use super::list::{ListOptions, given, list};
use super::table::{Column, shown};
use crate::config::AdminRole;

const COLUMNS: [Column; 7] = [
    ("ID", "id"),
    ("LOCKED", "by"),
    ("NETWORK", "network"),
    ("SINCE", "since_at"),
    ("UNTIL", "until_at"),
    ("OBSERVED", "observed"),
    ("ACCOUNT", "account"),
];

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum LocksCommand {
    /// List the locks in force, the one that ends first before the others
    List(ListLocks),
    /// End a lock: what led to it counts no more
    Remove(RemoveLock),
}

/// Options of `locks list`.
#[derive(Args, Debug)]
pub struct ListLocks {
    /// Of this account: its name, as somebody types it to log in
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// The kind of that login, where there are several
    #[arg(long, requires = "account")]
    pub kind: Option<String>,
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `locks remove`.
#[derive(Args, Debug)]
pub struct RemoveLock {
    /// Its id, as `locks list` has it
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// Why it is ended, and how that is told.
    #[command(flatten)]
    pub act: ActOptions,
}

/// Does it.
#[must_use]
pub fn locks(command: &LocksCommand) -> ExitCode {
    match command {
        LocksCommand::List(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            let query = given(&[("account", &options.account), ("kind", &options.kind)]);
            list(client, "/v1/locks", query, options.list, &COLUMNS, "no logins are locked").await
        }),
        LocksCommand::Remove(options) => operate(options.act.api(), &[AdminRole::Operate], async |client| {
            let path = format!("/v1/locks/{}", path_segment(&options.id)?);
            let target = target(&path, &given(&[("reason", &options.act.reason)]));
            let answer: Value = client.call(Method::DELETE, &target, None).await?;
            options.act.tell(&answer, format_args!("lock {} ended", shown(&options.id)));
            Ok(())
        }),
    }
}
