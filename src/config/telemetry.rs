//! `[telemetry]` and `[audit]`: what is written about requests and sessions, and where.

use std::path::PathBuf;

use super::error::Problems;
use super::raw::{RawAudit, RawTelemetry};
use super::store::file_path;
use super::value::choice;
use crate::audit::AuditTarget;
use crate::telemetry::{LogFormat, LogLevel};

/// How the gateway logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The form of a line.
    pub log: LogFormat,
    /// The least important lines that are written.
    pub level: LogLevel,
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file or stream.
    pub file: AuditTarget,
}

pub(super) fn telemetry(raw: &RawTelemetry, problems: &mut Problems) -> TelemetryConfig {
    TelemetryConfig {
        log: raw.log.parse_or(
            LogFormat::Json,
            problems,
            choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]),
        ),
        level: raw.level.parse_or(
            LogLevel::Info,
            problems,
            choice(&[
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
                ("trace", LogLevel::Trace),
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
