//! `POST /v1/tenants/{tenant}/users/{user}/revoke`: a user's sessions end, all of them or all but one.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::{Answer, Revocation};
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{KindParameter, OptionalJson, Query, TenantPath, UserPath, kind, words};
use super::problem::Problem;
use super::state::AdminState;
use crate::session::{EndReason, Keep, Scope, SessionId};
use crate::told::Origin;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeUser)]
pub(super) struct Body {
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: Option<String>,
    /// A session that stays. Where it is not the user's, or is over, all end
    #[schema(pattern = "^[A-Za-z0-9_-]{22}$")]
    except_session: Option<String>,
}

/// Ends all sessions of a user, or all but one
///
/// From the answer on no instance accepts them, whatever their number. The user can log in again.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/users/{user}/revoke", tag = "tenants", security(("token" = ["operate"])),
    params(
        ("tenant" = String, Path, description = "The tenant's id; `,` for users who have none", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$"),
        ("user" = String, Path, description = "The user's id", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$"),
        KindParameter,
    ),
    request_body = Option<Body>,
    responses((status = 200, description = "They have ended", body = Revocation)),
)]
pub(super) async fn revoke_user(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    TenantPath(tenant): TenantPath,
    UserPath(user): UserPath,
    Query(query): Query<KindParameter>,
    OptionalJson(body): OptionalJson<Body>,
) -> Result<Answer<Revocation>, Problem> {
    let words = words(body.reason.as_deref())?;
    let user = user.of_kind(kind(query.kind.as_deref())?.as_ref());
    let keep = match &body.except_session {
        Some(text) => Some(SessionId::parse(text.as_bytes()).ok_or_else(|| {
            Problem::bad_request("except_session: is not a session's id; write the 22 characters of its list")
        })?),
        None => None,
    };
    let target = Target { tenant: Some(tenant.clone()), user: Some(user.clone()), session: None };
    let (scope, reason) = match keep {
        Some(keep) => (Scope::OtherSessions { tenant, user, keep: Keep::Session(keep) }, EndReason::UserOthersRevoked),
        None => (Scope::User { tenant, user }, EndReason::UserRevoked),
    };
    let change = Change::new(state, caller.operator(), "revoke_user", words, target);
    change.run(move |state, origin| revoke(state, origin, scope, reason)).await.map(Answer)
}

/// Ends sessions by their user or tenant.
pub(super) async fn revoke(
    state: AdminState,
    origin: Origin,
    scope: Scope,
    reason: EndReason,
) -> Result<Revocation, Problem> {
    Ok(Revocation::of(state.services.commons.sessions.end_all_of(&origin, scope, reason).await?))
}
