//! `audit`: what happened, and whether the record of it is whole.

pub mod events;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::options::ConfigOption;
use super::output::{BAD_CONFIGURATION, FAILED, complain, say};
use crate::audit::chain::ChainKey;
use crate::audit::share::place_of;
use crate::audit::verify::{KnownEnds, Verifier, VerifyReport};
use crate::audit::{AuditTarget, key, with_rotated};
use crate::config::{Config, StoreConfig, locate, process_environment};
use crate::store::audit::Anchor;

/// Reads what a store knows of the audit chains; an error's text is for people.
pub type ReadAnchors<'a> = &'a dyn Fn(&StoreConfig) -> Result<Vec<Anchor>, String>;

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that the audit files are what the gateways wrote; exit code 1 when they are not
    Verify(VerifyOptions),
    /// List events, the oldest first
    Query(events::QueryOptions),
    /// Show the last events, and with --follow what comes after
    Tail(events::TailOptions),
    /// Write events as JSON lines or CSV
    Export(events::ExportOptions),
}

/// Options of `audit verify`.
#[derive(Args, Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Which configuration: it names the files, the key and the store.
    #[command(flatten)]
    pub config: ConfigOption,
    /// The files [default: audit.file and the rotated ones beside it]; those that end in .gz are unpacked
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Verifies audit files.
#[must_use]
pub fn verify(options: &VerifyOptions, read_anchors: ReadAnchors<'_>) -> ExitCode {
    let file = locate(options.config.config.clone(), process_environment);
    let config = match Config::load(&file, &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match checked(&config, &options.files, read_anchors) {
        Ok(report) => {
            if options.json {
                // It holds nothing that cannot be written as JSON.
                say(serde_json::to_string(&report).unwrap_or_default());
            } else {
                tell(&report);
            }
            if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(cause) => {
            complain(cause);
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn checked(config: &Config, named: &[PathBuf], read_anchors: ReadAnchors<'_>) -> Result<VerifyReport, String> {
    let target = &config.audit.file;
    let key = find_key(config)?;
    // Before the files: what is written meanwhile is no contradiction.
    let anchors = read_anchors(&config.store);
    let (files, complete) = match (named, target) {
        ([], AuditTarget::File(path)) => {
            let found = with_rotated(path).map_err(|error| format!("{}: {error}", path.display()))?;
            if found.is_empty() {
                return Err(format!("{}: there is no such file", path.display()));
            }
            (oldest_first(found), true)
        }
        ([], AuditTarget::Stdout) => {
            return Err(String::from("audit.file is standard output; name the files that hold its lines"));
        }
        (named, AuditTarget::File(path)) => (named.to_vec(), named.contains(path)),
        (named, AuditTarget::Stdout) => (named.to_vec(), false),
    };
    let (anchors, trouble) = match anchors {
        Ok(anchors) => (anchors, None),
        Err(cause) => (Vec::new(), Some(format!("the end could not be compared with what the store knows: {cause}"))),
    };
    let complete_for = complete.then(|| place_of(target));
    let mut verifier = Verifier::new(&key, KnownEnds { anchors, complete_for });
    for file in &files {
        verifier.file(file);
    }
    let mut report = verifier.finish();
    report.notes.extend(trouble);
    if !complete {
        report.notes.push(String::from(
            "the end was not compared with what the store knows: audit.file is not among the files",
        ));
    }
    Ok(report)
}

fn find_key(config: &Config) -> Result<ChainKey, String> {
    match (&config.secrets.key, &config.audit.file) {
        (Some(secret), _) => Ok(ChainKey::derived_from(secret)),
        (None, AuditTarget::File(path)) => {
            let path = key::key_file(path);
            key::read(&path).map_err(|error| {
                format!(
                    "secrets.key is not set, and the key beside the file, {}, cannot be used: {error}",
                    path.display()
                )
            })
        }
        (None, AuditTarget::Stdout) => {
            Err(String::from("secrets.key is not set: lines on standard output have no key that was kept"))
        }
    }
}

/// As they were written, so that the first finding is the oldest.
fn oldest_first(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.sort_by_key(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok());
    files
}

fn tell(report: &VerifyReport) {
    for chain in &report.chains {
        let anchored = match chain.anchored {
            Some(anchored) => format!("the store confirms line {anchored}"),
            None => String::from("the store has no word of it yet, which gateways give each minute and when they stop"),
        };
        say(format_args!(
            "chain {}: lines {} to {}, since {}; {anchored}",
            chain.instance, chain.first, chain.last, chain.since
        ));
    }
    for note in &report.notes {
        say(format_args!("note: {note}"));
    }
    for finding in &report.findings {
        complain(format_args!("{}: {}", at(&finding.file, finding.line), finding.what));
    }
    if report.more_findings > 0 {
        complain(format_args!("and {} more", report.more_findings));
    }
    let (lines, files) = (report.lines, report.files);
    if report.is_fine() {
        say(format_args!("ok: {lines} lines in {files} files are as they were written"));
    } else {
        complain(format_args!("NOT ok: {lines} lines in {files} files were read"));
    }
}

fn at(file: &Path, line: u64) -> String {
    if line == 0 { file.display().to_string() } else { format!("{}:{line}", file.display()) }
}
