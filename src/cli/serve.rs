//! `serve`: the gateway itself.

use std::process::ExitCode;

use super::{ConfigOption, FAILED, complain};
use crate::config::StoreConfig;

/// Serves until SIGTERM.
#[must_use]
pub fn serve(_: &ConfigOption) -> ExitCode {
    complain("not wired");
    ExitCode::from(FAILED)
}

/// Connects to a store and says what is wrong, for `check --connect`.
///
/// # Errors
/// When the store does not answer.
pub fn try_store(_: &StoreConfig) -> Result<(), String> {
    Err(String::from("not wired"))
}
