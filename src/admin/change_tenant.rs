//! `PUT /v1/tenants/{tenant}`: a tenant is suspended, deleted or restored.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answer, unless_replicated};
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{Json, NoParameters, Query, TenantPath, words};
use super::problem::Problem;
use super::state::AdminState;
use super::tenant_view::Status;
use crate::session::{EndReason, TenantChange, TenantId};
use crate::told::Origin;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeTenant)]
pub(super) struct Body {
    status: Status,
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: Option<String>,
}

/// A tenant after a change
#[derive(Serialize, ToSchema)]
pub(super) struct Changed {
    tenant: String,
    status: Status,
    /// How many sessions were live; each is counted by one call only
    invalidated_sessions: u64,
    /// Only there if counting them takes longer than 5 s and goes on: true. All have ended all the same
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pending: bool,
    /// `false` where not all replicas of the store have it yet: should its master be lost now, the gateway that was asked
    /// refuses its sessions at once, the others at most 1 s after it serves from the new master. Else it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<bool>,
}

/// Suspends, deletes or restores a tenant
///
/// `suspended` and `deleted` end all its sessions and refuse new ones; `active` lets its users log in again and revives
/// no session.
#[utoipa::path(
    put, path = "/v1/tenants/{tenant}", tag = "tenants", security(("token" = ["operate"])),
    params(("tenant" = String, Path, description = "The tenant's id", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")),
    request_body = Body,
    responses((status = 200, description = "It is so", body = Changed)),
)]
pub(super) async fn change_tenant(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    TenantPath(tenant): TenantPath,
    Query(NoParameters {}): Query<NoParameters>,
    Json(body): Json<Body>,
) -> Result<Answer<Changed>, Problem> {
    let words = words(body.reason.as_deref())?;
    let reason = match body.status {
        Status::Deleted => EndReason::OrgDeleted,
        Status::Active | Status::Suspended => EndReason::TenantRevoked,
    };
    let target = Target { tenant: Some(tenant.clone()), ..Target::default() };
    let change = Change::new(state, caller.operator(), "change_tenant", words.clone(), target);
    let work = move |state, origin: Origin| {
        let to = TenantChange { status: body.status.into(), reason, words, by: origin.by.clone() };
        change_to(state, origin, tenant, to)
    };
    change.run(work).await.map(Answer)
}

async fn change_to(
    state: AdminState,
    origin: Origin,
    tenant: TenantId,
    change: TenantChange,
) -> Result<Changed, Problem> {
    let (name, status) = (tenant.shown().to_owned(), change.status.into());
    let revoked = state.services.commons.sessions.change_tenant(&origin, tenant, change).await?;
    let replicated = unless_replicated(revoked.replicated);
    Ok(Changed { tenant: name, status, invalidated_sessions: revoked.ended, pending: !revoked.complete, replicated })
}
