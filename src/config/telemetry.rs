//! `[telemetry]` and `[audit]`: what is written about requests and sessions, and where.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};

use super::address::file_path;
use super::error::Problems;
use super::files::Files;
use super::raw::{RawAudit, RawTelemetry};
use super::reader::{Named, OffOr, Spot};
use super::upstream::{peer, read_authorities};
use super::value::{Parsed, choice, header_name, quoted};
use crate::audit::{AuditTarget, has_something_else, key::key_file};
use crate::secret::Secret;
use crate::telemetry::{LogFormat, LogLevel, Share};
use crate::upstream::{PeerAddress, Trust};

/// How the gateway logs, and what else it tells of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The form of a line.
    pub log: LogFormat,
    /// The least important lines that are written.
    pub level: LogLevel,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<TracesConfig>,
}

/// The collector of traces, which speaks OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesConfig {
    /// What it is asked for, whole.
    pub url: String,
    /// Where it listens.
    pub peer: PeerAddress,
    /// Who vouches for it over TLS.
    pub trust: Option<Trust>,
    /// Which part of all traces is recorded.
    pub share: Share,
    /// What it wants to see with each call: a key, say.
    pub headers: Vec<(HeaderName, Secret)>,
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
        traces: traces(raw, problems),
    }
}

fn traces(raw: &RawTelemetry, problems: &mut Problems) -> Option<TracesConfig> {
    let Some(OffOr::On(raw)) = raw.traces.get() else { return None };
    let share = raw.sample.parse_or(Share::ALL, problems, |text| share(text));
    let headers = raw.headers.get().map_or_else(Vec::new, |Named(headers)| {
        headers.iter().filter_map(|(name, value)| header(name, value, problems)).collect()
    });
    let example = "url = \"http://127.0.0.1:4318\"";
    let (url, peer) = raw.url.require(problems, example, |text| collector(text))?;
    let speaks_tls = matches!(peer, PeerAddress::Tls { .. });
    let trust = match (raw.ca.is_given(), speaks_tls) {
        (true, false) => {
            problems.error(raw.ca.place(), "is of no use without an https:// address; write one, or remove it");
            None
        }
        (true, true) => raw.ca.parse(problems, |path| read_authorities(path)),
        (false, true) => {
            Trust::of_the_system().map_err(|error| problems.error(raw.url.place(), error.to_string())).ok()
        }
        (false, false) => None,
    };
    Some(TracesConfig { url, peer, trust, share, headers })
}

/// What the collector is asked for, and where it is. The messages quote nothing: an address may hold a key.
fn collector(text: &str) -> Parsed<(String, PeerAddress)> {
    const WRONG: &str = "is not the address of a collector; write it as \"http://127.0.0.1:4318\"";
    let url = text.strip_suffix('/').unwrap_or(text);
    let uri: Uri = url.parse().map_err(|_| WRONG)?;
    let (Some(scheme), Some(authority), None) = (uri.scheme_str(), uri.authority(), uri.query()) else {
        return Err(String::from(WRONG));
    };
    if url.ends_with("/v1/traces") {
        return Err(String::from("ends in /v1/traces, which is added; take it away"));
    }
    let peer = peer(&format!("{scheme}://{authority}"))?;
    Ok((format!("{url}/v1/traces"), peer))
}

/// A part of a whole: "100%", "0.5%".
fn share(text: &str) -> Parsed<Share> {
    let millionths = text.strip_suffix('%').and_then(|number| {
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = (1..=3).contains(&whole.len()) && part.len() <= 4 && digits(whole) && digits(part);
        plain.then(|| format!("{whole}{part:0<4}").parse().ok()).flatten()
    });
    millionths.and_then(Share::of_millionths).ok_or_else(|| {
        format!("{} is no share; write it as \"100%\", \"5%\" or \"0.1%\", with four decimals at most", quoted(text))
    })
}

fn header(name: &str, value: &Spot<Secret>, problems: &mut Problems) -> Option<(HeaderName, Secret)> {
    let parsed = header_name(name).and_then(|name| {
        // Which of its characters is wrong is not said: it is a secret.
        let valid = HeaderValue::from_str(value.value.expose_secret()).is_ok();
        valid.then(|| (name, value.value.clone())).ok_or_else(|| String::from("is no value for a header"))
    });
    parsed.map_err(|message| problems.error(&value.place, message)).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_per_cent() {
        for (text, millionths) in [("100%", 1_000_000), ("5%", 50_000), ("0.1%", 1000), ("0.0001%", 1), ("0%", 0)] {
            assert_eq!(share(text).ok(), Share::of_millionths(millionths), "{text}");
        }
        for text in ["", "%", "1", "0.5", "101%", "1000%", "-1%", "0.00001%", "1 %", ".5%", "1e2%", "١%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_collector_is_an_origin_and_perhaps_a_path() {
        let known = |text: &str| collector(text).map(|(url, peer)| (url, peer.to_string()));
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
        ] {
            assert_eq!(known(text).map(|(url, _)| url), Ok(String::from(url)));
        }
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://a:b@c:4318",
            "http://c/?key=x",
            "http://c/v1/traces",
        ] {
            let message = known(text).expect_err(text);
            assert!(!message.contains("a:b") && !message.contains("key="), "{message}");
        }
    }
}
