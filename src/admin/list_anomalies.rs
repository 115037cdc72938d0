//! `GET /v1/anomalies` and `GET /v1/anomalies/{id}`: what was found, newest first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::finding_filter::{self, FindingFilter};
use super::finding_view::Anomaly;
use super::input::{self, FindingPath, NoParameters, Query, limit, tenant};
use super::list_sessions::bad_cursor;
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::store::monitor::FindingId;

/// Findings that are looked through for one page.
const MOST_LOOKED_AT: usize = 5000;
const STEP: usize = 500;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of sessions of this tenant
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    tenant: Option<String>,
    /// Of sessions of this user; users are within tenants, so `tenant` must be there too
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    user: Option<String>,
    /// Of users of this kind (`login.kind`); without it those of no kind where `user` is given
    #[serde(rename = "kind")]
    #[param(rename = "kind", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    user_kind: Option<String>,
    /// As bad as this
    #[param(schema_with = finding_filter::severities)]
    severity: Option<String>,
    /// Of this kind, as `LOGIN_AFTER_FAILURES`
    #[serde(rename = "type")]
    #[param(schema_with = finding_filter::kinds)]
    kind: Option<String>,
    /// Of which this was said; `none`: nothing yet
    #[param(schema_with = finding_filter::verdicts)]
    verdict: Option<String>,
    /// Only observed, or else acted on
    #[param(value_type = Option<bool>)]
    observed: Option<String>,
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 41, pattern = r"^[0-9]{1,20}-[0-9]{1,20}$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of findings
#[derive(Serialize, ToSchema)]
pub(super) struct Anomalies {
    /// Newest first; may be fewer than `limit`, even none, without being the last page
    items: Vec<Anomaly>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Lists what the monitoring found
///
/// Of the last 90 days, newest first.
#[utoipa::path(
    get, path = "/v1/anomalies", tag = "monitoring", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Anomalies)),
)]
pub(super) async fn list_anomalies(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Anomalies>, Problem> {
    let tenant = query.tenant.as_deref().map(|text| tenant(&state, text)).transpose()?;
    let wanted = FindingFilter {
        tenant: tenant.map(|tenant| tenant.shown().to_owned()),
        user: query.user.as_deref().map(finding_filter::user).transpose()?,
        user_kind: input::kind(query.user_kind.as_deref())?,
        severity: query.severity.as_deref().map(finding_filter::severity).transpose()?,
        kind: query.kind.as_deref().map(finding_filter::kind).transpose()?,
        verdict: query.verdict.as_deref().map(finding_filter::verdict).transpose()?,
        observed: query.observed.as_deref().map(finding_filter::observed).transpose()?,
    };
    if wanted.user.is_some() && wanted.tenant.is_none() {
        return Err(Problem::bad_request("user: users are within tenants; give `tenant` too"));
    }
    let mut position: Option<FindingId> = match &query.cursor {
        Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        None => None,
    };
    let limit = limit(query.limit.as_deref())?;
    let (mut items, mut looked_at) = (Vec::new(), 0);
    let next = loop {
        let step = STEP.min(limit);
        let found = state.services.commons.watch.kept().findings(position, step).await?;
        let is_last = found.len() < step;
        for finding in found {
            looked_at += 1;
            position = Some(finding.id);
            if wanted.fits(&finding) {
                items.push(Anomaly::from(finding));
            }
            if items.len() == limit {
                break;
            }
        }
        // The last of a full page may be the last of all; then the next one is empty.
        if items.len() == limit || (looked_at >= MOST_LOOKED_AT && !is_last) {
            break position;
        }
        if is_last {
            break None;
        }
    };
    Ok(Answer(Anomalies { items, next_cursor: next.map(|next| next.to_string()) }))
}

/// Shows a finding
#[utoipa::path(
    get, path = "/v1/anomalies/{id}", tag = "monitoring", security(("token" = ["read"])),
    params(("id" = String, Path, description = "The finding's id")),
    responses(
        (status = 200, description = "The finding", body = Anomaly),
        (status = 404, description = "There is no finding of this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show_anomaly(
    _: Caller<Read>,
    State(state): State<AdminState>,
    FindingPath(id): FindingPath,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Answer<Anomaly>, Problem> {
    let finding = state.services.commons.watch.kept().finding(id).await?;
    finding.map(|finding| Answer(Anomaly::from(finding))).ok_or(Problem::NO_FINDING)
}
