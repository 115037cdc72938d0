//! `GET /v1/sessions`: live sessions, page by page.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{Query, kind, limit, tenant, user};
use super::problem::Problem;
use super::session_view::Session;
use super::state::AdminState;
use crate::store::{Cursor, SessionsOf};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of this tenant
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    tenant: Option<String>,
    /// Of this user; users are within tenants, so `tenant` must be there too
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    user: Option<String>,
    /// The kind of the user's login (`login.kind`), where there are several
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    kind: Option<String>,
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 256, pattern = r"^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of sessions
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    /// May be fewer than `limit`, even none, without being the last page
    items: Vec<Session>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Lists live sessions
///
/// A session that lives through a whole listing is on exactly one page, whatever comes and goes meanwhile.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Sessions)),
)]
pub(super) async fn list_sessions(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Sessions>, Problem> {
    let kind = kind(query.kind.as_deref())?;
    let of = match (&query.tenant, &query.user) {
        (_, None) if kind.is_some() => return Err(Problem::bad_request("kind: is that of a user; give `user` too")),
        (None, None) => SessionsOf::All,
        (Some(named), None) => SessionsOf::Tenant(tenant(&state, named)?),
        (Some(named), Some(name)) => {
            SessionsOf::User { tenant: tenant(&state, named)?, user: user(name, kind.as_ref())? }
        }
        (None, Some(_)) => return Err(Problem::bad_request("user: users are within tenants; give `tenant` too")),
    };
    let after = match &query.cursor {
        Some(text) => Some(Cursor::parse(text).ok_or_else(bad_cursor)?),
        None => None,
    };
    let page = state.services.commons.store.sessions(&of, after.as_ref(), limit(query.limit.as_deref())?).await?;
    let items = page.items.into_iter().map(Session::from).collect();
    Ok(Answer(Sessions { items, next_cursor: page.next.map(|next| next.to_string()) }))
}

/// For every kind of list.
pub(super) fn bad_cursor() -> Problem {
    Problem::bad_request("cursor: is none of this list; take `next_cursor` of the page before")
}
