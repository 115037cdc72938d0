//! The operator commands' side of the admin API: where it is, who asks, and one call after the other.
//!
//! Every call has a time limit, and every answer a size limit. A token is never shown, and never sent in the clear
//! beyond this machine unless the configuration says that it may.

mod access;
mod client;
mod trouble;

use std::process::ExitCode;

pub(super) use access::Access;
pub use access::ApiOptions;
pub(super) use client::{Client, path_segment, target};
pub(super) use trouble::Trouble;

use super::output::{BAD_CONFIGURATION, FAILED, complain};
use crate::config::AdminRole;

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
