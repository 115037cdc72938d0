//! `tokens`: access tokens of issuers, denied one by one.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::act::ActOptions;
use super::api::{Trouble, operate, path_segment, target};
use super::list::given;
use super::table::shown;
use crate::config::AdminRole;
use crate::jwt::{Compact, LONGEST_TOKEN};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Deny a token, on all gateways, for as long as it could be used
    Revoke(RevokeToken),
}

/// Options of `tokens revoke`.
#[derive(Args, Debug)]
pub struct RevokeToken {
    /// Its id, as the logs have it
    #[arg(allow_hyphen_values = true, required_unless_present = "from", conflicts_with = "from")]
    pub id: Option<String>,
    /// The token itself, in a file, or `-` for standard input: never as an argument, which everybody on this machine can read
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Why, and where.
    #[command(flatten)]
    pub act: ActOptions,
}

/// Does it.
#[must_use]
pub fn tokens(command: &TokensCommand) -> ExitCode {
    let TokensCommand::Revoke(options) = command;
    operate(options.act.api(), &[AdminRole::Operate], async |client| {
        let id = match (&options.id, &options.from) {
            (_, Some(file)) => id_of(file)?,
            (id, None) => id.clone().unwrap_or_default(),
        };
        let target =
            target(&format!("/v1/sessions/{}", path_segment(&id)?), &given(&[("reason", &options.act.reason)]));
        let answer: Value = client.call(Method::DELETE, &target, None).await?;
        options.act.tell(&answer, format_args!("token {} denied", shown(&id)));
        Ok(())
    })
}

/// What the token in a file is called.
fn id_of(file: &Path) -> Result<String, Trouble> {
    let mut text = String::new();
    let most = LONGEST_TOKEN as u64 + 2;
    let read = if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    let name = file.display();
    read.map_err(|error| Trouble::Usage(format!("the token in {name} cannot be read: {error}")))?;
    let token = Compact::parse(text.trim()).map_err(|fault| {
        Trouble::Usage(format!(
            "what is in {name} is no token ({}): it has three parts with dots between them",
            fault.as_str()
        ))
    })?;
    Ok(token.id().to_string())
}
