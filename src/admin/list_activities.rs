//! `GET /v1/activities`: what front ends report.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{Query, limit, tenant};
use super::list_sessions::bad_cursor;
use super::problem::Problem;
use super::state::AdminState;
use crate::clock::WallTime;
use crate::store::activities::KeptActivity;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of sessions of this tenant
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    tenant: String,
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 41, pattern = r"^[0-9]{1,20}-[0-9]{1,20}$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of what front ends report
#[derive(Serialize, ToSchema)]
pub(super) struct Activities {
    /// Newest first
    items: Vec<ReportedActivity>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Something that a front end reports: its client may have made it up
#[derive(Serialize, ToSchema)]
pub(super) struct ReportedActivity {
    /// Its name
    id: String,
    /// When it came
    #[schema(format = DateTime)]
    received_at: String,
    /// The session that it came in
    session_id: String,
    /// Its user
    user: String,
    /// The kind of the user's login (`login.kind`)
    #[schema(required)]
    kind: Option<String>,
    /// From where
    address: String,
    /// A few words about the program
    user_agent: String,
    /// What is said to have happened
    action: String,
    /// What else is said of it
    details: serde_json::Value,
}

impl ReportedActivity {
    /// `None`: it cannot be read; it may be another version's.
    fn of(kept: KeptActivity) -> Option<Self> {
        let activity = kept.activity?;
        Some(Self {
            id: kept.id.to_string(),
            received_at: WallTime::from_micros(activity.at).rfc3339(),
            session_id: activity.session,
            user: activity.user,
            kind: activity.user_kind,
            address: activity.address,
            user_agent: activity.agent,
            action: activity.action,
            details: activity.details.unwrap_or_default(),
        })
    }
}

/// Lists what the front ends of a tenant report
///
/// The last thousand or so of the last seven days. Nothing is decided by it.
#[utoipa::path(
    get, path = "/v1/activities", tag = "monitoring", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Activities)),
)]
pub(super) async fn list_activities(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Activities>, Problem> {
    let tenant = tenant(&state, &query.tenant)?;
    let position = match &query.cursor {
        Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        None => None,
    };
    let limit = limit(query.limit.as_deref())?;
    let kept = state.services.commons.watch.activities(&tenant, position, limit).await?;
    let next_cursor = kept.last().filter(|_| kept.len() == limit).map(|last| last.id.to_string());
    Ok(Answer(Activities { items: kept.into_iter().filter_map(ReportedActivity::of).collect(), next_cursor }))
}
