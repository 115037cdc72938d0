//! `GET /v1/orphans`: who paid and has no tenant yet, page by page.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{Query, limit};
use super::list_sessions::bad_cursor;
use super::problem::Problem;
use super::state::AdminState;
use crate::store::membership::OrphanCursor;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 39, pattern = r"^[0-9]{1,16}_[A-Za-z0-9_-]{22}$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of users who paid and have no tenant yet
#[derive(Serialize, ToSchema)]
pub(super) struct Orphans {
    /// Who waits longest first; may be fewer than `limit`, even none, without being the last page
    items: Vec<Orphan>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A user who paid and has no tenant yet
#[derive(Serialize, ToSchema)]
pub(super) struct Orphan {
    /// The user
    user: String,
    /// The kind of the user's login, where there are several
    #[schema(required)]
    kind: Option<String>,
    /// When that was noticed
    #[schema(format = DateTime)]
    since_at: String,
    /// When the app was asked about them last, or failed them
    #[schema(format = DateTime)]
    last_at: String,
    /// How often the app was asked
    attempts: u64,
    /// What went wrong last
    #[schema(required)]
    last_error: Option<String>,
}

impl From<crate::store::membership::Orphan> for Orphan {
    fn from(orphan: crate::store::membership::Orphan) -> Self {
        Self {
            user: orphan.user.as_str().to_owned(),
            kind: orphan.user.kind().map(str::to_owned),
            since_at: orphan.since.rfc3339(),
            last_at: orphan.last.rfc3339(),
            attempts: orphan.attempts,
            last_error: orphan.error,
        }
    }
}

/// Lists who paid and has no tenant yet
///
/// At most 10,000, each until 90 days after the app was asked about them last.
#[utoipa::path(
    get, path = "/v1/orphans", tag = "tenants", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Orphans)),
)]
pub(super) async fn list_orphans(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Orphans>, Problem> {
    let after: Option<OrphanCursor> = match &query.cursor {
        Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        None => None,
    };
    let limit = limit(query.limit.as_deref())?;
    let page = state.services.commons.memberships.orphans(after.as_ref(), limit).await?;
    let items = page.items.into_iter().map(Orphan::from).collect();
    Ok(Answer(Orphans { items, next_cursor: page.next.map(|next| next.to_string()) }))
}
