//! `users`: all sessions of one user, listed and ended.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::api::{ApiOptions, Client, Trouble, operate, path_segment, target};
use super::confirm::{ChangeOptions, named};
use super::list::{ListOptions, given, is, list};
use super::sessions::COLUMNS;
use crate::config::AdminRole;

/// More sessions of one user are not counted for the question.
const MOST_COUNTED: u64 = 1_000_000;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// List a user's live sessions
    Sessions(UserSessions),
    /// End a user's sessions
    Revoke(RevokeUser),
}

/// Options of `users sessions`.
#[derive(Args, Debug)]
pub struct UserSessions {
    /// The user's tenant; a comma where the user has none
    pub tenant: String,
    /// The user
    pub user: String,
    /// The kind of the user's login, where there are several
    #[arg(long)]
    pub kind: Option<String>,
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `users revoke`.
#[derive(Args, Debug)]
pub struct RevokeUser {
    /// The user's tenant; a comma where the user has none
    pub tenant: String,
    /// The user
    pub user: String,
    /// The kind of the user's login, where there are several
    #[arg(long)]
    pub kind: Option<String>,
    /// The id of a session that stays
    #[arg(long, value_name = "SESSION", allow_hyphen_values = true)]
    pub except: Option<String>,
    /// Whether to ask, why it is done, and where.
    #[command(flatten)]
    pub change: ChangeOptions,
}

/// Does it.
#[must_use]
pub fn users(command: &UsersCommand) -> ExitCode {
    match command {
        UsersCommand::Sessions(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            let query = of_user(&options.tenant, &options.user, options.kind.as_deref());
            list(client, "/v1/sessions", query, options.list, &COLUMNS, "no live sessions").await
        }),
        UsersCommand::Revoke(options) => {
            operate(options.change.act.api(), &[AdminRole::Operate, AdminRole::Read], async |client| {
                revoke(options, client).await
            })
        }
    }
}

/// The sessions of a user, for a list.
fn of_user<'a>(tenant: &'a str, user: &'a str, kind: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let kind = kind.map(|kind| ("kind", kind));
    [("tenant", tenant), ("user", user)].into_iter().chain(kind).collect()
}

async fn revoke(options: &RevokeUser, client: &Client) -> Result<(), Trouble> {
    let change = &options.change;
    change.demand_someone_to_ask()?;
    // Before the question: what cannot be sent is not asked about.
    let (tenant, user) = (path_segment(&options.tenant)?, path_segment(&options.user)?);
    let whom = named(&options.tenant, Some((&options.user, options.kind.as_deref())));
    if !change.yes {
        change.confirm(&format!("end the sessions of {whom}"), live(options, client).await?)?;
    }
    let body = options.except.as_ref().map_or_else(|| json!({}), |kept| json!({ "except_session": kept }));
    let target = target(&format!("/v1/tenants/{tenant}/users/{user}/revoke"), &given(&[("kind", &options.kind)]));
    let answer = client.call(Method::POST, &target, Some(&change.act.body(body))).await?;
    change.tell(&whom, &answer);
    Ok(())
}

/// How many sessions would end; `None`: the token may not look.
async fn live(options: &RevokeUser, client: &Client) -> Result<Option<u64>, Trouble> {
    let query = of_user(&options.tenant, &options.user, options.kind.as_deref());
    let mut pages = client.pages("/v1/sessions", query, MOST_COUNTED);
    let mut count = 0;
    loop {
        match pages.next().await {
            Ok(Some(items)) => {
                let ends = |kept: &String| items.iter().filter(|item| !is(item, "id", kept)).count();
                let ends = options.except.as_ref().map_or(items.len(), ends);
                count += u64::try_from(ends).unwrap_or(u64::MAX);
            }
            Ok(None) => return Ok(Some(count)),
            Err(Trouble::Forbidden(_)) => return Ok(None),
            Err(trouble) => return Err(trouble),
        }
    }
}
