//! Options that several commands have.

use std::path::PathBuf;

use clap::Args;

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigOption {
    /// The configuration file [default: $SESSION_GATEWAY_CONFIG, else config/gateway.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
