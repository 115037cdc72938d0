//! What clients claim to be: compared with who they are, refused where it must be, told of where it differs.

use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Cleared;
use super::limits::OWN_REQUEST_MAX;
use super::lookup::{Lookup, ask};
use super::services::Gateway;
use crate::config::ClientValue;
use crate::http::{Claims, TenantHeader, bearer_token, is_safe, values_in_body};
use crate::policy::{
    Auth, Denial, Identity, IdentityMode, Permit, Route, TenantClaim, body_names, claimed_tenants, rewrite_query,
};
use crate::session::{Role, TenantId, TenantStatus};
use crate::told::{Spoof, Told};

/// The most tenants that one request may name in a migration mode.
const MOST_CLAIMS: usize = 8;

impl Gateway {
    /// Whether the client claims another tenant than its session's, where that is to be refused.
    pub(super) fn compare_claims(
        &self,
        exchange: &Exchange,
        route: &Route,
        cleared: &Cleared,
        claims: &Claims,
        lookup: &Lookup,
    ) -> TenantClaim {
        let Lookup::Live(live) = lookup else { return TenantClaim::Harmless };
        if route.naming.are_in_path() {
            let (principal, rules) = (live.principal(), &self.config().identity.rules);
            if !route.naming.path_names(cleared.target.segments(), principal, rules) {
                self.tell_of_place(exchange, "path");
                return TenantClaim::Foreign;
            }
        }
        let identity = &self.config().identity;
        let tenant = &live.principal().tenant;
        let same = |claim: &str| identity.rules.canonical_tenant(claim).is_ok_and(|claim| claim == *tenant);
        let is_foreign = || claims.tenant.shown().is_some_and(|claim| !same(claim));
        let foreign_header = match identity.client_value {
            ClientValue::Ignore => false,
            ClientValue::Match => is_foreign(),
            ClientValue::MatchUnsafe => !is_safe(&cleared.method) && is_foreign(),
            // By its one spelling alone: whoever chooses was told it.
            ClientValue::Choose => claims.tenant.contradicts(tenant.name()),
        };
        let foreign_query = cleared
            .target
            .query()
            .is_some_and(|query| rewrite_query(query, &identity.query, Some(tenant), |claim, _| same(claim)).is_err());
        if foreign_query {
            self.tell_of_place(exchange, "query");
        }
        if foreign_header || foreign_query { TenantClaim::Foreign } else { TenantClaim::Harmless }
    }

    /// Refuses a body that names another tenant than the session's. It is taken in for that, whole.
    pub(super) async fn compare_body(
        &self,
        exchange: &Exchange,
        route: &Route,
        permit: &Permit,
        cleared: &mut Cleared,
    ) -> Result<(), Failure> {
        let (Identity::Verified(verified), places) = (permit.identity(), route.naming.in_body()) else { return Ok(()) };
        if places.is_empty() {
            return Ok(());
        }
        let body = cleared.content.buffer(self, OWN_REQUEST_MAX).await?;
        let values = values_in_body(&cleared.headers, &body, places)?;
        if body_names(&values, &verified.principal().tenant, &self.config().identity.rules) {
            return Ok(());
        }
        self.tell_of_place(exchange, "body");
        Err(Failure::Denied(Denial::TenantMismatch))
    }

    fn tell_of_place(&self, exchange: &Exchange, place: &'static str) {
        let told = Told::IdentitySpoofed {
            by: Spoof::Place(place),
            path: (&*exchange.path()).into(),
            session: exchange.session,
            principal: exchange.principal.clone(),
        };
        self.tell(exchange, &told);
    }

