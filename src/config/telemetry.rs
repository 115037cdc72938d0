//! `[telemetry]` and `[audit]`: what is written about requests and sessions, and where.

use std::path::PathBuf;

use super::error::Problems;
use super::raw::{RawAudit, RawTelemetry};
use super::store::file_path;
use super::value::choice;

/// How the gateway logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The form of a line.
    pub log: LogFormat,
    /// The least important lines that are written.
    pub level: Level,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something should be looked at.
    Warn,
    /// What happened; one line a request.
    Info,
    /// For finding a fault.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The level's name, as log filters read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file or stream.
    pub file: AuditTarget,
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file; its folder is made.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

pub(super) fn telemetry(raw: &RawTelemetry, problems: &mut Problems) -> TelemetryConfig {
    TelemetryConfig {
        log: raw.log.parse_or(
            LogFormat::Json,
            problems,
            choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]),
        ),
        level: raw.level.parse_or(
            Level::Info,
            problems,
            choice(&[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
                ("trace", Level::Trace),
            ]),
        ),
    }
}

pub(super) fn audit(raw: &RawAudit, problems: &mut Problems) -> AuditConfig {
    let default = AuditTarget::File(PathBuf::from("data/audit.jsonl"));
    let file = raw.file.parse_or(default, problems, |text| {
        if text == "-" { Ok(AuditTarget::Stdout) } else { file_path(text).map(AuditTarget::File) }
    });
    AuditConfig { file }
}
