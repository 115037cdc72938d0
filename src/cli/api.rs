//! The operator commands' side of the admin API: where it is, who asks, and one call after the other.
//!
//! Every call has a time limit, and every answer a size limit. A token is never shown, and never sent in the clear
//! beyond this machine unless the configuration says that it may.

mod access;
mod client;

use std::process::ExitCode;

pub(super) use access::Access;
pub use access::ApiOptions;
pub(super) use client::{Client, path_segment, target};

use super::{BAD_CONFIGURATION, FAILED, complain};
use crate::config::AdminRole;

/// Why a command did not do what was asked. The text is for people, and says what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Bad usage or bad configuration.
    Usage(String),
    /// It failed while running, and the same again may succeed: the gateway or its store is away.
    Unavailable(String),
    /// The token's roles do not allow it.
    Forbidden(String),
    /// It failed while running.
    Failed(String),
    /// Who read its output has gone, as `head` does: there is nobody to tell.
    NoReader,
}

/// Runs a command that calls the API with a token that has `roles`, the most needed first.
pub(super) fn operate(
    options: &ApiOptions,
    roles: &[AdminRole],
    command: impl AsyncFnOnce(&Client) -> Result<(), Trouble>,
) -> ExitCode {
    let outcome = Access::find(options, roles, &crate::config::process_environment).and_then(|access| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Failed(error.to_string()))?;
        runtime.block_on(command(&Client::new(access)))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Usage(text)) => {
            complain(text);
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(Trouble::Failed(text) | Trouble::Unavailable(text) | Trouble::Forbidden(text)) => {
            complain(text);
            ExitCode::from(FAILED)
        }
        Err(Trouble::NoReader) => ExitCode::from(FAILED),
    }
}
