//! `sessions`: live sessions, listed, shown and ended one by one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::act::{ActOptions, AskOptions};
use super::api::{ApiOptions, Trouble, operate, path_segment, target};
use super::list::{ListOptions, given, list};
use super::revoke_all::{RevokeAll, revoke_all};
use super::table::{Column, show_item, shown};
use crate::config::AdminRole;

pub(super) const COLUMNS: [Column; 10] = [
    ("ID", "id"),
    ("TENANT", "tenant"),
    ("USER", "user"),
    ("ROLE", "role"),
    ("CREATED", "created_at"),
    ("LAST SEEN", "last_seen_at"),
    ("ADDRESS", "address"),
    ("AGENT", "user_agent"),
    ("KIND", "kind"),
    ("HELD FOR", "held_for"),
];
const MEMBERS: [Column; 15] = [
    ("id", "id"),
    ("tenant", "tenant"),
    ("user", "user"),
    ("kind", "kind"),
    ("role", "role"),
    ("remembered", "remembered"),
    ("created", "created_at"),
    ("last seen", "last_seen_at"),
    ("idle until", "idle_expires_at"),
    ("expires", "expires_at"),
    ("address", "address"),
    ("user agent", "user_agent"),
    ("held", "held"),
    ("held since", "held_at"),
    ("held for", "held_for"),
];

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List live sessions
    List(ListSessions),
    /// Show a session
    Show(ShowSession),
    /// Hold a session: nobody may use it before its user logs in again, or it is released
    Hold(ChangeSession),
    /// Let a session go on that is held
    Release(ChangeSession),
    /// End a session
    Revoke(ChangeSession),
    /// End all sessions of all tenants: everybody is logged out
    RevokeAll(RevokeAll),
}

/// Options of `sessions list`.
#[derive(Args, Debug)]
pub struct ListSessions {
    /// Of this tenant; a comma stands for users who have none
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of this user of the tenant
    #[arg(long, requires = "tenant")]
    pub user: Option<String>,
    /// The kind of that user's login, where there are several
    #[arg(long, requires = "user")]
    pub kind: Option<String>,
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `sessions show`.
#[derive(Args, Debug)]
pub struct ShowSession {
    /// Its id, as `sessions list` and the logs have it
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// How, and where.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// Options of `sessions hold`, `release` and `revoke`.
#[derive(Args, Debug)]
pub struct ChangeSession {
    /// Its id, as `sessions list` and the logs have it
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// Why, and where.
    #[command(flatten)]
    pub act: ActOptions,
}

/// Does it.
#[must_use]
pub fn sessions(command: &SessionsCommand) -> ExitCode {
    match command {
        SessionsCommand::List(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            let query = given(&[("tenant", &options.tenant), ("user", &options.user), ("kind", &options.kind)]);
            list(client, "/v1/sessions", query, options.list, &COLUMNS, "no live sessions").await
        }),
        SessionsCommand::Show(options) => operate(&options.ask.api, &[AdminRole::Read], async |client| {
            show_item(&MEMBERS, &client.get(&path(&options.id)?, &[]).await?, options.ask.json);
            Ok(())
        }),
        SessionsCommand::RevokeAll(options) => revoke_all(options),
        SessionsCommand::Hold(options) => say_hold(options, "hold", "held"),
        SessionsCommand::Release(options) => say_hold(options, "release", "released"),
        SessionsCommand::Revoke(options) => operate(options.act.api(), &[AdminRole::Operate], async |client| {
            let target = target(&path(&options.id)?, &given(&[("reason", &options.act.reason)]));
            let answer: Value = client.call(Method::DELETE, &target, None).await?;
            options.act.tell(&answer, format_args!("session {} ended", shown(&options.id)));
            Ok(())
        }),
    }
}

fn say_hold(options: &ChangeSession, call: &str, done: &str) -> ExitCode {
    operate(options.act.api(), &[AdminRole::Operate], async |client| {
        let target = format!("{}/{call}", path(&options.id)?);
        let answer: Value = client.call(Method::POST, &target, Some(&options.act.body(json!({})))).await?;
        let was = if answer.get("changed") == Some(&Value::Bool(false)) { " (it was so already)" } else { "" };
        options.act.tell(&answer, format_args!("session {} {done}{was}", shown(&options.id)));
        Ok(())
    })
}

fn path(id: &str) -> Result<String, Trouble> {
    Ok(format!("/v1/sessions/{}", path_segment(id)?))
}
