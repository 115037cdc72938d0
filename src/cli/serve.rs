//! `session-gateway serve`: runs the gateway.

use crate::app;
use crate::config::Config;

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When it cannot start; the text is for standard error.
pub fn serve(config: Config) -> Result<(), String> {
    app::run(config).map_err(|error| error.to_string())
}