    /// A suspended or deleted tenant is refused as a client's own value in every mode. So is a value without a canonical
    /// form: nobody knows whom a backend reads in it.
    pub(super) async fn refuse_claims_of_the_shut_out(&self, cleared: &Cleared) -> Result<(), Failure> {
        let identity = &self.config().identity;
        let canonical = |claim: &[u8]| {
            let claim = std::str::from_utf8(claim).ok()?;
            identity.rules.canonical_tenant(claim).ok()
        };
        let mut tenants: Vec<TenantId> = Vec::new();
        let in_query = cleared.target.query().into_iter().flat_map(|query| claimed_tenants(query, &identity.query));
        let in_query = in_query.collect::<Vec<_>>();
        let in_query = in_query.iter().map(|claim| (TenantHeader::Tenant, claim.as_slice()));
        for (place, claim) in self.filter().claimed_tenants(&cleared.headers).chain(in_query) {
            match (canonical(claim), place) {
                (Some(tenant), _) => tenants.push(tenant),
                (None, _) if claim.is_empty() => {}
                (None, TenantHeader::Unlikely) => {}
                (None, TenantHeader::Further) if !identity.rules.may_be_read_as_tenant(claim) => {}
                (None, TenantHeader::Tenant | TenantHeader::Further) => {
                    return Err(Failure::Denied(Denial::TenantMismatch));
                }
            }
        }
        tenants.sort_unstable();
        tenants.dedup();
        // Nobody claims so many but to have them asked for.
        if tenants.len() > MOST_CLAIMS {
            return Err(Failure::Denied(Denial::TenantMismatch));
        }
        for tenant in tenants {
            let (standing, _) =
                ask(self.clock(), |asked| self.store().proven(asked), || self.store().tenant_standing(&tenant))
                    .await
                    .map_err(Failure::Store)?;
            if standing.status != TenantStatus::Active {
                return Err(Failure::TenantRefused);
            }
        }
        Ok(())
    }

    /// Tells of identity headers that are not the session's own.
    pub(super) fn tell_of_claims(
        &self,
        exchange: &Exchange,
        route: &Route,
        mode: IdentityMode,
        claims: &Claims,
        lookup: &Lookup,
    ) {
        if claims.is_empty() && mode != IdentityMode::Observe {
            return;
        }
        let principal = match lookup {
            Lookup::Live(live) => Some((live.id, live.principal())),
            _ => None,
        };
        let tenant = principal.and_then(|(_, principal)| principal.tenant.name());
        let contradicting = [
            claims.tenant.contradicts(tenant),
            !claims.user.is_absent()
                && claims.user.contradicts(principal.map(|(_, principal)| principal.user.as_str())),
            claims.role.contradicts(principal.and_then(|(_, principal)| principal.role.as_ref()).map(Role::as_str)),
            !claims.session.is_absent() && claims.session.contradicts(principal.as_ref().map(|(id, _)| id.as_str())),
            !claims.others.is_empty(),
        ];
        let headers = contradicting.into_iter().filter(|contradicts| *contradicts).count() as u64;
        if mode == IdentityMode::Observe {
            let observed = match (tenant, claims.tenant.shown()) {
                (Some(_), Some(_)) if claims.tenant.contradicts(tenant) => "mismatch",
                (Some(_), Some(_)) => "match",
                (Some(_), None) => "session_only",
                (None, Some(_)) => "client_only",
                (None, None) => "absent",
            };
            self.metrics().identity_observed(&route.pattern, observed);
            tracing::info!(request_id = exchange.id.as_str(), route = &*route.pattern, observed, "identity observed");
        }
        // What a public route gets was not compared with a session, so nothing can be said of it.
        if headers > 0 && route.auth != Auth::Public {
            let told = Told::IdentitySpoofed {
                by: Spoof::Headers(headers),
                path: (&*exchange.path()).into(),
                session: exchange.session,
                principal: exchange.principal.clone(),
            };
            self.tell(exchange, &told);
            let claimed = ["tenant", "user", "role", "session"].into_iter().zip(contradicting);
            let claimed = claimed.filter(|(_, contradicts)| *contradicts).map(|(name, _)| name);
            self.note_claims(exchange, claimed.chain(claims.others.iter().map(|name| &**name)));
        }
    }
}

/// Reports a client that shows a bearer token and no session, nor a token that is believed here: it will be refused once
/// identity is enforced.
pub(super) fn report_bearer(exchange: &Exchange, route: &Route, cleared: &Cleared, lookup: &Lookup) {
    let is_refused = matches!(lookup, Lookup::NoCredential | Lookup::BadToken(_));
    if is_refused && bearer_token(&cleared.headers).is_some() {
        let (request_id, path, client) = (exchange.id.as_str(), exchange.path(), exchange.client.get());
        tracing::info!(request_id, route = &*route.pattern, %path, %client, "a client has a bearer token and no session");
    }
}
