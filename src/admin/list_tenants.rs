//! `GET /v1/tenants`: the known tenants, page by page.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{PageParameters, Query, limit};
use super::list_sessions::bad_cursor;
use super::problem::Problem;
use super::state::AdminState;
use super::tenant_view::Tenant;
use crate::session::TenantId;

/// A page of tenants
#[derive(Serialize, ToSchema)]
pub(super) struct Tenants {
    /// In the order of their ids
    items: Vec<Tenant>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Lists the known tenants
///
/// Those with sessions, and those whose status was ever changed.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", security(("token" = ["read"])),
    params(PageParameters), responses((status = 200, description = "A page", body = Tenants)),
)]
pub(super) async fn list_tenants(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<PageParameters>,
) -> Result<Answer<Tenants>, Problem> {
    let after = match &query.cursor {
        Some(text) => Some(read_cursor(text).ok_or_else(bad_cursor)?),
        None => None,
    };
    let page = state.services.commons.store.tenants(after.as_ref(), limit(query.limit.as_deref())?).await?;
    let items = page.items.into_iter().map(Tenant::from).collect();
    Ok(Answer(Tenants { items, next_cursor: page.next.as_ref().map(cursor) }))
}

/// Opaque, as the others' are: nobody is to make one.
fn cursor(tenant: &TenantId) -> String {
    URL_SAFE_NO_PAD.encode(tenant.shown())
}

fn read_cursor(text: &str) -> Option<TenantId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    TenantId::parse_shown(std::str::from_utf8(&bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let tenant = TenantId::parse("acme:eu/1").expect("visible ASCII");
        for tenant in [tenant, TenantId::none()] {
            assert_eq!(read_cursor(&cursor(&tenant)), Some(tenant));
        }
        for garbage in ["", "a", "!", "YQ==", "4pyT"] {
            assert_eq!(read_cursor(garbage), None, "{garbage}");
        }
    }
}
