//! `serve`: the gateway itself.

use std::process::ExitCode;

use super::check::TrialOutcome;
use super::options::ConfigOption;
use super::output::{BAD_CONFIGURATION, FAILED, complain};
use crate::app::{self, StoreTrial};
use crate::config::{Config, StoreConfig, locate, process_environment};
use crate::store::audit::Anchor;

/// Serves until SIGTERM.
#[must_use]
pub fn serve(option: &ConfigOption) -> ExitCode {
    let file = locate(option.config.clone(), process_environment);
    let config = match Config::load(&file, &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match app::run(config, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("session-gateway: {error}"));
            ExitCode::from(if matches!(error, app::StartError::TooFewDescriptors(_)) {
                BAD_CONFIGURATION
            } else {
                FAILED
            })
        }
    }
}

/// Uses a store and says what came of it, for `check --connect`.
#[must_use]
pub fn try_store(config: &StoreConfig) -> Vec<TrialOutcome> {
    match app::try_store(config) {
        Ok(StoreTrial { done, warnings }) => {
            [TrialOutcome::Fine(done)].into_iter().chain(warnings.into_iter().map(TrialOutcome::Warned)).collect()
        }
        Err(error) => vec![TrialOutcome::Failed(error.to_string())],
    }
}

/// Reads what a store knows of the audit chains.
///
/// # Errors
/// When the store does not answer.
pub fn read_anchors(config: &StoreConfig) -> Result<Vec<Anchor>, String> {
    app::read_anchors(config).map_err(|error| error.to_string())
}
