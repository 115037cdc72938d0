//! `[telemetry]` and `[audit]`: what is written about requests and sessions, and where.

use std::path::PathBuf;

use super::address::file_path;
use super::error::Problems;
use super::files::Files;
use super::raw::{RawAudit, RawTelemetry};
use super::value::choice;
use crate::audit::{AuditTarget, has_something_else, key::key_file};
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
    if let AuditTarget::File(path) = &file
        && has_something_else(path)
    {
        problems.error(raw.file.place(), "names a file with something else in it than audit lines; name another file");
    }
    AuditConfig { file }
}

impl AuditConfig {
    /// Tells which files it writes: where it has to make a key, that too.
    pub(super) fn report_written(&self, raw: &RawAudit, makes_key: bool, files: &mut Files) {
        if let AuditTarget::File(path) = &self.file {
            files.written(raw.file.setting(), path);
            if makes_key {
                let mut setting = raw.file.setting();
                setting.place.key.push_str(" (with `.key` behind it)");
                files.written(setting, &key_file(path));
            }
        }
    }
}
