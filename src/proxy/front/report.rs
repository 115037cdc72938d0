//! What was counted in a tenant, for those who may see all of it.

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use serde::Deserialize;

use super::super::body::AnswerBody;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::respond::{json, own};
use super::super::services::Gateway;
use super::asker::Asker;
use super::said::query;
use crate::monitor::{CountOf, Day, MOST_REPORT_DAYS, Report};
use crate::policy::Denial;

/// The days of a report unless the call says more.
const USUAL_DAYS: u32 = 7;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    start_date: Option<String>,
    end_date: Option<String>,
    format: Option<String>,
}

pub(super) async fn report(
    gateway: &Gateway,
    asker: &Asker<'_>,
    cleared: &Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    if !asker.is_admin {
        return Err(Failure::Denied(Denial::ForbiddenRole));
    }
    let Parameters { start_date, end_date, format } = query(cleared)?;
    let last = day(end_date)?.unwrap_or_else(|| Day::of(gateway.clock().wall()));
    let first = day(start_date)?.unwrap_or_else(|| last.before(USUAL_DAYS - 1));
    if !(1..=MOST_REPORT_DAYS).contains(&first.until(last).len()) {
        return Err(Failure::Misunderstood("A report has from one day to 92: start_date is not after end_date."));
    }
    let as_csv = match format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Failure::Misunderstood("The format is json or csv.")),
    };
    let of = CountOf::Tenant(asker.principal.tenant.clone());
    let report = gateway.watch().reports().report(&of, first, last).await.map_err(Failure::Store)?;
    if as_csv { csv(&report) } else { Ok(json(StatusCode::OK, &report)) }
}

fn day(text: Option<String>) -> Result<Option<Day>, Failure> {
    let read = |text: String| text.parse().map_err(|_| Failure::Misunderstood("Write a day as 2026-11-24."));
    text.map(read).transpose()
}

fn csv(report: &Report) -> Result<Response<AnswerBody>, Failure> {
    let text = report.csv().map_err(|error| Failure::Internal(error.to_string()))?;
    let mut response = own(Response::new(AnswerBody::whole(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let attachment = HeaderValue::from_static("attachment; filename=\"security-report.csv\"");
    headers.insert(CONTENT_DISPOSITION, attachment);
    Ok(response)
}
