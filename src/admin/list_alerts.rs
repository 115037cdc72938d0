//! `GET /v1/alerts`: the alerts that wait to be sent.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{Query, limit};
use super::list_sessions::bad_cursor;
use super::problem::Problem;
use super::state::AdminState;
use crate::store::alerts::{AlertId, Waiting};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 80, pattern = r"^[0-9]{1,20}-[A-Za-z0-9_-]{1,59}$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of alerts that wait
#[derive(Serialize, ToSchema)]
pub(super) struct Alerts {
    /// Who waits longest first, but those that tell of many by the end of their time; may be fewer than `limit`
    items: Vec<Alert>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// An alert that waits to be sent
#[derive(Serialize, ToSchema)]
pub(super) struct Alert {
    /// Its name, which a mail's `Message-ID` and a webhook's `webhook-id` begin with
    id: String,
    /// How it is sent: `mail`, `user`, `standard`, `slack`, `pagerduty` or `ocsf`
    channel: String,
    /// To which address or server; null: to a user
    #[schema(required)]
    to: Option<String>,
    /// The finding that it tells of; null: it tells of several
    #[schema(required)]
    finding: Option<String>,
    /// How many findings it tells of
    findings: u64,
    /// Since when it could have been sent, or from when on it can be
    #[schema(format = DateTime)]
    since_at: String,
    /// When it is tried next
    #[schema(format = DateTime)]
    due_at: String,
    /// How often it was tried
    attempts: u32,
    /// Why it was not taken the last time
    #[schema(required)]
    last_error: Option<String>,
}

impl From<Waiting> for Alert {
    fn from(waiting: Waiting) -> Self {
        let Waiting { id, target, due, attempts, gathered } = waiting;
        Self {
            finding: id.finding().map(|finding| finding.to_string()),
            findings: gathered.map_or(1, |gathered| gathered.count),
            since_at: id.since().rfc3339(),
            due_at: due.rfc3339(),
            // Who the user is stands in the finding.
            to: (target.channel != "user").then_some(target.to),
            channel: target.channel,
            attempts: attempts.count,
            last_error: (!attempts.error.is_empty()).then_some(attempts.error),
            id: id.to_string(),
        }
    }
}

/// Lists the alerts that wait to be sent
///
/// Of all gateways; at most 10,000 for each receiver, each for three days.
#[utoipa::path(
    get, path = "/v1/alerts", tag = "monitoring", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Alerts)),
)]
pub(super) async fn list_alerts(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Alerts>, Problem> {
    let after = match &query.cursor {
        Some(text) => Some(AlertId::parse(text).ok_or_else(bad_cursor)?),
        None => None,
    };
    let limit = limit(query.limit.as_deref())?;
    let waiting = state.services.commons.watch.alerts().outbox().waiting(after.as_ref(), limit).await?;
    let next_cursor = waiting.last().filter(|_| waiting.len() == limit).map(|last| last.id.to_string());
    Ok(Answer(Alerts { items: waiting.into_iter().map(Alert::from).collect(), next_cursor }))
}
