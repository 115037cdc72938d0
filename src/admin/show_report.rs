//! `GET /v1/report`: what the monitoring counted over some days.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{Query, tenant};
use super::problem::Problem;
use super::state::AdminState;
use crate::monitor::{CountOf, Day, MOST_REPORT_DAYS, Report};

/// The days of a report unless the call says more.
const USUAL_DAYS: u32 = 7;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of sessions of this tenant; otherwise of all, and of logins that made none
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    tenant: Option<String>,
    /// The first day, in UTC; six days before the last one if it is not said
    #[param(value_type = Option<String>, format = Date)]
    start_date: Option<String>,
    /// The last day; today if it is not said
    #[param(value_type = Option<String>, format = Date)]
    end_date: Option<String>,
    /// `json`, or `csv` for spreadsheets; JSON if it is not said
    #[param(value_type = Option<String>, pattern = "^(json|csv)$")]
    format: Option<String>,
}

/// Tells what the monitoring counted, by day
///
/// Of all gateways: findings by type, severity, action and verdict, logins, failures and locks, and the users with the most
/// findings. At most 92 days, of the last 400. What a gateway counted in its last seconds may be missing.
#[utoipa::path(
    get, path = "/v1/report", tag = "monitoring", security(("token" = ["read"])),
    params(Parameters), responses((
        status = 200, description = "The report", content((Report = "application/json"), (String = "text/csv")),
    )),
)]
pub(super) async fn show_report(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Response, Problem> {
    let of = match &query.tenant {
        Some(text) => CountOf::Tenant(tenant(&state, text)?),
        None => CountOf::All,
    };
    let as_csv = match query.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Problem::bad_request("format: is not known; choose one of json, csv")),
    };
    let commons = &state.services.commons;
    let last = day("end_date", query.end_date.as_deref())?.unwrap_or_else(|| Day::of(commons.clock.wall()));
    let first = day("start_date", query.start_date.as_deref())?.unwrap_or_else(|| last.before(USUAL_DAYS - 1));
    match first.until(last).len() {
        0 => Err(Problem::bad_request("start_date: is after end_date")),
        days if days > MOST_REPORT_DAYS => {
            Err(Problem::bad_request(format!("start_date: a report has at most {MOST_REPORT_DAYS} days, not {days}")))
        }
        _ => {
            let report = commons.watch.reports().report(&of, first, last).await?;
            if as_csv { csv(&report) } else { Ok(Answer(report).into_response()) }
        }
    }
}

fn csv(report: &Report) -> Result<Response, Problem> {
    let text = report.csv().map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response())
}

fn day(name: &str, text: Option<&str>) -> Result<Option<Day>, Problem> {
    let read =
        |text: &str| text.parse().map_err(|_| Problem::bad_request(format!("{name}: write a day as 2026-11-24")));
    text.map(read).transpose()
}
