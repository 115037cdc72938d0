//! `anomalies`: what the monitoring found, listed and shown, and what is to be thought of it.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::act::{ActOptions, AskOptions};
use super::api::{ApiOptions, Trouble, operate, path_segment};
use super::list::{ListOptions, given, list};
use super::table::{Column, show_item, shown};
use crate::config::AdminRole;

const COLUMNS: [Column; 9] = [
    ("ID", "id"),
    ("FOUND", "found_at"),
    ("SEVERITY", "severity"),
    ("TYPE", "type"),
    ("TENANT", "tenant"),
    ("USER", "user"),
    ("ADDRESS", "address"),
    ("OBSERVED", "observed"),
    ("VERDICT", "verdict"),
];
const MEMBERS: [Column; 17] = [
    ("id", "id"),
    ("found", "found_at"),
    ("type", "type"),
    ("severity", "severity"),
    ("observed", "observed"),
    ("tenant", "tenant"),
    ("user", "user"),
    ("kind", "kind"),
    ("session", "session_id"),
    ("account", "account"),
    ("address", "address"),
    ("evidence", "evidence"),
    ("actions", "actions"),
    ("repeats", "repeats"),
    ("verdict", "verdict"),
    ("said by", "verdict_by"),
    ("said", "verdict_at"),
];

/// What to do with findings.
#[derive(Debug, Subcommand)]
pub enum AnomaliesCommand {
    /// List what was found, the newest first
    List(ListAnomalies),
    /// Show a finding
    Show(ShowAnomaly),
    /// Say what is to be thought of a finding
    Verdict(JudgeAnomaly),
}

/// How bad.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SeverityName {
    /// To be known
    Low,
    /// To be looked at
    Medium,
    /// To be looked at now
    High,
}

/// What is to be thought of it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VerdictName {
    /// Nothing is wrong
    Expected,
    /// It was an attack
    Malicious,
}

/// Options of `anomalies list`.
#[derive(Args, Debug)]
pub struct ListAnomalies {
    /// Of sessions of this tenant; a comma stands for users who have none
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of sessions of this user of the tenant
    #[arg(long, requires = "tenant")]
    pub user: Option<String>,
    /// Of users of this kind; without it those of no kind where a user is given
    #[arg(long)]
    pub kind: Option<String>,
    /// As bad as this
    #[arg(long)]
    pub severity: Option<SeverityName>,
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `anomalies show`.
#[derive(Args, Debug)]
pub struct ShowAnomaly {
    /// Its id, as `anomalies list` has it
    pub id: String,
    /// How it is printed.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// Options of `anomalies verdict`.
#[derive(Args, Debug)]
pub struct JudgeAnomaly {
    /// Its id, as `anomalies list` has it
    pub id: String,
    /// What is to be thought of it
    pub verdict: VerdictName,
    /// Why it is said, and how that is told.
    #[command(flatten)]
    pub act: ActOptions,
}

/// Does it.
#[must_use]
pub fn anomalies(command: &AnomaliesCommand) -> ExitCode {
    match command {
        AnomaliesCommand::List(options) => operate(&options.api, &[AdminRole::Read], async |client| {
            let severity = options.severity.map(|severity| word(&severity));
            let of = [("tenant", &options.tenant), ("user", &options.user), ("kind", &options.kind)];
            let query = given(&[&of[..], &[("severity", &severity)]].concat());
            list(client, "/v1/anomalies", query, options.list, &COLUMNS, "nothing was found").await
        }),
        AnomaliesCommand::Show(options) => operate(&options.ask.api, &[AdminRole::Read], async |client| {
            show_item(&MEMBERS, &client.get(&path(&options.id)?, &[]).await?, options.ask.json);
            Ok(())
        }),
        AnomaliesCommand::Verdict(options) => operate(options.act.api(), &[AdminRole::Operate], async |client| {
            let said = word(&options.verdict);
            let target = format!("{}/verdict", path(&options.id)?);
            let body = options.act.body(json!({ "verdict": said }));
            let answer: Value = client.call(Method::POST, &target, Some(&body)).await?;
            options.act.tell(&answer, format_args!("finding {} is {said}", shown(&options.id)));
            Ok(())
        }),
    }
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn path(id: &str) -> Result<String, Trouble> {
    Ok(format!("/v1/anomalies/{}", path_segment(id)?))
}
