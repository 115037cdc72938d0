//! `PUT /v1/tenants/{tenant}`: a tenant is suspended, deleted or restored.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Operate};
use super::change::{Change, Done, Target, Teller};
use super::input::{Json, NoParameters, Query, TenantPath, words};
use super::problem::Problem;
use super::state::AdminState;
use super::tenant_view::Status;
use crate::audit::{AuditType, Outcome};
use crate::session::{EndReason, TenantChange, TenantId, TenantStatus};
use crate::telemetry::metrics::RevocationScope;

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
    /// Whether counting them takes longer than 5 s and goes on; all have ended all the same
    pending: bool,
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
    let work = move |state, teller: Teller| {
        let to = TenantChange { status: body.status.into(), reason, words, by: teller.by() };
        change_to(state, teller, tenant, to)
    };
    change.run(work).await.map(Answer)
}

async fn change_to(
    state: AdminState,
    teller: Teller,
    tenant: TenantId,
    change: TenantChange,
) -> Result<Done<Changed>, Problem> {
    let services = &state.services;
    let revoked = services.store.change_tenant(&tenant, &change).await?;
    let details = teller.revoked(revoked).text("status", change.status.as_str());
    let mut events = vec![teller.event(&state, AuditType::TenantChanged, Outcome::Success).with_details(details)];
    if change.status != TenantStatus::Active || revoked.ended > 0 {
        services.traffic.sessions_ended();
        services.metrics.sessions_ended(change.reason, revoked.ended);
        services.metrics.revocation(RevocationScope::Tenant);
        let ended = teller.event(&state, AuditType::SessionEnded, Outcome::Success);
        events.push(ended.because(change.reason).with_details(teller.revoked(revoked)));
    }
    let answer = Changed {
        tenant: tenant.to_string(),
        status: change.status.into(),
        invalidated_sessions: revoked.ended,
        pending: !revoked.complete,
    };
    Ok(Done { answer, events })
}
