//! Who asks, and what is theirs to see.

use std::sync::Arc;

use super::super::lookup::LiveUse;
use crate::session::Principal;

/// Who asks.
pub(super) struct Asker<'a> {
    pub(super) live: &'a LiveUse,
    /// As whom, in the tenant that they are in by this request.
    pub(super) principal: Arc<Principal>,
    /// Whether all of the tenant is theirs to see.
    pub(super) is_admin: bool,
}

impl Asker<'_> {
    /// As whom they logged in. In a tenant that they chose, somebody else may have that name.
    pub(super) fn own(&self) -> &Principal {
        &self.live.record.principal
    }

    /// Whether this is they themselves.
    pub(super) fn is_self(&self, whose: &Principal) -> bool {
        whose.tenant == self.own().tenant && whose.user == self.own().user
    }

    /// Whether something of this principal is theirs to see.
    pub(super) fn may_see(&self, whose: &Principal) -> bool {
        self.is_self(whose) || self.is_admin && whose.tenant == self.principal.tenant
    }
}
