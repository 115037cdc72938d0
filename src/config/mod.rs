//! Configuration: one TOML file, turned into domain types that cannot be wrong.
//!
//! `raw` mirrors the file; each section turns its raw part into the types below and reports every error it finds, so
//! that an operator sees all of them at once. What the file means is decided here and nowhere else: whoever holds a
//! [`Config`] need not check it again.
//!
//! It reads the file and the secret files that it names. It must never open a socket, and never show a secret.

mod act_rules;
mod address;
mod admin;
mod alerts;
mod assemble;
mod bearer;
mod captured;
mod chosen;
mod cookie;
mod cors;
mod dated;
mod digest;
mod error;
mod errors;
mod events;
mod files;
mod front;
mod identity;
mod login;
mod logout;
mod mode;
mod monitor;
mod parsers;
mod paths;
mod places;
mod raw;
mod reader;
mod roles;
mod routes;
mod rule;
mod sealed;
mod secrets;
mod server;
mod session;
mod signed;
mod store;
mod syntax;
mod table;
mod telemetry;
mod tenants;
mod tls;
mod tokens;
mod upstream;
mod value;
mod watched;
mod webhooks;
mod whoami;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use admin::{AdminConfig, AdminRole, AdminToken};
pub use assemble::Config;
pub use bearer::BearerConfig;
pub use digest::ConfigDigest;
pub use error::{ConfigError, ConfigErrors};
pub use errors::ErrorsConfig;
pub use front::{Front, FrontConfig};
pub use identity::{ClientValue, IdentityConfig};
pub use login::{Login, LoginConfig, LoginPath};
pub use logout::LogoutConfig;
pub use mode::Mode;
pub use secrets::SecretsConfig;
pub use server::{ProxyProtocol, ServerConfig};
pub use session::{CacheControl, SessionConfig};
pub use store::{StoreConfig, StoreKind};
pub use telemetry::{AuditConfig, TelemetryConfig, TracesConfig};
pub use tenants::{Onboarding, TenantsConfig};
pub use tls::TlsConfig;
pub use upstream::{BodyMode, HostHeader, UpstreamConfig};
pub(crate) use value::{duration, show_duration};
pub use watched::{ExportRoute, WatchedPaths};

use crate::settled::{self, ReadError};
use assemble::{Source, assemble};
use raw::RawConfig;
use reader::Reader;
use table::read_table;

/// The file that is read when the command line names none and the environment neither.
const DEFAULT_FILE: &str = "config/gateway.toml";
/// The environment variable that names the file.
const FILE_VARIABLE: &str = "SESSION_GATEWAY_CONFIG";
/// A larger file is not a configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// The file to read: the one the command line names, else `$SESSION_GATEWAY_CONFIG`, else `config/gateway.toml`.
#[must_use]
pub fn locate(named: Option<PathBuf>, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let from_environment = || variable(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
}

/// The process's environment, for [`Config::load`].
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Config {
    /// Reads and checks a file. `variable` looks up environment variables.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let name = file.display().to_string();
        let text = read(file).map_err(|message| ConfigError::of_file(&name, message))?;
        Self::parse_file(&name, &text, Some(file), variable)
    }

    /// Checks a file's text; `name` is the file's name in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Self::parse_file(name, text, None, variable)
    }

    fn parse_file(
        name: &str,
        text: &str,
        path: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(text, variable);
        let (document, faults) = DeTable::parse_recoverable(text);
        for (offset, message) in syntax::faults(text, &faults) {
            let place = reader.place(String::new(), offset);
            reader.problems.error(&place, message);
        }
        if !faults.is_empty() {
            // What was recovered of a broken file would give errors that are none.
            return Err(reader.problems.into_errors(name));
        }
        let file = reader.place(String::new(), 0);
        let raw: RawConfig = read_table(document.get_ref(), file.clone(), &mut reader);
        let mut problems = reader.problems;
        let source = Source { place: file, path };
        match assemble(raw, &source, &mut problems) {
            Some(config) if problems.no_errors() => {
                let digest = ConfigDigest::of(text);
                Ok(Self { digest, warnings: problems.into_warnings(name), ..config })
            }
            _ => Err(problems.into_errors(name)),
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let bytes = match settled::read(file, LARGEST_FILE) {
        Ok(settled) => settled.bytes,
        Err(error @ (ReadError::Io(_) | ReadError::Missing(..))) => {
            return Err(format!("{error}; name another file with --config"));
        }
        Err(error) => return Err(error.to_string()),
    };
    let text = String::from_utf8(bytes).map_err(|_| String::from("is not UTF-8; save it as UTF-8"))?;
    // The start of a configuration is often a valid one.
    if text.ends_with('\n') {
        Ok(text)
    } else {
        Err(String::from("does not end with the end of a line, so that it may have been cut off; end its last line"))
    }
}
