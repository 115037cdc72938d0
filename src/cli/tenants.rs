//! `tenants`: listed and shown, shut out and let in again, and all of one's sessions ended.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::act::AskOptions;
use super::api::{ApiOptions, Client, Trouble, operate, path_segment};
use super::confirm::{ChangeOptions, live_in_tenant, named};
use super::list::{ListOptions, list};
use super::table::{Column, show_item};
use crate::config::AdminRole;

const COLUMNS: [Column; 5] = [
    ("TENANT", "tenant"),
    ("STATUS", "status"),
    ("SESSIONS", "sessions"),
    ("CHANGED", "changed_at"),
    ("REASON", "reason"),
];
const MEMBERS: [Column; 5] = [
    ("tenant", "tenant"),
    ("status", "status"),
    ("sessions", "sessions"),
    ("changed", "changed_at"),
    ("reason", "reason"),
];

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// List the known tenants
    List(ListTenants),
    /// Show a tenant
    Show(ShowTenant),
    /// End a tenant's sessions and refuse new ones, until it is restored
    Suspend(ChangeTenant),
    /// The same for a tenant that is gone
    Delete(ChangeTenant),
    /// Let a tenant's users log in again; no session comes back
    Restore(ChangeTenant),
    /// End a tenant's sessions
    Revoke(ChangeTenant),
}

/// Options of `tenants list`.
#[derive(Args, Debug)]
pub struct ListTenants {
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `tenants show`.
#[derive(Args, Debug)]
pub struct ShowTenant {
    /// The tenant; a comma stands for users who have none
    pub tenant: String,
    /// How, and where.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// Options of the commands that change a tenant.
#[derive(Args, Debug)]
pub struct ChangeTenant {
    /// The tenant; a comma stands for users who have none
    pub tenant: String,
    /// Whether to ask, why it is done, and where.
    #[command(flatten)]
    pub change: ChangeOptions,
}

/// Does it.
#[must_use]
pub fn tenants(command: &TenantsCommand) -> ExitCode {
    let change = |options: &ChangeTenant, change: Change| {
        let roles = [AdminRole::Operate, AdminRole::Read];
        operate(options.change.act.api(), &roles, async |client| change_tenant(options, change, client).await)
    };
    match command {
        TenantsCommand::List(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            list(client, "/v1/tenants", Vec::new(), options.list, &COLUMNS, "no tenants are known").await
        }),
        TenantsCommand::Show(options) => operate(&options.ask.api, &[AdminRole::Read], async |client| {
            show_item(&MEMBERS, &client.get(&path(&options.tenant)?, &[]).await?, options.ask.json);
            Ok(())
        }),
        TenantsCommand::Suspend(options) => change(options, Change::Status("suspend", "suspended")),
        TenantsCommand::Delete(options) => change(options, Change::Status("delete", "deleted")),
        TenantsCommand::Restore(options) => change(options, Change::Status("restore", "active")),
        TenantsCommand::Revoke(options) => change(options, Change::Revoke),
    }
}

#[derive(Clone, Copy)]
enum Change {
    /// What it is called, and the status that it sets.
    Status(&'static str, &'static str),
    /// The sessions only.
    Revoke,
}

async fn change_tenant(options: &ChangeTenant, to: Change, client: &Client) -> Result<(), Trouble> {
    let change = &options.change;
    let whom = named(&options.tenant, None);
    let path = path(&options.tenant)?;
    let (what, told) = match to {
        Change::Status(verb, status) => (format!("{verb} {whom}"), format!("{whom} is {status}")),
        Change::Revoke => (format!("end the sessions of {whom}"), whom),
    };
    // What restores ends nothing.
    if !matches!(to, Change::Status(_, "active")) {
        change.demand_someone_to_ask()?;
        if !change.yes {
            change.confirm(&what, live_in_tenant(client, &path).await?)?;
        }
    }
    let (method, target, body) = match to {
        Change::Status(_, status) => (Method::PUT, path, json!({ "status": status })),
        Change::Revoke => (Method::POST, format!("{path}/revoke"), json!({})),
    };
    let answer = client.call(method, &target, Some(&change.act.body(body))).await?;
    change.tell(&told, &answer);
    Ok(())
}

fn path(tenant: &str) -> Result<String, Trouble> {
    Ok(format!("/v1/tenants/{}", path_segment(tenant)?))
}
