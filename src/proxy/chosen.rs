//! In which of its tenants a request of a session that has several is made (`identity.client_value = "choose"`), and
//! whether that one is still open to it.
//!
//! The session itself says nothing of that: it outlives each of its tenants. So whatever lets it into one asks here, for
//! the tenant's standing, as fresh as the session's own.

use std::time::Duration;

use super::exchange::Exchange;
use super::failure::Failure;
use super::lookup::{LiveUse, Lookup, ask};
use super::services::Gateway;
use crate::clock::{Clock, Monotonic};
use crate::config::ClientValue;
use crate::http::{ClaimedValue, Claims};
use crate::policy::{Denial, TenantClaim};
use crate::session::{InTenant, TenantStatus};
use crate::store::{KnownTenant, STALE_AT_MOST, SessionStore, StoreResult};

/// Why a tenant is closed to a session, as it was no longer than `within` ago, and when that was asked for; `None`: it is
/// open.
pub(super) async fn look_in(
    store: &dyn SessionStore,
    clock: &dyn Clock,
    tenant: &InTenant,
    within: Duration,
) -> StoreResult<(Option<TenantStatus>, Monotonic)> {
    if let Some(KnownTenant { standing, asked }) = store.known_tenant(&tenant.tenant, within) {
        return Ok((tenant.refused_by(standing), asked));
    }
    let (standing, asked) = ask(clock, |asked| store.proven(asked), || store.tenant_standing(&tenant.tenant)).await?;
    Ok((tenant.refused_by(standing), asked))
}

impl Gateway {
    /// Has a request of a session with several tenants be made in the one that its client names, in exactly that name and
    /// under exactly that header; else in the login's own. What else is claimed is compared with that, as ever.
    pub(super) fn choose_tenant(&self, exchange: &mut Exchange, lookup: &mut Lookup, claims: &Claims) {
        let Lookup::Live(live) = lookup else { return };
        if live.record.ends_with_its_tenant() {
            return;
        }
        let chooses = self.config().identity.client_value == ClientValue::Choose && !claims.tenant_by_alias;
        let named = match &claims.tenant {
            ClaimedValue::One(name) if chooses => Some(name.as_str()),
            _ => None,
        };
        live.choose(named);
        exchange.principal = Some(live.principal().clone());
    }

    /// Asks whether the tenant that a request is made in is open to its session.
    pub(super) async fn ask_of_tenant(&self, live: &mut LiveUse) -> Result<TenantClaim, Failure> {
        let Some(tenant) = live.in_tenant().cloned() else { return Ok(TenantClaim::Harmless) };
        let (refused, asked) =
            look_in(self.store(), self.clock(), &tenant, STALE_AT_MOST).await.map_err(Failure::Store)?;
        live.tenant_asked(asked);
        Ok(refused.map_or(TenantClaim::Harmless, TenantClaim::Refused))
    }

    /// Asks once more about the tenant that a request was accepted in.
    pub(super) async fn look_again_in(&self, tenant: Option<&InTenant>) -> Result<(), Failure> {
        let Some(tenant) = tenant else { return Ok(()) };
        let (refused, _) = look_in(self.store(), self.clock(), tenant, STALE_AT_MOST).await.map_err(Failure::Store)?;
        match refused {
            None => Ok(()),
            Some(TenantStatus::Active) => Err(Failure::Denied(Denial::TenantLost)),
            Some(_) => Err(Failure::Denied(Denial::TenantSuspended)),
        }
    }
}
