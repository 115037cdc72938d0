//! The question before a command that ends more than one session.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use clap::Args;
use serde_json::Value;

use super::act::ActOptions;
use super::api::{Client, Trouble};
use super::output::complain;
use super::table::shown;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 100;

/// Whether to ask, why it is done, and where.
#[derive(Args, Clone, Debug, Default)]
pub struct ChangeOptions {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, and where.
    #[command(flatten)]
    pub act: ActOptions,
}

impl ChangeOptions {
    /// Before anything is asked of the API: without a terminal there is nobody to ask.
    pub(super) fn demand_someone_to_ask(&self) -> Result<(), Trouble> {
        if self.yes || io::stdin().is_terminal() {
            return Ok(());
        }
        Err(Trouble::Usage(String::from(
            "this ends sessions, and there is no terminal to ask at; say --yes if it is meant",
        )))
    }

    /// Asks whether to do `what`, which ends `live` sessions (`None`: the token may not look).
    pub(super) fn confirm(&self, what: &str, live: Option<u64>) -> Result<(), Trouble> {
        if self.yes {
            return Ok(());
        }
        let ends = match live {
            Some(1) => String::from("1 live session ends"),
            Some(count) => format!("{count} live sessions end"),
            None => String::from("an unknown number of sessions ends: the token may not list them"),
        };
        complain(format_args!("{what}: {ends}. Go on? [y/N]"));
        let mut line = String::new();
        let read = io::stdin().lock().take(LONGEST_ANSWER).read_line(&mut line);
        match read {
            Ok(_) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
            Ok(_) => Err(Trouble::Failed(String::from("nothing was done"))),
            Err(error) => Err(Trouble::Failed(format!("nothing was done: {error}"))),
        }
    }

    /// Prints what was done.
    pub(super) fn tell(&self, what: &str, answer: &Value) {
        let count = answer.get("invalidated_sessions").and_then(Value::as_u64).unwrap_or(0);
        let sessions = if count == 1 { "session" } else { "sessions" };
        let pending = answer.get("pending").and_then(Value::as_bool).unwrap_or(false);
        let goes_on = if pending { "\nall have ended; counting them goes on in the gateway" } else { "" };
        self.act.tell(answer, format_args!("{what}: {count} {sessions} ended{goes_on}"));
        if answer.get("replicated").and_then(Value::as_bool) == Some(false) {
            complain("not all replicas of the store have it yet: see docs/revocation.md, \"Replicas\"");
        }
    }
}

/// How many live sessions a tenant has; `None`: the token may not look.
pub(super) async fn live_in_tenant(client: &Client, path: &str) -> Result<Option<u64>, Trouble> {
    let tenant = client.get_if_allowed(path, &[]).await?;
    Ok(tenant.map(|tenant| tenant.get("sessions").and_then(Value::as_u64).unwrap_or(0)))
}

/// A tenant, or a user of it and the kind of their login, in a sentence.
pub(super) fn named(tenant: &str, user: Option<(&str, Option<&str>)>) -> String {
    let tenant = if tenant == "," { String::from("no tenant") } else { format!("tenant {}", shown(tenant)) };
    match user {
        Some((user, Some(kind))) => format!("user {} (a login of the kind {}) of {tenant}", shown(user), shown(kind)),
        Some((user, None)) => format!("user {} of {tenant}", shown(user)),
        None => tenant,
    }
}
