//! What proves to a backend who told it, written last into a request whose identity headers stand (`identity.signed`).

use super::failure::Failure;
use super::services::Gateway;
use crate::policy::{Identity, Permit};
use crate::session::Role;
use crate::signed::Stated;
use crate::upstream::Outgoing;

/// Signs what a request says of a verified identity. Where there is none nothing is signed, for nothing is vouched for.
pub(super) fn sign(gateway: &Gateway, permit: &Permit, request: &mut Outgoing) -> Result<(), Failure> {
    let (Some(signer), Identity::Verified(verified)) = (gateway.signer(), permit.identity()) else { return Ok(()) };
    let principal = verified.principal();
    // What stands in for a tenant where there is none is what the backend reads.
    let stand_in = gateway.config().identity.anonymous.as_ref().and_then(|value| value.to_str().ok());
    let stated = Stated {
        tenant: principal.tenant.name().or(stand_in),
        user: principal.user.as_str(),
        role: principal.role.as_ref().map(Role::as_str),
        session: verified.vouched_by().id(),
    };
    let signed = signer.sign(&stated, request.method(), request.uri(), permit.upstream());
    let (name, proof) = signed.map_err(|unsigned| Failure::Internal(unsigned.to_string()))?;
    request.put(name, proof.value());
    Ok(())
}
