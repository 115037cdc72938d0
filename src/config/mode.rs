//! `server.mode`: how strict the gateway is with its configuration.

use super::error::Problems;
use super::raw::RawServer;
use super::value::choice;

/// How strict the gateway is with its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuses what is unsafe.
    Production,
    /// Allows http and weak secrets, and says so.
    Development,
}

pub(super) fn mode(raw: &RawServer, problems: &mut Problems) -> Mode {
    let words = &[("production", Mode::Production), ("development", Mode::Development)];
    raw.mode.parse_or(Mode::Production, problems, choice(words))
}
