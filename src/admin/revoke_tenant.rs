//! `POST /v1/tenants/{tenant}/revoke`: all of a tenant's sessions end, and the tenant stays.

use axum::extract::State;

use super::answer::{Answer, Revocation};
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{NoParameters, OptionalJson, Query, ReasonBody, TenantPath, words};
use super::problem::Problem;
use super::revoke_user::revoke;
use super::state::AdminState;
use crate::session::{EndReason, Scope};

/// Ends all sessions of a tenant
///
/// From the answer on no instance accepts them, whatever their number. The tenant's users can log in again.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/revoke", tag = "tenants", security(("token" = ["operate"])),
    params(("tenant" = String, Path, description = "The tenant's id", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")),
    request_body = Option<ReasonBody>,
    responses((status = 200, description = "They have ended", body = Revocation)),
)]
pub(super) async fn revoke_tenant(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    TenantPath(tenant): TenantPath,
    Query(NoParameters {}): Query<NoParameters>,
    OptionalJson(body): OptionalJson<ReasonBody>,
) -> Result<Answer<Revocation>, Problem> {
    let words = words(body.reason.as_deref())?;
    let target = Target { tenant: Some(tenant.clone()), ..Target::default() };
    let change = Change::new(state, caller.operator(), "revoke_tenant", words, target);
    let (scope, reason) = (Scope::Tenant { tenant }, EndReason::TenantRevoked);
    change.run(move |state, origin| revoke(state, origin, scope, reason)).await.map(Answer)
}
