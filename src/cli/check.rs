//! `check`: everything that is wrong with a configuration, or what it means; with `--connect`, whether what it names can
//! be used.

mod places;
mod reach;
mod trial;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::options::ConfigOption;
use super::output::{BAD_CONFIGURATION, FAILED, complain, say, say_json};
use crate::audit::AuditTarget;
use crate::clock::{Clock as _, SystemClock, WallTime};
use crate::config::{Config, ConfigErrors, Mode, StoreConfig, locate, process_environment};
use crate::descriptors::{self, Room};
use crate::geo;
use crate::signed::{SignedForm, SignedIdentity};
pub use trial::{Trial, TrialOutcome};

/// Options of `check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckOptions {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigOption,
    /// Also try what it names: ports, folders, the upstreams with their TLS, the store by a session that is made and ended
    #[arg(long)]
    pub connect: bool,
    /// Fail on warnings, too
    #[arg(long)]
    pub strict: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Tries a store, each thing that can be said of it in an outcome of its own; their texts are for people.
pub type TryStore<'a> = &'a dyn Fn(&StoreConfig) -> Vec<TrialOutcome>;

/// Checks a configuration, and with `--connect` what it names.
#[must_use]
pub fn check(options: &CheckOptions, try_store: TryStore<'_>) -> ExitCode {
    let file = locate(options.config.config.clone(), process_environment);
    let shown = file.display().to_string();
    let config = match Config::load(&file, &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            if options.json {
                say_json(&refused(&shown, &errors));
            } else {
                complain(errors);
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let limit = descriptors::most();
    let room = match Room::with(limit, &config) {
        Ok(room) => room,
        Err(too_few) => {
            if options.json {
                let error = json!({ "file": shown, "line": null, "key": "", "message": too_few.to_string() });
                say_json(&json!({ "file": shown, "ok": false, "errors": [error], "warnings": [], "trials": [] }));
            } else {
                complain(too_few);
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let mut warnings = config.warnings.clone();
    warnings.extend(config.warnings_at(SystemClock.wall()));
    warnings.extend(room.warning(limit, &config));
    if let Some(files) = config.monitor.as_ref().and_then(|monitor| monitor.places.geo.as_ref()) {
        warnings.extend(geo::examine(files, SystemClock.wall().as_micros() / 1_000_000));
    }
    if !options.json {
        for warning in &warnings {
            complain(format_args!("warning: {warning}"));
        }
        say(format_args!("{shown}: ok"));
        say(summary(&config, SystemClock.wall()).trim_end());
    }
    let mut trials = Vec::new();
    if options.connect {
        trials.extend(places::trials(&config));
        trials.extend(reach::trials(&config));
        let what = format!("store {}", config.store.describe());
        trials.extend(try_store(&config.store).into_iter().map(|outcome| Trial { what: what.clone(), outcome }));
    }
    if options.json {
        say_json(&found(&shown, &warnings, &trials));
    } else {
        trials.iter().for_each(show);
    }
    let failed = trials.iter().any(|trial| matches!(trial.outcome, TrialOutcome::Failed(_)));
    let warned = trials.iter().any(|trial| matches!(trial.outcome, TrialOutcome::Warned(_)));
    if failed || (options.strict && warned) {
        ExitCode::from(FAILED)
    } else if options.strict && !warnings.is_empty() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}

fn show(trial: &Trial) {
    let what = &trial.what;
    match &trial.outcome {
        TrialOutcome::Fine(seen) => say(format_args!("{what}: {seen}")),
        TrialOutcome::Warned(why) => complain(format_args!("warning: {what}: {why}")),
        TrialOutcome::Failed(why) => complain(format_args!("{what}: {why}")),
    }
}

fn refused(file: &str, errors: &ConfigErrors) -> Value {
    let errors: Vec<Value> = errors
        .all()
        .iter()
        .map(|error| {
            json!({
                "file": error.file(), "line": error.line(), "key": error.key(), "message": error.message(),
            })
        })
        .collect();
    json!({ "file": file, "ok": false, "errors": errors, "warnings": [], "trials": [] })
}

fn found(file: &str, warnings: &[String], trials: &[Trial]) -> Value {
    let trials: Vec<Value> = trials
        .iter()
        .map(|Trial { what, outcome }| {
            let (outcome, text) = match outcome {
                TrialOutcome::Fine(text) => ("fine", text),
                TrialOutcome::Warned(text) => ("warned", text),
                TrialOutcome::Failed(text) => ("failed", text),
            };
            json!({ "what": what, "outcome": outcome, "text": text })
        })
        .collect();
    let ok = trials.iter().all(|trial| trial["outcome"] != "failed");
    json!({ "file": file, "ok": ok, "errors": [], "warnings": warnings, "trials": trials })
}

/// What a configuration means, a line each.
fn summary(config: &Config, now: WallTime) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let mode = match config.server.mode {
        Mode::Production => "production",
        Mode::Development => "development",
    };
    line("digest", &config.digest.to_string());
    line("mode", mode);
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    line("listen", &format!("{} as {}", listen.join(", "), config.server.public_url));
    let certificates = config.server.tls.iter().flat_map(|tls| tls.certificates.terms());
    for term in certificates {
        let days = term.left_at(now.as_micros() / 1_000_000) / 86_400;
        line("tls", &format!("{}: {days} days left", term.name));
    }
    if let Some(address) = config.server.redirect_http {
        line("redirect", &format!("{address}, from http to {}", config.server.public_url));
    }
    for (name, upstream) in &config.upstreams {
        let peers: Vec<String> = upstream.peers.iter().map(ToString::to_string).collect();
        line("upstream", &format!("{name}: {}", peers.join(", ")));
    }
    line("store", &config.store.describe());
    for login in &config.login.logins {
        let paths: Vec<String> = login.paths.iter().map(ToString::to_string).collect();
        let kind = login.rules.users.kind.as_ref().map_or_else(String::new, |kind| format!(" (kind {kind})"));
        line("login", &format!("{}{kind}", paths.join(", ")));
    }
    let routes = match config.routes.explicit_count() {
        0 => String::from("none in the file; all but the login needs a session"),
        count => format!("{count} patterns in the file; all else but the login needs a session"),
    };
    line("routes", &routes);
    if let Some(signed) = &config.identity.signed {
        line("signed", &described(signed));
    }
    let tokens = if config.admin.tokens.is_empty() { ": health and metrics alone, for it has no token" } else { "" };
    line("admin", &format!("{}{tokens}", config.admin.listen));
    let audit = match &config.audit.file {
        AuditTarget::File(file) => file.display().to_string(),
        AuditTarget::Stdout => String::from("standard output"),
    };
    let key = match (&config.secrets.key, &config.audit.file) {
        (Some(_), _) => "",
        (None, AuditTarget::File(_)) => ", its key beside it, for secrets.key is not set",
        (None, AuditTarget::Stdout) => ", which nobody can verify, for secrets.key is not set",
    };
    line("audit", &format!("{audit}{key}"));
    text
}

/// How identities are signed, and by which keys.
fn described(signed: &SignedIdentity) -> String {
    match &signed.form {
        SignedForm::Hmac(_) => String::from("hmac: X-Session-Signature"),
        SignedForm::Jwt(keys) => {
            let keys: Vec<&str> = keys.iter().map(|key| key.kid()).collect();
            format!("jwt: X-Session-Assertion; {}", keys.join(", then "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_served_and_no_password() {
        let text = "[server]\nmode = \"development\"\npublic_url = \"http://localhost:8080\"\n[upstream]\n\
                    url = \"http://127.0.0.1:5000\"\n[store]\nredis = \"redis://me:hidden@127.0.0.1:6379/0\"\n";
        let config = Config::parse("t.toml", text, &|_| None).expect("a valid configuration");
        let summary = summary(&config, WallTime::from_micros(0));
        for part in [
            "127.0.0.1:8080 as http://localhost:8080",
            "default: http://127.0.0.1:5000",
            "127.0.0.1:6379/0",
            "health and metrics alone, for it has no token",
            "its key beside it, for secrets.key is not set",
        ] {
            assert!(summary.contains(part), "{part} in {summary}");
        }
        assert!(!summary.contains("hidden"));
    }

    #[test]
    fn a_program_is_told_the_same_as_a_person() {
        let errors = Config::parse("t.toml", "[server]\nlisten = 1\n", &|_| None).expect_err("a bad one");
        let refused = refused("t.toml", &errors);
        let errors = refused["errors"].as_array().expect("a list");
        let listen = errors.iter().find(|error| error["key"] == "server.listen").expect("it is wrong");
        assert_eq!(listen["line"], json!(2));
        let trial = |outcome| Trial { what: String::from("x"), outcome };
        let trials =
            [trial(TrialOutcome::Fine(String::from("is"))), trial(TrialOutcome::Failed(String::from("is not")))];
        let found = found("t.toml", &[String::from("w")], &trials);
        assert_eq!(found["ok"], json!(false));
        assert_eq!(found["trials"][1], json!({ "what": "x", "outcome": "failed", "text": "is not" }));
    }
}
