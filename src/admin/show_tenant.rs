//! `GET /v1/tenants/{tenant}`: what is known of a tenant.

use axum::extract::State;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{NoParameters, Query, TenantPath};
use super::problem::Problem;
use super::state::AdminState;
use super::tenant_view::Tenant;

/// Shows a tenant
///
/// One that nobody ever used is active and has no sessions.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant}", tag = "tenants", security(("token" = ["read"])),
    params(("tenant" = String, Path, description = "The tenant's id", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")),
    responses((status = 200, description = "The tenant", body = Tenant)),
)]
pub(super) async fn show_tenant(
    _: Caller<Read>,
    State(state): State<AdminState>,
    TenantPath(tenant): TenantPath,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Answer<Tenant>, Problem> {
    Ok(Answer(state.services.commons.store.tenant(&tenant).await?.into()))
}
